/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order in memory: RSDP, FACS, DSDT, FADT, MADT, RSDT, XSDT.  All offsets
 * are kept in struct build while the tables are made in a buffer of our own;
 * one write puts them into guest memory.
 */
#include "board/acpi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "board/aml.h"
#include "bus/pci.h"
#include "dev/acpi_pm.h"

#define HEADER_SIZE 36u

struct build {
    const struct acpi_config *config;
    struct aml a;              /* the buffer; tables are bytes like AML */
    uint64_t gpa;              /* of the buffer */
    uint64_t facs, dsdt, fadt, madt;
};

static uint64_t here(const struct build *b)
{
    return b->gpa + b->a.n;
}

static void align(struct build *b, unsigned to)
{
    while (here(b) % to)
        aml_byte(&b->a, 0);
}

static void set_checksum(uint8_t *p, size_t n, size_t at)
{
    uint8_t sum = 0;

    p[at] = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + p[i]);
    p[at] = (uint8_t)-sum;
}

/* A system description table header (5.2.6); returns its place in the buffer. */
static size_t table_begin(struct build *b, const char *signature, unsigned revision)
{
    size_t start;

    align(b, 16);
    start = b->a.n;
    aml_bytes(&b->a, signature, 4);
    aml_raw(&b->a, 0, 4);
    aml_raw(&b->a, revision, 2);          /* and the checksum */
    aml_bytes(&b->a, "BLKHD BULKHEAD", 14);
    aml_raw(&b->a, 1, 4);
    aml_bytes(&b->a, "BLKH", 4);
    aml_raw(&b->a, 1, 4);
    return start;
}

static void table_end(struct build *b, size_t start)
{
    uint32_t len = (uint32_t)(b->a.n - start);

    if (b->a.overflow)
        return;
    memcpy(b->a.data + start + 4, &len, 4);
    set_checksum(b->a.data + start, len, 9);
}

/* 5.2.10 */
static void put_facs(struct build *b)
{
    align(b, 64);
    b->facs = here(b);
    aml_bytes(&b->a, "FACS", 4);
    aml_raw(&b->a, 64, 4);
    for (unsigned i = 8; i < 64; i++)
        aml_byte(&b->a, i == 32 ? 2 : 0); /* version */
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

static void isa_devices(struct build *b)
{
    struct aml *a = &b->a;
    char name[] = "COM1";

    isa_device(a, "PIC", "PNP0000", 0, 0x20, 2, 0xa0, -1);
    isa_device(a, "TMR", "PNP0100", 0, 0x40, 4, 0, 0);
    isa_device(a, "RTC", "PNP0B00", 0, 0x70, 2, 0, 8);
    isa_device(a, "SPKR", "PNP0800", 0, 0x61, 1, 0, -1);
    isa_device(a, "KBD", "PNP0303", 0, 0x60, 1, 0x64, 1);
    mouse_port(a);
    for (unsigned i = 0; i < ARRAY_SIZE(b->config->com); i++, name[3]++)
        if (b->config->com[i].port)
            isa_device(a, name, "PNP0501", i + 1, b->config->com[i].port, 8, 0,
                       b->config->com[i].irq);
}

/* Motherboard resources, so that nobody puts anything there. */
static void board_resources(struct build *b)
{
    struct aml *a = &b->a;
    size_t dev = aml_device(a, "MBRD");
    struct aml_crs crs;

    aml_name_eisa(a, "_HID", "PNP0C02");
    aml_name_int(a, "_UID", 1);
    crs = aml_crs_begin(a);
    aml_io(a, ACPI_PM_BASE, ACPI_PM_LEN);
    aml_io(a, ACPI_GPE0, ACPI_GPE0_LEN);
    aml_io(a, 0x92, 1);
    aml_io(a, 0x4d0, 2);
    aml_mem_fixed(a, b->config->ioapic_gpa, 0x1000);
    aml_mem_fixed(a, 0xfee00000, 0x1000);
    aml_crs_end(a, crs);
    aml_end(a, dev);
}

/* _PRT (6.2.13): slot and pin to a global system interrupt. */
static void pci_routing(struct aml *a)
{
    size_t table;

    aml_byte(a, 0x08); /* NameOp */
    aml_name(a, "_PRT");
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

static void pci_root(struct build *b)
{
    const struct acpi_config *c = b->config;
    struct aml *a = &b->a;
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
    isa_devices(b);
    aml_end(a, dev);
}

/* Processor devices (8.4), with the MADT's numbers. */
static void processors(struct build *b)
{
    static const char digits[] = "0123456789ABCDEF";

    for (unsigned i = 0; i < b->config->ncpus; i++) {
        const char name[] = { 'C', '0', digits[i >> 4], digits[i & 15], 0 };
        size_t dev = aml_device(&b->a, name);

        aml_name_string(&b->a, "_HID", "ACPI0007");
        aml_name_int(&b->a, "_UID", i);
        aml_end(&b->a, dev);
    }
}

static void put_dsdt(struct build *b)
{
    struct aml *a = &b->a;
    size_t start = table_begin(b, "DSDT", 2), scope, s5;

    b->dsdt = b->gpa + start;
    aml_byte(a, 0x08); /* NameOp */
    aml_name(a, "\\_S5");
    s5 = aml_package(a, 4);
    aml_int(a, ACPI_SLP_TYP_S5);
    aml_int(a, ACPI_SLP_TYP_S5);
    aml_int(a, 0);
    aml_int(a, 0);
    aml_end(a, s5);
    scope = aml_scope(a, "\\_SB");
    pci_root(b);
    board_resources(b);
    processors(b);
    aml_end(a, scope);
    table_end(b, start);
}

/* FADT */

/* Offsets in the table (5.2.9) and its size in revision 5. */
enum {
    FADT_FACS = 36, FADT_DSDT = 40, FADT_PROFILE = 45, FADT_SCI_INT = 46, FADT_PM1A_EVT = 56,
    FADT_PM1A_CNT = 64, FADT_PM_TMR = 76, FADT_GPE0 = 80, FADT_PM1_EVT_LEN = 88,
    FADT_PM1_CNT_LEN = 89, FADT_PM_TMR_LEN = 91, FADT_GPE0_LEN = 92, FADT_P_LVL2 = 96,
    FADT_P_LVL3 = 98, FADT_CENTURY = 108, FADT_BOOT_ARCH = 109, FADT_FLAGS = 112,
    FADT_RESET_REG = 116, FADT_RESET_VALUE = 128, FADT_X_DSDT = 140, FADT_X_PM1A_EVT = 148,
    FADT_X_PM1A_CNT = 172, FADT_X_PM_TMR = 208, FADT_X_GPE0 = 220, FADT_SIZE = 268,
};
/* 5.2.9, "Fixed ACPI Description Table Fixed Feature Flags" */
#define FADT_WBINVD (1u << 0)
#define FADT_PROC_C1 (1u << 2)
#define FADT_SLP_BUTTON (1u << 5)     /* no fixed sleep button */
#define FADT_FIX_RTC (1u << 6)        /* RTC wake is not in fixed registers */
#define FADT_TMR_VAL_EXT (1u << 8)
#define FADT_RESET_SUPPORTED (1u << 10)
/* 5.2.9.3 */
#define BOOT_LEGACY_DEVICES 1u
#define BOOT_8042 2u
#define BOOT_NO_VGA 4u
#define BOOT_NO_ASPM 16u

static void set(uint8_t *p, unsigned at, uint64_t v, unsigned size)
{
    memcpy(p + at, &v, size);
}

/* Generic address structure (5.2.3.2) in I/O space. */
static void set_gas(uint8_t *p, unsigned at, uint64_t port, unsigned bits)
{
    const unsigned access = bits <= 8 ? 1 : bits <= 16 ? 2 : 3;

    set(p, at, 1 | bits << 8 | access << 24, 4);
    set(p, at + 4, port, 8);
}

static void fill_fadt(const struct build *b, uint8_t *p)
{
    set(p, FADT_FACS, b->facs, 4);
    set(p, FADT_DSDT, b->dsdt, 4);
    set(p, FADT_X_DSDT, b->dsdt, 8);
    set(p, FADT_SCI_INT, b->config->sci, 2);
    set(p, FADT_PM1A_EVT, ACPI_PM1_EVT, 4);
    set(p, FADT_PM1A_CNT, ACPI_PM1_CNT, 4);
    set(p, FADT_PM_TMR, ACPI_PM_TMR, 4);
    set(p, FADT_GPE0, ACPI_GPE0, 4);
    set(p, FADT_PM1_EVT_LEN, 4, 1);
    set(p, FADT_PM1_CNT_LEN, 2, 1);
    set(p, FADT_PM_TMR_LEN, 4, 1);
    set(p, FADT_GPE0_LEN, ACPI_GPE0_LEN, 1);
    set(p, FADT_P_LVL2, 0xfff, 2);    /* no C2, no C3 */
    set(p, FADT_P_LVL3, 0xfff, 2);
    set(p, FADT_CENTURY, 0x32, 1);
    set(p, FADT_BOOT_ARCH, BOOT_LEGACY_DEVICES | BOOT_8042 | BOOT_NO_VGA | BOOT_NO_ASPM, 2);
    set(p, FADT_FLAGS, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC |
        FADT_TMR_VAL_EXT | FADT_RESET_SUPPORTED, 4);
    /* The keyboard controller's reset line. */
    set_gas(p, FADT_RESET_REG, 0x64, 8);
    set(p, FADT_RESET_VALUE, 0xfe, 1);
    set_gas(p, FADT_X_PM1A_EVT, ACPI_PM1_EVT, 32);
    set_gas(p, FADT_X_PM1A_CNT, ACPI_PM1_CNT, 16);
    set_gas(p, FADT_X_PM_TMR, ACPI_PM_TMR, 32);
    set_gas(p, FADT_X_GPE0, ACPI_GPE0, 8 * ACPI_GPE0_LEN);
}

/* No SMI_CMD: the machine is always in ACPI mode (5.2.9). */
static void put_fadt(struct build *b)
{
    size_t start = table_begin(b, "FACP", 5);

    b->fadt = b->gpa + start;
    while (b->a.n < start + FADT_SIZE && !b->a.overflow)
        aml_byte(&b->a, 0);
    if (!b->a.overflow)
        fill_fadt(b, b->a.data + start);
    table_end(b, start);
}

/* MADT (5.2.12) */

static void put_override(struct aml *a, unsigned irq, unsigned gsi, unsigned flags)
{
    aml_byte(a, 2);
    aml_byte(a, 10);
    aml_byte(a, 0); /* ISA */
    aml_byte(a, irq);
    aml_raw(a, gsi, 4);
    aml_raw(a, flags, 2);
}

#define MPS_LEVEL_HIGH 0x000du

static void put_madt(struct build *b)
{
    const struct acpi_config *c = b->config;
    struct aml *a = &b->a;
    size_t start = table_begin(b, "APIC", 3);

    b->madt = b->gpa + start;
    aml_raw(a, 0xfee00000, 4);
    aml_raw(a, 1, 4); /* PCAT_COMPAT: there is an 8259 pair */
    for (unsigned i = 0; i < c->ncpus; i++) {
        aml_raw(a, 0x0800, 2);
        aml_byte(a, i); /* ACPI processor UID */
        aml_byte(a, i); /* APIC id */
        aml_raw(a, 1, 4);
    }
    aml_raw(a, 0x0c01, 2);
    aml_byte(a, c->ioapic_id);
    aml_byte(a, 0);
    aml_raw(a, c->ioapic_gpa, 4);
    aml_raw(a, 0, 4);
    put_override(a, 0, 2, 0);
    put_override(a, c->sci, c->sci, MPS_LEVEL_HIGH);
    /* NMI of all processors at LINT1 */
    aml_raw(a, 0x0604, 2);
    aml_byte(a, 0xff);
    aml_raw(a, 0, 2);
    aml_byte(a, 1);
    table_end(b, start);
}

static uint64_t put_root(struct build *b, const char *signature, unsigned pointer_size)
{
    size_t start = table_begin(b, signature, 1);

    aml_raw(&b->a, b->fadt, pointer_size);
    aml_raw(&b->a, b->madt, pointer_size);
    table_end(b, start);
    return b->gpa + start;
}

/* 5.2.5.3 */
static void fill_rsdp(uint8_t *p, uint64_t rsdt, uint64_t xsdt)
{
    memcpy(p, "RSD PTR ", 8);
    memcpy(p + 9, "BLKHD ", 6);
    p[15] = 2;
    set(p, 16, rsdt, 4);
    set(p, 20, 36, 4);
    set(p, 24, xsdt, 8);
    set_checksum(p, 20, 8);
    set_checksum(p, 36, 32);
}

int acpi_write_tables(struct mem *mem, uint64_t gpa, uint64_t end, const struct acpi_config *config,
                      uint64_t *rsdp)
{
    struct build b = { .config = config, .gpa = gpa };
    uint64_t rsdt, xsdt;
    int rc = -ENOSPC;

    b.a.size = end - gpa;
    b.a.data = calloc(1, b.a.size);
    if (!b.a.data)
        return -ENOMEM;
    aml_raw(&b.a, 0, 8);
    while (b.a.n < HEADER_SIZE && !b.a.overflow)
        aml_byte(&b.a, 0);          /* the RSDP's place */
    put_facs(&b);
    put_dsdt(&b);
    put_fadt(&b);
    put_madt(&b);
    rsdt = put_root(&b, "RSDT", 4);
    xsdt = put_root(&b, "XSDT", 8);
    if (!b.a.overflow) {
        fill_rsdp(b.a.data, rsdt, xsdt);
        rc = mem_write_rom(mem, gpa, b.a.data, b.a.n);
    }
    free(b.a.data);
    *rsdp = gpa;
    return rc;
}
