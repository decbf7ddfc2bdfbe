/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests of a few instructions whose secret the host knows: where the signal
 * stack is, what the address of guest memory is in the host, what the dirty
 * log says, what several vCPUs did.
 */
#include "small.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"

enum { PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, PDPT2 = 0x4000, PD2 = 0x5000, PT2 = 0x6000, IDT = 0x8000,
       GDT = 0x9000, TSS = 0xa000, STUBS = 0xc000, IST = 0x14000, CODE = 0x20000, DATA = 0x200000 };
#define ENDED 0xaa          /* of code that came to its end */
#define OUTSIDE (1ULL << 60)    /* an address that is not canonical, with this bit */

static void put64(uint64_t gpa, uint64_t v)
{
    if (mem_write(st.mem, gpa, &v, 8))
        fail("RAM");
}

static uint64_t get64(uint64_t gpa)
{
    uint64_t v = 0;

    mem_read(st.mem, gpa, &v, 8);
    return v;
}

/* Each vector writes its number to DONE_PORT, on a stack of its own. */
static void build_idt(void)
{
    for (unsigned v = 0; v < 32; v++) {
        uint8_t stub[] = { 0xb0, (uint8_t)v, 0xe6, DONE_PORT, 0xf4 };     /* mov $v, %al; out; hlt */
        uint64_t at = STUBS + v * 16;

        mem_write(st.mem, at, stub, sizeof(stub));
        put64(IDT + v * 16, (at & 0xffff) | 8u << 16 | 1ULL << 32 | 0x8eULL << 40 | (at >> 16) << 48);
        put64(IDT + v * 16 + 8, 0);
    }
    put64(TSS + 0x24, IST);
}

static void build(void)
{
    make_vm();
    make_vcpu(0);
    make_vcpu(1);
    put64(PML4, PDPT | PTE_P | PTE_W);
    put64(PDPT, PD | PTE_P | PTE_W);
    for (uint64_t n = 0; n < RAM >> 21; n++)
        put64(PD + n * 8, n << 21 | PTE_P | PTE_W | PTE_PS);
    put64(GDT + 8, 0x00af9b000000ffff);
    put64(GDT + 16, 0x00cf93000000ffff);
    build_idt();
}

/* A vCPU that is to run code in 64-bit mode. */
static struct vcpu_state start(unsigned n, const void *code, size_t size)
{
    struct vcpu_state s;

    if (mem_write(st.mem, CODE + n * 0x1000, code, size))
        fail("RAM");
    vcpu_state_reset(&s, n, true, false);
    s.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    s.cr3 = PML4;
    s.cr4 = CR4_PAE | CR4_OSFXSR;
    s.efer = EFER_LME | EFER_LMA | EFER_NXE;
    s.gdtr = (struct table_state){ GDT, 3 * 8 - 1 };
    s.idtr = (struct table_state){ IDT, 32 * 16 - 1 };
    s.seg[SEG_CS] = (struct seg_state){ 0, 0xffffffff, 0xa09b, 8 };
    s.seg[SEG_SS] = s.seg[SEG_DS] = s.seg[SEG_ES] = (struct seg_state){ 0, 0xffffffff, 0xc093, 16 };
    s.seg[SEG_TR] = (struct seg_state){ TSS, 0x67, 0x8b, 0x18 };
    s.rip = CODE + n * 0x1000;
    s.rflags = X86_FLAGS_FIXED;
    s.mp_state = MP_RUNNABLE;
    s.gpr[CPU_RSP] = IST - 0x1000;
    return s;
}

#define END 0xb0, ENDED, 0xe6, DONE_PORT, 0xf4      /* mov $ENDED, %al; out; hlt */
/* The same, and once more from the start if it runs on: `size` bytes are before
 * it.  A state that is set anew has nothing in its TLBs. */
#define AGAIN(size) 0xb0, ENDED, 0xe6, DONE_PORT, 0xeb, (uint8_t)(-(size) - 6)

/* ---- rule 2: the signal stack --------------------------------------------------------- */

/* A fault of the host's, with the guest's stack pointer inside the signal stack:
 * the frame goes to the top all the same.  The same page is read before, since
 * else the address would only be a miss. */
static void test_signal_stack(void)
{
    static const uint8_t code[] = {
        0x48, 0x8b, 0x02,                   /* mov (%rdx), %rax */
        0x48, 0x8b, 0x01, END };            /* mov (%rcx), %rax */
    const unsigned inside = 0x4000;
    struct vcpu_state s = start(0, code, sizeof(code));
    uint8_t *stack;
    bool same = true;

    s.gpr[CPU_RCX] = s.gpr[CPU_RDX] = DATA;
    set_state(0, &s);
    run_guest(0);
    stack = bt_of(cpu(0))->signal_stack;
    memset(stack, 0xa5, inside + 0x100);
    s.gpr[CPU_RCX] = DATA | OUTSIDE;
    s.gpr[CPU_RSP] = (uint64_t)(uintptr_t)(stack + inside);
    set_state(0, &s);
    tell("a fault with the stack pointer in the signal stack", run_guest(0) == VEC_GP);
    for (unsigned n = 0; n < inside + 0x100; n++)
        same &= stack[n] == 0xa5;
    tell("does not decide where the frame goes", same);
}

/* ---- rule 4: addresses that are the same in guest and host --------------------------------- */

/* Maps the host's address of DATA to DATA, so that its addend is 0. */
static uint64_t map_at_host_address(void)
{
    uint64_t va = (uint64_t)(uintptr_t)mem_get(st.mem, DATA, 4096, true);

    put64(PML4 + (va >> 39 & 511) * 8, PDPT2 | PTE_P | PTE_W);
    put64(PDPT2 + (va >> 30 & 511) * 8, PD2 | PTE_P | PTE_W);
    put64(PD2 + (va >> 21 & 511) * 8, PT2 | PTE_P | PTE_W);
    put64(PT2 + (va >> 12 & 511) * 8, DATA | PTE_P | PTE_W);
    return va;
}

static void test_no_addend(void)
{
    static const uint8_t code[] = {
        0x48, 0x89, 0x01,                   /* 1: mov %rax, (%rcx) */
        0x48, 0x83, 0x41, 0x08, 0x01,       /* addq $1, 8(%rcx) */
        0xf0, 0x48, 0xff, 0x41, 0x10,       /* lock incq 0x10(%rcx) */
        0x48, 0x8b, 0x59, 0x08,             /* mov 8(%rcx), %rbx */
        0x0f, 0x10, 0x01,                   /* movups (%rcx), %xmm0 */
        0x53, 0x52, 0x5a, 0x5e,             /* push %rbx; push %rdx; pop %rdx; pop %rsi */
        0xff, 0xca, 0x75, 0xe4,             /* dec %edx; jnz 1b */
        END };
    struct vcpu_state s = start(0, code, sizeof(code));
    const uint64_t va = map_at_host_address();

    memset(mem_get(st.mem, DATA, 4096, true), 0, 4096);
    s.gpr[CPU_RCX] = va;
    s.gpr[CPU_RSP] = va + 0x800;
    s.gpr[CPU_RDX] = 1000;
    s.gpr[CPU_RAX] = 0x1234;
    set_state(0, &s);
    tell("accesses where guest and host address are the same", run_guest(0) == ENDED);
    tell("are all made",
         get64(DATA) == 0x1234 && get64(DATA + 8) == 1000 && get64(DATA + 16) == 1000 && get64(DATA + 0x7f8) == 1000);
}

/* ---- rule 5: the A20 gate ------------------------------------------------------------------- */

/* The same load, with DATA + 1 MiB once its own and once another name of DATA. */
static void test_a20(void)
{
    static const uint8_t code[] = { 0x8b, 0x01, 0x8b, 0x19, AGAIN(4) };     /* mov (%rcx), %eax; mov (%rcx), %ebx */
    struct vcpu_state s = start(0, code, sizeof(code));
    bool good = true;

    put64(DATA, 1);
    put64(DATA + MiB, 2);
    s.gpr[CPU_RCX] = DATA + MiB;
    set_state(0, &s);
    for (unsigned round = 0; round < 6; round++) {
        engine_bt.set_a20(st.vm, round % 3 != 2);
        good &= run_guest(0) == ENDED;
        engine_bt.vcpu_get_state(st.vcpu[0], &s);
        good &= s.gpr[CPU_RBX] == (round % 3 == 2 ? 1 : 2);
    }
    engine_bt.set_a20(st.vm, true);
    tell("the A20 gate counts at once", good);
}

/* ---- rule 7: the dirty log ------------------------------------------------------------------- */

static bool logged(const uint64_t *bits, uint64_t gpa)
{
    return bits[(gpa >> 12) / 64] >> ((gpa >> 12) % 64) & 1;
}

static uint64_t bits[RAM / 4096 / 64];

static void read_log(void)
{
    mem_dirty_fetch(st.mem, 0, RAM / 4096, bits);
    engine_bt.dirty_revoke(st.vm);
}

/* Each time anew, though the page was written before. */
static void test_dirty_log(void)
{
    /* Two stores, push, pop; nothing. */
    static const uint8_t code[] = { 0x48, 0x89, 0x01, 0x48, 0x89, 0x01, 0x50, 0x58, AGAIN(8) }, idle[] = { END };
    struct vcpu_state s = start(0, code, sizeof(code));
    bool page_each_time = true, stack_each_time = true;

    s.gpr[CPU_RCX] = DATA;
    set_state(0, &s);
    mem_dirty_start(st.mem);
    engine_bt.dirty_revoke(st.vm);
    for (unsigned round = 0; round < 6; round++) {
        run_guest(0);
        if (round % 2)
            run_guest(0);
        read_log();
        page_each_time &= logged(bits, DATA);
        stack_each_time &= logged(bits, IST - 0x1008);
    }
    tell("a page that is written after each read of the log is in it", page_each_time);
    tell("so is the stack's", stack_each_time);
    s = start(0, idle, sizeof(idle));
    set_state(0, &s);
    read_log();
    run_guest(0);
    read_log();
    tell("one that is not written is not", !logged(bits, DATA));
    /* Accessed and dirty bits are writes too. */
    put64(PD + (DATA >> 21) * 8, DATA | PTE_P | PTE_W | PTE_PS);
    s = start(0, code, sizeof(code));
    s.gpr[CPU_RCX] = DATA;
    set_state(0, &s);
    read_log();
    run_guest(0);
    read_log();
    tell("accessed and dirty bits are in the log", logged(bits, PD));
    mem_dirty_stop(st.mem);
    engine_bt.dirty_revoke(st.vm);
}

/* ---- rules 6 and 8: several vCPUs ------------------------------------------------------------ */

#define ROUNDS 30000u
static uint32_t results[NCPUS];

static void *run_thread(void *arg)
{
    unsigned n = (unsigned)(uintptr_t)arg;

    results[n] = run_guest(n);
    return NULL;
}

/* Both add to a counter across a cache line, one across a page. */
static void test_split_locks(void)
{
    static const uint8_t code[] = {
        0xf0, 0xff, 0x01,                   /* 1: lock incl (%rcx) */
        0xf0, 0x48, 0x0f, 0xc1, 0x33,       /* lock xadd %rsi, (%rbx) */
        0xbe, 1, 0, 0, 0,                   /* mov $1, %esi */
        0xff, 0xca, 0x75, 0xef,             /* dec %edx; jnz 1b */
        END };
    pthread_t thread[NCPUS];

    memset(mem_get(st.mem, DATA, 0x2000, true), 0, 0x2000);
    for (unsigned n = 0; n < NCPUS; n++) {
        struct vcpu_state s = start(n, code, sizeof(code));

        s.gpr[CPU_RCX] = DATA + 62;
        s.gpr[CPU_RBX] = DATA + 0xffc;
        s.gpr[CPU_RSI] = 1;
        s.gpr[CPU_RDX] = ROUNDS;
        set_state(n, &s);
    }
    for (unsigned n = 0; n < NCPUS; n++)
        pthread_create(&thread[n], NULL, run_thread, (void *)(uintptr_t)n);
    for (unsigned n = 0; n < NCPUS; n++)
        pthread_join(thread[n], NULL);
    tell("two vCPUs with locked accesses across a line and a page", results[0] == ENDED && results[1] == ENDED);
    printf("# %u and %llu\n", (uint32_t)get64(DATA + 62), (unsigned long long)get64(DATA + 0xffc));
    tell("lose none", (uint32_t)get64(DATA + 62) == NCPUS * ROUNDS && get64(DATA + 0xffc) == NCPUS * ROUNDS);
}

/* A word beside code, where each store takes the slow path: another vCPU sees
 * it whole. */
static void test_whole_words(void)
{
    static const uint8_t writer[] = {
        0x48, 0x89, 0x01,                   /* 1: mov %rax, (%rcx) */
        0x48, 0xf7, 0xd0,                   /* not %rax */
        0xff, 0xca, 0x75, 0xf6,             /* dec %edx; jnz 1b */
        END };
    static const uint8_t reader[] = {
        0x48, 0x8b, 0x01,                   /* 1: mov (%rcx), %rax */
        0x48, 0x8d, 0x58, 0x01,             /* lea 1(%rax), %rbx: 0 or 1 */
        0x48, 0x83, 0xfb, 0x01,             /* cmp $1, %rbx */
        0x77, 0x09,                         /* ja 2f */
        0xff, 0xca, 0x75, 0xef,             /* dec %edx; jnz 1b */
        END,
        0xb0, 0x55, 0xe6, DONE_PORT, 0xf4 };    /* 2: torn */
    const void *code[NCPUS] = { writer, reader };
    const size_t size[NCPUS] = { sizeof(writer), sizeof(reader) };
    pthread_t thread[NCPUS];

    for (unsigned n = 0; n < NCPUS; n++) {
        struct vcpu_state s = start(n, code[n], size[n]);

        s.gpr[CPU_RCX] = CODE + 0x800;
        /* The reader's loop is much faster. */
        s.gpr[CPU_RDX] = n ? 6000 * ROUNDS : 20 * ROUNDS;
        set_state(n, &s);
    }
    put64(CODE + 0x800, 0);
    for (unsigned n = 0; n < NCPUS; n++)
        pthread_create(&thread[n], NULL, run_thread, (void *)(uintptr_t)n);
    for (unsigned n = 0; n < NCPUS; n++)
        pthread_join(thread[n], NULL);
    tell("a word beside code is never seen half written", results[0] == ENDED && results[1] == ENDED);
}

/* One waits in HLT for ever: the other may run alone, and code may change. */
static void test_halted(void)
{
    static const uint8_t halt[] = { 0xf4, END };
    static const uint8_t code[] = {
        0xf0, 0xff, 0x01,                   /* 1: lock incl (%rcx) */
        0x88, 0x03,                         /* mov %al, (%rbx): the immediate below */
        0xb0, 0x11,                         /* mov $0x11, %al */
        0xff, 0xca, 0x75, 0xf5,             /* dec %edx; jnz 1b */
        END };
    struct vcpu_state s = start(1, halt, sizeof(halt));
    pthread_t thread;

    set_state(1, &s);
    pthread_create(&thread, NULL, run_thread, (void *)(uintptr_t)1);
    while (!atomic_load(&cpu(1)->waiting))
        sched_yield();
    s = start(0, code, sizeof(code));
    s.gpr[CPU_RCX] = DATA + 62;
    s.gpr[CPU_RBX] = CODE + 6;
    s.gpr[CPU_RDX] = 1000;
    set_state(0, &s);
    tell("a halted vCPU keeps nobody waiting", run_guest(0) == ENDED);
    engine_bt.dirty_revoke(st.vm);
    engine_bt.vcpu_kick(st.vcpu[1]);
    pthread_join(thread, NULL);
    tell("and leaves when it is told to", page(1)->exit == CPU_EXIT_INTR);
}

void test_small(void)
{
    build();
    test_signal_stack();
    test_no_addend();
    test_a20();
    test_dirty_log();
    test_split_locks();
    test_whole_words();
    test_halted();
    destroy_vm();
}
