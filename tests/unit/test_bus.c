/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port and MMIO dispatch: splitting, widening, holes, changes of the map. */
#include <errno.h>

#include "bus/or_gate.h"
#include "machine.h"

struct probe {
    uint64_t off[16];
    unsigned size[16];
    uint64_t value[16];
    unsigned n;
    struct bus *bus;
};

static uint64_t probe_read(void *dev, uint64_t off, unsigned size)
{
    struct probe *p = dev;
    uint64_t v = 0;

    p->off[p->n] = off;
    p->size[p->n++ & 15] = size;
    for (unsigned i = 0; i < size; i++)
        v |= (0xa0 + off + i) << i * 8;
    return v;
}

static void probe_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct probe *p = dev;

    p->off[p->n] = off;
    p->value[p->n] = value;
    p->size[p->n++ & 15] = size;
}

static const struct io_ops bytes = { probe_read, probe_write, 1, 1 };
static const struct io_ops dwords = { probe_read, probe_write, 4, 4 };
static const struct io_ops any = { probe_read, probe_write, 0, 0 };

static void test_overlap(void **state)
{
    struct machine m;
    struct probe p = { 0 };

    (void)state;
    machine_init(&m);
    assert_int_equal(bus_add_io(m.bus, 0x100, 8, &any, &p), 0);
    assert_int_equal(bus_add_io(m.bus, 0x107, 1, &any, &p), -EEXIST);
    assert_int_equal(bus_add_io(m.bus, 0xff, 2, &any, &p), -EEXIST);
    assert_int_equal(bus_add_io(m.bus, 0xf0, 0x100, &any, &p), -EEXIST);
    assert_int_equal(bus_add_io(m.bus, 0x108, 1, &any, &p), 0);
    assert_int_equal(bus_add_io(m.bus, 0xff, 1, &any, &p), 0);
    assert_int_equal(bus_add_io(m.bus, 0xffff, 2, &any, &p), -EINVAL);
    assert_int_equal(bus_add_io(m.bus, 0xffff, 1, &any, &p), 0);
    assert_int_equal(bus_add_mmio(m.bus, UINT64_MAX, 2, &any, &p), -EINVAL);
    bus_remove_io(m.bus, 0x104); /* not the start of a range */
    assert_int_equal(in8(&m, 0x104), 0xa4);
    bus_remove_io(m.bus, 0x100);
    assert_int_equal(in8(&m, 0x104), 0xff);
    machine_free(&m);
}

static void test_split_and_widen(void **state)
{
    struct machine m;
    struct probe p = { 0 };

    (void)state;
    machine_init(&m);
    bus_add_mmio(m.bus, 0x1000000, 16, &bytes, &p);
    bus_add_mmio(m.bus, 0x1000010, 16, &dwords, &p);
    assert_int_equal(bus_mmio_read(m.bus, 0x1000004, 4), 0xa7a6a5a4);
    assert_int_equal(p.n, 4);
    p.n = 0;
    assert_int_equal(bus_mmio_read(m.bus, 0x1000015, 2), 0xa6a5); /* of one dword */
    assert_int_equal(p.n, 1);
    assert_int_equal(p.off[0], 4);
    assert_int_equal(p.size[0], 4);
    /* Across two dwords, and across two ranges. */
    assert_int_equal(bus_mmio_read(m.bus, 0x1000013, 2), 0xa4a3);
    assert_int_equal(bus_mmio_read(m.bus, 0x100000e, 4), 0xa1a0afae);
    p.n = 0;
    bus_mmio_write(m.bus, 0x1000018, 8, 0x1122334455667788);
    assert_int_equal(p.n, 2);
    assert_int_equal(p.value[0], 0x55667788);
    assert_int_equal(p.value[1], 0x11223344);
    p.n = 0;
    bus_mmio_write(m.bus, 0x1000018, 1, 0x99); /* passed as it is */
    assert_int_equal(p.size[0], 1);
    machine_free(&m);
}

static void test_holes(void **state)
{
    struct machine m;
    struct probe p = { 0 };

    (void)state;
    machine_init(&m);
    bus_add_io(m.bus, 0x82, 1, &any, &p);
    bus_add_io(m.bus, 0xfffe, 2, &any, &p);
    assert_int_equal(bus_io_read(m.bus, 0x80, 4), 0xffa0ffff);
    assert_int_equal(bus_io_read(m.bus, 0xfffe, 4), 0xffffa1a0); /* no wrap to port 0 */
    assert_int_equal(bus_mmio_read(m.bus, UINT64_MAX, 8), UINT64_MAX);
    bus_mmio_write(m.bus, UINT64_MAX - 3, 8, 0);
    assert_int_equal(p.n, 2);
    machine_free(&m);
}

/* A handler that takes its own range away, as a moving BAR does. */
static void vanish(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct probe *p = dev;

    (void)off;
    (void)size;
    (void)value;
    p->n++;
    bus_remove_io(p->bus, 0x200);
}

static void test_map_changes_in_handler(void **state)
{
    static const struct io_ops ops = { probe_read, vanish, 1, 1 };
    struct machine m;
    struct probe p = { 0 };

    (void)state;
    machine_init(&m);
    p.bus = m.bus;
    bus_add_io(m.bus, 0x200, 4, &ops, &p);
    bus_io_write(m.bus, 0x200, 4, 0);
    assert_int_equal(p.n, 1);
    machine_free(&m);
}

struct levels {
    unsigned n;
    bool last;
};

static void note_level(void *opaque, unsigned n, bool level)
{
    struct levels *l = opaque;

    (void)n;
    l->n++;
    l->last = level;
}

/* Inputs that are driven again, as after a load, make no edge. */
static void test_or_gate(void **state)
{
    struct levels l = { 0 };
    struct or_gate g = { .out = { .set = note_level, .opaque = &l } };

    (void)state;
    or_gate_set(&g, 0, false);
    assert_int_equal(l.n, 1); /* the first level is told */
    or_gate_set(&g, 1, true);
    assert_true(l.n == 2 && l.last);
    or_gate_set(&g, 0, false);
    or_gate_set(&g, 1, true);
    or_gate_set(&g, 0, true);
    or_gate_set(&g, 1, false);
    assert_int_equal(l.n, 2);
    or_gate_set(&g, 0, false);
    assert_true(l.n == 3 && !l.last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_split_and_widen),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_map_changes_in_handler),
        cmocka_unit_test(test_or_gate),
    };

    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
