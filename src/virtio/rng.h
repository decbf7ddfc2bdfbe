/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entropy device (virtio 1.2 5.4): the host's getrandom. */
#ifndef VIRTIO_RNG_H
#define VIRTIO_RNG_H

#include "virtio/device.h"

/* Returns 0 or a negative errno.  *v is for a transport, and the bus's. */
int virtio_rng_create(struct bus *bus, struct virtio_device **v);

#endif
