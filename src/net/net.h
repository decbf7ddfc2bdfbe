/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Networks of the host: where Ethernet frames of a network card go to and
 * come from.  A backend never knows which device uses it.
 *
 * A frame begins with the destination address and ends before the frame check
 * sequence; nothing is offloaded: no checksums left open, no segments to cut.
 * A frame that is shorter than Ethernet's minimum is good.
 *
 * Threads.  A card sends from its I/O thread, a backend receives on a thread
 * of its own: neither holds the machine's device lock, and neither may wait
 * for it inside these functions, because whoever holds it may be waiting for
 * that thread (a device reset).  So a backend polls its descriptors itself
 * instead of in the machine's loop.  A backend may call receive() from inside
 * send(), on the card's thread; a card calls nothing of the backend from
 * inside receive(), writable() and link().  A backend's lock may be held
 * around receive(), writable() and link(); a card holds none that these need
 * when it calls the backend.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Longest frame in either direction, bytes; longer ones are dropped. */
#define NET_FRAME_MAX 65550u

struct net_backend;

/* The card's side.  Never two calls of the same function at once. */
struct net_handler {
    /* A whole frame for the guest (borrowed until return).  true: taken, or
     * dropped for good.  false: the guest has no buffers now; the backend
     * keeps the frame or drops it, as its kind of network would, and waits
     * for net_receive_ready before it calls again. */
    bool (*receive)(void *opaque, const uint8_t *frame, size_t len);
    /* There is room again after a net_send that returned -EAGAIN. */
    void (*writable)(void *opaque);
    /* The link went up or down.  May be NULL. */
    void (*link)(void *opaque, bool up);
    void *opaque;
};

struct net_ops {
    /* A whole frame from the guest, in n pieces (borrowed until return).
     * Never blocks.  Returns 0 (taken, or dropped for good), or -EAGAIN: send
     * the same frame again after writable().  One call at a time. */
    int (*send)(struct net_backend *net, const struct iovec *iov, unsigned n);
    /* The guest has buffers again after receive() said false; any thread, but
     * never from inside receive().  Must not call receive() itself: wake the
     * backend's thread. */
    void (*receive_ready)(struct net_backend *net);
    /* Replaces the handler (copied); NULL removes it and frames from the net
     * are dropped.  When it returns, no callback of the old handler runs any
     * more and none will; so not from inside a callback. */
    void (*set_handler)(struct net_backend *net, const struct net_handler *handler);
    /* Is the link up now?  NULL: always.  Any thread. */
    bool (*link)(struct net_backend *net);
    /* After the handler was removed. */
    void (*destroy)(struct net_backend *net);
};

/* Each backend's struct starts with this. */
struct net_backend {
    const struct net_ops *ops;
};

static inline int net_send(struct net_backend *net, const struct iovec *iov, unsigned n)
{
    return net->ops->send(net, iov, n);
}

static inline void net_receive_ready(struct net_backend *net)
{
    net->ops->receive_ready(net);
}

static inline void net_set_handler(struct net_backend *net, const struct net_handler *handler)
{
    net->ops->set_handler(net, handler);
}

static inline bool net_link(struct net_backend *net)
{
    return !net->ops->link || net->ops->link(net);
}

/* net may be NULL. */
static inline void net_destroy(struct net_backend *net)
{
    if (net)
        net->ops->destroy(net);
}

#endif
