/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A block on its way to host code.  The files in the order of the work:
 * translate.c (decoding, the whole block), allow.c (what may be emitted),
 * flags.c (effects and liveness), share.c (which accesses share a probe), and
 * emission: access.c (guest memory), integer.c, string.c, branch.c, simd.c,
 * vectors.c.
 */
#ifndef ENGINE_BT_ITEM_H
#define ENGINE_BT_ITEM_H

#include "engine/bt/bt.h"
#include "engine/soft/simd.h"

enum kind { K_FUNCTION, K_NOP, K_GENERIC, K_VEX, K_SIMD, K_VZERO, K_MXCSR, K_X87, K_SYSTEM, K_COPY,
            K_MOV_IMM, K_OPCODE_REG, K_INC_DEC, K_LEA, K_BIT, K_STRING,
            K_PUSH_REG, K_PUSH_IMM, K_PUSH_MEM, K_POP, K_LEAVE,
            K_JCC, K_JMP, K_JMP_IND, K_CALL, K_CALL_IND, K_RET, K_SYSCALL, K_SYSRET };

/* An access of an instruction, as it is emitted. */
struct bt_access {
    struct memop mem;
    struct site *site;
    const uint8_t *hot;         /* behind the probe */
    int held;                   /* shared probe whose addend R11 holds there, or -1 */
    bool saved;                 /* flags are in W_FLAGS when its cold path is taken */
};

/* A guest instruction. */
struct item {
    struct insn insn;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    const uint8_t *bytes;
    uint16_t offset;
    uint8_t kind;
    uint32_t reads, kills, writes;      /* arithmetic flags; writes: kills and what may change */
    uint32_t live;                      /* before it, and behind it */
    uint32_t live_out;
    int shared;                 /* index of the probe that its access shares, or -1 */
    /* emission */
    struct bt_access access[2];
    unsigned naccess;
    uint8_t *fail;              /* jump of a shared probe that failed here */
    uint8_t *fail2;
    bool fail_saved;
    const uint8_t *cont;        /* where cold paths come back; NULL: they never do */
    int held;                   /* in R11 there */
    uint8_t *side;              /* conditional branch in the middle: jump to its exit */
};

/* Accesses of a block that are checked at once: all lie within [low, high) of
 * the value that the base register has at the first. */
struct shared_probe {
    int32_t low, high;
    bool write, made;
};

/* Where an access is: [base + index + disp]. */
struct place {
    unsigned base, index;
    int32_t disp;
};

/* Code behind the block that was looked at: its lines are tracked too. */
#define BT_LOOKS 4
struct look {
    uint16_t offset, len;
    uint8_t bytes[32];
};

/*
 * Vector registers, or the x87 state, in a block: needed at all items from
 * `from` to `to`.  They are checked for in front of one item; where a function
 * stands before that, it brings them back instead, and there is no check.
 */
struct live_range {
    unsigned live;              /* enum vectors, or LIVE_X87; 0: not needed */
    unsigned from, to, check;
    uint8_t *away;              /* the check's jump, or NULL: none */
    const uint8_t *here;        /* where it comes back */
};

struct translation {
    struct soft_cpu *c;
    struct bt *bt;
    struct emit e;
    struct tblock b;            /* copied with the following once all is emitted */
    struct bt_function functions[BT_BLOCK_MAX];
    struct site sites[BT_SITES];
    struct link links[BT_LINKS];
    uint8_t *start;             /* of the code */
    const struct ftlb_entry *page;
    unsigned offset, n, bytes, mode;
    uint64_t began;             /* if its time is measured */
    unsigned word;              /* bytes of what PUSH pushes: 8, or 4 in 32-bit code */
    struct item items[BT_BLOCK_MAX], ahead;
    uint8_t copy[BT_BLOCK_MAX * 15];
    /* Look-ups that may miss: at, and the site's id or 0. */
    struct { uint8_t *at; uint32_t site; } misses[BT_LINKS];
    unsigned nmisses;
    struct look looks[BT_LOOKS];
    unsigned nlooks;
    struct shared_probe shared[BT_SHARED];
    unsigned nshared;
    struct live_range ranges[2];    /* vectors, x87 */
    /* emission */
    bool saved;                 /* the guest's flags are in W_FLAGS, the host's are not its */
    int held;                   /* shared probe whose addend is in R11, or -1 */
    int32_t stack;              /* what RSP is still to be moved by (branch.c) */
};

static inline bool bt_in_context(unsigned r)
{
    return r >= H_R9 && r <= H_R11;
}

/* A place in the block's code. */
static inline uint16_t bt_place(const struct translation *t, const uint8_t *p)
{
    return (uint16_t)(p - t->start);
}

static inline uint32_t bt_site_id(const struct translation *t, const struct site *s)
{
    return BT_ID(bt_meta_next(t->bt), (unsigned)(s - t->sites));
}

/* allow.c */
/* How the instruction is translated; mode: of the block (BT_MODE_*). */
enum kind bt_classify(const struct soft_cpu *c, const struct item *i, unsigned mode);
/* The explicit memory operand, or NULL. */
const ZydisDecodedOperand *bt_memory_operand(const struct item *i);
/* Is the ModRM.reg field a register (not part of the opcode)? */
bool bt_reg_field(const ZydisDecodedInstruction *z);
/* AH to BH? */
bool bt_high_byte(const ZydisDecodedOperand *op);
/* Number of a general register operand. */
unsigned bt_reg(const ZydisDecodedOperand *op);

/* forms.c */
/* Decode the instruction at i->bytes, of which n may be read (soft_decode_full); fill insn, z, op, kind and its
 * effects on flags.  forms: of bt_forms_create(), or NULL. */
enum decode_result bt_decode(const struct soft_cpu *c, struct bt_form *forms, struct item *i, unsigned mode,
                             unsigned n);

/* flags.c */
/* Fill reads, kills and writes by kind. */
void bt_flag_effects(struct item *i);
/* Fill live and live_out of all items; looks at code behind the block. */
void bt_liveness(struct translation *t);

/* share.c: fill t->shared and the items' shared. */
void bt_share(struct translation *t);

/* access.c */
/* The address of the item's n-th access is in R10: probe it. */
void bt_emit_access(struct translation *t, struct item *i, unsigned size, unsigned align, bool write);
/* The same with the address from a memory operand, or from a shared probe.
 * False: not expressible. */
bool bt_emit_operand(struct translation *t, struct item *i, const ZydisDecodedOperand *m, unsigned size,
                     unsigned align, bool write, struct place *at);
/* An access that its instruction probes itself. */
struct bt_access *bt_new_access(struct translation *t, struct item *i);
/* [register + disp], such as the top of the stack. */
void bt_emit_stack(struct translation *t, struct item *i, unsigned reg, int32_t disp, bool write,
                   struct place *at);
/* R10 = the place, R11 is free. */
void bt_emit_free_r11(struct translation *t, struct place *at);
/* The host instruction that is emitted next makes the last access. */
void bt_access_here(struct translation *t, struct item *i);
/* An instruction that may fault on the host, without an access. */
void bt_emit_trap(struct translation *t, struct item *i);
/* Save the host's flags, which are the guest's; R11 is free. */
void bt_emit_flags_away(struct translation *t);
/* The same if any is live before the item. */
void bt_emit_save_flags(struct translation *t, const struct item *i);
/* Give the host the guest's flags if the item needs them; or if any are live. */
void bt_emit_flags_for(struct translation *t, const struct item *i);
void bt_emit_flags(struct translation *t, uint32_t live);
struct site *bt_new_site(struct translation *t, const struct item *i);
/* Call the item's function.  It comes back behind the call. */
void bt_emit_function(struct translation *t, struct item *i);
void bt_emit_cold(struct translation *t, struct item *i);

/* vectors.c */
/* Fill t->ranges; kinds are settled. */
void bt_plan_live(struct translation *t);
/* In front of item n: the checks, if they belong there. */
void bt_emit_live(struct translation *t, unsigned n);
/* Their cold paths. */
void bt_emit_live_away(struct translation *t);
/* What a function called for item n has to bring back: index of bt->slow. */
unsigned bt_live_behind(const struct translation *t, unsigned n);

/* simd.c */
/* Can this SIMD instruction run in place? */
bool bt_simd_fits(const struct insn *i, unsigned mode);
/* LDMXCSR, STMXCSR and their VEX forms: how they are translated. */
enum kind bt_mxcsr_kind(const struct soft_cpu *c, const struct item *i, unsigned mode);
/* x87 instructions, FWAIT and EMMS that run in place. */
bool bt_x87_form(const struct item *i, unsigned mode, struct x87_form *f);
enum vectors bt_simd_needs(const struct item *i);
bool bt_x87_needed(const struct item *i);
/* Everything from K_SIMD to K_X87. */
void bt_emit_simd(struct translation *t, struct item *i);

/* syscall.c */
/* SYSCALL or SYSRET: how it is translated. */
enum kind bt_syscall_kind(const struct item *i, unsigned mode);
void bt_emit_syscall(struct translation *t, struct item *i, unsigned n);

/* integer.c */
void bt_emit_integer(struct translation *t, struct item *i);

/* string.c */
bool bt_string_fits(const struct item *i, bool code32);
void bt_emit_string(struct translation *t, struct item *i);

/* branch.c; n: instructions of the block up to and with this one. */
void bt_emit_branch(struct translation *t, struct item *i, unsigned n);
void bt_emit_push_pop(struct translation *t, struct item *i);
/* Leave to offset target of the page (other pages: beyond it). */
void bt_emit_exit(struct translation *t, struct item *i, unsigned n, int64_t target, bool plain);
/* The same by the linear address. */
void bt_emit_far_exit(struct translation *t, int64_t target);
/* To the canonical address in R10, with flags in W_FLAGS. */
void bt_emit_jump(struct translation *t, unsigned n);
/* Exits in the middle, and what links need before they are bound (last of all). */
void bt_emit_side(struct translation *t, struct item *i, unsigned n);
void bt_emit_links(struct translation *t);

#endif
