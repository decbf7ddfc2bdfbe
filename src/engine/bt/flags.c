/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which arithmetic flags are live.
 *
 * Probes change flags, so it pays to know where nobody will read them.  Inside
 * a block that is a walk from its end.  At an exit inside the page the code
 * there is looked at: a translation knows what it needs; else a few
 * instructions are decoded.  What was looked at is tracked as code, so if it
 * changes, the block is stale too.  Beyond the page nothing is known, and all
 * flags are live.
 */
#include "engine/bt/item.h"

#include "engine/soft/undefined.h"

/* Instructions decoded at an exit. */
#define LOOK_MAX 5
#define MAX_INSN 15

static bool is_shift(const struct item *i)
{
    if (i->kind != K_GENERIC)
        return false;
    if (i->z.opcode_map == ZYDIS_OPCODE_MAP_0F)
        return (i->z.opcode & 0xf6) == 0xa4;
    return i->z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && i->z.opcode >= 0xc0 && i->z.opcode <= 0xd3 &&
           i->z.opcode != 0xc6 && i->z.opcode != 0xc7;
}

/* A count that the instruction has in itself; 0: by CL, or masked to nothing. */
static unsigned fixed_count(const struct item *i)
{
    if (i->z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (i->z.opcode == 0xd0 || i->z.opcode == 0xd1))
        return 1;
    if (!i->z.raw.imm[0].size)
        return 0;
    return (unsigned)i->z.raw.imm[0].value.u & (i->z.operand_width == 64 ? 63 : 31);
}

static bool uses_all_flags(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_PUSHFQ || m == ZYDIS_MNEMONIC_POPFQ || m == ZYDIS_MNEMONIC_PUSHFD ||
           m == ZYDIS_MNEMONIC_POPFD;
}

void bt_flag_effects(struct item *i)
{
    const ZydisAccessedFlags *f = i->z.cpu_flags;
    uint32_t undefined;

    i->reads = i->kills = i->writes = 0;
    if (i->kind == K_FUNCTION || i->kind == K_SYSCALL || i->kind == K_SYSRET) {
        i->reads = i->writes = X86_FLAGS_ARITH;
        return;
    }
    if (!f)
        return;
    i->writes = (f->modified | f->set_0 | f->set_1 | f->undefined) & X86_FLAGS_ARITH;
    undefined = soft_sets_undefined(&i->z) ? 0 : f->undefined & X86_FLAGS_ARITH;
    i->kills = i->writes & ~undefined;
    i->reads = (f->tested & X86_FLAGS_ARITH) | undefined;
    /* POPF may fault with the flags that were. */
    if (i->kind == K_SYSTEM && uses_all_flags(i->z.mnemonic))
        i->reads = X86_FLAGS_ARITH;
    /* Comparisons leave flags alone if their exception is not masked: that of
     * FCOMI shows later, and those of COMISS and the like have no access that faults. */
    if (i->kind == K_X87 || (i->kind == K_SIMD && i->z.cpu_flags->modified & X86_FLAGS_ARITH))
        i->kills = 0;
    /* A count of 0 changes nothing. */
    if (is_shift(i) && !fixed_count(i)) {
        i->reads = X86_FLAGS_ARITH;
        i->kills = 0;
    }
}

/* Flags that are read from these items on before they are set, as far as they
 * tell; *left: those that nobody has read or set. */
static uint32_t needed(const struct item *i, unsigned n, uint32_t *left)
{
    uint32_t need = 0;

    for (; n-- && *left; i++) {
        need |= i->reads & *left;
        *left &= ~(i->kills | i->reads);
        if (i->kind >= K_JCC)
            break;
    }
    return need;
}

/* Decode on from an offset of the page until all flags are known. */
static uint32_t look_ahead(struct translation *t, unsigned offset)
{
    struct look *k = &t->looks[t->nlooks];
    uint32_t need = 0, left = X86_FLAGS_ARITH;
    unsigned room = MIN((unsigned)sizeof(k->bytes), (unsigned)MEM_PAGE_SIZE - offset);
    enum decode_result r = DECODE_OK;

    if (t->nlooks == BT_LOOKS)
        return X86_FLAGS_ARITH;
    *k = (struct look){ .offset = (uint16_t)offset };
    memcpy(k->bytes, t->page->hva + offset, room);
    for (unsigned n = 0; n < LOOK_MAX && left && r == DECODE_OK && k->len < room; n++) {
        struct item *i = &t->ahead;

        i->bytes = k->bytes + k->len;
        r = bt_decode(t->c, t->bt->forms, i, t->mode, MIN(room - k->len, MAX_INSN));
        if (r == DECODE_MORE)
            break;
        k->len = (uint16_t)(k->len + i->insn.len);
        need |= needed(i, 1, &left);
    }
    if (!k->len)
        return X86_FLAGS_ARITH;
    t->nlooks++;
    return need | left;
}

/* Flags that the code at this offset needs. */
static uint32_t needed_at(struct translation *t, int64_t target)
{
    const struct tblock *b;
    uint32_t left = X86_FLAGS_ARITH, need;

    if (target < 0 || target >= (int64_t)MEM_PAGE_SIZE || t->bt->unchained)
        return X86_FLAGS_ARITH;
    for (unsigned n = 0; n < t->n; n++)
        if (t->items[n].offset == target) {
            need = needed(&t->items[n], t->n - n, &left);
            return need | left;
        }
    b = bt_lookup(t->c, t->page->page, (unsigned)target, t->mode & ~BT_MODE_PLAIN);
    return b ? b->needs : look_ahead(t, (unsigned)target);
}

static uint32_t live_at_end(struct translation *t, const struct item *last)
{
    int64_t behind = last->offset + last->insn.len;

    if (last->kind < K_JCC && last->kind != K_FUNCTION)
        return needed_at(t, behind);
    return X86_FLAGS_ARITH;
}

void bt_liveness(struct translation *t)
{
    uint32_t live = live_at_end(t, &t->items[t->n - 1]);

    for (unsigned n = t->n; n-- > 0;) {
        struct item *i = &t->items[n];

        if (i->kind == K_JCC) {
            if (n == t->n - 1)
                live = needed_at(t, i->offset + i->insn.len);
            live |= needed_at(t, i->offset + i->insn.len + i->op[0].imm.value.s);
        } else if (i->kind == K_JMP) {
            live = needed_at(t, i->offset + i->insn.len + i->op[0].imm.value.s);
        }
        i->live_out = live;
        i->live = (live & ~i->kills) | i->reads;
        if (t->bt->unchained)
            i->live = X86_FLAGS_ARITH;
        live = i->live;
    }
}
