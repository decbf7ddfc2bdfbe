/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "board/acpi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define RSDP_SIZE 36u
#define LAPIC_GPA 0xfee00000u

_Static_assert(sizeof(struct acpi_fadt) == 276 - 36, "FADT, revision 6");

int acpi_begin(struct acpi_build *b, uint64_t gpa, uint64_t end)
{
    *b = (struct acpi_build){ .gpa = gpa };
    b->a.size = end - gpa;
    b->a.data = calloc(1, b->a.size);
    if (!b->a.data)
        return -ENOMEM;
    for (unsigned i = 0; i < RSDP_SIZE; i++)
        aml_byte(&b->a, 0); /* its place */
    return 0;
}

uint64_t acpi_align(struct acpi_build *b, unsigned to)
{
    while ((b->gpa + b->a.n) % to && !b->a.overflow)
        aml_byte(&b->a, 0);
    return b->gpa + b->a.n;
}

static void set_checksum(uint8_t *p, size_t n, size_t at)
{
    uint8_t sum = 0;

    p[at] = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + p[i]);
    p[at] = (uint8_t)-sum;
}

size_t acpi_table_begin(struct acpi_build *b, const char *signature, unsigned revision)
{
    size_t start;

    acpi_align(b, 16);
    start = b->a.n;
    aml_bytes(&b->a, signature, 4);
    aml_raw(&b->a, 0, 4);
    aml_raw(&b->a, revision, 2); /* and the checksum */
    aml_bytes(&b->a, "BLKHD BULKHEAD", 14);
    aml_raw(&b->a, 1, 4);
    aml_bytes(&b->a, "BLKH", 4);
    aml_raw(&b->a, 1, 4);
    return start;
}

uint64_t acpi_table_end(struct acpi_build *b, size_t start)
{
    uint32_t len = (uint32_t)(b->a.n - start);

    if (!b->a.overflow) {
        memcpy(b->a.data + start + 4, &len, 4);
        set_checksum(b->a.data + start, len, 9);
    }
    return b->gpa + start;
}

uint64_t acpi_put_fadt(struct acpi_build *b, const struct acpi_fadt *fadt)
{
    size_t start = acpi_table_begin(b, "FACP", 6);
    struct acpi_fadt f = *fadt;

    f.minor = 4; /* ACPI 6.4 */
    memcpy(f.hypervisor, "BULKHEAD", sizeof(f.hypervisor));
    aml_bytes(&b->a, &f, sizeof(f));
    return acpi_table_end(b, start);
}

size_t acpi_madt_begin(struct acpi_build *b, const struct acpi_madt *madt)
{
    struct aml *a = &b->a;
    size_t start = acpi_table_begin(b, "APIC", 3);

    aml_raw(a, LAPIC_GPA, 4);
    aml_raw(a, madt->flags, 4);
    for (unsigned i = 0; i < madt->ncpus; i++) {
        aml_raw(a, 0x0800, 2);
        aml_byte(a, i); /* ACPI processor UID */
        aml_byte(a, i); /* APIC id */
        aml_raw(a, 1, 4);
    }
    aml_raw(a, 0x0c01, 2);
    aml_byte(a, madt->ioapic_id);
    aml_byte(a, 0);
    aml_raw(a, madt->ioapic_gpa, 4);
    aml_raw(a, 0, 4);
    return start;
}

void acpi_madt_override(struct acpi_build *b, unsigned irq, unsigned gsi, unsigned flags)
{
    struct aml *a = &b->a;

    aml_raw(a, 0x0a02, 2);
    aml_byte(a, 0); /* ISA */
    aml_byte(a, irq);
    aml_raw(a, gsi, 4);
    aml_raw(a, flags, 2);
}

uint64_t acpi_madt_end(struct acpi_build *b, size_t start)
{
    struct aml *a = &b->a;

    aml_raw(a, 0x0604, 2);
    aml_byte(a, 0xff);
    aml_raw(a, 0, 2);
    aml_byte(a, 1);
    return acpi_table_end(b, start);
}

void acpi_put_s5(struct aml *a, unsigned slp_typ)
{
    size_t s5;

    aml_named(a, "\\_S5");
    s5 = aml_package(a, 4);
    aml_int(a, slp_typ);
    aml_int(a, slp_typ);
    aml_int(a, 0);
    aml_int(a, 0);
    aml_end(a, s5);
}

void acpi_put_processors(struct aml *a, unsigned ncpus)
{
    static const char digits[] = "0123456789ABCDEF";

    for (unsigned i = 0; i < ncpus; i++) {
        const char name[] = { 'C', '0', digits[i >> 4], digits[i & 15], 0 };
        size_t dev = aml_device(a, name);

        aml_name_string(a, "_HID", "ACPI0007");
        aml_name_int(a, "_UID", i);
        aml_end(a, dev);
    }
}

static uint64_t put_root(struct acpi_build *b, const char *signature, unsigned pointer_size,
                         const uint64_t *tables, unsigned n)
{
    size_t start = acpi_table_begin(b, signature, 1);

    for (unsigned i = 0; i < n; i++)
        aml_raw(&b->a, tables[i], pointer_size);
    return acpi_table_end(b, start);
}

/* 5.2.5.3; all addresses are below 4 GiB. */
static void fill_rsdp(uint8_t *p, uint64_t rsdt, uint64_t xsdt)
{
    const uint32_t rsdt32 = (uint32_t)rsdt, size = RSDP_SIZE;

    memcpy(p, "RSD PTR ", 8);
    memcpy(p + 9, "BLKHD ", 6);
    p[15] = 2;
    memcpy(p + 16, &rsdt32, 4);
    memcpy(p + 20, &size, 4);
    memcpy(p + 24, &xsdt, 8);
    set_checksum(p, 20, 8);
    set_checksum(p, RSDP_SIZE, 32);
}

int acpi_finish(struct acpi_build *b, struct mem *mem, const uint64_t *tables, unsigned n,
                uint64_t *rsdp)
{
    uint64_t rsdt = put_root(b, "RSDT", 4, tables, n), xsdt = put_root(b, "XSDT", 8, tables, n);
    int rc = -ENOSPC;

    if (!b->a.overflow) {
        fill_rsdp(b->a.data, rsdt, xsdt);
        rc = mem_write_rom(mem, b->gpa, b->a.data, b->a.n);
    }
    free(b->a.data);
    *rsdp = b->gpa;
    return rc;
}
