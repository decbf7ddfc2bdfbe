/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions and interrupts: from a vector to the first instruction of its
 * handler (SDM 3A 6, 3B 20 for virtual-8086 mode).
 *
 * All that can fault comes before the first register is written: gate, code
 * segment, stack, and the pushes themselves.  So a fault in a delivery leaves
 * the state as it was, and soft_deliver_exception can go on to what follows
 * from it: the second fault, a double fault, or shutdown (6.15 vector 8).
 */
#include "engine/soft/seg.h"

#define DR6_FIXED       0xffff0ff0ULL
#define DR6_BREAKPOINTS 0xfULL
#define DR7_GD          0x2000ULL

/* An event on its way through the IDT. */
struct event {
    uint8_t vector;
    bool has_error;
    bool dpl_check; /* INT n, INT3, INTO: the gate's DPL counts */
    uint32_t error;
    uint64_t rip;   /* to return to */
    uint64_t flags; /* to be pushed */
};

int soft_raise(struct soft_cpu *c, unsigned vector)
{
    c->exc = (struct soft_exc){ .vector = (uint8_t)vector };
    return SOFT_FAULT;
}

int soft_raise_err(struct soft_cpu *c, unsigned vector, uint32_t error)
{
    c->exc = (struct soft_exc){ .vector = (uint8_t)vector, .has_error = true, .error = error };
    return SOFT_FAULT;
}

int soft_raise_pf(struct soft_cpu *c, uint64_t la, uint32_t error)
{
    c->exc =
        (struct soft_exc){ .vector = VEC_PF, .has_error = true, .error = error, .payload = la };
    return SOFT_FAULT;
}

/* Error code that names an IDT entry (SDM 3A 6.13); EXT is set by who knows. */
static int idt_fault(struct soft_cpu *c, unsigned vector, const struct event *e)
{
    return soft_raise_err(c, vector, (uint32_t)e->vector << 3 | 2);
}

/* RFLAGS to be pushed. */
static uint64_t frame_flags(struct soft_cpu *c)
{
    uint64_t flags = soft_get_rflags(c);

    return likely(!c->tape) ? flags : soft_tape_flags(c, flags);
}

/* ---- real mode ------------------------------------------------------------- */

/* SDM 2A INT n, REAL-ADDRESS-MODE; also virtual-8086 through the redirection
 * bitmap, where the table lies at linear 0 and is read as user. */
static int deliver_ivt(struct soft_cpu *c, const struct event *e)
{
    bool v86 = soft_v86(c);
    uint64_t la = v86 ? e->vector * 4u : (uint32_t)(c->s.idtr.base + e->vector * 4u), target;
    struct stack st = stack_present(c);
    int r;

    if (!v86 && e->vector * 4u + 3 > c->s.idtr.limit)
        return idt_fault(c, VEC_GP, e);
    r = v86 ? soft_read(c, la, 4, &target) : soft_sys_read(c, la, 4, &target);
    if (!r)
        r = stack_push(c, &st, 2, (uint16_t)e->flags);
    if (!r)
        r = stack_push(c, &st, 2, c->s.seg[SEG_CS].selector);
    if (!r)
        r = stack_push(c, &st, 2, (uint16_t)e->rip);
    if (r)
        return r;
    stack_commit(c, &st);
    if (v86)
        seg_load_v86(c, SEG_CS, (uint16_t)(target >> 16));
    else
        seg_load_real(c, SEG_CS, (uint16_t)(target >> 16));
    soft_rip(c) = (uint16_t)target;
    return 0;
}

static int deliver_real(struct soft_cpu *c, const struct event *e)
{
    int r = deliver_ivt(c, e);

    if (!r)
        soft_set_rflags(c, soft_get_rflags(c) & ~(uint64_t)(X86_IF | X86_TF | X86_AC | X86_RF));
    return r;
}

/* ---- protected mode ---------------------------------------------------------- */

/* What the gate leads to, once its code segment is checked. */
struct gate {
    uint64_t raw; /* first 8 bytes */
    uint64_t offset;
    struct desc code;
    unsigned cpl;  /* of the handler */
    unsigned size; /* of a push */
    bool inner;    /* the stack is switched */
};

/* SDM 2A INT n, PROTECTED-MODE to TRAP-OR-INTERRUPT-GATE. */
static int gate_read(struct soft_cpu *c, const struct event *e, struct gate *g)
{
    unsigned shift = soft_lma(c) ? 4 : 3, off = (unsigned)e->vector << shift, type;
    uint64_t la = soft_lma(c) ? c->s.idtr.base + off : (uint32_t)(c->s.idtr.base + off), high = 0;
    int r;

    if (unlikely(off + (1u << shift) - 1 > c->s.idtr.limit))
        return idt_fault(c, VEC_GP, e);
    r = soft_sys_read(c, la, 8, &g->raw);
    if (!r && soft_lma(c))
        r = soft_sys_read(c, la + 8, 8, &high);
    if (unlikely(r))
        return r;
    type = desc_type(g->raw) | (desc_s(g->raw) ? 16u : 0);
    if (soft_lma(c) ? type != DESC_INT32 && type != DESC_TRAP32
                    : type != DESC_TASK_GATE && (type & ~9u) != DESC_INT16)
        return idt_fault(c, VEC_GP, e);
    if (e->dpl_check && desc_dpl(g->raw) < c->cpl)
        return idt_fault(c, VEC_GP, e);
    if (!desc_present(g->raw))
        return idt_fault(c, VEC_NP, e);
    g->offset = gate_offset(g->raw) | high << 32;
    g->size = soft_lma(c) ? 8 : type & 8 ? 4 : 2;
    if (g->size == 2)
        g->offset &= 0xffff;
    return 0;
}

static int gate_check_code(struct soft_cpu *c, struct gate *g)
{
    uint16_t selector = gate_selector(g->raw);
    uint32_t error = selector & 0xfffc;
    uint64_t raw;
    int r;

    if (selector_null(selector))
        return soft_gp0(c);
    r = desc_read(c, selector, VEC_GP, &g->code);
    if (unlikely(r))
        return r;
    raw = g->code.raw;
    if (!desc_is_code(raw) || desc_dpl(raw) > c->cpl)
        return soft_raise_err(c, VEC_GP, error);
    if (soft_lma(c) && (!desc_long(raw) || desc_big(raw)))
        return soft_raise_err(c, VEC_GP, error);
    if (!desc_present(raw))
        return soft_raise_err(c, VEC_NP, error);
    g->inner = !desc_conforming(raw) && desc_dpl(raw) < c->cpl;
    g->cpl = g->inner ? desc_dpl(raw) : c->cpl;
    if (soft_v86(c) && (!g->inner || g->cpl))
        return soft_raise_err(c, VEC_GP, error);
    return desc_set_accessed(c, &g->code);
}

/* TF, NT, VM and RF go; IF where the gate is an interrupt gate (6.8.1, 6.12.1.2). */
static void enter_handler(struct soft_cpu *c, const struct gate *g)
{
    uint32_t clear = X86_TF | X86_NT | X86_VM | X86_RF;

    if (!(desc_type(g->raw) & 1))
        clear |= X86_IF;
    code_set(c, g->code.raw, gate_selector(g->raw), g->cpl);
    soft_rip(c) = g->offset;
    c->rflags &= ~clear;
    soft_mode_changed(c);
}

static int deliver_gate64(struct soft_cpu *c, const struct event *e, const struct gate *g)
{
    unsigned ist = (unsigned)(g->raw >> 32) & 7;
    /* Compatibility mode has a 32-bit stack pointer. */
    uint64_t sp = c->code64 ? c->gpr[CPU_RSP] : (uint32_t)c->gpr[CPU_RSP];
    struct stack st = { .sp = sp, .mask = ~0ULL };
    uint16_t ss = c->s.seg[SEG_SS].selector;
    int r = 0;

    if (g->inner || ist)
        r = stack_inner64(c, g->cpl, ist, &st);
    if (unlikely(r))
        return r;
    if (unlikely(!x86_canonical(g->offset)))
        return soft_gp0(c);
    st.sys = g->inner;
    st.sp &= ~15ULL;
    if ((r = stack_push(c, &st, 8, ss)) || (r = stack_push(c, &st, 8, sp)) ||
        (r = stack_push(c, &st, 8, e->flags)) ||
        (r = stack_push(c, &st, 8, c->s.seg[SEG_CS].selector)) ||
        (r = stack_push(c, &st, 8, e->rip)) ||
        (e->has_error && (r = stack_push(c, &st, 8, e->error))))
        return r;
    c->gpr[CPU_RSP] = st.sp;
    if (g->inner)
        seg_set_null(&c->s.seg[SEG_SS], (uint16_t)g->cpl, g->cpl);
    enter_handler(c, g);
    return 0;
}

/* INTER-PRIVILEGE-LEVEL-INTERRUPT and INTERRUPT-FROM-VIRTUAL-8086-MODE push
 * the old stack; from virtual-8086 mode the data segments before it. */
static int push_outer(struct soft_cpu *c, struct stack *st, unsigned size)
{
    static const uint8_t data[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };
    int r = 0;

    for (unsigned n = 0; soft_v86(c) && !r && n < ARRAY_SIZE(data); n++)
        r = stack_push(c, st, size, c->s.seg[data[n]].selector);
    if (!r)
        r = stack_push(c, st, size, c->s.seg[SEG_SS].selector);
    return r ? r : stack_push(c, st, size, c->gpr[CPU_RSP]);
}

static void leave_v86(struct soft_cpu *c)
{
    static const uint8_t data[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };

    for (unsigned n = 0; n < ARRAY_SIZE(data); n++)
        seg_set_null(&c->s.seg[data[n]], 0, 0);
}

static int deliver_gate32(struct soft_cpu *c, const struct event *e, const struct gate *g)
{
    struct seg_state ss = c->s.seg[SEG_SS];
    struct stack st = stack_present(c);
    int r = g->inner ? stack_inner(c, g->cpl, &ss, &st) : 0;

    if (!r)
        r = code_check_target(c, g->code.raw, g->offset);
    if (!r && g->inner)
        r = push_outer(c, &st, g->size);
    if (r)
        return r;
    if ((r = stack_push(c, &st, g->size, e->flags)) ||
        (r = stack_push(c, &st, g->size, c->s.seg[SEG_CS].selector)) ||
        (r = stack_push(c, &st, g->size, e->rip)) ||
        (e->has_error && (r = stack_push(c, &st, g->size, e->error))))
        return r;
    if (g->inner) {
        c->s.seg[SEG_SS] = ss;
        if (soft_v86(c))
            leave_v86(c);
    }
    stack_commit(c, &st);
    enter_handler(c, g);
    return 0;
}

/* A task gate: the handler is a task; the error code goes on its stack. */
static int deliver_task(struct soft_cpu *c, const struct event *e, const struct gate *g)
{
    unsigned size;
    int r = task_gate(c, TASK_CALL, gate_selector(g->raw), e->rip);

    if (r || !e->has_error)
        return r;
    size = (c->s.seg[SEG_TR].attr & SEG_ATTR_TYPE) == DESC_TSS32_BUSY ? 4 : 2;
    return soft_push(c, size, e->error);
}

static int deliver(struct soft_cpu *c, const struct event *e)
{
    struct gate g;
    int r;

    if (unlikely(!soft_pe(c)))
        return deliver_real(c, e);
    r = gate_read(c, e, &g);
    if (unlikely(r))
        return r;
    if (!soft_lma(c) && desc_type(g.raw) == DESC_TASK_GATE)
        return deliver_task(c, e, &g);
    r = gate_check_code(c, &g);
    if (unlikely(r))
        return r;
    return soft_lma(c) ? deliver_gate64(c, e, &g) : deliver_gate32(c, e, &g);
}

/* ---- software interrupts ------------------------------------------------------ */

/* SDM 3B 20.3.3, table 20-2: INT n in virtual-8086 mode.  1: handled by the
 * 8086 program itself, 0: through the IDT. */
static int redirect_v86(struct soft_cpu *c, struct event *e)
{
    const struct seg_state *tr = &c->s.seg[SEG_TR];
    uint64_t base, bits = 0, fl;
    bool vif = soft_iopl(c) < 3;
    int r = 0;

    if (c->s.cr4 & CR4_VME) {
        r = soft_sys_read(c, (uint32_t)(tr->base + 0x66), 2, &base);
        if (!r && base - 32 + e->vector / 8u > tr->limit)
            return soft_gp0(c);
        if (!r)
            r = soft_sys_read(c, (uint32_t)(tr->base + base - 32 + e->vector / 8u), 1, &bits);
        if (r)
            return r;
    }
    if (!(c->s.cr4 & CR4_VME) || (bits >> (e->vector % 8) & 1))
        return vif ? soft_gp0(c) : 0;
    if (vif)
        e->flags = (e->flags & ~(uint64_t)X86_IF) | X86_IOPL | (c->rflags & X86_VIF ? X86_IF : 0);
    r = deliver_ivt(c, e);
    if (r)
        return r;
    fl = soft_get_rflags(c) & ~(uint64_t)(X86_TF | (vif ? X86_VIF : X86_IF));
    soft_set_rflags(c, fl);
    c->step = false;
    return SOFT_JUMP;
}

int soft_interrupt(struct soft_cpu *c, unsigned vector, enum soft_int_kind kind, uint64_t next_rip)
{
    struct event e = { .vector = (uint8_t)vector,
                       .rip = next_rip,
                       .flags = soft_get_rflags(c),
                       .dpl_check = kind != INT_1 };
    int r;

    if (unlikely(soft_v86(c)) && kind == INT_SOFT) {
        r = redirect_v86(c, &e);
        if (r)
            return r;
    }
    if (kind == INT_1)
        c->s.dr7 &= ~DR7_GD;
    r = deliver(c, &e);
    /* INT1 counts as external (SDM 2A INT n, "EXT"). */
    if (r == SOFT_FAULT && kind == INT_1 && c->exc.vector >= VEC_TS && c->exc.vector <= VEC_GP)
        c->exc.error |= 1;
    /* TF went with the gate: no trap behind the instruction itself. */
    c->step = c->step && (c->rflags & X86_TF);
    return r ? r : SOFT_JUMP;
}

/* ---- exceptions ------------------------------------------------------------------ */

/* SDM 3A table 6-4. */
enum exc_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum exc_class class_of(unsigned vector)
{
    switch (vector) {
    case VEC_DE:
    case VEC_TS:
    case VEC_NP:
    case VEC_SS:
    case VEC_GP: return CONTRIBUTORY;
    case VEC_PF: return PAGE_FAULT;
    case VEC_DF: return DOUBLE_FAULT;
    default: return BENIGN;
    }
}

/* c->exc came up in the delivery of `first`.  What is to be delivered now is
 * left in c->exc (SDM 3A table 6-5); false: shutdown. */
static bool combine(struct soft_cpu *c, enum exc_class first)
{
    enum exc_class second = class_of(c->exc.vector);

    /* EXT: an event that is no INT n led here (6.13). */
    if (c->exc.has_error && c->exc.vector >= VEC_TS && c->exc.vector <= VEC_GP)
        c->exc.error |= 1;
    if (first == DOUBLE_FAULT && second != BENIGN)
        return false;
    if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
        (first == PAGE_FAULT && second != BENIGN)) {
        if (second == PAGE_FAULT)
            c->s.cr2 = c->exc.payload;
        soft_raise_err(c, VEC_DF, 0);
    }
    return true;
}

/* RF in the pushed image: 1 for faults (3B 17.3.1.1), but for instruction
 * breakpoints; #DB here is one of those or general detect. */
static bool sets_rf(const struct soft_exc *x)
{
    switch (x->vector) {
    case VEC_DB: return !(x->payload & DR6_BREAKPOINTS);
    case VEC_NMI:
    case VEC_BP:
    case VEC_OF:
    case VEC_DF:
    case VEC_MC: return false;
    default: return true;
    }
}

/* CR2 and DR6 change when the exception is delivered, not when it is raised. */
static void apply_payload(struct soft_cpu *c, const struct soft_exc *x)
{
    if (x->vector == VEC_PF) {
        c->s.cr2 = x->payload;
    } else if (x->vector == VEC_DB) {
        c->s.dr6 = (c->s.dr6 & ~DR6_BREAKPOINTS) | DR6_FIXED | x->payload;
        c->s.dr7 &= ~DR7_GD;
    }
}

static int finish(struct soft_cpu *c, int r)
{
    c->in_delivery = r == SOFT_EXIT && c->s.mp_state != MP_SHUTDOWN;
    c->deliveries += !c->in_delivery;
    return r;
}

/* Deliver e (of c->delivering) and what follows from faults on the way. */
static int deliver_chain(struct soft_cpu *c, struct event *e, enum exc_class class)
{
    for (;;) {
        int r = deliver(c, e);

        if (likely(r != SOFT_FAULT))
            return finish(c, r);
        if (!combine(c, class))
            return finish(c, soft_shutdown(c));
        class = class_of(c->exc.vector);
        apply_payload(c, &c->exc);
        c->delivering = c->exc;
        /* rip may be another task's now; a fault's RF as ever. */
        *e = (struct event){ .vector = c->exc.vector,
                             .has_error = c->exc.has_error && soft_pe(c),
                             .error = c->exc.error,
                             .rip = soft_rip(c),
                             .flags = frame_flags(c) };
        if (sets_rf(&c->exc))
            e->flags |= X86_RF;
    }
}

int soft_deliver_exception(struct soft_cpu *c)
{
    struct event e = { .vector = c->exc.vector,
                       .has_error = c->exc.has_error && soft_pe(c),
                       .error = c->exc.error,
                       .rip = soft_rip(c),
                       .flags = frame_flags(c) };

    if (sets_rf(&c->exc))
        e.flags |= X86_RF;
    c->delivering = c->exc;
    apply_payload(c, &c->exc);
    return deliver_chain(c, &e, class_of(c->exc.vector));
}

int soft_deliver_interrupt(struct soft_cpu *c, unsigned vector)
{
    struct event e = { .vector = (uint8_t)vector, .rip = soft_rip(c), .flags = frame_flags(c) };

    if (vector == VEC_NMI)
        c->s.shadows |= SHADOW_NMI;
    c->delivering = (struct soft_exc){ .vector = (uint8_t)vector };
    return deliver_chain(c, &e, BENIGN);
}

int soft_deliver_db(struct soft_cpu *c, uint64_t dr6_bits)
{
    struct event e = { .vector = VEC_DB, .rip = soft_rip(c), .flags = frame_flags(c) };

    c->exc = (struct soft_exc){ .vector = VEC_DB, .payload = dr6_bits };
    c->delivering = c->exc;
    apply_payload(c, &c->exc);
    return deliver_chain(c, &e, BENIGN);
}

int soft_resume_delivery(struct soft_cpu *c)
{
    const struct soft_exc x = c->delivering;

    if (x.vector >= 32 || x.vector == VEC_NMI)
        return soft_deliver_interrupt(c, x.vector);
    if (x.vector == VEC_DB)
        return soft_deliver_db(c, x.payload);
    c->exc = x;
    return soft_deliver_exception(c);
}
