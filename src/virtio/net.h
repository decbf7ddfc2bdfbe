/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network card (virtio 1.2 5.1) over a network of the host. */
#ifndef VIRTIO_NET_H
#define VIRTIO_NET_H

#include "net/net.h"
#include "virtio/device.h"

struct virtio_net_config {
    struct net_backend *net; /* borrowed; outlives the bus */
    uint8_t mac[6];
};

/* Returns 0 or a negative errno.  *v is for a transport, and the bus's. */
int virtio_net_create(struct bus *bus, const struct virtio_net_config *config,
                      struct virtio_device **v);

#endif
