/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio devices of a machine, whichever transport its board has. */
#ifndef BOARD_VIRTIO_SET_H
#define BOARD_VIRTIO_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "block/block.h"
#include "bus/bus.h"
#include "chardev/chardev.h"
#include "net/net.h"
#include "virtio/device.h"

#define VIRTIO_SET_DISKS 16u
#define VIRTIO_SET_NETS  8u
#define VIRTIO_SET_MAX   (VIRTIO_SET_DISKS + VIRTIO_SET_NETS + 2u)

/* Back ends are borrowed and outlive the bus. */
struct virtio_set {
    bool rng;
    struct chardev *console; /* NULL: none */
    struct {
        struct net_backend *net;
        uint8_t mac[6];
    } nets[VIRTIO_SET_NETS];
    unsigned nnets;
    struct {
        struct block_backend *disk;
        const char *serial; /* NULL: none */
    } disks[VIRTIO_SET_DISKS];
    unsigned ndisks;
};

/* Makes the devices in the order of the members, and gives each its transport
 * by attach.  Returns 0 or a negative errno; what was made is the bus's. */
int virtio_set_create(const struct virtio_set *set, struct bus *bus, unsigned ncpus,
                      int (*attach)(void *opaque, struct virtio_device *v), void *opaque);

#endif
