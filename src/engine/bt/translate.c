/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Selection: guest instructions of a block to host code.
 *
 * Identity translation: an instruction on the allow-list keeps its opcode; only
 * registers that live in the context, and memory operands, are rewritten.
 * Everything else calls the instruction's function.  Each inline memory access
 * has a cold path that calls the function too, so a miss completes the access
 * there.
 */
#include <stdlib.h>

#include "engine/bt/item.h"
#include "engine/soft/blocks.h"
#include "engine/soft/simd.h"

#define MAX_INSN 15
/* Most host bytes of one guest instruction, hot and cold. */
#define ROOM_PER_INSN 320

struct translation {
    struct soft_cpu *c;
    struct bt *bt;
    struct emit e;
    struct tblock *b;
    unsigned offset, n, bytes, mode;
    struct item items[BT_BLOCK_MAX];
    uint8_t copy[BT_BLOCK_MAX * MAX_INSN];
    struct { uint8_t *at; struct link *link; } links[4];
    unsigned nlinks;
};

/* ---- decoding and flags ------------------------------------------------------------------- */

static void liveness(struct translation *t)
{
    uint32_t live = X86_FLAGS_ARITH;

    for (unsigned n = t->n; n-- > 0;) {
        struct item *i = &t->items[n];

        live = (live & ~i->kills) | i->reads;
        i->live = live || t->bt->unchained;
    }
}

/* Decode into items; false: nothing here that lies in the page. */
static bool decode(struct translation *t, const uint8_t *page)
{
    unsigned room = MIN((unsigned)sizeof(t->copy), (unsigned)MEM_PAGE_SIZE - t->offset);
    enum decode_result r = DECODE_OK;

    memcpy(t->copy, page + t->offset, room);
    t->n = t->bytes = 0;
    while (r == DECODE_OK && t->n < BT_BLOCK_MAX && t->bytes < room) {
        struct item *i = &t->items[t->n];
        bool known;

        i->bytes = t->copy + t->bytes;
        i->offset = (uint16_t)(t->offset + t->bytes);
        r = soft_decode_full(t->c->vm->model, t->c->mode_key, i->bytes, MIN(room - t->bytes, MAX_INSN),
                             &i->insn, &i->z, i->op, &known);
        if (r == DECODE_MORE)
            break;
        i->kind = known ? bt_classify(t->c, i, t->mode) : K_FUNCTION;
        bt_flag_effects(i);
        t->bytes += i->insn.len;
        t->n++;
    }
    return t->n > 0;
}

/* ---- emission --------------------------------------------------------------------------------- */

static bool in_context(unsigned r)
{
    return r >= H_R9 && r <= H_R11;
}

static uint32_t exec_offset(const struct translation *t, const uint8_t *p)
{
    return (uint32_t)(p - t->bt->rw);
}

/* Jump to the function of a site, to come back at a place that is returned. */
static uint8_t *emit_call(struct translation *t, const struct site *s)
{
    struct emit *e = &t->e;
    uint8_t *cont = emit_lea_rip(e, H_R11);

    emit_gs_store(e, H_R11, CTX_WORD(W_CONT));
    emit_imm64(e, H_R11, (uint64_t)((const uint8_t *)s - t->bt->meta));
    emit_gs_store(e, H_R11, CTX_WORD(W_SITE));
    emit_patch(emit_jmp(e), t->bt->slow);
    return cont;
}

static struct site *new_site(struct translation *t, const struct item *i)
{
    struct site *s = &t->b->sites[t->b->nsites++];

    *s = (struct site){ .insn = i->insn, .offset = i->offset, .index = (uint16_t)(i - t->items),
                        .opcode = i->kind == K_RET ? SITE_RET : i->kind == K_CALL_IND ? SITE_CALL : SITE_OTHER };
    return s;
}

static void emit_function(struct translation *t, struct item *i)
{
    i->site = new_site(t, i);
    emit_here(&t->e, emit_call(t, i->site));
}

static void emit_count(struct translation *t, unsigned n)
{
    emit_gs_load(&t->e, H_R11, CTX(insn_count));
    emit_lea(&t->e, H_R11, H_R11, -1, 0, (int32_t)n);
    emit_gs_store(&t->e, H_R11, CTX(insn_count));
}

/* R10: target.  The site lets the dispatcher take back a branch whose target
 * is not canonical. */
static void exit_indirect(struct translation *t, struct item *i, unsigned n)
{
    if (!i->site)
        i->site = new_site(t, i);
    emit_count(t, n);
    emit_gs_imm(&t->e, CTX_WORD(W_SITE), (uint32_t)((uint8_t *)i->site - t->bt->meta));
    emit_patch(emit_jmp(&t->e), t->bt->indirect);
}

static void exit_direct(struct translation *t, unsigned n, int64_t target)
{
    struct link *l;

    emit_count(t, n);
    l = (target & ~(int64_t)(MEM_PAGE_SIZE - 1)) ? NULL : bt_meta_alloc(t->bt, sizeof(*l));
    if (l) {
        *l = (struct link){ .patch = emit_jmp(&t->e), .target = (uint16_t)target };
        t->links[t->nlinks].at = l->patch;
        t->links[t->nlinks++].link = l;
        return;
    }
    emit_gs_load(&t->e, H_R10, CTX_WORD(W_PAGE));
    emit_lea(&t->e, H_R10, H_R10, -1, 0, (int32_t)target);
    emit_gs_imm(&t->e, CTX_WORD(W_SITE), 0);
    emit_patch(emit_jmp(&t->e), t->bt->indirect);
}

/* The probe for an item's memory access at the address in R10. */
static void emit_access(struct translation *t, struct item *i, unsigned size, bool write)
{
    i->mem = (struct memop){ .size = size, .write = write, .live = i->live };
    bt_emit_probe(&t->e, &i->mem);
    i->site = new_site(t, i);
}

/* The next emitted instruction makes the access. */
static void access_here(struct translation *t, struct item *i)
{
    i->site->host = exec_offset(t, t->e.p);
}

/* The instruction with rm (memory: base R10 and index index, or register) and
 * reg replaced. */
static void emit_identity(struct emit *e, const struct item *i, bool mem, int index, unsigned rm, unsigned reg)
{
    const ZydisDecodedInstruction *z = &i->z;
    unsigned rex = z->raw.rex.W << 3 | (reg >> 3) << 2;

    if (mem)
        rex |= (index >= 0 ? 2 : 0) | 1;        /* R11, R10 */
    else
        rex |= rm >> 3;
    if (z->attributes & ZYDIS_ATTRIB_HAS_LOCK)
        emit8(e, 0xf0);
    if (z->operand_width == 16 || (i->insn.flags & INSN_O16))
        emit8(e, 0x66);
    if (z->mnemonic == ZYDIS_MNEMONIC_POPCNT || z->mnemonic == ZYDIS_MNEMONIC_TZCNT ||
        z->mnemonic == ZYDIS_MNEMONIC_LZCNT)
        emit8(e, 0xf3);
    if (rex || (z->attributes & ZYDIS_ATTRIB_HAS_REX))
        emit8(e, 0x40 | rex);
    if (z->opcode_map == ZYDIS_OPCODE_MAP_0F)
        emit8(e, 0x0f);
    emit8(e, z->opcode);
    if (!mem) {
        emit8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
    } else {
        emit8(e, (reg & 7) << 3 | (index >= 0 ? 4 : 2));
        if (index >= 0)
            emit8(e, 0x1a);                     /* [r10 + r11] */
    }
    for (unsigned n = 0; n < 2; n++)
        if (z->raw.imm[n].size)
            emit_bytes(e, i->bytes + z->raw.imm[n].offset, z->raw.imm[n].size / 8);
}

/* The register in ModRM.reg, as the guest numbers it; or the opcode's digit. */
static unsigned reg_number(const struct item *i)
{
    return bt_reg_field(&i->z) ? i->z.raw.modrm.reg | i->z.raw.rex.R << 3 : i->z.raw.modrm.reg;
}

static void emit_generic_reg(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;
    unsigned reg = reg_number(i), rm = i->z.raw.modrm.rm | i->z.raw.rex.B << 3;
    unsigned host_reg = reg, host_rm = rm;

    if (in_context(rm)) {
        host_rm = H_R10;
        emit_gs_load(e, H_R10, CTX_GPR(rm));
    }
    if (bt_reg_field(&i->z) && in_context(reg)) {
        host_reg = reg == rm ? host_rm : H_R11;
        if (host_reg == H_R11)
            emit_gs_load(e, H_R11, CTX_GPR(reg));
    }
    emit_identity(e, i, false, -1, host_rm, host_reg);
    if (in_context(rm))
        emit_gs_store(e, H_R10, CTX_GPR(rm));
    if (bt_reg_field(&i->z) && in_context(reg) && reg != rm)
        emit_gs_store(e, H_R11, CTX_GPR(reg));
}

static void emit_generic_mem(struct translation *t, struct item *i, const ZydisDecodedOperand *m)
{
    struct emit *e = &t->e;
    unsigned reg = reg_number(i);
    bool write = m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;

    if (!bt_emit_address(e, m, i->offset + i->insn.len)) {
        emit_function(t, i);
        return;
    }
    emit_access(t, i, m->size / 8, write);
    if (bt_reg_field(&i->z) && in_context(reg)) {
        emit_lea(e, H_R10, H_R10, H_R11, 0, 0);
        emit_gs_load(e, H_R11, CTX_GPR(reg));
        access_here(t, i);
        emit_identity(e, i, true, -1, 0, H_R11);
        emit_gs_store(e, H_R11, CTX_GPR(reg));
    } else {
        access_here(t, i);
        emit_identity(e, i, true, H_R11, 0, reg);
    }
    i->cont = e->p;
}

static void emit_generic(struct translation *t, struct item *i)
{
    const ZydisDecodedOperand *m = bt_memory_operand(i);

    if (m)
        emit_generic_mem(t, i, m);
    else
        emit_generic_reg(t, i);
}

static void emit_mov_imm(struct translation *t, struct item *i)
{
    unsigned reg = (i->z.opcode & 7) | i->z.raw.rex.B << 3, host = in_context(reg) ? H_R11 : reg;
    struct emit *e = &t->e;

    if (in_context(reg) && i->z.operand_width < 32)
        emit_gs_load(e, H_R11, CTX_GPR(reg));
    if (i->z.operand_width == 16)
        emit8(e, 0x66);
    if (host >> 3 || (i->z.attributes & ZYDIS_ATTRIB_HAS_REX))
        emit8(e, 0x40 | i->z.raw.rex.W << 3 | host >> 3);
    emit8(e, (i->z.opcode & 0xf8) | (host & 7));
    emit_bytes(e, i->bytes + i->z.raw.imm[0].offset, i->z.raw.imm[0].size / 8);
    if (in_context(reg))
        emit_gs_store(e, H_R11, CTX_GPR(reg));
}

static void emit_bswap(struct translation *t, struct item *i)
{
    unsigned reg = (i->z.opcode & 7) | i->z.raw.rex.B << 3, host = in_context(reg) ? H_R11 : reg;
    struct emit *e = &t->e;

    if (in_context(reg))
        emit_gs_load(e, H_R11, CTX_GPR(reg));
    emit8(e, 0x40 | i->z.raw.rex.W << 3 | host >> 3);
    emit8(e, 0x0f);
    emit8(e, 0xc8 | (host & 7));
    if (in_context(reg))
        emit_gs_store(e, H_R11, CTX_GPR(reg));
}

static void emit_lea_insn(struct translation *t, struct item *i)
{
    unsigned reg = i->z.raw.modrm.reg | i->z.raw.rex.R << 3;
    ZydisDecodedOperand m = i->op[1];
    struct emit *e = &t->e;

    m.mem.segment = ZYDIS_REGISTER_DS;          /* LEA has no segment */
    if (!bt_emit_address(e, &m, i->offset + i->insn.len)) {
        emit_function(t, i);
        return;
    }
    if (i->z.operand_width == 32)
        EMIT(e, 0x45, 0x89, 0xd2);              /* mov r10d, r10d */
    if (in_context(reg))
        emit_gs_store(e, H_R10, CTX_GPR(reg));
    else
        emit_mov(e, reg, H_R10);
}

static unsigned stack_reg(const struct item *i)
{
    return soft_reg_number(i->op[0].reg.value) / 8;
}

static void emit_push(struct translation *t, struct item *i)
{
    unsigned reg = i->kind == K_PUSH_REG ? stack_reg(i) : 0;
    struct emit *e = &t->e;

    emit_lea(e, H_R10, H_RSP, -1, 0, -8);
    emit_access(t, i, 8, true);
    if (i->kind == K_PUSH_IMM) {
        access_here(t, i);
        EMIT(e, 0x4b, 0xc7, 0x04, 0x1a);        /* mov qword [r10 + r11], imm32 */
        emit32(e, (uint32_t)i->op[0].imm.value.u);
    } else if (in_context(reg)) {
        emit_lea(e, H_R10, H_R10, H_R11, 0, 0);
        emit_gs_load(e, H_R11, CTX_GPR(reg));
        access_here(t, i);
        EMIT(e, 0x4d, 0x89, 0x1a);              /* mov [r10], r11 */
    } else {
        access_here(t, i);
        emit_mem(e, 0x89, reg, H_R10, H_R11, 0, 0);
    }
    emit_lea(e, H_RSP, H_RSP, -1, 0, -8);
    i->cont = e->p;
}

static void emit_pop(struct translation *t, struct item *i)
{
    unsigned reg = stack_reg(i);
    struct emit *e = &t->e;

    emit_mov(e, H_R10, H_RSP);
    emit_access(t, i, 8, false);
    access_here(t, i);
    if (in_context(reg)) {
        emit_mem(e, 0x8b, H_R11, H_R10, H_R11, 0, 0);
        emit_gs_store(e, H_R11, CTX_GPR(reg));
    } else {
        emit_mem(e, 0x8b, reg, H_R10, H_R11, 0, 0);
    }
    if (reg != H_RSP)
        emit_lea(e, H_RSP, H_RSP, -1, 0, 8);
    i->cont = e->p;
}

static int64_t branch_target(const struct item *i)
{
    return i->offset + i->insn.len + i->op[0].imm.value.s;
}

/* Push the address behind the instruction. */
static void emit_push_return(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;

    emit_lea(e, H_R10, H_RSP, -1, 0, -8);
    emit_access(t, i, 8, true);
    emit_lea(e, H_R10, H_R10, H_R11, 0, 0);
    emit_gs_load(e, H_R11, CTX_WORD(W_PAGE));
    emit_lea(e, H_R11, H_R11, -1, 0, i->offset + i->insn.len);
    access_here(t, i);
    EMIT(e, 0x4d, 0x89, 0x1a);                  /* mov [r10], r11 */
    emit_lea(e, H_RSP, H_RSP, -1, 0, -8);
}

/* R10 = target of an indirect branch; false: by function. */
static bool emit_branch_operand(struct translation *t, struct item *i)
{
    const ZydisDecodedOperand *a = &i->op[0];
    struct emit *e = &t->e;

    if (a->type == ZYDIS_OPERAND_TYPE_REGISTER) {
        unsigned reg = stack_reg(i);

        if (in_context(reg))
            emit_gs_load(e, H_R10, CTX_GPR(reg));
        else
            emit_mov(e, H_R10, reg);
        return true;
    }
    if (!bt_emit_address(e, a, i->offset + i->insn.len))
        return false;
    emit_access(t, i, 8, false);
    access_here(t, i);
    emit_mem(e, 0x8b, H_R10, H_R10, H_R11, 0, 0);
    return true;
}

static void emit_ret(struct translation *t, struct item *i, unsigned n)
{
    struct emit *e = &t->e;

    emit_mov(e, H_R10, H_RSP);
    emit_access(t, i, 8, false);
    access_here(t, i);
    emit_mem(e, 0x8b, H_R10, H_R10, H_R11, 0, 0);
    emit_lea(e, H_RSP, H_RSP, -1, 0, 8 + (int32_t)(uint16_t)i->insn.imm);
    exit_indirect(t, i, n);
}

/* Only calls of registers: one site, one access. */
static void emit_branch(struct translation *t, struct item *i, unsigned n)
{
    struct emit *e = &t->e;
    uint8_t *taken;

    switch (i->kind) {
    case K_JCC:
        taken = emit_jcc(e, i->z.opcode & 15);
        exit_direct(t, n, i->offset + i->insn.len);
        emit_here(e, taken);
        exit_direct(t, n, branch_target(i));
        break;
    case K_JMP:
        exit_direct(t, n, branch_target(i));
        break;
    case K_CALL:
        emit_push_return(t, i);
        exit_direct(t, n, branch_target(i));
        break;
    case K_JMP_IND:
        if (!emit_branch_operand(t, i))
            emit_function(t, i);
        else
            exit_indirect(t, i, n);
        break;
    case K_CALL_IND:
        if (i->op[0].type != ZYDIS_OPERAND_TYPE_REGISTER) {
            emit_function(t, i);
            break;
        }
        emit_push_return(t, i);
        emit_branch_operand(t, i);
        exit_indirect(t, i, n);
        break;
    default:
        emit_ret(t, i, n);
    }
}

static void emit_copy(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;

    if (i->insn.flags & INSN_O16)
        emit8(e, 0x66);
    if (i->z.attributes & ZYDIS_ATTRIB_HAS_REX)
        emit8(e, 0x40 | i->z.raw.rex.W << 3);
    emit8(e, i->z.opcode);
    if (i->z.raw.imm[0].size)
        emit_bytes(e, i->bytes + i->z.raw.imm[0].offset, i->z.raw.imm[0].size / 8);
}

static void emit_simd(struct translation *t, struct item *i)
{
    const struct simd_op *op = i->insn.aux;
    const ZydisDecodedOperand *m = bt_memory_operand(i);
    struct emit *e = &t->e;

    if (op->size) {
        if (!bt_emit_address(e, m, i->offset + i->insn.len)) {
            emit_function(t, i);
            return;
        }
        i->mem = (struct memop){ .size = op->size, .align = op->align, .write = op->flags & SO_STORE,
                                 .live = i->live };
        bt_emit_probe(e, &i->mem);
        i->site = new_site(t, i);
    }
    bt_emit_simd_load(e, &i->insn);
    if (op->size)
        access_here(t, i);
    bt_emit_simd_op(e, &i->insn);
    bt_emit_simd_store(e, &i->insn);
    i->cont = e->p;
}

static void emit_item(struct translation *t, struct item *i, unsigned n)
{
    switch (i->kind) {
    case K_NOP: break;
    case K_GENERIC: emit_generic(t, i); break;
    case K_SIMD: emit_simd(t, i); break;
    case K_COPY: emit_copy(t, i); break;
    case K_MOV_IMM: emit_mov_imm(t, i); break;
    case K_BSWAP: emit_bswap(t, i); break;
    case K_LEA: emit_lea_insn(t, i); break;
    case K_PUSH_REG:
    case K_PUSH_IMM: emit_push(t, i); break;
    case K_POP: emit_pop(t, i); break;
    case K_FUNCTION: emit_function(t, i); break;
    default: emit_branch(t, i, n);
    }
}

/* ---- blocks ------------------------------------------------------------------------------------- */

/* Poll the attention word; returns the place of the jump to the exit. */
static uint8_t *emit_poll(struct translation *t, bool live, bool *restore)
{
    struct emit *e = &t->e;
    uint8_t *out;

    *restore = live;
    if (!live) {
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

static void emit_leave_at(struct translation *t, unsigned offset, enum leave why)
{
    struct emit *e = &t->e;

    emit_gs_load(e, H_R10, CTX_WORD(W_PAGE));
    emit_lea(e, H_R10, H_R10, -1, 0, (int32_t)offset);
    emit_imm64(e, H_R11, why);
    emit_patch(emit_jmp(e), t->bt->leave);
}

/* Cold paths, behind the block. */
static void emit_cold(struct translation *t, uint8_t *poll, bool restore)
{
    struct emit *e = &t->e;

    emit_here(e, poll);
    if (restore)
        emit_gs_load(e, H_RCX, CTX_WORD(W_RCX));
    t->b->out = exec_offset(t, e->p);
    emit_leave_at(t, t->offset, LEAVE_ATTENTION);
    for (unsigned n = 0; n < t->n; n++) {
        struct item *i = &t->items[n];

        if (!i->mem.size)
            continue;
        /* A host fault comes here, a miss behind what is to be undone. */
        i->site->cold = exec_offset(t, e->p);
        if (i->kind == K_SIMD)
            bt_emit_simd_undo(e, &i->insn);
        for (unsigned k = 0; k < i->mem.ncold; k++)
            emit_here(e, i->mem.cold[k]);
        if (i->mem.live)
            bt_emit_restore_flags(e);
        /* Branches never come back here. */
        emit_patch(emit_call(t, i->site), i->cont ? i->cont : e->p);
    }
    for (unsigned n = 0; n < t->nlinks; n++) {
        emit_here(e, t->links[n].at);
        emit_imm64(e, H_R11, (uint64_t)((uint8_t *)t->links[n].link - t->bt->meta));
        emit_gs_store(e, H_R11, CTX_WORD(W_TMP));
        emit_leave_at(t, t->links[n].link->target, LEAVE_LINK);
    }
}

static void emit_block(struct translation *t)
{
    const struct item *last = &t->items[t->n - 1];
    bool restore;
    uint8_t *poll = emit_poll(t, t->items[0].live, &restore);

    for (unsigned n = 0; n < t->n; n++) {
        struct item *i = &t->items[n];

        i->mem.size = 0;
        i->cont = NULL;
        i->site = NULL;
        emit_item(t, i, n + 1);
    }
    /* What does not branch away goes on behind. */
    if (last->kind < K_JCC || last->kind == K_JMP_IND || last->kind == K_CALL_IND)
        exit_direct(t, t->n, t->offset + t->bytes);
    emit_cold(t, poll, restore);
}

/* Room for the block, or nothing and a flush. */
static bool reserve(struct translation *t)
{
    struct bt *bt = t->bt;
    size_t need = (t->n + 2) * ROOM_PER_INSN;

    t->b = bt_meta_alloc(bt, sizeof(*t->b));
    if (t->b) {
        t->b->sites = bt_meta_alloc(bt, t->n * sizeof(struct site));
        if (t->b->sites && bt->code_size - bt->code_used > need)
            return true;
    }
    bt_cache_flush(bt);
    return false;
}

struct tblock *bt_translate(struct soft_cpu *c, const struct ftlb_entry *page, unsigned offset, unsigned mode)
{
    struct bt *bt = bt_of(c);
    struct translation *t = bt->scratch;
    uint32_t version;
    uint64_t epoch;
    bool fresh;

    t->c = c;
    t->bt = bt;
    t->offset = offset;
    t->mode = mode;
    t->nlinks = 0;
    do {
        if (!decode(t, page->hva))
            return NULL;
        version = mem_code_add(c->vm->mem, page->page, offset, t->bytes, &fresh);
        epoch = fresh ? soft_code_revoke(c) : atomic_load(&c->vm->code_epoch);
        /* Others may still write without being noticed: not translated until
         * they have given that up. */
        if (c->vm->ncpus > 1 && !soft_code_acknowledged(c, epoch))
            return NULL;
    } while (memcmp(t->copy, page->hva + offset, t->bytes));
    if (!reserve(t))
        return NULL;
    liveness(t);
    *t->b = (struct tblock){ .page = page->page, .version = version, .offset = (uint16_t)offset,
                             .mode = (uint8_t)mode, .n = (uint8_t)t->n,
                             .code = (uint32_t)bt->code_used, .sites = t->b->sites };
    t->e = (struct emit){ .p = bt->rw + bt->code_used, .end = bt->rw + bt->code_size };
    emit_block(t);
    bt->code_used = align_up((uint64_t)(t->e.p - bt->rw), 16);
    bt->translated += t->n;
    bt_insert(bt, t->b);
    return t->b;
}

struct translation *bt_translation_create(void)
{
    return malloc(sizeof(struct translation));
}
