/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Facts and limits of this host, for people. */
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
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

int kvm_limits_check(const struct kvm_limits *l, unsigned ncpus, uint64_t end, char *err,
                     size_t size)
{
    if (l->max_vcpus > 0 && ncpus > (unsigned)l->max_vcpus) {
        snprintf(err, size, "this host's KVM runs at most %d CPUs in a VM; give --cpus %d",
                 l->max_vcpus, l->max_vcpus);
        return -E2BIG;
    }
    if (end && l->phys_bits && l->phys_bits < 64 && (end - 1) >> l->phys_bits) {
        snprintf(err, size,
                 "the guest's memory ends above the %u address bits of this host's CPU; give less "
                 "--memory",
                 l->phys_bits);
        return -E2BIG;
    }
    return 0;
}

/* There is no device: is there no hardware, or no module? */
void kvm_explain_missing(const struct kvm_cpu_facts *f, char *why, size_t size)
{
    if (f->vmx || f->svm)
        snprintf(why, size, "there is no /dev/kvm, but the CPU has %s: as root, modprobe %s",
                 f->svm ? "AMD-V" : "VT-x", f->svm ? "kvm-amd" : "kvm-intel");
    else if (f->hypervisor)
        snprintf(why, size,
                 "there is no /dev/kvm: this host is a virtual machine without VT-x or AMD-V; "
                 "nested virtualization is switched on in the host below it, if at all");
    else
        snprintf(why, size,
                 "there is no /dev/kvm: this CPU shows no VT-x or AMD-V; it may be switched "
                 "off in the firmware's setup");
}

void kvm_explain_denied(const char *group, char *why, size_t size)
{
    if (group)
        snprintf(why, size,
                 "no permission to open /dev/kvm: join its group (as root, usermod -aG %s USER) "
                 "and log in again",
                 group);
    else
        snprintf(why, size,
                 "no permission to open /dev/kvm: only root may; as root, chgrp kvm /dev/kvm && "
                 "chmod 660 /dev/kvm, and be in that group");
}
