/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks: what users write, and the user network with a made-up guest. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "net/frame.h"
#include "net/none.h"
#include "net/options.h"
#include "net/reassemble.h"
#include "net/user.h"

/* Options */

static void test_hostfwd(void **state)
{
    static const struct {
        const char *text, *canonical;
    } rows[] = {
        { "tcp::2222-:22", "tcp:127.0.0.1:2222-:22" },
        { ":0.0.0.0:2222-:22", "tcp:0.0.0.0:2222-:22" },
        { "udp:127.0.0.2:1-10.0.2.16:65535", "udp:127.0.0.2:1-10.0.2.16:65535" },
    };
    static const char *const bad[] = {
        "",           "tcp",          "tcp::2222",     "tcp::0-:22",     "tcp::65536-:22",
        "tcp::22-22", "sctp::22-:22", "tcp:host:1-:2", "tcp::1-:99999",  "tcp::1-:-2",
        "tcp:::1-:2", "tcp::1-:2x",   "tcp::+1-:2",    "tcp::1-1.2.3:2", "tcp::1-:2,",
    };
    char err[200], text[NET_HOSTFWD_TEXT];
    struct net_hostfwd fwd;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(net_hostfwd_parse(rows[i].text, &fwd, err, sizeof(err)), 0);
        net_hostfwd_text(&fwd, text);
        assert_string_equal(text, rows[i].canonical);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        err[0] = 0;
        if (net_hostfwd_parse(bad[i], &fwd, err, sizeof(err)) != -EINVAL || !*err)
            fail_msg("'%s' was taken", bad[i]);
    }
}

static void test_publish(void **state)
{
    static const struct {
        const char *text, *canonical;
    } rows[] = {
        { "2222:22", "tcp:127.0.0.1:2222-:22" },
        { "53:53/udp", "udp:127.0.0.1:53-:53" },
        { "0.0.0.0:80:8080/tcp", "tcp:0.0.0.0:80-:8080" },
    };
    static const char *const bad[] = {
        "",        "22",        ":",
        "1:",      ":1",        "1:2:3",
        "1:2/",    "1:2/sctp",  "0:1",
        "1:0",     "1:2:3:4",   "a:1:2",
        "1:70000", "1.2.3.4:1", "111111111111111111111111111111111111111111111:2",
    };
    char err[200], text[NET_HOSTFWD_TEXT];
    struct net_hostfwd fwd;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(net_publish_parse(rows[i].text, &fwd, err, sizeof(err)), 0);
        net_hostfwd_text(&fwd, text);
        assert_string_equal(text, rows[i].canonical);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (net_publish_parse(bad[i], &fwd, err, sizeof(err)) != -EINVAL)
            fail_msg("'%s' was taken", bad[i]);
}

static void test_mac(void **state)
{
    static const uint8_t good[6] = { 0x52, 0x54, 0x00, 0xab, 0xCD, 0xef };
    static const char *const bad[] = { "",
                                       "52:54:00:12:34",
                                       "52:54:00:12:34:56:",
                                       "5254.0012.3456",
                                       "01:00:00:00:00:01",
                                       "00:00:00:00:00:00",
                                       "g2:54:00:12:34:56",
                                       "52:54:00:12:34:5",
                                       "52-54-00-12-34-56" };
    uint8_t mac[6];
    char err[200];

    (void)state;
    assert_int_equal(net_mac_parse("52:54:00:ab:CD:ef", mac, err, sizeof(err)), 0);
    assert_memory_equal(mac, good, sizeof(mac));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (net_mac_parse(bad[i], mac, err, sizeof(err)) != -EINVAL)
            fail_msg("'%s' was taken", bad[i]);
}

static void check_addr(struct in_addr addr, const char *text)
{
    char got[INET_ADDRSTRLEN];

    assert_string_equal(inet_ntop(AF_INET, &addr, got, sizeof(got)), text);
}

static void test_user_options(void **state)
{
    static const char *const other_guest[] = { "tcp::1-10.0.3.1:2" };
    static const struct {
        struct net_user_options o;
        const char *part;
    } bad[] = {
        { { .net = "10.0.2.0" }, "ADDR/BITS" },
        { { .net = "10.0.2.0/28" }, "27 bits" },
        { { .net = "10.0.2.0/7" }, "8 to" },
        { { .net = "ten/24" }, "'ten/24'" },
        { { .host = "10.0.3.2" }, "host:" },
        { { .host = "10.0.2.0" }, "host:" },
        { { .dns = "10.0.2.255" }, "dns:" },
        { { .dns = "10.0.2.2" }, "same" },
        { { .dhcpstart = "10.0.2.240" }, "dhcpstart:" },
        { { .dhcpstart = "10.0.2.1" }, "dhcpstart:" },
        { { .hostname = "a b" }, "hostname:" },
        { { .hostname = "" }, "hostname:" },
        { { .hostname = "-a" }, "hostname:" },
        { { .hostfwd = other_guest, .nhostfwd = 1 }, "hostfwd:" },
        { { .hostfwd = other_guest, .nhostfwd = NET_MAX_HOSTFWD + 1 }, "at most" },
    };
    struct net_user_options o = { 0 };
    struct net_user_config c;
    char err[200];

    (void)state;
    assert_int_equal(net_user_parse(&o, &c, err, sizeof(err)), 0);
    check_addr(c.net, "10.0.2.0");
    check_addr(c.host, "10.0.2.2");
    check_addr(c.dns, "10.0.2.3");
    check_addr(c.dhcpstart, "10.0.2.15");
    assert_true(c.ipv6 && !c.restricted);
    o = (struct net_user_options){ .net = "192.168.7.99/27", .dhcpstart = "192.168.7.100" };
    assert_int_equal(net_user_parse(&o, &c, err, sizeof(err)), 0);
    check_addr(c.mask, "255.255.255.224");
    check_addr(c.host, "192.168.7.98");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (net_user_parse(&bad[i].o, &c, err, sizeof(err)) != -EINVAL || !strstr(err, bad[i].part))
            fail_msg("row %zu: '%s'", i, err);
}

/* Frames */

#define ETH        14u
#define MAX_FRAMES 4096u

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static void put_addr(uint8_t *p, const char *text)
{
    assert_int_equal(inet_pton(AF_INET, text, p), 1);
}

static void put_eth(uint8_t *f, unsigned type)
{
    memcpy(f, broadcast, 6);
    memcpy(f + 6, guest_mac, 6);
    put16(f + 12, type);
}

static size_t make_arp(uint8_t *f, unsigned op, const char *from, const char *to)
{
    memset(f, 0, 60);
    put_eth(f, 0x0806);
    put16(f + 14, 1);
    put16(f + 16, 0x0800);
    f[18] = 6;
    f[19] = 4;
    put16(f + 20, op);
    memcpy(f + 22, guest_mac, 6);
    put_addr(f + 28, from);
    put_addr(f + 38, to);
    return 60;
}

static uint16_t ip_checksum(const uint8_t *p, size_t n)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < n; i += 2)
        sum += get16(p + i);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static size_t make_ip(uint8_t *f, uint8_t proto, const char *from, const char *to, size_t payload)
{
    uint8_t *ip = f + ETH;

    memset(f, 0, ETH + 20);
    put_eth(f, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)(20 + payload));
    ip[8] = 64;
    ip[9] = proto;
    put_addr(ip + 12, from);
    put_addr(ip + 16, to);
    put16(ip + 10, ip_checksum(ip, 20));
    return ETH + 20 + payload;
}

static size_t make_udp(uint8_t *f, const char *from, unsigned sport, const char *to, unsigned dport,
                       const void *data, size_t n)
{
    uint8_t *udp = f + ETH + 20;
    size_t len = make_ip(f, 17, from, to, 8 + n);

    put16(udp, sport);
    put16(udp + 2, dport);
    put16(udp + 4, (unsigned)(8 + n));
    put16(udp + 6, 0);
    memcpy(udp + 8, data, n);
    return len;
}

static void test_frame_kinds(void **state)
{
    uint8_t f[128] = { 0 };
    size_t len;

    (void)state;
    len = make_arp(f, 1, "10.0.2.15", "10.0.2.2");
    assert_int_equal(net_frame_kind(f, len), NET_FRAME_PLAIN);
    assert_int_equal(net_frame_kind(f, 41), NET_FRAME_BAD);
    assert_int_equal(net_frame_kind(f, 13), NET_FRAME_BAD);
    assert_int_equal(net_frame_kind(f, 0), NET_FRAME_BAD);
    len = make_udp(f, "10.0.2.15", 1, "10.0.2.2", 2, "x", 1);
    assert_int_equal(net_frame_kind(f, len), NET_FRAME_FLOW);
    f[ETH + 6] = 0x20;
    assert_int_equal(net_frame_kind(f, len), NET_FRAME_FRAGMENT);
    memset(f, 0, sizeof(f));
    len = make_ip(f, 6, "10.0.2.15", "10.0.2.2", 20);
    assert_int_equal(net_frame_kind(f, len), NET_FRAME_PLAIN);
    f[ETH + 20 + 13] = 2;
    assert_int_equal(net_frame_kind(f, len), NET_FRAME_FLOW);
    assert_int_equal(net_frame_kind(f, len - 1), NET_FRAME_BAD);
    f[ETH] = 0x4f;
    assert_int_equal(net_frame_kind(f, len), NET_FRAME_BAD);
    f[ETH] = 0x60;
    put16(f + 12, 0x86dd);
    assert_int_equal(net_frame_kind(f, ETH + 39), NET_FRAME_BAD);
    assert_int_equal(net_frame_kind(f, ETH + 40), NET_FRAME_FLOW);
    put16(f + 12, 0x88f8);
    assert_int_equal(net_frame_kind(f, len), NET_FRAME_BAD);
}

/* Fragment [from, to) of a datagram whose payload is the numbers from 0 on. */
static size_t make_fragment(uint8_t *f, unsigned from, unsigned to, bool more)
{
    size_t len = make_ip(f, 17, "10.0.2.15", "10.0.2.2", to - from);

    put16(f + ETH + 6, from / 8 | (more ? 0x2000 : 0));
    put16(f + ETH + 10, 0);
    put16(f + ETH + 10, ip_checksum(f + ETH, 20));
    for (unsigned i = from; i < to; i++)
        f[ETH + 20 + i - from] = (uint8_t)i;
    return len;
}

struct part {
    unsigned from, to;
    bool more;
};

/* How long the frame is that comes of n fragments; 0: none. */
static size_t reassemble(struct net_reassembler *r, const struct part *parts, unsigned n,
                         uint64_t step_ms)
{
    const uint8_t *whole = NULL;
    uint8_t f[1600];
    size_t len = 0;

    for (unsigned i = 0; i < n; i++) {
        size_t part = make_fragment(f, parts[i].from, parts[i].to, parts[i].more);

        assert_null(whole);
        assert_int_equal(net_frame_kind(f, part), NET_FRAME_FRAGMENT);
        whole = net_reassemble(r, f, part, 1000 + i * step_ms, &len);
    }
    if (!whole)
        return 0;
    assert_int_equal(get16(whole + ETH + 2), len - ETH);
    assert_int_equal(get16(whole + ETH + 6), 0);
    assert_int_equal(ip_checksum(whole + ETH, 20), 0);
    for (unsigned i = 0; i < len - ETH - 20; i++)
        assert_int_equal(whole[ETH + 20 + i], i & 0xff);
    return len;
}

static void test_reassembly(void **state)
{
    static const struct {
        struct part parts[3];
        unsigned n, payload;
    } rows[] = {
        { { { 0, 1480, true }, { 1480, 2000, false } }, 2, 2000 },
        { { { 1480, 2001, false }, { 0, 1480, true } }, 2, 2001 },
        { { { 8, 16, true }, { 16, 17, false }, { 0, 8, true } }, 3, 17 },
        { { { 0, 16, true }, { 8, 24, false } }, 2, 0 },                   /* overlap */
        { { { 0, 8, true }, { 0, 8, true }, { 8, 16, false } }, 3, 0 },    /* twice */
        { { { 8, 16, false }, { 16, 24, true }, { 0, 8, true } }, 3, 0 },  /* after the end */
        { { { 8, 16, false }, { 24, 32, false }, { 0, 8, true } }, 3, 0 }, /* two ends */
        { { { 0, 9, true }, { 16, 24, false } }, 2, 0 },                   /* odd, and a gap */
        { { { 65512, 65516, false } }, 1, 0 },                             /* too long */
    };
    struct net_reassembler *r;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        size_t expected = rows[i].payload ? ETH + 20 + rows[i].payload : 0;

        r = net_reassembler_new();
        assert_int_equal(reassemble(r, rows[i].parts, rows[i].n, 1), expected);
        net_reassembler_free(r);
    }
    /* The first fragment has timed out when the second one comes. */
    r = net_reassembler_new();
    assert_int_equal(reassemble(r, rows[0].parts, 2, 40000), 0);
    net_reassembler_free(r);
}

/* A guest */

struct guest {
    struct net_backend *net;
    pthread_mutex_t lock;
    pthread_cond_t came;
    bool full;
    unsigned refused, n, taken;
    struct {
        size_t len;
        uint8_t data[600];
    } frames[MAX_FRAMES];
};

static bool guest_receive(void *opaque, const uint8_t *frame, size_t len)
{
    struct guest *g = opaque;
    bool take;

    pthread_mutex_lock(&g->lock);
    take = !g->full;
    if (!take)
        g->refused++;
    else if (g->n < MAX_FRAMES && len <= sizeof(g->frames[0].data)) {
        memcpy(g->frames[g->n].data, frame, len);
        g->frames[g->n++].len = len;
    }
    pthread_cond_signal(&g->came);
    pthread_mutex_unlock(&g->lock);
    return take;
}

static void guest_writable(void *opaque)
{
    (void)opaque;
}

static struct guest *guest_new(const struct net_user_options *o)
{
    struct guest *g = calloc(1, sizeof(*g));
    const struct net_handler handler = { .receive = guest_receive,
                                         .writable = guest_writable,
                                         .opaque = g };
    struct net_user_config c;
    char err[200];

    assert_non_null(g);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->came, NULL);
    assert_int_equal(net_user_parse(o, &c, err, sizeof(err)), 0);
    if (net_user_create(&g->net, &c, err, sizeof(err)) < 0)
        fail_msg("%s", err);
    net_set_handler(g->net, &handler);
    return g;
}

static void guest_free(struct guest *g)
{
    net_set_handler(g->net, NULL);
    net_destroy(g->net);
    pthread_cond_destroy(&g->came);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

/* In two pieces, as a card's buffers may be. */
static void guest_send(struct guest *g, uint8_t *f, size_t len)
{
    struct iovec iov[2] = { { f, len / 3 }, { f + len / 3, len - len / 3 } };

    assert_int_equal(net_send(g->net, iov, 2), 0);
}

/* The next frame that came, within ten seconds; NULL: none. */
static const uint8_t *guest_next(struct guest *g)
{
    struct timespec until;
    int rc = 0;
    bool any;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&g->lock);
    while (g->taken == g->n && rc == 0)
        rc = pthread_cond_timedwait(&g->came, &g->lock, &until);
    any = g->taken < g->n;
    pthread_mutex_unlock(&g->lock);
    return any ? g->frames[g->taken++].data : NULL;
}

/* The next that is not of IPv6, which advertises itself when it likes. */
static const uint8_t *guest_next_ipv4(struct guest *g)
{
    const uint8_t *f;

    while ((f = guest_next(g)) && get16(f + 12) == 0x86dd)
        ;
    assert_non_null(f);
    return f;
}

static void check_arp_reply(struct guest *g)
{
    uint8_t f[64], addr[4];
    const uint8_t *r;

    guest_send(g, f, make_arp(f, 1, "10.0.2.15", "10.0.2.2"));
    do
        r = guest_next_ipv4(g);
    while (get16(r + 12) != 0x0806 || get16(r + 20) != 2);
    put_addr(addr, "10.0.2.2");
    assert_memory_equal(r + 28, addr, 4);
}

static void test_arp(void **state)
{
    const struct net_user_options o = { 0 };
    struct guest *g = guest_new(&o);

    (void)state;
    check_arp_reply(g);
    assert_true(net_link(g->net));
    guest_free(g);
}

/* RFC 2131: an offer for a discovery, with the name of RFC 2132 3.14. */
static void test_dhcp(void **state)
{
    const struct net_user_options o = { .hostname = "debby" };
    uint8_t f[600], m[300] = { 1, 1, 6 }, addr[4];
    struct guest *g = guest_new(&o);
    const uint8_t *r;

    (void)state;
    memcpy(m + 28, guest_mac, 6);
    memcpy(m + 236, "\x63\x82\x53\x63\x35\x01\x01\xff", 8);
    guest_send(g, f, make_udp(f, "0.0.0.0", 68, "255.255.255.255", 67, m, sizeof(m)));
    r = guest_next_ipv4(g);
    assert_int_equal(r[ETH + 9], 17);
    assert_int_equal(get16(r + ETH + 20 + 2), 68);
    put_addr(addr, "10.0.2.15");
    assert_memory_equal(r + ETH + 28 + 16, addr, 4);
    assert_memory_equal(r + ETH + 28 + 240, "\x35\x01\x02", 3);
    assert_non_null(memmem(r + ETH + 28 + 240, 100,
                           "\x0c\x05"
                           "debby",
                           7));
    guest_free(g);
}

static void test_backpressure(void **state)
{
    const struct net_user_options o = { .no_ipv6 = true };
    struct guest *g = guest_new(&o);
    unsigned n = 0;
    uint8_t f[64];

    (void)state;
    g->full = true;
    for (unsigned i = 0; i < 5000; i++)
        guest_send(g, f, make_arp(f, 1, "10.0.2.15", i & 1 ? "10.0.2.2" : "10.0.2.3"));
    assert_int_equal(g->refused, 1);
    g->full = false;
    net_receive_ready(g->net);
    /* Every second answer is of the same address: order was kept. */
    while (n < 2048) {
        const uint8_t *r = guest_next(g);

        assert_non_null(r);
        assert_int_equal(r[31], n++ & 1 ? 2 : 3);
    }
    check_arp_reply(g);
    assert_int_equal(g->n, 2049);
    guest_free(g);
}

static int host_socket(int type, unsigned port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, type, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static unsigned port_of(int fd)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);

    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.sin_port);
}

static unsigned free_port(int type)
{
    int fd = host_socket(type, 0);
    unsigned port = port_of(fd);

    close(fd);
    return port;
}

/* The gateway is the host's loopback. */
static void test_udp_to_host(void **state)
{
    const struct net_user_options o = { 0 };
    struct guest *g = guest_new(&o);
    int fd = host_socket(SOCK_DGRAM, 0);
    struct timeval limit = { .tv_sec = 10 };
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    const uint8_t *r;
    uint8_t f[128];
    char text[8];

    (void)state;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    check_arp_reply(g);
    guest_send(g, f, make_udp(f, "10.0.2.15", 4000, "10.0.2.2", port_of(fd), "hello", 5));
    assert_int_equal(recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &len), 5);
    assert_memory_equal(text, "hello", 5);
    assert_int_equal(sendto(fd, "there", 5, 0, (struct sockaddr *)&from, len), 5);
    r = guest_next_ipv4(g);
    assert_int_equal(get16(r + ETH + 22), 4000);
    assert_memory_equal(r + ETH + 28, "there", 5);
    close(fd);
    guest_free(g);
}

/* A datagram of 3000 bytes in three fragments. */
static void test_fragments_to_host(void **state)
{
    const struct net_user_options o = { 0 };
    static const struct part parts[] = { { 0, 1480, true },
                                         { 1480, 2960, true },
                                         { 2960, 3008, false } };
    struct timeval limit = { .tv_sec = 10 };
    struct guest *g = guest_new(&o);
    int fd = host_socket(SOCK_DGRAM, 0);
    uint8_t f[1600], got[3100];

    (void)state;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        size_t len = make_fragment(f, parts[i].from, parts[i].to, parts[i].more);

        if (i == 0) {
            put16(f + ETH + 20, 4000);
            put16(f + ETH + 22, port_of(fd));
            put16(f + ETH + 24, 3008);
            put16(f + ETH + 26, 0);
        }
        guest_send(g, f, len);
    }
    assert_int_equal(recv(fd, got, sizeof(got), 0), 3000);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(got[i], (i + 8) & 0xff);
    close(fd);
    guest_free(g);
}

/* Wait for a packet of a protocol to the guest, answering ARP. */
static const uint8_t *wait_packet(struct guest *g, uint8_t proto)
{
    uint8_t f[64];

    for (;;) {
        const uint8_t *r = guest_next_ipv4(g);

        if (get16(r + 12) == 0x0806 && get16(r + 20) == 1)
            guest_send(g, f, make_arp(f, 2, "10.0.2.15", "10.0.2.2"));
        else if (get16(r + 12) == 0x0800 && r[ETH + 9] == proto)
            return r;
    }
}

static void test_hostfwd_to_guest(void **state)
{
    const unsigned tcp_port = free_port(SOCK_STREAM), udp_port = free_port(SOCK_DGRAM);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char rules[2][40];
    const char *const list[] = { rules[0], rules[1] };
    const struct net_user_options o = { .restricted = true, .hostfwd = list, .nhostfwd = 2 };
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), udp = host_socket(SOCK_DGRAM, 0);
    struct guest *g;
    const uint8_t *r;

    (void)state;
    snprintf(rules[0], sizeof(rules[0]), "tcp::%u-:22", tcp_port);
    snprintf(rules[1], sizeof(rules[1]), "udp::%u-:53", udp_port);
    g = guest_new(&o);
    a.sin_port = htons((uint16_t)udp_port);
    assert_int_equal(sendto(udp, "query", 5, 0, (struct sockaddr *)&a, sizeof(a)), 5);
    r = wait_packet(g, 17);
    assert_int_equal(get16(r + ETH + 22), 53);
    assert_memory_equal(r + ETH + 28, "query", 5);
    a.sin_port = htons((uint16_t)tcp_port);
    assert_true(connect(tcp, (struct sockaddr *)&a, sizeof(a)) == 0 || errno == EINPROGRESS);
    r = wait_packet(g, 6);
    assert_int_equal(get16(r + ETH + 22), 22);
    assert_int_equal(r[ETH + 20 + 13] & 0x12, 2);
    close(tcp);
    close(udp);
    guest_free(g);
}

static void check_refused(const char *rule, const char *part)
{
    const char *const list[] = { rule };
    const struct net_user_options o = { .hostfwd = list, .nhostfwd = 1 };
    struct net_user_config c;
    struct net_backend *net;
    char err[200];

    assert_int_equal(net_user_parse(&o, &c, err, sizeof(err)), 0);
    assert_true(net_user_create(&net, &c, err, sizeof(err)) < 0);
    if (!strstr(err, part))
        fail_msg("'%s' has no '%s'", err, part);
}

static void test_ports_in_use(void **state)
{
    static const int types[] = { SOCK_STREAM, SOCK_DGRAM };
    char rule[40];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        int fd = host_socket(types[i], 0);

        if (types[i] == SOCK_STREAM)
            assert_int_equal(listen(fd, 1), 0);
        snprintf(rule, sizeof(rule), "%s::%u-:1", i ? "udp" : "tcp", port_of(fd));
        check_refused(rule, "already in use");
        close(fd);
    }
    check_refused("tcp:192.0.2.1:2222-:1", "does not have the address");
}

static void test_hostile_frames(void **state)
{
    /* Restricted: whatever these say, nothing leaves this host. */
    const struct net_user_options o = { .restricted = true };
    static const unsigned types[] = { 0x0800, 0x86dd, 0x0806, 0x88f8, 0x8100 };
    struct guest *g = guest_new(&o);
    uint8_t *f = calloc(1, NET_FRAME_MAX + 1);

    (void)state;
    assert_non_null(f);
    srandom(1);
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = (size_t)random() % (i % 7 ? 120 : 1600);

        for (size_t k = 0; k < len; k++)
            f[k] = (uint8_t)random();
        put16(f + 12, types[i % ARRAY_SIZE(types)]);
        f[ETH] = (uint8_t)(i & 1 ? 0x45 : 0x60);
        if (i % 3 == 0 && len >= ETH + 20) {
            put16(f + ETH + 2, (unsigned)(len - ETH));
            put16(f + ETH + 10, 0);
            put16(f + ETH + 10, ip_checksum(f + ETH, 20));
        }
        guest_send(g, f, len);
    }
    guest_send(g, f, NET_FRAME_MAX);
    pthread_mutex_lock(&g->lock);
    g->n = g->taken = 0;
    pthread_mutex_unlock(&g->lock);
    check_arp_reply(g);
    free(f);
    guest_free(g);
}

/* A guest that opens flow after flow leaves descriptors to others. */
static void test_descriptors(void **state)
{
    const struct net_user_options o = { 0 };
    struct rlimit old, few = { 200, 200 };
    struct guest *g = guest_new(&o);
    uint8_t f[128];
    int fds[40];

    (void)state;
    getrlimit(RLIMIT_NOFILE, &old);
    few.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_NOFILE, &few);
    guest_free(g);
    g = guest_new(&o);
    check_arp_reply(g);
    for (unsigned i = 0; i < 1000; i++)
        guest_send(g, f, make_udp(f, "10.0.2.15", 1000 + i, "10.0.2.2", 9, "x", 1));
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = dup(0);
        assert_true(fds[i] >= 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);
    guest_free(g);
    setrlimit(RLIMIT_NOFILE, &old);
}

static void test_none(void **state)
{
    struct net_backend *net;
    struct iovec iov = { "x", 1 };

    (void)state;
    assert_int_equal(net_none_create(&net), 0);
    assert_false(net_link(net));
    assert_int_equal(net_send(net, &iov, 1), 0);
    net_receive_ready(net);
    net_set_handler(net, NULL);
    net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostfwd),
        cmocka_unit_test(test_publish),
        cmocka_unit_test(test_mac),
        cmocka_unit_test(test_user_options),
        cmocka_unit_test(test_frame_kinds),
        cmocka_unit_test(test_reassembly),
        cmocka_unit_test(test_arp),
        cmocka_unit_test(test_dhcp),
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_udp_to_host),
        cmocka_unit_test(test_fragments_to_host),
        cmocka_unit_test(test_hostfwd_to_guest),
        cmocka_unit_test(test_ports_in_use),
        cmocka_unit_test(test_hostile_frames),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_none),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
