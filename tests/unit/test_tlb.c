/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLBs, the translator's tables and what is kept of address spaces: at random
 * against the page tables, where each change is flushed in one of the ways
 * that suffice; and by counters, what must not be walked again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "engine/bt/bt.h"
#include "engine/bt/host.h"
#include "engine/soft/blocks.h"
#include "engine/soft/contract.h"
#include "engine/soft/tlb.h"

extern const struct engine_ops engine_bt, engine_interp;

#define RAM      (64 * MiB)
#define SPACES   11u
#define PAGES    16u
#define FRAMES   64u
#define FRAME(n) (MiB + (n)*MEM_PAGE_SIZE)
#define BIG(n)   (4 * MiB + (n)*2 * MiB)
#define BIGS     8u
#define USER     0x400000ULL /* user pages, then as many of the supervisor */
#define LARGE    0x600000ULL /* one large page of the supervisor, */
#define ULARGE   0x800000ULL /* one of users */
#define GLOBAL   0xffffffff80000000ULL

static struct vm_clock vm_time;
static struct cpu_model model;
static struct engine_config config;
static const struct engine_ops *ops;
static struct engine_vm *vm;
static struct soft_cpu *c, *second;

/* ---- a machine ------------------------------------------------------------------ */

static uint64_t tables; /* next page for page tables */

static uint64_t new_table(void)
{
    tables += MEM_PAGE_SIZE;
    return tables;
}

static uint64_t *at(uint64_t gpa)
{
    return (uint64_t *)(config.mem->hva + gpa);
}

struct space {
    uint64_t cr3, pt, pd;
};
static struct space spaces[SPACES];
static uint64_t global_pt;

static void make_tables(void)
{
    const uint64_t rw = PTE_P | PTE_W | PTE_U;
    uint64_t pdpt = new_table(), pd = new_table();

    global_pt = new_table();
    at(pdpt)[510] = pd | rw;
    at(pd)[0] = global_pt | rw;
    for (unsigned n = 0; n < SPACES; n++) {
        struct space *s = &spaces[n];
        uint64_t low = new_table();

        *s = (struct space){ .cr3 = new_table(), .pt = new_table(), .pd = new_table() };
        at(s->cr3)[0] = low | rw;
        at(s->cr3)[511] = pdpt | rw;
        at(low)[0] = s->pd | rw;
        at(s->pd)[2] = s->pt | rw;
    }
    for (unsigned n = 0; n < FRAMES; n++)
        at(FRAME(n))[0] = n;
    for (unsigned n = 0; n < BIGS * 512; n++)
        at(BIG(0) + n * MEM_PAGE_SIZE)[0] = 1000 + n;
}

static struct soft_cpu *make_cpu(unsigned id)
{
    struct vcpu *vcpu;
    struct soft_cpu *cpu;

    assert_int_equal(ops->vcpu_create(&vcpu, vm, id), 0);
    cpu = (struct soft_cpu *)vcpu;
    cpu->s.cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_ET;
    cpu->s.cr4 = CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMAP;
    cpu->s.efer = EFER_LMA | EFER_LME | EFER_NXE;
    cpu->s.cr3 = spaces[0].cr3;
    soft_flush_all(cpu);
    soft_mode_changed(cpu);
    return cpu;
}

static void make(const struct engine_ops *engine, unsigned ncpus)
{
    char err[160];

    ops = engine;
    config = (struct engine_config){ .clock = &vm_time, .model = &model, .ncpus = ncpus };
    assert_int_equal(mem_create(&config.mem, RAM, err, sizeof(err)), 0);
    assert_int_equal(mem_add_slot(config.mem, 0, RAM, 0, false), 0);
    vm_clock_init(&vm_time);
    assert_int_equal(cpu_model_init(&model, "host", ncpus, 1000000000, err, sizeof(err)), 0);
    assert_int_equal(ops->vm_create(&vm, &config, err, sizeof(err)), 0);
    tables = 0;
    make_tables();
    c = make_cpu(0);
    second = ncpus > 1 ? make_cpu(1) : NULL;
}

static void unmake(void)
{
    if (second)
        ops->vcpu_destroy((struct vcpu *)second);
    ops->vcpu_destroy((struct vcpu *)c);
    ops->vm_destroy(vm);
    mem_destroy(config.mem);
}

static void privilege(unsigned cpl, bool ac)
{
    c->cpl = (uint8_t)cpl;
    c->rflags = ac ? c->rflags | X86_AC : c->rflags & ~(uint32_t)X86_AC;
    soft_mode_changed(c);
}

static void go(unsigned n, bool keep)
{
    privilege(0, false);
    assert_int_equal(soft_write_cr(c, 3, spaces[n].cr3 | n | (keep ? BIT(63) : 0)), 0);
}

static uint64_t load(unsigned cpl, bool ac, uint64_t la)
{
    uint64_t v = ~0ULL, *p;

    privilege(cpl, ac);
    p = tlb_read_ptr(c, la, 8);
    if (p)
        return *p;
    assert_int_equal(soft_read(c, la, 8, &v), 0);
    return v;
}

static void store(unsigned cpl, bool ac, uint64_t la, uint64_t v)
{
    uint64_t old, *p;

    privilege(cpl, ac);
    p = tlb_write_ptr(c, la, 8);
    if (p) {
        assert_int_equal(*p, v);
        return;
    }
    assert_int_equal(soft_read_rmw(c, la, 8, &old), 0);
    assert_int_equal(old, v);
    if (!tlb_write_ptr(c, la, 8))
        assert_int_equal(soft_write(c, la, 8, v), 0);
}

/* ---- at random --------------------------------------------------------------------- */

static unsigned below(unsigned n)
{
    return (unsigned)random() % n;
}

/* What a page table says of an address: the number in the frame. */
struct place {
    uint64_t la;
    uint64_t *entry;
    bool user, global, large;
};
static unsigned now;
static bool must_flush[SPACES];

static struct place pick(unsigned space)
{
    const struct space *s = &spaces[space];
    unsigned n = below(PAGES), kind = below(5);

    switch (kind) {
    case 0:
        return (
            struct place){ .la = USER + n * MEM_PAGE_SIZE, .entry = &at(s->pt)[n], .user = true };
    case 1:
        return (struct place){ .la = USER + (PAGES + n) * MEM_PAGE_SIZE,
                               .entry = &at(s->pt)[PAGES + n] };
    case 2:
        return (struct place){ .la = GLOBAL + n * MEM_PAGE_SIZE,
                               .entry = &at(global_pt)[n],
                               .global = true };
    case 3:
        return (struct place){ .la = LARGE + below(512) * MEM_PAGE_SIZE,
                               .entry = &at(s->pd)[3],
                               .large = true };
    default:
        return (struct place){ .la = ULARGE + below(512) * MEM_PAGE_SIZE,
                               .entry = &at(s->pd)[4],
                               .user = true,
                               .large = true };
    }
}

static uint64_t frame_of(const struct place *p)
{
    uint64_t frame = *p->entry & 0x000ffffffffff000ULL & ~(p->large ? 2 * MiB - 1 : 0);

    return frame + (p->large ? p->la & (2 * MiB - 1) : 0);
}

static void set_entry(const struct place *p)
{
    *p->entry = (p->large ? BIG(below(BIGS)) | PTE_PS : FRAME(below(FRAMES))) | PTE_P | PTE_W |
                (p->user ? PTE_U : 0) | (p->global ? PTE_G : 0);
}

static void flush_global(uint64_t la)
{
    switch (below(3)) {
    case 0: soft_flush_page(c, la); break;
    case 1: soft_flush_all(c); break;
    default:
        assert_int_equal(soft_write_cr(c, 4, c->s.cr4 ^ CR4_PGE), 0);
        assert_int_equal(soft_write_cr(c, 4, c->s.cr4 ^ CR4_PGE), 0);
    }
    if (!(c->s.cr4 & CR4_PGE))
        fail();
}

/* A change in a space, and one of the ways to flush it. */
static void change(unsigned space)
{
    struct place p = pick(space);

    set_entry(&p);
    if (p.global) {
        flush_global(p.la);
        return;
    }
    switch (below(space == now ? 8 : 5)) {
    case 0:
        soft_flush_pcid_page(c, space, p.la ^ (p.large ? below(512) * MEM_PAGE_SIZE : 0));
        break;
    case 1: soft_flush_pcid(c, space); break;
    case 2: must_flush[space] = true; break;
    case 3: soft_flush_spaces(c); break;
    case 4: soft_flush_all(c); break;
    case 5: go(space, false); break;
    case 6: soft_flush_nonglobal(c); break;
    default: soft_flush_page(c, p.la ^ (p.large ? below(512) * MEM_PAGE_SIZE : 0));
    }
}

/* What the tables hold must be what the page tables say, in each view. */
static void check_tables(const struct place *p)
{
    const unsigned views[] = { VIEW_KERNEL, VIEW_KERNEL_AC, VIEW_USER + c->asid_slot };
    const uintptr_t want = (uintptr_t)config.mem->hva + (frame_of(p) & MEM_PAGE_MASK) - p->la;
    struct tlb_entry e;

    for (unsigned v = 0; c->tables && v < ARRAY_SIZE(views); v++)
        for (unsigned write = 0; write < 2; write++)
            if (c->tables->lookup(c, views[v], p->la, write, &e))
                assert_int_equal(e.addend, want);
}

static void touch(void)
{
    struct place p = pick(now);
    unsigned cpl = p.user && below(2) ? 3 : 0;
    const struct ftlb_entry *fetched;
    uint64_t v;

    if (!*p.entry) {
        set_entry(&p); /* nothing there is never cached */
    }
    v = *at(frame_of(&p));
    check_tables(&p);
    switch (below(4)) {
    case 0:
        privilege(cpl, false);
        assert_int_equal(soft_fetch_page(c, p.la, &fetched), 0);
        assert_int_equal(fetched->page, frame_of(&p) / MEM_PAGE_SIZE);
        break;
    case 1: store(cpl, cpl == 0 && (p.user || below(2)), p.la, v); break;
    default: assert_int_equal(load(cpl, cpl == 0 && (p.user || below(2)), p.la), v);
    }
    check_tables(&p);
}

/* Code comes to a frame and goes: in between nobody may write there unasked. */
static void code(void)
{
    const uint64_t page = FRAME(below(FRAMES)) / MEM_PAGE_SIZE;
    struct tlb_entry e;

    mem_code_add(config.mem, page, 0, 8, NULL);
    soft_code_revoke(c, page);
    for (unsigned v = 0; v < VIEW_COUNT; v++) {
        for (unsigned n = 0; n < TLB_SIZE; n++)
            if (c->tlbs[v][n].write & ~(MEM_PAGE_SIZE - 1))
                assert_true(c->tlbs[v][n].write + c->tlbs[v][n].addend !=
                            (uintptr_t)config.mem->hva + page * MEM_PAGE_SIZE);
        for (unsigned n = 0;
             c->tables && v != VIEW_SLOW && v < VIEW_USER + c->asid_slots && n < 2 * PAGES; n++)
            if (c->tables->lookup(c, v, USER + n * MEM_PAGE_SIZE, true, &e))
                assert_true(e.read + e.addend != (uintptr_t)config.mem->hva + page * MEM_PAGE_SIZE);
    }
    if (below(2))
        mem_code_written(config.mem, page, 0, 1);
}

static void run_random(void)
{
    srandom(1);
    memset(must_flush, 0, sizeof(must_flush));
    now = 0;
    for (unsigned n = 0; n < 200000; n++) {
        unsigned what = below(100);

        if (what < 70) {
            touch();
        } else if (what < 78) {
            change(below(3) ? now : below(SPACES));
        } else if (what < 80) {
            code();
        } else {
            now = below(SPACES);
            go(now, !must_flush[now] && below(8));
            must_flush[now] = false;
        }
        if (must_flush[now]) {
            go(now, false);
            must_flush[now] = false;
        }
    }
    assert_true(c->stats.switch_kept > 1000);
    assert_true(c->stats.evicted > 1000);
}

/* ---- by counters -------------------------------------------------------------------- */

/* Two processes that call each other: nothing is walked twice. */
static void run_switches(void)
{
    uint64_t fills = 0, walks = 0, gens = 0;

    for (unsigned n = 0; n < SPACES; n++)
        for (unsigned k = 0; k < 2 * PAGES; k++)
            at(spaces[n].pt)[k] = FRAME(k + n) | PTE_P | PTE_W | (k < PAGES ? PTE_U : 0);
    for (unsigned k = 0; k < PAGES; k++)
        at(global_pt)[k] = FRAME(k) | PTE_P | PTE_W | PTE_G;
    for (unsigned n = 0; n < FRAMES; n++)
        mem_code_written(config.mem, FRAME(n) / MEM_PAGE_SIZE, 0, 1);
    soft_flush_all(c);
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned n = 1; n < 3; n++) {
            const struct ftlb_entry *e;

            go(n, true);
            for (unsigned k = 0; k < PAGES; k++) {
                store(3, false, USER + k * MEM_PAGE_SIZE, k + n);
                store(0, false, GLOBAL + k * MEM_PAGE_SIZE, k);
            }
            store(0, true, USER, n);
            store(0, false, USER + PAGES * MEM_PAGE_SIZE, PAGES + n);
            privilege(3, false);
            assert_int_equal(soft_fetch_page(c, USER, &e), 0);
            assert_int_equal(e->page, FRAME(n) / MEM_PAGE_SIZE);
        }
        if (round == 0) {
            fills = c->stats.fills;
            walks = c->stats.fetch_fills;
            gens = c->stats.fetch_gens;
        }
    }
    /* Without tables the supervisor's two that are not global are walked again. */
    assert_int_equal(c->stats.fills - fills, c->tables ? 0 : 9 * 2 * 2);
    assert_int_equal(c->stats.fetch_fills, walks);
    assert_int_equal(c->stats.fetch_gens, gens);
}

static void run_generations(void)
{
    const struct ftlb_entry *e;
    uint64_t one, two, kernel;

    go(1, true);
    privilege(3, false);
    assert_int_equal(soft_fetch_page(c, USER, &e), 0);
    one = c->fetch_gen;
    go(2, true);
    kernel = c->fetch_gen;
    privilege(3, false);
    two = c->fetch_gen;
    assert_true(one != two && one != kernel && two != kernel);
    go(1, true);
    assert_int_equal(c->fetch_gen, kernel);
    privilege(3, false);
    assert_int_equal(c->fetch_gen, one);
    soft_flush_page(c, USER + 3 * MEM_PAGE_SIZE);
    assert_int_equal(c->fetch_gen, one); /* no code was fetched there */
    soft_flush_page(c, USER);
    assert_true(c->fetch_gen != one);
    go(2, true);
    privilege(3, false);
    assert_int_equal(c->fetch_gen, two);
}

/* Code on one page costs the rights to that page. */
static void run_rights(void)
{
    uint64_t fills, no_write;

    go(1, false);
    for (unsigned k = 0; k < PAGES; k++)
        store(3, false, USER + k * MEM_PAGE_SIZE, k + 1);
    fills = c->stats.fills;
    no_write = c->stats.no_write;
    mem_code_add(config.mem, FRAME(4) / MEM_PAGE_SIZE, 0x800, 8, NULL);
    assert_int_equal(soft_code_revoke(c, FRAME(4) / MEM_PAGE_SIZE), 0);
    for (unsigned k = 0; k < PAGES; k++)
        assert_int_equal(load(3, false, USER + k * MEM_PAGE_SIZE), k + 1);
    for (unsigned k = 0; k < PAGES; k++)
        if (k != 3)
            store(3, false, USER + k * MEM_PAGE_SIZE, k + 1);
    assert_int_equal(c->stats.fills, fills);
    store(3, false, USER + 3 * MEM_PAGE_SIZE, 4);
    assert_true(c->stats.no_write > no_write);
    mem_code_written(config.mem, FRAME(4) / MEM_PAGE_SIZE, 0x800, 1);
}

/* Entries that are put away lose their rights too. */
static void run_parked_rights(void)
{
    const uint64_t la = USER + PAGES * MEM_PAGE_SIZE, page = FRAME(7) / MEM_PAGE_SIZE;
    struct tlb_entry e;

    at(spaces[1].pt)[PAGES] = FRAME(7) | PTE_P | PTE_W;
    go(1, false);
    store(0, false, la, 7);
    go(2, true);
    mem_code_add(config.mem, page, 0x800, 8, NULL);
    soft_code_revoke(c, page);
    mem_code_written(config.mem, page, 0x800, 1);
    go(1, true);
    mem_code_add(config.mem, page, 0x800, 8, NULL);
    soft_code_revoke(c, page);
    assert_null(tlb_write_ptr(c, la, 8));
    if (c->tables)
        assert_false(c->tables->lookup(c, VIEW_KERNEL, la, true, &e));
    mem_code_written(config.mem, page, 0x800, 1);
}

/* A page that became global without a flush, and was filled again over what
 * was there: INVLPG in another space is for it as well. */
static void run_parked_global(void)
{
    const uint64_t la = USER + PAGES * MEM_PAGE_SIZE;

    at(spaces[1].pt)[PAGES] = FRAME(7) | PTE_P;
    go(1, false);
    assert_int_equal(load(0, false, la), 7);
    at(spaces[1].pt)[PAGES] = FRAME(8) | PTE_P | PTE_W | PTE_G;
    store(0, false, la, 8);
    go(2, true);
    at(spaces[1].pt)[PAGES] = FRAME(9) | PTE_P | PTE_W | PTE_G;
    soft_flush_page(c, la);
    go(1, true);
    assert_int_equal(load(0, false, la), 9);
    soft_flush_all(c);
}

/* More rights than there are nodes. */
static void run_exhaust(void)
{
    struct space *s = &spaces[3];
    const uint64_t page = BIG(1) / MEM_PAGE_SIZE;
    uint64_t all;

    for (unsigned n = 8; n < 512; n++)
        at(s->pd)[n] = BIG(n % BIGS) | PTE_P | PTE_W | PTE_PS;
    go(3, false);
    all = c->stats.revoked_all;
    for (unsigned n = 8; n < 72; n++)
        for (unsigned k = 0; k < 512; k++)
            store(0, false, n * 2 * MiB + k * MEM_PAGE_SIZE, 1000 + (n % BIGS) * 512 + k);
    assert_true(c->stats.revoked_all > all);
    mem_code_add(config.mem, page, 0x800, 8, NULL);
    soft_code_revoke(c, page);
    for (unsigned n = 8; n < 72; n++) {
        struct tlb_entry e;

        if (c->tables && n % BIGS == 1)
            assert_false(c->tables->lookup(c, VIEW_KERNEL, n * 2 * MiB, true, &e));
    }
    mem_code_written(config.mem, page, 0x800, 1);
}

/* Table pages stay within what was budgeted, and nothing gets lost. */
static void run_budget(void)
{
    struct bt *bt = c->translator;

    if (!bt || bt->hashed)
        return;
    for (unsigned n = 0; n < 4; n++)
        at(at(spaces[4].cr3)[0] & ~0xfffULL)[n + 1] = spaces[3].pd | PTE_P | PTE_W | PTE_U;
    go(4, false);
    for (unsigned n = 0; n < 4 * 512; n++) {
        if (n % 512 < 8)
            continue; /* other pages in there */
        store(0, false, GiB + n * 2 * MiB, 1000 + n % BIGS * 512);
        assert_true(bt->pages <= bt->budget + 2);
    }
    assert_true(bt->remaps > 0);
}

static void run_all(const struct engine_ops *engine)
{
    make(engine, 1);
    run_random();
    run_switches();
    run_generations();
    run_rights();
    run_parked_rights();
    run_parked_global();
    run_exhaust();
    run_budget();
    unmake();
}

/* ---- two vCPUs ---------------------------------------------------------------------- */

/* The second is asked only for what it may write to, and counts as answered
 * once it has. */
static void run_asking(void)
{
    struct soft_cpu *first = c;
    const uint64_t page = FRAME(1) / MEM_PAGE_SIZE;
    uint64_t epoch;

    make(ops, 2);
    first = c;
    at(spaces[0].pt)[0] = FRAME(1) | PTE_P | PTE_W | PTE_U;
    c = second;
    store(3, false, USER, 1);
    c = first;
    atomic_store(&second->running, 1);
    mem_code_add(config.mem, page + 1, 0, 8, NULL);
    assert_int_equal(soft_code_revoke(c, page + 1), 0);
    mem_code_add(config.mem, page, 0, 8, NULL);
    epoch = soft_code_revoke(c, page);
    assert_true(epoch);
    assert_false(soft_code_acknowledged(c, epoch));
    /* Who comes later waits as well. */
    assert_true(soft_code_revoke(c, page) > epoch);
    soft_take_flushes(second);
    assert_true(soft_code_acknowledged(c, epoch));
    assert_int_equal(soft_code_revoke(c, page), 0);
    assert_null(second->tlbs[VIEW_USER][tlb_index(USER)].write == USER ? second : NULL);
    atomic_store(&second->running, 0);
    unmake();
}

static void test_interp(void **state)
{
    (void)state;
    run_all(&engine_interp);
    run_asking();
}

static void test_flat(void **state)
{
    (void)state;
    if (!bt_host_fits())
        skip();
    run_all(&engine_bt);
    run_asking();
}

/* The host refuses to reserve so much. */
static uint64_t mapped(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%llu", &pages), 1);
    fclose(f);
    return pages * MEM_PAGE_SIZE;
}

static void test_hashed(void **state)
{
    struct rlimit old, less;

    (void)state;
    if (!bt_host_fits())
        skip();
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    less = old;
    /* Above what is mapped, since sanitizers reserve a lot; a view takes 1 TiB. */
    less.rlim_cur = mapped() + 256 * GiB;
    assert_int_equal(setrlimit(RLIMIT_AS, &less), 0);
    run_all(&engine_bt);
    make(&engine_bt, 1);
    assert_true(c->translator->hashed);
    unmake();
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interp),
        cmocka_unit_test(test_flat),
        cmocka_unit_test(test_hashed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
