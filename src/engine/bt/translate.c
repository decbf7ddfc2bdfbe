/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Translation of a block: guest instructions to host code.
 *
 * Identity translation: an instruction on the allow-list keeps its opcode; only
 * registers that live in the context, and memory operands, are rewritten.
 * Everything else calls the instruction's function.  Each inline memory access
 * has a cold path that calls the function too, so a miss completes the access
 * there.
 *
 * A block goes on behind conditional branches that jump forward, so that more
 * accesses share a probe and more flags are known to be dead.
 */
#include <stdlib.h>
#include <time.h>

#include "engine/bt/item.h"
#include "engine/bt/system.h"
#include "engine/soft/blocks.h"

#define MAX_INSN 15

/* ---- decoding ----------------------------------------------------------------------------- */

static bool goes_on(const struct item *i, unsigned *sides)
{
    return i->kind == K_JCC && i->op[0].imm.value.s > 0 && (*sides)++ < BT_SIDES;
}

/* Decode into items; false: nothing here that lies in the page. */
static bool decode(struct translation *t)
{
    unsigned room = MIN((unsigned)sizeof(t->copy), (unsigned)MEM_PAGE_SIZE - t->offset), sides = 0;
    unsigned max = t->bt->block_max;
    enum decode_result r = DECODE_OK;

    memcpy(t->copy, t->page->hva + t->offset, room);
    t->n = t->bytes = 0;
    while (r == DECODE_OK && t->n < max && t->bytes < room) {
        struct item *i = &t->items[t->n];

        i->bytes = t->copy + t->bytes;
        i->offset = (uint16_t)(t->offset + t->bytes);
        r = bt_decode(t->c, t->bt->forms, i, t->mode, MIN(room - t->bytes, MAX_INSN));
        if (r == DECODE_MORE)
            break;
        t->bytes += i->insn.len;
        t->n++;
        if (goes_on(i, &sides) || ((i->kind == K_SYSTEM || i->kind == K_STRING) && r == DECODE_END))
            r = DECODE_OK;
    }
    return t->n > 0;
}

/* ---- emission ------------------------------------------------------------------------------- */

static void emit_item(struct translation *t, struct item *i, unsigned n)
{
    switch (i->kind) {
    case K_NOP:
        break;
    case K_SIMD:
    case K_VZERO:
    case K_MXCSR:
    case K_X87:
        bt_emit_simd(t, i);
        break;
    case K_SYSTEM:
        bt_emit_system(t, i);
        break;
    case K_FUNCTION:
        bt_emit_function(t, i);
        break;
    case K_STRING:
        bt_emit_string(t, i);
        break;
    case K_PUSH_REG:
    case K_PUSH_IMM:
    case K_PUSH_MEM:
    case K_POP:
    case K_LEAVE:
        bt_emit_push_pop(t, i);
        break;
    case K_SYSCALL:
    case K_SYSRET:
        bt_emit_syscall(t, i, n);
        break;
    default:
        if (i->kind >= K_JCC)
            bt_emit_branch(t, i, n);
        else
            bt_emit_integer(t, i);
    }
}

/* Poll the attention word; returns the place of the jump to the exit. */
static uint8_t *emit_poll(struct translation *t, bool live)
{
    struct emit *e = &t->e;
    uint8_t *out;

    if (!live) {
        emit_within(e, 9 + EMIT_JCC);
        EMIT(e, 0x65, 0x83, 0x3c, 0x25);        /* cmp dword gs:[attention], 0 */
        emit32(e, (uint32_t)CTX(attention));
        emit8(e, 0);
        return emit_jcc(e, 5);
    }
    emit_gs_store(e, H_RCX, CTX_WORD(W_RCX));
    emit_gs(e, 0x8b, H_RCX, CTX(attention), false);
    EMIT(e, 0xe3, 0x05);                        /* jrcxz over the jump */
    out = emit_jmp(e);
    emit_gs_load(e, H_RCX, CTX_WORD(W_RCX));
    return out;
}

static void emit_out(struct translation *t, uint8_t *poll, bool live)
{
    struct emit *e = &t->e;

    emit_here(e, poll);
    if (live)
        emit_gs_load(e, H_RCX, CTX_WORD(W_RCX));
    t->b.out = bt_place(t, e->p);
    emit_imm64(e, H_R11, t->offset);
    emit_patch(emit_jmp(e), t->bt->out);
}

/* Tell the recorder of the block; flags says which are right here. */
static void emit_record(struct translation *t, unsigned flags)
{
    struct emit *e = &t->e;
    uint64_t arg = t->offset | (uint64_t)flags << 16, cont;

    /* MOV of 64 bits and the jump: 15 bytes. */
    cont = (uint64_t)(e->p - t->bt->rw) + 15;
    emit8(e, 0x49);
    emit8(e, 0xbb);
    emit64(e, arg | cont << 32);
    emit_patch(emit_jmp(e), t->bt->record);
}

/* Does control go on behind the block? */
static bool falls_out(const struct item *last)
{
    /* An indirect branch may have become a function; then it never comes back. */
    return last->kind < K_JCC || last->kind == K_JMP_IND || last->kind == K_CALL_IND;
}

/* What the second page is depends on the linear address: links come here, and
 * look it up. */
static void emit_crossing_entry(struct translation *t)
{
    t->b.code = t->b.body = bt_place(t, t->e.p);
    t->saved = false;
    bt_emit_far_exit(t, t->offset);
}

/* Where flags are in W_FLAGS (bt_saved_entry). */
static void emit_entry(struct translation *t)
{
    struct emit e = { .p = t->start - BT_RESTORE_BYTES };

    bt_emit_restore_entry(&e);
}

static void emit_block(struct translation *t)
{
    struct item *last = &t->items[t->n - 1];
    bool live = t->items[0].live != 0;
    uint8_t *poll = emit_poll(t, live);

    t->saved = false;
    t->held = -1;
    t->stack = 0;
    t->b.body = bt_place(t, t->e.p);
    if (t->c->tape && t->c->tape->blocks)
        emit_record(t, t->items[0].live ? X86_FLAGS_ARITH : 0);
    for (unsigned n = 0; n < t->n; n++) {
        struct item *i = &t->items[n];

        i->naccess = 0;
        i->cont = NULL;
        i->fail = i->fail2 = i->side = NULL;
        bt_emit_live(t, n);
        emit_item(t, i, n + 1);
    }
    if (falls_out(last)) {
        bt_emit_flags(t, last->live_out);
        bt_emit_exit(t, last, t->n, t->offset + t->bytes, false);
    }
    emit_out(t, poll, live);
    bt_emit_live_away(t);
    for (unsigned n = 0; n < t->n; n++) {
        if (t->items[n].side)
            bt_emit_side(t, &t->items[n], n + 1);
        bt_emit_cold(t, &t->items[n]);
    }
    if (t->b.crosses)
        emit_crossing_entry(t);
    bt_emit_links(t);
}

/* ---- blocks ------------------------------------------------------------------------------------- */

/* Note a piece of code; false: others may still write there without being
 * noticed, so it is not translated until they have given that up. */
static bool track(struct translation *t, uint64_t page, unsigned offset, unsigned len, uint32_t *version)
{
    struct soft_cpu *c = t->c;
    uint64_t epoch;

    *version = mem_code_add(c->vm->mem, page, offset, len, NULL);
    epoch = soft_code_revoke(c, page);
    return c->vm->ncpus == 1 || soft_code_acknowledged(c, epoch);
}

static bool same_bytes(const struct translation *t)
{
    if (memcmp(t->copy, t->page->hva + t->offset, t->bytes))
        return false;
    for (unsigned n = 0; n < t->nlooks; n++)
        if (memcmp(t->looks[n].bytes, t->page->hva + t->looks[n].offset, t->looks[n].len))
            return false;
    return true;
}

/* Decode and analyse until the bytes stand still. */
static bool prepare(struct translation *t, uint32_t *version, bool *crosses)
{
    do {
        uint32_t v;

        t->nlooks = 0;
        *crosses = !decode(t);
        if (*crosses)
            return false;
        bt_liveness(t);
        if (!track(t, t->page->page, t->offset, t->bytes, version))
            return false;
        for (unsigned n = 0; n < t->nlooks; n++)
            if (!track(t, t->page->page, t->looks[n].offset, t->looks[n].len, &v))
                return false;
    } while (!same_bytes(t));
    return true;
}

/* One instruction across two pages. */
static bool prepare_crossing(struct translation *t, const struct ftlb_entry *page2, uint32_t version[2])
{
    unsigned head = (unsigned)MEM_PAGE_SIZE - t->offset;
    struct item *i = &t->items[0];

    t->nlooks = 0;
    t->n = 1;
    do {
        memcpy(t->copy, t->page->hva + t->offset, head);
        memcpy(t->copy + head, page2->hva, MAX_INSN - head);
        i->bytes = t->copy;
        i->offset = (uint16_t)t->offset;
        bt_decode(t->c, t->bt->forms, i, t->mode, MAX_INSN);
        t->bytes = i->insn.len;
        if (!track(t, t->page->page, t->offset, head, &version[0]) ||
            !track(t, page2->page, 0, MAX_INSN - head, &version[1]))
            return false;
    } while (memcmp(t->copy, t->page->hva + t->offset, head) || memcmp(t->copy + head, page2->hva, MAX_INSN - head));
    bt_liveness(t);
    return true;
}

/* CPU time of this thread. */
static uint64_t nanoseconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void begin(struct soft_cpu *c, const struct ftlb_entry *page, unsigned offset, unsigned mode)
{
    struct translation *t = bt_of(c)->scratch;

    t->c = c;
    t->bt = bt_of(c);
    t->page = page;
    t->offset = offset;
    t->mode = mode;
    t->nmisses = 0;
    t->began = t->bt->made++ % BT_TIMED ? 0 : nanoseconds();
    t->word = bt_mode32(mode) ? 4 : 8;
}

static struct tblock *finish(struct translation *t, uint32_t version, const struct second *second)
{
    struct bt *bt = t->bt;
    struct tblock *b;

    if (!bt_cache_room(t->c, t->n))
        return NULL;
    bt_share(t);
    bt_plan_live(t);
    t->b = (struct tblock){ .page = (uint32_t)t->page->page, .version = version, .start = bt_code_next(bt),
                            .offset = (uint16_t)t->offset, .mode = (uint16_t)t->mode, .n = (uint8_t)t->n,
                            .needs = (uint16_t)t->items[0].live, .crosses = second != NULL };
    if (t->b.needs)
        t->b.start += (uint32_t)align_up(BT_RESTORE_BYTES, BT_START_ALIGN);
    t->start = bt->rw + t->b.start;
    /* The kernel is large and accesses little that is not aligned. */
    t->e = (struct emit){ .p = t->start, .end = t->start + BT_ROOM(t->n), .hashed = bt->hashed,
                          .code32 = bt_mode32(t->mode),
                          .unaligned = bt->hashed || t->mode & BT_MODE_USER ? NULL : bt->unaligned };
    if (t->b.needs)
        emit_entry(t);
    emit_block(t);
    b = bt_cache_add(bt, &t->b, t->functions, t->sites, t->links, second, t->e.p);
    bt->translated += t->n;
    if (t->began) {
        bt->timed_ns += nanoseconds() - t->began;
        bt->timed += t->n;
    }
    bt_perf_block(bt, b, (size_t)(t->e.p - t->start), (soft_rip(t->c) & MEM_PAGE_MASK) + t->offset);
    return b;
}

struct tblock *bt_translate(struct soft_cpu *c, const struct ftlb_entry *page, unsigned offset, unsigned mode,
                            bool *crosses)
{
    struct translation *t = bt_of(c)->scratch;
    uint32_t version = 0;

    *crosses = false;
    if (!bt_cache_room(c, 1))
        return NULL;
    begin(c, page, offset, mode);
    return prepare(t, &version, crosses) ? finish(t, version, NULL) : NULL;
}

struct tblock *bt_translate_crossing(struct soft_cpu *c, const struct ftlb_entry *page,
                                     const struct ftlb_entry *page2, unsigned offset, unsigned mode)
{
    struct translation *t = bt_of(c)->scratch;
    uint32_t version[2];
    struct second second = { .page = (uint32_t)page2->page };

    if (!bt_cache_room(c, 1))
        return NULL;
    begin(c, page, offset, mode);
    if (!prepare_crossing(t, page2, version))
        return NULL;
    second.version = version[1];
    return finish(t, version[0], &second);
}

struct translation *bt_translation_create(void)
{
    return malloc(sizeof(struct translation));
}
