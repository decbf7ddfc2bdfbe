/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/soft/decode.h"

#include <pthread.h>
#include <string.h>

#define MAX_INSN 15

/* MOVSD and CMPSD name a string and an SSE instruction each: the second row. */
static const struct insn_row *rows[ZYDIS_MNEMONIC_MAX_VALUE + 1], *rows2[ZYDIS_MNEMONIC_MAX_VALUE + 1];
static ZydisDecoder decoders[2][8];     /* vendor, mode_key */
static pthread_once_t once = PTHREAD_ONCE_INIT;

int op_ud(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    return soft_ud(c);
}

int op_too_long(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    return soft_gp0(c);
}

static void add_rows(const struct insn_row *table)
{
    for (; table->mnemonic != ZYDIS_MNEMONIC_INVALID; table++)
        (rows[table->mnemonic] ? rows2 : rows)[table->mnemonic] = table;
}

/* Never Zydis' real mode: it calls invalid what is to raise #GP there. */
static void init_decoder(ZydisDecoder *d, unsigned mode, bool amd)
{
    static const ZydisMachineMode machine[] = {
        ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64,
        ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32,
        ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_MACHINE_MODE_LEGACY_16,
    };
    unsigned n = (mode & MODE_BITS) + (mode & MODE_PROT ? 4 : 0);

    ZydisDecoderInit(d, machine[n],
                     (mode & MODE_BITS) == 2 ? ZYDIS_STACK_WIDTH_64 :
                     (mode & MODE_BITS) == 1 ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
    ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
    ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
    ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_KNC, ZYAN_FALSE);
    ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_AMD_BRANCHES, amd ? ZYAN_TRUE : ZYAN_FALSE);
}

static void init(void)
{
    add_rows(soft_rows_int);
    add_rows(soft_rows_sys);
    add_rows(soft_rows_simd);
    add_rows(soft_rows_x87);
    for (unsigned amd = 0; amd < 2; amd++)
        for (unsigned mode = 0; mode < 8; mode++)
            init_decoder(&decoders[amd][mode], mode, amd);
}

const struct insn_row *soft_row(ZydisMnemonic m)
{
    pthread_once(&once, init);
    return (unsigned)m < ARRAY_SIZE(rows) ? rows[m] : NULL;
}

/* Byte offset of a general register into soft_cpu.gpr; of others the number. */
uint8_t soft_reg_number(ZydisRegister r)
{
    ZyanI8 id = ZydisRegisterGetId(r);

    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_GPR8:
        if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
            return (uint8_t)((r - ZYDIS_REGISTER_AH) * 8 + 1);
        if (r >= ZYDIS_REGISTER_SPL)
            return (uint8_t)((r - ZYDIS_REGISTER_SPL + 4) * 8);
        return (uint8_t)((r - ZYDIS_REGISTER_AL) * 8);
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        return (uint8_t)(id * 8);
    case ZYDIS_REGCLASS_IP:
        return GPR_RIP;
    case ZYDIS_REGCLASS_INVALID:
        return GPR_ZERO;
    default:
        return (uint8_t)id;
    }
}

uint8_t soft_segment_number(ZydisRegister r)
{
    switch (r) {
    case ZYDIS_REGISTER_ES: return SEG_ES;
    case ZYDIS_REGISTER_CS: return SEG_CS;
    case ZYDIS_REGISTER_SS: return SEG_SS;
    case ZYDIS_REGISTER_FS: return SEG_FS;
    case ZYDIS_REGISTER_GS: return SEG_GS;
    default: return SEG_DS;
    }
}

static void fill_memory(struct lower *l, const ZydisDecodedOperand *op)
{
    struct insn *i = l->insn;
    bool rip = op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP;
    int64_t disp;

    i->flags |= INSN_MEM;
    i->base = soft_reg_number(op->mem.base);
    i->index = soft_reg_number(op->mem.index);
    i->scale = op->mem.scale ? (uint8_t)__builtin_ctz(op->mem.scale) : 0;
    i->seg = soft_segment_number(op->mem.segment);
    disp = op->mem.disp.value + (rip ? i->len : 0);
    if (disp > INT32_MAX) {     /* only rip-relative: there is no index */
        disp -= GPR_STEP_VALUE;
        i->index = GPR_STEP;
    }
    i->disp = (int32_t)disp;
    /* Zydis 4.0 takes this for a base of R13D in VEX and EVEX code with a 67
     * prefix (SDM 2A table 2-3: no base, a displacement). */
    if ((l->z->attributes & ZYDIS_ATTRIB_HAS_SIB) && l->z->raw.modrm.mod == 0 && l->z->raw.sib.base == 5) {
        i->base = GPR_ZERO;
        i->disp = (int32_t)l->z->raw.disp.value;
    }
    if ((l->mode & MODE_BITS) == 2 && i->asize == 8 && i->seg != SEG_FS && i->seg != SEG_GS)
        i->flags |= INSN_FLAT;
}

static void fill_operand(struct lower *l, const ZydisDecodedOperand *op)
{
    struct insn *i = l->insn;

    switch (op->type) {
    case ZYDIS_OPERAND_TYPE_MEMORY:
        if (op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM && !(i->flags & INSN_MEM))
            fill_memory(l, op);
        break;
    case ZYDIS_OPERAND_TYPE_REGISTER:
        if (op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG ||
            op->encoding == ZYDIS_OPERAND_ENCODING_OPCODE)
            i->reg = soft_reg_number(op->reg.value);
        else if (op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
            i->rm = soft_reg_number(op->reg.value);
        else if (op->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD)
            i->vreg = soft_reg_number(op->reg.value);
        break;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        i->imm = op->imm.value.u;
        break;
    case ZYDIS_OPERAND_TYPE_POINTER:
        i->imm = (uint64_t)op->ptr.segment << 32 | op->ptr.offset;
        i->flags |= INSN_FAR;
        break;
    default:
        break;
    }
}

static void fill_generic(struct lower *l)
{
    static const struct { ZyanU64 attr; uint16_t flag; } attrs[] = {
        { ZYDIS_ATTRIB_HAS_LOCK, INSN_LOCK }, { ZYDIS_ATTRIB_HAS_OPERANDSIZE, INSN_O16 },
    };
    const ZydisDecodedInstruction *z = l->z;
    struct insn *i = l->insn;

    i->osize = (uint8_t)(z->operand_width / 8);
    i->asize = (uint8_t)(z->address_width / 8);
    i->base = i->index = GPR_ZERO;
    i->seg = SEG_DS;
    if ((l->mode & MODE_BITS) == 2)
        i->flags |= INSN_CODE64;
    for (unsigned n = 0; n < ARRAY_SIZE(attrs); n++)
        if (z->attributes & attrs[n].attr)
            i->flags |= attrs[n].flag;
    for (unsigned n = 0; n < z->raw.prefix_count; n++) {
        if (z->raw.prefixes[n].type != ZYDIS_PREFIX_TYPE_EFFECTIVE)
            continue;
        if (z->raw.prefixes[n].value == 0xf3)
            i->flags |= INSN_REP;
        else if (z->raw.prefixes[n].value == 0xf2)
            i->flags |= INSN_REPNE;
    }
    for (unsigned n = 0; n < z->operand_count; n++)
        if (l->op[n].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN)
            fill_operand(l, &l->op[n]);
}

/* Is the instruction legal in this mode and CPU model, as far as decoding can say? */
static bool legal(const struct lower *l)
{
    const struct insn_row *row = l->row;
    bool code64 = (l->mode & MODE_BITS) == 2;

    if (!row || (row->flags & (code64 ? ROW_NO64 : ROW_ONLY64)))
        return false;
    if ((row->flags & ROW_PROT) && !(l->mode & MODE_PROT))
        return false;
    if (row->feature && !cpu_has(l->model, row->feature))
        return false;
    if (l->z->meta.isa_ext == ZYDIS_ISA_EXT_KNC || l->z->meta.isa_ext == ZYDIS_ISA_EXT_KNCE)
        return false;           /* VEX forms of POPCNT and the like: another CPU's */
    /* VEX and EVEX (SDM 2A 2.3.2). */
    if (l->z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && !(l->mode & MODE_PROT))
        return false;
    if (l->z->attributes & ZYDIS_ATTRIB_HAS_LOCK)
        return (row->flags & ROW_LOCK) && l->z->operand_count &&
               l->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
    return true;
}

static enum decode_result undefined(struct insn *insn, insn_fn fn)
{
    *insn = (struct insn){ .fn = fn, .len = 1, .base = GPR_ZERO, .index = GPR_ZERO };
    return DECODE_END;
}

static enum decode_result lower(struct lower *l)
{
    struct insn *i = l->insn;

    *i = (struct insn){ .len = l->z->length };
    if (!legal(l))
        return undefined(i, op_ud);
    fill_generic(l);
    i->fn = l->row->fn;
    if (l->row->lower && !l->row->lower(l))
        return undefined(i, op_ud);
    return (l->row->flags & ROW_END) || l->end ? DECODE_END : DECODE_OK;
}

enum decode_result soft_decode_full(const struct cpu_model *model, unsigned mode, const uint8_t *bytes,
                                    unsigned n, struct insn *insn, ZydisDecodedInstruction *z,
                                    ZydisDecodedOperand *op, bool *known)
{
    struct lower l = { .model = model, .mode = mode, .z = z, .op = op, .bytes = bytes, .insn = insn };
    ZyanStatus status;

    pthread_once(&once, init);
    status = ZydisDecoderDecodeFull(&decoders[model->amd][mode & 7], bytes, n, z, op);
    *known = ZYAN_SUCCESS(status);
    if (*known) {
        l.row = rows[z->mnemonic];
        if (rows2[z->mnemonic] && z->meta.category != ZYDIS_CATEGORY_STRINGOP)
            l.row = rows2[z->mnemonic];
        return lower(&l);
    }
    if (status == ZYDIS_STATUS_NO_MORE_DATA)
        return n < MAX_INSN ? DECODE_MORE : undefined(insn, op_too_long);
    return undefined(insn, status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG ? op_too_long : op_ud);
}

enum decode_result soft_decode(const struct cpu_model *model, unsigned mode, const uint8_t *bytes,
                               unsigned n, struct insn *insn)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    bool known;

    return soft_decode_full(model, mode, bytes, n, insn, &z, op, &known);
}
