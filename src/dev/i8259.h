/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8259A pair: master at 0x20, slave at 0xa0 on the master's IR2, and the
 * edge/level control registers of the PIIX3 at 0x4d0.
 */
#ifndef DEV_I8259_H
#define DEV_I8259_H

#include "bus/bus.h"

struct i8259;
struct i8259_config {
    char unused; /* the PC has one pair, at fixed ports */
};

/* INTR goes to bus->extint. */
int i8259_create(struct bus *bus, const struct i8259_config *config, struct i8259 **out);
/* IR input n, 0 to 15 (2 is the cascade and is ignored); opaque: struct i8259. */
void i8259_set(void *opaque, unsigned n, bool level);
/* The processor's acknowledge cycle, with bus->lock held.  Returns the vector,
 * or -1 if INTR is low by now (the processor would not have seen it). */
int i8259_acknowledge(struct i8259 *pic);

#endif
