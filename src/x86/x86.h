/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Facts of the architecture (SDM 3A 2, 4; SDM 4): bits and numbers, no state. */
#ifndef X86_X86_H
#define X86_X86_H

#include <stdbool.h>
#include <stdint.h>

enum { X86_CF = 1, X86_PF = 4, X86_AF = 0x10, X86_ZF = 0x40, X86_SF = 0x80, X86_TF = 0x100,
       X86_IF = 0x200, X86_DF = 0x400, X86_OF = 0x800, X86_IOPL = 0x3000, X86_NT = 0x4000,
       X86_RF = 0x10000, X86_VM = 0x20000, X86_AC = 0x40000, X86_VIF = 0x80000,
       X86_VIP = 0x100000, X86_ID = 0x200000 };
#define X86_FLAGS_ARITH (X86_CF | X86_PF | X86_AF | X86_ZF | X86_SF | X86_OF)
#define X86_FLAGS_FIXED 2u

enum { VEC_DE, VEC_DB, VEC_NMI, VEC_BP, VEC_OF, VEC_BR, VEC_UD, VEC_NM, VEC_DF, VEC_09, VEC_TS,
       VEC_NP, VEC_SS, VEC_GP, VEC_PF, VEC_15, VEC_MF, VEC_AC, VEC_MC, VEC_XM };

#define CR0_PE 0x1ULL
#define CR0_MP 0x2ULL
#define CR0_EM 0x4ULL
#define CR0_TS 0x8ULL
#define CR0_ET 0x10ULL
#define CR0_NE 0x20ULL
#define CR0_WP 0x10000ULL
#define CR0_AM 0x40000ULL
#define CR0_NW 0x20000000ULL
#define CR0_CD 0x40000000ULL
#define CR0_PG 0x80000000ULL
#define CR4_VME 0x1ULL
#define CR4_PVI 0x2ULL
#define CR4_TSD 0x4ULL
#define CR4_DE 0x8ULL
#define CR4_PSE 0x10ULL
#define CR4_PAE 0x20ULL
#define CR4_MCE 0x40ULL
#define CR4_PGE 0x80ULL
#define CR4_PCE 0x100ULL
#define CR4_OSFXSR 0x200ULL
#define CR4_OSXMMEXCPT 0x400ULL
#define CR4_UMIP 0x800ULL
#define CR4_FSGSBASE 0x10000ULL
#define CR4_PCIDE 0x20000ULL
#define CR4_OSXSAVE 0x40000ULL
#define CR4_SMEP 0x100000ULL
#define CR4_SMAP 0x200000ULL

#define EFER_SCE 0x1ULL
#define EFER_LME 0x100ULL
#define EFER_LMA 0x400ULL
#define EFER_NXE 0x800ULL

#define PTE_P 0x1ULL
#define PTE_W 0x2ULL
#define PTE_U 0x4ULL
#define PTE_A 0x20ULL
#define PTE_D 0x40ULL
#define PTE_PS 0x80ULL
#define PTE_G 0x100ULL
#define PTE_NX (1ULL << 63)

/* Page-fault error code (SDM 3A 4.7). */
#define PF_P 0x1u
#define PF_W 0x2u
#define PF_U 0x4u
#define PF_RSVD 0x8u
#define PF_I 0x10u

/* XSAVE components. */
#define XCR0_X87 0x1ULL
#define XCR0_SSE 0x2ULL
#define XCR0_AVX 0x4ULL
#define XCR0_AVX512 0xe0ULL

enum {
    MSR_TSC = 0x10, MSR_APIC_BASE = 0x1b, MSR_FEATURE_CONTROL = 0x3a, MSR_TSC_ADJUST = 0x3b,
    MSR_SPEC_CTRL = 0x48, MSR_PRED_CMD = 0x49, MSR_BIOS_SIGN_ID = 0x8b, MSR_MTRRCAP = 0xfe,
    MSR_ARCH_CAPABILITIES = 0x10a, MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176, MSR_MCG_CAP = 0x179, MSR_MCG_STATUS = 0x17a, MSR_MISC_ENABLE = 0x1a0,
    MSR_MTRR_PHYSBASE0 = 0x200, MSR_MTRR_FIX64K = 0x250, MSR_MTRR_FIX16K_80000 = 0x258,
    MSR_MTRR_FIX16K_A0000 = 0x259, MSR_MTRR_FIX4K = 0x268, MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800,
    MSR_KVM_WALL_CLOCK_OLD = 0x11, MSR_KVM_SYSTEM_TIME_OLD = 0x12,
    MSR_KVM_WALL_CLOCK = 0x4b564d00, MSR_KVM_SYSTEM_TIME = 0x4b564d01,
    MSR_KVM_PV_EOI = 0x4b564d04,
};
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u

/* Does a 48-bit virtual address have its upper bits equal to bit 47? */
static inline bool x86_canonical(uint64_t a)
{
    return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

#endif
