/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8254 timer at 0x40, and port 0x61 of the PC: gate and speaker bits of
 * channel 2, its output, the refresh toggle.
 */
#ifndef DEV_I8254_H
#define DEV_I8254_H

#include "bus/bus.h"

#define I8254_HZ 1193182u

struct i8254;
struct i8254_config {
    struct irq_line irq; /* OUT of channel 0: IRQ 0, I/O APIC input 2 */
};

int i8254_create(struct bus *bus, const struct i8254_config *config, struct i8254 **out);

#endif
