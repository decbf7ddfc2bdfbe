/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Steps by io_uring.  No more are in flight than the ring has entries, so that
 * completions always have room; what is beyond waits here, and a completion
 * brings it on.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "block/aio.h"

#define ENTRIES 128u

struct uring {
    struct aio aio;
    struct io_uring ring;
    unsigned in_flight; /* prepared or submitted */
    struct block_request *waiting, **waiting_end;
    bool complained;
};

static void prepare(struct uring *u, struct io_uring_sqe *sqe, struct block_request *req)
{
    const uint64_t at = req->offset + req->pos;

    switch (req->step) {
    case AIO_READ: io_uring_prep_readv(sqe, req->fd, req->iov, req->niov, at); break;
    case AIO_WRITE: io_uring_prep_writev(sqe, req->fd, req->iov, req->niov, at); break;
    case AIO_SYNC: io_uring_prep_fsync(sqe, req->fd, IORING_FSYNC_DATASYNC); break;
    default: io_uring_prep_fallocate(sqe, req->fd, req->mode, (off_t)at, (off_t)req->part); break;
    }
    io_uring_sqe_set_data(sqe, req);
    u->in_flight++;
}

/* Hands over what is prepared.  EAGAIN is the kernel's want of memory: no
 * request may be lost for that, so try again in a moment. */
static void hand_over(struct uring *u)
{
    while (io_uring_sq_ready(&u->ring)) {
        int rc = io_uring_submit(&u->ring);

        if (rc >= 0 || rc == -EINTR)
            continue;
        if (!u->complained)
            log_error(LOG_DEV, "io_uring: cannot submit: %s; trying again", strerror(-rc));
        u->complained = true;
        usleep(1000);
    }
}

static void submit(struct aio *a, struct block_request *req)
{
    struct uring *u = container_of(a, struct uring, aio);
    struct io_uring_sqe *sqe = NULL;

    if (u->in_flight < ENTRIES && !u->waiting)
        sqe = io_uring_get_sqe(&u->ring);
    if (sqe) {
        prepare(u, sqe, req);
        return;
    }
    req->next = NULL;
    *u->waiting_end = req;
    u->waiting_end = &req->next;
}

static void submit_waiting(struct uring *u)
{
    while (u->waiting && u->in_flight < ENTRIES) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
        struct block_request *req = u->waiting;

        if (!sqe)
            break;
        u->waiting = req->next;
        if (!u->waiting)
            u->waiting_end = &u->waiting;
        prepare(u, sqe, req);
    }
}

static void kick(struct aio *a)
{
    struct uring *u = container_of(a, struct uring, aio);

    submit_waiting(u);
    hand_over(u);
}

static void poll(struct aio *a, bool wait)
{
    struct uring *u = container_of(a, struct uring, aio);
    struct io_uring_cqe *cqe;

    kick(a);
    if (wait && u->in_flight)
        while (io_uring_wait_cqe(&u->ring, &cqe) == -EINTR)
            ;
    while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
        struct block_request *req = io_uring_cqe_get_data(cqe);

        req->result = cqe->res;
        io_uring_cqe_seen(&u->ring, cqe);
        u->in_flight--;
        a->finished(req);
    }
    kick(a);
}

static void destroy(struct aio *a)
{
    struct uring *u = container_of(a, struct uring, aio);

    io_uring_queue_exit(&u->ring);
    free(u);
}

static const struct aio_ops ops = {
    .name = "io_uring",
    .submit = submit,
    .kick = kick,
    .poll = poll,
    .destroy = destroy,
};

/* The newest operation that is used here came with Linux 5.6. */
static bool can_do(struct uring *u)
{
    static const int needed[] = { IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC,
                                  IORING_OP_FALLOCATE };
    struct io_uring_probe *probe = io_uring_get_probe_ring(&u->ring);
    bool ok = probe != NULL;

    for (unsigned i = 0; i < ARRAY_SIZE(needed) && ok; i++)
        ok = io_uring_opcode_supported(probe, needed[i]);
    io_uring_free_probe(probe);
    return ok;
}

int aio_uring_create(struct aio **a, void (*finished)(struct block_request *req))
{
    struct uring *u = calloc(1, sizeof(*u));
    int rc = u ? io_uring_queue_init(ENTRIES, &u->ring, 0) : -ENOMEM;

    if (rc == 0 && !can_do(u)) {
        io_uring_queue_exit(&u->ring);
        rc = -ENOSYS;
    }
    if (rc < 0) {
        free(u);
        return rc;
    }
    u->aio = (struct aio){ .ops = &ops, .fd = u->ring.ring_fd, .finished = finished };
    u->waiting_end = &u->waiting;
    *a = &u->aio;
    return 0;
}
