/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The CPU contract over KVM: life of a VM and its vCPUs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "engine/kvm/kvm.h"
#include "engine/kvm/probe.h"

static int probe(char *why, int why_size)
{
    struct kvm_probe p;

    kvm_probe_run(&p);
    snprintf(why, (size_t)why_size, "%s", p.why);
    if (p.status == -ETIMEDOUT)
        return CPU_PROBE_POOR;
    return p.status < 0 ? p.status : p.fair ? 0 : CPU_PROBE_POOR;
}

/* Before KVM says EINVAL. */
static int check_limits(const struct engine_vm *vm, char *err, size_t size)
{
    const struct mem *mem = vm->config.mem;
    const struct mem_slot *last = mem->nslots ? &mem->slots[mem->nslots - 1] : NULL;
    struct kvm_limits limits;

    if (kvm_limits(&limits) < 0)
        return 0; /* what follows says why */
    return kvm_limits_check(&limits, vm->config.ncpus, last ? last->gpa + last->size : 0, err,
                            size);
}

static int make_vm(struct engine_vm *vm, char *err, size_t size)
{
    struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { KVM_EOI_ROUTES } };
    struct kvm_enable_cap payload = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = { 1 } };
    uint64_t identity = KVM_IDENTITY_GPA;
    int rc;

    vm->fd = kvm_ioctl_value(vm->dev, KVM_CREATE_VM, 0);
    if (vm->fd < 0) {
        snprintf(err, size, "KVM cannot make a virtual machine: %s%s", strerror(-vm->fd),
                 vm->fd == -EBUSY ? "; another hypervisor holds the CPU's extensions" : "");
        return vm->fd;
    }
    kvm_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    kvm_ioctl_value(vm->fd, KVM_SET_TSS_ADDR, KVM_TSS_GPA);
    rc = kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &split);
    if (rc < 0) {
        snprintf(err, size, "KVM gives no split interrupt controller: %s", strerror(-rc));
        return rc;
    }
    if (kvm_has(vm->dev, KVM_CAP_EXCEPTION_PAYLOAD))
        kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &payload);
    kvm_msr_init(vm);
    return kvm_clock_init(vm, err, size);
}

static void vm_destroy(struct engine_vm *vm)
{
    kvm_doorbells_free(vm);
    if (vm->fd >= 0)
        close(vm->fd);
    if (vm->dev >= 0)
        close(vm->dev);
    pthread_mutex_destroy(&vm->lock);
    free(vm->cpuid);
    free(vm);
}

static int vm_create(struct engine_vm **out, const struct engine_config *config, char *err,
                     int err_size)
{
    struct engine_vm *vm = calloc(1, sizeof(*vm));
    const size_t size = (size_t)err_size;
    int rc;

    if (!vm) {
        snprintf(err, size, "out of memory");
        return -ENOMEM;
    }
    vm->config = *config;
    vm->fd = -1;
    vm->was_running = config->clock->running;
    pthread_mutex_init(&vm->lock, NULL);
    vm->dev = kvm_device_open(err, size);
    rc = vm->dev < 0 ? vm->dev : check_limits(vm, err, size);
    if (rc == 0)
        rc = make_vm(vm, err, size);
    if (rc == 0)
        rc = kvm_cpuid_make(vm, err, size);
    if (rc == 0) {
        vm->run_size = (size_t)kvm_ioctl_value(vm->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
        *out = vm;
        return 0;
    }
    vm_destroy(vm);
    return rc;
}

static void vcpu_destroy(struct vcpu *v)
{
    v->vm->cpus[v->id] = NULL;
    if (v->kr)
        munmap(v->kr, v->vm->run_size);
    if (v->fd >= 0)
        close(v->fd);
    free(v);
}

static int open_vcpu(struct vcpu *v)
{
    void *page;
    int rc;

    v->fd = kvm_ioctl_value(v->vm->fd, KVM_CREATE_VCPU, v->id);
    if (v->fd < 0)
        return v->fd;
    page = mmap(NULL, v->vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    v->kr = page;
    rc = kvm_clock_init_vcpu(v);
    if (rc == 0)
        rc = kvm_cpuid_set(v);
    if (rc == 0)
        kvm_msr_init_vcpu(v);
    return rc;
}

static int vcpu_create(struct vcpu **out, struct engine_vm *vm, unsigned id)
{
    struct vcpu *v = calloc(1, sizeof(*v));
    struct vcpu_state s;
    char err[160];
    int rc;

    if (!v)
        return -ENOMEM;
    v->vm = vm;
    v->id = id;
    v->fd = -1;
    rc = open_vcpu(v);
    if (rc == 0) {
        vm->cpus[id] = v;
        vcpu_state_reset(&s, id, id == 0, false);
        rc = kvm_vcpu_set_state(v, &s, err, sizeof(err));
    }
    if (rc < 0) {
        vcpu_destroy(v);
        return rc;
    }
    *out = v;
    return 0;
}

static int vcpu_translate(struct vcpu *v, uint64_t gva, uint64_t *gpa)
{
    struct kvm_translation t = { .linear_address = gva };
    int rc = kvm_ioctl(v->fd, KVM_TRANSLATE, &t);

    if (rc < 0 || !t.valid)
        return -EFAULT;
    *gpa = t.physical_address;
    return 0;
}

static void vcpu_info(struct vcpu *v, FILE *f)
{
    static const char *const names[] = {
        [KVM_EXIT_IO] = "port",
        [KVM_EXIT_DEBUG] = "debug",
        [KVM_EXIT_HLT] = "halt",
        [KVM_EXIT_MMIO] = "MMIO",
        [KVM_EXIT_IRQ_WINDOW_OPEN] = "interrupt window",
        [KVM_EXIT_SHUTDOWN] = "shutdown",
        [KVM_EXIT_INTR] = "signal",
        [KVM_EXIT_IOAPIC_EOI] = "EOI",
        [KVM_EXIT_X86_RDMSR] = "RDMSR",
        [KVM_EXIT_X86_WRMSR] = "WRMSR",
    };
    uint64_t all = 0;

    for (size_t i = 0; i < ARRAY_SIZE(v->exits); i++)
        all += v->exits[i];
    fprintf(f, "cpu %u: %llu exits", v->id, (unsigned long long)all);
    for (size_t i = 0; i < ARRAY_SIZE(v->exits); i++)
        if (v->exits[i])
            fprintf(f, ", %llu %s", (unsigned long long)v->exits[i],
                    i < ARRAY_SIZE(names) && names[i] ? names[i] : "other");
    fprintf(f, "\n");
}

const struct engine_ops engine_kvm = {
    .name = "kvm",
    .description = "hardware, by the host's KVM",
    .probe = probe,
    .tsc_hz = kvm_tsc_hz,
    .limit_model = kvm_limit_model,
    .vm_create = vm_create,
    .vm_destroy = vm_destroy,
    .vcpu_create = vcpu_create,
    .vcpu_destroy = vcpu_destroy,
    .vcpu_page = kvm_vcpu_page,
    .vcpu_run = kvm_vcpu_run,
    .vcpu_get_state = kvm_vcpu_get_state,
    .vcpu_set_state = kvm_vcpu_set_state,
    .vcpu_translate = vcpu_translate,
    .vcpu_kick = kvm_vcpu_kick,
    .vcpu_nmi = kvm_vcpu_nmi,
    .vcpu_extint = kvm_vcpu_extint,
    .msi = kvm_msi,
    .set_eoi_exits = kvm_set_eoi_exits,
    .doorbell_add = kvm_doorbell_add,
    .doorbell_del = kvm_doorbell_del,
    .dirty_sync = kvm_memory_sync_log,
    .dirty_revoke = kvm_memory_sync_log,
    .clock_changed = kvm_clock_changed,
    .vcpu_info = vcpu_info,
};
