/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables of the MultiProcessor Specification 1.4, for systems that do
 * not read ACPI's. */
#ifndef BOARD_MPTABLE_H
#define BOARD_MPTABLE_H

#include <stdint.h>

#include "mem/mem.h"

struct mptable_config {
    unsigned ncpus;
    uint8_t ioapic_id;
    uint32_t ioapic_gpa;
    unsigned sci;           /* ISA interrupt that is level-triggered, active high */
};

/* Writes floating pointer and configuration table at gpa (16-aligned, in the
 * BIOS area from 0xf0000 on) before end.  Returns 0, -ENOSPC or -EFAULT. */
int mptable_write(struct mem *mem, uint64_t gpa, uint64_t end, const struct mptable_config *config);

#endif
