/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rights to write: from a page of the memfd to the TLB entries of a vCPU that
 * let it write there without asking.
 *
 * When code appears on a page, those entries have to go, on this vCPU at once
 * and on others before the code counts as watched (soft_code_revoke).  One bit
 * for each page says whether a vCPU may have such an entry at all; others read
 * it and mostly need not ask.  Order: a fill sets the bit and then looks
 * whether the page holds code; who adds code marks the page and then looks at
 * the bit.  Both are sequentially consistent, so one of the two sees the
 * other.
 *
 * Nodes are only taken off a list when it is revoked; one whose entry has gone
 * by another way does no harm.  When none is left, all rights are taken back
 * and filled again as they are needed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "engine/soft/tlb.h"

#define NODES    16384u
#define HEADS    8192u
#define REQUESTS 32u

struct right {
    uint64_t la;         /* page | view */
    uint32_t page, next; /* next: number of a node, 0: none */
};

struct soft_rights {
    _Atomic uint64_t *maybe; /* a bit for each page of the memfd */
    size_t maybe_bytes;
    unsigned used;
    uint32_t heads[HEADS];
    struct right nodes[NODES]; /* [0] is not used */

    pthread_mutex_t lock; /* of what follows: from other vCPUs */
    bool all;
    unsigned nrequests;
    uint64_t requests[REQUESTS];
};

_Static_assert(VIEW_COUNT < MEM_PAGE_SIZE, "a view fits below a page address");

int soft_rights_create(struct soft_cpu *c)
{
    struct soft_rights *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    r->maybe_bytes =
        align_up((c->vm->mem ? c->vm->mem->ram_size >> MEM_PAGE_SHIFT : 0) / 8 + 8, MEM_PAGE_SIZE);
    r->maybe = mmap(NULL, r->maybe_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r->maybe == MAP_FAILED) {
        free(r);
        return -ENOMEM;
    }
    pthread_mutex_init(&r->lock, NULL);
    c->rights = r;
    return 0;
}

void soft_rights_destroy(struct soft_cpu *c)
{
    struct soft_rights *r = c->rights;

    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    munmap((void *)r->maybe, r->maybe_bytes);
    free(r);
    c->rights = NULL;
}

/* ---- on the vCPU's thread -------------------------------------------------------- */

static void forget_bit(struct soft_rights *r, uint64_t page)
{
    atomic_fetch_and(&r->maybe[page / 64], ~BIT(page % 64));
}

static bool has_bit(const struct soft_rights *r, uint64_t page)
{
    return atomic_load(&r->maybe[page / 64]) >> (page % 64) & 1;
}

void soft_rights_forget(struct soft_cpu *c)
{
    struct soft_rights *r = c->rights;

    for (unsigned n = 1; n <= r->used; n++) {
        r->heads[r->nodes[n].page % HEADS] = 0;
        forget_bit(r, r->nodes[n].page);
    }
    r->used = 0;
}

static bool is_noted(const struct soft_rights *r, uint64_t key, uint64_t page)
{
    for (unsigned n = r->heads[page % HEADS]; n; n = r->nodes[n].next)
        if (r->nodes[n].page == page && r->nodes[n].la == key)
            return true;
    return false;
}

static void note(struct soft_cpu *c, uint64_t key, uint64_t page)
{
    struct soft_rights *r = c->rights;
    uint32_t *head = &r->heads[page % HEADS];

    if (is_noted(r, key, page))
        return;
    if (r->used == NODES - 1)
        soft_rights_drop_all(c);
    r->nodes[++r->used] = (struct right){ .la = key, .page = (uint32_t)page, .next = *head };
    *head = r->used;
}

bool soft_rights_add(struct soft_cpu *c, unsigned view, uint64_t la, uint64_t page)
{
    struct soft_rights *r = c->rights;

    if (mem_has_code(c->vm->mem, page))
        return false;
    note(c, la | view, page);
    if (!has_bit(r, page)) {
        atomic_fetch_or(&r->maybe[page / 64], BIT(page % 64));
        if (mem_has_code(c->vm->mem, page)) {
            soft_rights_drop(c, page);
            return false;
        }
    }
    return true;
}

static void take_back(struct soft_cpu *c, uint64_t key)
{
    unsigned view = key & (MEM_PAGE_SIZE - 1);
    uint64_t la = key & MEM_PAGE_MASK;
    struct tlb_entry *e = &c->tlbs[view][tlb_index(la)];

    if (e->write == la)
        e->write = TLB_NONE;
    if (c->tables)
        c->tables->revoke(c, view, la);
}

void soft_rights_drop(struct soft_cpu *c, uint64_t page)
{
    struct soft_rights *r = c->rights;
    uint32_t *link = &r->heads[page % HEADS];

    if (!has_bit(r, page))
        return;
    while (*link) {
        struct right *n = &r->nodes[*link];

        if (n->page == page) {
            take_back(c, n->la);
            *link = n->next;
        } else {
            link = &n->next;
        }
    }
    c->drops++;
    c->stats.revoked++;
    forget_bit(r, page);
}

void soft_rights_drop_all(struct soft_cpu *c)
{
    for (unsigned v = 0; v < VIEW_COUNT; v++)
        for (unsigned w = 0; w < TLB_SIZE / 64; w++)
            for (uint64_t bits = c->tlb_used[v][w]; bits; bits &= bits - 1)
                c->tlbs[v][w * 64 + (unsigned)__builtin_ctzll(bits)].write = TLB_NONE;
    if (c->tables)
        c->tables->revoke_all(c);
    c->drops++;
    c->stats.revoked_all++;
    soft_rights_forget(c);
}

void soft_rights_answer(struct soft_cpu *c)
{
    struct soft_rights *r = c->rights;
    uint64_t pages[REQUESTS];
    unsigned n;
    bool all;

    pthread_mutex_lock(&r->lock);
    n = r->nrequests;
    all = r->all;
    memcpy(pages, r->requests, n * sizeof(pages[0]));
    r->nrequests = 0;
    r->all = false;
    pthread_mutex_unlock(&r->lock);
    if (all) {
        soft_rights_drop_all(c);
        return;
    }
    while (n-- > 0)
        soft_rights_drop(c, pages[n]);
}

/* ---- any thread -------------------------------------------------------------------- */

bool soft_rights_ask(struct soft_cpu *other, uint64_t page)
{
    struct soft_rights *r = other->rights;

    if (!has_bit(r, page))
        return false;
    pthread_mutex_lock(&r->lock);
    if (r->nrequests < REQUESTS)
        r->requests[r->nrequests++] = page;
    else
        r->all = true;
    pthread_mutex_unlock(&r->lock);
    return true;
}

void soft_rights_ask_all(struct soft_cpu *other)
{
    pthread_mutex_lock(&other->rights->lock);
    other->rights->all = true;
    pthread_mutex_unlock(&other->rights->lock);
    soft_attention(other, ATT_CODE);
}
