/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 82371SB PCI ISA bridge (Intel order number 290550), function 0. */
#include "dev/piix3.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"

#define VENDOR_INTEL   0x8086
#define DEVICE_82371SB 0x7000
#define CLASS_ISA      0x060100
/* 2.2.7: PIRQ route control */
#define PIRQRC_OFF 0x80
#define PIRQRC_IRQ 0x0f
#define PIRQS      4
/* Coprocessor error register: a write takes IRQ 13 back. */
#define PORT_CERR 0xf0
#define IRQ_FERR  13
/* IRQ 0, 1, 2, 8 and 13 cannot be chosen (table 2). */
#define ROUTABLE 0xdef8u

struct piix3 {
    struct device dev;
    struct pci_device pci;
    uint8_t pirqs;   /* levels */
    bool ferr;       /* latched */
    uint16_t driven; /* ISA IRQs that are high because of us */
    struct irq_line isa;
};

static void update(struct piix3 *p)
{
    uint16_t want = p->ferr ? BIT(IRQ_FERR) : 0, changed;

    for (unsigned n = 0; n < PIRQS; n++) {
        uint8_t route = p->pci.config[PIIX3_PIRQRC + n];

        if ((p->pirqs >> n & 1) && !(route & PIRQRC_OFF))
            want |= BIT(route & PIRQRC_IRQ) & ROUTABLE;
    }
    changed = want ^ p->driven;
    p->driven = want;
    for (unsigned irq = 0; irq < 16 && p->isa.set; irq++)
        if (changed >> irq & 1)
            p->isa.set(p->isa.opaque, irq, want >> irq & 1);
}

void piix3_pirq(void *opaque, unsigned n, bool level)
{
    struct piix3 *p = opaque;
    uint8_t bit = (uint8_t)BIT(n & 3);

    p->pirqs = level ? p->pirqs | bit : p->pirqs & ~bit;
    update(p);
}

void piix3_ferr(struct piix3 *p)
{
    p->ferr = true;
    update(p);
}

static uint64_t cerr_read(void *opaque, uint64_t off, unsigned size)
{
    (void)opaque;
    (void)off;
    (void)size;
    return 0xff;
}

static void cerr_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct piix3 *p = opaque;

    (void)off;
    (void)size;
    (void)value;
    p->ferr = false;
    update(p);
}

static const struct io_ops cerr_ops = { .read = cerr_read, .write = cerr_write, .max_size = 1 };

static void written(struct pci_device *dev, unsigned off, unsigned size)
{
    (void)off;
    (void)size;
    update(container_of(dev, struct piix3, pci));
}

static const struct state_field fields[] = {
    PCI_STATE(struct piix3, pci),
    STATE_FIELD(struct piix3, pirqs, 0),
    STATE_FIELD(struct piix3, ferr, false),
    STATE_END,
};
static const struct state_desc state = { "piix3", 1, fields, NULL };

static void reset(struct device *dev)
{
    struct piix3 *p = container_of(dev, struct piix3, dev);

    p->pirqs &= (1u << PIRQS) - 1;
    pci_derive(&p->pci);
    update(p);
}

static void destroy(struct device *dev)
{
    free(container_of(dev, struct piix3, dev));
}

static const struct dev_class class = {
    .name = "piix3",
    .state = &state,
    .reset = reset,
    .destroy = destroy,
};

int piix3_create(struct bus *bus, const struct piix3_config *config, struct piix3 **out)
{
    static const struct pci_ids ids = {
        .vendor = VENDOR_INTEL,
        .device = DEVICE_82371SB,
        .class_code = CLASS_ISA,
        .multifunction = true,
    };
    struct piix3 *p = calloc(1, sizeof(*p));
    int ret;

    if (!p)
        return -ENOMEM;
    p->isa = config->isa;
    bus_add_device(bus, &p->dev, &class);
    *out = p;
    ret = pci_init(&p->pci, config->pci, config->devfn, &ids);
    p->pci.written = written;
    for (unsigned n = 0; n < PIRQS; n++) {
        p->pci.initial[PIIX3_PIRQRC + n] = PIRQRC_OFF;
        pci_allow(&p->pci, PIIX3_PIRQRC + n, 1, PIRQRC_OFF | PIRQRC_IRQ);
    }
    return ret ? ret : bus_add_io(bus, PORT_CERR, 1, &cerr_ops, p);
}
