/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A recording's bytes: a stream of chunks, each with its number, length and
 * CRC-32C.  It is written and read from front to end, so a pipe will do.
 *
 * What is read is hostile: lengths are bounded, and the first error stays, as
 * one line; after it everything reads as 0.
 */
#ifndef DEBUG_STREAM_H
#define DEBUG_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_CHUNK (256u * 1024)

struct stream {
    int fd;
    bool writing;
    uint32_t number;        /* of the next chunk */
    size_t used, size;      /* of data: position; reading: bytes there are */
    uint64_t total;         /* bytes of all chunks before */
    char error[200];        /* "": none */
    uint8_t data[STREAM_CHUNK];
};

/* Returns 0 or a negative errno, with a message in err. */
int stream_create(struct stream **s, const char *path, char *err, size_t err_size);
int stream_open(struct stream **s, const char *path, char *err, size_t err_size);
/* Writing: what is there goes out first.  Returns 0 or -EIO, the reason in error
 * (s is freed by stream_free). */
int stream_flush(struct stream *s);
void stream_free(struct stream *s);
__attribute__((format(printf, 2, 3))) void stream_fail(struct stream *s, const char *fmt, ...);

void stream_put(struct stream *s, const void *data, size_t n);
void stream_get(struct stream *s, void *data, size_t n);
/* The next byte, which stays; -1: none, see error. */
int stream_peek(struct stream *s);
/* Unsigned numbers, 7 bits a byte, low ones first. */
void stream_put_number(struct stream *s, uint64_t v);
uint64_t stream_get_number(struct stream *s);
/* The same into and out of memory; buf has 10 bytes. Returns the length. */
unsigned number_encode(uint8_t *buf, uint64_t v);

/* n bytes in one piece to write to, or NULL: too near the chunk's end. */
static inline uint8_t *stream_room(struct stream *s, size_t n)
{
    return s->used + n <= STREAM_CHUNK ? s->data + s->used : NULL;
}
/* n bytes that can be read in one piece, or NULL. */
static inline const uint8_t *stream_ahead(const struct stream *s, size_t n)
{
    return s->used + n <= s->size ? s->data + s->used : NULL;
}

#endif
