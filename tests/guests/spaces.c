/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address spaces that are kept under their PCIDs: each way to flush, from the
 * space itself and from another one, for each kind of access and page size,
 * must be seen when the space is entered again without a flush.  What nobody
 * flushed may be old or new, and is not looked at.
 */
#include "guest.h"
#include "page.h"

#define ALIAS 0x40000000u
#define VA 0x90000000u		/* 4 KiB pages */
#define VA_2M 0x94000000u
#define VA_1G 0x80000000u
#define PA_2M_A 0x1000000u
#define PA_2M_B 0x1200000u
#define FAR 0x5000u		/* of the byte looked at, in a large page */
#define KEEP (1ull << 63)
#define PCID_A 1u
#define PCID_B 2u
#define SPACES 12u

static struct page_tables pt;
static u8 frame_a[4096] __attribute__((aligned(4096)));
static u8 frame_b[4096] __attribute__((aligned(4096)));
extern char snippets_start[], snippets_end[];

enum { TAG_A = 0x11, TAG_B = 0x22, FAULTED = 0x100 };
enum { SIZE_4K, SIZE_2M, SIZE_1G };
enum { READ0, READ3, WRITE0, WRITE3, EXEC0, EXEC3, KINDS };
static const char *const kind_name[] = {
	"read at ring 0", "read at ring 3", "write at ring 0",
	"write at ring 3", "code at ring 0", "code at ring 3",
};

static struct __attribute__((packed)) { u64 pcid, va; } desc;

/* Code that says its tag; the tag is what a load finds, too. */
static void mark(u8 *p, u8 tag)
{
	p[0] = 0xb0, p[1] = tag;		/* mov $tag, %al */
	p[2] = 0xcd, p[3] = VEC_DONE;
}

static void enter(unsigned pcid, u64 keep)
{
	cr3_write(pt.cr3 | pcid | keep);
}

static unsigned touch(int kind, uptr va)
{
	unsigned ring = kind == READ3 || kind == WRITE3 || kind == EXEC3 ? 3 : 0;

	if (kind == READ0 || kind == READ3)
		RUN("mov 1(%rcx), %al", .in.cx = va, .ring = ring);
	else if (kind == WRITE0 || kind == WRITE3)
		RUN("mov %al, 16(%rcx)", .in.cx = va, .in.ax = TAG_A,
		    .ring = ring);
	else
		RUN("jmp *%rcx", .in.cx = va, .ring = ring);
	return trap.vec == VEC_DONE ? trap.s.ax & 0xff : FAULTED | trap.vec;
}

static void invpcid(u64 type, unsigned pcid, uptr va)
{
	desc.pcid = pcid, desc.va = va;
	asm volatile("invpcid %0, %1" : : "m"(desc), "r"(type) : "memory");
}

/* ---- ways to flush; false: this one does not apply ---- */

struct page {
	uptr va;		/* what is looked at */
	uptr other;		/* another address in the page */
	u64 *entry;
	u64 old, new;
	unsigned want;
};

static bool has_invpcid(void) { return has7b(10); }

static bool invlpg_a(const struct page *p, bool global)
{
	(void)global;
	invlpg((void *)p->other);
	return true;
}

static bool invlpg_b(const struct page *p, bool global)
{
	if (!global)
		return false;
	enter(PCID_B, KEEP);
	invlpg((void *)p->other);
	return true;
}

static bool cr3_a(const struct page *p, bool global)
{
	(void)p;
	if (!global)
		enter(PCID_A, 0);
	return !global;
}

static bool cr3_b(const struct page *p, bool global)
{
	if (!global)
		enter(PCID_B, KEEP);
	return cr3_a(p, global);
}

static bool pge_a(const struct page *p, bool global)
{
	(void)p, (void)global;
	cr4_write(cr4_read() ^ CR4_PGE);
	cr4_write(cr4_read() ^ CR4_PGE);
	return true;
}

static bool pge_b(const struct page *p, bool global)
{
	enter(PCID_B, KEEP);
	return pge_a(p, global);
}

static bool invpcid_n(const struct page *p, bool global, u64 type, bool from_b)
{
	if (!has_invpcid() || (global && type != 2))
		return false;
	if (from_b)
		enter(PCID_B, KEEP);
	invpcid(type, type < 2 ? PCID_A : 0, p->other);
	return true;
}

#define INVPCID(n)							\
	static bool invpcid_a##n(const struct page *p, bool global)	\
	{ return invpcid_n(p, global, n, false); }			\
	static bool invpcid_b##n(const struct page *p, bool global)	\
	{ return invpcid_n(p, global, n, true); }
INVPCID(0) INVPCID(1) INVPCID(2) INVPCID(3)

static const struct {
	const char *name;
	bool (*flush)(const struct page *p, bool global);
} ways[] = {
	{ "INVLPG", invlpg_a }, { "INVLPG elsewhere", invlpg_b },
	{ "CR3", cr3_a }, { "CR3 from elsewhere", cr3_b },
	{ "PGE", pge_a }, { "PGE elsewhere", pge_b },
	{ "INVPCID 0", invpcid_a0 }, { "INVPCID 0 elsewhere", invpcid_b0 },
	{ "INVPCID 1", invpcid_a1 }, { "INVPCID 1 elsewhere", invpcid_b1 },
	{ "INVPCID 2", invpcid_a2 }, { "INVPCID 2 elsewhere", invpcid_b2 },
	{ "INVPCID 3", invpcid_a3 }, { "INVPCID 3 elsewhere", invpcid_b3 },
};

/* ---- the matrix ---- */

static struct page make(int size, int kind, bool global)
{
	bool user = kind == READ3 || kind == WRITE3 || kind == EXEC3;
	u64 flags = PTE_P | PTE_W | (user ? PTE_U : 0) | (global ? PTE_G : 0);
	struct page p = { .want = FAULTED | VEC_PF };

	if (size == SIZE_4K) {
		p.va = VA, p.other = VA + 0x800;
		p.entry = page_entry(&pt, VA, 1);
		p.old = (uptr)frame_a | flags;
		p.new = (uptr)frame_b | flags;
		p.want = TAG_B;
	} else if (size == SIZE_2M) {
		p.va = VA_2M + FAR, p.other = VA_2M + 0x1000;
		p.entry = page_entry(&pt, VA_2M, 2);
		p.old = PA_2M_A | flags | PTE_PS;
		p.new = PA_2M_B | flags | PTE_PS;
		p.want = TAG_B;
	} else {
		p.va = VA_1G + (uptr)frame_a, p.other = VA_1G + 0x10000000;
		p.entry = page_entry(&pt, VA_1G, 3);
		p.old = flags | PTE_PS;
		p.new = 0;
	}
	if (kind == WRITE0 || kind == WRITE3) {
		p.new = p.old & ~PTE_W;
		p.want = FAULTED | VEC_PF;
	}
	return p;
}

static bool flushed(const struct page *p, int kind, unsigned way, bool global)
{
	volatile u64 *entry = p->entry;
	unsigned got, first;
	bool applies;

	*entry = p->old;
	enter(PCID_B, 0);
	if (has_invpcid())
		invpcid(2, 0, 0);
	else
		pge_a(p, global);
	touch(kind, p->va);
	enter(PCID_A, KEEP);
	first = touch(kind, p->va);
	enter(PCID_B, KEEP);
	touch(kind, p->va);
	enter(PCID_A, KEEP);
	touch(kind, p->va);
	*entry = p->new;
	applies = ways[way].flush(p, global);
	enter(PCID_A, KEEP);
	got = touch(kind, p->va);
	*entry = p->old;
	if (!applies || (first == TAG_A && got == p->want))
		return true;
	print("# %s, %s: first %x, then %x, want %x\n", kind_name[kind],
	      ways[way].name, first, got, p->want);
	return false;
}

static void matrix(const char *name, int size, bool global)
{
	for (unsigned way = 0; way < sizeof(ways) / sizeof(ways[0]); way++) {
		bool good = true;

		scope(name);
		for (int kind = 0; kind < KINDS; kind++) {
			struct page p = make(size, kind, global);

			good &= flushed(&p, kind, way, global);
		}
		check(ways[way].name, good);
		scope("");
	}
}

/* More spaces than an engine may keep. */
static void many(void)
{
	struct page p = make(SIZE_4K, READ3, false);
	volatile u64 *entry = p.entry;
	bool same = true, changed = true;

	topic("SDM 3A 4.10.1");
	*entry = p.old;
	for (unsigned round = 0; round < 2; round++)
		for (unsigned n = 1; n <= SPACES; n++) {
			enter(n, round ? KEEP : 0);
			same &= touch(READ3, p.va) == TAG_A;
			same &= touch(READ0, (uptr)frame_a) == TAG_A;
		}
	CHECK("many PCIDs see their page", same);
	*entry = p.new;
	for (unsigned n = 1; n <= SPACES; n++) {
		enter(n, 0);
		changed &= touch(READ3, p.va) == TAG_B;
	}
	CHECK("and each its new page", changed);
	enter(PCID_A, 0);
}

/* ---- rights that change without a flush ---- */

static unsigned with(uptr *cr, uptr bit, int kind, uptr va)
{
	bool in_cr0 = cr != NULL;
	unsigned got;

	enter(PCID_A, KEEP);
	got = touch(kind, va);
	enter(PCID_B, KEEP);
	if (in_cr0)
		cr0_write(cr0_read() | bit);
	else
		cr4_write(cr4_read() | bit);
	enter(PCID_A, KEEP);
	got = got == TAG_A ? touch(kind, va) : 0;
	if (in_cr0)
		cr0_write(cr0_read() & ~bit);
	else
		cr4_write(cr4_read() & ~bit);
	return got;
}

static void rights(void)
{
	volatile u64 *entry = page_entry(&pt, VA, 1);
	uptr cr0;

	topic("SDM 3A 4.6.1");
	*entry = (uptr)frame_a | PTE_P;
	enter(PCID_A, 0);
	CHECK_EQ("CR0.WP set while another space runs",
		 with(&cr0, CR0_WP, WRITE0, VA), FAULTED | VEC_PF);
	*entry = (uptr)frame_a | PTE_P | PTE_W | PTE_U;
	enter(PCID_A, 0);
	if (has7b(7))
		CHECK_EQ("SMEP set while another space runs",
			 with(NULL, CR4_SMEP, EXEC0, VA), FAULTED | VEC_PF);
	else
		skip("SMEP set while another space runs", "no SMEP");
	enter(PCID_A, 0);
	if (has7b(20))
		CHECK_EQ("SMAP set while another space runs",
			 with(NULL, CR4_SMAP, READ0, VA), FAULTED | VEC_PF);
	else
		skip("SMAP set while another space runs", "no SMAP");
}

static void tables(void)
{
	page_pool_reset();
	page_tables_init(&pt, PAGE_4LEVEL, PTE_W);
	for (uptr p = (uptr)snippets_start & ~0xffful;
	     p < (uptr)snippets_end; p += 4096)
		page_map(&pt, p + ALIAS, p, PTE_P | PTE_W | PTE_U);
	for (uptr p = 0; p < STACK_SIZE; p += 4096)
		page_map(&pt, (uptr)stack3 + p, (uptr)stack3 + p,
			 PTE_P | PTE_W | PTE_U);
	user_alias = ALIAS;
	page_tables_on(&pt);
	mark(frame_a, TAG_A), mark(frame_b, TAG_B);
	mark((u8 *)PA_2M_A + FAR, TAG_A), mark((u8 *)PA_2M_B + FAR, TAG_B);
}

void guest_main(void)
{
	if (!has1c(17) || !has1d(13)) {
		skip("all", "no PCID or no PGE");
		return;
	}
	tables();
	cr4_write(cr4_read() | CR4_PCIDE);
	cr0_write(cr0_read() | CR0_WP);
	for (int global = 0; global < 2; global++) {
		cr4_write((cr4_read() & ~CR4_PGE) | (global ? CR4_PGE : 0));
		topic("SDM 3A 4.10.4.1");
		matrix(global ? "global page, " : "page, ", SIZE_4K, global);
		matrix(global ? "global 2 MiB, " : "2 MiB, ", SIZE_2M, global);
		/* The last one: VA and VA_2M lie in it. */
	}
	cr4_write(cr4_read() & ~CR4_PGE);
	many();
	cr0_write(cr0_read() & ~CR0_WP);
	rights();
	cr0_write(cr0_read() | CR0_WP);
	if (has81d(26)) {
		topic("SDM 3A 4.10.4.1");
		matrix("1 GiB, ", SIZE_1G, false);
		cr4_write(cr4_read() | CR4_PGE);
		matrix("global 1 GiB, ", SIZE_1G, true);
	} else {
		skip("1 GiB", "no such pages");
	}
}
