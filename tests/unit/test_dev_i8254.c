/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 8254: each mode by the clock, latches, IRQ 0, port 0x61. */
#include "dev/i8254.h"

#include "machine.h"

static struct i8254 *pit;

static void make(struct machine *m)
{
    machine_init(m);
    assert_int_equal(i8254_create(m->bus, &(struct i8254_config){ line(m, 0) }, &pit), 0);
    bus_reset(m->bus);
}

/* Just past the moment when n ticks have passed. */
static uint64_t ticks(uint64_t n)
{
    return mul_div(n, NSEC_PER_SEC, I8254_HZ) + 10;
}

static void program(struct machine *m, unsigned n, unsigned mode, unsigned bcd, uint16_t count)
{
    out8(m, 0x43, (uint8_t)(n << 6 | 0x30 | mode << 1 | bcd));
    out8(m, (uint16_t)(0x40 + n), (uint8_t)count);
    out8(m, (uint16_t)(0x40 + n), (uint8_t)(count >> 8));
}

static uint16_t count(struct machine *m, unsigned n)
{
    uint16_t v;

    out8(m, 0x43, (uint8_t)(n << 6));
    v = in8(m, (uint16_t)(0x40 + n));
    return (uint16_t)(v | in8(m, (uint16_t)(0x40 + n)) << 8);
}

static bool out2(struct machine *m)
{
    return in8(m, 0x61) & 0x20;
}

static void test_mode0(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    out8(&m, 0x61, 1);
    program(&m, 2, 0, 0, 1000);
    assert_false(out2(&m));
    wait_ns(&m, ticks(400));
    assert_int_equal(count(&m, 2), 600);
    out8(&m, 0x61, 0); /* a low gate stops it */
    wait_ns(&m, ticks(5000));
    assert_int_equal(count(&m, 2), 600);
    out8(&m, 0x61, 1);
    wait_ns(&m, ticks(599));
    assert_false(out2(&m));
    wait_ns(&m, ticks(1));
    assert_true(out2(&m));
    wait_ns(&m, ticks(5)); /* goes on below zero */
    assert_in_range(count(&m, 2), 0xfff0, 0xfffb);
    machine_free(&m);
}

static void test_mode1_and_5(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    program(&m, 2, 1, 0, 100);
    wait_ns(&m, ticks(300));
    assert_true(out2(&m));
    out8(&m, 0x61, 1);
    assert_false(out2(&m));
    wait_ns(&m, ticks(60));
    out8(&m, 0x61, 0);
    out8(&m, 0x61, 1); /* triggered again */
    wait_ns(&m, ticks(60));
    assert_false(out2(&m));
    wait_ns(&m, ticks(60));
    assert_true(out2(&m));
    out8(&m, 0x61, 0);
    program(&m, 2, 5, 0, 100);
    out8(&m, 0x61, 1);
    wait_ns(&m, ticks(100));
    assert_false(out2(&m));
    wait_ns(&m, ticks(1));
    assert_true(out2(&m));
    machine_free(&m);
}

static void test_mode2_and_3(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    out8(&m, 0x61, 1);
    program(&m, 2, 2, 0, 100);
    wait_ns(&m, ticks(1030));
    assert_int_equal(count(&m, 2), 70);
    assert_true(out2(&m));
    wait_ns(&m, ticks(69));
    assert_false(out2(&m)); /* the last tick of the period */
    program(&m, 2, 3, 0, 101);
    wait_ns(&m, ticks(50));
    assert_true(out2(&m)); /* 51 high, 50 low */
    wait_ns(&m, ticks(1));
    assert_false(out2(&m));
    wait_ns(&m, ticks(50));
    assert_true(out2(&m));
    machine_free(&m);
}

static void test_new_count_in_mode2(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    out8(&m, 0x61, 1);
    program(&m, 2, 2, 0, 100);
    wait_ns(&m, ticks(30));
    out8(&m, 0x42, 200);
    out8(&m, 0x42, 0);
    wait_ns(&m, ticks(30));
    assert_int_equal(count(&m, 2), 40); /* the old period ends first */
    wait_ns(&m, ticks(50));
    assert_in_range(count(&m, 2), 188, 191);
    machine_free(&m);
}

static void test_bcd_and_zero(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    out8(&m, 0x61, 1);
    program(&m, 2, 0, 1, 0x1000);
    wait_ns(&m, ticks(1));
    assert_int_equal(count(&m, 2), 0x0999);
    program(&m, 2, 2, 0, 0); /* 65536 */
    wait_ns(&m, ticks(65535));
    assert_int_equal(count(&m, 2), 1);
    program(&m, 2, 2, 1, 0); /* 10000 */
    wait_ns(&m, ticks(1));
    assert_int_equal(count(&m, 2), 0x9999);
    machine_free(&m);
}

static void test_latch_and_read_back(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    out8(&m, 0x61, 1);
    program(&m, 2, 0, 0, 0x1234);
    out8(&m, 0x43, 0x80);
    wait_ns(&m, ticks(50));
    out8(&m, 0x43, 0x80); /* the first latch stays */
    assert_int_equal(in8(&m, 0x42), 0x34);
    assert_int_equal(in8(&m, 0x42), 0x12);
    out8(&m, 0x43, 0xc8); /* read-back: status and count of channel 2 */
    assert_int_equal(in8(&m, 0x42), 0x30);
    assert_int_equal(in8(&m, 0x42), 0x02);
    assert_int_equal(in8(&m, 0x42), 0x12);
    out8(&m, 0x43, 0xb0);
    out8(&m, 0x43, 0xe8); /* null count: none is loaded */
    assert_int_equal(in8(&m, 0x42), 0x70);
    out8(&m, 0x43, 0xa0); /* MSB only */
    out8(&m, 0x42, 0x20);
    wait_ns(&m, ticks(1));
    assert_int_equal(in8(&m, 0x42), 0x1f);
    machine_free(&m);
}

static void test_irq(void **state)
{
    struct machine m;
    unsigned before;

    (void)state;
    make(&m);
    program(&m, 0, 2, 0, 0); /* 54.9 ms: leaves room for a slow host */
    assert_true(m.level[0]);
    before = m.rises[0];
    run_ns(&m, 27000000);
    assert_int_equal(m.rises[0], before);
    run_ns(&m, 28000000);
    assert_int_equal(m.rises[0], before + 1);
    /* Late by five periods: all of them come, one by one. */
    run_ns(&m, 5 * 54925439ULL);
    assert_int_equal(m.rises[0], before + 2);
    for (int i = 0; i < 4; i++)
        run_ns(&m, 27500000);
    assert_in_range(m.rises[0], before + 6, before + 8);
    program(&m, 0, 0, 0, 0);
    assert_false(m.level[0]);
    before = m.rises[0];
    run_ns(&m, 60000000);
    run_ns(&m, 60000000);
    assert_int_equal(m.rises[0], before + 1);
    assert_true(m.level[0]);
    machine_free(&m);
}

static void test_one_shot_mode4(void **state)
{
    struct machine m;
    unsigned before;

    (void)state;
    make(&m);
    program(&m, 0, 4, 0, 1193);
    before = m.rises[0];
    run_ns(&m, 2000000);
    run_ns(&m, 2000000);
    assert_int_equal(m.rises[0], before + 1);
    out8(&m, 0x40, 0xa9);
    out8(&m, 0x40, 0x04);
    run_ns(&m, 2000000);
    assert_int_equal(m.rises[0], before + 2);
    machine_free(&m);
}

/* Saved when the edge is due and the timer has not come: it comes after the load. */
static void test_due_edge_survives(void **state)
{
    struct machine a, b;
    unsigned before;

    (void)state;
    for (unsigned mode = 0; mode <= 4; mode += 4) {
        make(&a);
        program(&a, 0, mode, 0, 512);
        wait_ns(&a, ticks(600));
        make(&b);
        copy_state(&a, &b);
        before = b.rises[0];
        run_ns(&b, 1000);
        assert_int_equal(b.rises[0], before + 1);
        assert_true(b.level[0]);
        machine_free(&a);
        machine_free(&b);
    }
}

/* The smallest counts give a bounded rate. */
static void test_flood(void **state)
{
    struct machine m;
    unsigned before;

    (void)state;
    make(&m);
    for (unsigned mode = 0; mode < 6; mode++) {
        program(&m, 0, mode, 0, 1);
        before = m.rises[0];
        run_ns(&m, 60000000000ULL);
        assert_in_range(m.rises[0], before, before + 5000);
    }
    machine_free(&m);
}

static void test_refresh_toggles(void **state)
{
    struct machine m;
    uint8_t first;

    (void)state;
    make(&m);
    first = in8(&m, 0x61) & 0x10;
    wait_ns(&m, 15085);
    assert_int_not_equal(in8(&m, 0x61) & 0x10, first);
    out8(&m, 0x61, 0xff);
    assert_int_equal(in8(&m, 0x61) & 0x0f, 0x0f);
    machine_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mode0),        cmocka_unit_test(test_mode1_and_5),
        cmocka_unit_test(test_mode2_and_3),  cmocka_unit_test(test_new_count_in_mode2),
        cmocka_unit_test(test_bcd_and_zero), cmocka_unit_test(test_latch_and_read_back),
        cmocka_unit_test(test_irq),          cmocka_unit_test(test_one_shot_mode4),
        cmocka_unit_test(test_flood),        cmocka_unit_test(test_refresh_toggles),
        cmocka_unit_test(test_due_edge_survives),
    };

    return cmocka_run_group_tests_name("dev_i8254", tests, NULL, NULL);
}
