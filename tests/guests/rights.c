/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rights that change with a control bit and without a flush: an access that
 * was allowed a moment ago, at the same place by the same instruction, is
 * refused at once, and allowed again when the bit is back.  And pages that get
 * more rights need no flush: a fault is raised after a look at the tables only
 * (SDM 3A 4.6, 4.10.4).
 */
#include "guest.h"
#include "page.h"

static struct page_tables pt;
static u8 frame[4096] __attribute__((aligned(4096)));
static u8 other[4096] __attribute__((aligned(4096)));

#define VA 0x50000000u
#define P (PTE_P | PTE_A | PTE_D)

static bool nx(void)
{
	return WORD == 8 && (rdmsr(MSR_EFER) & EFER_NXE);
}

/* The snippet at ring 0 many times; then vector and error code must be these. */
static void now(const char *name, const struct code *c, unsigned vec, uptr err)
{
	struct try t = { .name = name, .code = c, .vec = vec, .err = err, .cr2 = VA, .in.cx = VA, .changes = true,
			 .any_ip = true };

	if (vec != VEC_PF)
		t.cr2 = 0;
	for (unsigned n = 0; n < 4; n++)
		run(&t);
	expect(&t);
}

#define ALLOWED(name, c) now(name, c, VEC_DONE, 0)
#define DENIED(name, c, err) now(name, c, VEC_PF, err)

static const struct code *load(void) { return CODE("mov (%ecx), %eax; add 4(%ecx), %eax"); }
static const struct code *store(void) { return CODE("mov %eax, (%ecx)"); }
static const struct code *modify(void) { return CODE("lock incl (%ecx)"); }
static const struct code *call(void) { return CODE("call *" CX); }

static void write_protect(void)
{
	topic("SDM 3A 4.6 CR0.WP");
	page_map(&pt, VA, (uptr)frame, P);
	for (unsigned round = 0; round < 2; round++) {
		cr0_write(cr0_read() & ~CR0_WP);
		ALLOWED("write to a read-only page without WP", store());
		ALLOWED("locked write to it", modify());
		cr0_write(cr0_read() | CR0_WP);
		DENIED("write with WP", store(), PF_P | PF_W);
		DENIED("locked write with WP", modify(), PF_P | PF_W);
		ALLOWED("read with WP", load());
	}
}

static void smep(void)
{
	topic("SDM 3A 4.6 CR4.SMEP");
	if (!has7b(7)) {
		skip("SMEP", "not in CPUID");
		return;
	}
	frame[0] = 0xc3;
	page_map(&pt, VA, (uptr)frame, P | PTE_U | PTE_W);
	for (unsigned round = 0; round < 2; round++) {
		cr4_write(cr4_read() & ~CR4_SMEP);
		ALLOWED("supervisor runs a user page without SMEP", call());
		cr4_write(cr4_read() | CR4_SMEP);
		DENIED("with SMEP", call(), PF_P | PF_I);
		ALLOWED("reads are not SMEP's", load());
	}
	cr4_write(cr4_read() & ~CR4_SMEP);
}

static void smap(void)
{
	const struct code *stac = CODE("stac; mov (%ecx), %eax; clac");
	const struct code *clac = CODE("stac; clac; mov (%ecx), %eax");

	topic("SDM 3A 4.6 CR4.SMAP");
	if (!has7b(20)) {
		skip("SMAP", "not in CPUID");
		return;
	}
	page_map(&pt, VA, (uptr)frame, P | PTE_U | PTE_W);
	for (unsigned round = 0; round < 2; round++) {
		cr4_write(cr4_read() & ~CR4_SMAP);
		ALLOWED("supervisor reads a user page without SMAP", load());
		ALLOWED("writes it", store());
		cr4_write(cr4_read() | CR4_SMAP);
		DENIED("read with SMAP", load(), PF_P);
		DENIED("write with SMAP", store(), PF_P | PF_W);
		ALLOWED("read behind STAC", stac);
		DENIED("but not later", load(), PF_P);
		DENIED("read behind CLAC", clac, PF_P);
	}
	cr4_write(cr4_read() & ~CR4_SMAP);
}

static void no_execute(void)
{
	topic("SDM 3A 4.6 EFER.NXE");
	if (!nx())
		return;
	page_map(&pt, VA, (uptr)frame, P | PTE_W | PTE_NX);
	ALLOWED("read of a page with XD", load());
	DENIED("call into it", call(), PF_P | PF_I);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(u64)EFER_NXE);
	DENIED("read without NXE", load(), PF_P | PF_RSVD);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	ALLOWED("read with NXE again", load());
	/* What XD forbids must not be remembered from before. */
	page_map(&pt, VA, (uptr)frame, P | PTE_W);
	ALLOWED("call without XD", call());
	page_map(&pt, VA, (uptr)frame, P | PTE_W | PTE_NX);
	DENIED("call with XD", call(), PF_P | PF_I);
}

/* An entry written without INVLPG. */
static void quietly(u64 entry)
{
	void *at = page_entry(&pt, VA, 1);

	if (WORD == 8)
		*(volatile u64 *)at = entry;
	else
		*(volatile u32 *)at = entry;
}

static void more_rights(void)
{
	uptr pa = (uptr)frame;

	topic("SDM 3A 4.10.4.3: no invalidation is needed");
	page_map(&pt, VA, 0, 0);
	DENIED("a missing page", load(), 0);
	quietly(pa | P);
	ALLOWED("it is there now", load());
	DENIED("but not to be written", store(), PF_P | PF_W);
	quietly(pa | P | PTE_W);
	ALLOWED("now it may", store());
	if (nx()) {
		frame[0] = 0xc3;
		page_map(&pt, VA, pa, P | PTE_W | PTE_NX);
		DENIED("not to be run", call(), PF_P | PF_I);
		quietly(pa | P | PTE_W);
		ALLOWED("now it may be run", call());
	}
}

#ifdef __x86_64__
#define CALLS 50u
extern char snippets_start[], snippets_end[];
u64 kernel_calls, *kernel_entry;

/* A program calls the kernel many times and reads its page after each; each
 * side does something more.  The kernel has a stack of its own. */
#define PROGRAM(user, kernel)						\
	CODE("mov $50, %ebp; 3: syscall; add (%rbx), %rdi; dec %ebp; jnz 3b;" \
	     user "; jmp 4f;"						\
	     "1: mov %rsp, %r12; lea stack0+4096, %rsp; incq kernel_calls;" \
	     kernel "; mov %r12, %rsp; sysretq; 4: nop")

static void program(const char *name, const struct code *c, u64 mask, uptr flags, unsigned vec, uptr err, uptr cr2)
{
	struct try t = { .name = name, .code = c, .vec = vec, .err = err, .cr2 = cr2, .ring = 3, .changes = true,
			 .any_ip = true, .in.bx = VA, .in.flags = flags };

	wrmsr(MSR_LSTAR, c->at);
	wrmsr(MSR_FMASK, mask);
	for (unsigned n = 0; n < 4; n++)
		run(&t);
	kernel_calls = 0;
	t.in.di = 0;
	expect(&t);
}

static void user_page(u64 flags)
{
	page_map(&pt, VA, (uptr)frame, flags);
}

static void allowed_calls(const char *name, const struct code *c, u64 mask, uptr flags)
{
	program(name, c, mask, flags, VEC_DONE, 0, 0);
	CHECK_EQ("the kernel was called", kernel_calls, CALLS);
	CHECK_EQ("the program read its page", trap.s.di, CALLS * *(u64 *)frame);
	CHECK_EQ("at ring 3", trap.s.cs & 3, 3);
	CHECK_EQ("its stack is the same", trap.s.sp, (uptr)stack3 + STACK_SIZE - 256);
}

static void calls_under_smap(const struct code *plain)
{
	const struct code *reads = PROGRAM("", "add (%rbx), %rax");

	if (!has7b(20)) {
		skip("system calls with SMAP", "not in CPUID");
		return;
	}
	allowed_calls("the kernel reads a user page without SMAP", reads, FL_AC, FL_AC);
	cr4_write(cr4_read() | CR4_SMAP);
	program("with SMAP it may not", reads, FL_AC, FL_AC, VEC_PF, PF_P, VA);
	CHECK_EQ("at the first call", kernel_calls, 1);
	allowed_calls("with an AC that SYSCALL leaves it may", reads, 0, FL_AC);
	program("without AC not", reads, 0, 0, VEC_PF, PF_P, VA);
	allowed_calls("behind STAC it may", PROGRAM("", "stac; add (%rbx), %rax; clac"), FL_AC, 0);
	allowed_calls("a kernel that does not read it", plain, FL_AC, FL_AC);
	cr4_write(cr4_read() & ~CR4_SMAP);
}

static void system_calls(void)
{
	const u64 user = P | PTE_U | PTE_W;
	const struct code *plain = PROGRAM("", "");
	u64 efer = rdmsr(MSR_EFER);

	topic("SDM 2B SYSCALL, SYSRET; 3A 4.6: rights on both sides");
	for (uptr p = (uptr)snippets_start & ~4095ul; p < (uptr)snippets_end; p += 4096)
		page_map(&pt, p, p, user);
	for (uptr p = (uptr)stack3; p < (uptr)stack3 + STACK_SIZE; p += 4096)
		page_map(&pt, p, p, user);
	user_page(user);
	kernel_entry = page_entry(&pt, VA, 1);
	*(u64 *)frame = 3;
	wrmsr(MSR_EFER, efer | EFER_SCE);
	wrmsr(MSR_STAR, (u64)(SEL_UCODE32 | 3) << 48 | (u64)SEL_KCODE << 32);
	allowed_calls("system calls", plain, FL_IF, 0);
	program("the program may not read the kernel's", PROGRAM("mov kernel_calls, %rax", ""), 0, 0, VEC_PF, PF_P | PF_U,
		(uptr)&kernel_calls);
	CHECK_EQ("behind its calls", kernel_calls, CALLS);
	allowed_calls("a kernel that loads CR3", PROGRAM("", "mov %cr3, %rax; mov %rax, %cr3"), 0, 0);
	allowed_calls("a kernel that flushes the page", PROGRAM("", "invlpg (%rbx)"), 0, 0);
	program("a kernel that takes the page away",
		PROGRAM("", "mov kernel_entry, %rax; andq $-2, (%rax); invlpg (%rbx)"), 0, 0, VEC_PF, PF_U, VA);
	CHECK_EQ("at the first call", kernel_calls, 1);
	user_page(user);
	program("SYSRET with TF", PROGRAM("", "or $0x100, %r11"), 0, 0, VEC_DB, 0, 0);
	CHECK_EQ("is a trap behind one instruction", kernel_calls, 1);
	allowed_calls("SYSRET with AC", PROGRAM("", "or $0x40000, %r11"), FL_AC, 0);
	calls_under_smap(plain);
	wrmsr(MSR_EFER, efer & ~(u64)EFER_SCE);
	program("SYSCALL without SCE", plain, 0, 0, VEC_UD, 0, 0);
	wrmsr(MSR_EFER, efer);
	user_page(0);
}
#endif

#ifndef __x86_64__
static void paging(void)
{
	topic("SDM 3A 4.10.4.1 CR0.PG");
	*(u32 *)frame = 1, *(u32 *)other = 2;
	page_map(&pt, (uptr)other, (uptr)frame, P | PTE_W);
	for (unsigned round = 0; round < 3; round++) {
		RUN("mov (%ecx), %eax", .in.cx = (uptr)other);
		CHECK_EQ("with paging", trap.s.ax, 1);
		cr0_write(cr0_read() & ~CR0_PG);
		RUN("mov (%ecx), %eax", .in.cx = (uptr)other);
		CHECK_EQ("without", trap.s.ax, 2);
		cr0_write(cr0_read() | CR0_PG);
	}
	page_map(&pt, (uptr)other, (uptr)other, P | PTE_W);
}
#endif

void guest_main(void)
{
#ifdef __x86_64__
	page_tables_init(&pt, PAGE_4LEVEL, PTE_W);
	(void)other;
#else
	page_tables_init(&pt, PAGE_32, PTE_W);
#endif
	page_tables_on(&pt);
	frame[0] = 0xc3;
	write_protect();
	smep();
	smap();
	frame[0] = 0xc3;
	no_execute();
	frame[0] = 0xc3;
	more_rights();
#ifdef __x86_64__
	system_calls();
#endif
#ifndef __x86_64__
	paging();
#endif
}
