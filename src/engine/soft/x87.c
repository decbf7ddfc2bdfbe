/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87 by native execution.
 *
 * The guest's state is an FXSAVE image; a stub loads it, executes the one
 * instruction with the guest's own control word, and saves it.  An unmasked
 * exception traps only at the next waiting instruction, and what follows in
 * the stub does not wait: so it stays in the status word, exactly as the
 * hardware leaves it, and the guest gets #MF at its own next waiting
 * instruction.  Instruction and data pointers in the image are the guest's
 * and never come from the host, whose pointers are ours.
 */
#include "engine/soft/simd.h"

#include <string.h>

#define X87_NONE 0u         /* #UD */
#define X87_LOAD 1u
#define X87_STORE 2u
#define X87_FUNC 3u         /* a C function */
#define K(kind, size) (uint8_t)((kind) << 4 | (size))
#define L(n) K(X87_LOAD, n)
#define S(n) K(X87_STORE, n)
#define F K(X87_FUNC, 0)

/* Memory forms by low bits of the opcode and ModRM.reg: direction and bytes
 * (SDM 2D appendix B.17). */
static const uint8_t mem_forms[8][8] = {
    { L(4), L(4), L(4), L(4), L(4), L(4), L(4), L(4) },            /* D8 */
    { L(4), 0, S(4), S(4), F, F, F, F },                           /* D9: FLD FST FSTP, FLDENV FLDCW FNSTENV FNSTCW */
    { L(4), L(4), L(4), L(4), L(4), L(4), L(4), L(4) },            /* DA */
    { L(4), S(4), S(4), S(4), 0, L(10), 0, S(10) },                /* DB: FILD FISTTP FIST FISTP, FLD80 FSTP80 */
    { L(8), L(8), L(8), L(8), L(8), L(8), L(8), L(8) },            /* DC */
    { L(8), S(8), S(8), S(8), F, 0, F, F },                        /* DD: FLD FISTTP FST FSTP FRSTOR FNSAVE FNSTSW */
    { L(2), L(2), L(2), L(2), L(2), L(2), L(2), L(2) },            /* DE */
    { L(2), S(2), S(2), S(2), L(10), L(8), S(10), S(8) },          /* DF: FILD FISTTP FIST FISTP FBLD FILD FBSTP FISTP */
};

/* Register forms: bit n of [opcode & 7][n / 32]: ModRM 0xc0 + n runs natively. */
static const uint64_t reg_forms[8] = {
    [0] = ~0ULL,
    [1] = 0xffff7f33ff01ffffULL,    /* FLD FXCH FNOP FSTPNCE FCHS FABS FTST FXAM constants .. FCOS */
    [2] = 0x00000200ffffffffULL,    /* FCMOVcc FUCOMPP */
    [3] = 0x00ffff13ffffffffULL,    /* FCMOVNcc, FNENI FNDISI FNSETPM (no operation), FUCOMI FCOMI */
    [4] = ~0ULL,
    [5] = 0x0000ffffffffffffULL,    /* FFREE FXCH FST FSTP FUCOM FUCOMP */
    [6] = 0xffffffff02ffffffULL,    /* FADDP .. FCOMP FCOMPP .. FDIVP */
    [7] = 0x00ffff00ffffffffULL,    /* FFREEP FXCH FSTP FSTP, FUCOMIP FCOMIP */
};

/* The lowered instruction: imm. */
#define X_KEY(i) ((unsigned)((i)->imm & 0x7ff))             /* (opcode & 7) << 8 | ModRM; memory: mod 0 */
#define X_KIND(i) ((unsigned)((i)->imm >> 16 & 0xf))
#define X_SIZE(i) ((unsigned)((i)->imm >> 20 & 0xf))
#define X_FLAGS(i) ((bool)((i)->imm >> 24 & 1))
#define KEY_NORMALISE 0x7ffu                                /* no instruction: DF FF is #UD */
#define KEY_FLDCW 0x128u                                    /* D9 /5 */

/* ---- checks ------------------------------------------------------------------------ */

/* With CR0.NE clear an error goes to the board as FERR# and comes back as IRQ
 * 13, before the instruction is executed again if IF is set.  After that it
 * goes on, as with IGNNE# asserted, which the handler does by writing port
 * 0xF0, until the error is cleared (SDM 1 8.7.2, 8.7.3). */
static int pending(struct soft_cpu *c)
{
    if (c->s.cr0 & CR0_NE)
        return soft_raise(c, VEC_MF);
    if (c->fpu.ferr)
        return 0;
    c->fpu.ferr = true;
    c->run->exit = CPU_EXIT_FERR;
    return SOFT_EXIT;
}

int x87_pending(struct soft_cpu *c)
{
    if (unlikely(*fpu_fsw(c) & FSW_ES))
        return pending(c);
    c->fpu.ferr = false;
    return 0;
}

static int check_nm(struct soft_cpu *c)
{
    return unlikely(c->s.cr0 & (CR0_EM | CR0_TS)) ? soft_raise(c, VEC_NM) : 0;
}

int x87_check(struct soft_cpu *c)
{
    return check_nm(c) ? SOFT_FAULT : x87_pending(c);
}

/* ---- native execution ------------------------------------------------------------------ */

static bool run(struct soft_cpu *c, unsigned key, const uint8_t *code, unsigned len, bool flags, void *mem)
{
    x87_stub stub = x87_stub_get(key, code, len, flags);
    struct simd_frame f = { .host_mxcsr = MXCSR_DEFAULT, .ax_flags = c->ax_flags };
    uint16_t fop = *fpu_fop(c);
    uint64_t fip = *fpu_fip(c), fdp = *fpu_fdp(c);
    uint32_t mxcsr = *fpu_mxcsr(c);

    if (unlikely(!stub))
        return false;
    *fpu_mxcsr(c) = MXCSR_DEFAULT;
    stub(mem, c->fpu.fx, &f);
    *fpu_fop(c) = fop;
    *fpu_fip(c) = fip;
    *fpu_fdp(c) = fdp;
    *fpu_mxcsr(c) = mxcsr;
    if (flags)
        c->ax_flags = f.ax_flags;
    return true;
}

void x87_normalise(struct soft_cpu *c)
{
    run(c, KEY_NORMALISE, NULL, 0, false, NULL);
}

static bool run_insn(struct soft_cpu *c, const struct insn *i, void *mem)
{
    unsigned key = X_KEY(i);
    uint8_t code[2] = { (uint8_t)(0xd8 | key >> 8), (uint8_t)key };

    if (code[1] < 0xc0)
        code[1] |= 7;           /* [rdi] */
    return run(c, key, code, 2, X_FLAGS(i), mem);
}

/* IE with an error pending was ignored (IGNNE#): the host must not see it. */
static void clear_pending(struct soft_cpu *c)
{
    if (unlikely(*fpu_fsw(c) & FSW_ES))
        *fpu_fsw(c) &= 0x7f00;
    c->fpu.ferr = false;
}

/* Newer CPUs have no selectors of these pointers: they are 0 (CPUID leaf 7
 * EBX bit 13, SDM 1 8.1.8). */
void x87_set_selectors(struct soft_cpu *c, uint16_t fcs, uint16_t fds)
{
    bool none = soft_has(c, F_NO_FCS_FDS);

    c->fpu.fcs = none ? 0 : fcs;
    c->fpu.fds = none ? 0 : fds;
}

static uint16_t fop_of(const struct insn *i)
{
    unsigned key = X_KEY(i);

    return (uint16_t)(i->osize == 0 ? key : (key & 0x700) | (i->osize & 0xff));
}

/* SDM 1 8.1.8: pointers to the last non-control instruction; with CPUID leaf 7
 * EBX bit 6 the operand's only if it raises an unmasked exception.  So it is
 * with the opcode on Intel's CPUs (8.1.9). */
static void set_pointers(struct soft_cpu *c, const struct insn *i)
{
    uint16_t fds = c->fpu.fds;
    bool raised = *fpu_fsw(c) & FSW_ES;

    if (raised || c->vm->model->amd)
        *fpu_fop(c) = fop_of(i);
    *fpu_fip(c) = soft_rip(c);
    if ((i->flags & INSN_MEM) && (raised || !soft_has(c, F_FDP_ON_FAULT))) {
        *fpu_fdp(c) = insn_offset(c, i);
        fds = c->s.seg[i->seg].selector;
    }
    x87_set_selectors(c, c->s.seg[SEG_CS].selector, fds);
}

static int op_x87(struct soft_cpu *c, const struct insn *i)
{
    int r = x87_check(c);

    if (unlikely(r))
        return r;
    clear_pending(c);
    if (!run_insn(c, i, NULL))
        return soft_ud(c);
    set_pointers(c, i);
    return SOFT_NEXT;
}

static int op_x87_load(struct soft_cpu *c, const struct insn *i)
{
    unsigned size = X_SIZE(i);
    _Alignas(16) uint8_t bounce[16];
    uint64_t la;
    void *mem;
    int r = x87_check(c);

    if (!r)
        r = insn_linear(c, i, size, false, &la);
    if (unlikely(r))
        return r;
    mem = tlb_read_ptr(c, la, size);
    if (!mem) {
        mem = bounce;
        r = soft_read_bytes(c, la, bounce, size);
        if (r)
            return r;
    }
    clear_pending(c);
    if (!run_insn(c, i, mem))
        return soft_ud(c);
    set_pointers(c, i);
    return SOFT_NEXT;
}

/* Did the store happen?  With an unmasked exception it may have been
 * suppressed (SDM 1 8.5): then what was there before is still there, whatever
 * it was; so try again from the same state over another value. */
static bool stored(struct soft_cpu *c, const struct insn *i, const struct soft_fpu *before,
                   const uint8_t *result, unsigned size)
{
    struct soft_fpu after = c->fpu;
    uint8_t other[16];

    memset(other, 0x5a, sizeof(other));
    for (unsigned n = 0; n < size; n++)
        if (result[n] != 0xa5)
            return true;
    memcpy(c->fpu.fx, before->fx, sizeof(before->fx));
    run_insn(c, i, other);
    c->fpu = after;
    for (unsigned n = 0; n < size; n++)
        if (other[n] != 0x5a)
            return true;
    return false;
}

static int write_result(struct soft_cpu *c, const struct insn *i, uint64_t la, const uint8_t *b, unsigned size)
{
    uint64_t v = 0;

    (void)i;
    if (size > 8)
        return soft_write_bytes(c, la, b, size);
    memcpy(&v, b, size);
    return soft_write(c, la, size, v);
}

static int op_x87_store(struct soft_cpu *c, const struct insn *i)
{
    unsigned size = X_SIZE(i);
    uint8_t bounce[16];
    struct soft_fpu before;
    uint64_t la;
    int r = x87_check(c);

    if (!r)
        r = insn_linear(c, i, size, true, &la);
    if (unlikely(r))
        return r;
    memset(bounce, 0xa5, sizeof(bounce));
    clear_pending(c);
    memcpy(before.fx, c->fpu.fx, sizeof(before.fx));
    if (!run_insn(c, i, bounce))
        return soft_ud(c);
    if (likely(!(*fpu_fsw(c) & FSW_ES)) || stored(c, i, &before, bounce, size))
        r = write_result(c, i, la, bounce, size);
    else if (!(r = soft_align(c, la, size)))
        r = soft_probe(c, la, size, ACCESS_WRITE);
    if (r) {
        memcpy(c->fpu.fx, before.fx, sizeof(before.fx));
        return r;
    }
    set_pointers(c, i);
    return SOFT_NEXT;
}

/* ---- control instructions --------------------------------------------------------------- */

void x87_init(struct soft_cpu *c)
{
    *fpu_fcw(c) = 0x37f;
    *fpu_fsw(c) = 0;
    *fpu_ftw(c) = 0;
    *fpu_fop(c) = 0;
    *fpu_fip(c) = 0;
    *fpu_fdp(c) = 0;
    c->fpu.fcs = c->fpu.fds = 0;
}

/* FNINIT keeps the registers' contents; the image has them by stack order. */
static void init_keep(struct soft_cpu *c)
{
    uint8_t st[8][16];
    unsigned top = *fpu_fsw(c) >> FSW_TOP_SHIFT & 7;

    for (unsigned n = 0; n < 8; n++)
        memcpy(st[n], fpu_st(c, (n - top) & 7), 16);
    memcpy(fpu_st(c, 0), st, sizeof(st));
    x87_init(c);
}

static int op_fninit(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    if (check_nm(c))
        return SOFT_FAULT;
    init_keep(c);
    c->fpu.ferr = false;
    return SOFT_NEXT;
}

static int op_fnclex(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    if (check_nm(c))
        return SOFT_FAULT;
    *fpu_fsw(c) &= 0x7f00;
    c->fpu.ferr = false;
    return SOFT_NEXT;
}

static int op_fldcw(struct soft_cpu *c, const struct insn *i)
{
    static const uint8_t code[2] = { 0xd9, 0x2f };
    uint64_t v;
    uint16_t cw;
    int r = x87_check(c);

    if (!r)
        r = insn_load(c, i, 2, &v);
    if (r)
        return r;
    clear_pending(c);
    cw = (uint16_t)v;
    return run(c, KEY_FLDCW, code, 2, false, &cw) ? SOFT_NEXT : soft_ud(c);
}

static int op_fnstcw(struct soft_cpu *c, const struct insn *i)
{
    int r = check_nm(c);

    if (!r)
        r = insn_store(c, i, 2, *fpu_fcw(c));
    return r ? r : SOFT_NEXT;
}

static int op_fnstsw(struct soft_cpu *c, const struct insn *i)
{
    int r = check_nm(c);

    if (!r)
        r = insn_store(c, i, 2, *fpu_fsw(c));
    return r ? r : SOFT_NEXT;
}

static int op_fnstsw_ax(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    if (check_nm(c))
        return SOFT_FAULT;
    *gpr16(c, CPU_RAX * 8) = *fpu_fsw(c);
    return SOFT_NEXT;
}

static int op_fwait(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    if ((c->s.cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
        return soft_raise(c, VEC_NM);
    return x87_pending(c);
}

/* ---- the environment (SDM 1 8.1.10, figures 8-9 to 8-12) ----------------------------------- */

/* Two tag bits for each register: 0 valid, 1 zero, 2 special, 3 empty. */
static uint16_t full_tags(struct soft_cpu *c)
{
    unsigned top = *fpu_fsw(c) >> FSW_TOP_SHIFT & 7, tags = 0;

    for (unsigned n = 0; n < 8; n++) {
        const uint8_t *st = fpu_st(c, (n - top) & 7);
        uint64_t mant;
        uint16_t exp;
        unsigned tag;
        memcpy(&mant, st, 8);
        memcpy(&exp, st + 8, 2);
        exp &= 0x7fff;
        if (!(*fpu_ftw(c) >> n & 1))
            tag = 3;
        else if (exp == 0x7fff || (exp && !(mant >> 63)))
            tag = 2;
        else if (!exp)
            tag = mant ? 2 : 1;
        else
            tag = 0;
        tags |= tag << (2 * n);
    }
    return (uint16_t)tags;
}

static uint8_t short_tags(uint16_t tags)
{
    uint8_t r = 0;

    for (unsigned n = 0; n < 8; n++)
        if ((tags >> (2 * n) & 3) != 3)
            r |= (uint8_t)(1u << n);
    return r;
}

static void put16(uint8_t *p, unsigned v) { memcpy(p, &(uint16_t){ (uint16_t)v }, 2); }
static void put32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
static uint16_t get16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }

static unsigned env_size(const struct insn *i) { return i->osize == 2 ? 14 : 28; }

static void env_get32(struct soft_cpu *c, uint8_t *e)
{
    uint32_t fip = (uint32_t)*fpu_fip(c), fdp = (uint32_t)*fpu_fdp(c), fop = *fpu_fop(c) & 0x7ff;

    put32(e, 0xffff0000u | *fpu_fcw(c));
    put32(e + 4, 0xffff0000u | *fpu_fsw(c));
    put32(e + 8, 0xffff0000u | full_tags(c));
    if (soft_prot(c)) {
        put32(e + 12, fip);
        put32(e + 16, fop << 16 | c->fpu.fcs);
        put32(e + 20, fdp);
        put32(e + 24, 0xffff0000u | c->fpu.fds);
    } else {
        uint32_t ip = fip + ((uint32_t)c->fpu.fcs << 4), dp = fdp + ((uint32_t)c->fpu.fds << 4);
        put32(e + 12, 0xffff0000u | (ip & 0xffff));
        put32(e + 16, (ip >> 16 & 0xffff) << 12 | fop);
        put32(e + 20, 0xffff0000u | (dp & 0xffff));
        put32(e + 24, (dp >> 16 & 0xffff) << 12);
    }
}

static void env_get16(struct soft_cpu *c, uint8_t *e)
{
    uint32_t fip = (uint32_t)*fpu_fip(c), fdp = (uint32_t)*fpu_fdp(c);

    put16(e, *fpu_fcw(c));
    put16(e + 2, *fpu_fsw(c));
    put16(e + 4, full_tags(c));
    if (soft_prot(c)) {
        put16(e + 6, fip);
        put16(e + 8, c->fpu.fcs);
        put16(e + 10, fdp);
        put16(e + 12, c->fpu.fds);
    } else {
        uint32_t ip = fip + ((uint32_t)c->fpu.fcs << 4), dp = fdp + ((uint32_t)c->fpu.fds << 4);
        put16(e + 6, ip);
        put16(e + 8, (ip >> 16 & 0xf) << 12 | (*fpu_fop(c) & 0x7ff));
        put16(e + 10, dp);
        put16(e + 12, (dp >> 16 & 0xf) << 12);
    }
}

/* Pointers of a real-mode image are linear: offset with selector 0. */
static void env_set(struct soft_cpu *c, const uint8_t *e, bool wide)
{
    unsigned s = wide ? 4 : 2;
    uint32_t w[7];

    for (unsigned n = 0; n < 7; n++)
        w[n] = wide ? get32(e + s * n) : get16(e + s * n);
    *fpu_fcw(c) = (uint16_t)w[0];
    *fpu_fsw(c) = (uint16_t)w[1];
    *fpu_ftw(c) = short_tags((uint16_t)w[2]);
    c->fpu.fcs = c->fpu.fds = 0;
    if (soft_prot(c)) {
        *fpu_fip(c) = w[3];
        *fpu_fop(c) = wide ? (w[4] >> 16) & 0x7ff : 0;
        *fpu_fdp(c) = w[5];
        x87_set_selectors(c, (uint16_t)w[4], (uint16_t)w[6]);
    } else {
        *fpu_fip(c) = (w[3] & 0xffff) | (w[4] >> 12) << 16;
        *fpu_fop(c) = w[4] & 0x7ff;
        *fpu_fdp(c) = (w[5] & 0xffff) | (w[6] >> 12) << 16;
    }
}

static void env_get(struct soft_cpu *c, const struct insn *i, uint8_t *e)
{
    if (i->osize == 2)
        env_get16(c, e);
    else
        env_get32(c, e);
}

static int op_fnstenv(struct soft_cpu *c, const struct insn *i)
{
    unsigned size = env_size(i);
    uint8_t e[28];
    uint64_t la;
    int r = check_nm(c);

    if (!r)
        r = insn_linear(c, i, size, true, &la);
    if (r)
        return r;
    env_get(c, i, e);
    r = soft_write_bytes(c, la, e, size);
    if (r)
        return r;
    *fpu_fcw(c) |= 0x3f;
    *fpu_fsw(c) &= (uint16_t)~(FSW_ES | FSW_B);
    return SOFT_NEXT;
}

static int op_fldenv(struct soft_cpu *c, const struct insn *i)
{
    unsigned size = env_size(i), top;
    uint8_t e[28], st[8][16];
    uint64_t la;
    int r = x87_check(c);

    if (!r)
        r = insn_linear(c, i, size, false, &la);
    if (!r)
        r = soft_read_bytes(c, la, e, size);
    if (r)
        return r;
    top = *fpu_fsw(c) >> FSW_TOP_SHIFT & 7;
    memcpy(st, fpu_st(c, 0), sizeof(st));
    env_set(c, e, i->osize != 2);
    /* The registers stay where they are; the image has them by stack order. */
    top = ((*fpu_fsw(c) >> FSW_TOP_SHIFT & 7) - top) & 7;
    for (unsigned n = 0; n < 8; n++)
        memcpy(fpu_st(c, n), st[(n + top) & 7], 16);
    x87_normalise(c);
    return SOFT_NEXT;
}

static int op_fnsave(struct soft_cpu *c, const struct insn *i)
{
    unsigned size = env_size(i);
    uint8_t image[108];
    uint64_t la;
    int r = check_nm(c);

    if (!r)
        r = insn_linear(c, i, size + 80, true, &la);
    if (r)
        return r;
    env_get(c, i, image);
    for (unsigned n = 0; n < 8; n++)
        memcpy(image + size + 10 * n, fpu_st(c, n), 10);
    r = soft_write_bytes(c, la, image, size + 80);
    if (r)
        return r;
    init_keep(c);
    c->fpu.ferr = false;
    return SOFT_NEXT;
}

static int op_frstor(struct soft_cpu *c, const struct insn *i)
{
    unsigned size = env_size(i);
    uint8_t image[108];
    uint64_t la;
    int r = x87_check(c);

    if (!r)
        r = insn_linear(c, i, size + 80, false, &la);
    if (!r)
        r = soft_read_bytes(c, la, image, size + 80);
    if (r)
        return r;
    env_set(c, image, i->osize != 2);
    for (unsigned n = 0; n < 8; n++) {
        memset(fpu_st(c, n), 0, 16);
        memcpy(fpu_st(c, n), image + size + 10 * n, 10);
    }
    x87_normalise(c);
    return SOFT_NEXT;
}

/* ---- for translators ----------------------------------------------------------------------------- */

static const struct x87_control {
    insn_fn fn;
    struct x87_form form;
} controls[] = {
    { op_fldcw, { .opcode = 0xd9, .modrm = 5 << 3, .size = 2, .control = true } },
    { op_fnstcw, { .opcode = 0xd9, .modrm = 7 << 3, .size = 2, .store = true, .control = true } },
    { op_fnstsw, { .opcode = 0xdd, .modrm = 7 << 3, .size = 2, .store = true, .control = true } },
    { op_fnstsw_ax, { .opcode = 0xdf, .modrm = 0xe0, .control = true } },
};

bool x87_form_of(const struct insn *i, struct x87_form *f)
{
    unsigned key = X_KEY(i);

    for (unsigned n = 0; n < ARRAY_SIZE(controls); n++) {
        if (i->fn != controls[n].fn)
            continue;
        *f = controls[n].form;
        return true;
    }
    if (i->fn != op_x87 && i->fn != op_x87_load && i->fn != op_x87_store)
        return false;
    *f = (struct x87_form){ .opcode = (uint8_t)(0xd8 | key >> 8), .modrm = (uint8_t)key, .fop = fop_of(i),
                            .store = i->fn == op_x87_store };
    if (i->fn != op_x87)
        f->size = (uint8_t)X_SIZE(i);
    return f->size <= 8;
}

/* ---- lowering ---------------------------------------------------------------------------------- */

static insn_fn function_of(unsigned opcode, unsigned reg)
{
    switch (opcode << 4 | reg) {
    case 0x14: return op_fldenv;
    case 0x15: return op_fldcw;
    case 0x16: return op_fnstenv;
    case 0x17: return op_fnstcw;
    case 0x54: return op_frstor;
    case 0x56: return op_fnsave;
    case 0x57: return op_fnstsw;
    default: return NULL;
    }
}

static bool lower_memory(struct lower *l, unsigned opcode, unsigned reg)
{
    unsigned form = mem_forms[opcode][reg], kind = form >> 4, size = form & 0xf;
    struct insn *i = l->insn;

    if (kind == X87_FUNC) {
        bool toggled = (i->flags & INSN_O16) && !l->z->raw.rex.W;

        i->osize = !(l->mode & MODE_BITS) == toggled ? 4 : 2;
        i->fn = function_of(opcode, reg);
        return i->fn != NULL;
    }
    if (kind != X87_LOAD && kind != X87_STORE)
        return false;
    /* The decoder must agree about the size. */
    for (unsigned n = 0; n < l->z->operand_count; n++)
        if (l->op[n].type == ZYDIS_OPERAND_TYPE_MEMORY && l->op[n].size != size * 8)
            return false;
    i->imm = opcode << 8 | reg << 3 | (uint64_t)kind << 16 | (uint64_t)size << 20;
    i->osize = (uint8_t)(l->z->raw.modrm.mod << 6 | reg << 3 | l->z->raw.modrm.rm);
    i->fn = kind == X87_LOAD ? op_x87_load : op_x87_store;
    return true;
}

/* FNENI, FNDISI, FNSETPM: do nothing, and do not wait for it. */
static int op_x87_nop(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    return check_nm(c) ? SOFT_FAULT : SOFT_NEXT;
}

static bool lower_register(struct lower *l, unsigned opcode, unsigned modrm)
{
    struct insn *i = l->insn;
    bool flags = (opcode == 2 && modrm < 0xe0) || (opcode == 3 && modrm < 0xe0) ||
                 (opcode == 3 && modrm >= 0xe8) || (opcode == 7 && modrm >= 0xe8);

    if (opcode == 3 && (modrm == 0xe0 || modrm == 0xe1 || modrm == 0xe4)) {
        i->fn = op_x87_nop;
    } else if (opcode == 3 && modrm == 0xe2) {
        i->fn = op_fnclex;
    } else if (opcode == 3 && modrm == 0xe3) {
        i->fn = op_fninit;
    } else if (opcode == 7 && modrm == 0xe0) {
        i->fn = op_fnstsw_ax;
    } else if (reg_forms[opcode] >> (modrm - 0xc0) & 1) {
        i->imm = opcode << 8 | modrm | (uint64_t)flags << 24;
        i->osize = 0;
        i->fn = op_x87;
    } else {
        return false;
    }
    return true;
}

static bool x87_lower(struct lower *l)
{
    const ZydisDecodedInstruction *z = l->z;
    unsigned opcode = z->opcode & 7, modrm;

    if (z->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT || (z->opcode & 0xf8) != 0xd8)
        return false;
    if (z->raw.modrm.mod != 3)
        return lower_memory(l, opcode, z->raw.modrm.reg & 7);
    modrm = 0xc0u | (z->raw.modrm.reg & 7u) << 3 | (z->raw.modrm.rm & 7u);
    return lower_register(l, opcode, modrm);
}

#define X(m) { ZYDIS_MNEMONIC_##m, NULL, x87_lower, NULL, 0, 0 }
#define XF(m, feature) { ZYDIS_MNEMONIC_##m, NULL, x87_lower, NULL, 0, feature }

const struct insn_row soft_rows_x87[] = {
    X(F2XM1), X(FABS), X(FADD), X(FADDP), X(FBLD), X(FBSTP), X(FCHS), XF(FCMOVB, F_CMOV),
    XF(FCMOVBE, F_CMOV), XF(FCMOVE, F_CMOV), XF(FCMOVNB, F_CMOV), XF(FCMOVNBE, F_CMOV),
    XF(FCMOVNE, F_CMOV), XF(FCMOVNU, F_CMOV), XF(FCMOVU, F_CMOV), X(FCOM), XF(FCOMI, F_CMOV),
    XF(FCOMIP, F_CMOV), X(FCOMP), X(FCOMPP), X(FCOS), X(FDECSTP), X(FDISI8087_NOP), X(FDIV),
    X(FDIVP), X(FDIVR), X(FDIVRP), X(FENI8087_NOP), X(FFREE), X(FFREEP), X(FIADD), X(FICOM),
    X(FICOMP), X(FIDIV), X(FIDIVR), X(FILD), X(FIMUL), X(FINCSTP), X(FIST), X(FISTP),
    XF(FISTTP, F_SSE3), X(FISUB), X(FISUBR), X(FLD), X(FLD1), X(FLDCW), X(FLDENV), X(FLDL2E),
    X(FLDL2T), X(FLDLG2), X(FLDLN2), X(FLDPI), X(FLDZ), X(FMUL), X(FMULP), X(FNCLEX), X(FNINIT),
    X(FNOP), X(FNSAVE), X(FNSTCW), X(FNSTENV), X(FNSTSW), X(FPATAN), X(FPREM), X(FPREM1), X(FPTAN),
    X(FRNDINT), X(FRSTOR), X(FSCALE), X(FSETPM287_NOP), X(FSIN), X(FSINCOS), X(FSQRT), X(FST),
    X(FSTP), X(FSTPNCE), X(FSUB), X(FSUBP), X(FSUBR), X(FSUBRP), X(FTST), X(FUCOM),
    XF(FUCOMI, F_CMOV), XF(FUCOMIP, F_CMOV), X(FUCOMP), X(FUCOMPP), X(FXAM), X(FXCH), X(FXTRACT),
    X(FYL2X), X(FYL2XP1),
    { ZYDIS_MNEMONIC_FWAIT, op_fwait, NULL, NULL, 0, 0 },
#define SAVE(m, f) { ZYDIS_MNEMONIC_##m, NULL, fxsave_lower, NULL, 0, f }
#define XS(m, f) { ZYDIS_MNEMONIC_##m, NULL, xsave_lower, NULL, 0, f }
    SAVE(FXSAVE, F_FXSR), SAVE(FXSAVE64, F_FXSR), SAVE(FXRSTOR, F_FXSR), SAVE(FXRSTOR64, F_FXSR),
    XS(XSAVE, F_XSAVE), XS(XSAVE64, F_XSAVE), XS(XSAVEC, F_XSAVEC), XS(XSAVEC64, F_XSAVEC),
    XS(XSAVEOPT, F_XSAVEOPT), XS(XSAVEOPT64, F_XSAVEOPT), XS(XRSTOR, F_XSAVE), XS(XRSTOR64, F_XSAVE),
    { ZYDIS_MNEMONIC_INVALID, NULL, NULL, NULL, 0, 0 },
};
