/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoded blocks: one function call for each instruction.  This is the
 * interpreter's whole body, and what the translator runs in modes that it
 * does not translate.
 *
 * Each vCPU has its own cache of decoded code, so the fast path takes no
 * lock.  A block lies in one page (or is one instruction across two), is
 * keyed by physical page, offset and mode, and is valid as long as the page's
 * code version in mem/ stands: one compare at block entry.  When code is
 * decoded from a page, other vCPUs may still hold the right to
 * write there; until all of these have acknowledged that they gave it up, the
 * block's bytes are compared each time it is entered.
 *
 * The cache is an arena that is emptied as a whole when it is full.
 */
#include "engine/soft/blocks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/soft/decode.h"
#include "engine/soft/tlb.h"

#define HASH_BITS 14
#define JUMP_BITS 12
#define BLOCK_MAX 32
#define MAX_INSN 15
#define REP_BATCH 65536

struct block {
    struct block *next;             /* in the hash chain */
    uint64_t page, page2;           /* memfd pages; page2: NO_PAGE unless it crosses */
    uint64_t epoch;                 /* of vm->code_epoch when made; 0: confirmed */
    uint32_t version, version2;
    uint16_t offset, bytes;         /* in the page */
    uint8_t mode, n;
    struct insn insns[];            /* then, if ncpus > 1, the bytes they came from */
};
#define NO_PAGE (~0ULL)

struct jump {
    uint64_t pc, gen;
    struct block *block;
    unsigned mode;
};

struct soft_blocks {
    uint8_t *arena;
    size_t arena_size, used;
    struct block *hash[1 << HASH_BITS];
    struct jump jumps[1 << JUMP_BITS];
    uint64_t decoded, flushes, blocks;
};

static struct soft_blocks *blocks_of(struct soft_cpu *c)
{
    return c->blocks;
}

/* ---- making blocks --------------------------------------------------------------- */

static void flush_cache(struct soft_blocks *it)
{
    memset(it->hash, 0, sizeof(it->hash));
    memset(it->jumps, 0, sizeof(it->jumps));
    it->used = 0;
    it->flushes++;
}

/* What blocks depend on beside their bytes. */
static unsigned block_mode(const struct soft_cpu *c)
{
    return c->mode_key | (c->cpl == 3 ? 0x80u : 0);
}

static unsigned hash_of(uint64_t page, unsigned offset, unsigned mode)
{
    return (unsigned)((page * 0x9e3779b97f4a7c15ULL ^ offset * 0x85ebca6bULL ^ mode * 0xc2b2ae35ULL) >> 20) &
           ((1 << HASH_BITS) - 1);
}

static void raise_to(_Atomic uint64_t *v, uint64_t to)
{
    uint64_t old = atomic_load(v);

    while (old < to && !atomic_compare_exchange_weak(v, &old, to))
        ;
}

/*
 * The lines of code on a page have been marked: give up this vCPU's own rights
 * to write there, and ask the others that may have one.  Returns the epoch to
 * wait for; 0 if nobody had to be asked.
 *
 * A request is left before the epoch begins, and who answers reads the epoch
 * before it takes the requests: what it acknowledges, it has done.
 */
uint64_t soft_code_revoke(struct soft_cpu *c, uint64_t page)
{
    struct soft_vm *vm = c->vm;
    uint64_t asked[(CPU_MAX_VCPUS + 63) / 64] = { 0 }, epoch;
    bool any = false;

    soft_rights_drop(c, page);
    for (unsigned n = 0; n < vm->ncpus; n++)
        if (vm->cpus[n] && vm->cpus[n] != c && soft_rights_ask(vm->cpus[n], page)) {
            asked[n / 64] |= BIT(n % 64);
            any = true;
        }
    if (!any)
        return 0;
    epoch = atomic_fetch_add(&vm->code_epoch, 1) + 1;
    for (unsigned n = 0; n < vm->ncpus; n++)
        if (asked[n / 64] >> (n % 64) & 1) {
            raise_to(&vm->cpus[n]->code_asked, epoch);
            atomic_fetch_or(&vm->cpus[n]->attention, ATT_CODE);
        }
    c->stats.asked++;
    return epoch;
}

/* Have all other vCPUs done what was asked of them up to this epoch?  One that
 * is not running will look at its attention word first. */
bool soft_code_acknowledged(const struct soft_cpu *c, uint64_t epoch)
{
    const struct soft_vm *vm = c->vm;

    for (unsigned n = 0; n < vm->ncpus; n++) {
        struct soft_cpu *o = vm->cpus[n];

        if (o && o != c && atomic_load(&o->running) &&
            atomic_load(&o->code_ack) < MIN(epoch, atomic_load(&o->code_asked)))
            return false;
    }
    return true;
}

static bool same_bytes(struct soft_cpu *c, const struct block *b)
{
    const uint8_t *saved = (const uint8_t *)&b->insns[b->n];
    const uint8_t *now = c->vm->mem->hva + b->page * MEM_PAGE_SIZE + b->offset;
    unsigned head = MIN(b->bytes, (unsigned)MEM_PAGE_SIZE - b->offset);

    if (memcmp(saved, now, head))
        return false;
    return head == b->bytes ||
           !memcmp(saved + head, c->vm->mem->hva + b->page2 * MEM_PAGE_SIZE, b->bytes - head);
}

/* Not confirmed yet: look at the bytes; once all have acknowledged, once more. */
static bool confirm(struct soft_cpu *c, struct block *b)
{
    bool all = soft_code_acknowledged(c, b->epoch);

    if (!same_bytes(c, b))
        return false;
    if (all)
        b->epoch = 0;
    return true;
}

static bool valid(struct soft_cpu *c, struct block *b)
{
    const struct mem *mem = c->vm->mem;

    if (unlikely(b->version != mem_code_version(mem, b->page)))
        return false;
    if (unlikely(b->page2 != NO_PAGE) && b->version2 != mem_code_version(mem, b->page2))
        return false;
    return likely(!b->epoch) || confirm(c, b);
}

/* A block in the making, decoded from a copy of its bytes. */
struct maker {
    unsigned offset, n, bytes;
    struct insn insns[BLOCK_MAX];
    uint8_t copy[BLOCK_MAX * MAX_INSN];
};

/* Decode inside the page until something ends the block.  A first instruction
 * that crosses leaves n at 0. */
static void decode_run(struct soft_cpu *c, struct maker *m, const uint8_t *page)
{
    unsigned room = MIN((unsigned)sizeof(m->copy), (unsigned)MEM_PAGE_SIZE - m->offset);
    enum decode_result r = DECODE_OK;

    memcpy(m->copy, page + m->offset, room);
    m->n = m->bytes = 0;
    while (r == DECODE_OK && m->n < BLOCK_MAX && m->bytes < room) {
        r = soft_decode(c->vm->model, c->mode_key, m->copy + m->bytes, MIN(room - m->bytes, MAX_INSN),
                        &m->insns[m->n]);
        if (r == DECODE_MORE)
            break;
        m->bytes += m->insns[m->n].len;
        m->n++;
    }
}

static struct block *new_block(struct soft_cpu *c, const struct maker *m)
{
    struct soft_blocks *it = blocks_of(c);
    size_t size = sizeof(struct block) + m->n * sizeof(struct insn);
    size_t extra = c->vm->ncpus > 1 ? m->bytes : 0;
    struct block *b;

    size = align_up(size + extra, 16);
    if (it->used + size > it->arena_size)
        flush_cache(it);
    b = (struct block *)(it->arena + it->used);
    it->used += size;
    *b = (struct block){ .page2 = NO_PAGE, .offset = (uint16_t)m->offset, .bytes = (uint16_t)m->bytes,
                         .mode = (uint8_t)block_mode(c), .n = (uint8_t)m->n };
    memcpy(b->insns, m->insns, m->n * sizeof(struct insn));
    if (extra)
        memcpy(&b->insns[m->n], m->copy, extra);
    it->decoded += m->n;
    it->blocks++;
    return b;
}

static void insert(struct soft_blocks *it, struct block *b)
{
    struct block **head = &it->hash[hash_of(b->page, b->offset, b->mode)];

    b->next = *head;
    *head = b;
}

/* A block inside one page.  Its lines are announced after decoding from a
 * copy, and then the copy is compared: from there on the version tells. */
static struct block *make_block(struct soft_cpu *c, const struct ftlb_entry *page, uint64_t pc)
{
    struct maker m;
    struct mem *mem = c->vm->mem;
    uint64_t epoch;
    uint32_t version;
    struct block *b;

    m.offset = pc & (MEM_PAGE_SIZE - 1);
    do {
        decode_run(c, &m, page->hva);
        if (!m.n)
            return NULL;
        version = mem_code_add(mem, page->page, m.offset, m.bytes, NULL);
        epoch = soft_code_revoke(c, page->page);
    } while (memcmp(m.copy, page->hva + m.offset, m.bytes));
    b = new_block(c, &m);
    b->page = page->page;
    b->version = version;
    b->epoch = epoch;
    insert(blocks_of(c), b);
    return b;
}

static struct block *find_crossing(struct soft_cpu *c, uint64_t page, uint64_t page2, unsigned offset)
{
    struct block *b = blocks_of(c)->hash[hash_of(page, offset, block_mode(c))];

    while (b && !(b->page == page && b->page2 == page2 && b->offset == offset &&
                  b->mode == block_mode(c) && valid(c, b)))
        b = b->next;
    return b;
}

/* One instruction across two pages. NULL: a fault is in c->exc. */
static struct block *make_crossing(struct soft_cpu *c, const struct ftlb_entry *first, uint64_t pc)
{
    struct maker m;
    struct ftlb_entry one = *first;         /* the next look-up may replace it */
    const struct ftlb_entry *two;
    unsigned head = (unsigned)(MEM_PAGE_SIZE - (pc & (MEM_PAGE_SIZE - 1)));
    struct block *b;
    uint64_t epoch;
    uint32_t v1, v2;

    if (soft_fetch_page(c, (pc + head) & (c->code64 ? ~0ULL : 0xffffffffULL), &two))
        return NULL;
    m.offset = (unsigned)MEM_PAGE_SIZE - head;
    b = find_crossing(c, one.page, two->page, m.offset);
    if (b)
        return b;
    v1 = mem_code_add(c->vm->mem, one.page, m.offset, head, NULL);
    v2 = mem_code_add(c->vm->mem, two->page, 0, MAX_INSN - head, NULL);
    epoch = soft_code_revoke(c, one.page);
    epoch = MAX(epoch, soft_code_revoke(c, two->page));
    memcpy(m.copy, one.hva + m.offset, head);
    memcpy(m.copy + head, two->hva, MAX_INSN - head);
    soft_decode(c->vm->model, c->mode_key, m.copy, MAX_INSN, &m.insns[0]);
    m.n = 1;
    m.bytes = m.insns[0].len;
    b = new_block(c, &m);
    b->page = one.page;
    b->page2 = two->page;
    b->version = v1;
    b->version2 = v2;
    b->epoch = epoch;
    insert(blocks_of(c), b);
    return b;
}

/* ---- finding blocks ----------------------------------------------------------------- */

static struct block *lookup(struct soft_cpu *c, const struct ftlb_entry *page, uint64_t pc)
{
    struct soft_blocks *it = blocks_of(c);
    unsigned offset = pc & (MEM_PAGE_SIZE - 1), mode = block_mode(c);
    struct block **link = &it->hash[hash_of(page->page, offset, mode)];

    while (*link) {
        struct block *b = *link;

        if (b->page == page->page && b->page2 == NO_PAGE && b->offset == offset && b->mode == mode) {
            if (valid(c, b))
                return b;
            *link = b->next;    /* stale: unlink, the arena keeps it till the flush */
        } else {
            link = &b->next;
        }
    }
    return NULL;
}

/* NULL: a fault is in c->exc. */
static struct block *find_slow(struct soft_cpu *c, uint64_t pc, struct jump *j)
{
    const struct ftlb_entry *page;
    struct block *b;

    if (soft_fetch_page(c, pc, &page))
        return NULL;
    b = lookup(c, page, pc);
    if (!b)
        b = make_block(c, page, pc);
    if (!b)
        b = make_crossing(c, page, pc);
    if (!b)
        return NULL;
    /* make_block may have emptied the table. */
    *j = (struct jump){ .pc = pc, .gen = c->fetch_gen, .block = b, .mode = block_mode(c) };
    return b;
}

static uint64_t linear_pc(const struct soft_cpu *c)
{
    return c->code64 ? soft_rip(c) : (uint32_t)(c->s.seg[SEG_CS].base + soft_rip(c));
}

static inline struct block *find_block(struct soft_cpu *c)
{
    struct soft_blocks *it = blocks_of(c);
    uint64_t pc = linear_pc(c);
    struct jump *j = &it->jumps[(pc ^ pc >> JUMP_BITS) & ((1 << JUMP_BITS) - 1)];

    if (likely(j->pc == pc && j->gen == c->fetch_gen && j->mode == block_mode(c)) && j->block &&
        valid(c, j->block))
        return j->block;
    return find_slow(c, pc, j);
}

/* ---- running ----------------------------------------------------------------------------- */

/* rip is behind an instruction now: wrap it as the code segment says. */
static inline void step_rip(struct soft_cpu *c, const struct insn *i)
{
    soft_rip(c) += i->len;
}

/* CS limit: an instruction that reaches beyond is #GP(0) (SDM 3A 5.3). */
static bool in_limit(const struct soft_cpu *c, unsigned bytes)
{
    return c->code64 || soft_rip(c) + bytes - 1 <= c->s.seg[SEG_CS].limit;
}

/* What an instruction's result asks for.  Returns 0 to go on, or SOFT_EXIT. */
int soft_settle(struct soft_cpu *c, int r)
{
    switch (r) {
    case SOFT_FAULT:
        soft_io_done(c);
        return soft_deliver_exception(c);
    case SOFT_EXIT:
        c->io.used = 0;
        return SOFT_EXIT;
    default:
        soft_io_done(c);
        return 0;
    }
}

/* A whole block at full speed, or its first n instructions. */
static int run_block(struct soft_cpu *c, struct block *b, unsigned n)
{
    const struct insn *i = b->insns, *first = i;
    int r = 0;

    c->block_end = i + n;
    c->rflags &= ~(uint32_t)X86_RF;
    do {
        r = i->fn(c, i);
        if (unlikely(r))
            break;
        step_rip(c, i);
        i++;
    } while (i < c->block_end);
    c->insn_count += (uint64_t)(i - first);
    soft_rip(c) &= c->rip_mask;
    if (r == SOFT_NEXT) {
        soft_io_done(c);
        return 0;
    }
    if (r == SOFT_JUMP || r == SOFT_STOP) {
        c->insn_count++;
        if (r == SOFT_STOP) {
            step_rip(c, i);
            soft_rip(c) &= c->rip_mask;
        }
        soft_io_done(c);
        return 0;
    }
    if (r == SOFT_AGAIN)
        c->rflags |= X86_RF;
    return soft_settle(c, r);
}

/* Traps after one retired instruction (SDM 3A 6.9, priority 4). */
static int traps(struct soft_cpu *c)
{
    uint64_t bits = c->db_pending;

    c->db_pending = 0;
    if (c->shadow & SHADOW_MOV_SS) {
        c->db_pending = bits;       /* held back by MOV SS, with the step */
        return 0;
    }
    if (c->step)
        bits |= 1u << 14;
    return bits ? soft_deliver_db(c, bits) : 0;
}

/* One instruction, with everything that has to be looked at between two. */
int soft_step_one(struct soft_cpu *c)
{
    uint32_t rf = c->rflags & X86_RF;
    uint8_t shadow = c->shadow;
    uint64_t hits = 0, held = c->db_pending;
    struct block *b;
    int r;

    c->shadow &= SHADOW_NMI;
    if (unlikely(c->s.dr7 & 0xff) && !(shadow & SHADOW_MOV_SS))
        hits = soft_code_breakpoint(c, linear_pc(c));
    if (hits) {
        soft_raise(c, VEC_DB);
        c->exc.payload = hits;
        return soft_deliver_exception(c);
    }
    b = find_block(c);
    if (!b)
        return soft_settle(c, SOFT_FAULT);
    if (!in_limit(c, b->insns[0].len)) {
        soft_gp0(c);
        return soft_settle(c, SOFT_FAULT);
    }
    c->block_end = b->insns;
    c->step = c->rflags & X86_TF;
    c->rflags &= ~(uint32_t)X86_RF;     /* before: IRET sets it for the next one */
    r = b->insns[0].fn(c, &b->insns[0]);
    if (r == SOFT_FAULT || r == SOFT_EXIT) {
        c->db_pending = 0;
        if (r == SOFT_EXIT) {
            c->shadow = shadow;
            c->rflags |= rf;
            c->db_pending = held;
        }
        return soft_settle(c, r);
    }
    /* SDM 3B 17.3.1.1: set between the iterations of a string instruction. */
    if (r == SOFT_AGAIN)
        c->rflags |= X86_RF;
    else
        c->insn_count++;
    if (r == SOFT_NEXT || r == SOFT_STOP) {
        step_rip(c, &b->insns[0]);
        soft_rip(c) &= c->rip_mask;
    }
    soft_io_done(c);
    return traps(c);
}

int soft_run_limited(struct soft_cpu *c, uint64_t limit)
{
    struct block *b;
    unsigned n;

    /* The T bit of a task that was switched to (SDM 3A 7.2.1). */
    if (unlikely(c->db_pending) && !(c->shadow & SHADOW_MOV_SS)) {
        c->step = false;
        return traps(c);
    }
    c->rep_limit = MIN(limit, REP_BATCH);
    if (unlikely(c->single || c->shadow & (SHADOW_STI | SHADOW_MOV_SS) || c->db_pending)) {
        /* A trap is due after each iteration, or after the first. */
        if (c->single || c->db_pending)
            c->rep_limit = 1;
        return soft_step_one(c);
    }
    b = find_block(c);
    if (unlikely(!b))
        return soft_settle(c, SOFT_FAULT);
    if (unlikely(!in_limit(c, b->bytes)))
        return soft_step_one(c);
    n = b->n;
    if (unlikely(limit < REP_BATCH)) {
        /* A string instruction ends its block, so it is the last of them. */
        n = (unsigned)MIN(n, limit);
        c->rep_limit = limit - n + 1;
    }
    return run_block(c, b, n);
}

/* How the next piece has to be run. */
int soft_run_piece(struct soft_cpu *c)
{
    const uint64_t stop = c->stop_count;

    if (likely(!stop))
        return soft_run_limited(c, UINT64_MAX);
    if (stop > c->insn_count)
        return soft_run_limited(c, stop - c->insn_count);
    if (c->db_pending && !(c->shadow & SHADOW_MOV_SS))
        return soft_run_limited(c, 1);
    c->run->exit = CPU_EXIT_COUNT;
    return SOFT_EXIT;
}

/* What comes between two pieces; true: the events may be looked at. */
static bool attend(struct soft_cpu *c)
{
    return unlikely(atomic_load_explicit(&c->attention, memory_order_relaxed) ||
                    c->s.mp_state != MP_RUNNABLE ||
                    atomic_load_explicit(&c->run->immediate_exit, memory_order_relaxed));
}

static int record_piece(struct soft_cpu *c, int (*piece)(struct soft_cpu *c))
{
    if (attend(c)) {
        int r;

        soft_tape_point(c, TAPE_EVENTS, ~0ULL);
        r = soft_events(c);
        if (r)
            return r;
    }
    if (c->tape->blocks)
        soft_tape_block(c, X86_FLAGS_ARITH);
    return piece(c);
}

int soft_run(struct soft_cpu *c, int (*piece)(struct soft_cpu *c))
{
    int r = 0;

    c->stop_count = c->run->stop_count;
    soft_io_complete(c);
    soft_unpark(c);
    soft_tape_crowded(c);
    /* What an exit cut in two comes before any event. */
    if (c->in_delivery) {
        r = soft_resume_delivery(c);
        if (!r)
            soft_io_done(c);
    } else if (c->io.made) {
        r = soft_step_one(c);
    }
    while (!r && unlikely(c->tape != NULL))
        r = c->tape->playing ? soft_tape_piece(c, piece) : record_piece(c, piece);
    while (!r) {
        if (attend(c)) {
            r = soft_events(c);
            if (r)
                break;
        }
        r = piece(c);
    }
    soft_park(c);
    return 0;
}

/* ---- life ---------------------------------------------------------------------------------- */

int soft_blocks_create(struct soft_cpu *c, size_t arena_size)
{
    struct soft_blocks *it = calloc(1, sizeof(*it));

    if (!it)
        return -ENOMEM;
    it->arena_size = arena_size;
    it->arena = mmap(NULL, arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                     -1, 0);
    if (it->arena == MAP_FAILED) {
        free(it);
        return -ENOMEM;
    }
    c->blocks = it;
    return 0;
}

void soft_blocks_destroy(struct soft_cpu *c)
{
    munmap(c->blocks->arena, c->blocks->arena_size);
    free(c->blocks);
    c->blocks = NULL;
}

void soft_blocks_info(struct soft_cpu *c, FILE *f)
{
    const struct soft_blocks *it = c->blocks;

    fprintf(f, "cpu %u: %llu instructions, %llu blocks, %llu decoded, %llu cache flushes, %zu KiB in use\n", c->id,
            (unsigned long long)c->insn_count, (unsigned long long)it->blocks,
            (unsigned long long)it->decoded, (unsigned long long)it->flushes, it->used / 1024);
    soft_tlb_info(c, f);
}
