/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables that translated code looks guest pages up in, for each view one for
 * reads and one for writes.  They follow the software TLB: what it is filled
 * with is filled here, what it drops is dropped here; but they hold more.
 *
 * Flat: 8 bytes for each page of the address space, host address minus guest
 * address, 0 for a miss.  Hashed, where a host refuses to reserve that much:
 * 64K tags and as many addends, indexed by the low bits of the page number.
 *
 * What was filled is noted in journals, so that a flush costs what was used.
 * Supervisor entries that are not global have one of their own; when another
 * address space takes over they are put away, and brought back with it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/bt/bt.h"
#include "engine/soft/tlb.h"

#define PAGES_48    (1ULL << 36)
#define TABLE_BYTES (PAGES_48 * 8)
#define HASH_SLOTS  (BT_HASH_BYTES / 8)
/* Low bits of the two bases differ (bt.h). */
#define READ_BIAS   0x15380
#define JOURNAL_MAX 32768u
/* Table pages of all views of a vCPU, beside what RAM takes that is mapped
 * three times: by the kernel with AC clear and set, and by a process. */
#define PAGE_BUDGET 512u
/* A view with more is mapped afresh when it is empty anyway. */
#define PAGES_KEPT   64u
#define HASHED_SLOTS 4u

/* ---- entries ------------------------------------------------------------------- */

struct pair {
    uint64_t read, write;
}; /* addends, 0: none */

static uint64_t page_of(uint64_t la)
{
    return la >> MEM_PAGE_SHIFT & (PAGES_48 - 1);
}

static uint64_t address_of(uint64_t page)
{
    return (uint64_t)((int64_t)(page << 28) >> 16);
}

static unsigned region_bit(uint64_t page)
{
    uint64_t region = page >> 9;

    return (unsigned)(region ^ region >> 13) % (64 * BT_REGION_WORDS);
}

/* Are there table pages for the region of this page?  Some say yes that have none. */
static bool in_use(const uint64_t *regions, uint64_t page)
{
    unsigned bit = region_bit(page);

    return regions[bit / 64] >> (bit % 64) & 1;
}

static void use(struct bt_view *v, uint64_t *regions, uint64_t page)
{
    unsigned bit = region_bit(page);

    if (regions[bit / 64] >> (bit % 64) & 1)
        return;
    regions[bit / 64] |= BIT(bit % 64);
    v->pages++;
}

/* A tag that no address with this index has. */
static uint64_t hash_none(unsigned slot)
{
    return slot ? 0 : MEM_PAGE_SIZE;
}

static struct pair hash_get(const struct bt_view *v, uint64_t page)
{
    const unsigned slot = page % HASH_SLOTS;
    const uint64_t la = address_of(page);

    return (struct pair){ .read = v->read[slot] == la ? v->read[HASH_SLOTS + slot] : 0,
                          .write = v->write[slot] == la ? v->write[HASH_SLOTS + slot] : 0 };
}

static void hash_set(uint64_t *table, uint64_t page, uint64_t addend)
{
    const unsigned slot = page % HASH_SLOTS;
    const uint64_t la = address_of(page);

    if (addend) {
        table[slot] = la;
        table[HASH_SLOTS + slot] = addend;
    } else if (table[slot] == la) {
        table[slot] = hash_none(slot);
    }
}

static struct pair get(const struct bt_view *v, uint64_t page)
{
    struct pair p = { 0 };

    if (v->hashed)
        return hash_get(v, page);
    if (in_use(v->read_regions, page))
        p.read = v->read[page];
    if (p.read && in_use(v->write_regions, page))
        p.write = v->write[page];
    return p;
}

/* Table pages are only touched where there is something to store, since the
 * first touch of one is dear. */
static void put(struct bt_view *v, uint64_t page, struct pair p)
{
    if (v->hashed) {
        hash_set(v->read, page, p.read);
        hash_set(v->write, page, p.write);
        return;
    }
    if (p.read)
        use(v, v->read_regions, page);
    if (p.write)
        use(v, v->write_regions, page);
    if (in_use(v->read_regions, page) && v->read[page] != p.read)
        v->read[page] = p.read;
    if (in_use(v->write_regions, page) && v->write[page] != p.write)
        v->write[page] = p.write;
}

static void wipe(struct bt_view *v, uint64_t page)
{
    put(v, page, (struct pair){ 0 });
}

/* ---- life ------------------------------------------------------------------------ */

static size_t view_bytes(bool hashed)
{
    return 2 * (hashed ? 2 * BT_HASH_BYTES : TABLE_BYTES) + 64 * MEM_PAGE_SIZE;
}

static void *reserve(void *at, size_t size)
{
    void *p = mmap(at, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    madvise(p, size, MADV_NOHUGEPAGE);
    madvise(p, size, MADV_DONTDUMP);
    madvise(p, size, MADV_DONTFORK);
    return p;
}

static void view_destroy(struct bt_view *v)
{
    if (v->map)
        munmap(v->map, view_bytes(v->hashed));
    free(v->all.pages);
    free(v->local.pages);
    *v = (struct bt_view){ 0 };
}

static int view_create(struct soft_cpu *c, unsigned n, bool hashed)
{
    struct bt_view *v = &bt_of(c)->views[n];

    v->hashed = hashed;
    v->map = reserve(NULL, view_bytes(hashed));
    /* The context again, below the write table. */
    if (!v->map || mmap(v->map, CTX_PAGES * MEM_PAGE_SIZE, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_FIXED, c->fd, 0) == MAP_FAILED)
        return -ENOMEM;
    v->write = (uint64_t *)(v->map + CTX_BIAS);
    v->read = (uint64_t *)(v->map + (view_bytes(hashed) - 64 * MEM_PAGE_SIZE) / 2 +
                           16 * MEM_PAGE_SIZE + (READ_BIAS & 0x3fff));
    if (hashed)
        v->read[0] = v->write[0] = hash_none(0);
    v->all.pages = malloc(JOURNAL_MAX * sizeof(uint64_t));
    v->local.pages = n < VIEW_SLOW ? malloc(JOURNAL_MAX * sizeof(uint64_t)) : NULL;
    return v->all.pages && (v->local.pages || n >= VIEW_SLOW) ? 0 : -ENOMEM;
}

/* As many user views as the host lets us have; at least one. */
static int views_create(struct soft_cpu *c, unsigned slots, bool hashed)
{
    struct bt *bt = bt_of(c);
    unsigned n = 0;

    if (view_create(c, VIEW_KERNEL, hashed) || view_create(c, VIEW_KERNEL_AC, hashed))
        return -ENOMEM;
    while (n < slots && !view_create(c, VIEW_USER + n, hashed))
        n++;
    if (n < slots)
        view_destroy(&bt->views[VIEW_USER + n]);
    c->asid_slots = n;
    bt->hashed = hashed;
    return n ? 0 : -ENOMEM;
}

int bt_tables_create(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);
    const unsigned slots = c->asid_slots;
    int ret;

    bt->budget = PAGE_BUDGET + (unsigned)MIN(3 * 2 * (c->vm->mem->ram_size >> 21), 1u << 20);
    bt->parked = calloc(ASID_MAX, sizeof(*bt->parked));
    if (!bt->parked)
        return -ENOMEM;
    ret = views_create(c, slots, false);
    if (!ret)
        return 0;
    bt_views_destroy(bt);
    ret = views_create(c, MIN(slots, HASHED_SLOTS), true);
    if (ret)
        bt_tables_destroy(bt);
    return ret;
}

void bt_views_destroy(struct bt *bt)
{
    for (unsigned n = 0; n < ARRAY_SIZE(bt->views); n++)
        view_destroy(&bt->views[n]);
}

void bt_tables_destroy(struct bt *bt)
{
    bt_views_destroy(bt);
    free(bt->parked);
    bt->parked = NULL;
}

/* ---- forgetting ---------------------------------------------------------------------- */

static void wipe_all(struct bt_view *v, struct bt_journal *j)
{
    for (unsigned n = 0; n < j->n; n++)
        wipe(v, j->pages[n]);
    j->n = 0;
}

/* Give the memory back, with the host's own tables for it. */
static void map_afresh(struct bt *bt, struct bt_view *v)
{
    uint8_t *start = v->map + CTX_PAGES * MEM_PAGE_SIZE;
    size_t size = view_bytes(false) - CTX_PAGES * MEM_PAGE_SIZE;

    if (!reserve(start, size) && madvise(start, size, MADV_DONTNEED))
        abort(); /* translated code has nothing to look at any more */
    memset(v->read_regions, 0, sizeof(v->read_regions));
    memset(v->write_regions, 0, sizeof(v->write_regions));
    bt->pages -= v->pages;
    v->pages = v->all.n = v->local.n = 0;
    bt->remaps++;
}

static void clear(struct soft_cpu *c, unsigned view)
{
    struct bt_view *v = &bt_of(c)->views[view];

    if (v->pages > PAGES_KEPT)
        map_afresh(bt_of(c), v);
    wipe_all(v, &v->all);
    wipe_all(v, &v->local);
}

static void clear_local(struct soft_cpu *c)
{
    for (unsigned n = 0; n < VIEW_SLOW; n++)
        wipe_all(&bt_of(c)->views[n], &bt_of(c)->views[n].local);
}

static void wipe_pages(struct bt_view *v, uint64_t first, uint64_t n)
{
    for (uint64_t k = 0; k < n; k++) {
        if (!v->hashed && !((first + k) & 511) && !in_use(v->read_regions, first + k)) {
            k += 511;
            continue;
        }
        wipe(v, first + k);
    }
}

static void wipe_noted(struct bt_view *v, const struct bt_journal *j, uint64_t first, uint64_t n)
{
    for (unsigned k = 0; k < j->n; k++)
        if (j->pages[k] - first < n)
            wipe(v, j->pages[k]);
}

static void clear_range(struct soft_cpu *c, unsigned view, uint64_t la, uint64_t mask)
{
    struct bt_view *v = &bt_of(c)->views[view];
    uint64_t first = page_of(la), n = (mask >> MEM_PAGE_SHIFT) + 1;

    if (n <= 1024) {
        wipe_pages(v, first, n);
        return;
    }
    wipe_noted(v, &v->all, first, n);
    wipe_noted(v, &v->local, first, n);
}

/* ---- filling -------------------------------------------------------------------------- */

static void store(struct bt *bt, struct bt_view *v, struct bt_journal *j, uint64_t page,
                  struct pair p)
{
    const unsigned before = v->pages;

    if (!get(v, page).read)
        j->pages[j->n++] = page;
    put(v, page, p);
    bt->pages += v->pages - before;
}

/* What the TLB still held of a view would never be filled here again. */
static void empty_view(struct soft_cpu *c, unsigned view)
{
    struct bt_view *v = &bt_of(c)->views[view];

    map_afresh(bt_of(c), v);
    soft_tlb_drop_view(c, view);
}

/* Over budget: other address spaces go first, then the largest view. */
static void make_room(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);
    unsigned most = VIEW_KERNEL;

    for (unsigned n = 0; n < c->asid_slots; n++)
        if (n != c->asid_slot && bt->views[VIEW_USER + n].pages) {
            soft_forget_slot(c, n);
            if (bt->views[VIEW_USER + n].pages)
                empty_view(c, VIEW_USER + n);
        }
    for (unsigned n = 0; n < ARRAY_SIZE(bt->views); n++)
        if (bt->views[n].pages > bt->views[most].pages)
            most = n;
    if (bt->pages > bt->budget / 4 * 3)
        empty_view(c, most);
}

static void fill(struct soft_cpu *c, unsigned view, uint64_t la, uintptr_t addend, bool write,
                 bool global)
{
    struct bt *bt = bt_of(c);
    struct bt_view *v = &bt->views[view];
    struct bt_journal *j = view < VIEW_SLOW && !global ? &v->local : &v->all;
    struct pair p = { addend, write ? addend : 0 };

    bt->fills++;
    if (unlikely(bt->pages > bt->budget))
        make_room(c);
    if (unlikely(j->n == JOURNAL_MAX)) {
        clear(c, view);
        soft_tlb_drop_view(c, view);
    }
    store(bt, v, j, page_of(la), p);
}

static bool lookup(struct soft_cpu *c, unsigned view, uint64_t la, bool write, struct tlb_entry *e)
{
    struct pair p = get(&bt_of(c)->views[view], page_of(la));

    if (!(write ? p.write : p.read))
        return false;
    *e = (struct tlb_entry){ .read = la,
                             .write = p.write ? la : TLB_NONE,
                             .addend = write ? p.write : p.read };
    return true;
}

/* ---- entries that are put away ------------------------------------------------------------ */

static void park_view(struct bt_parked *k, struct bt_view *v, unsigned view)
{
    while (v->local.n > 0) {
        uint64_t page = v->local.pages[--v->local.n];
        struct pair p = get(v, page);

        if (p.read && k->n < BT_PARKED_MAX)
            k->e[k->n++] = (struct bt_parked_entry){ page, view, p.read, p.write };
        wipe(v, page);
    }
}

static void park(struct soft_cpu *c, unsigned slot)
{
    struct bt *bt = bt_of(c);

    bt->parked[slot].n = 0;
    for (unsigned n = 0; n < VIEW_SLOW; n++)
        park_view(&bt->parked[slot], &bt->views[n], n);
}

/* Oldest first, so that the newest are put away first again. */
static void unpark(struct soft_cpu *c, unsigned slot)
{
    struct bt *bt = bt_of(c);
    struct bt_parked *k = &bt->parked[slot];

    while (k->n > 0) {
        struct bt_parked_entry *e = &k->e[--k->n];
        struct bt_view *v = &bt->views[e->view];

        if (!get(v, e->page).read && v->local.n < JOURNAL_MAX)
            store(bt, v, &v->local, e->page, (struct pair){ e->read, e->write });
    }
}

static void clear_parked(struct soft_cpu *c, unsigned slot, uint64_t la, uint64_t mask)
{
    struct bt_parked *k = &bt_of(c)->parked[slot];
    const uint64_t first = page_of(la), n = (mask >> MEM_PAGE_SHIFT) + 1;
    unsigned kept = 0;

    if (mask == ~0ULL) {
        k->n = 0;
        return;
    }
    for (unsigned i = 0; i < k->n; i++)
        if (k->e[i].page - first >= n)
            k->e[kept++] = k->e[i];
    k->n = kept;
}

/* ---- rights --------------------------------------------------------------------------------- */

static void take_write(struct bt_view *v, uint64_t page)
{
    struct pair p = get(v, page);

    if (v->hashed)
        hash_set(v->write, page, 0);
    else if (p.write)
        v->write[page] = 0;
}

static void revoke(struct soft_cpu *c, unsigned view, uint64_t la)
{
    struct bt *bt = bt_of(c);
    const uint64_t page = page_of(la);

    take_write(&bt->views[view], page);
    if (view >= VIEW_SLOW)
        return;
    for (unsigned n = 0; n < c->asid_slots; n++)
        for (unsigned k = 0; k < bt->parked[n].n; k++)
            if (bt->parked[n].e[k].page == page && bt->parked[n].e[k].view == view)
                bt->parked[n].e[k].write = 0;
}

static void revoke_noted(struct bt_view *v, const struct bt_journal *j)
{
    for (unsigned n = 0; n < j->n; n++)
        take_write(v, j->pages[n]);
}

static void revoke_all(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);

    for (unsigned n = 0; n < ARRAY_SIZE(bt->views); n++) {
        revoke_noted(&bt->views[n], &bt->views[n].all);
        revoke_noted(&bt->views[n], &bt->views[n].local);
    }
    for (unsigned n = 0; n < c->asid_slots; n++)
        for (unsigned k = 0; k < bt->parked[n].n; k++)
            bt->parked[n].e[k].write = 0;
}

const struct soft_tables bt_tables = {
    .fill = fill,
    .lookup = lookup,
    .clear = clear,
    .clear_local = clear_local,
    .park = park,
    .unpark = unpark,
    .clear_parked = clear_parked,
    .clear_range = clear_range,
    .revoke = revoke,
    .revoke_all = revoke_all,
};

void bt_tables_info(const struct soft_cpu *c, FILE *f)
{
    const struct bt *bt = c->translator;
    unsigned long long entries = 0;

    for (unsigned n = 0; n < ARRAY_SIZE(bt->views); n++)
        entries += bt->views[n].all.n + bt->views[n].local.n;
    fprintf(f,
            "cpu %u: %s tables: %llu fills, %llu entries noted, %llu KiB in use, mapped afresh "
            "%llu times\n",
            c->id, bt->hashed ? "hashed" : "flat", (unsigned long long)bt->fills, entries,
            bt->pages * 4ULL, (unsigned long long)bt->remaps);
}
