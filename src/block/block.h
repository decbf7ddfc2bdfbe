/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks of the host: what a guest's disk is stored in.  A backend never knows
 * which device uses it.
 *
 * Requests are asynchronous.  A backend and its requests belong to one thread
 * at a time (its user holds a lock): it submits, it polls, and callbacks run
 * inside block_poll or block_drain on that thread, never inside a submission.
 *
 * A host's error is given to the request and logged, with at most one line a
 * second for each disk.  SIGXFSZ is ignored from the first block_open on: a
 * file-size limit is an error like a full disk.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define BLOCK_SECTOR 512u

enum block_aio {
    BLOCK_AIO_AUTO, /* io_uring, or threads where it is blocked */
    BLOCK_AIO_URING,
    BLOCK_AIO_THREADS
};

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

/* Embedded in the user's request.  All members up to opaque are set by the
 * user and stay as they are until done() but for the iovec, which the backend
 * may change.  Offsets and lengths are bytes, multiples of BLOCK_SECTOR, and
 * within the disk. */
struct block_request {
    enum block_op op;
    bool unmap;           /* BLOCK_WRITE_ZEROES: may free the space */
    uint64_t offset, len; /* not of BLOCK_FLUSH; len is that of iov */
    struct iovec *iov;    /* BLOCK_READ and BLOCK_WRITE; its memory is the user's */
    unsigned niov;        /* at most BLOCK_MAX_IOV */
    /* 0 or a negative errno.  May submit again, also this request. */
    void (*done)(struct block_request *req, int rc);
    void *opaque;
    /* The backend's: */
    struct block_request *next;
    struct block_backend *backend;
    uint64_t pos, part; /* bytes done, bytes of the step under way */
    struct iovec zero_iov[16];
    int mode, fd, result;
    unsigned step;
};
#define BLOCK_MAX_IOV 1024u

struct block_backend;

struct block_ops {
    void (*submit)(struct block_backend *b, struct block_request *req);
    void (*kick)(struct block_backend *b);
    void (*poll)(struct block_backend *b, bool wait);
    void (*destroy)(struct block_backend *b);
};

/* Each backend's struct starts with this. */
struct block_backend {
    const struct block_ops *ops;
    uint64_t size; /* bytes, a multiple of BLOCK_SECTOR */
    bool readonly;
    bool discard; /* BLOCK_DISCARD frees space, as far as known */
    int fd;       /* readable (EPOLLIN) when block_poll has work */
    unsigned in_flight;
};

struct block_config {
    const char *path;
    bool readonly;
    bool idle;      /* nobody will use it: it is not locked, and not writable */
    enum block_aio aio;
};

/* Opens and locks a raw image or a block device.  Returns 0, or a negative
 * errno with one line in err that says what to do. */
int block_open(struct block_backend **b, const struct block_config *config, char *err,
               size_t err_size);
/* Finishes what is in flight, closes and unlocks.  b may be NULL. */
void block_close(struct block_backend *b);

/* A flush covers all writes whose done() was called before it was submitted. */
void block_submit(struct block_backend *b, struct block_request *req);
/* After one or more submissions: they may have waited for it. */
void block_kick(struct block_backend *b);
/* Calls done() of what has finished. */
void block_poll(struct block_backend *b);
/* Waits until nothing is in flight, calling done(). */
void block_drain(struct block_backend *b);

/* Words for people: "auto", "io_uring", "threads".  -EINVAL: none of them. */
int block_parse_aio(const char *word, enum block_aio *aio);

#endif
