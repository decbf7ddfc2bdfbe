/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 8042, its keyboard, port 92 and the A20 gate between them. */
#include "bus/or_gate.h"
#include "dev/i8042.h"
#include "dev/isa_debug_exit.h"
#include "dev/port92.h"

#include "machine.h"

static struct i8042 *kbc;
static struct port92 *p92;
static struct isa_debug_exit *debug_exit;
static struct or_gate a20;

static void make(struct machine *m)
{
    machine_init(m);
    a20 = (struct or_gate){ .out = line(m, 20) };
    assert_int_equal(
        i8042_create(m->bus,
                     &(struct i8042_config){ line(m, 1), line(m, 12), { or_gate_set, &a20, 0 } },
                     &kbc),
        0);
    assert_int_equal(
        port92_create(m->bus, &(struct port92_config){ { or_gate_set, &a20, 1 } }, &p92), 0);
    assert_int_equal(
        isa_debug_exit_create(m->bus, &(struct isa_debug_exit_config){ 0xf4, 4 }, &debug_exit), 0);
    bus_reset(m->bus);
}

static uint8_t answer(struct machine *m)
{
    assert_int_equal(in8(m, 0x64) & 1, 1);
    return in8(m, 0x60);
}

static void command(struct machine *m, uint8_t c, int data)
{
    out8(m, 0x64, c);
    if (data >= 0)
        out8(m, 0x60, (uint8_t)data);
}

static void test_controller(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    command(&m, 0xaa, -1);
    assert_int_equal(answer(&m), 0x55);
    command(&m, 0xab, -1);
    assert_int_equal(answer(&m), 0);
    command(&m, 0x60, 0x47);
    command(&m, 0x20, -1);
    assert_int_equal(answer(&m), 0x47);
    command(&m, 0xd3, 0x5a); /* Linux's loop test of the aux port */
    assert_int_equal(in8(&m, 0x64) & 0x21, 0x21);
    assert_true(m.level[12]);
    assert_int_equal(answer(&m), 0x5a);
    command(&m, 0xd4, 0xf2); /* nobody there */
    assert_int_equal(in8(&m, 0x64) & 0x61, 0x61);
    assert_int_equal(answer(&m), 0xfe);
    assert_int_equal(in8(&m, 0x64) & 1, 0);
    machine_free(&m);
}

static void test_keyboard(void **state)
{
    struct machine m;
    unsigned rises;

    (void)state;
    make(&m);
    command(&m, 0x60, 0x05); /* no translation */
    rises = m.rises[1];
    out8(&m, 0x60, 0xff);
    assert_true(m.level[1]);
    assert_int_equal(answer(&m), 0xfa);
    assert_int_equal(answer(&m), 0xaa);
    assert_int_equal(m.rises[1], rises + 2); /* an edge for each byte */
    out8(&m, 0x60, 0xf2);
    assert_int_equal(answer(&m), 0xfa);
    assert_int_equal(answer(&m), 0xab);
    assert_int_equal(answer(&m), 0x83);
    out8(&m, 0x60, 0xed);
    assert_int_equal(answer(&m), 0xfa);
    out8(&m, 0x60, 0x07);
    assert_int_equal(answer(&m), 0xfa);
    out8(&m, 0x60, 0xf0);
    out8(&m, 0x60, 0x00);
    assert_int_equal(answer(&m), 0xfa);
    assert_int_equal(answer(&m), 0xfa);
    assert_int_equal(answer(&m), 2);
    for (int i = 0; i < 100; i++) /* never read */
        out8(&m, 0x60, 0xee);
    command(&m, 0xad, -1); /* interface off: its bytes wait */
    assert_int_equal(answer(&m), 0xee);
    assert_int_equal(in8(&m, 0x64) & 1, 0);
    command(&m, 0xae, -1);
    assert_int_equal(answer(&m), 0xee);
    machine_free(&m);
}

static void test_a20(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    assert_true(m.level[20]);
    command(&m, 0xd1, 0xdd);
    assert_false(m.level[20]);
    out8(&m, 0x92, 0x02);
    assert_true(m.level[20]);
    out8(&m, 0x92, 0x00);
    assert_false(m.level[20]);
    command(&m, 0xdf, -1);
    assert_true(m.level[20]);
    command(&m, 0xd0, -1);
    assert_int_equal(answer(&m) & 3, 3);
    assert_int_equal(m.requests, 0);
    machine_free(&m);
}

static void test_requests(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    command(&m, 0xff, -1); /* pulses nothing */
    assert_int_equal(m.requests, 0);
    command(&m, 0xfe, -1);
    assert_int_equal(m.requests, 1);
    command(&m, 0xd1, 0x02);
    assert_int_equal(m.requests, 2);
    out8(&m, 0x92, 1);
    out8(&m, 0x92, 1);
    assert_int_equal(m.requests, 3);
    assert_int_equal(m.request, BUS_RESET);
    bus_io_write(m.bus, 0xf4, 4, 0x10);
    assert_int_equal(m.request, BUS_DEBUG_EXIT);
    assert_int_equal(m.status, 0x21);
    assert_int_equal(bus_io_read(m.bus, 0xf4, 4), 0);
    machine_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_controller),
        cmocka_unit_test(test_keyboard),
        cmocka_unit_test(test_a20),
        cmocka_unit_test(test_requests),
    };

    return cmocka_run_group_tests_name("dev_i8042", tests, NULL, NULL);
}
