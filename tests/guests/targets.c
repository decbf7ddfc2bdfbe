/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where control may not go: jumps, calls and returns to addresses that are
 * not canonical, missing, the supervisor's, or not executable, by instructions
 * that went to a good place a moment before; and code that runs or jumps over
 * the ends of the two halves of the address space (SDM 2A CALL, JMP, RET, 3A
 * 4.7, 1 3.3.7.1).
 */
#include "guest.h"
#include "page.h"

typedef unsigned long long va_t;

static struct page_tables pt;
static u8 good_frame[4096] __attribute__((aligned(4096)));
#ifdef __x86_64__
static u8 end_frame[4096] __attribute__((aligned(4096)));
static u8 top_frame[4096] __attribute__((aligned(4096)));
static u8 zero_frame[4096] __attribute__((aligned(4096)));
#endif

/* Four pages: code, missing, the supervisor's, data only. */
#define CODE_PAGE 0x50000000u
#define MISSING (CODE_PAGE + 0x1000)
#define SUPER (CODE_PAGE + 0x2000)
#define NO_EXEC (CODE_PAGE + 0x3000)
#define AT 0x100		/* in each page: the end of a snippet */

#define OUTSIDE 0x0000800000000000ull
#define UPPER 0xffff800000000000ull
#define TOP 0xfffffffffffff000ull

/* What comes of control that goes to a place. */
struct place {
	const char *name;
	va_t at;
	unsigned vec;
	uptr err;
};

#ifdef __x86_64__
#define REGISTER "r"
enum { FETCH = PF_I };	/* EFER.NXE is set */
#else
#define REGISTER "e"
enum { FETCH = 0 };
#endif

static bool far(const struct place *p)
{
	return p->vec == VEC_GP;
}

/* ---- indirect branches ---- */

/* A way to go to `target`: registers for it, and where rSP is then. */
struct way {
	const char *name;
	const struct code *code;
	unsigned words;		/* that it takes off the stack */
	bool pushes;		/* leaves a return address */
	bool takes_off;		/* RET with a count of 24 */
};

static uptr slot[8];

#define DUMMY ((uptr)0x3333333333333333ull)

static void prepare(const struct way *w, va_t target, unsigned ring, struct state *in)
{
	uptr *stack = (uptr *)(stack3 + STACK_SIZE / 2);

	for (int i = -4; i < 8; i++)
		stack[i] = DUMMY;
	slot[0] = target;
	*in = (struct state){ .cx = target, .dx = (uptr)slot, .sp = (uptr)stack };
#ifdef __x86_64__
	in->r10 = target;
#endif
	state_fill(in, ring);
	if (w->words)
		stack[0] = target;
	if (w->words >= 2)
		stack[1] = in->cs;
	if (w->words >= 5) {
		stack[2] = in->flags;
		stack[3] = (uptr)stack + 0x40;
		stack[4] = in->ss;
	}
}

static uptr sp_behind(const struct way *w, uptr sp)
{
	if (w->words == 5)
		return sp + 0x40;
	return sp + (w->words + (w->takes_off ? 3 : 0)) * WORD - (w->pushes ? WORD : 0);
}

static void go(const struct way *w, const struct place *p, unsigned ring)
{
	static char name[80];
	unsigned k = 0;
	const char *parts[] = { w->name, " to ", p->name };
	struct state in;
	struct place good = { "", CODE_PAGE + AT, VEC_DONE, 0 };

	for (unsigned i = 0; i < 3; i++)
		for (const char *c = parts[i]; *c; c++)
			name[k++] = *c;
	name[k] = 0;
	for (unsigned round = 0; round < 3; round++) {
		const struct place *to = round < 2 ? &good : p;
		bool refused = far(to);
		uptr sp;

		prepare(w, to->at, ring, &in);
		sp = in.sp;
		run(&(struct try){ .code = w->code, .ring = ring, .in = in });
		if (trap.vec != to->vec) {
			CHECK_EQ(name, trap.vec, to->vec);
			return;
		}
		if (to->vec != VEC_DONE && trap.err != (to->err | (ring && to->vec == VEC_PF ? PF_U : 0))) {
			CHECK_EQ(name, trap.err, to->err);
			return;
		}
		if (trap.s.ip != (refused ? w->code->start : to->at + (to->vec == VEC_DONE ? 2 : 0)) ||
		    trap.s.sp != (refused ? sp : sp_behind(w, sp))) {
			print("note %s: ip %X sp %X\n", name, (u64)trap.s.ip, (u64)trap.s.sp);
			CHECK_EQ(name, trap.s.ip, refused ? w->code->start : to->at);
			return;
		}
		if (trap.cr2 != (to->vec == VEC_PF ? (uptr)to->at : NO_CR2)) {
			CHECK_EQ(name, trap.cr2, to->at);
			return;
		}
	}
	check(name, true);
}

static void indirect(unsigned ring)
{
	const struct way ways[] = {
		{ "jmp of a register", CODE("jmp *" CX) },
		{ "jmp through memory", CODE("jmp *(%" REGISTER "dx)") },
		{ "call of a register", CODE("call *" CX), .pushes = true },
		{ "call through memory", CODE("call *(%" REGISTER "dx)"), .pushes = true },
		{ "ret", CODE("ret"), 1 },
		{ "ret with a count", CODE("ret $3*" STR(WORD)), 1, .takes_off = true },
		{ "lret", CODE("lret" SFX), 2 },
#ifdef __x86_64__
		{ "jmp of r10", CODE("jmp *%r10") },
		{ "call of r10", CODE("call *%r10"), .pushes = true },
		{ "iretq", CODE("iretq"), 5 },
#endif
	};
	const struct place places[] = {
		{ "a missing page", MISSING + AT, VEC_PF, FETCH },
		{ "the supervisor's page", SUPER + AT, ring ? VEC_PF : VEC_DONE, ring ? FETCH | PF_P : 0 },
#ifdef __x86_64__
		{ "data", NO_EXEC + AT, VEC_PF, FETCH | PF_P },
		{ "the end of the lower half", OUTSIDE - 2, VEC_DONE, 0 },
		{ "the upper half", TOP + AT, VEC_DONE, 0 },
		{ "a missing page of the upper half", UPPER + AT, VEC_PF, FETCH },
		{ "outside", OUTSIDE, VEC_GP, 0 },
		{ "just below the upper half", UPPER - 1, VEC_GP, 0 },
		{ "outside, like the code's page", (CODE_PAGE + AT) | 1ull << 48, VEC_GP, 0 },
		{ "outside, bit 47", (CODE_PAGE + AT) | 1ull << 47, VEC_GP, 0 },
		{ "outside, bit 63", (CODE_PAGE + AT) | 1ull << 63, VEC_GP, 0 },
		{ "outside, all but bit 47", (CODE_PAGE + AT) | 0xffffull << 48, VEC_GP, 0 },
#endif
	};

	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		for (unsigned k = 0; k < sizeof(places) / sizeof(places[0]); k++)
			go(&ways[i], &places[k], ring);
}

/* ---- code at an end ---- */

#ifdef __x86_64__
/* Code that ends with the page at `end`. */
static void put(u8 *frame, const u8 *code, unsigned n)
{
	memset(frame, 0x90, 4096);
	memcpy(frame + 4096 - n, code, n);
}

/* Run from `from`; ip and sp must be these at the exception. */
static void at_end(const char *name, va_t from, unsigned ring, unsigned vec, va_t ip, uptr cx, bool same_sp)
{
	const struct code c = { 0, 0, 0 };

	for (unsigned round = 0; round < 2; round++) {
		uptr sp = (uptr)stack3 + STACK_SIZE / 2;

		run(&(struct try){ .code = &c, .ring = ring, .in.ip = from, .in.cx = cx, .in.sp = sp });
		if (trap.vec != vec || trap.s.ip != ip || trap.cr2 != NO_CR2 || (vec != VEC_DONE && trap.err) ||
		    (same_sp && trap.s.sp != sp)) {
			print("note %s: vector %u error %x ip %X sp %X for %X cr2 %X\n", name, trap.vec,
			      (u32)trap.err, (u64)trap.s.ip, (u64)trap.s.sp, (u64)sp, (u64)trap.cr2);
			check(name, false);
			return;
		}
	}
	check(name, true);
}

#define AT_END(name, vec, ip, cx, same_sp, ...) do {			\
	static const u8 c_[] = { __VA_ARGS__ };				\
	put(end_frame, c_, sizeof(c_));					\
	at_end(name, OUTSIDE - sizeof(c_), ring, vec, ip, cx, same_sp);	\
} while (0)

static void lower_end(unsigned ring)
{
	topic("SDM 1 3.3.7.1, 2A JMP, CALL, Jcc");
	AT_END("running over the end", VEC_GP, OUTSIDE, 0, true, 0x90, 0x90, 0x90);
	AT_END("an instruction across the end", VEC_GP, OUTSIDE - 3, 0, true, 0x90, 0x90, 0xb8, 0, 0);
	AT_END("jmp over the end, 8 bits", VEC_GP, OUTSIDE - 2, 0, true, 0xeb, 0x10);
	AT_END("jmp over the end, 32 bits", VEC_GP, OUTSIDE - 5, 0, true, 0xe9, 0, 0x20, 0, 0);
	AT_END("jmp to the end", VEC_GP, OUTSIDE - 2, 0, true, 0xeb, 0);
	AT_END("call over the end", VEC_GP, OUTSIDE - 5, 0, true, 0xe8, 0, 0x20, 0, 0);
	AT_END("call to the end", VEC_GP, OUTSIDE - 5, 0, true, 0xe8, 0, 0, 0, 0);
	AT_END("jz taken over the end", VEC_GP, OUTSIDE - 2, 0, true, 0x31, 0xc0, 0x74, 0x10);
	AT_END("jz taken over the end, 32 bits", VEC_GP, OUTSIDE - 6, 0, true, 0x31, 0xc0, 0x0f, 0x84, 0, 0x20, 0, 0);
	AT_END("jnz not taken at the end", VEC_GP, OUTSIDE, 0, true, 0x31, 0xc0, 0x75, 0x80);
	AT_END("loop over the end", VEC_GP, OUTSIDE - 2, 5, true, 0xe2, 0x10);
	AT_END("jrcxz over the end", VEC_GP, OUTSIDE - 2, 0, true, 0xe3, 0x10);
	AT_END("call at the end, and return", VEC_GP, CODE_PAGE + 0x200, CODE_PAGE + 0x200, false, 0xff, 0xd1);
	AT_END("int at the end", VEC_DONE, OUTSIDE, 0, true, 0xcd, VEC_DONE);
}

/* The last address is followed by 0. */
static void wrap(unsigned ring)
{
	static const u8 nops[] = { 0x90, 0x90 };
	static const u8 jump[] = { 0xe9, 0, 1, 0, 0 };		/* to AT behind the end */
	static const u8 across[] = { 0xb8, 0x11 };		/* mov $imm32, %eax */

	topic("SDM 1 3.3.7.1");
	zero_frame[AT] = 0xcd, zero_frame[AT + 1] = VEC_DONE;
	zero_frame[0] = 0xcd, zero_frame[1] = VEC_DONE;
	put(top_frame, nops, sizeof(nops));
	at_end("running over the top", TOP + 0xffe, ring, VEC_DONE, 2, 0, true);
	put(top_frame, jump, sizeof(jump));
	at_end("jmp over the top", TOP + 0xffb, ring, VEC_DONE, AT + 2, 0, true);
	put(top_frame, across, sizeof(across));
	zero_frame[0] = 0x22, zero_frame[1] = 0x33, zero_frame[2] = 0x44;
	zero_frame[3] = 0xcd, zero_frame[4] = VEC_DONE;
	at_end("an instruction across the top", TOP + 0xffe, ring, VEC_DONE, 5, 0, true);
	CHECK_EQ("its immediate", trap.s.ax, 0x44332211);
	memset(top_frame, 0x90, 4096);
	top_frame[AT] = 0xcd, top_frame[AT + 1] = VEC_DONE;
}
#endif

/* ---- set-up ---- */

static void end_snippet(u8 *frame, unsigned at)
{
	frame[at] = 0xcd;
	frame[at + 1] = VEC_DONE;
}

static void map(void)
{
	end_snippet(good_frame, AT);
	good_frame[0x200] = 0xc3;	/* ret */
	page_map(&pt, CODE_PAGE, (uptr)good_frame, PTE_P | PTE_W | PTE_U);
	page_map(&pt, MISSING, 0, 0);
	page_map(&pt, SUPER, (uptr)good_frame, PTE_P | PTE_W);
#ifdef __x86_64__
	page_map(&pt, NO_EXEC, (uptr)good_frame, PTE_P | PTE_W | PTE_U | PTE_NX);
	page_map(&pt, OUTSIDE - 0x1000, (uptr)end_frame, PTE_P | PTE_W | PTE_U);
	page_map(&pt, UPPER, 0, 0);
	page_map(&pt, TOP, (uptr)top_frame, PTE_P | PTE_W | PTE_U);
	page_map(&pt, 0, (uptr)zero_frame, PTE_P | PTE_W | PTE_U);
#endif
}

/* Exceptions come to a stack of their own, whatever rSP is. */
static void stacks(void)
{
#ifdef __x86_64__
	extern const char stubs[256][16];
	static u8 fault_stack[STACK_SIZE] __attribute__((aligned(16)));
	static const u8 vectors[] = { VEC_GP, VEC_PF, VEC_SS, VEC_UD, VEC_DONE };

	tss.t.ist[0] = (uptr)fault_stack + sizeof(fault_stack);
	for (unsigned i = 0; i < sizeof(vectors); i++)
		idt_set(vectors[i], stubs[vectors[i]], SEL_KCODE, SEG_P | SEG_INT | SEG_DPL3, 1);
#endif
}

#ifdef __x86_64__
/*
 * A 66 before a near branch: Intel's CPUs ignore it, AMD's cut the target to 16
 * bits (SDM 2A 2.2.1.2, APM 3 JMP).  Low memory holds the end of a snippet
 * where a cut target goes.
 */
static void cut(const char *name, const struct code *c, uptr target, unsigned ring)
{
	uptr want = is_intel() ? target : target & 0xffff;

	*(volatile u8 *)(target & 0xffff) = 0xcd;
	*(volatile u8 *)((target & 0xffff) + 1) = VEC_DONE;
	for (unsigned n = 0; n < 3; n++)
		run(&(struct try){ .code = c, .ring = ring, .in.cx = target });
	CHECK_EQ(name, trap.s.ip, want + 2);
}

static void vendor(unsigned ring)
{
	const struct code *const jump = CODE(".byte 0x66, 0xe9, 2, 0, 0, 0; ud2; int $" STR(VEC_DONE));
	const struct code *const indirect = CODE(".byte 0x66, 0xff, 0xe1; ud2; int $" STR(VEC_DONE));
	const struct code *const call = CODE(".byte 0x66, 0xff, 0xd1; ud2; int $" STR(VEC_DONE));

	topic("SDM 2A JMP, CALL; APM 3 JMP");
	page_map(&pt, 0, 0, PTE_P | PTE_W | PTE_U);
	if (is_intel())
		cut("66 jmp", jump, jump->start + 8, ring);
	cut("66 jmp of a register", indirect, indirect->start + 5, ring);
	cut("66 call of a register", call, call->start + 5, ring);
	CHECK_EQ("66 call, what it pushes",
		 (uptr)(ring ? stack3 : stack0) + STACK_SIZE - 256 - trap.s.sp, is_intel() ? 8 : 2);
	page_map(&pt, 0, (uptr)zero_frame, PTE_P | PTE_W | PTE_U);
}
#endif

static void all(unsigned ring)
{
	topic("SDM 2A JMP, CALL, 2B RET, 3A 4.7");
#ifdef __x86_64__
	memset(end_frame, 0x90, 4096);
	end_snippet(end_frame, 0xffe);
	memset(top_frame, 0x90, 4096);
	end_snippet(top_frame, AT);
#endif
	indirect(ring);
#ifdef __x86_64__
	lower_end(ring);
	wrap(ring);
	vendor(ring);
#endif
}

void guest_main(void)
{
#ifdef __x86_64__
	page_tables_init(&pt, PAGE_4LEVEL, PTE_W | PTE_U);
#else
	page_tables_init(&pt, PAGE_32, PTE_W | PTE_U);
#endif
	page_tables_on(&pt);
	map();
	stacks();
	scope("user, ");
	all(3);
	scope("kernel, ");
	all(0);
}
