/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One system call at a time for each request, asynchronously: by io_uring or
 * by threads.  For the files of this folder.
 */
#ifndef BLOCK_AIO_H
#define BLOCK_AIO_H

#include "block/block.h"

enum { AIO_READ, AIO_WRITE, AIO_SYNC, AIO_FALLOCATE };

struct aio;

/* The engine uses of a request: step (one of AIO_*), fd, iov and niov, offset
 * + pos, part (AIO_FALLOCATE: its length), mode, next; it sets result. */
struct aio_ops {
    const char *name;
    void (*submit)(struct aio *a, struct block_request *req);
    void (*kick)(struct aio *a);
    /* Calls finished() for each step that has ended; waits for one if wait. */
    void (*poll)(struct aio *a, bool wait);
    void (*destroy)(struct aio *a);
};

struct aio {
    const struct aio_ops *ops;
    int fd; /* readable when poll has work */
    /* result: bytes, or a negative errno.  May submit. */
    void (*finished)(struct block_request *req);
};

/* Return 0 or a negative errno. */
int aio_uring_create(struct aio **a, void (*finished)(struct block_request *req));
int aio_threads_create(struct aio **a, void (*finished)(struct block_request *req));

/* Locks an open image against others, in the way of QEMU.  Returns 0, -EAGAIN
 * if somebody else uses it, or another negative errno if the file system has
 * no locks. */
int block_lock(int fd, bool readonly);

#endif
