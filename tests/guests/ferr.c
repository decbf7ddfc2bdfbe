/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x87 errors the old way: through the board's interrupt 13. */
#include "apic.h"
#include "guest.h"

static volatile unsigned ferr_hits;

static void ferr(struct frame *f)
{
	ferr_hits++;
	asm volatile("fnclex");
	outb(0xf0, 0);
	pic_eoi(13);
}

/* CR0.NE clear: an unmasked x87 error is IRQ 13 of the board. */
static void ferr_irq(void)
{
	static const u16 unmasked = 0x37b;

	topic("SDM 1 8.7.2, 3A 2.5 CR0.NE");
	pic_init();
	pic_mask((u16)~(BIT(13) | BIT(2)));
	/* virtual wire: the PIC reaches the processor with the APIC off */
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) & ~0x800ull);
	hooks[PIC2_BASE + 5] = ferr;
	asm volatile("fninit; fldcw %0" : : "m"(unmasked));
	WITH_CR0(0, CR0_NE,
		 FINE("x87 error with NE clear", "sti; fld1; fldz;"
		      "fdivrp %st, %st(1); fwait; nop; nop; cli"));
	CHECK_EQ("x87 error is IRQ 13", ferr_hits, 1);
	asm volatile("fninit");
	pic_mask(0xffff);
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 0x800);
}

void guest_main(void)
{
	ferr_irq();
}
