/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What may be emitted, and what it does to the flags.  The allow-list is a
 * security boundary: an instruction that is not here calls its function.
 */
#include "engine/bt/item.h"
#include "engine/bt/system.h"

#include "engine/soft/op_int.h"

/* ---- the allow-list ------------------------------------------------------------------- */

/* One-byte opcodes with ModRM that are emitted as they are. */
static bool allowed_one_byte(const ZydisDecodedInstruction *z)
{
    unsigned op = z->opcode, reg = z->raw.modrm.reg;

    if (op < 0x40)
        return (op & 7) < 4;                    /* ALU r/m, r and r, r/m */
    switch (op) {
    case 0x63:
        return z->mnemonic == ZYDIS_MNEMONIC_MOVSXD;    /* ARPL in 32-bit code */
    case 0x69: case 0x6b:                       /* IMUL */
    case 0x80: case 0x81: case 0x83:            /* ALU immediate */
    case 0x84: case 0x85: case 0x86: case 0x87: /* TEST, XCHG */
    case 0x88: case 0x89: case 0x8a: case 0x8b: /* MOV */
    case 0xc0: case 0xc1: case 0xd0: case 0xd1: case 0xd2: case 0xd3:   /* shifts */
        return true;
    case 0xc6: case 0xc7:
        return reg == 0;                        /* MOV immediate */
    case 0xf6: case 0xf7:                       /* TEST, NOT, NEG, MUL, IMUL, DIV, IDIV */
        return true;
    case 0xfe: case 0xff:
        return reg < 2;                         /* INC, DEC */
    default:
        return false;
    }
}

static bool allowed_0f(const ZydisDecodedInstruction *z, bool mem)
{
    switch (z->opcode) {
    case 0xa3: case 0xab: case 0xb3: case 0xbb:
        return !mem;                            /* a register offset reaches anywhere */
    case 0xba:
        return z->raw.modrm.reg >= 4;
    case 0xa4: case 0xa5: case 0xac: case 0xad: case 0xaf: case 0xb0: case 0xb1:
    case 0xb6: case 0xb7: case 0xbe: case 0xbf: case 0xc0: case 0xc1:
        return true;
    case 0xbc: case 0xbd: case 0xb8:            /* BSF, BSR, TZCNT, LZCNT, POPCNT */
        return true;
    case 0xc7:                                  /* CMPXCHG8B, CMPXCHG16B */
        return mem && z->raw.modrm.reg == 1;
    default:
        return (z->opcode & 0xf0) == 0x40 || (z->opcode & 0xf0) == 0x90;    /* CMOV, SETcc */
    }
}

static bool allowed_0f38(const ZydisDecodedInstruction *z)
{
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_MOVBE:
    case ZYDIS_MNEMONIC_CRC32:
    case ZYDIS_MNEMONIC_ADCX:
    case ZYDIS_MNEMONIC_ADOX: return true;
    default: return false;
    }
}

static bool allowed_vex(const ZydisDecodedInstruction *z)
{
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_ANDN:
    case ZYDIS_MNEMONIC_BEXTR:
    case ZYDIS_MNEMONIC_BLSI:
    case ZYDIS_MNEMONIC_BLSMSK:
    case ZYDIS_MNEMONIC_BLSR:
    case ZYDIS_MNEMONIC_BZHI:
    case ZYDIS_MNEMONIC_MULX:
    case ZYDIS_MNEMONIC_PDEP:
    case ZYDIS_MNEMONIC_PEXT:
    case ZYDIS_MNEMONIC_RORX:
    case ZYDIS_MNEMONIC_SARX:
    case ZYDIS_MNEMONIC_SHLX:
    case ZYDIS_MNEMONIC_SHRX: return true;
    default: return false;
    }
}

unsigned bt_reg(const ZydisDecodedOperand *op)
{
    return soft_reg_number(op->reg.value) / 8u;
}

/* Is the ModRM.reg field a register (not part of the opcode)? */
bool bt_reg_field(const ZydisDecodedInstruction *z)
{
    if (z->opcode_map == ZYDIS_OPCODE_MAP_0F38)
        return true;
    if (z->opcode_map == ZYDIS_OPCODE_MAP_0F)
        return z->opcode != 0xba && z->opcode != 0xc7 && (z->opcode & 0xf0) != 0x90;
    switch (z->opcode) {
    case 0x80: case 0x81: case 0x83: case 0xc0: case 0xc1: case 0xc6: case 0xc7:
    case 0xd0: case 0xd1: case 0xd2: case 0xd3: case 0xf6: case 0xf7: case 0xfe: case 0xff:
        return false;
    default:
        return true;
    }
}

/* AH to BH: only without REX. */
bool bt_high_byte(const ZydisDecodedOperand *op)
{
    return op->type == ZYDIS_OPERAND_TYPE_REGISTER && op->reg.value >= ZYDIS_REGISTER_AH &&
           op->reg.value <= ZYDIS_REGISTER_BH;
}

const ZydisDecodedOperand *bt_memory_operand(const struct item *i)
{
    for (unsigned n = 0; n < i->z.operand_count_visible; n++)
        if (i->op[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
            return &i->op[n];
    return NULL;
}

/* Zydis 4.0 names a base of R13D where there is none (SDM 2A table 2-3). */
static bool doubtful_base(const ZydisDecodedInstruction *z)
{
    return z->address_width == 32 && (z->attributes & ZYDIS_ATTRIB_HAS_SIB) && z->raw.modrm.mod == 0 &&
           z->raw.sib.base == 5;
}

/* Memory operands that the probe can serve. */
static bool good_memory(const struct item *i, const ZydisDecodedOperand *m)
{
    unsigned size = m->size / 8;

    if (i->z.address_width < 32 || (size != 1 && size != 2 && size != 4 && size != 8 && size != 16))
        return false;
    return i->z.machine_mode != ZYDIS_MACHINE_MODE_LONG_64 || !doubtful_base(&i->z);
}

/* On CPUs without them F3 0F BC and BD are BSF and BSR: the row decided. */
static bool count_is_native(const struct soft_cpu *c, const struct item *i)
{
    switch (i->z.mnemonic) {
    case ZYDIS_MNEMONIC_TZCNT: return cpu_has(c->vm->model, F_BMI1);
    case ZYDIS_MNEMONIC_LZCNT: return cpu_has(c->vm->model, F_ABM);
    default: return true;
    }
}

/* Without operands but for the accumulator and flags. */
static bool copied(unsigned opcode)
{
    switch (opcode) {
    case 0x98: case 0x99:                       /* CBW, CWD and wider */
    case 0x9e: case 0x9f:                       /* SAHF, LAHF */
    case 0xa8: case 0xa9:                       /* TEST */
    case 0xf5: case 0xf8: case 0xf9:            /* CMC, CLC, STC */
        return true;
    default:
        return false;
    }
}

/* 32-bit code; not through FS or GS, which may have a base or a limit. */
static bool is_flat32(const struct item *i, const ZydisDecodedOperand *m)
{
    unsigned seg = soft_segment_number(m->mem.segment);

    return i->z.machine_mode != ZYDIS_MACHINE_MODE_LONG_64 && i->z.address_width == 32 && seg != SEG_FS &&
           seg != SEG_GS;
}

/* Bit offset in a register into memory.  It reaches anywhere, so its address is
 * made first, and the instruction gets what is left of the offset. */
static bool is_bit_string(const struct item *i, const ZydisDecodedOperand *m)
{
    unsigned op = i->z.opcode;

    return m && i->z.opcode_map == ZYDIS_OPCODE_MAP_0F && (op & 0xe7) == 0xa3 && i->z.operand_width >= 32 &&
           (i->z.address_width == 64 || is_flat32(i, m)) && good_memory(i, m);
}

/* Without ModRM, in 32-bit code: MOV between the accumulator and an address
 * that the instruction has in itself; INC and DEC of a register. */
static enum kind classify_short32(const struct item *i, const ZydisDecodedOperand *m)
{
    unsigned opcode = i->z.opcode;

    if (opcode >= 0xa0 && opcode <= 0xa3)
        return m && good_memory(i, m) ? K_GENERIC : K_FUNCTION;
    return opcode >= 0x40 && opcode <= 0x4f ? K_INC_DEC : K_FUNCTION;
}

static enum kind classify_plain(const struct soft_cpu *c, const struct item *i, bool code32)
{
    const ZydisDecodedInstruction *z = &i->z;
    const ZydisDecodedOperand *m = bt_memory_operand(i);
    bool one = z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT, two = z->opcode_map == ZYDIS_OPCODE_MAP_0F;

    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
        return allowed_vex(z) && (!m || good_memory(i, m)) ? K_VEX : K_FUNCTION;
    if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return K_FUNCTION;
    if (z->opcode_map == ZYDIS_OPCODE_MAP_0F38)
        return allowed_0f38(z) && (!m || good_memory(i, m)) ? K_GENERIC : K_FUNCTION;
    if ((one || two) && (z->attributes & ZYDIS_ATTRIB_HAS_MODRM)) {
        if (is_bit_string(i, m))
            return K_BIT;
        if (!(one ? allowed_one_byte(z) : allowed_0f(z, m != NULL)) || !count_is_native(c, i))
            return K_FUNCTION;
        return !m || good_memory(i, m) ? K_GENERIC : K_FUNCTION;
    }
    if (one && ((z->opcode < 0x40 && ((z->opcode & 7) == 4 || (z->opcode & 7) == 5)) || copied(z->opcode)))
        return K_COPY;
    if (one && z->mnemonic == ZYDIS_MNEMONIC_XCHG && (z->opcode & 0xf8) == 0x90)
        return K_OPCODE_REG;
    if (one && z->opcode >= 0xb0 && z->opcode <= 0xbf)
        return K_MOV_IMM;
    if (two && z->opcode >= 0xc8 && z->opcode <= 0xcf && z->operand_width >= 32)
        return K_OPCODE_REG;
    return one && code32 ? classify_short32(i, m) : K_FUNCTION;
}

/* A general register as wide as the stack? */
static bool is_word(const ZydisDecodedOperand *op, bool code32)
{
    return op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(op->reg.value) == (code32 ? ZYDIS_REGCLASS_GPR32 : ZYDIS_REGCLASS_GPR64);
}

static enum kind classify_stack(const struct item *i, bool code32)
{
    const ZydisDecodedOperand *a = &i->op[0];

    if (i->insn.osize != (code32 ? 4 : 8))
        return K_FUNCTION;
    if (i->z.mnemonic == ZYDIS_MNEMONIC_PUSH) {
        if (a->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
            return K_PUSH_IMM;
        if (a->type == ZYDIS_OPERAND_TYPE_MEMORY)
            return good_memory(i, a) ? K_PUSH_MEM : K_FUNCTION;
        return is_word(a, code32) ? K_PUSH_REG : K_FUNCTION;
    }
    return is_word(a, code32) ? K_POP : K_FUNCTION;
}

static enum kind classify_branch(const struct item *i, bool code32)
{
    const ZydisDecodedOperand *a = &i->op[0];
    bool call = i->z.mnemonic == ZYDIS_MNEMONIC_CALL;

    if (i->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || i->insn.osize != (code32 ? 4 : 8))
        return K_FUNCTION;
    if (i->z.mnemonic == ZYDIS_MNEMONIC_RET)
        return K_RET;
    if (i->z.mnemonic != ZYDIS_MNEMONIC_JMP && !call)
        return i->z.meta.category == ZYDIS_CATEGORY_COND_BR &&
                       (i->z.opcode & 0xf0) == (i->z.opcode_map == ZYDIS_OPCODE_MAP_0F ? 0x80 : 0x70)
                   ? K_JCC : K_FUNCTION;
    if (a->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return call ? K_CALL : K_JMP;
    if (a->type == ZYDIS_OPERAND_TYPE_MEMORY && !good_memory(i, a))
        return K_FUNCTION;
    /* The push comes before the target is read. */
    if (call && a->type == ZYDIS_OPERAND_TYPE_REGISTER && bt_reg(a) == H_RSP)
        return K_FUNCTION;
    return call ? K_CALL_IND : K_JMP_IND;
}

/* Prefetches do nothing that shows. */
static bool is_hint(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHNTA: return true;
    default: return false;
    }
}

static bool extended(ZydisRegister r)
{
    ZydisRegisterClass k = ZydisRegisterGetClass(r);

    return k >= ZYDIS_REGCLASS_GPR8 && k <= ZYDIS_REGCLASS_GPR64 && soft_reg_number(r) >= 8 * 8;
}

/*
 * What 32-bit code may name in place: the first eight registers, and memory by
 * an address of 32 bits in a segment that is known to be flat, or FS or GS.
 * CS may be execute-only, and is never writable.
 */
static bool expressible32(const struct item *i)
{
    for (unsigned n = 0; n < i->z.operand_count; n++) {
        const ZydisDecodedOperand *op = &i->op[n];

        if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && extended(op->reg.value))
            return false;
        if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        if (i->z.address_width != 32 || extended(op->mem.base) || extended(op->mem.index) ||
            (op->mem.segment == ZYDIS_REGISTER_CS && i->z.mnemonic != ZYDIS_MNEMONIC_LEA) ||
            (op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM && op->mem.base != ZYDIS_REGISTER_NONE &&
             doubtful_base(&i->z)))
            return false;
    }
    return true;
}

enum kind bt_classify(const struct soft_cpu *c, const struct item *i, unsigned mode)
{
    const bool code32 = bt_mode32(mode);

    if (i->insn.fn == op_ud || i->insn.fn == op_too_long)
        return K_FUNCTION;
    if (bt_system_form(i, mode))
        return K_SYSTEM;
    if (i->insn.fn == op_nop || is_hint(i->z.mnemonic))    /* NOP, ENDBR */
        return K_NOP;
    if (code32 && !expressible32(i))
        return K_FUNCTION;
    if (i->insn.flags & INSN_SIMD)
        return i->z.address_width == (code32 ? 32 : 64) && bt_simd_fits(&i->insn, mode) ? K_SIMD : K_FUNCTION;
    if (bt_x87_form(i, mode, &(struct x87_form){ 0 }))
        return K_X87;
    if (bt_string_fits(i, code32))
        return K_STRING;
    switch (i->z.mnemonic) {
    case ZYDIS_MNEMONIC_VZEROALL:
    case ZYDIS_MNEMONIC_VZEROUPPER:
        return mode & BT_MODE_AVX ? K_VZERO : K_FUNCTION;
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_STMXCSR:
    case ZYDIS_MNEMONIC_VSTMXCSR:
        return bt_mxcsr_kind(c, i, mode);
    case ZYDIS_MNEMONIC_LEA:
        return i->z.address_width >= 32 && i->z.operand_width >= 32 && (code32 || !doubtful_base(&i->z)) ? K_LEA
                                                                                                    : K_FUNCTION;
    case ZYDIS_MNEMONIC_LEAVE:
        return i->insn.osize == (code32 ? 4 : 8) ? K_LEAVE : K_FUNCTION;
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
        return classify_stack(i, code32);
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSRET:
        return bt_syscall_kind(i, mode);
    default:
        break;
    }
    if (i->z.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE || i->z.mnemonic == ZYDIS_MNEMONIC_RET)
        return classify_branch(i, code32);
    return classify_plain(c, i, code32);
}
