/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chardev/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

int ring_init(struct ring *r, size_t size)
{
    *r = (struct ring){ .data = malloc(size), .size = size };
    return r->data ? 0 : -ENOMEM;
}

void ring_free(struct ring *r)
{
    free(r->data);
    *r = (struct ring){ 0 };
}

size_t ring_put(struct ring *r, const void *data, size_t n)
{
    size_t at = r->end & (r->size - 1), first;

    n = MIN(n, ring_room(r));
    first = MIN(n, r->size - at);
    memcpy(r->data + at, data, first);
    memcpy(r->data, (const uint8_t *)data + first, n - first);
    r->end += n;
    return n;
}

void ring_push(struct ring *r, const void *data, size_t n)
{
    const uint8_t *p = data;

    if (n > r->size) {
        /* The part that would be overwritten still counts. */
        r->end += n - r->size;
        r->start = r->end;
        p += n - r->size;
        n = r->size;
    }
    if (ring_room(r) < n)
        ring_drop(r, n - ring_room(r));
    ring_put(r, p, n);
}

size_t ring_peek(const struct ring *r, uint64_t pos, const uint8_t **data)
{
    size_t at = pos & (r->size - 1);

    *data = r->data + at;
    return MIN((size_t)(r->end - pos), r->size - at);
}

void ring_drop(struct ring *r, size_t n)
{
    r->start += MIN(n, ring_used(r));
}
