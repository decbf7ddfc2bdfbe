/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every exception that an instruction can provoke, with its error code and
 * saved IP.  Page faults in all their kinds are in paging.c, the segment
 * checks in segments.c, #TS in rings.c and tasks.c.
 */
#include "guest.h"

static void divide(void)
{
	topic("SDM 3A 6.15 #DE");
	FAULT("DE div by 0", VEC_DE, 0, "div %ecx", .in.ax = 1);
	FAULT("DE div quotient too large", VEC_DE, 0, "div %ecx",
	      .in.dx = 5, .in.cx = 5);
	FAULT("DE idiv of the least number by -1", VEC_DE, 0, "idiv %ecx",
	      .in.ax = 0x80000000, .in.dx = 0xffffffff, .in.cx = 0xffffffff);
	FAULT("DE div byte", VEC_DE, 0, "div %cl", .in.ax = 0x1234,
	      .in.cx = 0x12);
	FAULT("DE div word at ring 3", VEC_DE, 0, "div %cx", .ring = 3);
#ifdef __x86_64__
	FAULT("DE div quadword", VEC_DE, 0, "div %rcx", .in.dx = 1,
	      .in.cx = 1);
#else
	FAULT("DE aam 0", VEC_DE, 0, "aam $0", .in.ax = 7);
#endif
	TRAP("DE after other instructions", VEC_DE, 0,
	     "inc %eax; xor %ecx, %ecx; 1: div %ecx");
	CHECK_EQ("DE earlier instructions are done", trap.s.ax, 1);
}

static void traps(void)
{
	topic("SDM 3A 6.15 #BP");
	TRAP("BP int3", VEC_BP, 0, "int3; 1: nop");
	TRAP("BP int3 at ring 3", VEC_BP, 0, "int3; 1: nop", .ring = 3);
	TRAP("BP int 3", VEC_BP, 0, ".byte 0xcd, 3; 1: nop", .ring = 3);
	topic("SDM 3A 6.15 #DB, 2A INT1");
	TRAP("DB int1", VEC_DB, 0, ".byte 0xf1; 1: nop");
	TRAP("DB int1 at ring 3 ignores DPL", VEC_DB, 0, ".byte 0xf1; 1: nop",
	     .ring = 3);
#ifndef __x86_64__
	static u32 bounds[2] = { 10, 20 };

	topic("SDM 3A 6.15 #OF, 2A INTO");
	TRAP("OF into", VEC_OF, 0, "into; 1: nop", .in.flags = FL_OF);
	TRAP("OF into at ring 3", VEC_OF, 0, "into; 1: nop",
	     .in.flags = FL_OF, .ring = 3);
	FINE("OF into without OF", "into");
	topic("SDM 3A 6.15 #BR, 2A BOUND");
	FAULT("BR below", VEC_BR, 0, "bound %eax, (%ecx)",
	      .in.ax = 9, .in.cx = (uptr)bounds);
	FAULT("BR above", VEC_BR, 0, "bound %eax, (%ecx)",
	      .in.ax = 21, .in.cx = (uptr)bounds);
	FINE("BR at the upper bound", "bound %eax, (%ecx)",
	     .in.ax = 20, .in.cx = (uptr)bounds);
#endif
}

static u32 word;

static void undefined(void)
{
	topic("SDM 3A 6.15 #UD, 2A LOCK");
	FAULT("UD ud2", VEC_UD, 0, "ud2");
	FAULT("UD ud1", VEC_UD, 0, ".byte 0x0f, 0xb9, 0xc0");
	FAULT("UD ud0", VEC_UD, 0, ".byte 0x0f, 0xff, 0xc0");
	FAULT("UD opcode 0f 0a", VEC_UD, 0, ".byte 0x0f, 0x0a");
	FAULT("UD mov from test register", VEC_UD, 0, ".byte 0x0f, 0x24, 0xc0");
	FAULT("UD mov to cs", VEC_UD, 0, ".byte 0x8e, 0xc8");
	FAULT("UD mov from segment 6", VEC_UD, 0, ".byte 0x8c, 0xf0");
	FAULT("UD lea of a register", VEC_UD, 0, ".byte 0x8d, 0xc0");
	FAULT("UD group 4 /2", VEC_UD, 0, ".byte 0xfe, 0xd0");
	FAULT("UD group 5 /7", VEC_UD, 0, ".byte 0xff, 0xf8");
	FAULT("UD group 8 /0", VEC_UD, 0, ".byte 0x0f, 0xba, 0xc0, 1");
	FAULT("UD group 11 /1", VEC_UD, 0, ".byte 0xc6, 0xc8, 0");
	FAULT("UD cmpxchg8b of a register", VEC_UD, 0, ".byte 0x0f, 0xc7, 0xc8");
	FAULT("UD far jmp of a register", VEC_UD, 0, ".byte 0xff, 0xe8");
	FAULT("UD mov from cr1", VEC_UD, 0, ".byte 0x0f, 0x20, 0xc8");
	FAULT("UD mov to cr7", VEC_UD, 0, ".byte 0x0f, 0x22, 0xf8");
	FAULT("UD lock nop", VEC_UD, 0, ".byte 0xf0, 0x90");
	FAULT("UD lock mov", VEC_UD, 0, ".byte 0xf0; mov %eax, (%ecx)",
	      .in.cx = (uptr)&word);
	FAULT("UD lock cmp", VEC_UD, 0, ".byte 0xf0; cmp %eax, (%ecx)",
	      .in.cx = (uptr)&word);
	FAULT("UD lock bt", VEC_UD, 0, ".byte 0xf0; bt %eax, (%ecx)",
	      .in.cx = (uptr)&word);
	FAULT("UD lock add from memory", VEC_UD, 0,
	      ".byte 0xf0; add (%ecx), %eax", .in.cx = (uptr)&word);
	FAULT("UD lock add to a register", VEC_UD, 0, ".byte 0xf0; add %eax, %ecx");
	FAULT("UD lock inc of a register", VEC_UD, 0, ".byte 0xf0, 0xff, 0xc0");
	FAULT("UD lock xchg of registers", VEC_UD, 0, ".byte 0xf0; xchg %ecx, %edx");
	FAULT("UD lock push", VEC_UD, 0, ".byte 0xf0; push " AX);
	FINE("UD not for lock not", "lock notl (%ecx)", .in.cx = (uptr)&word);
	FINE("UD not for lock btc", "lock btcl $3, (%ecx)",
	     .in.cx = (uptr)&word);
	FINE("UD not for lock xchg", "lock xchg %eax, (%ecx)",
	     .in.cx = (uptr)&word);
#ifdef __x86_64__
	topic("SDM 2A 2.2.1.2, opcode map: invalid in 64-bit mode");
#define GONE(byte)							\
	FAULT("UD in 64-bit " #byte, VEC_UD, 0, ".byte " #byte ", 0, 0, 0, 0, 0, 0")
	GONE(0x06); GONE(0x07); GONE(0x0e); GONE(0x16); GONE(0x17);
	GONE(0x1e); GONE(0x1f); GONE(0x27); GONE(0x2f); GONE(0x37);
	GONE(0x3f); GONE(0x60); GONE(0x61); GONE(0x82); GONE(0x9a);
	GONE(0xce); GONE(0xd4); GONE(0xd5); GONE(0xd6); GONE(0xea);
#else
	FINE("push es", "push %es; pop %es");
	FINE("opcode 82", ".byte 0x82, 0xc0, 1");
	CHECK_EQ("opcode 82 adds", trap.s.ax, 1);
	FINE("salc", ".byte 0xd6", .in.flags = FL_CF);
	CHECK_EQ("salc copies CF", trap.s.ax, 0xff);
#endif
}

static void protection(void)
{
	gdt_set(TEST(0), segment(0, 0xfffff, SEG_DATA | SEG_W | SEG_G | SEG_B));
	topic("SDM 3A 6.15 #NP");
	FAULT("NP mov to ds", VEC_NP, TEST(0), "mov %ecx, %ds",
	      .in.cx = TEST(0));
	gdt_set(TEST(0), segment(0, 0xfffff, SEG_DATA | SEG_W | SEG_G |
				 SEG_B | SEG_DPL3));
	FAULT("NP mov to es, RPL is not in the error code", VEC_NP, TEST(0),
	      "mov %ecx, %es", .in.cx = TEST(0) | 3);
	gdt_set(TEST(0), segment(0, 0xfffff, SEG_DATA | SEG_W | SEG_G | SEG_B));
	topic("SDM 3A 6.15 #SS");
	FAULT("SS mov to ss of a segment that is not present", VEC_SS, TEST(0),
	      "mov %ecx, %ss", .in.cx = TEST(0));
	topic("SDM 3A 6.15 #GP, 6.13");
	FAULT("GP selector beyond the GDT", VEC_GP, 0x2000, "mov %ecx, %ds",
	      .in.cx = 0x2003);
	FAULT("GP selector in a null LDT", VEC_GP, 0x0c, "mov %ecx, %ds",
	      .in.cx = 0x0f);
	FAULT("GP ring 3 loads a ring 0 segment", VEC_GP, SEL_KDATA,
	      "mov %ecx, %ds", .in.cx = SEL_KDATA | 3, .ring = 3);
	FAULT("GP null selector in ss", VEC_GP, 0, "mov %ecx, %ss",
	      .ring = 3, .in.cx = 0);
	FAULT("GP read-only ss", VEC_GP, SEL_KCODE, "mov %ecx, %ss",
	      .in.cx = SEL_KCODE);
	FAULT("GP int to a gate of ring 0", VEC_GP, 0x50 * 8 + 2, "int $0x50",
	      .ring = 3);
	FAULT("GP cli", VEC_GP, 0, "cli", .ring = 3);
	FAULT("GP hlt", VEC_GP, 0, "hlt", .ring = 3);
	FAULT("GP port", VEC_GP, 0, "in $0x80, %al", .ring = 3);
	FAULT("GP unknown MSR", VEC_GP, 0, "rdmsr", .in.cx = 0x12345678);
#ifdef __x86_64__
	topic("SDM 1 3.3.7.1, 3A 6.15 #GP and #SS");
	uptr hole = 0x800000000000;
	FAULT("GP address not canonical", VEC_GP, 0, "mov (%rcx), %eax",
	      .in.cx = hole);
	FAULT("GP store not canonical", VEC_GP, 0, "mov %eax, (%rcx)",
	      .in.cx = -hole - 4);
	FAULT("SS address not canonical by rsp", VEC_SS, 0,
	      "mov 8(%rsp), %eax", .in.sp = hole, .ring = 3);
	FAULT("SS address not canonical by rbp", VEC_SS, 0,
	      "mov 8(%rbp), %eax", .in.bp = hole);
	FAULT("SS a ds prefix is ignored, rbp decides", VEC_SS, 0, "ds mov 8(%rbp), %eax",
	      .in.bp = hole);
	FAULT("SS push", VEC_SS, 0, "push %rax", .in.sp = hole + 8, .ring = 3);
	FAULT("SS pop", VEC_SS, 0, "pop %rax", .in.sp = hole, .ring = 3);
	FAULT("SS ret", VEC_SS, 0, "ret", .in.sp = hole, .ring = 3);
	FAULT("GP jmp", VEC_GP, 0, "jmp *%rcx", .in.cx = hole);
	FAULT("GP call", VEC_GP, 0, "call *%rcx", .in.cx = hole);
	topic("SDM 3A 6.15 #PF");
	FAULT("PF read", VEC_PF, 0, "mov (%rcx), %eax",
	      .in.cx = 1ull << 40, .cr2 = 1ull << 40);
	FAULT("PF write", VEC_PF, 2, "mov %eax, (%rcx)",
	      .in.cx = 1ull << 40, .cr2 = 1ull << 40);
	FAULT("PF last byte of a line", VEC_PF, 4, "mov 3(%rcx), %al",
	      .in.cx = 1ull << 40, .cr2 = (1ull << 40) + 3, .ring = 3);
#endif
}

/* The IDT's own checks and the double fault's table (SDM 3A table 6-5). */
static void nested(void)
{
	topic("SDM 3A 6.13, 6.15 #NP");
	idt_set_raw(0x50, gate(SEL_KCODE, 0, SEG_INT | SEG_DPL3, 0));
	FAULT("NP gate of int n", VEC_NP, 0x50 * 8 + 2, "int $0x50");
	FAULT("NP gate of int n, ring 3", VEC_NP, 0x50 * 8 + 2, "int $0x50",
	      .ring = 3);
	idt_set_raw(0x50, gate(SEL_KCODE, 0, SEG_P | SEG_DPL3 | 0x10, 0));
	FAULT("GP gate of a wrong type", VEC_GP, 0x50 * 8 + 2, "int $0x50");
	idt_set_raw(0x50, gate(0, 0, SEG_P | SEG_INT, 0));
	FAULT("GP gate with a null selector", VEC_GP, 0, "int $0x50");
	idt_set_raw(0x50, gate(SEL_KDATA, 0, SEG_P | SEG_INT, 0));
	FAULT("GP gate to a data segment", VEC_GP, SEL_KDATA, "int $0x50");
	idt_reset(0x50);

	idt_set_raw(VEC_UD, gate(SEL_KCODE, 0, SEG_INT, 0));
	FAULT("NP while a benign exception is delivered, EXT is set", VEC_NP,
	      VEC_UD * 8 + 3, "ud2");
	idt_reset(VEC_UD);

	topic("SDM 3A 6.15 #DF, table 6-5");
	idt_set_raw(VEC_GP, gate(SEL_KCODE, 0, SEG_INT, 0));
	FAULT("DF GP then NP", VEC_DF, 0, "mov %ecx, %ds", .in.cx = 0x2000,
	      .any_ip = true);
	FAULT("DF GP then NP, ring 3", VEC_DF, 0, "cli", .ring = 3,
	      .any_ip = true);
	idt_reset(VEC_GP);
	idt_set_raw(VEC_DE, gate(SEL_KDATA, 0, SEG_P | SEG_INT, 0));
	FAULT("DF DE then GP", VEC_DF, 0, "div %ecx", .any_ip = true);
	idt_reset(VEC_DE);
#ifdef __x86_64__
	idt_set_raw(VEC_PF, gate(SEL_KCODE, 0, SEG_INT, 0));
	FAULT("DF PF then NP", VEC_DF, 0, "mov (%rcx), %eax",
	      .in.cx = 1ull << 40, .cr2 = 1ull << 40, .any_ip = true);
	idt_reset(VEC_PF);
	/* #GP by a stack that is not canonical, taken on its IST stack */
	tss.t.ist[0] = (uptr)stack3 + STACK_SIZE;
	extern const char stubs[256][16];

	idt_set(VEC_DF, stubs[VEC_DF], SEL_KCODE, SEG_P | SEG_INT, 1);
	FAULT("DF stack not canonical", VEC_DF, 0, "ud2",
	      .in.sp = 0x800000001000, .any_ip = true);
	idt_reset(VEC_DF);
#endif
}

static void coprocessor(void)
{
	topic("SDM 3A 6.15 #NM");
	WITH_CR0(CR0_TS, 0, FAULT("NM x87", VEC_NM, 0, "fld1"));
	WITH_CR0(CR0_TS, 0, FAULT("NM wait", VEC_NM, 0, "fwait"));
	WITH_CR0(CR0_TS, 0, FAULT("NM SSE", VEC_NM, 0, "xorps %xmm0, %xmm0"));
	WITH_CR0(CR0_EM, 0, FAULT("NM x87 with EM", VEC_NM, 0, "fld1"));
	FINE("x87 is back", "fninit");

	topic("SDM 3A 6.15 #MF");
	static const u16 unmasked = 0x37b; /* zero divide */

	asm volatile("fninit; fldcw %0" : : "m"(unmasked));
	FINE("MF comes late", "fld1; fldz; fdivrp %st, %st(1)");
	FAULT("MF at fwait", VEC_MF, 0, "fwait");
	FAULT("MF at the next x87 instruction", VEC_MF, 0, "fld1");
	FINE("MF not at fnstsw", "fnstsw %ax");
	CHECK("MF status has ZE and ES", (trap.s.ax & 0x84) == 0x84);
	FINE("MF not after fnclex", "fnclex; fwait");
	asm volatile("fninit");

	topic("SDM 3A 6.15 #XM");
	static const u32 mxcsr = 0x1d80, mxcsr_default = 0x1f80;

	asm volatile("ldmxcsr %0; mov $1, %%eax; cvtsi2ss %%eax, %%xmm0;"
		     "xorps %%xmm1, %%xmm1" : : "m"(mxcsr) : "eax");
	FAULT("XM divss", VEC_XM, 0, "divss %xmm1, %xmm0");
	WITH_CR4(0, CR4_OSXMMEXCPT,
		 FAULT("UD divss without OSXMMEXCPT", VEC_UD, 0,
		       "divss %xmm1, %xmm0"));
	asm volatile("ldmxcsr %0" : : "m"(mxcsr_default));
	FINE("XM masked", "divss %xmm1, %xmm0");
	asm volatile("ldmxcsr %0" : : "m"(mxcsr_default));
}

static u8 buffer[256] __attribute__((aligned(64)));

static void alignment(void)
{
	uptr odd = (uptr)buffer + 1;

	topic("SDM 3A 6.15 #AC");
	cr0_write(cr0_read() | CR0_AM);
	FAULT("AC load word", VEC_AC, 0, "mov (%ecx), %ax", .ring = 3,
	      .in.cx = odd, .in.flags = FL_AC);
	FAULT("AC load doubleword", VEC_AC, 0, "mov (%ecx), %eax", .ring = 3,
	      .in.cx = odd, .in.flags = FL_AC);
	FAULT("AC store doubleword", VEC_AC, 0, "mov %eax, (%ecx)", .ring = 3,
	      .in.cx = odd + 1, .in.flags = FL_AC);
	FAULT("AC add to memory", VEC_AC, 0, "add %eax, (%ecx)", .ring = 3,
	      .in.cx = odd, .in.flags = FL_AC);
	FAULT("AC push", VEC_AC, 0, "push " AX, .ring = 3,
	      .in.sp = (uptr)stack3 + 0x1001, .in.flags = FL_AC);
	FINE("AC byte", "mov (%ecx), %al", .ring = 3, .in.cx = odd,
	     .in.flags = FL_AC);
	FINE("AC aligned", "mov (%ecx), %eax", .ring = 3,
	     .in.cx = (uptr)buffer, .in.flags = FL_AC);
	FINE("AC flag clear", "mov (%ecx), %eax", .ring = 3, .in.cx = odd);
	FINE("AC ring 0", "mov (%ecx), %eax", .in.cx = odd,
	     .in.flags = FL_AC);
	cr0_write(cr0_read() & ~CR0_AM);
	FINE("AC without AM", "mov (%ecx), %eax", .ring = 3, .in.cx = odd,
	     .in.flags = FL_AC);
	topic("SDM 2B MOVAPS");
	FAULT("GP movaps not aligned", VEC_GP, 0, "movaps (%ecx), %xmm0",
	      .in.cx = odd);
	FINE("movups not aligned", "movups (%ecx), %xmm0", .in.cx = odd);
}

static void image(void)
{
	topic("SDM 3A 6.8.3: RF in the saved flags");
	RUN("ud2");
	CHECK("RF is set by a fault", trap.s.flags & FL_RF);
	RUN("int3");
	CHECK("RF is clear after a trap", !(trap.s.flags & FL_RF));
	RUN("ud2", .in.flags = FL_STATUS | FL_DF | FL_AC | FL_ID);
	CHECK_EQ("other flags are saved as they were",
		 trap.s.flags & ~(uptr)FL_RF,
		 2 | FL_STATUS | FL_DF | FL_AC | FL_ID);
#ifdef __x86_64__
	topic("SDM 3A 6.14.2: the frame is aligned to 16");
	for (unsigned i = 0; i < 16; i += 5) {
		RUN("ud2", .in.sp = (uptr)stack0 + STACK_SIZE - 64 - i);
		CHECK_EQ("frame alignment", (trap.frame + 40) & 15, 0);
		CHECK_EQ("frame has the old rsp", trap.s.sp,
			 (uptr)stack0 + STACK_SIZE - 64 - i);
	}
#endif
}

/* What comes first when an instruction has several faults. */
static void priorities(void)
{
	topic("SDM 3A 6.9, table 6-2");
#ifdef __x86_64__
	uptr hole = 0x800000000000, none = 1ull << 40;

	FAULT("UD before PF", VEC_UD, 0, ".byte 0xf0; mov %eax, (%rcx)",
	      .in.cx = none);
	FAULT("UD before GP", VEC_UD, 0, ".byte 0xf0; mov %eax, (%rcx)",
	      .in.cx = hole);
	WITH_CR0(CR0_TS, 0, FAULT("NM before PF", VEC_NM, 0, "flds (%rcx)",
				  .in.cx = none));
	WITH_CR0(CR0_TS, 0, FAULT("NM before GP", VEC_NM, 0,
				  "movaps 1(%rcx), %xmm0", .in.cx = hole));
	FAULT("PF before DE", VEC_PF, 0, "divl (%rcx)", .in.cx = none,
	      .cr2 = none);
	FAULT("GP by alignment before PF", VEC_GP, 0, "movaps 1(%rcx), %xmm0",
	      .in.cx = none);
	FAULT("GP by privilege before PF", VEC_GP, 0, "lgdt (%rcx)",
	      .in.cx = none, .ring = 3);
	FAULT("GP by privilege before PF, invlpg", VEC_GP, 0, "invlpg (%rcx)",
	      .in.cx = hole, .ring = 3);
#endif
	WITH_CR0(CR0_EM | CR0_TS, 0, FAULT("UD before NM, SSE with EM and TS",
		 VEC_UD, 0, "xorps %xmm0, %xmm0"));
	WITH_CR4(0, CR4_OSFXSR, WITH_CR0(CR0_TS, 0,
		 FAULT("UD before NM, SSE without OSFXSR", VEC_UD, 0,
		       "xorps %xmm0, %xmm0")));
	FAULT("UD before GP, lock at ring 3", VEC_UD, 0, ".byte 0xf0; hlt",
	      .ring = 3);
}

void guest_main(void)
{
	divide();
	traps();
	undefined();
	protection();
	nested();
	coprocessor();
	alignment();
	image();
	priorities();
}
