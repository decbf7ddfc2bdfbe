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
    W_SITE,         /* id of the site of an indirect branch; or MISS_* */
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
    W_TLB,          /* c->tlb of the view that translated code runs with */
    W_RTABLE, W_WTABLE,
    W_AC_VIEWS,     /* TLB, read and write table of the kernel's views, AC clear and set; */
    W_AC_VIEWS_END = W_AC_VIEWS + 5,
    W_USER_VIEW,    /* the same of the user's */
    W_KERNEL_GEN = W_USER_VIEW + 3, W_USER_GEN,     /* fetch_gen, */
    W_KERNEL_JUMPS, W_USER_JUMPS,                   /* and jump table, for 64-bit code */
    W_SIDES_DROPS,  /* SYSCALL and SYSRET: these words are right if it is c->drops */
    W_SHARED,       /* of shared probes (struct item) */
    /* 32-bit code: for FS and GS the base, and what sends an access to its
     * function if the segment asks for checks, else 0. */
    W_BASE_FS = W_SHARED + BT_SHARED,
    W_BASE_GS = W_BASE_FS + 2,
    W_COUNT_WORDS = W_BASE_GS + 2
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

/* Instructions of a block; two sites for each: an access of memory and one of
 * the stack.  Branches in the middle, the end, and shared probes that fail. */
#define BT_BLOCK_MAX 48
#define BT_SITES (2 * BT_BLOCK_MAX)
#define BT_SIDES 2
#define BT_LINKS (BT_SIDES + 2 + BT_SHARED)

/* W_SITE of a direct branch, which needs no site: where it stands in its page. */
#define MISS_DIRECT (1u << 31)
#define MISS_CALL (1u << 30)

/*
 * What belongs to a block's code lies in bt->meta: struct tblock, then its
 * functions, sites, links, and struct second if it crosses.  Sites and links
 * are named by 31 bits in translated code: the block's offset in bt->meta and
 * a number (BT_ID).  Places in code are relative to the block's start.
 */
#define BT_META_ALIGN 16
#define BT_ID_BITS 7
#define BT_ID(meta, number) ((uint32_t)((meta) / BT_META_ALIGN << BT_ID_BITS | (number)))
#define BT_META_MAX ((size_t)BT_META_ALIGN << (31 - BT_ID_BITS))
_Static_assert(BT_SITES < 1 << BT_ID_BITS, "numbers of sites");

/* An instruction that has, or may need, a call of its function. */
enum { SITE_OTHER, SITE_RET, SITE_CALL, SITE_BRANCH = 3,    /* what it did to RSP, if it is an indirect branch */
       SITE_FUNCTION = 4,       /* always a call: there is a struct bt_function */
       SITE_SAVED = 8,          /* its cold path is taken with the guest's flags in W_FLAGS */
       SITE_LIVE_SHIFT = 4 };   /* LIVE_* behind it */
struct site {
    uint16_t host;          /* the host instruction that may fault, or 0; SITE_FUNCTION: its number */
    uint16_t cont;          /* what comes behind the instruction; 0: look it up; SITE_RET: the immediate */
    uint16_t offset;        /* in the page */
    uint8_t index;          /* instructions of the block before it */
    uint8_t kind;
};

/* A lowered instruction.  For sites that are not SITE_FUNCTION it is made from
 * the guest's bytes when it is needed (sites.c). */
struct bt_function {
    struct insn insn;
    uint16_t mnemonic;      /* ZydisMnemonic, for the counters */
};

enum { LINK_TARGET = 0xfff,     /* offset in the page */
       LINK_BACK = 0x1000,      /* may close a loop: to the entry that polls */
       LINK_PLAIN = 0x2000 };   /* to the block without shared probes */
struct link {
    uint32_t to;            /* the block that it was bound to, in bt->meta; or 0 */
    uint32_t next;          /* of the links to that block: BT_ID; or 0 */
    uint16_t patch;         /* the jump's displacement */
    uint16_t target;        /* LINK_* */
};
/* Links that are not bound go to their stubs, which lie one behind the other. */
#define BT_STUB_BYTES 11

#define BT_NO_PAGE (~0ULL)
struct second {             /* page of an instruction that crosses */
    uint32_t page, version;
};

struct tblock {
    uint32_t next;          /* hash chain: offset in bt->meta, or 0 */
    uint32_t page, version;
    uint32_t start;         /* offset in the cache of the entry for those who know the linear address */
    uint32_t incoming;      /* links to it: BT_ID of the first, or 0 */
    uint16_t offset;
    uint16_t mode;
    uint16_t code;          /* the entry; at least 5 bytes of code; start unless it crosses */
    uint16_t body;          /* the entry behind the poll, likewise */
    uint16_t out;           /* the exit to the dispatcher at the block's start */
    uint16_t stubs;         /* of its links */
    uint16_t needs;         /* arithmetic flags that may be read before they are set */
    uint8_t n;
    uint8_t nfunctions, nsites, nlinks;
    bool crosses;
    bool stale;             /* its code was written; the entries leave */
};
_Static_assert(sizeof(struct tblock) == 40 && sizeof(struct site) == 8 && sizeof(struct link) == 12, "compact");

/* A block that needs flags has an entry in front of its start that brings them
 * back from W_FLAGS.  Starts are aligned. */
#define BT_START_ALIGN 16
#define BT_RESTORE_BYTES 18
static inline uint32_t bt_saved_entry(const struct tblock *b)
{
    return b->start - (b->needs ? BT_RESTORE_BYTES : 0);
}

/* The start that belongs to such an entry. */
static inline uint64_t bt_start_of(uint64_t entry)
{
    return entry % BT_START_ALIGN ? entry + BT_RESTORE_BYTES : entry;
}

static inline struct bt_function *bt_functions(const struct tblock *b)
{
    return (struct bt_function *)(b + 1);
}

static inline struct site *bt_sites(const struct tblock *b)
{
    return (struct site *)(bt_functions(b) + b->nfunctions);
}

static inline struct link *bt_links(const struct tblock *b)
{
    return (struct link *)(bt_sites(b) + b->nsites);
}

static inline struct second *bt_second(const struct tblock *b)
{
    return (struct second *)(bt_links(b) + b->nlinks);
}

/*
 * Linear address to code, in sets of two.  Translated code looks in the first;
 * when it misses it looks in the second, and exchanges the two.
 */
#define BT_JUMP_BITS 13
#define BT_JUMP_SETS (1u << BT_JUMP_BITS)
struct bt_jump {
    uint64_t target;        /* in a place that is empty, one that belongs to another set */
    uint64_t entry;         /* for flags in W_FLAGS (bt_saved_entry) */
};
struct bt_jumps {
    struct bt_jump set[BT_JUMP_SETS][2];
};
static inline unsigned bt_jump_set(uint64_t target)
{
    return (unsigned)(target + (target >> 12)) & (BT_JUMP_SETS - 1);
}

static inline void bt_jump_empty(struct bt_jumps *j, unsigned set, unsigned way)
{
    j->set[set][way].target = !set;
}

/* Most host bytes of one guest instruction, hot and cold; and of a block. */
#define BT_ROOM_PER_INSN 400
#define BT_ROOM(insns) (((insns) + 2) * BT_ROOM_PER_INSN)
_Static_assert(BT_ROOM(BT_BLOCK_MAX) <= UINT16_MAX, "places in code");

#define BT_HASH_BITS 17
/* One in so many translations is timed, since the clock costs as much as an instruction. */
#define BT_TIMED 16

/*
 * The code cache is filled region by region, and the oldest is evicted when
 * all that may be open are full.  A region has a part of the code and one of
 * bt->meta; offsets of its blocks, in the order of their code, grow down from
 * the latter's end.
 */
#define BT_REGIONS 64
struct bt_region {
    uint32_t code_used, meta_used;      /* offsets in all */
    unsigned nblocks;
    bool open;
    uint64_t age;           /* when it began to be filled */
    struct code_pages pages;  /* that its blocks were made from */
};
/* Keys of blocks that were evicted, by hash. */
#define BT_GHOST_BITS 16

/* Lowered instructions of sites, by id. */
#define BT_LOWERED_BITS 9
struct bt_lowered {
    uint32_t id;
    struct bt_function f;
};

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

/* Of accesses that are not aligned, by size and direction. */
#define BT_UNALIGNED(size, write) ((unsigned)__builtin_ctz(size) * 2 + (write))

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
#define BT_SPACE_PARTS 64
struct bt_space {
    uint64_t gen;           /* the c->fetch_gen that it was made with; 0: to be emptied */
    unsigned mode;          /* of the blocks in it (BT_MODE_*), without the privilege */
    uint64_t touched;       /* parts of the table that are not all empty */
    struct bt_jumps jumps;
};

struct bt {
    struct bt_view views[VIEW_COUNT];   /* but for VIEW_SLOW and slots that are not used */
    struct bt_parked *parked;   /* for each slot */
    bool hashed;            /* all views are */
    unsigned pages, budget; /* table pages of all views in use, and most to be used */
    uint8_t *rw, *rx;       /* the code cache, twice; NULL: none, so nothing is translated */
    int code_fd;
    size_t code_size, code_start;   /* code_start: behind the trampolines */
    uint8_t *meta;
    size_t meta_size;
    struct bt_region regions[BT_REGIONS];
    unsigned nregions, region;      /* region: that is being filled */
    uint64_t ages;
    unsigned wanted;        /* regions to be opened before one is evicted; */
    unsigned base;          /* the fewest */
    uint32_t region_code, region_meta;  /* bytes of each */
    uint32_t hash[1 << BT_HASH_BITS];   /* offsets in meta */
    unsigned nblocks, touched;  /* touched: writes to code outside of what is being filled */
    uint16_t ghosts[1 << BT_GHOST_BITS];
    struct bt_lowered lowered[1 << BT_LOWERED_BITS];
    struct bt_space spaces[2 * (1 + ASID_MAX)];     /* of 64-bit code, then of 32-bit code */
    unsigned mode;          /* BT_MODE_* of the present blocks, without the privilege */
    int (*enter)(struct soft_cpu *c, const uint8_t *code);
    uint8_t *leave, *out, *link, *record;       /* writable addresses, for emission */
    uint8_t *miss;
    /* By what is live behind the function, and whether flags are in W_FLAGS. */
    uint8_t *slow[2][LIVE_COUNT];
    uint8_t *unaligned[BT_UNALIGNED(8, true) + 1];
    uint8_t *load_low, *load_high, *load_x87, *spill, *spill_x87;
    uint64_t discards;      /* changes when translations were thrown away */
    bool unchained;         /* blocks do not jump to each other */
    bool plain;             /* the next block is to have no shared probes: one failed */
    unsigned block_max;     /* instructions of a block */
    struct translation *scratch;    /* of translate.c */
    struct bt_form *forms;  /* of forms.c; NULL: none are kept */
    FILE *perf_map;         /* NULL: not asked for */
    void *signal_stack;
    bool threaded;
    pthread_t thread;       /* that has it, if threaded */
    uint64_t random;        /* of tests */
    /* counters */
    uint64_t translated, translated_bytes, entries, functions, misses, invalidated, fills, remaps;
    uint64_t decoded, iterations;   /* instructions in decoded blocks, iterations in functions */
    uint64_t flushes, evictions, again;     /* again: instructions that had been evicted */
    uint64_t made, timed, timed_ns;     /* tries to make a block; instructions and time of those that were timed */
    uint64_t looked_ns, looked_count;   /* when was looked whether the guest idles, and c->insn_count then */
    uint64_t region_began;  /* c->insn_count when the last region did */
    uint64_t region_translated, region_again;   /* since the last region began */
    struct bt_calls calls[BT_MNEMONICS];
};

static inline struct bt *bt_of(struct soft_cpu *c)
{
    return c->translator;
}

/* cache.c */
/* size: most bytes of code; 0: the usual number.  With less if the host refuses it. */
int bt_cache_create(struct bt *bt, uint64_t size);
/* The trampolines end here. */
void bt_cache_begin(struct bt *bt, const uint8_t *end);
void bt_cache_destroy(struct bt *bt);
/* Forget all translations. */
void bt_cache_flush(struct bt *bt);
/* Room for a block of so many instructions at bt_code_next() and bt_meta_next(); false: there is none. */
bool bt_cache_room(struct soft_cpu *c, unsigned insns);
/* The oldest region is closed, if more than the usual ones are open. */
void bt_cache_shrink(struct bt *bt);
/* A block that was emitted there, up to end; what belongs to it is copied. */
struct tblock *bt_cache_add(struct bt *bt, const struct tblock *b, const struct bt_function *functions,
                            const struct site *sites, const struct link *links, const struct second *second,
                            const uint8_t *end);
/* A link, by BT_ID, is to jump to a block from now on. */
void bt_link_bind(struct bt *bt, uint32_t id, struct tblock *b);
/* Forget what linear addresses mean. */
void bt_jumps_clear(struct bt *bt);
struct tblock *bt_lookup(struct soft_cpu *c, uint64_t page, unsigned offset, unsigned mode);
/* The same for an instruction that crosses into page2; BT_NO_PAGE: into any. */
struct tblock *bt_lookup_crossing(struct soft_cpu *c, uint64_t page, uint64_t page2, unsigned offset,
                                  unsigned mode);
bool bt_is_stale(const struct mem *mem, const struct tblock *b);
/* Pages whose code was written (c->changed): make their translations unreachable. */
void bt_drop_stale(struct soft_cpu *c);
/* The block whose code is at this offset, or NULL. */
const struct tblock *bt_block_at(const struct bt *bt, uint64_t offset);
void bt_cache_info(const struct bt *bt, unsigned id, FILE *f);

static inline uint32_t bt_code_next(const struct bt *bt)
{
    return bt->regions[bt->region].code_used;
}

static inline uint32_t bt_meta_next(const struct bt *bt)
{
    return bt->regions[bt->region].meta_used;
}

static inline struct tblock *bt_block(const struct bt *bt, uint32_t id)
{
    return (struct tblock *)(bt->meta + (size_t)(id >> BT_ID_BITS) * BT_META_ALIGN);
}

static inline unsigned bt_number(uint32_t id)
{
    return id & ((1 << BT_ID_BITS) - 1);
}

/* sites.c */
/* The site whose host instruction is at this address: its id, or 0. */
uint32_t bt_find_site(const struct bt *bt, uintptr_t host);
/* The instruction of a site.  *stale: its code was written after it was
 * translated; then this is what is there now, or NULL. */
const struct bt_function *bt_lowered(struct soft_cpu *c, uint32_t id, bool *stale);

/* trampoline.c: code that translations share; called once.  C functions that
 * it calls return where to go on, or NULL to leave with LEAVE_FUNCTION. */
typedef const uint8_t *(*bt_call)(struct soft_cpu *c, uint64_t arg);
struct bt_calls_of_code {
    bt_call function;       /* of a site, whose id is the argument */
    bt_call record;         /* tells the recorder of a block */
    bt_call miss;           /* RIP is not in the jump table; W_SITE: of the branch, or 0 */
    bt_call link;           /* a link that is not bound, whose id is the argument */
};
void bt_emit_trampolines(struct bt *bt, const struct cpu_model *model, const struct bt_calls_of_code *calls);
/* To the code for the linear address in R10, if the jump table has it.  Flags are
 * in W_FLAGS.  Returns the place of the jump for a miss, to bt->miss. */
uint8_t *bt_emit_indirect(struct emit *e);
/* Flags from W_FLAGS, where R11 is in use. */
void bt_emit_restore_flags(struct emit *e);
/* The same where it is free: BT_RESTORE_BYTES. */
void bt_emit_restore_entry(struct emit *e);

/* translate.c: a block at this place, or NULL: *crosses if its first instruction
 * does not lie in the page, else it has to run otherwise for now. */
struct tblock *bt_translate(struct soft_cpu *c, const struct ftlb_entry *page, unsigned offset,
                            unsigned mode, bool *crosses);
struct tblock *bt_translate_crossing(struct soft_cpu *c, const struct ftlb_entry *page,
                                     const struct ftlb_entry *page2, unsigned offset, unsigned mode);

/* forms.c: free() it */
struct bt_form *bt_forms_create(void);

/* perfmap.c: tell perf what the code that was just made is; linear: of the guest. */
void bt_perf_open(struct bt *bt);
void bt_perf_block(struct bt *bt, const struct tblock *b, size_t size, uint64_t linear);

struct translation *bt_translation_create(void);    /* free() it */

/* Parts of a block's mode beside c->mode_key: which SIMD registers may be used
 * without a fault, CR4.FSGSBASE, and CPL 3 (else it is 0). */
#define BT_MODE_SSE 0x08u
#define BT_MODE_AVX 0x10u
#define BT_MODE_AVX512 0x20u
#define BT_MODE_FSGSBASE 0x01u  /* of mode_key, and never set in 64-bit mode there */
#define BT_MODE_PLAIN 0x40u     /* no shared probes */
#define BT_MODE_USER 0x80u
#define BT_MODE_X87 0x100u      /* x87 and MMX, with errors by #MF */
/* 32-bit code? The rest is 64-bit code: no other is translated. */
static inline bool bt_mode32(unsigned mode)
{
    return !(mode & 2);         /* of mode_key */
}

/* vectors.c: shared code; before the other trampolines. */
void bt_emit_vector_stubs(struct bt *bt, struct emit *e, const struct cpu_model *model);
/* On the host's stack: what is live goes to c->fpu.  Uses RCX, RDX, RSI and RDI. */
void bt_emit_spill(const struct bt *bt, struct emit *e);
/* Make live what `live` says (see LIVE_X87).  Uses R11; flags stay. */
void bt_emit_load_live(const struct bt *bt, struct emit *e, unsigned live);

/* memop.c: how translated code reaches guest memory.  A probe takes the
 * address in a register and leaves the host address as that + R11; it changes flags. */
struct memop {
    unsigned reg;               /* H_R10, or where the address is anyway */
    unsigned size;              /* 1 to 64 */
    unsigned align;             /* more than size asks for: anything else is cold; or 0 */
    bool write;
    uint8_t *unaligned;         /* jump to be bound to where bt_emit_unaligned is; or NULL */
    uint8_t *cold[6];           /* jumps to be bound to the cold path */
    unsigned ncold;
};
/* dst = offset of the operand, cut to 32 bits if narrow; R10 and R11 are scratch.
 * False: not expressible, use the function. */
bool bt_emit_lea(struct emit *e, unsigned dst, const ZydisDecodedOperand *op, bool narrow, unsigned next_offset);
/* R10 = effective address, in 32-bit code without the segment's base; false: not
 * expressible, use the function. */
bool bt_emit_address(struct emit *e, const ZydisDecodedOperand *op, unsigned address_width,
                     unsigned next_offset);
/* 32-bit code: add the base of FS or GS to R10, or make it an address that no
 * table has.  Uses R11; flags stay. */
void bt_emit_segment(struct emit *e, unsigned seg);
/* For one access. */
void bt_emit_probe(struct emit *e, struct memop *m);
/* Cold: an access that is not aligned but does not cross a page.  Goes on
 * behind the probe at hot; the memop's remaining jumps are to be bound. */
void bt_emit_unaligned(struct emit *e, struct memop *m, const uint8_t *hot);
/* For a run of RCX << shift bytes from R10, all in its page.  m->cold may have
 * jumps already. */
void bt_emit_run_probe(struct emit *e, struct memop *m, unsigned shift);
/* Shared code for that.  R11: the place behind the probe. */
void bt_emit_shared_unaligned(struct emit *e, unsigned size, bool write);
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
