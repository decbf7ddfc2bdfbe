/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virtio/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/util.h"

/* Of a buffer; a device may give less than the guest has room for. */
#define MAX_BYTES 4096u

struct virtio_rng {
    struct virtio_device v;
};

static uint32_t fill(struct virtio_device *v)
{
    uint8_t bytes[MAX_BYTES];
    size_t want = (size_t)MIN(v->chain.in_len, MAX_BYTES);
    ssize_t n = getrandom(bytes, want, 0);

    if (n < 0)
        log_error(LOG_DEV, "virtio-rng: getrandom: %m");
    return n < 0 ? 0 : (uint32_t)vring_write(&v->ring[0], &v->chain, 0, bytes, (size_t)n);
}

static void queue(struct virtio_device *v, unsigned q)
{
    for (unsigned n = 0; !virtio_yield(v, q, n) && virtio_pop(v, q); n++) {
        uint16_t head = v->chain.head;

        vring_push(&v->ring[q], head, fill(v));
        virtio_published(v, q);
    }
}

static const struct virtio_class virtio_class = {
    .id = 4,
    .pci_class = 0x00ff00,
    .queue = queue,
};

static const struct state_field fields[] = {
    VIRTIO_STATE(struct virtio_rng),
    STATE_END,
};
static const struct state_desc state = { "virtio-rng", 1, fields, virtio_post_load };

static void destroy(struct device *dev)
{
    struct virtio_rng *r = container_of(dev, struct virtio_rng, v.dev);

    virtio_fini(&r->v);
    free(r);
}

static const struct dev_class class = {
    .name = "virtio-rng",
    .state = &state,
    .reset = virtio_dev_reset,
    .pre_save = virtio_dev_pre_save,
    .quiesce = virtio_dev_quiesce,
    .resume = virtio_dev_resume,
    .destroy = destroy,
};

int virtio_rng_create(struct bus *bus, struct virtio_device **v)
{
    struct virtio_rng *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    r->v.class = &virtio_class;
    r->v.nqueues = 1;
    *v = &r->v;
    return virtio_init(&r->v, bus, &class);
}
