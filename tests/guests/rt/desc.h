/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors: GDT, IDT, task state segment. */
#ifndef RT_DESC_H
#define RT_DESC_H

#include "cpu.h"

/* Access byte and flags of a descriptor, flags in bits 12..15. */
enum {
	SEG_A = 1, SEG_W = 2, SEG_R = 2, SEG_DOWN = 4, SEG_CONF = 4,
	SEG_CODE = 0x18, SEG_DATA = 0x10,
	SEG_TSS16 = 1, SEG_LDT = 2, SEG_TSS16_BUSY = 3, SEG_CALL16 = 4,
	SEG_TASK_GATE = 5, SEG_INT16 = 6, SEG_TRAP16 = 7, SEG_TSS = 9,
	SEG_TSS_BUSY = 11, SEG_CALL = 12, SEG_INT = 14, SEG_TRAP = 15,
	SEG_DPL3 = 0x60, SEG_P = 0x80,
	SEG_L = 0x2000, SEG_B = 0x4000, SEG_G = 0x8000,
};

extern u64 gdt[GDT_ENTRIES];

struct __attribute__((packed)) table_pointer { u16 limit; uptr base; };

/* A slot as a selector: TEST(0), TEST(1), ... (two slots each in 64 bit). */
#define TEST(n) (SEL_TEST + 8 * (n))

static inline u64 segment(u32 base, u32 limit, u32 type)
{
	return (u64)(limit & 0xffff) | (u64)(base & 0xffffff) << 16 |
	       (u64)(type & 0xff) << 40 | (u64)(limit >> 16 & 0xf) << 48 |
	       (u64)(type >> 12) << 52 | (u64)(base >> 24) << 56;
}

static inline u64 gate(u16 sel, u32 offset, u32 type, u32 count)
{
	return (u64)(offset & 0xffff) | (u64)sel << 16 | (u64)count << 32 |
	       (u64)type << 40 | (u64)(offset >> 16) << 48;
}

void gdt_set(unsigned sel, u64 desc);
/* System descriptors (TSS, LDT, call gates) have 16 bytes in long mode. */
void gdt_set_system(unsigned sel, uptr base, u32 limit, u32 type);
void gdt_set_call_gate(unsigned gate_sel, u16 sel, const void *target,
		       u32 type, u32 count);

void idt_init(void);
void idt_set(unsigned vec, const void *target, u16 sel, u32 type, u32 ist);
void idt_set_raw(unsigned vec, u64 desc);
/* Back to the runtime's own gate. */
void idt_reset(unsigned vec);
void idt_load(void);

struct __attribute__((packed)) tss32 {
	u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
	u32 eax, ecx, edx, ebx, esp, ebp, esi, edi;
	u32 es, cs, ss, ds, fs, gs, ldt;
	u16 trap, iomap;
};
_Static_assert(sizeof(struct tss32) == 104, "TSS32");

struct __attribute__((packed)) tss64 {
	u32 reserved0;
	u64 rsp[3];
	u64 reserved1;
	u64 ist[7];
	u64 reserved2;
	u16 reserved3, iomap;
};
_Static_assert(sizeof(struct tss64) == 104, "TSS64");

/* The boot processor's TSS, followed by an I/O permission bitmap. */
struct tss_area {
#ifdef __x86_64__
	struct tss64 t;
#else
	struct tss32 t;
#endif
	u8 io[8192 + 1];
};
extern struct tss_area tss;
void tss_load(u32 limit);
/* Stack for traps from outer rings. */
void tss_set_stack(uptr sp);

#endif
