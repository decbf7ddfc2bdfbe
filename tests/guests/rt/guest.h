/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest is written with.
 *
 * A check runs a few instructions, a snippet, in a given ring or mode, and
 * says what must come of them: an exception at the instruction marked `1:`
 * (by default the first), or a normal end.  Whatever happens, run() returns
 * the vector, the error code, CR2 and all registers in `trap`.
 *
 *	FAULT("div by zero", VEC_DE, 0, "div %ecx", .in.cx = 0);
 *	FAULT("cli", VEC_GP, 0, "cli", .ring = 3);
 *	FINE("xor", "xor %eax, %eax");
 *	CHECK_EQ("xor gives 0", trap.s.ax, 0);
 */
#ifndef RT_GUEST_H
#define RT_GUEST_H

#include "cpu.h"
#include "desc.h"

/* ---- verdict ---- */

/* Manual section that proves the checks that follow. */
void topic(const char *manual);
/* Put before the names of the checks that follow: the same ones twice. */
void scope(const char *prefix);
void check_eq(const char *name, u64 got, u64 want);
void check(const char *name, bool good);
void check_range(const char *name, u64 got, u64 low, u64 high);
void skip(const char *name, const char *why);
void print(const char *fmt, ...);	/* %s %u %x (unsigned), %X (u64) */
_Noreturn void finish(void);
#define CHECK(name, cond) check(name, cond)
#define CHECK_EQ(name, got, want) check_eq(name, (u64)(got), (u64)(want))

/* The guest. */
void guest_main(void);

/* ---- snippets ---- */

struct code { u32 start, at, end; };

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define STR_(x) #x
#define STR(x) STR_(x)

/* Registers and the suffix of the full width, for snippets. */
#ifdef __x86_64__
#define AX "%rax"
#define CX "%rcx"
#define SFX "q"
#define SP "%rsp"
#else
#define AX "%eax"
#define CX "%ecx"
#define SFX "l"
#define SP "%esp"
#endif

#ifdef __x86_64__
#define CODE_MODE ".code64\n"
#else
#define CODE_MODE ".code32\n"
#endif
#define CODE_(sym, text) ({						\
	extern const struct code sym;					\
	asm(".pushsection .snippets, \"ax\"\n"				\
	    ".balign 16\n"						\
	    #sym "_start: 1:\n"						\
	    text "\n"							\
	    #sym "_end: int $" STR(VEC_DONE) "\n"			\
	    CODE_MODE ".popsection\n"					\
	    ".pushsection .rodata\n"					\
	    ".balign 4\n"						\
	    #sym ": .long " #sym "_start, 1b, " #sym "_end\n"		\
	    ".popsection\n");						\
	&sym; })
#define CODE__(sym, text) CODE_(sym, text)
#define CODE(text) CODE__(CAT(code_, __COUNTER__), text)

struct state {
	uptr ax, cx, dx, bx, sp, bp, si, di, ip, flags;
	uptr cs, ss, ds, es, fs, gs;
#ifdef __x86_64__
	uptr r8, r9, r10, r11, r12, r13, r14, r15;
#endif
};

/* What a snippet ended with; cs == 0 in a state means "as the ring has". */
struct trap {
	unsigned vec;
	uptr err, cr2;
	uptr frame;		/* where the saved IP lies */
	struct state s;
};
extern struct trap trap;

struct try {
	const char *name;
	const struct code *code;
	unsigned vec;
	uptr err, cr2;
	unsigned ring;		/* 0 or 3 */
	bool changes;		/* registers may have changed before */
	bool any_ip;		/* the manuals leave the saved IP open */
	uptr dead;		/* flags that the instruction overwrites in any case: a
				 * translator need not keep them (docs/translator.md) */
	struct state in;
};

/* Where ring 3 sees the snippets, less where they are (default 0). */
extern uptr user_alias;

#define NO_CR2 0x5a5a5000	/* CR2 before each snippet */

/* Run a snippet; the result is in `trap`. */
void run(struct try *t);
/* Run and compare.  True: as expected. */
bool expect(struct try *t);
/* Fill segments, stack, flags of a state that are still zero. */
void state_fill(struct state *s, unsigned ring);

#define RUN(text, ...)							\
	run(&(struct try){ .code = CODE(text), __VA_ARGS__ })
#define FAULT(name_, vec_, err_, text, ...)				\
	expect(&(struct try){ .name = name_, .code = CODE(text),	\
			      .vec = vec_, .err = err_, __VA_ARGS__ })
/* A trap, or a fault after instructions that changed registers. */
#define TRAP(name_, vec_, err_, text, ...)				\
	FAULT(name_, vec_, err_, text, .changes = true, __VA_ARGS__)
#define FINE(name_, text, ...)						\
	expect(&(struct try){ .name = name_, .code = CODE(text),	\
			      .vec = VEC_DONE, .changes = true, __VA_ARGS__ })

/* Run a statement with bits of a control register changed. */
#define WITH_CR0(set, clear, ...) WITH_CR(0, set, clear, __VA_ARGS__)
#define WITH_CR4(set, clear, ...) WITH_CR(4, set, clear, __VA_ARGS__)
#define WITH_CR(n, set, clear, ...) do {				\
	uptr old_ = cr##n##_read();					\
	cr##n##_write((old_ & ~(uptr)(clear)) | (set));			\
	__VA_ARGS__;							\
	cr##n##_write(old_);						\
} while (0)

/* ---- interrupt hooks ---- */

struct frame {
#ifdef __x86_64__
	uptr r15, r14, r13, r12, r11, r10, r9, r8;
	uptr di, si, bp, bx, dx, cx, ax;
	uptr vec, err, ip, cs, flags, sp, ss;
#else
	uptr gs, fs, es, ds;
	uptr di, si, bp, sp_unused, bx, dx, cx, ax;
	uptr vec, err, ip, cs, flags, sp, ss;
	uptr v86_es, v86_ds, v86_fs, v86_gs;
#endif
};

/* A vector with a hook returns to the interrupted code. */
typedef void (*hook_fn)(struct frame *f);
extern hook_fn hooks[256];

/* ---- helpers ---- */

void *memset(void *d, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);
int memcmp(const void *a, const void *b, size_t n);
#define memset_v(p, c, n) memset((void *)(p), c, n)

extern u8 stack0[STACK_SIZE], stack3[STACK_SIZE];

#endif
