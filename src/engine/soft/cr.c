/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control registers, XCR0, debug registers and TLB management (SDM 3A 2.5,
 * 2.6, 4.10.4; 3B 17.2; 2B MOV to and from control and debug registers).
 */
#include "engine/soft/soft.h"
#include "engine/soft/sysop.h"

#define CR0_KNOWN                                                                              \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
     CR0_PG)
#define CR3_NOFLUSH  BIT(63)
#define DR6_WRITABLE 0xe00fULL
#define DR6_FIXED    0xffff0ff0ULL
#define DR6_BD       BIT(13)
#define DR7_WRITABLE 0xffff23ffULL
#define DR7_FIXED    0x400ULL
#define DR7_GD       0x2000ULL

/* ---- writes of control registers ------------------------------------------ */

/* PAE paging outside long mode: the four PDPTEs are checked now (SDM 3A
 * 4.4.1, APM 3 MOV CRn); we read them again when we walk. */
static int check_pdptes(struct soft_cpu *c, uint64_t cr3)
{
    uint64_t reserved = 0x1e6 | ~(BIT(c->vm->model->phys_bits) - 1), e;

    for (unsigned n = 0; n < 4; n++) {
        if (soft_phys_read(c, (cr3 & 0xffffffe0) + n * 8, &e, 8))
            return soft_gp0(c);
        if ((e & PTE_P) && (e & reserved))
            return soft_gp0(c);
    }
    return 0;
}

static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

/* Entering and leaving long mode with CR0.PG (SDM 3A 9.8.5). */
static int write_cr0(struct soft_cpu *c, uint64_t v)
{
    uint64_t old = c->s.cr0, efer = c->s.efer, changed;
    int r = 0;

    if (v >> 32)
        return soft_gp0(c);
    v = (v & CR0_KNOWN) | CR0_ET;
    changed = old ^ v;
    if (((v & CR0_PG) && !(v & CR0_PE)) || ((v & CR0_NW) && !(v & CR0_CD)))
        return soft_gp0(c);
    if ((changed & v & CR0_PG) && (efer & EFER_LME)) {
        unsigned tss = c->s.seg[SEG_TR].attr & SEG_ATTR_TYPE;

        if (!(c->s.cr4 & CR4_PAE) || (c->s.seg[SEG_CS].attr & SEG_ATTR_L) || tss == 1 || tss == 3)
            return soft_gp0(c);
        efer |= EFER_LMA;
    }
    if (changed & old & CR0_PG) {
        if (c->code64 || (c->s.cr4 & CR4_PCIDE))
            return soft_gp0(c);
        efer &= ~EFER_LMA;
    }
    if (pae_paging(v, c->s.cr4, efer) && (changed & (CR0_PG | CR0_CD | CR0_NW)))
        r = check_pdptes(c, c->s.cr3);
    if (r)
        return r;
    c->s.cr0 = v;
    c->s.efer = efer;
    if (changed & (CR0_PG | CR0_PE | CR0_WP))
        soft_flush_all(c);
    soft_mode_changed(c);
    return 0;
}

static int write_cr3(struct soft_cpu *c, uint64_t v)
{
    bool keep = (c->s.cr4 & CR4_PCIDE) && (v & CR3_NOFLUSH);
    int r = 0;

    if (keep)
        v &= ~CR3_NOFLUSH;
    if (soft_lma(c) && v >> c->vm->model->phys_bits)
        return soft_gp0(c);
    if (pae_paging(c->s.cr0, c->s.cr4, c->s.efer))
        r = check_pdptes(c, v);
    if (r)
        return r;
    c->s.cr3 = v;
    soft_switch_space(c, keep);
    return 0;
}

static uint64_t cr4_known(const struct soft_cpu *c)
{
    static const struct {
        uint64_t bit;
        enum cpu_feature f;
    } bits[] = {
        { CR4_VME | CR4_PVI, F_VME }, { CR4_TSD, F_TSC },           { CR4_DE, F_DE },
        { CR4_PSE, F_PSE },           { CR4_PAE, F_PAE },           { CR4_MCE, F_MCE },
        { CR4_PGE, F_PGE },           { CR4_OSFXSR, F_FXSR },       { CR4_OSXMMEXCPT, F_SSE },
        { CR4_UMIP, F_UMIP },         { CR4_FSGSBASE, F_FSGSBASE }, { CR4_PCIDE, F_PCID },
        { CR4_OSXSAVE, F_XSAVE },     { CR4_SMEP, F_SMEP },         { CR4_SMAP, F_SMAP },
    };
    uint64_t known = CR4_PCE;

    for (unsigned n = 0; n < ARRAY_SIZE(bits); n++)
        if (soft_has(c, bits[n].f))
            known |= bits[n].bit;
    return known;
}

static int write_cr4(struct soft_cpu *c, uint64_t v)
{
    const uint64_t paging = CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP;
    uint64_t changed = c->s.cr4 ^ v;
    int r = 0;

    if ((v & ~cr4_known(c)) || (soft_lma(c) && !(v & CR4_PAE)))
        return soft_gp0(c);
    if ((changed & v & CR4_PCIDE) && (!soft_lma(c) || (c->s.cr3 & 0xfff)))
        return soft_gp0(c);
    if (pae_paging(c->s.cr0, v, c->s.efer) && (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)))
        r = check_pdptes(c, c->s.cr3);
    if (r)
        return r;
    c->s.cr4 = v;
    if (changed & paging)
        soft_flush_all(c);
    soft_mode_changed(c);
    return 0;
}

int soft_write_cr(struct soft_cpu *c, unsigned n, uint64_t v)
{
    switch (n) {
    case 0: return write_cr0(c, v);
    case 2: c->s.cr2 = v; return 0;
    case 3: return write_cr3(c, v);
    case 4: return write_cr4(c, v);
    case 8:
        if (v > 15)
            return soft_gp0(c);
        lapic_set_cr8(c, v);
        soft_recheck_events(c);
        return 0;
    default: return soft_ud(c);
    }
}

/* ---- instructions ------------------------------------------------------------ */

int op_mov_from_cr(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;

    if (c->cpl)
        return soft_gp0(c);
    switch (i->reg) {
    case 0: v = c->s.cr0; break;
    case 2: v = c->s.cr2; break;
    case 3: v = c->s.cr3; break;
    case 4: v = c->s.cr4; break;
    case 8: v = lapic_get_cr8(c); break;
    default: return soft_ud(c);
    }
    gpr_set(c, i->rm, c->code64 ? 8 : 4, v);
    return SOFT_NEXT;
}

int op_mov_to_cr(struct soft_cpu *c, const struct insn *i)
{
    int r;

    if (c->cpl)
        return soft_gp0(c);
    r = soft_write_cr(c, i->reg, gpr_get(c, i->rm, c->code64 ? 8 : 4));
    return r ? r : SOFT_STOP;
}

int op_clts(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    if (c->cpl)
        return soft_gp0(c);
    c->s.cr0 &= ~CR0_TS;
    soft_mode_changed(c);
    return SOFT_STOP;
}

/* PE, MP, EM, TS; PE cannot be cleared. */
int op_lmsw(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    int r = 0;

    if (c->cpl)
        return soft_gp0(c);
    if (i->flags & INSN_MEM)
        r = insn_load(c, i, 2, &v);
    else
        v = *gpr16(c, i->rm);
    if (!r)
        r = soft_write_cr(c, 0, (c->s.cr0 & ~0xeULL) | (v & 0xf));
    return r ? r : SOFT_STOP;
}

int op_smsw(struct soft_cpu *c, const struct insn *i)
{
    if ((c->s.cr4 & CR4_UMIP) && c->cpl)
        return soft_gp0(c);
    if (i->flags & INSN_MEM)
        return insn_store(c, i, 2, c->s.cr0);
    gpr_set(c, i->rm, i->osize, c->s.cr0);
    return SOFT_NEXT;
}

/* A non-canonical address is a NOP (SDM 2A INVLPG). */
int op_invlpg(struct soft_cpu *c, const struct insn *i)
{
    uint64_t la = insn_offset(c, i);

    if (c->cpl)
        return soft_gp0(c);
    if (!c->code64)
        la = (uint32_t)(la + c->s.seg[i->seg].base);
    else if (i->seg == SEG_FS || i->seg == SEG_GS)
        la += c->s.seg[i->seg].base;
    if (x86_canonical(la))
        soft_flush_page(c, la);
    return SOFT_STOP;
}

int op_invpcid(struct soft_cpu *c, const struct insn *i)
{
    uint64_t type = gpr_get(c, i->reg, c->code64 ? 8 : 4), desc[2], la;
    int r;

    if (c->cpl)
        return soft_gp0(c);
    if ((r = insn_linear(c, i, 16, false, &la)) || (r = soft_read_bytes(c, la, desc, 16)))
        return r;
    if (type > 3 || desc[0] >> 12)
        return soft_gp0(c);
    if (type < 2 && desc[0] && !(c->s.cr4 & CR4_PCIDE))
        return soft_gp0(c);
    if (type == 0 && !x86_canonical(desc[1]))
        return soft_gp0(c);
    switch (type) {
    case 0: soft_flush_pcid_page(c, (unsigned)desc[0], desc[1]); break;
    case 1: soft_flush_pcid(c, (unsigned)desc[0]); break;
    case 2: soft_flush_all(c); break;
    default: soft_flush_spaces(c); break;
    }
    return SOFT_STOP;
}

/* ---- XCR0 ----------------------------------------------------------------------- */

/* XCR 1 is XINUSE and XCR0; we count all components as in use (SDM 1 13.6). */
int op_xgetbv(struct soft_cpu *c, const struct insn *i)
{
    uint32_t n = (uint32_t)c->gpr[CPU_RCX];

    (void)i;
    if (!(c->s.cr4 & CR4_OSXSAVE))
        return soft_ud(c);
    if (n > 1 || (n == 1 && !soft_has(c, F_XGETBV1)))
        return soft_gp0(c);
    c->gpr[CPU_RAX] = (uint32_t)c->s.xcr0;
    c->gpr[CPU_RDX] = c->s.xcr0 >> 32;
    return SOFT_NEXT;
}

int op_xsetbv(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v = (uint32_t)c->gpr[CPU_RAX] | c->gpr[CPU_RDX] << 32;

    (void)i;
    if (!(c->s.cr4 & CR4_OSXSAVE))
        return soft_ud(c);
    if (c->cpl || (uint32_t)c->gpr[CPU_RCX] || (v & ~c->vm->model->xcr0_mask) || !(v & XCR0_X87))
        return soft_gp0(c);
    if ((v & XCR0_AVX) && !(v & XCR0_SSE))
        return soft_gp0(c);
    if ((v & XCR0_AVX512) && ((v & XCR0_AVX512) != XCR0_AVX512 || !(v & XCR0_AVX)))
        return soft_gp0(c);
    c->s.xcr0 = v;
    soft_mode_changed(c);
    return SOFT_STOP;
}

/* ---- debug registers (SDM 3B 17.2) ------------------------------------------------- */

/* Privilege, DR4 and DR5, general detect.  The number with its alias
 * resolved, or SOFT_FAULT in *r. */
static unsigned debug_register(struct soft_cpu *c, unsigned n, int *r)
{
    *r = 0;
    if (c->cpl) {
        *r = soft_gp0(c);
    } else if (n > 7 || ((n == 4 || n == 5) && (c->s.cr4 & CR4_DE))) {
        *r = soft_ud(c);
    } else if (c->s.dr7 & DR7_GD) {
        *r = soft_raise(c, VEC_DB);
        c->exc.payload = DR6_BD;
    }
    return n == 4 || n == 5 ? n + 2 : n;
}

int op_mov_from_dr(struct soft_cpu *c, const struct insn *i)
{
    int r;
    unsigned n = debug_register(c, i->reg, &r);
    uint64_t v;

    if (r)
        return r;
    v = n == 6   ? (c->s.dr6 & DR6_WRITABLE) | DR6_FIXED
        : n == 7 ? (c->s.dr7 & DR7_WRITABLE) | DR7_FIXED
                 : c->s.dr[n & 3];
    gpr_set(c, i->rm, c->code64 ? 8 : 4, v);
    return SOFT_NEXT;
}

int op_mov_to_dr(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v = gpr_get(c, i->rm, c->code64 ? 8 : 4);
    int r;
    unsigned n = debug_register(c, i->reg, &r);

    if (r)
        return r;
    if (n >= 6 && v >> 32)
        return soft_gp0(c);
    if (n == 6)
        c->s.dr6 = (v & DR6_WRITABLE) | DR6_FIXED;
    else if (n == 7)
        c->s.dr7 = (v & DR7_WRITABLE) | DR7_FIXED;
    else
        c->s.dr[n & 3] = v;
    soft_mode_changed(c);
    return SOFT_STOP;
}

enum { BP_EXECUTE, BP_WRITE, BP_IO, BP_ACCESS };

static bool bp_enabled(const struct soft_cpu *c, unsigned n)
{
    return c->s.dr7 >> (2 * n) & 3;
}

static unsigned bp_kind(const struct soft_cpu *c, unsigned n)
{
    return (unsigned)(c->s.dr7 >> (16 + 4 * n)) & 3;
}

/* Breakpoints cover an aligned 1, 2, 4 or 8 bytes (17.2.5). */
static bool bp_overlaps(const struct soft_cpu *c, unsigned n, uint64_t at, uint64_t len)
{
    static const uint8_t sizes[4] = { 1, 2, 8, 4 };
    uint64_t size = sizes[c->s.dr7 >> (18 + 4 * n) & 3], first = c->s.dr[n] & ~(size - 1);

    return at < first + size && first < at + len;
}

uint64_t soft_code_breakpoint(const struct soft_cpu *c, uint64_t la)
{
    uint64_t bits = 0;

    if (likely(!(c->s.dr7 & 0xff)) || (c->rflags & X86_RF))
        return 0;
    for (unsigned n = 0; n < 4; n++)
        if (bp_enabled(c, n) && bp_kind(c, n) == BP_EXECUTE && c->s.dr[n] == la)
            bits |= BIT(n);
    return bits;
}

void soft_data_breakpoints(struct soft_cpu *c, uint64_t la, unsigned len, bool write)
{
    for (unsigned n = 0; n < 4; n++) {
        unsigned kind = bp_kind(c, n);

        if (bp_enabled(c, n) && (kind == BP_ACCESS || (write && kind == BP_WRITE)) &&
            bp_overlaps(c, n, la, len))
            c->db_pending |= BIT(n);
    }
}

void soft_io_breakpoints(struct soft_cpu *c, uint16_t port, unsigned size)
{
    if (!(c->s.cr4 & CR4_DE))
        return;
    for (unsigned n = 0; n < 4; n++)
        if (bp_enabled(c, n) && bp_kind(c, n) == BP_IO && bp_overlaps(c, n, port, size))
            c->db_pending |= BIT(n);
}
