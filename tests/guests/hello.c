/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The runtime itself: snippets in each ring, hooks, CPUID. */
#include "guest.h"

static volatile unsigned hits;

static void count(struct frame *f)
{
	hits++;
}

void guest_main(void)
{
	topic("the runtime");
	FINE("snippet at ring 0", "nop");
	FINE("snippet at ring 3", "nop", .ring = 3);
	CHECK_EQ("ring 3 was ring 3", trap.s.cs & 3, 3);
	FINE("registers go in and out", "lea 1(%eax), %ecx", .in.ax = 41);
	CHECK_EQ("register value", trap.s.cx, 42);
	FAULT("a fault is caught", VEC_UD, 0, "ud2");
	FAULT("a fault at ring 3 is caught", VEC_UD, 0, "ud2", .ring = 3);
	TRAP("a marked instruction", VEC_UD, 0, "inc %eax; 1: ud2");
	hooks[0x80] = count;
	FINE("an interrupt with a hook returns", "int $0x80");
	CHECK_EQ("the hook ran", hits, 1);
}
