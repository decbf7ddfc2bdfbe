/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory operands by flat tables: the replaceable part of the translator. */
#include "engine/bt/bt.h"

static bool in_context(unsigned r)
{
    return r >= H_R9 && r <= H_R11;
}

/* A general register's number, or -1 for none. */
static int number(ZydisRegister r)
{
    uint8_t off = soft_reg_number(r);

    return off == GPR_ZERO ? -1 : off / 8;
}

bool bt_emit_lea(struct emit *e, unsigned dst, const ZydisDecodedOperand *op, bool narrow, unsigned next_offset)
{
    int base = number(op->mem.base), index = number(op->mem.index);
    unsigned scale = op->mem.scale ? (unsigned)__builtin_ctz(op->mem.scale) : 0;
    int64_t disp = op->mem.disp.value;

    if (e->code32) {
        emit_lea_code(e, dst, base, index, scale, (int32_t)disp);
        return true;
    }
    if (op->mem.base == ZYDIS_REGISTER_RIP) {
        disp += next_offset;
        emit_gs_load(e, H_R10, CTX_WORD(W_PAGE));
        base = H_R10;
    }
    if (disp != (int32_t)disp || op->mem.base == ZYDIS_REGISTER_EIP)
        return false;
    if (base >= 0 && in_context((unsigned)base) && op->mem.base != ZYDIS_REGISTER_RIP) {
        emit_gs_load(e, H_R10, CTX_GPR(base));
        base = H_R10;
    }
    if (index >= 0 && in_context((unsigned)index)) {
        emit_gs_load(e, H_R11, CTX_GPR(index));
        index = H_R11;
    }
    emit_mem_w(e, 0x8d, dst, base, index, scale, (int32_t)disp, !narrow);
    return true;
}

bool bt_emit_address(struct emit *e, const ZydisDecodedOperand *op, unsigned address_width,
                     unsigned next_offset)
{
    unsigned seg = soft_segment_number(op->mem.segment);

    if (!bt_emit_lea(e, H_R10, op, address_width == 32, next_offset))
        return false;
    if (!e->code32 && (seg == SEG_FS || seg == SEG_GS)) {
        emit_gs_load(e, H_R11, seg == SEG_FS ? CTX(s.seg[SEG_FS].base) : CTX(s.seg[SEG_GS].base));
        emit_lea(e, H_R10, H_R10, H_R11, 0, 0);
    }
    return true;
}

void bt_emit_segment(struct emit *e, unsigned seg)
{
    unsigned word = seg == SEG_FS ? W_BASE_FS : W_BASE_GS;

    emit_gs_load(e, H_R11, CTX_WORD(word));
    emit_lea_code(e, H_R10, H_R10, H_R11, 0, 0);
    emit_gs_load(e, H_R11, CTX_WORD(word + 1));
    emit_lea(e, H_R10, H_R10, H_R11, 0, 0);
}

/* Cold unless [reg, reg + size) lies in a page. */
static void test_page(struct emit *e, struct memop *m, unsigned size)
{
    emit_mov(e, H_R11, m->reg);
    EMIT(e, 0x41, 0x81, 0xe3, 0xff, 0x0f, 0, 0);    /* and r11d, fff */
    emit_within(e, 7 + EMIT_JCC);
    EMIT(e, 0x41, 0x81, 0xfb);                  /* cmp r11d, 4096 - size */
    emit32(e, (uint32_t)MEM_PAGE_SIZE - size);
    m->cold[m->ncold++] = emit_jcc(e, 7);
}

/* BEXTR r11, reg, r9 */
static void page_number(struct emit *e, unsigned reg)
{
    emit8(e, 0xc4);
    emit8(e, 0x62 ^ (reg >> 3) << 5);
    EMIT(e, 0xb0, 0xf7);
    emit8(e, 0xd8 | (reg & 7));
}

/* R11 = the addend of the page of reg in the hashed table, or cold. */
static void load_hashed(struct emit *e, struct memop *m)
{
    const unsigned seg = m->write ? 0x65 : 0x64;

    page_number(e, m->reg);
    emit8(e, seg);
    EMIT(e, 0x4e, 0x8b, 0x1c, 0xdd, 0, 0, 0, 0);    /* mov r11, fs/gs:[r11 * 8] */
    emit_rr(e, 0x31, m->reg, H_R11);            /* xor r11, reg */
    EMIT(e, 0x49, 0xf7, 0xc3, 0, 0xf0, 0xff, 0xff); /* test r11, -4096 */
    m->cold[m->ncold++] = emit_jcc(e, 5);
    page_number(e, m->reg);
    emit8(e, seg);
    EMIT(e, 0x4e, 0x8b, 0x1c, 0xdd);            /* mov r11, fs/gs:[r11 * 8 + addends] */
    emit32(e, BT_HASH_BYTES);
}

static void load_entry(struct emit *e, struct memop *m)
{
    if (e->hashed) {
        load_hashed(e, m);
        return;
    }
    page_number(e, m->reg);
    emit8(e, m->write ? 0x65 : 0x64);
    EMIT(e, 0x4e, 0x8b, 0x1c, 0xdd, 0, 0, 0, 0);    /* mov r11, fs/gs:[r11 * 8] */
}

/* Of a hashed table only what is there is loaded. */
static void test_entry(struct emit *e, struct memop *m)
{
    if (e->hashed)
        return;
    emit_within(e, 3 + EMIT_JCC);
    EMIT(e, 0x4d, 0x85, 0xdb);                  /* test r11, r11 */
    m->cold[m->ncold++] = emit_jcc(e, 4);
}

void bt_emit_probe(struct emit *e, struct memop *m)
{
    m->ncold = 0;
    m->unaligned = NULL;
    if (m->size > 8 && m->align < m->size)
        test_page(e, m, m->size);
    load_entry(e, m);
    if (m->align || (m->size > 1 && m->size <= 8)) {
        emit_within(e, 4 + EMIT_JCC);
        emit8(e, 0x40 | m->reg >> 3);           /* test reg8, align - 1 */
        emit8(e, 0xf6);
        emit8(e, 0xc0 | (m->reg & 7));
        emit8(e, (m->align ? m->align : m->size) - 1);
        if (m->align)
            m->cold[m->ncold++] = emit_jcc(e, 5);
        else
            m->unaligned = emit_jcc(e, 5);
    }
    test_entry(e, m);
}

/* The address is in R10.  The two jumps lead to what is emitted next. */
static void unaligned_inline(struct emit *e, struct memop *m, const uint8_t *hot)
{
    uint8_t *across, *miss;

    EMIT(e, 0x45, 0x89, 0xd3, 0x41, 0x81, 0xcb, 0x00, 0xf0, 0xff, 0xff);    /* mov r11d, r10d; or r11d, -4096 */
    EMIT(e, 0x41, 0x83, 0xfb);                  /* cmp r11d, -size */
    emit8(e, (uint8_t)-m->size);
    across = emit_jcc8(e, 7);
    load_entry(e, m);
    EMIT(e, 0x4d, 0x85, 0xdb);                  /* test r11, r11 */
    miss = emit_jcc8(e, 4);
    emit_patch(emit_jmp(e), hot);
    emit_here8(e, across);
    emit_here8(e, miss);
}

void bt_emit_unaligned(struct emit *e, struct memop *m, const uint8_t *hot)
{
    emit_here(e, m->unaligned);
    if (m->reg != H_R10) {
        emit_mov(e, H_R10, m->reg);
        m->reg = H_R10;
    }
    if (e->unaligned) {
        emit_patch(emit_lea_rip(e, H_R11), hot);
        emit_patch(emit_jmp(e), e->unaligned[BT_UNALIGNED(m->size, m->write)]);
    } else if (!e->hashed) {
        unaligned_inline(e, m, hot);
    } else {
        test_page(e, m, m->size);
        load_entry(e, m);
        emit_patch(emit_jmp(e), hot);
    }
}

/* A probe ends with its jump to the cold path. */
void bt_emit_shared_unaligned(struct emit *e, unsigned size, bool write)
{
    struct memop m = { .reg = H_R10, .size = size, .write = write };

    emit_gs_store(e, H_R11, CTX_WORD(W_CONT));
    test_page(e, &m, size);
    load_entry(e, &m);
    test_entry(e, &m);
    emit_gs(e, 0xff, 4, CTX_WORD(W_CONT), false);   /* jmp [W_CONT] */
    for (unsigned n = 0; n < m.ncold; n++)
        emit_here(e, m.cold[n]);
    emit_gs_load(e, H_R11, CTX_WORD(W_CONT));
    emit_mem(e, 0x63, H_R10, H_R11, -1, 0, -4); /* movsxd r10, [r11 - 4] */
    emit_lea(e, H_R11, H_R11, H_R10, 0, 0);
    EMIT(e, 0x41, 0xff, 0xe3);                  /* jmp r11 */
}

/* Cold unless the run, of 1 to 2^32 elements as ECX says, ends in its page. */
static void test_run32(struct emit *e, struct memop *m, unsigned shift)
{
    EMIT(e, 0x41, 0x89, 0xcb);                  /* mov r11d, ecx */
    EMIT(e, 0x49, 0xc1, 0xe3);                  /* shl r11, shift */
    emit8(e, shift);
    emit_lea(e, H_R11, H_R11, H_R10, 0, -1);
    EMIT(e, 0x4d, 0x31, 0xd3);                  /* xor r11, r10 */
    EMIT(e, 0x49, 0xf7, 0xc3, 0, 0xf0, 0xff, 0xff); /* test r11, -4096 */
    m->cold[m->ncold++] = emit_jcc(e, 5);
}

static void test_run64(struct emit *e, struct memop *m, unsigned shift)
{
    EMIT(e, 0x45, 0x89, 0xd3, 0x41, 0x81, 0xe3, 0xff, 0x0f, 0, 0);  /* mov r11d, r10d; and r11d, fff */
    emit_lea(e, H_R11, H_R11, H_RCX, shift, 0);
    EMIT(e, 0x49, 0x81, 0xfb, 0x00, 0x10, 0, 0);    /* cmp r11, 4096 */
    m->cold[m->ncold++] = emit_jcc(e, 7);
}

/* The upper half of RCX may hold anything in 32-bit code. */
void bt_emit_run_probe(struct emit *e, struct memop *m, unsigned shift)
{
    m->reg = H_R10;
    if (e->code32)
        test_run32(e, m, shift);
    else
        test_run64(e, m, shift);
    load_entry(e, m);
    test_entry(e, m);
}

void bt_emit_shared_probe(struct emit *e, struct memop *m)
{
    m->reg = H_R10;
    m->ncold = 0;
    m->unaligned = NULL;
    test_page(e, m, m->size);
    load_entry(e, m);
    test_entry(e, m);
}
