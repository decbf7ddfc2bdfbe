/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Console device (virtio 1.2 5.3) with one port, over a chardev. */
#ifndef VIRTIO_CONSOLE_H
#define VIRTIO_CONSOLE_H

#include "chardev/chardev.h"
#include "virtio/device.h"

/* chardev is borrowed; NULL: output is dropped.  Returns 0 or a negative
 * errno.  *v is for a transport, and the bus's. */
int virtio_console_create(struct bus *bus, struct chardev *chardev, struct virtio_device **v);
/* The terminal's size has changed.  With the bus lock held. */
void virtio_console_resize(struct virtio_device *v, uint16_t columns, uint16_t rows);

#endif
