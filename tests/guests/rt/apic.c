/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "apic.h"

#include "guest.h"

extern const char trampoline[], trampoline_end[];
extern volatile u32 ap_ticket;
void ap_main(unsigned ticket);

static struct {
	volatile u32 apic_id;
	volatile u32 online;
	void (*volatile fn)(uptr);
	volatile uptr arg;
	volatile u32 busy;
} cpus[CPUS_MAX];

void apic_enable(void)
{
	wrmsr(MSR_APIC_BASE, (rdmsr(MSR_APIC_BASE) & ~0xc00ull) | 0x800);
	apic_write(APIC_SVR, SVR_ENABLE | 0xff);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LVT_TIMER, LVT_MASKED);
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
	apic_write(APIC_LVT_LINT1, LVT_MASKED);
	apic_write(APIC_LVT_ERROR, LVT_MASKED);
	apic_write(APIC_LVT_PMC, LVT_MASKED);
}

void apic_ipi(u32 dest, u32 icr)
{
	apic_write(APIC_ICR_HIGH, dest << 24);
	apic_write(APIC_ICR, icr);
	for (u32 i = 0; i < 1000000 && (apic_read(APIC_ICR) & ICR_PENDING); i++)
		pause();
}

/* ---- processors ---- */

void ap_main(unsigned ticket)
{
	unsigned n = ticket + 1;

	idt_load();
	cr0_write((cr0_read() & (CR0_PE | CR0_PG)) | CR0_ET | CR0_NE | CR0_MP);
	cr4_write((cr4_read() & CR4_PAE) | CR4_OSFXSR | CR4_OSXMMEXCPT);
	apic_enable();
	cpus[n].apic_id = apic_id();
	cpus[n].busy = 0;
	cpus[n].online = 1;
	for (;;) {
		while (!cpus[n].busy)
			pause();
		cpus[n].fn(cpus[n].arg);
		barrier();
		cpus[n].busy = 0;
	}
}

static u32 count_online(void)
{
	u32 n = 0;

	for (unsigned i = 0; i < CPUS_MAX; i++)
		n += cpus[i].online != 0;
	return n;
}

unsigned smp_start(void)
{
	unsigned n = 1;

	memcpy((void *)TRAMPOLINE, trampoline, trampoline_end - trampoline);
	apic_enable();
	cpus[0].apic_id = apic_id();
	cpus[0].online = 1;
	apic_ipi(0, ICR_OTHERS | ICR_INIT | ICR_LEVEL | ICR_ASSERT);
	delay_us(10000);
	apic_ipi(0, ICR_OTHERS | ICR_STARTUP | ICR_ASSERT | TRAMPOLINE >> 12);
	delay_us(200);
	apic_ipi(0, ICR_OTHERS | ICR_STARTUP | ICR_ASSERT | TRAMPOLINE >> 12);
	/* fw_cfg item 5 says how many there are. */
	outw(0x510, 5);
	u32 all = inb(0x511);
	(void)WAIT(count_online() >= all, 5000);
	while (n < CPUS_MAX && cpus[n].online)
		n++;
	return n;
}

unsigned smp_self(void)
{
	u32 id = apic_id();

	for (unsigned i = 0; i < CPUS_MAX; i++)
		if (cpus[i].online && cpus[i].apic_id == id)
			return i;
	return 0;
}

u32 smp_apic_id(unsigned cpu)
{
	return cpus[cpu].apic_id;
}

void smp_post(unsigned cpu, void (*fn)(uptr), uptr arg)
{
	cpus[cpu].fn = fn;
	cpus[cpu].arg = arg;
	barrier();
	cpus[cpu].busy = 1;
}

void smp_wait(unsigned cpu)
{
	while (cpus[cpu].busy)
		pause();
}

/* ---- time ---- */

void delay_us(u32 us)
{
	u32 count = us > 50000 ? 59659 : us * 1193 / 1000 + 1;
	u8 gate = inb(0x61) & 0x0c;

	outb(0x61, gate);		/* gate low, speaker off */
	outb(0x43, 0xb0);		/* channel 2, word, mode 0 */
	outb(0x42, count & 0xff);
	outb(0x42, count >> 8);
	outb(0x61, gate | 1);
	while (!(inb(0x61) & 0x20))
		pause();
}

bool wait_for(volatile unsigned *p, u32 ms)
{
	return WAIT(*p, ms);
}

/* ---- 8259 ---- */

void pic_init(void)
{
	outb(PIC1, 0x11);
	outb(PIC1 + 1, PIC_BASE);
	outb(PIC1 + 1, 4);
	outb(PIC1 + 1, 1);
	outb(PIC2, 0x11);
	outb(PIC2 + 1, PIC2_BASE);
	outb(PIC2 + 1, 2);
	outb(PIC2 + 1, 1);
	pic_mask(0xffff);
}

void pic_mask(u16 mask)
{
	outb(PIC1 + 1, mask & 0xff);
	outb(PIC2 + 1, mask >> 8);
}

void pic_eoi(unsigned irq)
{
	if (irq >= 8)
		outb(PIC2, 0x20);
	outb(PIC1, 0x20);
}

/* ---- I/O APIC ---- */

static volatile u32 *const ioapic = (volatile u32 *)0xfec00000ul;

u32 ioapic_read(u32 reg)
{
	ioapic[0] = reg;
	return ioapic[4];
}

void ioapic_write(u32 reg, u32 v)
{
	ioapic[0] = reg;
	ioapic[4] = v;
}

void ioapic_set(unsigned pin, u32 low, u32 dest)
{
	ioapic_write(0x10 + 2 * pin, LVT_MASKED);
	ioapic_write(0x11 + 2 * pin, dest << 24);
	ioapic_write(0x10 + 2 * pin, low);
}
