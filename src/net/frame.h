/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a frame from a guest would cost the user network. */
#ifndef NET_FRAME_H
#define NET_FRAME_H

#include <stddef.h>
#include <stdint.h>

enum net_frame_kind {
    NET_FRAME_BAD,      /* neither ARP nor IP, or cut short */
    NET_FRAME_PLAIN,    /* belongs to a flow that is there, or to none */
    NET_FRAME_FLOW,     /* may begin a flow: a socket of the host */
    NET_FRAME_FRAGMENT, /* part of an IPv4 datagram */
};

enum net_frame_kind net_frame_kind(const uint8_t *frame, size_t len);

#endif
