/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator's own structures.
 *
 * While translated code runs, 13 guest registers are in the host registers of
 * the same name (RSP among them: translated code has no stack); R9 holds the
 * BEXTR control word and, above bit 16, the instructions that were counted
 * since C code last ran; R10 and R11 are scratch, and the guest's R9 to R11
 * live in the context.  Vector registers and the x87 state are in the host's
 * from the first instruction that needs them until C is entered (vectors.c).
 * FS is the base of the present view's read table, GS of its write table.
 * The context is the first pages of struct soft_cpu, mapped once more below
 * each write table, and reached as gs:[offset - CTX_BIAS].
 *
 * Everything here belongs to one vCPU and its thread; there is no sharing of
 * translations between vCPUs, so no lock and no waiting for others.
 */
#ifndef ENGINE_BT_BT_H
#define ENGINE_BT_BT_H

#include <stdio.h>

#include "engine/bt/emit.h"
#include "engine/soft/decode.h"
#include "engine/soft/soft.h"

/* Most shared probes of a block. */
#define BT_SHARED 6

/* c->words */
enum ctx_word {
    W_PAGE,         /* linear address of the page that holds the running code */
    W_CONT,         /* where translated code goes on after a function */
    W_SITE,         /* offset in bt->meta of the struct site of an indirect branch; or MISS_* */
    W_RAX, W_RCX,   /* saved in short sequences */
    W_FLAGS,
    W_TARGET,       /* of an indirect branch, or a value to be pushed */
    W_LOW_AWAY,     /* 0: vector registers 0 to 15 and MXCSR are in the host's (vectors.c) */
    W_HIGH_AWAY,    /* 0: registers 16 to 31 and the masks too */
    W_WIDTH,        /* bytes of each low register that were loaded */
    W_VECTOR_RCX,   /* the guest's, in the loader */
    W_HOST_MXCSR,
    W_X87_MEM, W_X87_FDP,   /* address of the last x87 instruction's operand, if it has one */
    W_X87_FOP,      /* its opcode, if only an error keeps that; bit 16: there is one */
    W_X87_AWAY,     /* 0: the x87 state is in the host's unit */
    W_HOST_RSP, W_HOST_FS,
    W_SELF,         /* the struct soft_cpu */
    W_JUMPS,        /* struct jump table of the present privilege */
    W_JUMP_MASK,    /* PEXT mask that takes the index out of an address */
    W_TLB,          /* c->tlb of the view that translated code runs with */
    W_RTABLE, W_WTABLE,
    W_AC_VIEWS,     /* TLB, read and write table of the kernel's views: AC clear, AC set */
    W_AC_VIEWS_END = W_AC_VIEWS + 5,
    W_SHARED,       /* of shared probes (struct item) */
    W_COUNT_WORDS = W_SHARED + BT_SHARED
};
_Static_assert(W_COUNT_WORDS <= ARRAY_SIZE(((struct soft_cpu *)0)->words), "words");

/* Write table's base above the context's page: its low bits differ from the
 * read table's, since equal ones cost time (4K aliasing). */
#define CTX_PAGES 3
#define CTX_BIAS (CTX_PAGES * 0x1000 + 0x340)
#define CTX(field) ((int32_t)offsetof(struct soft_cpu, field) - CTX_BIAS)
#define CTX_WORD(w) ((int32_t)(offsetof(struct soft_cpu, words) + (w) * 8) - CTX_BIAS)
#define CTX_GPR(r) ((int32_t)(offsetof(struct soft_cpu, gpr) + (r) * 8) - CTX_BIAS)
_Static_assert(offsetof(struct soft_cpu, fpu.fds) + 8 <= CTX_PAGES * MEM_PAGE_SIZE, "the context's size");

/* BEXTR control: 36 bits from bit 12, so no address can index beyond a table.
 * BEXTR ignores what is above bit 16: there instructions are counted. */
#define BEXTR_PAGE (12 | 36 << 8)
#define COUNT_SHIFT 16
/* Of hashed tables: 16 bits.  Their addends lie behind their tags. */
#define BEXTR_HASH (12 | 16 << 8)
#define BT_HASH_BYTES 0x80000
#define BT_CONTROL(e) ((e)->hashed ? BEXTR_HASH : BEXTR_PAGE)

/* Vector registers that an instruction needs in the host's (vectors.c). */
enum vectors { VECTORS_NONE, VECTORS_LOW, VECTORS_HIGH };
/* Together with the x87 state: enum vectors, plus this if it is needed too. */
#define LIVE_X87 3u
#define LIVE_COUNT 6u

/* Why translated code was left: value of the code in R11 at `leave`. */
enum leave { LEAVE_ATTENTION, LEAVE_FUNCTION };

/* Instructions of a block. */
#define BT_BLOCK_MAX 48

/* W_SITE of a direct branch, which needs no site: where it stands in its page, and
 * behind MISS_INDEX the instructions of the block before it. */
#define MISS_DIRECT (1u << 31)
#define MISS_CALL (1u << 30)
#define MISS_INDEX 12
_Static_assert(MEM_PAGE_SIZE == 1u << MISS_INDEX && BT_BLOCK_MAX <= 64, "both fit below MISS_CALL");

/* An instruction that has, or may need, a call of its function. */
enum { SITE_OTHER, SITE_RET, SITE_CALL };
struct site {
    struct insn insn;
    uint16_t offset;        /* in the page */
    uint8_t index;          /* instructions of the block before it */
    uint8_t opcode;         /* what it did to RSP, if it is an indirect branch */
    uint16_t mnemonic;      /* ZydisMnemonic, for the counters */
    uint32_t host;          /* offset in the cache of the host instruction that may fault; or 0 */
    uint32_t cold;          /* offset of the code that calls the function instead */
    uint32_t cont;          /* offset of what comes behind the instruction */
};

struct link {
    uint32_t patch;         /* offset in the cache of the jump's displacement */
    uint16_t target;        /* offset in the page */
    bool back;              /* may close a loop: to the entry that polls */
    bool plain;             /* to the block without shared probes */
};

#define BT_NO_PAGE (~0ULL)
struct tblock {
    struct tblock *next;    /* hash chain */
    uint64_t page, page2;   /* page2: of an instruction that crosses; else BT_NO_PAGE */
    uint32_t version, version2;
    uint16_t offset;
    uint16_t mode;
    uint8_t n;
    bool stale;             /* its code was written; the entries leave */
    uint16_t needs;         /* arithmetic flags that may be read before they are set */
    uint32_t code;          /* offset of the entry in the cache: at least 5 bytes of code */
    uint32_t body;          /* of the entry behind the poll, likewise */
    uint32_t start;         /* entry for those who know the linear address; as code unless it crosses */
    uint32_t out;           /* offset of the exit to the dispatcher at the block's start */
    uint32_t nsites;
    struct site *sites;
};

/* Linear address to code.  An empty slot has the address of another slot. */
#define JUMP_TABLE_BITS 12
struct bt_jumps {
    uint64_t target[1 << JUMP_TABLE_BITS];
    uint64_t code[1 << JUMP_TABLE_BITS];
};
/* The slot of a target: bits of target + (target >> 12). */
static inline unsigned bt_jump_slot(uint64_t target)
{
    return (unsigned)(target + (target >> 12)) & ((1 << JUMP_TABLE_BITS) - 1);
}

#define BT_HASH_BITS 16

struct bt_journal {
    uint64_t *pages;        /* numbers of those that were filled; some more than once */
    unsigned n;
};

/* Calls of functions, by mnemonic. */
#define BT_MNEMONICS (ZYDIS_MNEMONIC_MAX_VALUE + 1)
struct bt_calls {
    uint64_t always;        /* there is no inline form */
    uint64_t missed;        /* the cold path of one */
    uint64_t left;          /* of both: went on to the dispatcher */
};

#define BT_REGION_WORDS 128
struct bt_view {
    uint8_t *map;           /* of the whole reservation */
    uint64_t *read, *write; /* table bases */
    struct bt_journal all, local;   /* local: a supervisor's view's entries that are not global */
    unsigned pages;         /* table pages in use; a few may be counted once for two */
    bool hashed;
    /* 2 MiB regions that have table pages, by hash */
    uint64_t read_regions[BT_REGION_WORDS], write_regions[BT_REGION_WORDS];
};

/* Supervisor entries of an address space that is not the present one. */
#define BT_PARKED_MAX 256
struct bt_parked {
    unsigned n;
    struct bt_parked_entry { uint64_t page, view, read, write; } e[BT_PARKED_MAX];
};

/* What linear addresses mean as targets of jumps: for supervisor code, and for
 * the user code of each address space that is kept. */
struct bt_space {
    uint64_t gen;           /* the c->fetch_gen that it was made with; 0: to be emptied */
    struct bt_jumps jumps;
};

struct bt {
    struct bt_view views[VIEW_COUNT];   /* but for VIEW_SLOW and slots that are not used */
    struct bt_parked *parked;   /* for each slot */
    bool hashed;            /* all views are */
    unsigned pages, budget; /* table pages of all views in use, and most to be used */
    uint8_t *rw, *rx;       /* the code cache, twice */
    size_t code_size, code_start, code_used;
    uint8_t *meta;          /* blocks, sites, links */
    size_t meta_size, meta_used;
    struct tblock *hash[1 << BT_HASH_BITS];
    struct tblock **order;  /* all blocks, by code address */
    unsigned nblocks;
    struct bt_space spaces[1 + ASID_MAX];
    unsigned jumps_mode;    /* BT_MODE_* of the blocks in them, without the privilege */
    uint64_t changes;       /* mem->code_changes seen */
    int (*enter)(struct soft_cpu *c, const uint8_t *code);
    uint8_t *leave, *link, *miss, *record;      /* writable addresses, for emission */
    uint8_t *slow[LIVE_COUNT];      /* by what is live behind it */
    uint8_t *load_low, *load_high, *load_x87, *spill, *spill_x87;
    uint64_t flushes;
    bool unchained;         /* blocks do not jump to each other */
    bool plain;             /* the next block is to have no shared probes: one failed */
    unsigned block_max;     /* instructions of a block */
    struct translation *scratch;    /* of translate.c */
    FILE *perf_map;         /* NULL: not asked for */
    void *signal_stack;
    pthread_t thread;       /* that has it */
    uint64_t random;        /* of tests */
    /* counters */
    uint64_t translated, entries, functions, invalidated, fills, remaps;
    uint64_t decoded, iterations;   /* instructions in decoded blocks, iterations in functions */
    struct bt_calls calls[BT_MNEMONICS];
};

static inline struct bt *bt_of(struct soft_cpu *c)
{
    return c->translator;
}

/* cache.c */
/* size: of the code; 0: the usual one. */
int bt_cache_create(struct bt *bt, uint64_t size);
void bt_cache_destroy(struct bt *bt);
/* Forget all translations. */
void bt_cache_flush(struct bt *bt);
/* Forget what linear addresses mean. */
void bt_jumps_clear(struct bt *bt);
void bt_insert(struct bt *bt, struct tblock *b);
void *bt_meta_alloc(struct bt *bt, size_t size);        /* NULL: full */
void bt_meta_shrink(struct bt *bt, void *end);  /* the last allocation ends here */
struct tblock *bt_lookup(struct soft_cpu *c, uint64_t page, unsigned offset, unsigned mode);
/* The same for an instruction that crosses into page2; BT_NO_PAGE: into any. */
struct tblock *bt_lookup_crossing(struct soft_cpu *c, uint64_t page, uint64_t page2, unsigned offset,
                                  unsigned mode);
/* Pages whose code was written: make their translations unreachable. */
void bt_drop_stale(struct soft_cpu *c);
/* The site whose inline access is at this host address, or NULL. */
const struct site *bt_find_site(struct bt *bt, uintptr_t host);

/* trampoline.c: code that translations share; called once.  C functions that
 * it calls return where to go on, or NULL to leave with LEAVE_FUNCTION. */
typedef const uint8_t *(*bt_call)(struct soft_cpu *c, uint64_t arg);
struct bt_calls_of_code {
    bt_call function;       /* of a site, whose offset is the argument */
    bt_call record;         /* tells the recorder of a block */
    bt_call miss;           /* RIP is not in the jump table; W_SITE: of the branch, or 0 */
    bt_call link;           /* a link that is not bound, whose offset is the argument */
};
void bt_emit_trampolines(struct bt *bt, const struct cpu_model *model, const struct bt_calls_of_code *calls);
uint8_t *bt_emit_indirect(struct emit *e, bool flags_free, bool restore);
/* Flags from W_FLAGS, where R11 is in use. */
void bt_emit_restore_flags(struct emit *e);

/* translate.c: a block at this place, or NULL: *crosses if its first instruction
 * does not lie in the page, else there is no room (then after a flush). */
struct tblock *bt_translate(struct soft_cpu *c, const struct ftlb_entry *page, unsigned offset,
                            unsigned mode, bool *crosses);
struct tblock *bt_translate_crossing(struct soft_cpu *c, const struct ftlb_entry *page,
                                     const struct ftlb_entry *page2, unsigned offset, unsigned mode);

/* perfmap.c: tell perf what the code that was just made is; linear: of the guest. */
void bt_perf_open(struct bt *bt);
void bt_perf_block(struct bt *bt, const struct tblock *b, uint64_t linear);

struct translation *bt_translation_create(void);    /* free() it */

/* Parts of a block's mode beside c->mode_key: which SIMD registers may be used
 * without a fault, CR4.FSGSBASE, and CPL 3 (else it is 0). */
#define BT_MODE_SSE 0x08u
#define BT_MODE_AVX 0x10u
#define BT_MODE_AVX512 0x20u
#define BT_MODE_FSGSBASE 0x01u  /* of mode_key, and never set in 64-bit mode */
#define BT_MODE_PLAIN 0x40u     /* no shared probes */
#define BT_MODE_USER 0x80u
#define BT_MODE_X87 0x100u      /* x87 and MMX, with errors by #MF */

/* vectors.c: shared code; before the other trampolines. */
void bt_emit_vector_stubs(struct bt *bt, struct emit *e, const struct cpu_model *model);
/* On the host's stack: what is live goes to c->fpu.  Uses RCX, RDX, RSI and RDI. */
void bt_emit_spill(const struct bt *bt, struct emit *e);
/* Make live what `live` says (see LIVE_X87).  Uses R11; flags stay. */
void bt_emit_load_live(const struct bt *bt, struct emit *e, unsigned live);

/* memop.c: how translated code reaches guest memory.  A probe takes the
 * address in R10 and leaves the host address as R10 + R11; it changes flags. */
struct memop {
    unsigned size;              /* 1 to 64 */
    unsigned align;             /* more than size asks for: anything else is cold; or 0 */
    bool write;
    uint8_t *unaligned;         /* jump to be bound to where bt_emit_unaligned is; or NULL */
    uint8_t *cold[6];           /* jumps to be bound to the cold path */
    unsigned ncold;
};
/* R10 = effective address; false: not expressible, use the function. */
bool bt_emit_address(struct emit *e, const ZydisDecodedOperand *op, unsigned address_width,
                     unsigned next_offset);
/* For one access. */
void bt_emit_probe(struct emit *e, struct memop *m);
/* Cold: an access that is not aligned but does not cross a page.  Goes on
 * behind the probe at hot; the memop's remaining jumps are to be bound. */
void bt_emit_unaligned(struct emit *e, struct memop *m, const uint8_t *hot);
/* For a run of RCX << shift bytes from R10, all in its page.  m->cold may have
 * jumps already. */
void bt_emit_run_probe(struct emit *e, struct memop *m, unsigned shift);
/* For several accesses inside m->size bytes (up to a page) from R10: R11 is to
 * be added to the address of each. */
void bt_emit_shared_probe(struct emit *e, struct memop *m);

/* stats.c: the instructions whose functions were called most. */
void bt_calls_info(const struct bt *bt, FILE *f);

/* tables.c */
extern const struct soft_tables bt_tables;
int bt_tables_create(struct soft_cpu *c);
void bt_tables_destroy(struct bt *bt);
void bt_views_destroy(struct bt *bt);
void bt_tables_info(const struct soft_cpu *c, FILE *f);

#endif
