/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How libslirp is driven.  It has one entry for the guest's frames
 * (slirp_input), one for what its sockets report (slirp_pollfds_poll), and
 * calls back with frames for the guest from inside either.
 *
 * A frame that the guest has no buffer for waits in a queue.  While frames
 * wait, sockets are not read, so that the peers' windows close instead; what
 * libslirp makes by itself beyond the queue's bounds is lost, as on a wire.
 *
 * A hostile guest meets three more bounds.  Frames longer than the network's
 * MTU are dropped, and so is what is neither ARP nor IP.  Flows that would
 * leave the process short of descriptors are not begun.  libslirp sees no IP
 * fragments, but only whole datagrams (reassemble.h).
 */
#include "net/user.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "net/frame.h"
#include "net/reassemble.h"

#define MTU              1500u
#define ETH_HEADER       14u
#define FRAME_MAX        (ETH_HEADER + MTU)
#define NSEC_PER_MSEC    1000000LL
#define QUEUE_MAX_FRAMES 2048u
#define QUEUE_MAX_BYTES  (2 * MiB)
#define DESCRIPTORS_KEPT 64u /* for the rest of the process */
#define WAKE             0u  /* index in fds */

struct frame {
    struct frame *next;
    size_t len;
    uint8_t data[];
};

struct user_timer {
    struct user_timer *next;
    SlirpTimerCb fn;
    void *opaque;
    int64_t deadline; /* ms of the host's clock */
    bool armed;
};

struct net_user {
    struct net_backend net;
    pthread_t thread;
    int wake_fd;
    rlim_t max_fd; /* no flow begins whose socket would get this number */
    atomic_bool stop;
    atomic_bool woken; /* wake_fd is readable already */
    atomic_bool ready; /* the guest has buffers again */

    /* All below under slirp_lock. */
    Slirp *slirp;
    struct net_handler handler; /* receive NULL: there is none */
    bool blocked;               /* receive() said false: wait for ready */
    struct frame *queue, **queue_end;
    size_t queued, queued_bytes;
    struct pollfd *fds;
    unsigned nfds, capacity;
    struct user_timer *timers;
    struct net_reassembler *reassembler;
};

/* One for all networks: libslirp has state that all of its instances share
 * (the time and the name servers it last saw). */
static pthread_mutex_t slirp_lock = PTHREAD_MUTEX_INITIALIZER;

static int64_t now_ms(void)
{
    return (int64_t)host_ns() / NSEC_PER_MSEC;
}

static void wake(struct net_user *u)
{
    uint64_t one = 1;

    if (atomic_exchange(&u->woken, true))
        return;
    /* Fails only when the counter is full, and then the thread wakes anyway. */
    if (write(u->wake_fd, &one, sizeof(one)) < 0)
        return;
}

/* To the guest */

static bool offer(struct net_user *u, const uint8_t *data, size_t len)
{
    /* First, so that a receive_ready() that comes before receive() has
     * returned is not lost. */
    atomic_store(&u->ready, false);
    u->blocked = !u->handler.receive(u->handler.opaque, data, len);
    return !u->blocked;
}

static void queue_frame(struct net_user *u, const uint8_t *data, size_t len)
{
    struct frame *f = NULL;

    if (u->queued < QUEUE_MAX_FRAMES && u->queued_bytes + len <= QUEUE_MAX_BYTES)
        f = malloc(sizeof(*f) + len);
    if (!f)
        return;
    f->next = NULL;
    f->len = len;
    memcpy(f->data, data, len);
    *u->queue_end = f;
    u->queue_end = &f->next;
    u->queued++;
    u->queued_bytes += len;
}

static void drop_first(struct net_user *u)
{
    struct frame *f = u->queue;

    u->queue = f->next;
    if (!u->queue)
        u->queue_end = &u->queue;
    u->queued--;
    u->queued_bytes -= f->len;
    free(f);
}

static void deliver_queue(struct net_user *u)
{
    if (u->blocked && !atomic_load(&u->ready))
        return;
    u->blocked = false;
    while (u->queue && offer(u, u->queue->data, u->queue->len))
        drop_first(u);
}

static ssize_t cb_send_packet(const void *buf, size_t len, void *opaque)
{
    struct net_user *u = opaque;

    /* Less than len would be logged as an error. */
    if (!u->handler.receive || len > NET_FRAME_MAX)
        return (ssize_t)len;
    if (u->queue || u->blocked || !offer(u, buf, len))
        queue_frame(u, buf, len);
    return (ssize_t)len;
}

/* From the guest */

/* Linux gives the lowest free number, so the next one tells how many are left. */
static bool flow_allowed(const struct net_user *u)
{
    int fd = fcntl(u->wake_fd, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        return false;
    close(fd);
    return (rlim_t)fd < u->max_fd;
}

static void input(struct net_user *u, const uint8_t *frame, size_t len)
{
    enum net_frame_kind kind = net_frame_kind(frame, len);

    if (kind == NET_FRAME_FRAGMENT) {
        frame = net_reassemble(u->reassembler, frame, len, (uint64_t)now_ms(), &len);
        kind = frame ? net_frame_kind(frame, len) : NET_FRAME_BAD;
    }
    if (kind == NET_FRAME_PLAIN || (kind == NET_FRAME_FLOW && flow_allowed(u)))
        slirp_input(u->slirp, frame, (int)len);
}

static int user_send(struct net_backend *net, const struct iovec *iov, unsigned n)
{
    struct net_user *u = container_of(net, struct net_user, net);
    uint8_t frame[FRAME_MAX];
    size_t len = 0;

    /* Copied once: the guest may go on writing to it. */
    for (unsigned i = 0; i < n; i++) {
        if (iov[i].iov_len > sizeof(frame) - len) {
            log_guest(LOG_DEV, "net: a frame is longer than %u bytes", FRAME_MAX);
            return 0;
        }
        memcpy(frame + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    pthread_mutex_lock(&slirp_lock);
    input(u, frame, len);
    pthread_mutex_unlock(&slirp_lock);
    /* There may be new sockets, or room in their buffers. */
    wake(u);
    return 0;
}

static void user_receive_ready(struct net_backend *net)
{
    struct net_user *u = container_of(net, struct net_user, net);

    atomic_store(&u->ready, true);
    wake(u);
}

static void user_set_handler(struct net_backend *net, const struct net_handler *handler)
{
    struct net_user *u = container_of(net, struct net_user, net);

    pthread_mutex_lock(&slirp_lock);
    u->handler = handler ? *handler : (struct net_handler){ 0 };
    u->blocked = false;
    while (u->queue)
        drop_first(u);
    pthread_mutex_unlock(&slirp_lock);
    wake(u);
}

/* libslirp's other callbacks */

static void cb_guest_error(const char *msg, void *opaque)
{
    (void)opaque;
    log_guest(LOG_DEV, "net: %s", msg);
}

static int64_t cb_clock_get_ns(void *opaque)
{
    (void)opaque;
    return (int64_t)host_ns();
}

static void *cb_timer_new(SlirpTimerCb fn, void *fn_opaque, void *opaque)
{
    struct net_user *u = opaque;
    struct user_timer *t = calloc(1, sizeof(*t));

    /* libslirp ends the process itself when memory is short. */
    if (!t)
        abort();
    *t = (struct user_timer){ .next = u->timers, .fn = fn, .opaque = fn_opaque };
    u->timers = t;
    return t;
}

static void cb_timer_free(void *timer, void *opaque)
{
    struct net_user *u = opaque;
    struct user_timer **p = &u->timers;

    while (*p && *p != timer)
        p = &(*p)->next;
    if (*p)
        *p = (*p)->next;
    free(timer);
}

static void cb_timer_mod(void *timer, int64_t ms, void *opaque)
{
    struct user_timer *t = timer;

    (void)opaque;
    t->deadline = ms;
    t->armed = true;
}

static void cb_poll_fd(int fd, void *opaque)
{
    (void)fd;
    (void)opaque;
}

static void cb_notify(void *opaque)
{
    wake(opaque);
}

static const SlirpCb callbacks = {
    .send_packet = cb_send_packet,
    .guest_error = cb_guest_error,
    .clock_get_ns = cb_clock_get_ns,
    .timer_new = cb_timer_new,
    .timer_free = cb_timer_free,
    .timer_mod = cb_timer_mod,
    .register_poll_fd = cb_poll_fd,
    .unregister_poll_fd = cb_poll_fd,
    .notify = cb_notify,
};

/* The thread */

static const struct {
    int slirp;
    short poll;
} events[] = {
    { SLIRP_POLL_IN, POLLIN },   { SLIRP_POLL_OUT, POLLOUT }, { SLIRP_POLL_PRI, POLLPRI },
    { SLIRP_POLL_ERR, POLLERR }, { SLIRP_POLL_HUP, POLLHUP },
};

static int add_fd(struct net_user *u, int fd, short poll_events)
{
    if (u->nfds == u->capacity) {
        unsigned capacity = u->capacity ? u->capacity * 2 : 16;
        struct pollfd *fds = realloc(u->fds, capacity * sizeof(*fds));

        if (!fds)
            return -1;
        u->fds = fds;
        u->capacity = capacity;
    }
    u->fds[u->nfds] = (struct pollfd){ .fd = fd, .events = poll_events };
    return (int)u->nfds++;
}

/* -1 (not watched this time) is what libslirp knows such a socket by. */
static int add_poll(int fd, int slirp_events, void *opaque)
{
    struct net_user *u = opaque;
    short want = 0;

    for (size_t i = 0; i < ARRAY_SIZE(events); i++)
        if (slirp_events & events[i].slirp)
            want |= events[i].poll;
    if (u->queue)
        want &= (short)~(POLLIN | POLLPRI);
    /* poll() would report a hang-up all the same, over and over. */
    return want & (POLLIN | POLLOUT | POLLPRI) ? add_fd(u, fd, want) : -1;
}

static int get_revents(int index, void *opaque)
{
    const struct net_user *u = opaque;
    int found = 0;

    for (size_t i = 0; i < ARRAY_SIZE(events); i++)
        if (index > (int)WAKE && (u->fds[index].revents & events[i].poll))
            found |= events[i].slirp;
    return found;
}

static void run_timers(struct net_user *u)
{
    const int64_t now = now_ms();
    struct user_timer *t, *next;

    for (t = u->timers; t; t = next) {
        next = t->next;
        if (t->armed && t->deadline <= now) {
            t->armed = false;
            t->fn(t->opaque);
        }
    }
}

/* Milliseconds until the first timer or what libslirp waits for; -1: forever. */
static int fill(struct net_user *u)
{
    const int64_t now = now_ms();
    uint32_t timeout = INT32_MAX;

    u->nfds = WAKE + 1;
    slirp_pollfds_fill(u->slirp, &timeout, add_poll, u);
    for (const struct user_timer *t = u->timers; t; t = t->next)
        if (t->armed)
            timeout = MIN(timeout, (uint32_t)MIN(MAX(t->deadline - now, 0), INT32_MAX));
    return timeout == INT32_MAX ? -1 : (int)timeout;
}

static void clear_wake(struct net_user *u)
{
    uint64_t count;

    if (u->fds[WAKE].revents && read(u->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        log_error(LOG_DEV, "net: eventfd: %m");
    atomic_store(&u->woken, false);
}

static void *serve(void *opaque)
{
    struct net_user *u = opaque;

    pthread_mutex_lock(&slirp_lock);
    while (!atomic_load(&u->stop)) {
        int timeout, n;

        deliver_queue(u);
        timeout = fill(u);
        pthread_mutex_unlock(&slirp_lock);
        n = poll(u->fds, u->nfds, timeout);
        clear_wake(u);
        pthread_mutex_lock(&slirp_lock);
        run_timers(u);
        slirp_pollfds_poll(u->slirp, n < 0, get_revents, u);
    }
    pthread_mutex_unlock(&slirp_lock);
    return NULL;
}

/* Life */

static void user_free(struct net_user *u)
{
    pthread_mutex_lock(&slirp_lock);
    u->handler.receive = NULL;
    if (u->slirp)
        slirp_cleanup(u->slirp);
    pthread_mutex_unlock(&slirp_lock);
    while (u->queue)
        drop_first(u);
    while (u->timers)
        cb_timer_free(u->timers, u);
    if (u->wake_fd >= 0)
        close(u->wake_fd);
    net_reassembler_free(u->reassembler);
    free(u->fds);
    free(u);
}

static void user_destroy(struct net_backend *net)
{
    struct net_user *u = container_of(net, struct net_user, net);

    atomic_store(&u->stop, true);
    wake(u);
    pthread_join(u->thread, NULL);
    user_free(u);
}

static const struct net_ops user_ops = {
    .send = user_send,
    .receive_ready = user_receive_ready,
    .set_handler = user_set_handler,
    .destroy = user_destroy,
};

static int start_slirp(struct net_user *u, const struct net_user_config *c)
{
    SlirpConfig config = {
        .version = SLIRP_CONFIG_VERSION_MIN,
        .restricted = c->restricted,
        .in_enabled = true,
        .vnetwork = c->net,
        .vnetmask = c->mask,
        .vhost = c->host,
        .vnameserver = c->dns,
        .vdhcp_start = c->dhcpstart,
        .in6_enabled = c->ipv6,
        .vprefix_len = 64,
        .vhostname = *c->hostname ? c->hostname : NULL,
        .if_mtu = MTU,
        .if_mru = MTU,
    };

    inet_pton(AF_INET6, "fec0::", &config.vprefix_addr6);
    inet_pton(AF_INET6, "fec0::2", &config.vhost6);
    inet_pton(AF_INET6, "fec0::3", &config.vnameserver6);
    u->slirp = slirp_new(&config, &callbacks, u);
    return u->slirp ? 0 : -EINVAL;
}

/* The phrase for a port that could not be opened. */
static void explain(const struct net_hostfwd *fwd, int error, char *err, size_t err_size)
{
    const char *proto = fwd->udp ? "UDP" : "TCP";
    char addr[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &fwd->host_addr, addr, sizeof(addr));
    if (error == EADDRINUSE)
        snprintf(err, err_size, "%s port %u of %s is already in use; choose another one", proto,
                 fwd->host_port, addr);
    else if (error == EACCES || error == EPERM)
        snprintf(err, err_size,
                 "no permission to use %s port %u; choose one from 1024 on, or let "
                 "root lower net.ipv4.ip_unprivileged_port_start",
                 proto, fwd->host_port);
    else if (error == EADDRNOTAVAIL)
        snprintf(err, err_size, "this host does not have the address %s", addr);
    else
        snprintf(err, err_size, "could not open %s port %u of %s: %s", proto, fwd->host_port, addr,
                 strerror(error));
}

static int open_ports(struct net_user *u, const struct net_user_config *c, char *err,
                      size_t err_size)
{
    for (unsigned i = 0; i < c->nhostfwd; i++) {
        const struct net_hostfwd *fwd = &c->hostfwd[i];

        errno = 0;
        if (slirp_add_hostfwd(u->slirp, fwd->udp, fwd->host_addr, fwd->host_port, fwd->guest_addr,
                              fwd->guest_port) < 0) {
            int error = errno ? errno : EINVAL;

            explain(fwd, error, err, err_size);
            return -error;
        }
    }
    return 0;
}

/* With signals blocked: they are for the main thread. */
static int start_thread(struct net_user *u)
{
    sigset_t all, old;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&u->thread, NULL, serve, u);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0)
        pthread_setname_np(u->thread, "net-user");
    return -rc;
}

static int start(struct net_user *u, const struct net_user_config *c, char *err, size_t err_size)
{
    struct rlimit limit = { .rlim_cur = 1024 };
    int rc;

    getrlimit(RLIMIT_NOFILE, &limit);
    u->max_fd = limit.rlim_cur - MIN(limit.rlim_cur / 2, DESCRIPTORS_KEPT);
    u->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    rc = u->wake_fd < 0 ? -errno : 0;
    u->reassembler = net_reassembler_new();
    if (rc == 0 && (!u->reassembler || add_fd(u, u->wake_fd, POLLIN) < 0))
        rc = -ENOMEM;
    pthread_mutex_lock(&slirp_lock);
    if (rc == 0)
        rc = start_slirp(u, c);
    if (rc == 0)
        rc = open_ports(u, c, err, err_size);
    pthread_mutex_unlock(&slirp_lock);
    return rc == 0 ? start_thread(u) : rc;
}

int net_user_create(struct net_backend **net, const struct net_user_config *config, char *err,
                    size_t err_size)
{
    struct net_user *u = calloc(1, sizeof(*u));
    int rc;

    *err = 0;
    if (u) {
        u->net.ops = &user_ops;
        u->wake_fd = -1;
        u->queue_end = &u->queue;
    }
    rc = u ? start(u, config, err, err_size) : -ENOMEM;
    if (rc == 0) {
        *net = &u->net;
        return 0;
    }
    if (!*err)
        snprintf(err, err_size, "could not start the user network: %s", strerror(-rc));
    if (u)
        user_free(u);
    return rc;
}
