/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's vector registers in the host's, and back.
 *
 * Two words of the context say what is where: W_LOW_AWAY is 0 while host
 * registers 0 to 15 and MXCSR are the guest's, W_HIGH_AWAY while registers 16
 * to 31 and the masks are too, which only AVX-512 code asks for.  Blocks look
 * at the word they need and call one of the loaders; whatever enters C calls
 * the spiller first, so C finds everything in c->fpu and may use any register.
 *
 * Host registers hold the upper halves whatever the guest's XCR0 says: the
 * rules of legacy, VEX and EVEX instructions for them come by themselves.  Only
 * what the CPU model has is moved.
 *
 * Upper halves that are all zero are loaded by VZEROUPPER: with them dirty,
 * legacy SSE code waits for the old value of each destination (Intel
 * optimization manual 15.3).
 */
#include "engine/bt/item.h"

#define NREGS 16u
#define ZMM(n) (CTX(fpu.zmm) + 64 * (int32_t)(n))
#define MXCSR_PLACE (CTX(fpu.fx) + 24)

/* Without BW and VL the decoder refuses AVX-512. */
static bool has_avx512(const struct cpu_model *model)
{
    return cpu_has(model, F_AVX512F) && simd_host_avx512();
}

enum { MOV_LOAD = 0x28, MOV_STORE = 0x29, MOV_OR = 0x56 };

/* VOP reg, gs:[disp] of 16, 32 or 64 bytes; without AVX the legacy form. */
static void emit_vector(struct emit *e, unsigned opcode, unsigned reg, int32_t disp, unsigned width)
{
    unsigned r = (~reg >> 3 & 1) << 7, high = (~reg >> 4 & 1) << 4;
    unsigned vvvv = opcode == MOV_OR ? ~reg & 15 : 15;

    emit8(e, 0x65);
    if (!simd_host_avx()) {
        if (reg >> 3)
            emit8(e, 0x44);
        emit8(e, 0x0f);
    } else if (width == 64) {
        emit8(e, 0x62);
        emit8(e, r | 0x60 | high | 1);
        emit8(e, vvvv << 3 | 4);
        emit8(e, 0x48);
    } else {
        emit8(e, 0xc4);
        emit8(e, r | 0x60 | 1);
        emit8(e, vvvv << 3 | (width == 32) << 2);
    }
    emit8(e, opcode);
    emit8(e, (reg & 7) << 3 | 4);
    emit8(e, 0x25);
    emit32(e, (uint32_t)disp);
}

static void move_all(struct emit *e, unsigned opcode, unsigned first, unsigned width)
{
    for (unsigned n = first; n < first + NREGS; n++)
        emit_vector(e, opcode, n, ZMM(n), width);
}

/* KMOVQ of all masks: opcode 0x90 loads, 0x91 stores. */
static void move_masks(struct emit *e, unsigned opcode)
{
    for (unsigned n = 0; n < 8; n++) {
        EMIT(e, 0x65, 0xc4, 0xe1, 0xf8);
        emit8(e, opcode);
        emit8(e, n << 3 | 4);
        emit8(e, 0x25);
        emit32(e, (uint32_t)(CTX(fpu.k) + 8 * (int32_t)n));
    }
}

/* LDMXCSR (2) or STMXCSR (3). */
static void emit_mxcsr(struct emit *e, unsigned reg, int32_t disp)
{
    EMIT(e, 0x65, 0x0f, 0xae);
    emit8(e, reg << 3 | 4);
    emit8(e, 0x25);
    emit32(e, (uint32_t)disp);
}

static void emit_vzeroupper(struct emit *e)
{
    EMIT(e, 0xc5, 0xf8, 0x77);
}

/* JRCXZ over a jump whose place is returned: taken if RCX is not 0. */
static uint8_t *emit_jump_rcx(struct emit *e)
{
    EMIT(e, 0xe3, 0x05);
    return emit_jmp(e);
}

/* RCX = 0 if 16 bytes at this offset of each register are 0, without flags. */
static void scan(struct emit *e, unsigned at)
{
    emit_vector(e, MOV_LOAD, 0, ZMM(0) + (int32_t)at, 16);
    emit_vector(e, MOV_LOAD, 1, ZMM(1) + (int32_t)at, 16);
    for (unsigned n = 2; n < NREGS; n++)
        emit_vector(e, MOV_OR, n & 1, ZMM(n) + (int32_t)at, 16);
}

static void scan_wide(struct emit *e)
{
    emit_vector(e, MOV_LOAD, 0, ZMM(0) + 32, 32);
    emit_vector(e, MOV_LOAD, 1, ZMM(1) + 32, 32);
    for (unsigned n = 2; n < NREGS; n++)
        emit_vector(e, MOV_OR, n & 1, ZMM(n) + 32, 32);
    EMIT(e, 0xc5, 0xfc, 0x56, 0xc1);            /* vorps ymm0, ymm0, ymm1 */
    EMIT(e, 0xc4, 0xe3, 0x7d, 0x19, 0xc1, 1);   /* vextractf128 xmm1, ymm0, 1 */
}

/* RCX = 0 if XMM0 | XMM1 is. */
static void scanned(struct emit *e)
{
    EMIT(e, 0xc5, 0xf8, 0x56, 0xc1);            /* vorps xmm0, xmm0, xmm1 */
    EMIT(e, 0xc5, 0xf0, 0x57, 0xc9);            /* vxorps xmm1, xmm1, xmm1 */
    EMIT(e, 0xc5, 0xf9, 0x74, 0xc1);            /* vpcmpeqb xmm0, xmm0, xmm1 */
    EMIT(e, 0xc5, 0xf9, 0xd7, 0xc8);            /* vpmovmskb ecx, xmm0 */
    emit_lea(e, H_RCX, H_RCX, -1, 0, -0xffff);
}

/* Jumps of the loader to its end, where the flag is set. */
struct loader {
    const struct cpu_model *model;
    uint8_t *done[3];
    unsigned n;
};

static void load_width(struct emit *e, struct loader *l, unsigned width)
{
    if (simd_host_avx())
        emit_vzeroupper(e);
    move_all(e, MOV_LOAD, 0, width);
    emit_gs_imm(e, CTX_WORD(W_WIDTH), width);
    l->done[l->n++] = emit_jmp(e);
}

/* Registers 0 to 15 and MXCSR; uses RCX. */
static void load_low(struct emit *e, struct loader *l)
{
    uint8_t *wide = NULL, *middle = NULL;

    if (has_avx512(l->model)) {
        scan_wide(e);
        scanned(e);
        wide = emit_jump_rcx(e);
    }
    if (cpu_has(l->model, F_AVX)) {
        scan(e, 16);
        scanned(e);
        middle = emit_jump_rcx(e);
    }
    load_width(e, l, 16);
    if (middle) {
        emit_here(e, middle);
        load_width(e, l, 32);
    }
    if (wide) {
        emit_here(e, wide);
        load_width(e, l, 64);
    }
    for (unsigned n = 0; n < l->n; n++)
        emit_here(e, l->done[n]);
    emit_mxcsr(e, 2, MXCSR_PLACE);
    emit_gs_imm(e, CTX_WORD(W_LOW_AWAY), 0);
}

static void load_high(struct emit *e)
{
    move_all(e, MOV_LOAD, NREGS, 64);
    move_masks(e, 0x90);
    emit_gs_imm(e, CTX_WORD(W_HIGH_AWAY), 0);
}

/* Continuation in R11; everything else is kept, flags too. */
static uint8_t *emit_loader(struct emit *e, const struct cpu_model *model, bool high)
{
    struct loader l = { .model = model };
    uint8_t *at = e->p, *low, *end;

    emit_gs_store(e, H_RCX, CTX_WORD(W_VECTOR_RCX));
    emit_gs_load(e, H_RCX, CTX_WORD(W_LOW_AWAY));
    low = emit_jump_rcx(e);
    end = emit_jmp(e);
    emit_here(e, low);
    load_low(e, &l);
    emit_here(e, end);
    if (high)
        load_high(e);
    emit_gs_load(e, H_RCX, CTX_WORD(W_VECTOR_RCX));
    EMIT(e, 0x41, 0xff, 0xe3);                  /* jmp r11 */
    return at;
}

/* Called on the host's stack with nothing of value in general registers.
 * More than 256 bits can only be in use if AVX-512 code ran, or if they were
 * loaded. */
static uint8_t *emit_spiller(struct emit *e, const struct cpu_model *model)
{
    bool avx = cpu_has(model, F_AVX), avx512 = has_avx512(model);
    uint8_t *at = e->p, *narrow = NULL, *done = NULL;

    if (avx512) {
        emit_gs_load(e, H_RCX, CTX_WORD(W_HIGH_AWAY));
        uint8_t *away = emit_jump_rcx(e);
        move_all(e, MOV_STORE, NREGS, 64);
        move_masks(e, 0x91);
        emit_gs_imm(e, CTX_WORD(W_HIGH_AWAY), 1);
        emit_gs_imm(e, CTX_WORD(W_WIDTH), 64);
        emit_here(e, away);
        emit_gs_load(e, H_RCX, CTX_WORD(W_WIDTH));
        emit_lea(e, H_RCX, H_RCX, -1, 0, -64);
        narrow = emit_jump_rcx(e);
        move_all(e, MOV_STORE, 0, 64);
        done = emit_jmp(e);
        emit_here(e, narrow);
    }
    move_all(e, MOV_STORE, 0, avx ? 32 : 16);
    if (done)
        emit_here(e, done);
    emit_mxcsr(e, 3, MXCSR_PLACE);
    emit_mxcsr(e, 2, CTX_WORD(W_HOST_MXCSR));
    if (simd_host_avx())
        emit_vzeroupper(e);
    emit_gs_imm(e, CTX_WORD(W_LOW_AWAY), 1);
    emit8(e, 0xc3);                             /* ret */
    return at;
}

/* ---- x87 --------------------------------------------------------------------------------- */

/* FXSAVE64 (0) or FXRSTOR64 (1) of c->fpu.fx. */
static void emit_fx(struct emit *e, unsigned reg)
{
    EMIT(e, 0x65, 0x48, 0x0f, 0xae);
    emit8(e, reg << 3 | 4);
    emit8(e, 0x25);
    emit32(e, (uint32_t)CTX(fpu.fx));
}

/* FXRSTOR loads MXCSR and XMM registers too: put there what they are, or take
 * the host's MXCSR back if they are away. */
static uint8_t *emit_load_x87(struct emit *e)
{
    uint8_t *at = e->p, *away, *end;

    emit_gs_store(e, H_RCX, CTX_WORD(W_VECTOR_RCX));
    emit_gs_load(e, H_RCX, CTX_WORD(W_LOW_AWAY));
    away = emit_jump_rcx(e);
    emit_mxcsr(e, 3, MXCSR_PLACE);
    for (unsigned n = 0; n < NREGS; n++)
        emit_vector(e, MOV_STORE, n, CTX(fpu.fx) + 160 + 16 * (int32_t)n, 16);
    emit_fx(e, 1);
    end = emit_jmp(e);
    emit_here(e, away);
    emit_fx(e, 1);
    emit_mxcsr(e, 2, CTX_WORD(W_HOST_MXCSR));
    emit_here(e, end);
    EMIT(e, 0x65, 0xc6, 0x04, 0x25);            /* mov byte gs:[ferr], 0: errors are #MF */
    emit32(e, (uint32_t)CTX(fpu.ferr));
    emit8(e, 0);
    emit_gs_imm(e, CTX_WORD(W_X87_AWAY), 0);
    emit_gs_load(e, H_RCX, CTX_WORD(W_VECTOR_RCX));
    EMIT(e, 0x41, 0xff, 0xe3);                  /* jmp r11 */
    return at;
}

/* FXSAVE, but for the host's pointers and MXCSR, which may not be the guest's;
 * before vectors are spilled.  It does not wait for errors, nor does FNINIT. */
/* Jump if these bits of a byte of the context are clear. */
static uint8_t *emit_unless(struct emit *e, int32_t at, unsigned bits)
{
    EMIT(e, 0x65, 0xf6, 0x04, 0x25);            /* test byte gs:[at], bits */
    emit32(e, (uint32_t)at);
    emit8(e, bits);
    return emit_jcc(e, 4);
}

/* CPUs that keep the operand's address (F_FDP_ON_FAULT) or the opcode (Intel's)
 * at errors only: if one is pending, it is of the last instruction.  For the
 * others the words say that there is nothing. */
static void emit_error_pointers(struct emit *e)
{
    uint8_t *none = emit_unless(e, CTX(fpu.fx) + 2, 0x80);      /* FSW: ES */
    uint8_t *no_opcode = emit_unless(e, CTX_WORD(W_X87_FOP) + 2, 1), *no_operand;

    emit_gs_load(e, H_RCX, CTX_WORD(W_X87_FOP));
    EMIT(e, 0x66, 0x65, 0x89, 0x0c, 0x25);      /* mov gs:[FOP], cx */
    emit32(e, (uint32_t)(CTX(fpu.fx) + 6));
    emit_here(e, no_opcode);
    no_operand = emit_unless(e, CTX_WORD(W_X87_MEM), 1);
    emit_gs_load(e, H_RCX, CTX_WORD(W_X87_FDP));
    emit_gs_store(e, H_RCX, CTX(fpu.fx) + 16);
    emit_here(e, none);
    emit_here(e, no_operand);
    emit_gs_imm(e, CTX_WORD(W_X87_MEM), 0);
    emit_gs_imm(e, CTX_WORD(W_X87_FOP), 0);
}

static uint8_t *emit_spill_x87(struct emit *e)
{
    uint8_t *at = e->p;

    emit_gs_load(e, H_RDI, CTX(fpu.fx));
    emit_gs_load(e, H_RCX, CTX(fpu.fx) + 8);
    emit_gs_load(e, H_RDX, CTX(fpu.fx) + 16);
    emit_gs_load(e, H_RSI, CTX(fpu.fx) + 24);
    EMIT(e, 0x48, 0xc1, 0xef, 48);              /* shr rdi, 48 */
    emit_fx(e, 0);
    EMIT(e, 0x66, 0x65, 0x89, 0x3c, 0x25);      /* mov gs:[FOP], di */
    emit32(e, (uint32_t)(CTX(fpu.fx) + 6));
    emit_gs_store(e, H_RCX, CTX(fpu.fx) + 8);
    emit_gs_store(e, H_RDX, CTX(fpu.fx) + 16);
    emit_gs_store(e, H_RSI, CTX(fpu.fx) + 24);
    emit_error_pointers(e);
    EMIT(e, 0xdb, 0xe3);                        /* fninit */
    emit_gs_imm(e, CTX_WORD(W_X87_AWAY), 1);
    emit8(e, 0xc3);                             /* ret */
    return at;
}

/* ---- shared code -------------------------------------------------------------------------- */

void bt_emit_vector_stubs(struct bt *bt, struct emit *e, const struct cpu_model *model)
{
    bt->load_low = emit_loader(e, model, false);
    bt->load_high = has_avx512(model) ? emit_loader(e, model, true) : bt->load_low;
    bt->load_x87 = emit_load_x87(e);
    bt->spill = emit_spiller(e, model);
    bt->spill_x87 = emit_spill_x87(e);
}

/* Call it unless the word says that nothing is live. */
static void emit_spill_by(struct emit *e, unsigned word, const uint8_t *spiller)
{
    uint8_t *away;

    emit_gs_load(e, H_RCX, CTX_WORD(word));
    away = emit_jump_rcx(e);
    emit8(e, 0xe8);                             /* call */
    emit32(e, 0);
    emit_patch(e->p - 4, spiller);
    emit_here(e, away);
}

void bt_emit_spill(const struct bt *bt, struct emit *e)
{
    emit_spill_by(e, W_X87_AWAY, bt->spill_x87);
    emit_spill_by(e, W_LOW_AWAY, bt->spill);
}

/* Uses R11, flags stay; to: where to go on, NULL: behind. */
static void emit_load_call(const struct bt *bt, struct emit *e, unsigned live, const uint8_t *to)
{
    uint8_t *cont = emit_lea_rip(e, H_R11);

    emit_patch(emit_jmp(e), live == LIVE_X87 ? bt->load_x87 :
                            live == VECTORS_HIGH ? bt->load_high : bt->load_low);
    emit_patch(cont, to ? to : e->p);
}

void bt_emit_load_live(const struct bt *bt, struct emit *e, unsigned live)
{
    if (live >= LIVE_X87)
        emit_load_call(bt, e, LIVE_X87, NULL);
    if (live % LIVE_X87)
        emit_load_call(bt, e, live % LIVE_X87, NULL);
}

/* ---- in a block ---------------------------------------------------------------------- */

/* The place of the check: where the first need is, or before that where flags
 * are dead. */
static unsigned check_place(const struct item *items, unsigned first)
{
    for (unsigned n = first + 1; n-- > 0;)
        if (!items[n].live)
            return n;
    return first;
}

static unsigned needs(const struct item *i, bool x87)
{
    return !x87 ? (unsigned)bt_simd_needs(i) : bt_x87_needed(i) ? LIVE_X87 : 0;
}

static void plan_range(struct live_range *r, const struct item *items, unsigned n, bool x87)
{
    unsigned first = n;

    *r = (struct live_range){ .check = n, .from = n };
    for (unsigned k = 0; k < n; k++) {
        unsigned live = needs(&items[k], x87);

        if (!live)
            continue;
        first = MIN(first, k);
        r->to = k;
        r->live = MAX(r->live, live);
    }
    if (first == n)
        return;
    for (unsigned k = first; k-- > 0;)
        if (items[k].kind == K_FUNCTION) {
            r->from = k;
            return;
        }
    r->from = r->check = check_place(items, first);
}

void bt_plan_live(struct translation *t)
{
    plan_range(&t->ranges[0], t->items, t->n, false);
    plan_range(&t->ranges[1], t->items, t->n, true);
}

static void emit_check(struct translation *t, struct live_range *r, bool flags)
{
    int32_t word = CTX_WORD(r->live == LIVE_X87 ? W_X87_AWAY :
                            r->live == VECTORS_HIGH ? W_HIGH_AWAY : W_LOW_AWAY);
    struct emit *e = &t->e;

    t->held = -1;               /* the loader uses R11 */
    if (!flags) {
        EMIT(e, 0x65, 0x83, 0x3c, 0x25);        /* cmp dword gs:[word], 0 */
        emit32(e, (uint32_t)word);
        emit8(e, 0);
        r->away = emit_jcc(e, 5);
        r->here = e->p;
        return;
    }
    emit_gs_store(e, H_RCX, CTX_WORD(W_RCX));
    emit_gs_load(e, H_RCX, word);
    r->away = emit_jump_rcx(e);
    r->here = e->p;
    emit_gs_load(e, H_RCX, CTX_WORD(W_RCX));
}

/* Flags that are saved already may be lost. */
void bt_emit_live(struct translation *t, unsigned n)
{
    for (unsigned k = 0; k < ARRAY_SIZE(t->ranges); k++)
        if (n == t->ranges[k].check)
            emit_check(t, &t->ranges[k], t->items[n].live && !t->saved);
}

void bt_emit_live_away(struct translation *t)
{
    for (unsigned k = 0; k < ARRAY_SIZE(t->ranges); k++) {
        const struct live_range *r = &t->ranges[k];

        if (!r->away)
            continue;
        emit_here(&t->e, r->away);
        emit_load_call(t->bt, &t->e, r->live, r->here);
    }
}

unsigned bt_live_behind(const struct translation *t, unsigned n)
{
    unsigned live = 0;

    for (unsigned k = 0; k < ARRAY_SIZE(t->ranges); k++)
        if (n >= t->ranges[k].from && n < t->ranges[k].to)
            live += t->ranges[k].live;
    return live;
}
