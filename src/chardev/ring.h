/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A ring of the last bytes of a stream.  Positions count from the stream's
 * start and never wrap, so that several readers can each keep their own.
 * No locking.
 */
#ifndef CHARDEV_RING_H
#define CHARDEV_RING_H

#include <stddef.h>
#include <stdint.h>

struct ring {
    uint8_t *data;
    size_t size;            /* a power of two */
    uint64_t start, end;    /* positions of the oldest byte kept and past the newest */
};

/* Returns 0 or -ENOMEM. */
int ring_init(struct ring *r, size_t size);
void ring_free(struct ring *r);

static inline size_t ring_used(const struct ring *r)
{
    return (size_t)(r->end - r->start);
}

static inline size_t ring_room(const struct ring *r)
{
    return r->size - ring_used(r);
}

/* Append as much as there is room for; returns how much. */
size_t ring_put(struct ring *r, const void *data, size_t n);
/* Append all of it; the oldest bytes go. */
void ring_push(struct ring *r, const void *data, size_t n);
/* The longest run of bytes in one piece from position pos; 0 bytes at the
 * end.  pos is between start and end. */
size_t ring_peek(const struct ring *r, uint64_t pos, const uint8_t **data);
/* Forget the oldest n bytes. */
void ring_drop(struct ring *r, size_t n);

#endif
