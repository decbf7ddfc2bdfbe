/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A chardev backend that keeps what it gets and takes as much as told. */
#ifndef TESTS_UNIT_FAKE_CHARDEV_H
#define TESTS_UNIT_FAKE_CHARDEV_H

#include <string.h>

#include "base/util.h"
#include "chardev/backend.h"

struct fake_chardev {
    struct chardev cd;
    uint8_t out[65536];
    size_t n, room;
};

static size_t fake_write(struct chardev *cd, const void *data, size_t n)
{
    struct fake_chardev *f = container_of(cd, struct fake_chardev, cd);

    n = MIN(n, f->room);
    n = MIN(n, sizeof(f->out) - f->n);
    memcpy(f->out + f->n, data, n);
    f->n += n;
    f->room -= n;
    return n;
}

static const struct chardev_ops fake_ops = { .write = fake_write };

static inline void fake_init(struct fake_chardev *f)
{
    memset(f, 0, sizeof(*f));
    f->cd.ops = &fake_ops;
    f->room = sizeof(f->out);
}

/* Input as a backend gives it: only what the guest takes.  Returns how much. */
static inline size_t fake_input(struct fake_chardev *f, const char *s)
{
    const struct chardev_handler *h = &f->cd.handler;
    size_t n = MIN(strlen(s), h->can_receive(h->opaque));

    if (n)
        h->receive(h->opaque, (const uint8_t *)s, n);
    return n;
}

static inline void fake_writable(struct fake_chardev *f, size_t room)
{
    f->room = room;
    f->cd.handler.writable(f->cd.handler.opaque);
}

#endif
