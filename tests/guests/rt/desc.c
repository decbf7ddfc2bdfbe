/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "desc.h"

extern const char stubs[256][16];

struct tss_area tss __attribute__((aligned(128)));
static u64 idt[256 * (WORD / 4)] __attribute__((aligned(16)));
static u8 trap_stack[STACK_SIZE] __attribute__((aligned(16)));

void gdt_set(unsigned sel, u64 desc)
{
	((volatile u64 *)gdt)[sel >> 3] = desc;
}

void gdt_set_system(unsigned sel, uptr base, u32 limit, u32 type)
{
	gdt_set(sel, segment(base, limit, type));
#ifdef __x86_64__
	gdt_set(sel + 8, base >> 32);
#endif
}

void gdt_set_call_gate(unsigned gate_sel, u16 sel, const void *target,
		       u32 type, u32 count)
{
	gdt_set(gate_sel, gate(sel, (uptr)target, type, count));
#ifdef __x86_64__
	gdt_set(gate_sel + 8, (uptr)target >> 32);
#endif
}

void idt_set_raw(unsigned vec, u64 desc)
{
	((volatile u64 *)idt)[vec * (WORD / 4)] = desc;
}

void idt_set(unsigned vec, const void *target, u16 sel, u32 type, u32 ist)
{
	idt_set_raw(vec, gate(sel, (uptr)target, type, ist));
#ifdef __x86_64__
	((volatile u64 *)idt)[vec * 2 + 1] = (uptr)target >> 32;
#endif
}

void idt_reset(unsigned vec)
{
	bool user = vec == VEC_BP || vec == VEC_OF || vec == VEC_DONE;

	idt_set(vec, stubs[vec], SEL_KCODE,
		SEG_P | SEG_INT | (user ? SEG_DPL3 : 0), 0);
}

void idt_load(void)
{
	struct table_pointer p = { sizeof(idt) - 1, (uptr)idt };

	asm volatile("lidt %0" : : "m"(p));
}

void idt_init(void)
{
	for (unsigned i = 0; i < 256; i++)
		idt_reset(i);
	idt_load();
}

void tss_set_stack(uptr sp)
{
#ifdef __x86_64__
	tss.t.rsp[0] = sp;
#else
	tss.t.esp0 = sp;
	tss.t.ss0 = SEL_KDATA;
#endif
}

void tss_load(u32 limit)
{
	gdt_set_system(SEL_TSS, (uptr)&tss, limit, SEG_P | SEG_TSS);
	asm volatile("ltr %w0" : : "r"(SEL_TSS));
	asm volatile("lldt %w0" : : "r"(0));
	for (unsigned i = 0; i < sizeof(tss.io); i++)
		tss.io[i] = 0xff;	/* no port for outer rings */
	tss.t.iomap = sizeof(tss.t);
	tss_set_stack((uptr)trap_stack + sizeof(trap_stack));
}
