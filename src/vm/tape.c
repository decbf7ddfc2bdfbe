/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --record and --replay: the machine's side of the tape.
 *
 * Recording, exits are answered as ever, and the answer is kept.  Playing, the
 * devices are there but are never asked: what they said then is said again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "debug/player.h"
#include "debug/recorder.h"
#include "debug/report.h"
#include "vm/internal.h"

/* Instructions to show of a block that went another way. */
#define SHOWN 48

static void play_a20(void *opaque, bool enabled)
{
    struct vm *vm = opaque;

    if (vm->engine->set_a20)
        vm->engine->set_a20(vm->engine_vm, enabled);
}

static void play_eoi_exits(void *opaque, const uint64_t bitmap[4])
{
    struct vm *vm = opaque;

    vm->engine->set_eoi_exits(vm->engine_vm, bitmap);
}

static void play_console(void *opaque, unsigned port, const uint8_t *data, size_t n)
{
    struct vm *vm = opaque;

    pthread_mutex_lock(&vm->bus->lock);
    if (port < VM_SERIAL_PORTS && vm->serial[port])
        chardev_write(vm->serial[port], data, n);
    pthread_mutex_unlock(&vm->bus->lock);
}

static const struct player_ops player_ops = {
    .a20 = play_a20, .eoi_exits = play_eoi_exits, .console = play_console
};

int vm_open_tape(struct vm *vm, char *err, size_t err_size)
{
    const struct vm_config *c = &vm->config;
    int rc = 0;

    if (c->record)
        rc = recorder_create(&vm->recorder, c->record, strcmp(c->record_at, "blocks") == 0, err,
                             err_size);
    if (rc == 0 && c->replay)
        rc = player_create(&vm->player, c->replay, &player_ops, vm, err, err_size);
    return rc;
}

/* Output comes from the loop's thread as well: the recorder gets it at the
 * next exit. */
static void tap(void *opaque, const void *data, size_t n)
{
    struct vm_tap *t = opaque;

    for (const uint8_t *p = data; n && t->n < sizeof(t->data); n--)
        t->data[t->n++] = *p++;
}

static void tap_ports(struct vm *vm)
{
    for (unsigned i = 0; i < VM_SERIAL_PORTS; i++)
        if (vm->serial[i])
            chardev_set_tap(vm->serial[i], tap, &vm->taps[i]);
}

static void take_taps(struct vm *vm)
{
    for (unsigned i = 0; i < VM_SERIAL_PORTS; i++) {
        struct vm_tap *t = &vm->taps[i];

        if (!t->n)
            continue;
        pthread_mutex_lock(&vm->bus->lock);
        recorder_console(vm->recorder, i, t->data, t->n);
        t->n = 0;
        pthread_mutex_unlock(&vm->bus->lock);
    }
}

struct cpu_tape *vm_tape(struct vm *vm)
{
    return vm->recorder ? recorder_tape(vm->recorder) : vm->player ? player_tape(vm->player) : NULL;
}

static void memory_written(void *opaque, uint64_t gpa, size_t len);

int vm_begin_tape(struct vm *vm, char *err, size_t err_size)
{
    const struct recording_machine machine = { .mem = vm->mem, .model = &vm->model,
                                               .engine = vm->engine->name };
    int rc = 0;

    if (vm->recorder)
        rc = recorder_begin(vm->recorder, &machine, err, err_size);
    if (rc == 0 && vm->player)
        rc = player_begin(vm->player, &machine, err, err_size);
    if (rc < 0 || !vm->recorder)
        return rc;
    vm->taping = true;
    tap_ports(vm);
    vm->mem->written_opaque = vm;
    vm->mem->written = memory_written;
    return rc;
}

void vm_free_tape(struct vm *vm)
{
    recorder_free(vm->recorder);
    player_free(vm->player);
}

/* ---- devices' threads -------------------------------------------------------------- */

/*
 * What a device writes to memory has to have a place in the run.  So its thread
 * runs while the vCPU is out of the engine, between two instructions, and what
 * it wrote is an input like others.
 */
void vm_gate_enter(void *opaque)
{
    struct vm *vm = opaque;
    struct vm_gate *g = &vm->gate;

    pthread_mutex_lock(&g->lock);
    g->wanting++;
    if (!g->open)
        vm->engine->vcpu_kick(vm->vcpus[0].vcpu);
    while (!g->open)
        pthread_cond_wait(&g->changed, &g->lock);
    g->wanting--;
    g->inside++;
    pthread_mutex_unlock(&g->lock);
}

void vm_gate_leave(void *opaque)
{
    struct vm *vm = opaque;
    struct vm_gate *g = &vm->gate;

    pthread_mutex_lock(&g->lock);
    g->inside--;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

void vm_gate_open(struct vm *vm)
{
    struct vm_gate *g = &vm->gate;

    if (!vm->recorder)
        return;
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

void vm_gate_close(struct vm *vm)
{
    struct vm_gate *g = &vm->gate;

    if (!vm->recorder)
        return;
    pthread_mutex_lock(&g->lock);
    while (g->wanting || g->inside)
        pthread_cond_wait(&g->changed, &g->lock);
    g->open = false;
    pthread_mutex_unlock(&g->lock);
}

void vm_gate_pass(struct vm *vm)
{
    vm_gate_open(vm);
    vm_gate_close(vm);
}

/* Device threads come one by one, and never beside the vCPU. */
static void memory_written(void *opaque, uint64_t gpa, size_t len)
{
    struct vm *vm = opaque;

    pthread_mutex_lock(&vm->gate.lock);
    if (vm->taping)
        recorder_dma(vm->recorder, gpa, len);
    pthread_mutex_unlock(&vm->gate.lock);
}

/* ---- exits ------------------------------------------------------------------------ */

/* Exits that are the VM's business alone, and no input of the guest's. */
static bool is_own(enum cpu_exit exit)
{
    return exit == CPU_EXIT_NONE || exit == CPU_EXIT_INTR || exit == CPU_EXIT_COUNT ||
           exit == CPU_EXIT_DEBUG || exit == CPU_EXIT_ERROR;
}

static void show_difference(struct vm *vm, const struct player_result *r)
{
    fprintf(stderr, "bulkhead: %s\n", r->text);
    player_print(vm->player, stderr);
    fprintf(stderr, "code from instruction %" PRIu64 " on:\n", r->from_count);
    report_code(vm->engine, vm->vcpus[0].vcpu, vm->mem, r->from_rip, SHOWN, stderr);
}

static void end_play(struct vm *vm)
{
    const struct player_result *r = player_result(vm->player);

    switch (r->end) {
    case PLAYER_AGREED:
        vm_end(vm, r->status, "replayed %" PRIu64 " instructions, %" PRIu64 " stops agreed: %s",
               r->count, r->stops, r->text);
        break;
    case PLAYER_DIFFERS:
        show_difference(vm, r);
        vm_end(vm, VM_REPLAY_DIFFERS, "the replay differs behind instruction %" PRIu64, r->count);
        break;
    default: vm_end(vm, VM_HOST_FAILURE, "replay: %s", r->text);
    }
}

bool vm_end_play_early(struct vm *vm)
{
    const struct player_result *r = vm->player ? player_result(vm->player) : NULL;

    if (!r || r->end != PLAYER_RUNS)
        return r != NULL;
    vm_end(vm, VM_OK, "stopped the replay after %" PRIu64 " instructions; %" PRIu64 " stops agreed",
           vm->config.stop_at, r->stops);
    return true;
}

bool vm_play_exit(struct vm_vcpu *v, bool *stop)
{
    struct vm *vm = v->vm;

    *stop = false;
    if (!vm->player || is_own(v->run->exit))
        return false;
    if (v->run->exit == CPU_EXIT_TAPE) {
        end_play(vm);
        *stop = true;
    } else {
        player_exit(vm->player, v->run);
    }
    return true;
}

void vm_record_exit(struct vm_vcpu *v)
{
    struct vm *vm = v->vm;
    const char *error;

    if (!vm->taping || is_own(v->run->exit))
        return;
    error = recorder_error(vm->recorder);
    if (error) {
        vm_end(vm, VM_HOST_FAILURE, "%s", error);
        return;
    }
    take_taps(vm);
    recorder_exit(vm->recorder, v->run);
}

void vm_record_a20(struct vm *vm, bool enabled)
{
    if (vm->taping)
        recorder_a20(vm->recorder, enabled);
}

void vm_record_eoi_exits(struct vm *vm, const uint64_t bitmap[4])
{
    if (vm->taping)
        recorder_eoi_exits(vm->recorder, bitmap);
}

void vm_end_tape(struct vm *vm)
{
    struct vcpu_state s;
    char err[200];

    if (!vm->taping || recorder_error(vm->recorder))
        return;
    pthread_mutex_lock(&vm->bus->lock);
    bus_quiesce(vm->bus);
    pthread_mutex_unlock(&vm->bus->lock);
    vm->taping = false;
    take_taps(vm);
    vm->engine->vcpu_get_state(vm->vcpus[0].vcpu, &s);
    if (recorder_end(vm->recorder, &s, vm->status, vm->cause, err, sizeof(err)) < 0) {
        vm->status = VM_HOST_FAILURE;
        snprintf(vm->cause, sizeof(vm->cause), "%.190s", err);
    }
}
