/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MC146818 clock and 128 bytes of NVRAM at ports 0x70 and 0x71.
 *
 * The time follows the host's wall clock (UTC) plus an offset that the guest
 * changes by setting the time; it goes on while the VM is stopped.
 */
#ifndef DEV_MC146818_H
#define DEV_MC146818_H

#include "bus/bus.h"

struct mc146818;
struct mc146818_config {
    struct irq_line irq;      /* IRQ 8 */
    struct irq_line nmi_mask; /* high: port 0x70 bit 7 blocks NMI; may be empty */
    uint64_t ram_below_4g;    /* bytes, for the memory size bytes */
    uint64_t ram_above_4g;
    uint64_t (*wall_ns)(void); /* NULL: the host's CLOCK_REALTIME */
};

int mc146818_create(struct bus *bus, const struct mc146818_config *config, struct mc146818 **out);
/* Set an NVRAM byte from 0x0e on, for the board; kept over resets. */
void mc146818_set_nvram(struct mc146818 *rtc, uint8_t index, uint8_t value);

#endif
