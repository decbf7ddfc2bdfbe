/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Real-address mode: the guest leaves protected mode, runs 16-bit code at
 * REAL and comes back.  The code is copied there; its interrupts go through
 * a vector table of its own at physical 0, and the handler of every vector
 * notes the vector's IP and what is on the stack and goes home.
 */
#include "guest.h"

enum { REAL = 0x10000, REAL_SEG = REAL >> 4, HOME = 0x7c00 };

/* What the code left; `vec` is 0x100 when it ran to its end. */
struct result {
	u32 ax, cx, dx, bx, sp, bp, si, di, vec, ip, cs, flags, ds, es, ss;
};

/* Offsets used by the trampoline below. */
#define RESULT 0x7800

extern const char real_mode_start[], real_mode_end[], real_stubs[];

/*
 * The trampoline, copied to HOME: enter at its start in 16-bit protected
 * mode with base HOME.
 */
asm(".pushsection .text\n"
    ".code32\n"
    ".globl real_enter\n"
    "real_enter:\n"			/* (state *): registers to load */
    "	pusha\n"
    "	mov %esp, real_sp\n"
    "	mov 36(%esp), %eax\n"
    "	mov %eax, 0x7900\n"		/* for the 16-bit part */
    "	sidt real_idt\n"
    "	lidt real_ivt\n"
    "	ljmp $0x40, $0x7c00\n"		/* SEL_KCODE16, base 0 */
    "real_leave:\n"			/* 32-bit, flat */
    "	mov $0x10, %eax\n"
    "	mov %eax, %ds\n"
    "	mov %eax, %es\n"
    "	mov %eax, %fs\n"
    "	mov %eax, %gs\n"
    "	mov %eax, %ss\n"
    "	mov real_sp, %esp\n"
    "	lidt real_idt\n"
    "	popa\n"
    "	ret\n"
    ".code16\n"
    "	.balign 8\n"
    "real_mode_start:\n"
    "	mov $0x48, %ax\n"		/* SEL_KDATA16 */
    "	mov %ax, %ds\n"
    "	mov %ax, %es\n"
    "	mov %ax, %fs\n"
    "	mov %ax, %gs\n"
    "	mov %ax, %ss\n"
    "	mov %cr0, %eax\n"
    "	and $0xfe, %al\n"
    "	mov %eax, %cr0\n"
    "	ljmp $0, $0x7c00 + (1f - real_mode_start)\n"
    "1:	xor %ax, %ax\n"
    "	mov %ax, %ds\n"
    "	mov %ax, %fs\n"
    "	mov %ax, %gs\n"
    "	mov $0x2000, %ax\n"
    "	mov %ax, %ss\n"
    "	mov $0x3000, %ax\n"
    "	mov %ax, %es\n"
    "	mov $0x1000, %esp\n"
    "	mov 0x7904, %ecx\n"
    "	mov 0x7908, %edx\n"
    "	mov 0x790c, %ebx\n"
    "	mov 0x7910, %esi\n"
    "	mov 0x7914, %edi\n"
    "	pushw $2\n"
    "	popfw\n"
    "	mov 0x7900, %eax\n"
    "	ljmp $0x1000, $0\n"
    /* each vector: note its number, then the rest in common */
    "	.balign 8\n"
    "real_stubs:\n"
    "	.set rv, 0\n"
    "	.rept 256\n"
    "	pushw $rv\n"
    "	jmp real_common\n"
    "	.balign 8\n"
    "	.set rv, rv + 1\n"
    "	.endr\n"
    "real_common:\n"
    "	cld\n"
    "	push %ds\n"
    "	push $0\n"
    "	pop %ds\n"
    "	mov %eax, 0x7800\n"
    "	mov %ecx, 0x7804\n"
    "	mov %edx, 0x7808\n"
    "	mov %ebx, 0x780c\n"
    "	mov %ebp, 0x7814\n"
    "	mov %esi, 0x7818\n"
    "	mov %edi, 0x781c\n"
    "	pop %ax\n"
    "	mov %ax, 0x7830\n"
    "	mov %es, 0x7834\n"
    "	mov %ss, 0x7838\n"
    "	pop %ax\n"
    "	mov %ax, 0x7820\n"
    "	pop %ax\n"
    "	mov %ax, 0x7824\n"
    "	pop %ax\n"
    "	mov %ax, 0x7828\n"
    "	pop %ax\n"
    "	mov %ax, 0x782c\n"
    "	mov %esp, 0x7810\n"
    "	lgdtl %cs:0x7c00 + (real_gdtr - real_mode_start)\n"
    "	mov %cr0, %eax\n"
    "	or $1, %al\n"
    "	mov %eax, %cr0\n"
    "	ljmpl $0x38, $real_leave\n"	/* SEL_KCODE32 */
    "	.balign 4\n"
    "real_gdtr:\n"
    "	.word 511\n"
    "	.long gdt\n"
    "real_mode_end:\n"
    ".code32\n"
    ".popsection\n"
    ".pushsection .data\n"
    ".balign 4\n"
    "real_ivt: .word 0x3ff; .long 0\n"
    "real_idt: .word 0; .long 0\n"
    "real_sp: .long 0\n"
    ".popsection\n");

void real_enter(u32 ax);

static volatile struct result *const r = (volatile struct result *)RESULT;

static void real_init(void)
{
	memcpy((void *)HOME, real_mode_start,
	       real_mode_end - real_mode_start);
}

/* Every vector to its stub, at segment 0. */
static void vectors(void)
{
	for (unsigned i = 0; i < 256; i++) {
		volatile u16 *v = (volatile u16 *)(4 * i);

		v[0] = HOME + (real_stubs - real_mode_start) + i * 8;
		v[1] = 0;
	}
}

struct in { u32 ax, cx, dx, bx, si, di; };

static void real(const struct code *c, struct in in)
{
	vectors();
	memset((void *)RESULT, 0, 0x80);
	memcpy((void *)REAL, (void *)(uptr)c->start, c->end + 2 - c->start);
	*(volatile u32 *)0x7904 = in.cx;
	*(volatile u32 *)0x7908 = in.dx;
	*(volatile u32 *)0x790c = in.bx;
	*(volatile u32 *)0x7910 = in.si;
	*(volatile u32 *)0x7914 = in.di;
	real_enter(in.ax);
}

#define REAL_RUN(text, ...) real(CODE(".code16;" text), (struct in){ __VA_ARGS__ })
#define REAL_TRAP(name, vec_, text, ...) do {				\
	const struct code *c_ = CODE(".code16;" text);			\
	real(c_, (struct in){ __VA_ARGS__ });				\
	CHECK_EQ(name, (u64)r->vec << 32 | r->ip,			\
		 (u64)(vec_) << 32 | (vec_ == VEC_DONE			\
		 ? c_->end + 2 - c_->start : c_->at - c_->start));	\
} while (0)
#define REAL_FINE(name, text, ...) REAL_TRAP(name, VEC_DONE, text, __VA_ARGS__)

static void basics(void)
{
	topic("SDM 3B 20.1");
	REAL_FINE("there and back", "nop", .ax = 0);
	CHECK_EQ("cs", r->cs, REAL_SEG);
	CHECK_EQ("flags pushed are 16 bits", r->flags & 0xffd7, 2);
	REAL_FINE("operand size is 16", "mov $0x1234, %ax; movl $0x12345678, %ecx",
		  .ax = 0xffff0000);
	CHECK_EQ("ax", r->ax, 0xffff1234);
	CHECK_EQ("ecx", r->cx, 0x12345678);
	REAL_FINE("segments are paragraphs",
		  "mov $0x3456, %ax; mov %ax, %ds; movw $0xbeef, 0x10",
		  .ax = 0);
	CHECK_EQ("written at 16 * segment", *(volatile u16 *)0x34570, 0xbeef);
	REAL_FINE("ffff:0010 is 1 MiB", "mov $0xffff, %ax; mov %ax, %ds;"
		  "mov 0x10, %eax", .ax = 0);
	CHECK_EQ("with A20 on", r->ax, *(volatile u32 *)0x100000);
	REAL_FINE("call and ret", "call 9f; inc %bx; jmp 8f; 9: inc %cx; ret;"
		  "8: nop", .bx = 1, .cx = 1);
	CHECK_EQ("call was made", r->bx << 8 | r->cx, 0x202);
	REAL_FINE("far call and ret", "lcall $0x0fff, $0x1a; jmp 9f;"
		  "nop; nop; nop; 8: mov %cs, %dx; lret; 9: nop", .ax = 0);
	CHECK_EQ("far call was made", r->dx & 0xffff, 0x0fff);
	REAL_FINE("push wraps", "mov $0, %sp; push %ax; mov %esp, %ecx;"
		  "mov $0x1000, %sp", .cx = 0);
	CHECK_EQ("sp wraps to 64 KiB", r->cx & 0xffff, 0xfffe);
}

static void interrupts(void)
{
	topic("SDM 3B 20.1.4");
	REAL_TRAP("int n", 0x80, "sti; int $0x80; 1: nop", .ax = 0);
	CHECK_EQ("three words are pushed", r->sp & 0xffff, 0x1000);
	CHECK_EQ("IF is in the flags", r->flags & FL_IF, FL_IF);
	REAL_TRAP("int3", VEC_BP, "int3; 1: nop", .ax = 0);
	REAL_TRAP("into", VEC_OF, "mov $0x7f, %al; inc %al; into; 1: nop",
		  .ax = 0);
	REAL_TRAP("divide error", VEC_DE, "div %cx", .ax = 1);
	REAL_TRAP("ud2", VEC_UD, "nop; 1: ud2", .ax = 1);
	REAL_TRAP("bound", VEC_BR, "movl $0x00050003, %es:0; 1: bound %ax, %es:0",
		  .ax = 6);
	REAL_FINE("iret", "pushw $0x0203; push %cs; push $9; iret; hlt; nop;"
		  "pushf; pop %ax; cli", .ax = 0);
	CHECK_EQ("iret flags", r->ax & 0x203, 0x203);
	topic("SDM 2A: not recognized in real-address mode");
	REAL_TRAP("lldt", VEC_UD, "1: lldt %ax", .ax = 0);
	REAL_TRAP("sldt", VEC_UD, "1: sldt %ax", .ax = 0);
	REAL_TRAP("str", VEC_UD, "1: str %ax", .ax = 0);
	REAL_TRAP("lar", VEC_UD, "1: lar %ax, %cx", .ax = 0);
	REAL_TRAP("verr", VEC_UD, "1: verr %ax", .ax = 0);
	REAL_TRAP("arpl", VEC_UD, "1: .byte 0x63, 0xc0", .ax = 0);
	REAL_TRAP("sysenter", VEC_GP, "1: sysenter", .ax = 0);
	REAL_TRAP("VEX prefix", VEC_UD, "1: .byte 0xc5, 0xf8, 0x77", .ax = 0);
}

static void limits(void)
{
	topic("SDM 3B 20.1.1, table 20-1");
	REAL_TRAP("word at ffff", VEC_GP, "1: mov %es:0xffff, %ax", .ax = 0);
	REAL_FINE("byte at ffff", "mov %es:0xffff, %al", .ax = 0);
	REAL_TRAP("doubleword at fffd", VEC_GP, "1: mov %es:0xfffd, %eax",
		  .ax = 0);
	REAL_TRAP("32-bit offset", VEC_GP, "1: mov %es:(%ecx), %al",
		  .cx = 0x10000);
	REAL_TRAP("string at ffff", VEC_GP, "1: stosw", .di = 0xffff);
	REAL_FINE("16-bit addresses wrap", "mov %es:2(%bx), %al", .bx = 0xffff);
}

/* Segments keep the limits and bases they had in protected mode. */
static void unreal(void)
{
	topic("SDM 3A 9.9.2: unreal mode");
	*(volatile u32 *)0x1800000 = 0x0ddba11;
	gdt_set(TEST(0), segment(0, 0xfffff, SEG_P | SEG_DATA | SEG_W |
				 SEG_B | SEG_G));
	REAL_FINE("a big segment", "cli; lgdtl %fs:0x7c00 + (real_gdtr -"
		  " real_mode_start); mov %cr0, %eax; or $1, %al;"
		  "mov %eax, %cr0; jmp 9f; 9: mov $0x60, %bx; mov %bx, %gs;"
		  "and $0xfe, %al; mov %eax, %cr0; jmp 9f; 9: mov %gs:(%ecx), %eax",
		  .cx = 0x1800000);
	CHECK_EQ("reads above 64 KiB", r->ax, 0x0ddba11);
	REAL_FINE("loading a segment keeps its limit",
		  "lgdtl %fs:0x7c00 + (real_gdtr - real_mode_start);"
		  "mov %cr0, %eax; or $1, %al; mov %eax, %cr0; jmp 9f;"
		  "9: mov $0x60, %bx; mov %bx, %gs; and $0xfe, %al;"
		  "mov %eax, %cr0; jmp 9f; 9: mov $0x1000, %bx; mov %bx, %gs;"
		  "mov %gs:(%ecx), %eax", .cx = 0x1800000 - 0x10000);
	CHECK_EQ("new base, old limit", r->ax, 0x0ddba11);
}

static void a20(void)
{
	topic("port 92h, A20 gate");
	CHECK("A20 is on at the start", inb(0x92) & 2);
	/* the guest itself lies above 1 MiB: only the copy can do this */
	*(volatile u32 *)0x500 = 0x55667788;
	REAL_FINE("A20 off and on", "mov $0xffff, %ax; mov %ax, %gs;"
		  "in $0x92, %al; and $0xfc, %al; out %al, $0x92;"
		  "mov %gs:0x510, %ecx; or $2, %al; out %al, $0x92;"
		  "mov %gs:0x510, %edx", .ax = 0);
	CHECK_EQ("A20 off, 1 MiB wraps", r->cx, 0x55667788);
	CHECK_EQ("A20 on again", r->dx, *(volatile u32 *)0x100500);
}

void guest_main(void)
{
	real_init();
	basics();
	interrupts();
	limits();
	unreal();
	a20();
}
