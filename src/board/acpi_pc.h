/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACPI tables of the machine `pc` (ACPI 6.4 5.2), in guest memory. */
#ifndef BOARD_ACPI_PC_H
#define BOARD_ACPI_PC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/mem.h"

struct acpi_pc_config {
    unsigned ncpus;
    uint8_t ioapic_id;
    uint32_t ioapic_gpa;
    unsigned ioapic_pins;
    unsigned sci;              /* ISA interrupt of the SCI; level, active high */
    uint32_t pci_mmio_start;   /* end of RAM below 4 GiB */
    uint32_t pci_mmio_end;     /* exclusive */
    struct {
        uint16_t port;         /* 0: not there */
        uint8_t irq;
    } com[4];
};

/* Writes all tables between gpa (16-aligned) and end.  *rsdp: where the root
 * pointer is.  Returns 0, -ENOSPC, or -EFAULT if that is not RAM. */
int acpi_pc_write(struct mem *mem, uint64_t gpa, uint64_t end,
                  const struct acpi_pc_config *config, uint64_t *rsdp);

/* The I/O APIC input of PIRQA; the others follow. */
#define ACPI_PIRQ_GSI 16u

#endif
