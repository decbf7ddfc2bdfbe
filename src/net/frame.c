/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "net/frame.h"

#define ETH_HEADER    14u
#define ETH_TYPE_IPV4 0x0800u
#define ETH_TYPE_ARP  0x0806u
#define ETH_TYPE_IPV6 0x86ddu
#define ARP_LEN       28u     /* RFC 826, of IPv4 over Ethernet */
#define IPV4_MIN      20u     /* RFC 791 3.1 */
#define IPV4_FRAGMENT 0x3fffu /* more fragments, or an offset */
#define IPV6_LEN      40u     /* RFC 8200 3 */
#define IP_TCP        6u
#define TCP_MIN       20u /* RFC 9293 3.1 */
#define TCP_FLAGS     13u
#define TCP_SYN       0x02u

static unsigned be16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/* All but TCP has no beginning that could be seen. */
static enum net_frame_kind kind_of(uint8_t proto, const uint8_t *payload, size_t len)
{
    if (proto != IP_TCP)
        return NET_FRAME_FLOW;
    if (len < TCP_MIN)
        return NET_FRAME_BAD;
    return payload[TCP_FLAGS] & TCP_SYN ? NET_FRAME_FLOW : NET_FRAME_PLAIN;
}

static enum net_frame_kind ipv4_kind(const uint8_t *ip, size_t len)
{
    size_t header;

    if (len < IPV4_MIN || ip[0] >> 4 != 4)
        return NET_FRAME_BAD;
    header = (ip[0] & 15u) * 4;
    if (header < IPV4_MIN || len < header)
        return NET_FRAME_BAD;
    if (be16(ip + 6) & IPV4_FRAGMENT)
        return NET_FRAME_FRAGMENT;
    return kind_of(ip[9], ip + header, len - header);
}

static enum net_frame_kind ipv6_kind(const uint8_t *ip, size_t len)
{
    if (len < IPV6_LEN || ip[0] >> 4 != 6)
        return NET_FRAME_BAD;
    return kind_of(ip[6], ip + IPV6_LEN, len - IPV6_LEN);
}

enum net_frame_kind net_frame_kind(const uint8_t *frame, size_t len)
{
    if (len < ETH_HEADER)
        return NET_FRAME_BAD;
    switch (be16(frame + 12)) {
    case ETH_TYPE_ARP: return len < ETH_HEADER + ARP_LEN ? NET_FRAME_BAD : NET_FRAME_PLAIN;
    case ETH_TYPE_IPV4: return ipv4_kind(frame + ETH_HEADER, len - ETH_HEADER);
    case ETH_TYPE_IPV6: return ipv6_kind(frame + ETH_HEADER, len - ETH_HEADER);
    default: return NET_FRAME_BAD;
    }
}
