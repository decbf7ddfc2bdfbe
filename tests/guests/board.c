/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The chips of a PC: 8254, 8259 pair, I/O APIC, MC146818, 16550A, 8042, ACPI
 * PM timer.  Times are compared with each other, with generous bounds.
 */
#include "apic.h"
#include "guest.h"

static volatile unsigned hits[16];
static volatile u8 isr_seen[2];

static void irq(struct frame *f)
{
	unsigned n = f->vec - PIC_BASE;

	hits[n & 15]++;
	outb(PIC1, 0x0b), isr_seen[0] = inb(PIC1);
	outb(PIC2, 0x0b), isr_seen[1] = inb(PIC2);
	pic_eoi(n);
}

/* Without the local APIC the PIC's INT line is the processor's INTR. */
static void pic_only(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 0x800);
	apic_enable();
	apic_write(APIC_LVT_LINT0, 0x700);	/* ExtINT */
	pic_init();
	for (unsigned i = 0; i < 16; i++)
		hooks[PIC_BASE + i] = irq;
	memset_v(hits, 0, sizeof(hits));
}

/* Poll without touching the PIT's channel 2; a second or so at most. */
#define WAIT2(cond) ({							\
	bool done_ = false;						\
	for (u32 i_ = 0; i_ < 2000000 && !(done_ = (cond)); i_++)	\
		pause();						\
	done_; })

/* ---- 8254 ---- */

static void pit_write(unsigned channel, u8 mode, u16 count)
{
	outb(0x43, channel << 6 | 0x30 | mode << 1);
	outb(0x40 + channel, count & 0xff);
	outb(0x40 + channel, count >> 8);
}

static u16 pit_latch(unsigned channel)
{
	outb(0x43, channel << 6);
	u8 lo = inb(0x40 + channel);
	return lo | inb(0x40 + channel) << 8;
}

static u8 pit_status(unsigned channel)
{
	outb(0x43, 0xe0 | 2 << channel);	/* read-back, status */
	return inb(0x40 + channel);
}

static void pit(void)
{
	topic("8254 data sheet");
	pit_write(0, 2, 0);
	u16 a = pit_latch(0);
	delay_us(1000);
	u16 b = pit_latch(0);
	check_range("mode 2 counts down by 1", (u16)(a - b), 1000, 40000);
	CHECK_EQ("status, mode, access, binary", pit_status(0) & 0x3f, 0x34);
	pit_write(0, 3, 10000);
	delay_us(100);
	CHECK("mode 3 counts are even", !(pit_latch(0) & 1));
	CHECK_EQ("status of mode 3", pit_status(0) & 0x3f, 0x36);
	pit_write(0, 0, 0xffff);
	CHECK_EQ("mode 0 starts with OUT low", pit_status(0) & 0x80, 0);
	outb(0x43, 0x30);
	CHECK("control word alone gives null count", pit_status(0) & 0x40);
	pit_write(0, 0, 1000);
	CHECK("mode 0 raises OUT at the end", WAIT(pit_status(0) & 0x80, 1000));
	/* read-back of count and status at once: status first */
	pit_write(0, 2, 0x8000);
	outb(0x43, 0xc2);
	u8 status = inb(0x40);
	u8 lo = inb(0x40), hi = inb(0x40);
	CHECK_EQ("read-back, status first", status & 0x3f, 0x34);
	check_range("read-back, then count", hi << 8 | lo, 1, 0x8000);
	/* access to one byte only */
	outb(0x43, 0x14);
	outb(0x40, 200);
	delay_us(300);
	check_range("low byte access", inb(0x40), 1, 200);

	topic("port 61h: gate and OUT of channel 2");
	outb(0x61, 0);
	pit_write(2, 0, 1000);
	u16 c = pit_latch(2), d = pit_latch(2);
	CHECK_EQ("gate low, the count stands", c, d);
	CHECK("gate low, OUT is low", !(inb(0x61) & 0x20));
	outb(0x61, 1);
	CHECK("gate high, OUT rises", WAIT2(inb(0x61) & 0x20));
	CHECK_EQ("gate and speaker bits read back", inb(0x61) & 3, 1);
	outb(0x61, 0);
}

static void pit_irq(void)
{
	topic("8254 mode 2, 8259A: IRQ 0");
	pic_only();
	pit_write(0, 2, 11932);		/* 100 Hz */
	pic_mask((u16)~BIT(0));
	CHECK("IRQ 0 through the PIC", WAIT(hits[0] >= 3, 2000));
	CHECK_EQ("ISR in the handler", isr_seen[0], 1);
	pic_mask(0xffff);
	irq_window();
	memset_v(hits, 0, sizeof(hits));
	delay_us(30000);
	irq_window();
	CHECK_EQ("masked IRQ 0 is silent", hits[0], 0);
	outb(0x43, 0x30);		/* OUT low; forget what was latched */
	pic_only();
	pic_mask((u16)~BIT(0));
	pit_write(0, 0, 1000);
	CHECK("mode 0 interrupts once", WAIT(hits[0], 1000));
	memset_v(hits, 0, sizeof(hits));
	delay_us(20000);
	irq_window();
	CHECK_EQ("and not again", hits[0], 0);
	pic_mask(0xffff);
}

/* ---- 8259 ---- */

static volatile unsigned raw_hits[256];

static void raw(struct frame *f)
{
	raw_hits[f->vec & 255]++;
}

static volatile unsigned level_hits, level_remote;

/* The transmitter stays empty: reading IIR would end it, IER does. */
static void pic_level(struct frame *f)
{
	if (++level_hits == 3)
		outb(0x3f9, 0);
	pic_eoi(4);
}

static void pic(void)
{
	topic("8259A data sheet");
	pic_only();
	pic_mask(0xa55a);
	CHECK_EQ("mask reads back", inb(0x21) | inb(0xa1) << 8, 0xa55a);
	pic_mask(0xffff);
	pit_write(0, 2, 11932);
	outb(PIC1, 0x0a);
	CHECK("IRR sees a masked request", WAIT2((outb(PIC1, 0x0a),
						  inb(PIC1)) & 1));
	/* no EOI: the level stays in service */
	hooks[PIC_BASE] = raw;
	memset_v(raw_hits, 0, sizeof(raw_hits));
	pic_mask((u16)~BIT(0));
	CHECK("taken", WAIT(raw_hits[PIC_BASE], 1000));
	outb(PIC1, 0x0b);
	CHECK_EQ("ISR without EOI", inb(PIC1), 1);
	delay_us(30000);
	irq_window();
	CHECK_EQ("not again without EOI", raw_hits[PIC_BASE], 1);
	outb(PIC1, 0x61);		/* specific EOI of 1: not this one */
	outb(PIC1, 0x0b);
	CHECK_EQ("specific EOI of another level", inb(PIC1), 1);
	outb(PIC1, 0x60);
	outb(PIC1, 0x0b);
	CHECK_EQ("specific EOI", inb(PIC1), 0);
	pic_mask(0xffff);
	/* poll mode acknowledges without an interrupt */
	CHECK("request again", WAIT2((outb(PIC1, 0x0a), inb(PIC1)) & 1));
	outb(0x21, 0xfe);
	outb(PIC1, 0x0c);
	CHECK_EQ("poll", inb(PIC1) & 0x87, 0x80);
	outb(0x21, 0xff);
	outb(PIC1, 0x20);
	/* automatic EOI */
	outb(PIC1, 0x11), outb(0x21, PIC_BASE), outb(0x21, 4), outb(0x21, 3);
	memset_v(raw_hits, 0, sizeof(raw_hits));
	outb(0x21, 0xfe);
	CHECK("automatic EOI", WAIT(raw_hits[PIC_BASE] >= 2, 1000));
	/* other vectors by ICW2 */
	outb(PIC1, 0x11), outb(0x21, 0x70), outb(0x21, 4), outb(0x21, 3);
	hooks[0x70] = raw;
	outb(0x21, 0xfe);
	CHECK("vectors move with ICW2", WAIT(raw_hits[0x70], 1000));
	outb(0x21, 0xff);
	hooks[PIC_BASE] = irq;
	pic_only();
	topic("8259A, ELCR ports 4d0h and 4d1h");
	u8 old = inb(0x4d1);
	outb(0x4d1, 0x0e);
	CHECK_EQ("ELCR reads back", inb(0x4d1) & 0x0e, 0x0e);
	outb(0x4d1, old);
	outb(0x4d0, 0xff);
	CHECK_EQ("IRQ 0 to 2 are always edge", inb(0x4d0) & 7, 0);
	/* a level interrupt comes again until its cause is gone */
	hooks[PIC_BASE + 4] = pic_level;
	outb(0x4d0, 0x10);
	outb(0x3fc, 0x0b);
	pic_mask((u16)~BIT(4));
	outb(0x3f9, 2);
	CHECK("level by ELCR", WAIT(level_hits >= 3, 1000));
	irq_window();
	CHECK_EQ("gone with its cause", level_hits, 3);
	level_hits = 0;
	pic_mask(0xffff);
	outb(0x4d0, 0);
	outb(0x3fc, 3);
	hooks[PIC_BASE + 4] = irq;
}

/* ---- I/O APIC ---- */

static volatile unsigned io_hits;

static void io(struct frame *f)
{
	io_hits++;
	apic_eoi();
}

/* The UART's level: its cause is taken away on the second time only. */
static void level(struct frame *f)
{
	level_remote = ioapic_read(0x10 + 2 * 4) >> 14 & 1;
	if (++level_hits == 2)
		outb(0x3f9, 0);
	apic_eoi();
}

static void ioapic(void)
{
	topic("82093AA data sheet");
	pic_init();
	apic_enable();
	u32 id = apic_id(), version = ioapic_read(1);

	CHECK_EQ("24 pins", version >> 16 & 0xff, 23);
	check_range("version", version & 0xff, 0x11, 0x20);
	ioapic_write(0x10 + 2 * 20, 0x1abcd);
	CHECK_EQ("redirection entry reads back, read-only bits clear",
		 ioapic_read(0x10 + 2 * 20), 0x1abcd & ~0x5000u);
	ioapic_write(0x10 + 2 * 20, LVT_MASKED);
	hooks[0x75] = io;
	/* IRQ 0 is pin 2 (ACPI source override of every PC) */
	pit_write(0, 2, 11932);
	ioapic_set(2, 0x75, id);
	CHECK("PIT through pin 2", WAIT(io_hits >= 3, 2000));
	ioapic_set(2, 0x75 | LVT_MASKED, id);
	irq_window();
	io_hits = 0;
	delay_us(30000);
	irq_window();
	CHECK_EQ("masked pin", io_hits, 0);

	topic("82093AA: level, remote IRR; UART on pin 4");
	hooks[0x76] = level;
	outb(0x3fc, 0x0b);			/* OUT2: interrupts on */
	ioapic_set(4, 0x76 | 1 << 15, id);
	outb(0x3f9, 2);				/* transmitter empty */
	CHECK("level again and again until the cause goes",
	      WAIT(level_hits >= 2, 1000));
	CHECK_EQ("remote IRR in the handler", level_remote, 1);
	irq_window();
	CHECK_EQ("then no more", level_hits, 2);
	CHECK_EQ("remote IRR is clear after EOI",
		 ioapic_read(0x10 + 2 * 4) >> 14 & 1, 0);
	ioapic_set(4, LVT_MASKED, 0);
	outb(0x3fc, 3);
}

/* ---- MC146818 ---- */

static u8 cmos_read(u8 reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

static void cmos_write(u8 reg, u8 v)
{
	outb(0x70, reg);
	outb(0x71, v);
}

static volatile u8 rtc_cause;

static void rtc_irq(struct frame *f)
{
	hits[8]++;
	rtc_cause |= cmos_read(0x0c);
	pic_eoi(8);
}

static unsigned bcd(u8 v)
{
	return cmos_read(0x0b) & 4 ? v : (v >> 4) * 10 + (v & 15);
}

static void rtc(void)
{
	topic("MC146818 data sheet");
	check_range("seconds", bcd(cmos_read(0)), 0, 59);
	check_range("minutes", bcd(cmos_read(2)), 0, 59);
	check_range("hours", bcd(cmos_read(4) & 0x7f), 0, 23);
	check_range("day", bcd(cmos_read(7)), 1, 31);
	check_range("month", bcd(cmos_read(8)), 1, 12);
	check_range("century and year", bcd(cmos_read(0x32)) * 100 +
		    bcd(cmos_read(9)), 2024, 2099);
	CHECK("valid RAM and time", cmos_read(0x0d) & 0x80);
	u8 old = cmos_read(0x45);
	cmos_write(0x45, 0x5a);
	u8 a = cmos_read(0x45);
	cmos_write(0x45, old);
	CHECK_EQ("NVRAM byte", a, 0x5a);

	pic_only();
	hooks[PIC2_BASE] = rtc_irq;
	u8 b = cmos_read(0x0b);
	cmos_write(0x0a, 0x26);			/* 1024 Hz */
	cmos_read(0x0c);
	cmos_write(0x0b, b | 0x40);
	pic_mask((u16)~(BIT(8) | BIT(2)));
	CHECK("periodic interrupt, IRQ 8 by the cascade",
	      WAIT(hits[8] >= 5, 2000));
	CHECK_EQ("cause", rtc_cause & 0xc0, 0xc0);
	cmos_write(0x0b, b);
	cmos_read(0x0c);
	irq_window();
	hits[8] = 0, rtc_cause = 0;
	cmos_write(0x0b, b | 0x10);
	CHECK("update-ended interrupt", WAIT(hits[8], 3000));
	CHECK_EQ("update-ended cause", rtc_cause & 0x90, 0x90);
	hits[8] = 0, rtc_cause = 0;
	cmos_write(1, 0xff), cmos_write(3, 0xff), cmos_write(5, 0xff);
	cmos_write(0x0b, b | 0x20);
	CHECK("alarm with all do not care, each second", WAIT(hits[8], 3000));
	CHECK_EQ("alarm cause", rtc_cause & 0xa0, 0xa0);
	cmos_write(0x0b, b);
	cmos_read(0x0c);
	CHECK_EQ("reading C clears it", cmos_read(0x0c) & 0xf0, 0);
	pic_mask(0xffff);
}

/* ---- 16550A ---- */

static void uart(void)
{
	enum { BASE = 0x3f8 };

	topic("16550A data sheet");
	while ((inb(BASE + 5) & 0x60) != 0x60)
		;
	outb(BASE + 7, 0x5a);
	CHECK_EQ("scratch", inb(BASE + 7), 0x5a);
	outb(BASE + 3, 0x83);
	u16 divisor = inb(BASE) | inb(BASE + 1) << 8;
	outb(BASE + 3, 3);
	CHECK_EQ("divisor latch", divisor, 1);
	CHECK_EQ("FIFOs are announced", inb(BASE + 2) & 0xc0, 0xc0);
	/* nothing can be printed in loop mode */
	outb(BASE + 4, 0x1b);			/* loop, OUT2, RTS, DTR */
	u8 modem = inb(BASE + 6);
	outb(BASE + 4, 0x15);			/* loop, OUT1, DTR */
	u8 modem2 = inb(BASE + 6);
	inb(BASE);
	outb(BASE, 'x');
	bool ready = WAIT2(inb(BASE + 5) & 1);
	u8 byte = inb(BASE), more = inb(BASE + 5);
	outb(BASE + 4, 3);
	CHECK_EQ("loop, modem status from control", modem & 0xf0, 0xb0);
	CHECK_EQ("loop, other outputs", modem2 & 0xf0, 0x60);
	CHECK("loop, data ready", ready);
	CHECK_EQ("loop, the byte", byte, 'x');
	CHECK_EQ("loop, no more data", more & 1, 0);
	outb(BASE + 1, 2);
	u8 iir = inb(BASE + 2);
	u8 again = inb(BASE + 2);
	outb(BASE + 1, 0);
	CHECK_EQ("transmitter empty in IIR", iir & 0x0f, 2);
	CHECK_EQ("reading IIR clears it", again & 1, 1);

	pic_only();
	outb(BASE + 4, 0x0b);
	pic_mask((u16)~BIT(4));
	outb(BASE + 1, 2);
	CHECK("transmitter empty is IRQ 4", WAIT(hits[4], 1000));
	outb(BASE + 1, 0);
	pic_mask(0xffff);
	outb(BASE + 4, 3);
}

/* ---- 8042 ---- */

static bool kbc_wait(u8 mask, u8 want)
{
	return WAIT2((inb(0x64) & mask) == want);
}

static void kbc(void)
{
	topic("8042");
	outb(0x64, 0xad);
	kbc_wait(2, 0);
	while (inb(0x64) & 1)
		inb(0x60);
	outb(0x64, 0xaa);
	CHECK("self test answers", kbc_wait(1, 1));
	CHECK_EQ("self test", inb(0x60), 0x55);
	outb(0x64, 0x20);
	CHECK("command byte answers", kbc_wait(1, 1));
	u8 cb = inb(0x60);
	outb(0x64, 0x60);
	kbc_wait(2, 0);
	outb(0x60, (cb & ~3u) | 0x10);
	kbc_wait(2, 0);
	outb(0x64, 0x20);
	kbc_wait(1, 1);
	CHECK_EQ("command byte reads back", inb(0x60) & 0x13, 0x10);
}

/* ---- ACPI PM timer ---- */

static u32 sum(const u8 *p, u32 n)
{
	u8 s = 0;

	while (n--)
		s += *p++;
	return s;
}

static const u8 *find_table(const char *sig)
{
	for (uptr p = 0xe0000; p < 0x100000; p += 16) {
		if (memcmp((void *)p, "RSD PTR ", 8) || sum((u8 *)p, 20))
			continue;
		uptr sdt = *(u32 *)(p + 16);
		u32 width = 4;

		if (*(u8 *)(p + 15) >= 2 && *(u32 *)(p + 24)) {
			sdt = *(u32 *)(p + 24);
			width = 8;
		}
		for (u32 o = 36; o < *(u32 *)(sdt + 4); o += width) {
			const u8 *t = (u8 *)(uptr)*(u32 *)(sdt + o);

			if (!memcmp(t, sig, 4))
				return t;
		}
	}
	return NULL;
}

static void pm_timer(void)
{
	const u8 *fadt = find_table("FACP");

	topic("ACPI 4.8.2.1");
	if (!fadt) {
		skip("PM timer", "no FADT found");
		return;
	}
	CHECK_EQ("FADT checksum", sum(fadt, *(u32 *)(fadt + 4)), 0);
	u16 port = *(u32 *)(fadt + 76);
	u32 last = inl(port) & 0xffffff;
	bool monotonic = true;

	for (int i = 0; i < 1000; i++) {
		u32 now = inl(port) & 0xffffff;

		if (((now - last) & 0xffffff) > 0x800000)
			monotonic = false;
		last = now;
	}
	CHECK("never goes back", monotonic);
	u32 a = inl(port);
	delay_us(50000);
	u32 d = (inl(port) - a) & 0xffffff;
	/* 50 ms are 178977 ticks; the emulator may be late, never early */
	check_range("3.579545 MHz against the PIT", d, 170000, 3000000);
	CHECK("MADT is there", find_table("APIC") != NULL);
}

void guest_main(void)
{
	pit();
	pit_irq();
	pic();
	ioapic();
	rtc();
	uart();
	kbc();
	pm_timer();
}
