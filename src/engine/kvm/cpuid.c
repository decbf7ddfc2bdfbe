/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUID: the model, cut to what this host's KVM supports.
 *
 * Feature words are masked by KVM_GET_SUPPORTED_CPUID; what KVM answers only
 * on request (the local APIC's x2APIC and TSC-deadline modes) is added.  The
 * offsets of leaf 0xD are the host's, because guests execute XSAVE themselves.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "engine/kvm/kvm.h"
#include "x86/x86.h"

#define MAX_ENTRIES      256
#define XSAVE_FIRST      576u
#define TSC_DEADLINE_BIT (1u << 24)

enum { EAX, EBX, ECX, EDX };

/* Words of feature bits, and the bits that KVM's answer says nothing about. */
static const struct word {
    uint32_t leaf, subleaf;
    unsigned reg;
    uint32_t always;
} words[] = {
    /* x2APIC, TSC deadline (if the timer is KVM's), OSXSAVE, hypervisor. */
    { 1, 0, ECX, 1u << 21 | 1u << 24 | 1u << 27 | 1u << 31 },
    { 1, 0, EDX, 1u << 9 | 1u << 28 }, /* APIC, HTT */
    { 6, 0, EAX, 1u << 2 },            /* ARAT */
    { 7, 0, EBX, 0 },
    { 7, 0, ECX, 0 },
    { 7, 0, EDX, 0 },
    { 7, 1, EAX, 0 },
    { 0xd, 1, EAX, 0 },
    { 0x40000001, 0, EAX, 1u | 1u << 3 | 1u << 24 }, /* kvmclock: there since KVM is */
    { 0x80000001, 0, ECX, 1u << 1 | 1u << 22 }, /* CmpLegacy, TOPOEXT */
    { 0x80000001, 0, EDX, 1u << 9 },
    { 0x80000007, 0, EDX, 1u << 8 }, /* invariant TSC: the clock is ours */
    { 0x80000008, 0, EBX, 0 },
    { 0x80000021, 0, EAX, 0 },
    { 0x80000021, 0, ECX, 0 },
};

static uint32_t *reg_of(struct kvm_cpuid_entry2 *e, unsigned reg)
{
    return reg == EAX ? &e->eax : reg == EBX ? &e->ebx : reg == ECX ? &e->ecx : &e->edx;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *c, uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < c->nent; i++) {
        struct kvm_cpuid_entry2 *e = &c->entries[i];

        if (e->function == leaf &&
            (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
            return e;
    }
    return NULL;
}

static struct kvm_cpuid2 *allocate(void)
{
    struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + MAX_ENTRIES * sizeof(c->entries[0]));

    if (c)
        c->nent = MAX_ENTRIES;
    return c;
}

static void copy_model(struct kvm_cpuid2 *c, const struct cpu_model *m)
{
    c->nent = 0;
    for (unsigned i = 0; i < m->nentries; i++) {
        const struct cpuid_entry *e = &m->entries[i];

        c->entries[c->nent++] = (struct kvm_cpuid_entry2){
            .function = e->leaf,
            .index = e->subleaf,
            .flags = e->by_subleaf ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
            .eax = e->regs.eax,
            .ebx = e->regs.ebx,
            .ecx = e->regs.ecx,
            .edx = e->regs.edx,
        };
    }
}

/* KVM_GET_SUPPORTED_CPUID; NULL: why is in err. */
static struct kvm_cpuid2 *get_supported(int dev, char *err, size_t err_size)
{
    struct kvm_cpuid2 *c = allocate();
    int rc = c ? kvm_ioctl(dev, KVM_GET_SUPPORTED_CPUID, c) : -ENOMEM;

    if (rc == 0)
        return c;
    snprintf(err, err_size, "KVM does not say which CPU it has: %s", strerror(-rc));
    free(c);
    return NULL;
}

static void limit_word(struct cpu_model *m, struct kvm_cpuid2 *supported, const struct word *w,
                       uint32_t always)
{
    const struct cpuid_regs had = cpu_model_lookup(m, w->leaf, w->subleaf);
    const uint32_t bits = w->reg == EAX   ? had.eax
                          : w->reg == EBX ? had.ebx
                          : w->reg == ECX ? had.ecx
                                          : had.edx;
    struct kvm_cpuid_entry2 *s = find(supported, w->leaf, w->subleaf);
    const uint32_t keep = (s ? *reg_of(s, w->reg) : 0) | always;

    cpu_model_mask(m, w->leaf, w->subleaf, w->reg, keep);
    if (bits & ~keep)
        log_at(LOG_CPU, strcmp(m->name, "host") == 0 ? LOG_DEBUG : LOG_WARN,
               "KVM lacks bits %#x of CPUID leaf %#x.%u register %u, which the CPU model has",
               bits & ~keep, w->leaf, w->subleaf, w->reg);
}

int kvm_limit_model(struct cpu_model *m, char *err, int err_size)
{
    int dev = kvm_device_open(err, (size_t)err_size);
    struct kvm_cpuid2 *supported = dev < 0 ? NULL : get_supported(dev, err, (size_t)err_size);

    for (size_t i = 0; supported && i < ARRAY_SIZE(words); i++) {
        uint32_t always = words[i].always;

        if (words[i].leaf == 1 && words[i].reg == ECX && !kvm_has(dev, KVM_CAP_TSC_DEADLINE_TIMER))
            always &= ~TSC_DEADLINE_BIT;
        limit_word(m, supported, &words[i], always);
    }
    free(supported);
    if (dev >= 0)
        close(dev);
    return dev < 0 ? dev : supported ? 0 : -EIO;
}

/* ---- XSAVE -------------------------------------------------------------------- */

/* CPUID writes them. NOLINTNEXTLINE(readability-non-const-parameter) */
static void host_component(unsigned n, uint32_t *size, uint32_t *offset, uint32_t *flags)
{
    uint32_t edx;

    __cpuid_count(0xd, n, *size, *offset, *flags, edx);
}

/* Components in the host's layout; XCR0 is what the model and KVM both have. */
static void set_xsave(struct engine_vm *vm, struct kvm_cpuid2 *c, struct kvm_cpuid2 *supported)
{
    struct kvm_cpuid_entry2 *e = find(c, 0xd, 0), *s = find(supported, 0xd, 0);
    uint64_t mask = e && s ? e->eax & s->eax : 0;
    uint32_t end = XSAVE_FIRST, size, offset, flags;

    if ((mask & XCR0_AVX512) != XCR0_AVX512 || !kvm_cpuid_bit(vm, 7, EBX, 16))
        mask &= ~XCR0_AVX512;
    vm->xcr0_mask = mask;
    if (!e)
        return;
    for (unsigned n = 2; n < 8; n++) {
        struct kvm_cpuid_entry2 *sub = find(c, 0xd, n);

        if (!sub)
            continue;
        if (!(mask >> n & 1)) {
            sub->eax = sub->ebx = 0;
            continue;
        }
        host_component(n, &size, &offset, &flags);
        sub->eax = size;
        sub->ebx = offset;
        sub->ecx = flags;
        end = MAX(end, offset + size);
    }
    e->eax = (uint32_t)mask;
    e->edx = 0;
    e->ecx = end; /* EBX follows XCR0, and KVM keeps it right */
}

/* ---- the table ------------------------------------------------------------------ */

bool kvm_cpuid_bit(const struct engine_vm *vm, uint32_t leaf, unsigned reg, unsigned bit)
{
    struct kvm_cpuid_entry2 *e = find(vm->cpuid, leaf, 0);

    return e && *reg_of(e, reg) >> bit & 1;
}

int kvm_cpuid_make(struct engine_vm *vm, char *err, size_t err_size)
{
    struct kvm_cpuid2 *supported = get_supported(vm->dev, err, err_size);

    vm->cpuid = allocate();
    if (supported && vm->cpuid) {
        copy_model(vm->cpuid, vm->config.model);
        set_xsave(vm, vm->cpuid, supported);
    }
    free(supported);
    return supported && vm->cpuid ? 0 : -EIO;
}

/* With this vCPU's APIC id where it shows. */
int kvm_cpuid_set(struct vcpu *v)
{
    struct kvm_cpuid2 *c = allocate();
    int rc;

    if (!c)
        return -ENOMEM;
    c->nent = v->vm->cpuid->nent;
    memcpy(c->entries, v->vm->cpuid->entries, c->nent * sizeof(c->entries[0]));
    for (unsigned i = 0; i < c->nent; i++) {
        struct kvm_cpuid_entry2 *e = &c->entries[i];

        if (e->function == 1)
            e->ebx |= v->id << 24;
        else if (e->function == 0xb)
            e->edx = v->id;
        else if (e->function == 0x8000001e) {
            e->eax = v->id;
            e->ebx |= v->id & 0xff;
        }
    }
    rc = kvm_ioctl(v->fd, KVM_SET_CPUID2, c);
    free(c);
    return rc;
}
