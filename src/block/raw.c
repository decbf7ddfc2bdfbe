/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw images and block devices.  A request is one or more steps of the engine
 * below (aio.h): a read or write goes on after a short one, and what the file
 * system cannot free or zero is left alone or written out.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "block/aio.h"

#define ZEROES_SIZE (64 * KiB)

struct raw {
    struct block_backend b;
    struct aio *aio;
    int fd;
    bool no_punch, no_zero_range; /* the file system has said so */
    uint64_t complained_ns;
    unsigned silent; /* errors since that line */
    char *path;
};

static const uint8_t zeroes[ZEROES_SIZE];

static struct raw *raw_of(struct block_request *req)
{
    return container_of(req->backend, struct raw, b);
}

static void complain(struct raw *r, const struct block_request *req, int rc)
{
    static const char *const words[] = { "read", "write", "flush", "discard", "write of zeroes" };
    const uint64_t now = host_ns();
    char more[40] = "";

    if (r->complained_ns && now - r->complained_ns < NSEC_PER_SEC) {
        r->silent++;
        return;
    }
    if (r->silent)
        snprintf(more, sizeof(more), " (and %u more since then)", r->silent);
    log_error(LOG_DEV, "disk '%s': %s of %" PRIu64 " bytes at %" PRIu64 ": %s%s", r->path,
              words[req->op], req->len, req->offset, strerror(-rc), more);
    r->complained_ns = now;
    r->silent = 0;
}

static void end(struct block_request *req, int rc)
{
    struct raw *r = raw_of(req);

    if (rc < 0)
        complain(r, req, rc);
    r->b.in_flight--;
    req->done(req, rc);
}

/* Steps */

static void fallocate_step(struct block_request *req, int mode)
{
    req->step = AIO_FALLOCATE;
    req->mode = mode | FALLOC_FL_KEEP_SIZE;
    req->part = req->len - req->pos;
}

/* As many zeroes as one iovec names. */
static void zeroes_step(struct block_request *req)
{
    uint64_t left = MIN(req->len - req->pos, ZEROES_SIZE * ARRAY_SIZE(req->zero_iov));

    req->step = AIO_WRITE;
    req->iov = req->zero_iov;
    for (req->niov = 0; left; req->niov++) {
        uint64_t n = MIN(left, ZEROES_SIZE);

        req->zero_iov[req->niov] = (struct iovec){ (void *)(uintptr_t)zeroes, n };
        left -= n;
    }
}

static void write_zeroes_step(struct raw *r, struct block_request *req)
{
    if (req->unmap && !r->no_punch)
        fallocate_step(req, FALLOC_FL_PUNCH_HOLE);
    else if (!r->no_zero_range)
        fallocate_step(req, FALLOC_FL_ZERO_RANGE);
    else
        zeroes_step(req);
}

/* Drops the first n bytes of the iovec. */
static void advance(struct block_request *req, size_t n)
{
    req->pos += n;
    while (req->niov && n >= req->iov->iov_len) {
        n -= req->iov->iov_len;
        req->iov++;
        req->niov--;
    }
    if (req->niov) {
        req->iov->iov_base = (uint8_t *)req->iov->iov_base + n;
        req->iov->iov_len -= n;
    }
}

static bool unsupported(int rc)
{
    return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EINVAL || rc == -ENODEV;
}

/* What a refused fallocate leads to: true: there is another step. */
static bool after_refusal(struct raw *r, struct block_request *req)
{
    if (req->mode & FALLOC_FL_PUNCH_HOLE)
        r->no_punch = true;
    else
        r->no_zero_range = true;
    if (req->op == BLOCK_DISCARD)
        return false;
    write_zeroes_step(r, req);
    return true;
}

/* A step has ended: true if there is another, else *rc is the request's end. */
static bool next_step(struct raw *r, struct block_request *req, int *rc)
{
    int n = req->result;

    *rc = n < 0 ? n : 0;
    if (n == -EINTR || n == -EAGAIN)
        return true;
    if (req->step == AIO_FALLOCATE && n < 0 && unsupported(n)) {
        *rc = 0; /* a discard is a hint */
        return after_refusal(r, req);
    }
    if (n < 0 || (req->step != AIO_READ && req->step != AIO_WRITE))
        return false;
    if (n == 0) { /* the file has become shorter; or nothing can be written */
        *rc = req->step == AIO_READ ? -EIO : -ENOSPC;
        return false;
    }
    advance(req, (size_t)n);
    if (req->pos >= req->len)
        return false;
    if (req->op == BLOCK_WRITE_ZEROES)
        zeroes_step(req);
    return true;
}

static void finished(struct block_request *req)
{
    struct raw *r = raw_of(req);
    int rc;

    if (next_step(r, req, &rc))
        r->aio->ops->submit(r->aio, req);
    else
        end(req, rc);
}

static void submit(struct block_backend *b, struct block_request *req)
{
    struct raw *r = container_of(b, struct raw, b);

    req->fd = r->fd;
    switch (req->op) {
    case BLOCK_READ: req->step = AIO_READ; break;
    case BLOCK_WRITE: req->step = AIO_WRITE; break;
    case BLOCK_FLUSH: req->step = AIO_SYNC; break;
    case BLOCK_DISCARD: fallocate_step(req, FALLOC_FL_PUNCH_HOLE); break;
    case BLOCK_WRITE_ZEROES: write_zeroes_step(r, req); break;
    }
    r->aio->ops->submit(r->aio, req);
}

static void kick(struct block_backend *b)
{
    struct raw *r = container_of(b, struct raw, b);

    r->aio->ops->kick(r->aio);
}

static void poll(struct block_backend *b, bool wait)
{
    struct raw *r = container_of(b, struct raw, b);

    r->aio->ops->poll(r->aio, wait);
}

static void destroy(struct block_backend *b)
{
    struct raw *r = container_of(b, struct raw, b);

    if (r->aio)
        r->aio->ops->destroy(r->aio);
    if (r->fd >= 0)
        close(r->fd);
    free(r->path);
    free(r);
}

static const struct block_ops ops = {
    .submit = submit,
    .kick = kick,
    .poll = poll,
    .destroy = destroy,
};

/* Opening */

static int open_file(struct raw *r, char *err, size_t err_size)
{
    const bool ro = r->b.readonly;

    r->fd = open(r->path, (ro ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (r->fd >= 0)
        return 0;
    if (!ro && (errno == EACCES || errno == EROFS || errno == EPERM))
        snprintf(err, err_size,
                 "disk '%s' cannot be written: %s; use readonly=on or change its "
                 "permissions",
                 r->path, strerror(errno));
    else if (errno == EISDIR)
        snprintf(err, err_size, "disk '%s' is a directory; give an image file", r->path);
    else
        snprintf(err, err_size, "cannot open disk '%s': %s", r->path, strerror(errno));
    return -errno;
}

static int measure(struct raw *r, char *err, size_t err_size)
{
    struct stat st;
    uint64_t size = 0;

    if (fstat(r->fd, &st) < 0)
        return -errno;
    /* It was for a FIFO; io_uring would give EAGAIN instead of waiting. */
    fcntl(r->fd, F_SETFL, fcntl(r->fd, F_GETFL) & ~O_NONBLOCK);
    if (S_ISREG(st.st_mode)) {
        size = (uint64_t)st.st_size;
    } else if (!S_ISBLK(st.st_mode)) {
        snprintf(err, err_size, "disk '%s' is %s; give an image file or a block device", r->path,
                 S_ISDIR(st.st_mode) ? "a directory" : "neither a file nor a block device");
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    } else if (ioctl(r->fd, BLKGETSIZE64, &size) < 0) {
        snprintf(err, err_size, "cannot find the size of disk '%s': %s", r->path, strerror(errno));
        return -errno;
    }
    r->b.size = align_down(size, BLOCK_SECTOR);
    if (!r->b.size) {
        snprintf(err, err_size, "disk '%s' is empty; make it larger, with truncate -s for example",
                 r->path);
        return -EINVAL;
    }
    if (size % BLOCK_SECTOR)
        log_warn(LOG_DEV, "disk '%s' is no multiple of %u bytes; the guest does not see its end",
                 r->path, BLOCK_SECTOR);
    return 0;
}

static int lock(struct raw *r, char *err, size_t err_size)
{
    int rc = block_lock(r->fd, r->b.readonly);

    if (rc == -EAGAIN || rc == -EACCES) {
        snprintf(err, err_size,
                 "disk '%s' is in use by another virtual machine; end that one, or "
                 "give both readonly=on",
                 r->path);
        return -EBUSY;
    }
    if (rc < 0)
        log_warn(LOG_DEV, "disk '%s' cannot be locked: %s; use it in one machine only", r->path,
                 strerror(-rc));
    return 0;
}

static int choose_aio(struct raw *r, enum block_aio aio, char *err, size_t err_size)
{
    int rc = -ENOSYS;

    if (aio != BLOCK_AIO_THREADS)
        rc = aio_uring_create(&r->aio, finished);
    if (rc < 0 && aio == BLOCK_AIO_URING) {
        snprintf(err, err_size, "io_uring cannot be used here: %s; use aio=threads", strerror(-rc));
        return rc;
    }
    if (rc < 0)
        rc = aio_threads_create(&r->aio, finished);
    if (rc < 0)
        snprintf(err, err_size, "cannot make threads for disk '%s': %s", r->path, strerror(-rc));
    else
        log_info(LOG_DEV, "disk '%s': %" PRIu64 " bytes, %s", r->path, r->b.size,
                 r->aio->ops->name);
    return rc;
}

int block_open(struct block_backend **b, const struct block_config *config, char *err,
               size_t err_size)
{
    struct raw *r = calloc(1, sizeof(*r));
    int rc;

    snprintf(err, err_size, "out of memory");
    if (!r)
        return -ENOMEM;
    signal(SIGXFSZ, SIG_IGN);
    r->b = (struct block_backend){ .ops = &ops,
                                   .readonly = config->readonly || config->idle,
                                   .discard = !config->readonly };
    r->fd = -1;
    r->path = strdup(config->path);
    rc = r->path ? open_file(r, err, err_size) : -ENOMEM;
    if (rc == 0)
        rc = measure(r, err, err_size);
    if (rc == 0 && !config->idle)
        rc = lock(r, err, err_size);
    if (rc == 0)
        rc = choose_aio(r, config->aio, err, err_size);
    if (rc < 0) {
        destroy(&r->b);
        return rc;
    }
    r->b.fd = r->aio->fd;
    *b = &r->b;
    return 0;
}
