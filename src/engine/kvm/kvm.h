/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The KVM engine's own: shared by the files of this folder.
 *
 * KVM has the local APICs (split irqchip), the TSC and kvmclock; the board
 * has I/O APIC and PIC.  What other threads want of a vCPU is left as a bit in
 * `wants`, followed by immediate_exit in KVM's run page and a signal, so that
 * it is seen however far the vCPU has got on its way into the guest.
 */
#ifndef ENGINE_KVM_KVM_H
#define ENGINE_KVM_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cpu/cpu.h"

/* Inputs of the I/O APIC: as many GSIs are set aside for EOI exits. */
#define KVM_EOI_ROUTES 24
/* KVM's own pages on Intel CPUs that need them: below the firmware's ROM. */
#define KVM_IDENTITY_GPA 0xfeffc000ULL
#define KVM_TSS_GPA      0xfeffd000ULL

/* What waits for a vCPU. */
enum { WANT_KICK = 1, WANT_LOOK = 2, WANT_NMI = 4 };

/* The APIC timer while the VM clock stands: KVM's would go on. */
struct kvm_timer {
    bool held;
    uint32_t icr;          /* initial count */
    uint64_t deadline_ns;  /* VM clock; 0: not armed */
    uint64_t tsc_deadline; /* 0: not armed */
};

struct kvm_doorbell {
    struct kvm_doorbell *next;
    struct kvm_ioeventfd io;
};

struct vcpu {
    struct engine_vm *vm;
    unsigned id;
    int fd;
    struct kvm_run *kr; /* KVM's page */
    struct cpu_run run; /* the contract's */

    _Atomic uint32_t wants; /* WANT_* */
    _Atomic bool extint;    /* the PIC's line */
    _Atomic bool running;   /* in KVM_RUN or about to be */
    _Atomic pid_t tid;      /* of the thread that runs it */

    /* Its own thread's, or while it is not in vcpu_run. */
    enum cpu_exit open; /* the exit whose answer is still to be taken */
    bool shutdown;      /* triple fault: KVM has no such state */
    uint64_t tsc;       /* guest TSC while the VM clock stands */
    struct kvm_timer timer;
    uint64_t insn_count; /* kept for others: KVM does not count */
    uint64_t exits[64];  /* by KVM's exit reason */
};

struct engine_vm {
    struct engine_config config;
    int dev, fd; /* /dev/kvm and the VM */
    size_t run_size;
    struct kvm_cpuid2 *cpuid; /* the model; APIC ids are 0 */
    uint64_t xcr0_mask;
    bool tsc_offset;   /* KVM_VCPU_TSC_OFFSET is there */
    bool was_running;  /* the VM clock, when clock_changed last looked */
    uint64_t clock_ns; /* kvmclock when it was stopped */
    struct vcpu *cpus[CPU_MAX_VCPUS];

    pthread_mutex_t lock; /* of what follows */
    _Atomic bool mapped;  /* all slots are in KVM */
    unsigned nmapped;
    bool logging; /* slots have KVM_MEM_LOG_DIRTY_PAGES */
    struct kvm_doorbell *doorbells;
};

/* ioctl that gives -errno, and tries again after a signal. */
int kvm_ioctl(int fd, unsigned long request, void *arg);
int kvm_ioctl_value(int fd, unsigned long request, unsigned long arg);

/* device.c */
/* Open /dev/kvm and see that it has what the engine needs.  Returns the
 * descriptor, or a negative errno and what to do about it. */
int kvm_device_open(char *why, size_t why_size);
int kvm_has(int fd, unsigned long cap); /* 0: no; else what it answers */

/* cpuid.c: vm->cpuid and vm->xcr0_mask from the model, which was limited. */
int kvm_limit_model(struct cpu_model *m, char *err, int err_size);
int kvm_cpuid_make(struct engine_vm *vm, char *err, size_t err_size);
int kvm_cpuid_set(struct vcpu *v);
bool kvm_cpuid_bit(const struct engine_vm *vm, uint32_t leaf, unsigned reg, unsigned bit);

/* memory.c */
int kvm_memory_map(struct engine_vm *vm);
void kvm_memory_sync_log(struct engine_vm *vm);

/* irq.c */
void kvm_msi(struct engine_vm *vm, uint64_t address, uint32_t data);
void kvm_set_eoi_exits(struct engine_vm *vm, const uint64_t bitmap[4]);
int kvm_doorbell_add(struct engine_vm *vm, bool pio, uint64_t addr, unsigned size, bool match,
                     uint64_t value, int fd);
int kvm_doorbell_del(struct engine_vm *vm, bool pio, uint64_t addr, unsigned size, bool match,
                     uint64_t value);
void kvm_doorbells_free(struct engine_vm *vm);

/* run.c */
struct cpu_run *kvm_vcpu_page(struct vcpu *v);
int kvm_vcpu_run(struct vcpu *v);
void kvm_vcpu_kick(struct vcpu *v);
void kvm_vcpu_nmi(struct vcpu *v);
void kvm_vcpu_extint(struct vcpu *v, bool request);
/* NMIs that were asked for reach KVM; while it is not in vcpu_run. */
void kvm_vcpu_collect(struct vcpu *v);

/* msr.c */
int kvm_msrs_set(struct vcpu *v, const struct vcpu_state *s);
void kvm_msrs_get(struct vcpu *v, struct vcpu_state *s);
int kvm_msr_write(struct vcpu *v, uint32_t msr, uint64_t value);
uint64_t kvm_msr_read(struct vcpu *v, uint32_t msr);
/* KVM_EXIT_X86_RDMSR and KVM_EXIT_X86_WRMSR: those that KVM does not know. */
void kvm_msr_exit(struct vcpu *v);
void kvm_msr_init(struct engine_vm *vm);
void kvm_msr_init_vcpu(struct vcpu *v);

/* xstate.c */
int kvm_xstate_set(struct vcpu *v, const struct vcpu_state *s);
int kvm_xstate_get(struct vcpu *v, struct vcpu_state *s);

/* lapic.c */
int kvm_lapic_set(struct vcpu *v, const struct vcpu_state *s);
int kvm_lapic_get(struct vcpu *v, struct vcpu_state *s);
/* Stop and restart the timer with the VM clock. */
void kvm_lapic_hold(struct vcpu *v);
void kvm_lapic_release(struct vcpu *v);

/* clock.c */
uint64_t kvm_tsc_hz(uint64_t wanted);
int kvm_clock_init(struct engine_vm *vm, char *err, size_t err_size);
int kvm_clock_init_vcpu(struct vcpu *v);
void kvm_clock_changed(struct engine_vm *vm);
uint64_t kvm_tsc(struct vcpu *v);
void kvm_tsc_set(struct vcpu *v, uint64_t tsc);
static inline uint64_t kvm_vm_ns(const struct engine_vm *vm)
{
    return vm_clock_ns(vm->config.clock);
}

/* state.c */
void kvm_vcpu_get_state(struct vcpu *v, struct vcpu_state *s);
int kvm_vcpu_set_state(struct vcpu *v, const struct vcpu_state *s, char *err, size_t err_size);

#endif
