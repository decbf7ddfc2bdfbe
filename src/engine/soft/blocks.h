/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running decoded blocks, and the frame of a vCPU's run that engines share. */
#ifndef ENGINE_SOFT_BLOCKS_H
#define ENGINE_SOFT_BLOCKS_H

#include <stdio.h>

#include "engine/soft/soft.h"

/* A vCPU's cache of decoded code, arena_size bytes.  0 or -ENOMEM. */
int soft_blocks_create(struct soft_cpu *c, size_t arena_size);
void soft_blocks_destroy(struct soft_cpu *c);
void soft_blocks_info(struct soft_cpu *c, FILE *f);

/* The body of vcpu_run: events between pieces of guest execution.  piece runs
 * some instructions and returns 0, or SOFT_EXIT with c->run filled. */
int soft_run(struct soft_cpu *c, int (*piece)(struct soft_cpu *c));

/* A block, or one instruction where something has to be looked at between two
 * (single step, breakpoints, shadows, an exact count). */
int soft_run_piece(struct soft_cpu *c);
/* The same, but at most limit instructions. */
int soft_run_limited(struct soft_cpu *c, uint64_t limit);
/* One instruction. */
int soft_step_one(struct soft_cpu *c);
/* What an instruction's result asks for: 0 to go on, or SOFT_EXIT. */
int soft_settle(struct soft_cpu *c, int r);

/* Code appeared on a page: give up this vCPU's write rights and ask the
 * others to.  Returns the epoch to wait for. */
uint64_t soft_code_revoke(struct soft_cpu *c, uint64_t page);
/* Have all others given up the rights they had at this epoch? */
bool soft_code_acknowledged(const struct soft_cpu *c, uint64_t epoch);

#endif
