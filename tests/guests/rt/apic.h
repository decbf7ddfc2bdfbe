/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APIC, other processors, and the 8259 pair. */
#ifndef RT_APIC_H
#define RT_APIC_H

#include "cpu.h"

enum {
	APIC_ID = 0x20, APIC_VERSION = 0x30, APIC_TPR = 0x80, APIC_PPR = 0xa0,
	APIC_EOI = 0xb0, APIC_LDR = 0xd0, APIC_DFR = 0xe0, APIC_SVR = 0xf0,
	APIC_ISR = 0x100, APIC_TMR = 0x180, APIC_IRR = 0x200, APIC_ESR = 0x280,
	APIC_ICR = 0x300, APIC_ICR_HIGH = 0x310, APIC_LVT_TIMER = 0x320,
	APIC_LVT_PMC = 0x340, APIC_LVT_LINT0 = 0x350, APIC_LVT_LINT1 = 0x360,
	APIC_LVT_ERROR = 0x370, APIC_TIMER_INIT = 0x380,
	APIC_TIMER_COUNT = 0x390, APIC_TIMER_DIVIDE = 0x3e0,
};
enum {
	ICR_FIXED = 0, ICR_LOWEST = 0x100, ICR_NMI = 0x400, ICR_INIT = 0x500,
	ICR_STARTUP = 0x600, ICR_LOGICAL = 0x800, ICR_PENDING = 0x1000,
	ICR_ASSERT = 0x4000, ICR_LEVEL = 0x8000, ICR_SELF = 0x40000,
	ICR_ALL = 0x80000, ICR_OTHERS = 0xc0000,
	LVT_MASKED = 0x10000, LVT_PERIODIC = 0x20000, LVT_DEADLINE = 0x40000,
	SVR_ENABLE = 0x100,
};

/* xAPIC access at the architecture's address. */
static inline volatile u32 *apic_reg(u32 reg)
{
	return (volatile u32 *)(0xfee00000ul + reg);
}
static inline u32 apic_read(u32 reg) { return *apic_reg(reg); }
static inline void apic_write(u32 reg, u32 v) { *apic_reg(reg) = v; }
static inline void apic_eoi(void) { apic_write(APIC_EOI, 0); }
/* Bit `vec` of the 256-bit register at `reg`. */
static inline bool apic_bit(u32 reg, unsigned vec)
{
	return apic_read(reg + (vec / 32) * 16) & BIT(vec % 32);
}
static inline u32 apic_id(void) { return apic_read(APIC_ID) >> 24; }

/* Software-enabled, spurious vector 0xff, TPR 0, every LVT masked. */
void apic_enable(void);
/* Send an IPI and wait until it has left. */
void apic_ipi(u32 dest, u32 icr);

/* Start every other processor; returns how many there are with this one. */
unsigned smp_start(void);
/* Number of this processor: 0 is the boot processor. */
unsigned smp_self(void);
u32 smp_apic_id(unsigned cpu);
/* Let a processor run fn(arg); wait for it. */
void smp_post(unsigned cpu, void (*fn)(uptr), uptr arg);
void smp_wait(unsigned cpu);
static inline void smp_call(unsigned cpu, void (*fn)(uptr), uptr arg)
{
	smp_post(cpu, fn, arg);
	smp_wait(cpu);
}

/* ---- time ---- */

/* Wait with the PIT's channel 2, polled; at most 50 ms each. */
void delay_us(u32 us);
/* Wait until *p != 0, at most ten times ms milliseconds, since a busy host may
 * keep the other processor from running; interrupts are let in. */
bool wait_for(volatile unsigned *p, u32 ms);
/* The same with an own condition. */
#define WAIT(cond, ms) ({						\
	bool done_ = false;						\
	for (u32 i_ = 0; i_ < (ms) * 100u; i_++) {			\
		if ((done_ = (cond)))					\
			break;						\
		irq_window();						\
		delay_us(100);						\
	}								\
	done_; })

/* ---- 8259 ---- */

enum { PIC1 = 0x20, PIC2 = 0xa0, PIC_BASE = 0x20, PIC2_BASE = 0x28 };

/* Initialised, all masked, vectors PIC_BASE and PIC2_BASE. */
void pic_init(void);
void pic_mask(u16 mask);
void pic_eoi(unsigned irq);

/* ---- I/O APIC ---- */

u32 ioapic_read(u32 reg);
void ioapic_write(u32 reg, u32 v);
void ioapic_set(unsigned pin, u32 low, u32 dest);

#endif
