/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry from a Multiboot 1 loader (32-bit protected mode, no paging) and
 * from a start-up IPI.  Both end in C in the mode the guest is built for.
 */
#include "layout.h"

	.section .multiboot, "a"
	.balign 4
	.long 0x1badb002, 0x00000003, -(0x1badb002 + 0x00000003)

#ifdef __x86_64__
#define LONG_MODE(done)					\
	mov	%cr4, %eax;				\
	or	$0x20, %eax;		/* PAE */	\
	mov	%eax, %cr4;				\
	mov	$boot_pml4, %eax;			\
	mov	%eax, %cr3;				\
	mov	$0xc0000080, %ecx;			\
	rdmsr;						\
	or	$0x900, %eax;		/* LME, NXE */	\
	wrmsr;						\
	mov	%cr0, %eax;				\
	or	$0x80000000, %eax;			\
	mov	%eax, %cr0;				\
	ljmp	$SEL_KCODE, $done
#endif

	.text
	.code32
	.globl _start
_start:
	cli
	cld
	mov	$boot_stack + STACK_SIZE, %esp
	lgdt	gdt_pointer
	ljmp	$SEL_KCODE32, $1f
1:	mov	$SEL_KDATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	%eax, %ss
#ifdef __x86_64__
	/* identity map of the first 4 GiB: 2 MiB pages, everything allowed */
	movl	$boot_pdpt + 7, boot_pml4
	mov	$boot_pd + 7, %eax
	mov	$boot_pdpt, %edi
	mov	$4, %ecx
1:	mov	%eax, (%edi)
	add	$0x1000, %eax
	add	$8, %edi
	loop	1b
	mov	$0x87, %eax
	mov	$boot_pd, %edi
	mov	$2048, %ecx
1:	mov	%eax, (%edi)
	add	$0x200000, %eax
	add	$8, %edi
	loop	1b
	LONG_MODE(start_c)
	.code64
#else
	ljmp	$SEL_KCODE, $start_c
#endif
start_c:
	xor	%ebp, %ebp
	call	rt_main
	hlt

/*
 * Application processors: copied to TRAMPOLINE.  They find the CPU number
 * by a ticket, so that any number of them may start at once.
 */
	.code16
	.globl	trampoline, trampoline_end
trampoline:
	cli
	cld
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	TRAMPOLINE + (trampoline_gdtr - trampoline)
	mov	%cr0, %eax
	and	$0x1fffffff, %eax	/* caches on */
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$SEL_KCODE32, $ap_start32
	.balign 4
trampoline_gdtr:
	.word	GDT_ENTRIES * 8 - 1
	.long	gdt
trampoline_end:

	.code32
ap_start32:
	mov	$SEL_KDATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	mov	%eax, %ss
	mov	$1, %ebx
	lock xadd %ebx, ap_ticket
	mov	%ebx, %eax
	shl	$14, %eax			/* STACK_SIZE */
	lea	ap_stacks + STACK_SIZE(%eax), %esp
#ifdef __x86_64__
	LONG_MODE(ap_start_c)
	.code64
ap_start_c:
	mov	%ebx, %edi
#else
	push	%ebx
#endif
	call	ap_main
1:	hlt
	jmp	1b

	.data
	.balign 8
	.globl gdt_pointer
	.word	0
gdt_pointer:
	.word	GDT_ENTRIES * 8 - 1
	.long	gdt, 0

	.globl	gdt
	.balign 16
gdt:
	.quad	0
#ifdef __x86_64__
	.quad	0x00209b0000000000	/* SEL_KCODE */
#else
	.quad	0x00cf9b000000ffff
#endif
	.quad	0x00cf93000000ffff	/* SEL_KDATA */
	.quad	0x00cffb000000ffff	/* SEL_UCODE32 */
	.quad	0x00cff3000000ffff	/* SEL_UDATA */
#ifdef __x86_64__
	.quad	0x0020fb0000000000	/* SEL_UCODE64 */
#else
	.quad	0x00cffb000000ffff
#endif
	.quad	0x00cff3000000ffff	/* SEL_UDATA2 */
	.quad	0x00cf9b000000ffff	/* SEL_KCODE32 */
	.quad	0x00009b000000ffff	/* SEL_KCODE16 */
	.quad	0x000093000000ffff	/* SEL_KDATA16 */
	.fill	GDT_ENTRIES - 10, 8, 0

	.bss
	.balign 4096
#ifdef __x86_64__
	.globl	boot_pml4
boot_pml4:	.skip 4096
boot_pdpt:	.skip 4096
boot_pd:	.skip 4 * 4096
#endif
boot_stack:	.skip STACK_SIZE
ap_stacks:	.skip STACK_SIZE * CPUS_MAX
	.globl	ap_ticket
ap_ticket:	.skip 4
	.section .note.GNU-stack, "", @progbits
