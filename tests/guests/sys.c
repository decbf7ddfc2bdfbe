/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System instructions: control registers and EFER, MSRs, CPUID, time stamp,
 * privilege.
 */
#include "guest.h"

static u64 memory[2];

static void privilege(void)
{
	topic("SDM 3A 5.9");
#define RING0(name, text, ...) FAULT(name " at ring 3", VEC_GP, 0, text,	\
				     .ring = 3, .in.cx = (uptr)memory,	\
				     __VA_ARGS__)
	RING0("hlt", "hlt", .in.ax = 0);
	RING0("clts", "clts", .in.ax = 0);
	RING0("lmsw", "lmsw %ax", .in.ax = 1);
	RING0("invd", "invd", .in.ax = 0);
	RING0("wbinvd", "wbinvd", .in.ax = 0);
	RING0("invlpg", "invlpg (%ecx)", .in.ax = 0);
	RING0("mov from cr0", "mov %cr0, " AX, .in.ax = 0);
	RING0("mov from cr2", "mov %cr2, " AX, .in.ax = 0);
	RING0("mov from cr3", "mov %cr3, " AX, .in.ax = 0);
	RING0("mov from cr4", "mov %cr4, " AX, .in.ax = 0);
	RING0("mov to cr0", "mov " AX ", %cr0", .in.ax = 0);
	RING0("mov to cr3", "mov " AX ", %cr3", .in.ax = 0);
	RING0("mov from dr7", "mov %db7, " AX, .in.ax = 0);
	RING0("rdmsr", "rdmsr", .in.ax = 0);
	RING0("wrmsr", "wrmsr", .in.ax = 0);
	RING0("lgdt", "lgdt (%ecx)", .in.ax = 0);
	RING0("lidt", "lidt (%ecx)", .in.ax = 0);
	RING0("lldt", "lldt %ax", .in.ax = 0);
	RING0("ltr", "ltr %ax", .in.ax = 0);
	RING0("cli", "cli", .in.ax = 0);
	RING0("sti", "sti", .in.ax = 0);
	RING0("in", "in %dx, %al", .in.ax = 0);
	RING0("out", "out %al, %dx", .in.ax = 0);
	RING0("rdpmc", "rdpmc", .in.ax = 0);
#ifdef __x86_64__
	RING0("mov cr8", "mov %cr8, %rax", .in.ax = 0);
#endif
	FINE("smsw at ring 3", "smsw %ax", .ring = 3);
	FINE("cpuid at ring 3", "cpuid", .ring = 3);
	FINE("rdtsc at ring 3", "rdtsc", .ring = 3);
	FINE("clflush at ring 3", "clflush (%ecx)", .ring = 3,
	     .in.cx = (uptr)memory);
	FINE("wbinvd at ring 0", "wbinvd");
}

static void cr0(void)
{
	uptr c = cr0_read();

	topic("SDM 2B MOV CR, 3A 2.5");
	FAULT("NW without CD", VEC_GP, 0, "mov " CX ", %cr0",
	      .in.cx = (c | CR0_NW) & ~CR0_CD);
	FINE("ET cannot be cleared", "mov %ecx, %edx; mov " CX ", %cr0",
	     .in.cx = c & ~CR0_ET);
	CHECK("ET", cr0_read() & CR0_ET);
	cr0_write(c | 1u << 10);
	CHECK_EQ("reserved bits of CR0 read as 0", cr0_read() & 1u << 10, 0);
	cr0_write(c);
	cr0_write(c | CR0_TS);
	FINE("clts", "clts");
	CHECK("TS is clear", !(cr0_read() & CR0_TS));
	topic("SDM 2A LMSW, 2B SMSW");
	FINE("lmsw sets TS", "lmsw %ax", .in.ax = (c & 0xf) | CR0_TS);
	CHECK("lmsw, TS", cr0_read() & CR0_TS);
	FINE("lmsw cannot clear PE", "lmsw %ax", .in.ax = 0);
	CHECK_EQ("lmsw clears MP, EM, TS only", cr0_read(),
		 c & ~(CR0_MP | CR0_EM | CR0_TS));
	cr0_write(c);
	RUN("smsw %ax", .in.ax = 0x7fff0000);
	CHECK_EQ("smsw of 16 bits", trap.s.ax, 0x7fff0000 | (c & 0xffff));
	FAULT("mov to cr1", VEC_UD, 0, ".byte 0x0f, 0x22, 0xc8");
	topic("SDM 2B MOV CR: the mod field is ignored");
	FINE("mov from cr0 with mod 0", ".byte 0x0f, 0x20, 0x00");
	CHECK_EQ("it is a register all the same", (u32)trap.s.ax, (u32)c);
}

static void cr4(void)
{
	topic("SDM 3A 2.5 CR4.TSD");
	WITH_CR4(CR4_TSD, 0,
		 FAULT("rdtsc with TSD", VEC_GP, 0, "rdtsc", .ring = 3);
		 FINE("rdtsc with TSD at ring 0", "rdtsc"));
	if (has81d(27)) {
		wrmsr(MSR_TSC_AUX, 0x1234);
		RUN("rdtscp", .ring = 3);
		CHECK_EQ("rdtscp gives TSC_AUX", trap.s.cx, 0x1234);
		WITH_CR4(CR4_TSD, 0,
			 FAULT("rdtscp with TSD", VEC_GP, 0, "rdtscp",
			       .ring = 3));
	} else {
		FAULT("rdtscp", VEC_UD, 0, "rdtscp");
	}
	if (has7c(22)) {
		wrmsr(MSR_TSC_AUX, 0x4321);
		RUN(".byte 0xf3, 0x0f, 0xc7, 0xf8", .ring = 3);
		CHECK_EQ("rdpid", (u32)trap.s.ax, 0x4321);
	}
}

static void efer(void)
{
	u64 e = rdmsr(MSR_EFER);

	topic("SDM 3A 2.2.1, 9.8.5; APM 2 3.1.7");
	FAULT("reserved bit of EFER", VEC_GP, 0, "wrmsr", .in.cx = MSR_EFER,
	      .in.ax = (u32)e | 1u << 9);
	FAULT("reserved upper bit of EFER", VEC_GP, 0, "wrmsr",
	      .in.cx = MSR_EFER, .in.ax = (u32)e, .in.dx = 1);
	wrmsr(MSR_EFER, e);
#ifdef __x86_64__
	RUN("mov %rcx, %cr2; mov %cr2, %rax", .in.cx = 0x123456789abcdef0);
	CHECK_EQ("CR2 has 64 bits", trap.s.ax, 0x123456789abcdef0);
	CHECK("LMA", e & EFER_LMA);
	FAULT("CR8 at ring 3", VEC_GP, 0, "mov %rax, %cr8", .ring = 3);
#endif
}

static void msrs(void)
{
	topic("SDM 2B RDMSR, WRMSR");
	FAULT("rdmsr of no MSR", VEC_GP, 0, "rdmsr", .in.cx = 0x4b564fff);
	FAULT("wrmsr of no MSR", VEC_GP, 0, "wrmsr", .in.cx = 0x12345678);
	FAULT("MTRRcap is read-only", VEC_GP, 0, "wrmsr", .in.cx = 0xfe);
	topic("SDM 3A 11.12.4");
	u64 pat = rdmsr(MSR_PAT);

	FAULT("PAT with a reserved type", VEC_GP, 0, "wrmsr",
	      .in.cx = MSR_PAT, .in.ax = 0x00070402, .in.dx = 0);
	FINE("PAT", "wrmsr", .in.cx = MSR_PAT, .in.ax = 0x00070106,
	     .in.dx = 0x00070406);
	CHECK_EQ("PAT reads back", rdmsr(MSR_PAT), 0x0007040600070106);
	wrmsr(MSR_PAT, pat);
	topic("SDM 3B 17.17");
	u64 a = rdtsc(), b = rdtsc();
	CHECK("the TSC grows", b >= a);
	RUN("rdmsr", .in.cx = MSR_TSC);
	CHECK("the TSC as an MSR", ((u64)(u32)trap.s.dx << 32 |
				    (u32)trap.s.ax) >= b);
	RUN("rdtsc", .in.ax = ~(uptr)0, .in.dx = ~(uptr)0);
	CHECK("rdtsc clears the upper halves", trap.s.ax >> (WORD * 8 - 1) == 0
	      || WORD == 4);
}

static void cpuids(void)
{
	struct cpuid l0 = cpuid(0, 0), l1 = cpuid(1, 0);

	topic("SDM 2A CPUID");
	check_range("highest leaf", l0.a, 7, 0x40);
	check_range("highest extended leaf", cpuid_max(0x80000000),
		    0x80000008, 0x800000ff);
	u32 need = BIT(0) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) |
		   BIT(9) | BIT(11) | BIT(13) | BIT(15) | BIT(16) | BIT(23) |
		   BIT(24) | BIT(25) | BIT(26);
	CHECK_EQ("FPU PSE TSC MSR PAE CX8 APIC SEP PGE CMOV PAT MMX FXSR SSE SSE2",
		 l1.d & need, need);
	need = BIT(20) | BIT(29);
	CHECK_EQ("NX and long mode", cpuid(0x80000001, 0).d & need, need);
	CHECK("hypervisor bit", l1.c & BIT(31));
	check_range("physical address bits", cpuid(0x80000008, 0).a & 0xff,
		    36, 52);
	check_range("linear address bits", cpuid(0x80000008, 0).a >> 8 & 0xff,
		    48, 57);
	RUN("cpuid", .in.ax = 0, .in.bx = ~(uptr)0, .in.dx = ~(uptr)0);
	CHECK_EQ("cpuid clears upper halves", trap.s.bx, l0.b);
	RUN("pushf; xor" SFX " $0x200000, (%esp); popf; pushf; pop " AX);
	CHECK("the ID flag can be changed", trap.s.ax & FL_ID);
	topic("SDM 2B MONITOR, MWAIT");
	if (has1c(3)) {
		FINE("monitor", "monitor; incl (%eax)",
		     .in.ax = (uptr)memory, .in.cx = 0);
		FAULT("monitor with an extension", VEC_GP, 0, "monitor",
		      .in.ax = (uptr)memory, .in.cx = 1);
		/* an implementation may allow it at ring 3 (APM MonMwait) */
		FAULT("monitor at ring 3", VEC_UD, 0, "monitor", .ring = 3,
		      .in.ax = (uptr)memory, .in.cx = 0);
	} else {
		FAULT("monitor without CPUID", VEC_UD, 0, "monitor");
		FAULT("mwait without CPUID", VEC_UD, 0, "mwait");
	}
	topic("SDM 2B RDRAND, POPCNT");
	if (has1c(30))
		FINE("rdrand", "rdrand %eax");
	else
		FAULT("rdrand without CPUID", VEC_UD, 0, "rdrand %eax");
	if (has7b(18))
		FINE("rdseed", "rdseed %eax");
	else
		FAULT("rdseed without CPUID", VEC_UD, 0, "rdseed %eax");
	topic("features that are hidden do not exist");
	if (!has1c(5))
		FAULT("vmxon without VMX", VEC_UD, 0, "vmxon (%ecx)",
		      .in.cx = (uptr)memory);
	if (!(cpuid(0x80000001, 0).c & BIT(2)))
		FAULT("vmrun without SVM", VEC_UD, 0, "vmrun");
	if (!has7b(20))
		FAULT("clac without SMAP", VEC_UD, 0, "clac");
	if (!has7b(11))
		FAULT("xbegin without RTM", VEC_UD, 0,
		      ".byte 0xc7, 0xf8, 0, 0, 0, 0");
	FAULT("rsm outside of SMM", VEC_UD, 0, "rsm");
	FINE("endbr and wide nops do nothing", ".byte 0xf3, 0x0f, 0x1e, 0xfb;"
	     ".byte 0x0f, 0x1e, 0xc0; .byte 0x0f, 0x1f, 0xc0; pause");
}

void guest_main(void)
{
	privilege();
	cr0();
	cr4();
	efer();
	msrs();
	cpuids();
}
