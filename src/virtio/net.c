/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network card (section numbers of virtio 1.2), without offloads.
 *
 * The backend's callbacks take no lock that is held around calls into it:
 * frames from the net go into a buffer with a lock of its own, the inbox, and
 * the I/O thread moves them into the guest's buffers.  Frames of the guest are
 * copied once before the backend reads them.
 */
#include "virtio/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

/* 5.1.3 */
#define F_MAC       BIT(5)
#define F_MRG_RXBUF BIT(15)
#define F_STATUS    BIT(16)
#define S_LINK_UP   1u

enum { Q_RECEIVE, Q_TRANSMIT };

#define INBOX_SIZE (256 * KiB)

/* 5.1.4 */
struct config_space {
    uint8_t mac[6];
    uint16_t status;
};

/* 5.1.6: always with num_buffers, since there is no legacy interface */
struct header {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

/* Frames one after another, each after its length; the unused part is in the
 * front. */
struct inbox {
    pthread_mutex_t lock;
    size_t start, end;
    bool blocked; /* the backend was told to wait */
    uint8_t data[INBOX_SIZE];
};

struct virtio_net {
    struct virtio_device v;
    struct config_space space;
    struct net_backend *net;
    bool tx_waits;              /* atomic: the backend was full */
    bool link_up, link_changed; /* atomic */
    struct inbox inbox;
    uint8_t frame[NET_FRAME_MAX];
};

static struct virtio_net *net_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_net, v);
}

/* The inbox */

static bool inbox_put(struct inbox *in, const uint8_t *frame, size_t len)
{
    const uint32_t n = (uint32_t)len;

    if (in->end + sizeof(n) + len > INBOX_SIZE) {
        memmove(in->data, in->data + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
    }
    if (in->end + sizeof(n) + len > INBOX_SIZE)
        return false;
    memcpy(in->data + in->end, &n, sizeof(n));
    memcpy(in->data + in->end + sizeof(n), frame, len);
    in->end += sizeof(n) + len;
    return true;
}

/* The oldest frame, copied to frame; 0: there is none. */
static size_t inbox_peek(struct virtio_net *c)
{
    struct inbox *in = &c->inbox;
    uint32_t n = 0;

    pthread_mutex_lock(&in->lock);
    if (in->start < in->end) {
        memcpy(&n, in->data + in->start, sizeof(n));
        memcpy(c->frame, in->data + in->start + sizeof(n), n);
    }
    pthread_mutex_unlock(&in->lock);
    return n;
}

static void inbox_drop(struct virtio_net *c)
{
    struct inbox *in = &c->inbox;
    bool blocked = false;
    uint32_t n;

    pthread_mutex_lock(&in->lock);
    if (in->start < in->end) {
        memcpy(&n, in->data + in->start, sizeof(n));
        in->start += sizeof(n) + n;
    }
    if (in->start == in->end) {
        in->start = in->end = 0;
        blocked = in->blocked;
        in->blocked = false;
    }
    pthread_mutex_unlock(&in->lock);
    if (blocked)
        net_receive_ready(c->net);
}

/* The backend's callbacks */

static bool receive(void *opaque, const uint8_t *frame, size_t len)
{
    struct virtio_net *c = opaque;
    struct inbox *in = &c->inbox;
    bool taken;

    if (!len || len > NET_FRAME_MAX)
        return true;
    pthread_mutex_lock(&in->lock);
    taken = inbox_put(in, frame, len);
    in->blocked |= !taken;
    pthread_mutex_unlock(&in->lock);
    if (taken)
        virtio_notify(&c->v, Q_RECEIVE);
    return taken;
}

static void writable(void *opaque)
{
    struct virtio_net *c = opaque;

    __atomic_store_n(&c->tx_waits, false, __ATOMIC_SEQ_CST);
    virtio_notify(&c->v, Q_TRANSMIT);
}

static void link_event(void *opaque, bool up)
{
    struct virtio_net *c = opaque;

    __atomic_store_n(&c->link_up, up, __ATOMIC_SEQ_CST);
    __atomic_store_n(&c->link_changed, true, __ATOMIC_SEQ_CST);
    virtio_notify(&c->v, Q_RECEIVE);
}

/* Receiving (5.1.6.4) */

/* Takes chains for len bytes and puts header and frame there.  Returns how
 * many, 0 if there are too few now, or -EMSGSIZE if it will never fit. */
static int scatter(struct virtio_net *c, size_t len)
{
    struct virtio_device *v = &c->v;
    struct vring *r = &v->ring[Q_RECEIVE];
    const bool merge = virtio_has(v, F_MRG_RXBUF);
    struct header h = { .num_buffers = 1 };
    unsigned n = 0;
    size_t done = 0;
    struct iovec first[VRING_MAX_IOV];
    uint64_t gpa[VRING_MAX_IOV];
    unsigned nfirst = 0;

    while (n == 0 || done < len) {
        size_t skip = n ? 0 : sizeof(h), part;

        if (!virtio_pop(v, Q_RECEIVE)) {
            vring_unpop(r, n);
            return 0;
        }
        if (v->chain.in_len < sizeof(h) || (!merge && v->chain.in_len < sizeof(h) + len)) {
            vring_fill(r, n, v->chain.head, 0);
            vring_publish(r, n + 1);
            return -EMSGSIZE;
        }
        if (!n)
            nfirst = vring_slice(&v->chain, true, 0, sizeof(h), first, gpa);
        part = (size_t)MIN(len - done, v->chain.in_len - skip);
        vring_write(r, &v->chain, skip, c->frame + done, part);
        vring_fill(r, n++, v->chain.head, (uint32_t)(skip + part));
        done += part;
    }
    h.num_buffers = (uint16_t)n;
    for (size_t i = 0, off = 0; i < nfirst; off += first[i++].iov_len) {
        memcpy(first[i].iov_base, (uint8_t *)&h + off, first[i].iov_len);
        mem_written(v->bus->mem, gpa[i], first[i].iov_len);
    }
    return (int)n;
}

static void receive_queue(struct virtio_net *c)
{
    struct virtio_device *v = &c->v;
    size_t len;

    for (unsigned n = 0; !virtio_yield(v, Q_RECEIVE, n) && (len = inbox_peek(c)); n++) {
        int chains = scatter(c, len);

        if (chains == 0)
            break;
        if (chains > 0)
            vring_publish(&v->ring[Q_RECEIVE], (unsigned)chains);
        else
            log_guest(LOG_DEV, "virtio-net: a receive buffer is too small");
        virtio_published(v, Q_RECEIVE);
        inbox_drop(c);
    }
}

/* Sending (5.1.6.2) */

/* false: the backend is full, and the chain is to stay. */
static bool send_chain(struct virtio_net *c)
{
    const struct vring_chain *chain = &c->v.chain;
    struct iovec iov = { .iov_base = c->frame };

    if (chain->out_len <= sizeof(struct header) ||
        chain->out_len > sizeof(struct header) + NET_FRAME_MAX)
        return true;
    iov.iov_len = vring_read(chain, sizeof(struct header), c->frame, NET_FRAME_MAX);
    __atomic_store_n(&c->tx_waits, true, __ATOMIC_SEQ_CST);
    if (net_send(c->net, &iov, 1) == -EAGAIN)
        return false;
    __atomic_store_n(&c->tx_waits, false, __ATOMIC_SEQ_CST);
    return true;
}

static void transmit_queue(struct virtio_net *c)
{
    struct virtio_device *v = &c->v;

    if (__atomic_load_n(&c->tx_waits, __ATOMIC_SEQ_CST))
        return;
    vring_want_notify(&v->ring[Q_TRANSMIT], false);
    for (unsigned n = 0; !virtio_yield(v, Q_TRANSMIT, n) && virtio_pop(v, Q_TRANSMIT); n++) {
        if (!send_chain(c)) { /* writable() goes on with it */
            vring_unpop(&v->ring[Q_TRANSMIT], 1);
            break;
        }
        vring_push(&v->ring[Q_TRANSMIT], v->chain.head, 0);
        virtio_published(v, Q_TRANSMIT);
    }
}

static void queue(struct virtio_device *v, unsigned q)
{
    struct virtio_net *c = net_of(v);

    if (__atomic_exchange_n(&c->link_changed, false, __ATOMIC_SEQ_CST)) {
        c->space.status = __atomic_load_n(&c->link_up, __ATOMIC_SEQ_CST) ? S_LINK_UP : 0;
        virtio_config_changed(v);
    }
    if (q == Q_TRANSMIT)
        transmit_queue(c);
    else
        receive_queue(c);
}

/* Frames for a driver that has gone are dropped. */
static void reset(struct virtio_device *v)
{
    struct virtio_net *c = net_of(v);

    while (inbox_peek(c))
        inbox_drop(c);
    __atomic_store_n(&c->tx_waits, false, __ATOMIC_SEQ_CST);
}

static const struct virtio_class virtio_class = {
    .id = 1,
    .pci_class = 0x020000, /* Ethernet */
    .queue = queue,
    .reset = reset,
};

static const struct state_field fields[] = {
    VIRTIO_STATE(struct virtio_net),
    STATE_END,
};
static const struct state_desc state = { "virtio-net", 1, fields, virtio_post_load };

static void destroy(struct device *dev)
{
    struct virtio_net *c = container_of(dev, struct virtio_net, v.dev);

    net_set_handler(c->net, NULL);
    virtio_fini(&c->v);
    pthread_mutex_destroy(&c->inbox.lock);
    free(c);
}

static const struct dev_class class = {
    .name = "virtio-net",
    .state = &state,
    .reset = virtio_dev_reset,
    .pre_save = virtio_dev_pre_save,
    .quiesce = virtio_dev_quiesce,
    .resume = virtio_dev_resume,
    .destroy = destroy,
};

int virtio_net_create(struct bus *bus, const struct virtio_net_config *config,
                      struct virtio_device **v)
{
    struct virtio_net *c = calloc(1, sizeof(*c));
    const struct net_handler handler = {
        .receive = receive, .writable = writable, .link = link_event, .opaque = c
    };
    int rc;

    if (!c)
        return -ENOMEM;
    c->net = config->net;
    c->link_up = net_link(c->net);
    memcpy(c->space.mac, config->mac, sizeof(c->space.mac));
    c->space.status = c->link_up ? S_LINK_UP : 0;
    pthread_mutex_init(&c->inbox.lock, NULL);
    c->v.class = &virtio_class;
    c->v.nqueues = 2;
    c->v.features = F_MAC | F_MRG_RXBUF | F_STATUS;
    c->v.config = (uint8_t *)&c->space;
    c->v.config_size = sizeof(c->space);
    rc = virtio_init(&c->v, bus, &class);
    if (rc == 0)
        net_set_handler(c->net, &handler);
    *v = &c->v;
    return rc;
}
