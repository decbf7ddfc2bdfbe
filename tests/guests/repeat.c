/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * REP MOVS and REP STOS that run into something: a missing, a read-only page,
 * the end of the lower half.  The same instruction has run to its end just
 * before.  What was done must show in registers and memory to the element, and
 * nothing else may have been written (SDM 2B REP, 3A 6.6).
 */
#include "guest.h"
#include "page.h"

typedef unsigned long long va_t;

#define NFRAMES 6
#define IN_AX 0x0077665544332211ull
#define AREA 0x50000000u	/* good, good, missing, good, read-only, good */
#define SOURCE 0x60000000u	/* two good pages */
#ifdef __x86_64__
#define END 0x0000800000000000ull	/* the page below it is good */
#else
#define END 0x100000000ull
#endif

static struct page_tables pt;
static u8 frames[NFRAMES * 4096] __attribute__((aligned(4096)));
static u8 sources[2 * 4096] __attribute__((aligned(4096)));
static u8 last[4096] __attribute__((aligned(4096)));
static unsigned ring, bad, cases;

/* The byte at a destination, NULL where there is none to be seen. */
static u8 *seen(va_t va)
{
	if (va - AREA < NFRAMES * 4096)
		return &frames[va - AREA];
	if (va - (END - 4096) < 4096)
		return &last[va & 0xfff];
	return NULL;
}

static u8 pattern(va_t va) { return (u8)(va * 5 + (va >> 7)); }
static u8 source_byte(va_t va) { return (u8)(va * 3 + 7); }

static void fill(void)
{
	for (unsigned i = 0; i < NFRAMES * 4096; i++)
		frames[i] = pattern(AREA + i);
	for (unsigned i = 0; i < 4096; i++)
		last[i] = pattern(END - 4096 + i);
}

struct run {
	const struct code *code;
	bool movs;
	unsigned size;
	va_t to, from;
	unsigned count, done;	/* elements: asked for, and possible */
	bool back;
	unsigned vec;
	uptr err;
	va_t cr2;
};

/* Memory is as it was behind this. */
static const char *problem(const struct run *r)
{
	const char *what = NULL;
	int step = r->back ? -(int)r->size : (int)r->size;
	va_t low = r->to + (r->back ? (va_t)(long long)step * (r->count - 1) : 0);

	for (va_t va = low - 64; va - low + 64 < r->count * r->size + 128; va++) {
		u8 *p = seen(va);
		int at = (int)(va - r->to), size = (int)r->size, element = at / size;
		bool written;
		u8 want = pattern(va);

		if (r->back)
			element = at < 0 ? (size - 1 - at) / size : 0;
		written = (r->back ? at < size : at >= 0) && element < (int)r->done;
		if (written)
			want = r->movs ? source_byte(r->from + (va_t)(long long)at)
				       : (u8)(IN_AX >> (at & (size - 1)) * 8);
		if (p && *p != want)
			what = written ? "not written" : "written";
		if (p)
			*p = pattern(va);
	}
	if (trap.vec != r->vec)
		what = "vector";
	else if (r->vec != VEC_DONE && trap.err != r->err)
		what = "error code";
	else if (r->vec == VEC_PF && trap.cr2 != (uptr)r->cr2)
		what = "cr2";
	else if (trap.s.cx != r->count - r->done || trap.s.di != (uptr)(r->to + (va_t)(long long)step * r->done) ||
	    (r->movs && trap.s.si != (uptr)(r->from + (va_t)(long long)step * r->done)))
		what = "registers";
	return what;
}

static void go(const struct run *r)
{
	const char *what;

	cases++;
	run(&(struct try){ .code = r->code, .ring = ring, .in.di = r->to, .in.si = r->from, .in.cx = r->count,
			   .in.ax = (uptr)IN_AX, .in.flags = r->back ? FL_DF : 0 });
	what = problem(r);
	if (what && bad++ < 20)
		print("note %s %u, %u of %u elements to %X from %X%s: %s; vector %u error %x cr2 %X cx %X di %X\n",
		      r->movs ? "movs" : "stos", r->size, r->done, r->count, r->to, r->from,
		      r->back ? " backwards" : "", what, trap.vec, (u32)trap.err, (u64)trap.cr2, (u64)trap.s.cx,
		      (u64)trap.s.di);
}

/* First where nothing is in the way, then up to `border` less `off` bytes. */
static void into(struct run r, va_t border, unsigned fits, unsigned off, unsigned vec, uptr err, bool source)
{
	struct run good = r;

	good.to = AREA + 0x80 + off, good.from = SOURCE + 0x100 + off;
	good.done = r.count, good.vec = VEC_DONE;
	if (r.count * r.size < 3000) {
		if (r.back)
			good.to += (r.count - 1) * r.size, good.from += (r.count - 1) * r.size;
		go(&good);
	}
	r.to = source ? good.to : border - fits * r.size - off;
	r.from = source ? border - fits * r.size - off : good.from;
	if (r.back)	/* from above, down to the border */
		*(source ? &r.from : &r.to) = border + fits * r.size + off - r.size;
	r.done = fits, r.vec = vec, r.err = err | (ring && vec == VEC_PF ? PF_U : 0);
	r.cr2 = r.back ? border + (off ? off : 0) - r.size : border;
	go(&r);
}

/* A run of `count` elements that ends after `fits`. */
static void all_borders(const struct run *r, unsigned fits)
{
	const va_t missing = AREA + 0x2000, read_only = AREA + 0x4000;
	const u64 source_missing = SOURCE + 0x2000;

	for (unsigned off = 0; off < (r->size > 1 ? 2u : 1u); off++) {
		into(*r, missing, fits, off, VEC_PF, PF_W, false);
		into(*r, read_only, fits, off, VEC_PF, PF_W | PF_P, false);
#ifdef __x86_64__
		into(*r, END, fits, off, VEC_GP, 0, false);
#endif
		if (r->movs)
			into(*r, source_missing, fits, off, VEC_PF, 0, true);
	}
}

static void backwards(struct run r, unsigned fits)
{
	r.back = true;
	into(r, AREA + 0x3000, fits, 0, VEC_PF, PF_W, false);
	into(r, AREA + 0x5000, fits, 0, VEC_PF, PF_W | PF_P, false);
}

static void sweep(const char *name, const struct code *code, bool movs, unsigned size)
{
	static const struct { u16 count, fits; } t[] = {
		{ 1, 0 }, { 2, 1 }, { 5, 3 }, { 64, 63 }, { 100, 1 }, { 100, 99 }, { 200, 150 },
	};

	bad = cases = 0;
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct run r = { .code = code, .movs = movs, .size = size, .count = t[i].count };

		all_borders(&r, t[i].fits);
		backwards(r, t[i].fits);
	}
	CHECK_EQ(name, bad, 0);
	CHECK("  cases", cases > 40);
}

static void map(void)
{
	const u64 user = PTE_P | PTE_W | PTE_U;

	for (unsigned i = 0; i < NFRAMES; i++)
		page_map(&pt, AREA + i * 4096, (uptr)frames + i * 4096, i == 2 ? 0 : i == 4 ? PTE_P | PTE_U : user);
	for (unsigned i = 0; i < 2; i++)
		page_map(&pt, SOURCE + i * 4096, (uptr)sources + i * 4096, user);
	page_map(&pt, SOURCE + 0x2000, 0, 0);
	page_map(&pt, END - 4096, (uptr)last, user);
	for (unsigned i = 0; i < 2 * 4096; i++)
		sources[i] = source_byte(SOURCE + i);
}

void guest_main(void)
{
#ifdef __x86_64__
	page_tables_init(&pt, PAGE_4LEVEL, PTE_W | PTE_U);
#else
	page_tables_init(&pt, PAGE_PAE, PTE_W | PTE_U);
#endif
	page_tables_on(&pt);
	map();
	fill();
	cr0_write(cr0_read() | CR0_WP);
	topic("SDM 2B REP, 3A 6.6");
	for (ring = 0; ring <= 3; ring += 3) {
		scope(ring ? "user, " : "kernel, ");
		sweep("rep movsb", CODE("rep movsb"), true, 1);
		sweep("rep movsw", CODE("rep movsw"), true, 2);
		sweep("rep movsl", CODE("rep movsl"), true, 4);
		sweep("rep stosb", CODE("rep stosb"), false, 1);
		sweep("rep stosw", CODE("rep stosw"), false, 2);
		sweep("rep stosl", CODE("rep stosl"), false, 4);
#ifdef __x86_64__
		sweep("rep movsq", CODE("rep movsq"), true, 8);
		sweep("rep stosq", CODE("rep stosq"), false, 8);
#endif
	}
}
