/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 82371SB (PIIX3) ISA bridge: routes PIRQA to PIRQD to the PIC's inputs. */
#ifndef DEV_PIIX3_H
#define DEV_PIIX3_H

#include "bus/pci.h"

/* PIRQRCA to PIRQRCD, for the link devices of the DSDT: bit 7 off, bits 3:0
 * the IRQ. */
#define PIIX3_PIRQRC 0x60

struct piix3;
struct piix3_config {
    struct pci_bus *pci;
    uint8_t devfn;       /* 00:01.0 as a rule */
    struct irq_line isa; /* set(opaque, IRQ, level); its n is not used */
};

int piix3_create(struct bus *bus, const struct piix3_config *config, struct piix3 **out);
/* PIRQ n, 0 to 3; opaque: struct piix3.  Accesses nothing before creation. */
void piix3_pirq(void *opaque, unsigned n, bool level);
/* FERR# of the bootstrap processor: IRQ 13, until the guest writes port 0xf0
 * (4.1.2, coprocessor error). */
void piix3_ferr(struct piix3 *p);

#endif
