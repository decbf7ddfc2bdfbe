/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hardware-reduced ACPI (ACPI 6.4 4.1): no fixed events and so no SCI, no
 * FACS, no ISA interrupts at fixed inputs; Linux then looks for neither PIC
 * nor PIT.  What a fixed event would say comes by the generic event device.
 */
#include "board/acpi_micro.h"

#include "base/util.h"
#include "board/acpi.h"
#include "dev/acpi_reduced.h"

#define NOTIFY_BUTTON 0x80 /* 5.6.6: S0 power button pressed */

static void serial_port(struct aml *a, const struct acpi_micro_config *c)
{
    size_t dev = aml_device(a, "COM1");
    struct aml_crs crs;

    aml_name_eisa(a, "_HID", "PNP0501");
    aml_name_int(a, "_UID", 1);
    crs = aml_crs_begin(a);
    aml_io(a, c->com_port, 8);
    aml_gsi(a, c->com_gsi, false);
    aml_crs_end(a, crs);
    aml_end(a, dev);
}

/* Linux: Documentation/virt, drivers/virtio/virtio_mmio.c "LNRO0005". */
static void virtio_device(struct aml *a, const struct acpi_micro_config *c, unsigned i)
{
    const char name[] = { 'V', 'M', (char)('0' + i / 10), (char)('0' + i % 10), 0 };
    size_t dev = aml_device(a, name);
    struct aml_crs crs;

    aml_name_string(a, "_HID", "LNRO0005");
    aml_name_int(a, "_UID", i);
    aml_name_int(a, "_CCA", 1);
    crs = aml_crs_begin(a);
    aml_mem_fixed(a, c->virtio[i].gpa, c->virtio[i].len);
    aml_gsi(a, c->virtio[i].gsi, true);
    aml_crs_end(a, crs);
    aml_end(a, dev);
}

/* A button (4.8.2.2.1.2), and the event device that says it is pressed (5.6.9). */
static void power_button(struct aml *a, const struct acpi_micro_config *c)
{
    size_t dev = aml_device(a, "PWRB"), method;
    struct aml_crs crs;

    aml_name_eisa(a, "_HID", "PNP0C0C");
    aml_name_int(a, "_UID", 0);
    aml_end(a, dev);

    dev = aml_device(a, "GED");
    aml_name_string(a, "_HID", "ACPI0013");
    aml_name_int(a, "_UID", 0);
    crs = aml_crs_begin(a);
    aml_gsi(a, c->power_gsi, false);
    aml_crs_end(a, crs);
    method = aml_method(a, "_EVT", 1, true);
    aml_notify(a, "PWRB", NOTIFY_BUTTON);
    aml_end(a, method);
    aml_end(a, dev);
}

static uint64_t put_dsdt(struct acpi_build *b, const struct acpi_micro_config *c)
{
    struct aml *a = &b->a;
    size_t start = acpi_table_begin(b, "DSDT", 2), scope;

    acpi_put_s5(a, ACPI_REDUCED_S5);
    scope = aml_scope(a, "\\_SB");
    if (c->com_port)
        serial_port(a, c);
    for (unsigned i = 0; i < c->nvirtio; i++)
        virtio_device(a, c, i);
    power_button(a, c);
    acpi_put_processors(a, c->ncpus);
    aml_end(a, scope);
    return acpi_table_end(b, start);
}

static uint64_t put_fadt(struct acpi_build *b, uint64_t dsdt)
{
    const struct acpi_fadt fadt = {
        .dsdt = (uint32_t)dsdt,
        .x_dsdt = dsdt,
        .pm_tmr = ACPI_REDUCED_PM_TMR,
        .pm_tmr_len = 4,
        .x_pm_tmr = ACPI_GAS_IO(ACPI_REDUCED_PM_TMR, 32),
        .p_lvl2_lat = 0xfff,
        .p_lvl3_lat = 0xfff, /* no C2, no C3 */
        .boot_arch = ACPI_BOOT_NO_VGA | ACPI_BOOT_NO_ASPM | ACPI_BOOT_NO_CMOS_RTC,
        .flags = ACPI_FADT_WBINVD | ACPI_FADT_PROC_C1 | ACPI_FADT_PWR_BUTTON |
                 ACPI_FADT_SLP_BUTTON | ACPI_FADT_FIX_RTC | ACPI_FADT_TMR_VAL_EXT |
                 ACPI_FADT_RESET_REG_SUP | ACPI_FADT_HEADLESS | ACPI_FADT_HW_REDUCED,
        .reset_reg = ACPI_GAS_IO(ACPI_REDUCED_RESET, 8),
        .reset_value = ACPI_REDUCED_RESET_VALUE,
        .sleep_control = ACPI_GAS_IO(ACPI_REDUCED_SLEEP_CTL, 8),
        .sleep_status = ACPI_GAS_IO(ACPI_REDUCED_SLEEP_STS, 8),
    };

    return acpi_put_fadt(b, &fadt);
}

int acpi_micro_write(struct mem *mem, uint64_t gpa, uint64_t end,
                     const struct acpi_micro_config *config, uint64_t *rsdp)
{
    const struct acpi_madt madt = { .ncpus = config->ncpus,
                                    .ioapic_id = config->ioapic_id,
                                    .ioapic_gpa = config->ioapic_gpa };
    struct acpi_build b;
    uint64_t dsdt, tables[2];
    int rc = acpi_begin(&b, gpa, end);

    if (rc < 0)
        return rc;
    dsdt = put_dsdt(&b, config);
    tables[0] = put_fadt(&b, dsdt);
    tables[1] = acpi_madt_end(&b, acpi_madt_begin(&b, &madt));
    return acpi_finish(&b, mem, tables, ARRAY_SIZE(tables), rsdp);
}
