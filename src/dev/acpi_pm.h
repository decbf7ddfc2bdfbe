/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI fixed hardware: PM1a event and control blocks, PM timer, GPE0 block,
 * SMI command port.  Layout of the event, control and timer blocks as in the
 * 82371AB (PIIX4): +0 PM1_STS, +2 PM1_EN, +4 PM1_CNT, +8 PM_TMR.
 *
 * There is no system management mode: a write to SMI_CMD acts at once.
 */
#ifndef DEV_ACPI_PM_H
#define DEV_ACPI_PM_H

#include "bus/bus.h"
#include "cpu/cpu.h"

#define ACPI_PM_BASE     0x600u
#define ACPI_PM_LEN      0x10u
#define ACPI_PM1_EVT     (ACPI_PM_BASE + 0) /* 4 bytes */
#define ACPI_PM1_CNT     (ACPI_PM_BASE + 4) /* 2 bytes */
#define ACPI_PM_TMR      (ACPI_PM_BASE + 8) /* 4 bytes */
#define ACPI_GPE0        0xafe0u
#define ACPI_GPE0_LEN    4u /* 2 status, 2 enable */
#define ACPI_SMI_CMD     0xb2u
#define ACPI_ENABLE      0xf1u /* values for SMI_CMD */
#define ACPI_DISABLE     0xf0u
#define ACPI_SLP_TYP_S5  0u /* for \_S5 in the DSDT */
#define ACPI_PM_TIMER_HZ 3579545u

struct acpi_pm;
struct acpi_pm_config {
    struct irq_line sci; /* active high here, level: IRQ 9 */
    bool timer_32bit;    /* TMR_VAL_EXT in the FADT; else 24 bits */
    bool acpi_only;      /* SCI_EN set from reset on: FADT with SMI_CMD 0 */
};

int acpi_pm_create(struct bus *bus, const struct acpi_pm_config *config, struct acpi_pm **out);
/* Press the power button (`powerdown`); with bus->lock held. */
void acpi_pm_power_button(struct acpi_pm *pm);
/* Raise general-purpose event n, 0 to 15. */
void acpi_pm_gpe(struct acpi_pm *pm, unsigned n);
/* The PM timer as a counter that an engine can answer. */
void acpi_pm_counter(const struct acpi_pm *pm, struct cpu_counter *counter);

#endif
