/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events at a block boundary, in the order of SDM 3A 6.9: INIT, NMI, ExtINT,
 * local APIC.  (Traps of the previous instruction were delivered before.)
 *
 * `attention` is cleared first and its causes are looked at afterwards, so a
 * cause that comes in between is seen now or sets the word again.
 */
#include "engine/soft/soft.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/soft/lapic.h"

/* Bits that end a HLT wait; the others concern TLBs, which can wait. */
#define ATT_WAKES  (ATT_KICK | ATT_EVENT | ATT_TIMER)
#define SHADOW_ANY (SHADOW_STI | SHADOW_MOV_SS)

enum { SIGNAL_SIPI = 1, SIGNAL_INIT = 2, SIGNAL_NMI = 4 };      /* TAPE_SIGNALS; SIPI's vector << 8 */
enum { EXTINT_LINE = 1, EXTINT_MSG = 2 };                       /* TAPE_EXTINT */

void soft_wake(struct soft_cpu *c)
{
    if (atomic_load(&c->waiting) && (atomic_load(&c->attention) & ATT_WAKES))
        syscall(SYS_futex, &c->attention, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Until one of ATT_WAKES is set.  The vCPU stands meanwhile. */
static void sleep_in_halt(struct soft_cpu *c)
{
    uint32_t bits;

    if (soft_playing(c))
        return;         /* what woke it comes with the tape */
    soft_park(c);
    atomic_store(&c->waiting, 1);
    while (!((bits = atomic_load(&c->attention)) & ATT_WAKES))
        syscall(SYS_futex, &c->attention, FUTEX_WAIT_PRIVATE, bits, NULL, NULL, 0);
    atomic_store(&c->waiting, 0);
    soft_unpark(c);
}

/* SIPI before INIT: if both are there, the INIT came first, since posting
 * INIT takes back an older SIPI. */
static void take_inbox(struct soft_cpu *c)
{
    struct soft_inbox *in = &c->inbox;
    uint64_t signals = 0;

    if (atomic_exchange(&in->sipi, false))
        signals = SIGNAL_SIPI | (uint64_t)atomic_load(&in->sipi_vector) << 8;
    signals |= atomic_exchange(&in->init, false) ? SIGNAL_INIT : 0;
    signals |= atomic_exchange(&in->nmi, false) ? SIGNAL_NMI : 0;
    signals = soft_input(c, TAPE_SIGNALS, signals);
    if (signals & SIGNAL_SIPI) {
        c->s.sipi_pending = true;
        c->s.sipi_vector = (uint8_t)(signals >> 8);
    }
    if (signals & SIGNAL_INIT)
        c->s.init_pending = true;
    if (signals & SIGNAL_NMI)
        c->s.nmi_pending = true;
}

void soft_events_collect(struct soft_cpu *c)
{
    /* With a tape, what others have left is taken in at its stops only. */
    if (!c->tape) {
        take_inbox(c);
        lapic_take_inbox(c);
    }
    lapic_withdraw_pv_eoi(c);
    c->s.extint_request = atomic_load(&c->inbox.extint) || atomic_load(&c->inbox.extint_msg);
}

void soft_events_loaded(struct soft_cpu *c)
{
    /* INIT on the running vCPU: messages go on arriving, lines stay. */
    if (!atomic_load(&c->running)) {
        atomic_store(&c->inbox.nmi, false);
        atomic_store(&c->inbox.init, false);
        atomic_store(&c->inbox.sipi, false);
        atomic_store(&c->inbox.extint_msg, false);
        atomic_store(&c->inbox.extint, c->s.extint_request);
        c->io.made = c->io.used = 0;
        c->io.pending = false;
        c->extint_ack = false;
        c->extint_vector = 0;
    }
    lapic_rearm(c);
    soft_attention(c, ATT_EVENT);
}

/* INIT (SDM 3A 9.1.1, table 9-1): through the state, as every other reset. */
static void take_init(struct soft_cpu *c)
{
    struct vcpu_state s;
    uint8_t vector;
    char err[120];
    bool sipi;

    soft_get_state(c, &s);
    sipi = s.sipi_pending;
    vector = s.sipi_vector;
    vcpu_state_reset(&s, c->id, s.lapic.base & APIC_BASE_BSP, true);
    s.gpr[CPU_RDX] = cpu_model_lookup(c->vm->model, 1, 0).eax;
    s.sipi_pending = sipi;
    s.sipi_vector = vector;
    if (soft_set_state(c, &s, err, sizeof(err)))
        log_error(LOG_CPU, "INIT: %s", err);
}

/* Start-up IPI: real mode at vector * 4096 (SDM 3A 8.4.3). */
static void take_sipi(struct soft_cpu *c)
{
    struct seg_state *cs = &c->s.seg[SEG_CS];

    c->s.sipi_pending = false;
    cs->selector = (uint16_t)(c->s.sipi_vector << 8);
    cs->base = (uint64_t)c->s.sipi_vector << 12;
    soft_rip(c) = 0;
    c->s.mp_state = MP_RUNNABLE;
    soft_mode_changed(c);
}

static int deliver_vector(struct soft_cpu *c, unsigned vector)
{
    int r;

    c->s.mp_state = MP_RUNNABLE;
    c->shadow = 0;
    r = soft_deliver_interrupt(c, vector);
    if (!r)
        soft_io_done(c);
    return r ? SOFT_EXIT : SOFT_JUMP;
}

/* What was being delivered when the vCPU left: SOFT_NEXT if nothing was. */
static int resume_delivery(struct soft_cpu *c)
{
    unsigned vector = c->extint_vector;

    if (c->in_delivery) {
        if (soft_resume_delivery(c))
            return SOFT_EXIT;
        soft_io_done(c);
        return SOFT_JUMP;
    }
    if (vector) {
        c->extint_vector = 0;
        return deliver_vector(c, vector - 1);
    }
    if (!c->s.exception_pending)
        return SOFT_NEXT;
    /* From a loaded state, perhaps of another engine. */
    c->s.exception_pending = false;
    c->delivering = (struct soft_exc){ .vector = c->s.exception_vector,
                                       .has_error = c->s.exception_has_error,
                                       .error = c->s.exception_error,
                                       .payload = c->s.exception_payload };
    return soft_resume_delivery(c) ? SOFT_EXIT : SOFT_JUMP;
}

/* INTR of the PIC: the board does the acknowledge cycle. */
static unsigned extint_asks(struct soft_cpu *c)
{
    unsigned now = (atomic_load(&c->inbox.extint) ? EXTINT_LINE : 0) |
                   (atomic_load(&c->inbox.extint_msg) ? EXTINT_MSG : 0);

    return (unsigned)soft_input(c, TAPE_EXTINT, now);
}

static bool extint_ready(struct soft_cpu *c)
{
    unsigned asks = extint_asks(c);

    return (asks & EXTINT_MSG) || ((asks & EXTINT_LINE) && lapic_accepts_extint(c));
}

static int ask_extint(struct soft_cpu *c)
{
    atomic_store(&c->inbox.extint_msg, false);
    c->extint_ack = true;
    c->run->exit = CPU_EXIT_EXTINT;
    c->run->extint.vector = -1;
    return SOFT_EXIT;
}

static int take_interrupt(struct soft_cpu *c)
{
    if (c->s.nmi_pending && !(c->s.shadows & SHADOW_NMI) && !(c->shadow & SHADOW_MOV_SS)) {
        c->s.nmi_pending = false;
        c->s.shadows |= SHADOW_NMI;
        return deliver_vector(c, VEC_NMI);
    }
    if (!(c->rflags & X86_IF) || (c->shadow & SHADOW_ANY))
        return SOFT_NEXT;
    if (extint_ready(c))
        return ask_extint(c);
    if (lapic_pending(c) >= 0)
        return deliver_vector(c, (unsigned)lapic_acknowledge(c));
    return SOFT_NEXT;
}

/* The next event: SOFT_JUMP if there was one, SOFT_NEXT if not. */
static int take_event(struct soft_cpu *c)
{
    if (c->s.init_pending) {
        c->s.init_pending = false;
        take_init(c);
        return SOFT_JUMP;
    }
    if (c->s.mp_state == MP_WAIT_SIPI) {
        if (!c->s.sipi_pending)
            return SOFT_NEXT;
        take_sipi(c);
        return SOFT_JUMP;
    }
    c->s.sipi_pending = false;
    if (c->s.mp_state == MP_SHUTDOWN) {
        c->run->exit = CPU_EXIT_SHUTDOWN;
        return SOFT_EXIT;
    }
    return take_interrupt(c);
}

/* HLT, wait-for-SIPI.  SOFT_NEXT: look for events again. */
static int wait_for_event(struct soft_cpu *c)
{
    /* The monitored line is not watched: MWAIT may end at any time. */
    if (c->s.mp_state == MP_MWAIT) {
        c->s.mp_state = MP_RUNNABLE;
        return SOFT_NEXT;
    }
    if (c->run->halt_exits && c->s.mp_state == MP_HALTED && !c->s.lapic.timer_deadline_ns) {
        c->run->exit = CPU_EXIT_HALT;
        return SOFT_EXIT;
    }
    sleep_in_halt(c);
    return SOFT_NEXT;
}

/* Clear attention and do what has nothing to do with the guest's events. */
static uint32_t take_attention(struct soft_cpu *c)
{
    uint32_t bits = atomic_fetch_and(&c->attention, ATT_CODE | ATT_FLUSH);

    if (bits & ATT_EXCLUSIVE) {
        soft_park(c);
        soft_unpark(c);
    } else {
        soft_take_flushes(c);
    }
    if (atomic_load(&c->run->immediate_exit))
        bits |= ATT_KICK;
    bits = (uint32_t)soft_input(c, TAPE_ATTENTION, bits & ATT_WAKES);
    if (bits & ATT_TIMER)
        c->timer_armed = 0;
    if (bits & (ATT_TIMER | ATT_EVENT)) {
        take_inbox(c);
        lapic_poll(c);
    }
    return bits;
}

/* Between the parts of an instruction that made an exit: no events now. */
static bool inside_instruction(const struct soft_cpu *c)
{
    return c->io.made > 0 || c->io.pending;
}

static bool is_blocked(struct soft_cpu *c)
{
    return c->s.nmi_pending || extint_asks(c) || lapic_has_irr(c);
}

static int leave(struct soft_cpu *c)
{
    /* Events are looked at again at the next entry. */
    atomic_fetch_or(&c->attention, ATT_EVENT);
    return SOFT_EXIT;
}

int soft_events(struct soft_cpu *c)
{
    int r;

    do {
        uint32_t bits = take_attention(c);

        r = resume_delivery(c);
        if (r == SOFT_EXIT)
            return leave(c);
        if (inside_instruction(c)) {
            atomic_fetch_or(&c->attention, (bits & ATT_KICK) | ATT_EVENT);
            return 0;
        }
        if (bits & ATT_KICK) {
            c->run->exit = CPU_EXIT_INTR;
            return leave(c);
        }
        r = take_event(c);
        if (r == SOFT_NEXT && c->s.mp_state != MP_RUNNABLE)
            r = wait_for_event(c);
        if (r == SOFT_EXIT)
            return leave(c);
        /* Nothing will wake a halted vCPU any more. */
        if (unlikely(c->tape != NULL) && c->tape->over) {
            c->run->exit = CPU_EXIT_TAPE;
            return leave(c);
        }
    } while (r == SOFT_JUMP || c->s.mp_state != MP_RUNNABLE ||
             soft_input(c, TAPE_MORE, atomic_load(&c->attention) != 0));
    c->event_waiting = is_blocked(c);
    if (c->event_waiting && (c->shadow & SHADOW_ANY))
        atomic_fetch_or(&c->attention, ATT_EVENT);
    return 0;
}
