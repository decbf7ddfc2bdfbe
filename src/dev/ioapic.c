/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 82093AA I/O APIC (Intel order number 290566). */
#include "dev/ioapic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* 3.1: memory-mapped registers */
#define IOREGSEL   0x00
#define IOWIN      0x10
#define IOEOI      0x40 /* since version 0x20 */
#define IOAPIC_LEN 0x1000
/* 3.2: registers behind the window */
#define IOAPICID  0x00
#define IOAPICVER 0x01
#define IOAPICARB 0x02
#define IOREDTBL  0x10
#define VERSION   0x20u
#define ID_SHIFT  24
#define ID_MASK   0x0f000000u
/* 3.2.4: redirection entry */
#define RTE_VECTOR     0xffu
#define RTE_DELMOD     (7u << 8)
#define RTE_FIXED      (0u << 8)
#define RTE_LOWEST     (1u << 8)
#define RTE_EXTINT     (7u << 8)
#define RTE_DESTMOD    BIT(11)
#define RTE_DELIVS     BIT(12)
#define RTE_REMOTE_IRR BIT(14)
#define RTE_LEVEL      BIT(15)
#define RTE_MASKED     BIT(16)
#define RTE_DEST_SHIFT 56
#define RTE_READ_ONLY  (RTE_DELIVS | RTE_REMOTE_IRR)
#define RTE_EXISTING   (0x1ffffu | 0xffULL << RTE_DEST_SHIFT)
/* Message signalled interrupts, SDM 3A 10.11 */
#define MSI_BASE       0xfee00000u
#define MSI_DEST_SHIFT 12
#define MSI_LOGICAL    BIT(2)
#define MSI_ASSERT     BIT(14)
#define MSI_LEVEL      BIT(15)

struct ioapic {
    struct device dev;
    uint64_t redtbl[IOAPIC_PINS];
    uint32_t lines; /* levels of the inputs */
    uint32_t id;
    uint8_t select;
    struct bus *bus;
    struct ioapic_config config;
    uint64_t eoi_bitmap[4];
};

/* Level trigger has a meaning for these two modes only (3.2.4). */
static bool is_level(uint64_t rte)
{
    return (rte & RTE_LEVEL) && (rte & RTE_DELMOD) <= RTE_LOWEST;
}

static void send(struct ioapic *a, unsigned n)
{
    uint64_t rte = a->redtbl[n], address = MSI_BASE;
    uint32_t data = (uint32_t)rte & (RTE_VECTOR | RTE_DELMOD);

    /* The PIC's request does not pass here but through bus->extint. */
    if ((rte & RTE_DELMOD) == RTE_EXTINT)
        return;
    address |= rte >> RTE_DEST_SHIFT << MSI_DEST_SHIFT;
    if (rte & RTE_DESTMOD)
        address |= MSI_LOGICAL;
    if (is_level(rte)) {
        data |= MSI_LEVEL;
        a->redtbl[n] |= RTE_REMOTE_IRR;
    }
    if (a->bus->msi)
        a->bus->msi(a->bus->msi_opaque, address, data | (uint32_t)MSI_ASSERT);
}

/* A level-triggered input that is high and not in service. */
static void send_level(struct ioapic *a, unsigned n)
{
    uint64_t rte = a->redtbl[n];

    if (is_level(rte) && !(rte & (RTE_MASKED | RTE_REMOTE_IRR)) && (a->lines >> n & 1))
        send(a, n);
}

void ioapic_set(void *opaque, unsigned n, bool level)
{
    struct ioapic *a = opaque;
    uint32_t bit = 1u << (n & 31), old = a->lines;

    if (n >= IOAPIC_PINS)
        return;
    a->lines = level ? old | bit : old & ~bit;
    if (is_level(a->redtbl[n]))
        send_level(a, n);
    else if (level && !(old & bit) && !(a->redtbl[n] & RTE_MASKED))
        send(a, n); /* an edge on a masked input is lost (3.2.4) */
}

void ioapic_eoi(struct ioapic *a, uint8_t vector)
{
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        uint64_t rte = a->redtbl[n];

        if (!(rte & RTE_REMOTE_IRR) || (rte & RTE_VECTOR) != vector)
            continue;
        a->redtbl[n] &= ~RTE_REMOTE_IRR;
        send_level(a, n);
    }
}

/* Masked entries count too: their last interrupt may still be in service. */
static void update_eoi_bitmap(struct ioapic *a, bool force)
{
    uint64_t bitmap[4] = { 0 };

    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        unsigned vector = a->redtbl[n] & RTE_VECTOR;

        if (is_level(a->redtbl[n]))
            bitmap[vector / 64] |= BIT(vector % 64);
    }
    if (!force && !memcmp(bitmap, a->eoi_bitmap, sizeof(bitmap)))
        return;
    memcpy(a->eoi_bitmap, bitmap, sizeof(bitmap));
    if (a->config.eoi_bitmap)
        a->config.eoi_bitmap(a->config.eoi_opaque, bitmap);
}

static void write_entry(struct ioapic *a, unsigned n, bool high, uint32_t value)
{
    uint64_t old = a->redtbl[n], rte;

    if (high)
        rte = (old & 0xffffffffu) | (uint64_t)value << 32;
    else
        rte = (old & ~0xffffffffULL) | value;
    rte = (rte & ~RTE_READ_ONLY) | (old & RTE_READ_ONLY);
    /* Edge mode has no remote IRR: software uses this to clear a stuck one. */
    if (!is_level(rte))
        rte &= ~RTE_REMOTE_IRR;
    a->redtbl[n] = rte & RTE_EXISTING;
    update_eoi_bitmap(a, false);
    send_level(a, n);
}

/* The entry of a selected register, or -1. */
static int selected_entry(const struct ioapic *a)
{
    if (a->select < IOREDTBL || a->select >= IOREDTBL + 2 * IOAPIC_PINS)
        return -1;
    return (a->select - IOREDTBL) / 2;
}

static uint32_t read_window(const struct ioapic *a)
{
    int n = selected_entry(a);

    switch (a->select) {
    case IOAPICID:
    case IOAPICARB: return a->id;
    case IOAPICVER: return VERSION | (IOAPIC_PINS - 1) << 16;
    default: return n < 0 ? 0 : (uint32_t)(a->redtbl[n] >> (a->select & 1 ? 32 : 0));
    }
}

static uint64_t read(void *dev, uint64_t off, unsigned size)
{
    const struct ioapic *a = dev;

    (void)size;
    switch (off & 0xff) {
    case IOREGSEL: return a->select;
    case IOWIN: return read_window(a);
    default: return 0;
    }
}

static void write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct ioapic *a = dev;
    int n;

    switch (off & 0xff) {
    case IOREGSEL: a->select = (uint8_t)value; break;
    case IOEOI: ioapic_eoi(a, (uint8_t)value); break;
    case IOWIN:
        if (size != 4)
            break; /* 3.1: 32-bit accesses only */
        n = selected_entry(a);
        if (a->select == IOAPICID)
            a->id = (uint32_t)value & ID_MASK;
        else if (n >= 0)
            write_entry(a, (unsigned)n, a->select & 1, (uint32_t)value);
        break;
    default: break;
    }
}

static const struct io_ops ops = { read, write, 4, 4 };

static const struct state_field fields[] = {
    STATE_ARRAY(struct ioapic, redtbl, RTE_MASKED), /* 3.2.4: default value */
    STATE_FIELD(struct ioapic, lines, 0),
    STATE_FIELD(struct ioapic, id, UINT32_MAX), /* "as configured", see reset */
    STATE_FIELD(struct ioapic, select, 0),
    STATE_END,
};

static int post_load(void *obj, char *err, size_t err_size)
{
    const struct ioapic *a = obj;

    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        uint64_t rte = a->redtbl[n];

        if (rte & ~RTE_EXISTING || ((rte & RTE_REMOTE_IRR) && !is_level(rte))) {
            snprintf(err, err_size, "impossible redirection entry %u", n);
            return -EINVAL;
        }
    }
    return 0;
}

static const struct state_desc state = { "ioapic", 1, fields, post_load };

static void reset(struct device *dev)
{
    struct ioapic *a = container_of(dev, struct ioapic, dev);

    if (a->id == UINT32_MAX)
        a->id = (uint32_t)a->config.id << ID_SHIFT & ID_MASK;
    update_eoi_bitmap(a, true);
}

static void info(struct device *dev, FILE *f)
{
    static const char *const modes[] = {
        "fixed", "lowest", "smi", "?", "nmi", "init", "?", "extint"
    };
    const struct ioapic *a = container_of(dev, struct ioapic, dev);

    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        uint64_t rte = a->redtbl[n];

        fprintf(f, "  pin %2u: vector 0x%02x %s %s dest %s0x%02x%s%s%s\n", n,
                (unsigned)(rte & RTE_VECTOR), modes[rte >> 8 & 7],
                rte & RTE_LEVEL ? "level" : "edge", rte & RTE_DESTMOD ? "logical " : "",
                (unsigned)(rte >> RTE_DEST_SHIFT), rte & RTE_MASKED ? " masked" : "",
                rte & RTE_REMOTE_IRR ? " in service" : "", a->lines >> n & 1 ? " high" : "");
    }
}

static void destroy(struct device *dev)
{
    free(container_of(dev, struct ioapic, dev));
}

static const struct dev_class class = {
    .name = "ioapic",
    .state = &state,
    .reset = reset,
    .destroy = destroy,
    .info = info,
};

int ioapic_create(struct bus *bus, const struct ioapic_config *config, struct ioapic **out)
{
    struct ioapic *a = calloc(1, sizeof(*a));

    if (!a)
        return -ENOMEM;
    a->bus = bus;
    a->config = *config;
    bus_add_device(bus, &a->dev, &class);
    *out = a;
    return bus_add_mmio(bus, config->gpa ? config->gpa : IOAPIC_GPA, IOAPIC_LEN, &ops, a);
}
