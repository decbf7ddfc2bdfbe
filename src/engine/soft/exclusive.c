/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running alone, and standing still.
 *
 * A vCPU stands (running == 0) outside vcpu_run, in HLT, and while it waits
 * here.  Who wants the others to stand publishes its wish first (excl_owner,
 * or attention bits) and then looks at `running`; a vCPU that starts publishes
 * running = 1 first and then looks for wishes.  All four are sequentially
 * consistent, so one of the two sees the other.
 */
#include "engine/soft/tlb.h"

/* What others have asked of this vCPU's TLBs while it stood. */
void soft_take_flushes(struct soft_cpu *c)
{
    uint32_t bits = atomic_load(&c->attention) & (ATT_CODE | ATT_FLUSH);

    if (likely(!bits))
        return;
    atomic_fetch_and(&c->attention, ~bits);
    if (bits & ATT_FLUSH)
        soft_flush_all(c);
    if (bits & ATT_CODE) {
        uint64_t epoch = atomic_load(&c->vm->code_epoch);

        soft_rights_answer(c);
        atomic_store(&c->code_ack, epoch);
    }
}

/* Tell the vCPU that wants to be alone that this one stands. */
static void tell_owner(struct soft_vm *vm)
{
    pthread_mutex_lock(&vm->excl_lock);
    pthread_cond_broadcast(&vm->excl_cond);
    pthread_mutex_unlock(&vm->excl_lock);
}

void soft_park(struct soft_cpu *c)
{
    atomic_store(&c->running, 0);
    if (atomic_load(&c->vm->excl_owner))
        tell_owner(c->vm);
}

void soft_unpark(struct soft_cpu *c)
{
    struct soft_vm *vm = c->vm;

    for (;;) {
        struct soft_cpu *owner;

        atomic_store(&c->running, 1);
        owner = atomic_load(&vm->excl_owner);
        if (likely(!owner || owner == c))
            break;
        atomic_store(&c->running, 0);
        pthread_mutex_lock(&vm->excl_lock);
        pthread_cond_broadcast(&vm->excl_cond);
        while (atomic_load(&vm->excl_owner))
            pthread_cond_wait(&vm->excl_cond, &vm->excl_lock);
        pthread_mutex_unlock(&vm->excl_lock);
    }
    soft_take_flushes(c);
}

static bool others_stand(const struct soft_cpu *c)
{
    const struct soft_vm *vm = c->vm;

    for (unsigned i = 0; i < vm->ncpus; i++)
        if (vm->cpus[i] && vm->cpus[i] != c && atomic_load(&vm->cpus[i]->running))
            return false;
    return true;
}

/* Two that want it at once: the second stands while it waits its turn. */
void soft_exclusive_begin(struct soft_cpu *c)
{
    struct soft_vm *vm = c->vm;

    soft_park(c);
    pthread_mutex_lock(&vm->excl_lock);
    while (atomic_load(&vm->excl_owner))
        pthread_cond_wait(&vm->excl_cond, &vm->excl_lock);
    atomic_store(&vm->excl_owner, c);
    for (unsigned i = 0; i < vm->ncpus; i++)
        if (vm->cpus[i] && vm->cpus[i] != c)
            atomic_fetch_or(&vm->cpus[i]->attention, ATT_EXCLUSIVE);
    while (!others_stand(c))
        pthread_cond_wait(&vm->excl_cond, &vm->excl_lock);
    pthread_mutex_unlock(&vm->excl_lock);
    atomic_store(&c->running, 1);
    soft_take_flushes(c);
}

void soft_exclusive_end(struct soft_cpu *c)
{
    struct soft_vm *vm = c->vm;

    (void)c;
    pthread_mutex_lock(&vm->excl_lock);
    atomic_store(&vm->excl_owner, NULL);
    pthread_cond_broadcast(&vm->excl_cond);
    pthread_mutex_unlock(&vm->excl_lock);
}
