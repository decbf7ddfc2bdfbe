/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions and port I/O (SDM 2: REP; SDM 1 7.3.9).
 *
 * A REP instruction commits element by element: registers are up to date
 * whenever it leaves, so a fault, an exit or an interrupt in the middle just
 * starts it again with what remains.  Runs inside one page of RAM go fast.
 */
#include <string.h>

#include "engine/soft/op_int.h"

struct string_op {
    struct soft_cpu *c;
    const struct insn *i;
    uint64_t left;          /* iterations allowed in this call */
    uint64_t done;
    bool rep;
    int step;               /* bytes, signed */
};

/* REP with 32-bit addresses in 64-bit mode: Intel cuts a count of 0, and the
 * addresses of MOVS and STOS, though no iteration is done, but not of INS and
 * OUTS; AMD leaves them (seen on both). */
static bool cuts_registers(const struct string_op *s)
{
    return unlikely(s->rep && s->i->asize == 4) && s->c->code64 && !s->c->vm->model->amd &&
           s->i->fn != op_ins && s->i->fn != op_outs;
}

static struct string_op begin(struct soft_cpu *c, const struct insn *i)
{
    struct string_op s = { .c = c, .i = i, .left = 1, .rep = i->flags & (INSN_REP | INSN_REPNE) };

    if (s.rep)
        s.left = MIN(gpr_get(c, CPU_RCX * 8, i->asize), c->rep_limit);
    s.step = c->rflags & X86_DF ? -i->osize : i->osize;
    if (cuts_registers(&s) && !s.left)
        c->gpr[CPU_RCX] = 0;
    return s;
}

static void advance(struct string_op *s, unsigned reg, uint64_t n)
{
    struct soft_cpu *c = s->c;

    gpr_set(c, reg * 8, s->i->asize, gpr_get(c, reg * 8, s->i->asize) + (uint64_t)((int64_t)n * s->step));
}

/* n iterations are complete. */
static void commit(struct string_op *s, uint64_t n)
{
    struct soft_cpu *c = s->c;

    s->left -= n;
    s->done += n;
    if (s->rep)
        gpr_set(c, CPU_RCX * 8, s->i->asize, gpr_get(c, CPU_RCX * 8, s->i->asize) - n);
    soft_io_done(c);
}

/* More iterations now?  Not with something to attend to. */
static bool more(const struct string_op *s)
{
    return s->left && (!s->done || !atomic_load_explicit(&s->c->attention, memory_order_relaxed));
}

/* r: how the last iteration ended; stopped: by a condition (REPE, REPNE). */
static int finish(struct string_op *s, int r, bool stopped)
{
    struct soft_cpu *c = s->c;

    if (r) {
        c->insn_count += s->done;
        return r;
    }
    if (s->rep && !stopped && gpr_get(c, CPU_RCX * 8, s->i->asize)) {
        c->insn_count += s->done;
        return SOFT_AGAIN;
    }
    if (s->done)
        c->insn_count += s->done - 1;
    return SOFT_NEXT;
}

static int source_linear(const struct string_op *s, uint64_t *la)
{
    return soft_linear(s->c, s->i->seg, gpr_get(s->c, CPU_RSI * 8, s->i->asize), s->i->osize, false, la);
}

static int dest_linear(const struct string_op *s, bool write, uint64_t *la)
{
    return soft_linear(s->c, SEG_ES, gpr_get(s->c, CPU_RDI * 8, s->i->asize), s->i->osize, write, la);
}

/* Elements of a forward run that stay in la's page and need no other check:
 * 1 unless the segment is flat. */
static uint64_t run_length(const struct string_op *s, unsigned seg, uint64_t la)
{
    const struct soft_cpu *c = s->c;
    bool flat = c->code64 ? seg != SEG_FS && seg != SEG_GS : s->i->asize == 4 && (c->flat_segs >> seg & 1);

    if (!flat || s->step < 0)
        return 1;
    return MIN(s->left, (MEM_PAGE_SIZE - (la & (MEM_PAGE_SIZE - 1))) / s->i->osize);
}

static int load(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t *v)
{
    const void *p = tlb_read_ptr(c, la, size);

    if (unlikely(!p))
        return soft_read(c, la, size, v);
    *v = 0;
    memcpy(v, p, size);
    return 0;
}

/* Forward copy with the semantics of one element after the other. */
static void copy_run(uint8_t *d, const uint8_t *s, uint64_t bytes, unsigned size)
{
    if (d <= s || d >= s + bytes) {
        memmove(d, s, bytes);
        return;
    }
    for (uint64_t n = 0; n < bytes; n += size)
        memmove(d + n, s + n, size);
}

/*
 * The first element of a run whose pages the TLB does not know both.  It may
 * never do, since they can have the same place there: the pointers are looked
 * up one by one, and both are good if nothing was dropped in between.
 */
static int movs_first(struct string_op *s, uint64_t src, uint64_t dst, const uint8_t **p, uint8_t **q)
{
    struct soft_cpu *c = s->c;
    unsigned size = s->i->osize;
    uint64_t drops, v;
    int r = load(c, src, size, &v);

    if (r)
        return r;
    drops = c->drops;
    *p = tlb_read_ptr(c, src, size);
    r = soft_write(c, dst, size, v);
    *q = tlb_write_ptr(c, dst, size);
    if (c->drops != drops)
        *p = NULL;
    return r;
}

static int movs_run(struct string_op *s, uint64_t *n)
{
    struct soft_cpu *c = s->c;
    unsigned size = s->i->osize, first = 0;
    uint64_t src, dst;
    const uint8_t *p;
    uint8_t *q;
    int r;

    if ((r = source_linear(s, &src)) || (r = dest_linear(s, true, &dst)))
        return r;
    p = tlb_read_ptr(c, src, size);
    q = tlb_write_ptr(c, dst, size);
    if (!p || !q) {
        r = movs_first(s, src, dst, &p, &q);
        if (r)
            return r;
        first = size;
    }
    *n = 1;
    if (p && q) {
        *n = MIN(run_length(s, s->i->seg, src), run_length(s, SEG_ES, dst));
        copy_run(q + first, p + first, *n * size - first, size);
    }
    return 0;
}

int op_movs(struct soft_cpu *c, const struct insn *i)
{
    struct string_op s = begin(c, i);
    uint64_t n;
    int r = 0;

    if (cuts_registers(&s)) {
        advance(&s, CPU_RSI, 0);
        advance(&s, CPU_RDI, 0);
    }
    while (more(&s)) {
        r = movs_run(&s, &n);
        if (r)
            break;
        advance(&s, CPU_RSI, n);
        advance(&s, CPU_RDI, n);
        commit(&s, n);
    }
    return finish(&s, r, false);
}

static void fill_run(uint8_t *d, uint64_t v, uint64_t n, unsigned size)
{
    if (size == 1 || v == 0) {
        memset(d, (int)v, n * size);
        return;
    }
    for (uint64_t k = 0; k < n; k++)
        memcpy(d + k * size, &v, size);
}

int op_stos(struct soft_cpu *c, const struct insn *i)
{
    struct string_op s = begin(c, i);
    uint64_t v = gpr_get(c, CPU_RAX * 8, i->osize), la, n;
    int r = 0;

    if (cuts_registers(&s))
        advance(&s, CPU_RDI, 0);
    while (more(&s)) {
        uint8_t *q;

        r = dest_linear(&s, true, &la);
        if (r)
            break;
        q = tlb_write_ptr(c, la, i->osize);
        n = 1;
        if (q) {
            n = run_length(&s, SEG_ES, la);
            fill_run(q, v, n, i->osize);
        } else if ((r = soft_write(c, la, i->osize, v))) {
            break;
        }
        advance(&s, CPU_RDI, n);
        commit(&s, n);
    }
    return finish(&s, r, false);
}

int op_lods(struct soft_cpu *c, const struct insn *i)
{
    struct string_op s = begin(c, i);
    uint64_t la, v;
    int r = 0;

    while (more(&s)) {
        if ((r = source_linear(&s, &la)) || (r = load(c, la, i->osize, &v)))
            break;
        gpr_set(c, CPU_RAX * 8, i->osize, v);
        advance(&s, CPU_RSI, 1);
        commit(&s, 1);
    }
    return finish(&s, r, false);
}

static void compare(struct soft_cpu *c, unsigned size, uint64_t a, uint64_t b)
{
    switch (size) {
    case 1: alu_cmp_8(c, (uint8_t)a, (uint8_t)b); break;
    case 2: alu_cmp_16(c, (uint16_t)a, (uint16_t)b); break;
    case 4: alu_cmp_32(c, (uint32_t)a, (uint32_t)b); break;
    default: alu_cmp_64(c, a, b); break;
    }
}

static uint64_t element(const uint8_t *p, unsigned size)
{
    uint64_t v8;
    uint32_t v4;
    uint16_t v2;

    switch (size) {
    case 1: return *p;
    case 2: memcpy(&v2, p, 2); return v2;
    case 4: memcpy(&v4, p, 4); return v4;
    default: memcpy(&v8, p, 8); return v8;
    }
}

/* Up to n elements inside a page: from p, or a again and again, with those at
 * q.  Returns how many were looked at; the last two are left in *a and *b. */
static uint64_t scan_run(const struct string_op *s, const uint8_t *p, const uint8_t *q, uint64_t n,
                         uint64_t *a, uint64_t *b)
{
    const bool same = s->i->flags & INSN_REP;
    const unsigned size = s->i->osize;
    uint64_t k = 0;

    do {
        if (p)
            *a = element(p + k * size, size);
        *b = element(q + k * size, size);
        k++;
    } while (k < n && (*a == *b) == same);
    return k;
}

/* One iteration, or many: *n of them, with the last two elements. */
static int scan_some(struct string_op *s, bool src, uint64_t *a, uint64_t *b, uint64_t *n)
{
    struct soft_cpu *c = s->c;
    const unsigned size = s->i->osize;
    const uint8_t *p = NULL, *q;
    uint64_t from = 0, to;
    int r;

    if (src) {
        if ((r = source_linear(s, &from)))
            return r;
        p = tlb_read_ptr(c, from, size);
        if (!p && (r = load(c, from, size, a)))
            return r;
    }
    if ((r = dest_linear(s, false, &to)))
        return r;
    q = tlb_read_ptr(c, to, size);
    if (q && (p || !src)) {
        *n = run_length(s, SEG_ES, to);
        if (src)
            *n = MIN(*n, run_length(s, s->i->seg, from));
        *n = scan_run(s, p, q, *n, a, b);
        return 0;
    }
    *n = 1;
    if (p)
        *a = element(p, size);
    return load(c, to, size, b);
}

/* SCAS (src false) and CMPS: REPE goes on while equal, REPNE while not. */
static int scan(struct soft_cpu *c, const struct insn *i, bool src)
{
    struct string_op s = begin(c, i);
    const uint16_t flags = c->ax_flags;
    bool stopped = false;
    uint64_t a = gpr_get(c, CPU_RAX * 8, i->osize), b, n;
    int r = 0;

    while (!stopped && more(&s)) {
        r = scan_some(&s, src, &a, &b, &n);
        if (r)
            break;
        compare(c, i->osize, a, b);
        stopped = (i->flags & INSN_REP && a != b) || (i->flags & INSN_REPNE && a == b);
        if (src)
            advance(&s, CPU_RSI, n);
        advance(&s, CPU_RDI, n);
        commit(&s, n);
    }
    r = finish(&s, r, stopped);
    /* Interrupted, Intel leaves the flags from before the first iteration, AMD
     * those of the last one (SDM 2B REP; seen on both). */
    if (r != SOFT_NEXT && !c->vm->model->amd)
        c->ax_flags = flags;
    return r;
}

int op_scas(struct soft_cpu *c, const struct insn *i)
{
    return scan(c, i, false);
}

int op_cmps(struct soft_cpu *c, const struct insn *i)
{
    return scan(c, i, true);
}

/* ---- ports ---------------------------------------------------------------------------- */

static uint16_t port_of(struct soft_cpu *c, const struct insn *i)
{
    return i->rm == GPR_ZERO ? (uint8_t)i->imm : *gpr16(c, CPU_RDX * 8);
}

int op_in(struct soft_cpu *c, const struct insn *i)
{
    uint16_t port = port_of(c, i);
    uint64_t v;
    int r = soft_io_allowed(c, port, i->osize);

    if (!r && !(r = soft_io_in(c, port, i->osize, &v)))
        gpr_set(c, CPU_RAX * 8, i->osize, v);
    return r;
}

int op_out(struct soft_cpu *c, const struct insn *i)
{
    uint16_t port = port_of(c, i);
    int r = soft_io_allowed(c, port, i->osize);

    return r ? r : soft_io_out(c, port, i->osize, gpr_get(c, CPU_RAX * 8, i->osize));
}

/* INS: the destination is checked before the device is asked, so that no
 * input is lost to a fault. */
int op_ins(struct soft_cpu *c, const struct insn *i)
{
    struct string_op s = begin(c, i);
    uint16_t port = *gpr16(c, CPU_RDX * 8);
    uint8_t data[CPU_IO_PAGE];
    int r = soft_io_allowed(c, port, i->osize);

    while (!r && more(&s)) {
        uint64_t la;
        uint32_t n;

        if ((r = dest_linear(&s, true, &la)) || (r = soft_probe(c, la, i->osize, ACCESS_WRITE)))
            break;
        n = (uint32_t)MAX(run_length(&s, SEG_ES, la), 1);
        if ((r = soft_io_ins(c, port, i->osize, data, n, &n)))
            break;
        if ((r = soft_write_bytes(c, la, data, n * i->osize)))
            break;
        advance(&s, CPU_RDI, n);
        commit(&s, n);
    }
    return finish(&s, r, false);
}

int op_outs(struct soft_cpu *c, const struct insn *i)
{
    struct string_op s = begin(c, i);
    uint16_t port = *gpr16(c, CPU_RDX * 8);
    uint8_t data[CPU_IO_PAGE];
    int r = soft_io_allowed(c, port, i->osize);

    while (!r && more(&s)) {
        uint64_t la;
        uint32_t n;

        if ((r = source_linear(&s, &la)))
            break;
        n = (uint32_t)MAX(run_length(&s, i->seg, la), 1);
        if ((r = soft_read_bytes(c, la, data, n * i->osize)) ||
            (r = soft_io_outs(c, port, i->osize, data, n, &n)))
            break;
        advance(&s, CPU_RSI, n);
        commit(&s, n);
    }
    return finish(&s, r, false);
}
