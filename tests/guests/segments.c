/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segmentation: limits, types, privilege, null selectors, the instructions
 * that look at descriptors, LDT, 16-bit stacks and code, FS and GS bases,
 * UMIP.
 */
#include "guest.h"

static u8 area[0x3000] __attribute__((aligned(4096)));

/* Put a descriptor in a slot and return its selector. */
static u16 slot(unsigned n, u32 base, u32 limit, u32 type)
{
	gdt_set(TEST(n), segment(base, limit, type));
	return TEST(n);
}

enum { DATA = SEG_P | SEG_DATA | SEG_B, CODE32 = SEG_P | SEG_CODE | SEG_B };

#ifndef __x86_64__
static void limits(void)
{
	uptr base = (uptr)area;
	u16 es;

	topic("SDM 3A 5.3");
	es = slot(0, base, 0xff, DATA | SEG_W);
	FINE("last byte", "mov %es:0xff, %al", .in.es = es);
	FINE("last doubleword", "mov %es:0xfc, %eax", .in.es = es);
	FAULT("doubleword over the limit", VEC_GP, 0, "mov %es:0xfd, %eax",
	      .in.es = es);
	FAULT("byte after the limit", VEC_GP, 0, "mov %al, %es:0x100",
	      .in.es = es);
	FAULT("offset near 4 GiB", VEC_GP, 0, "mov %es:-2, %eax", .in.es = es);
	FAULT("string destination", VEC_GP, 0, "stosl", .in.es = es,
	      .in.di = 0xfe);
	FAULT("16 bytes over the limit", VEC_GP, 0,
	      "movups %es:0xf1, %xmm0", .in.es = es);
	area[0xf0] = 0x77;
	FINE("base is added", "mov %es:0xf0, %al", .in.es = es);
	CHECK_EQ("byte read", trap.s.ax, 0x77);

	es = slot(0, base, 0, DATA | SEG_W | SEG_G);
	FINE("page granular, last doubleword", "mov %es:0xffc, %eax",
	     .in.es = es);
	FAULT("page granular, over", VEC_GP, 0, "mov %es:0xffd, %eax",
	      .in.es = es);

	es = slot(0, base, 0xff, DATA | SEG_W | SEG_DOWN);
	FAULT("expand-down, at the limit", VEC_GP, 0, "mov %es:0xff, %al",
	      .in.es = es);
	FAULT("expand-down, below", VEC_GP, 0, "mov %es:0, %al", .in.es = es);
	FINE("expand-down, above", "mov %es:0x100, %eax", .in.es = es);
	es = slot(0, base, 0xff, (DATA & ~SEG_B) | SEG_W | SEG_DOWN);
	FAULT("expand-down of 16 bits, above 64 KiB", VEC_GP, 0,
	      "mov %es:0xfffd, %eax", .in.es = es);
	FINE("expand-down of 16 bits, end", "mov %es:0xfffc, %eax",
	     .in.es = es);
	es = slot(0, base, 0, DATA | SEG_W | SEG_DOWN | SEG_G);
	FAULT("expand-down with pages", VEC_GP, 0, "mov %es:0xfff, %al",
	      .in.es = es);
	FINE("expand-down with pages, above", "mov %es:0x1000, %al",
	     .in.es = es);

	topic("SDM 3A 5.3: stack segment");
	es = slot(0, base + 16, 0xfff, DATA | SEG_W | SEG_DPL3);
	FAULT("SS over the limit by ebp", VEC_SS, 0, "mov (%ebp), %eax",
	      .ring = 3, .in.ss = es | 3, .in.bp = 0xffd);
	FAULT("SS over the limit by an ss prefix", VEC_SS, 0,
	      "mov %ss:0x1000, %al", .ring = 3, .in.ss = es | 3);
	FAULT("pop over the limit", VEC_SS, 0, "pop %eax", .ring = 3,
	      .in.ss = es | 3, .in.sp = 0xffe);
	FAULT("push below zero", VEC_SS, 0, "push %eax", .ring = 3,
	      .in.ss = es | 3, .in.sp = 2);
	FAULT("call below zero", VEC_SS, 0, "call 9f; 9: nop", .ring = 3,
	      .in.ss = es | 3, .in.sp = 1);

	topic("SDM 3A 3.4.5: linear addresses wrap at 4 GiB");
	es = slot(0, 0xfffff000, 0xfffff, DATA | SEG_W | SEG_G);
	area[5] = 0x99;
	FINE("base near 4 GiB", "mov %es:0x1005(%ecx), %al", .in.es = es,
	     .in.cx = base);
	CHECK_EQ("wrapped byte", trap.s.ax, 0x99);
}

static void code_limits(void)
{
	const struct code *c;
	u16 cs;

	topic("SDM 3A 5.3, 6.15 #GP");
	c = CODE("jmp *%ecx; .fill 80, 1, 0x90");
	cs = slot(1, c->start - 16, 63, CODE32 | SEG_R);
	run(&(struct try){ .code = c, .in.cs = cs, .in.ip = 16,
			   .in.cx = 64 });
	CHECK_EQ("jmp over the code limit", trap.vec, VEC_GP);
	CHECK_EQ("jmp over the code limit, ip", trap.s.ip, 16);
	c = CODE("nop; nop; nop; nop");
	cs = slot(1, c->start - 16, 17, CODE32 | SEG_R);
	run(&(struct try){ .code = c, .in.cs = cs, .in.ip = 16 });
	CHECK_EQ("running off the code limit", trap.vec, VEC_GP);
	CHECK_EQ("running off the code limit, ip", trap.s.ip, 18);
	c = CODE("nop; mov $0x12345678, %eax");
	cs = slot(1, c->start - 16, 19, CODE32 | SEG_R);
	run(&(struct try){ .code = c, .in.cs = cs, .in.ip = 16 });
	CHECK_EQ("instruction across the code limit", trap.vec, VEC_GP);
	CHECK_EQ("instruction across the code limit, ip", trap.s.ip, 17);
	CHECK_EQ("instruction across the code limit, not done", trap.s.ax, 0);
	c = CODE("mov %cs:16, %al");
	cs = slot(1, c->start - 16, 0xff, CODE32);
	run(&(struct try){ .code = c, .in.cs = cs, .in.ip = 16 });
	CHECK_EQ("read of execute-only code", trap.vec, VEC_GP);
	c = CODE("mov %al, %cs:16");
	cs = slot(1, c->start - 16, 0xff, CODE32 | SEG_R);
	run(&(struct try){ .code = c, .in.cs = cs, .in.ip = 16 });
	CHECK_EQ("write to code", trap.vec, VEC_GP);
}

static void code16(void)
{
	const struct code *c;
	u16 cs;

	topic("SDM 3A 3.4.5.1, 1 3.6");
	c = CODE(".code16; mov $-1, %ax; movl $0x12345678, %ecx; push %ax;"
		 "pushl %ecx; mov %esp, %edx; add $6, %sp; 1: nop");
	cs = slot(1, c->start - 16, 0xffff, SEG_P | SEG_CODE | SEG_R);
	run(&(struct try){ .code = c, .in.cs = cs, .in.ip = 16 });
	CHECK_EQ("16-bit code", trap.vec, VEC_DONE);
	CHECK_EQ("16-bit code, operand size", trap.s.ax, 0xffff);
	CHECK_EQ("16-bit code, 32-bit operand", trap.s.cx, 0x12345678);
	CHECK_EQ("16-bit code, pushes", trap.s.dx,
		 (uptr)stack0 + STACK_SIZE - 256 - 6);
	c = CODE(".code16; mov $0x1234, %bx; mov (%bx), %al; movl (%esi), %ecx");
	cs = slot(1, c->start - 16, 0xffff, SEG_P | SEG_CODE | SEG_R);
	area[0x1234] = 0x5a;
	slot(2, (uptr)area, 0xffff, DATA | SEG_W);
	run(&(struct try){ .code = c, .in.cs = cs, .in.ip = 16,
			   .in.ds = TEST(2), .in.bx = 0xffff0000 });
	CHECK_EQ("16-bit addressing", trap.s.ax, 0x5a);
	/* a near jump of 16 bits truncates EIP */
	c = CODE(".code16; jmp *%cx; nop; nop");
	cs = slot(1, c->start - 16, 0xffff, SEG_P | SEG_CODE | SEG_R);
	run(&(struct try){ .code = c, .in.cs = cs, .in.ip = 16,
			   .in.cx = 0xabcd0012 });
	CHECK_EQ("16-bit jmp truncates ip", trap.s.ip, 22);
	c = CODE("jmp *%cx; nop; nop");
	cs = slot(1, c->start - 16, 0xfffff, CODE32 | SEG_R | SEG_G);
	run(&(struct try){ .code = c, .in.cs = cs, .in.ip = 16,
			   .in.cx = 0xabcd0013 });
	CHECK_EQ("66 jmp truncates ip in 32-bit code", trap.s.ip, 23);
}

static void stack16(void)
{
	u16 ss = slot(3, (uptr)area, 0xffff, SEG_P | SEG_DATA | SEG_W |
		      SEG_DPL3) | 3;

	/* IRET loads SP only: the snippets set the upper half of ESP */
	topic("SDM 1 6.2.3, 3A 3.4.5 B flag");
	RUN("mov $0xabcd0104, %esp; push $0x1122; mov %esp, %eax;"
	    "popw %cx; mov %esp, %edx",
	    .ring = 3, .in.ss = ss);
	CHECK_EQ("push changes sp only", trap.s.ax, 0xabcd0100);
	CHECK_EQ("pop changes sp only", trap.s.dx, 0xabcd0102);
	CHECK_EQ("push goes to ss:sp", *(u32 *)(area + 0x100), 0x1122);
	RUN("mov $0xabcd0000, %esp; pushw $0x3344; mov %esp, %eax",
	    .ring = 3, .in.ss = ss);
	CHECK_EQ("push wraps at 64 KiB", trap.s.ax, 0xabcdfffe);
	FAULT("push across the wrap", VEC_SS, 0,
	      "mov $0xabcd0002, %esp; 1: pushl $0x3344", .ring = 3,
	      .in.ss = ss);
	RUN("mov $0xabcd0204, %esp; call 9f; 9: mov %esp, %eax",
	    .ring = 3, .in.ss = ss);
	CHECK_EQ("call on a 16-bit stack", trap.s.ax, 0xabcd0200);
	RUN("mov $0xabcd0204, %esp; mov $0xffff0300, %ebp; leave;"
	    "mov %esp, %eax", .ring = 3, .in.ss = ss);
	CHECK_EQ("leave on a 16-bit stack", trap.s.ax, 0xabcd0304);
	RUN("mov $0xabcd0204, %esp; enter $16, $0; mov %esp, %eax",
	    .ring = 3, .in.ss = ss);
	CHECK_EQ("enter on a 16-bit stack", trap.s.ax, 0xabcd01f0);
	FINE("ebp addresses are not truncated", "mov 8(%ebp), %eax",
	     .ring = 3, .in.ss = ss, .in.bp = 0x300);
}

static void types(void)
{
	u16 ro = slot(4, 0, 0xfffff, DATA | SEG_G);

	topic("SDM 3A 5.4, 5.5");
	FAULT("write to read-only data", VEC_GP, 0, "mov %al, %es:0x9000",
	      .in.es = ro);
	FINE("read of read-only data", "mov %es:0x9000, %al", .in.es = ro);
	FAULT("access through a null segment", VEC_GP, 0, "mov %fs:0, %al");
	FINE("null selectors load", "mov %eax, %fs; mov %ecx, %gs",
	     .in.ax = 0, .in.cx = 3);
	FAULT("read through null with RPL 3", VEC_GP, 0, "mov %gs:0, %al",
	      .in.gs = 3);
	FAULT("execute-only code in ds", VEC_GP,
	      slot(5, 0, 0xfffff, CODE32 | SEG_G), "mov %ecx, %ds",
	      .in.cx = TEST(5));
	FAULT("TSS in ds", VEC_GP, SEL_TSS, "mov %ecx, %ds",
	      .in.cx = SEL_TSS);
	FAULT("code in ss", VEC_GP, SEL_KCODE, "mov %ecx, %ss",
	      .in.cx = SEL_KCODE);
	FAULT("ss with RPL 3 at ring 0", VEC_GP, SEL_UDATA, "mov %ecx, %ss",
	      .in.cx = SEL_UDATA | 3);
	FAULT("ss of DPL 3 at ring 0", VEC_GP, SEL_UDATA, "mov %ecx, %ss",
	      .in.cx = SEL_UDATA);
	FAULT("les of a bad selector leaves the register", VEC_GP, 0x3000,
	      "les (%ecx), %eax", .in.ax = 7,
	      .in.cx = (uptr)&(struct __attribute__((packed)) {
		u32 o; u16 s; }){ 1, 0x3000 });
}
#endif

static void privilege(void)
{
	u16 conf = slot(6, 0, 0xfffff, SEG_P | SEG_CODE | SEG_R | SEG_CONF |
			SEG_B | SEG_G);

	topic("SDM 3A 5.5");
	FAULT("ring 3 loads ring 0 data", VEC_GP, SEL_KDATA, "mov %ecx, %es",
	      .ring = 3, .in.cx = SEL_KDATA);
	FAULT("RPL 3 weakens ring 0", VEC_GP, SEL_KDATA, "mov %ecx, %es",
	      .in.cx = SEL_KDATA | 3);
	FINE("ring 3 loads conforming code as data", "mov %ecx, %es",
	     .ring = 3, .in.cx = conf | 3);
	FAULT("ring 3 loads ring 0 code as data", VEC_GP, SEL_KCODE32,
	      "mov %ecx, %es", .ring = 3, .in.cx = SEL_KCODE32);
	FINE("ring 0 loads ring 3 data", "mov %ecx, %es",
	     .in.cx = SEL_UDATA | 3);
	topic("SDM 3A 3.4.5.1: accessed bit");
	u16 fresh = slot(7, 0, 0xfffff, DATA | SEG_W | SEG_G);

	FINE("load sets the accessed bit", "mov %ecx, %es", .in.cx = fresh);
	CHECK("accessed bit", gdt[fresh / 8] >> 40 & 1);
}

/* LAR, LSL, VERR, VERW: they never fault for a selector. */
static void inspect(void)
{
	static const struct { const char *name; u16 sel; u8 ring;
			      bool lar, verr, verw; } t[] = {
		{ "kernel data", SEL_KDATA, 0, 1, 1, 1 },
		{ "kernel data, RPL 3", SEL_KDATA | 3, 0, 0, 0, 0 },
		{ "kernel data at ring 3", SEL_KDATA, 3, 0, 0, 0 },
		{ "user data at ring 3", SEL_UDATA | 3, 3, 1, 1, 1 },
		{ "user code", SEL_UCODE32 | 3, 3, 1, 1, 0 },
		{ "null", 0, 0, 0, 0, 0 },
		{ "beyond the GDT", 0x7000, 0, 0, 0, 0 },
		{ "TSS", SEL_TSS, 0, 1, 0, 0 },
		{ "call gate", TEST(10), 0, 1, 0, 0 },
		{ "interrupt gate", TEST(12), 0, 0, 0, 0 },
		{ "execute-only code", TEST(14), 0, 1, 0, 0 },
		{ "read-only data", TEST(15), 0, 1, 1, 0 },
		{ "conforming code from ring 3", TEST(16), 3, 1, 1, 0 },
		{ "not present", TEST(17), 0, 1, 1, 1 },
	};

	gdt_set_call_gate(TEST(10), SEL_KCODE, (void *)0x1234,
			  SEG_P | SEG_CALL, 0);
	gdt_set(TEST(12), gate(SEL_KCODE, 0x1234, SEG_P | SEG_INT, 0));
	gdt_set(TEST(13), 0);
	slot(14, 0, 0xfffff, CODE32 | SEG_G);
	slot(15, 0, 0xfffff, DATA | SEG_G);
	slot(16, 0, 0xfffff, CODE32 | SEG_G | SEG_R | SEG_CONF);
	slot(17, 0, 0xfffff, SEG_DATA | SEG_W | SEG_G);
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		u32 want = gdt[t[i].sel / 8] >> 32 & 0x00ffff00;
		bool segment = t[i].sel != TEST(10);

		topic("SDM 2A LAR");
		scope("lar ");
		RUN("lar %ecx, %eax", .in.ax = 0x55, .in.cx = t[i].sel,
		    .ring = t[i].ring);
		if (t[i].lar)
			want = gdt[t[i].sel / 8] >> 32 & 0x00ffff00;
		CHECK_EQ(t[i].name, (u64)!!(trap.s.flags & FL_ZF) << 32 |
			 (trap.s.ax & ~0xf0000ul),
			 t[i].lar ? 1ull << 32 | (want & ~0xf0000u) : 0x55);
		topic("SDM 2A LSL");
		scope("lsl ");
		RUN("lsl %ecx, %eax", .in.ax = 0x55, .in.cx = t[i].sel,
		    .ring = t[i].ring);
		CHECK_EQ(t[i].name, !!(trap.s.flags & FL_ZF),
			 t[i].lar && segment);
		topic("SDM 2B VERR");
		scope("verr ");
		RUN("verr %cx", .in.cx = t[i].sel, .ring = t[i].ring);
		CHECK_EQ(t[i].name, !!(trap.s.flags & FL_ZF), t[i].verr);
		scope("verw ");
		RUN("verw %cx", .in.cx = t[i].sel, .ring = t[i].ring);
		CHECK_EQ(t[i].name, !!(trap.s.flags & FL_ZF), t[i].verw);
	}
	scope("");
	topic("SDM 2A LSL");
	slot(0, 0, 0x12345, DATA);
	RUN("lsl %ecx, %eax", .in.cx = TEST(0));
	CHECK_EQ("lsl byte granular", trap.s.ax, 0x12345);
	slot(0, 0, 0x12345, DATA | SEG_G);
	RUN("lsl %ecx, %eax", .in.cx = TEST(0));
	CHECK_EQ("lsl page granular", trap.s.ax, 0x12345fff);
	RUN("lsl %ecx, %eax", .in.cx = SEL_TSS);
	CHECK_EQ("lsl of the TSS", trap.s.ax, sizeof(tss) - 1);
	topic("SDM 2A ARPL");
#ifndef __x86_64__
	RUN("arpl %cx, %ax", .in.ax = 0x10, .in.cx = 0x23, .ring = 3);
	CHECK_EQ("arpl raises RPL", trap.s.ax, 0x13);
	CHECK("arpl sets ZF", trap.s.flags & FL_ZF);
	RUN("arpl %cx, %ax", .in.ax = 0x13, .in.cx = 0x21, .ring = 3);
	CHECK_EQ("arpl keeps RPL", trap.s.ax, 0x13);
	CHECK("arpl clears ZF", !(trap.s.flags & FL_ZF));
#endif
}

static u64 ldt[4] __attribute__((aligned(16)));

static void ldts(void)
{
	topic("SDM 3A 3.5.1, 2A LLDT");
	ldt[1] = segment(0, 0xfffff, DATA | SEG_W | SEG_G | SEG_DPL3);
	gdt_set_system(TEST(20), (uptr)ldt, 0xf, SEG_P | SEG_LDT);
	FINE("lldt", "lldt %cx", .in.cx = TEST(20));
	RUN("sldt %eax", .in.ax = 0xffffffff);
	CHECK_EQ("sldt", trap.s.ax, TEST(20));
	FINE("segment of the LDT", "mov %ecx, %es", .in.cx = 0x0f, .ring = 3);
	FAULT("selector beyond the LDT", VEC_GP, 0x14, "mov %ecx, %es",
	      .in.cx = 0x17, .ring = 3);
	FAULT("lldt of a data segment", VEC_GP, SEL_KDATA, "lldt %cx",
	      .in.cx = SEL_KDATA);
	FAULT("lldt of a selector with TI", VEC_GP, 0x0c, "lldt %cx",
	      .in.cx = 0x0c);
	gdt_set_system(TEST(22), (uptr)ldt, 0xf, SEG_LDT);
	FAULT("lldt not present", VEC_NP, TEST(22), "lldt %cx",
	      .in.cx = TEST(22));
	FAULT("lldt at ring 3", VEC_GP, 0, "lldt %cx", .ring = 3);
	FINE("lldt of null", "lldt %cx", .in.cx = 0);
	FAULT("LDT selector without an LDT", VEC_GP, 0x0c, "mov %ecx, %es",
	      .in.cx = 0x0f, .ring = 3);
	topic("SDM 2A LTR");
	FAULT("ltr of a busy TSS", VEC_GP, SEL_TSS, "ltr %cx",
	      .in.cx = SEL_TSS);
	FAULT("ltr of null", VEC_GP, 0, "ltr %cx", .in.cx = 0);
	tss_load(sizeof(tss) - 1);
	gdt_set_system(TEST(22), (uptr)&tss, 103, SEG_TSS);
	FAULT("ltr not present", VEC_NP, TEST(22), "ltr %cx",
	      .in.cx = TEST(22));
	FAULT("ltr at ring 3", VEC_GP, 0, "ltr %cx", .ring = 3);
	RUN("str %eax", .in.ax = 0xffffffff);
	CHECK_EQ("str", trap.s.ax, SEL_TSS);
	CHECK_EQ("ltr made the TSS busy", gdt[SEL_TSS / 8] >> 40 & 0xf,
		 SEG_TSS_BUSY);
}

static struct table_pointer pointer, saved;

static void tables(void)
{
	topic("SDM 2A LGDT, 2B SGDT");
	asm volatile("sgdt %0" : "=m"(saved));
	CHECK_EQ("sgdt base", saved.base, (uptr)gdt);
	CHECK_EQ("sgdt limit", saved.limit, GDT_ENTRIES * 8 - 1);
	pointer = saved;
	pointer.limit = 0x57;
	asm volatile("lgdt %0" : : "m"(pointer));
	FAULT("selector beyond a smaller GDT", VEC_GP, 0x58, "mov %ecx, %es",
	      .in.cx = 0x58);
	asm volatile("lgdt %0" : : "m"(saved));
	asm volatile("sidt %0" : "=m"(saved));
	CHECK_EQ("sidt limit", saved.limit, 256 * 2 * WORD - 1);
	FAULT("lgdt at ring 3", VEC_GP, 0, "lgdt (%ecx)", .ring = 3,
	      .in.cx = (uptr)&saved);
	FAULT("lidt at ring 3", VEC_GP, 0, "lidt (%ecx)", .ring = 3,
	      .in.cx = (uptr)&saved);
	FAULT("lgdt of a register", VEC_UD, 0, ".byte 0x0f, 0x01, 0xd7");
#ifndef __x86_64__
	RUN("data16 sgdt (%ecx)", .in.cx = (uptr)&pointer);
	CHECK_EQ("sgdt with 16 bits still stores 32 bits of base",
		 pointer.base, (uptr)gdt);
#endif

	topic("SDM 3A 2.5 CR4.UMIP");
	FINE("sgdt at ring 3 without UMIP", "sgdt (%ecx)", .ring = 3,
	     .in.cx = (uptr)&pointer);
	if (!has7c(2)) {
		skip("UMIP", "not in CPUID");
		return;
	}
	WITH_CR4(CR4_UMIP, 0,
		 FAULT("UMIP sgdt", VEC_GP, 0, "sgdt (%ecx)", .ring = 3,
		       .in.cx = (uptr)&pointer);
		 FAULT("UMIP sidt", VEC_GP, 0, "sidt (%ecx)", .ring = 3,
		       .in.cx = (uptr)&pointer);
		 FAULT("UMIP sldt", VEC_GP, 0, "sldt %eax", .ring = 3);
		 FAULT("UMIP str", VEC_GP, 0, "str %eax", .ring = 3);
		 FAULT("UMIP smsw", VEC_GP, 0, "smsw %eax", .ring = 3);
		 FINE("UMIP smsw at ring 0", "smsw %eax"));
}

#ifdef __x86_64__
static void long_mode(void)
{
	u16 es = slot(0, 0x1000, 0, DATA | SEG_W);

	topic("SDM 1 3.4.2.1: no bases and limits but FS's and GS's");
	area[0] = 0x42;
	FINE("es has no base and no limit", "mov %es:(%rcx), %al",
	     .in.es = es, .in.cx = (uptr)area);
	CHECK_EQ("es reads", trap.s.ax, 0x42);
	FINE("null ds and es work", "mov (%rcx), %al; stosb",
	     .in.ds = 3, .in.es = 3, .in.cx = (uptr)area,
	     .in.di = (uptr)area);
	RUN("mov %ecx, %fs; mov $0xc0000100, %ecx; rdmsr", .in.cx = es);
	CHECK_EQ("loading fs sets the MSR", trap.s.ax, 0x1000);
	wrmsr(MSR_FS_BASE, 0);
	asm volatile("mov %0, %%fs" : : "r"(0));
	wrmsr(MSR_FS_BASE, (uptr)area - 8);
	u32 got;
	asm volatile("movl %%fs:8, %0" : "=r"(got));
	CHECK_EQ("FS base is added", got & 0xff, 0x42);
	wrmsr(MSR_FS_BASE, 0xffffffffffff0000);
	asm volatile("movl %%fs:0x10000(%1), %0" : "=r"(got)
		     : "r"((uptr)area));
	CHECK_EQ("FS base wraps", got & 0xff, 0x42);
	wrmsr(MSR_FS_BASE, 0);
	if (!has7b(0)) {
		skip("fsgsbase", "not in CPUID");
		return;
	}
	topic("SDM 2B RDFSBASE, WRFSBASE");
	FAULT("rdfsbase without CR4.FSGSBASE", VEC_UD, 0, "rdfsbase %rax");
	cr4_write(cr4_read() | CR4_FSGSBASE);
	RUN("wrfsbase %rcx; rdfsbase %rax; wrfsbase %rdx; rdfsbase %rsi;"
	    "xor %ecx, %ecx; wrfsbase %rcx", .ring = 3,
	    .in.cx = 0x7fff12345678, .in.dx = 0x1122);
	CHECK_EQ("wrfsbase at ring 3", trap.s.ax, 0x7fff12345678);
	CHECK_EQ("wrfsbase again", trap.s.si, 0x1122);
	RUN("wrgsbase %ecx; rdgsbase %rax; xor %ecx, %ecx; wrgsbase %rcx",
	    .in.cx = 0x123456789abc);
	CHECK_EQ("wrgsbase of 32 bits", trap.s.ax, 0x56789abc);
	FAULT("wrfsbase not canonical", VEC_GP, 0, "wrfsbase %rcx",
	      .in.cx = 1ull << 60);
	wrmsr(MSR_FS_BASE, 0);
	cr4_write(cr4_read() & ~CR4_FSGSBASE);
	topic("SDM 2B MOV: ss null at ring 0 in 64-bit mode");
	FINE("null ss at ring 0", "mov %ecx, %ss; mov $0x10, %ecx;"
	     "mov %ecx, %ss", .in.cx = 0);
	FAULT("null ss at ring 3", VEC_GP, 0, "mov %ecx, %ss", .in.cx = 3,
	      .ring = 3);
}
#endif

void guest_main(void)
{
#ifdef __x86_64__
	long_mode();
#else
	limits();
	code_limits();
	code16();
	stack16();
	types();
#endif
	privilege();
	inspect();
	ldts();
	tables();
}
