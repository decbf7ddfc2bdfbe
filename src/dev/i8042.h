/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8042 keyboard controller at 0x60 and 0x64 with a minimal PS/2 keyboard and
 * nothing on the auxiliary port.
 */
#ifndef DEV_I8042_H
#define DEV_I8042_H

#include "bus/bus.h"

struct i8042;
struct i8042_config {
    struct irq_line keyboard_irq; /* IRQ 1 */
    struct irq_line aux_irq;      /* IRQ 12 */
    struct irq_line a20;          /* output port bit 1; see or_gate.h */
};

/* The reset line is bus->request(BUS_RESET). */
int i8042_create(struct bus *bus, const struct i8042_config *config, struct i8042 **out);

#endif
