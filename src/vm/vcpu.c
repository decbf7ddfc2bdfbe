/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thread for each vCPU: run, look the exit up in a table, go on or park.
 *
 * A vCPU that is to leave the engine has run->immediate_exit set and is
 * kicked; exits that are still on their way are answered until the engine
 * reports CPU_EXIT_INTR, and so nothing is half done when it parks.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "vm/internal.h"

enum next { CONTINUE, STOP };

static uint64_t load_element(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, p, size);
    return v;
}

static enum next exit_io(struct vm_vcpu *v)
{
    struct cpu_run *run = v->run;
    unsigned size = run->io.size, count = run->io.count;

    for (unsigned i = 0; i < count; i++) {
        uint8_t *p = run->io_data + (size_t)i * size;

        if (run->io.write) {
            bus_io_write(v->vm->bus, run->io.port, size, load_element(p, size));
        } else {
            uint64_t data = bus_io_read(v->vm->bus, run->io.port, size);

            memcpy(p, &data, size);
        }
    }
    return CONTINUE;
}

static enum next exit_mmio(struct vm_vcpu *v)
{
    struct cpu_run *run = v->run;

    if (run->mmio.write)
        bus_mmio_write(v->vm->bus, run->mmio.gpa, run->mmio.size, run->mmio.data);
    else
        run->mmio.data = bus_mmio_read(v->vm->bus, run->mmio.gpa, run->mmio.size);
    return CONTINUE;
}

static enum next exit_eoi(struct vm_vcpu *v)
{
    struct board *board = v->vm->board;

    board->ops->eoi(board, v->run->eoi.vector);
    return CONTINUE;
}

static enum next exit_extint(struct vm_vcpu *v)
{
    struct board *board = v->vm->board;

    v->run->extint.vector = board->ops->acknowledge ? board->ops->acknowledge(board) : -1;
    return CONTINUE;
}

static enum next exit_ferr(struct vm_vcpu *v)
{
    struct board *board = v->vm->board;

    if (board->ops->ferr)
        board->ops->ferr(board);
    return CONTINUE;
}

static enum next exit_shutdown(struct vm_vcpu *v)
{
    struct vcpu_state s;

    v->vm->engine->vcpu_get_state(v->vcpu, &s);
    vm_end(v->vm, VM_GUEST_CRASHED, "guest crashed: triple fault on CPU %u at RIP 0x%llx", v->id,
           (unsigned long long)s.rip);
    return STOP;
}

static void end_at_count(struct vm *vm, void *opaque)
{
    const char *path = vm->config.save_state;
    char err[200];

    (void)opaque;
    if (path && vm_save_file(vm, path, err, sizeof(err)) < 0)
        vm_end(vm, VM_HOST_FAILURE, "%s", err);
    else if (!vm_end_play_early(vm))
        vm_end(vm, VM_OK, "stopped after %llu instructions",
               (unsigned long long)vm->config.stop_at);
}

static enum next exit_count(struct vm_vcpu *v)
{
    v->run->stop_count = 0;
    vm_when_parked(v->vm, end_at_count, NULL);
    return CONTINUE;
}

static enum next exit_reset(struct vm_vcpu *v)
{
    vm_reset(v->vm);
    return STOP;
}

static enum next exit_error(struct vm_vcpu *v)
{
    v->run->error.text[sizeof(v->run->error.text) - 1] = 0;
    vm_end(v->vm, VM_HOST_FAILURE, "CPU %u cannot go on: %s", v->id, v->run->error.text);
    return STOP;
}

static enum next exit_intr(struct vm_vcpu *v)
{
    vm_gate_pass(v->vm);
    return CONTINUE;
}

static enum next exit_nothing(struct vm_vcpu *v)
{
    (void)v;
    return CONTINUE;
}

static enum next (*const exit_handlers[])(struct vm_vcpu *v) = {
    [CPU_EXIT_NONE] = exit_nothing,
    [CPU_EXIT_IO] = exit_io,
    [CPU_EXIT_MMIO] = exit_mmio,
    [CPU_EXIT_EOI] = exit_eoi,
    [CPU_EXIT_EXTINT] = exit_extint,
    [CPU_EXIT_FERR] = exit_ferr,
    [CPU_EXIT_HALT] = exit_nothing,
    [CPU_EXIT_SHUTDOWN] = exit_shutdown,
    [CPU_EXIT_DEBUG] = exit_nothing,
    [CPU_EXIT_COUNT] = exit_count,
    [CPU_EXIT_INTR] = exit_intr,
    [CPU_EXIT_RESET] = exit_reset,
    [CPU_EXIT_ERROR] = exit_error,
    [CPU_EXIT_TAPE] = exit_nothing,
};

static enum next answer(struct vm_vcpu *v)
{
    enum next next;
    bool stop;

    if (vm_play_exit(v, &stop))
        return stop ? STOP : CONTINUE;
    next = exit_handlers[v->run->exit](v);
    vm_record_exit(v);
    return next;
}

/* Wait until this vCPU may run; false: the machine ends. */
static bool park(struct vm_vcpu *v)
{
    struct vm *vm = v->vm;
    bool run;

    pthread_mutex_lock(&vm->control);
    vm->nparked++;
    if (vm->want == VM_WANT_PARK && vm->nparked == vm->config.cpus)
        vm_post_tasks(vm);
    vm_gate_open(vm);
    while (vm->want == VM_WANT_PARK)
        pthread_cond_wait(&vm->changed, &vm->control);
    vm->nparked--;
    run = vm->want == VM_WANT_RUN;
    if (run)
        atomic_store(&v->run->immediate_exit, false);
    pthread_mutex_unlock(&vm->control);
    if (run)
        vm_gate_close(vm);
    return run;
}

static bool must_park(struct vm_vcpu *v)
{
    return atomic_load(&v->run->immediate_exit);
}

static void *vcpu_main(void *opaque)
{
    struct vm_vcpu *v = opaque;
    const struct engine_ops *engine = v->vm->engine;
    bool run = park(v);

    while (run) {
        int rc = engine->vcpu_run(v->vcpu);
        enum next next;

        if (rc < 0 || v->run->exit >= ARRAY_SIZE(exit_handlers)) {
            vm_end(v->vm, VM_HOST_FAILURE, "CPU %u cannot run: %s", v->id,
                   strerror(rc < 0 ? -rc : EINVAL));
            next = STOP;
        } else {
            next = answer(v);
        }
        if (next == STOP || (v->run->exit == CPU_EXIT_INTR && must_park(v)))
            run = park(v);
    }
    return NULL;
}

int vm_start_vcpus(struct vm *vm)
{
    for (unsigned i = 0; i < vm->config.cpus; i++) {
        struct vm_vcpu *v = &vm->vcpus[i];
        char name[16];
        int rc = -pthread_create(&v->thread, NULL, vcpu_main, v);

        if (rc < 0)
            return rc;
        v->started = true;
        snprintf(name, sizeof(name), "vcpu%u", i);
        pthread_setname_np(v->thread, name);
    }
    return 0;
}

void vm_join_vcpus(struct vm *vm)
{
    pthread_mutex_lock(&vm->control);
    vm->want = VM_WANT_QUIT;
    vm_kick_all(vm);
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->control);
    for (unsigned i = 0; i < vm->config.cpus; i++)
        if (vm->vcpus[i].started)
            pthread_join(vm->vcpus[i].thread, NULL);
}

void vm_kick_all(struct vm *vm)
{
    for (unsigned i = 0; i < vm->config.cpus; i++) {
        atomic_store(&vm->vcpus[i].run->immediate_exit, true);
        vm->engine->vcpu_kick(vm->vcpus[i].vcpu);
    }
}

uint64_t vm_instructions(struct vm *vm)
{
    uint64_t n = vm->past_insns;

    for (unsigned i = 0; i < vm->config.cpus; i++) {
        struct vcpu_state s;

        vm->engine->vcpu_get_state(vm->vcpus[i].vcpu, &s);
        n += s.insn_count;
    }
    return n;
}
