/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virtio/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/util.h"
#include "virtio.h"

/* A disk in memory, which checks what it is asked, and fails at times. */
static uint8_t disk[64 * KiB];
static struct block_request *waiting;
static uint8_t failing;

static void fake_submit(struct block_backend *b, struct block_request *req)
{
    if (req->op != BLOCK_FLUSH && (req->offset % BLOCK_SECTOR || req->len % BLOCK_SECTOR ||
                                   req->offset > b->size || req->len > b->size - req->offset))
        abort();
    req->next = waiting;
    waiting = req;
}

static void perform(struct block_request *req)
{
    uint8_t *p = disk + req->offset, *end = p + req->len;

    if (req->op == BLOCK_WRITE_ZEROES)
        memset(p, 0, req->len);
    if (req->op != BLOCK_READ && req->op != BLOCK_WRITE)
        return;
    for (unsigned i = 0; i < req->niov; i++) {
        const struct iovec *iov = &req->iov[i];

        if (iov->iov_len > (size_t)(end - p))
            abort();
        if (req->op == BLOCK_READ)
            memcpy(iov->iov_base, p, iov->iov_len);
        else
            memcpy(p, iov->iov_base, iov->iov_len);
        p += iov->iov_len;
    }
    if (p != end)
        abort();
}

static void fake_poll(struct block_backend *b, bool wait)
{
    (void)wait;
    while (waiting) {
        struct block_request *req = waiting;
        const bool fails = failing >> (req->op & 7) & 1;

        waiting = req->next;
        if (!fails)
            perform(req);
        b->in_flight--;
        req->done(req, fails ? -EIO : 0);
    }
}

static void fake_kick(struct block_backend *b)
{
    (void)b;
}

static const struct block_ops ops = { .submit = fake_submit, .kick = fake_kick, .poll = fake_poll };
static struct block_backend backend = { .ops = &ops, .size = sizeof(disk), .discard = true };

struct virtio_device *fuzz_make(struct bus *bus)
{
    const struct virtio_blk_config config = { .disk = &backend, .serial = "FUZZ", .queues = 2 };
    struct virtio_device *v;

    backend.fd = eventfd(0, EFD_CLOEXEC);
    if (virtio_blk_create(bus, &config, &v) < 0)
        abort();
    return v;
}

void fuzz_host_event(const uint8_t *data, size_t n)
{
    failing = n ? data[0] : 0;
}

void fuzz_reset(void)
{
    failing = 0;
}
