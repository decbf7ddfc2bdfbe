/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "page.h"

#include "guest.h"

enum { POOL_PAGES = 96 };

static u8 pool[POOL_PAGES][4096] __attribute__((aligned(4096)));
static unsigned pool_used;

void page_pool_reset(void)
{
	pool_used = 0;
}

static uptr page_alloc(void)
{
	if (pool_used == POOL_PAGES) {
		print("FAIL page pool: empty\n");
		finish();
	}
	memset(pool[pool_used], 0, 4096);
	return (uptr)pool[pool_used++];
}

static int levels(enum page_format f)
{
	return f == PAGE_32 ? 2 : f == PAGE_PAE ? 3 : 4;
}

static int index_bits(enum page_format f)
{
	return f == PAGE_32 ? 10 : 9;
}

static u64 entry_read(enum page_format f, uptr at)
{
	return f == PAGE_32 ? *(volatile u32 *)at : *(volatile u64 *)at;
}

static void entry_write(enum page_format f, uptr at, u64 v)
{
	if (f == PAGE_32) {
		*(volatile u32 *)at = v;
		return;
	}
	*(volatile u32 *)at = v;
	*(volatile u32 *)(at + 4) = v >> 32;
}

static int level_shift(enum page_format f, int level)
{
	return 12 + index_bits(f) * (level - 1);
}

static u64 shl(u64 v, int n) { return v << n; }

/* Replace a large page by a table of the next smaller pages. */
static u64 split(enum page_format f, u64 entry, int level)
{
	uptr table = page_alloc();
	int shift = level_shift(f, level - 1);
	u64 flags = entry & (PTE_NX | (level == 2 ? 0x17f : 0x1ff));
	u64 pa = entry & 0x000fffffffe00000ull;

	for (unsigned i = 0; i < 1u << index_bits(f); i++)
		entry_write(f, table + i * (f == PAGE_32 ? 4 : 8),
			    (pa + shl(i, shift)) | flags);
	return table | (entry & (PTE_P | PTE_W | PTE_U)) | PTE_W | PTE_U;
}

void *page_entry(struct page_tables *t, u64 va, int level)
{
	enum page_format f = t->format;
	uptr table = t->cr3 & ~(uptr)0xfff;
	unsigned size = f == PAGE_32 ? 4 : 8;

	if (f == PAGE_PAE)
		table = t->cr3 & ~(uptr)0x1f;
	for (int l = levels(f);; l--) {
		unsigned mask = f == PAGE_PAE && l == 3 ? 3
			      : (1u << index_bits(f)) - 1;
		uptr at = table + size * ((va >> level_shift(f, l)) & mask);
		u64 entry = entry_read(f, at);

		if (l == level)
			return (void *)at;
		if (!(entry & PTE_P)) {
			entry = page_alloc() | PTE_P;
			if (!(f == PAGE_PAE && l == 3))
				entry |= PTE_W | PTE_U;
			entry_write(f, at, entry);
		} else if (entry & PTE_PS && l < 4 &&
			   !(f == PAGE_PAE && l == 3)) {
			entry = split(f, entry, l);
			entry_write(f, at, entry);
		}
		table = entry & 0xfffff000;
	}
}

u64 page_get(struct page_tables *t, u64 va, int level)
{
	return entry_read(t->format, (uptr)page_entry(t, va, level));
}

void page_set(struct page_tables *t, u64 va, int level, u64 entry)
{
	entry_write(t->format, (uptr)page_entry(t, va, level), entry);
	invlpg((void *)(uptr)va);
}

void page_tables_init(struct page_tables *t, enum page_format f, u64 flags)
{
	t->format = f;
	t->cr3 = page_alloc();
	for (unsigned i = 0; i < (f == PAGE_32 ? 1024u : 2048u); i++) {
		u64 va = shl(i, f == PAGE_32 ? 22 : 21);

		entry_write(f, (uptr)page_entry(t, va, 2),
			    va | flags | PTE_PS | PTE_P);
	}
}

#ifdef __x86_64__
void page_tables_on(struct page_tables *t)
{
	cr3_write(t->cr3);
}
#else
void page_tables_on(struct page_tables *t)
{
	page_tables_off();
	cr4_write((cr4_read() & ~(CR4_PAE | CR4_PSE)) |
		  (t->format == PAGE_PAE ? CR4_PAE : CR4_PSE));
	cr3_write(t->cr3);
	cr0_write(cr0_read() | CR0_PG);
}

void page_tables_off(void)
{
	cr0_write(cr0_read() & ~CR0_PG);
}
#endif
