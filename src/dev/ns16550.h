/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NS16550A UART with its 16-byte FIFOs. */
#ifndef DEV_NS16550_H
#define DEV_NS16550_H

#include "bus/bus.h"
#include "chardev/chardev.h"

struct ns16550;
struct ns16550_config {
    uint16_t port;           /* COM1 to COM4: 0x3f8, 0x2f8, 0x3e8, 0x2e8 */
    struct irq_line irq;     /* 4, 3, 4, 3; put an or_gate before shared ones */
    struct chardev *chardev; /* borrowed; NULL: nothing connected */
};

int ns16550_create(struct bus *bus, const struct ns16550_config *config, struct ns16550 **out);

#endif
