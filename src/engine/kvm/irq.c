/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt messages, EOI exits and doorbells. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "engine/kvm/kvm.h"

#define MSI_BASE   0xfee00000u
#define MSI_ALL    (0xffu << 12) /* physical broadcast */
#define MSI_ASSERT BIT(14)
#define MSI_LEVEL  BIT(15)

void kvm_msi(struct engine_vm *vm, uint64_t address, uint32_t data)
{
    struct kvm_msi msi = { .address_lo = (uint32_t)address,
                           .address_hi = (uint32_t)(address >> 32),
                           .data = data };
    int rc = kvm_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);

    if (rc < 0)
        log_guest(LOG_APIC, "MSI to %#llx with data %#x: %s", (unsigned long long)address, data,
                  strerror(-rc));
}

/* KVM takes the vectors from the routing table: those of level-triggered
 * messages of the first KVM_EOI_ROUTES GSIs, on the vCPUs that are their
 * destination.  Nobody raises these GSIs: each stands for a vector, for all. */
void kvm_set_eoi_exits(struct engine_vm *vm, const uint64_t bitmap[4])
{
    union {
        struct kvm_irq_routing head;
        char space[sizeof(struct kvm_irq_routing) +
                   KVM_EOI_ROUTES * sizeof(struct kvm_irq_routing_entry)];
    } table;
    unsigned n = 0;
    int rc;

    memset(&table, 0, sizeof(table));
    for (unsigned vector = 0; vector < 256 && n < KVM_EOI_ROUTES; vector++) {
        if (!(bitmap[vector / 64] >> (vector % 64) & 1))
            continue;
        table.head.entries[n].gsi = n;
        table.head.entries[n].type = KVM_IRQ_ROUTING_MSI;
        table.head.entries[n].u.msi.address_lo = MSI_BASE | MSI_ALL;
        table.head.entries[n].u.msi.data = vector | (uint32_t)(MSI_LEVEL | MSI_ASSERT);
        n++;
    }
    table.head.nr = n;
    rc = kvm_ioctl(vm->fd, KVM_SET_GSI_ROUTING, &table);
    if (rc < 0)
        log_error(LOG_APIC, "KVM does not take the routes of level-triggered interrupts: %s",
                  strerror(-rc));
}

static bool same_place(const struct kvm_ioeventfd *a, const struct kvm_ioeventfd *b)
{
    return a->addr == b->addr && a->len == b->len && a->flags == b->flags &&
           a->datamatch == b->datamatch;
}

static struct kvm_ioeventfd make_ioeventfd(bool pio, uint64_t addr, unsigned size, bool match,
                                           uint64_t value)
{
    return (struct kvm_ioeventfd){
        .addr = addr,
        .len = size,
        .datamatch = match ? value : 0,
        .flags = (pio ? KVM_IOEVENTFD_FLAG_PIO : 0) | (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
    };
}

int kvm_doorbell_add(struct engine_vm *vm, bool pio, uint64_t addr, unsigned size, bool match,
                     uint64_t value, int fd)
{
    struct kvm_doorbell *d = malloc(sizeof(*d));
    int rc;

    if (!d)
        return -ENOMEM;
    d->io = make_ioeventfd(pio, addr, size, match, value);
    d->io.fd = fd;
    if (!size && (match || !kvm_has(vm->dev, KVM_CAP_IOEVENTFD_ANY_LENGTH)))
        rc = -ENOTSUP;
    else
        rc = kvm_ioctl(vm->fd, KVM_IOEVENTFD, &d->io);
    if (rc < 0) {
        free(d);
        return rc;
    }
    pthread_mutex_lock(&vm->lock);
    d->next = vm->doorbells;
    vm->doorbells = d;
    pthread_mutex_unlock(&vm->lock);
    return 0;
}

int kvm_doorbell_del(struct engine_vm *vm, bool pio, uint64_t addr, unsigned size, bool match,
                     uint64_t value)
{
    const struct kvm_ioeventfd want = make_ioeventfd(pio, addr, size, match, value);
    struct kvm_doorbell **link, *d = NULL;
    int rc;

    pthread_mutex_lock(&vm->lock);
    for (link = &vm->doorbells; *link; link = &(*link)->next)
        if (same_place(&(*link)->io, &want)) {
            d = *link;
            *link = d->next;
            break;
        }
    pthread_mutex_unlock(&vm->lock);
    if (!d)
        return -ENOENT;
    d->io.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
    rc = kvm_ioctl(vm->fd, KVM_IOEVENTFD, &d->io);
    free(d);
    return rc;
}

void kvm_doorbells_free(struct engine_vm *vm)
{
    while (vm->doorbells) {
        struct kvm_doorbell *d = vm->doorbells;

        vm->doorbells = d->next;
        free(d);
    }
}
