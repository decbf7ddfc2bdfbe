/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guest.h"

#include <stdarg.h>

enum { COM1 = 0x3f8, DEBUG_EXIT = 0xf4, PASS = 0x10, FAIL = 0x11 };

struct trap trap;
hook_fn hooks[256];
u8 stack0[STACK_SIZE] __attribute__((aligned(4096)));
u8 stack3[STACK_SIZE] __attribute__((aligned(4096)));

uptr user_alias;

static const char *manual = "", *prefix = "";
static unsigned n_ok, n_fail, n_skip;
static volatile bool running;

void rt_main(void);
void trap_entry(struct frame *f);
void run_state(struct state *s);
_Noreturn void run_return(void);
extern uptr trap_ss;

void *memset(void *d, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile u8 *)d)[i] = c;
	return d;
}

void *memcpy(void *d, const void *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile u8 *)d)[i] = ((const u8 *)s)[i];
	return d;
}

int memcmp(const void *a, const void *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((const u8 *)a)[i] != ((const u8 *)b)[i])
			return ((const u8 *)a)[i] - ((const u8 *)b)[i];
	return 0;
}

/* ---- output ---- */

static void put_char(char c)
{
	for (int i = 0; i < 100000 && !(inb(COM1 + 5) & 0x20); i++)
		;
	outb(COM1, c);
}

static void put_string(const char *s)
{
	while (*s)
		put_char(*s++);
}

static void put_hex(u64 v)
{
	int digits = 1;

	while (digits < 16 && (v >> (4 * digits)))
		digits++;
	put_string("0x");
	while (digits--)
		put_char("0123456789abcdef"[v >> (4 * digits) & 15]);
}

static void put_dec(u32 v)
{
	if (v >= 10)
		put_dec(v / 10);
	put_char('0' + v % 10);
}

static void vprint(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put_char(*fmt);
			continue;
		}
		switch (*++fmt) {
		case 's': put_string(va_arg(ap, const char *)); break;
		case 'u': put_dec(va_arg(ap, u32)); break;
		case 'x': put_hex(va_arg(ap, u32)); break;
		case 'X': put_hex(va_arg(ap, u64)); break;
		}
	}
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
}

/* ---- verdict ---- */

void topic(const char *m)
{
	manual = m;
}

void scope(const char *p)
{
	prefix = p;
}

static void fail(const char *name, const char *what, u64 got, u64 want)
{
	n_fail++;
	print("FAIL %s%s: %sgot %X want %X (%s)\n", prefix, name, what, got, want,
	      manual);
}

static void ok(const char *name)
{
	n_ok++;
	print("ok %s%s\n", prefix, name);
}

void check_eq(const char *name, u64 got, u64 want)
{
	if (got == want)
		ok(name);
	else
		fail(name, "", got, want);
}

void check(const char *name, bool good)
{
	check_eq(name, good, true);
}

void check_range(const char *name, u64 got, u64 low, u64 high)
{
	if (got >= low && got <= high) {
		ok(name);
		return;
	}
	n_fail++;
	print("FAIL %s%s: got %X want %X to %X (%s)\n", prefix, name, got, low,
	      high, manual);
}

void skip(const char *name, const char *why)
{
	n_skip++;
	print("skip %s%s: %s\n", prefix, name, why);
}

_Noreturn void finish(void)
{
	print("end %u ok, %u failed, %u skipped\n", n_ok, n_fail, n_skip);
	outl(DEBUG_EXIT, n_fail ? FAIL : PASS);
	for (;;)
		asm volatile("cli; hlt");
}

/* ---- traps ---- */

static void state_from_frame(struct state *s, struct frame *f)
{
	bool outer = f->cs & 3;

	*s = (struct state){
		.ax = f->ax, .cx = f->cx, .dx = f->dx, .bx = f->bx,
		.bp = f->bp, .si = f->si, .di = f->di,
		.ip = f->ip, .cs = f->cs & 0xffff, .flags = f->flags,
	};
#ifdef __x86_64__
	s->r8 = f->r8, s->r9 = f->r9, s->r10 = f->r10, s->r11 = f->r11;
	s->r12 = f->r12, s->r13 = f->r13, s->r14 = f->r14, s->r15 = f->r15;
	s->sp = f->sp, s->ss = f->ss;
	asm("mov %%ds, %0" : "=r"(s->ds));
	asm("mov %%es, %0" : "=r"(s->es));
	asm("mov %%fs, %0" : "=r"(s->fs));
	asm("mov %%gs, %0" : "=r"(s->gs));
	(void)outer;
#else
	s->ds = f->ds & 0xffff, s->es = f->es & 0xffff;
	s->fs = f->fs & 0xffff, s->gs = f->gs & 0xffff;
	if (f->flags & FL_VM) {
		s->ds = f->v86_ds, s->es = f->v86_es;
		s->fs = f->v86_fs, s->gs = f->v86_gs;
		outer = true;
	}
	s->sp = outer ? f->sp : (uptr)&f->sp;
	s->ss = outer ? f->ss : trap_ss;
#endif
}

void trap_entry(struct frame *f)
{
	if (f->vec < 256 && hooks[f->vec]) {
		hooks[f->vec](f);
		return;
	}
	trap.vec = f->vec;
	trap.err = f->err;
	trap.cr2 = cr2_read();
	trap.frame = (uptr)&f->ip;
	state_from_frame(&trap.s, f);
	if (running) {
		running = false;
		run_return();
	}
	print("FAIL unexpected: vector %x error %x ip %X cs %x cr2 %X (%s)\n",
	      (u32)f->vec, (u32)f->err, (u64)f->ip, (u32)f->cs,
	      (u64)trap.cr2, manual);
	n_fail++;
	finish();
}

void state_fill(struct state *s, unsigned ring)
{
	if (s->flags & FL_VM)
		goto common;
#ifdef __x86_64__
	if (!s->cs)
		s->cs = ring ? SEL_UCODE64 | 3 : SEL_KCODE;
#else
	if (!s->cs)
		s->cs = ring ? SEL_UCODE32 | 3 : SEL_KCODE;
#endif
	uptr data = ring ? SEL_UDATA | 3 : SEL_KDATA;

	if (!s->ss)
		s->ss = data;
	if (!s->ds)
		s->ds = data;
	if (!s->es)
		s->es = data;
common:
	if (!s->sp)
		s->sp = (uptr)(ring ? stack3 : stack0) + STACK_SIZE - 256;
	s->flags |= 2;
}

void run(struct try *t)
{
	if (!t->in.ip)
		t->in.ip = t->code->start + (t->ring ? user_alias : 0);
	state_fill(&t->in, t->ring);
	cr2_write(NO_CR2);
	running = true;
	run_state(&t->in);
	running = false;
}

/* A fault leaves no trace in the general registers (SDM 3A 6.6). */
static bool same_registers(struct try *t)
{
	static const struct { const char *name; unsigned at; } r[] = {
#define R(x) { #x ": ", offsetof(struct state, x) }
		R(ax), R(cx), R(dx), R(bx), R(sp), R(bp), R(si), R(di),
		R(cs), R(ss), R(ds), R(es),
#ifdef __x86_64__
		R(r8), R(r9), R(r10), R(r11), R(r12), R(r13), R(r14), R(r15),
#endif
#undef R
	};

	for (unsigned i = 0; i < sizeof(r) / sizeof(r[0]); i++) {
		uptr got = *(uptr *)((char *)&trap.s + r[i].at);
		uptr want = *(uptr *)((char *)&t->in + r[i].at);

		if (got != want) {
			fail(t->name, r[i].name, got, want);
			return false;
		}
	}
	if ((trap.s.flags ^ t->in.flags) & ~(uptr)(FL_RF | t->dead)) {
		fail(t->name, "flags: ", trap.s.flags, t->in.flags);
		return false;
	}
	return true;
}

bool expect(struct try *t)
{
	uptr at = t->vec == VEC_DONE ? t->code->end + 2 : t->code->at;
	if (t->ring)
		at += user_alias;
	uptr cr2 = t->vec == VEC_PF || t->cr2 ? t->cr2 : NO_CR2;

	run(t);
	if (trap.vec != t->vec)
		fail(t->name, "vector: ", trap.vec, t->vec);
	else if (trap.err != t->err)
		fail(t->name, "error code: ", trap.err, t->err);
	else if (!t->any_ip && trap.s.ip != at)
		fail(t->name, "ip: ", trap.s.ip, at);
	else if (trap.cr2 != cr2)
		fail(t->name, "cr2: ", trap.cr2, cr2);
	else if (t->changes || t->any_ip || t->code->at != t->code->start ||
		 same_registers(t)) {
		ok(t->name);
		return true;
	}
	return false;
}

void rt_main(void)
{
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 0x80);
	outb(COM1 + 0, 1);
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 3);
	outb(COM1 + 2, 7);
	outb(COM1 + 4, 3);
	cr0_write((cr0_read() & (CR0_PE | CR0_PG)) | CR0_ET | CR0_NE | CR0_MP);
	cr4_write((cr4_read() & CR4_PAE) | CR4_OSFXSR | CR4_OSXMMEXCPT);
	asm volatile("fninit");
	/* both interrupt controllers quiet, whatever a firmware left */
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	idt_init();
	tss_load(sizeof(tss) - 1);
	guest_main();
	finish();
}
