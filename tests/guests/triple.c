/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A triple fault: the processor shuts down, the VM ends as crashed. */
#include "guest.h"

void guest_main(void)
{
	struct table_pointer none = { 0, 0 };

	topic("SDM 3A 6.15 #DF: shutdown");
	asm volatile("lidt %0; ud2" : : "m"(none));
	check("a triple fault stops the processor", false);
}
