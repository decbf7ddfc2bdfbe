/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IPv4 datagrams of a guest from their fragments (RFC 791 3.2).
 *
 * libslirp has code for this, but neither a bound for what it keeps nor
 * memory safety: fragments that overlap make version 4.7 write where it must
 * not.  Here the room is fixed, and a datagram whose fragments overlap or
 * contradict each other is dropped, as RFC 8200 4.5 has it for IPv6.
 */
#ifndef NET_REASSEMBLE_H
#define NET_REASSEMBLE_H

#include <stddef.h>
#include <stdint.h>

struct net_reassembler;

/* NULL: out of memory. */
struct net_reassembler *net_reassembler_new(void);
void net_reassembler_free(struct net_reassembler *r);

/* Takes a frame of kind NET_FRAME_FRAGMENT at a time of any clock.  If it was
 * the last one missing, returns the frame of the whole datagram, at most
 * NET_FRAME_MAX bytes and valid until the next call; else NULL. */
const uint8_t *net_reassemble(struct net_reassembler *r, const uint8_t *frame, size_t len,
                              uint64_t now_ms, size_t *whole_len);

#endif
