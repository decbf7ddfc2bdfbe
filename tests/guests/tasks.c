/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hardware task switches: JMP, CALL, INT and exceptions through TSS
 * descriptors and task gates, IRET with NT, busy bits, 16-bit TSS, the T
 * bit, and what makes a switch fail (SDM 3A 7.3, table 7-1).
 *
 * The other task always runs a snippet that ends with the usual interrupt,
 * so its registers are seen in `trap` like any others.
 */
#include "guest.h"

struct __attribute__((packed)) tss16 {
	u16 link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags;
	u16 ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};
_Static_assert(sizeof(struct tss16) == 44, "TSS16");

enum { SEL_OTHER = SEL_TEST, SEL_GATE = SEL_TEST + 8, SEL_16 = SEL_TEST + 16,
       SEL_HANDLER = SEL_TEST + 24 };

static struct tss32 other __attribute__((aligned(128)));
static struct tss16 other16 __attribute__((aligned(64)));
static u8 other_stack[4096] __attribute__((aligned(16)));

static unsigned type_of(unsigned sel) { return gdt[sel / 8] >> 40 & 0x1f; }

static void fresh(const struct code *c)
{
	memset(&other, 0, sizeof(other));
	other.esp0 = (uptr)other_stack + 2048;
	other.ss0 = SEL_KDATA;
	other.eip = c->start;
	other.eflags = 2 | FL_CF;
	other.eax = 0xa, other.ecx = 0xc, other.edx = 0xd, other.ebx = 0xb;
	other.esp = (uptr)other_stack + sizeof(other_stack) - 64;
	other.ebp = 0xeb, other.esi = 0xe5, other.edi = 0xed;
	other.cs = SEL_KCODE;
	other.ss = other.ds = other.es = SEL_KDATA;
	other.fs = SEL_UDATA, other.gs = 0;
	other.iomap = sizeof(other);
	gdt_set_system(SEL_OTHER, (uptr)&other, sizeof(other) - 1,
		       SEG_P | SEG_TSS);
	gdt_set(SEL_GATE, gate(SEL_OTHER, 0, SEG_P | SEG_TASK_GATE, 0));
}

/* Make the runtime's TSS the current one again. */
static void back(void)
{
	asm volatile("pushf; andl $~0x4000, (%%esp); popf" : : : "memory");
	tss_load(sizeof(tss) - 1);
	cr0_write(cr0_read() & ~CR0_TS);
}

static const struct code *landing(void) { return CODE("nop"); }

static void jump(void)
{
	fresh(landing());
	topic("SDM 3A 7.3");
	RUN("ljmp $" STR(SEL_TEST) ", $0; 1: nop", .in.ax = 0x11,
	    .in.cx = 0x22, .in.di = 0x33, .in.flags = FL_STATUS);
	CHECK_EQ("jmp to a TSS", trap.vec, VEC_DONE);
	CHECK_EQ("jmp, eip", trap.s.ip, landing()->end + 2);
	CHECK_EQ("jmp, eax", trap.s.ax, 0xa);
	CHECK_EQ("jmp, edi", trap.s.di, 0xed);
	CHECK_EQ("jmp, ebp", trap.s.bp, 0xeb);
	CHECK_EQ("jmp, esp", trap.s.sp,
		 (uptr)other_stack + sizeof(other_stack) - 64);
	CHECK_EQ("jmp, fs", trap.s.fs, SEL_UDATA);
	CHECK_EQ("jmp, flags", trap.s.flags, 2 | FL_CF);
	CHECK_EQ("jmp, old task saved, eax", tss.t.eax, 0x11);
	CHECK_EQ("jmp, old task saved, edi", tss.t.edi, 0x33);
	CHECK_EQ("jmp, old task saved, flags", tss.t.eflags & ~FL_RF,
		 2 | FL_STATUS);
	CHECK_EQ("jmp, old task saved, cs", tss.t.cs, SEL_KCODE);
	CHECK_EQ("jmp, old task is free", type_of(SEL_TSS), SEG_TSS);
	CHECK_EQ("jmp, new task is busy", type_of(SEL_OTHER), SEG_TSS_BUSY);
	CHECK("jmp sets CR0.TS", cr0_read() & CR0_TS);
	CHECK("jmp leaves NT", !(trap.s.flags & FL_NT));
	u16 tr;
	asm volatile("str %0" : "=m"(tr));
	CHECK_EQ("jmp, task register", tr, SEL_OTHER);
	back();

	fresh(landing());
	const struct code *c = CODE("ljmp $" STR(SEL_TEST) ", $0; 1: nop");
	run(&(struct try){ .code = c });
	CHECK_EQ("jmp, saved eip is the next instruction", tss.t.eip, c->at);
	back();

	fresh(landing());
	gdt_set(TEST(1), gate(SEL_OTHER, 0, SEG_P | SEG_TASK_GATE, 0));
	RUN("ljmp $0x68, $0", .in.ax = 1);
	CHECK_EQ("jmp through a task gate", trap.s.ax, 0xa);
	back();
}

static void call(void)
{
	topic("SDM 3A 7.3, 7.4");
	fresh(landing());
	RUN("lcall $" STR(SEL_TEST) ", $0; nop");
	CHECK_EQ("call, previous task link", other.link, SEL_TSS);
	CHECK("call sets NT", trap.s.flags & FL_NT);
	CHECK_EQ("call, old task stays busy", type_of(SEL_TSS), SEG_TSS_BUSY);
	CHECK_EQ("call, new task is busy", type_of(SEL_OTHER), SEG_TSS_BUSY);
	back();

	fresh(CODE("inc %eax; iret; 1: nop"));
	RUN("lcall $" STR(SEL_TEST) ", $0; inc %eax", .in.ax = 0x40);
	CHECK_EQ("iret with NT comes back", trap.vec, VEC_DONE);
	CHECK_EQ("registers are those of the caller", trap.s.ax, 0x41);
	CHECK_EQ("iret, the left task is free", type_of(SEL_OTHER), SEG_TSS);
	CHECK_EQ("iret, the caller is busy", type_of(SEL_TSS), SEG_TSS_BUSY);
	CHECK_EQ("iret saves the task it leaves", other.eax, 0xb);
	CHECK("iret clears NT of the task it leaves",
	      !(other.eflags & FL_NT));
	CHECK_EQ("the task will go on after iret", other.eip & 15, 2);
	back();

	/* INT n through a task gate */
	fresh(landing());
	idt_set_raw(0x80, gate(SEL_OTHER, 0, SEG_P | SEG_TASK_GATE |
			       SEG_DPL3, 0));
	RUN("int $0x80; 1: nop", .ring = 3, .in.ax = 5);
	CHECK_EQ("int through a task gate", trap.s.ax, 0xa);
	CHECK_EQ("int, link", other.link, SEL_TSS);
	CHECK_EQ("int, ring 3's cs is saved", tss.t.cs, SEL_UCODE32 | 3);
	CHECK("int sets NT", trap.s.flags & FL_NT);
	back();

	/* an exception with an error code: it is on the new task's stack */
	fresh(landing());
	idt_set_raw(VEC_GP, gate(SEL_OTHER, 0, SEG_P | SEG_TASK_GATE, 0));
	const struct code *c = CODE("mov %ecx, %ds");
	run(&(struct try){ .code = c, .in.cx = 0x3000 });
	idt_reset(VEC_GP);
	CHECK_EQ("exception through a task gate", trap.s.ax, 0xa);
	CHECK_EQ("error code is pushed", *(u32 *)trap.s.sp, 0x3000);
	CHECK_EQ("faulting eip is saved", tss.t.eip, c->start);
	back();
	/* a double fault from a broken stack, as operating systems do it */
	fresh(landing());
	idt_set_raw(VEC_DF, gate(SEL_OTHER, 0, SEG_P | SEG_TASK_GATE, 0));
	idt_set_raw(VEC_GP, gate(SEL_KCODE, 0, SEG_INT, 0));
	RUN("mov %ecx, %ds", .in.cx = 0x3000);
	idt_reset(VEC_GP);
	idt_reset(VEC_DF);
	CHECK_EQ("double fault through a task gate", trap.s.ax, 0xa);
	CHECK_EQ("its error code", *(u32 *)trap.s.sp, 0);
	back();
}

static void to_16(void)
{
	const struct code *c = CODE("nop; 1: nop");

	topic("SDM 3A 7.6, 7.3");
	memset(&other16, 0, sizeof(other16));
	gdt_set(TEST(5), segment(c->start - 16, 0xffff,
				 SEG_P | SEG_CODE | SEG_R | SEG_B));
	other16.ip = 16;
	other16.flags = 2;
	other16.ax = 0x1616, other16.di = 0xd1d1;
	other16.sp = 0x7000;
	other16.cs = TEST(5);
	other16.ss = other16.ds = other16.es = SEL_KDATA;
	gdt_set_system(SEL_16, (uptr)&other16, sizeof(other16) - 1,
		       SEG_P | SEG_TSS16);
	fresh(landing());
	RUN("ljmp $0x70, $0", .in.ax = 0x12345678);
	CHECK_EQ("jmp to a 16-bit TSS", trap.vec, VEC_DONE);
	CHECK_EQ("16-bit TSS, ax", trap.s.ax & 0xffff, 0x1616);
	CHECK_EQ("16-bit TSS, di", trap.s.di & 0xffff, 0xd1d1);
	CHECK_EQ("16-bit TSS, sp", trap.s.sp & 0xffff, 0x7000);
	CHECK_EQ("16-bit TSS is busy", type_of(SEL_16), SEG_TSS16_BUSY);
	CHECK_EQ("32-bit state of the old task", tss.t.eax, 0x12345678);
	back();
}

/* Failures before the switch: in the old task, at the instruction. */
static void refused(void)
{
#define JMP_OTHER "ljmp $" STR(SEL_TEST) ", $0"
	topic("SDM 3A table 7-1: before the switch");
	fresh(landing());
	gdt_set_system(SEL_OTHER, (uptr)&other, 102, SEG_P | SEG_TSS);
	FAULT("TS limit too small", VEC_TS, SEL_OTHER, JMP_OTHER);
	gdt_set_system(SEL_OTHER, (uptr)&other, 103, SEG_TSS);
	FAULT("NP TSS not present", VEC_NP, SEL_OTHER, JMP_OTHER);
	gdt_set_system(SEL_OTHER, (uptr)&other, 103, SEG_P | SEG_TSS_BUSY);
	FAULT("GP jmp to a busy TSS", VEC_GP, SEL_OTHER, JMP_OTHER);
	gdt_set_system(SEL_OTHER, (uptr)&other, 103, SEG_P | SEG_TSS);
	FAULT("GP TSS of ring 0 from ring 3", VEC_GP, SEL_OTHER, JMP_OTHER,
	      .ring = 3);
	gdt_set(SEL_GATE, gate(SEL_OTHER, 0, SEG_TASK_GATE, 0));
	FAULT("NP task gate not present", VEC_NP, SEL_GATE, "ljmp $0x68, $0");
	gdt_set(SEL_GATE, gate(SEL_KDATA, 0, SEG_P | SEG_TASK_GATE, 0));
	FAULT("GP task gate to data", VEC_GP, SEL_KDATA, "ljmp $0x68, $0");
	gdt_set(SEL_GATE, gate(0x0c, 0, SEG_P | SEG_TASK_GATE, 0));
	FAULT("GP task gate to the LDT", VEC_GP, 0x0c, "ljmp $0x68, $0");

	topic("SDM 2A IRET: with NT");
	tss.t.link = SEL_OTHER;
	TRAP("TS iret to a TSS that is not busy", VEC_TS, SEL_OTHER,
	     "pushf; orl $0x4000, (%esp); popf; 1: iret");
	tss.t.link = SEL_KDATA;
	TRAP("TS iret to data", VEC_TS, SEL_KDATA,
	     "pushf; orl $0x4000, (%esp); popf; 1: iret");
	tss.t.link = 0;
}

/*
 * Failures after the switch: in the new task, before its first instruction.
 * Its segments cannot be relied on, so the exception has a task gate too.
 */
static struct tss32 handler __attribute__((aligned(128)));
static u8 handler_stack[1024] __attribute__((aligned(16)));

static void broken(const char *name, unsigned vec, u32 err)
{
	u16 tr;

	memset(&handler, 0, sizeof(handler));
	handler.eip = landing()->start;
	handler.eflags = 2;
	handler.esp = (uptr)handler_stack + sizeof(handler_stack);
	handler.cs = SEL_KCODE;
	handler.ss = handler.ds = handler.es = SEL_KDATA;
	gdt_set_system(SEL_HANDLER, (uptr)&handler, sizeof(handler) - 1,
		       SEG_P | SEG_TSS);
	idt_set_raw(vec, gate(SEL_HANDLER, 0, SEG_P | SEG_TASK_GATE, 0));
	RUN(JMP_OTHER);
	asm volatile("str %0" : "=m"(tr));
	/* the handler's task, the one that failed, the error code */
	CHECK_EQ(name, (u64)tr << 48 | (u64)handler.link << 32 |
		 *(u32 *)trap.s.sp,
		 (u64)SEL_HANDLER << 48 | (u64)SEL_OTHER << 32 | err);
	idt_reset(vec);
	back();
	fresh(landing());
}

static void fails(void)
{
	topic("SDM 3A table 7-1: in the new task");
	fresh(landing());
	other.ds = 0x3000;
	broken("TS ds beyond the GDT", VEC_TS, 0x3000);
	other.es = SEL_KCODE + 0x2000;
	broken("TS es beyond the GDT", VEC_TS, SEL_KCODE + 0x2000);
	other.cs = 0;
	broken("TS null cs", VEC_TS, 0);
	other.cs = SEL_KDATA;
	broken("TS cs is data", VEC_TS, SEL_KDATA);
	other.ss = 0;
	broken("TS null ss", VEC_TS, 0);
	other.ss = SEL_UDATA | 3;
	broken("TS ss of a wrong ring", VEC_TS, SEL_UDATA);
	gdt_set(TEST(6), segment(0, 0xfffff, SEG_DATA | SEG_W | SEG_B | SEG_G));
	other.ss = TEST(6);
	broken("SS ss not present", VEC_SS, TEST(6));
	other.ds = TEST(6);
	broken("NP ds not present", VEC_NP, TEST(6));
	gdt_set(TEST(7), segment(0, 0xfffff, SEG_CODE | SEG_R | SEG_B | SEG_G));
	other.cs = TEST(7);
	broken("NP cs not present", VEC_NP, TEST(7));
	other.ldt = SEL_KDATA;
	broken("TS ldt is data", VEC_TS, SEL_KDATA);
}

static void debug_bit(void)
{
	topic("SDM 3A 7.2.1, 3B 17.3.1.5: the T bit");
	fresh(landing());
	other.trap = 1;
	dr6_write(0xffff0ff0);
	RUN(JMP_OTHER);
	CHECK_EQ("T bit raises #DB", trap.vec, VEC_DB);
	CHECK_EQ("before the task's first instruction", trap.s.ip,
		 landing()->start);
	CHECK("DR6.BT", dr6_read() & 0x8000);
	dr6_write(0xffff0ff0);
	back();
}

void guest_main(void)
{
	jump();
	call();
	to_16();
	refused();
	fails();
	debug_bit();
}
