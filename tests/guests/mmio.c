/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every operand size and kind of instruction on device memory and ports.
 * HOLE is the VGA graphics window, with no VGA or one in text mode: reads
 * give ones, writes vanish.  The I/O APIC's select register and the local APIC's divide
 * register hold what is written, for aligned 32-bit accesses.
 */
#include "apic.h"
#include "guest.h"

#define HOLE 0xa0000u
#define SELECT 0xfec00000u	/* I/O APIC IOREGSEL: 8 bits kept */
#define ICR2 0xfee00310u	/* local APIC: bits 24 to 31 kept */

static u8 buffer[256] __attribute__((aligned(64)));

static void reads(void)
{
	topic("PC: nothing answers, all ones");
#define ONES(name, text, want, ...)					\
	(FINE(name, text, .in.cx = HOLE + 16, __VA_ARGS__),		\
	 CHECK_EQ(name " value", trap.s.ax, (uptr)(want)))
	ONES("mov byte", "mov (%ecx), %al", 0x123456ff, .in.ax = 0x12345678);
	ONES("mov word", "mov (%ecx), %ax", 0x1234ffff, .in.ax = 0x12345678);
	ONES("mov doubleword", "mov (%ecx), %eax", 0xffffffff);
	ONES("mov unaligned", "mov 3(%ecx), %eax", 0xffffffff);
	ONES("movzx byte", "movzbl (%ecx), %eax", 0xff);
	ONES("movzx word", "movzwl (%ecx), %eax", 0xffff);
	ONES("movsx byte", "movsbl (%ecx), %eax", 0xffffffff);
	ONES("movsx word", "movswl 1(%ecx), %eax", 0xffffffff);
	ONES("and from memory", "and (%ecx), %eax", 0x55, .in.ax = 0x55);
	ONES("xor from memory", "xor (%ecx), %eax", 0xffffffaa,
	     .in.ax = 0x55);
	ONES("add from memory", "add (%ecx), %eax", 0x54, .in.ax = 0x55);
	ONES("imul", "imul $2, (%ecx), %eax", 0xfffffffe);
	ONES("bsf", "bsf (%ecx), %eax", 0);
	ONES("moffs", "mov 0xa0010, %eax", 0xffffffff);
	ONES("cmov", "cmovz (%ecx), %eax", 0xffffffff,
	     .in.flags = FL_ZF);
	ONES("movbe or bswap", "mov (%ecx), %eax; bswap %eax", 0xffffffff);
#ifdef __x86_64__
	ONES("mov quadword", "mov (%rcx), %rax", ~0ull);
	ONES("movsxd", "movslq (%rcx), %rax", ~0ull);
#endif
	ONES("16 bytes", "movups (%ecx), %xmm0; movd %xmm0, %eax", 0xffffffff);
	ONES("8 bytes", "movq (%ecx), %xmm0; movd %xmm0, %eax", 0xffffffff);
	ONES("x87 integer", "fildl (%ecx); fistpl buffer_word;"
	     "mov buffer_word, %eax", 0xffffffff);
	ONES("lods", "mov %ecx, %esi; lodsl", 0xffffffff);
	FINE("cmp", "cmpl $-1, (%ecx)", .in.cx = HOLE);
	CHECK("cmp finds ones", trap.s.flags & FL_ZF);
	FINE("test", "testb $0x80, (%ecx)", .in.cx = HOLE);
	CHECK("test finds a one", !(trap.s.flags & FL_ZF));
	FINE("bt", "btl $5, (%ecx)", .in.cx = HOLE);
	CHECK("bt finds a one", trap.s.flags & FL_CF);
	FINE("push", "push" SFX " (%ecx); pop " AX, .in.cx = HOLE);
	CHECK_EQ("pushed ones", trap.s.ax, ~(uptr)0);
	FINE("scas", "repe scasl", .in.di = HOLE, .in.cx = 8,
	     .in.ax = 0xffffffff);
	CHECK_EQ("scas runs to the end", trap.s.cx, 0);
	memset(buffer, 0, sizeof(buffer));
	FINE("rep movs from a device", "rep movsb", .in.si = HOLE,
	     .in.di = (uptr)buffer, .in.cx = 20);
	CHECK_EQ("rep movs data", buffer[19] << 8 | buffer[20], 0xff00);
	FINE("rep movs doublewords", "rep movsl", .in.si = HOLE,
	     .in.di = (uptr)buffer + 64, .in.cx = 4);
	CHECK_EQ("rep movs data of 32 bits", *(u32 *)(buffer + 76),
		 0xffffffff);
	memset(buffer, 0xff, 32);
	FINE("cmps", "repe cmpsb", .in.si = (uptr)buffer, .in.di = HOLE,
	     .in.cx = 32);
	CHECK_EQ("cmps finds them equal", trap.s.cx, 0);
	FINE("rep movs across RAM and device pages", "rep movsb",
	     .in.si = HOLE + 0xff0, .in.di = (uptr)buffer, .in.cx = 64);
	CHECK_EQ("across pages", buffer[63], 0xff);
}

static void writes(void)
{
	topic("PC: writes to nothing vanish");
	FINE("mov of each size", "mov %al, (%ecx); mov %ax, (%ecx);"
	     "mov %eax, (%ecx); mov %eax, 1(%ecx); movl $5, (%ecx)",
	     .in.cx = HOLE);
	FINE("16 bytes out", "movups %xmm0, (%ecx)", .in.cx = HOLE);
	FINE("x87 store", "fldz; fstpt (%ecx)", .in.cx = HOLE);
	FINE("rep stos", "rep stosl", .in.cx = 16, .in.di = HOLE);
	FINE("rep movs to a device", "rep movsw", .in.cx = 16,
	     .in.si = (uptr)buffer, .in.di = HOLE + 1);
	FINE("setcc, pop", "setc (%ecx); push $1; pop" SFX " (%ecx)",
	     .in.cx = HOLE);
	RUN("mov (%ecx), %eax", .in.cx = HOLE);
	CHECK_EQ("still ones", (u32)trap.s.ax, 0xffffffff);
}

static void read_modify_write(void)
{
	topic("82093AA IOREGSEL, SDM 3A 10.6.1 ICR: registers that hold a value");
#define REG(name, text, before, after, ...) do {			\
	*(volatile u32 *)(uptr)ICR2 = (before) << 24;			\
	FINE(name, text, .in.cx = ICR2, __VA_ARGS__);			\
	CHECK_EQ(name " register", *(volatile u32 *)(uptr)ICR2 >> 24,	\
		 after);						\
} while (0)
	REG("add", "addl $0x05000000, (%ecx)", 3u, 8);
	REG("or", "orl $0x0c000000, (%ecx)", 3u, 0xf);
	REG("and", "andl $0x0e000000, (%ecx)", 7u, 6);
	REG("sub", "subl $0x02000000, (%ecx)", 7u, 5);
	REG("lock xor", "lock xorl $0xff000000, (%ecx)", 0xf0u, 0x0f);
	REG("xchg", "xchg %eax, (%ecx)", 0x21u, 0x43, .in.ax = 0x43000000);
	CHECK_EQ("xchg gets the old value", trap.s.ax >> 24, 0x21);
	REG("cmpxchg that matches", "cmpxchg %ebx, (%ecx)", 0x21u, 0x44,
	    .in.ax = 0x21000000, .in.bx = 0x44000000);
	CHECK("cmpxchg sets ZF", trap.s.flags & FL_ZF);
	REG("cmpxchg that does not", "cmpxchg %ebx, (%ecx)", 0x21u, 0x21,
	    .in.ax = 0x22000000, .in.bx = 0x44000000);
	CHECK_EQ("cmpxchg loads eax", trap.s.ax >> 24, 0x21);
	REG("xadd", "lock xadd %eax, (%ecx)", 0x21u, 0x23,
	    .in.ax = 0x02000000);
	REG("bts", "btsl $31, (%ecx)", 1u, 0x81);
	REG("btr", "btrl $24, (%ecx)", 0x81u, 0x80);
	REG("btc", "lock btcl $25, (%ecx)", 0x80u, 0x82);
	REG("inc of another byte vanishes", "incl (%ecx)", 0x80u, 0x80);
	REG("neg", "negl (%ecx)", 1u, 0xff);
	REG("not", "notl (%ecx)", 1u, 0xfe);
	REG("shl", "shll $1, (%ecx)", 0x41u, 0x82);
	REG("shld", "shldl $8, %eax, (%ecx)", 0x41u, 0x00, .in.ax = 0);
	REG("stos", "mov %ecx, %edi; stosl", 1u, 0x66, .in.ax = 0x66000000);
	REG("movs", "mov %ecx, %edi; movsl", 1u, 0x77, .in.si = (uptr)
	    (*(u32 *)buffer = 0x77000000, buffer));
	REG("mov immediate", "movl $0x12000000, (%ecx)", 1u, 0x12);
	REG("movnti", "movnti %eax, (%ecx)", 1u, 0x13, .in.ax = 0x13000000);
	REG("movd", "movd %eax, %xmm0; movd %xmm0, (%ecx)", 1u, 0x14,
	    .in.ax = 0x14000000);
	*(volatile u32 *)(uptr)ICR2 = 0;

	*(volatile u32 *)(uptr)SELECT = 1;
	RUN("mov 0x10(%ecx), %eax", .in.cx = SELECT);
	CHECK_EQ("select and window", trap.s.ax >> 16 & 0xff, 23);

	/* a fault of the other operand leaves the device alone */
	*(volatile u32 *)(uptr)ICR2 = 0x31000000;
#ifdef __x86_64__
	FAULT("movs with a missing source", VEC_PF, 0, "movsl",
	      .in.si = 1ull << 40, .cr2 = 1ull << 40, .in.di = ICR2);
	CHECK_EQ("device untouched", *(volatile u32 *)(uptr)ICR2 >> 24, 0x31);
#endif
}

static void ports(void)
{
	topic("PC: ports without a device, SDM 1 19.2");
	FINE("in of each size", "in %dx, %al; mov %eax, %ebx; in %dx, %ax;"
	     "mov %eax, %esi; in %dx, %eax", .in.dx = 0x1f80);
	CHECK_EQ("in byte", (u32)trap.s.bx, 0xff);
	CHECK_EQ("in word", (u32)trap.s.si, 0xffff);
	CHECK_EQ("in doubleword", (u32)trap.s.ax, 0xffffffff);
	FINE("unaligned ports", "in %dx, %eax", .in.dx = 0x1f83);
	FINE("out of each size", "out %al, %dx; out %ax, %dx; out %eax, %dx",
	     .in.dx = 0x1f80);
	memset(buffer, 0, 64);
	FINE("rep insb", "rep insb", .in.dx = 0x1f80, .in.cx = 10,
	     .in.di = (uptr)buffer);
	CHECK_EQ("rep insb data", buffer[9] << 8 | buffer[10], 0xff00);
	CHECK_EQ("rep insb di", trap.s.di, (uptr)buffer + 10);
	CHECK_EQ("rep insb cx", trap.s.cx, 0);
	FINE("rep insw", "rep insw", .in.dx = 0x1f80, .in.cx = 10,
	     .in.di = (uptr)buffer + 20 + 18, .in.flags = FL_DF);
	CHECK_EQ("rep insw backwards", trap.s.di, (uptr)buffer + 18);
	FINE("rep insl", "rep insl", .in.dx = 0x1f80, .in.cx = 3,
	     .in.di = (uptr)buffer);
	buffer[0] = 0x5a, buffer[1] = 0xa5;
	FINE("rep outsb", "rep outsb", .in.dx = 0x3ff, .in.cx = 2,
	     .in.si = (uptr)buffer);
	CHECK_EQ("rep outsb, the last byte stays", inb(0x3ff), 0xa5);
	CHECK_EQ("rep outsb si", trap.s.si, (uptr)buffer + 2);
	FINE("rep ins with cx = 0", "rep insb", .in.dx = 0x3ff, .in.cx = 0,
	     .in.di = 1);
#ifdef __x86_64__
	FAULT("ins to a missing page", VEC_PF, 2, "insb",
	      .in.dx = 0x3ff, .in.di = 1ull << 40, .cr2 = 1ull << 40);
	FAULT("outs from a missing page", VEC_PF, 0, "outsb",
	      .in.dx = 0x3ff, .in.si = 1ull << 40, .cr2 = 1ull << 40);
#endif

	topic("SDM 1 19.5.2: I/O permission map");
	FAULT("in at ring 3", VEC_GP, 0, "in %dx, %al", .in.dx = 0x1f87,
	      .ring = 3);
	FAULT("rep outs at ring 3", VEC_GP, 0, "rep outsb", .in.dx = 0x1f87,
	      .in.cx = 2, .in.si = (uptr)buffer, .ring = 3);
	FINE("in with IOPL 3", "in %dx, %al", .in.dx = 0x1f87, .ring = 3,
	     .in.flags = FL_IOPL);
	tss.io[0x1f87 / 8] &= 0x7f;
	FINE("in by the map", "in %dx, %al", .in.dx = 0x1f87, .ring = 3);
	CHECK_EQ("its value", trap.s.ax & 0xff, 0xff);
	FAULT("word over the map's end of rights", VEC_GP, 0, "in %dx, %ax",
	      .in.dx = 0x1f86, .ring = 3);
	FAULT("word into the next byte of the map", VEC_GP, 0, "in %dx, %ax",
	      .in.dx = 0x1f87, .ring = 3);
	tss.io[0x1f88 / 8] &= 0xfe;
	FINE("word by two bits", "in %dx, %ax", .in.dx = 0x1f87, .ring = 3);
	tss.io[0x1f87 / 8] = tss.io[0x1f88 / 8] = 0;
	tss_load(sizeof(tss.t) + 0x3ff / 8 - 1);
	for (unsigned i = 0; i < 8192; i++)
		tss.io[i] = 0;
	FAULT("map beyond the TSS limit", VEC_GP, 0, "in %dx, %al",
	      .in.dx = 0x400, .ring = 3);
	FINE("map within the TSS limit", "in %dx, %al",
	     .in.dx = 0x80, .ring = 3);
	tss_load(sizeof(tss) - 1);
}

u32 buffer_word;

void guest_main(void)
{
	apic_enable();
	reads();
	writes();
	read_modify_write();
	ports();
}
