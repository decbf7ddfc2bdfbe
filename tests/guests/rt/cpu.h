/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The processor: registers, MSRs, ports, CPUID. */
#ifndef RT_CPU_H
#define RT_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef unsigned long uptr;

enum {
	VEC_DE, VEC_DB, VEC_NMI, VEC_BP, VEC_OF, VEC_BR, VEC_UD, VEC_NM,
	VEC_DF, VEC_CSO, VEC_TS, VEC_NP, VEC_SS, VEC_GP, VEC_PF, VEC_15,
	VEC_MF, VEC_AC, VEC_MC, VEC_XM,
};

enum {
	FL_CF = 1, FL_PF = 4, FL_AF = 0x10, FL_ZF = 0x40, FL_SF = 0x80,
	FL_TF = 0x100, FL_IF = 0x200, FL_DF = 0x400, FL_OF = 0x800,
	FL_IOPL = 0x3000, FL_NT = 0x4000, FL_RF = 0x10000, FL_VM = 0x20000,
	FL_AC = 0x40000, FL_VIF = 0x80000, FL_VIP = 0x100000, FL_ID = 0x200000,
	FL_STATUS = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF,
};

#define CR0_PE (1UL << 0)
#define CR0_MP (1UL << 1)
#define CR0_EM (1UL << 2)
#define CR0_TS (1UL << 3)
#define CR0_ET (1UL << 4)
#define CR0_NE (1UL << 5)
#define CR0_WP (1UL << 16)
#define CR0_AM (1UL << 18)
#define CR0_NW (1UL << 29)
#define CR0_CD (1UL << 30)
#define CR0_PG (1UL << 31)

#define CR4_VME (1UL << 0)
#define CR4_PVI (1UL << 1)
#define CR4_TSD (1UL << 2)
#define CR4_DE (1UL << 3)
#define CR4_PSE (1UL << 4)
#define CR4_PAE (1UL << 5)
#define CR4_MCE (1UL << 6)
#define CR4_PGE (1UL << 7)
#define CR4_PCE (1UL << 8)
#define CR4_OSFXSR (1UL << 9)
#define CR4_OSXMMEXCPT (1UL << 10)
#define CR4_UMIP (1UL << 11)
#define CR4_FSGSBASE (1UL << 16)
#define CR4_PCIDE (1UL << 17)
#define CR4_OSXSAVE (1UL << 18)
#define CR4_SMEP (1UL << 20)
#define CR4_SMAP (1UL << 21)

enum {
	MSR_APIC_BASE = 0x1b,
	MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP,
	MSR_DEBUGCTL = 0x1d9, MSR_PAT = 0x277, MSR_TSC_DEADLINE = 0x6e0,
	MSR_X2APIC = 0x800,
};
#define MSR_TSC 0x10u
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_FMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u

#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)

#define CONTROL_REGISTER(n)						\
	static inline uptr cr##n##_read(void)				\
	{								\
		uptr v;							\
		asm volatile("mov %%cr" #n ", %0" : "=r"(v) : : "memory"); \
		return v;						\
	}								\
	static inline void cr##n##_write(uptr v)			\
	{								\
		asm volatile("mov %0, %%cr" #n : : "r"(v) : "memory");	\
	}
CONTROL_REGISTER(0)
CONTROL_REGISTER(2)
CONTROL_REGISTER(3)
CONTROL_REGISTER(4)
#ifdef __x86_64__
CONTROL_REGISTER(8)
#endif

#define DEBUG_REGISTER(n)						\
	static inline uptr dr##n##_read(void)				\
	{								\
		uptr v;							\
		asm volatile("mov %%db" #n ", %0" : "=r"(v) : : "memory"); \
		return v;						\
	}								\
	static inline void dr##n##_write(uptr v)			\
	{								\
		asm volatile("mov %0, %%db" #n : : "r"(v) : "memory");	\
	}
DEBUG_REGISTER(0)
DEBUG_REGISTER(1)
DEBUG_REGISTER(2)
DEBUG_REGISTER(3)
DEBUG_REGISTER(6)
DEBUG_REGISTER(7)

#define PORT(sfx, type, reg)						\
	static inline type in##sfx(u16 port)				\
	{								\
		type v;							\
		asm volatile("in" #sfx " %1, %0"			\
			     : "=a"(v) : "Nd"(port) : "memory");	\
		return v;						\
	}								\
	static inline void out##sfx(u16 port, type v)			\
	{								\
		asm volatile("out" #sfx " %0, %1"			\
			     : : "a"(v), "Nd"(port) : "memory");	\
	}
PORT(b, u8, )
PORT(w, u16, )
PORT(l, u32, )

static inline u64 rdmsr(u32 msr)
{
	u32 lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return (u64)hi << 32 | lo;
}

static inline void wrmsr(u32 msr, u64 v)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((u32)v), "d"((u32)(v >> 32))
		     : "memory");
}

static inline u64 rdtsc(void)
{
	u32 lo, hi;

	asm volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}

struct cpuid { u32 a, b, c, d; };

static inline struct cpuid cpuid(u32 leaf, u32 sub)
{
	struct cpuid r;

	asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
		     : "a"(leaf), "c"(sub) : "memory");
	return r;
}

static inline u32 cpuid_max(u32 base)
{
	return cpuid(base, 0).a;
}

#define BIT(n) (1u << (n))
static inline bool has1c(int n) { return cpuid(1, 0).c & BIT(n); }
static inline bool has1d(int n) { return cpuid(1, 0).d & BIT(n); }
static inline bool has7b(int n)
{
	return cpuid_max(0) >= 7 && (cpuid(7, 0).b & BIT(n));
}
static inline bool has7c(int n)
{
	return cpuid_max(0) >= 7 && (cpuid(7, 0).c & BIT(n));
}
static inline bool has81d(int n)
{
	return cpuid_max(0x80000000) >= 0x80000001 &&
	       (cpuid(0x80000001, 0).d & BIT(n));
}
static inline bool is_intel(void) { return cpuid(0, 0).b == 0x756e6547; }

static inline void cli(void) { asm volatile("cli" : : : "memory"); }
static inline void sti(void) { asm volatile("sti" : : : "memory"); }
static inline void hlt(void) { asm volatile("hlt" : : : "memory"); }
static inline void pause(void) { asm volatile("pause" : : : "memory"); }
static inline void invlpg(const volatile void *p)
{
	asm volatile("invlpg (%0)" : : "r"(p) : "memory");
}
static inline void barrier(void) { asm volatile("" : : : "memory"); }
/* Interrupts on for a moment: the shadow of STI ends after the NOP. */
static inline void irq_window(void)
{
	asm volatile("sti; nop; nop; cli" : : : "memory");
}

#endif
