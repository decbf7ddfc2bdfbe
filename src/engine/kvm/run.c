/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Into the guest and back: KVM's exits become the contract's.
 *
 * The PIC's interrupt is acknowledged when KVM says that the CPU would take
 * it, and is injected at once as an interrupt in delivery, so that it is part
 * of KVM_GET_VCPU_EVENTS from then on.  (What KVM_INTERRUPT queues is not, and
 * would be lost with a state that is taken before the next entry.)
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "engine/kvm/kvm.h"

/* SIGRTMIN is the software engines' timer. */
#define KICK_SIGNAL (SIGRTMIN + 1)

enum next { AGAIN, LEAVE };

/* ---- from other threads --------------------------------------------------------- */

static void on_kick(int sig)
{
    (void)sig; /* it has interrupted KVM_RUN */
}

static void install_handler(void)
{
    struct sigaction sa = { .sa_handler = on_kick, .sa_flags = SA_RESTART };

    sigemptyset(&sa.sa_mask);
    sigaction(KICK_SIGNAL, &sa, NULL);
}

/* The bit first, then KVM's flag, then the signal: a vCPU that is not in
 * KVM_RUN yet sees the flag there. */
static void want(struct vcpu *v, uint32_t bit)
{
    atomic_fetch_or(&v->wants, bit);
    __atomic_store_n(&v->kr->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (atomic_load(&v->running))
        syscall(SYS_tgkill, getpid(), atomic_load(&v->tid), KICK_SIGNAL);
}

void kvm_vcpu_kick(struct vcpu *v)
{
    want(v, WANT_KICK);
}

void kvm_vcpu_nmi(struct vcpu *v)
{
    want(v, WANT_NMI);
}

void kvm_vcpu_extint(struct vcpu *v, bool request)
{
    if (atomic_exchange(&v->extint, request) != request && request)
        want(v, WANT_LOOK);
}

void kvm_vcpu_collect(struct vcpu *v)
{
    if (atomic_fetch_and(&v->wants, ~(uint32_t)WANT_NMI) & WANT_NMI)
        kvm_ioctl_value(v->fd, KVM_NMI, 0);
}

/* ---- exits ------------------------------------------------------------------------ */

static enum next leave(struct vcpu *v, enum cpu_exit exit)
{
    v->run.exit = exit;
    return LEAVE;
}

static enum next fail(struct vcpu *v, const char *what, uint64_t number)
{
    snprintf(v->run.error.text, sizeof(v->run.error.text), "KVM: %s (%#llx)", what,
             (unsigned long long)number);
    return leave(v, CPU_EXIT_ERROR);
}

static enum next exit_io(struct vcpu *v)
{
    const struct kvm_run *kr = v->kr;
    struct cpu_run *run = &v->run;
    size_t bytes = (size_t)kr->io.size * kr->io.count;

    if (bytes > CPU_IO_PAGE)
        return fail(v, "a string of ports is too long", bytes);
    run->io.port = kr->io.port;
    run->io.size = kr->io.size;
    run->io.count = kr->io.count;
    run->io.string = kr->io.count > 1;
    run->io.write = kr->io.direction == KVM_EXIT_IO_OUT;
    if (run->io.write)
        memcpy(run->io_data, (const uint8_t *)kr + kr->io.data_offset, bytes);
    else
        v->open = CPU_EXIT_IO;
    return leave(v, CPU_EXIT_IO);
}

static enum next exit_mmio(struct vcpu *v)
{
    const struct kvm_run *kr = v->kr;
    struct cpu_run *run = &v->run;

    run->mmio.gpa = kr->mmio.phys_addr;
    run->mmio.size = (uint8_t)MIN(kr->mmio.len, 8u);
    run->mmio.write = kr->mmio.is_write;
    run->mmio.data = 0;
    if (run->mmio.write)
        memcpy(&run->mmio.data, kr->mmio.data, run->mmio.size);
    else
        v->open = CPU_EXIT_MMIO;
    return leave(v, CPU_EXIT_MMIO);
}

static enum next exit_internal(struct vcpu *v)
{
    const struct kvm_run *kr = v->kr;
    struct kvm_regs regs = { 0 };
    char bytes[3 * 15 + 1] = "";

    kvm_ioctl(v->fd, KVM_GET_REGS, &regs);
    if (kr->internal.suberror != KVM_INTERNAL_ERROR_EMULATION)
        return fail(v, "internal error", kr->internal.suberror);
    if (kr->internal.ndata >= 1 &&
        (kr->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
        for (unsigned i = 0; i < MIN(kr->emulation_failure.insn_size, 15u); i++)
            snprintf(bytes + 3 * i, 4, " %02x", kr->emulation_failure.insn_bytes[i]);
    snprintf(v->run.error.text, sizeof(v->run.error.text),
             "KVM cannot emulate the instruction at RIP %#llx:%s", (unsigned long long)regs.rip,
             bytes[0] ? bytes : " no bytes known");
    return leave(v, CPU_EXIT_ERROR);
}

static enum next exit_debug(struct vcpu *v)
{
    v->run.debug.rip = v->kr->debug.arch.pc;
    v->run.debug.vector = v->kr->debug.arch.exception;
    v->run.debug.dr6 = v->kr->debug.arch.dr6;
    return leave(v, CPU_EXIT_DEBUG);
}

static enum next take_exit(struct vcpu *v)
{
    struct kvm_run *kr = v->kr;

    v->exits[MIN(kr->exit_reason, ARRAY_SIZE(v->exits) - 1)]++;
    switch (kr->exit_reason) {
    case KVM_EXIT_IO: return exit_io(v);
    case KVM_EXIT_MMIO: return exit_mmio(v);
    case KVM_EXIT_IOAPIC_EOI: v->run.eoi.vector = kr->eoi.vector; return leave(v, CPU_EXIT_EOI);
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR: kvm_msr_exit(v); return AGAIN;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_INTR:
    case KVM_EXIT_UNKNOWN: return AGAIN;
    case KVM_EXIT_HLT: return leave(v, CPU_EXIT_HALT);
    case KVM_EXIT_SHUTDOWN: v->shutdown = true; return leave(v, CPU_EXIT_SHUTDOWN);
    case KVM_EXIT_DEBUG: return exit_debug(v);
    case KVM_EXIT_FAIL_ENTRY:
        return fail(v, "the hardware refuses to enter the guest, reason",
                    kr->fail_entry.hardware_entry_failure_reason);
    case KVM_EXIT_INTERNAL_ERROR: return exit_internal(v);
    default: return fail(v, "unexpected exit", kr->exit_reason);
    }
}

/* ---- the PIC ------------------------------------------------------------------------ */

/* The CPU takes the interrupt now: it is in delivery from here on, which ends
 * a HLT. */
static int inject(struct vcpu *v, uint8_t vector)
{
    struct kvm_vcpu_events e;
    struct kvm_mp_state mp;
    int rc = kvm_ioctl(v->fd, KVM_GET_VCPU_EVENTS, &e);

    if (rc < 0)
        return rc;
    e.interrupt.injected = 1;
    e.interrupt.nr = vector;
    e.interrupt.soft = 0;
    e.flags &= (uint32_t)~KVM_VCPUEVENT_VALID_SMM;
    rc = kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e);
    v->kr->ready_for_interrupt_injection = 0;
    if (rc == 0 && kvm_ioctl(v->fd, KVM_GET_MP_STATE, &mp) == 0 &&
        mp.mp_state == KVM_MP_STATE_HALTED) {
        mp.mp_state = KVM_MP_STATE_RUNNABLE;
        rc = kvm_ioctl(v->fd, KVM_SET_MP_STATE, &mp);
    }
    return rc;
}

/* ---- the loop --------------------------------------------------------------------------- */

/* The answer to the exit that the caller has handled. */
static int take_answer(struct vcpu *v)
{
    enum cpu_exit open = v->open;

    v->open = CPU_EXIT_NONE;
    switch (open) {
    case CPU_EXIT_IO:
        memcpy((uint8_t *)v->kr + v->kr->io.data_offset, v->run.io_data,
               (size_t)v->kr->io.size * v->kr->io.count);
        return 0;
    case CPU_EXIT_MMIO: memcpy(v->kr->mmio.data, &v->run.mmio.data, v->kr->mmio.len); return 0;
    case CPU_EXIT_EXTINT:
        return v->run.extint.vector >= 0 ? inject(v, (uint8_t)v->run.extint.vector) : 0;
    default: return 0;
    }
}

/* KVM_RUN; -EINTR if something is wanted (an instruction that was in flight
 * is complete then). */
static int enter(struct vcpu *v)
{
    int rc;

    v->kr->request_interrupt_window = atomic_load(&v->extint);
    rc = ioctl(v->fd, KVM_RUN, 0) < 0 ? -errno : 0;
    return rc;
}

/* Looks at what others want.  LEAVE: the contract's exit for a kick. */
static enum next look(struct vcpu *v)
{
    uint32_t wants;

    /* The flag first: who sets a bit after this sets the flag again. */
    __atomic_store_n(&v->kr->immediate_exit, 0, __ATOMIC_SEQ_CST);
    wants = atomic_exchange(&v->wants, 0);
    if (wants & WANT_NMI)
        kvm_ioctl_value(v->fd, KVM_NMI, 0);
    if ((wants & WANT_KICK) || atomic_load(&v->run.immediate_exit))
        return leave(v, CPU_EXIT_INTR);
    return AGAIN;
}

/* One entry and what came of it. */
static enum next step(struct vcpu *v, int *rc)
{
    if (atomic_load_explicit(&v->run.immediate_exit, memory_order_relaxed))
        v->kr->immediate_exit = 1;
    *rc = enter(v);
    if (*rc == 0)
        return take_exit(v);
    if (*rc == -EAGAIN) { /* a start-up IPI has come */
        *rc = 0;
        return AGAIN;
    }
    if (*rc != -EINTR)
        return LEAVE;
    *rc = 0;
    if (look(v) == LEAVE)
        return LEAVE;
    /* As of this entry, in which the last exit was completed. */
    if (atomic_load(&v->extint) && v->kr->ready_for_interrupt_injection) {
        v->open = CPU_EXIT_EXTINT;
        v->run.extint.vector = -1;
        return leave(v, CPU_EXIT_EXTINT);
    }
    return AGAIN;
}

static int run_loop(struct vcpu *v)
{
    enum next next = AGAIN;
    int rc = 0;

    while (next == AGAIN) {
        /* Completing what the exit was for is an entry of its own. */
        if (atomic_load(&v->extint) && v->kr->ready_for_interrupt_injection)
            v->kr->immediate_exit = 1;
        next = step(v, &rc);
    }
    return rc;
}

int kvm_vcpu_run(struct vcpu *v)
{
    int rc;

    if (v->shutdown) {
        v->run.exit = CPU_EXIT_SHUTDOWN;
        return 0;
    }
    rc = kvm_memory_map(v->vm);
    if (rc == 0)
        rc = take_answer(v);
    if (rc < 0)
        return rc;
    atomic_store(&v->tid, gettid());
    atomic_store(&v->running, true);
    rc = run_loop(v);
    atomic_store(&v->running, false);
    return rc;
}

struct cpu_run *kvm_vcpu_page(struct vcpu *v)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, install_handler);
    return &v->run;
}
