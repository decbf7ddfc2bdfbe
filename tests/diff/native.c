/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host side.  A child process runs a batch of cases without system calls
 * between them but one: a case ends by a fault or by the INT3 behind it, so
 * in a signal handler, which takes the result from the signal frame, writes
 * the next case into the same frame and returns into it.  The kernel loads
 * and stores all registers for us.
 *
 * The handler runs with the case's FS base, segments and flags, so until the
 * batch is over it must not touch thread-local storage; and no libc function
 * that might.  A seccomp filter lets the child do nothing but return from
 * signals and exit: whatever a case jumps to, it cannot make a system call.
 */
#include "native.h"

#include <errno.h>
#include <cpuid.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asm/ldt.h>
#include <sys/auxv.h>

#include "base/util.h"

#define HUNG_US 20000
#define STACK_SIZE (256 * 1024)
/* x86/x86.h and <elf.h> both have a PF_W. */
#define TRAP_PF 14

static struct native_shm *shm;
static uint8_t *code_rw, *data_rw;      /* our way to the pages of the case */
static uint8_t *alt_stack;
static pid_t child;
static unsigned batch;
static struct native_layout layout;

uint64_t native_xcr0(void)
{
    return layout.xcr0;
}

uint64_t native_other_components(void)
{
    return layout.others;
}

const struct native_layout *native_get_layout(void)
{
    return &layout;
}

struct test_case *native_cases(void)
{
    return shm->cases;
}

const struct outcome *native_outcomes(void)
{
    return shm->out;
}

/* ---- in the child -------------------------------------------------------- */

/* The case may leave AC, DF, NT and ID set: C code stands none of them. */
__asm__(".pushsection .text\n"
        ".type native_handler, @function\n"
        "native_handler:\n"
        "   pushq $0x202\n"
        "   popfq\n"
        "   jmp native_signal\n"
        ".popsection\n");
void native_handler(int sig, siginfo_t *info, void *uc);

static void *native_memcpy(void *dst, const void *src, size_t n)
{
    void *d = dst;

    __asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) : : "memory");
    return dst;
}

static void store_segments(struct regs *o)
{
    __asm__ volatile("mov %%es, %0" : "=r"(o->sel[DS_ES]));
    __asm__ volatile("mov %%ds, %0" : "=r"(o->sel[DS_DS]));
    __asm__ volatile("mov %%fs, %0" : "=r"(o->sel[DS_FS]));
    __asm__ volatile("mov %%gs, %0" : "=r"(o->sel[DS_GS]));
    __asm__ volatile("rdfsbase %0" : "=r"(o->fs_base));
    __asm__ volatile("rdgsbase %0" : "=r"(o->gs_base));
}

static void load_segments(const struct regs *in)
{
    __asm__ volatile("mov %0, %%es" : : "r"((uint32_t)in->sel[DS_ES]));
    __asm__ volatile("mov %0, %%ds" : : "r"((uint32_t)in->sel[DS_DS]));
    __asm__ volatile("mov %0, %%fs" : : "r"((uint32_t)in->sel[DS_FS]));
    __asm__ volatile("mov %0, %%gs" : : "r"((uint32_t)in->sel[DS_GS]));
    __asm__ volatile("wrfsbase %0" : : "r"(in->fs_base));
    __asm__ volatile("wrgsbase %0" : : "r"(in->gs_base));
}

/* Positions of the general registers in gregs[], in encoding order. */
static const uint8_t greg[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static void take_result(ucontext_t *uc, struct outcome *o)
{
    greg_t *g = uc->uc_mcontext.gregs;
    struct regs *out = &o->out;

    store_segments(out);
    for (unsigned i = 0; i < 16; i++)
        out->gpr[i] = (uint64_t)g[greg[i]];
    out->rip = (uint64_t)g[REG_RIP];
    out->rflags = (uint64_t)g[REG_EFL];
    out->sel[DS_CS] = (uint16_t)g[REG_CSGSFS];
    out->sel[DS_SS] = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
    o->vector = (uint8_t)g[REG_TRAPNO];
    o->error = (uint32_t)g[REG_ERR];
    o->cr2 = o->vector == TRAP_PF ? (uint64_t)g[REG_CR2] : 0;
    xstate_take(&layout, (const uint8_t *)uc->uc_mcontext.fpregs, out);
    native_memcpy(o->mem, data_rw, DATA_SIZE);
}

static void load_case(ucontext_t *uc, const struct test_case *t)
{
    greg_t *g = uc->uc_mcontext.gregs;
    const struct regs *in = &t->in;

    for (unsigned i = 0; i < 16; i++)
        g[greg[i]] = (greg_t)in->gpr[i];
    g[REG_RIP] = (greg_t)in->rip;
    g[REG_EFL] = (greg_t)in->rflags;
    g[REG_CSGSFS] = (greg_t)(in->sel[DS_CS] | (uint64_t)in->sel[DS_SS] << 48);
    uc->uc_flags |= 2 | 4;      /* UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS: SS is meant */
    xstate_put(&layout, (uint8_t *)uc->uc_mcontext.fpregs, in);
    native_memcpy(data_rw, t->mem, DATA_SIZE);
    native_memcpy(code_rw + t->entry, t->code, SEQ_BYTES);
    load_segments(in);
}

static void clear_code(const struct test_case *t)
{
    for (unsigned i = 0; i < SEQ_BYTES; i++)
        code_rw[t->entry + i] = 0xcc;
}

static void child_exit(void)
{
    __asm__ volatile("syscall" : : "a"(SYS_exit_group), "D"(0) : "rcx", "r11", "memory");
    __builtin_unreachable();
}

static bool is_tick(int sig)
{
    return sig == SIGVTALRM || sig == SIGALRM;
}

void native_signal(int sig, siginfo_t *info, void *ctx) __attribute__((used));
void native_signal(int sig, siginfo_t *info, void *ctx)
{
    uint32_t n = shm->current;

    (void)info;
    if (n < shm->count && shm->started) {
        if (is_tick(sig) && shm->tick != n) {
            shm->tick = n;      /* it may just have begun */
            return;
        }
        take_result(ctx, &shm->out[n]);
        shm->out[n].status = is_tick(sig) ? ST_HUNG : ST_OK;
        clear_code(&shm->cases[n]);
        shm->current = ++n;
    } else if (is_tick(sig)) {
        return;
    }
    shm->started = true;
    if (n >= shm->count)
        child_exit();
    load_case(ctx, &shm->cases[n]);
}

static int forbid_system_calls(void)
{
    static struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog prog = {.len = ARRAY_SIZE(code), .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -errno;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) ? -errno : 0;
}

static int make_cs16(void)
{
    struct user_desc d = {.entry_number = 0, .base_addr = CODE_BASE, .limit = 0xffff,
                          .contents = MODIFY_LDT_CONTENTS_CODE};

    return syscall(SYS_modify_ldt, 1, &d, sizeof(d)) ? -errno : 0;
}

/* fork() copies no page tables of shared mappings; a fault on a page that is
 * there but not mapped yet would look like one on a missing page. */
static void touch_pages(void)
{
    static const struct { uintptr_t at; size_t size; } ranges[] = {
        {CODE_BASE, CODE_SIZE}, {DATA_BASE, DATA_SIZE}, {LOW_BASE, DATA_SIZE},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
        for (size_t n = 0; n < ranges[i].size; n += 4096)
            (void)*(volatile uint8_t *)(ranges[i].at + n);
}

/* The first CPU that we may run on. */
static bool pin(cpu_set_t *before)
{
    cpu_set_t one;
    int cpu = 0;

    if (sched_getaffinity(0, sizeof(*before), before))
        return false;
    while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return !sched_setaffinity(0, sizeof(one), &one);
}

/* Linux keeps the CPU's number in the limit of this one's descriptor. */
uint64_t native_cpu_descriptor(void)
{
    uint32_t limit = 0, rights = 0;
    cpu_set_t before;

    if (!pin(&before))
        return 0;
    __asm__("lsl %1, %0" : "+r"(limit) : "r"((uint32_t)SEL_CPU) : "cc");
    __asm__("lar %1, %0" : "+r"(rights) : "r"((uint32_t)SEL_CPU) : "cc");
    sched_setaffinity(0, sizeof(before), &before);
    return (uint64_t)((rights & 0xf0ff00) | (limit & 0xf0000)) << 32 | (limit & 0xffff);
}

static void child_main(void)
{
    cpu_set_t before;

    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGVTALRM, SIGALRM};
    struct sigaction sa = {.sa_sigaction = native_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t ss = {.ss_sp = alt_stack, .ss_size = STACK_SIZE};
    struct itimerval tv = {{0, HUNG_US}, {0, HUNG_US}}, sleeping = {{1, 0}, {1, 0}};

    touch_pages();
    pin(&before);
    sigfillset(&sa.sa_mask);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (sigaltstack(&ss, NULL) || make_cs16())
        _exit(2);
    for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &sa, NULL);
    setitimer(ITIMER_VIRTUAL, &tv, NULL);
    /* Some kernels take an #AC of IRET for a split lock, and let the process sleep
     * before they try again, for ever. */
    setitimer(ITIMER_REAL, &sleeping, NULL);
    if (forbid_system_calls())
        _exit(2);
    __asm__ volatile("int3");
    _exit(2);
}

/* ---- in the parent ------------------------------------------------------- */

static int start_child(void)
{
    shm->started = false;
    shm->tick = UINT32_MAX;
    child = fork();
    if (child < 0)
        return -errno;
    if (!child)
        child_main();
    return 0;
}

int native_start(unsigned n)
{
    shm->count = batch = n;
    shm->current = 0;
    return start_child();
}

/* A case that killed the child is dropped, and the rest goes on without it. */
int native_wait(void)
{
    for (;;) {
        int status;
        uint32_t n;

        if (waitpid(child, &status, 0) < 0)
            return -errno;
        n = shm->current;
        if (n >= batch)
            return 0;
        if (WIFEXITED(status) || !shm->started)
            return -ECHILD;     /* it could not even begin */
        shm->out[n].status = ST_KILLED;
        clear_code(&shm->cases[n]);
        shm->current = n + 1;
        if (n + 1 >= batch)
            return 0;
        if (start_child())
            return -EAGAIN;
    }
}

static void *map(int fd, off_t off, size_t size, uintptr_t at, int prot)
{
    int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;

    return mmap((void *)at, size, prot, flags | MAP_POPULATE | (at ? MAP_FIXED_NOREPLACE : 0), fd, off);
}

static bool map_case(int fd)
{
    const int rw = PROT_READ | PROT_WRITE;
    void *p[8];

    p[0] = map(fd, 0, CODE_SIZE, CODE_BASE, PROT_READ | PROT_EXEC);
    p[1] = map(fd, CODE_SIZE, DATA_SIZE, DATA_BASE, rw);
    p[2] = map(fd, CODE_SIZE, DATA_SIZE, LOW_BASE, rw);
    p[3] = code_rw = map(fd, 0, CODE_SIZE, 0, rw);
    p[4] = data_rw = map(fd, CODE_SIZE, DATA_SIZE, 0, rw);
    p[5] = alt_stack = map(-1, 0, STACK_SIZE, 0, rw);
    p[6] = shm = map(-1, 0, sizeof(*shm), 0, rw);
    for (unsigned i = 0; i < 7; i++)
        if (p[i] == MAP_FAILED)
            return false;
    memset(code_rw, 0xcc, CODE_SIZE);
    return !mprotect((void *)(uintptr_t)(DATA_BASE + DATA_RW), DATA_SIZE - DATA_RW, PROT_READ) &&
           !mprotect((void *)(uintptr_t)(LOW_BASE + DATA_RW), DATA_SIZE - DATA_RW, PROT_READ);
}

/* 0; or a negative errno, with -ENOTSUP if this host cannot run the test. */
int native_init(void)
{
    int fd;

    if (!(getauxval(AT_HWCAP2) & 2)) {
        fprintf(stderr, "difftest: the host's kernel does not let user mode write FS base\n");
        return -ENOTSUP;
    }
    xstate_layout(&layout);
    fd = memfd_create("difftest", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, CODE_SIZE + DATA_SIZE))
        return -errno;
    if (!map_case(fd)) {
        fprintf(stderr, "difftest: cannot map code and data at low addresses: %s\n", strerror(errno));
        return -ENOTSUP;
    }
    close(fd);
    return 0;
}
