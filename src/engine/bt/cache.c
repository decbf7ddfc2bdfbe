/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The code cache: one memfd mapped twice, writable and executable (W^X), and
 * an arena for what belongs to the code.  Both are filled from the front and
 * emptied as a whole.
 *
 * A block is reached by the dispatcher's hash, by the jump tables, and by
 * direct jumps from blocks of the same page.  When a page's code is written,
 * the entries of its blocks are overwritten with a jump that leaves.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/bt/bt.h"

#define CODE_SIZE (64 * MiB)
#define MAX_BLOCKS (512 * 1024)

int bt_cache_create(struct bt *bt, uint64_t size)
{
    int fd = memfd_create("code", MFD_CLOEXEC);

    bt->code_size = size ? align_up(size, MEM_PAGE_SIZE) : CODE_SIZE;
    bt->meta_size = bt->code_size / 4 * 3;
    if (fd < 0 || ftruncate(fd, (off_t)bt->code_size))
        goto out;
    bt->rw = mmap(NULL, bt->code_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    bt->rx = mmap(NULL, bt->code_size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    bt->meta = mmap(NULL, bt->meta_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bt->order = mmap(NULL, MAX_BLOCKS * sizeof(struct tblock *), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
out:
    if (fd >= 0)
        close(fd);
    return bt->rw && bt->rw != MAP_FAILED && bt->rx != MAP_FAILED && bt->meta != MAP_FAILED &&
           bt->order != MAP_FAILED ? 0 : -1;
}

static void unmap(void *p, size_t size)
{
    if (p && p != MAP_FAILED)
        munmap(p, size);
}

void bt_cache_destroy(struct bt *bt)
{
    unmap(bt->rw, bt->code_size);
    unmap(bt->rx, bt->code_size);
    unmap(bt->meta, bt->meta_size);
    unmap(bt->order, MAX_BLOCKS * sizeof(struct tblock *));
}

void bt_jumps_clear(struct bt *bt)
{
    for (unsigned n = 0; n < ARRAY_SIZE(bt->spaces); n++)
        bt->spaces[n].gen = 0;
}

void bt_cache_flush(struct bt *bt)
{
    memset(bt->hash, 0, sizeof(bt->hash));
    bt_jumps_clear(bt);
    bt->code_used = bt->code_start;
    bt->meta_used = 16;     /* no site has offset 0 */
    bt->nblocks = 0;
    bt->flushes++;
}

void *bt_meta_alloc(struct bt *bt, size_t size)
{
    void *p = bt->meta + bt->meta_used;

    size = align_up(size, 16);
    if (bt->meta_size - bt->meta_used < size || bt->nblocks == MAX_BLOCKS)
        return NULL;
    bt->meta_used += size;
    return p;
}

void bt_meta_shrink(struct bt *bt, void *end)
{
    bt->meta_used = align_up((uint64_t)((uint8_t *)end - bt->meta), 16);
}

static unsigned hash_of(uint64_t page, unsigned offset, unsigned mode)
{
    return (unsigned)((page * 0x9e3779b97f4a7c15ULL ^ offset * 0x85ebca6bULL ^ mode * 0xc2b2ae35ULL) >> 20) &
           ((1 << BT_HASH_BITS) - 1);
}

static bool is_stale(const struct mem *mem, const struct tblock *b)
{
    return b->version != mem_code_version(mem, b->page) ||
           (b->page2 != BT_NO_PAGE && b->version2 != mem_code_version(mem, b->page2));
}

struct tblock *bt_lookup_crossing(struct soft_cpu *c, uint64_t page, uint64_t page2, unsigned offset,
                                  unsigned mode)
{
    struct tblock *b = bt_of(c)->hash[hash_of(page, offset, mode)];

    while (b && (b->page != page || b->page2 == BT_NO_PAGE || (page2 != BT_NO_PAGE && b->page2 != page2) ||
                 b->offset != offset || b->mode != mode || is_stale(c->vm->mem, b)))
        b = b->next;
    return b;
}

struct tblock *bt_lookup(struct soft_cpu *c, uint64_t page, unsigned offset, unsigned mode)
{
    struct tblock **link = &bt_of(c)->hash[hash_of(page, offset, mode)];

    while (*link) {
        struct tblock *b = *link;

        if (b->page == page && b->offset == offset && b->mode == mode) {
            if (is_stale(c->vm->mem, b)) {
                *link = b->next;
                continue;
            }
            if (b->page2 == BT_NO_PAGE)
                return b;
        }
        link = &b->next;
    }
    return NULL;
}

void bt_insert(struct bt *bt, struct tblock *b)
{
    struct tblock **head = &bt->hash[hash_of(b->page, b->offset, b->mode)];

    b->next = *head;
    *head = b;
    bt->order[bt->nblocks++] = b;
}

static void overwrite(struct bt *bt, uint32_t entry, uint32_t out)
{
    bt->rw[entry] = 0xe9;
    emit_patch(bt->rw + entry + 1, bt->rw + out);
}

void bt_drop_stale(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);

    for (unsigned n = 0; n < bt->nblocks; n++) {
        struct tblock *b = bt->order[n];

        if (b->stale || !is_stale(c->vm->mem, b))
            continue;
        /* The block's own exit for attention takes the guest to its start. */
        overwrite(bt, b->code, b->out);
        overwrite(bt, b->body, b->out);
        overwrite(bt, b->start, b->out);
        b->stale = true;
        bt->invalidated++;
    }
    bt_jumps_clear(bt);
}

const struct site *bt_find_site(struct bt *bt, uintptr_t host)
{
    uint64_t off = host - (uintptr_t)bt->rx;
    unsigned lo = 0, hi = bt->nblocks;
    const struct tblock *b;

    if (off >= bt->code_used || !hi)
        return NULL;
    while (hi - lo > 1) {
        unsigned mid = (lo + hi) / 2;

        if (bt->order[mid]->start <= off)
            lo = mid;
        else
            hi = mid;
    }
    b = bt->order[lo];
    for (unsigned n = 0; n < b->nsites; n++)
        if (b->sites[n].host == off)
            return &b->sites[n];
    return NULL;
}
