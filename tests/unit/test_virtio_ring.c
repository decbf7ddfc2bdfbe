/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Split rings: what is good, and what a hostile guest writes. */
#include <errno.h>

#include "machine.h"
#include "virtio/ring.h"

#define DESC  0x1000u
#define AVAIL 0x2000u
#define USED  0x3000u
#define DATA  0x8000u
#define N     8u

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

static struct mem *mem;
static struct vring ring;
static struct vring_chain chain;
static uint16_t avail_idx;

static void put16(uint64_t gpa, uint16_t v)
{
    assert_int_equal(mem_write(mem, gpa, &v, 2), 0);
}

static uint16_t get16(uint64_t gpa)
{
    uint16_t v;

    assert_int_equal(mem_read(mem, gpa, &v, 2), 0);
    return v;
}

static void desc_at(uint64_t gpa, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
    const struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } d = { addr, len, flags, next };

    assert_int_equal(mem_write(mem, gpa, &d, sizeof(d)), 0);
}

static void desc(unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
    desc_at(DESC + i * 16, addr, len, flags, next);
}

static void offer(uint16_t head)
{
    put16(AVAIL + 4 + avail_idx % N * 2, head);
    put16(AVAIL + 2, ++avail_idx);
}

static struct vring_config config(void)
{
    return (struct vring_config){
        .desc = DESC, .avail = AVAIL, .used = USED, .size = N, .indirect = true
    };
}

static void start(bool event_idx)
{
    struct vring_config c = config();

    assert_int_equal(mem_fill(mem, 0, 0, 0x10000), 0);
    avail_idx = 0;
    c.event_idx = event_idx;
    assert_int_equal(vring_setup(&ring, mem, &c), 0);
}

static int set_up(void **state)
{
    char err[100];

    (void)state;
    assert_int_equal(mem_create(&mem, 2 * MiB, err, sizeof(err)), 0);
    /* Two slots that meet, a hole, a ROM. */
    assert_int_equal(mem_add_slot(mem, 0, 0x10000, 0, false), 0);
    assert_int_equal(mem_add_slot(mem, 0x10000, 0x10000, 0x40000, false), 0);
    assert_int_equal(mem_add_slot(mem, 0x40000, 0x10000, 0x20000, true), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mem_destroy(mem);
    return 0;
}

static void test_setup(void **state)
{
    struct vring_config good = config(), c;

    (void)state;
    for (unsigned size = 0; size <= 4 * VRING_MAX_SIZE; size++) {
        bool fits = size && !(size & (size - 1)) && size <= VRING_MAX_SIZE;

        c = good;
        c.size = (uint16_t)size;
        assert_int_equal(vring_setup(&ring, mem, &c), fits ? 0 : -EINVAL);
        assert_int_equal(vring_pop(&ring, &chain), fits ? 0 : -EINVAL);
    }
    c = good, c.desc++;
    assert_int_equal(vring_setup(&ring, mem, &c), -EINVAL);
    c = good, c.used += 2;
    assert_int_equal(vring_setup(&ring, mem, &c), -EINVAL);
    c = good, c.used = 0x40000; /* ROM */
    assert_int_equal(vring_setup(&ring, mem, &c), -EFAULT);
    c = good, c.avail = 0xfffffffffffffff0;
    assert_int_equal(vring_setup(&ring, mem, &c), -EFAULT);
    c = good, c.desc = 0xfff0; /* it would cross */
    assert_int_equal(vring_setup(&ring, mem, &c), -EFAULT);
    /* A broken ring does nothing, whatever is asked. */
    vring_push(&ring, 0, 1);
    assert_false(vring_should_interrupt(&ring));
    assert_false(vring_want_notify(&ring, true));
}

static void test_chain(void **state)
{
    uint8_t out[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, in[8];

    (void)state;
    start(false);
    assert_int_equal(vring_pop(&ring, &chain), 0);
    assert_int_equal(mem_write(mem, DATA, out, 8), 0);
    desc(3, DATA, 3, NEXT, 5);
    desc(5, DATA + 3, 0, NEXT, 1); /* empty */
    desc(1, DATA + 3, 5, NEXT, 0);
    desc(0, DATA + 0x100, 4, WRITE | NEXT, 2);
    desc(2, DATA + 0x200, 4, WRITE, 0);
    offer(3);
    assert_int_equal(vring_pop(&ring, &chain), 1);
    assert_int_equal(chain.head, 3);
    assert_int_equal(chain.nout, 2);
    assert_int_equal(chain.nin, 2);
    assert_int_equal(chain.out_len, 8);
    assert_int_equal(chain.in_len, 8);
    assert_int_equal(vring_read(&chain, 2, in, 8), 6);
    assert_memory_equal(in, out + 2, 6);
    assert_int_equal(vring_write(&ring, &chain, 1, out, 100), 7);
    assert_int_equal(mem_read(mem, DATA + 0x101, in, 3), 0);
    assert_memory_equal(in, out, 3);
    assert_int_equal(mem_read(mem, DATA + 0x200, in, 4), 0);
    assert_memory_equal(in, out + 3, 4);
    vring_push(&ring, chain.head, 8);
    assert_int_equal(get16(USED + 2), 1);
    assert_int_equal(get16(USED + 4), 3);
    assert_int_equal(get16(USED + 8), 8);
    assert_int_equal(vring_pop(&ring, &chain), 0);
    /* It comes again after being taken back. */
    offer(3);
    assert_int_equal(vring_pop(&ring, &chain), 1);
    vring_unpop(&ring, 1);
    assert_int_equal(vring_pop(&ring, &chain), 1);
}

static void test_slots(void **state)
{
    (void)state;
    start(false);
    desc(0, 0xfff0, 0x20, WRITE, 0);
    offer(0);
    assert_int_equal(vring_pop(&ring, &chain), 1);
    assert_int_equal(chain.nin, 2);
    assert_int_equal(chain.in_len, 0x20);
    assert_int_equal(chain.gpa[1], 0x10000);
}

static void broken(const char *what)
{
    if (vring_pop(&ring, &chain) != -EINVAL || !ring.broken)
        fail_msg("%s is accepted", what);
    assert_int_equal(vring_pop(&ring, &chain), -EINVAL);
}

static void test_hostile(void **state)
{
    static const struct {
        const char *what;
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } one[] = {
        { "a loop of one", DATA, 4, NEXT, 0 },
        { "next out of range", DATA, 4, NEXT, N },
        { "next far out of range", DATA, 4, NEXT, 0xffff },
        { "address out of RAM", 0x30000, 4, 0, 0 },
        { "length out of RAM", DATA, 0xffffffff, 0, 0 },
        { "length that wraps", 0xfffffffffffffffc, 8, 0, 0 },
        { "writing to ROM", 0x40000, 4, WRITE, 0 },
        { "empty table", DATA, 0, INDIRECT, 0 },
        { "odd table", DATA, 24, INDIRECT, 0 },
        { "large table", DATA, 16 * 300, INDIRECT, 0 },
        { "table out of RAM", 0x30000, 16, INDIRECT, 0 },
        { "table and next", DATA, 16, INDIRECT | NEXT, 1 },
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(one); i++) {
        start(false);
        desc(0, one[i].addr, one[i].len, one[i].flags, one[i].next);
        offer(0);
        broken(one[i].what);
    }
    start(false);
    offer(N);
    broken("head out of range");
    start(false);
    put16(AVAIL + 2, N + 1);
    broken("index out of range");
    start(false);
    desc(0, DATA, 4, WRITE | NEXT, 1);
    desc(1, DATA, 4, 0, 0);
    offer(0);
    broken("readable after writable");
    start(false);
    for (unsigned i = 0; i < N; i++)
        desc(i, DATA, 4, NEXT, (uint16_t)((i + 1) % N));
    offer(0);
    broken("a loop of all");
    start(false);
    desc(0, DATA, 4, NEXT, 1);
    desc(1, DATA, 16, INDIRECT, 0);
    offer(0);
    broken("table within a chain");
}

static void test_indirect(void **state)
{
    (void)state;
    start(false);
    desc(4, DATA, 32 * 16, INDIRECT, 0);
    for (unsigned i = 0; i < 32; i++)
        desc_at(DATA + i * 16, 0x9000 + i, 1, i < 31 ? NEXT : 0, (uint16_t)(i + 1));
    offer(4);
    assert_int_equal(vring_pop(&ring, &chain), 1);
    assert_int_equal(chain.head, 4);
    assert_int_equal(chain.nout, 32);
    desc_at(DATA, DATA, 16, INDIRECT, 0);
    offer(4);
    broken("table in a table");
    start(false);
    desc(0, DATA, 32, INDIRECT, 0);
    desc_at(DATA, 0x9000, 1, NEXT, 1);
    desc_at(DATA + 16, 0x9000, 1, NEXT, 0);
    offer(0);
    broken("loop in a table");
    start(false);
    desc(0, DATA, 32, INDIRECT, 0);
    desc_at(DATA, 0x9000, 1, NEXT, 2);
    offer(0);
    broken("next beyond a table");
    start(false);
    ring.indirect = false;
    desc(0, DATA, 16, INDIRECT, 0);
    desc_at(DATA, 0x9000, 1, 0, 0);
    offer(0);
    broken("table without the feature");
    /* As many pieces as there may be, and one more. */
    start(false);
    desc(0, 0x4000, VRING_MAX_CHAIN * 16, INDIRECT, 0);
    for (unsigned i = 0; i < VRING_MAX_CHAIN; i++)
        desc_at(0x4000 + i * 16, 0xffff, 2, i + 1 < VRING_MAX_CHAIN ? NEXT : 0, (uint16_t)(i + 1));
    offer(0);
    broken("too many pieces");
}

static void test_flags(void **state)
{
    (void)state;
    start(false);
    assert_false(vring_want_notify(&ring, false));
    assert_int_equal(get16(USED), 1);
    assert_false(vring_want_notify(&ring, true));
    assert_int_equal(get16(USED), 0);
    desc(0, DATA, 1, 0, 0);
    offer(0);
    assert_true(vring_want_notify(&ring, true));
    assert_true(vring_ready(&ring));
    vring_push(&ring, 0, 0);
    assert_true(vring_should_interrupt(&ring));
    assert_false(vring_should_interrupt(&ring));
    put16(AVAIL, 1); /* no interrupt */
    vring_push(&ring, 0, 0);
    assert_false(vring_should_interrupt(&ring));
}

static void test_event_idx(void **state)
{
    uint64_t used_event = AVAIL + 4 + 2 * N, avail_event = USED + 4 + 8 * N;

    (void)state;
    start(true);
    desc(0, DATA, 1, 0, 0);
    for (unsigned i = 0; i < 3; i++)
        offer(0);
    assert_int_equal(vring_pop(&ring, &chain), 1);
    assert_true(vring_want_notify(&ring, true));
    assert_int_equal(get16(avail_event), 1);
    vring_push(&ring, 0, 0);
    assert_true(vring_should_interrupt(&ring)); /* the first one always */
    put16(used_event, 3);
    vring_push(&ring, 0, 0);
    vring_push(&ring, 0, 0);
    assert_false(vring_should_interrupt(&ring)); /* used is 3, event after it */
    vring_push(&ring, 0, 0);
    assert_true(vring_should_interrupt(&ring));
    vring_push(&ring, 0, 0);
    assert_false(vring_should_interrupt(&ring));
    /* Over the wrap of the index. */
    ring.used_idx = ring.signalled = 0xfffe;
    put16(used_event, 0xffff);
    for (unsigned i = 0; i < 3; i++)
        vring_fill(&ring, i, 0, 0);
    vring_publish(&ring, 3);
    assert_int_equal(get16(USED + 2), 1);
    assert_true(vring_should_interrupt(&ring));
}

static void test_dirty(void **state)
{
    uint64_t bits[8];

    (void)state;
    start(false);
    mem_dirty_start(mem);
    desc(0, 0xa800, 0x1000, WRITE, 0);
    offer(0);
    assert_int_equal(vring_pop(&ring, &chain), 1);
    mem_dirty_fetch(mem, 0, 512, bits);
    vring_written(&ring, &chain, 0x801);
    vring_push(&ring, 0, 0x801);
    mem_dirty_fetch(mem, 0, 512, bits);
    assert_int_equal(bits[0], BIT(0xa) | BIT(0xb) | BIT(USED >> 12));
    mem_dirty_stop(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_setup),     cmocka_unit_test(test_chain),
        cmocka_unit_test(test_slots),     cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_indirect),  cmocka_unit_test(test_flags),
        cmocka_unit_test(test_event_idx), cmocka_unit_test(test_dirty),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
