/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions of sites.  Those that always call their function are kept
 * lowered beside the block; for a missed access, or a fault, the bytes are
 * decoded again, since most sites never come to that.
 */
#include "engine/bt/bt.h"

#define MAX_INSN 15

uint32_t bt_find_site(const struct bt *bt, uintptr_t host)
{
    uint64_t offset = host - (uintptr_t)bt->rx;
    const struct tblock *b = bt_block_at(bt, offset);

    for (unsigned n = 0; b && n < b->nsites; n++) {
        const struct site *s = &bt_sites(b)[n];

        if (s->host && !(s->kind & SITE_FUNCTION) && b->start + s->host == offset)
            return BT_ID((const uint8_t *)b - bt->meta, n);
    }
    return 0;
}

/* The bytes at a place in a block's page; returns how many. */
static unsigned fetch(const struct mem *mem, const struct tblock *b, unsigned offset, uint8_t *bytes)
{
    unsigned head = MIN(MAX_INSN, (unsigned)MEM_PAGE_SIZE - offset);

    memcpy(bytes, mem->hva + (uint64_t)b->page * MEM_PAGE_SIZE + offset, head);
    if (!b->crosses)
        return head;
    memcpy(bytes + head, mem->hva + (uint64_t)bt_second(b)->page * MEM_PAGE_SIZE, MAX_INSN - head);
    return MAX_INSN;
}

static bool decode(struct soft_cpu *c, const struct tblock *b, const struct site *s, struct bt_function *f)
{
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecodedInstruction z;
    uint8_t bytes[MAX_INSN];
    unsigned n = fetch(c->vm->mem, b, s->offset, bytes);
    bool known;

    if (soft_decode_full(c->vm->model, c->mode_key, bytes, n, &f->insn, &z, op, &known) == DECODE_MORE)
        return false;
    f->mnemonic = known ? (uint16_t)z.mnemonic : ZYDIS_MNEMONIC_INVALID;
    return true;
}

const struct bt_function *bt_lowered(struct soft_cpu *c, uint32_t id, bool *stale)
{
    struct bt *bt = bt_of(c);
    const struct tblock *b = bt_block(bt, id);
    const struct site *s = &bt_sites(b)[bt_number(id)];
    struct bt_lowered *l = &bt->lowered[(id ^ id >> BT_LOWERED_BITS) & ((1 << BT_LOWERED_BITS) - 1)];

    *stale = false;
    if (s->kind & SITE_FUNCTION)
        return &bt_functions(b)[s->host];
    if (likely(l->id == id))
        return &l->f;
    l->id = 0;
    if (!decode(c, b, s, &l->f)) {
        *stale = true;
        return NULL;
    }
    *stale = bt_is_stale(c->vm->mem, b);
    if (!*stale)
        l->id = id;
    return &l->f;
}
