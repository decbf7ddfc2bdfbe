/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "board/virtio_set.h"

#include <string.h>

#include "base/util.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/rng.h"

/* A queue for each CPU, up to this number: one thread serves them all. */
#define DISK_QUEUES 4u

static int add_net(const struct virtio_set *set, unsigned i, struct bus *bus,
                   struct virtio_device **v)
{
    struct virtio_net_config config = { .net = set->nets[i].net };

    memcpy(config.mac, set->nets[i].mac, sizeof(config.mac));
    return virtio_net_create(bus, &config, v);
}

int virtio_set_create(const struct virtio_set *set, struct bus *bus, unsigned ncpus,
                      int (*attach)(void *opaque, struct virtio_device *v), void *opaque)
{
    struct virtio_device *v;
    int rc = 0;

    if (set->rng && (rc = virtio_rng_create(bus, &v)) == 0)
        rc = attach(opaque, v);
    if (rc == 0 && set->console && (rc = virtio_console_create(bus, set->console, &v)) == 0)
        rc = attach(opaque, v);
    for (unsigned i = 0; i < set->nnets && rc == 0; i++)
        if ((rc = add_net(set, i, bus, &v)) == 0)
            rc = attach(opaque, v);
    for (unsigned i = 0; i < set->ndisks && rc == 0; i++) {
        const struct virtio_blk_config config = { .disk = set->disks[i].disk,
                                                  .serial = set->disks[i].serial,
                                                  .queues = MIN(ncpus, DISK_QUEUES) };

        if ((rc = virtio_blk_create(bus, &config, &v)) == 0)
            rc = attach(opaque, v);
    }
    return rc;
}
