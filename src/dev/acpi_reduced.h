/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of hardware-reduced ACPI (ACPI 6.4 4.1, 4.8.3): sleep control
 * and status, reset; and the PM timer, which such machines need not have.
 * There are no events here: they come by interrupts of their own.
 */
#ifndef DEV_ACPI_REDUCED_H
#define DEV_ACPI_REDUCED_H

#include "bus/bus.h"
#include "cpu/cpu.h"

#define ACPI_REDUCED_BASE        0x600u
#define ACPI_REDUCED_SLEEP_CTL   (ACPI_REDUCED_BASE + 0) /* 1 byte each */
#define ACPI_REDUCED_SLEEP_STS   (ACPI_REDUCED_BASE + 1)
#define ACPI_REDUCED_RESET       (ACPI_REDUCED_BASE + 2)
#define ACPI_REDUCED_PM_TMR      (ACPI_REDUCED_BASE + 8) /* 4 bytes, 32 bits count */
#define ACPI_REDUCED_RESET_VALUE 1u
#define ACPI_REDUCED_S5          5u /* for \_S5 in the DSDT */

struct acpi_reduced;

int acpi_reduced_create(struct bus *bus, struct acpi_reduced **out);
/* The PM timer as a counter that an engine can answer. */
void acpi_reduced_counter(struct cpu_counter *counter);

#endif
