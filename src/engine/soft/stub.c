/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stubs: small pieces of host code, each with one guest instruction in it.
 *
 * They live in one memfd that is mapped twice, writable and executable, never
 * both (W^X).  What is here is a cache of pure functions of the instruction's
 * form, so that it is shared by everything in the process and needs no owner;
 * a lock covers creation only.  The area is bounded: when it is full, further
 * stubs share a last slot that is rewritten each time under the lock, which is
 * slow and right.  All instructions of a Linux user land need less than a
 * tenth of it; only a guest that tries all immediates fills it.
 */
#include "engine/soft/simd.h"

#include <linux/membarrier.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/log.h"

#define AREA_SIZE (8 * MiB)
#define STUB_MAX 256u           /* no stub is longer */
#define X87_RESERVE (256 * KiB) /* for the x87 stubs, which are few enough to fit */
#define HASH_SIZE 4096u

static struct {
    pthread_mutex_t lock;
    uint8_t *rw;
    const uint8_t *rx;
    size_t used;
    bool failed, avx, avx512;
    struct simd_op *hash[HASH_SIZE];
    _Atomic(x87_stub) x87[X87_KEYS];
} area = { .lock = PTHREAD_MUTEX_INITIALIZER };

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---- SIMD floating-point exceptions ---------------------------------------- */

static struct sigaction old_sigfpe;
static void emit_raised(void);

/* A stub raised one: go on at the area's start, where emit_raised() put the way out. */
static void sigfpe(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    uintptr_t at = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP] - (uintptr_t)area.rx;

    if (at < AREA_SIZE)
        uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)area.rx;
    else if (old_sigfpe.sa_flags & SA_SIGINFO)
        old_sigfpe.sa_sigaction(sig, info, context);
    else if (old_sigfpe.sa_handler != SIG_DFL && old_sigfpe.sa_handler != SIG_IGN)
        old_sigfpe.sa_handler(sig);
    else
        signal(sig, SIG_DFL);           /* the instruction is executed again: ends the process */
}

void simd_catch_sigfpe(void)
{
    struct sigaction sa = { .sa_sigaction = sigfpe, .sa_flags = SA_SIGINFO | SA_ONSTACK };

    sigaction(SIGFPE, &sa, &old_sigfpe);
}

static void init(void)
{
    int fd = memfd_create("guest-simd", MFD_CLOEXEC);
    void *rw, *rx;

    __builtin_cpu_init();
    area.avx = __builtin_cpu_supports("avx");
    area.avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl");
    area.failed = true;
    if (fd < 0 || ftruncate(fd, AREA_SIZE) < 0)
        goto out;
    rw = mmap(NULL, AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rx = mmap(NULL, AREA_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (rw == MAP_FAILED || rx == MAP_FAILED)
        goto out;
    area.rw = rw;
    area.rx = rx;
    area.failed = false;
    emit_raised();
    simd_catch_sigfpe();
    /* For the slot that is rewritten; if the kernel refuses, see below. */
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
out:
    if (area.failed)
        log_error(LOG_CPU, "no executable memory: SIMD and x87 instructions will fault; "
                  "allow PROT_EXEC mappings of a memfd");
    if (fd >= 0)
        close(fd);
}

bool simd_host_avx(void)
{
    pthread_once(&once, init);
    return area.avx;
}

bool simd_host_avx512(void)
{
    pthread_once(&once, init);
    return area.avx512;
}

/* ---- emitter ------------------------------------------------------------- */

struct code {
    uint8_t b[STUB_MAX];
    unsigned n;
};

static void put(struct code *s, const uint8_t *b, unsigned n)
{
    if (n)      /* b may be NULL */
        memcpy(s->b + s->n, b, n);
    s->n += n;
}
#define EMIT(s, ...) put(s, (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

/* Host registers: the slots' pointers come in rsi, rdx, rcx, r9 (SysV ABI),
 * their contents go to vector 1, 2, 3, mask 2, 3, 4, MMX 1, 2, 3; the extra
 * one to vector 0 or 4 or mask 1; a general register always to rax. */
static const uint8_t slot_base[SLOT_COUNT] = { 6, 2, 1, 9 };

uint8_t simd_slot_number(const struct simd_op *op, unsigned slot)
{
    switch (op->regs[slot]) {
    case REGS_GPR: return 0;
    case REGS_MASK: return slot == SLOT_EXTRA ? 1 : (uint8_t)(slot + 2);
    default: return slot == SLOT_EXTRA ? (op->extra == EXTRA_IS4 ? 4 : 0) : (uint8_t)(slot + 1);
    }
}

/* Vector load (0x10) or store (0x11): MOVUPS of the width. */
static void emit_vector(struct code *s, const struct simd_op *op, uint8_t opcode, unsigned reg,
                        unsigned base, unsigned width)
{
    uint8_t modrm = (uint8_t)(reg << 3 | (base & 7)), b = base & 8 ? 0 : 0x20;

    if (op->check == CHECK_SSE || op->check == CHECK_MMX_SSE) {
        if (base & 8)
            EMIT(s, 0x41);
        EMIT(s, 0x0f, opcode, modrm);
    } else if (width <= 32) {
        EMIT(s, 0xc4, (uint8_t)(0xc1 | b), width == 32 ? 0x7c : 0x78, opcode, modrm);
    } else {
        EMIT(s, 0x62, (uint8_t)(0xd1 | b), 0x7c, 0x48, opcode, modrm);
    }
}

static void emit_load(struct code *s, const struct simd_op *op, unsigned slot)
{
    unsigned reg = simd_slot_number(op, slot), base = slot_base[slot];
    uint8_t modrm = (uint8_t)(reg << 3 | (base & 7));

    switch (op->regs[slot]) {
    case REGS_VECTOR:
        emit_vector(s, op, 0x10, reg, base, op->vl);
        break;
    case REGS_MASK:     /* KMOVQ */
        EMIT(s, 0xc4, base & 8 ? 0xc1 : 0xe1, 0xf8, 0x90, modrm);
        break;
    case REGS_MMX:
        EMIT(s, 0x0f, 0x6f, modrm);
        break;
    case REGS_GPR:
        EMIT(s, 0x48, 0x8b, modrm);
        break;
    default:
        break;
    }
}

/* Legacy instructions leave what is above 128 bits alone, VEX and EVEX clear
 * all above the result: their registers are stored as wide as the host's are. */
static void emit_store(struct code *s, const struct simd_op *op, unsigned slot)
{
    unsigned reg = simd_slot_number(op, slot), base = slot_base[slot];
    uint8_t modrm = (uint8_t)(reg << 3 | (base & 7));

    switch (op->regs[slot]) {
    case REGS_VECTOR:
        emit_vector(s, op, 0x11, reg, base, op->check == CHECK_EVEX ? 64 : 32);
        if (op->check == CHECK_VEX && area.avx512) {
            EMIT(s, 0xc4, 0xe1, 0x78, 0x57, 0xc0);      /* vxorps xmm0, xmm0, xmm0 */
            /* vmovups [base+32], ymm0 */
            EMIT(s, 0xc4, base & 8 ? 0xc1 : 0xe1, 0x7c, 0x11, (uint8_t)(0x40 | (base & 7)), 32);
        }
        break;
    case REGS_MASK:
        EMIT(s, 0xc4, base & 8 ? 0xc1 : 0xe1, 0xf8, 0x91, modrm);
        break;
    case REGS_MMX:
        EMIT(s, 0x0f, 0x7f, modrm);
        break;
    case REGS_GPR:
        EMIT(s, 0x48, 0x89, modrm);
        break;
    default:
        break;
    }
}

static bool uses(const struct simd_op *op, enum simd_reg kind)
{
    for (unsigned s = 0; s < SLOT_COUNT; s++)
        if (op->regs[s] == kind)
            return true;
    return false;
}

static void emit_op(struct code *s, const struct simd_op *op, uint8_t imm)
{
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (op->load & (1u << slot))
            emit_load(s, op, slot);
    if (op->flags & SO_STRING)          /* mov rax, [r8+8]; mov rdx, [r8+16] */
        EMIT(s, 0x49, 0x8b, 0x40, 8, 0x49, 0x8b, 0x50, 16);
    if (op->flags & SO_FP)              /* ldmxcsr [r8] */
        EMIT(s, 0x41, 0x0f, 0xae, 0x10);
    put(s, op->code, op->code_len);
    if (op->flags & SO_IMM)
        EMIT(s, imm);
    else if (op->extra == EXTRA_IS4)
        EMIT(s, 0x40);                  /* register 4 */
    if (op->flags & SO_FP)              /* stmxcsr [r8]; ldmxcsr [r8+4] */
        EMIT(s, 0x41, 0x0f, 0xae, 0x18, 0x41, 0x0f, 0xae, 0x50, 4);
    if (op->flags & SO_ECX)             /* mov [r8+24], rcx */
        EMIT(s, 0x49, 0x89, 0x48, 24);
    if (op->dst != SLOT_COUNT)
        emit_store(s, op, op->dst);
    if (op->flags & SO_FLAGS)           /* lahf; seto al; mov [r8+32], ax */
        EMIT(s, 0x9f, 0x0f, 0x90, 0xc0, 0x66, 0x41, 0x89, 0x40, 32);
    if ((op->check == CHECK_VEX || op->check == CHECK_EVEX) && uses(op, REGS_VECTOR))
        EMIT(s, 0xc5, 0xf8, 0x77);      /* vzeroupper */
    if (uses(op, REGS_MMX))
        EMIT(s, 0x0f, 0x77);            /* emms */
    EMIT(s, 0xc3);
}

_Static_assert(offsetof(struct simd_frame, ax_flags) == 32 && offsetof(struct simd_frame, raised) == 34,
               "emitted above");

/* Where a stub is left when it raises: r8 is still the frame, RSP points to the
 * return address. */
static void emit_raised(void)
{
    struct code s = { .n = 0 };

    EMIT(&s, 0x41, 0x0f, 0xae, 0x18, 0x41, 0x0f, 0xae, 0x50, 4);   /* stmxcsr [r8]; ldmxcsr [r8+4] */
    EMIT(&s, 0x66, 0x41, 0xc7, 0x40, 34, 1, 0);                    /* mov word [r8+34], 1 */
    if (area.avx)
        EMIT(&s, 0xc5, 0xf8, 0x77);                                /* vzeroupper */
    EMIT(&s, 0x0f, 0x77, 0xc3);                                    /* emms; ret */
    memcpy(area.rw, s.b, s.n);
    area.used = align_up(s.n, 16);
}

/* ---- the area ---------------------------------------------------------------- */

static void *publish(const struct code *s, size_t limit)
{
    size_t at = area.used;

    if (area.failed || at + STUB_MAX > limit)
        return NULL;
    memcpy(area.rw + at, s->b, s->n);
    area.used = align_up(at + s->n, 16);
    return (void *)(uintptr_t)(area.rx + at);
}

static _Atomic(simd_stub) *stub_place(struct simd_op *op, uint8_t imm)
{
    _Atomic(simd_stub) *table;

    if (!(op->flags & SO_IMM))
        return &op->stub;
    table = atomic_load(&op->by_imm);
    if (!table) {
        table = calloc(256, sizeof(*table));
        atomic_store(&op->by_imm, table);
    }
    return table ? &table[imm] : NULL;
}

simd_stub simd_stub_make(const struct simd_op *cop, uint8_t imm)
{
    struct simd_op *op = (struct simd_op *)(uintptr_t)cop;     /* ours, interned below */
    _Atomic(simd_stub) *place;
    struct code s = { .n = 0 };
    simd_stub stub = NULL;

    pthread_once(&once, init);
    pthread_mutex_lock(&area.lock);
    place = stub_place(op, imm);
    if (place) {
        stub = atomic_load(place);
        if (!stub) {
            emit_op(&s, op, imm);
            stub = (simd_stub)publish(&s, AREA_SIZE - X87_RESERVE);
            atomic_store_explicit(place, stub, memory_order_release);
        }
    }
    pthread_mutex_unlock(&area.lock);
    return stub;
}

/* The area is full: build it in the slot behind its end, run it, forget it. */
bool simd_stub_run_once(const struct simd_op *op, uint8_t imm, void *mem, void *const slot[SLOT_COUNT],
                        struct simd_frame *f)
{
    static const size_t at = AREA_SIZE - STUB_MAX;
    struct code s = { .n = 0 };

    if (area.failed)
        return false;
    emit_op(&s, op, imm);
    pthread_mutex_lock(&area.lock);
    memcpy(area.rw + at, s.b, s.n);
    /* The bytes were written through another linear address: serialise
     * (SDM 3A 8.1.3). */
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) < 0) {
        unsigned a = 0, b, c = 0, d;
        __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
    }
    ((simd_stub)(uintptr_t)(area.rx + at))(mem, slot[SLOT_REG], slot[SLOT_RM], slot[SLOT_VREG], f,
                                           slot[SLOT_EXTRA]);
    pthread_mutex_unlock(&area.lock);
    return true;
}

const struct simd_op *simd_op_intern(const struct simd_op *proto)
{
    struct simd_op *op;
    uint32_t h = 0;

    for (unsigned n = 0; n < proto->code_len; n++)
        h = h * 31 + proto->code[n];
    pthread_mutex_lock(&area.lock);
    for (op = area.hash[h % HASH_SIZE]; op; op = op->next)
        if (op->code_len == proto->code_len && !memcmp(op->code, proto->code, sizeof(op->code)) &&
            op->flags == proto->flags && op->size == proto->size)
            break;
    if (!op) {
        op = malloc(sizeof(*op));
        if (op) {
            *op = *proto;
            op->next = area.hash[h % HASH_SIZE];
            area.hash[h % HASH_SIZE] = op;
        }
    }
    pthread_mutex_unlock(&area.lock);
    return op;
}

/* ---- x87 --------------------------------------------------------------------------- */

/* FXRSTOR, the instruction, FXSAVE.  FNINIT and FXSAVE do not wait, so an
 * unmasked exception of the guest stays a status bit and never traps here. */
static void emit_x87(struct code *s, const uint8_t *code, unsigned len, bool flags)
{
    EMIT(s, 0x48, 0x0f, 0xae, 0x0e);            /* fxrstor64 [rsi] */
    EMIT(s, 0x49, 0x89, 0xd0);                  /* mov r8, rdx */
    if (flags)                                  /* mov ax, [r8+32]; add al, 127; sahf */
        EMIT(s, 0x66, 0x41, 0x8b, 0x40, 32, 0x04, 0x7f, 0x9e);
    put(s, code, len);
    if (flags)                                  /* lahf; seto al; mov [r8+32], ax */
        EMIT(s, 0x9f, 0x0f, 0x90, 0xc0, 0x66, 0x41, 0x89, 0x40, 32);
    EMIT(s, 0x48, 0x0f, 0xae, 0x06);            /* fxsave64 [rsi] */
    EMIT(s, 0xdb, 0xe3);                        /* fninit */
    EMIT(s, 0x41, 0x0f, 0xae, 0x50, 4);         /* ldmxcsr [r8+4] */
    EMIT(s, 0xc3);
}

x87_stub x87_stub_get(unsigned key, const uint8_t *code, unsigned len, bool flags)
{
    x87_stub stub = atomic_load_explicit(&area.x87[key], memory_order_acquire);
    struct code s = { .n = 0 };

    if (likely(stub != NULL))
        return stub;
    pthread_once(&once, init);
    pthread_mutex_lock(&area.lock);
    stub = atomic_load(&area.x87[key]);
    if (!stub) {
        emit_x87(&s, code, len, flags);
        stub = (x87_stub)publish(&s, AREA_SIZE - STUB_MAX);
        atomic_store_explicit(&area.x87[key], stub, memory_order_release);
    }
    pthread_mutex_unlock(&area.lock);
    return stub;
}
