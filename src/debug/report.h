/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a person wants to see where a run went another way. */
#ifndef DEBUG_REPORT_H
#define DEBUG_REPORT_H

#include <stdio.h>

#include "cpu/cpu.h"

/* Up to max instructions from RIP on, in the CPU's present mode and paging. */
void report_code(const struct engine_ops *engine, struct vcpu *vcpu, struct mem *mem, uint64_t rip,
                 unsigned max, FILE *f);

#endif
