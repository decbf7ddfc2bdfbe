/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/kvm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "engine/kvm/kvm.h"
#include "engine/kvm/probe_guest.h"
#include "x86/x86.h"

#define MAX_CPUID 128
/* Of so many timed runs the fastest counts: a busy host interrupts. */
#define TRIES 4

const char *const kvm_probe_modes[PROBE_MODES] = { "real mode", "protected mode", "long mode" };

extern const uint8_t kvm_probe_guest[], kvm_probe_guest_end[];

/* What the child tells, as soon as it knows. */
struct report {
    int status; /* 0, or a negative errno */
    unsigned mode;
    double ratio;
    char what[80]; /* of a failure */
};

struct probe_vm {
    int dev, vm, vcpu;
    uint8_t *ram;
    struct kvm_run *kr;
    clockid_t clock;  /* to measure by */
    const char *what; /* what is being done */
};

/* ---- in the child ------------------------------------------------------------- */

static uint64_t read_clock(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* The guest's loop; the fastest run. */
static uint64_t native_ns(clockid_t id)
{
    uint64_t best = UINT64_MAX;
    uint32_t word = 0;

    for (unsigned i = 0; i < TRIES + 1; i++) {
        uint32_t n = PROBE_LOOPS;
        uint64_t begin = read_clock(id);

        __asm__ volatile("1: addl $1, %1; decl %0; jnz 1b" : "+r"(n), "+m"(word) : : "cc");
        best = MIN(best, read_clock(id) - begin);
    }
    return best;
}

/* CPU time of this thread, which a busy host does not stretch; the wall clock
 * where the kernel counts the former in ticks, as it does if its TSC is not
 * stable. */
static uint64_t choose_clock(clockid_t *id)
{
    uint64_t cpu = native_ns(CLOCK_THREAD_CPUTIME_ID), wall = native_ns(CLOCK_MONOTONIC);
    const bool fine = cpu * 2 > wall;

    *id = fine ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    return MAX(fine ? cpu : wall, 1);
}

/* The first 2 MiB, identically, in pages of 4 KiB. */
static void make_ram(uint8_t *ram)
{
    uint64_t *tables = (uint64_t *)(void *)(ram + GUEST_PML4);

    /* cppcheck-suppress comparePointers ; both ends of one object, of the assembler */
    memcpy(ram + GUEST_BASE, kvm_probe_guest, (size_t)(kvm_probe_guest_end - kvm_probe_guest));
    for (unsigned level = 0; level < 3; level++)
        tables[level * 512] = (GUEST_PML4 + (level + 1) * MEM_PAGE_SIZE) | PTE_P | PTE_W;
    for (unsigned i = 0; i < 512; i++)
        tables[3 * 512 + i] = i * MEM_PAGE_SIZE | PTE_P | PTE_W;
}

static int make_vm(struct probe_vm *p)
{
    struct kvm_userspace_memory_region slot = { .memory_size = GUEST_SIZE };
    uint64_t identity = KVM_IDENTITY_GPA;
    int rc;

    p->what = "making a virtual machine";
    p->vm = kvm_ioctl_value(p->dev, KVM_CREATE_VM, 0);
    if (p->vm < 0)
        return p->vm;
    /* For Intel CPUs without unrestricted guests; others do not care. */
    kvm_ioctl(p->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    kvm_ioctl_value(p->vm, KVM_SET_TSS_ADDR, KVM_TSS_GPA);
    p->what = "giving it memory";
    p->ram = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p->ram == MAP_FAILED)
        return -errno;
    make_ram(p->ram);
    slot.userspace_addr = (uintptr_t)p->ram;
    rc = kvm_ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &slot);
    if (rc < 0)
        return rc;
    p->what = "making a CPU";
    p->vcpu = kvm_ioctl_value(p->vm, KVM_CREATE_VCPU, 0);
    return MIN(p->vcpu, 0);
}

static int start_vcpu(struct probe_vm *p)
{
    union {
        struct kvm_cpuid2 head;
        char space[sizeof(struct kvm_cpuid2) + MAX_CPUID * sizeof(struct kvm_cpuid_entry2)];
    } cpuid = { .head.nent = MAX_CPUID };
    struct kvm_regs regs = { .rip = GUEST_BASE, .rflags = X86_FLAGS_FIXED };
    struct kvm_sregs sregs;
    int size = kvm_ioctl_value(p->dev, KVM_GET_VCPU_MMAP_SIZE, 0), rc;

    p->kr = size < 0 ? MAP_FAILED
                     : mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu, 0);
    if (p->kr == MAP_FAILED)
        return -ENOMEM;
    p->what = "setting CPUID";
    rc = kvm_ioctl(p->dev, KVM_GET_SUPPORTED_CPUID, &cpuid);
    if (rc == 0)
        rc = kvm_ioctl(p->vcpu, KVM_SET_CPUID2, &cpuid);
    if (rc < 0)
        return rc;
    p->what = "setting registers";
    rc = kvm_ioctl(p->vcpu, KVM_GET_SREGS, &sregs);
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    if (rc == 0)
        rc = kvm_ioctl(p->vcpu, KVM_SET_SREGS, &sregs);
    return rc == 0 ? kvm_ioctl(p->vcpu, KVM_SET_REGS, &regs) : rc;
}

/* Until the guest reads its port. */
static int run_loop(struct probe_vm *p)
{
    int rc = kvm_ioctl_value(p->vcpu, KVM_RUN, 0);

    if (rc < 0)
        return rc;
    if (p->kr->exit_reason != KVM_EXIT_IO || p->kr->io.port != PROBE_PORT)
        return -EPROTO;
    *((uint8_t *)p->kr + p->kr->io.data_offset) = 0;
    return 0;
}

/* The first run warms up; what the fastest of the next ones took. */
static int run_mode(struct probe_vm *p, uint64_t native, double *ratio)
{
    uint64_t best = UINT64_MAX;
    int rc = run_loop(p);

    for (unsigned i = 0; i < TRIES && rc == 0; i++) {
        uint64_t begin = read_clock(p->clock);

        rc = run_loop(p);
        best = MIN(best, read_clock(p->clock) - begin);
        /* Once more would change nothing. */
        if (best < native * 3 || (best > native * 5 * KVM_PROBE_LIMIT && i > 0))
            break;
    }
    *ratio = rc == 0 ? (double)MAX(best, 1) / (double)native : 0;
    *((uint8_t *)p->kr + p->kr->io.data_offset) = 1;
    return rc;
}

static void tell(int fd, const struct report *r)
{
    ssize_t n = write(fd, r, sizeof(*r));

    (void)n; /* the parent sees the end of the pipe */
}

/* It may be in KVM_RUN for long: it ends with its parent, however that ends. */
static int end_with(pid_t parent)
{
    int rc = prctl(PR_SET_PDEATHSIG, SIGKILL);

    /* Before the call, and nobody would have told. */
    return rc < 0 || getppid() != parent ? -ESRCH : 0;
}

static void child(int dev, int fd, pid_t parent)
{
    struct probe_vm p = { .dev = dev };
    struct report r = { 0 };
    int rc = end_with(parent);
    uint64_t native = choose_clock(&p.clock);

    p.what = "starting";
    if (rc == 0)
        rc = make_vm(&p);
    if (rc == 0)
        rc = start_vcpu(&p);
    for (r.mode = 0; r.mode < PROBE_MODES && rc == 0; r.mode++) {
        p.what = kvm_probe_modes[r.mode];
        rc = run_mode(&p, native, &r.ratio);
        if (rc == 0)
            tell(fd, &r);
        if (r.ratio > 5 * KVM_PROBE_LIMIT)
            break;
    }
    if (rc < 0) {
        r.status = rc;
        if (rc == -EPROTO && p.kr)
            snprintf(r.what, sizeof(r.what), "%s ended with exit reason %u", p.what,
                     p.kr->exit_reason);
        else
            snprintf(r.what, sizeof(r.what), "%s: %s", p.what, strerror(-rc));
        tell(fd, &r);
    }
    _exit(0);
}

/* ---- in the parent ------------------------------------------------------------ */

/* Takes reports until the child's end or the deadline. */
static void listen(struct kvm_probe *p, int fd, uint64_t deadline)
{
    struct report r;

    for (;;) {
        struct pollfd pfd = { .fd = fd, .events = POLLIN };
        uint64_t now = host_ns();
        int left = now < deadline ? (int)((deadline - now) / 1000000) : 0;
        int rc = poll(&pfd, 1, left);

        if (rc < 0 && errno == EINTR)
            continue;
        if (rc <= 0) {
            p->status = -ETIMEDOUT;
            return;
        }
        if (read(fd, &r, sizeof(r)) != sizeof(r))
            return;
        if (r.status == 0 && r.mode < PROBE_MODES) {
            p->ratio[r.mode] = r.ratio;
            continue;
        }
        p->status = r.status;
        r.what[sizeof(r.what) - 1] = 0;
        snprintf(p->why, sizeof(p->why), "a test guest does not run: %s", r.what);
        return;
    }
}

static void judge(struct kvm_probe *p)
{
    unsigned worst = 0, reached = 0;

    while (reached < PROBE_MODES && p->ratio[reached] > 0)
        reached++;
    for (unsigned i = 0; i < reached; i++)
        if (p->ratio[i] > p->ratio[worst])
            worst = i;
    if (p->why[0])
        return;
    if (reached < PROBE_MODES && p->ratio[worst] < KVM_PROBE_LIMIT) {
        p->status = p->status ? p->status : -EIO;
        snprintf(p->why, sizeof(p->why), "a test guest did not get through %s in %d s",
                 kvm_probe_modes[reached], KVM_PROBE_SECONDS);
        return;
    }
    p->fair = p->ratio[worst] < KVM_PROBE_LIMIT;
    if (p->fair)
        snprintf(p->why, sizeof(p->why), "a test loop takes %.1f times its native time",
                 p->ratio[worst]);
    else
        snprintf(p->why, sizeof(p->why),
                 "/dev/kvm here emulates: a test loop in %s takes %.0f times its native time "
                 "(limit %d)",
                 kvm_probe_modes[worst], p->ratio[worst], KVM_PROBE_LIMIT);
}

static void run_child(struct kvm_probe *p, int dev, uint64_t begin)
{
    const pid_t self = getpid();
    int fds[2], status;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        p->status = -errno;
        snprintf(p->why, sizeof(p->why), "cannot make a pipe: %s", strerror(errno));
        return;
    }
    pid = fork();
    if (pid == 0)
        child(dev, fds[1], self);
    close(fds[1]);
    if (pid < 0) {
        p->status = -errno;
        snprintf(p->why, sizeof(p->why), "cannot start a process: %s", strerror(errno));
    } else {
        listen(p, fds[0], begin + KVM_PROBE_SECONDS * NSEC_PER_SEC);
        kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        judge(p);
    }
    close(fds[0]);
}

void kvm_probe_run(struct kvm_probe *p)
{
    uint64_t begin = host_ns();
    int dev;

    memset(p, 0, sizeof(*p));
    dev = kvm_device_open(p->why, sizeof(p->why));
    if (dev < 0) {
        p->status = dev;
    } else {
        run_child(p, dev, begin);
        close(dev);
    }
    p->ns = host_ns() - begin;
}
