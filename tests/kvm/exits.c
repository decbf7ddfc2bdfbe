/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many port exits, timed by the ACPI PM timer's big brother, the TSC, against
 * the 8254: reads of a port where nothing is.
 */
#include "apic.h"
#include "guest.h"

#define COUNT 20000

static u64 tsc(void)
{
	u32 low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high));
	return low | (u64)high << 32;
}

void guest_main(void)
{
	u64 begin, cycles;

	begin = tsc();
	for (unsigned i = 0; i < COUNT; i++)
		inb(0x1f7);
	cycles = tsc() - begin;
	print("%u exits in %X cycles\n", COUNT, cycles);
}
