/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transfers between rings: gates of 16, 32 and 64 bit, stack switches, IST,
 * call gates, far returns, conforming code, SYSENTER and SYSCALL.
 */
#include "guest.h"

extern const char stubs[256][16];

static u8 other_stack[4096] __attribute__((aligned(16)));
#ifdef __x86_64__
static u8 ist_stack[4096] __attribute__((aligned(16)));
#endif

static bool within(uptr p, const u8 *stack, size_t size)
{
	return p >= (uptr)stack && p < (uptr)stack + size;
}

static void interrupts(void)
{
	topic("SDM 3A 6.12.1, 6.14");
	tss_set_stack((uptr)other_stack + sizeof(other_stack));
	idt_set(0x80, stubs[0x80], SEL_KCODE, SEG_P | SEG_INT | SEG_DPL3, 0);
	TRAP("int from ring 3", 0x80, 0, "int $0x80; 1: nop", .ring = 3);
	CHECK_EQ("the frame is at the top of the TSS's stack", trap.frame,
		 (uptr)other_stack + sizeof(other_stack) - 5 * WORD);
	CHECK_EQ("old ss", trap.s.ss & 0xffff, SEL_UDATA | 3);
	TRAP("int from ring 0", 0x80, 0, "int $0x80; 1: nop");
	CHECK("no stack switch at the same ring",
	      within(trap.frame, stack0, sizeof(stack0)));
#ifdef __x86_64__
	topic("SDM 3A 6.14.5: IST");
	tss.t.ist[2] = (uptr)ist_stack + sizeof(ist_stack) - 3;
	idt_set(0x80, stubs[0x80], SEL_KCODE, SEG_P | SEG_INT | SEG_DPL3, 3);
	TRAP("IST from ring 0", 0x80, 0, "int $0x80; 1: nop");
	CHECK_EQ("IST stack, aligned", trap.frame,
		 (uptr)ist_stack + sizeof(ist_stack) - 16 - 40);
	TRAP("IST from ring 3", 0x80, 0, "int $0x80; 1: nop", .ring = 3);
	CHECK_EQ("IST stack from ring 3", trap.frame,
		 (uptr)ist_stack + sizeof(ist_stack) - 16 - 40);
	topic("SDM 3A 6.14.4: SS of an inner ring is null");
	idt_set(0x80, (void *)(uptr)CODE("mov %ss, %eax; mov $0x10, %esi;"
					 "mov %esi, %ss")->start,
		SEL_KCODE, SEG_P | SEG_INT | SEG_DPL3, 0);
	RUN("int $0x80; 1: nop", .ring = 3);
	CHECK_EQ("SS is null with RPL 0", trap.s.ax & 0xffff, 0);
	topic("SDM 3A 6.14.1: only 64-bit code behind a gate");
	idt_set(0x80, stubs[0x80], SEL_KCODE32, SEG_P | SEG_INT, 0);
	FAULT("gate to 32-bit code", VEC_GP, SEL_KCODE32, "int $0x80");
#endif
	idt_reset(0x80);
}

#ifndef __x86_64__
/* A gate of 16 bits pushes words and has an offset of 16 bits. */
static void gates16(void)
{
	const struct code *handler =
		CODE("popw %bx; popw %cx; popw %dx; mov %esp, %esi");
	const struct code *c = CODE("int $0x80; 1: nop");

	topic("SDM 3A 6.12.1, 5.8.3");
	gdt_set(TEST(0), segment(handler->start, 0xfffff,
				 SEG_P | SEG_CODE | SEG_R | SEG_B | SEG_G));
	idt_set_raw(0x80, gate(TEST(0), 0, SEG_P | SEG_INT16, 0));
	run(&(struct try){ .code = c, .in.flags = FL_CF | FL_IF });
	CHECK_EQ("16-bit gate, ip", trap.s.bx, c->at & 0xffff);
	CHECK_EQ("16-bit gate, cs", trap.s.cx, SEL_KCODE);
	CHECK_EQ("16-bit gate, flags", trap.s.dx, 2 | FL_CF | FL_IF);
	CHECK_EQ("16-bit gate, stack", trap.s.si,
		 (uptr)stack0 + STACK_SIZE - 256);
	CHECK_EQ("16-bit gate clears IF", trap.s.flags & FL_IF, 0);
	idt_reset(0x80);
}

/* #TS from the stacks that the TSS names. */
static void bad_stacks(void)
{
	const struct code *c = CODE("lcall $" STR(SEL_TEST) ", $0; nop");
	u32 ss1[] = { 0, SEL_KDATA, SEL_TEST + 0x18 + 1, 0xf000 + 1,
		      SEL_TEST + 0x20 + 1, SEL_TEST + 0x28 + 1 };
	unsigned vec[] = { VEC_TS, VEC_TS, VEC_TS, VEC_TS, VEC_SS, VEC_TS };
	const char *name[] = {
		"TS ss of the TSS is null", "TS ss has the wrong RPL",
		"TS ss has the wrong DPL", "TS ss is beyond the GDT",
		"SS ss is not present", "TS ss is not writable",
	};

	topic("SDM 2A CALL, 3A 6.15 #TS");
	gdt_set_call_gate(TEST(0), TEST(1) | 1, (void *)(uptr)c->end,
			  SEG_P | SEG_CALL | SEG_DPL3, 0);
	gdt_set(TEST(1), segment(0, 0xfffff, SEG_P | SEG_CODE | SEG_R |
				 SEG_B | SEG_G | 0x20));
	gdt_set(TEST(3), segment(0, 0xfffff, SEG_P | SEG_DATA | SEG_W |
				 SEG_B | SEG_G | 0x40));
	gdt_set(TEST(4), segment(0, 0xfffff, SEG_DATA | SEG_W | SEG_B |
				 SEG_G | 0x20));
	gdt_set(TEST(5), segment(0, 0xfffff, SEG_P | SEG_DATA | SEG_B |
				 SEG_G | 0x20));
	for (unsigned i = 0; i < 6; i++) {
		tss.t.ss1 = ss1[i];
		tss.t.esp1 = (uptr)other_stack + sizeof(other_stack);
		expect(&(struct try){ .name = name[i], .code = c,
				      .vec = vec[i], .err = ss1[i] & ~3u,
				      .ring = 3 });
	}
}
#endif

#define LCALL "lcall *far_target"
struct __attribute__((packed)) { u32 off; u16 sel; } far_target;

/* Ring 3 calls ring 0 through a gate; the target looks at its stack. */
static void call_gates(void)
{
	const struct code *c;

	tss_set_stack((uptr)other_stack + sizeof(other_stack));
	far_target.sel = TEST(0) | 3;
	far_target.off = 0x12345678;	/* not used */

	topic("SDM 3A 5.8.4, 5.8.5");
#ifdef __x86_64__
	c = CODE(LCALL "; 2: nop; 1: mov (%rsp), %rax; mov 8(%rsp), %rcx;"
		 "mov 16(%rsp), %rdx; mov 24(%rsp), %rbx; mov %rsp, %rsi;"
		 "mov %ss, %edi; mov %cs, %ebp; mov $0x10, %r8d; mov %r8d, %ss");
	gdt_set_call_gate(TEST(0), SEL_KCODE, (void *)(uptr)c->at,
			  SEG_P | SEG_CALL | SEG_DPL3, 0);
	run(&(struct try){ .code = c, .ring = 3 });
	CHECK_EQ("64-bit call gate", trap.vec, VEC_DONE);
	CHECK_EQ("64-bit call gate, ip", trap.s.ax, c->at - 1);
	CHECK_EQ("64-bit call gate, cs", trap.s.cx, SEL_UCODE64 | 3);
	CHECK_EQ("64-bit call gate, rsp", trap.s.dx,
		 (uptr)stack3 + STACK_SIZE - 256);
	CHECK_EQ("64-bit call gate, ss", trap.s.bx, SEL_UDATA | 3);
	CHECK_EQ("64-bit call gate, stack", trap.s.si,
		 (uptr)other_stack + sizeof(other_stack) - 32);
	CHECK_EQ("64-bit call gate, ss is null", trap.s.di, 0);
	CHECK_EQ("64-bit call gate, cs of the gate", trap.s.bp, SEL_KCODE);
	/* the upper 8 bytes must have type 0 */
	gdt_set(TEST(1), gdt[TEST(1) / 8] | 1ull << 40);
	FAULT("64-bit call gate, type bits of the upper half", VEC_GP, TEST(0),
	      LCALL, .ring = 3);
	gdt_set_call_gate(TEST(0), SEL_KCODE32, (void *)(uptr)c->at,
			  SEG_P | SEG_CALL | SEG_DPL3, 0);
	FAULT("64-bit call gate to 32-bit code", VEC_GP, SEL_KCODE32, LCALL,
	      .ring = 3);
	tss_load(11);
	gdt_set(TEST(6), segment(0, 0, SEG_P | SEG_CODE | SEG_R | SEG_L | 0x20));
	gdt_set_call_gate(TEST(0), TEST(6), (void *)(uptr)c->at,
			  SEG_P | SEG_CALL | SEG_DPL3, 0);
	topic("SDM 2A CALL, 3A 6.15 #TS");
	FAULT("TS the TSS is too small for the ring's stack", VEC_TS, SEL_TSS,
	      LCALL, .ring = 3);
	tss_load(sizeof(tss) - 1);
#else
	c = CODE("push $0x11; push $0x22; push $0x33; mov %esp, %edi;" LCALL
		 "; 2: nop; 1: mov (%esp), %eax; mov 4(%esp), %ecx;"
		 "mov 8(%esp), %edx; mov 12(%esp), %ebx; mov 16(%esp), %ebp;"
		 "mov %esp, %esi");
	gdt_set_call_gate(TEST(0), SEL_KCODE, (void *)(uptr)c->at,
			  SEG_P | SEG_CALL | SEG_DPL3, 2);
	run(&(struct try){ .code = c, .ring = 3 });
	CHECK_EQ("call gate", trap.vec, VEC_DONE);
	CHECK_EQ("call gate, ip", trap.s.ax, c->at - 1);
	CHECK_EQ("call gate, cs", trap.s.cx, SEL_UCODE32 | 3);
	CHECK_EQ("call gate, last parameter", trap.s.dx, 0x33);
	CHECK_EQ("call gate, first parameter of two", trap.s.bx, 0x22);
	CHECK_EQ("call gate, esp", trap.s.bp, trap.s.di);
	CHECK_EQ("call gate, stack", trap.s.si,
		 (uptr)other_stack + sizeof(other_stack) - 24);
	/* back by RET with a count: both stacks lose the parameters */
	c = CODE("push $0x11; push $0x22; " LCALL "; mov %esp, %eax;"
		 "mov %cs, %ecx; jmp 9f; 1: lret $8; nop; nop; 9: nop");
	gdt_set_call_gate(TEST(0), SEL_KCODE, (void *)(uptr)c->at,
			  SEG_P | SEG_CALL | SEG_DPL3, 2);
	run(&(struct try){ .code = c, .ring = 3 });
	CHECK_EQ("ret releases the parameters of ring 3", trap.s.ax,
		 (uptr)stack3 + STACK_SIZE - 256);
	CHECK_EQ("ret is back in ring 3", trap.s.cx, SEL_UCODE32 | 3);
	/* a 16-bit call gate */
	c = CODE("push $0x4455; " LCALL "; 2: nop; 1: mov (%esp), %eax;"
		 "mov 4(%esp), %ecx; mov 8(%esp), %edx");
	gdt_set(TEST(2), segment(c->start, 0xffff, SEG_P | SEG_CODE | SEG_R |
				 SEG_B));
	gdt_set_call_gate(TEST(0), TEST(2), (void *)(uptr)(c->at - c->start),
			  SEG_P | SEG_CALL16 | SEG_DPL3, 1);
	run(&(struct try){ .code = c, .ring = 3 });
	CHECK_EQ("16-bit call gate, ip and cs", trap.s.ax,
		 ((c->at - 1) & 0xffff) | (u32)(SEL_UCODE32 | 3) << 16);
	CHECK_EQ("16-bit call gate, parameter and sp", trap.s.cx,
		 0x4455 | (((uptr)stack3 + STACK_SIZE - 260) << 16));
	CHECK_EQ("16-bit call gate, ss", trap.s.dx & 0xffff, SEL_UDATA | 3);
#endif
	topic("SDM 3A 5.8.4, 2A CALL");
	gdt_set_call_gate(TEST(0), SEL_KCODE, (void *)(uptr)c->at,
			  SEG_CALL | SEG_DPL3, 0);
	FAULT("call gate not present", VEC_NP, TEST(0), LCALL, .ring = 3);
	gdt_set_call_gate(TEST(0), SEL_KCODE, (void *)(uptr)c->at,
			  SEG_P | SEG_CALL, 0);
	FAULT("call gate of ring 0", VEC_GP, TEST(0), LCALL, .ring = 3);
	gdt_set_call_gate(TEST(0), 0, (void *)(uptr)c->at,
			  SEG_P | SEG_CALL | SEG_DPL3, 0);
	FAULT("call gate with a null selector", VEC_GP, 0, LCALL, .ring = 3);
	gdt_set_call_gate(TEST(0), SEL_KDATA, (void *)(uptr)c->at,
			  SEG_P | SEG_CALL | SEG_DPL3, 0);
	FAULT("call gate to data", VEC_GP, SEL_KDATA, LCALL, .ring = 3);
	gdt_set_call_gate(TEST(0), SEL_KCODE, (void *)(uptr)c->at,
			  SEG_P | SEG_CALL | SEG_DPL3, 0);
	FAULT("jmp through a gate to an inner ring", VEC_GP, SEL_KCODE,
	      "ljmp *far_target", .ring = 3);
	far_target.sel = SEL_KCODE;
	FAULT("direct call to an inner ring", VEC_GP, SEL_KCODE, LCALL,
	      .ring = 3);
	far_target.sel = 0;
	FAULT("far call with a null selector", VEC_GP, 0, LCALL);
	far_target.sel = SEL_KDATA;
	FAULT("far call to data", VEC_GP, SEL_KDATA, LCALL);
	FAULT("far jmp to data", VEC_GP, SEL_KDATA, "ljmp *far_target");
	far_target.sel = TEST(20);
	FAULT("far call to an empty descriptor", VEC_GP, TEST(20), LCALL);
}

#ifdef __x86_64__
#define UCODE "$0x2b"
#define FAR_RET "lretq"
#define FAR_IRET "iretq"
#else
#define UCODE "$0x1b"
#define FAR_RET "lret"
#define FAR_IRET "iret"
#endif

static void returns(void)
{
	topic("SDM 2B RET: segments of inner rings become null");
	gdt_set(TEST(8), segment(0, 0xfffff, SEG_P | SEG_CODE | SEG_R |
				 SEG_CONF | SEG_B | SEG_G));
	TRAP("ret to ring 3", VEC_DONE, 0,
	     "push $0x23; push " AX "; push " UCODE "; push $9f; " FAR_RET
	     "; 9: nop; nop", .in.ax = (uptr)stack3 + 4096, .any_ip = true,
	     .in.ds = SEL_KDATA, .in.es = SEL_UDATA | 3,
	     .in.fs = TEST(8) , .in.gs = SEL_UDATA);
	CHECK_EQ("ret is at ring 3", trap.s.cs & 3, 3);
	CHECK_EQ("ret takes the outer stack", trap.s.sp,
		 (uptr)stack3 + 4096);
#ifndef __x86_64__
	CHECK_EQ("ret nulls ds of ring 0", trap.s.ds, 0);
	CHECK_EQ("ret keeps es of ring 3", trap.s.es, SEL_UDATA | 3);
	CHECK_EQ("ret keeps conforming code in fs", trap.s.fs, TEST(8));
	CHECK_EQ("ret keeps gs of DPL 3", trap.s.gs, SEL_UDATA);
#endif
	topic("SDM 2A IRET: segments of inner rings become null");
	TRAP("iret to ring 3", VEC_DONE, 0,
	     "push $0x23; push " AX "; push $2; push " UCODE "; push $9f; "
	     FAR_IRET "; 9: nop; mov %ds, %eax; mov %es, %ecx",
	     .in.ax = (uptr)stack3 + 4096, .any_ip = true,
	     .in.ds = SEL_KDATA, .in.es = SEL_UDATA | 3);
	CHECK_EQ("iret is at ring 3", trap.s.cs & 3, 3);
	CHECK_EQ("iret nulls ds of ring 0", trap.s.ax & 0xffff, 0);
	CHECK_EQ("iret keeps es of ring 3", trap.s.cx & 0xffff, SEL_UDATA | 3);

	topic("SDM 2B RET");
	FAULT("ret to an inner ring", VEC_GP, SEL_KCODE,
	      "push $0x8; push $9f; 1: " FAR_RET "; 9: nop", .ring = 3);
	FAULT("ret to a null selector", VEC_GP, 0,
	      "push $0; push $9f; 1: " FAR_RET "; 9: nop");
	FAULT("ret to data", VEC_GP, SEL_KDATA,
	      "push $0x10; push $9f; 1: " FAR_RET "; 9: nop");
	topic("SDM 2A IRET");
	FAULT("iret to an inner ring", VEC_GP, SEL_KCODE,
	      "push $0x10; push $0; push $2; push $0x8; push $9f; 1: " FAR_IRET
	      "; 9: nop", .ring = 3);
	FAULT("iret to ring 3 with a ring 0 stack", VEC_GP, SEL_KDATA,
	      "push $0x10; push $0; push $2; push " UCODE "; push $9f; 1: "
	      FAR_IRET "; 9: nop");
	FAULT("iret to ring 3 with a null stack", VEC_GP, 0,
	      "push $0; push $0; push $2; push $0x1b; push $9f; 1: "
	      FAR_IRET "; 9: nop");
	TRAP("iret at ring 3 cannot change IF and IOPL", VEC_DONE, 0,
#ifdef __x86_64__
	     "mov %rsp, %rax; push $0x23; push %rax; push $0x3202;"
#else
	     "push $0x3202;"
#endif
	     "push " UCODE "; push $9f; " FAR_IRET "; 9: nop", .ring = 3,
	     .any_ip = true);
	CHECK_EQ("flags at ring 3", trap.s.flags & (FL_IF | FL_IOPL), 0);
	RUN("pushf; or" SFX " $0x3200, (%esp); popf", .ring = 3);
	CHECK_EQ("popf at ring 3 keeps IF and IOPL",
		 trap.s.flags & (FL_IF | FL_IOPL), 0);
	RUN("pushf; or" SFX " $0x3200, (%esp); popf", .ring = 3,
	    .in.flags = 0x3000);
	CHECK_EQ("popf at ring 3 with IOPL 3 sets IF",
		 trap.s.flags & (FL_IF | FL_IOPL), FL_IF | FL_IOPL);
	FINE("cli with IOPL 3", "cli", .ring = 3, .in.flags = FL_IOPL);
}

static void conforming(void)
{
	topic("SDM 3A 5.8.1.2");
	gdt_set(TEST(8), segment(0, 0xfffff, SEG_P | SEG_CODE | SEG_R |
				 SEG_CONF |
#ifdef __x86_64__
				 SEG_L));
#else
				 SEG_B | SEG_G));
#endif
	far_target.sel = TEST(8);
	const struct code *c = CODE("ljmp *far_target; nop; 1: mov %cs, %eax");

	far_target.off = c->at;
	run(&(struct try){ .code = c, .ring = 3 });
	CHECK_EQ("conforming code keeps CPL 3", trap.s.ax & 0xffff,
		 TEST(8) | 3);
	run(&(struct try){ .code = c });
	CHECK_EQ("conforming code at ring 0", trap.s.ax & 0xffff, TEST(8));
	gdt_set(TEST(9), gdt[TEST(8) / 8] | (u64)SEG_DPL3 << 40);
	far_target.sel = TEST(9) | 3;
	FAULT("conforming code of an outer ring", VEC_GP, TEST(9),
	      "ljmp *far_target");
}

static void sysenter(void)
{
	topic("SDM 2B SYSENTER, SYSEXIT");
	if (!has1d(11)) {
		skip("sysenter", "not in CPUID");
		return;
	}
#ifdef __x86_64__
	if (!is_intel()) {
		topic("APM 3 SYSENTER: legacy mode only");
		FAULT("sysenter in long mode", VEC_UD, 0, "sysenter",
		      .ring = 3);
		FAULT("sysexit in long mode", VEC_UD, 0, ".byte 0x0f, 0x35");
		return;
	}
#endif
	const struct code *c =
		CODE("sysenter; nop; 1: mov %esp, %eax; mov %ss, %ecx;"
		     "mov %cs, %edx");

	wrmsr(MSR_SYSENTER_CS, SEL_KCODE);
	wrmsr(MSR_SYSENTER_ESP, (uptr)other_stack + 1024);
	wrmsr(MSR_SYSENTER_EIP, c->at);
	run(&(struct try){ .code = c, .ring = 3, .in.flags = FL_IF | FL_CF });
	CHECK_EQ("sysenter", trap.vec, VEC_DONE);
	CHECK_EQ("sysenter, esp", trap.s.ax, (uptr)other_stack + 1024);
	CHECK_EQ("sysenter, ss", trap.s.cx & 0xffff, SEL_KDATA);
	CHECK_EQ("sysenter, cs", trap.s.dx & 0xffff, SEL_KCODE);
	CHECK_EQ("sysenter, IF is clear, CF stays",
		 trap.s.flags & (FL_IF | FL_CF), FL_CF);
	TRAP(".byte 0x0f, 0x35", VEC_DONE, 0, "mov $9f, %edx; .byte 0x0f, 0x35; 9: nop",
	     .in.cx = (uptr)stack3 + 512, .any_ip = true);
	CHECK_EQ("sysexit, cs", trap.s.cs, SEL_UCODE32 | 3);
	CHECK_EQ("sysexit, ss", trap.s.ss, SEL_UDATA | 3);
	CHECK_EQ("sysexit, sp", trap.s.sp, (uptr)stack3 + 512);
	FAULT("sysexit at ring 3", VEC_GP, 0, ".byte 0x0f, 0x35", .ring = 3);
	wrmsr(MSR_SYSENTER_CS, 0);
	FAULT("sysenter with a null CS", VEC_GP, 0, "sysenter", .ring = 3);
	FAULT("sysexit with a null CS", VEC_GP, 0, ".byte 0x0f, 0x35");
}

#ifdef __x86_64__
static void syscall(void)
{
	u64 efer = rdmsr(MSR_EFER);
	const struct code *c =
		CODE("syscall; 2: nop; 1: pushf; pop %rax; mov %cs, %edx;"
		     "mov %ss, %ebx; mov %rsp, %rsi; lea stack0+4096, %rsp");

	topic("SDM 2B SYSCALL, SYSRET");
	wrmsr(MSR_EFER, efer & ~(u64)EFER_SCE);
	FAULT("syscall without SCE", VEC_UD, 0, "syscall", .ring = 3);
	FAULT("sysret without SCE", VEC_UD, 0, "sysretq");
	wrmsr(MSR_EFER, efer | EFER_SCE);
	wrmsr(MSR_STAR, (u64)(SEL_UCODE32 | 3) << 48 | (u64)SEL_KCODE << 32);
	wrmsr(MSR_LSTAR, c->at);
	wrmsr(MSR_FMASK, FL_IF | FL_DF | FL_AC);
	run(&(struct try){ .code = c, .ring = 3,
			   .in.flags = FL_IF | FL_DF | FL_CF | FL_AC });
	CHECK_EQ("syscall", trap.vec, VEC_DONE);
	CHECK_EQ("syscall, rcx", trap.s.cx, c->start + 2);
	CHECK_EQ("syscall, r11", trap.s.r11 & ~(u64)FL_RF,
		 2 | FL_IF | FL_DF | FL_CF | FL_AC);
	CHECK_EQ("syscall, flags are masked", trap.s.ax, 2 | FL_CF);
	CHECK_EQ("syscall, cs", trap.s.dx & 0xffff, SEL_KCODE);
	CHECK_EQ("syscall, ss", trap.s.bx & 0xffff, SEL_KDATA);
	CHECK_EQ("syscall keeps rsp", trap.s.si,
		 (uptr)stack3 + STACK_SIZE - 256);
	wrmsr(MSR_FMASK, 0);

	TRAP("sysretq", VEC_DONE, 0,
	     "mov $9f, %ecx; lea stack3+512, %rsp; sysretq; 9: nop",
	     .in.r11 = 0x202 | FL_CF, .any_ip = true);
	CHECK_EQ("sysretq, cs", trap.s.cs, SEL_UCODE64 | 3);
	CHECK_EQ("sysretq, ss", trap.s.ss, SEL_UDATA | 3);
	CHECK_EQ("sysretq, flags", trap.s.flags, 0x202 | FL_CF);
	TRAP("sysretq drops RF and VM", VEC_DONE, 0,
	     "mov $9f, %ecx; lea stack3+512, %rsp; sysretq; 9: nop",
	     .in.r11 = 0x202 | FL_RF | FL_VM, .any_ip = true);
	TRAP("sysretq takes no reserved bits", VEC_DONE, 0,
	     "mov $9f, %ecx; lea stack3+512, %rsp; sysretq; 9: pushf; pop %rax",
	     .in.r11 = 0x8228, .any_ip = true);
	CHECK_EQ("sysretq, flags on the stack", trap.s.ax, 0x202);
	TRAP("sysretl", VEC_DONE, 0,
	     "mov $9f, %ecx; lea stack3+512, %rsp; sysretl;"
	     ".code32; 9: mov $-1, %eax; .byte 0x48; nop; .code64",
	     .in.r11 = 0x2, .any_ip = true);
	CHECK_EQ("sysretl, cs", trap.s.cs, SEL_UCODE32 | 3);
	CHECK_EQ("sysretl runs 32-bit code", trap.s.ax, 0xfffffffe);
	FAULT("sysret at ring 3", VEC_GP, 0, "sysretq", .ring = 3);
	wrmsr(MSR_EFER, efer);
}

/* Compatibility mode and back. */
static void compatibility(void)
{
	topic("SDM 3A 2.2, 5.2.1, 5.8.1");
	TRAP("compatibility mode", VEC_DONE, 0,
	     ".code32; mov $-1, %eax; .byte 0x48; nop; .code64",
	     .ring = 3, .in.cs = SEL_UCODE32 | 3);
	CHECK_EQ("0x48 is DEC in compatibility mode", trap.s.ax, 0xfffffffe);
	FAULT("fault in compatibility mode", VEC_UD, 0, "ud2", .ring = 3,
	      .in.cs = SEL_UCODE32 | 3);
	TRAP("compatibility mode at ring 0", VEC_DONE, 0,
	     ".code32; mov $-1, %eax; .byte 0x48; nop; .code64",
	     .in.cs = SEL_KCODE32);
	RUN(".code32; push $0x12345678; pop %eax; mov %esp, %ecx; .code64",
	    .ring = 3, .in.cs = SEL_UCODE32 | 3);
	CHECK_EQ("push is 4 bytes wide", trap.s.ax, 0x12345678);
	far_target.sel = SEL_UCODE64 | 3;
	const struct code *c =
		CODE(".code32; ljmp *far_target; nop; .code64;"
		     "1: mov $-1, %eax; .byte 0x48, 0x90");
	far_target.off = c->at;
	run(&(struct try){ .code = c, .ring = 3, .in.cs = SEL_UCODE32 | 3 });
	CHECK_EQ("far jmp to 64-bit code", trap.s.cs, SEL_UCODE64 | 3);
	CHECK_EQ("0x48 is REX there", trap.s.ax, 0xffffffff);
	gdt_set(TEST(10), segment(0, 0xfffff, SEG_P | SEG_CODE | SEG_R |
				  SEG_L | SEG_B));
	far_target.sel = TEST(10);
	FAULT("code segment with L and D", VEC_GP, TEST(10),
	      "ljmp *far_target");
	FAULT("int3 in compatibility mode", VEC_BP, 0, "int3; 1: nop",
	      .ring = 3, .in.cs = SEL_UCODE32 | 3);
	TRAP("into in compatibility mode", VEC_OF, 0, ".byte 0xce; 1: nop",
	     .ring = 3, .in.cs = SEL_UCODE32 | 3, .in.flags = FL_OF);
	topic("SDM 3A 3.4.4, 2B SWAPGS");
	wrmsr(MSR_GS_BASE, 0x1111);
	wrmsr(MSR_KERNEL_GS_BASE, 0x2222);
	asm volatile("swapgs");
	CHECK_EQ("GS base", rdmsr(MSR_GS_BASE), 0x2222);
	CHECK_EQ("kernel GS base", rdmsr(MSR_KERNEL_GS_BASE), 0x1111);
	FAULT("swapgs at ring 3", VEC_GP, 0, "swapgs", .ring = 3);
	FAULT("FS base not canonical", VEC_GP, 0, "wrmsr",
	      .in.cx = MSR_FS_BASE, .in.dx = 0x8000);
	FAULT("LSTAR not canonical", VEC_GP, 0, "wrmsr",
	      .in.cx = MSR_LSTAR, .in.dx = 0x8000);
	wrmsr(MSR_FS_BASE, 0);
	wrmsr(MSR_GS_BASE, 0);
}
#endif

void guest_main(void)
{
	interrupts();
#ifndef __x86_64__
	gates16();
	bad_stacks();
#endif
	call_gates();
	returns();
	conforming();
	sysenter();
#ifdef __x86_64__
	syscall();
	compatibility();
#endif
}
