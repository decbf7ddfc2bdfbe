/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the decoded instruction to its form (struct simd_op): which features
 * it needs, what it accesses, and how the same operation is encoded with the
 * stubs' fixed registers.
 */
#include "engine/soft/simd.h"

#include <string.h>

/* ---- features ----------------------------------------------------------------- */

#define VL 1u       /* the 128- and 256-bit forms need AVX512VL */
static const struct isa_row {
    ZydisISASet isa;
    uint8_t feature, also;      /* 0: none */
    uint8_t flags;
} isa_rows[] = {
#define ISA(n, f, a, v) { ZYDIS_ISA_SET_##n, f, a, v }
    ISA(PENTIUMMMX, F_MMX, 0, 0), ISA(SSE, F_SSE, 0, 0), ISA(SSE2, F_SSE2, 0, 0),
    ISA(SSE2MMX, F_SSE2, F_MMX, 0), ISA(SSE3, F_SSE3, 0, 0), ISA(SSSE3, F_SSSE3, 0, 0),
    ISA(SSSE3MMX, F_SSSE3, F_MMX, 0), ISA(SSE4, F_SSE41, 0, 0), ISA(SSE42, F_SSE42, 0, 0),
    ISA(SSE4A, F_SSE4A, 0, 0), ISA(SSEMXCSR, F_SSE, 0, 0), ISA(SSE_PREFETCH, F_SSE, 0, 0),
    ISA(AES, F_AES, 0, 0), ISA(PCLMULQDQ, F_PCLMUL, 0, 0), ISA(SHA, F_SHA, 0, 0),
    ISA(GFNI, F_GFNI, 0, 0), ISA(AVX, F_AVX, 0, 0), ISA(AVX2, F_AVX2, 0, 0),
    ISA(AVX2GATHER, F_AVX2, 0, 0), ISA(FMA, F_FMA, 0, 0), ISA(F16C, F_F16C, 0, 0),
    ISA(AVXAES, F_AVX, F_AES, 0), ISA(AVX_GFNI, F_AVX, F_GFNI, 0), ISA(VAES, F_VAES, F_AVX, 0),
    ISA(VPCLMULQDQ, F_VPCLMUL, F_AVX, 0), ISA(CLFSH, F_CLFSH, 0, 0),
    ISA(CLFLUSHOPT, F_CLFLUSHOPT, 0, 0), ISA(CLWB, F_CLWB, 0, 0),
#define ISA3(n, f, a) ISA(n##_128, f, a, VL), ISA(n##_256, f, a, VL), ISA(n##_512, f, a, 0)
    ISA3(AVX512F, F_AVX512F, 0), ISA3(AVX512BW, F_AVX512BW, F_AVX512F),
    ISA3(AVX512DQ, F_AVX512DQ, F_AVX512F), ISA3(AVX512CD, F_AVX512CD, F_AVX512F),
    ISA3(AVX512_IFMA, F_AVX512IFMA, F_AVX512F), ISA3(AVX512_VBMI, F_AVX512VBMI, F_AVX512F),
    ISA3(AVX512_VBMI2, F_AVX512VBMI2, F_AVX512F), ISA3(AVX512_VNNI, F_AVX512VNNI, F_AVX512F),
    ISA3(AVX512_BITALG, F_AVX512BITALG, F_AVX512F),
    ISA3(AVX512_VPOPCNTDQ, F_AVX512VPOPCNTDQ, F_AVX512F),
    ISA3(AVX512_BF16, F_AVX512BF16, F_AVX512F), ISA3(AVX512_GFNI, F_GFNI, F_AVX512F),
    ISA3(AVX512_VAES, F_VAES, F_AVX512F), ISA3(AVX512_VPCLMULQDQ, F_VPCLMUL, F_AVX512F),
    ISA(AVX512F_128N, F_AVX512F, 0, 0), ISA(AVX512F_SCALAR, F_AVX512F, 0, 0),
    ISA(AVX512F_KOP, F_AVX512F, 0, 0), ISA(AVX512BW_128N, F_AVX512BW, 0, 0),
    ISA(AVX512BW_KOP, F_AVX512BW, 0, 0), ISA(AVX512DQ_128N, F_AVX512DQ, 0, 0),
    ISA(AVX512DQ_SCALAR, F_AVX512DQ, 0, 0), ISA(AVX512DQ_KOP, F_AVX512DQ, 0, 0),
};

/* The MMX forms that came with SSE are "MMX" to the decoder (PSHUFW, PMINUB,
 * PEXTRW, ...: SDM 1 5.4.4, 5.4.8); every CPU model has both. */
bool simd_feature(const struct lower *l)
{
    ZydisISASet isa = l->z->meta.isa_set;

    for (unsigned n = 0; n < ARRAY_SIZE(isa_rows); n++) {
        const struct isa_row *r = &isa_rows[n];
        if (r->isa == isa)
            return cpu_has(l->model, r->feature) && (!r->also || cpu_has(l->model, r->also)) &&
                   (!(r->flags & VL) || cpu_has(l->model, F_AVX512VL));
    }
    return false;
}

/* VEX and EVEX are #UD in real and virtual-8086 mode (SDM 2A 2.3.2). */
bool simd_encoding_legal(const struct lower *l)
{
    switch (l->z->encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY: return true;
    case ZYDIS_INSTRUCTION_ENCODING_VEX: return (l->mode & MODE_PROT) && simd_host_avx();
    case ZYDIS_INSTRUCTION_ENCODING_EVEX: return (l->mode & MODE_PROT) && simd_host_avx512();
    default: return false;
    }
}

/* ---- operands --------------------------------------------------------------------- */

struct form {
    struct lower *l;
    struct simd_op op;
    const struct simd_class *class;
    const ZydisDecodedOperand *mem;
    bool evex, mmx_vector;      /* mmx_vector: the vector length is that of MMX */
    uint8_t mask;               /* EVEX.aaa */
    bool w;
};

static enum simd_reg reg_kind(ZydisRegister r)
{
    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM: return REGS_VECTOR;
    case ZYDIS_REGCLASS_MMX: return REGS_MMX;
    case ZYDIS_REGCLASS_MASK: return REGS_MASK;
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return REGS_GPR;
    default: return REGS_NONE;
    }
}

static bool form_slot(struct form *f, unsigned slot, const ZydisDecodedOperand *op)
{
    bool write = op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    bool read = op->actions & ZYDIS_OPERAND_ACTION_MASK_READ;

    f->op.regs[slot] = reg_kind(op->reg.value);
    if (f->op.regs[slot] == REGS_NONE)
        return false;
    if (write) {
        if (f->op.dst != SLOT_COUNT)
            return false;
        f->op.dst = (uint8_t)slot;
    }
    /* Partial results of legacy instructions and masked ones keep the rest. */
    if (read || f->l->z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY || f->mask)
        f->op.load |= (uint8_t)(1u << slot);
    return true;
}

/* Implicit registers: XMM0 of the SSE4.1 blends, SHA and PCMPxSTRM; EAX, EDX,
 * ECX of PCMPxSTRx; the flags. */
static bool form_implicit(struct form *f, const ZydisDecodedOperand *op)
{
    ZydisRegisterClass class = ZydisRegisterGetClass(op->reg.value);
    bool write = op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;

    if (class == ZYDIS_REGCLASS_FLAGS) {
        f->op.flags |= SO_FLAGS;
        return true;
    }
    if (class == ZYDIS_REGCLASS_XMM && ZydisRegisterGetId(op->reg.value) == 0) {
        if (f->op.extra != EXTRA_NONE)
            return false;
        f->op.extra = EXTRA_XMM0;
        return form_slot(f, SLOT_EXTRA, op);
    }
    if (class != ZYDIS_REGCLASS_GPR32 && class != ZYDIS_REGCLASS_GPR64)
        return false;
    if (write) {
        if (ZydisRegisterGetId(op->reg.value) != CPU_RCX)
            return false;
        f->op.flags |= SO_ECX;
    } else {
        f->op.flags |= SO_STRING;
    }
    return true;
}

static bool form_register(struct form *f, const ZydisDecodedOperand *op)
{
    switch (op->encoding) {
    case ZYDIS_OPERAND_ENCODING_MODRM_REG: return form_slot(f, SLOT_REG, op);
    case ZYDIS_OPERAND_ENCODING_MODRM_RM: return form_slot(f, SLOT_RM, op);
    case ZYDIS_OPERAND_ENCODING_NDSNDD: return form_slot(f, SLOT_VREG, op);
    case ZYDIS_OPERAND_ENCODING_IS4:
        if (f->op.extra != EXTRA_NONE)
            return false;
        f->op.extra = EXTRA_IS4;
        f->l->insn->osize = (uint8_t)ZydisRegisterGetId(op->reg.value);
        return form_slot(f, SLOT_EXTRA, op);
    case ZYDIS_OPERAND_ENCODING_MASK:
        if (!f->mask)
            return true;
        if (f->op.extra != EXTRA_NONE || (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            return false;
        f->op.extra = EXTRA_MASK;
        return form_slot(f, SLOT_EXTRA, op);
    case ZYDIS_OPERAND_ENCODING_NONE: return form_implicit(f, op);
    default: return false;
    }
}

static bool form_operands(struct form *f)
{
    const ZydisDecodedInstruction *z = f->l->z;

    for (unsigned n = 0; n < z->operand_count; n++) {
        const ZydisDecodedOperand *op = &f->l->op[n];
        switch (op->type) {
        case ZYDIS_OPERAND_TYPE_REGISTER:
            if (!form_register(f, op))
                return false;
            break;
        case ZYDIS_OPERAND_TYPE_MEMORY:
            if (f->mem || op->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM ||
                op->mem.type != ZYDIS_MEMOP_TYPE_MEM)
                return false;
            f->mem = op;
            break;
        case ZYDIS_OPERAND_TYPE_IMMEDIATE:
            if ((f->op.flags & SO_IMM) || op->size != 8 || f->op.extra == EXTRA_IS4)
                return false;
            f->op.flags |= SO_IMM;
            f->l->insn->osize = (uint8_t)op->imm.value.u;
            break;
        default:
            return false;
        }
    }
    return true;
}

/* ---- memory --------------------------------------------------------------------------- */

static unsigned footprint(const struct form *f)
{
    unsigned full = f->mmx_vector ? 8 : f->op.vl;

    if (f->evex && f->l->z->raw.evex.b)     /* broadcast of one element */
        return f->w ? 8 : 4;
    switch (f->class->rule) {
    case MEM_FULL: return full;
    case MEM_HALF: return full / 2;
    case MEM_QUARTER: return full / 4;
    case MEM_EIGHTH: return full / 8;
    case MEM_1: return 1;
    case MEM_2: return 2;
    case MEM_4: return 4;
    case MEM_8: return 8;
    case MEM_16: return 16;
    case MEM_32: return 32;
    case MEM_W: return f->w ? 8 : 4;
    case MEM_DDUP: return full == 16 ? 8 : full;
    case MEM_SHIFT: return f->op.flags & SO_IMM ? full : f->mmx_vector ? 8 : 16;
    case MEM_LOW: return f->mmx_vector ? 4 : full;
    default: return 0;
    }
}

/* EVEX instructions of the exception classes "NF" do not suppress the faults
 * of disabled elements (SDM 2A 2.8). */
static bool suppresses(const struct lower *l)
{
    switch (l->z->mnemonic) {   /* their masks count bytes or words, the operand has larger elements */
    case ZYDIS_MNEMONIC_VDBPSADBW:
    case ZYDIS_MNEMONIC_VCVTNE2PS2BF16:
    case ZYDIS_MNEMONIC_VGF2P8AFFINEQB:
    case ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB: return false;
    default: break;
    }
    switch (l->z->meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_E1NF:
    case ZYDIS_EXCEPTION_CLASS_E2NF:
    case ZYDIS_EXCEPTION_CLASS_E3NF:
    case ZYDIS_EXCEPTION_CLASS_E4NF:
    case ZYDIS_EXCEPTION_CLASS_E5NF:
    case ZYDIS_EXCEPTION_CLASS_E6NF:
    case ZYDIS_EXCEPTION_CLASS_E9NF:
    case ZYDIS_EXCEPTION_CLASS_E10NF:
    case ZYDIS_EXCEPTION_CLASS_E11NF: return false;
    default: return true;
    }
}

/* Elements of the result that a broadcast feeds: a conversion's are wider. */
static uint8_t lanes(const struct form *f)
{
    switch (f->l->z->avx.broadcast.mode) {
    case ZYDIS_BROADCAST_MODE_1_TO_2: return 2;
    case ZYDIS_BROADCAST_MODE_1_TO_4: return 4;
    case ZYDIS_BROADCAST_MODE_1_TO_8: return 8;
    case ZYDIS_BROADCAST_MODE_1_TO_16: return 16;
    default: return (uint8_t)(f->op.vl / f->op.elem);
    }
}

static bool form_memory(struct form *f)
{
    const ZydisDecodedOperand *m = f->mem;
    struct simd_op *op = &f->op;
    unsigned size = footprint(f);

    if (!size || size > 64 || m->size != size * 8)
        return false;
    op->size = (uint8_t)size;
    if (m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) {
        if (!(f->class->flags & SC_STORE) || (m->actions & ZYDIS_OPERAND_ACTION_MASK_READ) ||
            op->dst != SLOT_COUNT)
            return false;
        op->flags |= SO_STORE;
    } else {
        op->flags |= SO_LOAD;
    }
    if (f->class->flags & SC_ALIGN) {
        op->align = (uint8_t)size;
        op->flags |= SO_ALIGN;
    } else if (f->l->z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && size == 16 &&
             !(f->class->flags & SC_NOALIGN) &&
             !(f->l->model->amd && f->l->z->meta.isa_set == ZYDIS_ISA_SET_SHA)) {  /* Zen does not ask */
        op->align = 16;
        if (f->l->z->meta.isa_set == ZYDIS_ISA_SET_SHA)
            op->flags |= SO_SHA;
    }
    op->elem = (uint8_t)(m->element_size / 8);
    if (!f->l->model->amd && (f->l->z->mnemonic == ZYDIS_MNEMONIC_VCVTPH2PS ||
                              f->l->z->mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH))
        op->flags |= SO_NOAC;
    if (f->class->flags & SC_VMASK)
        op->flags |= SO_VMASK;
    if ((f->class->flags & SC_PACK) && (f->mask || (op->flags & SO_STORE)))
        op->flags |= SO_PACK;
    if (f->mask && ((op->flags & SO_STORE) || suppresses(f->l)))
        op->flags |= SO_SUPPRESS;
    if (f->mask && (op->flags & SO_STORE) && !suppresses(f->l))
        op->flags |= SO_WHOLE;
    if ((f->class->flags & SC_SPREAD) || (f->evex && f->l->z->raw.evex.b))
        op->flags |= SO_SPREAD;
    if ((op->flags & SO_SPREAD) && op->elem)
        op->lanes = lanes(f);
    if ((op->flags & (SO_SUPPRESS | SO_VMASK | SO_PACK)) &&
        (!op->elem || op->elem > 8 || size % op->elem))
        return false;
    return true;
}

/* ---- encoding --------------------------------------------------------------------------- */

static uint8_t form_modrm(const struct form *f)
{
    const ZydisDecodedInstruction *z = f->l->z;
    unsigned reg = z->raw.modrm.reg & 7, rm = 2, mod = 3;

    if (f->op.regs[SLOT_REG])
        reg = f->op.regs[SLOT_REG] == REGS_GPR ? 0 : f->op.regs[SLOT_REG] == REGS_MASK ? 2 : 1;
    if (f->mem)
        mod = 0, rm = 7;                /* [rdi] */
    else
        rm = f->op.regs[SLOT_RM] == REGS_GPR ? 0 : f->op.regs[SLOT_RM] == REGS_MASK ? 3 : 2;
    return (uint8_t)(mod << 6 | reg << 3 | rm);
}

static uint8_t form_vvvv(const struct form *f)
{
    switch (f->op.regs[SLOT_VREG]) {
    case REGS_NONE: return 0xf;
    case REGS_MASK: return (uint8_t)(~4u & 0xf);
    default: return (uint8_t)(~3u & 0xf);
    }
}

static void put(struct simd_op *op, unsigned b)
{
    op->code[op->code_len++] = (uint8_t)b;
}

static bool encode_legacy(struct form *f)
{
    const ZydisDecodedInstruction *z = f->l->z;

    for (unsigned n = 0; n < z->raw.prefix_count; n++)
        if (z->raw.prefixes[n].type == ZYDIS_PREFIX_TYPE_MANDATORY)
            put(&f->op, z->raw.prefixes[n].value);
    if (f->w)
        put(&f->op, 0x48);
    put(&f->op, 0x0f);
    if (z->opcode_map == ZYDIS_OPCODE_MAP_0F38)
        put(&f->op, 0x38);
    else if (z->opcode_map == ZYDIS_OPCODE_MAP_0F3A)
        put(&f->op, 0x3a);
    else if (z->opcode_map != ZYDIS_OPCODE_MAP_0F)
        return false;
    return true;
}

static bool encode_vex(struct form *f)
{
    const ZydisDecodedInstructionRawVex *v = &f->l->z->raw.vex;

    if (v->m_mmmm < 1 || v->m_mmmm > 3)
        return false;
    put(&f->op, 0xc4);
    put(&f->op, 0xe0u | v->m_mmmm);
    put(&f->op, (unsigned)f->w << 7 | (unsigned)form_vvvv(f) << 3 | (unsigned)v->L << 2 | v->pp);
    return true;
}

static bool encode_evex(struct form *f)
{
    const ZydisDecodedInstruction *z = f->l->z;
    const ZydisDecodedInstructionRawEvex *e = &z->raw.evex;
    unsigned length = (unsigned)e->L2 << 1 | e->L;

    /* Where the length is ignored, say 128 bits. */
    if (!e->b && f->op.vl == 16)
        length = 0;
    if (e->mmm < 1 || e->mmm > 3)
        return false;
    put(&f->op, 0x62);
    put(&f->op, 0xf0u | e->mmm);
    put(&f->op, (unsigned)f->w << 7 | (unsigned)form_vvvv(f) << 3 | 4u | e->pp);
    put(&f->op, (unsigned)e->z << 7 | length << 5 | (unsigned)e->b << 4 | 8u | (f->mask ? 1u : 0));
    return true;
}

static bool form_encode(struct form *f)
{
    const ZydisDecodedInstruction *z = f->l->z;
    bool ok = z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY ? encode_legacy(f) :
              f->evex ? encode_evex(f) : encode_vex(f);

    if (!ok)
        return false;
    put(&f->op, z->opcode);
    put(&f->op, form_modrm(f));
    return true;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* REX.W or VEX.W as the host must see it.  In 32-bit modes W is ignored by the
 * instructions whose other operand is a general register of 32 or 64 bits
 * (the instructions' pages in SDM 2), but not by the host's 64-bit mode. */
static bool form_w(const struct form *f)
{
    const ZydisDecodedInstruction *z = f->l->z;
    bool gpr = f->class->rule == MEM_W;

    switch (z->encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY: return z->raw.rex.W;
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
    case ZYDIS_INSTRUCTION_ENCODING_EVEX: break;
    default: return false;
    }
    for (unsigned n = 0; n < z->operand_count; n++) {
        const ZydisDecodedOperand *op = &f->l->op[n];
        if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && op->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
            reg_kind(op->reg.value) == REGS_GPR)
            gpr = true;
    }
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VPEXTRD:
    case ZYDIS_MNEMONIC_VPINSRD:
    case ZYDIS_MNEMONIC_VPCMPESTRI:
    case ZYDIS_MNEMONIC_VPCMPESTRM: gpr = true; break;
    default: break;
    }
    if (gpr && (f->l->mode & MODE_BITS) != 2)
        return false;
    return z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? z->raw.vex.W : z->raw.evex.W;
}

static void form_places(struct simd_op *op)
{
    for (unsigned s = 0; s < 3; s++) {
        static const struct { uint32_t off; uint8_t shift; } where[] = {
            [REGS_NONE] = { offsetof(struct soft_cpu, fpu.zmm), 0 },
            [REGS_VECTOR] = { offsetof(struct soft_cpu, fpu.zmm), 6 },
            [REGS_MASK] = { offsetof(struct soft_cpu, fpu.k), 3 },
            [REGS_MMX] = { offsetof(struct soft_cpu, fpu.fx) + 32, 4 },
            [REGS_GPR] = { offsetof(struct soft_cpu, gpr), 0 },
        };
        op->off[s] = where[op->regs[s]].off;
        op->shift[s] = where[op->regs[s]].shift;
    }
}

static void form_check(struct form *f)
{
    struct simd_op *op = &f->op;
    bool mmx = false, vector = false;

    for (unsigned s = 0; s < SLOT_COUNT; s++) {
        mmx |= op->regs[s] == REGS_MMX;
        vector |= op->regs[s] == REGS_VECTOR;
    }
    if (mmx)
        op->flags |= SO_MMX;
    f->mmx_vector = mmx && !vector;
    op->check = f->evex ? CHECK_EVEX :
                f->l->z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? CHECK_VEX :
                !mmx ? CHECK_SSE : vector ? CHECK_MMX_SSE : CHECK_MMX;
    /* Masks belong to AVX-512 (SDM 2A table 2-65, type K20). */
    for (unsigned s = 0; s < SLOT_COUNT; s++)
        if (op->regs[s] == REGS_MASK)
            op->check = CHECK_EVEX;
}

/* AMD: VEX.W must be 0 outside 64-bit mode; Intel ignores it there. */
static bool form_w_illegal(const struct form *f)
{
    const ZydisDecodedInstruction *z = f->l->z;

    return f->l->model->amd && (f->l->mode & MODE_BITS) != 2 &&
           z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && z->raw.vex.W &&
           (z->mnemonic == ZYDIS_MNEMONIC_VPEXTRD || z->mnemonic == ZYDIS_MNEMONIC_VPINSRD);
}

static bool form_build(struct form *f)
{
    const ZydisDecodedInstruction *z = f->l->z;
    struct simd_op *op = &f->op;

    if (form_w_illegal(f))
        return false;

    op->dst = SLOT_COUNT;
    f->evex = z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
    f->mask = f->evex ? z->raw.evex.aaa : 0;
    f->w = form_w(f);
    op->vl = (uint8_t)(z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY ? 16 : z->avx.vector_length / 8);
    if (!form_operands(f))
        return false;
    form_check(f);
    if (f->mem && !form_memory(f))
        return false;
    if (f->class->flags & SC_FP)
        op->flags |= SO_FP;
    if (op->flags & SO_ECX)
        op->flags |= SO_STRING;
    if (op->check == CHECK_EVEX && !simd_host_avx512())
        return false;
    form_places(op);
    return form_encode(f);
}

/* The string MOVSD and CMPSD have the same mnemonics. */
static bool lower_string(struct lower *l)
{
    for (const struct insn_row *r = soft_rows_int; r->mnemonic != ZYDIS_MNEMONIC_INVALID; r++) {
        if (r->mnemonic != l->z->mnemonic)
            continue;
        l->row = r;
        l->insn->fn = r->fn;
        return r->lower ? r->lower(l) : true;
    }
    return false;
}

bool simd_lower(struct lower *l)
{
    struct form f = { .l = l, .class = l->row->arg };
    struct insn *i = l->insn;
    const struct simd_op *op;
    unsigned special;

    if (l->z->meta.category == ZYDIS_CATEGORY_STRINGOP)
        return lower_string(l);
    if (!simd_encoding_legal(l) || !simd_feature(l) || !form_build(&f))
        return false;
    op = simd_op_intern(&f.op);
    if (!op)
        return false;
    i->aux = op;
    i->flags |= INSN_SIMD;
    i->vreg = (uint8_t)(i->vreg | f.mask << 5);
    special = op->flags & ~(SO_LOAD | SO_SPREAD | SO_ALIGN | SO_IMM | SO_SHA);
    if (simd_move_lower(l, op))
        return true;
    if (special || op->extra == EXTRA_IS4 || op->extra == EXTRA_XMM0 ||
        (op->check != CHECK_SSE && op->check != CHECK_VEX))
        i->fn = simd_run;
    else
        i->fn = op->flags & SO_LOAD ? simd_run_load : simd_run_reg;
    return true;
}
