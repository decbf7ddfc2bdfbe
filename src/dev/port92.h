/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System control port A at 0x92: fast A20 and fast reset. */
#ifndef DEV_PORT92_H
#define DEV_PORT92_H

#include "bus/bus.h"

struct port92;
struct port92_config {
    struct irq_line a20; /* see or_gate.h */
};

int port92_create(struct bus *bus, const struct port92_config *config, struct port92 **out);
/* Opens the A20 gate, as firmware does before it starts a kernel; with
 * bus->lock held. */
void port92_open_a20(struct port92 *p);

#endif
