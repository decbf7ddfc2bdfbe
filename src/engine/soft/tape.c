/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recording and playing a vCPU's inputs and stops (cpu/tape.h). */
#include <string.h>

#include "engine/soft/blocks.h"
#include "engine/soft/decode.h"
#include "engine/soft/undefined.h"

uint64_t soft_tape_input(struct soft_cpu *c, enum tape_input what, uint64_t v)
{
    v = c->tape->input(c->tape, what, v);
    soft_tape_crowded(c);
    return v;
}

void soft_tape_crowded(struct soft_cpu *c)
{
    if (c->tape && c->tape->crowded)
        atomic_fetch_or(&c->attention, ATT_EVENT);
}

/* ---- flags that are not kept ------------------------------------------------------ */

/* Instructions to look at for the end of a flag. */
#define DEAD_BUDGET 64

/* A shift whose count may be 0. */
static bool counts(const ZydisDecodedInstruction *z)
{
    if (z->raw.imm[0].size && (z->raw.imm[0].value.u & (z->operand_width == 64 ? 63 : 31)))
        return false;
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_SHL: case ZYDIS_MNEMONIC_SHR: case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL: case ZYDIS_MNEMONIC_ROR: case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR: case ZYDIS_MNEMONIC_SHLD: case ZYDIS_MNEMONIC_SHRD: return true;
    default: return false;
    }
}

/* It ends a decoded block, but the next instruction follows. */
static bool is_string(const ZydisDecodedInstruction *z)
{
    return z->meta.category == ZYDIS_CATEGORY_STRINGOP;
}

/* These end a decoded block too, and neither read nor write arithmetic flags. */
static bool goes_on(const ZydisDecodedInstruction *z)
{
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_CLI: case ZYDIS_MNEMONIC_STI: case ZYDIS_MNEMONIC_CLAC: case ZYDIS_MNEMONIC_STAC:
    case ZYDIS_MNEMONIC_SWAPGS: case ZYDIS_MNEMONIC_WRFSBASE: case ZYDIS_MNEMONIC_WRGSBASE: return true;
    default: return is_string(z);
    }
}

#define MAX_INSN 15
/* The code at pc, as much of an instruction as can be fetched.  Returns its
 * length. */
static unsigned code_at(struct soft_cpu *c, uint64_t pc, uint8_t code[MAX_INSN])
{
    const struct soft_exc exc = c->exc;
    unsigned n = 0;

    while (n < MAX_INSN) {
        unsigned part = (unsigned)MIN(MEM_PAGE_SIZE - ((pc + n) & ~MEM_PAGE_MASK), MAX_INSN - n);
        const struct ftlb_entry *page;

        if (soft_fetch_page(c, pc + n, &page))
            break;
        memcpy(code + n, page->hva + ((pc + n) & ~MEM_PAGE_MASK), part);
        n += part;
    }
    c->exc = exc;
    return n;
}

static uint32_t written(const ZydisDecodedInstruction *z)
{
    const ZydisAccessedFlags *f = z->cpu_flags;

    if (soft_sets_undefined(z))
        return f->modified | f->set_0 | f->set_1 | f->undefined;
    return (f->modified | f->set_0 | f->set_1) & ~f->undefined;
}

/* Are flags overwritten from pc (linear) on, on every way, before they are
 * read?  Shifts by 0 write nothing; what the manual leaves undefined is written
 * as the host does it. */
static bool dead_from(struct soft_cpu *c, uint64_t pc, uint64_t flags, unsigned *budget)
{
    while (flags && *budget) {
        ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
        ZydisDecodedInstruction z;
        struct insn insn;
        uint8_t code[MAX_INSN];
        unsigned room = code_at(c, pc, code);
        enum decode_result r;
        bool known;

        --*budget;
        if (!room)
            return false;
        r = soft_decode_full(c->vm->model, c->mode_key, code, room, &insn, &z, op, &known);
        if (r == DECODE_MORE || !known)
            return false;
        if (z.cpu_flags) {
            if (z.cpu_flags->tested & flags)
                return false;
            /* REP with a count of 0 writes no flags. */
            if (!counts(&z) && !(insn.flags & (INSN_REP | INSN_REPNE)))
                flags &= ~(uint64_t)written(&z);
        }
        pc += insn.len;
        if (r == DECODE_OK || !flags || goes_on(&z))
            continue;
        if (z.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE || op[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE ||
            z.meta.category == ZYDIS_CATEGORY_CALL)
            return false;
        if (z.meta.category == ZYDIS_CATEGORY_COND_BR && !dead_from(c, pc, flags, budget))
            return false;
        pc += op[0].imm.value.u;
    }
    return !flags;
}

static bool flags_dead(void *opaque, uint64_t flags)
{
    struct soft_cpu *c = opaque;
    uint64_t pc = c->code64 ? soft_rip(c) : (uint32_t)(c->s.seg[SEG_CS].base + soft_rip(c));
    unsigned budget = DEAD_BUDGET;

    return !(flags & ~(uint64_t)X86_FLAGS_ARITH) && dead_from(c, pc, flags, &budget);
}

uint64_t soft_tape_flags(struct soft_cpu *c, uint64_t flags)
{
    uint64_t then = c->tape->input(c->tape, TAPE_FLAGS, flags);

    if (likely(then == flags) || c->tape->over)
        return flags;
    if (flags_dead(c, then ^ flags))
        soft_set_arith_flags(c, (unsigned)then);    /* the handler starts with them */
    else
        c->tape->differs(c->tape, "pushed rflags", then, flags);
    return then;
}

/* ---- stops -------------------------------------------------------------------------- */

bool soft_tape_point(struct soft_cpu *c, enum tape_stop what, uint64_t known)
{
    struct vcpu_state s;
    struct tape_point p = { .count = c->insn_count, .deliveries = c->deliveries, .regs = c->gpr,
                            .flags = soft_get_rflags(c), .known = known, .dead = flags_dead,
                            .opaque = c };

    if (what != TAPE_BLOCK) {
        soft_get_state(c, &s);
        p.state = &s;
    }
    return c->tape->point(c->tape, what, &p);
}

/* RF: whether it goes before or behind the block's start is the engine's matter. */
void soft_tape_block(struct soft_cpu *c, uint64_t known)
{
    soft_tape_point(c, TAPE_BLOCK, (known | ~(uint64_t)X86_FLAGS_ARITH) & ~(uint64_t)X86_RF);
}

static void clock_changed(struct soft_cpu *c)
{
    lapic_rearm(c);
    kvmclock_update(c);
}

void soft_tape_clock(struct soft_cpu *c)
{
    if (c->tape->playing)
        return;         /* it changes when it did for the guest that was recorded */
    soft_tape_point(c, TAPE_CLOCK, ~0ULL);
    clock_changed(c);
}

static int leave(struct soft_cpu *c, enum cpu_exit why)
{
    c->run->exit = why;
    return SOFT_EXIT;
}

/* The state is that of the recording: do what happened there. */
static int do_stop(struct soft_cpu *c, enum tape_stop what)
{
    int r;

    switch (what) {
    case TAPE_EVENTS:
        r = soft_events(c);
        /* That somebody stopped the machine is not repeated. */
        return r && c->run->exit == CPU_EXIT_INTR ? 0 : r;
    case TAPE_CLOCK: clock_changed(c); return 0;
    default: return 0;
    }
}

/* Own events wait for ever: those of the tape come instead. */
static bool kicked(struct soft_cpu *c)
{
    uint32_t bits = atomic_load(&c->attention);

    if (likely(!bits))
        return false;
    bits = atomic_fetch_and(&c->attention, ATT_CODE | ATT_FLUSH);
    soft_take_flushes(c);
    return bits & ATT_KICK;
}

int soft_tape_piece(struct soft_cpu *c, int (*piece)(struct soft_cpu *c))
{
    struct cpu_tape *t = c->tape;
    const uint64_t end = c->run->stop_count, now = c->insn_count;
    enum tape_stop what = t->next;
    bool runs = c->s.mp_state == MP_RUNNABLE;

    if (kicked(c) || atomic_load(&c->run->immediate_exit))
        return leave(c, CPU_EXIT_INTR);
    if (t->over)
        return leave(c, CPU_EXIT_TAPE);
    if (end && now >= end)
        return leave(c, CPU_EXIT_COUNT);
    if (runs && now < t->next_count) {
        c->stop_count = end ? MIN(end, t->next_count) : t->next_count;
        return piece(c);
    }
    /* What no instruction retires before: a fault, a trap, the exit of one that
     * goes on waiting (FERR#). */
    if (runs && now == t->next_count && (c->deliveries < t->next_deliveries || t->waits(t)))
        return soft_run_limited(c, 1);
    if (!soft_tape_point(c, what, ~0ULL))
        return leave(c, CPU_EXIT_TAPE);
    return do_stop(c, what);
}
