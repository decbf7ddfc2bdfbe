/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MC146818: formats, setting the time, alarm, periodic and update interrupts. */
#include "dev/mc146818.h"

#include "machine.h"

/* 2024-02-29 23:59:58 UTC */
#define LEAP_DAY 1709251198ULL

static struct mc146818 *rtc;
static uint64_t wall;

static uint64_t fake_wall(void)
{
    return wall;
}

static void make(struct machine *m)
{
    machine_init(m);
    wall = LEAP_DAY * NSEC_PER_SEC;
    assert_int_equal(mc146818_create(m->bus,
                                     &(struct mc146818_config){ .irq = line(m, 8),
                                                                .nmi_mask = line(m, 31),
                                                                .ram_below_4g = 3 * GiB,
                                                                .ram_above_4g = 2 * GiB,
                                                                .wall_ns = fake_wall },
                                     &rtc),
                     0);
    bus_reset(m->bus);
}

static uint8_t get(struct machine *m, uint8_t reg)
{
    out8(m, 0x70, reg);
    return in8(m, 0x71);
}

static void set(struct machine *m, uint8_t reg, uint8_t v)
{
    out8(m, 0x70, reg);
    out8(m, 0x71, v);
}

static void pass(struct machine *m, uint64_t ns)
{
    wall += ns;
    run_ns(m, ns);
}

static void test_formats(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    assert_int_equal(get(&m, 0), 0x58);
    assert_int_equal(get(&m, 2), 0x59);
    assert_int_equal(get(&m, 4), 0x23);
    assert_int_equal(get(&m, 6), 5); /* Thursday */
    assert_int_equal(get(&m, 7), 0x29);
    assert_int_equal(get(&m, 8), 0x02);
    assert_int_equal(get(&m, 9), 0x24);
    assert_int_equal(get(&m, 0x32), 0x20);
    set(&m, 11, 0x06); /* binary */
    assert_int_equal(get(&m, 4), 23);
    assert_int_equal(get(&m, 0), 58);
    set(&m, 11, 0x00); /* BCD, 12 hours */
    assert_int_equal(get(&m, 4), 0x91);
    wall += 2 * NSEC_PER_SEC;
    assert_int_equal(get(&m, 4), 0x12); /* midnight is 12 AM */
    assert_int_equal(get(&m, 7), 0x01);
    assert_int_equal(get(&m, 8), 0x03);
    machine_free(&m);
}

static void test_set_time(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    set(&m, 11, 0x82); /* SET: the registers stand still */
    set(&m, 0, 0x30);
    set(&m, 2, 0x15);
    set(&m, 4, 0x08);
    set(&m, 7, 0x31);
    set(&m, 8, 0x12);
    set(&m, 9, 0x99);
    set(&m, 0x32, 0x19);
    wall += 3 * NSEC_PER_SEC;
    assert_int_equal(get(&m, 0), 0x30);
    set(&m, 11, 0x02);
    wall += 5 * NSEC_PER_SEC;
    assert_int_equal(get(&m, 0), 0x35);
    assert_int_equal(get(&m, 9), 0x99);
    bus_reset(m.bus); /* the battery keeps it */
    assert_int_equal(get(&m, 0), 0x35);
    assert_int_equal(get(&m, 0x32), 0x19);
    /* Any bytes are some time. */
    for (unsigned reg = 0; reg < 10; reg++)
        set(&m, (uint8_t)reg, 0xff);
    get(&m, 0);
    machine_free(&m);
}

static void test_update_and_alarm(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    get(&m, 12);
    set(&m, 11, 0x12);
    pass(&m, NSEC_PER_SEC);
    assert_true(m.level[8]);
    assert_int_equal(get(&m, 12) & 0xb0, 0x90); /* PF comes without PIE too */
    assert_false(m.level[8]);
    set(&m, 1, 0x05);
    set(&m, 3, 0x00);
    set(&m, 5, 0xff); /* any hour */
    set(&m, 11, 0x22);
    pass(&m, 3 * NSEC_PER_SEC);
    assert_false(m.level[8]);
    pass(&m, 4 * NSEC_PER_SEC); /* 00:00:06 */
    assert_true(m.level[8]);
    assert_int_equal(get(&m, 12) & 0xb0, 0xb0);
    machine_free(&m);
}

static void test_periodic(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    set(&m, 10, 0x2f); /* 2 Hz */
    set(&m, 11, 0x42);
    get(&m, 12);
    pass(&m, 300000000);
    pass(&m, 300000000);
    assert_true(m.level[8]);
    assert_int_equal(get(&m, 12) & 0xc0, 0xc0);
    assert_false(m.level[8]);
    pass(&m, 600000000);
    assert_true(m.level[8]);
    set(&m, 10, 0x20); /* off */
    get(&m, 12);
    pass(&m, 600000000);
    assert_false(m.level[8]);
    machine_free(&m);
}

static void test_uip(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    assert_int_equal(get(&m, 10), 0x26);
    wall += NSEC_PER_SEC - 100000;
    assert_int_equal(get(&m, 10), 0xa6);
    wall += 100000;
    assert_int_equal(get(&m, 10), 0x26);
    assert_int_equal(get(&m, 13), 0x80);
    machine_free(&m);
}

static void test_nvram(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    assert_int_equal(get(&m, 0x15) | get(&m, 0x16) << 8, 640);
    assert_int_equal(get(&m, 0x34) | get(&m, 0x35) << 8, (3 * GiB - 16 * MiB) / 65536);
    assert_int_equal(get(&m, 0x5b) | get(&m, 0x5c) << 8 | get(&m, 0x5d) << 16, 2 * GiB / 65536);
    set(&m, 0x40, 0x77);
    mc146818_set_nvram(rtc, 0x41, 0x78);
    bus_reset(m.bus);
    assert_int_equal(get(&m, 0x40), 0x77);
    assert_int_equal(get(&m, 0x41), 0x78);
    out8(&m, 0x70, 0x80);
    assert_true(m.level[31]);
    out8(&m, 0x70, 0x00);
    assert_false(m.level[31]);
    machine_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_set_time),
        cmocka_unit_test(test_update_and_alarm),
        cmocka_unit_test(test_periodic),
        cmocka_unit_test(test_uip),
        cmocka_unit_test(test_nvram),
    };

    return cmocka_run_group_tests_name("dev_mc146818", tests, NULL, NULL);
}
