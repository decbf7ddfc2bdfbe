/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The probe's guest as its host sees it; for C and assembler. */
#ifndef ENGINE_KVM_PROBE_GUEST_H
#define ENGINE_KVM_PROBE_GUEST_H

#define GUEST_BASE  0x1000
#define GUEST_PML4  0x2000 /* then PDPT, page directory, page table */
#define GUEST_DATA  0x6000
#define GUEST_SIZE  0x8000
#define PROBE_LOOPS 5000
#define PROBE_PORT  0x81

#endif
