/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flat tables: for each view two sparse tables of 8 bytes for each guest page,
 * host address minus guest address, 0 for a miss.  They follow the software
 * TLB: what it is filled with is filled here, what it drops is dropped here.
 * What was filled is noted in a journal, so that a flush costs what was used.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/bt/bt.h"

#define PAGES_48 (1ULL << 36)
#define TABLE_BYTES (PAGES_48 * 8)
/* Low bits of the two bases differ (bt.h). */
#define READ_BIAS 0x15380
#define JOURNAL_MAX 32768u
#define JOURNAL_GLOBAL (1ULL << 63)
/* Table pages of one view before it is mapped afresh: 8 MiB. */
#define PAGE_BUDGET 2048u

static size_t view_bytes(void)
{
    return 2 * TABLE_BYTES + 64 * MEM_PAGE_SIZE;
}

static int view_create(struct soft_cpu *c, struct bt_view *v)
{
    v->map = mmap(NULL, view_bytes(), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (v->map == MAP_FAILED) {
        v->map = NULL;
        return -ENOMEM;
    }
    madvise(v->map, view_bytes(), MADV_NOHUGEPAGE);
    madvise(v->map, view_bytes(), MADV_DONTDUMP);
    madvise(v->map, view_bytes(), MADV_DONTFORK);
    /* The context again, below the write table. */
    if (mmap(v->map, CTX_PAGES * MEM_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, c->fd, 0) == MAP_FAILED)
        return -ENOMEM;
    v->write = (uint64_t *)(v->map + CTX_BIAS);
    v->read = (uint64_t *)(v->map + TABLE_BYTES + 16 * MEM_PAGE_SIZE + (READ_BIAS & 0x3fff));
    v->journal = malloc(JOURNAL_MAX * sizeof(*v->journal));
    return v->journal ? 0 : -ENOMEM;
}

int bt_tables_create(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);

    for (unsigned n = 0; n < ARRAY_SIZE(bt->views); n++)
        if (view_create(c, &bt->views[n])) {
            bt_tables_destroy(bt);
            return -ENOMEM;
        }
    return 0;
}

void bt_tables_destroy(struct bt *bt)
{
    for (unsigned n = 0; n < ARRAY_SIZE(bt->views); n++) {
        struct bt_view *v = &bt->views[n];

        if (v->map)
            munmap(v->map, view_bytes());
        free(v->journal);
        *v = (struct bt_view){ 0 };
    }
}

static uint64_t index_of(uint64_t la)
{
    return la >> MEM_PAGE_SHIFT & (PAGES_48 - 1);
}

static void clear(struct bt_view *v, uint64_t index)
{
    v->read[index] = 0;
    v->write[index] = 0;
}

static void clear_all(struct bt_view *v)
{
    if (v->pages > PAGE_BUDGET) {
        /* Give the memory back: cheaper than clearing, and it bounds it. */
        madvise(v->map + (CTX_PAGES + 1) * MEM_PAGE_SIZE, view_bytes() - (CTX_PAGES + 1) * MEM_PAGE_SIZE,
                MADV_DONTNEED);
        v->pages = 0;
        memset(v->regions, 0, sizeof(v->regions));
    }
    for (unsigned n = 0; n < v->n; n++)
        clear(v, v->journal[n] & ~JOURNAL_GLOBAL);
    v->n = 0;
}

static void clear_nonglobal(struct bt_view *v)
{
    unsigned kept = 0;

    for (unsigned n = 0; n < v->n; n++) {
        if (v->journal[n] & JOURNAL_GLOBAL)
            v->journal[kept++] = v->journal[n];
        else
            clear(v, v->journal[n]);
    }
    v->n = kept;
}

/* Count the table pages in use, a few twice. */
static void note_region(struct bt_view *v, uint64_t region)
{
    uint64_t *slot = &v->regions[region % BT_REGIONS];

    if (*slot != region + 1) {
        *slot = region + 1;
        v->pages += 2;
    }
}

static void fill(struct soft_cpu *c, enum tlb_view view, uint64_t la, uintptr_t addend, bool write,
                 bool global)
{
    struct bt_view *v = &bt_of(c)->views[view];
    uint64_t index = index_of(la);

    if (v->n == JOURNAL_MAX || v->pages > PAGE_BUDGET) {
        clear_all(v);
        /* What the TLB still held would never be filled here again. */
        for (unsigned n = 0; n < TLB_SIZE; n++)
            c->tlbs[view][n].read = c->tlbs[view][n].write = TLB_NONE;
    }
    note_region(v, index >> 9);
    if (!v->read[index])
        v->journal[v->n++] = index | (global ? JOURNAL_GLOBAL : 0);
    v->read[index] = addend;
    v->write[index] = write ? addend : 0;
}

static void flush(struct soft_cpu *c, bool globals)
{
    struct bt *bt = bt_of(c);

    for (unsigned n = 0; n < ARRAY_SIZE(bt->views); n++) {
        if (globals)
            clear_all(&bt->views[n]);
        else
            clear_nonglobal(&bt->views[n]);
    }
}

static void flush_page(struct soft_cpu *c, uint64_t la, uint64_t size_mask)
{
    struct bt *bt = bt_of(c);
    uint64_t first = index_of(la & ~size_mask), pages = (size_mask >> MEM_PAGE_SHIFT) + 1;

    if (pages > 512) {      /* 1 GiB pages: rare enough */
        flush(c, true);
        return;
    }
    for (unsigned n = 0; n < ARRAY_SIZE(bt->views); n++)
        for (uint64_t k = 0; k < pages; k++)
            if (bt->views[n].read[first + k])
                clear(&bt->views[n], first + k);
}

static void flush_writes(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);

    for (unsigned n = 0; n < ARRAY_SIZE(bt->views); n++)
        for (unsigned k = 0; k < bt->views[n].n; k++)
            bt->views[n].write[bt->views[n].journal[k] & ~JOURNAL_GLOBAL] = 0;
}

const struct soft_tables bt_tables = {
    .fill = fill,
    .flush = flush,
    .flush_page = flush_page,
    .flush_writes = flush_writes,
};
