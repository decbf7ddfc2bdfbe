/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmclock: the paravirtual clock of KVM (Linux, Documentation/virt/kvm/x86/
 * msr.rst, and arch/x86/include/asm/pvclock-abi.h).
 *
 * Its time is the VM clock.  As the TSC is derived from the same clock, what
 * was written stays true: it is written again only after a stop or a load, or
 * when the guest moves its TSC.
 */
#include "engine/soft/soft.h"

struct pvclock_time_info {
    uint32_t version; /* odd: being written */
    uint32_t pad0;
    uint64_t tsc_timestamp;
    uint64_t system_time;       /* ns at tsc_timestamp */
    uint32_t tsc_to_system_mul; /* ns = (ticks << shift) * mul >> 32 */
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t pad[2];
};
_Static_assert(sizeof(struct pvclock_time_info) == 32, "pvclock ABI");

#define PVCLOCK_TSC_STABLE 1u

struct pvclock_wall_clock {
    uint32_t version;
    uint32_t sec, nsec; /* wall clock time at system_time 0 */
};

/* Scale of hz to nanoseconds with the largest 32-bit factor. */
static void time_scale(uint64_t hz, uint32_t *mul, int8_t *shift)
{
    unsigned __int128 m = ((unsigned __int128)NSEC_PER_SEC << 32) / hz;
    int s = 0;

    while (m >> 32) {
        m >>= 1;
        s++;
    }
    while (!(m >> 31) && s > -31) {
        s--;
        m = ((unsigned __int128)NSEC_PER_SEC << (32 - s)) / hz;
    }
    *mul = (uint32_t)m;
    *shift = (int8_t)s;
}

/* Body first, then the even version: a reader on another vCPU retries while
 * the version is odd or has changed. */
static void publish(struct soft_cpu *c, uint64_t gpa, void *info, unsigned size)
{
    uint32_t *version = info, v;

    if (soft_phys_read(c, gpa, &v, sizeof(v)))
        return;
    *version = (v | 1) + (v & 1 ? 2 : 0);
    if (soft_phys_write(c, gpa, version, sizeof(v)))
        return;
    atomic_thread_fence(memory_order_seq_cst);
    soft_phys_write(c, gpa + 4, version + 1, size - 4);
    atomic_thread_fence(memory_order_seq_cst);
    ++*version;
    soft_phys_write(c, gpa, version, sizeof(v));
}

static void write_system_time(struct soft_cpu *c)
{
    struct pvclock_time_info info = { 0 };

    info.system_time = soft_now(c);
    info.tsc_timestamp = soft_tsc_at(c, info.system_time);
    time_scale(c->vm->model->tsc_hz, &info.tsc_to_system_mul, &info.tsc_shift);
    /* User mode reads CPU 0's structure with any CPU's TSC. */
    info.flags = c->s.tsc_adjust ? 0 : PVCLOCK_TSC_STABLE;
    publish(c, c->s.kvm_system_time & ~1ULL, &info, sizeof(info));
}

static void write_wall_clock(struct soft_cpu *c)
{
    struct pvclock_wall_clock wall = { 0 };
    uint64_t ns = soft_input(c, TAPE_WALL, wall_ns()) - soft_now(c);

    wall.sec = (uint32_t)(ns / NSEC_PER_SEC);
    wall.nsec = (uint32_t)(ns % NSEC_PER_SEC);
    publish(c, c->s.kvm_wall_clock, &wall, sizeof(wall));
}

int kvmclock_wrmsr(struct soft_cpu *c, uint32_t msr, uint64_t v)
{
    switch (msr) {
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_WALL_CLOCK_OLD:
        c->s.kvm_wall_clock = v;
        write_wall_clock(c);
        return 0;
    case MSR_KVM_SYSTEM_TIME:
    case MSR_KVM_SYSTEM_TIME_OLD:
        c->s.kvm_system_time = v;
        kvmclock_update(c);
        return 0;
    default: return soft_gp0(c);
    }
}

void kvmclock_update(struct soft_cpu *c)
{
    if (c->s.kvm_system_time & 1)
        write_system_time(c);
}
