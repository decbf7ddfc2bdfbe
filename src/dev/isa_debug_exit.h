/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A write of value v ends the VM with status (v << 1 | 1) & 0xff, as in QEMU. */
#ifndef DEV_ISA_DEBUG_EXIT_H
#define DEV_ISA_DEBUG_EXIT_H

#include "bus/bus.h"

struct isa_debug_exit;
struct isa_debug_exit_config {
    uint16_t port; /* 0xf4 by default in user interfaces */
    uint8_t size;  /* bytes; 0: 4 */
};

/* The write becomes bus->request(BUS_DEBUG_EXIT, status). */
int isa_debug_exit_create(struct bus *bus, const struct isa_debug_exit_config *config,
                          struct isa_debug_exit **out);

#endif
