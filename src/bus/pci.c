/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI Local Bus Specification 3.0, chapter 6. */
#include "bus/pci.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

/* 3.2.2.3.2: configuration mechanism 1 */
#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_BUS    0x00ff0000u
/* 6.2.5: type bits of a BAR */
#define BAR_IO        0x1u
#define BAR_MEM64     0x4u
#define BAR_PREFETCH  0x8u
#define BAR_IO_FLAGS  0x3u
#define BAR_MEM_FLAGS 0xfu
#define CAPS_START    0x40u

uint32_t pci_get(const uint8_t *config, unsigned off, unsigned size)
{
    uint32_t v = 0;

    memcpy(&v, config + off, size);
    return v;
}

void pci_put(uint8_t *config, unsigned off, unsigned size, uint32_t value)
{
    memcpy(config + off, &value, size);
}

void pci_bus_init(struct pci_bus *pci, struct bus *bus, const struct irq_line pirq[4])
{
    *pci = (struct pci_bus){ .bus = bus };
    memcpy(pci->pirq, pirq, sizeof(pci->pirq));
}

/* Interrupts */

static void update_pirq(struct pci_bus *pci, unsigned pirq)
{
    bool level = false;

    for (unsigned devfn = 0; devfn < ARRAY_SIZE(pci->devices); devfn++) {
        const struct pci_device *dev = pci->devices[devfn];
        unsigned pin = dev ? dev->config[PCI_INTERRUPT_PIN] : 0;

        if (!pin || PCI_PIRQ(PCI_SLOT(devfn), pin) != pirq)
            continue;
        level |= dev->intx && !(pci_get(dev->config, PCI_COMMAND, 2) & PCI_COMMAND_NO_INTX);
    }
    irq_set(&pci->pirq[pirq], level);
}

static void update_intx(struct pci_device *dev)
{
    unsigned pin = dev->config[PCI_INTERRUPT_PIN];
    uint32_t status = pci_get(dev->config, PCI_STATUS, 2) & ~PCI_STATUS_INTX;

    pci_put(dev->config, PCI_STATUS, 2, status | (dev->intx ? PCI_STATUS_INTX : 0));
    if (pin)
        update_pirq(dev->bus, PCI_PIRQ(PCI_SLOT(dev->devfn), pin));
}

void pci_set_intx(struct pci_device *dev, bool level)
{
    if (dev->intx == level)
        return;
    dev->intx = level;
    update_intx(dev);
}

/* Base address registers */

/* Where the BAR wants to be now; 0: nowhere. */
static uint64_t wanted(const struct pci_device *dev, unsigned n)
{
    const struct pci_bar *bar = &dev->bar[n];
    uint32_t command = pci_get(dev->config, PCI_COMMAND, 2);
    uint64_t address = pci_get(dev->config, PCI_BAR0 + n * 4, 4);

    switch (bar->kind) {
    case PCI_BAR_NONE: return 0;
    case PCI_BAR_IO:
        address &= ~(uint64_t)BAR_IO_FLAGS;
        return command & PCI_COMMAND_IO && address < 0x10000 ? address : 0;
    case PCI_BAR_MEM64:
    case PCI_BAR_MEM64_PREFETCH:
        address |= (uint64_t)pci_get(dev->config, PCI_BAR0 + n * 4 + 4, 4) << 32;
        break;
    default: break;
    }
    return command & PCI_COMMAND_MEMORY ? address & ~(uint64_t)BAR_MEM_FLAGS : 0;
}

static void unmap_bar(struct pci_device *dev, unsigned n)
{
    struct pci_bar *bar = &dev->bar[n];

    if (bar->kind == PCI_BAR_IO)
        bus_remove_io(dev->bus->bus, (uint16_t)bar->mapped_at);
    else
        bus_remove_mmio(dev->bus->bus, bar->mapped_at);
    bar->mapped_at = 0;
    if (dev->bar_moved)
        dev->bar_moved(dev, n);
}

static void map_bar(struct pci_device *dev, unsigned n, uint64_t address)
{
    struct pci_bar *bar = &dev->bar[n];
    struct bus *bus = dev->bus->bus;
    int ret;

    if (bar->kind == PCI_BAR_IO)
        ret = bus_add_io(bus, (uint16_t)address, (uint32_t)bar->size, bar->ops, bar->opaque);
    else
        ret = bus_add_mmio(bus, address, bar->size, bar->ops, bar->opaque);
    /* On hardware both would answer.  Sizing with decoding left on gets
     * here too, so it is no more than worth a trace. */
    if (ret) {
        log_guest(LOG_BUS, "pci %02x: BAR %u cannot be at 0x%llx", dev->devfn, n,
                  (unsigned long long)address);
        return;
    }
    bar->mapped_at = address;
    if (dev->bar_moved)
        dev->bar_moved(dev, n);
}

/* Of all devices: what moves away may make room for what did not fit before. */
static void update_bars(struct pci_bus *pci)
{
    for (unsigned i = 0; i < ARRAY_SIZE(pci->devices) * PCI_BARS; i++) {
        struct pci_device *dev = pci->devices[i / PCI_BARS];

        if (dev && dev->bar[i % PCI_BARS].mapped_at &&
            dev->bar[i % PCI_BARS].mapped_at != wanted(dev, i % PCI_BARS))
            unmap_bar(dev, i % PCI_BARS);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(pci->devices) * PCI_BARS; i++) {
        struct pci_device *dev = pci->devices[i / PCI_BARS];
        uint64_t address = dev ? wanted(dev, i % PCI_BARS) : 0;

        if (address && !dev->bar[i % PCI_BARS].mapped_at)
            map_bar(dev, i % PCI_BARS, address);
    }
}

/* Configuration accesses */

static struct pci_device *selected(const struct pci_bus *pci)
{
    if (!(pci->address & ADDRESS_ENABLE) || (pci->address & ADDRESS_BUS))
        return NULL;
    return pci->devices[pci->address >> 8 & 0xff];
}

uint32_t pci_data_read(struct pci_bus *pci, unsigned off, unsigned size)
{
    struct pci_device *dev = selected(pci);
    unsigned reg = (pci->address & 0xfc) + off;

    if (!dev || off + size > 4)
        return (uint32_t)size_mask(size);
    if (dev->before_read)
        dev->before_read(dev, reg, size);
    return pci_get(dev->config, reg, size);
}

static bool overlaps(unsigned off, unsigned size, unsigned start, unsigned end)
{
    return off < end && off + size > start;
}

void pci_data_write(struct pci_bus *pci, unsigned off, unsigned size, uint32_t value)
{
    struct pci_device *dev = selected(pci);
    unsigned reg = (pci->address & 0xfc) + off;

    if (!dev || off + size > 4)
        return;
    for (unsigned i = 0; i < size; i++) {
        uint8_t v = (uint8_t)(value >> i * 8), w = dev->writable[reg + i];
        uint8_t *byte = &dev->config[reg + i];

        *byte = (*byte & ~w) | (v & w);
        *byte &= ~(v & dev->clearable[reg + i]);
    }
    if (overlaps(reg, size, PCI_COMMAND, PCI_COMMAND + 2) ||
        overlaps(reg, size, PCI_BAR0, PCI_BAR0 + PCI_BARS * 4))
        update_bars(pci);
    if (overlaps(reg, size, PCI_COMMAND, PCI_COMMAND + 2))
        update_intx(dev);
    if (dev->written)
        dev->written(dev, reg, size);
}

/* Creation */

void pci_allow(struct pci_device *dev, unsigned off, unsigned size, uint32_t mask)
{
    pci_put(dev->writable, off, size, pci_get(dev->writable, off, size) | mask);
}

int pci_init(struct pci_device *dev, struct pci_bus *pci, uint8_t devfn, const struct pci_ids *ids)
{
    uint8_t *c = dev->initial;

    if (ids->pin > 4)
        return -EINVAL;
    if (pci->devices[devfn])
        return -EEXIST;
    pci->devices[devfn] = dev;
    dev->bus = pci;
    dev->devfn = devfn;
    dev->caps_end = CAPS_START;
    pci_put(c, PCI_VENDOR_ID, 2, ids->vendor);
    pci_put(c, PCI_DEVICE_ID, 2, ids->device);
    pci_put(c, PCI_SUBSYSTEM_VENDOR, 2, ids->subsystem_vendor);
    pci_put(c, PCI_SUBSYSTEM_ID, 2, ids->subsystem);
    pci_put(c, PCI_CLASS, 3, ids->class_code);
    c[PCI_REVISION] = ids->revision;
    c[PCI_HEADER_TYPE] = ids->multifunction ? PCI_MULTIFUNCTION : 0;
    c[PCI_INTERRUPT_PIN] = ids->pin;
    pci_allow(dev, PCI_COMMAND, 2,
              PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
                  (ids->pin ? PCI_COMMAND_NO_INTX : 0));
    if (ids->pin)
        pci_allow(dev, PCI_INTERRUPT_LINE, 1, 0xff);
    pci_put(dev->clearable, PCI_STATUS, 2, PCI_STATUS_ERRORS);
    return 0;
}

int pci_add_bar(struct pci_device *dev, unsigned n, enum pci_bar_kind kind, uint64_t size,
                const struct io_ops *ops, void *opaque)
{
    bool io = kind == PCI_BAR_IO, is64 = kind >= PCI_BAR_MEM64;
    unsigned reg = PCI_BAR0 + n * 4;
    uint32_t flags = 0;

    if (n + is64 >= PCI_BARS || kind == PCI_BAR_NONE || size & (size - 1) ||
        size < (io ? 4 : MEM_PAGE_SIZE) || (io && size > 256) || (!is64 && size > 2 * GiB))
        return -EINVAL;
    if (io)
        flags = BAR_IO;
    else if (is64)
        flags = BAR_MEM64 | (kind == PCI_BAR_MEM64_PREFETCH ? BAR_PREFETCH : 0);
    dev->bar[n] = (struct pci_bar){ .kind = kind, .size = size, .ops = ops, .opaque = opaque };
    pci_put(dev->initial, reg, 4, flags);
    pci_allow(dev, reg, 4, (uint32_t) ~(size - 1));
    if (is64)
        pci_allow(dev, reg + 4, 4, (uint32_t)(~(size - 1) >> 32));
    pci_allow(dev, PCI_COMMAND, 2, io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
    return 0;
}

int pci_add_capability(struct pci_device *dev, uint8_t id, unsigned len)
{
    unsigned at = dev->caps_end;
    uint8_t *c = dev->initial;

    if (len < 2 || len > PCI_CONFIG_SIZE - at)
        return -ENOSPC;
    c[at] = id;
    c[at + 1] = c[PCI_CAPABILITIES]; /* the newest one is the first of the list */
    c[PCI_CAPABILITIES] = (uint8_t)at;
    pci_put(c, PCI_STATUS, 2, pci_get(c, PCI_STATUS, 2) | PCI_STATUS_CAPS);
    dev->caps_end = (unsigned)align_up(at + len, 4);
    return (int)at;
}

void pci_derive(struct pci_device *dev)
{
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        uint8_t free_bits = dev->live ? dev->writable[i] | dev->clearable[i] : 0;

        /* What the guest cannot write is not taken from a stream. */
        dev->config[i] = (dev->initial[i] & ~free_bits) | (dev->config[i] & free_bits);
    }
    dev->live = true;
    update_bars(dev->bus);
    update_intx(dev);
}
