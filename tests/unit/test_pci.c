/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI: mechanism 1, BARs that move, INTx routing, reset control. */
#include "dev/i440fx.h"
#include "dev/piix3.h"

#include "machine.h"

struct card {
    struct device dev;
    struct pci_device pci;
};

static uint64_t card_read(void *dev, uint64_t off, unsigned size)
{
    (void)dev;
    (void)size;
    return 0x11 * (off + 1);
}

static const struct io_ops card_ops = { card_read, NULL, 1, 1 };
static const struct state_field card_fields[] = { PCI_STATE(struct card, pci), STATE_END };
static const struct state_desc card_state = { "card", 1, card_fields, NULL };

static void card_reset(struct device *dev)
{
    pci_derive(&container_of(dev, struct card, dev)->pci);
}

static const struct dev_class card_class = {
    .name = "card",
    .state = &card_state,
    .reset = card_reset,
};

static struct i440fx *host;
static struct piix3 *piix3;
static struct card cards[2];
static struct machine *log_to;

static void isa_irq(void *opaque, unsigned n, bool level)
{
    (void)opaque;
    irq_log(log_to, n, level);
}

static void pirq(void *opaque, unsigned n, bool level)
{
    (void)opaque;
    irq_log(log_to, 16 + n, level);
    if (piix3)
        piix3_pirq(piix3, n, level);
}

static void make(struct machine *m)
{
    static const struct pci_ids ids = { .vendor = 0x1234, .device = 0x5678, .pin = 1 };
    struct i440fx_config config;
    struct piix3_config isa = { .devfn = PCI_DEVFN(1, 0), .isa = { isa_irq, NULL, 0 } };

    machine_init(m);
    log_to = m;
    piix3 = NULL;
    memset(cards, 0, sizeof(cards));
    for (unsigned n = 0; n < 4; n++)
        config.pirq[n] = (struct irq_line){ pirq, NULL, n };
    assert_int_equal(i440fx_create(m->bus, &config, &host), 0);
    isa.pci = i440fx_pci(host);
    assert_int_equal(piix3_create(m->bus, &isa, &piix3), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct pci_device *p = &cards[i].pci;

        bus_add_device(m->bus, &cards[i].dev, &card_class);
        assert_int_equal(pci_init(p, isa.pci, PCI_DEVFN(2 + i * 4, 0), &ids), 0);
        assert_int_equal(pci_add_bar(p, 0, PCI_BAR_IO, 32, &card_ops, &cards[i]), 0);
        assert_int_equal(pci_add_bar(p, 2, PCI_BAR_MEM64, 16384, &card_ops, &cards[i]), 0);
        assert_int_equal(pci_add_capability(p, 9, 10), 0x40);
        assert_int_equal(pci_add_capability(p, 17, 12), 0x4c);
    }
    bus_reset(m->bus);
}

static void select_reg(struct machine *m, uint8_t devfn, unsigned reg)
{
    bus_io_write(m->bus, 0xcf8, 4, 0x80000000u | (uint32_t)devfn << 8 | (reg & 0xfc));
}

static uint32_t config_read(struct machine *m, uint8_t devfn, unsigned reg, unsigned size)
{
    select_reg(m, devfn, reg);
    return (uint32_t)bus_io_read(m->bus, (uint16_t)(0xcfc + (reg & 3)), size);
}

static void config_write(struct machine *m, uint8_t devfn, unsigned reg, unsigned size, uint32_t v)
{
    select_reg(m, devfn, reg);
    bus_io_write(m->bus, (uint16_t)(0xcfc + (reg & 3)), size, v);
}

static void test_header(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    assert_int_equal(config_read(&m, 0, 0, 4), 0x12378086);
    assert_int_equal(config_read(&m, 0, 2, 2), 0x1237);
    assert_int_equal(config_read(&m, 0, 3, 1), 0x12);
    assert_int_equal(config_read(&m, 8, 0, 4), 0x70008086);
    assert_int_equal(config_read(&m, 8, 0x0a, 2), 0x0601);
    assert_int_equal(config_read(&m, 0x18, 0, 4), 0xffffffff);
    assert_int_equal(bus_io_read(m.bus, 0xcf8, 4), 0x80001800);
    config_write(&m, 16, 0, 4, 0); /* read-only */
    assert_int_equal(config_read(&m, 16, 0, 4), 0x56781234);
    assert_int_equal(config_read(&m, 16, 6, 2), 0x0010);
    assert_int_equal(config_read(&m, 16, 0x34, 1), 0x4c);
    assert_int_equal(config_read(&m, 16, 0x4c, 2), 0x4011);
    bus_io_write(m.bus, 0xcf8, 4, 0x80010000); /* bus 1 is not there */
    assert_int_equal(bus_io_read(m.bus, 0xcfc, 4), 0xffffffff);
    bus_io_write(m.bus, 0xcf8, 4, 0); /* not enabled */
    assert_int_equal(bus_io_read(m.bus, 0xcfc, 4), 0xffffffff);
    machine_free(&m);
}

static void test_bars(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    config_write(&m, 16, 0x10, 4, 0xffffffff);
    assert_int_equal(config_read(&m, 16, 0x10, 4), 0xffffffe1);
    config_write(&m, 16, 0x18, 4, 0xffffffff);
    assert_int_equal(config_read(&m, 16, 0x18, 4), 0xffffc004);
    config_write(&m, 16, 0x10, 4, 0xc000);
    config_write(&m, 16, 0x18, 4, 0xe0000000);
    config_write(&m, 16, 0x1c, 4, 0x1);
    assert_int_equal(in8(&m, 0xc001), 0xff);
    config_write(&m, 16, PCI_COMMAND, 2, 3);
    assert_int_equal(in8(&m, 0xc001), 0x22);
    assert_int_equal(bus_mmio_read(m.bus, 0x1e0000002, 1), 0x33);
    /* The second card wants the same ports and gets them when the first leaves. */
    config_write(&m, 48, 0x10, 4, 0xc010);
    config_write(&m, 48, PCI_COMMAND, 2, 1);
    assert_int_equal(cards[1].pci.bar[0].mapped_at, 0);
    config_write(&m, 16, 0x11, 1, 0xd0);
    assert_int_equal(cards[1].pci.bar[0].mapped_at, 0xc000);
    assert_int_equal(in8(&m, 0xd000), 0x11);
    config_write(&m, 16, PCI_COMMAND, 2, 0);
    assert_int_equal(in8(&m, 0xd000), 0xff);
    bus_reset(m.bus);
    assert_int_equal(in8(&m, 0xc000), 0xff);
    machine_free(&m);
}

static void test_intx(void **state)
{
    struct machine m;
    unsigned n = PCI_PIRQ(2, 1);

    (void)state;
    make(&m);
    assert_int_equal(n, PCI_PIRQ(6, 1)); /* both cards share it */
    pci_set_intx(&cards[0].pci, true);
    pci_set_intx(&cards[1].pci, true);
    assert_true(m.level[16 + n]);
    config_write(&m, 8, PIIX3_PIRQRC + n, 1, 11);
    assert_true(m.level[11]);
    config_write(&m, 8, PIIX3_PIRQRC + n, 1, 10);
    assert_false(m.level[11]);
    assert_true(m.level[10]);
    assert_int_equal(config_read(&m, 16, PCI_STATUS, 2) & PCI_STATUS_INTX, PCI_STATUS_INTX);
    pci_set_intx(&cards[0].pci, false);
    assert_true(m.level[10]);
    config_write(&m, 48, PCI_COMMAND, 2, PCI_COMMAND_NO_INTX);
    assert_false(m.level[10]);
    config_write(&m, 8, PIIX3_PIRQRC + n, 1, 2); /* not routable */
    assert_false(m.level[2]);
    machine_free(&m);
}

static void test_reset_control(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    out8(&m, 0xcf9, 2);
    assert_int_equal(m.requests, 0);
    out8(&m, 0xcf9, 6);
    assert_int_equal(m.requests, 1);
    assert_int_equal(m.request, BUS_RESET);
    machine_free(&m);
}

/* A stream cannot change what the guest cannot write. */
static void test_hostile_config(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    memset(cards[0].pci.config, 0xff, PCI_CONFIG_SIZE);
    pci_derive(&cards[0].pci);
    assert_int_equal(config_read(&m, 16, 0, 4), 0x56781234);
    assert_int_equal(config_read(&m, 16, PCI_INTERRUPT_PIN, 1), 1);
    assert_int_equal(config_read(&m, 16, 0x34, 1), 0x4c);
    machine_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),         cmocka_unit_test(test_bars),
        cmocka_unit_test(test_intx),           cmocka_unit_test(test_reset_control),
        cmocka_unit_test(test_hostile_config),
    };

    return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
