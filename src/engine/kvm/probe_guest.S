/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The probe's guest, at GUEST_BASE.  In each mode it runs the loop and reads
 * port 0x81 until that gives something else than 0; then it goes on to the
 * next mode.  The loop has an access to memory, as all code has.
 */
#include "engine/kvm/probe_guest.h"

#define AT(label) (label - kvm_probe_guest + GUEST_BASE)
#define SEL_DATA 0x08
#define SEL_CODE32 0x10
#define SEL_CODE64 0x18

.macro work
10: movl $PROBE_LOOPS, %ecx
11: addl $1, GUEST_DATA
    decl %ecx
    jnz 11b
    inb $PROBE_PORT, %al
    testb %al, %al
    jz 10b
.endm

    .section .rodata
    .balign 16
    .globl kvm_probe_guest, kvm_probe_guest_end
    .hidden kvm_probe_guest, kvm_probe_guest_end
kvm_probe_guest:
    .code16
    work
    lgdtl AT(gdtr)
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $SEL_CODE32, $AT(protected)

    .code32
protected:
    movw $SEL_DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    work
    movl $GUEST_PML4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orb $0x20, %al              /* PAE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx      /* EFER: LME */
    rdmsr
    orb $1, %ah
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax       /* PG */
    movl %eax, %cr0
    ljmpl $SEL_CODE64, $AT(long)

    .code64
long:
    work
12: hlt
    jmp 12b

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf93000000ffff
    .quad 0x00cf9b000000ffff
    .quad 0x00af9b000000ffff
gdtr:
    .word gdtr - gdt - 1
    .long AT(gdt)
kvm_probe_guest_end:
    .section .note.GNU-stack, "", @progbits
