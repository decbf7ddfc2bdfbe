/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Self-modifying and cross-modifying code (SDM 3A 8.1.3, 11.6: a processor
 * sees its own stores to code at once, after a jump at the latest), and
 * instructions across pages and at the length limit.
 */
#include "apic.h"
#include "guest.h"
#include "page.h"

static u8 code[4 * 4096] __attribute__((aligned(4096)));

/* mov $imm32, %eax; int $VEC_DONE */
static void emit(uptr at, u32 imm)
{
	volatile u8 *p = (volatile u8 *)at;

	p[0] = 0xb8;
	for (int i = 0; i < 4; i++)
		p[1 + i] = imm >> 8 * i;
	p[5] = 0xcd;
	p[6] = VEC_DONE;
}

static u32 call(uptr at)
{
	RUN("jmp *" CX, .in.cx = at);
	return trap.vec == VEC_DONE ? (u32)trap.s.ax : 0xdead0000 | trap.vec;
}

static void own(void)
{
	uptr p = (uptr)code;

	topic("SDM 3A 8.1.3, 11.6");
	emit(p, 1);
	CHECK_EQ("new code", call(p), 1);
	emit(p, 2);
	CHECK_EQ("changed code", call(p), 2);
	bool all = true;
	for (u32 i = 0; i < 1000; i++) {
		emit(p + (i & 15) * 64, i);
		all &= call(p + (i & 15) * 64) == i;
	}
	CHECK("a thousand changes", all);
	code[1] = 77;
	CHECK_EQ("only the immediate changes", call(p) & 0xff, 77);

	RUN("movb $0x41, 1f+1; jmp 1f; nop; 1: mov $1, %al; nop");
	CHECK_EQ("store, then a jump to the changed code", trap.s.ax & 0xff,
		 0x41);
	RUN("movb $0x42, 1f+1; 1: mov $1, %al; nop");
	CHECK_EQ("the very next instruction changes", trap.s.ax & 0xff, 0x42);
	RUN("movl $0x43434343, 9f+1; 9: mov $1, %eax; nop");
	CHECK_EQ("its whole immediate changes", (u32)trap.s.ax, 0x43434343);
	RUN("xor %eax, %eax; mov $10, %ecx; 9: add $1, %al; incb 9b+1;"
	    "dec %ecx; jnz 9b");
	CHECK_EQ("a loop that changes itself", trap.s.ax, 55);
	RUN("mov $0x40, %al; lock xchg %al, 9f+1; 9: mov $1, %bl; nop");
	CHECK_EQ("changed by xchg", trap.s.bx & 0xff, 0x40);
	RUN("pushw $0x4040; popw 9f+1; 9: mov $0x1111, %ebx");
	CHECK_EQ("changed by pop", trap.s.bx & 0xffff, 0x4040);

	/* REP MOVS over the code that follows */
	RUN("mov $9f, %esi; mov $8f, %edi; mov $3, %ecx; rep movsb;"
	    "8: mov $1, %al; nop; jmp 7f; 9: mov $99, %al; nop; 7: nop");
	CHECK_EQ("rep movs over the next instruction", trap.s.ax & 0xff, 99);
	/* REP STOS that overwrites itself ends what it began or stops
	 * architecturally at an iteration: either way the bytes are right */
	RUN("mov $9f, %edi; mov $4, %ecx; mov $0x90, %al; rep stosb;"
	    "9: ud2; ud2; mov $5, %al");
	CHECK_EQ("rep stos over ud2", trap.s.ax & 0xff, 5);
}

static void pages(struct page_tables *pt)
{
	uptr p = (uptr)code;

	topic("SDM 3A 8.1.3: by physical address");
	for (uptr a = 0; a < sizeof(code); a += 4096)
		page_map(pt, 0x50000000 + a, p + a, PTE_P | PTE_W | PTE_U);
	emit(p + 256, 1);
	CHECK_EQ("code by its first mapping", call(p + 256), 1);
	emit(0x50000000 + 256, 2);
	CHECK_EQ("changed by the second mapping", call(p + 256), 2);
	CHECK_EQ("seen by the second mapping", call(0x50000000 + 256), 2);
	emit(p + 256, 3);
	CHECK_EQ("changed by the first, seen by the second",
		 call(0x50000000 + 256), 3);

	emit(p + 4096 - 3, 0x01020304);
	CHECK_EQ("instruction across pages", call(p + 4096 - 3), 0x01020304);
	code[4096 + 1] = 0x55;
	CHECK_EQ("its second page changes", call(p + 4096 - 3), 0x55020304);
	code[4096 - 2] = 0x66;
	CHECK_EQ("its first page changes", call(p + 4096 - 3), 0x55020366);
	/* the second page becomes another one */
	memcpy(code + 0x2000, code + 0x1000, 64);
	code[0x2000 + 1] = 0x77;
	page_map(pt, p + 0x1000, p + 0x2000, PTE_P | PTE_W | PTE_U);
	CHECK_EQ("its second page is mapped elsewhere", call(p + 4096 - 3),
		 0x77020366);
	page_map(pt, p + 0x1000, p + 0x1000, PTE_P | PTE_W | PTE_U);
	CHECK_EQ("and back", call(p + 4096 - 3), 0x55020366);

	topic("SDM 3A 4.7: fetch across a page");
#ifdef __x86_64__
	u32 fetch = PF_I;
#else
	u32 fetch = 0;
#endif
	page_map(pt, p + 0x1000, 0, 0);
	RUN("jmp *" CX, .in.cx = p + 4096 - 3);
	CHECK_EQ("second page missing", (u64)trap.vec << 8 | trap.err,
		 VEC_PF << 8 | fetch);
	CHECK_EQ("ip is the start", trap.s.ip, p + 4096 - 3);
	CHECK_EQ("CR2 is the second page", trap.cr2, p + 4096);
	page_map(pt, p + 0x1000, p + 0x1000, PTE_P | PTE_W | PTE_U);
	CHECK_EQ("works when the page is back", call(p + 4096 - 3), 0x55020366);
#ifdef __x86_64__
	page_map(pt, p + 0x1000, p + 0x1000, PTE_P | PTE_W | PTE_NX);
	RUN("jmp *" CX, .in.cx = p + 4096 - 3);
	CHECK_EQ("second page NX", (u64)trap.vec << 8 | trap.err,
		 VEC_PF << 8 | PF_I | PF_P);
	CHECK_EQ("ip is the start, NX", trap.s.ip, p + 4096 - 3);
	CHECK_EQ("CR2, NX", trap.cr2, p + 4096);
	page_map(pt, p + 0x1000, p + 0x1000, PTE_P | PTE_W | PTE_U);
#endif
	/* the end of a page without need of the next */
	emit(p + 4096 - 7, 9);
	page_map(pt, p + 0x1000, 0, 0);
	CHECK_EQ("code that ends with its page", call(p + 4096 - 7), 9);
	code[4095] = 0x90;
	RUN("jmp *" CX, .in.cx = p + 4095);
	CHECK_EQ("running into a missing page", trap.s.ip, p + 4096);
	page_map(pt, p + 0x1000, p + 0x1000, PTE_P | PTE_W | PTE_U);

	topic("SDM 2A 2.3.11, 3A 6.15 #GP: 15 bytes");
	FINE("14 prefixes", ".fill 14, 1, 0x66; nop");
	FAULT("15 prefixes", VEC_GP, 0, ".fill 15, 1, 0x66; nop");
	FAULT("15 other prefixes", VEC_GP, 0, ".fill 15, 1, 0x3e; nop");
	FAULT("long by its operand", VEC_GP, 0,
	      ".fill 10, 1, 0x3e; movl $1, (%esp)");
	FAULT("too long comes before UD", VEC_GP, 0,
	      ".fill 15, 1, 0xf0; ud2");
	/* the limit is found before the missing page (SDM 3A table 6-2) */
	memset(code + 4096 - 15, 0x66, 15);
	page_map(pt, p + 0x1000, 0, 0);
	RUN("jmp *" CX, .in.cx = p + 4096 - 15);
	CHECK("15 prefixes at the end of a page",
	      trap.vec == VEC_GP || trap.vec == VEC_PF);
	page_map(pt, p + 0x1000, p + 0x1000, PTE_P | PTE_W | PTE_U);
}

/* ---- another processor ---- */

static volatile u32 step, answer, answers;

/* Run the code each time that `step` grows, after a serializing CPUID. */
static void runner(uptr at)
{
	u32 seen = 0;

	while (seen < 200) {
		while (step == seen)
			pause();
		cpuid(0, 0);
		seen++;
		u32 got;
		asm volatile("call *%1" : "=a"(got) : "r"(at) : "memory");
		answer = got;
		barrier();
		asm volatile("lock incl %0" : "+m"(answers));
	}
}

static void spin(uptr at)
{
	u32 got;

	asm volatile("call *%1" : "=a"(got) : "r"(at) : "memory");
	answer = got;
}

static void other(void)
{
	uptr p = (uptr)code + 0x3000;
	bool good = true;

	topic("SDM 3A 8.1.3: cross-modifying code");
	smp_post(1, runner, p);
	for (u32 i = 1; i <= 200; i++) {
		emit(p, i * 3);
		*(volatile u8 *)(p + 5) = 0xc3;
		barrier();
		step = i;
		while (answers != i)
			pause();
		good &= answer == i * 3;
	}
	smp_wait(1);
	CHECK("another processor runs what this one wrote", good);

	/* a single aligned byte may change under a running loop */
	static const u8 loop[] = { 0xb8, 0, 0, 0, 0, 0x85, 0xc0, 0x74, 0xf7,
				   0xc3 };	/* 0: mov $0; test; jz 0; ret */
	memcpy((void *)p, loop, sizeof(loop));
	step = 0, answers = 0;
	smp_post(1, spin, p);
	delay_us(5000);
	*(volatile u8 *)(p + 1) = 42;
	smp_wait(1);
	CHECK_EQ("a running loop sees the change", answer, 42);
}

void guest_main(void)
{
	static struct page_tables pt;

	own();
	if (smp_start() >= 2)
		other();
	else
		skip("cross-modifying code", "one processor");
#ifdef __x86_64__
	page_tables_init(&pt, PAGE_4LEVEL, PTE_W | PTE_U);
#else
	page_tables_init(&pt, PAGE_32, PTE_W | PTE_U);
#endif
	page_tables_on(&pt);
	pages(&pt);
}
