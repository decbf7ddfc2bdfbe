/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 16550A: FIFOs, interrupts and their priority, loopback, a full chardev. */
#include "dev/ns16550.h"

#include "fake_chardev.h"
#include "machine.h"

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR };
#define COM1 0x3f8

static struct ns16550 *uart;
static struct fake_chardev chr;

static void make(struct machine *m)
{
    machine_init(m);
    fake_init(&chr);
    assert_int_equal(
        ns16550_create(
            m->bus, &(struct ns16550_config){ .port = COM1, .irq = line(m, 4), .chardev = &chr.cd },
            &uart),
        0);
    bus_reset(m->bus);
}

static uint8_t get(struct machine *m, unsigned reg)
{
    return in8(m, (uint16_t)(COM1 + reg));
}

static void set(struct machine *m, unsigned reg, uint8_t v)
{
    out8(m, (uint16_t)(COM1 + reg), v);
}

static void test_registers(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    assert_int_equal(get(&m, LSR), 0x60);
    assert_int_equal(get(&m, MSR), 0xb0);
    assert_int_equal(get(&m, IIR), 0x01);
    set(&m, SCR, 0x5a);
    assert_int_equal(get(&m, SCR), 0x5a);
    set(&m, IER, 0xff);
    assert_int_equal(get(&m, IER), 0x0f);
    set(&m, IER, 0);
    set(&m, LCR, 0x83);
    set(&m, RBR, 0x01);
    set(&m, IER, 0x02);
    assert_int_equal(get(&m, RBR), 0x01);
    assert_int_equal(get(&m, IER), 0x02);
    set(&m, LCR, 0x03);
    assert_int_equal(get(&m, IER), 0);
    set(&m, IIR, 0x01);
    assert_int_equal(get(&m, IIR), 0xc1);
    machine_free(&m);
}

static void test_transmit_interrupt(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    set(&m, RBR, 'a');
    assert_int_equal(chr.n, 1);
    assert_false(m.level[4]);
    set(&m, IER, 2);
    assert_true(m.level[4]);
    assert_int_equal(get(&m, IIR), 0x02);
    assert_false(m.level[4]); /* reading IIR resets it */
    set(&m, RBR, 'b');
    assert_true(m.level[4]);
    set(&m, IER, 0);
    assert_false(m.level[4]);
    set(&m, IER, 2);
    assert_true(m.level[4]);
    assert_memory_equal(chr.out, "ab", 2);
    machine_free(&m);
}

static void test_chardev_full(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    set(&m, IIR, 1);
    chr.room = 1;
    set(&m, IER, 2);
    get(&m, IIR);
    for (int i = 0; i < 17; i++)
        set(&m, RBR, (uint8_t)('a' + i));
    assert_int_equal(chr.n, 1);
    assert_int_equal(get(&m, LSR), 0);
    get(&m, IIR);
    assert_false(m.level[4]);
    fake_writable(&chr, 10);
    assert_int_equal(get(&m, LSR), 0);
    fake_writable(&chr, 100);
    assert_true(m.level[4]);
    assert_int_equal(get(&m, LSR), 0x60);
    assert_memory_equal(chr.out, "abcdefghijklmnopq", 17);
    machine_free(&m);
}

static void test_receive(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    set(&m, IER, 1);
    assert_int_equal(fake_input(&chr, "xy"), 1); /* no FIFO yet */
    assert_true(m.level[4]);
    assert_int_equal(get(&m, IIR), 0x04);
    assert_int_equal(get(&m, LSR) & 1, 1);
    assert_int_equal(get(&m, RBR), 'x');
    assert_false(m.level[4]);
    set(&m, IIR, 0x81); /* FIFO, trigger at 8 */
    assert_int_equal(fake_input(&chr, "0123456789abcdefXYZ"), 16);
    assert_int_equal(get(&m, IIR), 0xc4);
    for (int i = 0; i < 9; i++)
        get(&m, RBR);
    assert_false(m.level[4]); /* seven are left */
    run_ns(&m, 1000000);
    assert_int_equal(get(&m, IIR), 0xcc); /* timeout */
    assert_int_equal(get(&m, RBR), '9');
    assert_false(m.level[4]);
    set(&m, IIR, 0x03); /* clear */
    assert_int_equal(get(&m, LSR) & 1, 0);
    machine_free(&m);
}

static void test_loopback(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    set(&m, MCR, 0x1a); /* loop, RTS, OUT2: Linux's test */
    assert_int_equal(get(&m, MSR) & 0xf0, 0x90);
    set(&m, RBR, 'l');
    assert_int_equal(chr.n, 0);
    assert_int_equal(fake_input(&chr, "x"), 0);
    assert_int_equal(get(&m, RBR), 'l');
    get(&m, MSR);
    set(&m, IER, 8);
    set(&m, MCR, 0x10);
    assert_true(m.level[4]);
    assert_int_equal(get(&m, IIR), 0x00);
    assert_int_equal(get(&m, MSR), 0x09);
    assert_false(m.level[4]);
    machine_free(&m);
}

static void test_errors(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    set(&m, IER, 5);
    chr.cd.handler.receive_break(chr.cd.handler.opaque);
    assert_int_equal(get(&m, IIR), 0x06); /* line status comes first */
    assert_int_equal(get(&m, LSR), 0x71);
    assert_int_equal(get(&m, LSR), 0x61);
    set(&m, MCR, 0x10);
    set(&m, RBR, 'a');
    assert_int_equal(get(&m, LSR) & 2, 2); /* overrun */
    assert_int_equal(get(&m, RBR), 'a');
    machine_free(&m);
}

/* What the FIFO has taken goes on in another machine; the rest is the backend's. */
static void test_receive_saved(void **state)
{
    struct machine a, b;
    char *text = NULL;
    size_t size;
    FILE *f;

    (void)state;
    make(&a);
    set(&a, IER, 1);
    set(&a, IIR, 0x81);
    assert_int_equal(fake_input(&chr, "0123456789abcdefXYZ"), 16);
    make(&b);
    copy_state(&a, &b);
    assert_true(b.level[4]);
    f = open_memstream(&text, &size);
    assert_non_null(f);
    bus_info(b.bus, f);
    fclose(f);
    assert_non_null(strstr(text, "rx_count: 10"));
    assert_non_null(strstr(text, "interrupt: data"));
    free(text);
    for (int i = 0; i < 16; i++)
        assert_int_equal(get(&b, RBR), "0123456789abcdef"[i]);
    assert_int_equal(get(&b, LSR) & 1, 0);
    assert_false(b.level[4]);
    assert_int_equal(fake_input(&chr, "XYZ"), 3);
    machine_free(&a);
    machine_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers),     cmocka_unit_test(test_transmit_interrupt),
        cmocka_unit_test(test_chardev_full),  cmocka_unit_test(test_receive),
        cmocka_unit_test(test_loopback),      cmocka_unit_test(test_errors),
        cmocka_unit_test(test_receive_saved),
    };

    return cmocka_run_group_tests_name("dev_ns16550", tests, NULL, NULL);
}
