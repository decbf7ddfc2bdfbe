/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making ACPI tables (ACPI 6.4 5.2): what the machines share.
 *
 * The tables are made in a buffer of our own, one after the other, and one
 * write puts them into guest memory:
 *
 *     acpi_begin(&b, gpa, end);
 *     tables[0] = acpi_put_fadt(&b, &fadt);
 *     ...
 *     rc = acpi_finish(&b, mem, tables, n, &rsdp);
 */
#ifndef BOARD_ACPI_H
#define BOARD_ACPI_H

#include <stddef.h>
#include <stdint.h>

#include "board/aml.h"
#include "mem/mem.h"

struct acpi_build {
    struct aml a;              /* the buffer; tables are bytes like AML */
    uint64_t gpa;              /* of the buffer */
};

/* Tables from gpa (16-aligned) on, before end.  Returns 0 or -ENOMEM. */
int acpi_begin(struct acpi_build *b, uint64_t gpa, uint64_t end);
/* Root tables that list tables[0..n), and all of it to guest memory.  *rsdp:
 * where the root pointer is.  Returns 0, -ENOSPC, or -EFAULT if that is not
 * RAM.  In any case the end of the build. */
int acpi_finish(struct acpi_build *b, struct mem *mem, const uint64_t *tables, unsigned n,
                uint64_t *rsdp);

/* Bytes up to the next multiple of to; returns the address there. */
uint64_t acpi_align(struct acpi_build *b, unsigned to);
/* A system description table header (5.2.6); returns its place in the buffer. */
size_t acpi_table_begin(struct acpi_build *b, const char *signature, unsigned revision);
/* Length and checksum; returns the table's address. */
uint64_t acpi_table_end(struct acpi_build *b, size_t start);

/* Generic address structure (5.2.3.2). */
struct acpi_gas {
    uint8_t space, bits, offset, access;
    uint64_t address;
} __attribute__((packed));
/* Registers of 8, 16 or 32 bits in I/O space; longer ones are read in words. */
#define ACPI_GAS_IO(port, width)                                                                   \
    { .space = 1, .bits = (width),                                                                 \
      .access = (width) <= 8 ? 1 : (width) <= 16 ? 2 : 3, .address = (port) }

/* The FADT after its header (5.2.9), revision 6. */
struct acpi_fadt {
    uint32_t facs, dsdt;
    uint8_t reserved44, profile;
    uint16_t sci_int;
    uint32_t smi_cmd;
    uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
    uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
    uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base;
    uint8_t cst_cnt;
    uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alrm, mon_alrm, century;
    uint16_t boot_arch;
    uint8_t reserved111;
    uint32_t flags;
    struct acpi_gas reset_reg;
    uint8_t reset_value;
    uint16_t arm_boot_arch;
    uint8_t minor;
    uint64_t x_facs, x_dsdt;
    struct acpi_gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0;
    struct acpi_gas x_gpe1, sleep_control, sleep_status;
    char hypervisor[8];         /* this and minor: left to acpi_put_fadt */
} __attribute__((packed));

/* "Fixed ACPI Description Table Fixed Feature Flags" */
#define ACPI_FADT_WBINVD (1u << 0)
#define ACPI_FADT_PROC_C1 (1u << 2)
#define ACPI_FADT_PWR_BUTTON (1u << 4)      /* no fixed power button */
#define ACPI_FADT_SLP_BUTTON (1u << 5)      /* no fixed sleep button */
#define ACPI_FADT_FIX_RTC (1u << 6)         /* RTC wake is not in fixed registers */
#define ACPI_FADT_TMR_VAL_EXT (1u << 8)
#define ACPI_FADT_RESET_REG_SUP (1u << 10)
#define ACPI_FADT_HEADLESS (1u << 12)
#define ACPI_FADT_HW_REDUCED (1u << 20)
/* 5.2.9.3, boot architecture flags */
#define ACPI_BOOT_LEGACY_DEVICES (1u << 0)
#define ACPI_BOOT_8042 (1u << 1)
#define ACPI_BOOT_NO_VGA (1u << 2)
#define ACPI_BOOT_NO_ASPM (1u << 4)
#define ACPI_BOOT_NO_CMOS_RTC (1u << 5)

/* These return the table's address. */
uint64_t acpi_put_fadt(struct acpi_build *b, const struct acpi_fadt *fadt);

/* MADT (5.2.12) with processors 0 to ncpus-1, which are their UIDs and APIC
 * ids, and one I/O APIC whose inputs are the first interrupts.  More entries
 * may follow before acpi_madt_end, which adds the NMI of all at LINT1. */
#define ACPI_MADT_PCAT_COMPAT 1u            /* there is an 8259 pair */
struct acpi_madt {
    uint32_t flags;
    unsigned ncpus;
    uint8_t ioapic_id;
    uint32_t ioapic_gpa;
};
size_t acpi_madt_begin(struct acpi_build *b, const struct acpi_madt *madt);
uint64_t acpi_madt_end(struct acpi_build *b, size_t start);
/* 5.2.12.5: an ISA interrupt that is not at the input of its number, or not
 * edge and active high. */
#define ACPI_MPS_LEVEL_HIGH 0x000du
void acpi_madt_override(struct acpi_build *b, unsigned irq, unsigned gsi, unsigned flags);

/* Package \_S5 with the sleep type. */
void acpi_put_s5(struct aml *a, unsigned slp_typ);
/* Processor devices (8.4) with the MADT's numbers, within \_SB. */
void acpi_put_processors(struct aml *a, unsigned ncpus);

#endif
