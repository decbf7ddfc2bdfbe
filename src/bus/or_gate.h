/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An OR of up to 32 interrupt lines: shared interrupts, the A20 gate. */
#ifndef BUS_OR_GATE_H
#define BUS_OR_GATE_H

#include "bus/bus.h"

/* Not a device: the inputs are driven again after a load. */
struct or_gate {
    uint32_t inputs;
    bool driven;
    struct irq_line out;
};

/* Input n (0 to 31); the set function of its lines.  The output is driven
 * when it changes: after a load a low input that comes before a high one must
 * not give an edge that never was. */
static inline void or_gate_set(void *opaque, unsigned n, bool level)
{
    struct or_gate *g = opaque;
    bool old = g->inputs != 0;

    g->inputs = level ? g->inputs | 1u << n : g->inputs & ~(1u << n);
    if (!g->driven || old != (g->inputs != 0))
        irq_set(&g->out, g->inputs != 0);
    g->driven = true;
}

#endif
