/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A listening unix socket.  One client at a time; the next one waits in the
 * backlog.  The last 64 KiB of output are kept, and a new client gets them
 * first.  A client that does not read loses the oldest output instead of
 * stopping the guest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "chardev/backend.h"
#include "chardev/ring.h"

#define BACKLOG_SIZE (64 * KiB)

struct unix_chardev {
    struct chardev cd;
    struct sockaddr_un addr;
    int listener, client;    /* client: -1 if there is none */
    uint32_t watched;        /* epoll events that the client is watched for */
    struct ring out;
    uint64_t sent;           /* the client's position in out */
};

static void unix_client(void *opaque, int fd, uint32_t events);

/* Watch the client for what it is needed for; without any, for hang-up only. */
static void update_watch(struct unix_chardev *u)
{
    uint32_t want = 0;

    if (u->client < 0)
        return;
    if (chardev_room(&u->cd, 1))
        want |= EPOLLIN;
    if (u->sent != u->out.end)
        want |= EPOLLOUT;
    if (want != u->watched)
        loop_fd_modify(u->cd.loop, u->client, want);
    u->watched = want;
}

static void accept_client(void *opaque, int fd, uint32_t events)
{
    struct unix_chardev *u = opaque;

    (void)events;
    u->client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (u->client < 0)
        return;
    u->sent = u->out.start;
    u->watched = EPOLLIN | EPOLLOUT;
    if (loop_fd_add(u->cd.loop, u->client, u->watched, unix_client, u) < 0) {
        close(u->client);
        u->client = -1;
        return;
    }
    loop_fd_remove(u->cd.loop, u->listener);
}

static void drop_client(struct unix_chardev *u)
{
    int rc;

    loop_fd_remove(u->cd.loop, u->client);
    close(u->client);
    u->client = -1;
    rc = loop_fd_add(u->cd.loop, u->listener, EPOLLIN, accept_client, u);
    if (rc < 0)
        log_error(LOG_DEV, "serial socket takes no more clients: %s", strerror(-rc));
}

/* Returns -EPIPE if the client is gone. */
static int send_output(struct unix_chardev *u)
{
    u->sent = MAX(u->sent, u->out.start);
    while (u->sent != u->out.end) {
        const uint8_t *p;
        size_t n = ring_peek(&u->out, u->sent, &p);
        ssize_t done = send(u->client, p, n, MSG_NOSIGNAL);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return errno == EAGAIN ? 0 : -EPIPE;
        u->sent += (uint64_t)done;
    }
    return 0;
}

static int receive_input(struct unix_chardev *u)
{
    uint8_t buf[512];
    size_t room = chardev_room(&u->cd, sizeof(buf));
    ssize_t n;

    if (!room)
        return 0;
    n = recv(u->client, buf, room, 0);
    if (n > 0)
        u->cd.handler.receive(u->cd.handler.opaque, buf, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        return -EPIPE;
    return 0;
}

static void unix_client(void *opaque, int fd, uint32_t events)
{
    struct unix_chardev *u = opaque;
    int rc = 0;

    (void)fd;
    if (events & EPOLLOUT)
        rc = send_output(u);
    if (rc == 0 && events & EPOLLIN)
        rc = receive_input(u);
    if (rc == 0 && events & (EPOLLHUP | EPOLLERR) && !(events & EPOLLIN))
        rc = -EPIPE;
    if (rc < 0)
        drop_client(u);
    else
        update_watch(u);
}

static size_t unix_write(struct chardev *cd, const void *data, size_t n)
{
    struct unix_chardev *u = container_of(cd, struct unix_chardev, cd);

    ring_push(&u->out, data, n);
    update_watch(u);
    return n;
}

static void unix_receive_ready(struct chardev *cd)
{
    update_watch(container_of(cd, struct unix_chardev, cd));
}

static void unix_destroy(struct chardev *cd)
{
    struct unix_chardev *u = container_of(cd, struct unix_chardev, cd);

    if (u->client >= 0) {
        send_output(u);
        loop_fd_remove(u->cd.loop, u->client);
        close(u->client);
    } else if (u->listener >= 0) {
        loop_fd_remove(u->cd.loop, u->listener);
    }
    if (u->listener >= 0) {
        close(u->listener);
        unlink(u->addr.sun_path);
    }
    ring_free(&u->out);
    free(u);
}

static const struct chardev_ops unix_ops = {
    .write = unix_write, .receive_ready = unix_receive_ready, .destroy = unix_destroy
};

/* A socket file on which nobody listens is left from a VM that is gone. */
static void remove_stale(const struct sockaddr_un *addr)
{
    struct stat st;
    int fd;

    if (lstat(addr->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 && errno == ECONNREFUSED)
        unlink(addr->sun_path);
    close(fd);
}

static int start_listening(struct unix_chardev *u)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc;

    if (fd < 0)
        return -errno;
    remove_stale(&u->addr);
    if (bind(fd, (const struct sockaddr *)&u->addr, sizeof(u->addr)) < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    u->listener = fd;
    if (listen(fd, 4) < 0)
        return -errno;
    return loop_fd_add(u->cd.loop, fd, EPOLLIN, accept_client, u);
}

int chardev_create_unix(struct chardev **out, struct loop *loop, const char *path, char *err,
                        size_t err_size)
{
    struct unix_chardev *u = calloc(1, sizeof(*u));
    int rc = -ENOMEM;

    if (!u || ring_init(&u->out, BACKLOG_SIZE) < 0) {
        snprintf(err, err_size, "out of memory");
        free(u);
        return rc;
    }
    u->cd.ops = &unix_ops;
    u->cd.loop = loop;
    u->listener = u->client = -1;
    u->addr.sun_family = AF_UNIX;
    memcpy(u->addr.sun_path, path, strnlen(path, sizeof(u->addr.sun_path) - 1));
    rc = start_listening(u);
    if (rc < 0) {
        snprintf(err, err_size, "cannot listen on '%s': %s", path, strerror(-rc));
        unix_destroy(&u->cd);
        return rc;
    }
    *out = &u->cd;
    return 0;
}
