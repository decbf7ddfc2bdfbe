/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt entry for all 256 vectors, and the door through which snippets
 * run: run_state() leaves by IRET with the registers of a struct state, and
 * comes back when trap_entry() finds an exception without a hook.
 */
#include "layout.h"

#define HAS_ERROR(v) ((v) == 8 || ((v) >= 10 && (v) <= 14) || (v) == 17 || \
		      (v) == 21)

	.text
	.globl	stubs
	.balign 16
stubs:
	.set	v, 0
	.rept	256
	.balign 16
	.if	!HAS_ERROR(v)
	push	$0
	.endif
#ifdef __x86_64__
	push	$v
#else
	pushl	$v
#endif
	jmp	trap_common
	.set	v, v + 1
	.endr

#ifdef __x86_64__
trap_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	cld
	mov	%rsp, %rdi
	mov	%rsp, %rbx
	and	$-16, %rsp
	call	trap_entry
	mov	%rbx, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

	.globl	run_state
run_state:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, run_sp
	mov	%rdi, %rax
	push	S_SS(%rax)
	push	S_SP(%rax)
	push	S_FLAGS(%rax)
	push	S_CS(%rax)
	push	S_IP(%rax)
	mov	S_DS(%rax), %ds
	mov	S_ES(%rax), %es
	mov	S_FS(%rax), %fs
	mov	S_GS(%rax), %gs
	mov	S_CX(%rax), %rcx
	mov	S_DX(%rax), %rdx
	mov	S_BX(%rax), %rbx
	mov	S_BP(%rax), %rbp
	mov	S_SI(%rax), %rsi
	mov	S_DI(%rax), %rdi
	mov	S_R8 + 0(%rax), %r8
	mov	S_R8 + 8(%rax), %r9
	mov	S_R8 + 16(%rax), %r10
	mov	S_R8 + 24(%rax), %r11
	mov	S_R8 + 32(%rax), %r12
	mov	S_R8 + 40(%rax), %r13
	mov	S_R8 + 48(%rax), %r14
	mov	S_R8 + 56(%rax), %r15
	mov	S_AX(%rax), %rax
	.globl	run_iret
run_iret:
	iretq

	.globl	run_return
run_return:
	mov	run_sp, %rsp
	mov	$SEL_KDATA, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	mov	%eax, %es
	push	$2
	popf
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
#else
trap_common:
	pusha
	push	%ds
	push	%es
	push	%fs
	push	%gs
	mov	$SEL_KDATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	cld
	/* A snippet's stack segment may have any B bit; its base must be 0. */
	xor	%ebx, %ebx
	mov	%ss, %ebx
	mov	%ebx, trap_ss
	cmp	%eax, %ebx
	je	2f
	lar	%ebx, %ecx
	test	$0x400000, %ecx
	jnz	1f
	movzwl	%sp, %esp
1:	mov	%eax, %ss
2:	mov	%esp, %esi
	push	%esp
	call	trap_entry
	mov	%ebx, %ss
	mov	%esi, %esp
	pop	%gs
	pop	%fs
	pop	%es
	pop	%ds
	popa
	add	$8, %esp
	iret

	.globl	run_state
run_state:
	mov	4(%esp), %eax
	push	%ebx
	push	%ebp
	push	%esi
	push	%edi
	mov	%esp, run_sp
	testl	$0x20000, S_FLAGS(%eax)
	jnz	1f
	testl	$3, S_CS(%eax)
	jnz	2f
	mov	S_SS(%eax), %ss
	mov	S_SP(%eax), %esp
	jmp	3f
1:	pushl	S_GS(%eax)	/* to virtual-8086 mode */
	pushl	S_FS(%eax)
	pushl	S_DS(%eax)
	pushl	S_ES(%eax)
2:	pushl	S_SS(%eax)	/* to an outer ring */
	pushl	S_SP(%eax)
3:	pushl	S_FLAGS(%eax)
	pushl	S_CS(%eax)
	pushl	S_IP(%eax)
	pushl	S_AX(%eax)
	pushl	S_CX(%eax)
	pushl	S_DX(%eax)
	pushl	S_BX(%eax)
	pushl	$0
	pushl	S_BP(%eax)
	pushl	S_SI(%eax)
	pushl	S_DI(%eax)
	testl	$0x20000, S_FLAGS(%eax)
	jnz	4f
	pushl	S_DS(%eax)
	mov	S_ES(%eax), %es
	mov	S_FS(%eax), %fs
	mov	S_GS(%eax), %gs
	pop	%ds
4:	popa
	.globl	run_iret
run_iret:
	iret

	.globl	run_return
run_return:
	mov	$SEL_KDATA, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	run_sp, %esp
	push	$2
	popf
	pop	%edi
	pop	%esi
	pop	%ebp
	pop	%ebx
	ret
#endif

	.bss
	.balign 8
	.globl	run_sp, trap_ss
run_sp:	.skip	8
trap_ss: .skip	8
	.section .note.GNU-stack, "", @progbits
