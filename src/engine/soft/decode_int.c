/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of the integer instructions, branches, strings and ports. */
#include <string.h>

#include "engine/soft/op_int.h"

static unsigned size_of(const ZydisDecodedOperand *op)
{
    return op->size / 8u;
}

static bool is_reg(const ZydisDecodedOperand *op)
{
    return op->type == ZYDIS_OPERAND_TYPE_REGISTER;
}

static bool is_mem(const ZydisDecodedOperand *op)
{
    return op->type == ZYDIS_OPERAND_TYPE_MEMORY;
}

static bool is_imm(const ZydisDecodedOperand *op)
{
    return op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

static bool set(struct lower *l, insn_fn fn)
{
    l->insn->fn = fn;
    return fn != NULL;
}

/* Two operands: reg = the first one's register, rm = the second one's. */
static bool lower_forms(struct lower *l)
{
    const struct int_forms *f = l->row->arg;
    const ZydisDecodedOperand *a = &l->op[0], *b = &l->op[1];
    unsigned n = SIZE_INDEX(size_of(a));
    struct insn *i = l->insn;

    i->osize = (uint8_t)size_of(a);
    if (is_reg(a))
        i->reg = soft_reg_number(a->reg.value);
    if (is_reg(b))
        i->rm = soft_reg_number(b->reg.value);
    if (i->flags & INSN_LOCK)
        return set(l, is_imm(b) ? f->locki[n] : f->lockr[n]);
    if (is_mem(a))
        return set(l, is_imm(b) ? f->mi[n] : f->mr[n]);
    return set(l, is_mem(b) ? f->rm[n] : is_imm(b) ? f->ri[n] : f->rr[n]);
}

/* XCHG and TEST are symmetric, and TEST r, m decodes as m, r: nothing special.
 * MOV has forms that lower_forms does not know: moffs, segment, control and
 * debug registers (those are sys.c's). */
static bool lower_mov(struct lower *l)
{
    const ZydisDecodedOperand *a = &l->op[0], *b = &l->op[1];
    const ZydisDecodedOperand *m = is_mem(a) ? a : b;

    if (is_reg(a) && ZydisRegisterGetClass(a->reg.value) == ZYDIS_REGCLASS_SEGMENT)
        return soft_lower_mov_special(l);
    if (is_reg(b) && ZydisRegisterGetClass(b->reg.value) == ZYDIS_REGCLASS_SEGMENT)
        return soft_lower_mov_special(l);
    if ((is_reg(a) && (ZydisRegisterGetClass(a->reg.value) == ZYDIS_REGCLASS_CONTROL ||
                       ZydisRegisterGetClass(a->reg.value) == ZYDIS_REGCLASS_DEBUG)) ||
        (is_reg(b) && (ZydisRegisterGetClass(b->reg.value) == ZYDIS_REGCLASS_CONTROL ||
                       ZydisRegisterGetClass(b->reg.value) == ZYDIS_REGCLASS_DEBUG)))
        return soft_lower_mov_special(l);
    if (is_mem(m) && m->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM) {
        struct insn *i = l->insn;

        i->osize = (uint8_t)size_of(a);
        i->imm = (uint64_t)m->mem.disp.value;
        i->reg = CPU_RAX * 8;
        i->seg = soft_segment_number(m->mem.segment);
        return set(l, is_mem(a) ? op_mov_store_moffs : op_mov_load_moffs);
    }
    return lower_forms(l);
}

/* One operand: INC, DEC, NEG, NOT. */
static bool lower_unary(struct lower *l)
{
    const struct int_forms *f = l->row->arg;
    unsigned n = SIZE_INDEX(size_of(&l->op[0]));

    l->insn->osize = (uint8_t)size_of(&l->op[0]);
    l->insn->imm = 0;
    if (is_mem(&l->op[0]))
        return set(l, l->insn->flags & INSN_LOCK ? f->locki[n] : f->mi[n]);
    l->insn->reg = soft_reg_number(l->op[0].reg.value);
    return set(l, f->ri[n]);
}

static bool lower_shift(struct lower *l)
{
    const struct int_forms *f = l->row->arg;
    const ZydisDecodedOperand *a = &l->op[0], *b = &l->op[1];
    unsigned n = SIZE_INDEX(size_of(a));
    bool by_one = (l->z->opcode & 0xfe) == 0xd0, mem = is_mem(a);

    l->insn->osize = (uint8_t)size_of(a);
    if (!mem)
        l->insn->reg = soft_reg_number(a->reg.value);
    if (by_one)
        return set(l, mem ? f->m1[n] : f->r1[n]);
    if (is_imm(b))
        return set(l, mem ? f->mi[n] : f->ri[n]);
    return set(l, mem ? f->mr[n] : f->rr[n]);
}

struct extend { const insn_fn *r8, *m8, *r16, *m16; };
static const struct extend extend_zx = { fns_movzx8, fns_movzx8_m, fns_movzx16, fns_movzx16_m };
static const struct extend extend_sx = { fns_movsx8, fns_movsx8_m, fns_movsx16, fns_movsx16_m };

static bool lower_extend(struct lower *l)
{
    const struct extend *e = l->row->arg;
    const ZydisDecodedOperand *a = &l->op[0], *b = &l->op[1];
    unsigned n = SIZE_INDEX(size_of(a));

    l->insn->osize = (uint8_t)size_of(a);
    if (size_of(b) == size_of(a))       /* MOVZX r16, r/m16 */
        return set(l, is_mem(b) ? forms_mov.rm[n] : forms_mov.rr[n]);
    if (size_of(b) == 1)
        return set(l, is_mem(b) ? e->m8[n] : e->r8[n]);
    return set(l, is_mem(b) ? e->m16[n] : e->r16[n]);
}

static int op_movsxd_16(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    int r = insn_load(c, i, 4, &v);

    if (!r)
        gpr_set(c, i->reg, 2, v);
    return r;
}

/* MOVSXD moves 16 or 32 bits unless REX.W is there (SDM 2B MOVSXD). */
static bool lower_movsxd(struct lower *l)
{
    unsigned n = SIZE_INDEX(size_of(&l->op[0]));
    bool mem = is_mem(&l->op[1]);

    l->insn->osize = (uint8_t)size_of(&l->op[0]);
    if (n == 1 && mem && l->model->amd)     /* AMD reads 32 bits of memory all the same */
        return set(l, op_movsxd_16);
    if (n == 3)
        return set(l, mem ? fns_movsxd_m[3] : fns_movsxd[3]);
    return set(l, mem ? forms_mov.rm[n] : forms_mov.rr[n]);
}

static bool lower_lea(struct lower *l)
{
    struct insn *i = l->insn;

    i->osize = (uint8_t)size_of(&l->op[0]);
    return set(l, i->osize == 8 && i->asize == 8 ? op_lea64 : op_lea);
}

/* osize from the first operand. */
static bool lower_sized(struct lower *l)
{
    l->insn->osize = (uint8_t)size_of(&l->op[0]);
    return true;
}

static bool lower_xchg(struct lower *l)
{
    const ZydisDecodedOperand *a = &l->op[0], *b = &l->op[1];

    l->insn->osize = (uint8_t)size_of(a);
    if (is_mem(a) || is_mem(b)) {
        l->insn->reg = soft_reg_number(is_mem(a) ? b->reg.value : a->reg.value);
        return set(l, op_xchg_m);
    }
    l->insn->reg = soft_reg_number(a->reg.value);
    l->insn->rm = soft_reg_number(b->reg.value);
    return set(l, op_xchg_rr);
}

/* osize: of one half. */
static bool lower_pair(struct lower *l)
{
    bool wide = l->z->mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B;

    l->insn->osize = wide ? 8 : 4;
    return is_mem(&l->op[0]);
}

static bool lower_movbe(struct lower *l)
{
    bool store = is_mem(&l->op[0]);

    l->insn->osize = (uint8_t)size_of(&l->op[0]);
    l->insn->reg = soft_reg_number(l->op[store ? 1 : 0].reg.value);
    l->insn->vreg = store;
    return true;
}

/* Conditions are in the low four bits of the opcode. */
static bool lower_setcc(struct lower *l)
{
    l->insn->vreg = l->z->opcode & 15;
    if (is_mem(&l->op[0]))
        return set(l, op_setcc_m);
    l->insn->reg = soft_reg_number(l->op[0].reg.value);
    return set(l, op_setcc);
}

static bool lower_cmovcc(struct lower *l)
{
    l->insn->vreg = l->z->opcode & 15;
    l->insn->osize = (uint8_t)size_of(&l->op[0]);
    return set(l, op_cmovcc);
}

/* MUL, IMUL, DIV, IDIV and the like: operand in rm or memory. */
static bool lower_muldiv(struct lower *l)
{
    struct insn *i = l->insn;

    i->osize = (uint8_t)size_of(&l->op[0]);
    if (l->z->mnemonic != ZYDIS_MNEMONIC_IMUL)
        return true;
    if ((l->z->opcode & 0xfe) == 0xf6 && l->z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT)
        return set(l, op_imul1);
    i->vreg = l->z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;
    return set(l, op_imul2);
}

static bool lower_bt(struct lower *l)
{
    static const ZydisMnemonic order[] = {
        ZYDIS_MNEMONIC_BT, ZYDIS_MNEMONIC_BTS, ZYDIS_MNEMONIC_BTR, ZYDIS_MNEMONIC_BTC };
    struct insn *i = l->insn;

    for (uint8_t n = 0; n < 4; n++)
        if (order[n] == l->z->mnemonic)
            i->vreg = n;
    i->osize = (uint8_t)size_of(&l->op[0]);
    if (is_imm(&l->op[1]))
        i->reg = GPR_ZERO;
    return set(l, op_bt);
}

/* TZCNT and LZCNT are BSF and BSR on CPUs without them. */
static bool lower_count(struct lower *l)
{
    bool tz = l->z->mnemonic == ZYDIS_MNEMONIC_TZCNT;

    l->insn->osize = (uint8_t)size_of(&l->op[0]);
    if (cpu_has(l->model, tz ? F_BMI1 : F_ABM))
        return set(l, tz ? op_tzcnt : op_lzcnt);
    return set(l, tz ? op_bsf : op_bsr);
}

static bool lower_dshift(struct lower *l)
{
    l->insn->osize = (uint8_t)size_of(&l->op[0]);
    l->insn->vreg = is_imm(&l->op[2]);
    return true;
}

static bool lower_crc32(struct lower *l)
{
    l->insn->osize = (uint8_t)size_of(&l->op[0]);
    l->insn->vreg = (uint8_t)size_of(&l->op[1]);
    return true;
}

/* AMD: a 66 prefix makes near branches 16 bits wide in 64-bit mode too (APM 3
 * 1.2.2), Intel ignores it; the decoder knows of it for rel32 alone. */
static void branch_size(struct lower *l)
{
    if (!l->model->amd || (l->mode & MODE_BITS) != 2 || l->z->raw.rex.W)
        return;
    for (unsigned n = 0; n < l->z->raw.prefix_count; n++)
        if (l->z->raw.prefixes[n].value == 0x66)
            l->insn->osize = 2;
}

static bool lower_jcc(struct lower *l)
{
    struct insn *i = l->insn;
    unsigned cc = l->z->opcode & 15;

    branch_size(l);
    return set(l, i->osize == 8 ? fns_jcc64[cc] : fns_jcc[cc]);
}

/* JMP, CALL near: relative, register, memory; the far forms are far.c's. */
static bool lower_jump(struct lower *l)
{
    bool is_call = l->z->mnemonic == ZYDIS_MNEMONIC_CALL;
    struct insn *i = l->insn;

    if (l->z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return soft_lower_far(l);
    branch_size(l);
    if (is_imm(&l->op[0])) {
        if (i->osize == 8)
            return set(l, is_call ? op_call_rel64 : op_jmp_rel64);
        return set(l, is_call ? op_call_rel : op_jmp_rel);
    }
    i->osize = (uint8_t)size_of(&l->op[0]);
    branch_size(l);
    return set(l, is_call ? op_call_ind : op_jmp_ind);
}

static bool lower_ret(struct lower *l)
{
    if (l->z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return soft_lower_far(l);
    branch_size(l);
    return set(l, l->insn->osize == 8 ? op_ret64 : op_ret);
}

static bool lower_loop(struct lower *l)
{
    branch_size(l);
    l->insn->vreg = l->z->mnemonic == ZYDIS_MNEMONIC_LOOP ? 2 : l->z->mnemonic == ZYDIS_MNEMONIC_LOOPE;
    return set(l, op_loop);
}

static bool lower_jcxz(struct lower *l)
{
    branch_size(l);
    return set(l, op_jcxz);
}

/* The register forms of AMD's prefetches do not exist; Intel has NOPs there. */
static bool lower_nop(struct lower *l)
{
    if (l->model->amd && l->z->opcode_map == ZYDIS_OPCODE_MAP_0F && l->z->opcode == 0x0d &&
        l->z->raw.modrm.mod == 3)
        return false;
    return set(l, op_nop);
}

/* F3 90 with REX.B is an exchange with R8 on AMD, PAUSE on Intel (seen on both). */
static bool lower_pause(struct lower *l)
{
    struct insn *i = l->insn;

    if (!l->z->raw.rex.B || !l->model->amd)
        return set(l, op_nop);
    i->reg = CPU_RAX * 8;
    i->rm = CPU_R8 * 8;
    i->osize = l->z->raw.rex.W ? 8 : i->flags & INSN_O16 ? 2 : 4;
    return set(l, op_xchg_rr);
}

static bool lower_push(struct lower *l)
{
    struct insn *i = l->insn;

    if (is_reg(&l->op[0]) && ZydisRegisterGetClass(l->op[0].reg.value) == ZYDIS_REGCLASS_SEGMENT)
        return soft_lower_mov_special(l);
    if (is_imm(&l->op[0]))
        return set(l, op_push_i);
    if (is_mem(&l->op[0]))
        return set(l, op_push_m);
    i->reg = soft_reg_number(l->op[0].reg.value);
    return set(l, i->osize == 8 ? op_push_r64 : op_push_r);
}

static bool lower_pop(struct lower *l)
{
    struct insn *i = l->insn;

    if (is_reg(&l->op[0]) && ZydisRegisterGetClass(l->op[0].reg.value) == ZYDIS_REGCLASS_SEGMENT)
        return soft_lower_mov_special(l);
    if (is_mem(&l->op[0]))
        return set(l, op_pop_m);
    i->reg = soft_reg_number(l->op[0].reg.value);
    return set(l, i->osize == 8 ? op_pop_r64 : op_pop_r);
}

static bool lower_enter(struct lower *l)
{
    l->insn->imm = l->op[0].imm.value.u;
    l->insn->vreg = (uint8_t)l->op[1].imm.value.u;
    return true;
}

/* Either REP prefix counts for every string instruction, the last one wins;
 * the source segment can be overridden. */
static bool lower_string(struct lower *l)
{
    const ZydisDecodedInstruction *z = l->z;
    struct insn *i = l->insn;

    i->flags &= (uint16_t)~(INSN_REP | INSN_REPNE);
    for (unsigned n = 0; n < z->raw.prefix_count; n++) {
        if (z->raw.prefixes[n].value == 0xf3)
            i->flags = (uint16_t)((i->flags & ~INSN_REPNE) | INSN_REP);
        else if (z->raw.prefixes[n].value == 0xf2)
            i->flags = (uint16_t)((i->flags & ~INSN_REP) | INSN_REPNE);
    }
    i->osize = (uint8_t)(z->operand_width / 8);
    for (unsigned n = 0; n < z->operand_count; n++) {
        const ZydisDecodedOperand *op = &l->op[n];

        if (!is_mem(op))
            continue;
        i->osize = (uint8_t)size_of(op);
        if (op->mem.base == ZYDIS_REGISTER_SI || op->mem.base == ZYDIS_REGISTER_ESI ||
            op->mem.base == ZYDIS_REGISTER_RSI)
            i->seg = soft_segment_number(op->mem.segment);
    }
    return true;
}

static bool lower_xlat(struct lower *l)
{
    for (unsigned n = 0; n < l->z->operand_count; n++)
        if (is_mem(&l->op[n]))
            l->insn->seg = soft_segment_number(l->op[n].mem.segment);
    return true;
}

static bool lower_port(struct lower *l)
{
    bool out = l->z->mnemonic == ZYDIS_MNEMONIC_OUT;
    const ZydisDecodedOperand *port = &l->op[out ? 0 : 1], *data = &l->op[out ? 1 : 0];

    l->insn->osize = (uint8_t)size_of(data);
    l->insn->rm = is_imm(port) ? GPR_ZERO : CPU_RDX * 8;
    return true;
}

static bool lower_rdrand(struct lower *l)
{
    l->insn->osize = (uint8_t)size_of(&l->op[0]);
    l->insn->rm = soft_reg_number(l->op[0].reg.value);
    return is_reg(&l->op[0]);
}

/* MOVNTI is a store. */
static bool lower_movnti(struct lower *l)
{
    return is_mem(&l->op[0]) && lower_forms(l);
}

#define M(x) .mnemonic = ZYDIS_MNEMONIC_##x
#define FORMS(x, name, fl) { M(x), .lower = lower_forms, .arg = &forms_##name, .flags = fl }
#define SHIFT(x, name) { M(x), .lower = lower_shift, .arg = &forms_##name }
#define UNARY(x, name) { M(x), .lower = lower_unary, .arg = &forms_##name, .flags = ROW_LOCK }
#define JCC(x) { M(x), .lower = lower_jcc, .flags = ROW_END }
#define SETCC(x) { M(x), .lower = lower_setcc }
#define CMOV(x) { M(x), .lower = lower_cmovcc, .feature = F_CMOV }
#define BMI(x, f, feat) { M(x), .fn = f, .lower = lower_sized, .feature = feat, .flags = ROW_PROT }
#define STRING(x, f) { M(x), .fn = f, .lower = lower_string, .flags = ROW_END }
#define PLAIN(x, f) { M(x), .fn = f }

const struct insn_row soft_rows_int[] = {
    FORMS(ADD, add, ROW_LOCK), FORMS(OR, or, ROW_LOCK), FORMS(ADC, adc, ROW_LOCK),
    FORMS(SBB, sbb, ROW_LOCK), FORMS(AND, and, ROW_LOCK), FORMS(SUB, sub, ROW_LOCK),
    FORMS(XOR, xor, ROW_LOCK), FORMS(CMP, cmp, 0), FORMS(TEST, test, 0),
    UNARY(INC, inc), UNARY(DEC, dec), UNARY(NEG, neg), UNARY(NOT, not),
    SHIFT(ROL, rol), SHIFT(ROR, ror), SHIFT(RCL, rcl), SHIFT(RCR, rcr),
    SHIFT(SHL, shl), SHIFT(SHR, shr), SHIFT(SAR, sar),
    { M(MOV), .lower = lower_mov, .arg = &forms_mov },
    { M(MOVNTI), .lower = lower_movnti, .arg = &forms_mov, .feature = F_SSE2 },
    { M(MOVZX), .lower = lower_extend, .arg = &extend_zx },
    { M(MOVSX), .lower = lower_extend, .arg = &extend_sx },
    { M(MOVSXD), .lower = lower_movsxd, .flags = ROW_ONLY64 },
    { M(LEA), .lower = lower_lea },
    { M(XCHG), .lower = lower_xchg, .flags = ROW_LOCK },
    { M(XADD), .fn = op_xadd, .lower = lower_sized, .flags = ROW_LOCK },
    { M(CMPXCHG), .fn = op_cmpxchg, .lower = lower_sized, .flags = ROW_LOCK },
    { M(CMPXCHG8B), .fn = op_cmpxchg_pair, .lower = lower_pair, .flags = ROW_LOCK, .feature = F_CX8 },
    { M(CMPXCHG16B), .fn = op_cmpxchg_pair, .lower = lower_pair, .flags = ROW_LOCK, .feature = F_CX16 },
    { M(MOVBE), .fn = op_movbe, .lower = lower_movbe, .feature = F_MOVBE },
    { M(BSWAP), .fn = op_bswap, .lower = lower_sized },
    { M(XLAT), .fn = op_xlat, .lower = lower_xlat },
    { M(NOP), .lower = lower_nop }, { M(PAUSE), .lower = lower_pause }, PLAIN(ENDBR32, op_nop), PLAIN(ENDBR64, op_nop),
    { M(UD0), .fn = op_ud, .flags = ROW_END }, { M(UD1), .fn = op_ud, .flags = ROW_END },
    { M(UD2), .fn = op_ud, .flags = ROW_END },

    SETCC(SETO), SETCC(SETNO), SETCC(SETB), SETCC(SETNB), SETCC(SETZ), SETCC(SETNZ), SETCC(SETBE),
    SETCC(SETNBE), SETCC(SETS), SETCC(SETNS), SETCC(SETP), SETCC(SETNP), SETCC(SETL), SETCC(SETNL),
    SETCC(SETLE), SETCC(SETNLE),
    CMOV(CMOVO), CMOV(CMOVNO), CMOV(CMOVB), CMOV(CMOVNB), CMOV(CMOVZ), CMOV(CMOVNZ), CMOV(CMOVBE),
    CMOV(CMOVNBE), CMOV(CMOVS), CMOV(CMOVNS), CMOV(CMOVP), CMOV(CMOVNP), CMOV(CMOVL), CMOV(CMOVNL),
    CMOV(CMOVLE), CMOV(CMOVNLE),

    { M(MUL), .fn = op_mul, .lower = lower_muldiv }, { M(IMUL), .lower = lower_muldiv },
    { M(DIV), .fn = op_div, .lower = lower_muldiv }, { M(IDIV), .fn = op_idiv, .lower = lower_muldiv },
    PLAIN(CBW, op_cbw), PLAIN(CWDE, op_cbw), PLAIN(CDQE, op_cbw),
    PLAIN(CWD, op_cwd), PLAIN(CDQ, op_cwd), PLAIN(CQO, op_cwd),
    { M(AAA), .fn = op_aaa, .flags = ROW_NO64 }, { M(AAS), .fn = op_aas, .flags = ROW_NO64 },
    { M(AAM), .fn = op_aam, .flags = ROW_NO64 }, { M(AAD), .fn = op_aad, .flags = ROW_NO64 },
    { M(DAA), .fn = op_daa, .flags = ROW_NO64 }, { M(DAS), .fn = op_das, .flags = ROW_NO64 },

    { M(BT), .lower = lower_bt }, { M(BTS), .lower = lower_bt, .flags = ROW_LOCK },
    { M(BTR), .lower = lower_bt, .flags = ROW_LOCK }, { M(BTC), .lower = lower_bt, .flags = ROW_LOCK },
    { M(BSF), .fn = op_bsf, .lower = lower_sized }, { M(BSR), .fn = op_bsr, .lower = lower_sized },
    { M(TZCNT), .lower = lower_count }, { M(LZCNT), .lower = lower_count },
    { M(POPCNT), .fn = op_popcnt, .lower = lower_sized, .feature = F_POPCNT },
    { M(SHLD), .fn = op_shld, .lower = lower_dshift }, { M(SHRD), .fn = op_shrd, .lower = lower_dshift },
    { M(CRC32), .fn = op_crc32, .lower = lower_crc32, .feature = F_SSE42 },
    { M(ADCX), .fn = op_adcx, .lower = lower_sized, .feature = F_ADX },
    { M(ADOX), .fn = op_adox, .lower = lower_sized, .feature = F_ADX },
    BMI(ANDN, op_andn, F_BMI1), BMI(BEXTR, op_bextr, F_BMI1), BMI(BLSI, op_blsi, F_BMI1),
    BMI(BLSR, op_blsr, F_BMI1), BMI(BLSMSK, op_blsmsk, F_BMI1), BMI(BZHI, op_bzhi, F_BMI2),
    BMI(MULX, op_mulx, F_BMI2), BMI(PDEP, op_pdep, F_BMI2), BMI(PEXT, op_pext, F_BMI2),
    BMI(RORX, op_rorx, F_BMI2), BMI(SARX, op_sarx, F_BMI2), BMI(SHLX, op_shlx, F_BMI2),
    BMI(SHRX, op_shrx, F_BMI2),
    { M(RDRAND), .fn = op_rdrand, .lower = lower_rdrand, .feature = F_RDRAND },
    { M(RDSEED), .fn = op_rdseed, .lower = lower_rdrand, .feature = F_RDSEED },

    JCC(JO), JCC(JNO), JCC(JB), JCC(JNB), JCC(JZ), JCC(JNZ), JCC(JBE), JCC(JNBE), JCC(JS), JCC(JNS),
    JCC(JP), JCC(JNP), JCC(JL), JCC(JNL), JCC(JLE), JCC(JNLE),
    { M(JMP), .lower = lower_jump, .flags = ROW_END }, { M(CALL), .lower = lower_jump, .flags = ROW_END },
    { M(RET), .lower = lower_ret, .flags = ROW_END },
    { M(JCXZ), .lower = lower_jcxz, .flags = ROW_END }, { M(JECXZ), .lower = lower_jcxz, .flags = ROW_END },
    { M(JRCXZ), .lower = lower_jcxz, .flags = ROW_END },
    { M(LOOP), .lower = lower_loop, .flags = ROW_END }, { M(LOOPE), .lower = lower_loop, .flags = ROW_END },
    { M(LOOPNE), .lower = lower_loop, .flags = ROW_END },
    { M(PUSH), .lower = lower_push }, { M(POP), .lower = lower_pop },
    { M(PUSHA), .fn = op_pusha, .flags = ROW_NO64 }, { M(PUSHAD), .fn = op_pusha, .flags = ROW_NO64 },
    { M(POPA), .fn = op_popa, .flags = ROW_NO64 }, { M(POPAD), .fn = op_popa, .flags = ROW_NO64 },
    { M(ENTER), .fn = op_enter, .lower = lower_enter }, PLAIN(LEAVE, op_leave),
    { M(BOUND), .fn = op_bound, .lower = lower_sized, .flags = ROW_NO64 },
    PLAIN(LAHF, op_lahf), PLAIN(SAHF, op_sahf), PLAIN(CLC, op_clc), PLAIN(STC, op_stc),
    { M(SALC), .fn = op_salc, .flags = ROW_NO64 },
    PLAIN(CMC, op_cmc), PLAIN(CLD, op_cld), PLAIN(STD, op_std),

    STRING(MOVSB, op_movs), STRING(MOVSW, op_movs), STRING(MOVSD, op_movs), STRING(MOVSQ, op_movs),
    STRING(STOSB, op_stos), STRING(STOSW, op_stos), STRING(STOSD, op_stos), STRING(STOSQ, op_stos),
    STRING(LODSB, op_lods), STRING(LODSW, op_lods), STRING(LODSD, op_lods), STRING(LODSQ, op_lods),
    STRING(SCASB, op_scas), STRING(SCASW, op_scas), STRING(SCASD, op_scas), STRING(SCASQ, op_scas),
    STRING(CMPSB, op_cmps), STRING(CMPSW, op_cmps), STRING(CMPSD, op_cmps), STRING(CMPSQ, op_cmps),
    STRING(INSB, op_ins), STRING(INSW, op_ins), STRING(INSD, op_ins),
    STRING(OUTSB, op_outs), STRING(OUTSW, op_outs), STRING(OUTSD, op_outs),
    { M(IN), .fn = op_in, .lower = lower_port, .flags = ROW_END },
    { M(OUT), .fn = op_out, .lower = lower_port, .flags = ROW_END },
    { M(INVALID) },
};
