/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a user writes about networks, read and checked.  Nothing here touches
 * the host.
 *
 * Functions that return int give 0, or -EINVAL with one phrase in err.
 */
#ifndef NET_OPTIONS_H
#define NET_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_MAX_HOSTFWD  64u
#define NET_HOSTFWD_TEXT 64u

/* A port of the host that leads to one of the guest. */
struct net_hostfwd {
    bool udp;
    struct in_addr host_addr;  /* where the host listens */
    struct in_addr guest_addr; /* 0.0.0.0: the first address that DHCP gives */
    uint16_t host_port, guest_port;
};

/* "tcp:[ADDR]:PORT-[ADDR]:PORT" or "udp:...", as QEMU has it.  Unlike there,
 * an empty host address is 127.0.0.1: whoever wants the world to reach a guest
 * says so with 0.0.0.0. */
int net_hostfwd_parse(const char *text, struct net_hostfwd *fwd, char *err, size_t err_size);
/* The short form "[ADDR:]HOST:GUEST[/tcp|/udp]". */
int net_publish_parse(const char *text, struct net_hostfwd *fwd, char *err, size_t err_size);
/* What net_hostfwd_parse reads, with all addresses. */
void net_hostfwd_text(const struct net_hostfwd *fwd, char text[NET_HOSTFWD_TEXT]);

/* "52:54:00:12:34:56", of one card. */
int net_mac_parse(const char *text, uint8_t mac[6], char *err, size_t err_size);

/* The options of the user network as they were written; NULL: the default. */
struct net_user_options {
    const char *net;       /* ADDR/BITS: 10.0.2.0/24 */
    const char *host;      /* the gateway, which is the host: second address of net */
    const char *dns;       /* name server: third address */
    const char *dhcpstart; /* first of 16 addresses for guests: the 15th */
    const char *hostname;  /* what DHCP calls the guest */
    bool restricted;       /* nothing but forwarded ports */
    bool no_ipv6;
    const char *const *hostfwd;
    unsigned nhostfwd;
};

#define NET_HOSTNAME_MAX 63u

/* The same, read. */
struct net_user_config {
    struct in_addr net, mask, host, dns, dhcpstart;
    char hostname[NET_HOSTNAME_MAX + 1]; /* "": none */
    bool restricted, ipv6;
    struct net_hostfwd hostfwd[NET_MAX_HOSTFWD];
    unsigned nhostfwd;
};

int net_user_parse(const struct net_user_options *o, struct net_user_config *c, char *err,
                   size_t err_size);

#endif
