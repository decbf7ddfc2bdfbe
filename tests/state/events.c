/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Timer interrupts while registers are full: it waits for a number of them,
 * never for a time, and says only what must be true whenever it is stopped
 * and continued.
 */
#include "apic.h"
#include "guest.h"

static volatile u32 hits[256];
static u64 tsc_last;
static u16 pm_port = 0x608;
static bool backwards;

static void look_at_clocks(void)
{
	u64 t = rdtsc();

	backwards |= t < tsc_last;
	tsc_last = t;
}

static void on_pic(struct frame *f)
{
	unsigned irq = f->vec - PIC_BASE;

	hits[f->vec]++;
	look_at_clocks();
	if (irq == 8) {
		outb(0x70, 0x0c);
		inb(0x71);
	}
	pic_eoi(irq);
}

static void on_apic(struct frame *f)
{
	hits[f->vec]++;
	look_at_clocks();
	apic_eoi();
}

/* Work whose result is known, with interrupts on, until vec came n times. */
static bool work(unsigned vec, u32 n)
{
	u32 from = hits[vec], x = 1, a[4] = { 1, 2, 3, 4 }, b[4];
	bool good = true;

	asm volatile("movups %0, %%xmm5; movaps %%xmm5, %%xmm6" : : "m"(a));
	asm volatile("fldpi; fld %st");
	/* No limit: the host may run anything else meanwhile. */
	while (hits[vec] - from < n) {
		uptr r;

		sti();
		asm volatile("mov %1, %0; add $5, %0; xor $0x55, %0; xor $0x55, %0; sub $5, %0"
			     : "=&r"(r) : "r"((uptr)x));
		asm volatile("paddd %xmm6, %xmm5; psubd %xmm6, %xmm5; fchs; fchs");
		cli();
		good &= r == x++;
	}
	asm volatile("movups %%xmm5, %0" : "=m"(b));
	asm volatile("fsubrp %%st, %%st(1); fistpl %0" : "=m"(x));
	return good && memcmp(a, b, sizeof(a)) == 0 && x == 0;
}

/* The same with HLT in place of work. */
static bool idle(unsigned vec, u32 n)
{
	u32 from = hits[vec];

	while (hits[vec] - from < n)
		asm volatile("sti; hlt; cli" : : : "memory");
	return true;
}

static void pit(void)
{
	pic_mask((u16)~(BIT(0) | BIT(2)));
	outb(0x43, 0x34);		/* channel 0, mode 2, 1 kHz */
	outb(0x40, 1193 & 0xff);
	outb(0x40, 1193 >> 8);
	check("PIT, periodic", work(PIC_BASE, 20) && idle(PIC_BASE, 20));
	outb(0x43, 0x30);		/* mode 0: once */
	for (int i = 0; i < 10; i++) {
		outb(0x40, 0);
		outb(0x40, 2);
		work(PIC_BASE, 1);
	}
	check("PIT, ten times once", true);
	pic_mask(0xffff);
}

static void rtc(void)
{
	u8 b;

	pic_mask((u16)~(BIT(8) | BIT(2)));
	outb(0x70, 0x0a), outb(0x71, 0x26);	/* 1024 Hz */
	outb(0x70, 0x0b), b = inb(0x71);
	outb(0x70, 0x0b), outb(0x71, b | 0x40);
	check("RTC, periodic", work(PIC2_BASE, 20) && idle(PIC2_BASE, 10));
	outb(0x70, 0x0b), outb(0x71, b | 0x10);
	check("RTC, update ended", idle(PIC2_BASE, 1));
	outb(0x70, 0x0b), outb(0x71, b);
	outb(0x70, 0x0c), inb(0x71);
	pic_mask(0xffff);
}

static void ioapic_timer(void)
{
	ioapic_set(2, 0x60, 0);
	outb(0x43, 0x34);
	outb(0x40, 1193 & 0xff);
	outb(0x40, 1193 >> 8);
	check("PIT through the I/O APIC", work(0x60, 20) && idle(0x60, 10));
	ioapic_set(2, LVT_MASKED, 0);
	outb(0x43, 0x30);
}

static void apic_timer(void)
{
	apic_write(APIC_TIMER_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, 0x61 | LVT_PERIODIC);
	apic_write(APIC_TIMER_INIT, 1000000);
	check("APIC timer, periodic", work(0x61, 20) && idle(0x61, 10));
	apic_write(APIC_LVT_TIMER, 0x62);
	apic_write(APIC_TIMER_INIT, 0);
	for (int i = 0; i < 20; i++) {
		apic_write(APIC_TIMER_INIT, 700000);
		if (i & 1)
			idle(0x62, 1);
		else
			work(0x62, 1);
	}
	check("APIC timer, twenty times once", true);
	if (has1c(24)) {
		apic_write(APIC_LVT_TIMER, 0x63 | LVT_DEADLINE);
		for (int i = 0; i < 20; i++) {
			wrmsr(MSR_TSC_DEADLINE, rdtsc() + 800000);
			if (i & 1)
				idle(0x63, 1);
			else
				work(0x63, 1);
		}
	}
	check("APIC timer, deadlines", true);
	apic_write(APIC_LVT_TIMER, LVT_MASKED);
}

/* Two timers at once, one of them behind a task priority. */
static void together(void)
{
	pic_mask((u16)~(BIT(0) | BIT(2)));
	outb(0x43, 0x34);
	outb(0x40, 1193 & 0xff);
	outb(0x40, 1193 >> 8);
	apic_write(APIC_LVT_TIMER, 0x61 | LVT_PERIODIC);
	apic_write(APIC_TIMER_INIT, 900000);
	apic_write(APIC_TPR, 0x70);
	u32 before = hits[0x61];
	check("PIT alone", work(PIC_BASE, 20) && hits[0x61] == before);
	apic_write(APIC_TPR, 0);
	check("both", work(PIC_BASE, 10) && work(0x61, 10));
	apic_write(APIC_LVT_TIMER, LVT_MASKED);
	outb(0x43, 0x30);
	pic_mask(0xffff);
	irq_window();
}

static void clocks(void)
{
	u32 pm = inl(pm_port) & 0xffffff, wraps = 0;
	bool moved = false;

	for (int i = 0; i < 20000; i++) {
		u32 now = inl(pm_port) & 0xffffff;

		wraps += now < pm;
		moved |= now != pm;
		pm = now;
		look_at_clocks();
	}
	/* 24 bits last 4.7 s, and these reads a moment. */
	check("the PM timer goes on", moved && wraps <= 1);
	check("the TSC goes on", !backwards);
}

void guest_main(void)
{
	topic("data sheets");
	scope("");
	pic_init();
	apic_enable();
	apic_write(APIC_LVT_LINT0, 0x700);	/* ExtINT: the PIC */
	for (int v = 0x60; v < 0x64; v++)
		hooks[v] = on_apic;
	hooks[PIC_BASE] = hooks[PIC2_BASE] = on_pic;
	pit();
	apic_timer();
	ioapic_timer();
	rtc();
	together();
	clocks();
	finish();
}
