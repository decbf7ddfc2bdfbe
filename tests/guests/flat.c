/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 32-bit code with flat segments, which a translator runs as 64-bit code of
 * the host: addresses modulo 2^32, bases and limits of FS and GS, forms that
 * have no 64-bit encoding, and segments that stop being flat.  In 64 bits:
 * compatibility mode, whatever the upper halves of the registers hold, and
 * the same bytes as code of both modes.
 */
#include "guest.h"
#include "page.h"

static u8 area[0x3000] __attribute__((aligned(4096)));
static u16 code_sel;		/* of 32-bit code */

enum { DATA = SEG_P | SEG_DATA | SEG_B | SEG_W };
#define LOW(v) ((u32)(v))

#ifdef __x86_64__
#define CODE32(text) CODE(".code32;" text)
#else
#define CODE32(text) CODE(text)
#endif
static const struct code *last;	/* snippet of 32-bit code */
#define RUN32(text, ...)						\
	do {								\
		last = CODE32(text);					\
		run(&(struct try){ .code = last, .in.cs = code_sel,	\
				   __VA_ARGS__ });			\
	} while (0)
#define FINE32(name, text, ...)						\
	do {								\
		RUN32(text, __VA_ARGS__);				\
		CHECK_EQ(name, trap.vec, VEC_DONE);			\
	} while (0)
#define FAULT32(name, vector, error, text, ...)				\
	do {								\
		RUN32(text, __VA_ARGS__);				\
		CHECK_EQ(name, trap.vec, vector);			\
		CHECK_EQ(name ", error", trap.err, error);		\
		CHECK_EQ(name ", ip", trap.s.ip, last->at);		\
	} while (0)

static u32 word_at(unsigned off)
{
	u32 v;

	memcpy(&v, area + off, 4);
	return v;
}

static void put_word(unsigned off, u32 v)
{
	memcpy(area + off, &v, 4);
}

/* SDM 1 3.7.5: the effective address is modulo 2^32. */
static void addresses(void)
{
	u32 base = LOW((uptr)area);

	topic("SDM 1 3.7.5");
	put_word(0x100, 0x11223344);
	FINE32("negative displacement", "mov -0x1000(%ecx), %eax",
		.in.cx = base + 0x1100);
	CHECK_EQ("negative displacement, read", LOW(trap.s.ax), 0x11223344);
	FINE32("base beyond the end", "mov 0x7fffffff(%ecx), %eax",
		.in.cx = base + 0x100 - 0x7fffffff);
	CHECK_EQ("base beyond the end, read", LOW(trap.s.ax), 0x11223344);
	FINE32("index that wraps", "mov 0x100(%ecx,%edx,8), %eax", .in.cx = base,
		.in.dx = 0x20000000);
	CHECK_EQ("index that wraps, read", LOW(trap.s.ax), 0x11223344);
	FINE32("index negative", "mov 0x108(%ecx,%edx,8), %eax", .in.cx = base,
		.in.dx = 0xffffffff);
	CHECK_EQ("index negative, read", LOW(trap.s.ax), 0x11223344);
	FINE32("lea wraps", "lea -1(%ecx,%edx,2), %eax; lea 0x80(%ebp), %ebp", .in.cx = 1,
	       .in.dx = 0x80000000, .in.bp = 0xffffffc0);
	CHECK_EQ("lea wraps, sum", LOW(trap.s.ax), 0);
	CHECK_EQ("lea wraps, ebp", LOW(trap.s.bp), 0x40);
	/* several accesses through one register, which may share a check */
	put_word(0x200, 1), put_word(0x204, 2), put_word(0x208, 3), put_word(0x20c, 4);
	FINE32("fields behind a wrap", "mov 0x200(%ecx), %eax; add 0x204(%ecx), %eax;"
		"add 0x208(%ecx), %eax;"
	       "lea 0x204(%ecx), %ecx; add 8(%ecx), %eax", .in.cx = base);
	CHECK_EQ("fields behind a wrap, sum", LOW(trap.s.ax), 10);
	FINE32("the register wraps between", "mov (%ecx), %eax; sub $0x80000000, %ecx;"
	       "add -0x7ffffffc(%ecx), %eax; sub $0x80000000, %ecx; add 8(%ecx), %eax",
	       .in.cx = base + 0x200);
	CHECK_EQ("the register wraps between, sum", LOW(trap.s.ax), 6);
	FINE32("stack frame across a page", "mov %esp, %edx; mov %ecx, %esp; push $7;"
		"push $8; pop %eax; pop %ebx;"
	       "mov %edx, %esp", .in.cx = base + 0x1004);
	CHECK_EQ("stack frame across a page, first", LOW(trap.s.ax), 8);
	CHECK_EQ("stack frame across a page, second", LOW(trap.s.bx), 7);
	CHECK_EQ("stack frame across a page, in memory", word_at(0x1000), 7);
	put_word(0xffe, 0x55667788);
	FINE32("not aligned, across a page", "mov (%ecx), %eax; incl (%ecx)",
		.in.cx = base + 0xffe);
	CHECK_EQ("not aligned, across a page, read", LOW(trap.s.ax), 0x55667788);
	CHECK_EQ("not aligned, across a page, written", word_at(0xffe), 0x55667789);
	topic("SDM 3A 5.3");
	FAULT32("doubleword across 4 GiB", VEC_GP, 0, "mov -2(%ecx), %eax", .in.cx = 0);
	FAULT32("doubleword across 4 GiB, constant", VEC_GP, 0, "mov 0xfffffffd, %eax");
	FAULT32("write across 4 GiB", VEC_GP, 0, "mov %eax, 1(%ecx)",
		.in.cx = 0xfffffffd);
	FAULT32("quadword across 4 GiB", VEC_GP, 0, "movq 0xfffffffc(%ecx), %xmm0",
		.in.cx = 0);
	FAULT32("stack across 4 GiB", VEC_SS, 0, "mov 4(%ebp), %eax",
		.in.bp = 0xfffffffa);
}

/* Bases of FS and GS, and what their limits say. */
static void bases(void)
{
	u32 base = LOW((uptr)area);
	u16 sel = TEST(0), user = TEST(0) | 3;

	topic("SDM 3A 3.4.5");
	gdt_set(sel, segment(base + 0x44, 0xfffff, DATA | SEG_G | SEG_DPL3));
	put_word(0x54, 0xcafe0001), put_word(0x40, 0xcafe0002);
	FINE32("fs, constant", "mov %fs:0x10, %eax", .in.fs = sel);
	CHECK_EQ("fs, constant, read", LOW(trap.s.ax), 0xcafe0001);
	FINE32("fs, below its base", "mov %fs:0xfffffffc, %eax", .in.fs = sel);
	CHECK_EQ("fs, below its base, read", LOW(trap.s.ax), 0xcafe0002);
	FINE32("gs, with a register", "mov %gs:-4(%ecx), %eax;"
		"mov %gs:0x10(%ecx), %edx", .in.gs = user, .ring = 3,
	       .in.cx = 0, .in.cs = SEL_UCODE32 | 3);
	CHECK_EQ("gs, with a register, read below", LOW(trap.s.ax), 0xcafe0002);
	CHECK_EQ("gs, with a register, read above", LOW(trap.s.dx), 0xcafe0001);
	FINE32("gs, not aligned", "movl $0x010203ff, %gs:(%ecx); incl %gs:(%ecx)",
	       .in.gs = sel, .in.cx = 0x101);
	CHECK_EQ("gs, not aligned, written", word_at(0x145), 0x01020400);
	FAULT32("fs, doubleword across offset 4 GiB", VEC_GP, 0,
		"mov %fs:(%ecx), %eax", .in.fs = sel, .in.cx = 0xfffffffe);
	FAULT32("fs, doubleword across offset 4 GiB, constant", VEC_GP, 0,
		"mov %fs:0xfffffffd, %eax", .in.fs = sel);
	FAULT32("fs, vector across offset 4 GiB", VEC_GP, 0,
		"movups %fs:(%ecx), %xmm0", .in.fs = sel, .in.cx = 0xfffffff4);
	FINE32("fs, vector that ends at 4 GiB", "movups %fs:(%ecx), %xmm0",
		.in.fs = sel, .in.cx = 0xfffffff0);
	gdt_set(sel, segment(0xfffff000, 0xfffff, DATA | SEG_G));
	FINE32("base and offset wrap", "mov %fs:(%ecx), %eax", .in.fs = sel,
		.in.cx = base + 0x1040);
	CHECK_EQ("base and offset wrap, read", LOW(trap.s.ax), 0xcafe0002);

	topic("SDM 3A 5.3");
	gdt_set(sel, segment(base, 0x43, DATA));
	FINE32("gs, inside its limit", "mov %gs:0x40, %eax", .in.gs = sel);
	CHECK_EQ("gs, inside its limit, read", LOW(trap.s.ax), 0xcafe0002);
	FAULT32("gs, over its limit", VEC_GP, 0, "mov %gs:0x41, %eax", .in.gs = sel);
	FAULT32("gs, limit loaded in the snippet", VEC_GP, 0, "mov %edx, %gs;"
		"1: mov %gs:0x41(%ecx), %eax", .in.dx = sel);
	gdt_set(sel, segment(base, 0xfffff, (DATA | SEG_G) & ~SEG_W));
	FINE32("read-only, read", "mov %fs:0x40, %eax", .in.fs = sel);
	FAULT32("read-only, write", VEC_GP, 0, "mov %eax, %fs:0x80", .in.fs = sel);
	gdt_set(sel, segment(base, 0, DATA | SEG_G | SEG_DOWN));
	FINE32("expand-down, above", "mov %fs:0x1000, %eax", .in.fs = sel);
	FAULT32("expand-down, below", VEC_GP, 0, "mov %fs:0xffc, %eax", .in.fs = sel);
	FAULT32("null selector", VEC_GP, 0, "mov %gs:0x40, %eax", .in.gs = 0);
	FAULT32("null selector, loaded in the snippet", VEC_GP, 0,
		"mov %gs:0x40(%ecx), %eax; xor %edx, %edx; mov %edx, %gs;"
			"1: mov %gs:0x40(%ecx), %eax",
		.in.gs = SEL_KDATA, .in.cx = base);
}

/* DS, ES and SS that are not flat, loaded in the middle of flat code. */
static void not_flat(void)
{
	u32 base = LOW((uptr)area);
	u16 sel = TEST(0);

	topic("SDM 3A 5.3");
	gdt_set(sel, segment(base, 0x43, DATA));
	FINE32("ds with a base", "mov (%ecx), %esi; mov %edx, %ds; mov 0x40, %eax",
		.in.dx = sel, .in.cx = base);
	CHECK_EQ("ds with a base, read", LOW(trap.s.ax), 0xcafe0002);
	FAULT32("ds with a limit", VEC_GP, 0, "mov (%ecx), %esi; mov %edx, %ds;"
		"1: mov 0x41, %eax", .in.dx = sel,
		.in.cx = base);
	FAULT32("es with a limit", VEC_GP, 0, "push %edx; pop %es;"
		"1: mov %es:0x41, %eax", .in.dx = sel);
	FINE32("ds flat again", "mov %ds, %esi; mov %edx, %ds; mov 0x40, %eax;"
		"mov %esi, %ds; add (%ecx), %eax",
	       .in.dx = sel, .in.cx = base + 0x54);
	CHECK_EQ("ds flat again, sum", LOW(trap.s.ax), LOW(0xcafe0002u + 0xcafe0001u));
	gdt_set(sel, segment(0, 0xffff, SEG_P | SEG_DATA | SEG_W));
	FINE32("a 16-bit stack and back", "mov %ss, %esi; mov %esp, %edi; push $1;"
		"mov %edx, %ss; mov $0xffff8000, %esp;"
	       "pop %eax; push %ecx; mov %esp, %ebx; mov %esi, %ss; mov %edi, %esp;"
		"push $3; pop %edx", .in.dx = sel,
	       .in.cx = 0x1234);
	CHECK_EQ("a 16-bit stack, esp", LOW(trap.s.bx), 0xffff8000);
	CHECK_EQ("a 32-bit stack again", LOW(trap.s.dx), 3);
	topic("SDM 3A 5.5");
	gdt_set(sel, segment(0, 0xfffff, SEG_P | SEG_CODE | SEG_B | SEG_G));
	FAULT32("read of execute-only code", VEC_GP, 0, "mov %cs:(%ecx), %eax",
		.in.cx = base, .in.cs = sel);
	gdt_set(sel, segment(0, 0xfffff, SEG_P | SEG_CODE | SEG_B | SEG_G | SEG_R));
	FINE32("read of code", "mov %cs:(%ecx), %eax", .in.cx = base + 0x40,
		.in.cs = sel);
	CHECK_EQ("read of code, value", LOW(trap.s.ax), 0xcafe0002);
	FAULT32("write to code", VEC_GP, 0, "mov %eax, %cs:(%ecx)",
		.in.cx = base + 0x80, .in.cs = sel);
}

/* Encodings that mean something else, or nothing, in 64-bit mode. */
static void forms(void)
{
	u32 base = LOW((uptr)area);

	topic("SDM 2A 2.2.1");
	FINE32("inc of each register", "inc %eax; inc %ecx; inc %edx; inc %ebx;"
		"inc %esp; dec %esp; inc %ebp; inc %esi; inc %edi",
	       .in.ax = 0x10, .in.cx = 0x20, .in.dx = 0x30, .in.bx = 0x40,
		.in.bp = 0x50, .in.si = 0xffffffff, .in.di = 0x7fffffff);
	CHECK_EQ("inc eax", LOW(trap.s.ax), 0x11);
	CHECK_EQ("inc ecx", LOW(trap.s.cx), 0x21);
	CHECK_EQ("inc edx", LOW(trap.s.dx), 0x31);
	CHECK_EQ("inc ebx", LOW(trap.s.bx), 0x41);
	CHECK_EQ("inc ebp", LOW(trap.s.bp), 0x51);
	CHECK_EQ("inc esi", LOW(trap.s.si), 0);
	CHECK_EQ("inc edi", LOW(trap.s.di), 0x80000000);
	CHECK_EQ("inc edi, flags", trap.s.flags & (FL_OF | FL_SF | FL_ZF), FL_OF | FL_SF);
	FINE32("dec of 16 bits keeps the rest, and CF", "stc; dec %cx; setc %al",
		.in.cx = 0x12340000);
	CHECK_EQ("dec of 16 bits", LOW(trap.s.cx), 0x1234ffff);
	CHECK_EQ("dec keeps CF", LOW(trap.s.ax), 1);
	FINE32("pusha and popa", "pusha; movl $0x99, 28(%esp); popa", .in.ax = 1,
		.in.cx = 2, .in.di = 3);
	CHECK_EQ("popa, eax", LOW(trap.s.ax), 0x99);
	CHECK_EQ("popa, edi", LOW(trap.s.di), 3);
	FINE32("arpl is not movsxd", ".byte 0x63, 0x01; setz %dl",
		.in.cx = base + 0x300, .in.ax = 3);
	CHECK_EQ("arpl", word_at(0x300), 3);
	CHECK_EQ("arpl, ZF", trap.s.dx & 0xff, 1);
	FINE32("mov between eax and an address", "mov %fs:0x40, %eax;"
		"mov %eax, %fs:0x304; mov %al, %fs:0x308; movw %ax, %fs:0x30a;"
	       "movb %fs:0x303, %al", .in.fs = TEST(1));
	CHECK_EQ("mov moffs, doubleword", word_at(0x304), 0xcafe0002);
	CHECK_EQ("mov moffs, parts", word_at(0x308), 0x00020002);
	CHECK_EQ("mov moffs, byte", LOW(trap.s.ax), 0xcafe0000);
	FINE32("high bytes", "mov $0x7f, %ah; mov $0x01, %dh; add %dh, %ah;"
		"mov %ah, (%ecx); movzbl %ah, %ebx; cmp %ah, (%ecx); sete %dl",
	       .in.cx = base + 0x310);
	CHECK_EQ("high bytes, sum", trap.s.bx & 0xffffffff, 0x80);
	CHECK_EQ("high bytes, compared", trap.s.dx & 0xff, 1);
	FINE32("enter, leave", "enter $16, $0; mov %ebp, %eax; leave; sub %esp, %eax");
	CHECK_EQ("enter, leave", LOW(trap.s.ax), LOW(-4));
	FINE32("pushf and popf", "pushf; xorl $0x8c1, (%esp); popf; pushf; pop %eax;"
		"cld", .in.flags = FL_CF);
	CHECK_EQ("popf", trap.s.ax & 0xcd7, 0x8c2);
	FINE32("popf of DF", "pushf; orl $0x400, (%esp); popf; pushf; pop %eax; cld");
	CHECK_EQ("popf of DF", trap.s.ax & 0x400, 0x400);
}

/* The target of a branch is modulo 2^32. */
static void branches(void)
{
	const struct code *c = CODE32("nop; 1: mov $0x42, %eax");
	uptr word = (uptr)area + 0x400;

	topic("SDM 2A CALL, JMP");
	FINE32("call, pop, ret", "mov %ecx, %edx; call 2f; jmp 3f;"
	       "2: pop %ebx; push %ebx; ret; 3: push %ecx; ret",
	       .in.cx = c->at);
	CHECK_EQ("call, pop, ret, target", trap.s.ax, 0x42);
	CHECK_EQ("call pushes 4 bytes", LOW(trap.s.bx), last->start + 7);
	FINE32("jmp through memory", "mov %ecx, (%esi); jmp *(%esi)",
	       .in.cx = c->at, .in.si = word);
	CHECK_EQ("jmp through memory, target", trap.s.ax, 0x42);
	FINE32("call through memory", "mov %ecx, (%esi); call *(%esi)",
	       .in.cx = c->at, .in.si = word);
	CHECK_EQ("call through memory, target", trap.s.ax, 0x42);
	CHECK_EQ("call through memory, esp", LOW(trap.s.sp),
		 LOW((uptr)stack0) + STACK_SIZE - 256 - 4);
	FINE32("call of a register, ret of bytes", "push $1; push $2;"
	       "mov $2f, %edx; call *%edx; jmp 3f; 2: ret $8; 3: nop");
	CHECK_EQ("ret of bytes, esp", LOW(trap.s.sp),
		 LOW((uptr)stack0) + STACK_SIZE - 256);
	memcpy((void *)0x600, "\xcd\xf0", 2);
	RUN32("jmp *%cx", .in.cx = 0x12340600);
	CHECK_EQ("a target of 16 bits is cut", trap.s.ip, 0x602);
}

#ifndef __x86_64__
/* The last page of the address space. */
static void last_page(void)
{
	static struct page_tables pt;
	const struct code *c = CODE("nop; 1: mov $0x43, %eax");
	u32 rel = c->at - 0xfffffff5;

	topic("SDM 2A JMP");
	page_pool_reset();
	WITH_CR4(CR4_PSE, 0,
		page_tables_init(&pt, PAGE_32, PTE_W);
		page_map(&pt, 0xfffff000, (uptr)area + 0x2000, PTE_P | PTE_W);
		area[0x2ff0] = 0xe9;
		memcpy(area + 0x2ff1, &rel, 4);
		page_tables_on(&pt);
		run(&(struct try){ .code = c, .in.ip = 0xfffffff0 });
		CHECK_EQ("jmp wraps", trap.vec, VEC_DONE);
		CHECK_EQ("jmp wraps, target", trap.s.ax, 0x43);
		memcpy(area + 0x2ff0, "\xe8", 1);
		run(&(struct try){ .code = c, .in.ip = 0xfffffff0 });
		CHECK_EQ("call wraps, target", trap.s.ax, 0x43);
		CHECK_EQ("call wraps, return address",
			 *(u32 *)(stack0 + STACK_SIZE - 260), 0xfffffff5);
		topic("SDM 1 3.7.5");
		FINE32("fields below 0", "mov -8(%ecx), %eax; mov $5, %edx;"
		       "mov %edx, -4(%ecx); add -4(%ecx), %eax; add -8(%ecx), %eax");
		CHECK_EQ("fields below 0, sum", trap.s.ax, 2 * word_at(0x2ff8) + 5);
		CHECK_EQ("fields below 0, written", word_at(0x2ffc), 5);
		FINE32("a stack that begins at 0", "mov %esp, %esi; xor %esp, %esp;"
		       "push $1; push $2; pop %eax; push %esp; pop %ebx; pop %ecx;"
		       "mov %esp, %edx; mov %esi, %esp");
		CHECK_EQ("a stack that begins at 0, second", trap.s.ax, 2);
		CHECK_EQ("a stack that begins at 0, esp", trap.s.bx, 0xfffffffc);
		CHECK_EQ("a stack that begins at 0, first", trap.s.cx, 1);
		CHECK_EQ("a stack that begins at 0, esp again", trap.s.dx, 0);
		topic("SDM 2B REP");
		FINE32("a run to the end", "rep stosl", .in.cx = 2, .in.di = 0xfffffff8,
		       .in.ax = 0x66666666);
		CHECK_EQ("a run to the end, edi", trap.s.di, 0);
		CHECK_EQ("a run to the end, written", word_at(0x2ffc), 0x66666666);
		FINE32("a copy to the end", "rep movsb", .in.cx = 4, .in.si = 0xfffffff0,
		       .in.di = 0xfffffffc);
		CHECK_EQ("a copy to the end, edi", trap.s.di, 0);
		CHECK_EQ("a copy to the end, esi", trap.s.si, 0xfffffff4);
		FINE32("an element at the end", "stosb", .in.di = 0xffffffff);
		CHECK_EQ("an element at the end, edi", trap.s.di, 0);
		topic("SDM 3A 5.3");
		area[0x2ffe] = 0xb8;
		memcpy((void *)3, "\xcd\xf0", 2);
		run(&(struct try){ .code = c, .in.ip = 0xfffffffe });
		CHECK_EQ("instruction across 4 GiB", trap.vec, VEC_GP);
		CHECK_EQ("instruction across 4 GiB, ip", trap.s.ip,
			 0xfffffffe);
		page_tables_off());
}
#endif

#ifdef __x86_64__
/* Upper halves are undefined in compatibility mode, and must not matter. */
static void dirty(void)
{
	const struct code *c = CODE32("nop; 1: mov $5, %eax");
	u64 high = 0xdeadbeef00000000, base = (uptr)area;

	topic("SDM 1 3.4.1.1");
	put_word(0x500, 0x12121212), put_word(0x504, 0x34343434), put_word(0x508, 1);
	FINE32("dirty base", "mov 0x500(%ecx), %eax; mov 0x504(%ecx), %ebx;"
		"add 0x508(%ecx), %ebx", .in.cx = base | high);
	CHECK_EQ("dirty base, first", LOW(trap.s.ax), 0x12121212);
	CHECK_EQ("dirty base, second", LOW(trap.s.bx), 0x34343435);
	FINE32("dirty index", "mov 0x500(%ecx,%edx,4), %eax;"
		"lea (%ecx,%edx,4), %ebx", .in.cx = base | high, .in.dx = high | 1);
	CHECK_EQ("dirty index, read", LOW(trap.s.ax), 0x34343434);
	CHECK_EQ("dirty index, lea", LOW(trap.s.bx), LOW(base) + 4);
	FINE32("dirty through 8 and 16 bits", "mov $0, %cl; mov $0x500, %dx;"
		"add %ecx, %edx; mov (%edx), %eax",
	       .in.cx = (base & ~0xffull) | high, .in.dx = high);
	CHECK_EQ("dirty through 8 and 16 bits, read", LOW(trap.s.ax), 0x12121212);
	FINE32("dirty run", "rep stosl", .in.cx = 3 | high, .in.ax = 0x77777777,
	       .in.di = (base + 0x600) | high);
	CHECK_EQ("dirty run, end", LOW(trap.s.di), LOW(base) + 0x60c);
	CHECK_EQ("dirty run, count", LOW(trap.s.cx), 0);
	CHECK_EQ("dirty run, last", word_at(0x608), 0x77777777);
	CHECK_EQ("dirty run, behind it", word_at(0x60c), 0);
	/* times 4 the upper half is gone */
	FINE32("dirty count that wraps", "rep movsl", .in.cx = 0x4000000000000001,
	       .in.si = (base + 0x500) | high, .in.di = (base + 0x610) | high);
	CHECK_EQ("dirty count that wraps, copied", word_at(0x610), 0x12121212);
	CHECK_EQ("dirty count that wraps, behind it", word_at(0x614), 0);
	FINE32("dirty count of 0", "rep stosb", .in.cx = high, .in.di = base + 0x614, .in.ax = 9);
	CHECK_EQ("dirty count of 0, nothing", word_at(0x614), 0);
	FINE32("dirty elements", "lodsb; stosb; movsl; scasb", .in.si = (base + 0x500) | high,
	       .in.di = (base + 0x618) | high);
	CHECK_EQ("dirty elements, bytes", word_at(0x618), 0x12121212);
	CHECK_EQ("dirty elements, edi", LOW(trap.s.di), LOW(base) + 0x61e);
	FINE32("dirty bit offset", "bts %edx, (%ecx)", .in.cx = (base + 0x628) | high,
	       .in.dx = high | 0xffffffe1);
	CHECK_EQ("dirty bit offset, below", word_at(0x624), 2);
	FINE32("dirty target", "jmp *%edx", .in.dx = c->at | high);
	CHECK_EQ("dirty target, reached", trap.s.ax, 5);
	FINE32("dirty value pushed", "push %edx; ret", .in.dx = c->at | high);
	CHECK_EQ("dirty value pushed, reached", trap.s.ax, 5);
}

/* 48 ff c0: inc rax, or dec eax and inc eax. */
static void both_modes(void)
{
	const struct code *c = CODE("mov $0xffffffff, %eax; .byte 0x48, 0xff, 0xc0;"
		"mov $0x7fffffff, %ecx; .byte 0x48, 0x01, 0xc9");

	topic("SDM 2A 2.2.1");
	for (unsigned n = 0; n < 4; n++) {
		run(&(struct try){ .code = c });
		CHECK_EQ("as 64-bit code, inc", trap.s.ax, 0x100000000);
		CHECK_EQ("as 64-bit code, add", trap.s.cx, 0xfffffffe);
		run(&(struct try){ .code = c, .in.cs = code_sel });
		CHECK_EQ("as 32-bit code, dec and inc", LOW(trap.s.ax), 0xfffffffe);
		CHECK_EQ("as 32-bit code, add", LOW(trap.s.cx), 0xfffffffe);
	}
}
#endif

void guest_main(void)
{
#ifdef __x86_64__
	code_sel = SEL_KCODE32;
#else
	code_sel = SEL_KCODE;
#endif
	cr4_write(cr4_read() | CR4_OSFXSR);
	addresses();
	bases();
	not_flat();
	gdt_set(TEST(1), segment(LOW((uptr)area), 0xfffff, DATA | SEG_G));
	forms();
	branches();
#ifdef __x86_64__
	dirty();
	both_modes();
#else
	last_page();
#endif
}
