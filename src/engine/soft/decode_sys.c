/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rows of the system instructions, and the system forms of MOV, PUSH, POP,
 * CALL, JMP and RET.
 */
#include "engine/soft/decode.h"
#include "engine/soft/sysop.h"

static bool set(struct lower *l, insn_fn fn)
{
    l->insn->fn = fn;
    return true;
}

/* Loads of a segment register: SS shadows an instruction; outside 64-bit mode
 * the rest of the block may depend on what is flat. */
static bool set_load(struct lower *l, unsigned seg, insn_fn fn)
{
    l->end = l->end || seg == SEG_SS || !(l->insn->flags & INSN_CODE64);
    return set(l, fn);
}

static ZydisRegisterClass class_of(const ZydisDecodedOperand *op)
{
    return op->type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(op->reg.value)
                                                   : ZYDIS_REGCLASS_INVALID;
}

static bool lower_push_pop(struct lower *l)
{
    unsigned seg = soft_segment_number(l->op[0].reg.value);

    l->insn->reg = (uint8_t)seg;
    if (l->z->mnemonic == ZYDIS_MNEMONIC_PUSH)
        return set(l, op_push_sreg);
    return set_load(l, seg, op_pop_sreg);
}

static bool lower_mov_sreg(struct lower *l)
{
    bool load = class_of(&l->op[0]) == ZYDIS_REGCLASS_SEGMENT;
    unsigned seg = soft_segment_number(l->op[!load].reg.value);

    l->insn->reg = (uint8_t)seg;
    if (!load)
        return set(l, op_mov_from_sreg);
    return seg != SEG_CS && set_load(l, seg, op_mov_to_sreg);
}

bool soft_lower_mov_special(struct lower *l)
{
    ZydisRegisterClass to = class_of(&l->op[0]), from = class_of(&l->op[1]);

    if (l->z->mnemonic != ZYDIS_MNEMONIC_MOV)
        return lower_push_pop(l);
    if (to == ZYDIS_REGCLASS_SEGMENT || from == ZYDIS_REGCLASS_SEGMENT)
        return lower_mov_sreg(l);
    if (from == ZYDIS_REGCLASS_CONTROL)
        return set(l, op_mov_from_cr);
    if (from == ZYDIS_REGCLASS_DEBUG)
        return set(l, op_mov_from_dr);
    l->end = true;
    if (to == ZYDIS_REGCLASS_CONTROL)
        return set(l, op_mov_to_cr);
    return to == ZYDIS_REGCLASS_DEBUG && set(l, op_mov_to_dr);
}

bool soft_lower_far(struct lower *l)
{
    bool mem = l->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY;

    l->end = true;
    switch (l->z->mnemonic) {
    case ZYDIS_MNEMONIC_CALL: return set(l, mem ? op_call_far_mem : op_call_far);
    case ZYDIS_MNEMONIC_JMP: return set(l, mem ? op_jmp_far_mem : op_jmp_far);
    default: return set(l, op_ret_far);
    }
}

static bool lower_far_ptr(struct lower *l)
{
    unsigned seg;

    switch (l->z->mnemonic) {
    case ZYDIS_MNEMONIC_LDS: seg = SEG_DS; break;
    case ZYDIS_MNEMONIC_LES: seg = SEG_ES; break;
    case ZYDIS_MNEMONIC_LFS: seg = SEG_FS; break;
    case ZYDIS_MNEMONIC_LGS: seg = SEG_GS; break;
    default: seg = SEG_SS; break;
    }
    l->insn->vreg = (uint8_t)seg;
    return set_load(l, seg, op_load_far_ptr);
}

/* MONITOR's address is DS:rAX unless overridden. */
static bool lower_monitor(struct lower *l)
{
    l->insn->seg = l->z->attributes & ZYDIS_ATTRIB_HAS_SEGMENT_FS   ? SEG_FS
                   : l->z->attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS ? SEG_GS
                   : l->z->attributes & ZYDIS_ATTRIB_HAS_SEGMENT_ES ? SEG_ES
                   : l->z->attributes & ZYDIS_ATTRIB_HAS_SEGMENT_CS ? SEG_CS
                   : l->z->attributes & ZYDIS_ATTRIB_HAS_SEGMENT_SS ? SEG_SS
                                                                    : SEG_DS;
    return set(l, op_monitor);
}

#define M(m) ZYDIS_MNEMONIC_##m
#define END(m, f)                       \
    {                                   \
        M(m), .fn = f, .flags = ROW_END \
    }
#define PLAIN(m, f)   \
    {                 \
        M(m), .fn = f \
    }
#define CPL0(m, f)                       \
    {                                    \
        M(m), .fn = f, .flags = ROW_CPL0 \
    }
#define CPL0_END(m, f)                             \
    {                                              \
        M(m), .fn = f, .flags = ROW_CPL0 | ROW_END \
    }
#define PROT(m, f)                       \
    {                                    \
        M(m), .fn = f, .flags = ROW_PROT \
    }
#define ONLY64(m, f, feat)                                  \
    {                                                       \
        M(m), .fn = f, .flags = ROW_ONLY64, .feature = feat \
    }

const struct insn_row soft_rows_sys[] = {
    /* transfers */
    END(INT, op_int),
    END(INT1, op_int1),
    END(INT3, op_int3),
    { M(INTO), .fn = op_into, .flags = ROW_NO64 | ROW_END },
    END(IRET, op_iret),
    END(IRETD, op_iret),
    END(IRETQ, op_iret),
    { M(SYSCALL), .fn = op_syscall, .flags = ROW_END, .feature = F_SYSCALL },
    { M(SYSRET), .fn = op_sysret, .flags = ROW_END | ROW_CPL0, .feature = F_SYSCALL },
    { M(SYSENTER), .fn = op_sysenter, .flags = ROW_END, .feature = F_SEP },
    { M(SYSEXIT), .fn = op_sysexit, .flags = ROW_END | ROW_CPL0, .feature = F_SEP },

    /* segments */
    { M(LDS), .lower = lower_far_ptr, .flags = ROW_NO64 },
    { M(LES), .lower = lower_far_ptr, .flags = ROW_NO64 },
    { M(LFS), .lower = lower_far_ptr },
    { M(LGS), .lower = lower_far_ptr },
    { M(LSS), .lower = lower_far_ptr },
    { M(LLDT), .fn = op_lldt, .flags = ROW_PROT | ROW_CPL0 },
    { M(LTR), .fn = op_ltr, .flags = ROW_PROT | ROW_CPL0 },
    PROT(SLDT, op_sldt),
    PROT(STR, op_str),
    PROT(LAR, op_lar),
    PROT(LSL, op_lsl),
    PROT(VERR, op_verr),
    PROT(VERW, op_verw),
    { M(ARPL), .fn = op_arpl, .flags = ROW_PROT | ROW_NO64 },
    CPL0(LGDT, op_lgdt),
    CPL0(LIDT, op_lidt),
    PLAIN(SGDT, op_sgdt),
    PLAIN(SIDT, op_sidt),
    { M(SWAPGS), .fn = op_swapgs, .flags = ROW_ONLY64 | ROW_CPL0 },
    ONLY64(RDFSBASE, op_rdfsbase, F_FSGSBASE),
    ONLY64(RDGSBASE, op_rdgsbase, F_FSGSBASE),
    ONLY64(WRFSBASE, op_wrfsbase, F_FSGSBASE),
    ONLY64(WRGSBASE, op_wrgsbase, F_FSGSBASE),

    /* control registers, TLB */
    CPL0_END(CLTS, op_clts),
    CPL0_END(LMSW, op_lmsw),
    PLAIN(SMSW, op_smsw),
    CPL0_END(INVLPG, op_invlpg),
    { M(INVPCID), .fn = op_invpcid, .flags = ROW_CPL0 | ROW_END, .feature = F_INVPCID },
    { M(XGETBV), .fn = op_xgetbv, .feature = F_XSAVE },
    { M(XSETBV), .fn = op_xsetbv, .flags = ROW_CPL0 | ROW_END, .feature = F_XSAVE },

    /* flags */
    PLAIN(CLI, op_cli),
    END(STI, op_sti),
    { M(CLAC), .fn = op_clac, .flags = ROW_END | ROW_CPL0, .feature = F_SMAP },
    { M(STAC), .fn = op_stac, .flags = ROW_END | ROW_CPL0, .feature = F_SMAP },
    PLAIN(PUSHF, op_pushf),
    PLAIN(PUSHFD, op_pushf),
    PLAIN(PUSHFQ, op_pushf),
    END(POPF, op_popf),
    END(POPFD, op_popf),
    END(POPFQ, op_popf),

    /* the rest */
    CPL0_END(HLT, op_hlt),
    PLAIN(CPUID, op_cpuid),
    { M(MONITOR), .lower = lower_monitor, .flags = ROW_CPL0, .feature = F_MONITOR },
    { M(MWAIT), .fn = op_mwait, .flags = ROW_CPL0 | ROW_END, .feature = F_MONITOR },
    { M(RDTSC), .fn = op_rdtsc, .feature = F_TSC },
    { M(RDTSCP), .fn = op_rdtscp, .feature = F_RDTSCP },
    { M(RDPID), .fn = op_rdpid, .feature = F_RDPID },
    PLAIN(RDPMC, op_rdpmc),
    { M(RDMSR), .fn = op_rdmsr, .flags = ROW_CPL0, .feature = F_MSR },
    { M(WRMSR), .fn = op_wrmsr, .flags = ROW_CPL0 | ROW_END, .feature = F_MSR },
    CPL0(INVD, op_wbinvd),
    CPL0(WBINVD, op_wbinvd),
    { .mnemonic = ZYDIS_MNEMONIC_INVALID },
};
