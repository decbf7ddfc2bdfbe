/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "net/options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define DHCP_ADDRESSES 16u /* that libslirp gives away */
#define MIN_BITS       8u
#define MAX_BITS       27u /* leaves room for them after the 15th */

__attribute__((format(printf, 3, 4))) static int fail(char *err, size_t err_size, const char *fmt,
                                                      ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(err, err_size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

/* A user's text in a message: cut, in one line. */
struct shown {
    char text[64];
};

static struct shown show(const char *text)
{
    struct shown s = { "" };

    for (size_t i = 0; i < sizeof(s.text) - 1 && text[i]; i++)
        s.text[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
    return s;
}

/* Copies the part before the first `end` and moves *text past that; false if
 * there is none, or a part that long can be nothing good. */
static bool take(const char **text, char end, char *part, size_t size)
{
    const char *stop = strchr(*text, end);
    const size_t n = stop ? (size_t)(stop - *text) : size;

    if (n >= size)
        return false;
    memcpy(part, *text, n);
    part[n] = 0;
    *text = stop + 1;
    return true;
}

static bool parse_addr(const char *text, struct in_addr *addr)
{
    return inet_pton(AF_INET, text, addr) == 1;
}

/* A decimal number of at most five digits, without sign, blanks or leading zeros. */
static bool parse_port(const char *text, uint16_t *port)
{
    unsigned n = 0, digits = 0;

    for (; isdigit((unsigned char)*text) && digits < 5; text++, digits++)
        n = n * 10 + (unsigned)(*text - '0');
    *port = (uint16_t)n;
    return !*text && n >= 1 && n <= 65535;
}

/* Forwarded ports */

static int bad_port(const char *port, char *err, size_t err_size)
{
    return fail(err, err_size, "'%s' is not a port; ports are 1 to 65535", show(port).text);
}

static int bad_addr(const char *addr, char *err, size_t err_size)
{
    return fail(err, err_size, "'%s' is not an IPv4 address", show(addr).text);
}

int net_hostfwd_parse(const char *text, struct net_hostfwd *fwd, char *err, size_t err_size)
{
    char proto[8], host[32], host_port[16], guest[32];
    const char *p = text;

    *fwd = (struct net_hostfwd){ .host_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (!take(&p, ':', proto, sizeof(proto)) || !take(&p, ':', host, sizeof(host)) ||
        !take(&p, '-', host_port, sizeof(host_port)) || !take(&p, ':', guest, sizeof(guest)))
        return fail(err, err_size,
                    "'%s' is not PROTO:[ADDR]:PORT-[ADDR]:PORT; write for example "
                    "tcp::2222-:22",
                    show(text).text);
    fwd->udp = strcmp(proto, "udp") == 0;
    if (!fwd->udp && *proto && strcmp(proto, "tcp") != 0)
        return fail(err, err_size,
                    "'%s' is not a protocol that can be forwarded; there are tcp "
                    "and udp",
                    show(proto).text);
    if (*host && !parse_addr(host, &fwd->host_addr))
        return bad_addr(host, err, err_size);
    if (!parse_port(host_port, &fwd->host_port))
        return bad_port(host_port, err, err_size);
    if (*guest && !parse_addr(guest, &fwd->guest_addr))
        return bad_addr(guest, err, err_size);
    if (!parse_port(p, &fwd->guest_port))
        return bad_port(p, err, err_size);
    return 0;
}

int net_publish_parse(const char *text, struct net_hostfwd *fwd, char *err, size_t err_size)
{
    char part[3][32] = { "" };
    const char *p = text, *guest, *host;
    unsigned n = 0;
    size_t len;

    *fwd = (struct net_hostfwd){ .host_addr.s_addr = htonl(INADDR_LOOPBACK) };
    while (n < 2 && take(&p, ':', part[n], sizeof(part[n])))
        n++;
    len = strcspn(p, "/");
    memcpy(part[2], p, MIN(len, sizeof(part[2]) - 1));
    guest = part[2];
    host = n ? part[n - 1] : "";
    p += len;
    fwd->udp = strcmp(p, "/udp") == 0;
    if (n < 1 || (*p && !fwd->udp && strcmp(p, "/tcp") != 0))
        return fail(err, err_size, "'%s' is not [ADDR:]HOST:GUEST[/udp]; write for example 2222:22",
                    show(text).text);
    if (n == 2 && !parse_addr(part[0], &fwd->host_addr))
        return bad_addr(part[0], err, err_size);
    if (!parse_port(host, &fwd->host_port))
        return bad_port(host, err, err_size);
    if (!parse_port(guest, &fwd->guest_port))
        return bad_port(guest, err, err_size);
    return 0;
}

void net_hostfwd_text(const struct net_hostfwd *fwd, char text[NET_HOSTFWD_TEXT])
{
    char host[INET_ADDRSTRLEN], guest[INET_ADDRSTRLEN] = "";

    inet_ntop(AF_INET, &fwd->host_addr, host, sizeof(host));
    if (fwd->guest_addr.s_addr)
        inet_ntop(AF_INET, &fwd->guest_addr, guest, sizeof(guest));
    snprintf(text, NET_HOSTFWD_TEXT, "%s:%s:%u-%s:%u", fwd->udp ? "udp" : "tcp", host,
             fwd->host_port, guest, fwd->guest_port);
}

int net_mac_parse(const char *text, uint8_t mac[6], char *err, size_t err_size)
{
    static const char digits[] = "0123456789abcdef";
    const char *p = text;
    bool any = false;

    for (unsigned i = 0; i < 6; i++) {
        const char *high = *p ? strchr(digits, tolower((unsigned char)p[0])) : NULL;
        const char *low = high && p[1] ? strchr(digits, tolower((unsigned char)p[1])) : NULL;

        if (!low || p[2] != (i < 5 ? ':' : 0))
            return fail(err, err_size,
                        "'%s' is not a MAC address; write for example "
                        "52:54:00:12:34:56",
                        show(text).text);
        mac[i] = (uint8_t)((high - digits) << 4 | (low - digits));
        any = any || mac[i];
        p += 3;
    }
    /* Bit 0 of the first byte: a group of cards (IEEE 802 8.2). */
    if (mac[0] & 1 || !any)
        return fail(err, err_size,
                    "%s is not the address of one card; write for example "
                    "52:54:00:12:34:56",
                    show(text).text);
    return 0;
}

/* The user network */

/* "ADDR/BITS"; bits of the host part are dropped, as everywhere. */
static int parse_net(const char *text, struct net_user_config *c, char *err, size_t err_size)
{
    char addr[32];
    const char *p = text;
    uint16_t bits;

    if (!take(&p, '/', addr, sizeof(addr)) || !parse_addr(addr, &c->net) || !parse_port(p, &bits) ||
        bits < MIN_BITS || bits > MAX_BITS)
        return fail(err, err_size,
                    "net: '%s' is not ADDR/BITS with %u to %u bits; write for "
                    "example 10.0.2.0/24",
                    show(text).text, MIN_BITS, MAX_BITS);
    c->mask.s_addr = htonl(~0u << (32 - bits));
    c->net.s_addr &= c->mask.s_addr;
    return 0;
}

/* An address of the network with room for `count` from there on; the default
 * is the one at `index`. */
static int parse_member(const struct net_user_config *c, const char *key, const char *text,
                        uint32_t index, uint32_t count, struct in_addr *addr, char *err,
                        size_t err_size)
{
    const uint32_t net = ntohl(c->net.s_addr), last = ~ntohl(c->mask.s_addr);

    addr->s_addr = htonl(net + index);
    if (!text)
        return 0;
    if (!parse_addr(text, addr))
        return fail(err, err_size, "%s: '%s' is not an IPv4 address", key, show(text).text);
    index = ntohl(addr->s_addr) - net;
    if (index < 1 || index > last || last - index < count)
        return fail(err, err_size, "%s: %s is not an address for a host of the network%s", key,
                    text, count > 1 ? " with 15 more after it" : "");
    return 0;
}

static bool in_pool(const struct net_user_config *c, struct in_addr addr)
{
    return ntohl(addr.s_addr) - ntohl(c->dhcpstart.s_addr) < DHCP_ADDRESSES;
}

/* RFC 1123 2.1, but for dots: it is one label that DHCP gives. */
static int parse_hostname(const char *text, struct net_user_config *c, char *err, size_t err_size)
{
    const size_t n = strlen(text);
    bool good = n >= 1 && n <= NET_HOSTNAME_MAX && text[0] != '-' && text[n - 1] != '-';

    for (size_t i = 0; good && i < n; i++)
        good = isalnum((unsigned char)text[i]) || text[i] == '-';
    if (!good)
        return fail(err, err_size,
                    "hostname: '%s' is not a name of 1 to 63 letters, digits and "
                    "hyphens",
                    show(text).text);
    memcpy(c->hostname, text, n + 1);
    return 0;
}

static int parse_forwards(const struct net_user_options *o, struct net_user_config *c, char *err,
                          size_t err_size)
{
    int rc = 0;

    if (o->nhostfwd > NET_MAX_HOSTFWD)
        return fail(err, err_size, "hostfwd: at most %u ports can be forwarded", NET_MAX_HOSTFWD);
    for (; c->nhostfwd < o->nhostfwd && rc == 0; c->nhostfwd++) {
        struct net_hostfwd *fwd = &c->hostfwd[c->nhostfwd];
        char phrase[160];

        rc = net_hostfwd_parse(o->hostfwd[c->nhostfwd], fwd, phrase, sizeof(phrase));
        if (rc < 0)
            return fail(err, err_size, "hostfwd: %s", phrase);
        if (!fwd->guest_addr.s_addr)
            fwd->guest_addr = c->dhcpstart;
        if ((fwd->guest_addr.s_addr & c->mask.s_addr) != c->net.s_addr)
            return fail(err, err_size, "hostfwd: the guest's address in '%s' is not in its network",
                        show(o->hostfwd[c->nhostfwd]).text);
    }
    return rc;
}

int net_user_parse(const struct net_user_options *o, struct net_user_config *c, char *err,
                   size_t err_size)
{
    int rc;

    *c = (struct net_user_config){ .restricted = o->restricted, .ipv6 = !o->no_ipv6 };
    rc = parse_net(o->net ? o->net : "10.0.2.0/24", c, err, err_size);
    if (rc == 0)
        rc = parse_member(c, "host", o->host, 2, 1, &c->host, err, err_size);
    if (rc == 0)
        rc = parse_member(c, "dns", o->dns, 3, 1, &c->dns, err, err_size);
    if (rc == 0)
        rc = parse_member(c, "dhcpstart", o->dhcpstart, 15, DHCP_ADDRESSES, &c->dhcpstart, err,
                          err_size);
    if (rc == 0 && c->host.s_addr == c->dns.s_addr)
        rc = fail(err, err_size, "host and dns: they cannot have the same address");
    if (rc == 0 && (in_pool(c, c->host) || in_pool(c, c->dns)))
        rc = fail(err, err_size,
                  "dhcpstart: the 16 addresses from there on must not contain those "
                  "of host and dns");
    if (rc == 0 && o->hostname)
        rc = parse_hostname(o->hostname, c, err, err_size);
    return rc == 0 ? parse_forwards(o, c, err, err_size) : rc;
}
