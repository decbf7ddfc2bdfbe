/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running: park all vCPUs, do what has to be done meanwhile, let them run.
 *
 * A task is asked for by vm_when_parked.  The last vCPU that parks posts
 * run_tasks to the loop; it stops the clock, does the tasks in order and,
 * unless the VM is stopped or ends, starts all again.  The VM starts in the
 * same way, its vCPUs being parked at first.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "chardev/term.h"
#include "vm/internal.h"
#include "vm/signals.h"

/* The clock, and the devices' own threads with it. */
static void set_clock(struct vm *vm, bool running)
{
    if (vm->clock.running == running)
        return;
    if (running) {
        vm_clock_start(&vm->clock);
    } else {
        bus_quiesce(vm->bus);
        vm_clock_stop(&vm->clock);
    }
    vm->engine->clock_changed(vm->engine_vm);
    loop_clock_changed(vm->loop);
    if (running)
        bus_resume(vm->bus);
}

/* The next task, or false.  Without one, lets the vCPUs run if they may. */
static bool next_task(struct vm *vm, struct vm_task *task)
{
    bool any;

    pthread_mutex_lock(&vm->control);
    any = vm->ntasks > 0 && vm->want == VM_WANT_PARK;
    if (any) {
        *task = vm->tasks[0];
        vm->ntasks--;
        memmove(&vm->tasks[0], &vm->tasks[1], vm->ntasks * sizeof(vm->tasks[0]));
    } else {
        vm->park_posted = false;
        if (vm->want == VM_WANT_PARK && !vm->stopped) {
            set_clock(vm, true);
            vm->want = VM_WANT_RUN;
            pthread_cond_broadcast(&vm->changed);
        }
    }
    pthread_mutex_unlock(&vm->control);
    return any;
}

/* On the loop's thread, with the bus lock held. */
static void run_tasks(void *opaque)
{
    struct vm *vm = opaque;
    struct vm_task task;

    set_clock(vm, false);
    while (next_task(vm, &task))
        task.fn(vm, task.opaque);
}

void vm_post_tasks(struct vm *vm)
{
    if (!vm->park_posted)
        vm->park_posted = loop_post(vm->loop, run_tasks, vm) == 0;
}

int vm_when_parked(struct vm *vm, void (*fn)(struct vm *vm, void *opaque), void *opaque)
{
    int rc = -ENOSPC;

    pthread_mutex_lock(&vm->control);
    if (vm->ntasks < VM_MAX_TASKS) {
        vm->tasks[vm->ntasks++] = (struct vm_task){ fn, opaque };
        rc = 0;
    }
    if (vm->want == VM_WANT_RUN) {
        vm->want = VM_WANT_PARK;
        vm_kick_all(vm);
    }
    if (vm->want == VM_WANT_PARK && vm->nparked == vm->config.cpus)
        vm_post_tasks(vm);
    pthread_mutex_unlock(&vm->control);
    return rc;
}

void vm_end(struct vm *vm, int status, const char *fmt, ...)
{
    va_list ap;

    pthread_mutex_lock(&vm->control);
    if (!vm->ended) {
        vm->ended = true;
        vm->status = status;
        va_start(ap, fmt);
        vsnprintf(vm->cause, sizeof(vm->cause), fmt, ap);
        va_end(ap);
    }
    vm->want = VM_WANT_QUIT;
    vm_kick_all(vm);
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->control);
    loop_stop(vm->loop);
}

static void set_stopped(struct vm *vm, void *opaque)
{
    pthread_mutex_lock(&vm->control);
    vm->stopped = opaque != NULL;
    pthread_mutex_unlock(&vm->control);
}

void vm_stop(struct vm *vm)
{
    vm_when_parked(vm, set_stopped, vm);
}

void vm_cont(struct vm *vm)
{
    vm_when_parked(vm, set_stopped, NULL);
}

bool vm_is_stopped(struct vm *vm)
{
    bool stopped;

    pthread_mutex_lock(&vm->control);
    stopped = vm->stopped;
    pthread_mutex_unlock(&vm->control);
    return stopped;
}

static void do_reset(struct vm *vm, void *opaque)
{
    char err[280];

    (void)opaque;
    if (!vm->boot) {
        vm_end(vm, VM_HOST_FAILURE, "guest rebooted, and there is no --kernel to boot");
        return;
    }
    vm->past_insns = vm_instructions(vm);
    bus_reset(vm->bus);
    if (vm_boot(vm, err, sizeof(err)) < 0)
        vm_end(vm, VM_HOST_FAILURE, "reset: %s", err);
}

void vm_reset(struct vm *vm)
{
    if (vm->recorder || vm->player) {
        vm_end(vm, VM_OK, "guest rebooted, where a recording ends");
        return;
    }
    vm_when_parked(vm, do_reset, NULL);
}

void vm_nmi(struct vm *vm)
{
    vm->engine->vcpu_nmi(vm->vcpus[0].vcpu);
}

void vm_powerdown(struct vm *vm)
{
    vm->board->ops->power_button(vm->board);
}

static void timeout(void *opaque, int fd, uint32_t events)
{
    struct vm *vm = opaque;

    (void)events;
    loop_fd_remove(vm->loop, fd);
    vm_end(vm, VM_TIMEOUT, "timeout: the guest did not end within %g seconds",
           (double)vm->config.timeout_ns / NSEC_PER_SEC);
}

/* In host time, unlike the loop's timers. */
static int start_timeout(struct vm *vm)
{
    const uint64_t ns = vm->config.timeout_ns;
    const struct itimerspec at = { .it_value = { .tv_sec = (time_t)(ns / NSEC_PER_SEC),
                                                 .tv_nsec = (long)(ns % NSEC_PER_SEC) } };
    int rc = 0;

    if (!ns)
        return 0;
    vm->timeout_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (vm->timeout_fd < 0 || timerfd_settime(vm->timeout_fd, 0, &at, NULL) < 0)
        rc = -errno;
    if (rc == 0)
        rc = loop_fd_add(vm->loop, vm->timeout_fd, EPOLLIN, timeout, vm);
    return rc;
}

/* While parked, so that the VM clock stands as well. */
static void suspend(struct vm *vm, void *opaque)
{
    (void)opaque;
    if (vm->console)
        term_restore();
    signals_suspend_self();
    if (vm->console)
        term_raw();
}

static void on_signal(void *opaque, int fd, uint32_t events)
{
    struct vm *vm = opaque;
    int number = 0;

    (void)events;
    switch (signals_read(fd, &number)) {
    case SIGNAL_SUSPEND: vm_when_parked(vm, suspend, NULL); break;
    case SIGNAL_CONTINUE:
        if (vm->console)
            term_raw();
        break;
    case SIGNAL_END:
        vm_end(vm, 128 + number, "ended by signal %d (%s)", number, strsignal(number));
        break;
    case SIGNAL_NONE: break;
    }
}

static int watch_signals(struct vm *vm)
{
    vm->signal_fd = signals_open();
    if (vm->signal_fd < 0)
        return vm->signal_fd;
    return loop_fd_add(vm->loop, vm->signal_fd, EPOLLIN, on_signal, vm);
}

static void print_stats(struct vm *vm)
{
    uint64_t n = vm_instructions(vm), ns = host_ns() - vm->start_ns;
    double seconds = (double)ns / NSEC_PER_SEC;

    fprintf(stderr, "instructions: %llu\nseconds: %.3f\nmips: %.1f\n", (unsigned long long)n,
            seconds, seconds > 0 ? (double)n / seconds / 1e6 : 0);
    for (unsigned i = 0; i < vm->config.cpus; i++)
        vm->engine->vcpu_info(vm->vcpus[i].vcpu, stderr);
}

/* All that was written to the console comes before the last lines. */
static void close_console(struct vm *vm)
{
    bus_destroy(vm->bus);
    vm->bus = NULL;
    for (unsigned i = 0; i < VM_SERIAL_PORTS; i++) {
        chardev_destroy(vm->serial[i]);
        vm->serial[i] = NULL;
    }
}

int vm_run(struct vm *vm)
{
    int rc;

    vm->start_ns = host_ns();
    vm->past_insns = 0 - vm_instructions(vm); /* a loaded state has some */
    rc = watch_signals(vm);
    if (rc == 0)
        rc = start_timeout(vm);
    if (rc == 0)
        rc = vm_start_vcpus(vm);
    if (rc < 0)
        vm_end(vm, VM_HOST_FAILURE, "cannot start the machine: %s", strerror(-rc));
    else
        loop_run(vm->loop);
    vm_join_vcpus(vm);
    vm_end_tape(vm);
    if (vm->timeout_fd >= 0)
        close(vm->timeout_fd);
    if (vm->signal_fd >= 0)
        close(vm->signal_fd);
    close_console(vm);
    if (vm->config.stats)
        print_stats(vm);
    fprintf(stderr, "bulkhead: %s\n", vm->cause);
    return vm->status;
}
