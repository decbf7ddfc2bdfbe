/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI 3.0 configuration space of one bus: functions by number, base address
 * registers that appear on the bus while they are enabled, capabilities,
 * INTx.  A device embeds struct pci_device, calls pci_init, pci_add_bar,
 * pci_add_capability and pci_allow at creation, puts PCI_STATE into its field
 * table and calls pci_derive from its class's reset function.
 *
 * All functions are called with bus->lock held, or before vCPUs run.
 */
#ifndef BUS_PCI_H
#define BUS_PCI_H

#include "bus/bus.h"

#define PCI_CONFIG_SIZE       256u
#define PCI_BARS              6u
#define PCI_DEVFN(slot, func) ((uint8_t)((slot) << 3 | (func)))
#define PCI_SLOT(devfn)       ((devfn) >> 3)
/* The PIRQ (0 to 3) of a slot's pin (1 INTA to 4 INTD), as the _PRT says it. */
#define PCI_PIRQ(slot, pin) (((slot) + (pin) + 2u) & 3u)

/* Type 0 header, 6.1 */
#define PCI_VENDOR_ID        0x00
#define PCI_DEVICE_ID        0x02
#define PCI_COMMAND          0x04
#define PCI_COMMAND_IO       0x0001u
#define PCI_COMMAND_MEMORY   0x0002u
#define PCI_COMMAND_MASTER   0x0004u
#define PCI_COMMAND_PARITY   0x0040u
#define PCI_COMMAND_SERR     0x0100u
#define PCI_COMMAND_NO_INTX  0x0400u
#define PCI_STATUS           0x06
#define PCI_STATUS_INTX      0x0008u
#define PCI_STATUS_CAPS      0x0010u
#define PCI_STATUS_ERRORS    0xf900u
#define PCI_REVISION         0x08
#define PCI_CLASS            0x09 /* 3 bytes: interface, subclass, class */
#define PCI_HEADER_TYPE      0x0e
#define PCI_MULTIFUNCTION    0x80
#define PCI_BAR0             0x10
#define PCI_SUBSYSTEM_VENDOR 0x2c
#define PCI_SUBSYSTEM_ID     0x2e
#define PCI_CAPABILITIES     0x34
#define PCI_INTERRUPT_LINE   0x3c
#define PCI_INTERRUPT_PIN    0x3d

enum pci_bar_kind {
    PCI_BAR_NONE,
    PCI_BAR_IO,
    PCI_BAR_MEM32,
    PCI_BAR_MEM64,
    PCI_BAR_MEM64_PREFETCH
};

struct pci_bus;

struct pci_bar {
    enum pci_bar_kind kind;
    uint64_t size;
    const struct io_ops *ops;
    void *opaque;
    uint64_t mapped_at; /* 0: not on the bus */
};

struct pci_device {
    uint8_t config[PCI_CONFIG_SIZE];
    bool intx;                        /* what the device asks for */
    bool live;                        /* false after a reset, until pci_derive */
    uint8_t initial[PCI_CONFIG_SIZE]; /* after reset */
    uint8_t writable[PCI_CONFIG_SIZE];
    uint8_t clearable[PCI_CONFIG_SIZE]; /* a written 1 clears */
    struct pci_bar bar[PCI_BARS];
    unsigned caps_end;
    uint8_t devfn;
    struct pci_bus *bus;
    /* Optional: after a write to [off, off+size); before a read, to bring
     * config up to date. */
    void (*written)(struct pci_device *dev, unsigned off, unsigned size);
    void (*before_read)(struct pci_device *dev, unsigned off, unsigned size);
    /* bar[n].mapped_at has changed. */
    void (*bar_moved)(struct pci_device *dev, unsigned n);
};

/* Fields of a member m of type struct pci_device in struct s. */
#define PCI_STATE(s, m) \
    STATE_ARRAY(s, m.config, 0), STATE_FIELD(s, m.intx, 0), STATE_FIELD(s, m.live, 0)

struct pci_ids {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; /* class << 16 | subclass << 8 | interface */
    uint8_t revision;
    bool multifunction;
    uint8_t pin; /* 0: none, 1: INTA */
};

struct pci_bus {
    struct bus *bus;                 /* borrowed */
    struct irq_line pirq[4];         /* level, active high here */
    struct pci_device *devices[256]; /* by devfn; borrowed */
    uint32_t address;                /* CONFADD of mechanism 1 */
};

void pci_bus_init(struct pci_bus *pci, struct bus *bus, const struct irq_line pirq[4]);
/* Configuration accesses of 1, 2 or 4 bytes at address's device; off 0 to 3. */
uint32_t pci_data_read(struct pci_bus *pci, unsigned off, unsigned size);
void pci_data_write(struct pci_bus *pci, unsigned off, unsigned size, uint32_t value);

/* Put dev on the bus; it must live as long.  Returns 0, -EEXIST or -EINVAL. */
int pci_init(struct pci_device *dev, struct pci_bus *pci, uint8_t devfn, const struct pci_ids *ids);
/* size: a power of two, at least 4 (I/O, at most 256) or 4096.  A 64-bit BAR
 * takes n and n + 1.  Returns 0 or -EINVAL. */
int pci_add_bar(struct pci_device *dev, unsigned n, enum pci_bar_kind kind, uint64_t size,
                const struct io_ops *ops, void *opaque);
/* Append a capability of len bytes (with its two of header) and return its
 * offset, or -ENOSPC.  Its contents go into dev->initial. */
int pci_add_capability(struct pci_device *dev, uint8_t id, unsigned len);
/* Let the guest write the bits of mask at off (little-endian, size bytes). */
void pci_allow(struct pci_device *dev, unsigned off, unsigned size, uint32_t mask);

/* After a reset or a load: header, BARs, interrupt follow from config. */
void pci_derive(struct pci_device *dev);
/* INTx level of the device. */
void pci_set_intx(struct pci_device *dev, bool level);

/* Read and write multi-byte values of config or initial. */
uint32_t pci_get(const uint8_t *config, unsigned off, unsigned size);
void pci_put(uint8_t *config, unsigned off, unsigned size, uint32_t value);

#endif
