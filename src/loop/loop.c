/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One epoll set: the watched descriptors, a timerfd for the earliest timer,
 * an eventfd that wakes the loop for posted calls and for loop_stop.
 *
 * Watches, timers and all but the post queue are guarded by the lock of the
 * machine.  A vCPU may remove a watch while the loop's thread has its event
 * in hand but not yet the lock; so a removed watch is only marked, and freed
 * by the loop's thread after the batch, when no event can name it any more.
 */
#include "loop/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/log.h"

#define EVENTS_PER_BATCH 32
#define NOT_IN_HEAP      SIZE_MAX
#define NOT_ARMED        UINT64_MAX

struct watch {
    struct watch *next;
    loop_fd_fn fn;
    void *opaque;
    int fd;
    bool removed;
};

struct loop_timer {
    struct loop *loop;
    loop_fn fn;
    void *opaque;
    uint64_t deadline; /* guest ns */
    size_t index;      /* in the heap, or NOT_IN_HEAP */
};

struct post {
    struct post *next;
    loop_fn fn;
    void *opaque;
};

struct loop {
    pthread_mutex_t *lock;
    void (*enter)(void *opaque);    /* NULL: no gate */
    void (*leave)(void *opaque);
    void *gate_opaque;
    const struct vm_clock *clock;
    int epoll_fd, timer_fd, wake_fd;
    struct watch *watches; /* live and removed ones */
    bool have_removed;

    struct loop_timer **heap; /* binary min-heap by deadline */
    size_t nheap, ntimers, capacity;
    uint64_t armed; /* guest ns that timer_fd waits for, or NOT_ARMED */

    pthread_mutex_t post_lock;
    struct post *posts, **posts_end;
    atomic_bool stop;
};

static void wake(struct loop *loop)
{
    uint64_t one = 1;

    /* Fails only when the counter is full, and then the loop wakes anyway. */
    if (write(loop->wake_fd, &one, sizeof(one)) < 0)
        return;
}

/* Descriptors */

static struct watch *find_watch(struct loop *loop, int fd)
{
    for (struct watch *w = loop->watches; w; w = w->next)
        if (w->fd == fd && !w->removed)
            return w;
    return NULL;
}

int loop_fd_add(struct loop *loop, int fd, uint32_t epoll_events, loop_fd_fn fn, void *opaque)
{
    struct watch *w = malloc(sizeof(*w));
    struct epoll_event ev = { .events = epoll_events, .data.ptr = w };

    if (!w)
        return -ENOMEM;
    *w = (struct watch){ .next = loop->watches, .fn = fn, .opaque = opaque, .fd = fd };
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        free(w);
        return -errno;
    }
    loop->watches = w;
    return 0;
}

int loop_fd_modify(struct loop *loop, int fd, uint32_t epoll_events)
{
    struct watch *w = find_watch(loop, fd);
    struct epoll_event ev = { .events = epoll_events, .data.ptr = w };

    if (!w)
        return -ENOENT;
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &ev) < 0 ? -errno : 0;
}

void loop_fd_remove(struct loop *loop, int fd)
{
    struct watch *w = find_watch(loop, fd);

    if (!w)
        return;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    w->removed = true;
    loop->have_removed = true;
}

static void free_watches(struct loop *loop, bool all)
{
    struct watch **p = &loop->watches;

    while (*p) {
        struct watch *w = *p;

        if (!all && !w->removed) {
            p = &w->next;
            continue;
        }
        *p = w->next;
        free(w);
    }
    loop->have_removed = false;
}

/* Timers */

static void heap_place(struct loop *loop, size_t i, struct loop_timer *t)
{
    loop->heap[i] = t;
    t->index = i;
}

static void heap_up(struct loop *loop, size_t i, struct loop_timer *t)
{
    while (i > 0 && loop->heap[(i - 1) / 2]->deadline > t->deadline) {
        heap_place(loop, i, loop->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_place(loop, i, t);
}

static void heap_down(struct loop *loop, size_t i, struct loop_timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= loop->nheap)
            break;
        if (child + 1 < loop->nheap &&
            loop->heap[child + 1]->deadline < loop->heap[child]->deadline)
            child++;
        if (loop->heap[child]->deadline >= t->deadline)
            break;
        heap_place(loop, i, loop->heap[child]);
        i = child;
    }
    heap_place(loop, i, t);
}

static void heap_remove(struct loop *loop, struct loop_timer *t)
{
    size_t i = t->index;
    struct loop_timer *last = loop->heap[--loop->nheap];

    t->index = NOT_IN_HEAP;
    if (last == t)
        return;
    if (i > 0 && loop->heap[(i - 1) / 2]->deadline > last->deadline)
        heap_up(loop, i, last);
    else
        heap_down(loop, i, last);
}

static void set_timer_fd(struct loop *loop, uint64_t deadline)
{
    struct itimerspec its = { 0 };

    loop->armed = deadline;
    if (deadline != NOT_ARMED) {
        uint64_t now = vm_clock_ns(loop->clock);
        uint64_t ns = deadline > now ? vm_clock_to_host(loop->clock, deadline) : 1;

        its.it_value.tv_sec = (time_t)(ns / NSEC_PER_SEC);
        its.it_value.tv_nsec = (long)(ns % NSEC_PER_SEC);
        if (!its.it_value.tv_sec && !its.it_value.tv_nsec)
            its.it_value.tv_nsec = 1; /* zero would disarm */
    }
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

/* Arm for the earliest timer.  A timer_fd that is armed too early is left
 * alone: devices move their deadlines often and mostly to later. */
static void arm(struct loop *loop, bool force)
{
    uint64_t first = NOT_ARMED;

    if (loop->clock->running && loop->nheap)
        first = loop->heap[0]->deadline;
    if (first < loop->armed || (force && first != loop->armed))
        set_timer_fd(loop, first);
}

int loop_timer_create(struct loop *loop, struct loop_timer **timer, loop_fn fn, void *opaque)
{
    struct loop_timer *t;

    /* Room in the heap is made here, so that setting a timer cannot fail. */
    if (loop->ntimers == loop->capacity) {
        size_t capacity = loop->capacity ? loop->capacity * 2 : 16;
        struct loop_timer **heap = realloc(loop->heap, capacity * sizeof(struct loop_timer *));

        if (!heap)
            return -ENOMEM;
        loop->heap = heap;
        loop->capacity = capacity;
    }
    t = malloc(sizeof(*t));
    if (!t)
        return -ENOMEM;
    *t = (struct loop_timer){ .loop = loop, .fn = fn, .opaque = opaque, .index = NOT_IN_HEAP };
    loop->ntimers++;
    *timer = t;
    return 0;
}

void loop_timer_destroy(struct loop_timer *timer)
{
    if (!timer)
        return;
    loop_timer_cancel(timer);
    timer->loop->ntimers--;
    free(timer);
}

void loop_timer_set(struct loop_timer *timer, uint64_t ns)
{
    struct loop *loop = timer->loop;

    if (timer->index != NOT_IN_HEAP)
        heap_remove(loop, timer);
    timer->deadline = ns < NOT_ARMED ? ns : NOT_ARMED - 1;
    heap_up(loop, loop->nheap++, timer);
    arm(loop, false);
}

void loop_timer_cancel(struct loop_timer *timer)
{
    if (timer->index != NOT_IN_HEAP)
        heap_remove(timer->loop, timer);
}

/* Run what is due.  A timer that sets itself to the past waits for the next
 * round, so that it cannot keep the loop here. */
static void run_timers(struct loop *loop)
{
    uint64_t now = vm_clock_ns(loop->clock);
    size_t budget = loop->nheap;

    while (budget-- && loop->nheap && loop->clock->running) {
        struct loop_timer *t = loop->heap[0];

        if (t->deadline > now)
            break;
        heap_remove(loop, t);
        t->fn(t->opaque);
    }
}

static void timer_fired(struct loop *loop)
{
    uint64_t expirations;

    if (read(loop->timer_fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
        log_error(LOG_VM, "timerfd: %m");
    loop->armed = NOT_ARMED;
    run_timers(loop);
    arm(loop, true);
}

void loop_set_gate(struct loop *loop, void (*enter)(void *opaque), void (*leave)(void *opaque),
                   void *opaque)
{
    loop->enter = enter;
    loop->leave = leave;
    loop->gate_opaque = opaque;
}

void loop_clock_changed(struct loop *loop)
{
    /* The guest time may be the same and the host time another. */
    set_timer_fd(loop, NOT_ARMED);
    arm(loop, true);
}

/* Posted calls */

int loop_post(struct loop *loop, loop_fn fn, void *opaque)
{
    struct post *p = malloc(sizeof(*p));

    if (!p)
        return -ENOMEM;
    *p = (struct post){ .fn = fn, .opaque = opaque };
    pthread_mutex_lock(&loop->post_lock);
    *loop->posts_end = p;
    loop->posts_end = &p->next;
    pthread_mutex_unlock(&loop->post_lock);
    wake(loop);
    return 0;
}

static struct post *take_posts(struct loop *loop)
{
    struct post *p;

    pthread_mutex_lock(&loop->post_lock);
    p = loop->posts;
    loop->posts = NULL;
    loop->posts_end = &loop->posts;
    pthread_mutex_unlock(&loop->post_lock);
    return p;
}

static void run_posts(struct loop *loop)
{
    struct post *p, *next;
    uint64_t count;

    if (read(loop->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        log_error(LOG_VM, "eventfd: %m");
    for (p = take_posts(loop); p; p = next) {
        next = p->next;
        p->fn(p->opaque);
        free(p);
    }
}

/* The loop */

static int watch_own(struct loop *loop, int fd, void *mark)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = mark };

    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int loop_create(struct loop **loop, pthread_mutex_t *lock, const struct vm_clock *clock)
{
    struct loop *l = calloc(1, sizeof(*l));
    int ret;

    if (!l)
        return -ENOMEM;
    l->lock = lock;
    l->clock = clock;
    l->armed = NOT_ARMED;
    l->posts_end = &l->posts;
    pthread_mutex_init(&l->post_lock, NULL);
    l->timer_fd = l->wake_fd = -1;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd >= 0)
        l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->timer_fd >= 0)
        l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ret = l->wake_fd < 0 ? -errno : 0;
    if (!ret)
        ret = watch_own(l, l->timer_fd, &l->timer_fd);
    if (!ret)
        ret = watch_own(l, l->wake_fd, &l->wake_fd);
    if (ret) {
        loop_destroy(l);
        return ret;
    }
    *loop = l;
    return 0;
}

void loop_destroy(struct loop *loop)
{
    struct post *p, *next;

    if (!loop)
        return;
    for (p = take_posts(loop); p; p = next) {
        next = p->next;
        free(p);
    }
    free_watches(loop, true);
    free(loop->heap);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->timer_fd >= 0)
        close(loop->timer_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    pthread_mutex_destroy(&loop->post_lock);
    free(loop);
}

static void dispatch(struct loop *loop, const struct epoll_event *ev)
{
    struct watch *w = ev->data.ptr;

    if (ev->data.ptr == &loop->timer_fd)
        timer_fired(loop);
    else if (ev->data.ptr == &loop->wake_fd)
        run_posts(loop);
    else if (!w->removed)
        w->fn(w->opaque, w->fd, ev->events);
}

void loop_run(struct loop *loop)
{
    struct epoll_event events[EVENTS_PER_BATCH];

    while (!atomic_load(&loop->stop)) {
        int n = epoll_wait(loop->epoll_fd, events, EVENTS_PER_BATCH, -1);

        if (n < 0 && errno != EINTR) {
            log_error(LOG_VM, "event loop: epoll_wait: %m");
            break;
        }
        if (loop->enter)
            loop->enter(loop->gate_opaque);
        pthread_mutex_lock(loop->lock);
        for (int i = 0; i < n; i++)
            dispatch(loop, &events[i]);
        if (loop->have_removed)
            free_watches(loop, false);
        pthread_mutex_unlock(loop->lock);
        if (loop->leave)
            loop->leave(loop->gate_opaque);
    }
    atomic_store(&loop->stop, false);
}

void loop_stop(struct loop *loop)
{
    int saved = errno;

    atomic_store(&loop->stop, true);
    wake(loop);
    errno = saved;
}
