/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A card without a cable: its link is down, what it sends is lost. */
#ifndef NET_NONE_H
#define NET_NONE_H

#include "net/net.h"

/* Returns 0 or -ENOMEM. */
int net_none_create(struct net_backend **net);

#endif
