/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does KVM work here, and at a fair speed?
 *
 * An openable /dev/kvm is not enough: some are software variants that run
 * 64-bit user code well and everything else by slow emulation, so that no
 * stock kernel comes up.  The probe runs a loop in real, in protected and in
 * long mode with paging, at low addresses, where kernels start, and compares
 * its time with the same loop run natively.
 */
#ifndef ENGINE_KVM_PROBE_H
#define ENGINE_KVM_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* KVM is taken if each mode is less than so many times slower than native. */
#define KVM_PROBE_LIMIT   100
#define KVM_PROBE_SECONDS 2

enum kvm_probe_mode { PROBE_REAL, PROBE_PROTECTED, PROBE_LONG, PROBE_MODES };
extern const char *const kvm_probe_modes[PROBE_MODES];

struct kvm_probe {
    int status;                /* 0: ran; else a negative errno, and why */
    bool fair;                 /* fast enough for `auto` */
    double ratio[PROBE_MODES]; /* time of the second run / native; 0: not reached */
    uint64_t ns;               /* that the whole probe took */
    char why[240];
};

/* Takes KVM_PROBE_SECONDS at most, and a few milliseconds where KVM is as it
 * should be.  Never fails, but says so in *p. */
void kvm_probe_run(struct kvm_probe *p);

/* What CPUID says of this host. */
struct kvm_cpu_facts {
    bool vmx, svm, hypervisor;
};
void kvm_cpu_facts(struct kvm_cpu_facts *f);

/* Limits of this host's KVM, for people; 0 where it is not known. */
struct kvm_limits {
    int max_vcpus, max_slots;
    unsigned phys_bits; /* of guest physical addresses */
    bool tsc_scaling, dirty_ring;
};
/* Returns 0, or a negative errno if there is no KVM. */
int kvm_limits(struct kvm_limits *l);
/* Whether a VM with ncpus CPUs and memory up to end is within them.  Returns
 * 0, or -E2BIG and what to do. */
int kvm_limits_check(const struct kvm_limits *l, unsigned ncpus, uint64_t end, char *err,
                     size_t size);

/* Why there is no /dev/kvm, and why it may not be opened (group: whose members
 * may, or NULL), and what to do. */
void kvm_explain_missing(const struct kvm_cpu_facts *f, char *why, size_t size);
void kvm_explain_denied(const char *group, char *why, size_t size);

#endif
