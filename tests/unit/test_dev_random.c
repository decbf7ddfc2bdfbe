/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All devices together under random accesses.  At random points the state
 * goes into a fresh machine, and both go on with the same accesses: they must
 * answer the same and end in the same state.
 */
#include "base/crc32c.h"
#include "bus/or_gate.h"
#include "dev/acpi_pm.h"
#include "dev/fw_cfg.h"
#include "dev/i440fx.h"
#include "dev/i8042.h"
#include "dev/i8254.h"
#include "dev/i8259.h"
#include "dev/ioapic.h"
#include "dev/isa_debug_exit.h"
#include "dev/mc146818.h"
#include "dev/ns16550.h"
#include "dev/piix3.h"
#include "dev/port92.h"

#include "fake_chardev.h"
#include "machine.h"

struct board {
    struct machine m;
    struct fake_chardev chr;
    struct i8259 *pic;
    struct ioapic *ioapic;
    struct i440fx *host;
    struct piix3 *piix3;
    struct or_gate a20;
};

static const struct {
    uint16_t port, len;
} ports[] = {
    { 0x20, 2 }, { 0xa0, 2 },  { 0x4d0, 2 }, { 0x40, 4 },  { 0x61, 1 },   { 0x70, 2 },
    { 0x60, 1 }, { 0x64, 1 },  { 0x92, 1 },  { 0x3f8, 8 }, { 0x600, 12 }, { 0xafe0, 4 },
    { 0xb2, 2 }, { 0xcf8, 8 }, { 0x510, 2 }, { 0x514, 8 },
};

static uint64_t fixed_wall(void)
{
    return 1700000000ULL * NSEC_PER_SEC + 123456789;
}

/* To the PIC and the I/O APIC, as a board does it. */
static void gsi(void *opaque, unsigned n, bool level)
{
    struct board *b = opaque;

    i8259_set(b->pic, n, level);
    ioapic_set(b->ioapic, n == 0 ? 2 : n, level);
}

static void pirq(void *opaque, unsigned n, bool level)
{
    struct board *b = opaque;

    piix3_pirq(b->piix3, n, level);
    ioapic_set(b->ioapic, 16 + n, level);
}

static void make(struct board *b)
{
    struct bus *bus;
    struct i440fx_config host;
    struct i8254 *pit;
    struct mc146818 *rtc;
    struct i8042 *kbc;
    struct port92 *p92;
    struct ns16550 *uart;
    struct acpi_pm *pm;
    struct fw_cfg *fw;
    int ret = 0;

    memset(b, 0, sizeof(*b));
    machine_init(&b->m);
    fake_init(&b->chr);
    bus = b->m.bus;
    for (unsigned n = 0; n < 4; n++)
        host.pirq[n] = (struct irq_line){ pirq, b, n };
    ret |= i8259_create(bus, &(struct i8259_config){ 0 }, &b->pic);
    ret |= ioapic_create(bus, &(struct ioapic_config){ .id = 1 }, &b->ioapic);
    ret |= i440fx_create(bus, &host, &b->host);
    ret |= piix3_create(bus, &(struct piix3_config){ i440fx_pci(b->host), 8, { gsi, b, 0 } },
                        &b->piix3);
    ret |= i8254_create(bus, &(struct i8254_config){ { gsi, b, 0 } }, &pit);
    ret |= mc146818_create(
        bus, &(struct mc146818_config){ .irq = { gsi, b, 8 }, .wall_ns = fixed_wall }, &rtc);
    ret |= i8042_create(
        bus, &(struct i8042_config){ { gsi, b, 1 }, { gsi, b, 12 }, { or_gate_set, &b->a20, 0 } },
        &kbc);
    ret |= port92_create(bus, &(struct port92_config){ { or_gate_set, &b->a20, 1 } }, &p92);
    ret |= ns16550_create(bus, &(struct ns16550_config){ 0x3f8, { gsi, b, 4 }, &b->chr.cd }, &uart);
    ret |= acpi_pm_create(bus, &(struct acpi_pm_config){ .sci = { gsi, b, 9 } }, &pm);
    ret |= fw_cfg_create(bus, &(struct fw_cfg_config){ 1, MiB }, &fw);
    assert_int_equal(ret, 0);
    bus_reset(bus);
}

struct access {
    bool mmio, write;
    uint64_t addr, value;
    unsigned size;
};

static struct access random_access(void)
{
    struct access a = { .mmio = random() % 8 == 0,
                        .write = random() % 3 != 0,
                        .size = 1u << random() % 3 };
    unsigned i = (unsigned)random() % ARRAY_SIZE(ports);

    if (a.mmio) {
        a.addr = IOAPIC_GPA + (random() % 4 ? (uint64_t)(random() % 2) * 16 : 0x40);
        a.size = 4;
    } else {
        a.addr = ports[i].port + (uint64_t)random() % ports[i].len;
    }
    a.value = (uint64_t)random() << (random() % 24) ^ (uint64_t)random();
    if (random() % 2)
        a.value &= 0x3f;
    return a;
}

static uint64_t run(struct board *b, const struct access *a)
{
    struct bus *bus = b->m.bus;

    if (a->mmio && a->write)
        bus_mmio_write(bus, a->addr, a->size, a->value);
    else if (a->mmio)
        return bus_mmio_read(bus, a->addr, a->size);
    else if (a->write)
        bus_io_write(bus, (uint16_t)a->addr, a->size, a->value);
    else
        return bus_io_read(bus, (uint16_t)a->addr, a->size);
    return 0;
}

/* Also what is not an access: time, acknowledge, EOI, input. */
static uint64_t step(struct board *b, unsigned kind, const struct access *a)
{
    switch (kind) {
    case 0: wait_ns(&b->m, a->value % (2 * NSEC_PER_SEC)); return 0;
    case 1: return (uint64_t)i8259_acknowledge(b->pic);
    case 2: ioapic_eoi(b->ioapic, (uint8_t)a->value); return 0;
    case 3: return fake_input(&b->chr, "some input");
    case 4:
        fake_writable(&b->chr, a->value % 20);
        b->chr.n = 0;
        return 0;
    default: return run(b, a);
    }
}

static void go_on_together(struct board *a, struct board *b, unsigned steps)
{
    while (steps--) {
        struct access access = random_access();
        unsigned kind = (unsigned)random() % 50;
        uint64_t va = step(a, kind, &access), vb = step(b, kind, &access);

        if (va != vb)
            fail_msg("%s at 0x%llx size %u: 0x%llx and 0x%llx", access.write ? "write" : "read",
                     (unsigned long long)access.addr, access.size, (unsigned long long)va,
                     (unsigned long long)vb);
        assert_int_equal(a->m.extint, b->m.extint);
        assert_int_equal(a->a20.inputs, b->a20.inputs);
    }
}

static void test_save_at_random_points(void **state)
{
    static struct board a, b;

    (void)state;
    srandom(7);
    for (int round = 0; round < 60; round++) {
        make(&a);
        for (long i = random() % 3000; i > 0; i--) {
            struct access access = random_access();

            step(&a, (unsigned)random() % 50, &access);
        }
        make(&b);
        b.chr.room = a.chr.room; /* the host's side is not part of the state */
        copy_state(&a.m, &b.m);
        b.chr.room = a.chr.room;
        go_on_together(&a, &b, 500);
        copy_state(&a.m, &b.m);
        machine_free(&a.m);
        machine_free(&b.m);
    }
}

static void test_reset_is_like_new(void **state)
{
    static struct board a, b;
    struct state_writer wa, wb;

    (void)state;
    srandom(8);
    make(&a);
    for (int i = 0; i < 5000; i++) {
        struct access access = random_access();

        if (access.addr != 0x70 && access.addr != 0x71) /* NVRAM stays */
            step(&a, 9, &access);
    }
    bus_reset(a.m.bus);
    make(&b);
    b.m.clock = a.m.clock;
    bus_reset(b.m.bus);
    state_writer_init(&wa);
    state_writer_init(&wb);
    bus_save(a.m.bus, &wa);
    bus_save(b.m.bus, &wb);
    assert_int_equal(wa.size, wb.size);
    assert_memory_equal(wa.data, wb.data, wa.size);
    state_writer_free(&wa);
    state_writer_free(&wb);
    machine_free(&a.m);
    machine_free(&b.m);
}

/* Change some bytes of each section of the stream and make its checksum right. */
static void corrupt(struct state_writer *w)
{
    uint32_t size, crc;

    for (size_t at = 0; at < w->size; at += size) {
        memcpy(&size, w->data + at + 4, 4);
        for (long n = random() % 4; n > 0; n--)
            w->data[at + 8 + (size_t)random() % (size - 12)] =
                (uint8_t)(random() % 3 ? random() : 255);
        crc = crc32c(0, w->data + at, size - 4);
        memcpy(w->data + at + size - 4, &crc, 4);
    }
}

/* Devices take what they can make sense of and then work without harm. */
static void test_hostile_state(void **state)
{
    static struct board b;
    struct state_writer w;
    unsigned taken = 0;

    (void)state;
    srandom(9);
    make(&b);
    for (int round = 0; round < 3000; round++) {
        state_writer_init(&w);
        bus_save(b.m.bus, &w);
        corrupt(&w);
        for (struct device *d = b.m.bus->devices; d; d = d->next) {
            struct state_reader r;

            state_reader_init(&r, w.data, w.size);
            if (!d->cls->state || state_load(&r, d->cls->state, d->instance, d))
                continue;
            taken++;
            if (d->cls->reset)
                d->cls->reset(d);
        }
        state_writer_free(&w);
        for (int i = 0; i < 30; i++) {
            struct access access = random_access();

            step(&b, (unsigned)random() % 50, &access);
        }
        if (round % 100 == 0)
            run_ns(&b.m, NSEC_PER_SEC);
    }
    assert_true(taken > 10000);
    machine_free(&b.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_save_at_random_points),
        cmocka_unit_test(test_reset_is_like_new),
        cmocka_unit_test(test_hostile_state),
    };

    return cmocka_run_group_tests_name("dev_random", tests, NULL, NULL);
}
