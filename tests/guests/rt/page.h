/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page tables. */
#ifndef RT_PAGE_H
#define RT_PAGE_H

#include "cpu.h"

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_PWT 8ull
#define PTE_PCD 16ull
#define PTE_A 0x20ull
#define PTE_D 0x40ull
#define PTE_PS 0x80ull
#define PTE_G 0x100ull
#define PTE_PAT 0x1000ull /* of a large page */
#define PTE_NX (1ull << 63)

/* Bits of a page fault's error code (SDM 3A 4.7). */
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16 };

enum page_format { PAGE_32, PAGE_PAE, PAGE_4LEVEL };

/*
 * A small set of page tables in one of the formats: everything below 4 GiB
 * identity mapped with large pages, supervisor only, and single pages and
 * entries set on top of that.
 */
struct page_tables {
	enum page_format format;
	uptr cr3;
};

void page_pool_reset(void);
/* Large pages where the format has them; 32-bit: CR4.PSE is needed. */
void page_tables_init(struct page_tables *t, enum page_format f, u64 flags);
/*
 * The entry that maps `va` at `level` (1: 4 KiB page, 2: the next, ...).
 * Large pages on the way are split; they keep their rights.
 */
void *page_entry(struct page_tables *t, u64 va, int level);
u64 page_get(struct page_tables *t, u64 va, int level);
/* Write the entry and invalidate the page. */
void page_set(struct page_tables *t, u64 va, int level, u64 entry);
/* Map one 4 KiB page. */
static inline void page_map(struct page_tables *t, u64 va, u64 pa, u64 flags)
{
	page_set(t, va, 1, pa | flags);
}

/* Turn paging on with these tables (32-bit guests) or switch to them. */
void page_tables_on(struct page_tables *t);
#ifndef __x86_64__
void page_tables_off(void);
#endif

#endif
