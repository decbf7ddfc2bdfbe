/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "board/mptable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "board/aml.h"

/* Sections 4.1 to 4.3 */
enum { ENTRY_CPU, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_INT, ENTRY_LINT };
enum { INT_INT, INT_NMI, INT_SMI, INT_EXTINT };
#define FLOATING_SIZE 16u
#define HEADER_SIZE 44u
#define CPU_USABLE 1u
#define CPU_BOOT 2u
#define CPU_SIGNATURE 0x600u
#define CPU_FEATURES 0x201u     /* FPU, APIC */
#define LEVEL_HIGH 0x000du
#define ALL_APICS 0xffu
#define ISA_BUS 1u
#define ISA_IRQS 16u

static void put_cpus(struct aml *a, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        aml_byte(a, ENTRY_CPU);
        aml_byte(a, i);
        aml_byte(a, 0x14); /* APIC version */
        aml_byte(a, CPU_USABLE | (i == 0 ? CPU_BOOT : 0));
        aml_raw(a, CPU_SIGNATURE, 4);
        aml_raw(a, CPU_FEATURES, 4);
        aml_raw(a, 0, 8);
    }
}

static void put_bus(struct aml *a, unsigned id, const char *type)
{
    aml_byte(a, ENTRY_BUS);
    aml_byte(a, id);
    aml_bytes(a, type, 6);
}

static void put_interrupt(struct aml *a, unsigned entry, unsigned type, unsigned flags,
                          unsigned irq, unsigned apic, unsigned pin)
{
    aml_byte(a, entry);
    aml_byte(a, type);
    aml_raw(a, flags, 2);
    aml_byte(a, ISA_BUS);
    aml_byte(a, irq);
    aml_byte(a, apic);
    aml_byte(a, pin);
}

/* All after the header; returns the number of entries. */
static unsigned put_entries(struct aml *a, const struct mptable_config *c)
{
    unsigned n = c->ncpus + 5;

    put_cpus(a, c->ncpus);
    put_bus(a, 0, "PCI   ");
    put_bus(a, ISA_BUS, "ISA   ");
    aml_byte(a, ENTRY_IOAPIC);
    aml_byte(a, c->ioapic_id);
    aml_byte(a, 0x20);
    aml_byte(a, 1);
    aml_raw(a, c->ioapic_gpa, 4);
    for (unsigned irq = 0; irq < ISA_IRQS; irq++) {
        if (irq == 2)
            continue; /* the cascade; IRQ 0 is at its pin */
        put_interrupt(a, ENTRY_INT, INT_INT, irq == c->sci ? LEVEL_HIGH : 0, irq, c->ioapic_id,
                      irq == 0 ? 2 : irq);
        n++;
    }
    put_interrupt(a, ENTRY_LINT, INT_EXTINT, 0, 0, ALL_APICS, 0);
    put_interrupt(a, ENTRY_LINT, INT_NMI, 0, 0, ALL_APICS, 1);
    return n;
}

static void set_checksum(uint8_t *p, size_t n, size_t at)
{
    uint8_t sum = 0;

    p[at] = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + p[i]);
    p[at] = (uint8_t)-sum;
}

static void fill_floating(uint8_t *p, uint64_t table)
{
    memcpy(p, "_MP_", 4);
    memcpy(p + 4, &table, 4);
    p[8] = 1; /* paragraphs */
    p[9] = 4; /* 1.4 */
    set_checksum(p, FLOATING_SIZE, 10);
}

static void fill_header(uint8_t *p, unsigned len, unsigned entries)
{
    const uint32_t lapic = 0xfee00000;

    memcpy(p, "PCMP", 4);
    memcpy(p + 4, &len, 2);
    p[6] = 4;
    memcpy(p + 8, "BULKHEADPC          ", 20);
    memcpy(p + 34, &entries, 2);
    memcpy(p + 36, &lapic, 4);
    set_checksum(p, len, 7);
}

int mptable_write(struct mem *mem, uint64_t gpa, uint64_t end, const struct mptable_config *config)
{
    struct aml a = { .size = end - gpa, .n = FLOATING_SIZE + HEADER_SIZE };
    unsigned entries;
    int rc = -ENOSPC;

    if (a.size < a.n)
        return rc;
    a.data = calloc(1, a.size);
    if (!a.data)
        return -ENOMEM;
    entries = put_entries(&a, config);
    if (!a.overflow) {
        fill_header(a.data + FLOATING_SIZE, (unsigned)a.n - FLOATING_SIZE, entries);
        fill_floating(a.data, gpa + FLOATING_SIZE);
        rc = mem_write_rom(mem, gpa, a.data, a.n);
    }
    free(a.data);
    return rc;
}
