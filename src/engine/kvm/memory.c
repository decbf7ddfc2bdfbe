/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory slots and the dirty log.
 *
 * KVM keeps a log of its own for each slot.  It is added to mem's in
 * dirty_sync; reading it write-protects the pages again, so nothing is left
 * for dirty_revoke to do but to switch logging on and off.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "engine/kvm/kvm.h"

static int set_slot(struct engine_vm *vm, unsigned n)
{
    const struct mem_slot *s = &vm->config.mem->slots[n];
    struct kvm_userspace_memory_region r = {
        .slot = n,
        .guest_phys_addr = s->gpa,
        .memory_size = s->size,
        .userspace_addr = (uintptr_t)s->hva,
        .flags = (s->readonly ? KVM_MEM_READONLY : 0) | (vm->logging ? KVM_MEM_LOG_DIRTY_PAGES : 0),
    };

    return kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);
}

static int remove_slot(struct engine_vm *vm, unsigned n)
{
    struct kvm_userspace_memory_region r = { .slot = n };

    return kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);
}

/* All of mem's slots, which are final when the first vCPU runs. */
int kvm_memory_map(struct engine_vm *vm)
{
    int rc = 0;

    if (atomic_load_explicit(&vm->mapped, memory_order_acquire))
        return 0;
    pthread_mutex_lock(&vm->lock);
    if (!vm->mapped) {
        /* mem sorts its slots: those of before may have moved. */
        for (unsigned i = 0; i < vm->nmapped; i++)
            remove_slot(vm, i);
        for (vm->nmapped = 0; vm->nmapped < vm->config.mem->nslots && rc == 0;) {
            rc = set_slot(vm, vm->nmapped);
            if (rc == 0)
                vm->nmapped++;
        }
        atomic_store_explicit(&vm->mapped, rc == 0, memory_order_release);
    }
    pthread_mutex_unlock(&vm->lock);
    if (rc < 0)
        log_error(LOG_MEM, "KVM does not take memory slot %u (at %#llx)", vm->nmapped,
                  (unsigned long long)vm->config.mem->slots[vm->nmapped].gpa);
    return rc;
}

/* The kernel writes bits. NOLINTNEXTLINE(readability-non-const-parameter) */
static void fetch_slot(struct engine_vm *vm, unsigned n, uint64_t *bits)
{
    struct mem *mem = vm->config.mem;
    const struct mem_slot *s = &mem->slots[n];
    const uint64_t first = s->offset >> MEM_PAGE_SHIFT, pages = s->size >> MEM_PAGE_SHIFT;
    struct kvm_dirty_log log = { .slot = n, .dirty_bitmap = bits };

    if (s->readonly || kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0)
        return;
    for (uint64_t w = 0; w < (pages + 63) / 64; w++)
        for (uint64_t word = bits[w]; word; word &= word - 1)
            mem_mark_dirty(mem, first + w * 64 + (uint64_t)__builtin_ctzll(word));
}

static void switch_logging(struct engine_vm *vm, bool on)
{
    vm->logging = on;
    for (unsigned i = 0; i < vm->nmapped; i++)
        if (set_slot(vm, i) < 0)
            log_error(LOG_MEM, "KVM cannot switch the dirty log of slot %u", i);
}

void kvm_memory_sync_log(struct engine_vm *vm)
{
    const struct mem *mem = vm->config.mem;
    const bool on = atomic_load(&mem->dirty_on);
    uint64_t *bits;

    pthread_mutex_lock(&vm->lock);
    if (on != vm->logging)
        switch_logging(vm, on);
    bits = on ? malloc(align_up(mem->ram_size >> MEM_PAGE_SHIFT, 64) / 8) : NULL;
    for (unsigned i = 0; bits && i < vm->nmapped; i++)
        fetch_slot(vm, i, bits);
    if (on && !bits)
        log_error(LOG_MEM, "out of memory for the dirty log");
    free(bits);
    pthread_mutex_unlock(&vm->lock);
}
