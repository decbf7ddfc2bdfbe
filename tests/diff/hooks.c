/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What particular instructions need so that they do more than fault: valid
 * selectors, counts that end, targets that hold code, save areas that load.
 */
#include "diff.h"

#include <string.h>

#include "base/util.h"
#include "cpu/state.h"
#include "x86/x86.h"

struct hook {
    struct gen *g;
    const struct decoded *d;
    uint8_t *bytes;
    bool reject;                /* it cannot be compared with these registers */
};

static const uint16_t selectors[] = {0, 3, SEL_CS32, SEL_DATA, SEL_CS64, SEL_CS16, SEL_DATA & ~3, SEL_CS32 & ~3,
                                     0x0f, 0x63, 0x10, 0x18, 0x40, 0x83, SEL_DATA, SEL_DATA};

static uint16_t pick_selector(struct rng *r)
{
    return rnd_pct(r, 5) ? (uint16_t)(rnd(r) & 0xff77) : selectors[rnd_below(r, ARRAY_SIZE(selectors))];
}

static uint16_t pick_code_selector(struct rng *r)
{
    static const uint16_t code[] = {SEL_CS32, SEL_CS64, SEL_CS16, SEL_CS32, SEL_CS64};

    return rnd_pct(r, 25) ? pick_selector(r) : code[rnd_below(r, ARRAY_SIZE(code))];
}

/* A place that holds INT3s, as the instruction pointer sees it. */
static uint64_t landing(const struct gen *g)
{
    uint64_t v = 0x10 + rnd_below(g->r, 0xe0);

    return g->t->mode == MODE_16 ? v : v + CODE_BASE;
}

static void set_reg(struct gen *g, unsigned reg, uint64_t v)
{
    if (g->use[reg] != REG_FREE)
        return;
    g->t->in.gpr[reg] = g->t->mode == MODE_64 ? v : (uint32_t)v;
    g->use[reg] = REG_FIXED;
}

/* Bytes of the memory operand in the case's data, or NULL. */
static uint8_t *operand_bytes(struct hook *h, const ZydisDecodedOperand *op, unsigned len)
{
    struct gen *g = h->g;
    uint64_t la = (uint64_t)op->mem.disp.value;
    struct decoded d;
    ZydisRegister regs[2] = {op->mem.base, op->mem.index};

    /* The displacement may have been patched. */
    if (op->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
        decode(g->t->mode, h->bytes, 15, &d))
        la = (uint64_t)d.op[op->id].mem.disp.value;
    for (unsigned i = 0; i < 2; i++) {
        ZydisRegister e = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, regs[i]);
        unsigned n = (unsigned)ZydisRegisterGetId(e);

        if (regs[i] == ZYDIS_REGISTER_RIP || regs[i] == ZYDIS_REGISTER_EIP) {
            la += CODE_BASE + g->t->entry + g->len + h->d->z.length;
            continue;
        }
        if (ZydisRegisterGetClass(e) != ZYDIS_REGCLASS_GPR64)
            continue;
        if (g->use[n] == REG_LOST)
            return NULL;
        la += g->t->in.gpr[n] * (i && op->mem.scale ? op->mem.scale : 1);
    }
    if (h->d->z.address_width < 64)
        la &= h->d->z.address_width == 32 ? 0xffffffff : 0xffff;
    if (op->mem.segment == ZYDIS_REGISTER_FS)
        la += g->t->in.fs_base;
    if (op->mem.segment == ZYDIS_REGISTER_GS)
        la += g->t->in.gs_base;
    return case_mem(g->t, la, len);
}

static const ZydisDecodedOperand *find_mem(struct hook *h)
{
    for (unsigned i = 0; i < h->d->z.operand_count; i++)
        if (h->d->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
            return &h->d->op[i];
    return NULL;
}

static uint8_t *mem_bytes(struct hook *h, unsigned len)
{
    const ZydisDecodedOperand *op = find_mem(h);

    return op ? operand_bytes(h, op, len) : NULL;
}

static uint8_t *stack_bytes(struct hook *h, unsigned len)
{
    struct gen *g = h->g;

    return g->use[CPU_RSP] == REG_LOST ? NULL : case_mem(g->t, g->t->in.gpr[CPU_RSP], len);
}

/* Full number of the general register in operand i, or -1. */
static int operand_gpr(struct hook *h, unsigned i)
{
    ZydisRegister e;

    if (i >= h->d->z.operand_count || h->d->op[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
        return -1;
    e = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, h->d->op[i].reg.value);
    return ZydisRegisterGetClass(e) == ZYDIS_REGCLASS_GPR64 ? ZydisRegisterGetId(e) : -1;
}

static void hook_bit(struct hook *h)
{
    int reg = operand_gpr(h, 1);

    if (h->d->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY && reg >= 0 && rnd_pct(h->g->r, 90))
        set_reg(h->g, (unsigned)reg, (uint64_t)(int64_t)((int)rnd_below(h->g->r, 600) - 300));
}

static void hook_div(struct hook *h)
{
    struct gen *g = h->g;
    uint64_t rax = g->t->in.gpr[CPU_RAX];

    if (rnd_pct(g->r, 70))
        set_reg(g, CPU_RDX, rnd_pct(g->r, 50) ? rnd_below(g->r, 4) : (uint64_t)((int64_t)rax >> 63));
    if (h->d->z.operand_width == 8 && rnd_pct(g->r, 60))
        set_reg(g, CPU_RAX, value_int(g->r) & 0xff);
}

static void hook_string(struct hook *h)
{
    struct gen *g = h->g;

    if (rnd_pct(g->r, 95))
        set_reg(g, CPU_RCX, rnd_below(g->r, 24));
}

static void hook_branch(struct hook *h)
{
    int reg = operand_gpr(h, 0);
    uint8_t *p;
    uint64_t v = landing(h->g);

    if (h->d->z.raw.imm[0].is_relative)
        return;
    if (reg >= 0) {
        if (rnd_pct(h->g->r, 90))
            set_reg(h->g, (unsigned)reg, v);
        return;
    }
    if (h->d->op[0].type == ZYDIS_OPERAND_TYPE_POINTER) {
        unsigned size = h->d->z.raw.imm[0].size / 8;
        uint16_t sel = pick_code_selector(h->g->r);

        memcpy(h->bytes + h->d->z.raw.imm[0].offset, &v, size);
        memcpy(h->bytes + h->d->z.raw.imm[0].offset + size, &sel, 2);
        return;
    }
    p = mem_bytes(h, 10);
    if (p && rnd_pct(h->g->r, 90)) {
        memcpy(p, &v, 8);
        if (h->d->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) {
            uint16_t sel = pick_code_selector(h->g->r);

            memcpy(p + h->d->op[0].size / 8 - 2, &sel, 2);
            if (rnd_pct(h->g->r, 50))   /* AMD has no 64-bit offsets here */
                memcpy(p + 4, &sel, 2);
        }
    }
}

static uint64_t pick_flags(struct rng *r)
{
    uint64_t v = rnd(r);

    if (rnd_pct(r, 90))
        v &= ~(uint64_t)(X86_TF | X86_NT);
    if (rnd_pct(r, 90))
        v &= ~(uint64_t)X86_AC;
    return v;
}

/* Return address, CS, flags, SP and SS, as far as the instruction pops them. */
static void hook_return(struct hook *h)
{
    struct gen *g = h->g;
    unsigned size = h->d->z.operand_width / 8;
    uint64_t frame[5] = {landing(g), pick_code_selector(g->r), pick_flags(g->r),
                         DATA_BASE + 0x800 + rnd_below(g->r, 256), SEL_DATA};
    uint8_t *p = stack_bytes(h, 40);

    if (!p || rnd_pct(g->r, 8) || !size)
        return;
    if (h->d->z.mnemonic == ZYDIS_MNEMONIC_RET && h->d->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) {
        frame[2] = frame[3];
        frame[3] = SEL_DATA;
    }
    if (h->d->z.mnemonic == ZYDIS_MNEMONIC_RET && g->t->mode == MODE_64 &&
        h->d->z.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR && size < 8)
        size = 8;
    for (unsigned i = 0; i < 5; i++)
        memcpy(p + i * size, &frame[i], size);
}

static void hook_selector(struct hook *h)
{
    struct gen *g = h->g;
    uint16_t sel = pick_selector(g->r);

    if (rnd_pct(g->r, 10))
        return;
    for (unsigned i = 0; i < h->d->z.operand_count_visible; i++) {
        int reg = operand_gpr(h, i);

        if (reg >= 0)
            set_reg(g, (unsigned)reg, sel | (rnd(g->r) << 16));
    }
    if (find_mem(h)) {
        unsigned off = h->d->z.mnemonic == ZYDIS_MNEMONIC_MOV ? 0 : h->d->z.operand_width / 8;
        uint8_t *p;

        if (h->d->z.mnemonic == ZYDIS_MNEMONIC_POP || h->d->op[1].size == 16 || h->d->op[0].size == 16)
            off = 0;
        p = mem_bytes(h, off + 2);
        if (p)
            memcpy(p + off, &sel, 2);
        if (p && off == 8)      /* AMD has no 64-bit offsets here */
            memcpy(p + 4, &sel, 2);
    }
}

static void hook_pop(struct hook *h)
{
    if (h->d->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
        ZydisRegisterGetClass(h->d->op[0].reg.value) == ZYDIS_REGCLASS_SEGMENT)
        hook_selector(h);
}

static void hook_mov(struct hook *h)
{
    if (h->d->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
        ZydisRegisterGetClass(h->d->op[0].reg.value) == ZYDIS_REGCLASS_SEGMENT)
        hook_selector(h);
}

static void hook_popf(struct hook *h)
{
    uint64_t v = pick_flags(h->g->r);
    uint8_t *p = stack_bytes(h, 8);

    if (p && rnd_pct(h->g->r, 90))
        memcpy(p, &v, 8);
}

/* Half of the time the comparison is true. */
static void hook_cmpxchg(struct hook *h)
{
    struct gen *g = h->g;
    bool pair = h->d->z.mnemonic != ZYDIS_MNEMONIC_CMPXCHG;
    unsigned size = h->d->op[0].size / 8, half = pair ? size / 2 : size;
    uint8_t *p;

    if (rnd_pct(g->r, 50) || h->d->op[0].type != ZYDIS_OPERAND_TYPE_MEMORY || !size)
        return;
    p = mem_bytes(h, size);
    if (!p || g->use[CPU_RAX] == REG_LOST)
        return;
    memcpy(p, &g->t->in.gpr[CPU_RAX], half);
    if (pair)
        memcpy(p + half, &g->t->in.gpr[CPU_RDX], half);
}

static void hook_mxcsr(struct hook *h)
{
    uint32_t v = 0x1f80 | ((uint32_t)rnd(h->g->r) & 0xffff);
    uint8_t *p = mem_bytes(h, 4);

    if (p && rnd_pct(h->g->r, 80))
        memcpy(p, &v, 4);
}

static void hook_fxrstor(struct hook *h)
{
    uint32_t mxcsr = 0x1f80 | ((uint32_t)rnd(h->g->r) & 0xffff);
    uint16_t fcw = 0x37f | (uint16_t)(rnd(h->g->r) & 0xc00);
    uint8_t *p = mem_bytes(h, 512);

    if (!p || rnd_pct(h->g->r, 15))
        return;
    memcpy(p, &fcw, 2);
    memcpy(p + 24, &mxcsr, 4);
}

/* May EAX ask for components that the engine does not have? */
static bool asks_for_others(const struct gen *g)
{
    return native_other_components() &&
           (g->use[CPU_RAX] == REG_LOST ||
            (uint32_t)g->t->in.gpr[CPU_RAX] & native_other_components());
}

static void hook_xsave(struct hook *h)
{
    struct gen *g = h->g;
    uint64_t header[8] = {rnd(g->r) & native_xcr0()};
    uint8_t *p;

    set_reg(g, CPU_RDX, 0);
    set_reg(g, CPU_RAX, rnd_pct(g->r, 50) ? 0xe7 : rnd(g->r) & 0xff & ~native_other_components());
    h->reject = asks_for_others(g);
    if (h->d->z.mnemonic != ZYDIS_MNEMONIC_XRSTOR && h->d->z.mnemonic != ZYDIS_MNEMONIC_XRSTOR64) {
        if (h->d->z.mnemonic != ZYDIS_MNEMONIC_XSAVEC && h->d->z.mnemonic != ZYDIS_MNEMONIC_XSAVEC64) {
            p = mem_bytes(h, 576);
            if (p)
                memcpy(p + 512, header, sizeof(header));
        }
        return;
    }
    hook_fxrstor(h);
    p = mem_bytes(h, 576);
    if (p && rnd_pct(g->r, 90)) {
        if (rnd_pct(g->r, 20))
            header[1] = 1ULL << 63 | (rnd(g->r) & native_xcr0()) | header[0];
        memcpy(p + 512, header, sizeof(header));
    }
}

static void hook_fld80(struct hook *h)
{
    uint8_t *p = mem_bytes(h, 10), st[16];

    if (h->d->op[0].size != 80 && h->d->op[1].size != 80)
        return;
    value_st(h->g->r, st);
    if (p && rnd_pct(h->g->r, 80))
        memcpy(p, st, 10);
}

static void hook_enter(struct hook *h)
{
    uint16_t size = (uint16_t)rnd_below(h->g->r, 128);
    uint8_t *imm = h->bytes + h->d->z.raw.imm[0].offset;

    if (rnd_pct(h->g->r, 20))
        return;
    memcpy(imm, &size, 2);
    imm[2] = (uint8_t)(rnd_below(h->g->r, 4) | (rnd(h->g->r) & 0xe0));
    if (rnd_pct(h->g->r, 80))
        set_reg(h->g, CPU_RBP, DATA_BASE + 0x1000 + rnd_below(h->g->r, 0x1000));
}

static void hook_leave(struct hook *h)
{
    if (rnd_pct(h->g->r, 90))
        set_reg(h->g, CPU_RBP, DATA_BASE + 0x100 + rnd_below(h->g->r, 0x2f08));
}

static void hook_int(struct hook *h)
{
    uint8_t *imm = h->bytes + h->d->z.raw.imm[0].offset;

    if (*imm == 0x80)           /* a system call of the host */
        *imm = 0x81;
}

static void hook_lengths(struct hook *h)
{
    if (rnd_pct(h->g->r, 70)) {
        set_reg(h->g, CPU_RAX, rnd_below(h->g->r, 20));
        set_reg(h->g, CPU_RDX, rnd_below(h->g->r, 20));
    }
}

static void hook_clzero(struct hook *h)
{
    set_reg(h->g, CPU_RAX, DATA_BASE + rnd_below(h->g->r, DATA_SIZE));
}

#define M(x) ZYDIS_MNEMONIC_##x
static const struct {
    ZydisMnemonic mnemonic;
    void (*fn)(struct hook *h);
} hooks[] = {
    {M(BT), hook_bit}, {M(BTS), hook_bit}, {M(BTR), hook_bit}, {M(BTC), hook_bit},
    {M(DIV), hook_div}, {M(IDIV), hook_div},
    {M(MOVSB), hook_string}, {M(MOVSW), hook_string}, {M(MOVSD), hook_string}, {M(MOVSQ), hook_string},
    {M(CMPSB), hook_string}, {M(CMPSW), hook_string}, {M(CMPSD), hook_string}, {M(CMPSQ), hook_string},
    {M(STOSB), hook_string}, {M(STOSW), hook_string}, {M(STOSD), hook_string}, {M(STOSQ), hook_string},
    {M(LODSB), hook_string}, {M(LODSW), hook_string}, {M(LODSD), hook_string}, {M(LODSQ), hook_string},
    {M(SCASB), hook_string}, {M(SCASW), hook_string}, {M(SCASD), hook_string}, {M(SCASQ), hook_string},
    {M(LOOP), hook_string}, {M(LOOPE), hook_string}, {M(LOOPNE), hook_string},
    {M(JCXZ), hook_string}, {M(JECXZ), hook_string}, {M(JRCXZ), hook_string},
    {M(JMP), hook_branch}, {M(CALL), hook_branch},
    {M(RET), hook_return}, {M(IRET), hook_return}, {M(IRETD), hook_return}, {M(IRETQ), hook_return},
    {M(LDS), hook_selector}, {M(LES), hook_selector}, {M(LSS), hook_selector}, {M(LFS), hook_selector},
    {M(LGS), hook_selector}, {M(LAR), hook_selector}, {M(LSL), hook_selector}, {M(VERR), hook_selector},
    {M(VERW), hook_selector}, {M(ARPL), hook_selector}, {M(POP), hook_pop}, {M(MOV), hook_mov},
    {M(POPF), hook_popf}, {M(POPFD), hook_popf}, {M(POPFQ), hook_popf},
    {M(CMPXCHG), hook_cmpxchg}, {M(CMPXCHG8B), hook_cmpxchg}, {M(CMPXCHG16B), hook_cmpxchg},
    {M(LDMXCSR), hook_mxcsr}, {M(VLDMXCSR), hook_mxcsr},
    {M(FXRSTOR), hook_fxrstor}, {M(FXRSTOR64), hook_fxrstor},
    {M(XSAVE), hook_xsave}, {M(XSAVE64), hook_xsave}, {M(XSAVEOPT), hook_xsave},
    {M(XSAVEOPT64), hook_xsave}, {M(XSAVEC), hook_xsave}, {M(XSAVEC64), hook_xsave},
    {M(XRSTOR), hook_xsave}, {M(XRSTOR64), hook_xsave},
    {M(FLD), hook_fld80}, {M(ENTER), hook_enter}, {M(LEAVE), hook_leave}, {M(INT), hook_int},
    {M(PCMPESTRI), hook_lengths}, {M(PCMPESTRM), hook_lengths}, {M(VPCMPESTRI), hook_lengths},
    {M(VPCMPESTRM), hook_lengths}, {M(CLZERO), hook_clzero},
};

bool operand_hooks(struct gen *g, const struct decoded *d, uint8_t *bytes)
{
    struct hook h = {.g = g, .d = d, .bytes = bytes};

    for (unsigned i = 0; i < ARRAY_SIZE(hooks); i++)
        if (hooks[i].mnemonic == d->z.mnemonic) {
            hooks[i].fn(&h);
            break;
        }
    return !h.reject;
}
