/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's TSC and kvmclock.
 *
 * KVM's run by the host's TSC.  While the VM clock stands, the TSC of each
 * vCPU is kept here and set anew when it starts, so that no guest sees time
 * pass.  All vCPUs get their offsets relative to that of the first, and those
 * with the same TSC exactly the same: KVM's shared clock needs that.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "engine/kvm/kvm.h"
#include "x86/x86.h"

/* ---- frequency -------------------------------------------------------------------- */

/* What a vCPU's TSC counts at without scaling; 0: unknown. */
static uint64_t host_tsc_hz(int dev)
{
    int vm = kvm_ioctl_value(dev, KVM_CREATE_VM, 0), vcpu, khz = 0;

    if (vm < 0)
        return 0;
    vcpu = kvm_ioctl_value(vm, KVM_CREATE_VCPU, 0);
    if (vcpu >= 0) {
        khz = kvm_ioctl_value(vcpu, KVM_GET_TSC_KHZ, 0);
        close(vcpu);
    }
    close(vm);
    return khz > 0 ? (uint64_t)khz * 1000 : 0;
}

uint64_t kvm_tsc_hz(uint64_t wanted)
{
    char why[240];
    int dev = kvm_device_open(why, sizeof(why));
    uint64_t hz = 0;

    if (dev < 0)
        return wanted;
    if (!kvm_has(dev, KVM_CAP_TSC_CONTROL))
        hz = host_tsc_hz(dev);
    close(dev);
    return hz ? hz : wanted;
}

int kvm_clock_init(struct engine_vm *vm, char *err, size_t err_size)
{
    if (kvm_has(vm->dev, KVM_CAP_GET_TSC_KHZ))
        return 0;
    snprintf(err, err_size, "this kernel's KVM does not know the host's TSC frequency");
    return -ENOTSUP;
}

int kvm_clock_init_vcpu(struct vcpu *v)
{
    const uint64_t khz = v->vm->config.model->tsc_hz / 1000;
    struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET };
    int have = kvm_ioctl_value(v->fd, KVM_GET_TSC_KHZ, 0);

    v->vm->tsc_offset = kvm_ioctl(v->fd, KVM_HAS_DEVICE_ATTR, &attr) == 0;
    if (have > 0 && (uint64_t)have == khz)
        return 0;
    return kvm_ioctl_value(v->fd, KVM_SET_TSC_KHZ, khz);
}

/* ---- the TSC ------------------------------------------------------------------------ */

/* The kernel writes it. NOLINTNEXTLINE(readability-non-const-parameter) */
static int offset_access(struct vcpu *v, unsigned long request, uint64_t *offset)
{
    struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
                                    .attr = KVM_VCPU_TSC_OFFSET,
                                    .addr = (uintptr_t)offset };

    return kvm_ioctl(v->fd, request, &attr);
}

uint64_t kvm_tsc(struct vcpu *v)
{
    return v->vm->config.clock->running ? kvm_msr_read(v, MSR_TSC) : v->tsc;
}

/* Offsets of all vCPUs such that each continues from its v->tsc now. */
static void start_by_offsets(struct engine_vm *vm)
{
    struct vcpu *first = vm->cpus[0];
    uint64_t base;

    if (offset_access(first, KVM_GET_DEVICE_ATTR, &base) < 0)
        return;
    base += first->tsc - kvm_msr_read(first, MSR_TSC);
    for (unsigned i = 0; i < vm->config.ncpus; i++)
        if (vm->cpus[i]) {
            uint64_t offset = base + (vm->cpus[i]->tsc - first->tsc);

            offset_access(vm->cpus[i], KVM_SET_DEVICE_ATTR, &offset);
        }
}

/* KVM takes writes of about the same value as meant to be the same. */
static void start_by_msr(struct engine_vm *vm)
{
    for (unsigned i = 0; i < vm->config.ncpus; i++)
        if (vm->cpus[i])
            kvm_msr_write(vm->cpus[i], MSR_TSC, vm->cpus[i]->tsc);
}

static void stop_tscs(struct engine_vm *vm)
{
    uint64_t base, offset, tsc = kvm_msr_read(vm->cpus[0], MSR_TSC);
    bool offsets = vm->tsc_offset && offset_access(vm->cpus[0], KVM_GET_DEVICE_ATTR, &base) == 0;

    for (unsigned i = 0; i < vm->config.ncpus; i++)
        if (vm->cpus[i]) {
            if (offsets && offset_access(vm->cpus[i], KVM_GET_DEVICE_ATTR, &offset) == 0)
                vm->cpus[i]->tsc = tsc + (offset - base);
            else
                vm->cpus[i]->tsc = kvm_msr_read(vm->cpus[i], MSR_TSC);
        }
}

void kvm_tsc_set(struct vcpu *v, uint64_t tsc)
{
    v->tsc = tsc;
    if (v->vm->config.clock->running)
        kvm_msr_write(v, MSR_TSC, tsc);
}

/* ---- kvmclock --------------------------------------------------------------------------- */

/* It is the VM clock when that starts.  KVM's may have run ahead by what the
 * host's clock was slewed since; it must not go back. */
static void start_kvmclock(struct engine_vm *vm)
{
    struct kvm_clock_data data = { .clock = MAX(kvm_vm_ns(vm), vm->clock_ns) };

    kvm_ioctl(vm->fd, KVM_SET_CLOCK, &data);
    /* Guests need not take the pause for a lock-up; fails without kvmclock. */
    for (unsigned i = 0; i < vm->config.ncpus; i++)
        if (vm->cpus[i])
            kvm_ioctl_value(vm->cpus[i]->fd, KVM_KVMCLOCK_CTRL, 0);
}

static void stop_kvmclock(struct engine_vm *vm)
{
    struct kvm_clock_data data = { 0 };

    if (kvm_ioctl(vm->fd, KVM_GET_CLOCK, &data) == 0)
        vm->clock_ns = data.clock;
}

void kvm_clock_changed(struct engine_vm *vm)
{
    const bool running = vm->config.clock->running;

    if (running == vm->was_running || !vm->cpus[0])
        return;
    vm->was_running = running;
    if (!running) {
        stop_tscs(vm);
        stop_kvmclock(vm);
    } else {
        if (vm->tsc_offset)
            start_by_offsets(vm);
        else
            start_by_msr(vm);
        start_kvmclock(vm);
    }
    for (unsigned i = 0; i < vm->config.ncpus; i++)
        if (vm->cpus[i]) {
            if (running)
                kvm_lapic_release(vm->cpus[i]);
            else
                kvm_lapic_hold(vm->cpus[i]);
        }
}
