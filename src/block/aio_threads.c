/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Steps by threads, which are started as they are needed and end with the
 * engine.  For hosts where io_uring is blocked.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/util.h"
#include "block/aio.h"

#define MAX_THREADS 4u

struct queue {
    struct block_request *first, **end;
};

struct threads {
    struct aio aio;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t work, ended;
    struct queue todo, done;
    unsigned nthreads, idle;
    bool stop;
    pthread_t thread[MAX_THREADS];
};

static void queue_init(struct queue *q)
{
    q->first = NULL;
    q->end = &q->first;
}

static void put(struct queue *q, struct block_request *req)
{
    req->next = NULL;
    *q->end = req;
    q->end = &req->next;
}

static struct block_request *take(struct queue *q)
{
    struct block_request *req = q->first;

    if (req)
        q->first = req->next;
    if (!q->first)
        q->end = &q->first;
    return req;
}

static int perform(const struct block_request *req)
{
    const off_t at = (off_t)(req->offset + req->pos);
    ssize_t n = -1;

    do {
        switch (req->step) {
        case AIO_READ: n = preadv(req->fd, req->iov, (int)req->niov, at); break;
        case AIO_WRITE: n = pwritev(req->fd, req->iov, (int)req->niov, at); break;
        case AIO_SYNC: n = fdatasync(req->fd); break;
        default: n = fallocate(req->fd, req->mode, at, (off_t)req->part); break;
        }
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

static void *thread_main(void *opaque)
{
    struct threads *t = opaque;
    const uint64_t one = 1;

    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        struct block_request *req = take(&t->todo);

        if (!req) {
            t->idle++;
            pthread_cond_wait(&t->work, &t->lock);
            t->idle--;
            continue;
        }
        pthread_mutex_unlock(&t->lock);
        req->result = perform(req);
        pthread_mutex_lock(&t->lock);
        put(&t->done, req);
        pthread_cond_signal(&t->ended);
        /* Fails only when the counter is full: it is readable then. */
        if (write(t->aio.fd, &one, sizeof(one)) < 0)
            continue;
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

static void submit(struct aio *a, struct block_request *req)
{
    struct threads *t = container_of(a, struct threads, aio);

    pthread_mutex_lock(&t->lock);
    put(&t->todo, req);
    if (!t->idle && t->nthreads < MAX_THREADS &&
        pthread_create(&t->thread[t->nthreads], NULL, thread_main, t) == 0) {
        pthread_setname_np(t->thread[t->nthreads], "io-worker");
        t->nthreads++;
    }
    pthread_cond_signal(&t->work);
    pthread_mutex_unlock(&t->lock);
}

static void kick(struct aio *a)
{
    (void)a;
}

static void poll(struct aio *a, bool wait)
{
    struct threads *t = container_of(a, struct threads, aio);
    struct block_request *req;
    struct queue done;
    uint64_t count;

    if (read(a->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        return;
    queue_init(&done);
    pthread_mutex_lock(&t->lock);
    while (wait && !t->done.first)
        pthread_cond_wait(&t->ended, &t->lock);
    while ((req = take(&t->done)))
        put(&done, req);
    pthread_mutex_unlock(&t->lock);
    while ((req = take(&done)))
        a->finished(req);
}

static void destroy(struct aio *a)
{
    struct threads *t = container_of(a, struct threads, aio);

    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_broadcast(&t->work);
    pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < t->nthreads; i++)
        pthread_join(t->thread[i], NULL);
    pthread_cond_destroy(&t->ended);
    pthread_cond_destroy(&t->work);
    pthread_mutex_destroy(&t->lock);
    close(a->fd);
    free(t);
}

static const struct aio_ops ops = {
    .name = "threads",
    .submit = submit,
    .kick = kick,
    .poll = poll,
    .destroy = destroy,
};

int aio_threads_create(struct aio **a, void (*finished)(struct block_request *req))
{
    struct threads *t = calloc(1, sizeof(*t));
    int rc = 0;

    if (!t)
        return -ENOMEM;
    t->aio = (struct aio){ .ops = &ops, .finished = finished };
    t->aio.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->work, NULL);
    pthread_cond_init(&t->ended, NULL);
    queue_init(&t->todo);
    queue_init(&t->done);
    /* One at least, so that a submission cannot fail. */
    if (t->aio.fd < 0)
        rc = -errno;
    else
        rc = -pthread_create(&t->thread[0], NULL, thread_main, t);
    if (rc < 0) {
        if (t->aio.fd >= 0)
            close(t->aio.fd);
        free(t);
        return rc;
    }
    t->nthreads = 1;
    pthread_setname_np(t->thread[0], "io-worker");
    *a = &t->aio;
    return 0;
}
