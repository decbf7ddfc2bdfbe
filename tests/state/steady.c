/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A run in which nothing depends on time: the same instructions, the same
 * output, the same memory whenever it is stopped and continued.  It keeps all
 * kinds of state alive at once (SIMD and x87 registers are never touched by
 * compiled code here) and prints a running checksum.
 */
#include "apic.h"
#include "guest.h"
#include "page.h"

#define ROUNDS 3

static u64 seed = 0x123456789abcdefull, sum;
static bool have_avx, have_avx512;
static u32 xcr0;

static u32 rnd(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(seed >> 33);
}

static void mix(u64 v)
{
	sum = ((sum << 7 | sum >> 57) ^ v) * 0x9e3779b97f4a7c15ull;
}

static void mix_bytes(const void *p, size_t n)
{
	const u8 *b = p;
	u32 h = 0x811c9dc5;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 0x01000193;
	mix(h);
}

static void report(const char *name)
{
	print("%s %X\n", name, sum);
}

/* ---- registers and flags ---- */

static void alu(void)
{
	uptr a = rnd(), b = rnd(), c = rnd(), d = rnd(), f;

	for (int i = 0; i < 3000; i++) {
		asm volatile(
			"add %[b], %[a]; adc %[d], %[c]; rcl $3, %[b]; sbb %[a], %[d];"
			"shld $5, %[c], %[a]; rcr $1, %[d]; btc $7, %[b]; adc $0, %[c];"
			"imul %[a], %[b]; bswap %[d]; inc %[a]; pushf; pop %[f]"
			: [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d),
			  [f] "=&r"(f) : : "cc", "memory");
		if (i % 8 == 0)
			mix(a ^ b ^ f);
	}
	mix(c), mix(d);
	asm volatile("std; stc" : : : "cc");
	for (int i = 0; i < 20; i++)
		asm volatile("pushf; pop %0" : "=r"(f));
	asm volatile("cld" : : : "cc");
	mix(f);
}

/* ---- string instructions: stops fall between their iterations ---- */

static u8 from[3 * 4096] __attribute__((aligned(4096)));
static u8 to[3 * 4096] __attribute__((aligned(4096)));

static void move(u8 *d, const u8 *s, uptr n, bool down)
{
	if (down)
		asm volatile("std; rep movsb; cld" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	else
		asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	mix((uptr)d ^ (uptr)s);
}

static uptr scan(const u8 *p, u8 byte, uptr n)
{
	asm volatile("repne scasb" : "+D"(p), "+c"(n) : "a"(byte) : "cc", "memory");
	return n;
}

static uptr compare(const u8 *a, const u8 *b, uptr n)
{
	asm volatile("repe cmpsb" : "+S"(a), "+D"(b), "+c"(n) : : "cc", "memory");
	return n;
}

static void strings(void)
{
	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = rnd();
	for (int i = 0; i < 12; i++) {
		u32 n = rnd() % 3000, off = rnd() % 4096;
		u32 *words = (u32 *)(to + (rnd() & 0x1ffc));
		uptr count = 256;

		move(to + off, from + (rnd() & 4095), n, false);
		move(to + off + n, to + n / 2 + 4096, n / 2 + 1, true);
		asm volatile("rep stosl" : "+D"(words), "+c"(count) : "a"(rnd()) : "memory");
		mix(scan(to, (u8)i, sizeof(to)));
		mix(compare(from, to, sizeof(to)));
	}
	mix_bytes(to, sizeof(to));
}

/* ---- SIMD and x87 registers stay live from here to the end ---- */

static u8 area[4096] __attribute__((aligned(64)));
static u8 lanes[32 * 64] __attribute__((aligned(64)));

static void xsetbv(u32 v)
{
	asm volatile("xsetbv" : : "c"(0), "a"(v), "d"(0));
}

static void simd_on(void)
{
	cr0_write((cr0_read() & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
	cr4_write(cr4_read() | CR4_OSFXSR | CR4_OSXMMEXCPT);
	asm volatile("fninit");
	if (has1c(26) && has1c(28)) {
		cr4_write(cr4_read() | CR4_OSXSAVE);
		have_avx = true;
		have_avx512 = has7b(16) && (cpuid(0xd, 0).a & 0xe0) == 0xe0;
		xcr0 = have_avx512 ? 0xe7 : 7;
		xsetbv(xcr0);
	}
	for (size_t i = 0; i < sizeof(lanes); i++)
		lanes[i] = rnd();
	asm volatile("movups %0, %%xmm0; movups %1, %%xmm1; movups %2, %%xmm2;"
		     "movups %3, %%xmm3; fldpi; fldl2e; fld1; fldlg2"
		     : : "m"(lanes[0]), "m"(lanes[16]), "m"(lanes[32]), "m"(lanes[48]));
	if (have_avx)
		asm volatile("vmovdqu %0, %%ymm4; vmovdqu %1, %%ymm5; vmovdqu %2, %%ymm6"
			     : : "m"(lanes[64]), "m"(lanes[96]), "m"(lanes[128]));
	if (have_avx512)
		asm volatile("vmovdqu64 %0, %%zmm7; vmovdqu64 %1, %%zmm3; kmovw %2, %%k3"
			     : : "m"(lanes[192]), "m"(lanes[256]), "r"(0x5a5a));
#ifdef __x86_64__
	if (have_avx512)
		asm volatile("vmovdqu64 %0, %%zmm21; vmovdqu64 %1, %%zmm30"
			     : : "m"(lanes[320]), "m"(lanes[384]));
#endif
}

static void simd_step(void)
{
	asm volatile("paddd %xmm1, %xmm0; pxor %xmm0, %xmm2; pshufd $0x39, %xmm2, %xmm1;"
		     "mulps %xmm0, %xmm3; pmuludq %xmm2, %xmm0;"
		     "fadd %st(1), %st; fmul %st(2), %st; fxch %st(3); fsqrt; fabs");
	if (have_avx)
		asm volatile("vpaddq %ymm4, %ymm5, %ymm6; vpxor %ymm6, %ymm4, %ymm5;"
			     "vpermq $0x93, %ymm5, %ymm4");
	if (have_avx512)
		asm volatile("vpaddd %zmm7, %zmm7, %zmm7 {%k3}; vpternlogd $0x96, %zmm3, %zmm7, %zmm7");
#ifdef __x86_64__
	if (have_avx512)
		asm volatile("vpaddq %zmm21, %zmm30, %zmm30; vprolq $7, %zmm30, %zmm21");
#endif
}

static void simd(void)
{
	u32 mxcsr;

	for (int i = 0; i < 300; i++)
		simd_step();
	memset(area, 0, sizeof(area));
	if (have_avx) {
		asm volatile("xsave %0" : "+m"(area) : "a"(xcr0), "d"(0) : "memory");
		mix_bytes(area, sizeof(area));
		/* State that is in its initial configuration, then back. */
		asm volatile("vzeroupper");
		asm volatile("xrstor %0" : : "m"(area), "a"(xcr0), "d"(0) : "memory");
	} else {
		asm volatile("fxsave %0" : "+m"(area) : : "memory");
		mix_bytes(area, 512);
	}
	asm volatile("stmxcsr %0" : "=m"(mxcsr));
	mix(mxcsr);
}

/* ---- self-modifying code ---- */

static u8 patch[2 * 4096] __attribute__((aligned(4096)));

/* mov $imm, %eax; ret, now and then across the pages' border */
static void modify(void)
{
	for (int i = 0; i < 400; i++) {
		volatile u8 *p = patch + (i & 1 ? 4093 : rnd() % 8000);
		u32 imm = rnd(), got;

		p[0] = 0xb8;
		for (int k = 0; k < 4; k++)
			p[1 + k] = imm >> 8 * k;
		p[5] = 0xc3;
		asm volatile("call *%1" : "=&a"(got) : "r"(p) : "memory");
		mix(got == imm ? got : 0xbad);
		p[1]++;
		asm volatile("call *%1" : "=&a"(got) : "r"(p) : "memory");
		mix(got);
	}
}

/* ---- paging: other tables, dirty bits, faults ---- */

static void other_mode(void)
{
	for (int i = 0; i < 30; i++) {
		RUN("mov %eax, %ecx; add $5, %eax", .ring = 3, .in.ax = rnd() & 0xffff);
		mix(trap.s.ax ^ trap.s.cx);
		RUN("cli", .ring = 3);
		mix(trap.vec);
		RUN("movl $1, 0x7ffff000");	/* no RAM here: nothing is kept */
		mix(trap.vec);
	}
	/* MOV SS and STI hold events back for an instruction. */
	for (int i = 0; i < 30; i++) {
		RUN("mov %ss, %dx; mov %dx, %ss; nop; nop");
		RUN("sti; nop; cli");
	}
	/* Single steps, some of them behind MOV SS. */
	static u32 traps;
	hooks[VEC_DB] = NULL;
	for (int i = 0; i < 30; i++) {
		RUN("nop; mov %ss, %dx; mov %dx, %ss; nop; nop",
		    .in.flags = FL_TF | 2);
		mix(trap.vec ^ trap.s.ip), traps++;
	}
	mix(traps);
}

/* A data breakpoint that MOV SS hits is held back behind the next
 * instruction. */
static u32 watched = SEL_KDATA;

static void breakpoints(void)
{
	dr0_write((uptr)&watched);
	dr7_write(0x000f0401 | 2);	/* any access of 4 bytes */
	for (int i = 0; i < 60; i++) {
		RUN("mov (" CX "), %ss; nop; nop; nop", .in.cx = (uptr)&watched);
		mix(trap.vec ^ trap.s.ip);
		RUN("mov (" CX "), %ss; outb %al, $0x80; nop", .in.cx = (uptr)&watched);
		mix(trap.vec ^ trap.s.ip);
		dr6_write(0xffff0ff0);
	}
	dr7_write(0x400);
}

/* ---- the local APIC: what is pending waits long enough to be saved ---- */

static u32 order;

static void note(struct frame *f)
{
	order = order * 31 + f->vec;
	for (int i = 0; i < 40; i++)
		simd_step();
	mix(apic_read(APIC_PPR));
	mix(apic_read(APIC_ISR + 0x10 * (f->vec / 32)));
	apic_eoi();
}

static void note_nmi(struct frame *f)
{
	static u32 nmis;

	order = order * 31 + f->vec;
	/* NMIs are blocked here, and one more comes. */
	if (nmis++ % 3 == 0)
		apic_ipi(0, ICR_SELF | ICR_NMI);
	for (int i = 0; i < 60; i++)
		simd_step();
}

static void lapic(void)
{
	for (int v = 0x40; v < 0x90; v++)
		hooks[v] = note;
	hooks[VEC_NMI] = note_nmi;
	for (int i = 0; i < 20; i++) {
		apic_write(APIC_TPR, (rnd() & 7) << 4);
		for (int k = 0; k < 4; k++)
			apic_ipi(0, ICR_SELF | (0x40 + rnd() % 0x50));
		for (int k = 0; k < 60; k++)
			simd_step();
		for (int k = 1; k < 5; k++)
			mix(apic_read(APIC_IRR + 0x10 * k));
		irq_window();
		mix(order);
		if (i % 4 == 0)
			apic_ipi(0, ICR_SELF | ICR_NMI);
		apic_write(APIC_TPR, 0);
		irq_window();
		mix(order);
		/* HLT with an interrupt that is there already */
		apic_ipi(0, ICR_SELF | 0x55);
		asm volatile("sti; hlt; cli" : : : "memory");
		mix(order);
	}
}

/* ---- chips ---- */

enum { COM2 = 0x2f8, COM1 = 0x3f8, CMOS = 0x70, KBD = 0x60, KBD_CMD = 0x64 };

static void loopback(u8 outputs)
{
	outb(COM1 + 4, 0x10 | outputs);
}

static void note_pic(struct frame *f)
{
	order = order * 31 + f->vec;
	outb(PIC1, 0x0b);		/* read ISR */
	mix(inb(PIC1));
	for (int i = 0; i < 50; i++)
		simd_step();
	mix(inb(COM1 + 2));
	mix(inb(COM1 + 6));
	pic_eoi(4);
}

static void note_level(struct frame *f)
{
	order = order * 31 + f->vec;
	mix(ioapic_read(0x10 + 2 * 4) & 0x4000);	/* remote IRR */
	for (int i = 0; i < 50; i++)
		simd_step();
	mix(inb(COM1 + 6));
	apic_eoi();
	mix(ioapic_read(0x10 + 2 * 4) & 0x4000);
}

/* Modem inputs in loopback raise IRQ 4, without any time in it. */
static void uart_interrupts(void)
{
	loopback(0);
	inb(COM1 + 6);
	outb(COM1 + 1, 0x08);		/* modem status */
	pic_mask((u16)~(BIT(4) | BIT(2)));
	hooks[PIC_BASE + 4] = note_pic;
	for (int i = 0; i < 20; i++) {
		loopback(rnd() & 0x0f);
		outb(PIC1, 0x0a);	/* read IRR */
		mix(inb(PIC1) & BIT(4));
		for (int k = 0; k < 40; k++)
			simd_step();
		irq_window();
		mix(order);
	}
	pic_mask(0xffff);
	hooks[0x70] = note_level;
	ioapic_set(4, 0x8070, 0);	/* level */
	for (int i = 0; i < 20; i++) {
		loopback(rnd() & 0x0f);
		for (int k = 0; k < 40; k++)
			simd_step();
		irq_window();
		mix(order);
	}
	ioapic_set(4, LVT_MASKED, 0);
	loopback(0);
	inb(COM1 + 6);
	outb(COM1 + 1, 0);
	outb(COM1 + 4, 0);
}

/* Characters go round in loopback and wait in the receive FIFO. */
static void uart_fifo(void)
{
	u8 tail = 0;

	loopback(0);
	outb(COM1 + 2, 0x07);
	for (int i = 0; i < 10; i++)
		outb(COM1, (u8)(i * 7 + 1));
	for (int k = 0; k < 100; k++)
		simd_step();
	while (inb(COM1 + 5) & 1)
		mix(tail = inb(COM1));
	mix(tail);
	outb(COM1 + 2, 0);
	outb(COM1 + 4, 0);
}

static void registers(void)
{
	u8 nvram[16];

	for (int i = 0; i < 16; i++) {
		outb(CMOS, (u8)(0x50 + i));	/* the index stays */
		simd_step();
		outb(CMOS + 1, (u8)rnd());
	}
	for (int i = 0; i < 16; i++) {
		outb(CMOS, (u8)(0x50 + i));
		nvram[i] = inb(CMOS + 1);
	}
	mix_bytes(nvram, sizeof(nvram));

	outb(COM2 + 7, (u8)rnd());
	outb(COM1 + 7, (u8)rnd());
	mix(inb(COM1 + 7) * 256 + inb(COM2 + 7));

	/* first byte of two is written, then the second */
	outb(0x43, 0xb4);			/* channel 2, mode 2 */
	outb(0x42, (u8)rnd());
	for (int k = 0; k < 20; k++)
		simd_step();
	outb(0x42, (u8)rnd());
	outb(0x43, 0xe8);			/* latch the status of 2 */
	simd_step();
	mix(inb(0x42) & 0x3f);

	outb(KBD_CMD, 0xaa);			/* self-test */
	simd_step();
	for (int k = 0; k < 100 && !(inb(KBD_CMD) & 1); k++)
		;
	mix(inb(KBD));
	outb(KBD_CMD, 0x20);
	simd_step();
	mix(inb(KBD));

	for (u32 i = 0; i < 16; i++) {
		outl(0xcf8, 0x80000000 | i * 4);
		simd_step();
		mix(inl(0xcfc));
	}

	outw(0x510, 0);				/* fw_cfg: signature */
	for (int i = 0; i < 4; i++) {
		mix(inb(0x511));
		simd_step();
	}
	outb(PIC1 + 1, 0x5a), outb(PIC2 + 1, 0xa5);
	outb(0x4d0, 0x20);			/* ELCR */
	mix(inb(PIC1 + 1) * 256 + inb(0x4d0));
	outb(0x4d0, 0);
	pic_mask(0xffff);
}

void guest_main(void)
{
	topic("SDM 1");
	scope("");
	pic_init();
	apic_enable();
	apic_write(APIC_LVT_LINT0, 0x700);	/* ExtINT: the PIC */
	simd_on();
	for (int i = 0; i < ROUNDS; i++) {
		print("round %u\n", i);
		alu(), report("registers and flags");
		strings(), report("strings");
		simd(), report("SIMD and x87");
		modify(), report("self-modifying code");
		other_mode(), report("rings and steps");
		breakpoints(), report("breakpoints");
		lapic(), report("local APIC");
		uart_interrupts(), report("UART, PIC, I/O APIC");
		uart_fifo(), report("UART FIFO");
		registers(), report("registers of chips");
	}
	simd(), report("SIMD at the end");
	finish();
}
