/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faults are precise: an instruction that faults half-way has changed
 * neither registers nor memory, and a repeated string instruction stands at
 * the element that faulted (SDM 3A 6.5, 6.6; 2B REP).
 *
 * Pages of `area`: usable, missing, read-only, usable.
 */
#include "guest.h"
#include "page.h"

static struct page_tables pt;
static u8 area[4 * 4096] __attribute__((aligned(4096)));
static u8 shadow[sizeof(area)];

#ifdef __x86_64__
enum { FETCH = PF_I };	/* EFER.NXE is set */
#else
enum { FETCH = 0 };
#endif

#define GOOD ((uptr)area)
#define MISSING ((uptr)area + 0x1000)
#define READONLY ((uptr)area + 0x2000)
#define LAST ((uptr)area + 0x3000)

/*
 * Expected error codes at ring 3.  A read-modify-write that faults says W=1
 * even where its page is missing: so do the processors, and so must an
 * operating system see it that copies the page on write.
 */
enum { READ = PF_U, WRITE = PF_U | PF_W, DENIED = PF_U | PF_W | PF_P };

static void fill(void)
{
	page_map(&pt, MISSING, MISSING, PTE_P | PTE_W | PTE_U);
	page_map(&pt, READONLY, READONLY, PTE_P | PTE_W | PTE_U);
	for (unsigned i = 0; i < sizeof(area); i++)
		shadow[i] = area[i] = (u8)(i * 7 + (i >> 8));
	page_map(&pt, MISSING, MISSING, 0);
	page_map(&pt, READONLY, READONLY, PTE_P | PTE_U);
}

/* Is the memory as it was?  The missing page is looked at as well. */
static bool intact(void)
{
	bool same;

	page_map(&pt, MISSING, MISSING, PTE_P | PTE_W | PTE_U);
	same = !memcmp(area, shadow, sizeof(area));
	fill();
	return same;
}

static void precise(struct try *t)
{
	t->vec = VEC_PF;
	t->ring = 3;
	if (expect(t) && !intact())
		check(t->name, false);
}

#define FAULTS(name_, err_, cr2_, text, ...)				\
	precise(&(struct try){ .name = name_, .code = CODE(text),	\
			       .err = err_, .cr2 = cr2_, __VA_ARGS__ })

static void stores(void)
{
	topic("SDM 3A 6.6, 4.7");
	FAULTS("store word across", WRITE, MISSING, "mov %ax, -1(%ecx)",
	       .in.cx = MISSING);
	FAULTS("store doubleword across", WRITE, MISSING, "mov %eax, -3(%ecx)",
	       .in.cx = MISSING);
	FAULTS("load doubleword across", READ, MISSING, "mov -3(%ecx), %eax",
	       .in.cx = MISSING, .in.ax = 77);
	FAULTS("load from the end of a missing page", READ, MISSING + 0xfff,
	       "mov (%ecx), %eax", .in.cx = MISSING + 0xfff);
	FAULTS("store across out of a read-only page", DENIED, LAST - 2,
	       "mov %eax, -2(%ecx)", .in.cx = LAST);
	FAULTS("store 16 bytes across", WRITE, MISSING,
	       "movups %xmm0, -9(%ecx)", .in.cx = MISSING);
	FAULTS("store 10 bytes of x87 across", WRITE, MISSING,
	       "fnstenv -5(%ecx)", .in.cx = MISSING);
	FAULTS("store immediate", DENIED, READONLY, "movl $1, (%ecx)",
	       .in.cx = READONLY);
	FAULTS("setcc", DENIED, READONLY, "setc (%ecx)", .in.cx = READONLY);
}

static void read_modify_write(void)
{
#define ALL .dead = FL_STATUS	/* all arithmetic flags are overwritten */
#define RMW(name, text, ...)						\
	FAULTS(name " read-only", DENIED, READONLY + 8, text,		\
	       .in.cx = READONLY + 8, .in.ax = 3, .in.bx = 5,		\
	       .in.flags = FL_CF | FL_ZF, __VA_ARGS__);			\
	FAULTS(name " across", WRITE, MISSING, text,			\
	       .in.cx = MISSING - 1, .in.ax = 3, .in.bx = 5,		\
	       .in.flags = FL_CF | FL_ZF, __VA_ARGS__)

	RMW("add", "add %eax, (%ecx)", ALL);
	RMW("adc", "adc %eax, (%ecx)");
	RMW("lock or", "lock or %eax, (%ecx)", ALL);
	RMW("inc", "incl (%ecx)");
	RMW("neg", "negl (%ecx)", ALL);
	RMW("not", "notl (%ecx)");
	RMW("xchg", "xchg %eax, (%ecx)");
	RMW("xadd", "xadd %eax, (%ecx)", ALL);
	RMW("lock xadd", "lock xadd %eax, (%ecx)", ALL);
	RMW("cmpxchg that fails to match", "cmpxchg %ebx, (%ecx)", ALL);
	RMW("bts", "btsl $0, (%ecx)");
	RMW("btr", "btrl $31, (%ecx)");
	RMW("shl", "shll $3, (%ecx)", ALL);
	RMW("shl by 0", "shll $0, (%ecx)");
	RMW("rcr", "rcrl $1, (%ecx)");
	RMW("shld", "shld $4, %eax, (%ecx)", ALL);
	RMW("cmpxchg8b", "cmpxchg8b (%ecx)");
	FAULTS("bts with a far bit offset", DENIED, READONLY + 0x20,
	       "bts %eax, (%ecx)", .in.cx = GOOD,
	       .in.ax = (0x2020) * 8 + 5);
	FAULTS("cmp only reads", READ, MISSING, "cmpl $1, (%ecx)",
	       .in.cx = MISSING, ALL);
	FAULTS("bt only reads", READ, MISSING, "btl $1, (%ecx)",
	       .in.cx = MISSING);
}

static void stack(void)
{
	FAULTS("push", WRITE, MISSING + 0x1000 - WORD, "push " AX,
	       .in.sp = MISSING + 0x1000);
	FAULTS("push across", WRITE, MISSING, "push " AX,
	       .in.sp = MISSING + 2);
	FAULTS("push of missing memory", READ, MISSING, "push" SFX " (%ecx)",
	       .in.sp = LAST + 64, .in.cx = MISSING);
	FAULTS("pushf", WRITE, MISSING, "pushf", .in.sp = MISSING + WORD);
	FAULTS("pop", READ, MISSING, "pop " AX, .in.sp = MISSING);
	FAULTS("pop across", READ, MISSING, "pop " AX, .in.sp = MISSING - 1);
	FAULTS("pop to a read-only page", DENIED, READONLY,
	       "pop" SFX " (%ecx)", .in.sp = LAST, .in.cx = READONLY);
	FAULTS("popf", READ, MISSING, "popf", .in.sp = MISSING);
	FAULTS("call", WRITE, MISSING, "call .", .in.sp = MISSING + WORD);
	FAULTS("call indirect, target missing", READ, MISSING,
	       "call *(%ecx)", .in.cx = MISSING);
	FAULTS("ret", READ, MISSING, "ret", .in.sp = MISSING);
	FAULTS("ret with a count", READ, MISSING, "ret $16", .in.sp = MISSING);
	FAULTS("leave", READ, MISSING, "leave", .in.bp = MISSING);
	FAULTS("enter", WRITE, MISSING, "enter $16, $0",
	       .in.sp = MISSING + WORD);
	FAULTS("enter with the frame's end missing", WRITE,
	       MISSING + 0x1000 - WORD, "enter $16, $0",
	       .in.sp = MISSING + 0x1000);
	/* The order of reads is the CPU's: only what it reads first is missing
	 * (SDM: IP, AMD: flags). */
	FAULTS("iret", READ, MISSING, "iret" SFX, .in.sp = MISSING - 2 * WORD);
#ifndef __x86_64__
	FAULTS("pusha, first word missing", WRITE, MISSING, "pusha",
	       .in.sp = MISSING + 4);
	FAULTS("popa, last word missing", READ, MISSING, "popa",
	       .in.sp = MISSING - 28,
	       .in.ax = 1, .in.di = 2, .in.si = 3, .in.bx = 4);
#endif
}

#ifdef __x86_64__
/* Several accesses through one register, which may be checked together: the
 * last one runs into the missing page, after the same code at a good place. */
static void together(const char *name, const struct code *c, uptr err, bool stack)
{
	struct try t = { .name = name, .code = c, .ring = 3, .vec = VEC_PF, .err = err, .cr2 = MISSING,
			 .changes = true };

	fill();
	if (stack)	/* the page behind the missing one is to be good */
		page_map(&pt, READONLY, READONLY, PTE_P | PTE_W | PTE_U);
	/* No INVLPG from here on: it may forget more than its page. */
	for (unsigned n = 0; n < 4; n++) {
		t.in = (struct state){ .cx = GOOD + 64, .sp = stack ? READONLY + 128 : 0 };
		run(&t);
	}
	t.in = (struct state){ .cx = MISSING - 16, .sp = stack ? READONLY + 16 : 0 };
	if (stack)
		t.cr2 = READONLY - 8;
	expect(&t);
}

static void shared(void)
{
	topic("SDM 3A 6.6");
	together("loads through one register",
		 CODE("mov (%rcx), %rax; mov 8(%rcx), %rdx; 1: mov 16(%rcx), %rbx"), READ, false);
	CHECK_EQ("the first was made", trap.s.ax, *(u64 *)(GOOD + 0xff0));
	CHECK_EQ("so was the second", trap.s.dx, *(u64 *)(GOOD + 0xff8));
	together("stores through one register",
		 CODE("mov %rax, (%rcx); mov %rax, 8(%rcx); 1: mov %rax, 16(%rcx)"), WRITE, false);
	CHECK_EQ("stores before it", *(u64 *)(GOOD + 0xff8), trap.s.ax);
	together("pushes", CODE("push %rax; push %rax; 1: push %rax"), WRITE, true);
	fill();
}
#endif

static void strings(void)
{
	topic("SDM 2B REP: the registers show where to go on");
	FAULTS("movs, destination missing", WRITE, MISSING, "movsl",
	       .in.si = GOOD, .in.di = MISSING);
	FAULTS("movs, source missing", READ, MISSING, "movsl",
	       .in.si = MISSING, .in.di = GOOD);
	FAULTS("stos", DENIED, READONLY, "stosl", .in.di = READONLY);
	FAULTS("lods", READ, MISSING, "lodsl", .in.si = MISSING);

	fill();
	TRAP("rep movs stops at the page", VEC_PF, WRITE, "rep movsb",
	     .ring = 3, .cr2 = MISSING, .in.cx = 50, .in.si = LAST,
	     .in.di = MISSING - 10);
	CHECK_EQ("rep movs cx", trap.s.cx, 40);
	CHECK_EQ("rep movs si", trap.s.si, LAST + 10);
	CHECK_EQ("rep movs di", trap.s.di, MISSING);
	CHECK("rep movs data", !memcmp(area + 4086, shadow + 0x3000, 10));
	fill();
	TRAP("rep movs across an element", VEC_PF, WRITE, "rep movsl",
	     .ring = 3, .cr2 = MISSING, .in.cx = 5, .in.si = LAST,
	     .in.di = MISSING - 10);
	CHECK_EQ("rep movs whole elements", trap.s.cx, 3);
	CHECK_EQ("rep movs di of the element", trap.s.di, MISSING - 2);
	CHECK("rep movs writes no part", !memcmp(area + 4094, shadow + 4094, 2));
	fill();
	TRAP("rep movs backwards", VEC_PF, PF_U, "rep movsb", .ring = 3,
	     .cr2 = MISSING + 0xfff, .in.cx = 50, .in.si = READONLY + 9,
	     .in.di = LAST + 100, .in.flags = FL_DF);
	CHECK_EQ("rep movs backwards cx", trap.s.cx, 40);
	CHECK_EQ("rep movs backwards si", trap.s.si, MISSING + 0xfff);
	fill();
	TRAP("rep stos", VEC_PF, WRITE, "rep stosw", .ring = 3,
	     .cr2 = MISSING, .in.cx = 0x1000, .in.di = MISSING - 64);
	CHECK_EQ("rep stos cx", trap.s.cx, 0x1000 - 32);
	fill();
	memset(area + 0xfe0, 5, 32);
	TRAP("repe scas", VEC_PF, READ, "repe scasb", .ring = 3,
	     .cr2 = MISSING, .in.cx = 0x1000, .in.di = MISSING - 32,
	     .in.ax = 5);
	CHECK_EQ("repe scas di", trap.s.di, MISSING);
	CHECK_EQ("repe scas cx", trap.s.cx, 0x1000 - 32);
	fill();
	FINE("rep movs with cx = 0 touches nothing", "rep movsb", .ring = 3,
	     .in.cx = 0, .in.si = MISSING, .in.di = MISSING);
	FINE("rep stos with cx = 0 touches nothing", "rep stosl", .ring = 3,
	     .in.cx = 0, .in.di = MISSING);
}

static void fetch(void)
{
	topic("SDM 3A 4.7: IP and CR2 of a missing code page");
	TRAP("jmp to a missing page", VEC_PF, PF_U | FETCH, "jmp *" CX,
	     .ring = 3, .cr2 = MISSING, .in.cx = MISSING, .any_ip = true);
	CHECK_EQ("ip is the target", trap.s.ip, MISSING);
	TRAP("call to a missing page", VEC_PF, PF_U | FETCH, "call *" CX,
	     .ring = 3, .cr2 = MISSING + 5, .in.cx = MISSING + 5,
	     .any_ip = true, .in.sp = LAST + 64);
	CHECK_EQ("ip is the target of the call", trap.s.ip, MISSING + 5);
	CHECK_EQ("the return address is pushed", trap.s.sp, LAST + 64 - WORD);
	CHECK_EQ("the return address", *(uptr *)(LAST + 64 - WORD) & 15, 2);
	fill();
	/* mov $imm32, %eax whose last two bytes are missing */
	area[0xffd] = 0xb8;
	TRAP("instruction across", VEC_PF, PF_U | FETCH, "jmp *" CX, .ring = 3,
	     .cr2 = MISSING, .in.cx = MISSING - 3, .any_ip = true);
	CHECK_EQ("ip is the start of the instruction", trap.s.ip, MISSING - 3);
	fill();
}

void guest_main(void)
{
#ifdef __x86_64__
	page_tables_init(&pt, PAGE_4LEVEL, PTE_W | PTE_U);
#else
	page_tables_init(&pt, PAGE_32, PTE_W | PTE_U);
#endif
	page_tables_on(&pt);
	fill();
	stores();
	read_modify_write();
	stack();
#ifdef __x86_64__
	shared();
#endif
	strings();
	fetch();
}
