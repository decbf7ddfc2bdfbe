/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSRs: those of struct vcpu_state, and those that KVM does not know.
 *
 * What the model hides KVM hides as well, by CPUID (the PMU and the
 * paravirtual ones on request).  Those that software engines answer and KVM
 * does not, or not the same, come here by KVM_EXIT_X86_RDMSR and are answered
 * alike: a guest finds the same MSRs whatever engine runs it.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "engine/kvm/kvm.h"
#include "x86/x86.h"

#define MSR_HWCR          0xc0010015u
#define MSR_PLATFORM_ID   0x17u
#define HWCR_TSC_FREQ_SEL BIT(24) /* the TSC counts at P0's rate, whatever happens */
#define HWCR_WRITABLE     (BIT(3) | BIT(6) | BIT(8) | BIT(18) | BIT(24))
#define PATCH_LEVEL_AMD   0x01000065ULL
#define PATCH_LEVEL_INTEL 0x100000000ULL
#define EAX               0
#define KVM_FEATURES      0x40000001u
#define PV_EOI_BIT        6
#define MAX_MSRS          64

/* clang-format off */
#define M(msr, field) { msr, offsetof(struct vcpu_state, field) }
static const struct {
    uint32_t msr;
    size_t offset;
} msrs[] = {
    M(MSR_STAR, star), M(MSR_LSTAR, lstar), M(MSR_CSTAR, cstar), M(MSR_SFMASK, sfmask),
    M(MSR_KERNEL_GS_BASE, kernel_gs_base), M(MSR_TSC_AUX, tsc_aux),
    M(MSR_SYSENTER_CS, sysenter_cs), M(MSR_SYSENTER_ESP, sysenter_esp),
    M(MSR_SYSENTER_EIP, sysenter_eip),
    M(MSR_PAT, pat), M(MSR_MISC_ENABLE, misc_enable), M(MSR_SPEC_CTRL, spec_ctrl),
    M(MSR_TSC_ADJUST, tsc_adjust), M(MSR_MCG_STATUS, mcg_status),
    M(MSR_MTRR_DEF_TYPE, mtrr_def_type),
    M(MSR_MTRR_FIX64K, mtrr_fix[0]), M(MSR_MTRR_FIX16K_80000, mtrr_fix[1]),
    M(MSR_MTRR_FIX16K_A0000, mtrr_fix[2]),
    M(MSR_MTRR_FIX4K + 0, mtrr_fix[3]), M(MSR_MTRR_FIX4K + 1, mtrr_fix[4]),
    M(MSR_MTRR_FIX4K + 2, mtrr_fix[5]), M(MSR_MTRR_FIX4K + 3, mtrr_fix[6]),
    M(MSR_MTRR_FIX4K + 4, mtrr_fix[7]), M(MSR_MTRR_FIX4K + 5, mtrr_fix[8]),
    M(MSR_MTRR_FIX4K + 6, mtrr_fix[9]), M(MSR_MTRR_FIX4K + 7, mtrr_fix[10]),
#define PHYS(n) M(MSR_MTRR_PHYSBASE0 + 2 * n, mtrr_base[n]), \
                M(MSR_MTRR_PHYSBASE0 + 2 * n + 1, mtrr_mask[n])
    PHYS(0), PHYS(1), PHYS(2), PHYS(3), PHYS(4), PHYS(5), PHYS(6), PHYS(7),
#undef PHYS
    M(MSR_KVM_WALL_CLOCK, kvm_wall_clock), M(MSR_KVM_SYSTEM_TIME, kvm_system_time),
    M(MSR_KVM_PV_EOI, kvm_pv_eoi),
};
#undef M
/* clang-format on */
_Static_assert(ARRAY_SIZE(msrs) <= MAX_MSRS, "the batch holds all");

union batch {
    struct kvm_msrs head;
    char space[sizeof(struct kvm_msrs) + MAX_MSRS * sizeof(struct kvm_msr_entry)];
};

/* The model has no such MSR: KVM would refuse it, and so the rest. */
static bool absent(const struct vcpu *v, uint32_t msr)
{
    switch (msr) {
    case MSR_KVM_PV_EOI: return !kvm_cpuid_bit(v->vm, KVM_FEATURES, EAX, PV_EOI_BIT);
    case MSR_TSC_AUX: return !cpu_has(v->vm->config.model, F_RDTSCP);
    case MSR_TSC_ADJUST: return !cpu_has(v->vm->config.model, F_TSC_ADJUST);
    default: return false;
    }
}

static uint64_t *field(struct vcpu_state *s, unsigned i)
{
    return (uint64_t *)(void *)((char *)s + msrs[i].offset);
}

static int access_one(struct vcpu *v, unsigned long request, uint32_t msr, uint64_t *value)
{
    union batch b;
    int rc;

    memset(&b, 0, sizeof(b.head) + sizeof(b.head.entries[0]));
    b.head.nmsrs = 1;
    b.head.entries[0].index = msr;
    b.head.entries[0].data = *value;
    rc = kvm_ioctl(v->fd, request, &b);
    if (rc == 1)
        *value = b.head.entries[0].data;
    return rc == 1 ? 0 : rc < 0 ? rc : -EINVAL;
}

int kvm_msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
    return access_one(v, KVM_SET_MSRS, msr, &value);
}

uint64_t kvm_msr_read(struct vcpu *v, uint32_t msr)
{
    uint64_t value = 0;

    return access_one(v, KVM_GET_MSRS, msr, &value) == 0 ? value : 0;
}

/* KVM takes the entries in order and stops at the first that it refuses.  One
 * that is zero and unknown to it is no loss. */
int kvm_msrs_set(struct vcpu *v, const struct vcpu_state *s)
{
    struct vcpu_state *from = (struct vcpu_state *)(uintptr_t)s; /* read only */
    unsigned done = 0;
    union batch b;

    while (done < ARRAY_SIZE(msrs)) {
        unsigned first = done;
        int rc;

        memset(&b, 0, sizeof(b));
        for (; done < ARRAY_SIZE(msrs) && !absent(v, msrs[done].msr); done++)
            b.head.entries[b.head.nmsrs++] =
                (struct kvm_msr_entry){ .index = msrs[done].msr, .data = *field(from, done) };
        rc = b.head.nmsrs ? kvm_ioctl(v->fd, KVM_SET_MSRS, &b) : 0;
        if (rc < 0)
            return rc;
        if ((unsigned)rc == b.head.nmsrs) {
            done++; /* the absent one, or the end */
            continue;
        }
        done = first + (unsigned)rc;
        if (*field(from, done))
            log_warn(LOG_CPU, "KVM does not take MSR %#x with %#llx", msrs[done].msr,
                     (unsigned long long)*field(from, done));
        done++;
    }
    return 0;
}

void kvm_msrs_get(struct vcpu *v, struct vcpu_state *s)
{
    for (unsigned done = 0; done < ARRAY_SIZE(msrs);) {
        unsigned first = done, n = 0;
        union batch b;
        int rc;

        memset(&b, 0, sizeof(b));
        for (; done < ARRAY_SIZE(msrs) && !absent(v, msrs[done].msr); done++)
            b.head.entries[n++].index = msrs[done].msr;
        b.head.nmsrs = n;
        rc = n ? kvm_ioctl(v->fd, KVM_GET_MSRS, &b) : 0;
        for (int i = 0; i < rc; i++)
            *field(s, first + (unsigned)i) = b.head.entries[i].data;
        if (rc >= 0 && (unsigned)rc < n)
            done = first + (unsigned)rc;
        done++;
    }
    s->bios_sign_id = kvm_msr_read(v, MSR_BIOS_SIGN_ID);
}

/* ---- those that KVM does not know ------------------------------------------------ */

/* AMD's, which kernels touch without asking: no workaround is needed. */
static bool harmless_amd(uint32_t msr, bool read)
{
    if (!read)
        return msr >= 0xc0011020 && msr <= 0xc001102f;
    return (msr >= 0xc0010016 && msr <= 0xc0010019) || /* IORRs */
           msr == 0xc001001a || msr == 0xc001001d ||   /* TOP_MEM */
           msr == 0xc0010112 || msr == 0xc0010113 ||   /* TSEG */
           (msr >= 0xc0011020 && msr <= 0xc001102f);   /* configuration of units */
}

void kvm_msr_exit(struct vcpu *v)
{
    const bool amd = v->vm->config.model->amd;
    const bool read = v->kr->exit_reason == KVM_EXIT_X86_RDMSR;
    const uint32_t msr = v->kr->msr.index;
    bool good = amd ? harmless_amd(msr, read) : read && msr == MSR_PLATFORM_ID;

    if (amd && msr == MSR_HWCR)
        good = read || !(v->kr->msr.data & ~HWCR_WRITABLE);
    if (read)
        v->kr->msr.data = msr == MSR_HWCR ? HWCR_TSC_FREQ_SEL : 0;
    v->kr->msr.error = !good; /* #GP(0) */
    if (!good)
        log_guest(LOG_CPU, "%s of unknown MSR %#x", read ? "read" : "write", msr);
}

/* HWCR is answered here: KVM's reads as 0, for which Linux blames the firmware. */
static void filter_hwcr(struct engine_vm *vm)
{
    uint8_t denied = 0;
    struct kvm_msr_filter f = {
        .flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
        .ranges = { { .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
                      .nmsrs = 1,
                      .base = MSR_HWCR,
                      .bitmap = &denied } },
    };

    if (kvm_has(vm->dev, KVM_CAP_X86_USER_SPACE_MSR) && kvm_has(vm->dev, KVM_CAP_X86_MSR_FILTER))
        kvm_ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &f);
}

/* All of these are refinements: old kernels go without. */
void kvm_msr_init(struct engine_vm *vm)
{
    static const struct {
        unsigned cap;
        uint64_t value;
    } caps[] = {
        { KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER },
        { KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE },
        /* MONITOR and MWAIT are #UD where the model hides them. */
        { KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS },
    };

    for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
        struct kvm_enable_cap cap = { .cap = caps[i].cap, .args = { caps[i].value } };

        if (kvm_has(vm->dev, caps[i].cap))
            kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
    }
    if (vm->config.model->amd)
        filter_hwcr(vm);
}

void kvm_msr_init_vcpu(struct vcpu *v)
{
    const bool amd = v->vm->config.model->amd;
    struct kvm_enable_cap pv = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = { 1 } };

    if (kvm_has(v->vm->dev, KVM_CAP_ENFORCE_PV_FEATURE_CPUID))
        kvm_ioctl(v->fd, KVM_ENABLE_CAP, &pv);
    kvm_msr_write(v, MSR_BIOS_SIGN_ID, amd ? PATCH_LEVEL_AMD : PATCH_LEVEL_INTEL);
}
