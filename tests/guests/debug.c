/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Single step and debug registers.  DR6 may show breakpoints that matched but
 * are not enabled (SDM 3B 17.2.3), so unused address registers stay away
 * from what the checks touch.
 */
#include "guest.h"

enum { DR6_CLEAR = 0xffff0ff0, DR6_BD = 1 << 13, DR6_BS = 1 << 14 };
enum { DR7_FIXED = 0x400, DR7_GD = 1 << 13 };

static u16 word_sel = SEL_KDATA;
static u8 buffer[64] __attribute__((aligned(64)));

/* DR7 bits of breakpoint n: type (0 x, 1 w, 2 io, 3 rw), length. */
static u32 dr7(unsigned n, unsigned type, unsigned len)
{
	unsigned code = len == 8 ? 2 : len - 1;

	return DR7_FIXED | 2u << 2 * n | type << (16 + 4 * n) |
	       code << (18 + 4 * n);
}

static void clear(void)
{
	dr7_write(DR7_FIXED);
	dr6_write(DR6_CLEAR);
}

/* ---- single step ---- */

#define STEP(name, text, ...) do {					\
	clear();							\
	TRAP(name, VEC_DB, 0, text, .in.flags = FL_TF, __VA_ARGS__);	\
	CHECK_EQ(name ", DR6.BS", dr6_read() & (DR6_BS | DR6_BD), DR6_BS); \
} while (0)

static void step(void)
{
	topic("SDM 3B 17.3.1.4");
	STEP("step a nop", "nop; 1: nop", .in.cx = 0);
	CHECK("TF is in the saved flags", trap.s.flags & FL_TF);
	CHECK("RF is not", !(trap.s.flags & FL_RF));
	STEP("step at ring 3", "nop; 1: nop", .ring = 3);
	STEP("step a jump", "jmp 1f; nop; 1: nop", .in.cx = 0);
	STEP("step a call", "call 1f; nop; 1: nop", .in.cx = 0);
	STEP("step a repetition, one iteration", "1: rep stosb",
	     .in.cx = 5, .in.di = (uptr)buffer);
	CHECK_EQ("step of rep, cx", trap.s.cx, 4);
	STEP("step the last repetition", "rep stosb; 1: nop",
	     .in.cx = 1, .in.di = (uptr)buffer);
	STEP("step rep with cx = 0", "rep stosb; 1: nop",
	     .in.cx = 0, .in.di = (uptr)buffer);
	STEP("step cpuid", "cpuid; 1: nop", .in.cx = 0);
	STEP("step in", "in $0x80, %al; 1: nop", .in.cx = 0);
	clear();
	TRAP("popf sets TF, after the next instruction", VEC_DB, 0,
	     "push $0x102; popf; nop; 1: nop");
	clear();
#ifdef __x86_64__
	TRAP("iret sets TF, after the next instruction", VEC_DB, 0,
	     "mov %rsp, %rax; push $0x10; push %rax; push $0x102; push $0x8;"
	     "push $9f; iretq; 9: nop; 1: nop");
#else
	TRAP("iret sets TF, after the next instruction", VEC_DB, 0,
	     "push $0x102; push $0x8; push $9f; iret; 9: nop; 1: nop");
#endif
	clear();
	topic("SDM 3A 6.12.1.3");
	TRAP("int clears TF, no step in the handler", 0x80, 0,
	     "int $0x80; 1: nop", .in.flags = FL_TF);
	CHECK("TF is saved", trap.s.flags & FL_TF);
	CHECK("BS stays clear", !(dr6_read() & DR6_BS));
	clear();
	topic("SDM 3A 6.8.3, 3B 17.3.1.4: MOV SS holds the trap back");
	TRAP("step over mov ss", VEC_DB, 0,
	     "mov %ecx, %ss; nop; 1: nop; nop", .in.flags = FL_TF,
	     .in.cx = SEL_KDATA);
	clear();
	topic("SDM 3A 6.9: the fault comes before the trap");
	FAULT("step of a fault", VEC_UD, 0, "ud2", .in.flags = FL_TF);
	CHECK("a fault leaves BS clear", !(dr6_read() & DR6_BS));
	clear();
	TRAP("popf that clears TF still traps", VEC_DB, 0, "popf; 1: nop",
	     .in.flags = FL_TF, .in.sp = (*(uptr *)(stack0 + 64) = 2,
					  (uptr)stack0 + 64));
	clear();
}

/* ---- breakpoints ---- */

static void execute(void)
{
	const struct code *c = CODE("nop; inc %eax; 1: inc %eax; nop");

	topic("SDM 3B 17.3.1.1");
	for (unsigned n = 0; n < 4; n++) {
		static const char *const name[] = {
			"execute breakpoint 0", "execute breakpoint 1",
			"execute breakpoint 2", "execute breakpoint 3",
		};

		clear();
		switch (n) {
		case 0: dr0_write(c->at); break;
		case 1: dr1_write(c->at); break;
		case 2: dr2_write(c->at); break;
		case 3: dr3_write(c->at); break;
		}
		dr7_write(dr7(n, 0, 1));
		expect(&(struct try){ .name = name[n], .code = c,
				      .vec = VEC_DB, .changes = true });
		CHECK("its B bit", dr6_read() & BIT(n));
		CHECK_EQ("before the instruction", trap.s.ax, 1);
		if (n == 0)
			CHECK("RF is clear in the saved flags",
			      !(trap.s.flags & FL_RF));
	}
	clear();
	dr0_write(c->at);
	dr7_write(dr7(0, 0, 1));
	run(&(struct try){ .code = c, .in.ip = c->at,
			   .in.flags = FL_RF });
	CHECK_EQ("RF lets the instruction through", trap.vec, VEC_DONE);
	CHECK("RF is clear after it", !(trap.s.flags & FL_RF));
	dr7_write(DR7_FIXED);
	run(&(struct try){ .code = c });
	CHECK_EQ("disabled breakpoint", trap.vec, VEC_DONE);
	dr7_write((dr7(0, 0, 1) & ~2u) | 1);
	run(&(struct try){ .code = c });
	CHECK_EQ("local enable", trap.vec, VEC_DB);
	c = CODE("rep stosb; 1: nop");
	clear();
	dr0_write(c->start);
	dr7_write(dr7(0, 0, 1));
	run(&(struct try){ .code = c, .in.cx = 3, .in.di = (uptr)buffer });
	CHECK_EQ("breakpoint on rep, before the first iteration",
		 trap.s.cx, 3);
	run(&(struct try){ .code = c, .in.cx = 3, .in.di = (uptr)buffer,
			   .in.flags = FL_RF });
	CHECK_EQ("RF holds for all iterations", trap.vec, VEC_DONE);
	clear();
}

static void data(void)
{
	uptr p = (uptr)buffer;

	topic("SDM 3B 17.2.5, 17.3.1.2");
#define WATCH(type, len, off) \
	(clear(), dr0_write(p + (off)), dr7_write(dr7(0, type, len)))
	WATCH(1, 1, 5);
	TRAP("write of the byte", VEC_DB, 0, "movb $1, 5(%ecx); 1: nop",
	     .in.cx = p);
	CHECK_EQ("B0", dr6_read() & 1, 1);
	CHECK_EQ("the write is done", buffer[5], 1);
	WATCH(1, 1, 5);
	TRAP("write that covers the byte", VEC_DB, 0,
	     "movl $1, 4(%ecx); 1: nop", .in.cx = p);
	WATCH(1, 1, 5);
	FINE("write beside it", "movb $1, 4(%ecx); movb $1, 6(%ecx)",
	     .in.cx = p);
	WATCH(1, 1, 5);
	FINE("write watch ignores reads", "mov 5(%ecx), %al", .in.cx = p);
	WATCH(3, 1, 5);
	TRAP("read", VEC_DB, 0, "mov 5(%ecx), %al; 1: nop", .in.cx = p);
	WATCH(3, 2, 4);
	TRAP("two bytes, the second", VEC_DB, 0, "mov 5(%ecx), %al; 1: nop",
	     .in.cx = p);
	WATCH(3, 2, 5);
	TRAP("length 2 aligns the address", VEC_DB, 0,
	     "mov 4(%ecx), %al; 1: nop", .in.cx = p);
	WATCH(3, 4, 8);
	TRAP("four bytes, unaligned access at the end", VEC_DB, 0,
	     "mov 11(%ecx), %eax; 1: nop", .in.cx = p);
	WATCH(3, 4, 8);
	TRAP("four bytes, access that ends in it", VEC_DB, 0,
	     "mov 5(%ecx), %eax; 1: nop", .in.cx = p);
	WATCH(3, 4, 8);
	FINE("four bytes, beside", "mov 12(%ecx), %eax; mov 4(%ecx), %eax",
	     .in.cx = p);
#ifdef __x86_64__
	WATCH(3, 8, 16);
	TRAP("eight bytes", VEC_DB, 0, "mov 23(%ecx), %al; 1: nop",
	     .in.cx = p);
#endif
	WATCH(1, 4, 8);
	TRAP("read-modify-write", VEC_DB, 0, "lock incl 8(%ecx); 1: nop",
	     .in.cx = p);
	WATCH(1, 4, 8);
	TRAP("xchg", VEC_DB, 0, "xchg %eax, 8(%ecx); 1: nop", .in.cx = p);
	WATCH(3, 1, 8);
	TRAP("16-byte load", VEC_DB, 0, "movups (%ecx), %xmm0; 1: nop",
	     .in.cx = p);
	clear();
	dr0_write((uptr)stack0 + 0x1000 - WORD);
	dr7_write(dr7(0, 1, 4));
	TRAP("push", VEC_DB, 0, "lea stack0 + 0x1000, " SP "; push " AX
	     "; 1: nop", .in.cx = 0);
	WATCH(1, 1, 3);
	TRAP("rep stos stops after the iteration", VEC_DB, 0,
	     "1: rep stosb", .in.cx = 10, .in.di = p);
	CHECK_EQ("rep stos, cx", trap.s.cx, 6);
	clear();
	dr0_write(p + 5), dr1_write(p + 6);
	dr7_write(dr7(0, 1, 1) | dr7(1, 1, 1));
	TRAP("two at once", VEC_DB, 0, "movl $0, 4(%ecx); 1: nop",
	     .in.cx = p);
	CHECK_EQ("B0 and B1", dr6_read() & 3, 3);
	clear();
	topic("SDM 3B 17.2.3: B bits are not cleared by the processor");
	dr6_write(DR6_CLEAR | 8);
	dr0_write(p), dr7_write(dr7(0, 1, 1));
	TRAP("B3 was set before", VEC_DB, 0, "movb $0, (%ecx); 1: nop",
	     .in.cx = p);
	CHECK("B0 is added", dr6_read() & 1);
	clear();
	topic("SDM 3A 6.8.3, 3B 17.3.1.2");
	dr0_write((uptr)&word_sel), dr7_write(dr7(0, 3, 2));
	TRAP("watch on the operand of mov ss", VEC_DB, 0,
	     "mov (%ecx), %ss; nop; 1: nop", .in.cx = (uptr)&word_sel);
	clear();
}

static void io(void)
{
	topic("SDM 3B 17.3.1.3, 17.2.2");
	WITH_CR4(CR4_DE, 0,
		 clear();
		 dr0_write(0x80);
		 dr7_write(dr7(0, 2, 1));
		 TRAP("I/O breakpoint out", VEC_DB, 0,
		      "out %al, $0x80; 1: nop");
		 CHECK_EQ("I/O breakpoint, B0", dr6_read() & 1, 1);
		 TRAP("I/O breakpoint in", VEC_DB, 0, "in $0x80, %al; 1: nop");
		 FINE("other port", "in $0x84, %al");
		 TRAP("wide access over the port", VEC_DB, 0,
		      "in $0x7e, %eax; 1: nop");
		 clear();
		 FAULT("DR4 with CR4.DE", VEC_UD, 0, "mov %db4, " AX);
		 FAULT("DR5 with CR4.DE", VEC_UD, 0, "mov " AX ", %db5"));
	clear();
	FINE("DR4 is DR6 without DE", "mov %db4, " AX);
	CHECK_EQ("DR4 value", (u32)trap.s.ax, (u32)dr6_read());
}

static void registers(void)
{
	topic("SDM 3B 17.2.4");
	clear();
	dr7_write(DR7_FIXED | DR7_GD);
	FAULT("GD, mov from DR", VEC_DB, 0, "mov %db0, " AX);
	CHECK("DR6.BD", dr6_read() & DR6_BD);
	CHECK("GD is clear in the handler", !(dr7_read() & DR7_GD));
	clear();
	dr7_write(DR7_FIXED | DR7_GD);
	FAULT("GD, mov to DR", VEC_DB, 0, "mov " AX ", %db7", .in.ax = 0x400);
	clear();
	FAULT("DR at ring 3", VEC_GP, 0, "mov %db0, " AX, .ring = 3);
	topic("SDM 3B 17.2, fixed bits");
	dr7_write(0);
	CHECK_EQ("DR7 bit 10", dr7_read() & 0x400, 0x400);
	dr6_write(0);
	CHECK_EQ("DR6 fixed ones", dr6_read() & 0xfffe0ff0, 0xfffe0ff0);
	CHECK_EQ("DR6 fixed zero", dr6_read() & 0x1000, 0);
	dr3_write(0x12345678);
	CHECK_EQ("DR3 reads back", dr3_read(), 0x12345678);
	dr3_write(0);
#ifdef __x86_64__
	FAULT("DR7 upper half", VEC_GP, 0, "mov %rax, %db7",
	      .in.ax = 1ull << 40);
	FAULT("DR6 upper half", VEC_GP, 0, "mov %rax, %db6",
	      .in.ax = 1ull << 40);
#endif
	clear();
}

void guest_main(void)
{
	step();
	execute();
	data();
	io();
	registers();
}
