/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virtio/console.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "chardev/backend.h"
#include "virtio.h"

static uint8_t out[4096];
static size_t room;

/* Takes what the last event allowed. */
static size_t fake_write(struct chardev *cd, const void *data, size_t n)
{
    (void)cd;
    n = MIN(n, MIN(room, sizeof(out)));
    memcpy(out, data, n);
    room -= n;
    return n;
}

static const struct chardev_ops ops = { .write = fake_write };
static struct chardev chardev = { .ops = &ops };
static struct virtio_device *device;

struct virtio_device *fuzz_make(struct bus *bus)
{
    if (virtio_console_create(bus, &chardev, &device) < 0)
        abort();
    return device;
}

void fuzz_host_event(const uint8_t *data, size_t n)
{
    const struct chardev_handler *h = &chardev.handler;
    size_t take = MIN(n, h->can_receive(h->opaque));

    if (take)
        h->receive(h->opaque, data, take);
    room += n;
    h->writable(h->opaque);
    if (n > 100)
        virtio_console_resize(device, data[0], data[1]);
}

void fuzz_reset(void)
{
    room = 1000;
}
