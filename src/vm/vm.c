/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making a machine from its configuration, and taking it apart. */
#include "vm/vm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "chardev/term.h"
#include "vm/internal.h"
#include "vm/signals.h"

/* Fills *error; returns rc. */
__attribute__((format(printf, 4, 5))) static int fail(struct vm_error *error, int rc, int status,
                                                      const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(error->text, sizeof(error->text), fmt, ap);
    va_end(ap);
    error->status = status;
    return rc;
}

static int choose_engine(struct vm *vm, struct vm_error *error)
{
    char err[300];
    int rc = vm_choose_engine(vm, err, sizeof(err));

    if (rc < 0)
        return fail(error, rc, rc == -EINVAL ? VM_WRONG_USAGE : VM_HOST_FAILURE, "%s", err);
    vm->tsc_hz = vm->engine->tsc_hz ? vm->engine->tsc_hz(VM_TSC_HZ) : VM_TSC_HZ;
    return 0;
}

/* The host may be short of memory when the guest needs it; but more than it
 * has at all can never be there. */
static int check_host_memory(uint64_t size, char *err, size_t err_size)
{
    struct sysinfo info;
    uint64_t has;

    if (sysinfo(&info) < 0)
        return 0;
    has = ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
    if (size <= has)
        return 0;
    snprintf(err, err_size, "--memory: the host has %llu MiB with its swap, which is less than "
             "%llu MiB; give a smaller size", (unsigned long long)(has / MiB),
             (unsigned long long)(size / MiB));
    return -ENOMEM;
}

static int make_memory(struct vm *vm, struct vm_error *error)
{
    char err[200];
    int rc = check_host_memory(vm->config.memory, err, sizeof(err));

    if (rc == 0)
        rc = mem_create(&vm->mem, vm->config.memory, err, sizeof(err));
    if (rc < 0)
        return fail(error, rc, VM_HOST_FAILURE, "%s", err);
    ram_map_init(&vm->map, vm->config.memory);
    rc = ram_map_add_slots(&vm->map, vm->mem);
    return rc < 0 ? fail(error, rc, VM_HOST_FAILURE, "memory map: %s", strerror(-rc)) : 0;
}

static enum cpu_stress stress_of(const struct vm_config *config)
{
    return strcmp(config->stress, "one-insn") == 0 ? STRESS_ONE_INSN :
           strcmp(config->stress, "flush") == 0 ? STRESS_FLUSH :
           strcmp(config->stress, "evict") == 0 ? STRESS_EVICT : STRESS_NONE;
}

static int make_vcpus(struct vm *vm, struct vm_error *error)
{
    const struct engine_config config = { .mem = vm->mem, .clock = &vm->clock,
                                          .perf_map = vm->config.perf_map,
                                          .tb_size = vm->config.tb_size, .stress = stress_of(&vm->config),
                                          .model = &vm->model, .ncpus = vm->config.cpus,
                                          .tape = vm_tape(vm) };
    char err[200];
    int rc = cpu_model_init(&vm->model, vm->config.cpu, vm->config.cpus, vm->tsc_hz, err,
                            sizeof(err));

    if (rc < 0)
        return fail(error, rc, VM_WRONG_USAGE, "%s", err);
    if (vm->engine->limit_model)
        rc = vm->engine->limit_model(&vm->model, err, sizeof(err));
    if (rc == 0)
        rc = vm->engine->vm_create(&vm->engine_vm, &config, err, sizeof(err));
    if (rc < 0)
        return fail(error, rc, VM_HOST_FAILURE, "engine %s: %s", vm->engine->name, err);
    vm->vcpus = calloc(vm->config.cpus, sizeof(*vm->vcpus));
    if (!vm->vcpus)
        return fail(error, -ENOMEM, VM_HOST_FAILURE, "out of memory");
    for (unsigned i = 0; i < vm->config.cpus; i++) {
        struct vm_vcpu *v = &vm->vcpus[i];

        v->vm = vm;
        v->id = i;
        rc = vm->engine->vcpu_create(&v->vcpu, vm->engine_vm, i);
        if (rc < 0)
            return fail(error, rc, VM_HOST_FAILURE, "cannot make CPU %u: %s", i, strerror(-rc));
        v->run = vm->engine->vcpu_page(v->vcpu);
    }
    vm->vcpus[0].run->stop_count = vm->config.stop_at;
    return 0;
}

/* What the bus tells the engine and the VM. */

static void bus_msi(void *opaque, uint64_t address, uint32_t data)
{
    struct vm *vm = opaque;

    vm->engine->msi(vm->engine_vm, address, data);
}

static void bus_extint(void *opaque, bool level)
{
    struct vm *vm = opaque;

    vm->engine->vcpu_extint(vm->vcpus[0].vcpu, level);
}

static int bus_doorbell_add(void *opaque, bool pio, uint64_t addr, unsigned size, bool match,
                            uint64_t value, int fd)
{
    struct vm *vm = opaque;

    return vm->engine->doorbell_add(vm->engine_vm, pio, addr, size, match, value, fd);
}

static int bus_doorbell_del(void *opaque, bool pio, uint64_t addr, unsigned size, bool match,
                            uint64_t value)
{
    struct vm *vm = opaque;

    return vm->engine->doorbell_del(vm->engine_vm, pio, addr, size, match, value);
}

static void bus_request_handler(void *opaque, int what, int status)
{
    struct vm *vm = opaque;

    switch (what) {
    case BUS_RESET:
        if (vm->config.no_reboot)
            vm_end(vm, VM_OK, "guest rebooted (--no-reboot)");
        else
            vm_reset(vm);
        break;
    case BUS_POWEROFF: vm_end(vm, VM_OK, "guest powered off"); break;
    case BUS_DEBUG_EXIT:
        pthread_mutex_lock(&vm->control);
        if (!vm->debug_exited)
            vm->ended = false;  /* it wins */
        vm->debug_exited = true;
        pthread_mutex_unlock(&vm->control);
        vm_end(vm, status, "guest ended by isa-debug-exit with status %d", status);
        break;
    default: break;
    }
}

static void eoi_bitmap(void *opaque, const uint64_t bitmap[4])
{
    struct vm *vm = opaque;

    vm->engine->set_eoi_exits(vm->engine_vm, bitmap);
    vm_record_eoi_exits(vm, bitmap);
}

static void set_a20(void *opaque, unsigned n, bool level)
{
    struct vm *vm = opaque;

    (void)n;
    vm->engine->set_a20(vm->engine_vm, level);
    vm_record_a20(vm, level);
}

static int make_bus(struct vm *vm, struct vm_error *error)
{
    int rc = bus_create(&vm->bus, vm->mem, &vm->clock);

    if (rc == 0)
        rc = loop_create(&vm->loop, &vm->bus->lock, &vm->clock);
    if (rc < 0)
        return fail(error, rc, VM_HOST_FAILURE, "cannot make the event loop: %s", strerror(-rc));
    vm->bus->loop = vm->loop;
    vm->bus->msi = bus_msi;
    vm->bus->extint = bus_extint;
    vm->bus->request = bus_request_handler;
    /* With a tape each notification is an exit: a signal would leave no trace. */
    if (!vm_tape(vm)) {
        vm->bus->doorbell_add = bus_doorbell_add;
        vm->bus->doorbell_del = bus_doorbell_del;
    }
    vm->bus->doorbell_opaque = vm;
    if (vm->recorder) {
        vm->bus->gate_enter = vm_gate_enter;
        vm->bus->gate_leave = vm_gate_leave;
        vm->bus->gate_opaque = vm;
    }
    vm->bus->msi_opaque = vm->bus->extint_opaque = vm->bus->request_opaque = vm;
    return 0;
}

static void console_quit(void *opaque)
{
    vm_end(opaque, VM_OK, "ended from the console");
}

static int make_serial(struct vm *vm, struct vm_error *error)
{
    const struct chardev_console console = { .quit = console_quit, .monitor_focus = monitor_focus,
                                             .monitor_input = monitor_input,
                                             .opaque = vm };

    for (unsigned i = 0; i < VM_SERIAL_PORTS; i++) {
        const char *spec = vm->config.serial[i];
        char err[256];
        int rc;

        if (!spec || strcmp(spec, "none") == 0)
            continue;
        rc = chardev_create(&vm->serial[i], vm->loop, spec, &console, err, sizeof(err));
        if (rc < 0)
            return fail(error, rc, VM_WRONG_USAGE, "--serial: %s", err);
        if (chardev_is_stdio(vm->serial[i]))
            vm->console = vm->serial[i];
    }
    return 0;
}

static int make_disks(struct vm *vm, struct vm_error *error)
{
    char err[280];
    int rc = vm_open_disks(vm, err, sizeof(err));

    return rc < 0 ? fail(error, rc, VM_WRONG_USAGE, "%s", err) : 0;
}

static int make_nets(struct vm *vm, struct vm_error *error)
{
    char err[280];
    int rc = vm_open_nets(vm, err, sizeof(err));

    return rc < 0 ? fail(error, rc, VM_WRONG_USAGE, "%s", err) : 0;
}

static int make_board(struct vm *vm, struct vm_error *error)
{
    struct board_config config = {
        .ncpus = vm->config.cpus, .map = &vm->map, .boot = vm->boot, .eoi_bitmap = eoi_bitmap,
        .a20 = vm->engine->set_a20 ? set_a20 : NULL, .opaque = vm, .virtio = vm->virtio,
    };
    const struct board_ops *ops = board_find(vm->config.machine);
    struct cpu_counter counters[4];
    unsigned n;
    char err[256];
    int rc;

    /* The one device that there is. */
    if (vm->config.ndevices) {
        config.debug_exit = true;
        config.debug_exit_port = vm->config.devices[0].iobase;
        config.debug_exit_size = vm->config.devices[0].iosize;
    }
    memcpy(config.serial, vm->serial, sizeof(config.serial));
    if (!ops)
        return fail(error, -EINVAL, VM_WRONG_USAGE, "unknown machine '%s'", vm->config.machine);
    rc = ops->create(&vm->board, vm->bus, &config, err, sizeof(err));
    if (rc < 0)
        return fail(error, rc, rc == -EEXIST || rc == -EINVAL ? VM_WRONG_USAGE : VM_HOST_FAILURE,
                    "%s", err);
    n = vm->engine->counter_add ? ops->counters(vm->board, counters, ARRAY_SIZE(counters)) : 0;
    for (unsigned i = 0; i < n; i++)
        vm->engine->counter_add(vm->engine_vm, &counters[i]);
    return 0;
}

static int open_kernel(struct vm *vm, struct vm_error *error)
{
    const struct vm_config *c = &vm->config;
    char err[280];
    int rc = config_runnable(c, err, sizeof(err));

    if (rc < 0)
        return fail(error, rc, VM_WRONG_USAGE, "%s", err);
    if (!c->kernel)
        return 0;
    rc = boot_open(&vm->boot, c->kernel, c->initrd, c->append, err, sizeof(err));
    return rc < 0 ? fail(error, rc, VM_WRONG_USAGE, "%s", err) : 0;
}

int vm_boot(struct vm *vm, char *err, size_t err_size)
{
    unsigned n = vm->config.cpus;
    struct vcpu_state *states = calloc(n, sizeof(*states));
    int rc = states ? 0 : -ENOMEM;

    if (rc < 0)
        snprintf(err, err_size, "out of memory");
    for (unsigned i = 0; i < n && rc == 0; i++)
        vcpu_state_reset(&states[i], i, i == 0, false);
    if (rc == 0)
        rc = vm->board->ops->boot(vm->board, states, err, err_size);
    for (unsigned i = 0; i < n && rc == 0; i++)
        rc = vm->engine->vcpu_set_state(vm->vcpus[i].vcpu, &states[i], err, err_size);
    free(states);
    return rc;
}

/* The machine after power-on, or as it was saved. */
static int set_state(struct vm *vm, struct vm_error *error)
{
    const char *from = vm->config.load_state;
    char err[280];
    int rc;

    bus_reset(vm->bus);
    rc = from ? vm_load_file(vm, from, err, sizeof(err)) : vm_boot(vm, err, sizeof(err));
    return rc < 0 ? fail(error, rc, VM_WRONG_USAGE, "%s", err) : 0;
}

static int open_tape(struct vm *vm, struct vm_error *error)
{
    char err[280];
    int rc = vm_open_tape(vm, err, sizeof(err));

    return rc < 0 ? fail(error, rc, VM_WRONG_USAGE, "%s", err) : 0;
}

static int begin_tape(struct vm *vm, struct vm_error *error)
{
    char err[280];
    int rc = vm_begin_tape(vm, err, sizeof(err));

    return rc < 0 ? fail(error, rc, VM_WRONG_USAGE, "%s", err) : 0;
}

static int make(struct vm *vm, struct vm_error *error)
{
    static int (*const steps[])(struct vm *vm, struct vm_error *error) = {
        open_kernel, make_disks, make_nets, choose_engine, open_tape, make_memory, make_vcpus,
        make_bus, make_serial, make_board, set_state, begin_tape,
    };
    int rc = monitor_create(&vm->monitor, vm);

    if (rc < 0)
        return fail(error, rc, VM_HOST_FAILURE, "out of memory");
    for (unsigned i = 0; i < ARRAY_SIZE(steps) && rc == 0; i++)
        rc = steps[i](vm, error);
    return rc;
}

int vm_create(struct vm **out, const struct vm_config *config, struct vm_error *error)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    int rc;

    if (!vm)
        return fail(error, -ENOMEM, VM_HOST_FAILURE, "out of memory");
    signals_block();
    term_hook_exits();
    vm->config = *config;
    vm->signal_fd = vm->timeout_fd = -1;
    vm_clock_init(&vm->clock);
    pthread_mutex_init(&vm->control, NULL);
    pthread_cond_init(&vm->changed, NULL);
    pthread_mutex_init(&vm->gate.lock, NULL);
    pthread_cond_init(&vm->gate.changed, NULL);
    vm->gate.open = true;       /* no vCPU runs yet */
    if (vm->config.name)
        log_set_name(vm->config.name);
    rc = make(vm, error);
    if (rc < 0) {
        vm_destroy(vm);
        return rc;
    }
    fprintf(stderr, "bulkhead: engine %s (%s)%s\n", vm->engine->name, vm->engine->description,
            vm->engine_note);
    *out = vm;
    return 0;
}

static void destroy_vcpus(struct vm *vm)
{
    for (unsigned i = 0; vm->vcpus && i < vm->config.cpus; i++)
        if (vm->vcpus[i].vcpu)
            vm->engine->vcpu_destroy(vm->vcpus[i].vcpu);
    free(vm->vcpus);
    if (vm->engine_vm)
        vm->engine->vm_destroy(vm->engine_vm);
}

void vm_destroy(struct vm *vm)
{
    if (!vm)
        return;
    if (vm->bus)
        bus_destroy(vm->bus);
    if (vm->board)
        vm->board->ops->destroy(vm->board);
    for (unsigned i = 0; i < VM_SERIAL_PORTS; i++)
        chardev_destroy(vm->serial[i]);
    vm_close_disks(vm);
    vm_close_nets(vm);
    if (vm->loop)
        loop_destroy(vm->loop);
    destroy_vcpus(vm);
    vm_free_tape(vm);
    mem_destroy(vm->mem);
    boot_close(vm->boot);
    monitor_destroy(vm->monitor);
    pthread_cond_destroy(&vm->gate.changed);
    pthread_mutex_destroy(&vm->gate.lock);
    pthread_cond_destroy(&vm->changed);
    pthread_mutex_destroy(&vm->control);
    free(vm);
}
