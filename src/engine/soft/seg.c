/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segments: descriptors, checks, the hidden parts, limit checks, and what is
 * derived from mode and segments (SDM 3A 3.4, 5).
 */
#include "engine/soft/seg.h"
#include "engine/soft/decode.h"

/* ---- descriptors --------------------------------------------------------- */

void desc_to_seg(uint64_t raw, uint16_t selector, struct seg_state *s)
{
    s->base = desc_base(raw);
    s->limit = desc_limit(raw);
    s->attr = desc_attr(raw);
    s->selector = selector;
}

/* The base is cleared, as Intel does and AMD since Zen 2 ("null selector
 * clears base"): guests probe for it and work around the other behaviour. */
void seg_set_null(struct seg_state *s, uint16_t selector, unsigned dpl)
{
    *s = (struct seg_state){ .attr = SEG_ATTR_UNUSABLE | dpl << SEG_ATTR_DPL_SHIFT,
                             .selector = selector };
}

/* Linear addresses have 32 bits outside long mode. */
static uint64_t table_la(const struct soft_cpu *c, uint64_t base, unsigned off)
{
    return soft_lma(c) ? base + off : (uint32_t)(base + off);
}

int desc_read(struct soft_cpu *c, uint16_t selector, unsigned vector, struct desc *d)
{
    const struct seg_state *ldt = &c->s.seg[SEG_LDTR];
    uint64_t base = c->s.gdtr.base;
    uint32_t limit = c->s.gdtr.limit, off = selector & 0xfff8u;

    if (selector & 4) {
        base = ldt->base;
        limit = ldt->limit;
        if (ldt->attr & SEG_ATTR_UNUSABLE)
            return soft_raise_err(c, vector, selector & 0xfffc);
    }
    if (unlikely(off + 7 > limit))
        return soft_raise_err(c, vector, selector & 0xfffc);
    d->selector = selector;
    d->la = table_la(c, base, off);
    return soft_sys_read(c, d->la, 8, &d->raw);
}

int desc_read_upper(struct soft_cpu *c, const struct desc *d, unsigned vector, uint32_t *upper)
{
    uint32_t limit = d->selector & 4 ? c->s.seg[SEG_LDTR].limit : c->s.gdtr.limit;
    uint64_t v;
    int r;

    if ((d->selector & 0xfff8u) + 15 > limit)
        return soft_raise_err(c, vector, d->selector & 0xfffc);
    r = soft_sys_read(c, d->la + 8, 8, &v);
    if (r)
        return r;
    if (v >> 40 & 0x1f)
        return soft_raise_err(c, vector, d->selector & 0xfffc);
    *upper = (uint32_t)v;
    return 0;
}

/* Change the type byte.  The TLB gives a pointer in nearly all cases; where
 * it does not (code on the page, MMIO), the other vCPUs stand still. */
static int type_update(struct soft_cpu *c, uint64_t la, uint8_t set, uint8_t clear)
{
    const struct tlb_entry *e = &c->tlbs[VIEW_KERNEL][(la >> MEM_PAGE_SHIFT) & (TLB_SIZE - 1)];
    uint64_t v;
    int r;

    if (likely((la & MEM_PAGE_MASK) == e->write)) {
        if (set)
            __atomic_fetch_or((uint8_t *)(la + e->addend), set, __ATOMIC_SEQ_CST);
        else
            __atomic_fetch_and((uint8_t *)(la + e->addend), (uint8_t)~clear, __ATOMIC_SEQ_CST);
        return 0;
    }
    if (c->vm->ncpus > 1)
        soft_exclusive_begin(c);
    r = soft_sys_read(c, la, 1, &v);
    if (!r)
        r = soft_sys_write(c, la, 1, (v | set) & (uint8_t)~clear);
    if (c->vm->ncpus > 1)
        soft_exclusive_end(c);
    return r;
}

int desc_set_type(struct soft_cpu *c, struct desc *d, unsigned bits)
{
    int r = type_update(c, d->la + 5, (uint8_t)bits, 0);

    if (!r)
        d->raw |= (uint64_t)bits << 40;
    return r;
}

int desc_clear_busy(struct soft_cpu *c, uint16_t selector)
{
    return type_update(c, table_la(c, c->s.gdtr.base, (selector & 0xfff8u) + 5), 0, TSS_BUSY);
}

/* ---- what is derived ------------------------------------------------------- */

bool seg_is_unlimited(const struct seg_state *s)
{
    const uint32_t want = SEG_ATTR_P | SEG_ATTR_S | TYPE_RW;

    return s->limit == 0xffffffff &&
           (s->attr & (want | TYPE_CODE | TYPE_DOWN_CONF | SEG_ATTR_UNUSABLE)) == want;
}

static bool seg_is_flat(const struct seg_state *s, bool real)
{
    return !s->base && (real ? s->limit == 0xffffffff : seg_is_unlimited(s));
}

static void derive_segs(struct soft_cpu *c)
{
    c->flat_segs = 0;
    if (c->code64) {
        c->flat_segs = BIT(SEG_ES) | BIT(SEG_CS) | BIT(SEG_SS) | BIT(SEG_DS);
        c->ss_mask = ~0ULL;
        return;
    }
    for (unsigned seg = SEG_ES; seg <= SEG_GS; seg++)
        if (seg_is_flat(&c->s.seg[seg], !soft_pe(c)))
            c->flat_segs |= (uint8_t)BIT(seg);
    c->ss_mask = stack_mask(&c->s.seg[SEG_SS]);
}

void seg_changed(struct soft_cpu *c, unsigned seg)
{
    if (c->code64)
        return;
    c->flat_segs &= (uint8_t)~BIT(seg);
    if (seg_is_flat(&c->s.seg[seg], !soft_pe(c)))
        c->flat_segs |= (uint8_t)BIT(seg);
    if (seg == SEG_SS)
        c->ss_mask = stack_mask(&c->s.seg[SEG_SS]);
}

/* Is a breakpoint of any kind enabled? */
static bool breakpoints(const struct soft_cpu *c)
{
    return c->s.dr7 & 0xff;
}

static struct tlb_entry *derive_view(const struct soft_cpu *c)
{
    struct soft_cpu *m = (struct soft_cpu *)(uintptr_t)c;
    bool ac = c->rflags & X86_AC;

    if (unlikely(breakpoints(c)) || unlikely(ac && c->cpl == 3 && (c->s.cr0 & CR0_AM)))
        return m->tlbs[VIEW_SLOW];
    if (c->cpl == 3)
        return m->tlbs[VIEW_USER + c->asid_slot];
    return m->tlbs[ac || !(c->s.cr4 & CR4_SMAP) ? VIEW_KERNEL_AC : VIEW_KERNEL];
}

void soft_mode_changed(struct soft_cpu *c)
{
    uint32_t cs = c->s.seg[SEG_CS].attr;
    bool was64 = c->code64;

    c->code64 = soft_lma(c) && (cs & SEG_ATTR_L);
    c->rip_mask = c->code64 ? ~0ULL : 0xffffffffu;
    c->mode_key = (uint8_t)((c->code64          ? 2
                             : cs & SEG_ATTR_DB ? 1
                                                : 0) |
                            (soft_prot(c) ? MODE_PROT : 0));
    if (!(was64 && c->code64))
        derive_segs(c);
    c->tlb = derive_view(c);
    soft_pick_fetch_gen(c);
    c->single = (c->rflags & X86_TF) || breakpoints(c);
}

uint64_t soft_get_rflags(const struct soft_cpu *c)
{
    return c->rflags | soft_arith_flags(c) | X86_FLAGS_FIXED;
}

/* RF matters only while a breakpoint is enabled (c->single is set
 * then, and the engine clears RF behind the next instruction); else it is
 * dropped here, as if the next instruction had cleared it already. */
void soft_set_rflags(struct soft_cpu *c, uint64_t v)
{
    const uint32_t valid = X86_TF | X86_IF | X86_DF | X86_IOPL | X86_NT | X86_RF | X86_VM | X86_AC |
                           X86_VIF | X86_VIP | X86_ID;
    uint32_t old = c->rflags, now = ((uint32_t)v & valid) | X86_FLAGS_FIXED;

    if ((now & X86_RF) && !breakpoints(c))
        now &= ~(uint32_t)X86_RF;
    soft_set_arith_flags(c, (unsigned)v & X86_FLAGS_ARITH);
    c->rflags = now;
    if ((old ^ now) & (X86_TF | X86_AC | X86_VM))
        soft_mode_changed(c);
    if (now & ~old & X86_IF)
        soft_recheck_events(c);
}

/* ---- linear addresses --------------------------------------------------------- */

static int limit_fault(struct soft_cpu *c, unsigned seg, uint32_t error)
{
    return soft_raise_err(c, seg == SEG_SS ? VEC_SS : VEC_GP, error);
}

/* SDM 3A 5.3 (limits), 5.5 (types). */
int seg_linear(struct soft_cpu *c, const struct seg_state *s, unsigned seg, uint32_t error,
               uint64_t off, unsigned size, bool write, uint64_t *la)
{
    uint64_t first = (uint32_t)off, last = first + size - 1;
    unsigned type = s->attr & SEG_ATTR_TYPE;
    bool down = (type & (TYPE_CODE | TYPE_DOWN_CONF)) == TYPE_DOWN_CONF;

    if (soft_pe(c)) {
        if (s->attr & SEG_ATTR_UNUSABLE)
            return limit_fault(c, seg, error);
        if (write ? (type & (TYPE_CODE | TYPE_RW)) != TYPE_RW
                  : (type & (TYPE_CODE | TYPE_RW)) == TYPE_CODE)
            return limit_fault(c, seg, error);
    }
    if (likely(!down)) {
        if (last > s->limit)
            return limit_fault(c, seg, error);
    } else if (first <= s->limit || last > (s->attr & SEG_ATTR_DB ? 0xffffffffu : 0xffffu)) {
        return limit_fault(c, seg, error);
    }
    *la = (uint32_t)(s->base + first);
    return 0;
}

int soft_linear(struct soft_cpu *c, unsigned seg, uint64_t off, unsigned size, bool write,
                uint64_t *la)
{
    uint64_t at = off;

    if (!c->code64)
        return seg_linear(c, &c->s.seg[seg], seg, 0, off, size, write, la);
    if (seg == SEG_FS || seg == SEG_GS)
        at += c->s.seg[seg].base;
    if (unlikely(!x86_canonical(at) || !x86_canonical(at + size - 1)))
        return limit_fault(c, seg, 0);
    *la = at;
    return 0;
}

int insn_linear_slow(struct soft_cpu *c, const struct insn *i, unsigned size, bool write,
                     uint64_t *la)
{
    return soft_linear(c, i->seg, insn_offset(c, i), size, write, la);
}

int soft_branch_slow(struct soft_cpu *c, uint64_t target)
{
    if (c->code64 ? !x86_canonical(target) : target > c->s.seg[SEG_CS].limit)
        return soft_gp0(c);
    soft_rip(c) = target;
    return SOFT_JUMP;
}

/* ---- checks ---------------------------------------------------------------------- */

int seg_check_stack(struct soft_cpu *c, uint16_t selector, unsigned cpl, unsigned vector,
                    struct seg_state *s)
{
    uint32_t error = selector & 0xfffc;
    struct desc d;
    int r;

    if (selector_null(selector))
        return soft_raise_err(c, vector, 0);
    r = desc_read(c, selector, vector, &d);
    if (r)
        return r;
    if ((selector & 3) != cpl || !desc_writable(d.raw) || desc_dpl(d.raw) != cpl)
        return soft_raise_err(c, vector, error);
    if (!desc_present(d.raw))
        return soft_raise_err(c, VEC_SS, error);
    r = desc_set_accessed(c, &d);
    if (!r)
        desc_to_seg(d.raw, selector, s);
    return r;
}

int seg_check_return(struct soft_cpu *c, uint16_t selector, struct desc *d)
{
    unsigned rpl = selector & 3;
    uint32_t error = selector & 0xfffc;
    int r;

    if (selector_null(selector))
        return soft_gp0(c);
    r = desc_read(c, selector, VEC_GP, d);
    if (r)
        return r;
    if (!desc_is_code(d->raw) || rpl < c->cpl ||
        (desc_conforming(d->raw) ? desc_dpl(d->raw) > rpl : desc_dpl(d->raw) != rpl))
        return soft_raise_err(c, VEC_GP, error);
    if (!desc_present(d->raw))
        return soft_raise_err(c, VEC_NP, error);
    if (soft_lma(c) && desc_long(d->raw) && desc_big(d->raw))
        return soft_raise_err(c, VEC_GP, error);
    return 0;
}

void seg_drop_privileged(struct soft_cpu *c)
{
    static const uint8_t segs[] = { SEG_ES, SEG_FS, SEG_GS, SEG_DS };

    for (unsigned n = 0; n < ARRAY_SIZE(segs); n++) {
        struct seg_state *s = &c->s.seg[segs[n]];
        unsigned type = s->attr & SEG_ATTR_TYPE;

        /* Null selectors 1 to 3 become 0 (SDM 2A IRET, RET). */
        if (s->attr & SEG_ATTR_UNUSABLE) {
            s->selector = 0;
            continue;
        }
        if ((type & (TYPE_CODE | TYPE_DOWN_CONF)) == (TYPE_CODE | TYPE_DOWN_CONF))
            continue;
        if ((s->attr >> SEG_ATTR_DPL_SHIFT & 3) < c->cpl) {
            seg_set_null(s, 0, 0);
            seg_changed(c, segs[n]);
        }
    }
}

int code_check_target(struct soft_cpu *c, uint64_t raw, uint64_t offset)
{
    if (soft_lma(c) && desc_long(raw) ? !x86_canonical(offset) : offset > desc_limit(raw))
        return soft_gp0(c);
    return 0;
}

void code_set(struct soft_cpu *c, uint64_t raw, uint16_t selector, unsigned cpl)
{
    desc_to_seg(raw, (uint16_t)((selector & 0xfffc) | cpl), &c->s.seg[SEG_CS]);
    c->cpl = (uint8_t)cpl;
}

/* ---- loads ------------------------------------------------------------------------ */

/* Limit and attributes stay: that is what makes big real mode.  What a null
 * selector left in protected mode becomes an ordinary segment. */
void seg_load_real(struct soft_cpu *c, unsigned seg, uint16_t selector)
{
    struct seg_state *s = &c->s.seg[seg];

    s->selector = selector;
    s->base = (uint32_t)selector << 4;
    if (s->attr & SEG_ATTR_UNUSABLE) {
        s->limit = 0xffff;
        s->attr = SEG_ATTR_P | SEG_ATTR_S | TYPE_RW | TYPE_ACCESSED;
    }
    seg_changed(c, seg);
}

/* SDM 3B 20.2: limit 64 KiB, DPL 3. */
void seg_load_v86(struct soft_cpu *c, unsigned seg, uint16_t selector)
{
    c->s.seg[seg] = (struct seg_state){
        .base = (uint32_t)selector << 4,
        .limit = 0xffff,
        .selector = selector,
        .attr = SEG_ATTR_P | 3 << SEG_ATTR_DPL_SHIFT | SEG_ATTR_S | TYPE_RW | TYPE_ACCESSED,
    };
}

/* SDM 2B MOV, "MOV SS": the null selector only in 64-bit mode at CPL 0 to 2. */
static int load_ss(struct soft_cpu *c, uint16_t selector, struct seg_state *s)
{
    if (selector_null(selector) && c->code64 && c->cpl != 3 && (selector & 3) == c->cpl) {
        seg_set_null(s, selector, c->cpl);
        return 0;
    }
    return seg_check_stack(c, selector, c->cpl, VEC_GP, s);
}

int seg_check_data(struct soft_cpu *c, uint16_t selector, unsigned vector, struct seg_state *s)
{
    uint32_t error = selector & 0xfffc;
    struct desc d;
    unsigned type;
    int r;

    if (selector_null(selector)) {
        seg_set_null(s, selector, 0);
        return 0;
    }
    r = desc_read(c, selector, vector, &d);
    if (r)
        return r;
    type = desc_type(d.raw);
    if (!desc_s(d.raw) || (type & (TYPE_CODE | TYPE_RW)) == TYPE_CODE)
        return soft_raise_err(c, vector, error);
    if ((type & (TYPE_CODE | TYPE_DOWN_CONF)) != (TYPE_CODE | TYPE_DOWN_CONF) &&
        desc_dpl(d.raw) < MAX(c->cpl, selector & 3))
        return soft_raise_err(c, vector, error);
    if (!desc_present(d.raw))
        return soft_raise_err(c, VEC_NP, error);
    r = desc_set_accessed(c, &d);
    if (!r)
        desc_to_seg(d.raw, selector, s);
    return r;
}

int soft_load_seg(struct soft_cpu *c, unsigned seg, uint16_t selector)
{
    struct seg_state s;
    int r;

    if (unlikely(!soft_prot(c))) {
        if (soft_v86(c))
            seg_load_v86(c, seg, selector);
        else
            seg_load_real(c, seg, selector);
        seg_changed(c, seg);
        return 0;
    }
    r = seg == SEG_SS ? load_ss(c, selector, &s) : seg_check_data(c, selector, VEC_GP, &s);
    if (r)
        return r;
    c->s.seg[seg] = s;
    seg_changed(c, seg);
    return 0;
}
