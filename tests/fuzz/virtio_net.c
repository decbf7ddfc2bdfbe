/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virtio/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "virtio.h"

static struct net_handler handler;
static uint8_t frame[NET_FRAME_MAX];
static bool full, echo;

static int fake_send(struct net_backend *net, const struct iovec *iov, unsigned n)
{
    (void)net;
    if (full)
        return -EAGAIN;
    if (n != 1 || iov->iov_len > sizeof(frame))
        abort();
    memcpy(frame, iov->iov_base, iov->iov_len);
    if (echo)
        handler.receive(handler.opaque, frame, iov->iov_len);
    return 0;
}

static void fake_ready(struct net_backend *net)
{
    (void)net;
}

static void fake_handler(struct net_backend *net, const struct net_handler *h)
{
    (void)net;
    if (h)
        handler = *h;
}

static const struct net_ops ops = { .send = fake_send,
                                    .receive_ready = fake_ready,
                                    .set_handler = fake_handler };
static struct net_backend net = { .ops = &ops };

struct virtio_device *fuzz_make(struct bus *bus)
{
    const struct virtio_net_config config = { .net = &net, .mac = { 2, 3, 4, 5, 6, 7 } };
    struct virtio_device *v;

    if (virtio_net_create(bus, &config, &v) < 0)
        abort();
    return v;
}

void fuzz_host_event(const uint8_t *data, size_t n)
{
    if (!n)
        return;
    full = data[0] & 1;
    echo = data[0] & 2;
    if (data[0] & 4)
        handler.link(handler.opaque, data[0] & 8);
    if (!full)
        handler.writable(handler.opaque);
    /* Large frames from few bytes of input. */
    memset(frame, data[0], sizeof(frame));
    memcpy(frame, data, MIN(n, sizeof(frame)));
    handler.receive(handler.opaque, frame, MIN(n * (data[0] & 16 ? 100 : 1), sizeof(frame)));
}

void fuzz_reset(void)
{
    full = echo = false;
}
