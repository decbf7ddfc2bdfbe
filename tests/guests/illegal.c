/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control register values that must be refused, or nothing works after. */
#include "guest.h"

void guest_main(void)
{
	uptr c = cr4_read();

	topic("SDM 2B MOV CR, 3A 2.5");
	FAULT("PG without PE", VEC_GP, 0, "mov " CX ", %cr0",
	      .in.cx = (cr0_read() | CR0_PG) & ~CR0_PE);
	FAULT("reserved bit 15", VEC_GP, 0, "mov " CX ", %cr4",
	      .in.cx = c | 1u << 15);
	FAULT("reserved bit 31", VEC_GP, 0, "mov " CX ", %cr4",
	      .in.cx = c | 1u << 31);
	if (!has7b(7))
		FAULT("SMEP without CPUID", VEC_GP, 0, "mov " CX ", %cr4",
		      .in.cx = c | CR4_SMEP);
	if (!has1c(5))
		FAULT("VMXE without VMX", VEC_GP, 0, "mov " CX ", %cr4",
		      .in.cx = c | 1u << 13);
#ifdef __x86_64__
	FAULT("CR4 upper half", VEC_GP, 0, "mov %rcx, %cr4",
	      .in.cx = cr4_read() | 1ull << 40);
	FAULT("CR0 upper half", VEC_GP, 0, "mov %rcx, %cr0",
	      .in.cx = cr0_read() | 1ull << 32);
	FAULT("CR3 bit 62", VEC_GP, 0, "mov %rcx, %cr3",
	      .in.cx = cr3_read() | 1ull << 62);
	topic("SDM 3A 9.8.5");
	FAULT("LME changes with paging on", VEC_GP, 0, "wrmsr",
	      .in.cx = MSR_EFER, .in.ax = (u32)rdmsr(MSR_EFER) & ~EFER_LME);
	FAULT("PAE off in long mode", VEC_GP, 0, "mov %rcx, %cr4",
	      .in.cx = cr4_read() & ~CR4_PAE);
	FAULT("paging off in 64-bit mode", VEC_GP, 0, "mov %rcx, %cr0",
	      .in.cx = cr0_read() & ~CR0_PG);
#else
	if (has81d(29)) {
		u64 e = rdmsr(MSR_EFER);

		topic("SDM 3A 9.8.5");
		wrmsr(MSR_EFER, e | EFER_LME);
		FAULT("PG and LME without PAE", VEC_GP, 0, "mov %ecx, %cr0",
		      .in.cx = cr0_read() | CR0_PG);
		CHECK("LMA stays clear", !(rdmsr(MSR_EFER) & EFER_LMA));
		wrmsr(MSR_EFER, e);
	}
#endif
}
