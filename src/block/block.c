/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/block.h"

#include <errno.h>
#include <string.h>

void block_submit(struct block_backend *b, struct block_request *req)
{
    req->backend = b;
    req->pos = req->part = 0;
    b->in_flight++;
    b->ops->submit(b, req);
}

void block_kick(struct block_backend *b)
{
    b->ops->kick(b);
}

void block_poll(struct block_backend *b)
{
    b->ops->poll(b, false);
}

void block_drain(struct block_backend *b)
{
    while (b->in_flight)
        b->ops->poll(b, true);
}

void block_close(struct block_backend *b)
{
    if (!b)
        return;
    block_drain(b);
    b->ops->destroy(b);
}

int block_parse_aio(const char *word, enum block_aio *aio)
{
    static const char *const words[] = {
        [BLOCK_AIO_AUTO] = "auto",
        [BLOCK_AIO_URING] = "io_uring",
        [BLOCK_AIO_THREADS] = "threads",
    };

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(word, words[i]) == 0) {
            *aio = (enum block_aio)i;
            return 0;
        }
    }
    return -EINVAL;
}
