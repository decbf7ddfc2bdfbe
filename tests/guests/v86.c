/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual-8086 mode: entry by IRET, sensitive instructions by IOPL, the I/O
 * map, exceptions with their frame of nine words, and VME.
 */
#include "guest.h"

enum { SEG = 0x1000, AT = 0x10000 };	/* where the 8086 code lies */

/* Run 16-bit code in virtual-8086 mode; the saved IP is the offset. */
static void v86(const struct code *c, struct state in)
{
	memcpy((void *)AT, (void *)(uptr)c->start, c->end + 2 - c->start);
	in.cs = SEG;
	in.ip = 0;
	in.flags |= FL_VM;
	in.ss = 0x2000;
	if (!in.sp)
		in.sp = 0x1000;
	struct try t = { .code = &(struct code){ 0, 0, 0 }, .in = in };
	run(&t);
}

static unsigned at(const struct code *c) { return c->at - c->start; }

#define V86(text, ...) v86(CODE(".code16;" text), (struct state){ __VA_ARGS__ })
#define V86_TRAP(name, vec_, err_, text, ...) do {			\
	const struct code *c_ = CODE(".code16;" text);			\
	v86(c_, (struct state){ __VA_ARGS__ });				\
	CHECK_EQ(name, (u64)trap.vec << 48 | (u64)trap.err << 32 |	\
		 trap.s.ip, (u64)(vec_) << 48 | (u64)(err_) << 32 |	\
		 (vec_ == VEC_DONE ? c_->end + 2 - c_->start : at(c_))); \
} while (0)
/* IOPL 3 is what INT n, and so the end of a snippet, needs. */
#define V86_FINE(name, text, ...)					\
	V86_TRAP(name, VEC_DONE, 0, text, .flags = FL_IOPL, __VA_ARGS__)

static void basics(void)
{
	topic("SDM 3B 20.1, 20.2");
	V86_FINE("enter and leave", "nop", .ds = 0x1234, .es = 0x2345,
		 .fs = 0x3456, .gs = 0x4567);
	CHECK_EQ("cs", trap.s.cs, SEG);
	CHECK_EQ("ss", trap.s.ss, 0x2000);
	CHECK_EQ("ds in the frame", trap.s.ds, 0x1234);
	CHECK_EQ("es in the frame", trap.s.es, 0x2345);
	CHECK_EQ("fs in the frame", trap.s.fs, 0x3456);
	CHECK_EQ("gs in the frame", trap.s.gs, 0x4567);
	CHECK("VM in the frame", trap.s.flags & FL_VM);
	V86_FINE("segments are paragraphs", "mov $0x3000, %ax; mov %ax, %ds;"
		 "movl $0x12345678, 0x10");
	CHECK_EQ("written at 16 * segment", *(volatile u32 *)0x30010,
		 0x12345678);
	V86_FINE("1 MiB and beyond", "movw $0xffff, %ax; mov %ax, %ds;"
		 "mov 0x10, %eax");
	CHECK_EQ("ffff:0010 is 1 MiB", trap.s.ax, *(u32 *)0x100000);
	V86_TRAP("limit of 64 KiB", VEC_GP, 0, "mov 0xffff, %ax",
		 .flags = FL_IOPL);
	V86_TRAP("stack limit", VEC_SS, 0, "pop %ax", .flags = FL_IOPL,
		 .sp = 0xffff);
	V86_TRAP("offset above 64 KiB by a 32-bit address", VEC_GP, 0,
		 "mov (%ecx), %ax", .flags = FL_IOPL, .cx = 0x10000);
	/* 1000:0005 is 1001:fff5 less 64 KiB: jump to 0fff:0015 */
	V86("ljmp $0x0fff, $0x15; nop; nop", .flags = FL_IOPL);
	CHECK_EQ("far jmp", (u64)trap.s.cs << 32 | trap.s.ip,
		 0x0fffull << 32 | 0x19);
}

static void sensitive(void)
{
	topic("SDM 3B 20.2.8: IOPL below 3");
	V86_TRAP("cli", VEC_GP, 0, "1: cli");
	V86_TRAP("sti", VEC_GP, 0, "1: sti");
	V86_TRAP("pushf", VEC_GP, 0, "nop; 1: pushf");
	V86_TRAP("popf", VEC_GP, 0, "nop; 1: popf");
	V86_TRAP("pushfl", VEC_GP, 0, "nop; 1: pushfl");
	V86_TRAP("int n", VEC_GP, 0, "nop; 1: int $0x80");
	V86_TRAP("iret", VEC_GP, 0, "nop; 1: iret");
	V86_TRAP("int3 is not sensitive", VEC_BP, 0, "int3; 1: nop");
	V86_TRAP("into is not sensitive", VEC_OF, 0, "into; 1: nop",
		 .flags = FL_OF);
	topic("SDM 3B 20.2.8: IOPL 3");
	V86_FINE("cli with IOPL 3", "cli", .cx = 0);
	V86_FINE("pushf with IOPL 3", "pushf; pop %ax; mov %ax, %cx");
	CHECK_EQ("pushf shows IOPL", trap.s.cx & FL_IOPL, FL_IOPL);
	V86_FINE("popf cannot change IOPL", "pushw $0x0002; popf; pushf; pop %ax");
	CHECK_EQ("IOPL after popf", trap.s.ax & FL_IOPL, FL_IOPL);
	V86_FINE("popfl cannot clear VM", "pushl $2; popfl; nop");
	CHECK("VM after popfl", trap.s.flags & FL_VM);
	V86("pushw $0x3003; pushw %cs; pushw $9; .byte 0xcf; hlt; nop",
	    .flags = FL_IOPL);
	CHECK_EQ("iret", trap.s.ip, 11);
	CHECK("iret loads CF", trap.s.flags & FL_CF);
	topic("SDM 3B 20.2.7: instructions of ring 0");
	V86_TRAP("hlt", VEC_GP, 0, "1: hlt", .flags = FL_IOPL);
	V86_TRAP("mov cr0", VEC_GP, 0, "1: mov %cr0, %eax", .flags = FL_IOPL);
	V86_TRAP("lgdt", VEC_GP, 0, "1: lgdt 0", .flags = FL_IOPL);
	V86_TRAP("lmsw", VEC_GP, 0, "1: lmsw %ax", .flags = FL_IOPL);
	V86_TRAP("clts", VEC_GP, 0, "1: clts", .flags = FL_IOPL);
	V86_TRAP("rdmsr", VEC_GP, 0, "1: rdmsr", .flags = FL_IOPL);
	topic("SDM 2A: not recognized in virtual-8086 mode");
	V86_TRAP("lldt", VEC_UD, 0, "1: lldt %ax", .flags = FL_IOPL);
	V86_TRAP("sldt", VEC_UD, 0, "1: sldt %ax", .flags = FL_IOPL);
	V86_TRAP("str", VEC_UD, 0, "1: str %ax", .flags = FL_IOPL);
	V86_TRAP("lar", VEC_UD, 0, "1: lar %ax, %cx", .flags = FL_IOPL);
	V86_TRAP("verr", VEC_UD, 0, "1: verr %ax", .flags = FL_IOPL);
	V86_TRAP("arpl", VEC_UD, 0, "1: arpl %ax, %cx", .flags = FL_IOPL);
	V86_TRAP("VEX prefix", VEC_UD, 0, "1: .byte 0xc5, 0xf8, 0x77",
		 .flags = FL_IOPL);
}

static void exceptions(void)
{
	topic("SDM 3B 20.3.1");
	V86_TRAP("divide error", VEC_DE, 0, "nop; 1: div %cx",
		 .flags = FL_IOPL);
	V86_TRAP("ud2", VEC_UD, 0, "1: ud2", .flags = FL_IOPL, .ds = 0x77);
	CHECK_EQ("ds after ud2", trap.s.ds, 0x77);
	/* a gate to a ring other than 0 (SDM 2A INT) */
	idt_set_raw(0x80, gate(SEL_UCODE32, 0, SEG_P | SEG_INT | SEG_DPL3, 0));
	V86_TRAP("int to ring 3 code", VEC_GP, SEL_UCODE32, "1: int $0x80",
		 .flags = FL_IOPL);
	idt_reset(0x80);
	V86_TRAP("int through a gate of ring 0", VEC_GP, 0x80 * 8 + 2,
		 "1: int $0x80", .flags = FL_IOPL);
}

static void ports(void)
{
	topic("SDM 1 19.5.2, 3B 20.2.8.1: the map decides, not IOPL");
	V86_TRAP("port denied with IOPL 3", VEC_GP, 0, "1: in $0x80, %al",
		 .flags = FL_IOPL);
	tss.io[0x80 / 8] = 0xfe;
	V86_FINE("port allowed", "in $0x80, %al", .cx = 0);
	V86_TRAP("word port half denied", VEC_GP, 0, "1: in $0x80, %ax",
		 .flags = FL_IOPL);
	V86_TRAP("port allowed with IOPL 0, then int", VEC_GP, 0,
		 "in $0x80, %al; 1: int $0x80");
	tss.io[0x80 / 8] = 0xff;
}

/* The TSS with an interrupt redirection map before the I/O map. */
static void vme(void)
{
	topic("SDM 3B 20.3.3, 20.4");
	if (!has1d(1)) {
		skip("VME", "not in CPUID");
		return;
	}
	cr4_write(cr4_read() | CR4_VME);
	tss.t.iomap = sizeof(tss.t) + 32;	/* redirection map: 32 bytes */
	memset(tss.io, 0xff, 32);
	V86_TRAP("cli clears VIF", VEC_GP, 0, "cli; 1: hlt",
		 .flags = FL_VIF | FL_IF);
	CHECK_EQ("VIF, IF after cli", trap.s.flags & (FL_VIF | FL_IF), FL_IF);
	V86_TRAP("sti sets VIF", VEC_GP, 0, "sti; 1: hlt", .flags = FL_IF);
	CHECK_EQ("VIF after sti", trap.s.flags & (FL_VIF | FL_IF),
		 FL_VIF | FL_IF);
	V86_TRAP("sti with VIP", VEC_GP, 0, "1: sti", .flags = FL_VIP);
	V86_TRAP("pushf shows VIF as IF, IOPL 3", VEC_GP, 0,
		 "pushf; pop %ax; 1: hlt", .flags = FL_VIF);
	CHECK_EQ("pushed flags", trap.s.ax & (FL_IF | FL_IOPL),
		 FL_IF | FL_IOPL);
	V86_TRAP("popf moves IF to VIF", VEC_GP, 0,
		 "pushw $0x0202; popf; 1: hlt", .cx = 0);
	CHECK_EQ("VIF after popf", trap.s.flags & (FL_VIF | FL_IF), FL_VIF);
	V86_TRAP("pushfl still faults", VEC_GP, 0, "1: pushfl", .cx = 0);
	V86_TRAP("int with the map's bit set", VEC_GP, 0, "1: int $0x80");
	/* redirected: through the 8086 vector at 0:4*n */
	tss.io[0x80 / 8] = 0xfe;
	*(volatile u16 *)(0x80 * 4 + 2) = SEG;
	const struct code *c = CODE(".code16; int $0x80; nop; hlt; 1: hlt");
	*(volatile u16 *)(0x80 * 4) = c->at - c->start;
	v86(c, (struct state){ .flags = FL_VIF | FL_IF });
	CHECK_EQ("redirected handler's ip", trap.s.ip, c->at - c->start);
	CHECK_EQ("redirected handler's sp", trap.s.sp & 0xffff, 0x1000 - 6);
	CHECK_EQ("VIF is clear in the handler", trap.s.flags & FL_VIF, 0);
	CHECK_EQ("saved flags have IF from VIF and IOPL 3",
		 *(volatile u16 *)(0x20000 + 0xffe) & 0x3200, 0x3200);
	tss.io[0x80 / 8] = 0xff;
	tss.t.iomap = sizeof(tss.t);
	cr4_write(cr4_read() & ~CR4_VME);
	if (cpuid(1, 0).d & BIT(1)) {
		topic("SDM 3B 20.4: protected-mode virtual interrupts");
		WITH_CR4(CR4_PVI, 0,
			 FINE("PVI sti at ring 3", "sti", .ring = 3);
			 CHECK_EQ("PVI sets VIF",
				  trap.s.flags & (FL_VIF | FL_IF), FL_VIF);
			 FINE("PVI cli at ring 3", "cli", .ring = 3,
			      .in.flags = FL_VIF);
			 CHECK_EQ("PVI clears VIF", trap.s.flags & FL_VIF, 0);
			 FAULT("PVI sti with VIP", VEC_GP, 0, "sti",
			       .ring = 3, .in.flags = FL_VIP));
	}
}

void guest_main(void)
{
	basics();
	sensitive();
	exceptions();
	ports();
	vme();
}
