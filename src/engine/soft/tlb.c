/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is kept of address spaces, and flushing (SDM 3A 4.10).
 *
 * Each PCID that was used of late has a slot: a user view, its user code's
 * generation, and an id that tags its entries in the fetch TLB.  The
 * supervisor's views are shared: global entries serve all address spaces,
 * others belong to the present one; on a switch the software TLB drops them,
 * and a translator's tables put them away until the slot is present again.
 *
 * A flush costs what was filled: dropped entries are found by bitmaps and
 * journals, fetch TLB entries die with the id of their owner, and a page's
 * entries are looked for in one place unless its region was ever filled from
 * a large page.
 */
#include "engine/soft/tlb.h"

#include <string.h>

#define HASH        0x9e3779b97f4a7c15ULL
#define SET_BITS    4095u
#define LARGE_SHIFT 21
#define HUGE_SHIFT  30
/* Keys in soft_shared.fetched and soft_asid.fetched: page numbers, and the
 * numbers of larger regions with one of these. */
#define KEY_LARGE BIT(60)
#define KEY_HUGE  BIT(61)

static uint64_t draw(struct soft_cpu *c)
{
    return ++c->tlb_clock;
}

static struct soft_asid *present(struct soft_cpu *c)
{
    return &c->asids[c->asid_slot];
}

/* ---- sets ------------------------------------------------------------------- */

static void set_add(struct page_set *s, uint64_t key)
{
    uint64_t h = key * HASH;
    unsigned a = h >> 52 & SET_BITS, b = h >> 40 & SET_BITS;

    s->bits[a / 64] |= BIT(a % 64);
    s->bits[b / 64] |= BIT(b % 64);
}

static bool set_has(const struct page_set *s, uint64_t key)
{
    uint64_t h = key * HASH;
    unsigned a = h >> 52 & SET_BITS, b = h >> 40 & SET_BITS;

    return (s->bits[a / 64] >> (a % 64) & 1) && (s->bits[b / 64] >> (b % 64) & 1);
}

static void set_clear(struct page_set *s)
{
    memset(s, 0, sizeof(*s));
}

/* ---- filling ------------------------------------------------------------------ */

static void note_user_global(struct soft_asid *a, uint64_t la)
{
    const uint64_t page = la & MEM_PAGE_MASK;

    for (unsigned n = 0; n < a->nglobals && n < ARRAY_SIZE(a->globals); n++)
        if (a->globals[n] == page)
            return;
    if (a->nglobals < ARRAY_SIZE(a->globals))
        a->globals[a->nglobals] = page;
    if (a->nglobals <= ARRAY_SIZE(a->globals))
        a->nglobals++; /* one more than there is room for: any page */
}

/* Regions of 2 MiB; a page of 4 MiB has two. */
static void note_large(struct page_set *s, uint64_t la, uint64_t size_mask, uint64_t key)
{
    set_add(s, la >> LARGE_SHIFT | key);
    if (size_mask == 4 * MiB - 1)
        set_add(s, (la >> LARGE_SHIFT ^ 1) | key);
}

void soft_tlb_note(struct soft_cpu *c, unsigned view, uint64_t la, uint64_t size_mask, bool global)
{
    const unsigned n = tlb_index(la);

    c->tlb_used[view][n / 64] |= BIT(n % 64);
    if (view < VIEW_SLOW && !global)
        c->tlb_local[view][n / 64] |= BIT(n % 64);
    if (view >= VIEW_USER && global)
        note_user_global(present(c), la);
    if (size_mask > 4 * MiB)
        set_add(&c->shared.huge, la >> HUGE_SHIFT);
    else if (size_mask > MEM_PAGE_SIZE)
        note_large(global ? &c->shared.large : &present(c)->large, la, size_mask, 0);
}

void soft_fetch_note(struct soft_cpu *c, uint64_t la, uint64_t size_mask, bool global, bool user)
{
    struct page_set *s = user ? &present(c)->fetched : &c->shared.fetched;

    c->stats.fetch_fills++;
    if (user && global)
        note_user_global(present(c), la);
    if (!user && !global)
        present(c)->local_fetch = true;
    if (size_mask > 4 * MiB) {
        set_add(&c->shared.huge, la >> HUGE_SHIFT);
        set_add(s, la >> HUGE_SHIFT | KEY_HUGE);
    } else if (size_mask > MEM_PAGE_SIZE) {
        note_large(global ? &c->shared.large : &present(c)->large, la, size_mask, 0);
        note_large(s, la, size_mask, KEY_LARGE);
    } else {
        set_add(s, la >> MEM_PAGE_SHIFT);
    }
}

/* ---- dropping --------------------------------------------------------------------- */

static void drop(struct tlb_entry *e)
{
    e->read = e->write = TLB_NONE;
}

void soft_tlb_drop_view(struct soft_cpu *c, unsigned view)
{
    for (unsigned w = 0; w < TLB_SIZE / 64; w++) {
        for (uint64_t bits = c->tlb_used[view][w]; bits; bits &= bits - 1)
            drop(&c->tlbs[view][w * 64 + (unsigned)__builtin_ctzll(bits)]);
        c->tlb_used[view][w] = 0;
        if (view < VIEW_SLOW)
            c->tlb_local[view][w] = 0;
    }
    c->drops++;
}

static void clear_view(struct soft_cpu *c, unsigned view)
{
    soft_tlb_drop_view(c, view);
    if (c->tables)
        c->tables->clear(c, view);
}

static void drop_local(struct soft_cpu *c)
{
    for (unsigned v = 0; v < VIEW_SLOW; v++)
        for (unsigned w = 0; w < TLB_SIZE / 64; w++) {
            for (uint64_t bits = c->tlb_local[v][w]; bits; bits &= bits - 1) {
                struct tlb_entry *e = &c->tlbs[v][w * 64 + (unsigned)__builtin_ctzll(bits)];

                if (!e->global)
                    drop(e);
            }
            c->tlb_local[v][w] = 0;
        }
    c->drops++;
}

static void drop_range(struct soft_cpu *c, unsigned view, uint64_t la, uint64_t mask)
{
    struct tlb_entry *e = &c->tlbs[view][tlb_index(la)];

    if (mask < MEM_PAGE_SIZE) {
        if (e->read == la)
            drop(e);
    } else {
        for (unsigned w = 0; w < TLB_SIZE / 64; w++)
            for (uint64_t bits = c->tlb_used[view][w]; bits; bits &= bits - 1) {
                e = &c->tlbs[view][w * 64 + (unsigned)__builtin_ctzll(bits)];
                if (!((e->read ^ la) & ~mask))
                    drop(e);
            }
    }
    c->drops++;
    if (c->tables)
        c->tables->clear_range(c, view, la, mask);
}

/* ---- fetches ---------------------------------------------------------------------- */

/* What was fetched stays noted: entries of the fetch TLB may still say so. */
static void new_user_gen(struct soft_cpu *c, struct soft_asid *a)
{
    a->fetch_gen = draw(c);
    c->stats.fetch_gens++;
}

static void new_shared_gen(struct soft_cpu *c)
{
    c->shared.fetch_gen = draw(c);
    c->stats.fetch_gens++;
}

static bool was_fetched(const struct page_set *s, uint64_t la, uint64_t mask)
{
    return set_has(s, la >> MEM_PAGE_SHIFT) ||
           (mask > MEM_PAGE_SIZE && set_has(s, la >> LARGE_SHIFT | KEY_LARGE)) ||
           (mask > 4 * MiB && set_has(s, la >> HUGE_SHIFT | KEY_HUGE));
}

/* The page at la, which may be part of one of mask + 1 bytes. */
static void drop_fetches(struct soft_cpu *c, struct soft_asid *a, uint64_t la, uint64_t mask)
{
    const bool user = was_fetched(&a->fetched, la, mask);
    const bool shared = was_fetched(&c->shared.fetched, la, mask);

    if (!user && !shared)
        return;
    for (unsigned n = 0; n < FTLB_SIZE; n++)
        if (!((c->ftlb[n].tag ^ la) & ~(mask | (MEM_PAGE_SIZE - 1))))
            c->ftlb[n].tag = TLB_NONE;
    if (user)
        new_user_gen(c, a);
    if (shared)
        new_shared_gen(c);
}

/* ---- address spaces ---------------------------------------------------------------- */

static unsigned pcid_of(const struct soft_cpu *c)
{
    return c->s.cr4 & CR4_PCIDE ? c->s.cr3 & 0xfff : 0;
}

/* The slot of a PCID, or NULL. */
static struct soft_asid *find_space(struct soft_cpu *c, unsigned pcid)
{
    for (unsigned n = 0; n < c->asid_slots; n++)
        if (c->asids[n].live && c->asids[n].pcid == pcid)
            return &c->asids[n];
    return NULL;
}

static unsigned slot_of(const struct soft_cpu *c, const struct soft_asid *a)
{
    return (unsigned)(a - c->asids);
}

static unsigned view_of(const struct soft_cpu *c, const struct soft_asid *a)
{
    return VIEW_USER + slot_of(c, a);
}

/* All that is not global, and the user view. */
static void forget(struct soft_cpu *c, struct soft_asid *a)
{
    clear_view(c, view_of(c, a));
    if (a == present(c)) {
        drop_local(c);
        if (c->tables)
            c->tables->clear_local(c);
        if (a->local_fetch)
            new_shared_gen(c);
    } else if (c->tables) {
        c->tables->clear_parked(c, slot_of(c, a), 0, ~0ULL);
    }
    a->id = draw(c);
    a->nglobals = 0;
    a->local_fetch = false;
    set_clear(&a->large);
    set_clear(&a->fetched);
    new_user_gen(c, a);
}

void soft_forget_slot(struct soft_cpu *c, unsigned slot)
{
    forget(c, &c->asids[slot]);
}

static void make_ready(struct soft_cpu *c, struct soft_asid *a)
{
    if (a->ready)
        return;
    for (unsigned n = 0; n < TLB_SIZE; n++)
        drop(&c->tlbs[view_of(c, a)][n]);
    a->ready = true;
    a->id = draw(c);
    a->fetch_gen = draw(c);
}

/* A slot for another address space: a free one, or the one left longest ago. */
static struct soft_asid *claim(struct soft_cpu *c, unsigned pcid)
{
    struct soft_asid *best = &c->asids[(c->asid_slot + 1) % c->asid_slots];

    for (unsigned n = 0; n < c->asid_slots; n++) {
        struct soft_asid *a = &c->asids[n];

        if (n != c->asid_slot && best->live && (!a->live || a->used < best->used))
            best = a;
    }
    make_ready(c, best);
    if (best->live) {
        forget(c, best);
        c->stats.evicted++;
    }
    best->live = true;
    best->pcid = (uint16_t)pcid;
    return best;
}

static void leave_space(struct soft_cpu *c)
{
    present(c)->used = draw(c);
    drop_local(c);
    if (c->tables)
        c->tables->park(c, c->asid_slot);
    if (present(c)->local_fetch)
        new_shared_gen(c);
}

void soft_switch_space(struct soft_cpu *c, bool keep)
{
    struct soft_asid *a = find_space(c, pcid_of(c));
    bool known = a;

    if (!known)
        a = claim(c, pcid_of(c));
    else if (!keep)
        forget(c, a);
    if (a != present(c)) {
        leave_space(c);
        c->asid_slot = slot_of(c, a);
        if (c->tables)
            c->tables->unpark(c, c->asid_slot);
    }
    if (known && keep)
        c->stats.switch_kept++;
    else
        c->stats.switch_new++;
    soft_mode_changed(c);
}

/* ---- flushing ---------------------------------------------------------------------- */

void soft_tlb_init(struct soft_cpu *c, unsigned ncpus)
{
    for (unsigned v = 0; v < VIEW_USER; v++)
        for (unsigned n = 0; n < TLB_SIZE; n++)
            drop(&c->tlbs[v][n]);
    for (unsigned n = 0; n < FTLB_SIZE; n++)
        c->ftlb[n].tag = TLB_NONE;
    c->asid_slots = ncpus <= 8 ? ASID_MAX : ncpus <= 32 ? 4 : 2;
    make_ready(c, present(c));
    present(c)->live = true;
}

void soft_flush_all(struct soft_cpu *c)
{
    c->stats.flush_all++;
    for (unsigned n = 0; n < c->asid_slots; n++) {
        struct soft_asid *a = &c->asids[n];

        if (!a->live)
            continue;
        forget(c, a);
        a->live = a == present(c);
    }
    present(c)->pcid = (uint16_t)pcid_of(c);
    clear_view(c, VIEW_KERNEL);
    clear_view(c, VIEW_KERNEL_AC);
    soft_rights_forget(c);
    c->shared.id = draw(c);
    set_clear(&c->shared.large);
    set_clear(&c->shared.huge);
    set_clear(&c->shared.fetched);
    new_shared_gen(c);
    soft_pick_fetch_gen(c);
}

void soft_flush_nonglobal(struct soft_cpu *c)
{
    c->stats.flush_local++;
    forget(c, present(c));
    soft_pick_fetch_gen(c);
}

/* The size of the largest page that la may be part of, minus 1. */
static uint64_t extent(const struct soft_cpu *c, const struct soft_asid *a, uint64_t la)
{
    if (set_has(&c->shared.huge, la >> HUGE_SHIFT))
        return GiB - 1;
    if (set_has(&c->shared.large, la >> LARGE_SHIFT) || set_has(&a->large, la >> LARGE_SHIFT))
        return c->s.cr4 & CR4_PAE ? 2 * MiB - 1 : 4 * MiB - 1;
    return MEM_PAGE_SIZE - 1;
}

static bool holds_global(const struct soft_asid *a, uint64_t la, uint64_t mask)
{
    if (a->nglobals > ARRAY_SIZE(a->globals))
        return true;
    for (unsigned n = 0; n < a->nglobals; n++)
        if (!((a->globals[n] ^ la) & ~mask))
            return true;
    return false;
}

void soft_flush_page(struct soft_cpu *c, uint64_t la)
{
    struct soft_asid *a = present(c);
    const uint64_t mask = extent(c, a, la);

    c->stats.flush_page++;
    c->stats.flush_large += mask > MEM_PAGE_SIZE;
    drop_fetches(c, a, la, mask);
    la &= ~mask;
    drop_range(c, VIEW_KERNEL, la, mask);
    drop_range(c, VIEW_KERNEL_AC, la, mask);
    drop_range(c, view_of(c, a), la, mask);
    /* A global page may have entries in all address spaces. */
    for (unsigned n = 0; n < c->asid_slots; n++) {
        struct soft_asid *o = &c->asids[n];

        if (!o->live || o == a)
            continue;
        if (o->nglobals && holds_global(o, la, mask))
            forget(c, o);
        else if (c->tables)
            c->tables->clear_parked(c, n, la, mask);
    }
    soft_pick_fetch_gen(c);
}

void soft_flush_pcid(struct soft_cpu *c, unsigned pcid)
{
    struct soft_asid *a = find_space(c, pcid);

    c->stats.flush_other++;
    if (a)
        forget(c, a);
    soft_pick_fetch_gen(c);
}

void soft_flush_pcid_page(struct soft_cpu *c, unsigned pcid, uint64_t la)
{
    struct soft_asid *a = find_space(c, pcid);
    uint64_t mask;

    if (a == present(c)) {
        soft_flush_page(c, la);
        return;
    }
    c->stats.flush_other++;
    if (!a)
        return;
    mask = extent(c, a, la);
    drop_fetches(c, a, la, mask);
    drop_range(c, view_of(c, a), la & ~mask, mask);
    if (c->tables)
        c->tables->clear_parked(c, slot_of(c, a), la & ~mask, mask);
    soft_pick_fetch_gen(c);
}

void soft_flush_spaces(struct soft_cpu *c)
{
    c->stats.flush_other++;
    for (unsigned n = 0; n < c->asid_slots; n++)
        if (c->asids[n].live)
            forget(c, &c->asids[n]);
    soft_pick_fetch_gen(c);
}

void soft_tlb_info(const struct soft_cpu *c, FILE *f)
{
    const struct soft_tlb_stats *s = &c->stats;
#define N(x) (unsigned long long)s->x

    fprintf(f,
            "cpu %u: tlb: %llu walks (empty %llu, no write right %llu), %llu answered by tables; "
            "fetch: "
            "%llu walks, %llu generations\n"
            "cpu %u: address spaces: %u slots, %llu switches kept, %llu new, %llu evicted; "
            "flushes: %llu "
            "all, %llu present space, %llu page (%llu large), %llu other spaces\n"
            "cpu %u: write rights: %llu pages revoked, %llu times all, others asked %llu times\n",
            c->id, N(fills), N(empty), N(no_write), N(from_tables), N(fetch_fills), N(fetch_gens),
            c->id, c->asid_slots, N(switch_kept), N(switch_new), N(evicted), N(flush_all),
            N(flush_local), N(flush_page), N(flush_large), N(flush_other), c->id, N(revoked),
            N(revoked_all), N(asked));
#undef N
}
