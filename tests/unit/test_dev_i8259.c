/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 8259A pair and I/O APIC by their registers. */
#include "dev/i8259.h"
#include "dev/ioapic.h"

#include "machine.h"

static struct i8259 *pic;
static struct ioapic *ioapic;
static uint64_t eoi_vectors[4];

static void note_bitmap(void *opaque, const uint64_t bitmap[4])
{
    (void)opaque;
    memcpy(eoi_vectors, bitmap, sizeof(eoi_vectors));
}

static void make(struct machine *m)
{
    machine_init(m);
    assert_int_equal(i8259_create(m->bus, &(struct i8259_config){ 0 }, &pic), 0);
    assert_int_equal(ioapic_create(m->bus,
                                   &(struct ioapic_config){ .id = 5, .eoi_bitmap = note_bitmap },
                                   &ioapic),
                     0);
    bus_reset(m->bus);
}

/* Vectors 0x20 and 0x28, as Linux does; icw4 for both. */
static void init_pic(struct machine *m, uint8_t icw4)
{
    out8(m, 0x20, 0x11);
    out8(m, 0x21, 0x20);
    out8(m, 0x21, 0x04);
    out8(m, 0x21, icw4);
    out8(m, 0xa0, 0x11);
    out8(m, 0xa1, 0x28);
    out8(m, 0xa1, 0x02);
    out8(m, 0xa1, icw4 & ~0x0c);
}

static void test_priority_and_eoi(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    init_pic(&m, 1);
    i8259_set(pic, 5, true);
    i8259_set(pic, 3, true);
    assert_true(m.extint);
    assert_int_equal(i8259_acknowledge(pic), 0x23);
    assert_false(m.extint); /* 5 waits for the EOI of 3 */
    i8259_set(pic, 1, true);
    assert_int_equal(i8259_acknowledge(pic), 0x21);
    out8(&m, 0x20, 0x0b);
    assert_int_equal(in8(&m, 0x20), 0x0a);
    out8(&m, 0x20, 0x20);
    out8(&m, 0x20, 0x63); /* specific */
    assert_int_equal(in8(&m, 0x20), 0);
    assert_int_equal(i8259_acknowledge(pic), 0x25);
    out8(&m, 0x20, 0x20);
    assert_int_equal(i8259_acknowledge(pic), -1);
    i8259_set(pic, 5, true); /* no new edge */
    assert_false(m.extint);
    machine_free(&m);
}

static void test_cascade(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    init_pic(&m, 1);
    i8259_set(pic, 12, true);
    assert_int_equal(i8259_acknowledge(pic), 0x2c);
    i8259_set(pic, 8, true); /* higher, but the master is busy with IR2 */
    assert_false(m.extint);
    out8(&m, 0x20, 0x62);
    assert_true(m.extint);
    assert_int_equal(i8259_acknowledge(pic), 0x28);
    machine_free(&m);
}

static void test_special_fully_nested(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    init_pic(&m, 0x11);
    i8259_set(pic, 12, true);
    assert_int_equal(i8259_acknowledge(pic), 0x2c);
    i8259_set(pic, 8, true);
    assert_int_equal(i8259_acknowledge(pic), 0x28);
    machine_free(&m);
}

static void test_mask_and_special_mask(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    init_pic(&m, 1);
    out8(&m, 0x21, 0x08);
    i8259_set(pic, 3, true);
    assert_false(m.extint);
    out8(&m, 0x21, 0x00);
    assert_int_equal(i8259_acknowledge(pic), 0x23);
    i8259_set(pic, 6, true);
    assert_false(m.extint);
    out8(&m, 0x21, 0x08);
    out8(&m, 0x20, 0x68); /* special mask: lower levels may interrupt now */
    assert_true(m.extint);
    assert_int_equal(i8259_acknowledge(pic), 0x26);
    out8(&m, 0x20, 0x20); /* not for the masked level 3 */
    out8(&m, 0x20, 0x0b);
    assert_int_equal(in8(&m, 0x20), 0x08);
    machine_free(&m);
}

static void test_rotation_and_auto_eoi(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    init_pic(&m, 3);
    out8(&m, 0x20, 0x80); /* rotate in automatic EOI mode */
    i8259_set(pic, 0, true);
    i8259_set(pic, 1, true);
    assert_int_equal(i8259_acknowledge(pic), 0x20);
    i8259_set(pic, 0, false);
    i8259_set(pic, 0, true);
    assert_int_equal(i8259_acknowledge(pic), 0x21); /* 0 is the lowest now */
    assert_int_equal(i8259_acknowledge(pic), 0x20);
    out8(&m, 0x20, 0xc4); /* 4 is the lowest */
    i8259_set(pic, 3, true);
    i8259_set(pic, 5, true);
    assert_int_equal(i8259_acknowledge(pic), 0x25);
    assert_int_equal(i8259_acknowledge(pic), 0x23);
    machine_free(&m);
}

static void test_level_and_spurious(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    init_pic(&m, 1);
    out8(&m, 0x4d1, 0xff);
    assert_int_equal(in8(&m, 0x4d1), 0xde);
    out8(&m, 0x4d0, 0xff);
    assert_int_equal(in8(&m, 0x4d0), 0xf8);
    i8259_set(pic, 10, true);
    assert_int_equal(i8259_acknowledge(pic), 0x2a);
    out8(&m, 0xa0, 0x62);
    out8(&m, 0x20, 0x62);
    assert_true(m.extint); /* still high */
    i8259_set(pic, 10, false);
    assert_false(m.extint);
    assert_int_equal(i8259_acknowledge(pic), -1);
    machine_free(&m);
}

static void test_poll(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    init_pic(&m, 1);
    out8(&m, 0x20, 0x0c);
    assert_int_equal(in8(&m, 0x20), 0);
    i8259_set(pic, 4, true);
    out8(&m, 0x20, 0x0c);
    assert_int_equal(in8(&m, 0x20), 0x84);
    assert_false(m.extint);
    machine_free(&m);
}

static void rte(struct machine *m, unsigned n, uint64_t v)
{
    bus_mmio_write(m->bus, IOAPIC_GPA, 4, 0x10 + n * 2 + 1);
    bus_mmio_write(m->bus, IOAPIC_GPA + 0x10, 4, v >> 32);
    bus_mmio_write(m->bus, IOAPIC_GPA, 4, 0x10 + n * 2);
    bus_mmio_write(m->bus, IOAPIC_GPA + 0x10, 4, v & 0xffffffff);
}

static uint32_t ioapic_reg(struct machine *m, unsigned reg)
{
    bus_mmio_write(m->bus, IOAPIC_GPA, 4, reg);
    return (uint32_t)bus_mmio_read(m->bus, IOAPIC_GPA + 0x10, 4);
}

static void test_ioapic_edge(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    assert_int_equal(ioapic_reg(&m, 0), 0x05000000);
    assert_int_equal(ioapic_reg(&m, 1), 0x00170020);
    assert_int_equal(ioapic_reg(&m, 0x10), 0x00010000);
    ioapic_set(ioapic, 4, true); /* masked: lost */
    rte(&m, 4, 0x03ULL << 56 | 0x34);
    assert_int_equal(m.msis, 0);
    ioapic_set(ioapic, 4, false);
    ioapic_set(ioapic, 4, true);
    assert_int_equal(m.msis, 1);
    assert_int_equal(m.msi_address, 0xfee03000);
    assert_int_equal(m.msi_data, 0x4034);
    rte(&m, 4, 0x03ULL << 56 | 0x0900 | 0x34); /* logical, lowest priority */
    ioapic_set(ioapic, 4, false);
    ioapic_set(ioapic, 4, true);
    assert_int_equal(m.msi_address, 0xfee03004);
    assert_int_equal(m.msi_data, 0x4134);
    ioapic_set(ioapic, 24, true); /* not there */
    machine_free(&m);
}

static void test_ioapic_level(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    ioapic_set(ioapic, 17, true);
    rte(&m, 17, 0x8051);
    assert_int_equal(m.msis, 1);
    assert_int_equal(m.msi_data, 0xc051);
    assert_int_equal(eoi_vectors[1], BIT(0x51 - 64));
    assert_int_equal(ioapic_reg(&m, 0x10 + 34), 0xc051); /* remote IRR */
    ioapic_set(ioapic, 17, false);
    ioapic_set(ioapic, 17, true);
    assert_int_equal(m.msis, 1);
    ioapic_eoi(ioapic, 0x50);
    assert_int_equal(m.msis, 1);
    ioapic_eoi(ioapic, 0x51); /* still high: again */
    assert_int_equal(m.msis, 2);
    ioapic_set(ioapic, 17, false);
    bus_mmio_write(m.bus, IOAPIC_GPA + 0x40, 4, 0x51);
    assert_int_equal(ioapic_reg(&m, 0x10 + 34), 0x8051);
    rte(&m, 17, 0x0051);
    assert_int_equal(eoi_vectors[1], 0);
    machine_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priority_and_eoi),
        cmocka_unit_test(test_cascade),
        cmocka_unit_test(test_special_fully_nested),
        cmocka_unit_test(test_mask_and_special_mask),
        cmocka_unit_test(test_rotation_and_auto_eoi),
        cmocka_unit_test(test_level_and_spurious),
        cmocka_unit_test(test_poll),
        cmocka_unit_test(test_ioapic_edge),
        cmocka_unit_test(test_ioapic_level),
    };

    return cmocka_run_group_tests_name("dev_i8259", tests, NULL, NULL);
}
