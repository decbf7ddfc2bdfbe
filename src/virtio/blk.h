/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block device (virtio 1.2 5.2) over a disk of the host. */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "block/block.h"
#include "virtio/device.h"

#define VIRTIO_BLK_SERIAL_SIZE 20u
#define VIRTIO_BLK_MAX_QUEUES  8u

struct virtio_blk_config {
    struct block_backend *disk; /* borrowed; outlives the bus */
    const char *serial;         /* copied, cut to 20 bytes; NULL: none */
    unsigned queues;            /* 1 to VIRTIO_BLK_MAX_QUEUES; more are cut */
};

/* Returns 0 or a negative errno.  *v is for a transport, and the bus's. */
int virtio_blk_create(struct bus *bus, const struct virtio_blk_config *config,
                      struct virtio_device **v);

#endif
