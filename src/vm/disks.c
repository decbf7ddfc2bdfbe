/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's ends of the virtio devices: from the configuration to the board. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vm/internal.h"

int vm_open_disks(struct vm *vm, char *err, size_t err_size)
{
    struct virtio_set *set = &vm->virtio;
    int rc = 0;

    set->rng = true;
    for (unsigned i = 0; i < vm->config.ndisks && rc == 0; i++) {
        const struct vm_disk *d = &vm->config.disks[i];
        struct block_config config = { .path = d->file, .readonly = d->readonly,
                                       .idle = vm->config.replay != NULL };

        if (d->aio && block_parse_aio(d->aio, &config.aio) < 0) {
            snprintf(err, err_size, "disk '%.200s': unknown aio '%.40s'", d->file, d->aio);
            return -EINVAL;
        }
        rc = block_open(&set->disks[i].disk, &config, err, err_size);
        set->disks[i].serial = d->serial;
        if (rc == 0)
            set->ndisks++;
    }
    return rc;
}

void vm_close_disks(struct vm *vm)
{
    for (unsigned i = 0; i < vm->virtio.ndisks; i++)
        block_close(vm->virtio.disks[i].disk);
    vm->virtio.ndisks = 0;
}
