/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "board/entry.h"

#include <string.h>

#include "base/util.h"
#include "x86/x86.h"

/* Descriptors as the segment states below have them (SDM 3A 3.4.5). */
static const uint64_t entry_gdt[] = {
    0, 0,
    0x00cf9b000000ffffULL, /* 0x10: code, 32-bit */
    0x00cf93000000ffffULL, /* 0x18: data */
    0x00008b0000000067ULL, /* 0x20: TSS at 0, never used */
};
#define GDT_CODE_LONG 0x00af9b000000ffffULL

#define FLAT(sel, a) { .selector = (sel), .limit = 0xffffffffu, .attr = (a) }
#define CODE32 FLAT(0x10, 0xc09bu)
#define CODE64 FLAT(0x10, 0xa09bu)
#define DATA FLAT(0x18, 0xc093u)
#define SEGMENTS(code)                                                                             \
    {                                                                                              \
        [SEG_CS] = code, [SEG_DS] = DATA, [SEG_ES] = DATA, [SEG_SS] = DATA, [SEG_FS] = DATA,       \
        [SEG_GS] = DATA, [SEG_TR] = { .selector = 0x20, .limit = 0x67, .attr = 0x8bu },            \
        [SEG_LDTR] = { .attr = SEG_ATTR_UNUSABLE },                                                \
    }

static const struct seg_state protected_segments[SEG_COUNT] = SEGMENTS(CODE32);
static const struct seg_state long_segments[SEG_COUNT] = SEGMENTS(CODE64);

static int put_gdt(struct vcpu_state *s, struct mem *mem, uint64_t code)
{
    uint64_t gdt[ARRAY_SIZE(entry_gdt)];

    memcpy(gdt, entry_gdt, sizeof(gdt));
    gdt[2] = code;
    s->gdtr = (struct table_state){ .base = ENTRY_GDT, .limit = sizeof(gdt) - 1 };
    s->idtr = (struct table_state){ .base = 0, .limit = 0 };
    return mem_write(mem, ENTRY_GDT, gdt, sizeof(gdt));
}

/* PML4, PDPT and four directories of 2 MiB pages: the first 4 GiB. */
static int put_page_tables(struct mem *mem)
{
    uint64_t table[512] = { ENTRY_PAGE_TABLES + 0x1000 + (PTE_P | PTE_W) };
    int rc = mem_write(mem, ENTRY_PAGE_TABLES, table, sizeof(table));

    memset(table, 0, sizeof(table));
    for (unsigned i = 0; i < 4; i++)
        table[i] = (ENTRY_PAGE_TABLES + (2 + i) * 0x1000) | PTE_P | PTE_W;
    if (rc == 0)
        rc = mem_write(mem, ENTRY_PAGE_TABLES + 0x1000, table, sizeof(table));
    for (unsigned i = 0; i < 4 && rc == 0; i++) {
        for (unsigned j = 0; j < 512; j++)
            table[j] = (i * GiB + j * 2 * MiB) | PTE_P | PTE_W | PTE_PS;
        rc = mem_write(mem, ENTRY_PAGE_TABLES + (2 + i) * 0x1000, table, sizeof(table));
    }
    return rc;
}

int entry_long(struct vcpu_state *s, struct mem *mem, uint64_t rip)
{
    int rc = put_gdt(s, mem, GDT_CODE_LONG);

    if (rc == 0)
        rc = put_page_tables(mem);
    memcpy(s->seg, long_segments, sizeof(s->seg));
    s->cr0 = CR0_PE | CR0_ET | CR0_PG;
    s->cr3 = ENTRY_PAGE_TABLES;
    s->cr4 = CR4_PAE;
    s->efer = EFER_LME | EFER_LMA;
    s->rip = rip;
    s->rflags = X86_FLAGS_FIXED;
    s->gpr[CPU_RSP] = ENTRY_STACK;
    return rc;
}

int entry_protected(struct vcpu_state *s, struct mem *mem, uint32_t eip)
{
    memcpy(s->seg, protected_segments, sizeof(s->seg));
    s->cr0 = CR0_PE | CR0_ET;
    s->cr4 = 0;
    s->efer = 0;
    s->rip = eip;
    s->rflags = X86_FLAGS_FIXED;
    s->gpr[CPU_RSP] = ENTRY_STACK;
    return put_gdt(s, mem, entry_gdt[2]);
}

#define MTRR_DEF_E (1u << 11)
#define MTRR_DEF_FE (1u << 10)
#define MTRR_WB 6u
#define MTRR_VALID (1u << 11)

/* All write-back but the VGA window and the space from the end of low RAM's
 * limit to 4 GiB (SDM 3A 11.11.2). */
static void set_mtrrs(struct vcpu_state *s)
{
    const uint64_t wb8 = 0x0606060606060606ULL;
    const uint64_t hole_mask = 0xffffffffffULL & ~(GiB - 1);

    s->mtrr_def_type = MTRR_DEF_E | MTRR_DEF_FE | MTRR_WB;
    for (unsigned i = 0; i < ARRAY_SIZE(s->mtrr_fix); i++)
        s->mtrr_fix[i] = wb8;
    s->mtrr_fix[2] = 0; /* 0xa0000 to 0xbffff: uncacheable */
    s->mtrr_base[0] = 0xc0000000ULL;
    s->mtrr_mask[0] = hole_mask | MTRR_VALID;
}

void entry_firmware(struct vcpu_state *s, bool bsp)
{
    set_mtrrs(s);
    if (!bsp)
        return;
    s->lapic.svr = 0x1ff;          /* enabled, spurious vector 0xff */
    s->lapic.lvt_lint0 = 0x8700;   /* ExtINT, as SeaBIOS leaves it */
    s->lapic.lvt_lint1 = 0x8400;   /* NMI */
}
