/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SIMD and x87 by stubs: every form that the tables accept runs on the host
 * with its memory operand against the end of RAM (so a footprint that is too
 * large is seen as an exit) and gives what the host gives natively, where the
 * operand lies before a page without rights (so one that is too small faults).
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cmocka.h>

#include "engine/soft/simd.h"

#define RAM (1 * MiB)

/* ---- the guest: 64-bit mode, identity map of 2 MiB, RAM in the first --------- */

struct guest {
    struct soft_vm vm;
    struct soft_cpu *c;
    struct mem *mem;
    struct vm_clock clock;
    struct cpu_model model;
    struct cpu_run *run;
};

static void set_segment(struct seg_state *s, uint16_t selector, uint32_t attr)
{
    *s = (struct seg_state){ .limit = 0xffffffff, .attr = attr, .selector = selector };
}

static void long_mode(struct guest *g, struct vcpu_state *s)
{
    const uint64_t tables[3] = { 0x2003, 0x3003, 0x83 };

    for (unsigned n = 0; n < 3; n++)
        assert_int_equal(mem_write(g->mem, 0x1000 + n * 0x1000, &tables[n], 8), 0);
    vcpu_state_reset(s, 0, true, false);
    s->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET | CR0_MP;
    s->cr3 = 0x1000;
    s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    s->efer = EFER_LME | EFER_LMA;
    s->xcr0 = g->model.xcr0_mask;
    s->rflags = X86_FLAGS_FIXED;
    set_segment(&s->seg[SEG_CS], 8, 0xa09b);
    for (unsigned n = 0; n < 6; n++)
        if (n != SEG_CS)
            set_segment(&s->seg[n], 16, 0xc093);
    s->rip = 0x8000;
}

static struct guest *guest_new(void)
{
    struct guest *g = calloc(1, sizeof(*g));
    struct engine_config config;
    struct vcpu_state s;
    char err[160];

    assert_non_null(g);
    assert_int_equal(cpu_model_init(&g->model, "host", 1, 1000000000, err, sizeof(err)), 0);
    assert_int_equal(mem_create(&g->mem, RAM, err, sizeof(err)), 0);
    assert_int_equal(mem_add_slot(g->mem, 0, RAM, 0, false), 0);
    vm_clock_init(&g->clock);
    config =
        (struct engine_config){ .mem = g->mem, .clock = &g->clock, .model = &g->model, .ncpus = 1 };
    soft_vm_init(&g->vm, &config);
    g->run = calloc(1, sizeof(*g->run));
    g->c = aligned_alloc(64, align_up(sizeof(*g->c), 64));
    memset(g->c, 0, sizeof(*g->c));
    g->c->run = g->run;
    soft_cpu_init(g->c, &g->vm, 0);
    long_mode(g, &s);
    assert_int_equal(soft_set_state(g->c, &s, err, sizeof(err)), 0);
    return g;
}

static void guest_free(struct guest *g)
{
    soft_cpu_fini(g->c);
    soft_vm_fini(&g->vm);
    mem_destroy(g->mem);
    free(g->c);
    free(g->run);
    free(g);
}

/* Decode and run one instruction; the vector of its fault, or -1. */
static int run(struct guest *g, const uint8_t *code, unsigned len)
{
    struct insn i;
    int r;

    assert_int_not_equal(soft_decode(&g->model, 2 | MODE_PROT, code, len, &i), DECODE_MORE);
    r = i.fn(g->c, &i);
    soft_io_done(g->c);
    if (r == SOFT_FAULT)
        return g->c->exc.vector;
    assert_int_equal(r, SOFT_NEXT);
    return -1;
}
#define RUN(g, ...) run(g, (const uint8_t[15]){ __VA_ARGS__ }, 15)

/* ---- the same natively ------------------------------------------------------------ */

struct native {
    _Alignas(64) uint8_t zmm[32][64];
    uint64_t k[8];
    uint64_t gpr[6]; /* rax rcx rdx rbx rsi rdi */
    uint64_t flags;
    uint64_t pad;
    uint8_t fx[512];
};
_Static_assert(offsetof(struct native, k) == 2048 && offsetof(struct native, gpr) == 2112 &&
                   offsetof(struct native, flags) == 2160 && offsetof(struct native, fx) == 2176,
               "used in the assembly below");

void native_run(struct native *n);
extern uint8_t native_hole[], native_after[];
__asm__(
    ".pushsection .text\n"
    ".balign 4096\n"
    "native_run:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; mov %rdi, %r15\n"
    "fxrstor64 2176(%r15)\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    "vmovups 64*\\n(%r15), %zmm\\n\n"
    ".endr\n"
    ".irp n,0,1,2,3,4,5,6,7\n"
    "kmovq 2048+8*\\n(%r15), %k\\n\n"
    ".endr\n"
    "pushq 2160(%r15); popfq\n"
    "mov 2112(%r15), %rax; mov 2120(%r15), %rcx; mov 2128(%r15), %rdx\n"
    "mov 2136(%r15), %rbx; mov 2144(%r15), %rsi; mov 2152(%r15), %rdi\n"
    "native_hole: .fill 15, 1, 0x90\n"
    "native_after:\n"
    "mov %rax, 2112(%r15); mov %rcx, 2120(%r15); mov %rdx, 2128(%r15)\n"
    "mov %rbx, 2136(%r15); mov %rsi, 2144(%r15); mov %rdi, 2152(%r15)\n"
    "pushfq; popq 2160(%r15)\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    "vmovups %zmm\\n, 64*\\n(%r15)\n"
    ".endr\n"
    ".irp n,0,1,2,3,4,5,6,7\n"
    "kmovq %k\\n, 2048+8*\\n(%r15)\n"
    ".endr\n"
    "fxsave64 2176(%r15)\n"
    "fninit; pushq $0x1f80; ldmxcsr (%rsp); add $8, %rsp; vzeroupper\n"
    "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"
    ".balign 4096\n"
    ".popsection\n");

static volatile int native_signal;

static void on_signal(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    (void)info;
    native_signal = sig;
    if ((uintptr_t)uc->uc_mcontext.gregs[REG_RIP] - (uintptr_t)native_hole >= 15)
        abort(); /* in a stub: the bug that this test is for */
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)native_after;
}

static bool native_init(void)
{
    static const int signals[] = { SIGILL, SIGSEGV, SIGBUS, SIGFPE };
    struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER };
    uintptr_t page = (uintptr_t)native_run & ~4095UL;

    if (!simd_host_avx512())
        return false;
    for (unsigned n = 0; n < ARRAY_SIZE(signals); n++)
        if (signals[n] != SIGFPE)
            sigaction(signals[n], &sa, NULL);
    return !mprotect((void *)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC);
}

/* ---- all forms ------------------------------------------------------------------------ */

static uint64_t seed = 88172645463325252ULL;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Values that mean something to integer and floating-point instructions. */
static uint64_t value(void)
{
    static const uint64_t special[] = {
        0,
        ~0ULL,
        0x3ff0000000000000,
        0x3f8000003f800000,
        0x7ff0000000000000,
        0xff8000007f800000,
        0x7ff8000000000001,
        0x7fa00000ffc00000,
        0x0000000100000001,
        0x000fffffffffffff,
        0x8000000000000000,
        0x4340000000000001,
        0x41dfffffffc00000,
        0xbf800000c2f60000,
    };
    unsigned n = rnd() % 24;

    return n < ARRAY_SIZE(special) ? special[n]
           : n < 20                ? 0x3ff0000000000000 ^ (rnd() >> 12)
                                   : rnd();
}

struct sweep {
    struct guest *g;
    struct native n;
    uint8_t *end; /* native operand ends here */
    unsigned ran;
};

static void fill(struct sweep *w)
{
    struct soft_cpu *c = w->g->c;

    memset(&w->n, 0, sizeof(w->n));
    for (unsigned r = 0; r < 32; r++)
        for (unsigned q = 0; q < 8; q++)
            memcpy(&w->n.zmm[r][8 * q], &(uint64_t){ value() }, 8);
    for (unsigned r = 0; r < 8; r++)
        w->n.k[r] = rnd() & rnd();
    for (unsigned r = 0; r < 6; r++)
        w->n.gpr[r] = value();
    w->n.flags = 0x202;
    memcpy(w->n.fx, &(uint16_t){ 0x37f }, 2);
    memcpy(w->n.fx + 24, &(uint32_t){ 0x1f80 | (uint32_t)(rnd() & 0xe040) }, 4);
    for (unsigned r = 0; r < 8; r++)
        memcpy(w->n.fx + 32 + 16 * r, &(uint64_t){ value() }, 8);
    memcpy(c->fpu.zmm, w->n.zmm, sizeof(w->n.zmm));
    memcpy(c->fpu.k, w->n.k, sizeof(w->n.k));
    memcpy(c->fpu.fx, w->n.fx, sizeof(w->n.fx));
    soft_set_arith_flags(c, 0);
    for (unsigned b = 0; b < 128; b += 8) {
        uint64_t v = value();
        memcpy(w->end - 128 + b, &v, 8);
        mem_write(w->g->mem, RAM - 128 + b, &v, 8);
    }
}

/* The operand is at [rax], which lies size bytes before the end. */
static void place(struct sweep *w, unsigned size)
{
    static const unsigned order[6] = { CPU_RAX, CPU_RCX, CPU_RDX, CPU_RBX, CPU_RSI, CPU_RDI };

    for (unsigned r = 0; r < 6; r++)
        w->g->c->gpr[order[r]] = w->n.gpr[r];
    if (!size)
        return;
    w->n.gpr[0] = (uintptr_t)w->end - size;
    w->g->c->gpr[CPU_RAX] = RAM - size;
}

static bool same(struct sweep *w, bool memory)
{
    static const unsigned order[6] = { CPU_RAX, CPU_RCX, CPU_RDX, CPU_RBX, CPU_RSI, CPU_RDI };
    struct soft_cpu *c = w->g->c;
    uint8_t buf[128];
    bool ok = !memcmp(c->fpu.zmm, w->n.zmm, sizeof(w->n.zmm)) &&
              !memcmp(c->fpu.k, w->n.k, sizeof(w->n.k)) && !memcmp(c->fpu.fx, w->n.fx, 5) &&
              !memcmp(c->fpu.fx + 24, w->n.fx + 24, 4) &&
              soft_arith_flags(c) == (w->n.flags & X86_FLAGS_ARITH);

    for (unsigned r = memory ? 1 : 0; r < 6; r++)
        ok = ok && c->gpr[order[r]] == w->n.gpr[r];
    for (unsigned r = 0; r < 8; r++)
        ok = ok && !memcmp(fpu_st(c, r), w->n.fx + 32 + 16 * r, 10);
    mem_read(w->g->mem, RAM - 128, buf, 128);
    return ok && !memcmp(buf, w->end - 128, 128);
}

static void fail_case(const uint8_t *code, unsigned len, const char *what)
{
    fprintf(stderr, "%s:", what);
    for (unsigned n = 0; n < len; n++)
        fprintf(stderr, " %02x", code[n]);
    fprintf(stderr, "\n");
    fail();
}

static void one(struct sweep *w, const uint8_t *code)
{
    const struct simd_op *op;
    struct insn i;
    unsigned size = 0;
    int r;

    if (soft_decode(&w->g->model, 2 | MODE_PROT, code, 15, &i) == DECODE_MORE || i.fn == op_ud)
        return;
    /* Only the forms that have a stub; moves have an op as well. */
    if (i.flags & INSN_MEM && i.base != CPU_RAX * 8)
        return;
    op = i.aux;
    if (op->regs[SLOT_REG] == REGS_GPR && i.reg == CPU_RSP * 8)
        return; /* native_run's stack */
    size = i.flags & INSN_MEM ? op->size : 0;
    fill(w);
    place(w, size);
    native_signal = 0;
    memset(native_hole, 0x90, 15);
    memcpy(native_hole, code, i.len);
    r = i.fn(w->g->c, &i);
    soft_io_done(w->g->c);
    /* An operand that cannot end here for alignment. */
    if (r == SOFT_FAULT && w->g->c->exc.vector == VEC_GP && op->align)
        return;
    native_run(&w->n);
    if (r != SOFT_NEXT || native_signal)
        fail_case(code, i.len,
                  r == SOFT_EXIT  ? "touches too much"
                  : native_signal ? "host faults"
                                  : "guest faults");
    if (!same(w, size))
        fail_case(code, i.len, "differs");
    w->ran++;
}

/* Is it one of simd_rows.c's that go through struct simd_op? */
static bool is_stub_form(const uint8_t *code)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecoder d;
    const struct insn_row *row;

    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, code, 15, &z, op)))
        return false;
    row = soft_row(z.mnemonic);
    return row && row->lower == simd_lower && z.meta.category != ZYDIS_CATEGORY_STRINGOP;
}

static const uint8_t modrms[] = { 0x00, 0x30, 0x10, 0x20, 0xca, 0xd1, 0xf2, 0xe2 };

static void sweep_encoding(struct sweep *w, const uint8_t *prefix, unsigned len)
{
    uint8_t code[15] = { 0 };

    memcpy(code, prefix, len);
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        for (unsigned m = 0; m < ARRAY_SIZE(modrms); m++) {
            code[len] = (uint8_t)opcode;
            code[len + 1] = modrms[m];
            code[len + 2] = (uint8_t)rnd();
            if (is_stub_form(code))
                one(w, code);
        }
    }
}

static void sweep_legacy(struct sweep *w)
{
    static const uint8_t prefixes[] = { 0, 0x66, 0xf3, 0xf2 };

    for (unsigned map = 0; map < 3; map++) {
        for (unsigned p = 0; p < 8; p++) {
            uint8_t b[5];
            unsigned n = 0;
            if (prefixes[p & 3])
                b[n++] = prefixes[p & 3];
            if (p & 4)
                b[n++] = 0x48;
            b[n++] = 0x0f;
            if (map)
                b[n++] = map == 1 ? 0x38 : 0x3a;
            sweep_encoding(w, b, n);
        }
    }
}

static void sweep_vex(struct sweep *w)
{
    for (unsigned map = 1; map < 4; map++)
        for (unsigned wpl = 0; wpl < 16; wpl++)
            for (unsigned v = 0; v < 2; v++)
                sweep_encoding(
                    w,
                    (const uint8_t[]){ 0xc4, (uint8_t)(0xe0 | map),
                                       (uint8_t)((wpl & 8) << 4 | (v ? 0x60 : 0x78) | (wpl & 7)) },
                    3);
}

static void sweep_evex(struct sweep *w)
{
    for (unsigned map = 1; map < 4; map++)
        for (unsigned wp = 0; wp < 8; wp++)
            for (unsigned x = 0; x < 3 * 2 * 2 * 3; x++) {
                unsigned v = x & 1, b = x >> 1 & 1, l = (x >> 2) % 3, k = (x >> 2) / 3;
                sweep_encoding(w,
                               (const uint8_t[]){
                                   0x62, (uint8_t)(0xf0 | map),
                                   (uint8_t)((wp & 4) << 5 | (v ? 0x60 : 0x78) | 4 | (wp & 3)),
                                   (uint8_t)((k == 2) << 7 | l << 5 | b << 4 | 8 | (k ? 5 : 0)) },
                               4);
            }
}

static void test_all_forms(void **state)
{
    struct sweep w = { .g = guest_new() };
    uint8_t *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(p != MAP_FAILED && !mprotect(p + 2 * 4096, 4096, PROT_NONE));
    w.end = p + 2 * 4096;
    if (!native_init()) {
        guest_free(w.g);
        skip();
        return;
    }
    sweep_legacy(&w);
    sweep_vex(&w);
    sweep_evex(&w);
    print_message("%u forms ran\n", w.ran);
    assert_true(w.ran > 3000);
    munmap(p, 3 * 4096);
    guest_free(w.g);
}

/* ---- single points ------------------------------------------------------------------------ */

static void put_ps(struct guest *g, unsigned reg, float a, float b)
{
    float v[4] = { a, b, 1, 1 };

    memcpy(g->c->fpu.zmm[reg], v, 16);
}

static void test_unmasked_exception(void **state)
{
    struct guest *g = guest_new();
    uint8_t before[64];

    (void)state;
    simd_catch_sigfpe(); /* cmocka took it */
    put_ps(g, 0, 1, 2);
    put_ps(g, 1, 0, 2);
    *fpu_mxcsr(g->c) = 0x1f80 & ~0x200u; /* ZM clear */
    memcpy(before, g->c->fpu.zmm[0], 64);
    assert_int_equal(RUN(g, 0x0f, 0x5e, 0xc1), VEC_XM); /* divps xmm0, xmm1 */
    assert_memory_equal(before, g->c->fpu.zmm[0], 64);
    assert_int_equal(*fpu_mxcsr(g->c) & 0x3f, 4);
    g->c->s.cr4 &= ~CR4_OSXMMEXCPT;
    assert_int_equal(RUN(g, 0x0f, 0x5e, 0xc1), VEC_UD);
    *fpu_mxcsr(g->c) = 0x1f80;
    assert_int_equal(RUN(g, 0x0f, 0x5e, 0xc1), -1);
    assert_int_equal(*fpu_mxcsr(g->c), 0x1f84);
    guest_free(g);
}

static void test_checks(void **state)
{
    struct guest *g = guest_new();

    (void)state;
    g->c->s.cr0 |= CR0_TS;
    assert_int_equal(RUN(g, 0x0f, 0x58, 0xc1), VEC_NM); /* addps */
    assert_int_equal(RUN(g, 0xd9, 0xe8), VEC_NM);       /* fld1 */
    assert_int_equal(RUN(g, 0x9b), VEC_NM);             /* fwait, MP set */
    g->c->s.cr0 = (g->c->s.cr0 & ~CR0_TS) | CR0_EM;
    assert_int_equal(RUN(g, 0x0f, 0x58, 0xc1), VEC_UD);
    assert_int_equal(RUN(g, 0x0f, 0xfc, 0xc1), VEC_UD); /* paddb mm */
    assert_int_equal(RUN(g, 0xd9, 0xe8), VEC_NM);
    g->c->s.cr0 &= ~CR0_EM;
    g->c->s.cr4 &= ~CR4_OSFXSR;
    assert_int_equal(RUN(g, 0x0f, 0x58, 0xc1), VEC_UD);
    assert_int_equal(RUN(g, 0x0f, 0xfc, 0xc1), -1);
    if (cpu_has(&g->model, F_AVX)) {
        assert_int_equal(RUN(g, 0xc5, 0xf8, 0x58, 0xc1), -1); /* vaddps */
        g->c->s.xcr0 = XCR0_X87 | XCR0_SSE;
        assert_int_equal(RUN(g, 0xc5, 0xf8, 0x58, 0xc1), VEC_UD);
    }
    guest_free(g);
}

static void test_x87_exception(void **state)
{
    struct guest *g = guest_new();

    (void)state;
    g->c->gpr[CPU_RBX] = 0x9000;
    mem_write(g->mem, 0x9000, &(uint16_t){ 0x37b }, 2); /* ZM clear */
    assert_int_equal(RUN(g, 0xdb, 0xe3), -1);           /* fninit */
    assert_int_equal(RUN(g, 0xd9, 0x2b), -1);           /* fldcw [rbx] */
    assert_int_equal(RUN(g, 0xd9, 0xe8), -1);           /* fld1 */
    assert_int_equal(RUN(g, 0xd9, 0xee), -1);           /* fldz */
    assert_int_equal(RUN(g, 0xde, 0xf9), -1);           /* fdivp: operands stay */
    assert_true(*fpu_fsw(g->c) & FSW_ES);
    assert_int_equal(*fpu_fip(g->c), 0x8000);
    assert_int_equal(RUN(g, 0x9b), VEC_MF);
    assert_int_equal(RUN(g, 0x0f, 0xfc, 0xc1), VEC_MF); /* paddb mm */
    assert_int_equal(RUN(g, 0xdf, 0xe0), -1);           /* fnstsw ax does not wait */
    assert_int_equal(g->c->gpr[CPU_RAX] & 0xffff, *fpu_fsw(g->c));
    assert_int_equal(RUN(g, 0xdb, 0xe2), -1); /* fnclex */
    assert_int_equal(RUN(g, 0x9b), -1);
    guest_free(g);
}

static void test_xsave(void **state)
{
    struct guest *g = guest_new();
    uint64_t h[8];
    struct soft_fpu was;

    (void)state;
    if (!cpu_has(&g->model, F_XSAVE)) {
        guest_free(g);
        skip();
        return;
    }
    for (unsigned n = 0; n < 16; n++)
        memset(g->c->fpu.zmm[n], (int)n + 1, cpu_has(&g->model, F_AVX) ? 32 : 16);
    RUN(g, 0xdb, 0xe3); /* fninit; fld1 */
    RUN(g, 0xd9, 0xe8);
    was = g->c->fpu;
    g->c->gpr[CPU_RBX] = 0xa000;
    g->c->gpr[CPU_RAX] = g->c->gpr[CPU_RDX] = 0xffffffff;
    mem_fill(g->mem, 0xa000, 0, 4096);
    assert_int_equal(RUN(g, 0x0f, 0xae, 0x63, 0x01), VEC_GP); /* xsave [rbx+1] */
    assert_int_equal(RUN(g, 0x48, 0x0f, 0xae, 0x23), -1);     /* xsave64 [rbx] */
    mem_read(g->mem, 0xa200, h, sizeof(h));
    assert_int_equal(h[0] & 3, 3);
    assert_int_equal(h[1], 0);
    memset(g->c->fpu.zmm, 0, sizeof(g->c->fpu.zmm));
    RUN(g, 0xdb, 0xe3);
    assert_int_equal(RUN(g, 0x48, 0x0f, 0xae, 0x2b), -1); /* xrstor64 [rbx] */
    assert_memory_equal(was.zmm, g->c->fpu.zmm, sizeof(was.zmm));
    assert_int_equal(*fpu_ftw(g->c), 0x80);
    h[0] |= 1ULL << 62;
    mem_write(g->mem, 0xa200, h, 8);
    assert_int_equal(RUN(g, 0x48, 0x0f, 0xae, 0x2b), VEC_GP);
    mem_write(g->mem, 0xa200, &(uint64_t){ 0 }, 8);
    assert_int_equal(RUN(g, 0x48, 0x0f, 0xae, 0x2b), -1); /* all initial */
    assert_int_equal(g->c->fpu.zmm[3][0] | g->c->fpu.zmm[3][16], 0);
    /* What an XRSTOR has initialised is not in use, whose CPU it ever is. */
    for (unsigned amd = 0; amd < 2; amd++) {
        g->model.amd = amd;
        assert_int_equal(RUN(g, 0x48, 0x0f, 0xae, 0x23), -1);
        mem_read(g->mem, 0xa200, h, sizeof(h));
        assert_int_equal(h[0] & 7, 0);
    }
    guest_free(g);
}

/* Neither mapping of the stubs is both writable and executable. */
static void test_wx(void **state)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned found = 0;

    (void)state;
    assert_non_null(f);
    simd_host_avx();
    while (fgets(line, sizeof(line), f)) {
        char perms[8];
        if (!strstr(line, "guest-simd") || sscanf(line, "%*s %7s", perms) != 1)
            continue;
        found++;
        assert_false(perms[1] == 'w' && perms[2] == 'x');
    }
    fclose(f);
    assert_int_equal(found, 2);
}

/* Stubs for all immediates of an EVEX form, if there is one; true: no room for more. */
static bool fill_form(struct guest *g, const uint8_t evex[15])
{
    struct insn i;

    if (!is_stub_form(evex) || soft_decode(&g->model, 2 | MODE_PROT, evex, 15, &i) == DECODE_MORE ||
        i.fn == op_ud || !(((const struct simd_op *)i.aux)->flags & SO_IMM))
        return false;
    for (unsigned imm = 0; imm < 256; imm++)
        if (!simd_stub_make(i.aux, (uint8_t)imm))
            return true;
    return false;
}

/* x: vector length, W, broadcast, masking, zeroing, memory or register. */
static bool fill_opcode(struct guest *g, uint8_t map, uint8_t pp, uint8_t opcode)
{
    for (unsigned x = 0; x < 48; x++) {
        const uint8_t evex[15] = { 0x62,
                                   (uint8_t)(0xf0 | map),
                                   (uint8_t)(0x74 | pp | (x & 1) << 7),
                                   (uint8_t)(0x08 | (x >> 1) % 3 << 5 | ((x / 6) & 1) << 4 |
                                             (x / 12 ? 1 : 0) | (x / 12 == 2) << 7),
                                   opcode,
                                   x / 36 ? 0x00 : 0xc1 };

        if (fill_form(g, evex))
            return true;
    }
    return false;
}

/* All immediates of many forms fill the area; then stubs run once and are
 * forgotten.  Last, since it stays full. */
static void test_area_full(void **state)
{
    static const uint8_t maps[] = { 3, 1 };
    struct guest *g = guest_new();
    uint8_t code[15] = { 0x66, 0x0f, 0x70, 0xc1, 0 }; /* pshufd xmm0, xmm1, imm */
    bool full = false;

    (void)state;
    for (unsigned n = 0; n < 2 * 4 * 256 && !full; n++)
        full = fill_opcode(g, maps[n / 1024], (n / 256 + 1) & 3, (uint8_t)n);
    if (simd_host_avx512())
        assert_true(full);
    for (unsigned imm = 0; imm < 256; imm += 5) {
        uint32_t v[4] = { 1, 2, 3, 4 }, out[4];
        code[4] = (uint8_t)imm;
        memcpy(g->c->fpu.zmm[1], v, 16);
        assert_int_equal(run(g, code, 15), -1);
        memcpy(out, g->c->fpu.zmm[0], 16);
        for (unsigned n = 0; n < 4; n++)
            assert_int_equal(out[n], v[imm >> (2 * n) & 3]);
    }
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_unmasked_exception),
        cmocka_unit_test(test_x87_exception),
        cmocka_unit_test(test_xsave),
        cmocka_unit_test(test_wx),
        cmocka_unit_test(test_all_forms),
        cmocka_unit_test(test_area_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
