/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that show what x86 does not let a monitor hide by trapping: x87
 * pointers, descriptor tables, selectors, machine status, CPU number, XCR0,
 * CPUID, time.  Each runs in a loop, in both rings, and must show the guest's
 * values and nothing of the process that the guest runs in.
 */
#include "guest.h"

/* Memory operands by 64-bit registers where there are: others are done another way. */
#ifdef __x86_64__
#define R "r"
#else
#define R "e"
#endif

static u8 image[4096] __attribute__((aligned(64)));
static u8 area[4096] __attribute__((aligned(64)));
static unsigned ring;

/* Often enough that no engine does it the slow way to the end. */
#define HOT(text) "mov $60, %ebp; 8: " text "; dec %ebp; jnz 8b"

/* Runs to the end, in the present ring. */
static bool finished(const char *name)
{
	if (trap.vec == VEC_DONE)
		return true;
	CHECK_EQ(name, trap.vec, VEC_DONE);
	return false;
}

#define SHOWS(name, text, reg, want, ...) do {				\
	RUN(HOT(text), .ring = ring, __VA_ARGS__);			\
	if (finished(name))						\
		CHECK_EQ(name, trap.s.reg, want);			\
} while (0)

/* Nothing that could be an address of a Linux process or its kernel. */
static bool leaks(const u8 *p, unsigned n)
{
	for (unsigned i = 0; i + 8 <= n; i += 4) {
		u64 v = *(u64 *)(p + i), top = v >> 40;

		if ((top >= 0x55 && top <= 0x7f) || (v >> 47 == 0x1ffff && v != ~0ull))
			return true;
	}
	return false;
}

/* ---- x87 pointers ---- */

static u32 number = 0x40490fdb, zero;	/* pi */

static bool fdp_at_errors(void) { return has7b(6); }
static bool no_selectors(void) { return has7b(13); }

struct pointers {
	u64 ip, dp;
	u32 cs, ds, op;
};

static struct pointers of_environment(const u8 *p)
{
	return (struct pointers){ .ip = *(u32 *)(p + 12), .cs = *(u16 *)(p + 16),
				  .op = *(u16 *)(p + 18) & 0x7ff, .dp = *(u32 *)(p + 20),
				  .ds = *(u16 *)(p + 24) };
}

static struct pointers of_image(const u8 *p, bool wide)
{
	struct pointers r = { .ip = *(u32 *)(p + 8), .op = *(u16 *)(p + 6), .dp = *(u32 *)(p + 16) };

	if (wide)
		r.ip = *(u64 *)(p + 8), r.dp = *(u64 *)(p + 16);
	else
		r.cs = *(u16 *)(p + 12), r.ds = *(u16 *)(p + 20);
	return r;
}

/* `at`: of the instruction; data: its operand's address, or 0; error: it raised
 * one, so everything is there. */
static void check_pointers(const char *name, struct pointers p, uptr at, uptr data, u32 opcode, bool error,
			   bool wide)
{
	bool has_data = data && (error || !fdp_at_errors());
	u32 cs = ring ? (WORD == 8 ? SEL_UCODE64 : SEL_UCODE32) | 3 : SEL_KCODE;
	u32 ds = ring ? SEL_UDATA | 3 : SEL_KDATA;

	scope(ring ? "user, " : "kernel, ");
	CHECK_EQ(name, p.ip, at);
	if (has_data || fdp_at_errors())
		CHECK_EQ("  its operand", p.dp, has_data ? data : 0);
	/* Intel keeps the opcode at errors only, AMD always. */
	CHECK("  its opcode", p.op == (opcode & 0x7ff) || (!error && !p.op));
	if (!wide)
		CHECK("  its segments", (p.cs == cs || (no_selectors() && !p.cs)) &&
		      (!p.ds || (!no_selectors() && has_data && p.ds == ds)));
}

#define LOOP "fninit; mov $60, %ebp; 8: flds (%" R "cx); fstp %st; dec %ebp; jnz 8b; fninit; "
#define POINTERS(name, save, wide, of, n) do {				\
	const struct code *c_ = CODE(LOOP "mov $60, %ebp; 8: 1: flds (%" R "cx); " save		\
				     "; fninit; dec %ebp; jnz 8b");	\
	memset(image, 0xaa, sizeof(image));				\
	memset(image + 512, 0, 64);					\
	run(&(struct try){ .code = c_, .ring = ring, .in.cx = (uptr)&number, .in.di = (uptr)image,	\
			   .in.ax = 3 });				\
	if (finished(name)) {						\
		check_pointers(name, of, c_->at, (uptr)&number, 0x101, false, wide);	\
		CHECK("  no address of others", !leaks(image, n));	\
	}								\
} while (0)

static void pointers(void)
{
	topic("SDM 1 8.1.8, 2A FNSTENV, FXSAVE");
	POINTERS("fnstenv", "fnstenv (%" R "di)", false, of_environment(image), 28);
	POINTERS("fnsave", "fnsave (%" R "di)", false, of_environment(image), 108);
	POINTERS("fxsave", "fxsave (%" R "di)", false, of_image(image, false), 512);
#ifdef __x86_64__
	POINTERS("fxsave64", "fxsave64 (%rdi)", true, of_image(image, true), 512);
#endif
	if (!has1c(26))
		return;
	POINTERS("xsave", "xor %edx, %edx; xsave (%" R "di)", false, of_image(image, false), 576);
#ifdef __x86_64__
	POINTERS("xsave64", "xor %edx, %edx; xsave64 (%rdi)", true, of_image(image, true), 576);
#endif
	if (cpuid(0xd, 1).a & 1)
		POINTERS("xsaveopt", "xor %edx, %edx; xsaveopt (%" R "di)", false, of_image(image, false), 576);
	if (cpuid(0xd, 1).a & 2)
		POINTERS("xsavec", "xor %edx, %edx; xsavec (%" R "di)", false, of_image(image, false), 576);
}

/* An error keeps all of them; it is pending until an instruction waits. */
static void pointers_of_errors(void)
{
	static const u16 unmasked = 0x37b;
	const struct code *c = CODE(LOOP "fldcw (%" R "si); fld1; 1: fdivs (%" R "cx); fnstenv (%" R "di); fninit");

	topic("SDM 1 8.1.8, 8.7");
	memset(image, 0xaa, sizeof(image));
	for (unsigned n = 0; n < 3; n++)
		run(&(struct try){ .code = c, .ring = ring, .in.cx = (uptr)&zero, .in.si = (uptr)&unmasked,
				   .in.di = (uptr)image });
	if (!finished("fdiv by zero"))
		return;
	check_pointers("fdiv by zero", of_environment(image), c->at, (uptr)&zero, 0x031, true, false);
}

/* All state: registers that were set, or what FNINIT leaves. */
static void images(void)
{
	topic("SDM 1 13.4, 2A FXSAVE");
	memset(area, 0x11, 64);
	memset(image, 0xaa, sizeof(image));
	memset(image + 512, 0, 64);
	RUN(HOT("movups (%" R "cx), %xmm0; movups (%" R "cx), %xmm7; fninit; fxsave (%" R "di)"), .ring = ring,
	    .in.cx = (uptr)area, .in.di = (uptr)image);
	CHECK("fxsave shows xmm0", *(u64 *)(image + 160) == 0x1111111111111111);
	CHECK("fxsave shows no address", !leaks(image, 512));
	CHECK_EQ("fxsave leaves its last bytes", *(u64 *)(image + 504), 0xaaaaaaaaaaaaaaaa);
}

/* ---- tables and selectors ---- */

static struct table_pointer gdtr, idtr;
static uptr idt_base;

static void tables(void)
{
	topic("SDM 2B SGDT, SIDT, SLDT, STR, SMSW");
	memset(&gdtr, 0xaa, sizeof(gdtr));
	memset(&idtr, 0xaa, sizeof(idtr));
	RUN(HOT("sgdt (%" R "cx); sidt (%" R "dx)"), .ring = ring, .in.cx = (uptr)&gdtr, .in.dx = (uptr)&idtr);
	CHECK_EQ("base of the GDT", gdtr.base, (uptr)gdt);
	CHECK_EQ("its limit", gdtr.limit, GDT_ENTRIES * 8 - 1);
	CHECK_EQ("limit of the IDT", idtr.limit, 256 * 2 * WORD - 1);
	if (!idt_base)
		idt_base = idtr.base;
	CHECK("base of the IDT", idtr.base == idt_base && idtr.base < 0x4000000);
	SHOWS("sldt", "sldt %eax", ax, TEST(20), .in.ax = ~0ul);
	SHOWS("str", "str %eax", ax, SEL_TSS, .in.ax = ~0ul);
	SHOWS("smsw", "smsw %ax", ax, cr0_read() & 0xffff);
	area[0] = area[1] = area[2] = 0xaa;
	RUN(HOT("smsw (%" R "cx)"), .ring = ring, .in.cx = (uptr)area);
	CHECK_EQ("smsw to memory", *(u16 *)area, cr0_read() & 0xffff);
	CHECK_EQ("two bytes of it", area[2], 0xaa);
}

static void selectors(void)
{
	/* Those of Linux for its own processes, and for the number of the CPU. */
	static const u16 host[] = { 0x7b, 0x78, 0xa3, 0xff, 0xfff8, 0xfffb };
	uptr flags = 0;

	topic("SDM 2A LAR, LSL, 2B VERR");
	gdt_set(TEST(30), segment(0, 0x12345, SEG_P | SEG_DATA | SEG_W | SEG_DPL3));
	SHOWS("lar", "lar %ecx, %eax; and $0xf0ff00, %eax", ax, gdt[TEST(30) / 8] >> 32 & 0xf0ff00, .in.cx = TEST(30) | 3);
	SHOWS("lsl", "lsl %ecx, %eax", ax, 0x12345, .in.cx = TEST(30) | 3);
	for (unsigned i = 0; i < sizeof(host) / sizeof(host[0]); i++) {
		RUN(HOT("lsl %ecx, %eax; lar %ecx, %edx; verr %cx; setz %bl; verw %cx; setz %bh"), .ring = ring,
		    .in.cx = host[i], .in.ax = 5, .in.dx = 6);
		flags |= (trap.s.bx & 0xffff) | (trap.s.ax ^ 5) | (trap.s.dx ^ 6);
	}
	CHECK_EQ("selectors of others", flags, 0);
	SHOWS("cs", "mov %cs, %eax", ax, ring ? (WORD == 8 ? SEL_UCODE64 : SEL_UCODE32) | 3 : SEL_KCODE);
	SHOWS("ss", "mov %ss, %eax", ax, ring ? SEL_UDATA | 3 : SEL_KDATA);
	SHOWS("fs", "mov %fs, %eax", ax, TEST(30) | 3, .in.fs = TEST(30) | 3);
	SHOWS("flags", "pushf; pop " AX "; and $~0x8d5, %eax", ax, 2);
}

/* At the same places, with UMIP clear, set and clear again. */
static void umip(void)
{
	static const char *const name[] = { "sgdt", "sidt", "sldt", "str", "smsw" };
	const struct code *const code[] = {
		CODE("sgdt (%" R "cx)"), CODE("sidt (%" R "cx)"), CODE("sldt (%" R "cx)"), CODE("str (%" R "cx)"), CODE("smsw (%" R "cx)"),
	};
	uptr cr4 = cr4_read();

	topic("SDM 3A 2.5 CR4.UMIP");
	if (!has7c(2)) {
		skip("UMIP", "not in CPUID");
		return;
	}
	for (unsigned i = 0; i < 5; i++)
		for (unsigned round = 0; round < 3; round++) {
			struct try t = { .name = name[i], .code = code[i], .ring = ring, .in.cx = (uptr)area,
					 .vec = round == 1 && ring ? VEC_GP : VEC_DONE };

			memset(area, 0xaa, 16);
			cr4_write(round == 1 ? cr4 | CR4_UMIP : cr4 & ~CR4_UMIP);
			for (unsigned n = 0; n < 3; n++)
				run(&t);
			expect(&t);
			if (t.vec == VEC_GP)
				CHECK("  nothing is stored", area[0] == 0xaa && area[9] == 0xaa);
		}
	cr4_write(cr4);
}

/* ---- CPU number, XCR0, bases ---- */

static void numbers(void)
{
	topic("SDM 2B RDPID, RDTSCP, 2D XGETBV");
	if (has81d(27)) {
		wrmsr(MSR_TSC_AUX, 0x1234567);
		SHOWS("rdtscp", "rdtscp", cx, 0x1234567);
		if (has7c(22))
			SHOWS("rdpid", ".byte 0xf3, 0x0f, 0xc7, 0xf8", ax, 0x1234567, .in.ax = ~0ul);
	} else {
		FAULT("rdtscp", VEC_UD, 0, "rdtscp", .ring = ring);
	}
	if (!has7c(22))
		FAULT("rdpid", VEC_UD, 0, ".byte 0xf3, 0x0f, 0xc7, 0xf8", .ring = ring);
	if (has1c(26)) {
		SHOWS("xgetbv", "xor %ecx, %ecx; xgetbv", ax, 3);
		asm volatile("xsetbv" : : "a"(1), "c"(0), "d"(0));
		SHOWS("xgetbv of another value", "xor %ecx, %ecx; xgetbv", ax, 1);
		CHECK_EQ("  its upper half", trap.s.dx, 0);
		asm volatile("xsetbv" : : "a"(3), "c"(0), "d"(0));
	}
#ifdef __x86_64__
	if (!has7b(0))
		return;
	topic("SDM 2B RDFSBASE");
	cr4_write(cr4_read() | CR4_FSGSBASE);
	SHOWS("rdfsbase", "rdfsbase %rax; rdgsbase %rdx", ax, 0x1000, .in.fs = TEST(31) | 3);
	CHECK_EQ("rdgsbase", trap.s.dx, 0);
	cr4_write(cr4_read() & ~CR4_FSGSBASE);
#endif
}

/* ---- CPUID and time ---- */

static void same_cpuid(u32 leaf, u32 sub, bool *same)
{
	struct cpuid k = cpuid(leaf, sub);

	RUN(HOT("mov %esi, %eax; mov %edi, %ecx; cpuid"), .ring = ring, .in.si = leaf, .in.di = sub);
	*same &= trap.vec == VEC_DONE && (u32)trap.s.ax == k.a && (u32)trap.s.bx == k.b && (u32)trap.s.cx == k.c &&
		 (u32)trap.s.dx == k.d;
}

static void identity(void)
{
	bool same = true;

	topic("SDM 2A CPUID");
	for (u32 leaf = 0; leaf <= cpuid_max(0) && leaf < 0x20; leaf++)
		for (u32 sub = 0; sub < (leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd ? 3u : 1u); sub++)
			same_cpuid(leaf, sub, &same);
	for (u32 leaf = 0x80000000; leaf <= cpuid_max(0x80000000); leaf++)
		same_cpuid(leaf, 0, &same);
	CHECK("cpuid is the same everywhere", same);
	SHOWS("APIC id", "mov $1, %eax; cpuid; shr $24, %ebx", bx, 0);
	CHECK("one processor", (cpuid(1, 0).b >> 16 & 0xff) <= 1);
}

/* What the CPU models hide, and what they announce. */
static void model(void)
{
	struct cpuid seven = cpuid_max(0) >= 7 ? cpuid(7, 0) : (struct cpuid){ 0 };
	bool intel = is_intel();

	topic("docs/engine.md: what the CPU models hide and announce");
	scope("model, ");
	CHECK("no MONITOR", !has1c(3));
	CHECK("no VMX", !has1c(5));
	CHECK("a hypervisor", has1c(31));
	CHECK("no performance counters", cpuid_max(0) < 0xa || !(cpuid(0xa, 0).a & 0xff));
	CHECK("no protection keys", !(seven.c & BIT(3)));
	CHECK("no shadow stacks", !(seven.c & BIT(7)) && !(seven.d & BIT(20)));
	CHECK("no LA57, no TSX", !(seven.c & BIT(16)) && !(seven.b & (BIT(4) | BIT(11))));
	CHECK("no AMX, no UINTR", !(seven.d & (BIT(24) | BIT(22) | BIT(25) | BIT(5))));
	CHECK("no LAM", seven.a < 1 || !(cpuid(7, 1).a & BIT(26)));
	CHECK("no XSAVES", cpuid_max(0) < 0xd || !(cpuid(0xd, 1).a & 8));
	CHECK("PGE", has1d(13));
	CHECK("PCID", has1c(17));
	CHECK("INVPCID", !!(seven.b & BIT(10)));
	if (intel) {
		CHECK("IA32_ARCH_CAPABILITIES", !!(seven.d & BIT(29)));
		CHECK("RDCL_NO", (seven.d & BIT(29)) && (rdmsr(0x10a) & 1));
	}
}

static void time(void)
{
	u64 last = 0;
	bool forward = true;

	topic("SDM 3B 17.17, 2B RDTSC");
	wrmsr(MSR_TSC, 0);
	for (unsigned n = 0; n < 20; n++) {
		RUN(HOT("rdtsc"), .ring = ring);
		u64 now = (u64)(u32)trap.s.dx << 32 | (u32)trap.s.ax;

		forward &= now >= last;
		last = now;
	}
	CHECK("rdtsc goes forward", forward);
	CHECK("rdtsc is the guest's", last < 1ull << 40);
	for (unsigned round = 0; round < 3; round++) {
		struct try t = { .name = "rdtsc with TSD", .code = CODE("rdtsc"), .ring = ring, .changes = true,
				 .vec = round == 1 && ring ? VEC_GP : VEC_DONE };

		WITH_CR4(round == 1 ? CR4_TSD : 0, round == 1 ? 0 : CR4_TSD, run(&t); expect(&t));
	}
}

/* ---- doors that are no doors ---- */

static void doors(void)
{
	topic("SDM 2B SYSCALL, SYSENTER, 3A 6.12.1.1");
#ifdef __x86_64__
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(u64)EFER_SCE);
	for (unsigned n = 0; n < 3; n++)
		RUN("syscall", .ring = ring, .in.ax = 39);
	CHECK_EQ("syscall that is off", trap.vec, VEC_UD);
#endif
	wrmsr(MSR_SYSENTER_CS, 0);
	for (unsigned n = 0; n < 3; n++)
		RUN("sysenter", .ring = ring, .in.ax = 20);
	CHECK("sysenter that is off", trap.vec == VEC_GP || trap.vec == VEC_UD);
	if (ring) {
		for (unsigned n = 0; n < 3; n++)
			RUN("int $0x80", .ring = ring, .in.ax = 20);
		CHECK_EQ("int 80", trap.vec, VEC_GP);
		CHECK_EQ("int 80, its gate", trap.err, 0x80 * 8 + 2);
	}
	topic("SDM 2B RDPMC, 2D XBEGIN, RDPKRU, UMWAIT; APM RDPRU");
#define UNKNOWN(name, ...) do {						\
	for (unsigned n_ = 0; n_ < 3; n_++)				\
		RUN(".byte " __VA_ARGS__, .ring = ring, .in.di = (uptr)area);	\
	CHECK_EQ(name, trap.vec, VEC_UD);				\
} while (0)
	scope(ring ? "model, user, " : "model, kernel, ");
	UNKNOWN("rdpkru", "0x0f, 0x01, 0xee");
	UNKNOWN("wrpkru", "0x0f, 0x01, 0xef");
	UNKNOWN("rdpru", "0x0f, 0x01, 0xfd");
	UNKNOWN("xbegin", "0xc7, 0xf8, 0, 0, 0, 0");
	UNKNOWN("xtest", "0x0f, 0x01, 0xd6");
	UNKNOWN("umwait", "0xf2, 0x0f, 0xae, 0xf0");
	UNKNOWN("umonitor", "0xf3, 0x0f, 0xae, 0xf0");
	UNKNOWN("enqcmd", "0xf2, 0x0f, 0x38, 0xf8, 0x07");
	UNKNOWN("clzero", "0x0f, 0x01, 0xfc");
	UNKNOWN("vmfunc", "0x0f, 0x01, 0xd4");
	UNKNOWN("vmxon", "0xf3, 0x0f, 0xc7, 0x37");
	UNKNOWN("vmrun", "0x0f, 0x01, 0xd8");
	UNKNOWN("encls", "0x0f, 0x01, 0xcf");
	UNKNOWN("enclu", "0x0f, 0x01, 0xd7");
	UNKNOWN("senduipi", "0xf3, 0x0f, 0xc7, 0xf0");
	UNKNOWN("tdcall", "0x66, 0x0f, 0x01, 0xcc");
}

static void all(void)
{
	const char *name = ring ? "user, " : "kernel, ";

	scope(name);
	pointers();
	scope(name);
	pointers_of_errors();
	scope(name);
	images();
	tables();
	selectors();
	umip();
	numbers();
	identity();
	time();
	doors();
}

void guest_main(void)
{
	static u64 ldt[2];

	gdt_set_system(TEST(20), (uptr)ldt, 15, SEG_P | SEG_LDT);
	asm volatile("lldt %w0" : : "r"(TEST(20)));
	gdt_set(TEST(31), segment(0x1000, 0xfffff, SEG_P | SEG_DATA | SEG_W | SEG_B | SEG_G | SEG_DPL3));
	if (has1c(26)) {
		cr4_write(cr4_read() | CR4_OSXSAVE);
		asm volatile("xsetbv" : : "a"(3), "c"(0), "d"(0));
	}
	for (ring = 0; ring <= 3; ring += 3)
		all();
	model();
}
