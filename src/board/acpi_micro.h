/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACPI tables of the machine `micro`, which are hardware-reduced. */
#ifndef BOARD_ACPI_MICRO_H
#define BOARD_ACPI_MICRO_H

#include <stdbool.h>
#include <stdint.h>

#include "board/virtio_set.h"
#include "mem/mem.h"

struct acpi_micro_config {
    unsigned ncpus;
    uint8_t ioapic_id;
    uint32_t ioapic_gpa;
    uint16_t com_port;  /* 0: there is none */
    unsigned com_gsi;   /* edge, as all but virtio's */
    unsigned power_gsi; /* an edge: the power button was pressed */
    struct {
        uint32_t gpa, len;
        unsigned gsi; /* level, perhaps shared */
    } virtio[VIRTIO_SET_MAX];
    unsigned nvirtio;
};

/* Writes all tables between gpa (16-aligned) and end.  *rsdp: where the root
 * pointer is.  Returns 0, -ENOMEM, -ENOSPC, or -EFAULT if that is not RAM. */
int acpi_micro_write(struct mem *mem, uint64_t gpa, uint64_t end,
                     const struct acpi_micro_config *config, uint64_t *rsdp);

#endif
