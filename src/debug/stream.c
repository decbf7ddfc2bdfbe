/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "debug/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/util.h"

#define CHUNK_MAGIC 0x70744b42u     /* "BKtp" */

struct chunk_header {
    uint32_t magic, number, length, crc;
};

void stream_fail(struct stream *s, const char *fmt, ...)
{
    va_list ap;

    if (s->error[0])
        return;
    va_start(ap, fmt);
    vsnprintf(s->error, sizeof(s->error), fmt, ap);
    va_end(ap);
}

static int make(struct stream **out, const char *path, int flags, char *err, size_t err_size)
{
    struct stream *s = calloc(1, sizeof(*s));
    int rc = -ENOMEM;

    if (s) {
        s->writing = (flags & O_ACCMODE) == O_WRONLY;
        s->fd = open(path, flags | O_CLOEXEC, 0600);
        rc = s->fd < 0 ? -errno : 0;
    }
    if (rc < 0) {
        snprintf(err, err_size, "cannot open the recording '%s': %s", path, strerror(-rc));
        free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int stream_create(struct stream **s, const char *path, char *err, size_t err_size)
{
    return make(s, path, O_WRONLY | O_CREAT | O_TRUNC, err, err_size);
}

int stream_open(struct stream **s, const char *path, char *err, size_t err_size)
{
    return make(s, path, O_RDONLY, err, err_size);
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    close(s->fd);
    free(s);
}

/* ---- writing ----------------------------------------------------------------- */

static void write_all(struct stream *s, const void *data, size_t n)
{
    const uint8_t *p = data;

    while (n && !s->error[0]) {
        ssize_t done = write(s->fd, p, n);

        if (done < 0 && errno != EINTR)
            stream_fail(s, "cannot write the recording: %s", strerror(errno));
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
}

int stream_flush(struct stream *s)
{
    const struct chunk_header h = { .magic = CHUNK_MAGIC, .number = s->number,
                                    .length = (uint32_t)s->used,
                                    .crc = crc32c(s->number, s->data, s->used) };

    if (s->used) {
        write_all(s, &h, sizeof(h));
        write_all(s, s->data, s->used);
        s->number++;
        s->total += s->used;
        s->used = 0;
    }
    return s->error[0] ? -EIO : 0;
}

void stream_put(struct stream *s, const void *data, size_t n)
{
    const uint8_t *p = data;

    while (n) {
        size_t part = MIN(n, STREAM_CHUNK - s->used);

        memcpy(s->data + s->used, p, part);
        s->used += part;
        p += part;
        n -= part;
        if (s->used == STREAM_CHUNK)
            stream_flush(s);
    }
}

unsigned number_encode(uint8_t *buf, uint64_t v)
{
    unsigned n = 0;

    for (; v >= 0x80; v >>= 7)
        buf[n++] = (uint8_t)(v | 0x80);
    buf[n++] = (uint8_t)v;
    return n;
}

void stream_put_number(struct stream *s, uint64_t v)
{
    uint8_t buf[10] = { 0 };
    unsigned n = number_encode(buf, v);

    stream_put(s, buf, n);
}

/* ---- reading ------------------------------------------------------------------ */

static bool read_all(struct stream *s, void *data, size_t n)
{
    uint8_t *p = data;

    while (n) {
        ssize_t done = read(s->fd, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            if (done < 0)
                stream_fail(s, "cannot read the recording: %s", strerror(errno));
            else
                stream_fail(s, "the recording ends too early, after %llu bytes",
                            (unsigned long long)s->total);
            return false;
        }
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static bool next_chunk(struct stream *s)
{
    struct chunk_header h;

    if (s->error[0])
        return false;
    s->total += s->size;
    s->size = s->used = 0;
    if (!read_all(s, &h, sizeof(h)))
        return false;
    if (h.magic != CHUNK_MAGIC || h.number != s->number || !h.length || h.length > STREAM_CHUNK) {
        stream_fail(s, s->number ? "the recording is damaged in chunk %u" :
                                   "it is not a recording of bulkhead", s->number);
        return false;
    }
    if (!read_all(s, s->data, h.length))
        return false;
    if (crc32c(h.number, s->data, h.length) != h.crc) {
        stream_fail(s, "the recording is damaged in chunk %u", s->number);
        return false;
    }
    s->number++;
    s->size = h.length;
    return true;
}

void stream_get(struct stream *s, void *data, size_t n)
{
    uint8_t *p = data;

    while (n) {
        size_t part = MIN(n, s->size - s->used);

        memcpy(p, s->data + s->used, part);
        s->used += part;
        p += part;
        n -= part;
        if (n && !next_chunk(s)) {
            memset(p, 0, n);
            return;
        }
    }
}

int stream_peek(struct stream *s)
{
    if (s->used == s->size && !next_chunk(s))
        return -1;
    return s->data[s->used];
}

uint64_t stream_get_number(struct stream *s)
{
    uint64_t v = 0;
    uint8_t b = 0x80;

    for (unsigned shift = 0; shift < 64 && b & 0x80; shift += 7) {
        stream_get(s, &b, 1);
        v |= (uint64_t)(b & 0x7f) << shift;
    }
    if (b & 0x80)
        stream_fail(s, "the recording is damaged in chunk %u", s->number - 1);
    return v;
}
