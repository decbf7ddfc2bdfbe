/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 82441FX PMC (Intel order number 290549), the host bridge at 00:00.0. */
#include "dev/i440fx.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"

#define VENDOR_INTEL   0x8086
#define DEVICE_82441FX 0x1237
#define REVISION       0x02
#define CLASS_HOST     0x060000

/* 3.1: I/O mapped registers */
#define CONFIG_PORT 0xcf8
#define CONFIG_LEN  8
#define CONFADD     0
#define CONFDATA    4
/* 82371SB (PIIX3) 2.5.6: a byte of its own below CONFADD's dword */
#define RESET_CONTROL 1
#define RC_KEPT       0x06
#define RC_RESET      0x04 /* a rising edge resets, hard or soft by bit 1 */
/* 3.2.18: programmable attribute map, kept but not acted on */
#define PAM0      0x59
#define PAM_COUNT 7
#define PAM_BITS  0x33

struct i440fx {
    struct device dev;
    struct pci_device pci;
    struct pci_bus bus; /* with CONFADD */
    uint8_t reset_control;
};

static void write_reset_control(struct i440fx *h, uint8_t v)
{
    struct bus *bus = h->bus.bus;
    uint8_t rising = v & ~h->reset_control;

    h->reset_control = v & RC_KEPT;
    if ((rising & RC_RESET) && bus->request)
        bus->request(bus->request_opaque, BUS_RESET, 0);
}

static uint64_t read(void *dev, uint64_t off, unsigned size)
{
    struct i440fx *h = dev;

    if (off >= CONFDATA)
        return pci_data_read(&h->bus, (unsigned)off - CONFDATA, size);
    if (off == CONFADD && size == 4)
        return h->bus.address;
    if (off == RESET_CONTROL && size == 1)
        return h->reset_control;
    return UINT64_MAX;
}

static void write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct i440fx *h = dev;

    if (off >= CONFDATA)
        pci_data_write(&h->bus, (unsigned)off - CONFDATA, size, (uint32_t)value);
    else if (off == CONFADD && size == 4)
        h->bus.address = (uint32_t)value & ~0x7f000003u;
    else if (off == RESET_CONTROL && size == 1)
        write_reset_control(h, (uint8_t)value);
}

static const struct io_ops ops = { read, write, 1, 4 };

static const struct state_field fields[] = {
    PCI_STATE(struct i440fx, pci),
    STATE_FIELD(struct i440fx, bus.address, 0),
    STATE_FIELD(struct i440fx, reset_control, 0),
    STATE_END,
};
static const struct state_desc state = { "i440fx", 1, fields, NULL };

static void reset(struct device *dev)
{
    pci_derive(&container_of(dev, struct i440fx, dev)->pci);
}

static void destroy(struct device *dev)
{
    free(container_of(dev, struct i440fx, dev));
}

static void info(struct device *dev, FILE *f)
{
    const struct i440fx *h = container_of(dev, struct i440fx, dev);

    for (unsigned devfn = 0; devfn < ARRAY_SIZE(h->bus.devices); devfn++) {
        const struct pci_device *d = h->bus.devices[devfn];

        if (!d)
            continue;
        fprintf(f, "  00:%02x.%u %04x:%04x class %06x command %04x\n", PCI_SLOT(devfn), devfn & 7,
                pci_get(d->config, PCI_VENDOR_ID, 2), pci_get(d->config, PCI_DEVICE_ID, 2),
                pci_get(d->config, PCI_CLASS, 3), pci_get(d->config, PCI_COMMAND, 2));
        for (unsigned n = 0; n < PCI_BARS; n++)
            if (d->bar[n].kind != PCI_BAR_NONE)
                fprintf(f, "    BAR %u: %llu bytes at 0x%llx\n", n,
                        (unsigned long long)d->bar[n].size,
                        (unsigned long long)d->bar[n].mapped_at);
    }
}

static const struct dev_class class = {
    .name = "i440fx",
    .state = &state,
    .reset = reset,
    .destroy = destroy,
    .info = info,
};

struct pci_bus *i440fx_pci(struct i440fx *host)
{
    return &host->bus;
}

int i440fx_create(struct bus *bus, const struct i440fx_config *config, struct i440fx **out)
{
    static const struct pci_ids ids = {
        .vendor = VENDOR_INTEL,
        .device = DEVICE_82441FX,
        .class_code = CLASS_HOST,
        .revision = REVISION,
    };
    struct i440fx *h = calloc(1, sizeof(*h));
    int ret;

    if (!h)
        return -ENOMEM;
    bus_add_device(bus, &h->dev, &class);
    *out = h;
    pci_bus_init(&h->bus, bus, config->pirq);
    ret = pci_init(&h->pci, &h->bus, PCI_DEVFN(0, 0), &ids);
    for (unsigned i = 0; i < PAM_COUNT; i++)
        pci_allow(&h->pci, PAM0 + i, 1, PAM_BITS);
    if (!ret)
        ret = bus_add_io(bus, CONFIG_PORT, CONFIG_LEN, &ops, h);
    return ret;
}
