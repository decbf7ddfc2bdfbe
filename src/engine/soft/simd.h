/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SIMD by native execution.
 *
 * An instruction is run by a stub: host code that loads the operands from
 * struct soft_fpu into fixed host registers, executes the same opcode with
 * those registers, and stores the result.  Since the guest's register numbers,
 * its memory operand and its immediate are not part of it, one stub serves
 * every instruction of a form, and the forms are few.  struct simd_op is what
 * decoding knows about a form; it is made once and never freed.
 *
 * Security: a form exists only if the tables of simd_rows.c list the
 * mnemonic, and the bytes of memory that its stub touches come from there; a
 * form for which the decoder reports another size is refused.  Stubs reach
 * guest memory through one pointer, checked for that many bytes.
 */
#ifndef ENGINE_SOFT_SIMD_H
#define ENGINE_SOFT_SIMD_H

#include "engine/soft/decode.h"

/* How the bytes accessed follow from the form. */
enum simd_rule {
    MEM_NONE,       /* no memory form */
    MEM_FULL,       /* the vector length (8 for MMX), one element if broadcast */
    MEM_HALF, MEM_QUARTER, MEM_EIGHTH,      /* of the vector length */
    MEM_1, MEM_2, MEM_4, MEM_8, MEM_16, MEM_32,
    MEM_W,          /* 8 with REX.W or VEX.W, else 4 */
    MEM_DDUP,       /* 8 for 128 bits, else the vector length */
    MEM_SHIFT,      /* count in memory: 16 (MMX: 8); with an immediate: full */
    MEM_LOW,        /* PUNPCKL: MMX 4, else full */
};

/* Of a mnemonic (struct simd_class). */
#define SC_FP 0x01u         /* depends on MXCSR */
#define SC_STORE 0x02u      /* has forms that store */
#define SC_ALIGN 0x04u      /* always aligned to its footprint (MOVAPS, MOVNT*) */
#define SC_NOALIGN 0x08u    /* never aligned (MOVUPS, LDDQU, PCMPISTRI) */
#define SC_SPREAD 0x10u     /* broadcast of a memory operand: any enabled element reads all of it */
#define SC_PACK 0x20u       /* compress, expand: enabled elements are contiguous */
#define SC_VMASK 0x40u      /* VMASKMOV: sign bits of vvvv are the mask */
#define SC_WHOLE 0x80u      /* masked, but reads its whole operand: each element of the result
                             * depends on several of memory */

struct simd_class {
    uint8_t rule;           /* enum simd_rule */
    uint8_t flags;          /* SC_* */
};

/* What must be checked before it runs. */
enum simd_check { CHECK_SSE, CHECK_VEX, CHECK_EVEX, CHECK_MMX, CHECK_MMX_SSE };

enum simd_reg { REGS_NONE, REGS_VECTOR, REGS_MASK, REGS_MMX, REGS_GPR };
enum { SLOT_REG, SLOT_RM, SLOT_VREG, SLOT_EXTRA, SLOT_COUNT };

/* What the stub's argument r9 points to. */
enum simd_extra { EXTRA_NONE, EXTRA_MASK, EXTRA_IS4, EXTRA_XMM0 };

/* Of a form. */
#define SO_LOAD 0x0001u
#define SO_STORE 0x0002u
#define SO_FP 0x0004u
#define SO_FLAGS 0x0008u    /* writes the arithmetic flags, all of them */
#define SO_SUPPRESS 0x0010u /* masked memory operand: disabled elements are not accessed */
#define SO_SPREAD 0x0020u
#define SO_PACK 0x0040u
#define SO_VMASK 0x0080u
#define SO_MMX 0x0100u      /* has an MMX register: x87 state turns to MMX state */
#define SO_IMM 0x0200u
#define SO_STRING 0x0400u   /* PCMPxSTRx */
#define SO_ECX 0x0800u      /* ... with the index in ECX */
#define SO_WHOLE 0x2000u    /* masked store, but all of it must be writable (class E6NF) */
#define SO_ALIGN 0x1000u    /* aligned whatever MXCSR.MM says */
#define SO_NOAC 0x4000u     /* Intel's CPUs do not check alignment (SDM 2 2.4.11: class 11) */
#define SO_SHA 0x8000u      /* AMD's CPUs take a misaligned operand */

/* The frame a stub gets in r8. */
struct simd_frame {
    uint32_t mxcsr;         /* in and out */
    uint32_t host_mxcsr;
    uint64_t rax, rdx, rcx; /* PCMPESTRx */
    uint16_t ax_flags;      /* out: LAHF and SETO */
    uint16_t raised;        /* out: an unmasked SIMD floating-point exception; nothing was stored */
};

typedef void (*simd_stub)(void *mem, void *reg, void *rm, void *vreg, struct simd_frame *f, void *extra);

struct simd_op {
    uint8_t code[8];        /* host encoding without immediate; identifies the form */
    uint8_t code_len;
    uint8_t check;          /* enum simd_check */
    uint16_t flags;         /* SO_* */
    uint8_t size;           /* bytes of memory accessed */
    uint8_t align;          /* #GP(0) unless aligned; 0: none */
    uint8_t elem;           /* masked memory: bytes of an element */
    uint8_t vl;             /* vector length in bytes */
    uint8_t lanes;          /* broadcast: elements of the result */
    uint8_t extra;          /* enum simd_extra */
    uint8_t dst;            /* SLOT_* written, SLOT_COUNT: none (memory or flags only) */
    uint8_t regs[SLOT_COUNT];   /* enum simd_reg */
    uint8_t load;           /* bit for each slot that must be loaded */
    /* Operand n of slot s is at (char *)c + off[s] + (n << shift[s]). */
    uint8_t shift[3];
    uint32_t off[3];
    _Atomic(simd_stub) stub;            /* made at first use */
    _Atomic(_Atomic(simd_stub) *) by_imm;   /* if SO_IMM: 256 of them */
    struct simd_op *next;
};

/* stub.c */

/* The number of the host register that a slot's contents go to in op->code. */
uint8_t simd_slot_number(const struct simd_op *op, unsigned slot);

/* The shared op with this code; made from proto if new.  NULL: out of memory. */
const struct simd_op *simd_op_intern(const struct simd_op *proto);
/* Its stub (for this immediate) if it exists. */
static inline simd_stub simd_stub_find(const struct simd_op *op, uint8_t imm)
{
    if (op->flags & SO_IMM) {
        _Atomic(simd_stub) *table = atomic_load_explicit(&op->by_imm, memory_order_acquire);
        return table ? atomic_load_explicit(&table[imm], memory_order_acquire) : NULL;
    }
    return atomic_load_explicit(&op->stub, memory_order_acquire);
}
/* Make it.  NULL: no executable memory, or none left; then run_once is the way,
 * which returns false if that is impossible too. */
simd_stub simd_stub_make(const struct simd_op *op, uint8_t imm);
bool simd_stub_run_once(const struct simd_op *op, uint8_t imm, void *mem,
                        void *const slot[SLOT_COUNT], struct simd_frame *f);
/* Stubs need SIGFPE: done by the first use of any, to be done again if somebody
 * else has taken it since. */
void simd_catch_sigfpe(void);
/* x87: code (len 0: none) with the memory operand at [rdi] and the FXSAVE
 * image at rsi.  key < X87_KEYS names the instruction.  NULL: no executable
 * memory.  flags: it reads or writes the arithmetic flags. */
#define X87_KEYS 2048
typedef void (*x87_stub)(void *mem, void *image, struct simd_frame *f);
x87_stub x87_stub_get(unsigned key, const uint8_t *code, unsigned len, bool flags);
/* Host features that stubs rely on, beside those that the guest sees. */
bool simd_host_avx(void);
bool simd_host_avx512(void);

/* simd_run.c */
int simd_run(struct soft_cpu *c, const struct insn *i);        /* any form */
int simd_run_reg(struct soft_cpu *c, const struct insn *i);    /* vector registers only */
int simd_run_load(struct soft_cpu *c, const struct insn *i);   /* and a plain memory source */
/* 0 or SOFT_FAULT */
int simd_check_slow(struct soft_cpu *c, enum simd_check kind);
/* #UD, #NM (SDM 3A 13.1, 13.5). */
static inline int simd_check(struct soft_cpu *c, enum simd_check kind)
{
    if (kind == CHECK_SSE && likely((c->s.cr0 & (CR0_EM | CR0_TS)) == 0 && (c->s.cr4 & CR4_OSFXSR)))
        return 0;
    if (kind == CHECK_VEX && likely(!(c->s.cr0 & CR0_TS) && (c->s.cr4 & CR4_OSXSAVE) &&
                                    (c->s.xcr0 & 6) == 6))
        return 0;
    return simd_check_slow(c, kind);
}
/* The operand's address faulted with r: a misaligned one is #GP before it is
 * non-canonical or beyond the limit (which may be #SS).  align: a power of two, or 0 for none. */
static inline int simd_bad_address(struct soft_cpu *c, const struct insn *i, unsigned align, int r)
{
    uint64_t la = insn_offset(c, i);

    if (!c->code64 || i->seg == SEG_FS || i->seg == SEG_GS)
        la += c->s.seg[i->seg].base;
    return align && (la & (align - 1)) ? soft_gp0(c) : r;
}
/* Turn x87 state into MMX state (SDM 1 9.5): TOP 0, all tags valid. */
void simd_enter_mmx(struct soft_cpu *c);

static inline uint32_t *fpu_mxcsr(struct soft_cpu *c) { return (uint32_t *)(c->fpu.fx + 24); }
static inline uint16_t *fpu_fcw(struct soft_cpu *c) { return (uint16_t *)(c->fpu.fx + 0); }
static inline uint16_t *fpu_fsw(struct soft_cpu *c) { return (uint16_t *)(c->fpu.fx + 2); }
static inline uint8_t *fpu_ftw(struct soft_cpu *c) { return c->fpu.fx + 4; }
static inline uint16_t *fpu_fop(struct soft_cpu *c) { return (uint16_t *)(c->fpu.fx + 6); }
static inline uint64_t *fpu_fip(struct soft_cpu *c) { return (uint64_t *)(c->fpu.fx + 8); }
static inline uint64_t *fpu_fdp(struct soft_cpu *c) { return (uint64_t *)(c->fpu.fx + 16); }
static inline uint8_t *fpu_st(struct soft_cpu *c, unsigned n) { return c->fpu.fx + 32 + 16 * n; }
#define FSW_ES 0x80u
#define FSW_B 0x8000u
#define FSW_TOP_SHIFT 11
#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_MM 0x20000u       /* AMD: misaligned 16-byte operands of legacy SSE are allowed */
/* MXCSR_MASK.  DAZ exists on every CPU with SSE3. */
static inline uint32_t simd_mxcsr_valid(const struct soft_cpu *c)
{
    return 0xffffu | (soft_has(c, F_MISALIGNSSE) ? MXCSR_MM : 0);
}

/* simd_mem.c: memory operands with masks. 0 or a soft_result. */
uint64_t simd_mask(struct soft_cpu *c, const struct insn *i, const struct simd_op *op);
int simd_load_masked(struct soft_cpu *c, const struct insn *i, const struct simd_op *op,
                     uint8_t *bounce, void **mem);
int simd_probe_store(struct soft_cpu *c, const struct insn *i, const struct simd_op *op);
int simd_store_masked(struct soft_cpu *c, const struct insn *i, const struct simd_op *op,
                      const uint8_t *bounce);
bool gather_lower(struct lower *l);
bool scatter_lower(struct lower *l);
bool maskmov_lower(struct lower *l);

/* simd_move.c: moves without a stub. True if insn->fn was set. */
bool simd_move_lower(struct lower *l, const struct simd_op *op);
/* simd_misc.c */
bool simd_misc_lower(struct lower *l);

/* simd_lower.c */
bool simd_lower(struct lower *l);
/* Is the instruction's ISA set in the model? */
bool simd_feature(const struct lower *l);
/* VEX and EVEX need protected mode. */
bool simd_encoding_legal(const struct lower *l);

/* x87.c */
/* An instruction that a translator may execute in place with the guest's x87
 * state in the host's unit: the footprint is from the tables of x87.c.  Not
 * there: 80-bit memory forms, the environment, FNINIT, FNCLEX. */
struct x87_form {
    uint8_t opcode, modrm;      /* memory: modrm has only the digit */
    uint8_t size;               /* bytes of memory: 2, 4, 8; 0: registers only */
    bool store;
    bool control;               /* does not touch the pointers */
    uint16_t fop;
};
bool x87_form_of(const struct insn *i, struct x87_form *f);
/* #NM, pending #MF. */
int x87_check(struct soft_cpu *c);
int x87_pending(struct soft_cpu *c);
/* The image was written by someone: let the host recompute ES and B. */
void x87_normalise(struct soft_cpu *c);
void x87_set_selectors(struct soft_cpu *c, uint16_t fcs, uint16_t fds);
void x87_init(struct soft_cpu *c);

/* xsave.c */
bool xsave_lower(struct lower *l);
bool fxsave_lower(struct lower *l);

#endif
