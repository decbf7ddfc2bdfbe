/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "net/none.h"

#include <errno.h>
#include <stdlib.h>

static int none_send(struct net_backend *net, const struct iovec *iov, unsigned n)
{
    (void)net;
    (void)iov;
    (void)n;
    return 0;
}

static void none_receive_ready(struct net_backend *net)
{
    (void)net;
}

static void none_set_handler(struct net_backend *net, const struct net_handler *handler)
{
    (void)net;
    (void)handler;
}

static bool none_link(struct net_backend *net)
{
    (void)net;
    return false;
}

static void none_destroy(struct net_backend *net)
{
    free(net);
}

static const struct net_ops none_ops = {
    .send = none_send,
    .receive_ready = none_receive_ready,
    .set_handler = none_set_handler,
    .link = none_link,
    .destroy = none_destroy,
};

int net_none_create(struct net_backend **net)
{
    *net = malloc(sizeof(**net));
    if (!*net)
        return -ENOMEM;
    (*net)->ops = &none_ops;
    return 0;
}
