/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two processors that depend on each other all the time: locks, messages,
 * interrupts to each other, code that one writes and the other runs.  What is
 * printed does not depend on how they interleave.
 */
#include "apic.h"
#include "guest.h"

#define ROUNDS 6000

static volatile u32 lock, counter, atomic, turn, ticks[2], ipis[2], stop;
static volatile u64 stamp;
static volatile bool backwards, bad_code;
static u8 code[4096] __attribute__((aligned(4096)));
static volatile u32 code_value;

static void acquire(void)
{
	u32 v = 1;

	for (;;) {
		asm volatile("xchg %0, %1" : "+r"(v), "+m"(lock) : : "memory");
		if (!v)
			return;
		while (lock)
			pause();
	}
}

static void release(void)
{
	barrier();
	lock = 0;
}

static void on_ipi(struct frame *f)
{
	ipis[smp_self()]++;
	apic_eoi();
}

static void on_timer(struct frame *f)
{
	ticks[smp_self()]++;
	apic_eoi();
}

/* The TSC of the two, read in turns, never goes backwards. */
static void look_at_tsc(void)
{
	u64 now = rdtsc();

	backwards |= now < stamp;
	stamp = now;
}

/* mov $imm, %eax; ret */
static void write_code(u32 imm)
{
	volatile u8 *p = code;

	p[0] = 0xb8;
	for (int i = 0; i < 4; i++)
		p[1 + i] = imm >> 8 * i;
	p[5] = 0xc3;
	code_value = imm;
}

static u32 run_code(void)
{
	u32 v;

	cpuid(0, 0);			/* SDM 3A 8.1.3: serialize first */
	asm volatile("call *%1" : "=&a"(v) : "r"(code) : "memory");
	return v;
}

/* Both do this; `me` takes even or odd turns. */
static void both(uptr me)
{
	if (me)
		apic_enable();
	apic_write(APIC_TIMER_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, 0x61 | LVT_PERIODIC);
	apic_write(APIC_TIMER_INIT, 300000 + 50000 * me);
	for (u32 i = 0; i < ROUNDS; i++) {
		acquire();
		counter++;
		look_at_tsc();
		release();
		asm volatile("lock incl %0" : "+m"(atomic) : : "cc");
		irq_window();
		if (i % 16)
			continue;
		/* A message: it is my turn, I write code, the other runs it. */
		while (turn % 2 != me)
			irq_window();
		bad_code |= turn && run_code() != code_value;
		write_code(turn * 7 + (u32)me);
		bad_code |= run_code() != code_value;
		barrier();
		turn++;
		/* And an interrupt, which wakes it if it halts. */
		apic_ipi(smp_apic_id(!me), 0x60);
		if (i % 64 == 0) {
			u32 old = ipis[me];

			while (ipis[me] == old && turn % 2 != me)
				asm volatile("sti; hlt; cli" : : : "memory");
		}
	}
	apic_write(APIC_LVT_TIMER, LVT_MASKED);
	irq_window();
}

void guest_main(void)
{
	topic("SDM 3A 8");
	scope("");
	apic_enable();
	hooks[0x60] = on_ipi;
	hooks[0x61] = on_timer;
	CHECK_EQ("processors", smp_start(), 2);
	for (int part = 0; part < 4; part++) {
		counter = atomic = turn = 0;
		smp_post(1, both, 1);
		both(0);
		smp_wait(1);
		CHECK_EQ("counter under a lock", counter, 2 * ROUNDS);
		CHECK_EQ("atomic counter", atomic, 2 * ROUNDS);
		CHECK_EQ("turns", turn, 2 * ((ROUNDS + 15) / 16));
		check("code written by the other", !bad_code);
		check("time never goes back", !backwards);
	}
	check("interrupts of both", ipis[0] && ipis[1] && ticks[0] && ticks[1]);
	finish();
}
