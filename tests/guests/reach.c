/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where accesses may not reach: each kind of access, with each prefix and
 * several addressing forms, at addresses around every kind of border, in both
 * rings.  An access that was good a moment ago, by the same instruction, is
 * given a bad address: what a translator checked when it first met the code is
 * of no use then.
 *
 * A site is one instruction.  It runs first at a good address with the same
 * low bits, then at the one under test.  Memory repeats every 64 bytes, so
 * where the model below says that it is fine, registers and memory must come
 * out as they did there; else exception, error code, CR2 and IP must be the
 * model's, and nothing may have changed (SDM 1 3.3.7.1, 3A 4.7, 5.3, 6.6).
 */
#include "guest.h"
#include "page.h"
#include "reach.h"

typedef unsigned long long va_t;

/* ---- pages ---- */

enum { NPAGES = 16, PERIOD = 64 };
static u8 frames[NPAGES][4096] __attribute__((aligned(4096)));
static u8 pattern[4096];
static struct page_tables pt;

static va_t stack_page;	/* for what needs a stack and tests something else */

static struct page {
	va_t va;
	u8 *frame;
	u8 present, write, user;
} pages[NPAGES + 4];
static unsigned npages;

static va_t page_add(va_t va, u64 flags)
{
	u8 *frame = frames[npages];

	pages[npages++] = (struct page){ va, frame, flags & PTE_P, !!(flags & PTE_W), !!(flags & PTE_U) };
	page_map(&pt, va, (uptr)frame, flags);
	return va;
}

static struct page *page_of(va_t va)
{
	static struct page *last = pages;

	va &= ~0xfffull;
	if (last->va == va)
		return last;
	for (unsigned i = 0; i < npages; i++)
		if (pages[i].va == va)
			return last = &pages[i];
	return NULL;
}

/* Eight bytes by their address; NULL where there is no page of ours. */
static u64 *word_at(va_t va)
{
	struct page *p = page_of(va);

	return p ? (u64 *)(p->frame + (va & 0xff8)) : NULL;
}

static u64 word_of_pattern(va_t va)
{
	return *(u64 *)(pattern + (va & 0xff8));
}

/* Nothing but what belongs there; `stack_page` holds what it may. */
static bool all_intact(void)
{
	for (unsigned i = 0; i < npages; i++)
		for (unsigned k = 0; k < 4096; k += 8)
			if (pages[i].va != stack_page && *(u64 *)(pages[i].frame + k) != word_of_pattern(k))
				return false;
	return true;
}

static void fill_all(void)
{
	for (unsigned i = 0; i < npages; i++)
		for (unsigned k = 0; k < 4096; k += 8)
			*(u64 *)(pages[i].frame + k) = word_of_pattern(k);
}

/* Around an access. */
static void restore(va_t la, unsigned n)
{
	for (va_t at = (la - PERIOD) & ~7ull; at - la + PERIOD + 7 < n + 2 * PERIOD; at += 8) {
		u64 *p = word_at(X64 ? at : (u32)at);

		if (p && *p != word_of_pattern(at))
			*p = word_of_pattern(at);
	}
}

static bool intact(va_t la, unsigned n)
{
	for (va_t at = (la - PERIOD) & ~7ull; at - la + PERIOD + 7 < n + 2 * PERIOD; at += 8) {
		const u64 *p = word_at(X64 ? at : (u32)at);

		if (p && *p != word_of_pattern(at))
			return false;
	}
	return true;
}

/* ---- sites ---- */

/* Each site has 32 bytes, in the order of prefixes and forms. */
#define SITES(pfx, forms, text)						\
	".irp p," pfx "\n .irp m," forms "\n .balign 32\n"		\
	".ifnc \\p,none\n .byte \\p\n .endif\n"				\
	text "\n int $" STR(VEC_DONE) "\n .endr\n .endr\n"
#define SITES_OF(id, body)						\
	asm(".pushsection .snippets, \"ax\"\n .balign 32\n"		\
	    "sites_" #id ":\n" body ".balign 32\n .popsection");	\
	extern const char sites_##id[];
#if X64
#define FIRST_FORM "\"(%rcx)\""
#else
#define FIRST_FORM "\"(%ecx)\""
#endif
#define M_SITES(id, n, flags, pfx, text)				\
	SITES_OF(id, SITES(pfx, FIRST_FORM, text) SITES("none", FORMS, text))
#define S_SITES(id, n, flags, pfx, text) SITES_OF(id, SITES(pfx, NO_FORM, text))
OPS(M_SITES, S_SITES)

static const struct op {
	const char *name;
	const char *sites;
	u16 size, flags;
	bool memory;
	const char *prefixes;
} ops[] = {
#define M_ROW(id, n, flags, pfx, text) { #id, sites_##id, n, flags, true, pfx },
#define S_ROW(id, n, flags, pfx, text) { #id, sites_##id, n, flags, false, pfx },
	OPS(M_ROW, S_ROW)
};

/* ---- addresses ---- */

enum { MAX_BORDERS = 24, MAX_ODD = 24 };
static va_t borders[MAX_BORDERS];	/* where one kind of page meets another */
static unsigned nborders;
static va_t odd[MAX_ODD];		/* not canonical */
static unsigned nodd;
static va_t good;			/* the first of two whole pages */

static void border(va_t at)
{
	borders[nborders++] = at;
}

/* ---- the model ---- */

struct site {
	const struct op *op;
	const char *code;
	unsigned prefix, form;
	unsigned ring;
};

struct want {
	unsigned vec;
	uptr err;
	va_t cr2;
};

static bool canonical(va_t a)
{
	return !X64 || (va_t)((long long)(a << 16) >> 16) == a;
}

#define FS_BASE 0x30u
#define GS_BASE 0xffffe000u

static unsigned segment_prefix(const struct site *s)
{
	return s->prefix == 0x64 || s->prefix == 0x65 ? s->prefix : 0;
}

static bool overrides(const struct site *s)
{
	return !(s->op->flags & (STACK | FRAME | NO_OVERRIDE));
}

static va_t segment_base(const struct site *s)
{
	if (!overrides(s))
		return 0;
	return segment_prefix(s) == 0x64 ? FS_BASE : segment_prefix(s) == 0x65 ? GS_BASE : 0;
}

/* Does it refer to the stack segment?  In 64-bit mode SS is no override. */
static bool through_stack(const struct site *s)
{
	if (s->op->flags & (STACK | FRAME))
		return true;
	if (!X64 && s->prefix == 0x36 && overrides(s))
		return true;
	return s->op->memory && form_on_stack[s->form] && !segment_prefix(s);
}

/* The offset that the instruction makes of the one it was meant to have. */
static va_t cut(const struct site *s, va_t ea)
{
	if (!X64)
		return s->op->memory && s->form >= NFORMS - 2 ? (u16)ea : (u32)ea;
	return s->prefix == 0x67 ? (u32)ea : ea;
}

static va_t linear(const struct site *s, va_t ea)
{
	va_t la = cut(s, ea) + segment_base(s);

	return X64 ? la : (u32)la;
}

/* Page fault of the access at `la` to this page, or none. */
static bool page_denies(const struct site *s, va_t la, struct want *w)
{
	const struct page *p = page_of(la);
	unsigned flags = s->op->flags;

	if (p->present && (p->user || !s->ring) && (p->write || !(flags & W)))
		return false;
	w->vec = VEC_PF;
	w->err = (p->present ? PF_P : 0) | (flags & W ? PF_W : 0) | (s->ring ? PF_U : 0);
	w->cr2 = la;
	return true;
}

static bool locked(const struct site *s)
{
	return s->prefix == 0xf0;
}

static struct want model(const struct site *s, va_t ea)
{
	const unsigned n = s->op->size, flags = s->op->flags;
	const va_t la = linear(s, ea), last = la + n - 1;
	struct want w = { .vec = VEC_DONE };
	bool outside, misaligned;

	if (!X64 && s->prefix == 0x2e && overrides(s) && (flags & W)) {
		w.vec = VEC_GP;		/* code is not written (SDM 3A 5.4) */
		return w;
	}
	if (locked(s) && !(flags & LOCKS)) {
		w.vec = VEC_UD;
		return w;
	}
	outside = !canonical(la) || !canonical(last) || (!X64 && cut(s, ea) + n - 1 > 0xffffffffull);
	misaligned = (flags & ALIGNED) && (la & ((n == 512 ? 16 : n) - 1));
	if (misaligned || outside) {
		w.vec = !misaligned && through_stack(s) ? VEC_SS : VEC_GP;
		return w;
	}
	if (!page_denies(s, la, &w) && ((la ^ last) & ~0xfffull))
		page_denies(s, X64 ? last & ~0xfffull : (u32)(last & ~0xfffull), &w);
	return w;
}

/* ---- a run ---- */

#define BITS_AWAY 0x3000	/* bytes; other pages of other kinds */
#define IN_AX ((uptr)0x1122334455667788ull)

/* Registers such that the access is at `ea`. */
static struct state registers(const struct site *s, va_t ea)
{
	const u32 index = 0x1110;
	unsigned flags = s->op->flags;
	struct state in = {
		.ax = IN_AX, .bx = (uptr)0x99aabbccddeeff01ull,
		.cx = 3, .dx = 0x0badcafe, .bp = 0x77, .si = stack_page + 0x400, .di = stack_page + 0x800,
		.sp = stack_page + 0xf00, .flags = FL_CF | FL_ZF,
	};

	if (s->prefix == 0xf3)
		in.cx = 1;
	if (flags & BITS) {
		in.ax = 8 * BITS_AWAY + 5;
		ea -= BITS_AWAY;
	}
	if (flags & STACK)
		in.sp = ea + (flags & W ? s->op->size : 0);
	else if (flags & FRAME)
		in.bp = ea;
	else if (flags & SOURCE)
		in.si = ea;
	else if (flags & DEST)
		in.di = ea;
	if (!s->op->memory)
		return in;
#if X64
	in.r10 = index, in.r11 = 0x5500000000000123;
	switch (s->form) {
	case 0: in.cx = ea; break;
	case 1: in.bp = ea - 0x40; break;
	case 2: in.r9 = ea + 0x1000; break;
	case 3: in.r13 = ea - 4 * index; break;
	case 4: in.sp = ea; break;
	case 5: in.r12 = ea - 8 - in.r11; break;
	}
#else
	switch (s->form) {
	case 0: in.cx = ea; break;
	case 1: in.bp = ea - 0x40; break;
	case 2: in.bx = ea + 0x1000; break;
	case 3: in.di = index; in.si = ea - 4 * index; break;
	case 4: in.bx = 0xabcd0000 | (u16)ea; break;
	case 5: in.si = 0x5678; in.bp = 0xabcd0000 | (u16)(ea - 0x20 - in.si); break;
	}
#endif
	return in;
}

/* Does the model know what is there? */
static bool known(const struct site *s, va_t ea)
{
	va_t la = linear(s, ea), last = la + s->op->size - 1;

	if (!X64)
		last = (u32)last;
	/* The runtime takes an rSP of 0 for none. */
	if (!registers(s, ea).sp)
		return false;
	/* FXSAVE, CMPXCHG16B: which of two faults comes first is not said. */
	if ((s->op->size == 512 || (s->op->flags & LOCKS)) && (s->op->flags & ALIGNED) && (la & 15) && (!canonical(la) || !canonical(last) || last < la))
		return false;
	return (!canonical(la) || page_of(la)) && (!canonical(last) || page_of(last));
}

/* What the access leaves: registers that it may change, as differences to
 * what they were where they hold the address, and memory around it. */
struct result {
	struct trap t;
	u64 memory[3 * PERIOD / 8];
	u64 xmm0[2];
};

static u32 fpu_two = 0x40000000;
static bool masks;

/* The same registers each time; the x87 stack is neither empty nor full. */
static void vectors(void)
{
	asm volatile("fninit; flds %0; flds %0; flds %0; flds %0" : : "m"(fpu_two));
	asm volatile("movups %0, %%xmm0; movups %0, %%xmm1" : : "m"(*(u8 (*)[16])pattern));
	if (masks)
		asm volatile("kmovw %0, %%k1" : : "r"(1));
}

static void run_at(const struct site *s, va_t ea, struct result *r)
{
	struct state in = registers(s, ea);

	in.fs = TEST(0) | s->ring, in.gs = TEST(1) | s->ring;
	vectors();
	run(&(struct try){ .code = &(struct code){ (uptr)s->code, 0, 0 }, .ring = s->ring, .in = in });
	r->t = trap;
#define DIFFERENCE(x) r->t.s.x -= in.x
	DIFFERENCE(cx), DIFFERENCE(bp), DIFFERENCE(sp), DIFFERENCE(si), DIFFERENCE(di);
#if X64
	DIFFERENCE(r9), DIFFERENCE(r12), DIFFERENCE(r13);
#else
	DIFFERENCE(bx);
#endif
	if (s->op->flags & FRAME || s->op->sites == sites_push_sp || s->op->sites == sites_enter ||
	    s->op->sites == sites_pop_sp)
		r->t.s.sp = r->t.s.bp = 0;	/* other values, by right */
	if (s->prefix == 0x67)
		r->t.s.si = (u32)r->t.s.si, r->t.s.di = (u32)r->t.s.di;
	asm volatile("movups %%xmm0, %0" : "=m"(r->xmm0));
}

static void look(va_t la, struct result *r)
{
	for (unsigned i = 0; i < sizeof(r->memory) / 8; i++) {
		va_t at = ((la - PERIOD) & ~7ull) + 8 * i;
		const u64 *p = word_at(X64 ? at : (u32)at);

		r->memory[i] = p ? *p : word_of_pattern(at);
	}
}

static bool same_words(const void *a, const void *b, unsigned bytes)
{
	const uptr *x = a, *y = b;

	for (unsigned i = 0; i < bytes / sizeof(uptr); i++)
		if (x[i] != y[i])
			return false;
	return true;
}

static bool same_state(const struct result *a, const struct result *b)
{
	return same_words(&a->t.s.ax, &b->t.s.ax, offsetof(struct state, ip)) &&
#if X64
	       same_words(&a->t.s.r8, &b->t.s.r8, 8 * sizeof(uptr)) &&
#endif
	       a->t.s.flags == b->t.s.flags && a->xmm0[0] == b->xmm0[0] && a->xmm0[1] == b->xmm0[1];
}

static bool same_memory(const struct op *op, const struct result *a, const struct result *b)
{
	/* A pushed address or pointer into the image is that of the place. */
	if (op->sites == sites_push_sp || op->size >= 28)
		return true;
	return same_words(a->memory, b->memory, sizeof(a->memory));
}

static bool unchanged(const struct result *r)
{
	static const struct state none;
	const struct state *s = &r->t.s;

	return s->cx == none.cx && !s->sp && !s->bp && !s->si && !s->di &&
	       (s->ax == IN_AX || s->ax == 8 * BITS_AWAY + 5);
}

/* ---- verdict ---- */

enum class { FITS, ACROSS, PAGE_FAULT, NO_ADDRESS, STACK_NO_ADDRESS, MISALIGNED, LOCK, CLASSES };
static const char *const class_name[] = {
	"fits", "across", "page fault", "outside", "outside of the stack", "misaligned", "lock",
};
static struct { unsigned n, bad; } counts[CLASSES];

static enum class class_of(const struct site *s, va_t ea, const struct want *w)
{
	va_t la = linear(s, ea);

	switch (w->vec) {
	case VEC_UD: return LOCK;
	case VEC_PF: return PAGE_FAULT;
	case VEC_SS: return STACK_NO_ADDRESS;
	case VEC_GP: return canonical(la) && canonical(la + s->op->size - 1) && X64 ? MISALIGNED : NO_ADDRESS;
	default: return (la & 0xfff) + s->op->size > 4096 ? ACROSS : FITS;
	}
}

static unsigned told;

static void tell(const struct site *s, va_t ea, const char *what, const struct want *w, const struct trap *t)
{
	if (told++ < 40)
		print("note %s prefix %x form %u ring %u at %X: %s; vector %u error %x cr2 %X ip %X, "
		      "wanted %u %x %X\n", s->op->name, s->prefix, s->form, s->ring, ea, what, t->vec,
		      (u32)t->err, (u64)t->cr2, (u64)t->s.ip, w->vec, (u32)w->err, w->cr2);
}

/* A good address that the same site may have, with the same low bits. */
static va_t good_one(const struct site *s, va_t la)
{
	va_t at = good + 0x400 + (la & (PERIOD - 1));

#if !X64
	if (s->op->memory && s->form >= FORM_16)
		return 0xf000 | (at & 0xfff);
#endif
	return at - segment_base(s);
}

static const char *compare(const struct site *s, va_t la, const struct want *w, const struct result *at_good,
			   struct result *here)
{
	if (here->t.vec != w->vec)
		return "vector";
	if (w->vec == VEC_DONE) {
		look(la, here);
		if (!same_state(at_good, here))
			return "registers";
		return same_memory(s->op, at_good, here) ? NULL : "memory";
	}
	if (here->t.err != w->err)
		return "error code";
	if (here->t.cr2 != (w->vec == VEC_PF ? (uptr)w->cr2 : NO_CR2))
		return "cr2";
	if (here->t.s.ip != (uptr)s->code)
		return "ip";
	if (!unchanged(here))
		return "registers changed";
	return intact(X64 ? (va_t)((long long)(la << 16) >> 16) : la, s->op->size) ? NULL : "memory changed";
}

static void judge(const struct site *s, va_t ea)
{
	static struct result at_good, here;
	const va_t la = linear(s, ea), ref = good_one(s, la);
	const struct want w = model(s, ea);
	const char *wrong;

	run_at(s, ref, &at_good);
	look(linear(s, ref), &at_good);
	restore(linear(s, ref), s->op->size);
	run_at(s, ea, &here);
	wrong = compare(s, la, &w, &at_good, &here);
	if (w.vec == VEC_DONE || wrong)
		restore(la, s->op->size);
	counts[class_of(s, ea, &w)].n++;
	if (wrong) {
		counts[class_of(s, ea, &w)].bad++;
		tell(s, ea, wrong, &w, &here.t);
	}
}

/* ---- the sweep ---- */

static void sweep_site(const struct site *s)
{
	const unsigned n = s->op->size;
	va_t base = segment_base(s);

	for (unsigned i = 0; i < nborders; i++) {
		const va_t at[] = { borders[i] - n, borders[i], borders[i] - n + 1, borders[i] - 1, borders[i] - n / 2 };

		for (unsigned k = 0; k < (n == 1 ? 2u : n == 2 ? 3u : n > 16 ? 5u : 4u); k++)
			if (known(s, at[k] - base))
				judge(s, at[k] - base);
	}
	for (unsigned i = 0; i < nodd; i++)
		if (known(s, odd[i] - base))
			judge(s, odd[i] - base);
}

static unsigned parse_prefix(const char **p)
{
	unsigned v = 0;

	if (**p == 'n') {
		*p += 4;
	} else {
		for (*p += 2; **p && **p != ','; ++*p)
			v = v * 16 + (**p <= '9' ? **p - '0' : **p - 'a' + 10);
	}
	*p += **p == ',';
	return v;
}

/* A fault of the supervisor's own stack needs another one to go to; a push that
 * reads through the stack pointer has two places. */
static bool possible(const struct op *op, unsigned form, unsigned ring)
{
#if X64
	return op->sites != sites_push_m || form != 4;
#else
	return ring || !(op->flags & (STACK | FRAME));
#endif
}

static void sweep_op(const struct op *op, unsigned ring)
{
	struct site s = { .op = op, .code = op->sites, .ring = ring };

	/* The supervisor's code has no other way of looking at prefixes. */
	for (const char *p = op->prefixes; *p; s.code += 32) {
		s.prefix = parse_prefix(&p);
		if (possible(op, 0, ring) && (ring || !s.prefix))
			sweep_site(&s);
	}
	s.prefix = 0;
	for (; op->memory && s.form < NFORMS; s.form++, s.code += 32)
		if (possible(op, s.form, ring))
			sweep_site(&s);
}

static bool have(const struct op *op)
{
	uptr xcr0 = 0;

	if (!(op->flags & (AVX | AVX512)))
		return true;
	if (cr4_read() & CR4_OSXSAVE)
		asm volatile("xgetbv" : "=a"(xcr0) : "c"(0) : "edx");
	return (xcr0 & (op->flags & AVX ? 6 : 0xe6)) == (op->flags & AVX ? 6 : 0xe6);
}

static void report(const struct op *op)
{
	static char name[64];

	for (unsigned i = 0; i < CLASSES; i++) {
		unsigned k = 0;

		for (const char *p = op->name; *p; p++)
			name[k++] = *p;
		name[k++] = ',', name[k++] = ' ';
		for (const char *p = class_name[i]; *p; p++)
			name[k++] = *p;
		name[k] = 0;
		if (counts[i].n)
			CHECK_EQ(name, counts[i].bad, 0);
		counts[i].n = counts[i].bad = 0;
	}
}

static void sweep(unsigned ring)
{
	unsigned elsewhere = 0;	/* wrote where nobody looked at once */

	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (!have(&ops[i])) {
			skip(ops[i].name, "not in CPUID");
			continue;
		}
		sweep_op(&ops[i], ring);
		if (!all_intact()) {
			elsewhere++;
			fill_all();
		}
		report(&ops[i]);
	}
	CHECK_EQ("nothing is written elsewhere", elsewhere, 0);
}

/* ---- set-up ---- */

#define UPAGE (PTE_P | PTE_W | PTE_U)

static void map(void)
{
	va_t area = 0x50000000;

	good = page_add(area, UPAGE);
	page_add(area + 0x1000, UPAGE);
	border(area + 0x1000);
	page_add(area + 0x2000, 0);
	border(area + 0x2000);
	page_add(area + 0x3000, UPAGE);
	border(area + 0x3000);
	page_add(area + 0x4000, PTE_P | PTE_U);
	border(area + 0x4000);
	page_add(area + 0x5000, UPAGE);
	border(area + 0x5000);
	page_add(area + 0x6000, PTE_P | PTE_W);
	border(area + 0x6000);
	page_add(area + 0x7000, UPAGE);
	border(area + 0x7000);
	stack_page = page_add(area + 0x10000, UPAGE);
	page_add(0xfffff000, UPAGE);
	page_add(0, UPAGE);
#if X64
	page_add(0x100000000, UPAGE);
	border(0x100000000);
	page_add(0x7ffffffff000, UPAGE);
	border(0x800000000000);
	page_add(0xffff800000000000, UPAGE);
	border(0xffff800000000000);
	page_add(0xfffffffffffff000, UPAGE);
	border(0);
	for (unsigned bit = 47; bit < 64; bit += 4)
		odd[nodd++] = (good + 0x800) ^ 1ull << bit;
	odd[nodd++] = (good + 0x808) | 1ull << 48;
	odd[nodd++] = (area + 0x2810) | 1ull << 48;	/* would be missing */
	odd[nodd++] = (good + 0x810) | 0xffff000000000000;
	odd[nodd++] = 0x8000000000000000;
	odd[nodd++] = 0x7fffffffffffff00;
	odd[nodd++] = 0xffff7fffffffff00;
	odd[nodd++] = 0x0000800000000040;
#else
	border(0);
	page_add(0xf000, UPAGE);
	page_add(0x10000, UPAGE);
	border(0x10000);
#endif
}

static void segments(void)
{
	const u32 flat = SEG_P | SEG_DATA | SEG_W | SEG_B | SEG_G | SEG_DPL3;

	gdt_set(TEST(0), segment(FS_BASE, 0xfffff, flat));
	gdt_set(TEST(1), segment(GS_BASE, 0xfffff, flat));
}

/* Exceptions come to a stack of their own, whatever rSP is. */
static u8 fault_stack[STACK_SIZE] __attribute__((aligned(16)));

static void stacks(void)
{
#if X64
	extern const char stubs[256][16];
	static const u8 vectors[] = { VEC_UD, VEC_SS, VEC_GP, VEC_PF, VEC_DF };

	tss.t.ist[0] = (uptr)fault_stack + sizeof(fault_stack);
	for (unsigned i = 0; i < sizeof(vectors); i++)
		idt_set(vectors[i], stubs[vectors[i]], SEL_KCODE, SEG_P | SEG_INT, 1);
	idt_set(VEC_DONE, stubs[VEC_DONE], SEL_KCODE, SEG_P | SEG_INT | SEG_DPL3, 1);
#else
	(void)fault_stack;
#endif
}

static void extensions(void)
{
	if (!has1c(26))
		return;
	cr4_write(cr4_read() | CR4_OSXSAVE);
	u32 want = cpuid(0xd, 0).a & 0xe7;

	masks = (want & 0xe0) == 0xe0;
	if (!masks)
		want &= 7;
	asm volatile("xsetbv" : : "a"(want), "c"(0), "d"(0));
}

void guest_main(void)
{
	for (unsigned i = 0; i < sizeof(pattern); i++)
		pattern[i] = (u8)((i % PERIOD) * 7 + 1);
#if X64
	page_tables_init(&pt, PAGE_4LEVEL, PTE_W | PTE_U);
#else
	/* Its four top entries show whether addresses wrap at 4 GiB. */
	page_tables_init(&pt, PAGE_PAE, PTE_W | PTE_U);
#endif
	page_tables_on(&pt);
	map();
	segments();
	stacks();
	extensions();
	cr0_write(cr0_read() | CR0_WP);
	fill_all();
	topic("SDM 1 3.3.7.1, 3A 4.7, 5.3, 6.6");
	scope("user, ");
	sweep(3);
	scope("kernel, ");
	sweep(0);
}
