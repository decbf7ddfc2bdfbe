/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checksums of the pages of guest memory. */
#ifndef DEBUG_PAGES_H
#define DEBUG_PAGES_H

#include <stdint.h>

#include "mem/mem.h"

struct pages {
    struct mem *mem;        /* borrowed */
    uint64_t n;
    uint32_t *sums, *old;   /* one for each page: now, and at the scan before */
};

/* All pages empty.  Returns 0 or -ENOMEM. */
int pages_create(struct pages *p, struct mem *mem);
void pages_free(struct pages *p);
/* Look at all pages, while no one writes; returns how many have changed. */
uint64_t pages_scan(struct pages *p);
/* One number for what the last scan saw. */
uint32_t pages_sum(const struct pages *p);

#endif
