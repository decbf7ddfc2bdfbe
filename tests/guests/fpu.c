/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87, MMX, SSE and AVX state: who may run by CR0, CR4 and XCR0, the save
 * and restore instructions and their faults, pending x87 errors.
 */
#include "guest.h"

static u8 area[4096] __attribute__((aligned(64)));
static u8 image[4096] __attribute__((aligned(64)));

/* Vector that an instruction raises, VEC_DONE for none. */
#define RAISES(text) ({ RUN(text, .in.cx = (uptr)area); trap.vec; })

static void rows(const char *name, uptr set, uptr clear, unsigned x87,
		 unsigned wait, unsigned mmx, unsigned sse, unsigned fxsave)
{
	uptr old = cr0_read();
	unsigned got[5];

	cr0_write((old & ~clear) | set);
	got[0] = RAISES("fld1; fstp %st");
	got[1] = RAISES("fwait");
	got[2] = RAISES("pxor %mm0, %mm0");
	got[3] = RAISES("xorps %xmm0, %xmm0");
	got[4] = RAISES("fxsave (%ecx)");
	cr0_write(old);
	asm volatile("fninit");
	scope(name);
	CHECK_EQ("x87", got[0], x87);
	CHECK_EQ("fwait", got[1], wait);
	CHECK_EQ("MMX", got[2], mmx);
	CHECK_EQ("SSE", got[3], sse);
	CHECK_EQ("FXSAVE", got[4], fxsave);
	scope("");
}

static void who_may(void)
{
	enum { OK = VEC_DONE, NM = VEC_NM, UD = VEC_UD };

	topic("SDM 3A 2.5, tables 9-1 and 12-1");
	rows("none, ", 0, CR0_EM | CR0_TS | CR0_MP, OK, OK, OK, OK, OK);
	rows("MP, ", CR0_MP, CR0_EM | CR0_TS, OK, OK, OK, OK, OK);
	rows("TS, ", CR0_TS, CR0_EM | CR0_MP, NM, OK, NM, NM, NM);
	rows("TS MP, ", CR0_TS | CR0_MP, CR0_EM, NM, NM, NM, NM, NM);
	rows("EM, ", CR0_EM, CR0_TS | CR0_MP, NM, OK, UD, UD, NM);
	rows("EM MP, ", CR0_EM | CR0_MP, CR0_TS, NM, OK, UD, UD, NM);
	topic("SDM 3A 2.5 CR4.OSFXSR");
	WITH_CR4(0, CR4_OSFXSR,
		 FAULT("SSE without OSFXSR", VEC_UD, 0, "xorps %xmm0, %xmm0");
		 FAULT("SSE2 without OSFXSR", VEC_UD, 0, "pxor %xmm0, %xmm0");
		 FAULT("ldmxcsr without OSFXSR", VEC_UD, 0, "ldmxcsr (%ecx)",
		       .in.cx = (uptr)area);
		 FINE("MMX without OSFXSR", "pxor %mm0, %mm0; emms");
		 FINE("movnti, lfence without OSFXSR",
		      "movnti %eax, (%ecx); lfence; prefetcht0 (%ecx)",
		      .in.cx = (uptr)area));
}

static void fxsave(void)
{
	topic("SDM 2A FXSAVE, FXRSTOR");
	FAULT("fxsave not aligned", VEC_GP, 0, "fxsave (%ecx)",
	      .in.cx = (uptr)area + 8);
	FAULT("fxrstor not aligned", VEC_GP, 0, "fxrstor (%ecx)",
	      .in.cx = (uptr)area + 8);
	memset(area, 0xaa, 512);
	FINE("fxsave", "fninit; fld1; fxsave (%ecx); fninit",
	     .in.cx = (uptr)area);
	CHECK_EQ("control word", *(u16 *)area, 0x37f);
	CHECK_EQ("top of stack", *(u16 *)(area + 2) >> 11 & 7, 7);
	CHECK_EQ("abridged tags", area[4], 0x80);
	CHECK_EQ("MXCSR", *(u32 *)(area + 24), 0x1f80);
	CHECK_EQ("MXCSR mask", *(u32 *)(area + 28) & 0xffbf, 0xffbf);
	CHECK_EQ("ST0 is 1", *(u64 *)(area + 32), 1ull << 63);
	CHECK_EQ("ST0 exponent", *(u16 *)(area + 40), 0x3fff);
	CHECK_EQ("reserved bytes stay", area[511], 0xaa);
	memcpy(image, area, 512);
	*(u32 *)(image + 24) = 0x1f80 | 0x10000;
	FAULT("fxrstor with reserved MXCSR bits", VEC_GP, 0,
	      "fxrstor (%ecx)", .in.cx = (uptr)image);
	topic("SDM 2A LDMXCSR");
	FAULT("ldmxcsr with reserved bits", VEC_GP, 0, "ldmxcsr (%ecx)",
	      .in.cx = (uptr)(*(u32 *)image = 0x10000, image));
	*(u32 *)image = 0x1f80;
	FINE("ldmxcsr", "ldmxcsr (%ecx)", .in.cx = (uptr)image);
	topic("SDM 2A FNINIT, FNSAVE");
	memset(area, 0, 512);
	FINE("fnsave", "fninit; fldz; fldpi; fnsave (%ecx)", .in.cx = (uptr)area);
	CHECK_EQ("fnsave tags", *(u16 *)(area + 8), 0x4fff);
	FINE("fnsave initialises", "fnstenv (%ecx)", .in.cx = (uptr)area);
	CHECK_EQ("control word after fnsave", *(u16 *)area, 0x37f);
	CHECK_EQ("status after fnsave", *(u16 *)(area + 4), 0);
	CHECK_EQ("tags after fnsave", *(u16 *)(area + 8), 0xffff);
	topic("SDM 1 9.6.2");
	FINE("MMX marks all registers valid",
	     "pxor %mm0, %mm0; fnstenv (%ecx); fldenv (%ecx); emms",
	     .in.cx = (uptr)area);
	bool empty = false;
	for (int i = 0; i < 16; i += 2)
		empty |= (*(u16 *)(area + 8) >> i & 3) == 3;
	CHECK("no tag is empty", !empty);
	FINE("emms empties them", "fnstenv (%ecx)", .in.cx = (uptr)area);
	CHECK_EQ("tags after emms", *(u16 *)(area + 8), 0xffff);
}

static void pending(void)
{
	static const u16 unmasked = 0x37b;
	static const u16 masked = 0x37f;

	topic("SDM 1 8.6, 8.7: errors wait for the next waiting instruction");
	asm volatile("fninit; fldcw %0" : : "m"(unmasked));
	const struct code *c =
		CODE("fld1; fldz; 1: fdivrp %st, %st(1); fnstenv (%ecx);"
		     "fldenv (%ecx); nop");
	run(&(struct try){ .code = c, .in.cx = (uptr)area });
	CHECK_EQ("fnstenv does not wait", trap.vec, VEC_DONE);
	CHECK_EQ("FIP is the instruction that failed", *(u32 *)(area + 12),
		 c->at);
	CHECK("status has ES and ZE", (*(u16 *)(area + 4) & 0x84) == 0x84);
	CHECK_EQ("the saved control word is that before", *(u16 *)area & 0x3f,
		 0x3b);
	asm volatile("fninit; fldcw %0; fld1; fldz; fdivrp %%st, %%st(1)"
		     : : "m"(unmasked));
	FAULT("MMX waits", VEC_MF, 0, "pxor %mm0, %mm0");
	FAULT("fwait raises", VEC_MF, 0, "fwait");
	FINE("SSE does not wait", "xorps %xmm0, %xmm0");
	FINE("fnstcw does not wait", "fnstcw (%ecx)", .in.cx = (uptr)area);
	FINE("fxsave does not wait", "fxsave (%ecx)", .in.cx = (uptr)area);
	FAULT("fldcw waits", VEC_MF, 0, "fldcw (%ecx)",
	      .in.cx = (uptr)&masked);
	FINE("masking by fnclex and fldcw", "fnclex; fldcw (%ecx)",
	     .in.cx = (uptr)&masked);
	FINE("nothing pends", "fwait; fld1; fstp %st");
	asm volatile("fninit; fld1; fldz; fdivrp %st, %st(1)");
	FAULT("unmasking a flag that is set", VEC_MF, 0,
	      "fldcw (%ecx); 1: fwait", .in.cx = (uptr)&unmasked);
	asm volatile("fnclex; fninit");
}

/* ---- XSAVE ---- */

static u32 xcr0_supported(void) { return cpuid(0xd, 0).a; }

static void xsave_without(void)
{
	topic("SDM 3A 2.5 CR4.OSXSAVE");
	CHECK("CPUID.OSXSAVE is clear", !has1c(27));
	FAULT("xgetbv without OSXSAVE", VEC_UD, 0, "xgetbv");
	FAULT("xsetbv without OSXSAVE", VEC_UD, 0, "xsetbv");
	FAULT("xsave without OSXSAVE", VEC_UD, 0, "xsave (%ecx)",
	      .in.cx = (uptr)area);
	if (has1c(28))
		FAULT("AVX without OSXSAVE", VEC_UD, 0,
		      "vxorps %ymm0, %ymm0, %ymm0");
}

static void xsetbv(void)
{
	topic("SDM 2D XSETBV");
	FINE("xsetbv 1", "xsetbv", .in.ax = 1);
	RUN("xgetbv");
	CHECK_EQ("xgetbv", trap.s.ax, 1);
	FAULT("x87 cannot be cleared", VEC_GP, 0, "xsetbv", .in.ax = 2);
	FAULT("AVX needs SSE", VEC_GP, 0, "xsetbv", .in.ax = 5);
	FAULT("unknown component", VEC_GP, 0, "xsetbv", .in.ax = 3,
	      .in.dx = 0x40000000);
	FAULT("no XCR5", VEC_GP, 0, "xsetbv", .in.ax = 1, .in.cx = 5);
	FAULT("xsetbv at ring 3", VEC_GP, 0, "xsetbv", .in.ax = 1, .ring = 3);
	FAULT("xgetbv of XCR5", VEC_GP, 0, "xgetbv", .in.cx = 5);
	FINE("xgetbv at ring 3", "xgetbv", .ring = 3);
	topic("SDM 2A CPUID leaf 0DH");
	check_range("size for x87 only", cpuid(0xd, 0).b, 576, 576);
	FINE("xsetbv 3", "xsetbv", .in.ax = 3);
	if (!(xcr0_supported() & 4)) {
		skip("AVX", "not in XCR0");
		return;
	}
	FAULT("AVX without its XCR0 bit", VEC_UD, 0,
	      "vxorps %ymm0, %ymm0, %ymm0");
	FINE("xsetbv 7", "xsetbv", .in.ax = 7);
	CHECK_EQ("size with AVX", cpuid(0xd, 0).b, 832);
	CHECK_EQ("AVX offset and size", cpuid(0xd, 2).b << 16 |
		 cpuid(0xd, 2).a, 576 << 16 | 256);
	FINE("AVX", "vxorps %ymm0, %ymm0, %ymm0; vzeroupper");
	WITH_CR0(CR0_TS, 0, FAULT("AVX with TS", VEC_NM, 0,
				  "vxorps %ymm0, %ymm0, %ymm0"));
	topic("SDM 2A 2.4: VEX with prefixes");
	FAULT("66 before VEX", VEC_UD, 0,
	      ".byte 0x66; vxorps %ymm0, %ymm0, %ymm0");
	FAULT("lock before VEX", VEC_UD, 0,
	      ".byte 0xf0; vxorps %ymm0, %ymm0, %ymm0");
	FAULT("VEX.vvvv must be unused", VEC_UD, 0,
	      ".byte 0xc5, 0xf0, 0x28, 0xc1");	/* vmovaps */
}

static void xsave(void)
{
	u32 mask = xcr0_supported() & 7;

	topic("SDM 2D XSAVE, XRSTOR; 1 13");
	memset(area, 0, sizeof(area));
	FAULT("xsave not aligned", VEC_GP, 0, "xsave (%ecx)",
	      .in.cx = (uptr)area + 16, .in.ax = 7);
	FINE("xsave", "xsave (%ecx)", .in.cx = (uptr)area, .in.ax = mask);
	CHECK_EQ("XSTATE_BV is within the mask",
		 *(u64 *)(area + 512) & ~(u64)mask, 0);
	FINE("xrstor", "xrstor (%ecx)", .in.cx = (uptr)area, .in.ax = mask);
	area[512 + 16] = 1;
	FAULT("xrstor, header bytes 16 to 23", VEC_GP, 0, "xrstor (%ecx)",
	      .in.cx = (uptr)area, .in.ax = mask);
	area[512 + 16] = 0;
	area[512 + 7] = 0x40;
	FAULT("xrstor, component not in XCR0", VEC_GP, 0, "xrstor (%ecx)",
	      .in.cx = (uptr)area, .in.ax = mask);
	area[512 + 7] = 0;
	area[512 + 15] = 0x80;
	if (!(cpuid(0xd, 1).a & 2))
		FAULT("xrstor, compacted without XSAVEC", VEC_GP, 0,
		      "xrstor (%ecx)", .in.cx = (uptr)area, .in.ax = mask);
	area[512 + 15] = 0;
	*(u32 *)(area + 24) = 0x10000;
	*(u64 *)(area + 512) = 3;
	FAULT("xrstor, reserved MXCSR bits", VEC_GP, 0, "xrstor (%ecx)",
	      .in.cx = (uptr)area, .in.ax = mask);
	*(u32 *)(area + 24) = 0x1f80;
	/* a component that is in its initial state is initialised */
	*(u64 *)(area + 512) = 0;
	FINE("xrstor of initial state", "mov $-1, %edx; movd %edx, %xmm3;"
	     "xor %edx, %edx; xrstor (%ecx); movd %xmm3, %esi",
	     .in.cx = (uptr)area, .in.ax = mask);
	CHECK_EQ("xmm3 is 0", trap.s.si, 0);
	WITH_CR0(CR0_TS, 0, FAULT("xsave with TS", VEC_NM, 0, "xsave (%ecx)",
				  .in.cx = (uptr)area, .in.ax = mask));
	FAULT("lock xsave", VEC_UD, 0, ".byte 0xf0; xsave (%ecx)",
	      .in.cx = (uptr)area);
	if (cpuid(0xd, 1).a & 1)
		FINE("xsaveopt", "xsaveopt (%ecx)", .in.cx = (uptr)area,
		     .in.ax = mask);
}

void guest_main(void)
{
	who_may();
	fxsave();
	pending();
	if (!has1c(26)) {
		skip("XSAVE", "not in CPUID");
		return;
	}
	xsave_without();
	cr4_write(cr4_read() | CR4_OSXSAVE);
	topic("SDM 2A CPUID");
	CHECK("CPUID.OSXSAVE is set", has1c(27));
	xsetbv();
	xsave();
}
