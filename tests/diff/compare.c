/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Comparing two outcomes of a case. */
#include "diff.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cpu/state.h"
#include "x86/x86.h"

#define M(x) ZYDIS_MNEMONIC_##x
/* Known gap: with overflow or underflow unmasked the engine finds the exception
 * by masked execution, where an infinite or denormal result is inexact; the
 * host looks whether the scaled one is. */
#define MXCSR_OE 0x08u
#define MXCSR_UE 0x10u
#define MXCSR_PE 0x20u
#define MXCSR_FLAGS 0x3fu
#define FSW_TOP 0x3800u
#define FSW_ES 0x80u
#define SZAPO (X86_SF | X86_ZF | X86_AF | X86_PF | X86_OF)

/* Flags that the manual (SDM 1 appendix A, SDM 2) leaves undefined. */
static const struct flag_mask {
    ZydisMnemonic mnemonic;
    uint32_t flags;
} undefined[] = {
    {M(AAA), X86_OF | X86_SF | X86_ZF | X86_PF}, {M(AAS), X86_OF | X86_SF | X86_ZF | X86_PF},
    {M(AAD), X86_OF | X86_AF | X86_CF}, {M(AAM), X86_OF | X86_AF | X86_CF},
    {M(DAA), X86_OF}, {M(DAS), X86_OF},
    {M(AND), X86_AF}, {M(OR), X86_AF}, {M(XOR), X86_AF}, {M(TEST), X86_AF},
    {M(BSF), X86_FLAGS_ARITH & ~X86_ZF}, {M(BSR), X86_FLAGS_ARITH & ~X86_ZF},
    {M(BT), SZAPO & ~X86_ZF}, {M(BTS), SZAPO & ~X86_ZF}, {M(BTR), SZAPO & ~X86_ZF}, {M(BTC), SZAPO & ~X86_ZF},
    {M(DIV), X86_FLAGS_ARITH}, {M(IDIV), X86_FLAGS_ARITH},
    {M(MUL), SZAPO & ~X86_OF}, {M(IMUL), SZAPO & ~X86_OF},
    {M(RCL), X86_OF}, {M(RCR), X86_OF}, {M(ROL), X86_OF}, {M(ROR), X86_OF},
    {M(SHL), X86_OF | X86_AF | X86_CF}, {M(SHR), X86_OF | X86_AF | X86_CF}, {M(SAR), X86_AF},
    {M(SHLD), X86_FLAGS_ARITH}, {M(SHRD), X86_FLAGS_ARITH},
    {M(ANDN), X86_AF | X86_PF}, {M(BEXTR), X86_AF | X86_SF | X86_PF}, {M(BLSI), X86_AF | X86_PF},
    {M(BLSMSK), X86_AF | X86_PF}, {M(BLSR), X86_AF | X86_PF}, {M(BZHI), X86_AF | X86_PF},
    {M(LZCNT), SZAPO & ~X86_ZF}, {M(TZCNT), SZAPO & ~X86_ZF},
};

/* Flags that we do not compare.  Few: in each engine they are the host's, since
 * the same host instruction makes them; but the host's 64-bit mode has no
 * decimal arithmetic. */
static const struct flag_mask ignored[] = {
    {M(AAA), X86_OF | X86_SF | X86_ZF | X86_PF}, {M(AAS), X86_OF | X86_SF | X86_ZF | X86_PF},
    {M(AAD), X86_OF | X86_AF | X86_CF}, {M(AAM), X86_OF | X86_AF | X86_CF},
    {M(DAA), X86_OF}, {M(DAS), X86_OF},
};

static uint32_t mask_of(const struct flag_mask *table, size_t n, ZydisMnemonic m)
{
    uint32_t mask = 0;

    for (size_t i = 0; i < n; i++)
        if (table[i].mnemonic == m)
            mask |= table[i].flags;
    return mask;
}

bool compare_ignores(unsigned mnemonic)
{
    return mnemonic == M(ROL) || mnemonic == M(ROR) || mask_of(ignored, ARRAY_SIZE(ignored), mnemonic) != 0;
}

void compare_init(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
        uint32_t may = mask_of(undefined, ARRAY_SIZE(undefined), ignored[i].mnemonic);

        if (ignored[i].flags & ~may) {
            fprintf(stderr, "difftest: the mask of ignored flags of %s is wider than the manual's\n",
                    ZydisMnemonicGetString(ignored[i].mnemonic));
            exit(1);
        }
    }
}

struct diff {
    FILE *f;
    unsigned n;
};

static void differ(struct diff *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void differ(struct diff *d, const char *fmt, ...)
{
    va_list ap;

    d->n++;
    if (!d->f || d->n > 40)
        return;
    va_start(ap, fmt);
    fprintf(d->f, "    ");
    vfprintf(d->f, fmt, ap);
    fprintf(d->f, "\n");
    va_end(ap);
}

static void field(struct diff *d, const char *name, uint64_t native, uint64_t guest)
{
    if (native != guest)
        differ(d, "%-8s native %#-18" PRIx64 " engine %#" PRIx64, name, native, guest);
}

static void bytes(struct diff *d, const char *name, unsigned i, const uint8_t *native, const uint8_t *guest,
                  unsigned n)
{
    char a[140], b[140];

    if (!memcmp(native, guest, n))
        return;
    for (unsigned k = 0; k < n; k++) {
        snprintf(a + 2 * k, 3, "%02x", native[n - 1 - k]);
        snprintf(b + 2 * k, 3, "%02x", guest[n - 1 - k]);
    }
    differ(d, "%s%u\n      native %s\n      engine %s", name, i, a, b);
}

static const char *const gpr_names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
static const char *const seg_names[] = {"es", "cs", "ss", "ds", "fs", "gs"};

static void compare_integer(struct diff *d, const struct regs *a, const struct regs *b, uint64_t flag_mask)
{
    /* What 32-bit code leaves in the upper halves is undefined (SDM 1 3.4.1.1). */
    uint64_t gpr_mask = a->sel[DS_CS] == SEL_CS64 ? ~0ULL : 0xffffffff;

    for (unsigned i = 0; i < 16; i++)
        field(d, gpr_names[i], a->gpr[i] & gpr_mask, b->gpr[i] & gpr_mask);
    field(d, "rip", a->rip, b->rip);
    field(d, "rflags", a->rflags & ~flag_mask, b->rflags & ~flag_mask);
    /* The host's kernel returns to user mode by IRET, which may turn null
     * selectors other than 0 into 0 (APM 3 IRET). */
    for (unsigned i = 0; i < DS_COUNT; i++)
        if (a->sel[i] > 3 || b->sel[i] > 3)
            field(d, seg_names[i], a->sel[i], b->sel[i]);
    field(d, "fs_base", a->fs_base, b->fs_base);
    field(d, "gs_base", a->gs_base, b->gs_base);
}

static void compare_vector(struct diff *d, const struct regs *a, const struct regs *b, uint32_t mxcsr_mask)
{
    field(d, "fcw", a->fcw, b->fcw);
    field(d, "fsw", a->fsw, b->fsw);
    field(d, "ftw", a->ftw, b->ftw);
    for (unsigned i = 0; i < 8; i++)
        bytes(d, "st", i, a->st[i], b->st[i], 10);
    field(d, "mxcsr", a->mxcsr & ~mxcsr_mask, b->mxcsr & ~mxcsr_mask);
    for (unsigned i = 0; i < 8; i++) {
        char name[8];

        snprintf(name, sizeof(name), "k%u", i);
        field(d, name, a->k[i], b->k[i]);
    }
    for (unsigned i = 0; i < 32; i++)
        bytes(d, "zmm", i, a->zmm[i], b->zmm[i], 64);
}

/* Of a mask in a vector register the signs count: Intel's CPUs leave all ones
 * and zeroes at a fault, and nothing above. */
static void forget_mask(const uint8_t *native, uint8_t *guest, unsigned size, unsigned count)
{
    for (unsigned at = size; at <= size * count; at += size)
        if ((native[at - 1] ^ guest[at - 1]) & 0x80)
            return;
    memcpy(guest, native, 64);
}

/* What a gather leaves above its destination's length when it faults is not
 * specified, and differs from run to run of the forms. */
static void forget_gather(const struct test_case *t, const struct outcome *native, struct regs *guest)
{
    bool retired;
    unsigned n = case_ran(t, native, &retired), reg, len;
    struct decoded d;

    if (!n || retired || !decode(t->mode, t->code + t->off[n - 1], t->off[n] - t->off[n - 1], &d))
        return;
    if (d.op[1].type != ZYDIS_OPERAND_TYPE_MEMORY && d.op[2].type != ZYDIS_OPERAND_TYPE_MEMORY)
        return;
    if (d.z.meta.category != ZYDIS_CATEGORY_AVX2GATHER && d.z.meta.category != ZYDIS_CATEGORY_GATHER)
        return;
    reg = (unsigned)ZydisRegisterGetId(d.op[0].reg.value) & 31;
    len = d.op[0].element_count * d.op[0].element_size / 8;
    if (len < 64)
        memcpy(guest->zmm[reg] + len, native->out.zmm[reg] + len, 64 - len);
    if (d.z.meta.category == ZYDIS_CATEGORY_AVX2GATHER)
        forget_mask(native->out.zmm[ZydisRegisterGetId(d.op[2].reg.value) & 31],
                    guest->zmm[ZydisRegisterGetId(d.op[2].reg.value) & 31], d.op[2].element_size / 8,
                    d.op[2].element_count);
}

static void compare_memory(struct diff *d, const struct test_case *t, const struct outcome *a,
                           const struct outcome *b)
{
    uint8_t mem[DATA_SIZE];

    if (!memcmp(a->mem, b->mem, DATA_SIZE))
        return;
    memcpy(mem, b->mem, DATA_SIZE);
    inuse_forget(t, a->mem, mem);
    for (unsigned i = 0; i < DATA_SIZE; i += 8) {
        uint64_t x, y;

        memcpy(&x, a->mem + i, 8);
        memcpy(&y, mem + i, 8);
        if (x != y)
            differ(d, "[%#x]  native %016" PRIx64 " engine %016" PRIx64, DATA_BASE + i, x, y);
    }
}

/* Linux reports a fault of user mode above its own addresses as one on a present
 * page, whatever is there (so that layout does not leak). */
static uint32_t error_of(const struct outcome *o)
{
    if (o->vector == VEC_PF && o->cr2 >= 0x7ffffffff000)
        return o->error | PF_P;
    return o->error;
}

static uint64_t ignored_flags(const struct test_case *t)
{
    uint32_t mask = 0;

    for (unsigned i = 0; i < t->n; i++) {
        const struct form_key *key = &form_get(t->form[i])->key;

        mask |= mask_of(ignored, ARRAY_SIZE(ignored), key->mnemonic);
        /* By CL, as the engine does it, Intel's CPUs leave another OF than by an
         * immediate; it is undefined unless the count is 1. */
        if ((key->mnemonic == M(ROL) || key->mnemonic == M(ROR)) &&
            key->op[1].kind == ZYDIS_OPERAND_TYPE_IMMEDIATE)
            mask |= X86_OF;
    }
    return mask;
}

/* A far pointer or return frame: the order of its parts is the CPU's as well. */
static bool is_far(const struct test_case *t, unsigned i)
{
    struct decoded d;

    return decode(t->mode, t->code + t->off[i], t->off[i + 1] - t->off[i], &d) &&
           d.z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

/* Did the case end with a fault of one of these? */
static bool faulted_by(const struct test_case *t, const struct outcome *o, const ZydisMnemonic *m, size_t count)
{
    bool retired;
    unsigned n = case_ran(t, o, &retired);

    for (size_t i = 0; n && !retired && i < count; i++)
        if (form_get(t->form[n - 1])->key.mnemonic == m[i])
            return true;
    return false;
}

/* Areas of many bytes are accessed in an order of the CPU's own: that there is
 * a fault is architectural, its address is not.
 * (RF in #DB: Intel's CPUs set it between the iterations of REP, SDM 3A 18.3.1.1,
 * AMD's do not.) */
static bool faulted_area(const struct test_case *t, const struct outcome *o)
{
    static const ZydisMnemonic areas[] = {
        M(FLDENV), M(FNSTENV), M(FRSTOR), M(FNSAVE), M(FXSAVE), M(FXSAVE64), M(FXRSTOR), M(FXRSTOR64),
        M(XSAVE), M(XSAVE64), M(XSAVEC), M(XSAVEC64), M(XSAVEOPT), M(XSAVEOPT64), M(XRSTOR), M(XRSTOR64),
        M(ENTER), M(LDS), M(LES), M(LSS), M(LFS), M(LGS),
    };
    bool retired;
    unsigned n = case_ran(t, o, &retired);

    return faulted_by(t, o, areas, ARRAY_SIZE(areas)) || (n && !retired && is_far(t, n - 1));
}

/*
 * Two faults of one instruction whose order or kind is the CPU's own:
 * an operand that straddles the 4 GiB limit with its first part on a missing
 * page; and one by FS or GS whose offset is not canonical but its linear
 * address is (the manuals: fine; AMD: #GP); and a call beyond the limit whose
 * push faults as well.
 */
static bool either_fault(const struct test_case *t, const struct outcome *native, const struct outcome *guest)
{
    bool retired;
    unsigned n = case_ran(t, native, &retired);
    struct decoded d;

    if (!n || retired || native->out.rip != guest->out.rip)
        return false;
    /* Which of two comes first is the CPU's own (SDM 3A table 6-2). */
    if ((native->vector == VEC_AC && guest->vector == VEC_PF) ||
        (native->vector == VEC_PF && guest->vector == VEC_AC))
        return true;
    if (form_get(t->form[n - 1])->key.mnemonic == ZYDIS_MNEMONIC_CALL)
        return native->vector == VEC_GP || guest->vector == VEC_GP;
    if (t->mode != MODE_64)
        return native->vector == VEC_PF && native->cr2 >= 0xfffff000 &&
               (guest->vector == VEC_GP || guest->vector == VEC_SS);
    return native->vector == VEC_GP && guest->vector == VEC_PF && guest->cr2 >> 47 &&
           decode(t->mode, t->code + t->off[n - 1], t->off[n] - t->off[n - 1], &d) &&
           (d.z.attributes & (ZYDIS_ATTRIB_HAS_SEGMENT_FS | ZYDIS_ATTRIB_HAS_SEGMENT_GS));
}

/* With a mask, which byte of the page the fault names is the CPU's own. */
static bool faulted_masked(const struct test_case *t, const struct outcome *o)
{
    static const ZydisMnemonic vector[] = {M(VMASKMOVPS), M(VMASKMOVPD), M(VPMASKMOVD), M(VPMASKMOVQ)};
    bool retired;
    unsigned n = case_ran(t, o, &retired);

    return faulted_by(t, o, vector, ARRAY_SIZE(vector)) ||
           (n && !retired && (form_get(t->form[n - 1])->key.attrs & (FK_MASK | FK_BCAST)));
}

static bool is_alignment(const struct outcome *o)
{
    return o->vector == VEC_AC || o->vector == VEC_GP || o->vector == VEC_SS;
}

static bool masked_fault(const struct test_case *t, const struct outcome *o)
{
    return (is_alignment(o) || o->vector == VEC_PF) && faulted_masked(t, o);
}

/* Intel's CPUs have set TOP to 0 when an MMX store finds that it cannot. */
static void clear_top(struct regs *r)
{
    const unsigned top = (r->fsw & FSW_TOP) >> 11;
    uint8_t st[8][16];

    memcpy(st, r->st, sizeof(st));
    for (unsigned i = 0; i < 8; i++)
        memcpy(r->st[i], st[(i - top) & 7], sizeof(st[0]));
    r->fsw &= (uint16_t)~FSW_TOP;
}

static bool host_is_intel(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_is("intel");
}

unsigned compare(const struct test_case *t, const struct outcome *native, const struct outcome *guest, FILE *f)
{
    struct diff d = {.f = f};
    /* CPUs push and pop all one after the other, and leave what they had done. */
    static const ZydisMnemonic parts[] = {M(PUSHA), M(PUSHAD), M(POPA), M(POPAD),
                                          M(CMPSB), M(CMPSW), M(CMPSD), M(CMPSQ),
                                          M(MOVSB), M(MOVSW), M(MOVSD), M(MOVSQ),
                                          M(MASKMOVQ), M(MASKMOVDQU), M(VMASKMOVDQU),
                                          M(MOVBE), M(FBSTP), M(FSTP)};
    static const ZydisMnemonic x87_stores[] = {M(FST), M(FSTP), M(FIST), M(FISTP), M(FISTTP), M(FBSTP)};
    static const ZydisMnemonic irets[] = {M(IRET), M(IRETD), M(IRETQ), M(RET)};
    static const ZydisMnemonic words[] = {M(IRET), M(IRETD), M(IRETQ), M(RET), M(CALL), M(BOUND), M(POP)};
    /* Does it access what the header leaves out (SDM 1 13.8)? */
    static const ZydisMnemonic xrstor[] = {M(XRSTOR), M(XRSTOR64)};
    static const ZydisMnemonic xsave[] = {M(XSAVE), M(XSAVE64), M(XSAVEC), M(XSAVEC64), M(XSAVEOPT), M(XSAVEOPT64)};
    static const ZydisMnemonic ps2ph[] = {M(VCVTPS2PH)}, mmx[] = {M(MOVD), M(MOVQ), M(MOVNTQ)};
    bool area = faulted_area(t, native);
    uint64_t mask = ignored_flags(t);
    uint32_t mxcsr_mask = 0;
    struct regs regs;

    if (native->status != ST_OK)
        return 0;
    if (guest->status != ST_OK) {
        differ(&d, "engine: %s", guest->text);
        return d.n;
    }
    /* Whether a misaligned area is #AC or #GP is the CPU's own (SDM 2, FXSAVE and XSAVE). */
    if (area && native->out.rip == guest->out.rip && is_alignment(native) && is_alignment(guest))
        return 0;
    /* An area that wraps at 4 GiB: which part faults first? */
    if (area && t->mode != MODE_64 && (native->vector == VEC_PF) != (guest->vector == VEC_PF) &&
        native->out.rip == guest->out.rip)
        return 0;
    /* Which part faults first differs, even from form to form on one CPU. */
    if (faulted_by(t, native, parts, ARRAY_SIZE(parts)) && faulted_by(t, guest, parts, ARRAY_SIZE(parts)))
        return 0;
    if (native->vector == VEC_PF && faulted_by(t, native, xrstor, ARRAY_SIZE(xrstor)))
        return 0;
    /* Does it access what the mask leaves out (SDM 1 13.7 to 13.10)? */
    if (native->vector != VEC_PF && guest->vector == VEC_PF && faulted_by(t, guest, xsave, ARRAY_SIZE(xsave)))
        return 0;
    if (either_fault(t, native, guest))
        return 0;
    /* Intel's CPUs find an unmasked exception before they look at the page. */
    if ((native->out.fsw & FSW_ES) && (guest->vector == VEC_PF || is_alignment(guest)) &&
        faulted_by(t, guest, x87_stores, ARRAY_SIZE(x87_stores)))
        return 0;
    /* Which of several words is looked at first is the CPU's own. */
    if (native->vector == guest->vector && faulted_by(t, native, irets, ARRAY_SIZE(irets)))
        return 0;
    /* Intel's CPUs read no more of the stack than the selector, and check it before
     * the words behind it; AMD's are compared. */
    if (host_is_intel() && native->vector != guest->vector && faulted_by(t, guest, words, ARRAY_SIZE(words)))
        return 0;
    /* Small masked operands: alignment, and stack or other segment, follow no rule of the manuals. */
    if (native->vector != guest->vector && (masked_fault(t, native) || masked_fault(t, guest)))
        return 0;
    /* Intel's CPUs convert first, and find afterwards that they cannot store. */
    if (native->vector == VEC_XM && guest->vector != VEC_XM && native->out.rip == guest->out.rip &&
        faulted_by(t, guest, ps2ph, ARRAY_SIZE(ps2ph)))
        return 0;
    field(&d, "vector", native->vector, guest->vector);
    if (!area) {
        field(&d, "error", error_of(native), error_of(guest));
        if (!faulted_masked(t, native) || native->cr2 >> 12 != guest->cr2 >> 12)
            field(&d, "cr2", native->cr2, guest->cr2);
    }
    if (native->vector == VEC_DB)
        mask |= X86_RF;
    if (native->vector == VEC_XM && (native->out.mxcsr & ~(native->out.mxcsr >> 7) & (MXCSR_OE | MXCSR_UE)))
        mxcsr_mask = MXCSR_PE;
    if (faulted_by(t, native, ps2ph, ARRAY_SIZE(ps2ph)))
        mxcsr_mask = MXCSR_FLAGS;
    compare_integer(&d, &native->out, &guest->out, mask);
    regs = guest->out;
    forget_gather(t, native, &regs);
    if (faulted_by(t, native, mmx, ARRAY_SIZE(mmx)) && !(native->out.fsw & FSW_TOP))
        clear_top(&regs);
    compare_vector(&d, &native->out, &regs, mxcsr_mask);
    compare_memory(&d, t, native, guest);
    return d.n;
}

/*
 * Where the case ended says how much of it has run: at the INT3 behind the
 * sequence (or another place: a branch) all that comes before; at a fault
 * the instruction there as well, though it did not retire.
 */
unsigned case_ran(const struct test_case *t, const struct outcome *o, bool *last_retired)
{
    uint64_t base = t->entry + (t->mode == MODE_16 ? 0 : CODE_BASE);
    uint64_t at = o->out.rip - base;

    *last_retired = true;
    for (unsigned i = 0; i < t->n; i++)
        if (at == t->off[i] && o->vector != VEC_DB) {
            *last_retired = false;
            return i + 1;
        }
    for (unsigned i = 0; i <= t->n; i++)
        if (at == t->off[i])
            return i;
    if (at == t->off[t->n] + 1)
        return t->n;
    return 1;                   /* jumped away: at least the first */
}
