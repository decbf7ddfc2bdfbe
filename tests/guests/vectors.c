/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Vector registers and the x87 state across everything that interrupts code
 * that uses them: floating-point exceptions, page faults, interrupts, and
 * switches between contexts.  An engine may keep them somewhere else while vector code runs;
 * each of these must find and leave all of them right (SDM 1 10, 11, 14, 15).
 *
 * The runtime is compiled without vector registers, so what a snippet leaves
 * in them is still there behind it.
 */
#include "guest.h"
#include "page.h"

#define MXCSR_IE 1u
#define MXCSR_DE 2u
#define MXCSR_ZE 4u
#define MXCSR_OE 8u
#define MXCSR_UE 0x10u
#define MXCSR_PE 0x20u
#define MXCSR_DAZ 0x40u
#define MXCSR_MASKS 0x1f80u
#define MXCSR_ZM 0x200u
#define MXCSR_IM 0x80u
#define MXCSR_UP 0x4000u
#define MXCSR_FTZ 0x8000u

#define XCR0_AVX 7u
#define XCR0_AVX512 0xe7u

static struct page_tables pt;
static u8 area[4 * 4096] __attribute__((aligned(4096)));
static u8 set[32][64] __attribute__((aligned(64)));
static u8 got[32][64] __attribute__((aligned(64)));
static u64 masks_set[8], masks_got[8];

/* Bytes of each register and how many there are. */
static unsigned width = 16, count = 16;

#define GOOD ((uptr)area)
#define MISSING ((uptr)area + 0x1000)

/* ---- all registers ---- */

#define LOW16 "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define HIGH16 "16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"

static void vectors_load(void)
{
	if (width == 64)
		asm volatile(".irp n," LOW16 "," HIGH16 "\n"
			     "vmovups 64*\\n(%0), %%zmm\\n\n.endr\n"
			     ".irp n,0,1,2,3,4,5,6,7\n"
			     "kmovq 8*\\n(%1), %%k\\n\n.endr"
			     : : "r"(set), "r"(masks_set) : "memory");
	else if (width == 32)
		asm volatile(".irp n," LOW16 "\n"
			     "vmovups 64*\\n(%0), %%ymm\\n\n.endr"
			     : : "r"(set) : "memory");
	else
		asm volatile(".irp n," LOW16 "\n"
			     "movups 64*\\n(%0), %%xmm\\n\n.endr"
			     : : "r"(set) : "memory");
}

static void vectors_store(void)
{
	if (width == 64)
		asm volatile(".irp n," LOW16 "," HIGH16 "\n"
			     "vmovups %%zmm\\n, 64*\\n(%0)\n.endr\n"
			     ".irp n,0,1,2,3,4,5,6,7\n"
			     "kmovq %%k\\n, 8*\\n(%1)\n.endr"
			     : : "r"(got), "r"(masks_got) : "memory");
	else if (width == 32)
		asm volatile(".irp n," LOW16 "\n"
			     "vmovups %%ymm\\n, 64*\\n(%0)\n.endr"
			     : : "r"(got) : "memory");
	else
		asm volatile(".irp n," LOW16 "\n"
			     "movups %%xmm\\n, 64*\\n(%0)\n.endr"
			     : : "r"(got) : "memory");
}

/* Another pattern for each seed. */
static void pattern(unsigned seed)
{
	for (unsigned n = 0; n < 32; n++)
		for (unsigned b = 0; b < 64; b++)
			set[n][b] = (u8)(seed * 41 + n * 67 + b * 3 + (b >> 4));
	for (unsigned n = 0; n < 8; n++)
		masks_set[n] = seed * 0x9e3779b97f4a7c15ull + n;
}

static bool registers_are_set(void)
{
	vectors_store();
	for (unsigned n = 0; n < count; n++)
		if (memcmp(got[n], set[n], width))
			return false;
	return width < 64 || !memcmp(masks_got, masks_set, sizeof(masks_set));
}

static u32 mxcsr_get(void)
{
	u32 v;

	asm volatile("stmxcsr %0" : "=m"(v));
	return v;
}

static void mxcsr_set(u32 v)
{
	asm volatile("ldmxcsr %0" : : "m"(v));
}

static void begin(unsigned seed)
{
	pattern(seed);
	vectors_load();
	mxcsr_set(MXCSR_MASKS);
}

/* ---- SIMD floating-point exceptions ---- */

static void put_double(u8 *p, u64 bits)
{
	memcpy(p, &bits, 8);
}

#define ONE 0x3ff0000000000000ull
#define THREE 0x4008000000000000ull
#define HUGE 0x7fe0000000000000ull
#define TINY 0x0010000000000000ull
#define DENORMAL 1ull

/* Registers 0, 1: a quotient by zero.  What stands before the division is
 * done, what stands behind it is not. */
static void exceptions(void)
{
	topic("SDM 1 11.5.2, 3A 6.15 #XM");
	begin(1);
	memset(area, 0, 4096);
	put_double(set[0], ONE);
	put_double(set[1], 0);
	vectors_load();
	mxcsr_set(MXCSR_MASKS & ~MXCSR_ZM);
	TRAP("unmasked ZE", VEC_XM, 0,
	     "movups %xmm3, %xmm9; paddd %xmm4, %xmm9; mov $5, %eax; stc;"
	     "1: divsd %xmm1, %xmm0; movups %xmm4, %xmm10; mov $6, %eax");
	CHECK_EQ("flag of the exception", mxcsr_get(),
		 (MXCSR_MASKS & ~MXCSR_ZM) | MXCSR_ZE);
	CHECK_EQ("general register before it", trap.s.ax, 5);
	CHECK_EQ("carry before it", trap.s.flags & 1, 1);
	for (unsigned b = 0; b < 16; b += 4) {
		u32 x, y;

		memcpy(&x, set[3] + b, 4);
		memcpy(&y, set[4] + b, 4);
		x += y;
		memcpy(set[9] + b, &x, 4);
	}
	CHECK("vector registers", registers_are_set());
	TRAP("from memory", VEC_XM, 0,
	     "mov %rcx, %r9; xor %r10d, %r10d; 1: divpd (%r9,%r10), %xmm0;"
	     "movups %xmm4, %xmm10", .in.cx = (uptr)area);
	TRAP("to a general register", VEC_XM, 0,
	     "cmp %eax, %eax; mov $7, %r11d; 1: cvtsd2si %xmm0, %r11;"
	     "mov $8, %r11d",
	     .in.cx = (mxcsr_set(MXCSR_MASKS & ~MXCSR_IM),
		       put_double(set[0], 0x7ff0000000000000ull),
		       vectors_load(), 0));
	CHECK_EQ("R11", trap.s.r11, 7);
	CHECK_EQ("zero flag", trap.s.flags & 0x40, 0x40);
	CHECK_EQ("invalid", mxcsr_get(),
		 (MXCSR_MASKS & ~MXCSR_IM) | MXCSR_IE);
	FAULT("a page fault comes first", VEC_PF, 0, "cvttsd2si (%rcx), %eax",
	      .in.cx = MISSING, .cr2 = MISSING);
	WITH_CR4(0, CR4_OSXMMEXCPT,
		 TRAP("without OSXMMEXCPT", VEC_UD, 0,
		      "movups %xmm3, %xmm9; 1: cvttsd2si %xmm0, %eax"));
	mxcsr_set(MXCSR_MASKS);
}

/* Flags stay set across branches, functions and exceptions. */
static void sticky(void)
{
	topic("SDM 1 10.2.3.1");
	begin(2);
	put_double(set[0], ONE);
	put_double(set[1], THREE);
	put_double(set[2], HUGE);
	put_double(set[3], TINY);
	put_double(set[4], DENORMAL);
	vectors_load();
	FINE("inexact", "divsd %xmm1, %xmm0; jmp 2f; 2: nop; cpuid");
	CHECK_EQ("PE", mxcsr_get(), MXCSR_MASKS | MXCSR_PE);
	FINE("overflow", "cpuid; mulsd %xmm2, %xmm2; call 2f; jmp 3f; 2: ret; 3:");
	CHECK_EQ("OE", mxcsr_get(), MXCSR_MASKS | MXCSR_PE | MXCSR_OE);
	FINE("underflow", "movsd %xmm3, %xmm5; mulsd %xmm5, %xmm5; cpuid;"
	     "movsd %xmm3, %xmm6");
	CHECK_EQ("UE", mxcsr_get(), MXCSR_MASKS | MXCSR_PE | MXCSR_OE | MXCSR_UE);
	FAULT("a page fault between", VEC_PF, 0, "addsd (%rcx), %xmm5",
	      .in.cx = MISSING, .cr2 = MISSING);
	FINE("denormal", "addsd %xmm4, %xmm4");
	CHECK_EQ("DE", mxcsr_get(),
		 MXCSR_MASKS | MXCSR_PE | MXCSR_OE | MXCSR_UE | MXCSR_DE);
	mxcsr_set(MXCSR_MASKS | MXCSR_DAZ | MXCSR_FTZ);
	FINE("denormals are zeros", "addsd %xmm4, %xmm4; movq %xmm4, %rax");
	CHECK_EQ("sum", trap.s.ax, 0);
	CHECK_EQ("no flag", mxcsr_get(), MXCSR_MASKS | MXCSR_DAZ | MXCSR_FTZ);
	mxcsr_set(MXCSR_MASKS | MXCSR_UP);
	vectors_load();
	FINE("rounding up", "cpuid; divsd %xmm1, %xmm0; movq %xmm0, %rax");
	CHECK_EQ("a third", trap.s.ax, 0x3fd5555555555556ull);
	mxcsr_set(MXCSR_MASKS);
}

/* ---- page faults ---- */

static void fix(struct frame *f)
{
	page_map(&pt, MISSING, MISSING, PTE_P | PTE_W);
}

static void faults(void)
{
	topic("SDM 3A 6.6");
	begin(3);
	memset(area, 0x11, 4096);
	TRAP("a load", VEC_PF, 0, "movups %xmm3, %xmm9; movups (%rdx), %xmm8;"
	     "1: movups (%rcx), %xmm7; movups %xmm3, %xmm10",
	     .in.cx = MISSING - 8, .in.dx = GOOD, .cr2 = MISSING);
	memcpy(set[9], set[3], 16);
	memset(set[8], 0x11, 16);
	CHECK("registers behind the load", registers_are_set());
	TRAP("a store", VEC_PF, PF_W, "movups %xmm4, %xmm9;"
	     "1: movups %xmm3, (%rcx); movups %xmm3, %xmm10",
	     .in.cx = MISSING - 8, .cr2 = MISSING);
	memcpy(set[9], set[4], 16);
	CHECK("registers behind the store", registers_are_set());
	CHECK_EQ("nothing was written", *(u64 *)(MISSING - 8),
		 0x1111111111111111ull);
	FAULT("not canonical", VEC_GP, 0, "movups (%rcx), %xmm7",
	      .in.cx = 1ul << 63);
	CHECK("registers behind that", registers_are_set());
	FAULT("not aligned", VEC_GP, 0, "movaps (%rcx), %xmm7",
	      .in.cx = GOOD + 8);
	hooks[VEC_PF] = fix;
	FINE("a store that is made good",
	     "movups %xmm5, %xmm11; movups %xmm3, (%rcx); pxor %xmm3, %xmm11;"
	     "movups (%rcx), %xmm12", .in.cx = MISSING - 8, .cr2 = MISSING);
	hooks[VEC_PF] = NULL;
	for (unsigned b = 0; b < 16; b++)
		set[11][b] = set[5][b] ^ set[3][b];
	memcpy(set[12], set[3], 16);
	CHECK("registers", registers_are_set());
	CHECK("memory", !memcmp((u8 *)(MISSING - 8), set[3], 16));
	page_map(&pt, MISSING, MISSING, 0);
}

/* ---- contexts ---- */

struct context {
	u8 image[2688 + 64] __attribute__((aligned(64)));
};
static struct context contexts[2], saved;
static bool use_xsave;

static void save(struct context *c)
{
	if (use_xsave)
		asm volatile("xsave64 %0" : "=m"(*c) : "a"(0xe7), "d"(0) : "memory");
	else
		asm volatile("fxsave64 %0" : "=m"(*c) : : "memory");
}

static void restore(const struct context *c)
{
	if (use_xsave)
		asm volatile("xrstor64 %0" : : "m"(*c), "a"(0xe7), "d"(0) : "memory");
	else
		asm volatile("fxrstor64 %0" : : "m"(*c) : "memory");
}

#define STEP "paddd %xmm1, %xmm0; mulps %xmm3, %xmm2; xorps %xmm0, %xmm3;" \
	     "pshufd $0x1b, %xmm3, %xmm1"

/* Two contexts in turn are each what it would be alone. */
static void switches(void)
{
	static u8 alone[2][32][64];
	u32 flags[2];
	bool good = true;

	topic("SDM 3A 13.4, 13.5");
	for (unsigned c = 0; c < 2; c++) {
		begin(4 + c);
		save(&contexts[c]);
		for (unsigned n = 0; n < 20; n++)
			asm volatile(STEP);
		vectors_store();
		memcpy(alone[c], got, sizeof(got));
		flags[c] = mxcsr_get();
	}
	for (unsigned n = 0; n < 40; n++) {
		restore(&contexts[n & 1]);
		asm volatile(STEP);
		save(&contexts[n & 1]);
	}
	for (unsigned c = 0; c < 2; c++) {
		restore(&contexts[c]);
		vectors_store();
		for (unsigned n = 0; n < count; n++)
			good &= !memcmp(got[n], alone[c][n], width);
		good &= mxcsr_get() == flags[c];
	}
	CHECK("two contexts in turn", good);
}

/* The handler has vectors of its own. */
static void handler(struct frame *f)
{
	save(&saved);
	mxcsr_set(MXCSR_MASKS | MXCSR_UP);
	asm volatile("fninit; fldpi; fldz");
	asm volatile(".irp n," LOW16 "\npcmpeqd %xmm\\n, %xmm\\n\n.endr");
	restore(&saved);
}

/* Whoever touches vectors first restores them. */
static void lazy(struct frame *f)
{
	asm volatile("clts");
	restore(&saved);
}

static void interrupts(void)
{
	topic("SDM 3A 6.4, 13.5");
	begin(6);
	hooks[0x40] = handler;
	FINE("interrupts between", "movups %xmm3, %xmm9; int $0x40;"
	     "paddd %xmm4, %xmm9; int $0x40; psubd %xmm4, %xmm9; int $0x40;"
	     "movups %xmm9, %xmm10");
	hooks[0x40] = NULL;
	memcpy(set[9], set[3], 16);
	memcpy(set[10], set[3], 16);
	CHECK("registers", registers_are_set());
	CHECK_EQ("MXCSR", mxcsr_get(), MXCSR_MASKS);
	save(&saved);
	pattern(7);
	vectors_load();
	pattern(6);
	memcpy(set[9], set[3], 16);
	memcpy(set[10], set[3], 16);
	memcpy(set[11], set[10], 16);
	hooks[VEC_NM] = lazy;
	cr0_write(cr0_read() | CR0_TS);
	FINE("the lazy way", "nop; movups %xmm10, %xmm11");
	hooks[VEC_NM] = NULL;
	CHECK("registers restored", registers_are_set());
}

/* ---- x87 ---- */

static u8 environment[28];

/* What FNSTENV says of the last instruction (SDM 1 figure 8-9). */
static void last_x87(const char *name, u32 fip, unsigned fop, u32 fdp)
{
	u32 w[7];

	asm volatile("fnstenv %0; fldenv %0" : "+m"(environment));
	memcpy(w, environment, sizeof(w));
	scope(name);
	CHECK_EQ("FIP", w[3], fip);
	if (fop)
		CHECK_EQ("FOP", w[4] >> 16 & 0x7ff, fop);
	if (fdp)
		CHECK_EQ("FDP", w[5], fdp);
	scope("");
}

static u64 popped(void)
{
	double v;
	u64 bits;

	asm volatile("fstpl %0" : "=m"(v));
	memcpy(&bits, &v, 8);
	return bits;
}

static void x87_pointers(void)
{
	/* Where bit 6 is set, only an unmasked exception keeps it; so it is
	 * with the opcode on Intel's CPUs (8.1.9). */
	const u32 fdp = has7b(6) ? 0 : GOOD;
	const bool fop = cpuid(0, 0).b != 0x756e6547;	/* "Genu" */
	const struct code *c;

	topic("SDM 1 8.1.8");
	put_double(area, THREE);
	c = CODE("fninit; fld1; nop; 1: faddl (%rdx); nop; fnstsw %ax; cpuid");
	run(&(struct try){ .code = c, .in.dx = GOOD });
	last_x87("memory, ", c->at, fop * 0x402, fdp);
	c = CODE("fldpi; cpuid; 1: fmul %st(1), %st; fnstcw (%rsi)");
	run(&(struct try){ .code = c, .in.si = GOOD + 64 });
	last_x87("registers, ", c->at, fop * 0x0c9, fdp);
	c = CODE("1: fxch; fldl (%rcx)");
	run(&(struct try){ .code = c, .in.cx = MISSING });
	CHECK_EQ("a page fault", trap.vec, VEC_PF);
	last_x87("before a page fault, ", c->at, fop * 0x1c9, fdp);
	c = CODE("pxor %xmm0, %xmm0; paddb (%rdx), %mm0; movq %mm0, %mm1; emms;"
		 "1: fld1");
	run(&(struct try){ .code = c, .in.dx = GOOD });
	last_x87("behind MMX, ", c->at, fop * 0x1e8, fdp);
}

static void x87_errors(void)
{
	static const u16 unmasked = 0x37b;
	const struct code *c;

	topic("SDM 1 8.6, 8.7");
	begin(11);
	TRAP("the next that waits", VEC_MF, 0,
	     "fninit; fldcw (%rcx); fld1; fldz; fdivrp %st, %st(1);"
	     "mov $5, %eax; movups %xmm3, %xmm9; fnstsw %ax; 1: fld1;"
	     "mov $6, %eax; movups %xmm4, %xmm10", .in.cx = (uptr)&unmasked);
	CHECK_EQ("what stands before", trap.s.ax & 0xff, 0x84);
	memcpy(set[9], set[3], 16);
	CHECK("vector registers", registers_are_set());
	FAULT("still", VEC_MF, 0, "fldl (%rcx)", .in.cx = MISSING);
	FAULT("MMX waits too", VEC_MF, 0, "paddb %mm1, %mm0");
	FAULT("and EMMS", VEC_MF, 0, "emms");
	FAULT("and FWAIT", VEC_MF, 0, "fwait");
	FINE("FNSTSW does not", "fnstsw %ax");
	CHECK_EQ("ES and ZE", trap.s.ax & 0x84, 0x84);
	asm volatile("fnclex");
	FAULT("a page fault comes before the error of a store", VEC_PF, PF_W,
	      "fstpl (%rcx)", .in.cx = MISSING, .cr2 = MISSING);
	put_double(area, 0);
	c = CODE("fninit; fldcw (%rcx); fld1; 1: fdivl (%rdx); nop; cpuid");
	run(&(struct try){ .code = c, .in.cx = (uptr)&unmasked, .in.dx = GOOD });
	last_x87("an error, ", c->at, 0x432, GOOD);
	asm volatile("fninit");
}

static void x87_stack(void)
{
	static const u64 pi = 0x400921fb54442d18ull;

	topic("SDM 1 8.1.2");
	hooks[0x40] = handler;
	asm volatile("fninit");
	FINE("eight values", "fldz; fld1; fldpi; cpuid; fld1; fadd %st, %st;"
	     "int $0x40; fldpi; fld1; fldl (%rsi); cpuid; fld1; int $0x40;"
	     "fchs; ffree %st(7); fdecstp; fincstp",
	     .in.si = (put_double(area, THREE), GOOD));
	hooks[0x40] = NULL;
	CHECK_EQ("-1", popped(), ONE | 1ull << 63);
	CHECK_EQ("3", popped(), THREE);
	FAULT("a store that faults does not pop", VEC_PF, PF_W, "fstpl (%rcx)",
	      .in.cx = MISSING, .cr2 = MISSING);
	CHECK_EQ("1", popped(), ONE);
	CHECK_EQ("pi", popped(), pi);
	CHECK_EQ("2", popped(), 0x4000000000000000ull);
	CHECK_EQ("pi again", popped(), pi);
	CHECK_EQ("1 again", popped(), ONE);
	FINE("the empty one", "fxam; fnstsw %ax");
	CHECK_EQ("condition codes", trap.s.ax & 0x4500, 0x4100);
	topic("SDM 1 9.5, 9.6");
	FINE("MMX", "fninit; fld1; movq (%rdx), %mm3; cpuid; paddd %mm3, %mm3;"
	     "movq2dq %mm3, %xmm9; fnstsw %ax; movq %mm3, %rbx; emms",
	     .in.dx = (put_double(area, THREE), GOOD));
	CHECK_EQ("sum", trap.s.bx, 0x8010000000000000ull);
	CHECK_EQ("top of stack", trap.s.ax & 0x3800, 0);
	memset(set[9], 0, 16);
	put_double(set[9], 0x8010000000000000ull);
	CHECK("vector registers", registers_are_set());
}

/* ---- upper parts ---- */

static void upper_avx(void)
{
	topic("SDM 1 14.3.1, 15.5");
	begin(8);
	FINE("legacy keeps, VEX clears", "movaps %xmm3, %xmm4; cpuid;"
	     "vmovaps %xmm3, %xmm5; vmovdqa %ymm3, %ymm6");
	memcpy(set[4], set[3], 16);
	memset(set[5], 0, 64);
	memcpy(set[5], set[3], 16);
	memset(set[6], 0, 64);
	memcpy(set[6], set[3], 32);
	CHECK("upper parts", registers_are_set());
	FINE("vzeroupper", "cpuid; vzeroupper; cpuid");
	for (unsigned n = 0; n < 16; n++)
		memset(set[n] + 16, 0, 48);
	CHECK("they are gone", registers_are_set());
	FINE("vzeroall", "vzeroall");
	for (unsigned n = 0; n < 16; n++)
		memset(set[n], 0, 64);
	CHECK("all of them", registers_are_set());
}

static void masked(void)
{
	topic("SDM 2A 2.7.4");
	begin(9);
	masks_set[1] = 0x3;
	vectors_load();
	memset((u8 *)(MISSING - 8), 0x22, 8);
	FINE("elements of a missing page that are not asked for",
	     "cpuid; vmovdqu32 %zmm17, %zmm18", .in.cx = 0);
	memcpy(set[18], set[17], 64);
	CHECK("high registers behind a function", registers_are_set());
	FINE("a load", "vmovdqu32 (%rcx), %zmm20{%k1}{z}",
	     .in.cx = MISSING - 8);
	memset(set[20], 0, 64);
	memset(set[20], 0x22, 8);
	CHECK("loaded", registers_are_set());
	FINE("a store", "vmovdqu32 %zmm21, (%rcx){%k1}", .in.cx = MISSING - 8);
	CHECK("stored", !memcmp((u8 *)(MISSING - 8), set[21], 8));
	FAULT("an element that is asked for", VEC_PF, 0,
	      "vmovdqu32 (%rcx), %zmm20{%k1}{z}", .in.cx = MISSING - 4,
	      .cr2 = MISSING);
	memset(area, 0x33, 4096);
	FINE("inside a page", "vmovdqu32 %zmm21, 64(%rcx){%k1};"
	     "vpaddd 192(%rcx){1to16}, %zmm22, %zmm22", .in.cx = GOOD);
	CHECK("two elements", !memcmp(area + 64, set[21], 8) &&
	      area[72] == 0x33 && area[63] == 0x33);
	for (unsigned b = 0; b < 64; b += 4) {
		u32 x;

		memcpy(&x, set[22] + b, 4);
		x += 0x33333333;
		memcpy(set[22] + b, &x, 4);
	}
	CHECK("broadcast with a compressed displacement", registers_are_set());
}

/* ---- the same sum with and without functions between ---- */

static u64 sum(bool cut)
{
	u64 r;

	begin(10);
	for (unsigned n = 0; n < 3000; n++) {
		if (cut)
			asm volatile("cpuid" : : "a"(0), "c"(0)
				     : "ebx", "edx");
		asm volatile("paddq %xmm1, %xmm0; pshufb %xmm2, %xmm0;"
			     "cvtdq2ps %xmm0, %xmm4; mulps %xmm4, %xmm4;"
			     "pxor %xmm4, %xmm1; pmuludq %xmm0, %xmm3;"
			     "paddq %xmm3, %xmm0");
	}
	asm volatile("movq %%xmm0, %0" : "=r"(r));
	return r ^ mxcsr_get();
}

static void all(const char *prefix)
{
	scope(prefix);
	exceptions();
	sticky();
	faults();
	switches();
	interrupts();
	x87_pointers();
	x87_errors();
	x87_stack();
	topic("");
	CHECK_EQ("sum", sum(true), sum(false));
	if (width > 16)
		upper_avx();
	if (width > 32)
		masked();
	scope("");
}

void guest_main(void)
{
	u32 have;

	page_tables_init(&pt, PAGE_4LEVEL, PTE_W);
	page_tables_on(&pt);
	page_map(&pt, MISSING, MISSING, 0);
	all("SSE, ");
	if (!has1c(26) || !has1c(28)) {
		skip("AVX", "not in CPUID");
		return;
	}
	cr4_write(cr4_read() | CR4_OSXSAVE);
	use_xsave = true;
	have = cpuid(0xd, 0).a;
	asm volatile("xsetbv" : : "c"(0), "a"(XCR0_AVX), "d"(0));
	width = 32;
	all("AVX, ");
	if ((have & XCR0_AVX512) != XCR0_AVX512 || !has7b(30) || !has7b(31)) {
		skip("AVX-512", "not in CPUID");
		return;
	}
	asm volatile("xsetbv" : : "c"(0), "a"(XCR0_AVX512), "d"(0));
	width = 64;
	count = 32;
	all("AVX-512, ");
}
