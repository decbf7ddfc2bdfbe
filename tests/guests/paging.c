/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paging in the formats of the build's mode: all rights in all combinations
 * against a model of SDM 3A 4.6, error codes and CR2, accessed and dirty
 * bits, large pages, reserved bits, invalidation, PCID.
 *
 * Snippets of ring 3 run from an alias of their pages: ALIAS is mapped for
 * users, the image itself for the supervisor only.
 */
#include "guest.h"
#include "page.h"

#define ALIAS 0x40000000u
#define VA 0x90000000u	/* the page under test */

static struct page_tables pt;
static u8 frame_a[4096] __attribute__((aligned(4096)));
static u8 frame_b[4096] __attribute__((aligned(4096)));
extern char snippets_start[], snippets_end[];

static bool have_nx(void) { return has81d(20); }
static bool have_smep(void) { return has7b(7); }
static bool have_smap(void) { return has7b(20); }

static bool nx_works(void)
{
	return pt.format != PAGE_32 && have_nx() &&
	       (rdmsr(MSR_EFER) & EFER_NXE);
}

/* Is the I bit of the error code in use? */
static u32 fetch_bit(void)
{
	return nx_works() || (cr4_read() & CR4_SMEP) ? PF_I : 0;
}

static void tables(enum page_format f)
{
#ifndef __x86_64__
	page_tables_off();
#endif
	page_pool_reset();
	page_tables_init(&pt, f, PTE_W);
	for (uptr p = (uptr)snippets_start & ~0xffful;
	     p < (uptr)snippets_end; p += 4096)
		page_map(&pt, p + ALIAS, p, PTE_P | PTE_W | PTE_U);
	for (uptr p = 0; p < STACK_SIZE; p += 4096)
		page_map(&pt, (uptr)stack3 + p, (uptr)stack3 + p,
			 PTE_P | PTE_W | PTE_U);
	user_alias = ALIAS;
	page_tables_on(&pt);
	for (unsigned i = 0; i < 4096; i += 2)
		frame_a[i] = frame_b[i] = 0xcd,
		frame_a[i + 1] = frame_b[i + 1] = VEC_DONE;
}

/* ---- rights ---- */

enum { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };
static const char *const access_name[] = { "read", "write", "fetch" };

static const struct code *access_code(int access)
{
	switch (access) {
	case ACCESS_READ:
		return CODE("mov (%ecx), %al");
	case ACCESS_WRITE:
		return CODE("mov %al, (%ecx)");
	default:
		return CODE("jmp *" CX);
	}
}

/* SDM 3A 4.6.1 and 4.7.  Returns the error code, or -1 for no fault. */
static int model(u64 pte, int access, unsigned ring, bool ac)
{
	bool user = pte & PTE_U, write = pte & PTE_W;
	bool nx = nx_works() && (pte & PTE_NX);
	uptr cr0 = cr0_read(), cr4 = cr4_read();
	int err = (ring ? PF_U : 0) | (access == ACCESS_WRITE ? PF_W : 0) |
		  (access == ACCESS_FETCH ? (int)fetch_bit() : 0);
	bool good;

	if (!(pte & PTE_P))
		return err;
	if (ring)
		good = user && (access != ACCESS_WRITE || write) &&
		       !(access == ACCESS_FETCH && nx);
	else if (access == ACCESS_FETCH)
		good = !nx && !(user && (cr4 & CR4_SMEP));
	else
		good = (access == ACCESS_READ || write || !(cr0 & CR0_WP)) &&
		       !(user && (cr4 & CR4_SMAP) && !ac);
	return good ? -1 : err | PF_P;
}

static bool one(u64 pte, int access, unsigned ring, bool ac)
{
	const struct code *c = access_code(access);
	struct try t = {
		.code = c, .ring = ring, .in.cx = VA + 8,
		.in.ax = 0xcd,	/* a store leaves the INT there */
		.in.flags = ac ? FL_AC : 0,
	};
	int want = model(pte, access, ring, ac);
	uptr start = c->start + (ring ? user_alias : 0);
	uptr ip = want >= 0 && access != ACCESS_FETCH ? start
		: access == ACCESS_FETCH ? VA + 8 + (want < 0 ? 2 : 0)
		: start + (c->end - c->start) + 2;

	page_map(&pt, VA, (uptr)frame_a, pte);
	run(&t);
	if (want < 0 && trap.vec == VEC_DONE && trap.s.ip == ip)
		return true;
	if (want >= 0 && trap.vec == VEC_PF && (int)trap.err == want &&
	    trap.s.ip == ip && trap.cr2 == VA + 8)
		return true;
	print("# entry %X, %s at ring %u: vector %x error %x ip %X cr2 %X, "
	      "want error %x (-1: none)\n", pte, access_name[access], ring,
	      trap.vec, (u32)trap.err, (u64)trap.s.ip, (u64)trap.cr2,
	      (u32)want);
	return false;
}

/* Every entry and ring under the present CR0, CR4 and EFER. */
static void matrix(const char *name, int access, bool ac)
{
	bool good = true;

	for (unsigned i = 0; i < 16; i++) {
		u64 pte = (i & 1 ? PTE_P : 0) | (i & 2 ? PTE_W : 0) |
			  (i & 4 ? PTE_U : 0);

		if (i & 8 && !nx_works())
			break;
		if (i & 8)
			pte |= PTE_NX;
		good &= one(pte, access, 0, ac);
		good &= one(pte, access, 3, ac);
	}
	check(name, good);
}

static void matrices(void)
{
	topic("SDM 3A 4.6.1, 4.7");
	matrix("rights read", ACCESS_READ, false);
	matrix("rights write", ACCESS_WRITE, false);
	matrix("rights fetch", ACCESS_FETCH, false);
	WITH_CR0(CR0_WP, 0, matrix("rights write with WP", ACCESS_WRITE, false));
	if (have_smep())
		WITH_CR4(CR4_SMEP, 0,
			 matrix("rights fetch with SMEP", ACCESS_FETCH, false);
			 matrix("rights read with SMEP", ACCESS_READ, false));
	else
		skip("rights with SMEP", "no SMEP");
	if (!have_smap()) {
		skip("rights with SMAP", "no SMAP");
		return;
	}
	WITH_CR4(CR4_SMAP, 0,
		 matrix("rights read with SMAP", ACCESS_READ, false);
		 matrix("rights write with SMAP", ACCESS_WRITE, false);
		 matrix("rights fetch with SMAP", ACCESS_FETCH, false);
		 matrix("rights read with SMAP and AC", ACCESS_READ, true);
		 matrix("rights write with SMAP and AC", ACCESS_WRITE, true);
		 WITH_CR0(CR0_WP, 0, matrix("rights write with SMAP, AC, WP",
					    ACCESS_WRITE, true)));
	topic("SDM 2B STAC");
	page_map(&pt, VA, (uptr)frame_a, PTE_P | PTE_W | PTE_U);
	WITH_CR4(CR4_SMAP, 0,
		 FINE("stac and clac", "stac; mov (%ecx), %eax; clac",
		      .in.cx = VA);
		 TRAP("a read behind clac faults", VEC_PF, PF_P,
		      "stac; mov (%ecx), %eax; clac; 1: mov (%ecx), %eax",
		      .in.cx = VA, .cr2 = VA);
		 TRAP("a write behind clac faults", VEC_PF, PF_P | PF_W,
		      "stac; mov %eax, (%ecx); clac; 1: mov %eax, (%ecx)",
		      .in.cx = VA, .cr2 = VA);
		 FINE("stac and clac again and again",
		      "mov $100, %edx; 2: stac; addl $1, (%ecx); clac;"
		      "dec %edx; jnz 2b", .in.cx = VA);
		 FINE("they keep the other flags",
		      "stc; stac; setc %al; clac; adc $0, %al");
		 CHECK_EQ("the carry went through", trap.s.ax & 0xff, 2);
		 FINE("popf that sets and clears AC",
		      "pushf; orl $0x40000, (%esp); popf; mov (%ecx), %eax;"
		      "pushf; andl $~0x40000, (%esp); popf", .in.cx = VA);
		 TRAP("behind popf without AC", VEC_PF, PF_P,
		      "stac; pushf; andl $~0x40000, (%esp); popf;"
		      "1: mov (%ecx), %eax", .in.cx = VA, .cr2 = VA));
}

/* Rights of the levels are combined (SDM 3A 4.6). */
static void combined(void)
{
	topic("SDM 3A 4.6: rights of all levels");
	for (int level = 2; level <= (pt.format == PAGE_4LEVEL ? 3 : 2);
	     level++) {
		u64 upper;

		page_map(&pt, VA, (uptr)frame_a, PTE_P | PTE_W | PTE_U);
		upper = page_get(&pt, VA, level);
		page_set(&pt, VA, level, upper & ~PTE_W);
		FAULT("upper W clear", VEC_PF, PF_P | PF_W | PF_U,
		      "mov %al, (%ecx)", .ring = 3, .in.cx = VA, .cr2 = VA);
		page_set(&pt, VA, level, upper & ~PTE_U);
		FAULT("upper U clear", VEC_PF, PF_P | PF_U,
		      "mov (%ecx), %al", .ring = 3, .in.cx = VA, .cr2 = VA);
		page_set(&pt, VA, level, 0);
		FAULT("upper P clear", VEC_PF, PF_U, "mov (%ecx), %al",
		      .ring = 3, .in.cx = VA, .cr2 = VA);
		page_set(&pt, VA, level, upper);
	}
}

/* ---- accessed and dirty ---- */

static u64 ad(void)
{
	return page_get(&pt, VA, 1) & (PTE_A | PTE_D);
}

static void accessed_dirty(void)
{
	topic("SDM 3A 4.8");
	page_map(&pt, VA, (uptr)frame_a, PTE_P | PTE_W);
	CHECK_EQ("A and D start clear", ad(), 0);
	FINE("read for A", "mov (%ecx), %al", .in.cx = VA);
	CHECK_EQ("a read sets A", ad(), PTE_A);
	CHECK("A of the table's entry", page_get(&pt, VA, 2) & PTE_A);
	FINE("write for D", "mov %al, (%ecx)", .in.cx = VA);
	CHECK_EQ("a write after the read sets D", ad(), PTE_A | PTE_D);
	page_map(&pt, VA, (uptr)frame_a, PTE_P | PTE_W);
	FINE("write for A and D", "mov %al, (%ecx)", .in.cx = VA);
	CHECK_EQ("a first write sets both", ad(), PTE_A | PTE_D);
	page_map(&pt, VA, (uptr)frame_a, PTE_P | PTE_W);
	FINE("rmw for A and D", "lock orb $0, (%ecx)", .in.cx = VA);
	CHECK_EQ("a read-modify-write sets both", ad(), PTE_A | PTE_D);
	frame_a[0] = 0xcd, frame_a[1] = VEC_DONE;
	page_map(&pt, VA, (uptr)frame_a, PTE_P | PTE_W);
	RUN("jmp *" CX, .in.cx = VA);
	CHECK_EQ("a fetch sets A only", ad(), PTE_A);
	page_map(&pt, VA, (uptr)frame_a, PTE_P);
	WITH_CR0(CR0_WP, 0, FAULT("write denied for D", VEC_PF, PF_P | PF_W,
		 "mov %al, (%ecx)", .in.cx = VA, .cr2 = VA));
	CHECK("a denied write leaves D clear", !(ad() & PTE_D));
	/* the store of a failed CMPXCHG is a write (SDM 2A CMPXCHG) */
	page_map(&pt, VA, (uptr)frame_a, PTE_P | PTE_W);
	FINE("cmpxchg that does not match", "cmpxchg %ebx, (%ecx)",
	     .in.cx = VA, .in.ax = 1);
	CHECK_EQ("a failed cmpxchg sets D", ad(), PTE_A | PTE_D);
}

/* ---- large pages ---- */

static void large(void)
{
	uptr big = pt.format == PAGE_32 ? 0x400000 : 0x200000;
	uptr far = 0x20000000 + 2 * big;

	topic("SDM 3A 4.3 to 4.5: large pages");
	*(volatile u32 *)(0x2000000 + 0x12344) = 0x600df00d;
	page_set(&pt, far, 2, 0x2000000 | PTE_P | PTE_W | PTE_PS);
	FINE("large page", "mov (%ecx), %eax", .in.cx = far + 0x12344);
	CHECK_EQ("large page's data", trap.s.ax, 0x600df00d);
	CHECK_EQ("large page A", page_get(&pt, far, 2) & (PTE_A | PTE_D),
		 PTE_A);
	FINE("large page write", "mov %eax, (%ecx)", .in.cx = far + 0x12348);
	CHECK_EQ("large page D", page_get(&pt, far, 2) & (PTE_A | PTE_D),
		 PTE_A | PTE_D);
	FAULT("large page for the supervisor", VEC_PF, PF_P | PF_U,
	      "mov (%ecx), %eax", .ring = 3, .in.cx = far + 4,
	      .cr2 = far + 4);
	page_set(&pt, far, 2, 0x2000000 | PTE_P | PTE_PS | PTE_U);
	FAULT("large page read-only", VEC_PF, PF_P | PF_U | PF_W,
	      "mov %eax, (%ecx)", .ring = 3, .in.cx = far + 8,
	      .cr2 = far + 8);
	page_set(&pt, far, 2, 0x2000000 | PTE_P | PTE_W | PTE_PS);
	page_set(&pt, far + big, 2, 0);
	FAULT("missing page after a large one", VEC_PF, PF_W,
	      "mov %eax, -2(%ecx)", .in.cx = far + big, .cr2 = far + big);
	page_set(&pt, far + big, 2, (far + big) | PTE_P | PTE_W | PTE_PS);
#ifdef __x86_64__
	if (has81d(26)) {
		page_set(&pt, 4ull << 30, 3, PTE_P | PTE_W | PTE_PS);
		FINE("1 GiB page", "mov (%rcx), %eax",
		     .in.cx = (4ull << 30) + 0x2012344);
		CHECK_EQ("1 GiB page's data", trap.s.ax, 0x600df00d);
		page_set(&pt, 4ull << 30, 3, 0);
	} else {
		skip("1 GiB page", "not in CPUID");
	}
#endif
}

/* ---- reserved bits ---- */

static void reserved(void)
{
	u64 far = 0x20000000;

	if (pt.format == PAGE_32)
		return;
	topic("SDM 3A 4.4, 4.5: reserved bits; error code RSVD");
	u64 old = page_get(&pt, far, 2);

	page_set(&pt, far, 2, old | 0x2000);
	FAULT("reserved bit 13 of a large page", VEC_PF, PF_P | PF_RSVD,
	      "mov (%ecx), %al", .in.cx = far, .cr2 = far);
	FAULT("reserved bit, write at ring 3", VEC_PF,
	      PF_P | PF_RSVD | PF_W | PF_U, "mov %al, (%ecx)", .ring = 3,
	      .in.cx = far, .cr2 = far);
	page_set(&pt, far, 2, old);
	u32 width = cpuid_max(0x80000000) >= 0x80000008
		  ? cpuid(0x80000008, 0).a & 0xff : 36;

	if (width < 52) {
		page_map(&pt, VA, (uptr)frame_a, PTE_P | PTE_W | 1ull << 51);
		FAULT("address above MAXPHYADDR", VEC_PF, PF_P | PF_RSVD,
		      "mov (%ecx), %al", .in.cx = VA, .cr2 = VA);
	} else {
		skip("address above MAXPHYADDR", "52 bits");
	}
	page_map(&pt, VA, (uptr)frame_a, PTE_W | 1ull << 51);
	FAULT("reserved bits do not matter when P is clear", VEC_PF, 0,
	      "mov (%ecx), %al", .in.cx = VA, .cr2 = VA);
	if (have_nx()) {
		u64 efer = rdmsr(MSR_EFER);

		wrmsr(MSR_EFER, efer & ~(u64)EFER_NXE);
		page_map(&pt, VA, (uptr)frame_a, PTE_P | PTE_W | PTE_NX);
		FAULT("NX is reserved without NXE", VEC_PF, PF_P | PF_RSVD,
		      "mov (%ecx), %al", .in.cx = VA, .cr2 = VA);
		wrmsr(MSR_EFER, efer);
	}
#ifdef __x86_64__
	page_map(&pt, 5ull << 39, (uptr)frame_a, PTE_P | PTE_W);
	page_set(&pt, 5ull << 39, 4, page_get(&pt, 5ull << 39, 4) | PTE_PS);
	FAULT("PS is reserved in a PML4 entry", VEC_PF, PF_P | PF_RSVD,
	      "mov (%rcx), %al", .in.cx = 5ull << 39, .cr2 = 5ull << 39);
	page_set(&pt, 5ull << 39, 4, 0);
#else
	static u64 pdpt[4] __attribute__((aligned(32)));

	topic("SDM 3A 4.4.1: PDPTE registers are checked by MOV to CR3");
	memcpy(pdpt, (void *)pt.cr3, sizeof(pdpt));
	pdpt[2] |= PTE_W;
	FAULT("reserved bit of a PDPTE", VEC_GP, 0, "mov %ecx, %cr3",
	      .in.cx = (uptr)pdpt);
	pdpt[2] = 0x1e2;
	FINE("reserved bits of a PDPTE that is not present", "mov %ecx, %cr3",
	     .in.cx = (uptr)pdpt);
	cr3_write(pt.cr3);
#endif
}

/* ---- invalidation ---- */

static u8 peek(uptr va)
{
	return *(volatile u8 *)va;
}

static void invalidation(void)
{
	void *entry = page_entry(&pt, VA, 1);
	u64 a = (uptr)frame_a | PTE_P | PTE_W, b = (uptr)frame_b | PTE_P | PTE_W;

#define RAW(v) do { if (pt.format == PAGE_32) *(volatile u32 *)entry = (v); \
	else *(volatile u64 *)entry = (v); } while (0)

	topic("SDM 3A 4.10.4");
	frame_a[0] = 0xaa, frame_b[0] = 0xbb;
	RAW(0);
	invlpg((void *)VA);
	RAW(a);
	CHECK_EQ("a new page needs no invalidation", peek(VA), 0xaa);
	RAW(b);
	invlpg((void *)(VA + 0x800));
	CHECK_EQ("INVLPG with any address of the page", peek(VA), 0xbb);
	RAW(a);
	cr3_write(cr3_read());
	CHECK_EQ("MOV to CR3", peek(VA), 0xaa);
	RAW(0);
	invlpg((void *)VA);
	FAULT("page taken away", VEC_PF, 0, "mov (%ecx), %al", .in.cx = VA,
	      .cr2 = VA);
	RAW(b);
	CHECK_EQ("a fault caches nothing", peek(VA), 0xbb);

	if (has1d(13)) {
		WITH_CR4(CR4_PGE, 0,
			 RAW(a | PTE_G);
			 invlpg((void *)VA);
			 peek(VA);
			 RAW(b | PTE_G);
			 invlpg((void *)VA);
			 CHECK_EQ("INVLPG of a global page", peek(VA), 0xbb);
			 RAW(a | PTE_G);
			 cr4_write(cr4_read() & ~CR4_PGE);
			 CHECK_EQ("a change of PGE", peek(VA), 0xaa);
			 cr4_write(cr4_read() | CR4_PGE);
			 RAW(b);
			 invlpg((void *)VA));
		CHECK_EQ("global cleared", peek(VA), 0xbb);
	} else {
		skip("global pages", "no PGE");
	}
	/* write access after read-only without flush may fault or not; with
	 * INVLPG it must not */
	RAW((uptr)frame_a | PTE_P);
	invlpg((void *)VA);
	WITH_CR0(CR0_WP, 0,
		 FAULT("read-only", VEC_PF, PF_P | PF_W, "mov %al, (%ecx)",
		       .in.cx = VA, .cr2 = VA);
		 RAW(a);
		 invlpg((void *)VA);
		 FINE("writable again", "mov %al, (%ecx)", .in.cx = VA));
	frame_a[0] = 0xaa;

	/* a large page is dropped by INVLPG of any address in it */
	uptr big = pt.format == PAGE_32 ? 0x400000 : 0x200000;
	uptr far = 0x30000000;

	*(volatile u8 *)(2 * big + 0x1000 * 5) = 0x11;
	*(volatile u8 *)(3 * big + 0x1000 * 5) = 0x22;
	page_set(&pt, far, 2, 2 * big | PTE_P | PTE_W | PTE_PS);
	peek(far + 0x5000);
	page_set(&pt, far, 2, 3 * big | PTE_P | PTE_W | PTE_PS);
	CHECK_EQ("INVLPG of a large page", peek(far + 0x5000), 0x22);
	topic("SDM 2A INVLPG");
#ifdef __x86_64__
	FINE("INVLPG of an address that is not canonical", "invlpg (%rcx)",
	     .in.cx = 1ull << 60);
#endif
}

static void switch_cr3(void)
{
	static struct page_tables other;
	uptr cr3 = pt.cr3;

	topic("SDM 3A 4.10.4.1: MOV to CR3");
	page_map(&pt, VA, (uptr)frame_a, PTE_P | PTE_W);
	page_tables_init(&other, pt.format, PTE_W);
	page_map(&other, VA, (uptr)frame_b, PTE_P | PTE_W);
	frame_a[0] = 0xaa, frame_b[0] = 0xbb;
	CHECK_EQ("first address space", peek(VA), 0xaa);
	cr3_write(other.cr3);
	CHECK_EQ("second address space", peek(VA), 0xbb);
	cr3_write(cr3);
	CHECK_EQ("first again", peek(VA), 0xaa);
}

#ifdef __x86_64__
static void pcid(void)
{
	static struct page_tables other;
	struct __attribute__((packed)) { u64 pcid, va; } d = { 0, VA };

	topic("SDM 3A 4.10.1, 2B MOV CR");
	if (!has1c(17)) {
		FAULT("PCIDE without PCID", VEC_GP, 0, "mov %rcx, %cr4",
		      .in.cx = cr4_read() | CR4_PCIDE);
		skip("PCID", "not in CPUID");
		return;
	}
	cr3_write(pt.cr3 | 8);
	FAULT("PCIDE with CR3[11:0] not 0", VEC_GP, 0, "mov %rcx, %cr4",
	      .in.cx = cr4_read() | CR4_PCIDE);
	cr3_write(pt.cr3);
	cr4_write(cr4_read() | CR4_PCIDE);
	page_tables_init(&other, pt.format, PTE_W);
	page_map(&pt, VA, (uptr)frame_a, PTE_P | PTE_W);
	page_map(&other, VA, (uptr)frame_b, PTE_P | PTE_W);
	frame_a[0] = 0xaa, frame_b[0] = 0xbb;
	cr3_write(pt.cr3 | 1);
	CHECK_EQ("PCID 1", peek(VA), 0xaa);
	CHECK_EQ("CR3 reads back with PCID", cr3_read(), pt.cr3 | 1);
	cr3_write(other.cr3 | 2);
	CHECK_EQ("PCID 2", peek(VA), 0xbb);
	cr3_write(pt.cr3 | 1 | 1ull << 63);
	CHECK_EQ("PCID 1 kept", peek(VA), 0xaa);
	CHECK_EQ("bit 63 does not read back", cr3_read(), pt.cr3 | 1);
	cr3_write(other.cr3 | 1);
	CHECK_EQ("PCID 1 flushed by CR3 without bit 63", peek(VA), 0xbb);
	page_map(&other, VA, (uptr)frame_a, PTE_P | PTE_W);
	CHECK_EQ("INVLPG in the current PCID", peek(VA), 0xaa);
	FAULT("PG clear with PCIDE", VEC_GP, 0, "mov %rcx, %cr0",
	      .in.cx = cr0_read() & ~CR0_PG);
	if (!has7b(10)) {
		skip("INVPCID", "not in CPUID");
		goto out;
	}
	topic("SDM 2A INVPCID");
	u64 *entry = page_entry(&other, VA, 1);

	for (u64 type = 0; type < 4; type++) {
		static const char *const name[] = {
			"INVPCID 0, address", "INVPCID 1, context",
			"INVPCID 2, all with globals", "INVPCID 3, all",
		};

		*entry = (uptr)frame_a | PTE_P | PTE_W;
		invlpg((void *)VA);
		peek(VA);
		*entry = (uptr)frame_b | PTE_P | PTE_W;
		d.pcid = type < 2 ? 1 : 0;
		RUN("invpcid (%rcx), %rax", .in.cx = (uptr)&d,
		     .in.ax = type);
		CHECK_EQ(name[type], peek(VA), 0xbb);
	}
	FAULT("INVPCID of type 4", VEC_GP, 0, "invpcid (%rcx), %rax",
	      .in.cx = (uptr)&d, .in.ax = 4);
	d.pcid = 0x1000;
	FAULT("INVPCID with a PCID above 4095", VEC_GP, 0,
	      "invpcid (%rcx), %rax", .in.cx = (uptr)&d, .in.ax = 0);
	d.pcid = 1, d.va = 1ull << 60;
	FAULT("INVPCID of an address that is not canonical", VEC_GP, 0,
	      "invpcid (%rcx), %rax", .in.cx = (uptr)&d, .in.ax = 0);
	cr3_write(pt.cr3);	/* code for ring 3 is there only */
	FAULT("INVPCID at ring 3", VEC_GP, 0, "invpcid (%rcx), %rax",
	      .in.cx = (uptr)&d, .in.ax = 0, .ring = 3);
out:
	cr3_write(pt.cr3);
	cr4_write(cr4_read() & ~CR4_PCIDE);
}
#endif

static void all(enum page_format f)
{
	tables(f);
	matrices();
	combined();
	accessed_dirty();
	large();
	reserved();
	invalidation();
	switch_cr3();
}

void guest_main(void)
{
#ifdef __x86_64__
	all(PAGE_4LEVEL);
	pcid();
#else
	scope("32-bit format, ");
	all(PAGE_32);
	scope("PAE, ");
	if (has81d(20))
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	all(PAGE_PAE);
#endif
}
