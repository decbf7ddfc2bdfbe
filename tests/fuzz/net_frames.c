/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile guest on the user network, restricted so that nothing leaves this
 * process.  Each frame of the input has two bytes in front: its length, and in
 * the top bits how much of it the fuzzer need not find out: bit 15, the
 * checksum of an IPv4 header is made good; bit 14, the guest takes no frames.
 */
#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "net/user.h"

#define LENGTH   0x3fffu
#define FULL     0x4000u
#define CHECKSUM 0x8000u
#define ETH      14u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static atomic_bool full;

static bool receive(void *opaque, const uint8_t *frame, size_t len)
{
    volatile uint8_t sum = 0;

    (void)opaque;
    for (size_t i = 0; i < len; i++)
        sum ^= frame[i];
    (void)sum;
    return !atomic_load(&full);
}

static void writable(void *opaque)
{
    (void)opaque;
}

static struct net_backend *backend(void)
{
    static const struct net_handler handler = { .receive = receive, .writable = writable };
    static struct net_backend *net;
    struct net_user_options o = { .restricted = true };
    struct net_user_config c;
    char err[240];

    if (!net) {
        signal(SIGPIPE, SIG_IGN);
        if (net_user_parse(&o, &c, err, sizeof(err)) < 0 ||
            net_user_create(&net, &c, err, sizeof(err)) < 0)
            abort();
    }
    /* Also drops what still waits from the input before. */
    net_set_handler(net, &handler);
    return net;
}

static void mend_checksum(uint8_t *ip, size_t len)
{
    size_t header = (ip[0] & 15u) * 4;
    uint32_t sum = 0;

    if (header < 20 || header > len)
        return;
    ip[10] = ip[11] = 0;
    for (size_t i = 0; i < header; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    ip[10] = (uint8_t)(~sum >> 8);
    ip[11] = (uint8_t)~sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct net_backend *net = backend();
    uint8_t frame[2048];

    while (n >= 2) {
        unsigned word = (unsigned)data[0] << 8 | data[1];
        size_t len = word & LENGTH;
        struct iovec iov[2];

        data += 2;
        n -= 2;
        if (len > n)
            len = n;
        if (len > sizeof(frame))
            len = sizeof(frame);
        memcpy(frame, data, len);
        data += len;
        n -= len;
        if ((word & CHECKSUM) && len >= ETH + 20)
            mend_checksum(frame + ETH, len - ETH);
        atomic_store(&full, word & FULL);
        if (!(word & FULL))
            net_receive_ready(net);
        iov[0] = (struct iovec){ frame, len / 2 };
        iov[1] = (struct iovec){ frame + len / 2, len - len / 2 };
        assert(net_send(net, iov, 2) == 0);
    }
    return 0;
}
