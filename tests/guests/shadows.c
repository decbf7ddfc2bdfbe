/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When interrupts come: after STI and MOV SS, POPF, IRET; NMI blocking; what
 * interrupt and trap gates do to the flags.  Interrupts are self IPIs.
 */
#include "apic.h"
#include "guest.h"

enum { VEC = 0x60, VEC_LOW = 0x50 };

/* An interrupt that waits for IF. */
static void pend(unsigned vec)
{
	apic_ipi(0, ICR_SELF | ICR_FIXED | ICR_ASSERT | vec);
	for (int i = 0; i < 1000 && !apic_bit(APIC_IRR, vec); i++)
		pause();
}

static void interrupted(struct try *t)
{
	t->vec = VEC;
	t->changes = true;
	pend(VEC);
	expect(t);
	if (trap.vec == VEC) {
		apic_eoi();
	} else {	/* taken nowhere: get rid of it */
		RUN("sti; nop; nop");
		apic_eoi();
	}
}

#define INTERRUPT(name_, text, ...)					\
	interrupted(&(struct try){ .name = name_, .code = CODE(text),	\
				   __VA_ARGS__ })

static void shadow(void)
{
	topic("SDM 2B STI, 3A 6.8.1");
	INTERRUPT("after sti and one instruction", "sti; nop; 1: nop; nop");
	INTERRUPT("a second sti has no shadow", "sti; sti; 1: nop; nop");
	INTERRUPT("sti, then a jump", "sti; jmp 1f; nop; 1: nop");
	INTERRUPT("sti, then an instruction that changes a register",
		  "sti; inc %eax; 1: inc %eax");
	CHECK_EQ("the instruction in the shadow is done", trap.s.ax, 1);
	INTERRUPT("sti; hlt wakes", "sti; hlt; 1: nop");
	INTERRUPT("iret that sets IF has no shadow", "1: nop",
		  .in.flags = FL_IF);
	INTERRUPT("popf that sets IF has no shadow",
		  "pushf; or" SFX " $0x200, (%esp); popf; 1: nop; nop");
	/* Of shadows in a row only the first is sure (SDM 2B MOV), so MOV SS
	 * may add one instruction or none. */
	topic("SDM 3A 6.8.3");
	pend(VEC);
	RUN("sti; mov %ecx, %ss; 1: nop; nop; nop", .in.cx = SEL_KDATA);
	CHECK_EQ("sti; mov ss", trap.vec, VEC);
	check_range("sti; mov ss, at once or one later", trap.s.ip & 15, 3, 4);
	apic_eoi();
	INTERRUPT("lss has no shadow",
		  "sti; lss (%ecx), %esp; 1: nop; nop",
		  .in.cx = (uptr)&(struct __attribute__((packed)) {
			u32 sp; u16 ss; }){ (uptr)stack0 + 4096, SEL_KDATA });

	topic("SDM 2B STI");
	pend(VEC);
	FINE("sti; cli lets nothing in", "sti; cli; nop; nop");
	CHECK("the interrupt still waits", apic_bit(APIC_IRR, VEC));
	RUN("sti; nop; nop");
	CHECK_EQ("and comes later", trap.vec, VEC);
	apic_eoi();
	pend(VEC);
	FAULT("an exception in the shadow comes first", VEC_UD, 0,
	      "sti; 1: ud2");
	RUN("sti; nop; nop");
	apic_eoi();
	pend(VEC);
	RUN("1: nop; rep stosb; nop", .in.flags = FL_IF, .in.cx = 5,
	    .in.di = (uptr)stack3);
	apic_eoi();
	CHECK_EQ("a pending interrupt comes before the first instruction",
		 trap.s.cx, 5);
	INTERRUPT("at ring 3", "1: nop", .in.flags = FL_IF, .ring = 3);
}

/* ---- gates and flags ---- */

static volatile uptr flags_seen, flags_saved;

static void look(struct frame *f)
{
	uptr flags;

	asm volatile("pushf; pop %0" : "=r"(flags));
	flags_seen = flags;
	flags_saved = f->flags;
}

extern const char stubs[256][16];

static void gates(void)
{
	uptr on = FL_IF | FL_AC | FL_ID | FL_CF;

	topic("SDM 3A 6.12.1.3");
	hooks[0x70] = look;
	FINE("interrupt gate", "int $0x70", .in.flags = on);
	CHECK_EQ("an interrupt gate clears IF, keeps AC and ID",
		 flags_seen & (FL_IF | FL_TF | FL_NT | FL_RF | FL_AC | FL_ID),
		 FL_AC | FL_ID);
	CHECK_EQ("the saved flags have IF", flags_saved & on, on);
	idt_set(0x70, stubs[0x70], SEL_KCODE, SEG_P | SEG_TRAP, 0);
	FINE("trap gate", "int $0x70", .in.flags = on);
	CHECK_EQ("a trap gate keeps IF", flags_seen & (FL_IF | FL_TF), FL_IF);
	FINE("trap gate without IF", "int $0x70");
	CHECK_EQ("a trap gate does not set IF", flags_seen & FL_IF, 0);
	idt_set(0x70, stubs[0x70], SEL_KCODE, SEG_P | SEG_TRAP | SEG_DPL3, 0);
	FINE("trap gate from ring 3", "int $0x70", .ring = 3,
	     .in.flags = FL_IF);
	CHECK_EQ("IF from ring 3", flags_seen & FL_IF, FL_IF);
#ifndef __x86_64__
	FINE("trap gate with NT", "int $0x70; mov $0, %eax",
	     .in.flags = FL_IF);
	RUN("pushf; orl $0x4000, (%esp); popf; int $0x70; pushf; pop %eax;"
	    "push $2; popf");
	CHECK_EQ("a gate clears NT", flags_seen & FL_NT, 0);
	CHECK("NT is restored by iret", trap.s.ax & FL_NT);
#endif
	idt_reset(0x70);
	hooks[0x70] = NULL;
}

/* ---- NMI ---- */

static volatile unsigned nmi_hits, nmi_depth, nmi_worst, nmi_mode;

static void send_nmi(void)
{
	apic_ipi(apic_id(), ICR_NMI | ICR_ASSERT);
	for (int i = 0; i < 100; i++)
		pause();
}

static void nmi(struct frame *f)
{
	nmi_depth++;
	if (nmi_depth > nmi_worst)
		nmi_worst = nmi_depth;
	if (nmi_hits++ == 0 && nmi_mode) {
		send_nmi();
		send_nmi();	/* one is latched, more are lost */
		if (nmi_mode == 2)
			asm volatile("int $0x71");
	}
	nmi_depth--;
}

static void nothing(struct frame *f)
{
}

static void nmis(void)
{
	topic("SDM 3A 6.7.1");
	hooks[VEC_NMI] = nmi;
	hooks[0x71] = nothing;
	send_nmi();
	CHECK_EQ("an NMI ignores IF", nmi_hits, 1);
	nmi_hits = nmi_worst = 0, nmi_mode = 1;
	send_nmi();
	CHECK_EQ("an NMI within an NMI waits for IRET", nmi_worst, 1);
	CHECK_EQ("it comes once", nmi_hits, 2);
	nmi_hits = nmi_worst = 0, nmi_mode = 2;
	send_nmi();
	CHECK_EQ("any IRET unblocks", nmi_worst, 2);
	CHECK_EQ("NMIs in all", nmi_hits, 2);
	nmi_hits = 0, nmi_mode = 0;
	hooks[VEC_NMI] = NULL;
	topic("SDM 3A 6.9: NMI before maskable interrupts");
	pend(VEC);
	hooks[VEC_NMI] = nmi;
	asm volatile("cli");
	send_nmi();
	CHECK_EQ("NMI with an interrupt pending", nmi_hits, 1);
	RUN("sti; nop; nop");
	CHECK_EQ("then the interrupt", trap.vec, VEC);
	apic_eoi();
	hooks[VEC_NMI] = NULL;
}

void guest_main(void)
{
	apic_enable();
	shadow();
	gates();
	nmis();
}
