/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers that the assembly and the C part of the runtime share. */
#ifndef RT_LAYOUT_H
#define RT_LAYOUT_H

/*
 * Selectors.  The order serves SYSENTER/SYSEXIT (SYSENTER_CS = SEL_KCODE:
 * +8, +16, +24, +32, +40) and SYSCALL/SYSRET (base SEL_UCODE32: +0, +8, +16)
 * at the same time.
 */
#define SEL_KCODE 0x08 /* of the build's own mode, ring 0 */
#define SEL_KDATA 0x10
#define SEL_UCODE32 0x18
#define SEL_UDATA 0x20
#define SEL_UCODE64 0x28
#define SEL_UDATA2 0x30
#define SEL_KCODE32 0x38
#define SEL_KCODE16 0x40
#define SEL_KDATA16 0x48
#define SEL_TSS 0x50
#define SEL_TEST 0x60 /* first of the slots that checks may fill */
#define GDT_ENTRIES 64

#define VEC_DONE 0xf0 /* software interrupt that ends a snippet */

#define TRAMPOLINE 0x8000 /* where application processors start */
#define CPUS_MAX 16
#define STACK_SIZE 0x4000

#ifdef __x86_64__
#define WORD 8
#else
#define WORD 4
#endif

/* struct state, as run_state() reads it */
#define S_AX (0 * WORD)
#define S_CX (1 * WORD)
#define S_DX (2 * WORD)
#define S_BX (3 * WORD)
#define S_SP (4 * WORD)
#define S_BP (5 * WORD)
#define S_SI (6 * WORD)
#define S_DI (7 * WORD)
#define S_IP (8 * WORD)
#define S_FLAGS (9 * WORD)
#define S_CS (10 * WORD)
#define S_SS (11 * WORD)
#define S_DS (12 * WORD)
#define S_ES (13 * WORD)
#define S_FS (14 * WORD)
#define S_GS (15 * WORD)
#define S_R8 (16 * WORD)

#endif
