/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 82093AA I/O APIC, with the EOI register of version 0x20.
 *
 * It has no wire to the local APICs but sends MSIs: bus->msi with address
 * 0xfee00000 and the data of the redirection entry.
 */
#ifndef DEV_IOAPIC_H
#define DEV_IOAPIC_H

#include "bus/bus.h"

#define IOAPIC_GPA  0xfec00000u
#define IOAPIC_PINS 24u

struct ioapic;
struct ioapic_config {
    uint64_t gpa; /* 0: IOAPIC_GPA */
    uint8_t id;   /* as in the MADT */
    /* Vectors of level-triggered entries, whose EOI must reach ioapic_eoi:
     * engine_ops.set_eoi_exits.  Called when the set changes, bus->lock held. */
    void (*eoi_bitmap)(void *opaque, const uint64_t bitmap[4]);
    void *eoi_opaque;
};

int ioapic_create(struct bus *bus, const struct ioapic_config *config, struct ioapic **out);
/* Input n, 0 to 23; opaque: struct ioapic. */
void ioapic_set(void *opaque, unsigned n, bool level);
/* CPU_EXIT_EOI of vector; with bus->lock held. */
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector);

#endif
