/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The order in memory: RSDP, FACS, DSDT, FADT, MADT, RSDT, XSDT. */
#include "board/acpi_pc.h"

#include "base/util.h"
#include "board/acpi.h"
#include "bus/pci.h"
#include "dev/acpi_pm.h"

/* 5.2.10; returns its address. */
static uint64_t put_facs(struct acpi_build *b)
{
    uint64_t gpa = acpi_align(b, 64);

    aml_bytes(&b->a, "FACS", 4);
    aml_raw(&b->a, 64, 4);
    for (unsigned i = 8; i < 64; i++)
        aml_byte(&b->a, i == 32 ? 2 : 0); /* version */
    return gpa;
}

/* DSDT */

static void isa_device(struct aml *a, const char *name, const char *id, unsigned uid, uint16_t port,
                       uint8_t len, uint16_t port2, int irq)
{
    size_t dev = aml_device(a, name);
    struct aml_crs crs;

    aml_name_eisa(a, "_HID", id);
    aml_name_int(a, "_UID", uid);
    aml_name_int(a, "_STA", 0xf);
    crs = aml_crs_begin(a);
    aml_io(a, port, len);
    if (port2)
        aml_io(a, port2, len);
    if (irq >= 0)
        aml_irq(a, (unsigned)irq);
    aml_crs_end(a, crs);
    aml_end(a, dev);
}

/* A port for a mouse, so that nobody warns of a missing one; it is empty. */
static void mouse_port(struct aml *a)
{
    size_t dev = aml_device(a, "MOU");
    struct aml_crs crs;

    aml_name_eisa(a, "_HID", "PNP0F13");
    aml_name_int(a, "_STA", 0xf);
    crs = aml_crs_begin(a);
    aml_irq(a, 12);
    aml_crs_end(a, crs);
    aml_end(a, dev);
}

static void isa_devices(struct aml *a, const struct acpi_pc_config *c)
{
    char name[] = "COM1";

    isa_device(a, "PIC", "PNP0000", 0, 0x20, 2, 0xa0, -1);
    isa_device(a, "TMR", "PNP0100", 0, 0x40, 4, 0, 0);
    isa_device(a, "RTC", "PNP0B00", 0, 0x70, 2, 0, 8);
    isa_device(a, "SPKR", "PNP0800", 0, 0x61, 1, 0, -1);
    isa_device(a, "KBD", "PNP0303", 0, 0x60, 1, 0x64, 1);
    mouse_port(a);
    for (unsigned i = 0; i < ARRAY_SIZE(c->com); i++, name[3]++)
        if (c->com[i].port)
            isa_device(a, name, "PNP0501", i + 1, c->com[i].port, 8, 0, c->com[i].irq);
}

/* Motherboard resources, so that nobody puts anything there. */
static void board_resources(struct aml *a, const struct acpi_pc_config *c)
{
    size_t dev = aml_device(a, "MBRD");
    struct aml_crs crs;

    aml_name_eisa(a, "_HID", "PNP0C02");
    aml_name_int(a, "_UID", 1);
    crs = aml_crs_begin(a);
    aml_io(a, ACPI_PM_BASE, ACPI_PM_LEN);
    aml_io(a, ACPI_GPE0, ACPI_GPE0_LEN);
    aml_io(a, 0x92, 1);
    aml_io(a, 0x4d0, 2);
    aml_mem_fixed(a, c->ioapic_gpa, 0x1000);
    aml_mem_fixed(a, 0xfee00000, 0x1000);
    aml_crs_end(a, crs);
    aml_end(a, dev);
}

/* _PRT (6.2.13): slot and pin to a global system interrupt. */
static void pci_routing(struct aml *a)
{
    size_t table;

    aml_named(a, "_PRT");
    table = aml_package(a, 32 * 4);
    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            size_t entry = aml_package(a, 4);

            aml_int(a, slot << 16 | 0xffff);
            aml_int(a, pin);
            aml_int(a, 0);
            aml_int(a, ACPI_PIRQ_GSI + PCI_PIRQ(slot, pin + 1));
            aml_end(a, entry);
        }
    }
    aml_end(a, table);
}

static void pci_root(struct aml *a, const struct acpi_pc_config *c)
{
    size_t dev = aml_device(a, "PCI0");
    struct aml_crs crs;

    aml_name_eisa(a, "_HID", "PNP0A03");
    aml_name_int(a, "_ADR", 0);
    aml_name_int(a, "_UID", 0);
    aml_name_int(a, "_BBN", 0);
    crs = aml_crs_begin(a);
    aml_bus_range(a, 0, 0xff);
    aml_io(a, 0xcf8, 8);
    aml_io_range(a, 0, 0xcf7);
    aml_io_range(a, 0xd00, 0xffff);
    aml_mem_range(a, 0xa0000, 0xbffff, true);
    aml_mem_range(a, c->pci_mmio_start, c->pci_mmio_end - 1, false);
    aml_crs_end(a, crs);
    pci_routing(a);
    isa_devices(a, c);
    aml_end(a, dev);
}

static uint64_t put_dsdt(struct acpi_build *b, const struct acpi_pc_config *c)
{
    struct aml *a = &b->a;
    size_t start = acpi_table_begin(b, "DSDT", 2), scope;

    acpi_put_s5(a, ACPI_SLP_TYP_S5);
    scope = aml_scope(a, "\\_SB");
    pci_root(a, c);
    board_resources(a, c);
    acpi_put_processors(a, c->ncpus);
    aml_end(a, scope);
    return acpi_table_end(b, start);
}

/* No SMI_CMD: the machine is always in ACPI mode (5.2.9). */
static uint64_t put_fadt(struct acpi_build *b, const struct acpi_pc_config *c, uint64_t facs,
                         uint64_t dsdt)
{
    const struct acpi_fadt fadt = {
        .facs = (uint32_t)facs, .dsdt = (uint32_t)dsdt, .x_dsdt = dsdt,
        .sci_int = (uint16_t)c->sci,
        .pm1a_evt = ACPI_PM1_EVT, .pm1_evt_len = 4, .x_pm1a_evt = ACPI_GAS_IO(ACPI_PM1_EVT, 32),
        .pm1a_cnt = ACPI_PM1_CNT, .pm1_cnt_len = 2, .x_pm1a_cnt = ACPI_GAS_IO(ACPI_PM1_CNT, 16),
        .pm_tmr = ACPI_PM_TMR, .pm_tmr_len = 4, .x_pm_tmr = ACPI_GAS_IO(ACPI_PM_TMR, 32),
        .gpe0 = ACPI_GPE0, .gpe0_len = ACPI_GPE0_LEN,
        .x_gpe0 = ACPI_GAS_IO(ACPI_GPE0, 8 * ACPI_GPE0_LEN),
        .p_lvl2_lat = 0xfff, .p_lvl3_lat = 0xfff,   /* no C2, no C3 */
        .century = 0x32,
        .boot_arch = ACPI_BOOT_LEGACY_DEVICES | ACPI_BOOT_8042 | ACPI_BOOT_NO_VGA |
                     ACPI_BOOT_NO_ASPM,
        .flags = ACPI_FADT_WBINVD | ACPI_FADT_PROC_C1 | ACPI_FADT_SLP_BUTTON | ACPI_FADT_FIX_RTC |
                 ACPI_FADT_TMR_VAL_EXT | ACPI_FADT_RESET_REG_SUP,
        /* The keyboard controller's reset line. */
        .reset_reg = ACPI_GAS_IO(0x64, 8), .reset_value = 0xfe,
    };

    return acpi_put_fadt(b, &fadt);
}

static uint64_t put_madt(struct acpi_build *b, const struct acpi_pc_config *c)
{
    const struct acpi_madt madt = { .flags = ACPI_MADT_PCAT_COMPAT, .ncpus = c->ncpus,
                                    .ioapic_id = c->ioapic_id, .ioapic_gpa = c->ioapic_gpa };
    size_t start = acpi_madt_begin(b, &madt);

    acpi_madt_override(b, 0, 2, 0);
    acpi_madt_override(b, c->sci, c->sci, ACPI_MPS_LEVEL_HIGH);
    return acpi_madt_end(b, start);
}

int acpi_pc_write(struct mem *mem, uint64_t gpa, uint64_t end,
                  const struct acpi_pc_config *config, uint64_t *rsdp)
{
    struct acpi_build b;
    uint64_t facs, dsdt, tables[2];
    int rc = acpi_begin(&b, gpa, end);

    if (rc < 0)
        return rc;
    facs = put_facs(&b);
    dsdt = put_dsdt(&b, config);
    tables[0] = put_fadt(&b, config, facs, dsdt);
    tables[1] = put_madt(&b, config);
    return acpi_finish(&b, mem, tables, ARRAY_SIZE(tables), rsdp);
}
