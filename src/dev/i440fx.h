/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 82441FX host bridge: the PCI bus and its configuration ports 0xcf8 to 0xcff. */
#ifndef DEV_I440FX_H
#define DEV_I440FX_H

#include "bus/pci.h"

struct i440fx;
struct i440fx_config {
    struct irq_line pirq[4]; /* PIRQA to PIRQD: piix3_pirq and the I/O APIC's inputs */
};

int i440fx_create(struct bus *bus, const struct i440fx_config *config, struct i440fx **out);
/* The bus behind the bridge, for the creation of its devices. */
struct pci_bus *i440fx_pci(struct i440fx *host);

#endif
