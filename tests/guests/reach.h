/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instructions of reach.c, their prefixes and addressing forms. */
#ifndef REACH_H
#define REACH_H

#ifdef __x86_64__
#define X64 1
#define REG(n) "%r" n
#else
#define X64 0
#define REG(n) "%e" n
#endif

enum {
	R = 1, W = 2, RW = 3,
	ALIGNED = 4,		/* #GP(0) unless the address is a multiple of the size */
	STACK = 8,		/* through the stack pointer: no memory operand */
	FRAME = 16,		/* the same through the frame pointer */
	SOURCE = 32, DEST = 64,	/* strings: rSI, rDI */
	LOCKS = 128,		/* LOCK is legal */
	AVX = 256, AVX512 = 512,	/* k1: of the elements, the first alone */
	NO_OVERRIDE = 1024,	/* ES:rDI */
	BITS = 2048,		/* at the operand's address and a bit offset in rAX */
};

#define P_NONE "none"
#if X64
#define P_SEGMENT P_NONE ",0x64,0x65,0x36,0x3e,0x26,0x2e"
#define P_VECTOR P_SEGMENT ",0x67"
#else
#define P_SEGMENT P_NONE ",0x64,0x36,0x2e"
#define P_VECTOR P_SEGMENT
#endif
#define P_ALL P_VECTOR ",0xf0,0xf2,0xf3"
#define P_WIDE P_ALL ",0x66"	/* for those that a 66 changes nothing about */
#define P_STACK P_NONE ",0xf2,0xf3,0x64,0x36"
#define P_STRING P_VECTOR ",0xf3"

/* How a memory operand is written; enum form in this order. */
#if X64
#define FORMS "\"(%rcx)\",\"0x40(%rbp)\",\"-0x1000(%r9)\",\"(%r13,%r10,4)\",\"(%rsp)\",\"8(%r12,%r11)\""
enum { NFORMS = 6 };
static const u8 form_on_stack[NFORMS] = { 0, 1, 0, 0, 1, 0 };
#define NO_FORM "\"\""
#else
#define FORMS "\"(%ecx)\",\"0x40(%ebp)\",\"-0x1000(%ebx)\",\"(%esi,%edi,4)\",\"(%bx)\",\"0x20(%bp,%si)\""
enum { NFORMS = 6, FORM_16 = 4 };
static const u8 form_on_stack[NFORMS] = { 0, 1, 0, 0, 0, 1 };
#define NO_FORM "\"\""
#endif

/*
 * Both lists: name, bytes, flags, prefixes, text.  M: a memory operand \m; the
 * first form with all prefixes, then the other forms without.  S: none.
 */
#define OPS_ALL(M, S)							\
M(load1, 1, R, P_WIDE, "mov \\m, %al")					\
M(load2, 2, R, P_ALL, "mov \\m, %ax")					\
M(load4, 4, R, P_ALL, "mov \\m, %eax")					\
M(movzx1, 1, R, P_ALL, "movzbl \\m, %eax")				\
M(movsx2, 2, R, P_ALL, "movswl \\m, %eax")				\
M(store1, 1, W, P_WIDE, "mov %al, \\m")					\
M(store2, 2, W, P_ALL, "mov %ax, \\m")					\
M(store4, 4, W, P_ALL, "mov %eax, \\m")					\
M(storei4, 4, W, P_ALL, "movl $0x12345678, \\m")			\
M(setc1, 1, W, P_WIDE, "setc \\m")					\
M(add1, 1, RW | LOCKS, P_WIDE, "add %al, \\m")				\
M(add2, 2, RW | LOCKS, P_ALL, "add %ax, \\m")				\
M(add4, 4, RW | LOCKS, P_ALL, "add %eax, \\m")				\
M(adc4, 4, RW | LOCKS, P_ALL, "adc %eax, \\m")				\
M(inc4, 4, RW | LOCKS, P_ALL, "incl \\m")				\
M(neg2, 2, RW | LOCKS, P_ALL, "negw \\m")				\
M(shl4, 4, RW, P_ALL, "shll $3, \\m")					\
M(shld4, 4, RW, P_ALL, "shldl $5, %eax, \\m")				\
M(xchg4, 4, RW | LOCKS, P_ALL, "xchg %eax, \\m")			\
M(xadd4, 4, RW | LOCKS, P_ALL, "xadd %eax, \\m")			\
M(cmpxchg4, 4, RW | LOCKS, P_ALL, "cmpxchg %ebx, \\m")			\
M(cmpxchg8b, 8, RW | LOCKS, P_ALL, "cmpxchg8b \\m")			\
M(bts4, 4, RW | LOCKS, P_ALL, "btsl $7, \\m")				\
M(bt4_far, 4, R | BITS, P_ALL, "bt %eax, \\m")				\
M(bts4_far, 4, RW | LOCKS | BITS, P_ALL, "bts %eax, \\m")		\
M(cmp4, 4, R, P_ALL, "cmp %eax, \\m")					\
M(add_from4, 4, R, P_ALL, "add \\m, %eax")				\
M(test1, 1, R, P_WIDE, "testb $1, \\m")					\
M(imul4, 4, R, P_ALL, "imul \\m, %eax")					\
M(movss, 4, R, P_VECTOR, "movss \\m, %xmm0")				\
M(movsd, 8, W, P_VECTOR, "movsd %xmm1, \\m")				\
M(movq_mmx, 8, R, P_VECTOR, "movq \\m, %mm0")				\
M(movups, 16, R, P_VECTOR, "movups \\m, %xmm0")				\
M(movups_to, 16, W, P_VECTOR, "movups %xmm1, \\m")			\
M(movaps, 16, R | ALIGNED, P_VECTOR, "movaps \\m, %xmm0")		\
M(movaps_to, 16, W | ALIGNED, P_VECTOR, "movaps %xmm1, \\m")		\
M(paddb, 16, R | ALIGNED, P_VECTOR, "paddb \\m, %xmm0")			\
M(stmxcsr, 4, W, P_VECTOR, "stmxcsr \\m")				\
M(fld4, 4, R, P_VECTOR, "flds \\m")					\
M(fld8, 8, R, P_VECTOR, "fldl \\m")					\
M(fld10, 10, R, P_VECTOR, "fldt \\m")					\
M(fild2, 2, R, P_VECTOR, "filds \\m")					\
M(fst4, 4, W, P_VECTOR, "fsts \\m")					\
M(fstp8, 8, W, P_VECTOR, "fstpl \\m")					\
M(fstp10, 10, W, P_VECTOR, "fstpt \\m")					\
M(fistp8, 8, W, P_VECTOR, "fistpll \\m")				\
M(fbstp, 10, W, P_VECTOR, "fbstp \\m")					\
M(fnstcw, 2, W, P_VECTOR, "fnstcw \\m")					\
M(fnstsw, 2, W, P_VECTOR, "fnstsw \\m")					\
M(fnstenv, 28, W, P_VECTOR, "fnstenv \\m")				\
M(fnsave, 108, W, P_VECTOR, "fnsave \\m")				\
M(fxsave, 512, W | ALIGNED, P_NONE, "fxsave \\m")					\
M(vmovups32, 32, R | AVX, P_VECTOR, "vmovups \\m, %ymm0")		\
M(vmovups32_to, 32, W | AVX, P_VECTOR, "vmovups %ymm1, \\m")		\
M(vmovaps32_to, 32, W | AVX | ALIGNED, P_VECTOR, "vmovaps %ymm1, \\m")	\
M(vpaddb32, 32, R | AVX, P_VECTOR, "vpaddb \\m, %ymm1, %ymm0")		\
M(vmovups64, 64, R | AVX512, P_VECTOR, "vmovups \\m, %zmm0")		\
M(vmovups64_to, 64, W | AVX512, P_VECTOR, "vmovups %zmm1, \\m")		\
M(vmovups64_k1, 4, R | AVX512, P_VECTOR, "vmovups \\m, %zmm0{%k1}{z}")	\
M(vmovups64_k1_to, 4, W | AVX512, P_VECTOR, "vmovups %zmm1, \\m{%k1}")	\
M(vpaddd64, 64, R | AVX512, P_VECTOR, "vpaddd \\m, %zmm1, %zmm0")	\
S(lods1, 1, R | SOURCE, P_STRING, "lodsb")				\
S(lods4, 4, R | SOURCE, P_STRING, "lodsl")				\
S(stos2, 2, W | DEST | NO_OVERRIDE, P_STRING, "stosw")			\
S(stos4, 4, W | DEST | NO_OVERRIDE, P_STRING, "stosl")			\
S(movs1_from, 1, R | SOURCE, P_STRING, "movsb")				\
S(movs4_from, 4, R | SOURCE, P_STRING, "movsl")				\
S(movs4_to, 4, W | DEST | NO_OVERRIDE, P_NONE ",0xf3", "movsl")		\
S(scas4, 4, R | DEST | NO_OVERRIDE, P_STRING, "scasl")			\
S(cmps4, 4, R | SOURCE, P_STRING, "cmpsl")

/* Not of the stack's width: the offsets are from rSP, so in the names. */
#define OPS_STACK(M, S)							\
S(push, WORD, W | STACK, P_STACK, "push " REG("ax"))			\
S(push_imm, WORD, W | STACK, P_STACK, "push $0x1234567")		\
S(push_sp, WORD, W | STACK, P_STACK, "push " REG("sp"))			\
S(push2, 2, W | STACK, P_NONE, "pushw %ax")				\
S(pushf, WORD, W | STACK, P_STACK, "pushf")				\
S(pop, WORD, R | STACK, P_STACK, "pop " REG("ax"))			\
S(pop_sp, WORD, R | STACK, P_STACK, "pop " REG("sp"))			\
S(pop2, 2, R | STACK, P_NONE, "popw %ax")				\
S(call, WORD, W | STACK, P_NONE, "call 9f; 9:")				\
S(enter, WORD, W | STACK, P_NONE, "enter $0, $0")			\
S(leave, WORD, R | FRAME, P_STACK, "leave")

#if X64
#define OPS_WIDTH(M, S)							\
M(load8, 8, R, P_WIDE, "mov \\m, %rax")					\
M(load8_r10, 8, R, P_WIDE, "mov \\m, %r10")				\
M(store8, 8, W, P_WIDE, "mov %rax, \\m")				\
M(store8_r10, 8, W, P_NONE, "mov %r10, \\m")				\
M(storei8, 8, W, P_WIDE, "movq $-5, \\m")				\
M(movsxd, 4, R, P_WIDE, "movslq \\m, %rax")				\
M(add8, 8, RW | LOCKS, P_WIDE, "add %rax, \\m")				\
M(sbb8, 8, RW | LOCKS, P_WIDE, "sbb %rax, \\m")				\
M(xchg8, 8, RW | LOCKS, P_WIDE, "xchg %rax, \\m")			\
M(cmpxchg8, 8, RW | LOCKS, P_WIDE, "cmpxchg %rbx, \\m")			\
M(cmpxchg16b, 16, RW | LOCKS | ALIGNED, P_ALL, "cmpxchg16b \\m")	\
M(bts8, 8, RW | LOCKS, P_WIDE, "btsq $60, \\m")				\
M(btr8_far, 8, RW | LOCKS | BITS, P_WIDE, "btr %rax, \\m")		\
M(cmp8, 8, R, P_WIDE, "cmpq $77, \\m")					\
M(cmov8, 8, R, P_WIDE, "cmovc \\m, %rax")				\
M(push_m, 8, R, P_NONE ",0x67,0x64,0x65", "push \\m")			\
M(movnti8, 8, W, P_SEGMENT ",0x67", "movnti %rax, \\m")			\
M(fxsave64, 512, W | ALIGNED, P_NONE, "fxsave64 \\m")				\
S(lods8, 8, R | SOURCE, P_STRING, "lodsq")				\
S(stos8, 8, W | DEST | NO_OVERRIDE, P_STRING, "stosq")			\
S(movs8_from, 8, R | SOURCE, P_STRING, "movsq")				\
S(movs8_to, 8, W | DEST | NO_OVERRIDE, P_NONE ",0xf3,0x67", "movsq")		\
S(scas8, 8, R | DEST | NO_OVERRIDE, P_STRING, "scasq")			\
S(push_r10, 8, W | STACK, P_STACK, "push %r10")				\
S(pop_r10, 8, R | STACK, P_STACK, "pop %r10")
#else
#define OPS_WIDTH(M, S)							\
S(push2_es, 2, W | STACK, P_NONE, "pushw %es")				\
S(pop4, 4, R | STACK, P_NONE, "popl %eax")
#endif

#define OPS(M, S) OPS_ALL(M, S) OPS_STACK(M, S) OPS_WIDTH(M, S)

#endif
