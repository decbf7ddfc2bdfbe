/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Facts and limits of this host, for people. */
#include <cpuid.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "engine/kvm/kvm.h"
#include "engine/kvm/probe.h"

void kvm_cpu_facts(struct kvm_cpu_facts *f)
{
    uint32_t a, b, c, d;

    memset(f, 0, sizeof(*f));
    if (__get_cpuid(1, &a, &b, &c, &d)) {
        f->vmx = c >> 5 & 1;
        f->hypervisor = c >> 31 & 1;
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d))
        f->svm = c >> 2 & 1;
}

int kvm_limits(struct kvm_limits *l)
{
    char why[240];
    uint32_t a, b, c, d;
    int dev = kvm_device_open(why, sizeof(why));

    memset(l, 0, sizeof(*l));
    if (dev < 0)
        return dev;
    l->max_vcpus = kvm_has(dev, KVM_CAP_MAX_VCPUS);
    l->max_slots = kvm_has(dev, KVM_CAP_NR_MEMSLOTS);
    l->tsc_scaling = kvm_has(dev, KVM_CAP_TSC_CONTROL);
    l->dirty_ring = kvm_has(dev, KVM_CAP_DIRTY_LOG_RING) > 0;
    if (__get_cpuid(0x80000008, &a, &b, &c, &d))
        l->phys_bits = a & 0xff;
    close(dev);
    return 0;
}
