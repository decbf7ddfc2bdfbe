/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The code cache: one memfd mapped twice, writable and executable (W^X), and
 * an arena for what belongs to the code.  Both are filled region by region.
 *
 * A block is reached by the dispatcher's hash, by the jump tables, and by
 * direct jumps from blocks of the same page (links).  When a region is evicted
 * all of these are taken back.  When a page's code is written, the entries of
 * its blocks are overwritten with a jump that leaves.
 *
 * How many regions are open follows from what is translated again: a guest
 * that runs through code once, as in a boot, gets by with few, and one that
 * comes back to code that was evicted gets more, up to the limit.  A guest
 * that has little to do gives them back one by one.
 *
 * Pages of the writable mapping are dropped once they are filled, or they
 * would count twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/bt/bt.h"

#define CODE_SIZE (64 * MiB)
#define CODE_SIZE_MIN (128 * KiB)
/* What is opened without a reason. */
#define CODE_SIZE_BASE (8 * MiB)
#define REGION_MIN (32 * KiB)
#define REGION_USUAL (512 * KiB)
/* The writable mapping is dropped in steps of this many bytes of new code, and
 * after this many writes elsewhere. */
#define DROP_STEP (128 * KiB)
#define DROP_TOUCHED 256
/* One more region if translating again what had been evicted takes this part of
 * the time (and two with twice as many, and so on): an instruction is
 * translated in the time of so many others. */
#define AGAIN_PART 6
#define TRANSLATION_COST 1000
/* Most bytes that belong to a block of so many instructions. */
#define META_ROOM(n)                                                                                                   \
    (sizeof(struct tblock) + (n) * (sizeof(struct bt_function) + 2 * sizeof(struct site)) +                            \
     BT_LINKS * sizeof(struct link) + sizeof(struct second) + BT_META_ALIGN + sizeof(uint32_t))
#define FALLOCATE_TRIES 16
/* Bytes of a page whose blocks have one head in the hash. */
#define HASH_STEP 32

/* ---- memory ---------------------------------------------------------------------------- */

static void unmap(void *p, size_t size)
{
    if (p && p != MAP_FAILED)
        munmap(p, size);
}

static void unmap_all(struct bt *bt)
{
    unmap(bt->rw, bt->code_size);
    unmap(bt->rx, bt->code_size);
    unmap(bt->meta, bt->meta_size);
    if (bt->code_fd > 0)
        close(bt->code_fd);
    bt->rw = bt->rx = bt->meta = NULL;
    bt->code_fd = 0;
}

void bt_cache_destroy(struct bt *bt)
{
    unmap_all(bt);
}

/* Regions of a cache of this size; the trampolines are in front of them. */
static void measure(struct bt *bt, uint64_t size)
{
    bt->code_size = size;
    bt->region_code = (uint32_t)align_up(MAX(MIN(size / 4, REGION_USUAL), MAX(size / BT_REGIONS, REGION_MIN)),
                                         MEM_PAGE_SIZE);
    bt->region_meta = MIN(bt->region_code / 2, (uint32_t)(BT_META_MAX / BT_REGIONS));
    bt->meta_size = (size_t)BT_REGIONS * bt->region_meta;
}

static int map_all(struct bt *bt)
{
    bt->code_fd = memfd_create("code", MFD_CLOEXEC);
    if (bt->code_fd < 0 || ftruncate(bt->code_fd, (off_t)bt->code_size))
        return -1;
    bt->rw = mmap(NULL, bt->code_size, PROT_READ | PROT_WRITE, MAP_SHARED, bt->code_fd, 0);
    bt->rx = mmap(NULL, bt->code_size, PROT_READ | PROT_EXEC, MAP_SHARED, bt->code_fd, 0);
    bt->meta = mmap(NULL, bt->meta_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return bt->rw != MAP_FAILED && bt->rx != MAP_FAILED && bt->meta != MAP_FAILED ? 0 : -1;
}

int bt_cache_create(struct bt *bt, uint64_t size)
{
    size = align_up(MAX(size ? size : CODE_SIZE, CODE_SIZE_MIN), MEM_PAGE_SIZE);
    for (; size >= CODE_SIZE_MIN; size = align_up(size / 2, MEM_PAGE_SIZE)) {
        measure(bt, size);
        if (!map_all(bt))
            return 0;
        unmap_all(bt);
    }
    return -ENOMEM;
}

void bt_cache_begin(struct bt *bt, const uint8_t *end)
{
    bt->code_start = align_up((uint64_t)(end - bt->rw), MEM_PAGE_SIZE);
    bt->nregions = (unsigned)MIN((bt->code_size - bt->code_start) / bt->region_code, BT_REGIONS);
    bt->wanted = bt->base = MIN(bt->nregions, MAX(2u, (unsigned)(CODE_SIZE_BASE / bt->region_code)));
    bt_cache_flush(bt);
}

static uint32_t code_of(const struct bt *bt, unsigned region)
{
    return (uint32_t)bt->code_start + region * bt->region_code;
}

/* No block has offset 0. */
static uint32_t meta_of(const struct bt *bt, unsigned region)
{
    return region * bt->region_meta + BT_META_ALIGN;
}

/* Offsets of a region's blocks, downwards from here. */
static uint32_t *order_of(const struct bt *bt, unsigned region)
{
    return (uint32_t *)(bt->meta + (size_t)(region + 1) * bt->region_meta) - 1;
}

static struct tblock *block_of(const struct bt *bt, unsigned region, unsigned n)
{
    return (struct tblock *)(bt->meta + *(order_of(bt, region) - n));
}

static unsigned region_of(const struct bt *bt, uint64_t code)
{
    return (unsigned)((code - bt->code_start) / bt->region_code);
}

static uint32_t meta_offset(const struct bt *bt, const struct tblock *b)
{
    return (uint32_t)((const uint8_t *)b - bt->meta);
}

static void drop(struct bt *bt, uint64_t from, uint64_t to)
{
    if (to > from)
        madvise(bt->rw + from, to - from, MADV_DONTNEED);
}

/* A place in code that is to be written outside of the block in the making. */
static uint8_t *touch(struct bt *bt, uint64_t offset)
{
    if (++bt->touched == DROP_TOUCHED) {
        uint64_t here = bt_code_next(bt) & ~(uint64_t)(DROP_STEP - 1);

        bt->touched = 0;
        drop(bt, 0, here);
        drop(bt, MIN(here + DROP_STEP, bt->code_size), bt->code_size);
    }
    return bt->rw + offset;
}

/* Code was emitted up to here: what lies in full steps has done its duty. */
static void drop_filled(struct bt *bt, uint64_t from, uint64_t to)
{
    if ((from ^ to) >= DROP_STEP)
        drop(bt, from & ~(uint64_t)(DROP_STEP - 1), to & ~(uint64_t)(DROP_STEP - 1));
}

/* ---- the hash, and links ----------------------------------------------------------------- */

static uint64_t key_of(uint64_t page, unsigned offset, unsigned mode)
{
    return (page * 0x9e3779b97f4a7c15ULL ^ offset * 0x85ebca6bULL ^ mode * 0xc2b2ae35ULL) >> 20;
}

/* Blocks of a page are neighbours here: who looks for one will look for others. */
static uint32_t *head_of(struct bt *bt, uint64_t page, unsigned offset)
{
    return &bt->hash[((page * 0x9e3779b97f4a7c15ULL >> 44) + offset / HASH_STEP) & ((1 << BT_HASH_BITS) - 1)];
}

static struct tblock *block_in(const struct bt *bt, uint32_t offset)
{
    return offset ? (struct tblock *)(bt->meta + offset) : NULL;
}

static void unhash(struct bt *bt, const struct tblock *b)
{
    uint32_t *at = head_of(bt, b->page, b->offset), me = meta_offset(bt, b);

    while (*at && *at != me)
        at = &block_in(bt, *at)->next;
    if (*at)
        *at = b->next;
}

bool bt_is_stale(const struct mem *mem, const struct tblock *b)
{
    return b->version != mem_code_version(mem, b->page) ||
           (b->crosses && bt_second(b)->version != mem_code_version(mem, bt_second(b)->page));
}

struct tblock *bt_lookup_crossing(struct soft_cpu *c, uint64_t page, uint64_t page2, unsigned offset,
                                  unsigned mode)
{
    struct bt *bt = bt_of(c);
    struct tblock *b = block_in(bt, *head_of(bt, page, offset));

    while (b && (b->page != page || !b->crosses || (page2 != BT_NO_PAGE && bt_second(b)->page != page2) ||
                 b->offset != offset || b->mode != mode || bt_is_stale(c->vm->mem, b)))
        b = block_in(bt, b->next);
    return b;
}

struct tblock *bt_lookup(struct soft_cpu *c, uint64_t page, unsigned offset, unsigned mode)
{
    struct bt *bt = bt_of(c);
    uint32_t *at = head_of(bt, page, offset);

    while (*at) {
        struct tblock *b = block_in(bt, *at);

        if (b->page == page && b->offset == offset && b->mode == mode) {
            if (bt_is_stale(c->vm->mem, b)) {
                *at = b->next;
                continue;
            }
            if (!b->crosses)
                return b;
        }
        at = &b->next;
    }
    return NULL;
}

static void patch_link(struct bt *bt, const struct tblock *from, const struct link *l, uint64_t target)
{
    emit_patch(touch(bt, from->start + l->patch), bt->rw + target);
}

void bt_link_bind(struct bt *bt, uint32_t id, struct tblock *b)
{
    struct tblock *from = bt_block(bt, id);
    struct link *l = &bt_links(from)[bt_number(id)];

    if (l->to)
        return;
    l->to = meta_offset(bt, b);
    l->next = b->incoming;
    b->incoming = id;
    patch_link(bt, from, l, b->start + (l->target & LINK_BACK ? b->code : b->body));
}

/* The links to a block go to their stubs again, but for those of its region,
 * which goes as well. */
static void unlink_incoming(struct bt *bt, struct tblock *b, unsigned region)
{
    for (uint32_t id = b->incoming; id;) {
        struct tblock *from = bt_block(bt, id);
        struct link *l = &bt_links(from)[bt_number(id)];

        if (region_of(bt, from->start) != region)
            patch_link(bt, from, l, from->start + from->stubs + bt_number(id) * BT_STUB_BYTES);
        id = l->next;
        l->to = l->next = 0;
    }
    b->incoming = 0;
}

/* A bound link is no more. */
static void forget_link(struct bt *bt, const struct tblock *from, unsigned n)
{
    const struct link *gone = &bt_links(from)[n];
    uint32_t id = BT_ID(meta_offset(bt, from), n);
    uint32_t *at = &block_in(bt, gone->to)->incoming;

    while (*at != id)
        at = &bt_links(bt_block(bt, *at))[bt_number(*at)].next;
    *at = gone->next;
}

/* ---- regions ---------------------------------------------------------------------------------- */

static void reset_region(struct bt *bt, unsigned n)
{
    struct bt_region *r = &bt->regions[n];

    bt->nblocks -= r->nblocks;
    *r = (struct bt_region){ .code_used = code_of(bt, n), .meta_used = meta_of(bt, n), .open = r->open };
}

void bt_jumps_clear(struct bt *bt)
{
    for (unsigned n = 0; n < ARRAY_SIZE(bt->spaces); n++)
        if (bt->spaces[n].gen)  /* one that was never used takes no memory */
            bt->spaces[n].gen = 0;
}

/* What was made for ids, and with them. */
static void forget_ids(struct bt *bt)
{
    memset(bt->lowered, 0, sizeof(bt->lowered));
    bt->discards++;
}

void bt_cache_flush(struct bt *bt)
{
    memset(bt->hash, 0, sizeof(bt->hash));
    bt_jumps_clear(bt);
    for (unsigned n = 0; n < bt->nregions; n++)
        reset_region(bt, n);
    bt->region = 0;
    bt->region_translated = bt->region_again = 0;
    forget_ids(bt);
    bt->flushes++;
}

/* Jump table entries for code of a region. */
static void forget_jumps(struct bt *bt, unsigned region)
{
    const uint64_t from = (uint64_t)(uintptr_t)bt->rx + code_of(bt, region);

    for (unsigned s = 0; s < ARRAY_SIZE(bt->spaces); s++) {
        struct bt_jumps *j = &bt->spaces[s].jumps;

        for (unsigned n = 0; bt->spaces[s].gen && n < BT_JUMP_SETS * 2; n++)
            if (j->set[n / 2][n % 2].entry - from < bt->region_code)
                bt_jump_empty(j, n / 2, n % 2);
    }
}

static uint16_t *ghost_of(struct bt *bt, const struct tblock *b, uint16_t *tag)
{
    uint64_t key = key_of(b->page, b->offset, b->mode);

    *tag = (uint16_t)(key >> BT_GHOST_BITS | 1);
    return &bt->ghosts[key & ((1 << BT_GHOST_BITS) - 1)];
}

static void evict(struct bt *bt, unsigned region)
{
    for (unsigned n = 0; n < bt->regions[region].nblocks; n++) {
        struct tblock *b = block_of(bt, region, n);
        uint16_t tag, *ghost = ghost_of(bt, b, &tag);

        unhash(bt, b);
        unlink_incoming(bt, b, region);
        for (unsigned k = 0; k < b->nlinks; k++)
            if (bt_links(b)[k].to)
                forget_link(bt, b, k);
        if (!b->stale)
            *ghost = tag;
    }
    forget_jumps(bt, region);
    reset_region(bt, region);
    forget_ids(bt);
    bt->evictions++;
}

/* Memory for one more region: it is taken here, where a refusal can be dealt with. */
static bool open_region(struct bt *bt, unsigned n)
{
    int r, tries = FALLOCATE_TRIES;

    do
        r = fallocate(bt->code_fd, 0, code_of(bt, n), bt->region_code);
    while (r && errno == EINTR && --tries);
    bt->regions[n].open = !r;
    return !r;
}

static unsigned count_open(const struct bt *bt)
{
    unsigned n = 0;

    for (unsigned r = 0; r < bt->nregions; r++)
        n += bt->regions[r].open;
    return n;
}

static unsigned first_closed(const struct bt *bt)
{
    unsigned n = 0;

    while (bt->regions[n].open)
        n++;
    return n;
}

/* Was much of the time since the last region began for what had been there before? */
static void adapt(struct bt *bt, uint64_t executed)
{
    uint64_t again = bt->region_again * TRANSLATION_COST;
    uint64_t all = bt->region_translated * TRANSLATION_COST + (executed - bt->region_began);

    if (again * AGAIN_PART > all)
        bt->wanted = MIN(bt->wanted + MAX(bt->wanted / bt->base, 1u), bt->nregions);
    bt->region_translated = bt->region_again = 0;
    bt->region_began = executed;
}

/* Of the open ones; after a flush they are empty. */
static unsigned oldest(const struct bt *bt)
{
    unsigned best = bt->region;

    for (unsigned n = 0; n < bt->nregions; n++)
        if (bt->regions[n].open && (!bt->regions[best].open || bt->regions[n].age < bt->regions[best].age))
            best = n;
    return best;
}

static bool next_region(struct bt *bt, uint64_t executed)
{
    unsigned open = count_open(bt), n = oldest(bt);

    adapt(bt, executed);
    if ((!open || bt->regions[n].nblocks) && open < bt->wanted) {
        unsigned closed = first_closed(bt);

        if (open_region(bt, closed))
            n = closed;
    }
    if (!bt->regions[n].open)
        return false;
    if (bt->regions[n].nblocks)
        evict(bt, n);
    bt->region = n;
    bt->regions[n].age = ++bt->ages;
    return true;
}

bool bt_cache_room(struct soft_cpu *c, unsigned insns)
{
    struct bt *bt = bt_of(c);
    const struct bt_region *r = &bt->regions[bt->region];

    if (r->open && code_of(bt, bt->region) + bt->region_code - r->code_used >= BT_ROOM(insns) &&
        (bt->region + 1) * bt->region_meta - r->meta_used >= META_ROOM(insns) + r->nblocks * sizeof(uint32_t))
        return true;
    return bt->nregions && next_region(bt, c->insn_count);
}

void bt_cache_shrink(struct bt *bt)
{
    unsigned n = oldest(bt);
    uint32_t code = code_of(bt, n);

    if (n == bt->region || count_open(bt) <= bt->base)
        return;
    bt->wanted = MAX(count_open(bt) - 1, bt->base);
    evict(bt, n);
    bt->regions[n].open = false;
    drop(bt, code, code + bt->region_code);
    fallocate(bt->code_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, code, bt->region_code);
    madvise(bt->meta + (size_t)n * bt->region_meta, bt->region_meta, MADV_DONTNEED);
}

static void *put(void *at, const void *from, size_t size)
{
    memcpy(at, from, size);
    return (uint8_t *)at + size;
}

/* It had been evicted: more room would have kept it. */
static void note_again(struct bt *bt, const struct tblock *b)
{
    uint16_t tag, *ghost = ghost_of(bt, b, &tag);

    bt->region_translated += b->n;
    if (*ghost != tag)
        return;
    *ghost = 0;
    bt->region_again += b->n;
    bt->again += b->n;
}

struct tblock *bt_cache_add(struct bt *bt, const struct tblock *b, const struct bt_function *functions,
                            const struct site *sites, const struct link *links, const struct second *second,
                            const uint8_t *end)
{
    struct bt_region *r = &bt->regions[bt->region];
    struct tblock *made = (struct tblock *)(bt->meta + r->meta_used);
    uint32_t *head = head_of(bt, b->page, b->offset);
    uint8_t *p = put(made, b, sizeof(*b));

    p = put(p, functions, b->nfunctions * sizeof(*functions));
    p = put(p, sites, b->nsites * sizeof(*sites));
    p = put(p, links, b->nlinks * sizeof(*links));
    if (b->crosses)
        p = put(p, second, sizeof(*second));
    made->next = *head;
    *head = r->meta_used;
    *(order_of(bt, bt->region) - r->nblocks++) = r->meta_used;
    r->meta_used = (uint32_t)align_up((uint64_t)(p - bt->meta), BT_META_ALIGN);
    code_pages_add(&r->pages, b->page);
    if (b->crosses)
        code_pages_add(&r->pages, second->page);
    bt->nblocks++;
    bt->translated_bytes += (uint64_t)(end - bt->rw) - r->code_used;
    drop_filled(bt, r->code_used, (uint64_t)(end - bt->rw));
    r->code_used = (uint32_t)align_up((uint64_t)(end - bt->rw), BT_START_ALIGN);
    note_again(bt, b);
    return made;
}

/* ---- changed code, faults ----------------------------------------------------------------------- */

static void overwrite(struct bt *bt, uint32_t entry, uint32_t out)
{
    uint8_t *at = touch(bt, entry);

    at[0] = 0xe9;
    emit_patch(at + 1, bt->rw + out);
}

/* The block's own exit for attention takes the guest to its start. */
static void drop_block(struct bt *bt, struct tblock *b)
{
    overwrite(bt, b->start, b->start + b->out);
    if (b->code)
        overwrite(bt, b->start + b->code, b->start + b->out);
    if (b->body != b->code)
        overwrite(bt, b->start + b->body, b->start + b->out);
    b->stale = true;
    bt->invalidated++;
}

static void drop_stale_in(struct soft_cpu *c, unsigned region, const struct code_pages *changed)
{
    struct bt *bt = bt_of(c);

    for (unsigned n = 0; n < bt->regions[region].nblocks; n++) {
        struct tblock *b = block_of(bt, region, n);

        if ((code_pages_have(changed, b->page) || b->crosses) && !b->stale && bt_is_stale(c->vm->mem, b))
            drop_block(bt, b);
    }
}

static bool intersect(const struct code_pages *a, const struct code_pages *b)
{
    for (unsigned w = 0; w < ARRAY_SIZE(a->words); w++)
        if (atomic_load_explicit(&a->words[w], memory_order_relaxed) &
            atomic_load_explicit(&b->words[w], memory_order_relaxed))
            return true;
    return false;
}

void bt_drop_stale(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);
    struct code_pages changed;

    for (unsigned w = 0; w < ARRAY_SIZE(changed.words); w++)
        changed.words[w] = atomic_exchange(&c->changed.words[w], 0);
    for (unsigned r = 0; r < bt->nregions; r++)
        if (bt->regions[r].nblocks && intersect(&changed, &bt->regions[r].pages))
            drop_stale_in(c, r, &changed);
    bt_jumps_clear(bt);
}

const struct tblock *bt_block_at(const struct bt *bt, uint64_t offset)
{
    unsigned lo = 0, hi, r;

    if (offset < bt->code_start || offset >= code_of(bt, bt->nregions))
        return NULL;
    r = region_of(bt, offset);
    hi = bt->regions[r].nblocks;
    while (hi - lo > 1) {
        unsigned mid = (lo + hi) / 2;

        if (block_of(bt, r, mid)->start <= offset)
            lo = mid;
        else
            hi = mid;
    }
    return hi ? block_of(bt, r, lo) : NULL;
}

/* ---- counters -------------------------------------------------------------------------------------- */

void bt_cache_info(const struct bt *bt, unsigned id, FILE *f)
{
    uint64_t n = MAX(bt->translated, 1u), code = 0, meta = 0;

    for (unsigned r = 0; r < bt->nregions; r++) {
        code += bt->regions[r].code_used - code_of(bt, r);
        meta += bt->regions[r].meta_used - meta_of(bt, r) + bt->regions[r].nblocks * sizeof(uint32_t);
    }
    fprintf(f,
            "cpu %u: translated %llu instructions, %llu of them again after an eviction; %llu bytes of code and "
            "%llu ns each\n",
            id, (unsigned long long)bt->translated, (unsigned long long)bt->again,
            (unsigned long long)(bt->translated_bytes / n), (unsigned long long)(bt->timed_ns / MAX(bt->timed, 1u)));
    fprintf(f,
            "cpu %u: code cache: %u blocks, %llu KiB of code and %llu KiB beside it; %u of %u regions of %u KiB; "
            "blocks invalidated %llu, evictions %llu, flushes %llu\n",
            id, bt->nblocks, (unsigned long long)code / 1024, (unsigned long long)meta / 1024, count_open(bt),
            bt->nregions, bt->region_code / 1024, (unsigned long long)bt->invalidated,
            (unsigned long long)bt->evictions, (unsigned long long)bt->flushes);
}
