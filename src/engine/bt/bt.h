/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator's own structures.
 *
 * While translated code runs, 13 guest registers are in the host registers of
 * the same name (RSP among them: translated code has no stack); R9 holds the
 * BEXTR control word, R10 and R11 are scratch, and the guest's R9 to R11 live
 * in the context.  FS is the base of the present view's read table, GS of its
 * write table.  The context is the first page of struct soft_cpu, mapped once
 * more below each write table, and reached as gs:[offset - CTX_BIAS].
 *
 * Everything here belongs to one vCPU and its thread; there is no sharing of
 * translations between vCPUs, so no lock and no waiting for others.
 */
#ifndef ENGINE_BT_BT_H
#define ENGINE_BT_BT_H

#include "engine/bt/emit.h"
#include "engine/soft/decode.h"
#include "engine/soft/soft.h"

/* c->words */
enum ctx_word {
    W_PAGE,         /* linear address of the page that holds the running code */
    W_CONT,         /* where translated code goes on after a function */
    W_SITE,         /* offset of the struct site in bt->meta */
    W_RAX, W_RCX,   /* saved in short sequences */
    W_FLAGS,
    W_TMP,
    W_SIMD_RAX, W_SIMD_RDI,     /* the guest's, while a SIMD instruction uses them */
    W_HOST_RSP, W_HOST_FS,
    W_SELF,         /* the struct soft_cpu */
    W_JUMPS,        /* struct jump table of the present privilege */
    W_JUMP_MASK,    /* PEXT mask that takes the index out of an address */
    W_RTABLE, W_WTABLE,
    W_COUNT_WORDS
};

/* Write table's base above the context's page: its low bits differ from the
 * read table's, since equal ones cost time (4K aliasing). */
#define CTX_PAGES 3
#define CTX_BIAS (CTX_PAGES * 0x1000 + 0x340)
#define CTX(field) ((int32_t)offsetof(struct soft_cpu, field) - CTX_BIAS)
#define CTX_WORD(w) ((int32_t)(offsetof(struct soft_cpu, words) + (w) * 8) - CTX_BIAS)
#define CTX_GPR(r) ((int32_t)(offsetof(struct soft_cpu, gpr) + (r) * 8) - CTX_BIAS)
_Static_assert(offsetof(struct soft_cpu, fpu.fx) < CTX_PAGES * MEM_PAGE_SIZE, "the context's size");

/* BEXTR control: 36 bits from bit 12, so no address can index beyond a table. */
#define BEXTR_PAGE (12 | 36 << 8)

/* Why translated code was left: value of the code in R11 at `leave`. */
enum leave { LEAVE_DISPATCH, LEAVE_LINK, LEAVE_ATTENTION, LEAVE_FUNCTION };

/* An instruction that has, or may need, a call of its function. */
enum { SITE_OTHER, SITE_RET, SITE_CALL };
struct site {
    struct insn insn;
    uint16_t offset;        /* in the page */
    uint16_t index;         /* instructions of the block before it */
    uint16_t opcode;        /* what it did to RSP, if it is an indirect branch */
    uint32_t host;          /* inline memory access: offset of its host instruction in the cache; or 0 */
    uint32_t cold;          /* offset of the code that calls the function instead */
};

struct link {
    uint8_t *patch;         /* displacement of the jump, writable mapping */
    uint16_t target;        /* offset in the page */
};

struct tblock {
    struct tblock *next;    /* hash chain */
    uint64_t page;
    uint32_t version;
    uint16_t offset;
    uint8_t mode, n;
    bool stale;             /* its code was written; the entry leaves */
    uint32_t code;          /* offset of the entry in the cache: at least 5 bytes of code */
    uint32_t out;           /* offset of the exit to the dispatcher at the block's start */
    uint32_t nsites;
    struct site *sites;     /* in order of host address */
};

#define JUMP_TABLE_BITS 12
struct bt_jump {
    uint64_t minus_target;  /* so that a sum tests equality without flags */
    uint64_t code, page, unused;
};

/* Instructions of a block. */
#define BT_BLOCK_MAX 48
#define BT_HASH_BITS 14

#define BT_REGIONS 2048
struct bt_view {
    uint8_t *map;           /* of the whole reservation */
    uint64_t *read, *write; /* table bases */
    uint64_t *journal;      /* page indexes filled | JOURNAL_GLOBAL */
    unsigned n;
    unsigned pages;         /* an upper bound of the table pages in use */
    uint64_t regions[BT_REGIONS];   /* 2 MiB regions noted in pages, plus 1 */
};

struct bt {
    struct bt_view views[VIEW_SLOW];
    uint8_t *rw, *rx;       /* the code cache, twice */
    size_t code_size, code_start, code_used;
    uint8_t *meta;          /* blocks, sites, links */
    size_t meta_size, meta_used;
    struct tblock *hash[1 << BT_HASH_BITS];
    struct tblock **order;  /* all blocks, by code address */
    unsigned nblocks;
    struct bt_jump jumps[2][1 << JUMP_TABLE_BITS];
    const struct tlb_entry *tlb;    /* view that translated code runs with */
    uint64_t gen;           /* c->fetch_gen that jumps stand for */
    uint64_t changes;       /* mem->code_changes seen */
    int (*enter)(struct soft_cpu *c, const uint8_t *code);
    uint8_t *leave, *slow, *indirect;   /* writable addresses, for emission */
    uint64_t flushes;
    bool unchained;         /* blocks do not jump to each other */
    struct translation *scratch;    /* of translate.c */
    void *signal_stack;
    pthread_t thread;       /* that has it */
    /* counters */
    uint64_t translated, entries, functions, invalidated;
};

static inline struct bt *bt_of(struct soft_cpu *c)
{
    return c->translator;
}

/* cache.c */
int bt_cache_create(struct bt *bt);
void bt_cache_destroy(struct bt *bt);
/* Forget all translations. */
void bt_cache_flush(struct bt *bt);
void bt_insert(struct bt *bt, struct tblock *b);
void *bt_meta_alloc(struct bt *bt, size_t size);        /* NULL: full */
struct tblock *bt_lookup(struct soft_cpu *c, uint64_t page, unsigned offset, unsigned mode);
/* Pages whose code was written: make their translations unreachable. */
void bt_drop_stale(struct soft_cpu *c);
/* The site whose inline access is at this host address, or NULL. */
const struct site *bt_find_site(struct bt *bt, uintptr_t host);

/* trampoline.c: code that translations share; called once. */
void bt_emit_trampolines(struct bt *bt, int (*slow)(struct soft_cpu *c, uint64_t site));

/* translate.c: a block at this place, or NULL if its first instruction does
 * not lie in the page or there is no room (then after a flush). */
struct tblock *bt_translate(struct soft_cpu *c, const struct ftlb_entry *page, unsigned offset,
                            unsigned mode);

struct translation *bt_translation_create(void);    /* free() it */

/* Parts of a block's mode beside c->mode_key: which SIMD registers may be used
 * without a fault, and CPL 3. */
#define BT_MODE_SSE 0x08u
#define BT_MODE_AVX 0x10u
#define BT_MODE_AVX512 0x20u
#define BT_MODE_USER 0x80u

/* simd.c: SIMD instructions on the registers in the context. */
bool bt_simd_fits(const struct insn *i, unsigned mode);
void bt_emit_simd_load(struct emit *e, const struct insn *i);
void bt_emit_simd_op(struct emit *e, const struct insn *i);
void bt_emit_simd_store(struct emit *e, const struct insn *i);
/* Guest registers as before the instruction: for a fault in the middle. */
void bt_emit_simd_undo(struct emit *e, const struct insn *i);

/* memop.c: how translated code reaches guest memory.  All leave the host
 * address as R10 + R11. */
struct memop {
    const ZydisDecodedOperand *op;
    unsigned size;              /* 1 to 64 */
    unsigned align;             /* more than size asks for: anything else is cold; or 0 */
    bool write;
    bool live;                  /* flags must survive */
    uint8_t *cold[3];           /* jumps to be bound to the cold path */
    unsigned ncold;
};
/* R10 = effective address; false: not expressible, use the function. */
bool bt_emit_address(struct emit *e, const ZydisDecodedOperand *op, unsigned next_offset);
void bt_emit_probe(struct emit *e, struct memop *m);
void bt_emit_save_flags(struct emit *e);
void bt_emit_restore_flags(struct emit *e);

/* tables.c */
extern const struct soft_tables bt_tables;
int bt_tables_create(struct soft_cpu *c);
void bt_tables_destroy(struct bt *bt);

#endif
