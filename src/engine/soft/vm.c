/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Life of a software engine's VM and vCPUs. */
#include <string.h>

#include "engine/soft/tlb.h"

void soft_vm_init(struct soft_vm *vm, const struct engine_config *config)
{
    vm->mem = config->mem;
    vm->clock = config->clock;
    vm->model = config->model;
    vm->ncpus = config->ncpus;
    vm->perf_map = config->perf_map;
    vm->tb_size = config->tb_size;
    vm->stress = config->stress;
    vm->tape = config->tape;
    atomic_store(&vm->a20_mask, ~0ULL);
    pthread_rwlock_init(&vm->tables_lock, NULL);
    pthread_mutex_init(&vm->excl_lock, NULL);
    pthread_cond_init(&vm->excl_cond, NULL);
}

void soft_vm_fini(struct soft_vm *vm)
{
    pthread_cond_destroy(&vm->excl_cond);
    pthread_mutex_destroy(&vm->excl_lock);
    pthread_rwlock_destroy(&vm->tables_lock);
}

int soft_cpu_init(struct soft_cpu *c, struct soft_vm *vm, unsigned id)
{
    struct vcpu_state s;
    char err[160];
    int ret;

    c->vm = vm;
    c->id = id;
    c->tape = vm->tape;
    c->rep_limit = 1;
    ret = soft_rights_create(c);
    if (ret)
        return ret;
    soft_tlb_init(c, vm->ncpus);
    c->gpr[GPR_STEP / 8] = GPR_STEP_VALUE;
    vcpu_state_reset(&s, id, id == 0, false);
    soft_set_state(c, &s, err, sizeof(err));
    soft_flush_all(c);
    vm->cpus[id] = c;
    return 0;
}

void soft_cpu_fini(struct soft_cpu *c)
{
    c->vm->cpus[c->id] = NULL;
    lapic_destroy(c);
    soft_rights_destroy(c);
}

void soft_flush_every(struct soft_vm *vm)
{
    for (unsigned n = 0; n < vm->ncpus; n++)
        if (vm->cpus[n])
            soft_attention(vm->cpus[n], ATT_FLUSH);
}
