/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC: timer modes, priorities, self IPIs, errors, x2APIC; then
 * IPIs between the processors.  Times have generous bounds.
 */
#include "apic.h"
#include "guest.h"

static volatile unsigned hits[256];
static volatile unsigned order[8], ordered;

static void hit(struct frame *f)
{
	hits[f->vec & 255]++;
	if (ordered < 8)
		order[ordered++] = f->vec;
	apic_eoi();
}

static void clear_hits(void)
{
	memset_v(hits, 0, sizeof(hits));
	ordered = 0;
}

/* ---- timer ---- */

static void timer(void)
{
	topic("SDM 3A 10.5.4");
	hooks[0x60] = hit;
	clear_hits();
	apic_write(APIC_TIMER_DIVIDE, 3);	/* by 16 */
	apic_write(APIC_LVT_TIMER, 0x60);
	apic_write(APIC_TIMER_INIT, 0xf0000000);
	u32 a = apic_read(APIC_TIMER_COUNT);
	delay_us(100);
	u32 b = apic_read(APIC_TIMER_COUNT);
	CHECK("one-shot counts down", b < a && a <= 0xf0000000);
	apic_write(APIC_TIMER_INIT, 100000);
	CHECK("one-shot fires", WAIT(hits[0x60], 2000));
	CHECK_EQ("one-shot stops at 0", apic_read(APIC_TIMER_COUNT), 0);
	delay_us(20000);
	irq_window();
	CHECK_EQ("one-shot fires once", hits[0x60], 1);

	clear_hits();
	apic_write(APIC_LVT_TIMER, 0x60 | LVT_PERIODIC);
	apic_write(APIC_TIMER_INIT, 100000);
	CHECK("periodic fires again and again", WAIT(hits[0x60] >= 3, 5000));
	/* It may be read where one period has ended and the next not begun. */
	CHECK("periodic reloads", WAIT(apic_read(APIC_TIMER_COUNT), 5000));
	CHECK_EQ("initial count reads back", apic_read(APIC_TIMER_INIT),
		 100000);
	apic_write(APIC_TIMER_INIT, 0);
	irq_window();
	clear_hits();
	delay_us(20000);
	irq_window();
	CHECK_EQ("initial count 0 stops it", hits[0x60], 0);

	apic_write(APIC_LVT_TIMER, 0x60 | LVT_MASKED);
	apic_write(APIC_TIMER_INIT, 1000);
	CHECK("masked timer still counts to 0",
	      WAIT(!apic_read(APIC_TIMER_COUNT), 1000));
	irq_window();
	CHECK_EQ("a masked timer is silent", hits[0x60], 0);

	/* the same count takes longer with a larger divider */
	u32 rate[3];	/* counts by time, since the host may stretch a delay */
	static const u8 divide[] = { 0xb, 3, 0xa };	/* 1, 16, 128 */
	for (int i = 0; i < 3; i++) {
		apic_write(APIC_TIMER_DIVIDE, divide[i]);
		apic_write(APIC_TIMER_INIT, 0xffffffff);
		u64 start = rdtsc();
		delay_us(20000);
		u32 spent = 0xffffffff - apic_read(APIC_TIMER_COUNT);
		rate[i] = spent / ((u32)((rdtsc() - start) >> 10) + 1);
		apic_write(APIC_TIMER_INIT, 0);
	}
	check_range("divide by 16 against 1", rate[0] / (rate[1] + 1), 4, 64);
	check_range("divide by 128 against 16", rate[1] / (rate[2] + 1), 2, 32);
	CHECK_EQ("divide register reads back", apic_read(APIC_TIMER_DIVIDE), 10);
	apic_write(APIC_TIMER_DIVIDE, 3);

	topic("SDM 3A 10.5.4.1");
	if (!has1c(24)) {
		skip("TSC deadline", "not in CPUID");
		return;
	}
	clear_hits();
	apic_write(APIC_LVT_TIMER, 0x60 | LVT_DEADLINE);
	asm volatile("mfence");
	u64 now = rdtsc();
	wrmsr(MSR_TSC_DEADLINE, now + 200000000);
	CHECK_EQ("deadline reads back", rdmsr(MSR_TSC_DEADLINE),
		 now + 200000000);
	CHECK("deadline fires", WAIT(hits[0x60], 5000));
	CHECK("not before its time", rdtsc() >= now + 200000000);
	CHECK_EQ("deadline is disarmed", rdmsr(MSR_TSC_DEADLINE), 0);
	clear_hits();
	wrmsr(MSR_TSC_DEADLINE, 1);
	CHECK("a deadline in the past fires at once", WAIT(hits[0x60], 1000));
	clear_hits();
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + 100000000);
	wrmsr(MSR_TSC_DEADLINE, 0);
	apic_write(APIC_TIMER_INIT, 1000);
	CHECK_EQ("current count reads 0 in deadline mode",
		 apic_read(APIC_TIMER_COUNT), 0);
	apic_write(APIC_LVT_TIMER, LVT_MASKED);
	irq_window();
	CHECK_EQ("disarmed deadline is silent", hits[0x60], 0);
}

/* ---- priorities ---- */

static volatile u32 ppr_seen, isr_seen;

static void look(struct frame *f)
{
	ppr_seen = apic_read(APIC_PPR);
	isr_seen = apic_bit(APIC_ISR, f->vec);
	hit(f);
}

static void self(unsigned vec)
{
	apic_ipi(0, ICR_SELF | ICR_FIXED | ICR_ASSERT | vec);
	for (int i = 0; i < 100; i++)
		pause();
}

static volatile unsigned nested;

static void nest(struct frame *f)
{
	hits[f->vec & 255]++;
	self(0x45);		/* lower class: waits */
	self(0x85);		/* higher class: now */
	irq_window();
	nested = hits[0x85] << 4 | hits[0x45];
	apic_eoi();
}

static void priorities(void)
{
	topic("SDM 3A 10.8.3, 10.8.4");
	for (unsigned v = 0x40; v < 0xa0; v++)
		hooks[v] = hit;
	clear_hits();
	self(0x51), self(0x95), self(0x72), self(0x73);
	CHECK("IRR has them", apic_bit(APIC_IRR, 0x51) &&
	      apic_bit(APIC_IRR, 0x95) && apic_bit(APIC_IRR, 0x72));
	irq_window(), irq_window(), irq_window(), irq_window();
	CHECK_EQ("highest vector first", order[0] << 24 | order[1] << 16 |
		 order[2] << 8 | order[3], 0x95737251);
	CHECK("IRR is clear", !apic_bit(APIC_IRR, 0x95));

	clear_hits();
	self(0x51), self(0x51), self(0x51);
	irq_window(), irq_window();
	CHECK_EQ("a vector is latched once", hits[0x51], 1);

	hooks[0x66] = look;
	self(0x66);
	irq_window();
	CHECK_EQ("PPR in the handler", ppr_seen & 0xf0, 0x60);
	CHECK_EQ("ISR in the handler", isr_seen, 1);
	CHECK_EQ("PPR after EOI", apic_read(APIC_PPR), 0);
	hooks[0x66] = hit;

	clear_hits();
	apic_write(APIC_TPR, 0x70);
	CHECK_EQ("TPR shows in PPR", apic_read(APIC_PPR), 0x70);
	self(0x7f), self(0x80);
	irq_window(), irq_window();
	CHECK_EQ("TPR holds back its class", hits[0x7f] << 4 | hits[0x80], 1);
	apic_write(APIC_TPR, 0x60);
	irq_window();
	CHECK_EQ("lower TPR lets it in", hits[0x7f], 1);
	apic_write(APIC_TPR, 0);
#ifdef __x86_64__
	cr8_write(5);
	CHECK_EQ("CR8 is TPR[7:4]", apic_read(APIC_TPR), 0x50);
	apic_write(APIC_TPR, 0x90);
	CHECK_EQ("TPR is CR8", cr8_read(), 9);
	cr8_write(0);
	FAULT("CR8 reserved bits", VEC_GP, 0, "mov %rcx, %cr8", .in.cx = 16);
#endif
	clear_hits();
	hooks[0x65] = nest;
	self(0x65);
	irq_window(), irq_window();
	CHECK_EQ("only a higher class interrupts a handler", nested, 0x10);
	CHECK_EQ("the lower one comes after", hits[0x45], 1);
	hooks[0x65] = hit;

	topic("SDM 3A 10.9");
	hooks[0xff] = NULL;
	CHECK("software disable masks every LVT",
	      (apic_write(APIC_SVR, 0xff), apic_write(APIC_LVT_TIMER, 0x60),
	       apic_read(APIC_LVT_TIMER) & LVT_MASKED));
	apic_write(APIC_SVR, SVR_ENABLE | 0xff);
}

static void errors(void)
{
	topic("SDM 3A 10.5.2, 10.5.3");
	hooks[0x61] = hooks[3] = hit;
	clear_hits();
	apic_write(APIC_ESR, 0);
	apic_write(APIC_LVT_ERROR, 0x61);
	apic_write(APIC_ICR, ICR_SELF | ICR_ASSERT | 3);
	delay_us(100);
	irq_window();
	apic_write(APIC_ESR, 0);
	/* AMD names bit 5 for sent, both set 5 or 6 for accepted */
	CHECK("illegal vector in ESR", apic_read(APIC_ESR) & 0x60);
	CHECK_EQ("error interrupt", hits[0x61], 1);
	CHECK_EQ("illegal vector is not delivered", hits[3], 0);
	hooks[3] = NULL;
	apic_write(APIC_ESR, 0);
	apic_write(APIC_ESR, 0);
	CHECK_EQ("ESR is clear after two writes", apic_read(APIC_ESR), 0);
	clear_hits();
	apic_write(APIC_LVT_TIMER, 5);
	apic_write(APIC_LVT_TIMER, LVT_MASKED);
	apic_write(APIC_LVT_ERROR, LVT_MASKED);
	topic("SDM 3A 10.4.8");
	u32 version = apic_read(APIC_VERSION);
	check_range("version", version & 0xff, 0x10, 0x20);
	check_range("max LVT", version >> 16 & 0xff, 3, 7);
	CHECK_EQ("id", apic_id(), cpuid(1, 0).b >> 24);
	topic("SDM 3A 10.6.2: LDR, DFR");
	apic_write(APIC_DFR, 0xffffffff);
	apic_write(APIC_LDR, 0x55ffffff);
	CHECK_EQ("LDR keeps its upper byte", apic_read(APIC_LDR), 0x55000000);
	apic_write(APIC_DFR, 0x0fffffff);
	CHECK_EQ("DFR", apic_read(APIC_DFR), 0x0fffffff);
}

/* ---- other processors ---- */

static volatile unsigned got[CPUS_MAX];	/* interrupts of VEC by processor */
static unsigned n_cpus;

enum { VEC = 0x90 };

static void count(struct frame *f)
{
	asm volatile("lock incl %0" : "+m"(got[smp_self()]));
	if (f->vec != VEC_NMI)
		apic_eoi();
}

static void sti_forever(uptr arg)
{
	sti();
}

static void set_logical(uptr arg)
{
	apic_write(APIC_DFR, arg >> 31 ? 0xffffffff : 0x0fffffff);
	apic_write(APIC_LDR, (arg & 0xff) << 24);
}

static u32 seen(void)
{
	u32 m = 0;

	for (unsigned i = 0; i < n_cpus; i++)
		m |= got[i] << 4 * i;
	return m;
}

/* Who got it: wait for those who must (any: for anybody), then a little for
 * those who must not. */
static u32 mask_got(u32 want, bool any)
{
	u32 m;

	(void)WAIT(any ? seen() != 0 : seen() == want, 500);
	for (int i = 0; i < 100; i++) {
		delay_us(100);
		irq_window();
	}
	m = seen();
	memset_v(got, 0, sizeof(got));
	return m;
}

static void ipis(void)
{
	u32 all = n_cpus >= 4 ? 0x1111 : n_cpus == 3 ? 0x111 : 0x11;

	topic("SDM 3A 10.6.1");
	hooks[VEC] = count;
	hooks[VEC_NMI] = count;
	for (unsigned i = 1; i < n_cpus; i++)
		smp_call(i, sti_forever, 0);
	apic_ipi(smp_apic_id(1), ICR_ASSERT | VEC);
	CHECK_EQ("physical destination", mask_got(0x10, false), 0x10);
	apic_ipi(0, ICR_SELF | ICR_ASSERT | VEC);
	CHECK_EQ("shorthand self", mask_got(1, false), 1);
	apic_ipi(0, ICR_ALL | ICR_ASSERT | VEC);
	CHECK_EQ("shorthand all", mask_got(all, false), all);
	apic_ipi(0, ICR_OTHERS | ICR_ASSERT | VEC);
	CHECK_EQ("shorthand others", mask_got(all & ~1u, false), all & ~1u);
	apic_ipi(0xff, ICR_ASSERT | VEC);
	CHECK_EQ("physical broadcast", mask_got(all, false), all);
	apic_ipi(smp_apic_id(1), ICR_NMI | ICR_ASSERT);
	CHECK_EQ("NMI", mask_got(0x10, false), 0x10);
	apic_ipi(0, ICR_OTHERS | ICR_NMI | ICR_ASSERT);
	CHECK_EQ("NMI to others", mask_got(all & ~1u, false), all & ~1u);
	apic_ipi(0x77, ICR_ASSERT | VEC);
	CHECK_EQ("nobody's id", mask_got(0, false), 0);

	topic("SDM 3A 10.6.2.2: flat model");
	for (unsigned i = 0; i < n_cpus; i++)
		if (i)
			smp_call(i, set_logical, 1u << i | 1u << 31);
		else
			set_logical(1 | (uptr)1 << 31);
	apic_ipi(0x02, ICR_LOGICAL | ICR_ASSERT | VEC);
	CHECK_EQ("flat, one", mask_got(0x10, false), 0x10);
	apic_ipi(0x03, ICR_LOGICAL | ICR_ASSERT | VEC);
	CHECK_EQ("flat, two", mask_got(0x11, false), 0x11);
	apic_ipi(0xff, ICR_LOGICAL | ICR_ASSERT | VEC);
	CHECK_EQ("flat, all", mask_got(all, false), all);
	apic_ipi(0x03, ICR_LOGICAL | ICR_LOWEST | ICR_ASSERT | VEC);
	u32 one = mask_got(0, true);
	CHECK("lowest priority goes to exactly one of the set",
	      one == 0x1 || one == 0x10);
	topic("SDM 3A 10.6.2.2: cluster model");
	for (unsigned i = 0; i < n_cpus; i++)
		if (i)
			smp_call(i, set_logical, (i / 2) << 4 | 1u << (i % 2));
		else
			set_logical(1);
	apic_ipi(0x02, ICR_LOGICAL | ICR_ASSERT | VEC);
	CHECK_EQ("cluster 0, second", mask_got(0x10, false), 0x10);
	apic_ipi(0x03, ICR_LOGICAL | ICR_ASSERT | VEC);
	CHECK_EQ("cluster 0, both", mask_got(0x11, false), 0x11);
	if (n_cpus >= 4) {
		apic_ipi(0x12, ICR_LOGICAL | ICR_ASSERT | VEC);
		CHECK_EQ("cluster 1, second", mask_got(0x1000, false), 0x1000);
	}
	apic_ipi(0xff, ICR_LOGICAL | ICR_ASSERT | VEC);
	CHECK_EQ("cluster broadcast", mask_got(all, false), all);
	hooks[VEC_NMI] = NULL;
}

/* INIT stops a processor until SIPI; its start is real mode at the vector. */
static void init_sipi(void)
{
	static const u8 code[] = {	/* mov word [cs:0x100], cs; hlt; jmp */
		0xfa, 0x2e, 0x8c, 0x0e, 0x00, 0x01,
		0x2e, 0xc6, 0x06, 0x02, 0x01, 0x01, 0xf4, 0xeb, 0xfd };
	volatile u16 *cs = (volatile u16 *)0x9100;
	volatile u8 *done = (volatile u8 *)0x9102;
	u32 id = smp_apic_id(n_cpus - 1);

	topic("SDM 3A 8.4, 10.6.1");
	*cs = 0, *done = 0;
	memcpy((void *)0x9000, code, sizeof(code));
	apic_ipi(id, ICR_INIT | ICR_ASSERT);
	delay_us(10000);
	CHECK_EQ("INIT alone starts nothing", *done, 0);
	apic_ipi(id, ICR_STARTUP | ICR_ASSERT | 9);
	CHECK("SIPI starts it", WAIT(*done, 1000));
	CHECK_EQ("cs is the vector * 0x100", *cs, 0x900);
	*done = 0;
	apic_ipi(id, ICR_STARTUP | ICR_ASSERT | 9);
	delay_us(10000);
	CHECK_EQ("a second SIPI is ignored", *done, 0);
}

/* ---- x2APIC ---- */

static void x2apic(void)
{
	u64 base = rdmsr(MSR_APIC_BASE);

	topic("SDM 3A 10.12");
	CHECK("BSP flag", base & 0x100);
	CHECK_EQ("base address", base & 0xfffff000, 0xfee00000);
	if (!has1c(21)) {
		skip("x2APIC", "not in CPUID");
		return;
	}
	u32 id = apic_id(), version = apic_read(APIC_VERSION);

	FAULT("x2APIC MSR in xAPIC mode", VEC_GP, 0, "rdmsr", .in.cx = 0x802);
	FAULT("EXTD without EN", VEC_GP, 0, "wrmsr", .in.cx = MSR_APIC_BASE,
	      .in.ax = (base & ~0x800ull) | 0x400, .in.dx = 0);
	wrmsr(MSR_APIC_BASE, base | 0xc00);
	CHECK_EQ("x2APIC id", rdmsr(0x802), id);
	CHECK_EQ("x2APIC version", (u32)rdmsr(0x803) & 0xff00ff,
		 version & 0xff00ff);
	CHECK_EQ("LDR is derived from the id", rdmsr(0x80d),
		 (id >> 4) << 16 | 1u << (id & 15));
	FAULT("LDR is read-only", VEC_GP, 0, "wrmsr", .in.cx = 0x80d);
	FAULT("DFR does not exist", VEC_GP, 0, "rdmsr", .in.cx = 0x80e);
	FAULT("EOI takes 0 only", VEC_GP, 0, "wrmsr", .in.cx = 0x80b,
	      .in.ax = 1);
	FAULT("EOI is write-only", VEC_GP, 0, "rdmsr", .in.cx = 0x80b);
	FAULT("reserved register", VEC_GP, 0, "rdmsr", .in.cx = 0x831);
	RUN("mov $0x3f, %edx; mov $0x91, %eax; wrmsr", .in.cx = 0x83f);
	CHECK_EQ("SELF IPI with reserved bits", trap.vec, VEC_GP);
	FAULT("back to xAPIC without disabling", VEC_GP, 0, "wrmsr",
	      .in.cx = MSR_APIC_BASE, .in.ax = base & ~0x400ull, .in.dx = 0);
	wrmsr(0x83f, 0x91);
	for (int i = 0; i < 100; i++)
		pause();
	CHECK("SELF IPI is in IRR", rdmsr(0x824) & BIT(0x11));
	RUN("sti; nop; nop");
	CHECK_EQ("SELF IPI arrives", trap.vec, 0x91);
	wrmsr(0x80b, 0);
	wrmsr(0x830, (u64)id << 32 | 0x92);
	RUN("sti; nop; nop; nop; nop");
	CHECK_EQ("ICR is one MSR with a 32-bit destination", trap.vec, 0x92);
	wrmsr(0x80b, 0);
	wrmsr(MSR_APIC_BASE, base & ~0xc00ull);
	wrmsr(MSR_APIC_BASE, base);
	apic_enable();
	CHECK_EQ("xAPIC again", apic_id(), id);
}

/* ---- PV EOI (Linux, Documentation/virt/kvm/x86/msr.rst) ---- */

enum { MSR_PV_EOI = 0x4b564d04 };
static volatile u32 pv_word __attribute__((aligned(4)));
static unsigned pv_offers;
static bool pv_by_register, pv_withdrawn;

static bool pv_take(void)
{
	u8 offered;

	asm volatile("btrl $0, %0; setc %1" : "+m"(pv_word), "=q"(offered));
	pv_offers += offered;
	return offered;
}

static void pv_hit(struct frame *f)
{
	hits[f->vec & 255]++;
	if (pv_by_register || !pv_take())
		apic_eoi();
}

/* Another of the same class comes while this one is in service. */
static void pv_nest(struct frame *f)
{
	hits[f->vec & 255]++;
	apic_ipi(0, ICR_SELF | ICR_FIXED | ICR_ASSERT | 0x60);
	asm volatile("sti; nop; nop; cli");
	pv_withdrawn = !(pv_word & 1) && !hits[0x60];
	if (!pv_take())
		apic_eoi();
}

/* The same with interrupts shut: it has to come behind IRET. */
static void pv_wait(struct frame *f)
{
	hits[f->vec & 255]++;
	apic_ipi(0, ICR_SELF | ICR_FIXED | ICR_ASSERT | 0x50);
	if (!pv_take())
		apic_eoi();
}

static void pv_send(unsigned vec, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		apic_ipi(0, ICR_SELF | ICR_FIXED | ICR_ASSERT | vec);
		irq_window();
	}
}

static void pv_eoi(void)
{
	if (cpuid(0x40000000, 0).b != 0x4b4d564b ||
	    !(cpuid(0x40000001, 0).a & BIT(6))) {
		skip("PV EOI", "not in CPUID");
		return;
	}
	topic("msr.rst MSR_KVM_EOI_EN");
	FAULT("reserved bit", VEC_GP, 0, "wrmsr", .in.cx = MSR_PV_EOI,
	      .in.ax = 2, .in.dx = 0);
	wrmsr(MSR_PV_EOI, (uptr)&pv_word | 1);
	CHECK_EQ("the MSR reads back", rdmsr(MSR_PV_EOI), (uptr)&pv_word | 1);
	for (unsigned v = 0x50; v <= 0x61; v++)
		hooks[v] = pv_hit;
	clear_hits();
	/* An offer may be withdrawn at any time, but not at each. */
	pv_send(0x60, 50);
	CHECK_EQ("interrupts", hits[0x60], 50);
	CHECK("it is offered", pv_offers > 0);
	CHECK_EQ("nothing stays in service", apic_bit(APIC_ISR, 0x60), 0);
	CHECK_EQ("no offer outside interrupts", pv_word & 1, 0);

	hooks[0x61] = pv_nest;
	clear_hits();
	pv_send(0x61, 1);
	irq_window();
	CHECK("no offer while another waits", pv_withdrawn);
	CHECK_EQ("the other comes behind", hits[0x60], 1);
	hooks[0x61] = pv_wait;
	pv_send(0x61, 20);
	CHECK_EQ("a lower one comes behind", hits[0x50], 20);

	pv_by_register = true;
	clear_hits();
	pv_send(0x60, 5);
	CHECK_EQ("EOI by register all the same", hits[0x60], 5);
	CHECK_EQ("which takes the offer back", pv_word & 1, 0);
	CHECK_EQ("and ends the service", apic_bit(APIC_ISR, 0x60), 0);
	pv_by_register = false;
	wrmsr(MSR_PV_EOI, 0);
	pv_offers = 0;
	pv_send(0x60, 5);
	CHECK_EQ("switched off, nothing is offered", pv_offers, 0);
	CHECK_EQ("switched off, interrupts come", hits[0x60], 10);
}

void guest_main(void)
{
	pic_init();
	apic_enable();
	timer();
	priorities();
	/* KVM keeps an illegal vector in IRR, and while one waits there is no offer. */
	pv_eoi();
	errors();
	n_cpus = smp_start();
	topic("SDM 3A 8.4.4: INIT, SIPI, SIPI");
	check_range("processors", n_cpus, 2, CPUS_MAX);
	if (n_cpus > 4)
		n_cpus = 4;
	if (n_cpus >= 2) {
		ipis();
		init_sipi();
	}
	for (unsigned v = 0x40; v < 0xa0; v++)
		hooks[v] = NULL;
	x2apic();
}
