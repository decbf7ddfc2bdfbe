/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virtio/rng.h"

#include <stdlib.h>

#include "virtio.h"

struct virtio_device *fuzz_make(struct bus *bus)
{
    struct virtio_device *v;

    if (virtio_rng_create(bus, &v) < 0)
        abort();
    return v;
}

void fuzz_host_event(const uint8_t *data, size_t n)
{
    (void)data;
    (void)n;
}

void fuzz_reset(void)
{
}
