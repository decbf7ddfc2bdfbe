/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An OR of up to 32 interrupt lines: shared interrupts, the A20 gate. */
#ifndef BUS_OR_GATE_H
#define BUS_OR_GATE_H

#include "bus/bus.h"

/* Not a device: the inputs are driven again after a load. */
struct or_gate {
    uint32_t inputs;
    struct irq_line out;
};

/* Input n (0 to 31); the set function of its lines. */
static inline void or_gate_set(void *opaque, unsigned n, bool level)
{
    struct or_gate *g = opaque;

    g->inputs = level ? g->inputs | 1u << n : g->inputs & ~(1u << n);
    irq_set(&g->out, g->inputs != 0);
}

#endif
