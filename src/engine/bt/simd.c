/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SIMD instructions in translated code, by identity: the guest's registers
 * are in the host registers of the same number (vectors.c), and the opcode is
 * the guest's.
 *
 * The encoding is made from struct simd_op, whose bytes are those that the
 * stubs execute (engine/soft/simd.h): only register numbers and the memory
 * operand are filled in.  So what can be emitted is what simd_rows.c lists,
 * and there is no second list; the footprint is its too.
 */
#include "engine/bt/item.h"

/* Which registers must be live, by what the instruction needs to be allowed. */
static bool may_run(const struct simd_op *op, unsigned mode)
{
    switch (op->check) {
    case CHECK_SSE: return mode & BT_MODE_SSE;
    case CHECK_VEX: return mode & BT_MODE_AVX;
    case CHECK_EVEX: return mode & BT_MODE_AVX512;
    case CHECK_MMX: return mode & BT_MODE_X87;
    case CHECK_MMX_SSE: return (mode & BT_MODE_X87) && (mode & BT_MODE_SSE);
    default: return false;
    }
}

bool bt_simd_fits(const struct insn *i, unsigned mode)
{
    const struct simd_op *op = i->aux;
    bool mem = op->flags & (SO_LOAD | SO_STORE);

    if (mem ? !op->size || op->size > 64 || (op->size & (op->size - 1)) : op->size != 0)
        return false;
    return may_run(op, mode);
}

enum vectors bt_simd_needs(const struct item *i)
{
    const struct simd_op *op = i->insn.aux;

    if (i->kind == K_VZERO || i->kind == K_MXCSR)
        return VECTORS_LOW;
    if (i->kind != K_SIMD || (op->check == CHECK_MMX && !(op->flags & SO_FP)))
        return VECTORS_NONE;
    return op->check == CHECK_EVEX ? VECTORS_HIGH : VECTORS_LOW;
}

bool bt_x87_needed(const struct item *i)
{
    return i->kind == K_X87 || (i->kind == K_SIMD && (((const struct simd_op *)i->insn.aux)->flags & SO_MMX));
}

/* Bits that the host's LDMXCSR takes (SDM 1 11.6.6). */
static uint32_t host_mxcsr_mask(void)
{
    _Alignas(16) uint8_t image[512] = { 0 };
    uint32_t mask;

    __asm__("fxsave %0" : "=m"(image));
    memcpy(&mask, image + 28, 4);
    return mask ? mask : 0xffbf;
}

static bool stores_mxcsr(const struct item *i)
{
    return i->z.mnemonic == ZYDIS_MNEMONIC_STMXCSR || i->z.mnemonic == ZYDIS_MNEMONIC_VSTMXCSR;
}

/* The host faults for the bits that the guest has not, if they are the same. */
enum kind bt_mxcsr_kind(const struct soft_cpu *c, const struct item *i, unsigned mode)
{
    bool vex = i->insn.osize == CHECK_VEX;

    if (i->z.address_width != (bt_mode32(mode) ? 32 : 64) || !(mode & (vex ? BT_MODE_AVX : BT_MODE_SSE)))
        return K_FUNCTION;
    return stores_mxcsr(i) || host_mxcsr_mask() == simd_mxcsr_valid(c) ? K_MXCSR : K_FUNCTION;
}

/* ---- operands ---------------------------------------------------------------------- */

struct numbers {
    unsigned reg, rm, vvvv, is4, mask;
    int gpr;                    /* the guest's number of a general register, or -1 */
    bool rm_gpr;                /* it is rm, not reg */
};

static void note_register(struct numbers *r, const ZydisDecodedOperand *op)
{
    uint8_t general = soft_reg_number(op->reg.value);
    bool gpr = ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_GPR32 ||
               ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_GPR64;
    unsigned n = gpr ? general / 8u : (unsigned)ZydisRegisterGetId(op->reg.value) & 31;

    switch (op->encoding) {
    case ZYDIS_OPERAND_ENCODING_MODRM_REG: r->reg = n; break;
    case ZYDIS_OPERAND_ENCODING_MODRM_RM: r->rm = n; break;
    case ZYDIS_OPERAND_ENCODING_NDSNDD: r->vvvv = n; return;
    case ZYDIS_OPERAND_ENCODING_IS4: r->is4 = n; return;
    case ZYDIS_OPERAND_ENCODING_MASK: r->mask = n; return;
    default: return;
    }
    if (gpr) {
        r->gpr = (int)n;
        r->rm_gpr = op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM;
    }
}

static struct numbers numbers_of(const struct item *i)
{
    const struct simd_op *op = i->insn.aux;
    struct numbers r = { .gpr = -1 };

    /* No register there: the opcode's digit. */
    if (op->regs[SLOT_REG] == REGS_NONE)
        r.reg = op->code[op->code_len - 1] >> 3 & 7;
    for (unsigned n = 0; n < i->z.operand_count; n++)
        if (i->op[n].type == ZYDIS_OPERAND_TYPE_REGISTER)
            note_register(&r, &i->op[n]);
    return r;
}

/* ---- encoding (SDM 2A 2.1, 2.3, 2.7) --------------------------------------------------- */

/* What extends ModRM and SIB: bit 3 of each number, and bit 4 of the first two. */
struct extension {
    unsigned r, x, b, r2;
};

static struct extension extension_of(const struct numbers *n, const struct place *at)
{
    struct extension x = { .r = n->reg >> 3 & 1, .r2 = n->reg >> 4 };

    x.b = (at ? at->base : n->rm) >> 3 & 1;
    x.x = at ? at->index >> 3 : n->rm >> 4;
    return x;
}

static unsigned emit_prefixes(struct emit *e, const struct simd_op *op, const struct numbers *n,
                              struct extension x)
{
    const uint8_t *code = op->code;
    unsigned at = 0, rex = 0;

    switch (code[0]) {
    case 0xc4:
        emit8(e, 0xc4);
        emit8(e, (code[1] & 0x1f) | (!x.r) << 7 | (!x.x) << 6 | (!x.b) << 5);
        emit8(e, (code[2] & 0x87) | (~n->vvvv & 15) << 3);
        return 3;
    case 0x62:
        emit8(e, 0x62);
        emit8(e, (code[1] & 0x0f) | (!x.r) << 7 | (!x.x) << 6 | (!x.b) << 5 | (!x.r2) << 4);
        emit8(e, (code[2] & 0x87) | (~n->vvvv & 15) << 3);
        emit8(e, (code[3] & 0xf0) | (n->vvvv >> 4 ? 0 : 8) | n->mask);
        return 4;
    default:
        break;
    }
    for (; code[at] == 0x66 || code[at] == 0xf2 || code[at] == 0xf3; at++)
        emit8(e, code[at]);
    if (code[at] == 0x48) {
        rex = 8;
        at++;
    }
    rex |= x.r << 2 | x.x << 1 | x.b;
    if (rex)
        emit8(e, 0x40 | rex);
    return at;
}

/* at: the memory operand, or NULL.  EVEX scales displacements of 8 bits, so
 * there is none. */
static void emit_insn(struct emit *e, const struct item *i, const struct numbers *n, const struct place *at)
{
    const struct simd_op *op = i->insn.aux;
    unsigned done = emit_prefixes(e, op, n, extension_of(n, at));

    emit_bytes(e, op->code + done, op->code_len - 1u - done);
    if (at)
        emit_sib(e, n->reg & 7, at->base, at->index, at->disp);
    else
        emit8(e, 0xc0 | (n->reg & 7) << 3 | (n->rm & 7));
    if (op->flags & SO_IMM)
        emit8(e, i->insn.osize);
    else if (op->extra == EXTRA_IS4)
        emit8(e, (n->is4 & 15) << 4);
}

/* May it raise a floating-point exception (SIGFPE)?  MMX: a pending one. */
static bool raises(const struct simd_op *op)
{
    return op->flags & (SO_FP | SO_MMX);
}

static void emit_simd(struct translation *t, struct item *i)
{
    const struct simd_op *op = i->insn.aux;
    struct numbers n = numbers_of(i);
    bool away = n.gpr >= 0 && bt_in_context((unsigned)n.gpr);
    bool result = op->dst == (n.rm_gpr ? SLOT_RM : SLOT_REG);
    struct emit *e = &t->e;
    struct place at;

    if (op->size && !bt_emit_operand(t, i, bt_memory_operand(i), op->size, op->align, op->flags & SO_STORE, &at)) {
        bt_emit_function(t, i);
        return;
    }
    bt_emit_flags_for(t, i);
    if (op->size && (away || (at.disp && op->code[0] == 0x62))) {
        bt_emit_free_r11(t, &at);
        at = (struct place){ .base = H_R10, .index = H_RSP };
    }
    if (away) {
        *(n.rm_gpr ? &n.rm : &n.reg) = H_R11;
        t->held = -1;
        if (!result)
            emit_gs_load(e, H_R11, CTX_GPR(n.gpr));
    }
    if (op->size)
        bt_access_here(t, i);
    else if (raises(op))
        bt_emit_trap(t, i);
    emit_insn(e, i, &n, op->size ? &at : NULL);
    if (away && result)
        emit_gs_store(e, H_R11, CTX_GPR(n.gpr));
    i->cont = e->p;
    i->held = t->held;
}

/* R10 = the address of a memory operand that shares no probe. */
static bool emit_r10(struct translation *t, struct item *i, unsigned size, bool write)
{
    struct place at;

    if (!bt_emit_operand(t, i, bt_memory_operand(i), size, 0, write, &at))
        return false;
    if (at.base != H_R10)
        emit_mov(&t->e, H_R10, at.base);
    return true;
}

static void emit_mxcsr(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;

    if (!emit_r10(t, i, 4, stores_mxcsr(i))) {
        bt_emit_function(t, i);
        return;
    }
    bt_access_here(t, i);
    EMIT(e, 0x43, 0x0f, 0xae);                  /* LDMXCSR, STMXCSR [r10 + r11] */
    emit8(e, stores_mxcsr(i) ? 0x1c : 0x14);
    emit8(e, 0x1a);
    i->cont = e->p;
    i->held = t->held;
}

/* VZEROUPPER, VZEROALL */
static void emit_vzero(struct emit *e, const struct item *i)
{
    emit8(e, 0xc5);
    emit8(e, i->z.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER ? 0xf8 : 0xfc);
    emit8(e, 0x77);
}

/* ---- x87 ------------------------------------------------------------------------------ */

bool bt_x87_form(const struct item *i, unsigned mode, struct x87_form *f)
{
    if (!(mode & BT_MODE_X87))
        return false;
    *f = (struct x87_form){ .control = true };
    if (i->z.mnemonic == ZYDIS_MNEMONIC_FWAIT) {
        f->opcode = 0x9b;
        return true;
    }
    if (i->z.mnemonic == ZYDIS_MNEMONIC_EMMS) {
        f->opcode = 0x0f;
        f->modrm = 0x77;
        return true;
    }
    /* The data pointer is without a segment's base. */
    return x87_form_of(&i->insn, f) &&
           (!f->size || (bt_mode32(mode) ? i->insn.seg != SEG_FS && i->insn.seg != SEG_GS : i->insn.flags & INSN_FLAT));
}

/* MOV word gs:[disp], R11W */
static void emit_store16(struct emit *e, int32_t disp)
{
    EMIT(e, 0x66, 0x65, 0x44, 0x89, 0x1c, 0x25);
    emit32(e, (uint32_t)disp);
}

static void emit_selector(struct emit *e, unsigned seg, int32_t to)
{
    int32_t from = CTX(s.seg) + (int32_t)(seg * sizeof(((struct soft_cpu *)0)->s.seg[0]) +
                                          offsetof(struct seg_state, selector));

    EMIT(e, 0x65, 0x44, 0x0f, 0xb7, 0x1c, 0x25);    /* movzx r11d, word gs:[from] */
    emit32(e, (uint32_t)from);
    emit_store16(e, to);
}

/* R10: the operand's address.  Where only a fault keeps it, the spiller will see
 * whether there was one. */
static void emit_data_pointer(struct translation *t, const struct item *i, const struct x87_form *f)
{
    struct emit *e = &t->e;

    if (cpu_has(t->c->vm->model, F_FDP_ON_FAULT)) {
        emit_gs_imm(e, CTX_WORD(W_X87_MEM), f->size != 0);
        if (f->size)
            emit_gs_store(e, H_R10, CTX_WORD(W_X87_FDP));
    } else if (f->size) {
        emit_gs_store(e, H_R10, CTX(fpu.fx) + 16);
        if (!cpu_has(t->c->vm->model, F_NO_FCS_FDS))
            emit_selector(e, i->insn.seg, CTX(fpu.fds));
    }
}

/* The pointers that the guest can read are kept where FXSAVE would put them
 * (SDM 1 8.1.8); the host's own would be ours. */
static void emit_pointers(struct translation *t, const struct item *i, const struct x87_form *f)
{
    struct emit *e = &t->e;

    emit_data_pointer(t, i, f);
    if (!cpu_has(t->c->vm->model, F_NO_FCS_FDS))
        emit_selector(e, SEG_CS, CTX(fpu.fcs));
    emit_gs_load(e, H_R11, CTX_WORD(W_PAGE));
    emit_lea(e, H_R11, H_R11, -1, 0, i->offset);
    emit_gs_store(e, H_R11, CTX(fpu.fx) + 8);
    if (!t->c->vm->model->amd) {
        emit_gs_imm(e, CTX_WORD(W_X87_FOP), f->fop | 0x10000u);
        return;
    }
    EMIT(e, 0x66, 0x65, 0xc7, 0x04, 0x25);          /* mov word gs:[FOP], imm16 */
    emit32(e, (uint32_t)(CTX(fpu.fx) + 6));
    emit8(e, f->fop & 0xff);
    emit8(e, f->fop >> 8);
}

static void emit_x87(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;
    struct x87_form f;

    if (!bt_x87_form(i, t->mode, &f) || (f.size && !emit_r10(t, i, f.size, f.store))) {
        bt_emit_function(t, i);
        return;
    }
    bt_emit_flags_for(t, i);
    if (f.size) {
        bt_access_here(t, i);
        emit8(e, 0x43);
        emit8(e, f.opcode);
        emit8(e, (f.modrm & 0x38) | 4);
        emit8(e, 0x1a);                         /* [r10 + r11] */
    } else {
        bt_emit_trap(t, i);
        emit8(e, f.opcode);
        if (f.modrm)
            emit8(e, f.modrm);
    }
    if (!f.control) {
        emit_pointers(t, i, &f);
        t->held = -1;
    }
    i->cont = e->p;
    i->held = t->held;
}

void bt_emit_simd(struct translation *t, struct item *i)
{
    switch (i->kind) {
    case K_SIMD: emit_simd(t, i); break;
    case K_MXCSR: emit_mxcsr(t, i); break;
    case K_X87: emit_x87(t, i); break;
    default: emit_vzero(&t->e, i); break;
    }
}
