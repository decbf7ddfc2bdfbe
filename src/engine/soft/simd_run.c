/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running SIMD instructions: checks, memory operand, stub, SIMD floating-point
 * exceptions, result.
 */
#include "engine/soft/simd.h"

#include <string.h>

/* SDM 2A 2.4 and 2.8, tables of exceptions by class; SDM 3A 13.1.  #UD comes
 * before #NM. */
int simd_check_slow(struct soft_cpu *c, enum simd_check kind)
{
    uint64_t need = kind == CHECK_EVEX ? XCR0_SSE | XCR0_AVX | XCR0_AVX512 : XCR0_SSE | XCR0_AVX;

    switch (kind) {
    case CHECK_VEX:
    case CHECK_EVEX:
        if (!(c->s.cr4 & CR4_OSXSAVE) || (c->s.xcr0 & need) != need)
            return soft_ud(c);
        break;
    case CHECK_SSE:
    case CHECK_MMX_SSE:
        if ((c->s.cr0 & CR0_EM) || !(c->s.cr4 & CR4_OSFXSR))
            return soft_ud(c);
        break;
    case CHECK_MMX:
        if (c->s.cr0 & CR0_EM)
            return soft_ud(c);
        break;
    }
    if (c->s.cr0 & CR0_TS)
        return soft_raise(c, VEC_NM);
    return kind == CHECK_MMX || kind == CHECK_MMX_SSE ? x87_pending(c) : 0;
}

/* SDM 1 9.5: TOP becomes 0 and all tags valid, so MMn is physical register n;
 * the image keeps ST(0) first. */
void simd_enter_mmx(struct soft_cpu *c)
{
    unsigned top = *fpu_fsw(c) >> FSW_TOP_SHIFT & 7;
    uint8_t st[8][16];

    if (top) {
        for (unsigned n = 0; n < 8; n++)
            memcpy(st[n], fpu_st(c, (n - top) & 7), 16);
        memcpy(fpu_st(c, 0), st, sizeof(st));
        *fpu_fsw(c) &= (uint16_t)~(7u << FSW_TOP_SHIFT);
    }
    *fpu_ftw(c) = 0xff;
}

static inline void *slot_ptr(struct soft_cpu *c, const struct simd_op *op, unsigned slot, unsigned n)
{
    return (char *)c + op->off[slot] + ((size_t)n << op->shift[slot]);
}

static void *extra_ptr(struct soft_cpu *c, const struct insn *i, const struct simd_op *op)
{
    switch (op->extra) {
    case EXTRA_MASK: return &c->fpu.k[i->vreg >> 5];
    case EXTRA_IS4: return c->fpu.zmm[i->osize & 31];
    default: return c->fpu.zmm[0];
    }
}

static void fill_slots(struct soft_cpu *c, const struct insn *i, const struct simd_op *op,
                       void *slot[SLOT_COUNT])
{
    slot[SLOT_REG] = slot_ptr(c, op, SLOT_REG, i->reg);
    slot[SLOT_RM] = slot_ptr(c, op, SLOT_RM, op->regs[SLOT_RM] ? i->rm : 0);
    slot[SLOT_VREG] = slot_ptr(c, op, SLOT_VREG, op->regs[SLOT_VREG] == REGS_GPR ? i->vreg : i->vreg & 31);
    slot[SLOT_EXTRA] = extra_ptr(c, i, op);
}

/* Executes; false: the host gives no executable memory. */
static bool execute(const struct insn *i, const struct simd_op *op, void *mem,
                    void *const slot[SLOT_COUNT], struct simd_frame *f)
{
    simd_stub stub = simd_stub_find(op, i->osize);

    if (unlikely(!stub)) {
        stub = simd_stub_make(op, i->osize);
        if (!stub)
            return simd_stub_run_once(op, i->osize, mem, slot, f);
    }
    stub(mem, slot[SLOT_REG], slot[SLOT_RM], slot[SLOT_VREG], f, slot[SLOT_EXTRA]);
    return true;
}

/* ---- SIMD floating-point exceptions ------------------------------------------ */

/*
 * The guest's MXCSR is in force, unmasked exceptions too: if one is raised the
 * host's SIGFPE leaves the stub before it stores anything (stub.c), with just
 * the flags that hardware sets.  That is rare, and what would be raised
 * cannot be told from a run with all masked: an unmasked underflow needs no
 * loss of accuracy, and rounds differently (SDM 1 4.9.1.5).
 */
static int execute_fp(struct soft_cpu *c, const struct insn *i, const struct simd_op *op, void *mem,
                      void *slot[SLOT_COUNT], struct simd_frame *f)
{
    f->mxcsr = *fpu_mxcsr(c);
    f->host_mxcsr = MXCSR_DEFAULT;
    f->raised = 0;
    if (!execute(i, op, mem, slot, f))
        return soft_ud(c);
    *fpu_mxcsr(c) = f->mxcsr;
    if (likely(!f->raised))
        return 0;
    return c->s.cr4 & CR4_OSXMMEXCPT ? soft_raise(c, VEC_XM) : soft_ud(c);
}

/* ---- any form ---------------------------------------------------------------------- */

/* Legacy SSE wants its 16-byte operands aligned, but for AMD's misaligned mode
 * (APM 2 3.1.8) and, on AMD, SHA. */
static bool misaligned_allowed(struct soft_cpu *c, const struct simd_op *op)
{
    if (op->flags & SO_ALIGN)
        return false;
    return (*fpu_mxcsr(c) & MXCSR_MM) || ((op->flags & SO_SHA) && c->vm->model->amd);
}

/* Memory operand of a load: *mem for the stub.  0 or a soft_result. */
static int fetch(struct soft_cpu *c, const struct insn *i, const struct simd_op *op,
                 uint8_t *bounce, void **mem)
{
    uint64_t la;
    int r;

    if (op->flags & (SO_SUPPRESS | SO_VMASK | SO_PACK))
        return simd_load_masked(c, i, op, bounce, mem);
    r = insn_linear(c, i, op->size, false, &la);
    if (r)
        return simd_bad_address(c, i, op->align, r);
    if (op->align && (la & (op->align - 1u))) {
        if (!misaligned_allowed(c, op))
            return soft_gp0(c);
        *mem = bounce;          /* whatever the host allows */
        return soft_read_bytes(c, la, bounce, op->size);
    }
    *mem = tlb_read_ptr(c, la, op->size);
    if (likely(*mem != NULL))
        return 0;
    *mem = bounce;
    return soft_read_bytes(c, la, bounce, op->size);
}

static int store(struct soft_cpu *c, const struct insn *i, const struct simd_op *op,
                 const uint8_t *bounce)
{
    uint64_t la, v = 0;
    int r;

    if (op->flags & (SO_SUPPRESS | SO_VMASK | SO_PACK))
        return simd_store_masked(c, i, op, bounce);
    r = insn_linear(c, i, op->size, true, &la);
    if (r)
        return simd_bad_address(c, i, op->align, r);
    if (op->align && (la & (op->align - 1u)))
        return soft_gp0(c);
    if (op->size > 8)
        return soft_write_bytes(c, la, bounce, op->size);
    memcpy(&v, bounce, op->size);
    return soft_write(c, la, op->size, v);
}

/* A store must not fault once x87 state has turned to MMX state. */
static int enter_mmx(struct soft_cpu *c, const struct insn *i, const struct simd_op *op)
{
    uint64_t la;
    int r;

    if (op->flags & SO_STORE) {
        r = insn_linear(c, i, op->size, true, &la);
        if (!r)
            r = soft_align(c, la, op->size);
        if (!r)
            r = soft_probe(c, la, op->size, ACCESS_WRITE);
        if (r)
            return r;
    }
    simd_enter_mmx(c);
    return 0;
}

static void finish(struct soft_cpu *c, const struct simd_op *op, void *const slot[SLOT_COUNT],
                   const struct simd_frame *f)
{
    if (op->flags & SO_FLAGS)
        c->ax_flags = f->ax_flags;
    if (op->flags & SO_ECX)
        c->gpr[CPU_RCX] = f->rcx;
    /* A written MMX register has all ones as exponent (SDM 1 9.5.1). */
    if (op->dst < SLOT_EXTRA && op->regs[op->dst] == REGS_MMX)
        memset((uint8_t *)slot[op->dst] + 8, 0xff, 2);
}

static int run(struct soft_cpu *c, const struct insn *i, const struct simd_op *op)
{
    _Alignas(64) uint8_t bounce[64];
    void *slot[SLOT_COUNT], *mem = bounce;
    struct simd_frame f;
    uint32_t mxcsr;
    int r = simd_check(c, op->check);

    if (!r && (op->flags & SO_LOAD))
        r = fetch(c, i, op, bounce, &mem);
    if (!r && (op->flags & (SO_STORE | SO_FP)) == (SO_STORE | SO_FP))
        r = simd_probe_store(c, i, op);         /* page faults come before #XM */
    if (!r && (op->flags & SO_MMX))
        r = enter_mmx(c, i, op);
    if (unlikely(r))
        return r;
    fill_slots(c, i, op, slot);
    f.rax = c->gpr[CPU_RAX];
    f.rdx = c->gpr[CPU_RDX];
    mxcsr = *fpu_mxcsr(c);
    if (op->flags & SO_FP)
        r = execute_fp(c, i, op, mem, slot, &f);
    else if (!execute(i, op, mem, slot, &f))
        r = soft_ud(c);
    if (!r && (op->flags & SO_STORE)) {
        r = store(c, i, op, bounce);
        if (r)
            *fpu_mxcsr(c) = mxcsr;
    }
    if (unlikely(r))
        return r;
    finish(c, op, slot, &f);
    return SOFT_NEXT;
}

int simd_run(struct soft_cpu *c, const struct insn *i)
{
    const struct simd_op *op = i->aux;
    uint32_t ac = op->flags & SO_NOAC ? c->rflags & X86_AC : 0;
    int r;

    c->rflags &= ~ac;
    r = run(c, i, op);
    c->rflags |= ac;
    return r;
}

/* ---- the common forms, SSE and VEX, without anything special ----------------------- */

static int run_plain(struct soft_cpu *c, const struct insn *i, const struct simd_op *op, void *mem)
{
    simd_stub stub = simd_stub_find(op, i->osize);

    if (unlikely(!stub)) {
        void *slot[SLOT_COUNT];
        fill_slots(c, i, op, slot);
        return execute(i, op, mem, slot, NULL) ? SOFT_NEXT : soft_ud(c);
    }
    stub(mem, slot_ptr(c, op, SLOT_REG, i->reg), slot_ptr(c, op, SLOT_RM, i->rm),
         slot_ptr(c, op, SLOT_VREG, i->vreg), NULL, NULL);
    return SOFT_NEXT;
}

int simd_run_reg(struct soft_cpu *c, const struct insn *i)
{
    const struct simd_op *op = i->aux;

    int r = simd_check(c, op->check);

    return unlikely(r) ? r : run_plain(c, i, op, NULL);
}

int simd_run_load(struct soft_cpu *c, const struct insn *i)
{
    const struct simd_op *op = i->aux;
    _Alignas(64) uint8_t bounce[64];
    void *mem;
    int r = simd_check(c, op->check);

    if (!r)
        r = fetch(c, i, op, bounce, &mem);
    if (unlikely(r))
        return r;
    return run_plain(c, i, op, mem);
}
