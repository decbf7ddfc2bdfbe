/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sequences: instructions of given forms with random registers, one after the other. */
#include "diff.h"
#include "encode.h"

#include <string.h>

#include "base/util.h"
#include "cpu/state.h"
#include "x86/x86.h"

#define TRIES 24

static void choose_regs(struct gen *g, struct encode_choice *c, bool vary)
{
    struct rng *r = g->r;
    bool m64 = g->t->mode == MODE_64;

    if (vary) {
        if (rnd_pct(r, 85))
            c->e.reg = (uint8_t)rnd_below(r, 8);
        if (rnd_pct(r, 85))
            c->e.rm = (uint8_t)rnd_below(r, 8);
        if (c->e.kind != ENC_LEGACY)
            c->e.vvvv = (uint8_t)rnd_below(r, m64 ? 16 : 8);
        if (c->e.kind == ENC_EVEX && c->e.aaa)
            c->e.aaa = (uint8_t)(1 + rnd_below(r, 7));
    }
    if (!m64)
        return;
    c->r = rnd_pct(r, 40);
    c->b = rnd_pct(r, 40);
    c->x = rnd_pct(r, 10);
    c->rex = rnd_pct(r, 20);
    if (vary && c->e.kind == ENC_EVEX) {
        c->r2 = rnd_pct(r, 30);
        c->x2 = rnd_pct(r, 30);
        c->v2 = rnd_pct(r, 30);
    }
}

static void choose_prefixes(struct gen *g, struct encode_choice *c)
{
    static const uint8_t seg[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x64, 0x65};

    c->a67 = rnd_pct(g->r, 10);
    if (rnd_pct(g->r, 8))
        c->seg = seg[rnd_below(g->r, ARRAY_SIZE(seg))];
    if (c->seg == 0x2e && g->t->mode == MODE_16)
        c->seg = 0x36;
}

static unsigned address_size(const struct gen *g, bool a67)
{
    static const unsigned sizes[MODE_COUNT][2] = {{2, 4}, {4, 2}, {8, 4}};

    return sizes[g->t->mode][a67];
}

static bool try_bytes(struct gen *g, const struct form *f, uint8_t *bytes, struct decoded *d, unsigned try)
{
    struct encode_choice c = {.e = f->templates[rnd_below(g->r, f->ntemplates)]};
    struct form_key key;
    bool vsib = false;

    /* The last tries take the template as it is: it is known to decode. */
    choose_regs(g, &c, try < TRIES - 6);
    if (try < TRIES - 8)
        choose_prefixes(g, &c);
    for (unsigned i = 0; i < f->key.nops; i++)
        vsib |= f->key.op[i].kind == ZYDIS_OPERAND_TYPE_MEMORY &&
                f->key.op[i].reg_class == ZYDIS_MEMOP_TYPE_VSIB;
    if (c.e.has_modrm && !c.e.reg_form) {
        operand_shape(g, address_size(g, c.a67), vsib, &c.addr);
        c.x = c.addr.x;
        c.b = c.addr.b;
        c.disp = (uint32_t)(rnd_pct(g->r, 50) ? value_int(g->r) : rnd_below(g->r, 256));
    }
    c.imm = value_int(g->r) ^ (rnd_pct(g->r, 10) ? rnd(g->r) : 0);
    memset(bytes, 0x90, 48);
    encode(g->t->mode, &c, bytes);
    if (!decode(g->t->mode, bytes, 15, d))
        return false;
    form_key_of(g->t->mode, d, &key);
    return !memcmp(&key, &f->key, sizeof(key)) && !exclude_reason(g->t->mode, d);
}

/* Registers that the instruction writes no longer have their initial values. */
static void note_writes(struct gen *g, const struct decoded *d)
{
    for (unsigned i = 0; i < d->z.operand_count; i++) {
        const ZydisDecodedOperand *op = &d->op[i];
        ZydisRegister reg;

        if (op->type != ZYDIS_OPERAND_TYPE_REGISTER || !(op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            continue;
        reg = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, op->reg.value);
        if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_GPR64)
            g->use[ZydisRegisterGetId(reg)] = REG_LOST;
        if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_ZMM)
            g->vec_lost[ZydisRegisterGetId(reg)] = true;
    }
    if (d->z.mnemonic == ZYDIS_MNEMONIC_POPA || d->z.mnemonic == ZYDIS_MNEMONIC_POPAD)
        memset(g->use, REG_LOST, 8 * sizeof(g->use[0]));
}

bool gen_insn(struct gen *g, const struct form *f, unsigned index)
{
    struct test_case *t = g->t;
    uint8_t bytes[48];
    struct decoded d;

    for (unsigned try = 0; try < TRIES; try++) {
        if (!try_bytes(g, f, bytes, &d, try))
            continue;
        if (g->len + d.z.length > SEQ_BYTES)
            return false;
        if (!operand_place(g, &d, bytes) || !operand_hooks(g, &d, bytes))
            continue;
        note_writes(g, &d);
        memcpy(t->code + g->len, bytes, d.z.length);
        t->off[t->n] = g->len;
        t->form[t->n++] = index;
        g->len += d.z.length;
        t->off[t->n] = g->len;
        return true;
    }
    return false;
}

static void choose_stack(struct gen *g)
{
    struct rng *r = g->r;
    uint64_t sp = DATA_BASE + 0x200 + (rnd_below(r, 0x2c00) & ~7u);
    unsigned kind = rnd_below(r, 100);

    if (kind < 10)
        sp += rnd_below(r, 8);
    else if (kind < 14)
        sp = DATA_BASE + rnd_below(r, 24);
    else if (kind < 18)
        sp = DATA_BASE + DATA_SIZE - rnd_below(r, 24);
    else if (kind < 22)
        sp = DATA_BASE + 0x1000 + rnd_below(r, 24) - 12;
    else if (kind < 24)
        sp = value_int(r);
    g->t->in.gpr[CPU_RSP] = g->t->mode == MODE_64 ? sp : (uint32_t)sp;
    g->use[CPU_RSP] = REG_FIXED;
}

/* Relative branches go to a later instruction of the sequence or its end. */
static void patch_branches(struct gen *g)
{
    struct test_case *t = g->t;

    for (unsigned i = 0; i < t->n; i++) {
        struct decoded d;
        unsigned target;
        int32_t rel;

        if (!decode(t->mode, t->code + t->off[i], t->off[i + 1] - t->off[i], &d) ||
            !d.z.raw.imm[0].is_relative)
            continue;
        target = t->off[i + 1 + rnd_below(g->r, t->n - i)];
        rel = (int32_t)(target - t->off[i + 1]);
        memcpy(t->code + t->off[i] + d.z.raw.imm[0].offset, &rel, d.z.raw.imm[0].size / 8);
    }
}

/* Gathers and scatters may trap between elements, as the CPU likes (SDM 2C
 * VGATHERDPS). */
static bool has_vsib(const struct test_case *t)
{
    for (unsigned i = 0; i < t->n; i++)
        for (unsigned k = 0; k < FORM_OPS; k++)
            if (form_get(t->form[i])->key.op[k].kind == ZYDIS_OPERAND_TYPE_MEMORY &&
                form_get(t->form[i])->key.op[k].reg_class == ZYDIS_MEMOP_TYPE_VSIB)
                return true;
    return false;
}

bool gen_case(struct test_case *t, struct rng *r, unsigned form, bool first,
              unsigned (*pick)(struct rng *r, enum mode mode))
{
    struct gen g = {.r = r, .t = t};
    const struct form *f = form_get(form);
    unsigned n = 1 + rnd_below(r, SEQ_MAX), at = first ? 0 : rnd_below(r, n);

    t->mode = f->key.mode;
    t->n = 0;
    t->off[0] = 0;
    t->entry = rnd_pct(r, 94) ? 0x100 + rnd_below(r, 64) : 0x1000 - rnd_below(r, 60);
    value_regs(r, &t->in, t->mode);
    value_memory(r, t->mem, DATA_SIZE);
    choose_stack(&g);
    for (unsigned i = 0; i < n; i++) {
        unsigned k = i == at ? form : pick(r, t->mode);

        /* What leaves flags that are not compared comes last. */
        if (compare_ignores(form_get(k)->key.mnemonic)) {
            if (i != at)
                continue;
            n = i + 1;
        }
        if (!gen_insn(&g, form_get(k), k) && i == at)
            return false;
    }
    memset(t->code + g.len, 0xcc, SEQ_BYTES - g.len);
    patch_branches(&g);
    if (has_vsib(t))
        t->in.rflags &= ~(uint64_t)X86_TF;
    t->in.rip = t->entry + (t->mode == MODE_16 ? 0 : CODE_BASE);
    return true;
}
