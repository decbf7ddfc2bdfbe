/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paging and guest memory access (SDM 3A 4).
 *
 * The fast path is the inline TLB probe in soft.h; everything here is what
 * happens when it misses: walk, fill, page-crossing accesses, MMIO, pages
 * that hold code.  A view's entry carries the right to read or write without
 * asking again, so it is filled only as far as nothing remains to be done:
 * the write tag only when the guest's D bit is set, the dirty log has been
 * told, and no code lies on the page.
 */
#include <errno.h>
#include <string.h>

#include "engine/soft/tlb.h"

struct walk {
    uint64_t gpa;
    uint64_t size_mask;     /* page size - 1 */
    bool user, write, nx, global, dirty;
};

/* How a walk's result is to be used. */
struct intent {
    enum access access;
    bool user;              /* privilege of the access */
    bool ac;                /* EFLAGS.AC lifts SMAP */
};

static struct intent intent_of(const struct soft_cpu *c, enum access access, bool sys)
{
    return (struct intent){ .access = access, .user = c->cpl == 3 && !sys,
                            .ac = !sys && (c->rflags & X86_AC) };
}

/* ---- guest-physical ------------------------------------------------------ */

static uint8_t *phys_hva(struct soft_cpu *c, uint64_t gpa, unsigned len, bool write)
{
    const struct mem_slot *s;

    gpa &= atomic_load_explicit(&c->vm->a20_mask, memory_order_relaxed);
    s = mem_find(c->vm->mem, gpa);
    if (!s || gpa - s->gpa > s->size - len || (write && s->readonly))
        return NULL;
    return s->hva + (gpa - s->gpa);
}

int soft_phys_read(struct soft_cpu *c, uint64_t gpa, void *buf, unsigned len)
{
    const uint8_t *p = phys_hva(c, gpa, len, false);

    if (!p)
        return -EFAULT;
    memcpy(buf, p, len);
    return 0;
}

int soft_phys_write(struct soft_cpu *c, uint64_t gpa, const void *buf, unsigned len)
{
    uint8_t *p = phys_hva(c, gpa, len, true);

    if (!p)
        return -EFAULT;
    memcpy(p, buf, len);
    for (unsigned done = 0; done < len;) {
        unsigned part = MIN(len - done, MEM_PAGE_SIZE - ((uintptr_t)(p + done) & (MEM_PAGE_SIZE - 1)));

        soft_wrote(c, p + done, part);
        done += part;
    }
    return 0;
}

void soft_wrote(struct soft_cpu *c, void *p, unsigned len)
{
    struct mem *mem = c->vm->mem;
    uint64_t off = (uint64_t)((uint8_t *)p - mem->hva);

    mem_mark_dirty(mem, off >> MEM_PAGE_SHIFT);
    if (mem_has_code(mem, off >> MEM_PAGE_SHIFT)) {
        mem_code_written(mem, off >> MEM_PAGE_SHIFT, off & (MEM_PAGE_SIZE - 1), len);
        c->block_end = NULL;    /* perhaps our own block */
    }
}

/* ---- the walk --------------------------------------------------------------- */

/* A paging-structure entry on its way: where it is and what it said. */
struct pte_ref {
    uint8_t *hva;
    uint64_t value;
};

static bool read_pte(struct soft_cpu *c, uint64_t gpa, unsigned size, struct pte_ref *ref)
{
    ref->hva = phys_hva(c, gpa, size, false);
    if (!ref->hva) {
        ref->value = ~0ULL;     /* nothing answers there: reserved bits */
        return false;
    }
    ref->value = size == 8 ? *(volatile uint64_t *)ref->hva : *(volatile uint32_t *)ref->hva;
    return true;
}

/* Set bits in an entry as hardware does, atomically and only if it still says
 * what the walk saw.  False: it changed, walk again. */
static bool update_pte(struct soft_cpu *c, struct pte_ref *ref, unsigned size, uint64_t bits)
{
    bool ok;

    if ((ref->value & bits) == bits)
        return true;
    if (!ref->hva)
        return true;
    if (size == 8) {
        ok = __sync_bool_compare_and_swap((uint64_t *)ref->hva, ref->value, ref->value | bits);
    } else {
        ok = __sync_bool_compare_and_swap((uint32_t *)ref->hva, (uint32_t)ref->value,
                                          (uint32_t)(ref->value | bits));
    }
    if (ok)
        soft_wrote(c, ref->hva, size);
    return ok;
}

struct walker {
    struct soft_cpu *c;
    struct pte_ref refs[4];
    unsigned n, pte_size;
    struct walk w;
    uint32_t error;             /* PF_P and PF_RSVD so far */
};

/* One level: false ends the walk with a fault (error set). */
static bool step(struct walker *k, uint64_t gpa, uint64_t reserved, bool has_rights)
{
    struct pte_ref *ref = &k->refs[k->n];
    uint64_t v;

    read_pte(k->c, gpa, k->pte_size, ref);
    v = ref->value;
    if (!(v & PTE_P)) {
        k->error = 0;
        return false;
    }
    if (v & reserved) {
        k->error = PF_P | PF_RSVD;
        return false;
    }
    k->n++;
    if (has_rights) {
        k->w.user &= !!(v & PTE_U);
        k->w.write &= !!(v & PTE_W);
        k->w.nx |= k->pte_size == 8 && (v & PTE_NX);
    }
    return true;
}

static uint64_t reserved_64(const struct soft_cpu *c)
{
    uint64_t r = 0x000ffffffffff000ULL & ~(BIT(c->vm->model->phys_bits) - 1);

    return c->s.efer & EFER_NXE ? r : r | PTE_NX;
}

static bool leaf(struct walker *k, uint64_t la, uint64_t frame, uint64_t size_mask)
{
    uint64_t v = k->refs[k->n - 1].value;

    k->w.size_mask = size_mask;
    k->w.gpa = (frame & ~size_mask) | (la & size_mask);
    k->w.global = (v & PTE_G) && (k->c->s.cr4 & CR4_PGE);
    k->w.dirty = v & PTE_D;
    return true;
}

static bool walk_long(struct walker *k, uint64_t la)
{
    const uint64_t frame = 0x000ffffffffff000ULL;
    uint64_t rsvd = reserved_64(k->c), table = k->c->s.cr3 & frame;

    if (!step(k, table + ((la >> 39) & 511) * 8, rsvd | PTE_PS, true))
        return false;
    table = k->refs[0].value & frame;
    if (!step(k, table + ((la >> 30) & 511) * 8, rsvd | (soft_has(k->c, F_PDPE1GB) ? 0 : PTE_PS), true))
        return false;
    if (k->refs[1].value & PTE_PS) {
        if (k->refs[1].value & 0x3fffe000ULL) {
            k->error = PF_P | PF_RSVD;
            return false;
        }
        return leaf(k, la, k->refs[1].value & frame, GiB - 1);
    }
    table = k->refs[1].value & frame;
    if (!step(k, table + ((la >> 21) & 511) * 8, rsvd, true))
        return false;
    if (k->refs[2].value & PTE_PS) {
        if (k->refs[2].value & 0x1fe000ULL) {
            k->error = PF_P | PF_RSVD;
            return false;
        }
        return leaf(k, la, k->refs[2].value & frame, 2 * MiB - 1);
    }
    table = k->refs[2].value & frame;
    return step(k, table + ((la >> 12) & 511) * 8, rsvd, true) &&
           leaf(k, la, k->refs[3].value & frame, MEM_PAGE_SIZE - 1);
}

static bool walk_pae(struct walker *k, uint64_t la)
{
    const uint64_t frame = 0x000ffffffffff000ULL;
    uint64_t rsvd = reserved_64(k->c) | 0x7ff0000000000000ULL, table;

    /* PDPTEs carry no rights and no accessed bit (SDM 3A 4.4.1). */
    if (!step(k, (k->c->s.cr3 & 0xffffffe0u) + (la >> 30) * 8, rsvd | 0x1e6 | PTE_NX, false))
        return false;
    table = k->refs[0].value & frame;
    k->n = 0;
    if (!step(k, table + ((la >> 21) & 511) * 8, rsvd, true))
        return false;
    if (k->refs[0].value & PTE_PS) {
        if (k->refs[0].value & 0x1fe000ULL) {
            k->error = PF_P | PF_RSVD;
            return false;
        }
        return leaf(k, la, k->refs[0].value & frame, 2 * MiB - 1);
    }
    table = k->refs[0].value & frame;
    return step(k, table + ((la >> 12) & 511) * 8, rsvd, true) &&
           leaf(k, la, k->refs[1].value & frame, MEM_PAGE_SIZE - 1);
}

static bool walk_32(struct walker *k, uint64_t la)
{
    uint64_t v, table = k->c->s.cr3 & 0xfffff000u;

    k->pte_size = 4;
    if (!step(k, table + ((la >> 22) & 1023) * 4, 0, true))
        return false;
    v = k->refs[0].value;
    if ((v & PTE_PS) && (k->c->s.cr4 & CR4_PSE)) {
        /* PSE-36: bits 20:13 are bits 39:32 of the address, bit 21 is reserved. */
        uint64_t frame = (v & 0xffc00000u) | (v & 0x1fe000u) << 19;

        if ((v & 0x200000u) || frame >> k->c->vm->model->phys_bits) {
            k->error = PF_P | PF_RSVD;
            return false;
        }
        return leaf(k, la, frame, 4 * MiB - 1);
    }
    return step(k, (v & 0xfffff000u) + ((la >> 12) & 1023) * 4, 0, true) &&
           leaf(k, la, k->refs[1].value & 0xfffff000u, MEM_PAGE_SIZE - 1);
}

static bool walk_tables(struct walker *k, uint64_t la)
{
    k->n = 0;
    k->pte_size = 8;
    k->w = (struct walk){ .user = true, .write = true };
    if (k->c->s.efer & EFER_LMA)
        return walk_long(k, la);
    return k->c->s.cr4 & CR4_PAE ? walk_pae(k, la) : walk_32(k, la);
}

/* SDM 3A 4.6: may an access with this intent use the page? */
static bool allowed(const struct soft_cpu *c, const struct walk *w, const struct intent *in)
{
    if (in->access == ACCESS_FETCH) {
        if (w->nx || (in->user && !w->user))
            return false;
        return in->user || !w->user || !(c->s.cr4 & CR4_SMEP);
    }
    if (in->user ? !w->user : w->user && (c->s.cr4 & CR4_SMAP) && !in->ac)
        return false;
    return in->access == ACCESS_READ || w->write || (!in->user && !(c->s.cr0 & CR0_WP));
}

static int page_fault(struct soft_cpu *c, uint64_t la, const struct intent *in, uint32_t error)
{
    if (in->access == ACCESS_WRITE)
        error |= PF_W;
    if (in->user)
        error |= PF_U;
    if (in->access == ACCESS_FETCH && ((c->s.cr4 & CR4_SMEP) ||
                                       ((c->s.efer & EFER_NXE) && (c->s.cr4 & CR4_PAE))))
        error |= PF_I;
    return soft_raise_pf(c, la, error);
}

/* Linear to physical with rights, A and D bits: 0 or SOFT_FAULT. */
static int walk(struct soft_cpu *c, uint64_t la, const struct intent *in, struct walk *w)
{
    struct walker k = { .c = c };
    bool again;

    if (!(c->s.cr0 & CR0_PG)) {
        *w = (struct walk){ .gpa = (uint32_t)la, .size_mask = MEM_PAGE_SIZE - 1,
                            .user = true, .write = true, .dirty = true };
        return 0;
    }
    do {
        if (!walk_tables(&k, la))
            return page_fault(c, la, in, k.error);
        if (!allowed(c, &k.w, in))
            return page_fault(c, la, in, PF_P);
        again = false;
        for (unsigned n = 0; n < k.n && !again; n++) {
            bool last = n + 1 == k.n;

            again = !update_pte(c, &k.refs[n], k.pte_size,
                                PTE_A | (last && in->access == ACCESS_WRITE ? PTE_D : 0));
        }
    } while (again);
    if (in->access == ACCESS_WRITE)
        k.w.dirty = true;
    *w = k.w;
    return 0;
}

int soft_translate(struct soft_cpu *c, uint64_t la, uint64_t *gpa)
{
    struct walker k = { .c = c };

    if (!(c->s.cr0 & CR0_PG)) {
        *gpa = (uint32_t)la;
        return 0;
    }
    if (!x86_canonical(la) || !walk_tables(&k, la))
        return -EFAULT;
    *gpa = k.w.gpa;
    return 0;
}

/* ---- filling the TLBs ----------------------------------------------------- */

/* Where an access lands. */
struct target {
    uint64_t gpa;           /* of MMIO */
    uint8_t *hva;           /* NULL: MMIO, or nothing */
    bool readonly;          /* ROM: writes are dropped */
};

static void fill(struct soft_cpu *c, uint64_t la, unsigned view, const struct walk *w,
                 const struct intent *in, const uint8_t *hva, uint64_t page, bool readonly)
{
    struct tlb_entry *e = &c->tlbs[view][tlb_index(la)];
    uint64_t tag = la & MEM_PAGE_MASK;
    struct intent wr = *in;

    wr.access = ACCESS_WRITE;
    c->stats.fills++;
    e->read = tag;
    e->write = TLB_NONE;
    if (w->dirty && !readonly && allowed(c, w, &wr) &&
        (in->access == ACCESS_WRITE ||
         !atomic_load_explicit(&c->vm->mem->dirty_on, memory_order_relaxed)) &&
        soft_rights_add(c, view, tag, page)) {
        mem_mark_dirty(c->vm->mem, page);
        e->write = tag;
    }
    e->addend = (uintptr_t)hva - la;
    e->global = w->global;
    soft_tlb_note(c, view, la, w->size_mask, w->global);
    if (c->tables)
        c->tables->fill(c, view, tag, e->addend, e->write == tag, w->global);
}

/* Accesses that did not probe inline: the stack's outside 64-bit mode, above all. */
static bool from_tlb(const struct soft_cpu *c, uint64_t la, unsigned view, enum access access, struct target *t)
{
    const struct tlb_entry *e = &c->tlbs[view][tlb_index(la)];

    if ((access == ACCESS_WRITE ? e->write : e->read) != (la & MEM_PAGE_MASK))
        return false;
    t->hva = (uint8_t *)(la + e->addend);
    t->readonly = false;
    return true;
}

/* A translator's tables may still hold what the TLB had to give up. */
static bool from_tables(struct soft_cpu *c, uint64_t la, unsigned view, enum access access, struct target *t)
{
    struct tlb_entry *e = &c->tlbs[view][tlb_index(la)];

    if (!c->tables || view == VIEW_SLOW ||
        !c->tables->lookup(c, view, la & MEM_PAGE_MASK, access == ACCESS_WRITE, e))
        return false;
    c->stats.from_tables++;
    soft_tlb_note(c, view, la, 0, false);
    t->hva = (uint8_t *)(la + e->addend);
    t->readonly = false;
    return true;
}

/* Linear addresses wrap at 4 GiB outside long mode. */
static uint64_t wrap(const struct soft_cpu *c, uint64_t la)
{
    return soft_lma(c) ? la : (uint32_t)la;
}

static int find_target(struct soft_cpu *c, uint64_t la, enum access access, bool sys, struct target *t)
{
    unsigned view = sys ? VIEW_KERNEL : (unsigned)((c->tlb - c->tlbs[0]) / TLB_SIZE);
    struct intent in = intent_of(c, access, sys);
    const struct mem_slot *slot;
    struct walk w;

    la = wrap(c, la);
    if (soft_lma(c) && unlikely(!x86_canonical(la)))
        return soft_gp0(c);
    if (from_tlb(c, la, view, access, t) || from_tables(c, la, view, access, t))
        return 0;
    if (access == ACCESS_WRITE && c->tlbs[view][tlb_index(la)].read == (la & MEM_PAGE_MASK))
        c->stats.no_write++;
    else
        c->stats.empty++;
    if (walk(c, la, &in, &w))
        return SOFT_FAULT;
    t->gpa = w.gpa & atomic_load_explicit(&c->vm->a20_mask, memory_order_relaxed);
    t->hva = NULL;
    t->readonly = false;
    slot = mem_find(c->vm->mem, t->gpa);
    if (!slot)
        return 0;
    t->hva = slot->hva + (t->gpa - slot->gpa);
    t->readonly = slot->readonly;
    if (view != VIEW_SLOW)
        fill(c, la, view, &w, &in, t->hva, mem_slot_page(slot, t->gpa), slot->readonly);
    return 0;
}

int soft_fetch_page(struct soft_cpu *c, uint64_t la, const struct ftlb_entry **entry)
{
    struct intent in = intent_of(c, ACCESS_FETCH, false);
    struct ftlb_entry *e = &c->ftlb[ftlb_index(c, la, in.user)];
    uint64_t tag = la & MEM_PAGE_MASK, gpa;
    const struct mem_slot *slot;
    struct walk w;

    *entry = e;
    if (likely(e->tag == tag && e->user == in.user && ftlb_valid(c, e)))
        return 0;
    if (soft_lma(c) && !x86_canonical(la))
        return soft_gp0(c);
    if (walk(c, la, &in, &w))
        return SOFT_FAULT;
    gpa = w.gpa & MEM_PAGE_MASK & atomic_load_explicit(&c->vm->a20_mask, memory_order_relaxed);
    slot = mem_find(c->vm->mem, gpa);
    /* Code in MMIO or nowhere: the bus gives ones, FF FF is an invalid opcode. */
    if (!slot)
        return soft_ud(c);
    e->tag = tag;
    e->hva = slot->hva + (gpa - slot->gpa);
    e->page = mem_slot_page(slot, gpa);
    e->owner = w.global && !in.user ? c->shared.id : c->asids[c->asid_slot].id;
    e->user = in.user;
    soft_fetch_note(c, la, w.size_mask, w.global, in.user);
    return 0;
}

/* ---- accesses -------------------------------------------------------------------- */

static uint64_t ram_load(const void *p, unsigned size)
{
    uint64_t v = 0;

    switch (size) {
    case 8: return *(const volatile uint64_t *)p;
    case 4: return *(const volatile uint32_t *)p;
    case 2: return *(const volatile uint16_t *)p;
    case 1: return *(const volatile uint8_t *)p;
    default: memcpy(&v, p, size); return v;      /* part of a page-crossing access */
    }
}

static void ram_store(void *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 8: *(volatile uint64_t *)p = v; break;
    case 4: *(volatile uint32_t *)p = (uint32_t)v; break;
    case 2: *(volatile uint16_t *)p = (uint16_t)v; break;
    case 1: *(volatile uint8_t *)p = (uint8_t)v; break;
    default: memcpy(p, &v, size);
    }
}

static int target_read(struct soft_cpu *c, const struct target *t, unsigned size, uint64_t *v)
{
    if (!t->hva)
        return soft_mmio_read(c, t->gpa, size, v);
    *v = ram_load(t->hva, size);
    return 0;
}

static int target_write(struct soft_cpu *c, const struct target *t, unsigned size, uint64_t v)
{
    if (!t->hva)
        return soft_mmio_write(c, t->gpa, size, v);
    if (t->readonly)
        return 0;
    ram_store(t->hva, size, v);
    soft_wrote(c, t->hva, size);
    return 0;
}

/* Bytes from la to the end of its page, at most size. */
static unsigned first_part(uint64_t la, unsigned size)
{
    uint64_t left = MEM_PAGE_SIZE - (la & (MEM_PAGE_SIZE - 1));

    return left < size ? (unsigned)left : size;
}

/* #AC (SDM 3A 6.15 vector 17) and data breakpoints: only with VIEW_SLOW. */
static int check_slow(struct soft_cpu *c, uint64_t la, unsigned size, bool write)
{
    if (c->cpl == 3 && (c->s.cr0 & CR0_AM) && (c->rflags & X86_AC) && (la & (size - 1)))
        return soft_raise_err(c, VEC_AC, 0);
    if (c->s.dr7 & 0xff)
        soft_data_breakpoints(c, la, size, write);
    return 0;
}

static int read_la(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t *v, bool sys, enum access how)
{
    unsigned n = first_part(la, size);
    struct target t, t2;
    uint64_t low, high;
    int r;

    if (unlikely(c->tlb == c->tlbs[VIEW_SLOW]) && !sys && (r = check_slow(c, la, size, how == ACCESS_WRITE)))
        return r;
    if (find_target(c, la, how, sys, &t))
        return SOFT_FAULT;
    if (likely(n == size))
        return target_read(c, &t, size, v);
    if (find_target(c, wrap(c, la + n), how, sys, &t2))
        return SOFT_FAULT;
    if ((r = target_read(c, &t, n, &low)) || (r = target_read(c, &t2, size - n, &high)))
        return r;
    *v = (low & size_mask(n)) | high << (8 * n);
    return 0;
}

static int write_la(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t v, bool sys)
{
    unsigned n = first_part(la, size);
    struct target t, t2;
    int r;

    if (unlikely(c->tlb == c->tlbs[VIEW_SLOW]) && !sys && (r = check_slow(c, la, size, true)))
        return r;
    if (find_target(c, la, ACCESS_WRITE, sys, &t))
        return SOFT_FAULT;
    if (likely(n == size))
        return target_write(c, &t, size, v);
    if (find_target(c, wrap(c, la + n), ACCESS_WRITE, sys, &t2))
        return SOFT_FAULT;
    r = target_write(c, &t, n, v & size_mask(n));
    return r ? r : target_write(c, &t2, size - n, v >> (8 * n));
}

int soft_read(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t *v)
{
    return read_la(c, la, size, v, false, ACCESS_READ);
}

int soft_write(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t v)
{
    return write_la(c, la, size, v, false);
}

int soft_read_rmw(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t *v)
{
    return read_la(c, la, size, v, false, ACCESS_WRITE);
}

int soft_sys_read(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t *v)
{
    const struct tlb_entry *e = &c->tlbs[VIEW_KERNEL][tlb_index(la)];

    if (likely(((la + size - 1) & MEM_PAGE_MASK) == e->read)) {
        *v = ram_load((void *)(la + e->addend), size);
        return 0;
    }
    return read_la(c, la, size, v, true, ACCESS_READ);
}

int soft_sys_write(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t v)
{
    const struct tlb_entry *e = &c->tlbs[VIEW_KERNEL][tlb_index(la)];

    if (likely(((la + size - 1) & MEM_PAGE_MASK) == e->write)) {
        ram_store((void *)(la + e->addend), size, v);
        return 0;
    }
    return write_la(c, la, size, v, true);
}

int soft_probe(struct soft_cpu *c, uint64_t la, unsigned len, enum access access)
{
    struct target t;

    for (unsigned done = 0; done < len;) {
        uint64_t at = wrap(c, la + done);

        if (find_target(c, at, access, false, &t))
            return SOFT_FAULT;
        done += first_part(at, len - done);
    }
    return 0;
}

void *soft_ptr(struct soft_cpu *c, uint64_t la, unsigned len, enum access access, int *r)
{
    struct target t;
    void *p = access == ACCESS_WRITE ? tlb_write_ptr(c, la, len) : tlb_read_ptr(c, la, len);

    *r = 0;
    if (likely(p))
        return p;
    if (c->tlb == c->tlbs[VIEW_SLOW] || first_part(la, len) < len)
        return NULL;
    *r = find_target(c, la, access, false, &t);
    return *r || (access == ACCESS_WRITE && t.readonly) ? NULL : t.hva;
}

/* Largest piece of MMIO or RAM to move at once: 8 bytes where aligned so that
 * devices see whole registers. */
static unsigned piece(uint64_t la, unsigned left)
{
    unsigned n = 8;

    while (n > left || (la & (n - 1)))
        n /= 2;
    return n;
}

/* Vectors to their length, an 80-bit number to 8, other things to
 * what their parts have in common. */
int soft_align_slow(struct soft_cpu *c, uint64_t la, unsigned len)
{
    unsigned align = len == 10 ? 8 : len & -len;     /* at most 16, as hosts do */

    align = align > 16 ? 16 : align;
    /* Vectors: AMD's CPUs check them, Intel's do not (SDM 2 2.4, type 4: "of 8
     * bytes or less"). */
    if (!c->vm->model->amd && (len == 16 || len == 32 || len == 64))
        return 0;
    if (len > 108 || c->cpl != 3 || !(c->s.cr0 & CR0_AM) || !(la & (align - 1)))
        return 0;
    return soft_raise_err(c, VEC_AC, 0);
}

int soft_read_bytes(struct soft_cpu *c, uint64_t la, void *buf, unsigned len)
{
    uint8_t *out = buf;
    int r = soft_align(c, la, len);

    if (!r)
        r = soft_probe(c, la, len, ACCESS_READ);
    if (!r && c->tlb == c->tlbs[VIEW_SLOW] && (c->s.dr7 & 0xff))
        soft_data_breakpoints(c, la, len, false);
    for (unsigned done = 0; !r && done < len;) {
        uint64_t at = wrap(c, la + done), v;
        unsigned part = first_part(at, len - done);
        const void *p = soft_ptr(c, at, part, ACCESS_READ, &r);

        if (p) {
            memcpy(out + done, p, part);
        } else {
            part = piece(at, part);
            r = read_la(c, at, part, &v, false, ACCESS_READ);
            memcpy(out + done, &v, part);
        }
        done += part;
    }
    return r;
}

int soft_write_bytes(struct soft_cpu *c, uint64_t la, const void *buf, unsigned len)
{
    const uint8_t *in = buf;
    int r = soft_align(c, la, len);

    if (!r)
        r = soft_probe(c, la, len, ACCESS_WRITE);
    for (unsigned done = 0; !r && done < len;) {
        uint64_t at = wrap(c, la + done), v = 0;
        unsigned part = first_part(at, len - done);
        void *p = soft_ptr(c, at, part, ACCESS_WRITE, &r);

        if (p) {
            memcpy(p, in + done, part);
            soft_wrote(c, p, part);
        } else {
            part = piece(at, part);
            memcpy(&v, in + done, part);
            r = write_la(c, at, part, v, false);
        }
        done += part;
    }
    return r;
}
