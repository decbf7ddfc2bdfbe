/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A short run through states that last for one instruction, to be stopped
 * and continued at each one: shadows of STI and MOV SS, events that they hold
 * back, blocked NMIs, single steps, strings.  The exit status tells what came
 * in which order.
 */
#include "apic.h"
#include "guest.h"

static u32 order, nmis, watched = SEL_KDATA;

static void note(struct frame *f)
{
	order = order * 31 + f->vec + (u32)f->ip;
	if (f->vec >= 32)
		apic_eoi();
	if (f->vec == VEC_DB) {
		order = order * 31 + (u32)dr6_read();
		dr6_write(0xffff0ff0);
		if (f->flags & FL_TF)
			f->flags |= FL_RF;
	}
	if (f->vec == VEC_NMI && !nmis++)
		apic_ipi(0, ICR_SELF | ICR_NMI);	/* waits for IRET */
}

static void shadows(void)
{
	apic_ipi(0, ICR_SELF | 0x45);
	asm volatile("sti; nop; nop; cli");
	apic_ipi(0, ICR_SELF | 0x46);
	asm volatile("mov %%ss, %%eax; sti; mov %%eax, %%ss; nop; nop; cli" : : : "eax");
	apic_ipi(0, ICR_SELF | 0x47);
	asm volatile("sti; hlt; cli");
	apic_ipi(0, ICR_SELF | ICR_NMI);
}

/* MOV SS hits a data breakpoint; the next instruction is another one, or one
 * with an access to a device. */
static void held(void)
{
	dr0_write((uptr)&watched);
	dr7_write(0x000f0402);
	asm volatile("mov %0, %%ss; nop; nop" : : "m"(watched));
	asm volatile("mov %0, %%ss; outb %%al, $0x80; nop" : : "m"(watched));
	asm volatile("mov %0, %%eax; nop" : : "m"(watched) : "eax");
	dr7_write(0x400);
}

static void steps(void)
{
	uptr n = 3;
	u8 a[4] = { 1, 2, 3 }, *d = a, *s = a + 1;

	asm volatile("pushf; orl $0x100, (%" SP "); popf; nop;"
		     "mov %%ss, %%eax; mov %%eax, %%ss; nop; rep movsb;"
		     "pushf; andl $~0x100, (%" SP "); popf"
		     : "+D"(d), "+S"(s), "+c"(n) : : "eax", "memory");
	order = order * 31 + a[0] + a[1] * 4 + a[2] * 16;
}

void guest_main(void)
{
	apic_enable();
	for (int v = 0x45; v < 0x48; v++)
		hooks[v] = note;
	hooks[VEC_DB] = hooks[VEC_NMI] = note;
	shadows();
	held();
	steps();
	order ^= order >> 16;
	outb(0xf4, (order ^ order >> 8) & 0x7f);
	hlt();
}
