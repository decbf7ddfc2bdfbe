/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Integer instructions: the guest's opcode with registers that live in the
 * context, and memory operands, replaced.
 */
#include "engine/bt/item.h"

/* The register in ModRM.reg, as the guest numbers it; or the opcode's digit. */
static unsigned reg_number(const struct item *i)
{
    return bt_reg_field(&i->z) ? i->z.raw.modrm.reg | i->z.raw.rex.R << 3 : i->z.raw.modrm.reg;
}

/* The prefix that is part of the opcode. */
static unsigned mandatory_prefix(const struct item *i)
{
    switch (i->z.mnemonic) {
    case ZYDIS_MNEMONIC_POPCNT:
    case ZYDIS_MNEMONIC_TZCNT:
    case ZYDIS_MNEMONIC_LZCNT:
    case ZYDIS_MNEMONIC_ADOX: return 0xf3;
    case ZYDIS_MNEMONIC_CRC32: return 0xf2;
    case ZYDIS_MNEMONIC_ADCX: return 0x66;
    default: return 0;
    }
}

static void emit_prefixes(struct emit *e, const struct item *i)
{
    unsigned prefix = mandatory_prefix(i);

    if (i->z.attributes & ZYDIS_ATTRIB_HAS_LOCK)
        emit8(e, 0xf0);
    if (prefix != 0x66 && (i->z.operand_width == 16 || (i->insn.flags & INSN_O16)))
        emit8(e, 0x66);
    if (prefix)
        emit8(e, prefix);
}

static void emit_immediates(struct emit *e, const struct item *i)
{
    for (unsigned n = 0; n < 2; n++)
        if (i->z.raw.imm[n].size)
            emit_bytes(e, i->bytes + i->z.raw.imm[n].offset, i->z.raw.imm[n].size / 8);
}

/* MOV between the accumulator and a constant address: the form with ModRM. */
static unsigned host_opcode(const struct item *i)
{
    static const uint8_t with_modrm[] = { 0x8a, 0x8b, 0x88, 0x89 };
    unsigned opcode = i->z.opcode;

    return i->z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (opcode & 0xfc) == 0xa0 ? with_modrm[opcode & 3] : opcode;
}

/* The instruction with the memory operand at `at` (NULL: register rm) and reg. */
static void emit_identity(struct emit *e, const struct item *i, const struct place *at, unsigned rm, unsigned reg)
{
    const ZydisDecodedInstruction *z = &i->z;
    unsigned rex = z->raw.rex.W << 3 | (reg >> 3) << 2;

    rex |= at ? (at->index >> 3) << 1 | at->base >> 3 : rm >> 3;
    emit_prefixes(e, i);
    if (rex || (z->attributes & ZYDIS_ATTRIB_HAS_REX))
        emit8(e, 0x40 | rex);
    if (z->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
        emit8(e, 0x0f);
    if (z->opcode_map == ZYDIS_OPCODE_MAP_0F38)
        emit8(e, 0x38);
    emit8(e, host_opcode(i));
    if (at)
        emit_sib(e, reg, at->base, at->index, at->disp);
    else
        emit8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
    emit_immediates(e, i);
}

static bool may_trap(const struct item *i)
{
    return i->z.mnemonic == ZYDIS_MNEMONIC_DIV || i->z.mnemonic == ZYDIS_MNEMONIC_IDIV;
}

/* The item's instruction, of so many bytes, may be one with the jump behind it. */
static void keep_pair(struct translation *t, const struct item *i, unsigned n)
{
    if (i + 1 < t->items + t->n && i[1].kind == K_JCC)
        emit_within(&t->e, n + EMIT_JCC);
}

/* Is the operand with this encoding written? */
static bool writes(const struct item *i, ZydisOperandEncoding encoding)
{
    for (unsigned n = 0; n < i->z.operand_count_visible; n++)
        if (i->op[n].encoding == encoding && (i->op[n].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            return true;
    return false;
}

static void emit_generic_reg(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;
    unsigned reg = reg_number(i), rm = i->z.raw.modrm.rm | i->z.raw.rex.B << 3;
    bool other = bt_reg_field(&i->z) && bt_in_context(reg) && reg != rm;
    bool same = bt_reg_field(&i->z) && reg == rm;
    unsigned host_rm = bt_in_context(rm) ? H_R10 : rm, host_reg = other ? H_R11 : same ? host_rm : reg;

    bt_emit_flags_for(t, i);
    if (bt_in_context(rm))
        emit_gs_load(e, H_R10, CTX_GPR(rm));
    if (other) {
        emit_gs_load(e, H_R11, CTX_GPR(reg));
        t->held = -1;
    }
    keep_pair(t, i, i->insn.len + 1u);
    if (may_trap(i))
        bt_emit_trap(t, i);
    emit_identity(e, i, NULL, host_rm, host_reg);
    if (bt_in_context(rm) && (writes(i, ZYDIS_OPERAND_ENCODING_MODRM_RM) ||
                              (same && writes(i, ZYDIS_OPERAND_ENCODING_MODRM_REG))))
        emit_gs_store(e, H_R10, CTX_GPR(rm));
    if (other && writes(i, ZYDIS_OPERAND_ENCODING_MODRM_REG))
        emit_gs_store(e, H_R11, CTX_GPR(reg));
    i->cont = e->p;
    i->held = t->held;
}

/* AH to BH, whose encodings mean other registers beside R8 to R15: R11B stands
 * for them.  No flag changes. */
static void load_high(struct emit *e, unsigned reg)
{
    EMIT(e, 0xc4, 0x63, 0x7b, 0xf0);            /* rorx r11d, reg, 8 */
    emit8(e, 0xd8 | reg);
    emit8(e, 8);
}

/* RORX reg, reg, count: 64 bits */
static void rotate(struct emit *e, unsigned reg, unsigned count)
{
    EMIT(e, 0xc4, 0xe3, 0xfb, 0xf0);
    emit8(e, 0xc0 | reg << 3 | reg);
    emit8(e, count);
}

static void store_high(struct emit *e, unsigned reg)
{
    rotate(e, reg, 8);
    EMIT(e, 0x44, 0x88);                        /* mov reg, r11b */
    emit8(e, 0xd8 | reg);
    rotate(e, reg, 56);
}

static bool has_high_byte(const struct item *i)
{
    for (unsigned n = 0; n < i->z.operand_count_visible; n++)
        if (i->op[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG && bt_high_byte(&i->op[n]))
            return true;
    return false;
}

static void emit_generic_mem(struct translation *t, struct item *i, const ZydisDecodedOperand *m)
{
    struct emit *e = &t->e;
    unsigned reg = reg_number(i), size = m->size / 8;
    bool write = m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    bool atomic = (i->z.attributes & ZYDIS_ATTRIB_HAS_LOCK) || i->z.mnemonic == ZYDIS_MNEMONIC_XCHG || size == 16;
    bool high = has_high_byte(i), context = bt_reg_field(&i->z) && bt_in_context(reg);
    struct place at;

    if (!bt_emit_operand(t, i, m, size, atomic && size > 1 ? size : 0, write, &at)) {
        bt_emit_function(t, i);
        return;
    }
    bt_emit_flags_for(t, i);
    if (context || high) {
        bt_emit_free_r11(t, &at);
        at.index = H_RSP;                       /* none */
        at.base = H_R10;
        at.disp = 0;
        if (high)
            load_high(e, reg & 3);
        else
            emit_gs_load(e, H_R11, CTX_GPR(reg));
        reg = H_R11;
    }
    keep_pair(t, i, i->insn.len + 3u);
    bt_access_here(t, i);
    emit_identity(e, i, &at, 0, reg);
    if (high && writes(i, ZYDIS_OPERAND_ENCODING_MODRM_REG))
        store_high(e, reg_number(i) & 3);
    else if (context && writes(i, ZYDIS_OPERAND_ENCODING_MODRM_REG))
        emit_gs_store(e, H_R11, CTX_GPR(reg_number(i)));
    i->cont = e->p;
    i->held = t->held;
}

static void emit_generic(struct translation *t, struct item *i)
{
    const ZydisDecodedOperand *m = bt_memory_operand(i);

    if (m)
        emit_generic_mem(t, i, m);
    else
        emit_generic_reg(t, i);
}

/* Registers of the context in an instruction with a VEX prefix: R11 and R10
 * stand for them. */
struct stand_ins {
    unsigned guest[2], n;
};

static unsigned stand_in(struct stand_ins *s, unsigned r)
{
    if (!bt_in_context(r))
        return r;
    for (unsigned k = 0; k < s->n; k++)
        if (s->guest[k] == r)
            return H_R11 - k;
    s->guest[s->n % 2] = r;
    return H_R11 - s->n++;
}

/* Number of the register with this encoding; dflt: none. */
static unsigned vex_reg(const struct item *i, ZydisOperandEncoding encoding, unsigned dflt)
{
    for (unsigned n = 0; n < i->z.operand_count_visible; n++)
        if (i->op[n].encoding == encoding && i->op[n].type == ZYDIS_OPERAND_TYPE_REGISTER)
            return bt_reg(&i->op[n]);
    return dflt;
}

static void emit_vex_bytes(struct emit *e, const struct item *i, const struct place *at, unsigned rm, unsigned reg,
                           unsigned vvvv)
{
    unsigned x = at ? at->index >> 3 : 0, b = at ? at->base >> 3 : rm >> 3;

    emit8(e, 0xc4);
    emit8(e, (!(reg >> 3) << 7 | !x << 6 | !b << 5) | i->z.raw.vex.m_mmmm);
    /* Outside 64-bit mode W means nothing. */
    emit8(e, (e->code32 ? 0 : i->z.raw.vex.W << 7) | (~vvvv & 15) << 3 | i->z.raw.vex.L << 2 | i->z.raw.vex.pp);
    emit8(e, i->z.opcode);
    if (at)
        emit_sib(e, reg, at->base, at->index, at->disp);
    else
        emit8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
    emit_immediates(e, i);
}

/* BMI1 and BMI2.  With more registers of the context than stand-ins: by
 * function. */
static void emit_vex(struct translation *t, struct item *i)
{
    const ZydisDecodedOperand *m = bt_memory_operand(i);
    struct stand_ins s = { .n = 0 };
    unsigned vvvv = stand_in(&s, vex_reg(i, ZYDIS_OPERAND_ENCODING_NDSNDD, 0));
    unsigned reg = stand_in(&s, vex_reg(i, ZYDIS_OPERAND_ENCODING_MODRM_REG, i->z.raw.modrm.reg));
    unsigned rm = m ? 0 : stand_in(&s, vex_reg(i, ZYDIS_OPERAND_ENCODING_MODRM_RM, 0));
    struct place at;

    if (s.n > (m ? 1u : 2u) ||
        (m && !bt_emit_operand(t, i, m, m->size / 8, 0, false, &at))) {
        bt_emit_function(t, i);
        return;
    }
    bt_emit_flags_for(t, i);
    if (m && s.n) {
        bt_emit_free_r11(t, &at);
        at = (struct place){ .base = H_R10, .index = H_RSP };
    }
    for (unsigned k = 0; k < s.n; k++)
        emit_gs_load(&t->e, H_R11 - k, CTX_GPR(s.guest[k]));
    if (s.n)
        t->held = -1;
    if (m)
        bt_access_here(t, i);
    emit_vex_bytes(&t->e, i, m ? &at : NULL, rm, reg, vvvv);
    for (unsigned k = 0; k < s.n; k++)
        emit_gs_store(&t->e, H_R11 - k, CTX_GPR(s.guest[k]));
    i->cont = t->e.p;
    i->held = t->held;
}

static void emit_mov_imm(struct translation *t, struct item *i)
{
    unsigned reg = (i->z.opcode & 7) | i->z.raw.rex.B << 3, host = bt_in_context(reg) ? H_R11 : reg;
    struct emit *e = &t->e;

    if (bt_in_context(reg)) {
        t->held = -1;
        if (i->z.operand_width < 32)
            emit_gs_load(e, H_R11, CTX_GPR(reg));
    }
    if (i->z.operand_width == 16)
        emit8(e, 0x66);
    if (host >> 3 || (i->z.attributes & ZYDIS_ATTRIB_HAS_REX))
        emit8(e, 0x40 | i->z.raw.rex.W << 3 | host >> 3);
    emit8(e, (i->z.opcode & 0xf8) | (host & 7));
    emit_immediates(e, i);
    if (bt_in_context(reg))
        emit_gs_store(e, H_R11, CTX_GPR(reg));
}

static void emit_guest_reg(struct emit *e, unsigned host, unsigned reg)
{
    if (bt_in_context(reg))
        emit_gs_load(e, host, CTX_GPR(reg));
    else
        emit_mov(e, host, reg);
}

/* BSWAP; XCHG with the accumulator. */
static void emit_opcode_reg(struct translation *t, struct item *i)
{
    unsigned reg = (i->z.opcode & 7) | i->z.raw.rex.B << 3, host = bt_in_context(reg) ? H_R11 : reg;
    struct emit *e = &t->e;

    if (bt_in_context(reg)) {
        t->held = -1;
        emit_gs_load(e, H_R11, CTX_GPR(reg));
    }
    if (i->z.operand_width == 16)
        emit8(e, 0x66);
    emit8(e, 0x40 | i->z.raw.rex.W << 3 | host >> 3);
    if (i->z.opcode_map == ZYDIS_OPCODE_MAP_0F)
        emit8(e, 0x0f);
    emit8(e, (i->z.opcode & 0xf8) | (host & 7));
    if (bt_in_context(reg))
        emit_gs_store(e, H_R11, CTX_GPR(reg));
}

/* 0x40 to 0x4f, which are REX prefixes in 64-bit code: the forms with ModRM. */
static void emit_inc_dec(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;

    bt_emit_flags_for(t, i);
    if (i->z.operand_width == 16)
        emit8(e, 0x66);
    emit8(e, 0xff);
    emit8(e, 0xc0 | (i->z.opcode & 0x0f));
}

static void emit_lea_insn(struct translation *t, struct item *i)
{
    unsigned reg = i->z.raw.modrm.reg | i->z.raw.rex.R << 3;
    const ZydisDecodedOperand *m = &i->op[1];
    bool narrow = i->z.operand_width == 32 || i->z.address_width == 32;
    struct emit *e = &t->e;

    if (bt_in_context(soft_reg_number(m->mem.index) / 8u))
        t->held = -1;
    if (!bt_emit_lea(e, bt_in_context(reg) ? H_R10 : reg, m, narrow, i->offset + i->insn.len)) {
        bt_emit_function(t, i);
        return;
    }
    if (bt_in_context(reg))
        emit_gs_store(e, H_R10, CTX_GPR(reg));
}

static void emit_copy(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;

    bt_emit_flags_for(t, i);
    if (i->insn.flags & INSN_O16)
        emit8(e, 0x66);
    if (i->z.attributes & ZYDIS_ATTRIB_HAS_REX)
        emit8(e, 0x40 | i->z.raw.rex.W << 3);
    emit8(e, i->z.opcode);
    emit_immediates(e, i);
}

/* BT, BTS, BTR, BTC [memory], register: the unit of memory that has the bit is
 * probed, and the offset is cut to that unit. */
static void emit_bit(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;
    unsigned reg = reg_number(i), size = i->z.operand_width / 8;
    const ZydisDecodedOperand *m = bt_memory_operand(i);
    bool atomic = i->z.attributes & ZYDIS_ATTRIB_HAS_LOCK;
    struct place at = { .base = H_R10, .index = H_RSP };

    bt_emit_save_flags(t, i);
    t->held = -1;
    if (!bt_emit_address(e, m, i->z.address_width, i->offset + i->insn.len)) {
        bt_emit_function(t, i);
        return;
    }
    emit_guest_reg(e, H_R11, reg);
    if (size == 4)
        EMIT(e, 0x4d, 0x63, 0xdb);              /* movsxd r11, r11d */
    EMIT(e, 0x49, 0xc1, 0xfb);                  /* sar r11, log2 of the unit's bits */
    emit8(e, size == 4 ? 5 : 6);
    emit_lea_code(e, H_R10, H_R10, H_R11, size == 4 ? 2 : 3, 0);
    bt_emit_access(t, i, size, atomic ? size : 0, m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
    emit_lea(e, H_R10, H_R10, H_R11, 0, 0);
    emit_guest_reg(e, H_R11, reg);
    EMIT(e, 0x49, 0x83, 0xe3);                  /* and r11, bits - 1 */
    emit8(e, size * 8 - 1);
    bt_emit_flags_for(t, i);
    bt_access_here(t, i);
    emit_identity(e, i, &at, 0, H_R11);
    i->cont = e->p;
    i->held = t->held;
}

void bt_emit_integer(struct translation *t, struct item *i)
{
    switch (i->kind) {
    case K_GENERIC: emit_generic(t, i); break;
    case K_VEX: emit_vex(t, i); break;
    case K_BIT: emit_bit(t, i); break;
    case K_COPY: emit_copy(t, i); break;
    case K_MOV_IMM: emit_mov_imm(t, i); break;
    case K_OPCODE_REG: emit_opcode_reg(t, i); break;
    case K_INC_DEC: emit_inc_dec(t, i); break;
    default: emit_lea_insn(t, i);
    }
}
