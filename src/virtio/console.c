/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Console (section numbers of virtio 1.2).  Chardevs live on the machine's
 * loop, so this device has no I/O thread: its queues are watched there.
 *
 * A chain that the chardev takes only in part stays in the ring, with the
 * number of its bytes that are done; so nothing is held outside of the ring
 * but some bytes of input.
 */
#include "virtio/console.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* 5.3.3, 5.3.4 */
#define F_SIZE        BIT(0)
#define F_EMERG_WRITE BIT(2)
#define EMERG_OFF     8u

enum { Q_RECEIVE, Q_TRANSMIT };

struct config_space {
    uint16_t columns, rows;
    uint32_t max_ports, emerg_wr;
};

struct virtio_console {
    struct virtio_device v;
    struct config_space space;
    uint64_t tx_done; /* bytes of the next transmit chain that are out */
    uint8_t rx[256];
    uint16_t rx_count;
    struct chardev *chardev;
};

static struct virtio_console *console_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_console, v);
}

/* Bytes of v->chain from tx_done on that the chardev takes. */
static bool transmit_chain(struct virtio_console *c)
{
    const struct vring_chain *chain = &c->v.chain;
    uint64_t off = c->tx_done;

    for (unsigned i = 0; i < chain->nout; i++) {
        const struct iovec *iov = &chain->iov[i];
        size_t n = iov->iov_len, taken;

        if (off >= n) {
            off -= n;
            continue;
        }
        n -= (size_t)off;
        taken = c->chardev ? chardev_write(c->chardev, (uint8_t *)iov->iov_base + off, n) : n;
        c->tx_done += taken;
        off = 0;
        if (taken < n)
            return false;
    }
    c->tx_done = 0;
    return true;
}

static void transmit(struct virtio_console *c)
{
    struct virtio_device *v = &c->v;

    for (unsigned n = 0; !virtio_yield(v, Q_TRANSMIT, n) && virtio_pop(v, Q_TRANSMIT); n++) {
        if (!transmit_chain(c)) { /* writable() goes on with it */
            vring_unpop(&v->ring[Q_TRANSMIT], 1);
            return;
        }
        vring_push(&v->ring[Q_TRANSMIT], v->chain.head, 0);
        virtio_published(v, Q_TRANSMIT);
    }
}

static void deliver(struct virtio_console *c)
{
    struct virtio_device *v = &c->v;

    while (c->rx_count && virtio_running(v) && v->q_enabled[Q_RECEIVE] &&
           virtio_pop(v, Q_RECEIVE)) {
        size_t n = vring_write(&v->ring[Q_RECEIVE], &v->chain, 0, c->rx, c->rx_count);

        c->rx_count -= (uint16_t)n;
        memmove(c->rx, c->rx + n, c->rx_count);
        vring_push(&v->ring[Q_RECEIVE], v->chain.head, (uint32_t)n);
        virtio_published(v, Q_RECEIVE);
    }
}

static void queue(struct virtio_device *v, unsigned q)
{
    struct virtio_console *c = console_of(v);

    if (q == Q_TRANSMIT) {
        transmit(c);
        return;
    }
    deliver(c);
    if (c->chardev && c->rx_count < sizeof(c->rx)) {
        /* It may call receive() at once. */
        virtio_unlock(v);
        chardev_receive_ready(c->chardev);
        virtio_lock(v);
    }
}

/* The chardev's callbacks: on the loop's thread or a vCPU's, with the bus lock. */

static size_t can_receive(void *opaque)
{
    struct virtio_console *c = opaque;
    size_t n = 0;

    virtio_lock(&c->v);
    if (c->v.status & VIRTIO_STATUS_DRIVER_OK)
        n = sizeof(c->rx) - c->rx_count;
    virtio_unlock(&c->v);
    return n;
}

static void receive(void *opaque, const uint8_t *data, size_t n)
{
    struct virtio_console *c = opaque;

    virtio_lock(&c->v);
    n = MIN(n, sizeof(c->rx) - c->rx_count);
    memcpy(c->rx + c->rx_count, data, n);
    c->rx_count += (uint16_t)n;
    virtio_unlock(&c->v);
    virtio_notify(&c->v, Q_RECEIVE);
}

static void writable(void *opaque)
{
    struct virtio_console *c = opaque;

    virtio_notify(&c->v, Q_TRANSMIT);
}

/* 5.3.4: a byte, before the driver is ready or in a panic */
static void config_written(struct virtio_device *v, unsigned off, unsigned size)
{
    struct virtio_console *c = console_of(v);
    uint8_t byte = (uint8_t)c->space.emerg_wr;

    if (off <= EMERG_OFF && off + size > EMERG_OFF && c->chardev)
        chardev_write(c->chardev, &byte, 1);
    c->space.emerg_wr = 0;
}

void virtio_console_resize(struct virtio_device *v, uint16_t columns, uint16_t rows)
{
    struct virtio_console *c = console_of(v);

    virtio_lock(v);
    c->space.columns = columns;
    c->space.rows = rows;
    virtio_config_changed(v);
    virtio_unlock(v);
}

/* Without a driver there is nothing half done. */
static void reset(struct virtio_device *v)
{
    struct virtio_console *c = console_of(v);

    if (!(v->status & VIRTIO_STATUS_DRIVER_OK)) {
        c->tx_done = 0;
        c->rx_count = 0;
    }
}

static const struct virtio_class virtio_class = {
    .id = 3,
    .pci_class = 0x078000, /* communication, other */
    .on_loop = true,
    .queue = queue,
    .reset = reset,
    .config_written = config_written,
};

static const struct state_field fields[] = {
    VIRTIO_STATE(struct virtio_console),
    STATE_FIELD(struct virtio_console, tx_done, 0),
    STATE_ARRAY(struct virtio_console, rx, 0),
    STATE_FIELD(struct virtio_console, rx_count, 0),
    STATE_END,
};

static int post_load(void *obj, char *err, size_t err_size)
{
    const struct virtio_console *c = obj;

    if (c->rx_count > sizeof(c->rx)) {
        snprintf(err, err_size, "%u bytes of input are too many", c->rx_count);
        return -EINVAL;
    }
    return virtio_post_load(obj, err, err_size);
}

static const struct state_desc state = { "virtio-console", 1, fields, post_load };

static void destroy(struct device *dev)
{
    struct virtio_console *c = container_of(dev, struct virtio_console, v.dev);

    if (c->chardev)
        chardev_set_handler(c->chardev, NULL);
    virtio_fini(&c->v);
    free(c);
}

static const struct dev_class class = {
    .name = "virtio-console",
    .state = &state,
    .reset = virtio_dev_reset,
    .pre_save = virtio_dev_pre_save,
    .quiesce = virtio_dev_quiesce,
    .resume = virtio_dev_resume,
    .destroy = destroy,
};

int virtio_console_create(struct bus *bus, struct chardev *chardev, struct virtio_device **v)
{
    struct virtio_console *c = calloc(1, sizeof(*c));
    const struct chardev_handler handler = {
        .receive = receive, .can_receive = can_receive, .writable = writable, .opaque = c
    };
    int rc;

    if (!c)
        return -ENOMEM;
    c->chardev = chardev;
    c->space = (struct config_space){ .columns = 80, .rows = 25, .max_ports = 1 };
    c->v.class = &virtio_class;
    c->v.nqueues = 2;
    c->v.features = F_SIZE | F_EMERG_WRITE;
    c->v.config = (uint8_t *)&c->space;
    c->v.config_size = sizeof(c->space);
    c->v.config_writable = 0xfULL << EMERG_OFF;
    rc = virtio_init(&c->v, bus, &class);
    if (rc == 0 && chardev)
        chardev_set_handler(chardev, &handler);
    *v = &c->v;
    return rc;
}
