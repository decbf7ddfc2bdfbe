/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The CPU contract's functions that are the same for every software engine. */
#include "engine/soft/contract.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/soft/blocks.h"
#include "engine/soft/tlb.h"

/* Decoded code of a vCPU: fewer bytes each when there are many. */
#define ARENA_MAX (8 * MiB)
#define ARENA_MIN (1 * MiB)

struct soft_vcpu {
    struct soft_cpu cpu;            /* first: struct vcpu is this */
    struct cpu_run run;
};

int soft_op_vm_create(struct engine_vm **out, const struct engine_config *config, char *err, int err_size)
{
    struct engine_vm *vm = calloc(1, sizeof(*vm));

    if (!vm) {
        snprintf(err, (size_t)err_size, "out of memory");
        return -ENOMEM;
    }
    soft_vm_init(&vm->soft, config);
    *out = vm;
    return 0;
}

void soft_op_vm_destroy(struct engine_vm *vm)
{
    soft_vm_fini(&vm->soft);
    free(vm);
}

static size_t arena_size(unsigned ncpus)
{
    return MAX(ARENA_MIN, ARENA_MAX / MIN(ncpus, 8u));
}

int soft_vcpu_create(struct vcpu **out, struct engine_vm *vm, unsigned id)
{
    int fd = memfd_create("vcpu", MFD_CLOEXEC), ret = -errno;
    struct soft_vcpu *v;

    if (fd < 0)
        return ret;
    v = MAP_FAILED;
    if (!ftruncate(fd, (off_t)align_up(sizeof(*v), MEM_PAGE_SIZE)))
        v = mmap(NULL, align_up(sizeof(*v), MEM_PAGE_SIZE), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (v == MAP_FAILED) {
        close(fd);
        return -ENOMEM;
    }
    v->cpu.fd = fd;
    v->cpu.run = &v->run;
    ret = soft_blocks_create(&v->cpu, arena_size(vm->soft.ncpus));
    if (ret)
        goto out;
    ret = soft_cpu_init(&v->cpu, &vm->soft, id);
    if (!ret) {
        *out = (struct vcpu *)v;
        return 0;
    }
    soft_blocks_destroy(&v->cpu);
out:
    close(fd);
    munmap(v, align_up(sizeof(*v), MEM_PAGE_SIZE));
    return ret;
}

void soft_vcpu_destroy(struct vcpu *vcpu)
{
    struct soft_vcpu *v = (struct soft_vcpu *)vcpu;

    soft_cpu_fini(&v->cpu);
    soft_blocks_destroy(&v->cpu);
    close(v->cpu.fd);
    munmap(v, align_up(sizeof(*v), MEM_PAGE_SIZE));
}

struct cpu_run *soft_op_vcpu_page(struct vcpu *vcpu)
{
    return ((struct soft_cpu *)vcpu)->run;
}

void soft_op_vcpu_get_state(struct vcpu *vcpu, struct vcpu_state *s)
{
    soft_get_state((struct soft_cpu *)vcpu, s);
}

int soft_op_vcpu_set_state(struct vcpu *vcpu, const struct vcpu_state *s, char *err, size_t err_size)
{
    return soft_set_state((struct soft_cpu *)vcpu, s, err, err_size);
}

int soft_op_vcpu_translate(struct vcpu *vcpu, uint64_t gva, uint64_t *gpa)
{
    return soft_translate((struct soft_cpu *)vcpu, gva, gpa);
}

void soft_op_vcpu_kick(struct vcpu *vcpu)
{
    soft_attention((struct soft_cpu *)vcpu, ATT_KICK);
}

void soft_op_vcpu_nmi(struct vcpu *vcpu)
{
    struct soft_cpu *c = (struct soft_cpu *)vcpu;

    atomic_store(&c->inbox.nmi, true);
    soft_attention(c, ATT_EVENT);
}

void soft_op_vcpu_extint(struct vcpu *vcpu, bool request)
{
    struct soft_cpu *c = (struct soft_cpu *)vcpu;

    atomic_store(&c->inbox.extint, request);
    if (request)
        soft_attention(c, ATT_EVENT);
}

void soft_op_set_a20(struct engine_vm *vm, bool enabled)
{
    atomic_store(&vm->soft.a20_mask, enabled ? ~0ULL : ~BIT(20));
    soft_flush_every(&vm->soft);
}

void soft_op_msi(struct engine_vm *vm, uint64_t address, uint32_t data)
{
    lapic_msi(&vm->soft, address, data);
}

void soft_op_set_eoi_exits(struct engine_vm *vm, const uint64_t bitmap[4])
{
    for (unsigned n = 0; n < 4; n++)
        atomic_store(&vm->soft.eoi_exits[n], bitmap[n]);
}

int soft_op_doorbell_add(struct engine_vm *vm, bool pio, uint64_t addr, unsigned size, bool match,
                        uint64_t value, int fd)
{
    return soft_doorbell_add(&vm->soft, pio, addr, size, match, value, fd);
}

int soft_op_doorbell_del(struct engine_vm *vm, bool pio, uint64_t addr, unsigned size, bool match,
                        uint64_t value)
{
    return soft_doorbell_del(&vm->soft, pio, addr, size, match, value);
}

int soft_op_counter_add(struct engine_vm *vm, const struct cpu_counter *counter)
{
    return soft_counter_add(&vm->soft, counter);
}

void soft_op_dirty_revoke(struct engine_vm *vm)
{
    for (unsigned n = 0; n < vm->soft.ncpus; n++)
        if (vm->soft.cpus[n])
            soft_rights_ask_all(vm->soft.cpus[n]);
}

void soft_op_clock_changed(struct engine_vm *vm)
{
    for (unsigned n = 0; n < vm->soft.ncpus; n++)
        if (vm->soft.cpus[n] && vm->soft.tape) {
            soft_tape_clock(vm->soft.cpus[n]);
        } else if (vm->soft.cpus[n]) {
            lapic_rearm(vm->soft.cpus[n]);
            kvmclock_update(vm->soft.cpus[n]);
        }
}


