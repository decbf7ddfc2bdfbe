/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoding for the translator, which remembers the forms of instructions.
 *
 * Code consists of few forms: the bytes in front of displacement and immediate
 * (prefixes, opcode, ModRM, SIB) repeat.  A form is what was decoded once for
 * such bytes; the next instruction that has them takes it, with its own
 * displacement and immediate.  Everything else is Zydis' (soft_decode_full).
 */
#include <stdlib.h>

#include "engine/bt/item.h"

#define FORM_BITS 10
#define FORM_OPERANDS 5
#define KEY_MAX 8
#define NONE 0xff

struct bt_form {
    uint64_t key;               /* the bytes */
    uint16_t mode;              /* of the block */
    uint8_t key_len;            /* 0: there is no form here */
    uint8_t result;             /* enum decode_result */
    uint8_t kind;
    uint8_t memory, immediate;  /* operands whose value is the instruction's own, or NONE */
    bool rip;                   /* the displacement is relative to RIP */
    struct insn insn;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand op[FORM_OPERANDS];
};

struct bt_form *bt_forms_create(void)
{
    return calloc(1 << FORM_BITS, sizeof(struct bt_form));
}

/* ---- the bytes in front of displacement and immediate ------------------------------------- */

/* Opcodes with ModRM, a bit each. */
static const uint16_t modrm_one[16] = {
    0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f, 0, 0, 0x0a08, 0, 0xffff, 0, 0, 0, 0x00c3, 0xff0f, 0, 0xc0c0,
};
static const uint16_t modrm_two[16] = {
    0x2000, 0xff00, 0, 0, 0xffff, 0, 0, 0, 0, 0xffff, 0xf838, 0xffff, 0x00ff, 0, 0, 0,
};

static bool has_modrm(const uint16_t *map, unsigned opcode)
{
    return map[opcode >> 4] >> (opcode & 15) & 1;
}

static bool is_prefix(unsigned byte)
{
    switch (byte) {
    case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66: case 0x67:
    case 0xf0: case 0xf2: case 0xf3:
        return true;
    default:
        return false;
    }
}

/* How many there are, for most instructions of the legacy maps; a guess: only
 * forms for which it is right are kept. */
static unsigned guess_key(const uint8_t *b, bool code64)
{
    unsigned n = 0;
    bool modrm;

    while (n < 4 && is_prefix(b[n]))
        n++;
    if (code64 && (b[n] & 0xf0) == 0x40)
        n++;
    if (b[n] == 0x0f) {
        modrm = has_modrm(modrm_two, b[n + 1]);
        n += 2;
    } else {
        modrm = has_modrm(modrm_one, b[n]);
        n++;
    }
    if (!modrm)
        return n;
    return n + 1 + (b[n] < 0xc0 && (b[n] & 7) == 4);
}

static uint64_t load_key(const uint8_t *b, unsigned len)
{
    uint64_t v;

    memcpy(&v, b, sizeof(v));
    return v & ~0ULL >> (64 - 8 * len);
}

static struct bt_form *place_of(struct bt_form *forms, uint64_t key, unsigned mode)
{
    return &forms[((key ^ mode) * 0x9e3779b97f4a7c15ULL) >> (64 - FORM_BITS)];
}

/* ---- taking a form -------------------------------------------------------------------------- */

static uint64_t load_value(const uint8_t *b, unsigned bits, bool is_signed)
{
    uint64_t v = 0;

    memcpy(&v, b, bits / 8);
    return is_signed ? (uint64_t)((int64_t)(v << (64 - bits)) >> (64 - bits)) : v;
}

/* False: its displacement is one that lowering makes something else of. */
static bool take(struct item *i, const struct bt_form *f)
{
    const ZydisDecodedInstruction *z = &f->z;
    int64_t disp = 0;

    if (f->memory != NONE) {
        disp = (int64_t)load_value(i->bytes + z->raw.disp.offset, z->raw.disp.size, true);
        if (f->rip && disp > INT32_MAX - z->length)
            return false;
    }
    i->insn = f->insn;
    i->z = *z;
    memcpy(i->op, f->op, z->operand_count * sizeof(i->op[0]));
    i->kind = f->kind;
    if (f->memory != NONE) {
        i->z.raw.disp.value = disp;
        i->op[f->memory].mem.disp.value = disp;
        i->insn.disp = (int32_t)(disp + (f->rip ? z->length : 0));
    }
    if (f->immediate != NONE) {
        uint64_t v = load_value(i->bytes + z->raw.imm[0].offset, z->raw.imm[0].size, z->raw.imm[0].is_signed);

        i->z.raw.imm[0].value.u = i->op[f->immediate].imm.value.u = i->insn.imm = v;
    }
    return true;
}

/* ---- keeping one ------------------------------------------------------------------------------ */

/* Kinds for which neither lowering nor classification looks at the values. */
static bool is_plain(enum kind k)
{
    switch (k) {
    case K_FUNCTION: case K_VEX: case K_SIMD: case K_VZERO: case K_MXCSR: case K_X87: case K_SYSTEM: case K_BIT:
    case K_STRING: case K_SYSCALL: case K_SYSRET:
        return false;
    default:
        return true;
    }
}

/* Which operand has the displacement, or the immediate; NONE: there is none.
 * False: more follows from its value, so there is no form. */
static bool find_memory(const struct item *i, struct bt_form *f)
{
    const ZydisDecodedInstruction *z = &i->z;

    f->memory = NONE;
    if (!z->raw.disp.size)
        return true;
    for (uint8_t n = 0; n < z->operand_count_visible; n++)
        if (i->op[n].type == ZYDIS_OPERAND_TYPE_MEMORY && i->op[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
            f->memory = n;
    if (f->memory == NONE || i->op[f->memory].mem.disp.value != z->raw.disp.value)
        return false;
    f->rip = i->op[f->memory].mem.base == ZYDIS_REGISTER_RIP;
    return i->insn.disp == z->raw.disp.value + (f->rip ? z->length : 0);
}

static bool find_immediate(const struct item *i, struct bt_form *f)
{
    const ZydisDecodedInstruction *z = &i->z;

    f->immediate = NONE;
    if (!z->raw.imm[0].size)
        return true;
    for (uint8_t n = 0; n < z->operand_count_visible; n++)
        if (i->op[n].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
            f->immediate = n;
    return f->immediate != NONE && !z->raw.imm[1].size &&
           i->op[f->immediate].imm.value.u == z->raw.imm[0].value.u && i->insn.imm == z->raw.imm[0].value.u;
}

static unsigned key_of(const ZydisDecodedInstruction *z)
{
    if (z->raw.disp.size)
        return z->raw.disp.offset;
    return z->raw.imm[0].size ? z->raw.imm[0].offset : z->length;
}

static void keep(struct bt_form *f, const struct item *i, unsigned mode, uint64_t key, unsigned key_len,
                 enum decode_result r)
{
    const ZydisDecodedInstruction *z = &i->z;

    if (!is_plain(i->kind) || z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || key_of(z) != key_len ||
        z->operand_count > FORM_OPERANDS)
        return;
    f->key_len = 0;
    if (!find_memory(i, f) || !find_immediate(i, f))
        return;
    f->insn = i->insn;
    f->z = *z;
    memcpy(f->op, i->op, z->operand_count * sizeof(i->op[0]));
    f->mode = (uint16_t)mode;
    f->result = (uint8_t)r;
    f->kind = i->kind;
    f->key = key;
    f->key_len = (uint8_t)key_len;
}

/* ---- decoding ----------------------------------------------------------------------------------- */

enum decode_result bt_decode(const struct soft_cpu *c, struct bt_form *forms, struct item *i, unsigned mode,
                             unsigned n)
{
    struct bt_form *f = NULL;
    unsigned key_len = 0;
    uint64_t key = 0;
    enum decode_result r;
    bool known;

    mode &= ~BT_MODE_PLAIN;
    if (forms && n >= KEY_MAX && (key_len = guess_key(i->bytes, !bt_mode32(mode))) <= KEY_MAX) {
        key = load_key(i->bytes, key_len);
        f = place_of(forms, key, mode);
        if (f->key == key && f->key_len == key_len && f->mode == mode && f->z.length <= n && take(i, f)) {
            bt_flag_effects(i);
            return f->result;
        }
    }
    r = soft_decode_full(c->vm->model, c->mode_key, i->bytes, n, &i->insn, &i->z, i->op, &known);
    if (r == DECODE_MORE)
        return r;
    if (!known)
        i->z.mnemonic = ZYDIS_MNEMONIC_INVALID;
    i->kind = known ? bt_classify(c, i, mode) : K_FUNCTION;
    bt_flag_effects(i);
    if (f && known)
        keep(f, i, mode, key, key_len, r);
    return r;
}
