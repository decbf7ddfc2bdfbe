/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "net/reassemble.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define SLOTS        8u /* datagrams at once; the oldest gives way */
#define LIFETIME_MS  30000u
#define ETH_HEADER   14u
#define IP_MAX       65535u
#define HEADERS_MAX  (ETH_HEADER + 60u)
#define UNIT         8u /* offsets count these */
#define MORE         0x2000u
#define OFFSET_UNITS 0x1fffu
#define UNKNOWN      (IP_MAX + 1)

/* Source, destination, identification and protocol tell datagrams apart. */
struct key {
    uint8_t bytes[11];
};

struct slot {
    bool used;
    struct key key;
    uint64_t begun;   /* ms */
    unsigned end;     /* length of the payload, or UNKNOWN */
    unsigned got;     /* bytes that are there */
    unsigned reach;   /* end of the farthest fragment */
    unsigned headers; /* length of those of the first fragment; 0: not there */
    uint8_t header[HEADERS_MAX];
    uint8_t seen[(IP_MAX / UNIT + 1 + 7) / 8]; /* a bit for each unit */
    uint8_t frame[HEADERS_MAX + IP_MAX + 1];   /* the payload from HEADERS_MAX on */
};

struct net_reassembler {
    struct slot slots[SLOTS];
};

struct fragment {
    struct key key;
    const uint8_t *frame, *payload;
    unsigned headers, offset, len;
    bool more;
};

struct net_reassembler *net_reassembler_new(void)
{
    return calloc(1, sizeof(struct net_reassembler));
}

void net_reassembler_free(struct net_reassembler *r)
{
    free(r);
}

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* RFC 1071; 0 over a good header. */
static unsigned checksum(const uint8_t *p, unsigned n)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < n; i += 2)
        sum += get16(p + i);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

static bool parse(const uint8_t *frame, size_t len, struct fragment *f)
{
    const uint8_t *ip = frame + ETH_HEADER;
    unsigned header, total;

    if (len < ETH_HEADER + 20)
        return false;
    header = (ip[0] & 15u) * 4;
    total = get16(ip + 2);
    if (header < 20 || total <= header || total > len - ETH_HEADER || checksum(ip, header))
        return false;
    memcpy(f->key.bytes, ip + 12, 8);
    memcpy(f->key.bytes + 8, ip + 4, 2);
    f->key.bytes[10] = ip[9];
    f->frame = frame;
    f->payload = ip + header;
    f->headers = ETH_HEADER + header;
    f->offset = (get16(ip + 6) & OFFSET_UNITS) * UNIT;
    f->len = total - header;
    f->more = get16(ip + 6) & MORE;
    /* Only the last one has an odd end; the whole must fit in a length field. */
    return (!f->more || f->len % UNIT == 0) && header + f->offset + f->len <= IP_MAX;
}

static struct slot *find_slot(struct net_reassembler *r, const struct fragment *f, uint64_t now)
{
    struct slot *oldest = &r->slots[0];

    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *s = &r->slots[i];

        if (s->used && now - s->begun > LIFETIME_MS)
            s->used = false;
        if (s->used && memcmp(&s->key, &f->key, sizeof(s->key)) == 0)
            return s;
        if (oldest->used && (!s->used || s->begun < oldest->begun))
            oldest = s;
    }
    oldest->used = true;
    oldest->key = f->key;
    oldest->begun = now;
    oldest->end = UNKNOWN;
    oldest->got = oldest->reach = oldest->headers = 0;
    memset(oldest->seen, 0, sizeof(oldest->seen));
    return oldest;
}

/* Marks the units of [offset, offset + len); false if one was there. */
static bool mark(struct slot *s, unsigned offset, unsigned len)
{
    for (unsigned u = offset / UNIT; u * UNIT < offset + len; u++) {
        if (s->seen[u / 8] & BIT(u % 8))
            return false;
        s->seen[u / 8] |= (uint8_t)BIT(u % 8);
    }
    return true;
}

/* False: what there is contradicts itself. */
static bool add(struct slot *s, const struct fragment *f)
{
    if (!f->more) {
        if (s->end != UNKNOWN)
            return false;
        s->end = f->offset + f->len;
    }
    s->reach = MAX(s->reach, f->offset + f->len);
    if (s->reach > s->end || !mark(s, f->offset, f->len))
        return false;
    memcpy(s->frame + HEADERS_MAX + f->offset, f->payload, f->len);
    s->got += f->len;
    if (f->offset == 0) {
        memcpy(s->header, f->frame, f->headers);
        s->headers = f->headers;
    }
    return true;
}

/* The header of the whole, in front of its payload. */
static const uint8_t *finish(struct slot *s, size_t *len)
{
    uint8_t *frame = s->frame + HEADERS_MAX - s->headers, *ip = frame + ETH_HEADER;
    const unsigned header = s->headers - ETH_HEADER;

    s->used = false;
    if (header + s->end > IP_MAX)
        return NULL;
    memcpy(frame, s->header, s->headers);
    put16(ip + 2, header + s->end);
    put16(ip + 6, 0);
    put16(ip + 10, 0);
    put16(ip + 10, checksum(ip, header));
    *len = s->headers + s->end;
    return frame;
}

const uint8_t *net_reassemble(struct net_reassembler *r, const uint8_t *frame, size_t len,
                              uint64_t now_ms, size_t *whole_len)
{
    struct fragment f;
    struct slot *s;

    if (!parse(frame, len, &f))
        return NULL;
    s = find_slot(r, &f, now_ms);
    if (!add(s, &f)) {
        s->used = false;
        return NULL;
    }
    return s->got == s->end && s->headers ? finish(s, whole_len) : NULL;
}
