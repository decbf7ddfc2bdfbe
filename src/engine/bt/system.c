/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sensitive instructions inline: those that work on the virtual flags, on the
 * bases of FS and GS, and on control registers that nothing is derived from.
 *
 * Each is what its function in engine/soft/ does in the usual case.  Where
 * more follows from it (an interrupt that waits for IF, a trap flag, a fault),
 * it goes to that function before anything has changed.  Blocks that are not
 * of CPL 3 are of CPL 0 (translatable in bt.c), so privilege is known here.
 */
#include "engine/bt/system.h"
#include "engine/soft/op_int.h"
#include "engine/soft/sysop.h"

#define POPF_FUNCTION (X86_TF | X86_AC)
#define POPF_INLINE (X86_DF | X86_NT | X86_ID)

/* ---- host instructions ------------------------------------------------------------------- */

/* AND (opcode extension 4), OR (1) or XOR (6) dword gs:[disp], imm32 */
static void emit_gs_alu(struct emit *e, unsigned extension, int32_t disp, uint32_t imm)
{
    emit8(e, 0x65);
    emit8(e, 0x81);
    emit8(e, 0x04 | extension << 3);
    emit8(e, 0x25);
    emit32(e, (uint32_t)disp);
    emit32(e, imm);
}

void bt_cold_if(struct emit *e, struct item *i, unsigned cc)
{
    struct memop *m = &i->access[0].mem;

    m->cold[m->ncold++] = emit_jcc(e, cc);
}

void bt_cold_unless_zero(struct emit *e, struct item *i, int32_t disp)
{
    EMIT(e, 0x65, 0x80, 0x3c, 0x25);            /* cmp byte gs:[disp], 0 */
    emit32(e, (uint32_t)disp);
    emit8(e, 0);
    bt_cold_if(e, i, 5);
}

void bt_cold_unless_canonical(struct emit *e, struct item *i)
{
    emit_mov(e, H_R11, H_R10);
    EMIT(e, 0x49, 0xc1, 0xe3, 0x10);            /* shl r11, 16 */
    EMIT(e, 0x49, 0xc1, 0xfb, 0x10);            /* sar r11, 16 */
    EMIT(e, 0x4d, 0x39, 0xd3);                  /* cmp r11, r10 */
    bt_cold_if(e, i, 5);
}

static unsigned operand_reg(const struct item *i, unsigned n)
{
    return soft_reg_number(i->op[n].reg.value) / 8;
}

/* R10 to a guest register, as wide as the code. */
static void emit_result(struct emit *e, unsigned reg)
{
    if (bt_in_context(reg))
        emit_gs_store(e, H_R10, CTX_GPR(reg));
    else
        emit_mov_code(e, reg, H_R10);
}

static void emit_source(struct emit *e, unsigned reg)
{
    if (bt_in_context(reg))
        emit_gs_load(e, H_R10, CTX_GPR(reg));
    else
        emit_mov_code(e, H_R10, reg);
}

/* ---- flags --------------------------------------------------------------------------------- */

static void emit_cli(struct emit *e, struct item *i, unsigned mode)
{
    (void)i;
    (void)mode;
    emit_gs_alu(e, 4, CTX(rflags), ~(uint32_t)X86_IF);
}

static void emit_cld(struct emit *e, struct item *i, unsigned mode)
{
    (void)mode;
    if (i->z.mnemonic == ZYDIS_MNEMONIC_CLD)
        emit_gs_alu(e, 4, CTX(rflags), ~(uint32_t)X86_DF);
    else
        emit_gs_alu(e, 1, CTX(rflags), X86_DF);
}

/* With an interrupt waiting, its function: that one comes behind the next
 * instruction.  One that arrives now is taken at the next poll, as any. */
static void emit_sti(struct emit *e, struct item *i, unsigned mode)
{
    (void)mode;
    bt_cold_unless_zero(e, i, CTX(event_waiting));
    emit_gs_alu(e, 1, CTX(rflags), X86_IF);
}

/* W_FLAGS has the arithmetic flags as LAHF and SETO leave them. */
void bt_emit_full_flags(struct emit *e)
{
    EMIT(e, 0x65, 0x44, 0x0f, 0xb6, 0x1c, 0x25);    /* movzx r11d, byte gs:[W_FLAGS]: OF */
    emit32(e, (uint32_t)CTX_WORD(W_FLAGS));
    EMIT(e, 0x41, 0xc1, 0xe3, 0x0b);                /* shl r11d, 11 */
    EMIT(e, 0x65, 0x44, 0x0a, 0x1c, 0x25);          /* or r11b, gs:[W_FLAGS + 1] */
    emit32(e, (uint32_t)CTX_WORD(W_FLAGS) + 1);
    emit_gs(e, 0x0b, H_R11, CTX(rflags), false);    /* or r11d, gs:[rflags] */
}

static void emit_pushf(struct emit *e, struct item *i, unsigned mode)
{
    (void)i;
    (void)mode;
    bt_emit_full_flags(e);
}

/* The arithmetic flags of R11D become the host's. */
static void emit_arith_flags(struct emit *e)
{
    emit_gs_store(e, H_RAX, CTX_WORD(W_RAX));
    EMIT(e, 0x44, 0x89, 0xd8);                      /* mov eax, r11d */
    EMIT(e, 0x41, 0xc1, 0xeb, 0x0b);                /* shr r11d, 11 */
    EMIT(e, 0x41, 0x83, 0xe3, 0x01);                /* and r11d, 1 */
    EMIT(e, 0x88, 0xc4, 0x44, 0x88, 0xd8);          /* mov ah, al; mov al, r11b */
    EMIT(e, 0x04, 0x7f, 0x9e);                      /* add al, 7f; sahf */
    emit_gs_load(e, H_RAX, CTX_WORD(W_RAX));
}

/* SDM 2B POPF, table 4-16, for CPL 0, and for CPL 3 where IF and IOPL stay. */
static void emit_popf(struct emit *e, struct item *i, unsigned mode)
{
    const uint32_t rights = X86_IF | X86_IOPL;
    bool user = mode & BT_MODE_USER;

    emit_gs(e, 0x8b, H_R10, CTX(rflags), false);
    EMIT(e, 0x45, 0x31, 0xda);                      /* xor r10d, r11d */
    EMIT(e, 0x41, 0xf7, 0xc2);                      /* test r10d, ... */
    emit32(e, POPF_FUNCTION | (user ? rights : 0));
    bt_cold_if(e, i, 5);
    if (!user) {
        uint8_t *same;

        EMIT(e, 0x41, 0xf7, 0xc2);                  /* test r10d, IF */
        emit32(e, X86_IF);
        same = emit_jcc(e, 4);
        bt_cold_unless_zero(e, i, CTX(event_waiting));
        emit_here(e, same);
    }
    EMIT(e, 0x41, 0x81, 0xe2);                      /* and r10d, ... */
    emit32(e, POPF_INLINE | (user ? 0 : rights));
    emit_gs(e, 0x31, H_R10, CTX(rflags), false);    /* xor gs:[rflags], r10d */
    emit_arith_flags(e);
}

void bt_emit_view(struct emit *e, unsigned word)
{
    emit_gs_load(e, H_R10, CTX_WORD(word));
    emit_gs_store(e, H_R10, CTX(tlb));
    emit_gs_store(e, H_R10, CTX_WORD(W_TLB));
    emit_gs_load(e, H_R10, CTX_WORD(word + 1));
    emit_gs_store(e, H_R10, CTX_WORD(W_RTABLE));
    EMIT(e, 0xf3, 0x49, 0x0f, 0xae, 0xd2);      /* wrfsbase r10 */
    emit_gs_load(e, H_R10, CTX_WORD(word + 2));
    emit_gs_store(e, H_R10, CTX_WORD(W_WTABLE));
    EMIT(e, 0xf3, 0x49, 0x0f, 0xae, 0xda);      /* wrgsbase r10 */
}

static void emit_stac(struct emit *e, struct item *i, unsigned mode)
{
    (void)i;
    (void)mode;
    emit_gs_alu(e, 1, CTX(rflags), X86_AC);
    bt_emit_view(e, W_AC_VIEWS + 3);
}

static void emit_clac(struct emit *e, struct item *i, unsigned mode)
{
    (void)i;
    (void)mode;
    emit_gs_alu(e, 4, CTX(rflags), ~(uint32_t)X86_AC);
    bt_emit_view(e, W_AC_VIEWS);
}

static bool fits_64(const struct item *i, unsigned mode)
{
    (void)mode;
    return i->insn.osize == 8;
}

static bool fits_32(const struct item *i, unsigned mode)
{
    return bt_mode32(mode) && i->insn.osize == 4;
}

/* ---- bases ---------------------------------------------------------------------------------- */

static void emit_swapgs(struct emit *e, struct item *i, unsigned mode)
{
    (void)i;
    (void)mode;
    emit_gs_load(e, H_R10, CTX(s.seg[SEG_GS].base));
    emit_gs_load(e, H_R11, CTX(s.kernel_gs_base));
    emit_gs_store(e, H_R10, CTX(s.kernel_gs_base));
    emit_gs_store(e, H_R11, CTX(s.seg[SEG_GS].base));
}

static bool fits_base(const struct item *i, unsigned mode)
{
    (void)i;
    return !bt_mode32(mode) && (mode & BT_MODE_FSGSBASE);
}

static bool of_gs(const struct item *i)
{
    return i->z.mnemonic == ZYDIS_MNEMONIC_RDGSBASE || i->z.mnemonic == ZYDIS_MNEMONIC_WRGSBASE;
}

static int32_t base_field(const struct item *i)
{
    return of_gs(i) ? CTX(s.seg[SEG_GS].base) : CTX(s.seg[SEG_FS].base);
}

static void emit_rdbase(struct emit *e, struct item *i, unsigned mode)
{
    (void)mode;
    emit_gs(e, 0x8b, H_R10, base_field(i), i->insn.osize == 8);
    emit_result(e, operand_reg(i, 0));
}

static void emit_wrbase(struct emit *e, struct item *i, unsigned mode)
{
    (void)mode;
    emit_source(e, operand_reg(i, 0));
    if (i->insn.osize == 8) {
        bt_cold_unless_canonical(e, i);
    } else {
        EMIT(e, 0x45, 0x89, 0xd2);                  /* mov r10d, r10d */
    }
    emit_gs_store(e, H_R10, base_field(i));
}

/* ---- control registers, fences ------------------------------------------------------------- */

/* CR8 is the local APIC's. */
static bool fits_cr_read(const struct item *i, unsigned mode)
{
    (void)mode;
    return i->insn.fn == op_mov_from_cr && (i->insn.reg == 0 || (i->insn.reg >= 2 && i->insn.reg <= 4));
}

/* CR2 alone has no consequences. */
static bool fits_cr_write(const struct item *i, unsigned mode)
{
    (void)mode;
    return i->insn.fn == op_mov_to_cr && i->insn.reg == 2;
}

static bool fits_cr(const struct item *i, unsigned mode)
{
    return fits_cr_read(i, mode) || fits_cr_write(i, mode);
}

static void emit_mov_cr(struct emit *e, struct item *i, unsigned mode)
{
    static const int32_t fields[] = { CTX(s.cr0), 0, CTX(s.cr2), CTX(s.cr3), CTX(s.cr4) };
    unsigned reg = i->insn.rm / 8;

    if (fits_cr_write(i, mode)) {
        emit_source(e, reg);
        emit_gs_store(e, H_R10, CTX(s.cr2));
    } else {
        emit_gs_load(e, H_R10, fields[i->insn.reg]);
        emit_result(e, reg);
    }
}

/* MOV register, segment register. */
static bool fits_selector(const struct item *i, unsigned mode)
{
    (void)mode;
    return i->z.opcode == 0x8c && i->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER && i->z.operand_width >= 32;
}

static void emit_selector(struct emit *e, struct item *i, unsigned mode)
{
    (void)mode;
    EMIT(e, 0x65, 0x44, 0x0f, 0xb7, 0x14, 0x25);    /* movzx r10d, word gs:[selector] */
    emit32(e, (uint32_t)CTX(s.seg) + i->z.raw.modrm.reg * sizeof(struct seg_state) +
                  offsetof(struct seg_state, selector));
    emit_result(e, operand_reg(i, 0));
}

static void emit_rdpid(struct emit *e, struct item *i, unsigned mode)
{
    (void)mode;
    emit_gs(e, 0x8b, H_R10, CTX(s.tsc_aux), false);
    emit_result(e, i->insn.rm / 8);
}

static void emit_fence(struct emit *e, struct item *i, unsigned mode)
{
    (void)mode;
    EMIT(e, 0x0f, 0xae);
    emit8(e, i->z.mnemonic == ZYDIS_MNEMONIC_LFENCE ? 0xe8 :
             i->z.mnemonic == ZYDIS_MNEMONIC_MFENCE ? 0xf0 : 0xf8);
}

/* F3 90 with REX.B exchanges registers. */
static bool fits_pause(const struct item *i, unsigned mode)
{
    (void)mode;
    return i->insn.fn == op_nop;
}

static void emit_pause(struct emit *e, struct item *i, unsigned mode)
{
    (void)i;
    (void)mode;
    EMIT(e, 0xf3, 0x90);
}

/* ---- the table ------------------------------------------------------------------------------ */

#define M(m) .mnemonic = ZYDIS_MNEMONIC_##m
static const struct system_form forms[] = {
    { M(CLI), SYSTEM_FLAGS, .kernel = true, .emit = emit_cli },
    { M(CLD), SYSTEM_FLAGS, .emit = emit_cld },
    { M(STD), SYSTEM_FLAGS, .emit = emit_cld },
    { M(STI), SYSTEM_FLAGS, .kernel = true, .shadow = true, .emit = emit_sti },
    { M(STAC), SYSTEM_FLAGS, .kernel = true, .emit = emit_stac },
    { M(CLAC), SYSTEM_FLAGS, .kernel = true, .emit = emit_clac },
    { M(PUSHFQ), SYSTEM_PUSH, .fits = fits_64, .emit = emit_pushf },
    { M(POPFQ), SYSTEM_POP, .fits = fits_64, .emit = emit_popf },
    { M(PUSHFD), SYSTEM_PUSH, .fits = fits_32, .emit = emit_pushf },
    { M(POPFD), SYSTEM_POP, .fits = fits_32, .emit = emit_popf },
    { M(SWAPGS), SYSTEM_PLAIN, .kernel = true, .emit = emit_swapgs },
    { M(RDFSBASE), SYSTEM_PLAIN, .fits = fits_base, .emit = emit_rdbase },
    { M(RDGSBASE), SYSTEM_PLAIN, .fits = fits_base, .emit = emit_rdbase },
    { M(WRFSBASE), SYSTEM_FLAGS, .fits = fits_base, .emit = emit_wrbase },
    { M(WRGSBASE), SYSTEM_FLAGS, .fits = fits_base, .emit = emit_wrbase },
    { M(MOV), SYSTEM_PLAIN, .kernel = true, .fits = fits_cr, .emit = emit_mov_cr },
    { M(MOV), SYSTEM_PLAIN, .fits = fits_selector, .emit = emit_selector },
    { M(RDPID), SYSTEM_PLAIN, .emit = emit_rdpid },
    { M(LFENCE), SYSTEM_PLAIN, .emit = emit_fence },
    { M(MFENCE), SYSTEM_PLAIN, .emit = emit_fence },
    { M(SFENCE), SYSTEM_PLAIN, .emit = emit_fence },
    { M(PAUSE), SYSTEM_PLAIN, .fits = fits_pause, .emit = emit_pause },
};
#undef M

const struct system_form *bt_system_form(const struct item *i, unsigned mode)
{
    for (unsigned n = 0; n < ARRAY_SIZE(forms); n++) {
        const struct system_form *f = &forms[n];

        if (f->mnemonic == i->z.mnemonic && !(f->kernel && (mode & BT_MODE_USER)) && (!f->fits || f->fits(i, mode)))
            return f;
    }
    return NULL;
}

/* ---- emission ------------------------------------------------------------------------------- */

static void emit_push(struct translation *t, struct item *i, const struct system_form *f)
{
    struct emit *e = &t->e;
    struct place at;

    bt_emit_stack(t, i, H_RSP, -(int32_t)t->word, true, &at);   /* flags are live, so W_FLAGS has them */
    bt_emit_free_r11(t, &at);
    f->emit(e, i, t->mode);
    bt_access_here(t, i);
    emit8(e, e->code32 ? 0x45 : 0x4d);
    EMIT(e, 0x89, 0x1a);                        /* mov [r10], r11 or r11d */
    emit_lea_code(e, H_RSP, H_RSP, -1, 0, -(int32_t)t->word);
}

static void emit_pop(struct translation *t, struct item *i, const struct system_form *f)
{
    struct emit *e = &t->e;
    struct place at;

    bt_emit_stack(t, i, H_RSP, 0, false, &at);
    bt_access_here(t, i);
    emit_mem_w(e, 0x8b, H_R11, (int)at.base, (int)at.index, 0, at.disp, !e->code32);
    f->emit(e, i, t->mode);
    t->saved = false;                           /* it made the host's flags */
    emit_lea_code(e, H_RSP, H_RSP, -1, 0, (int32_t)t->word);
}

/* Nothing may come between the two: no end of the block, and no probe that
 * leaves it before the next instruction. */
static bool next_is_sure(const struct translation *t, const struct item *i)
{
    return i != &t->items[t->n - 1] && i[1].shared < 0;
}

void bt_emit_system(struct translation *t, struct item *i)
{
    const struct system_form *f = bt_system_form(i, t->mode);

    if (f->shadow && !next_is_sure(t, i)) {
        bt_emit_function(t, i);
        return;
    }
    switch (f->shape) {
    case SYSTEM_PUSH: emit_push(t, i, f); break;
    case SYSTEM_POP: emit_pop(t, i, f); break;
    case SYSTEM_FLAGS:
        bt_emit_save_flags(t, i);
        bt_emit_trap(t, i);                     /* room for cold jumps */
        f->emit(&t->e, i, t->mode);
        break;
    default: f->emit(&t->e, i, t->mode);
    }
    t->held = -1;
    i->held = -1;
    i->cont = t->e.p;
}
