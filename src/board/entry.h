/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processor states at the entry of a kernel: what firmware and boot loader
 * would have left behind.
 */
#ifndef BOARD_ENTRY_H
#define BOARD_ENTRY_H

#include <stdint.h>

#include "cpu/state.h"
#include "mem/mem.h"

/* Low memory that the entry states use, below all kernels. */
#define ENTRY_GDT         0x500u
#define ENTRY_BOOT_PARAMS 0x7000u
#define ENTRY_PAGE_TABLES 0x9000u      /* six pages */
#define ENTRY_STACK       0x8ff0u
#define ENTRY_CMDLINE     0x20000u     /* up to 64 KiB */
#define ENTRY_PVH_INFO    0x6000u
#define ENTRY_LOW_END     0x30000u     /* end of all of these */

/* 64-bit mode, the first 4 GiB mapped one to one, flat segments at selectors
 * 0x10 (code) and 0x18 (data) (boot.rst "64-bit boot protocol"). */
int entry_long(struct vcpu_state *s, struct mem *mem, uint64_t rip);
/* 32-bit protected mode without paging, flat segments at selectors 0x10 and
 * 0x18, a TSS (boot.rst "32-bit boot protocol", Multiboot 0.6.96 3.2, PVH). */
int entry_protected(struct vcpu_state *s, struct mem *mem, uint32_t eip);
/* What firmware programs in every processor: MTRRs; in the bootstrap
 * processor (bsp) also the local APIC's virtual wire (MP 1.4 3.6.2.2). */
void entry_firmware(struct vcpu_state *s, bool bsp);

#endif
