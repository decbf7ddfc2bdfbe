/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The console on standard input and output.
 *
 * Output: a thread of its own writes a ring to stdout, since O_NONBLOCK there
 * would hit everyone who shares the terminal, and poll() does not promise
 * that a terminal takes a whole write.  Only the ring is shared with it.
 *
 * Input: Ctrl-A is the escape key, on a terminal or not.  A terminal is
 * always read, so that Ctrl-A x works when the guest does not listen; a pipe
 * or file is read at the guest's pace.  End of input does not end the VM.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "chardev/backend.h"
#include "chardev/ring.h"
#include "chardev/term.h"

#define OUT_SIZE (64 * KiB)
#define IN_SIZE (64 * KiB)
#define KEY_ESCAPE 0x01 /* Ctrl-A */
#define DRAIN_SECONDS 2

struct stdio_chardev {
    struct chardev cd;
    struct chardev_console console;
    bool terminal;        /* stdin is one */
    bool watching;        /* stdin is in the loop */
    bool plain_file;      /* epoll refuses it: read whenever the guest has room */
    bool read_posted;
    bool eof;
    bool escaped;         /* the last key was Ctrl-A */
    bool monitor;         /* the monitor has the keyboard */
    struct ring in;       /* for the guest */

    pthread_t writer;
    pthread_mutex_t lock; /* of the members below */
    pthread_cond_t work;
    struct ring out;
    bool closing;
    bool broken;          /* stdout is gone: output is dropped */
    bool was_full;        /* the device waits for writable() */
};

static struct stdio_chardev *from_cd(struct chardev *cd)
{
    return container_of(cd, struct stdio_chardev, cd);
}

/* Output */

static void tell_writable(void *opaque)
{
    struct stdio_chardev *s = opaque;

    if (s->cd.handler.writable)
        s->cd.handler.writable(s->cd.handler.opaque);
}

static int write_all(const uint8_t *p, size_t n)
{
    while (n) {
        ssize_t done = write(STDOUT_FILENO, p, n);

        if (done < 0 && errno == EAGAIN) {
            /* Someone else made it non-blocking. */
            nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
            continue;
        }
        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return 0;
}

static void *writer_main(void *opaque)
{
    struct stdio_chardev *s = opaque;
    uint8_t chunk[4096];

    pthread_mutex_lock(&s->lock);
    for (;;) {
        const uint8_t *p;
        size_t n;

        while (!ring_used(&s->out) && !s->closing)
            pthread_cond_wait(&s->work, &s->lock);
        n = MIN(ring_peek(&s->out, s->out.start, &p), sizeof(chunk));
        if (!n)
            break;
        memcpy(chunk, p, n);
        ring_drop(&s->out, n);
        if (s->was_full && !s->closing) {
            s->was_full = false;
            loop_post(s->cd.loop, tell_writable, s);
        }
        pthread_mutex_unlock(&s->lock);
        if (!s->broken && write_all(chunk, n) < 0)
            s->broken = true;
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static size_t stdio_write(struct chardev *cd, const void *data, size_t n)
{
    struct stdio_chardev *s = from_cd(cd);
    bool was_empty;
    size_t done;

    pthread_mutex_lock(&s->lock);
    was_empty = ring_used(&s->out) == 0;
    done = ring_put(&s->out, data, n);
    if (done < n)
        s->was_full = true;
    pthread_mutex_unlock(&s->lock);
    if (was_empty && done)
        pthread_cond_signal(&s->work);
    return done;
}

static void print(struct stdio_chardev *s, const char *text)
{
    stdio_write(&s->cd, text, strlen(text));
}

/* Input */

static void read_input(struct stdio_chardev *s);
static void stdin_ready(void *opaque, int fd, uint32_t events);

static void watch_stdin(struct stdio_chardev *s, bool on)
{
    int rc;

    if (on == s->watching || s->plain_file || (on && s->eof))
        return;
    if (!on) {
        loop_fd_remove(s->cd.loop, STDIN_FILENO);
        s->watching = false;
        return;
    }
    rc = loop_fd_add(s->cd.loop, STDIN_FILENO, EPOLLIN, stdin_ready, s);
    s->watching = rc == 0;
    s->plain_file = rc == -EPERM;
}

static void posted_read(void *opaque)
{
    struct stdio_chardev *s = opaque;

    s->read_posted = false;
    read_input(s);
}

/* Give the guest what it takes of the waiting input. */
static void pump(struct stdio_chardev *s)
{
    const uint8_t *p;
    size_t n;

    while ((n = ring_peek(&s->in, s->in.start, &p)) && (n = chardev_room(&s->cd, n))) {
        uint8_t chunk[64];

        n = MIN(n, sizeof(chunk));
        memcpy(chunk, p, n);
        ring_drop(&s->in, n);
        s->cd.handler.receive(s->cd.handler.opaque, chunk, n);
    }
    if (s->eof || ring_used(&s->in))
        return;
    watch_stdin(s, true);
    if (s->plain_file && !s->read_posted && (chardev_room(&s->cd, 1) || s->monitor))
        s->read_posted = loop_post(s->cd.loop, posted_read, s) == 0;
}

static void set_monitor(struct stdio_chardev *s, bool on)
{
    s->monitor = on;
    if (s->console.monitor_focus)
        s->console.monitor_focus(s->console.opaque, on);
}

static void help(struct stdio_chardev *s)
{
    print(s, "\nCtrl-A h  this help\n"
             "Ctrl-A x  end the virtual machine\n"
             "Ctrl-A c  monitor on or off\n"
             "Ctrl-A b  send a break\n"
             "Ctrl-A Ctrl-A  send Ctrl-A\n");
}

static void deliver(struct stdio_chardev *s, uint8_t key)
{
    if (s->monitor)
        s->console.monitor_input(s->console.opaque, &key, 1);
    else
        ring_put(&s->in, &key, 1);
}

static void escape_key(struct stdio_chardev *s, uint8_t key)
{
    switch (key) {
    case 'x':
        if (s->console.quit)
            s->console.quit(s->console.opaque);
        break;
    case 'c':
        if (s->console.monitor_input)
            set_monitor(s, !s->monitor);
        break;
    case 'b':
        if (s->cd.handler.receive_break)
            s->cd.handler.receive_break(s->cd.handler.opaque);
        break;
    case 'h':
    case '?': help(s); break;
    case KEY_ESCAPE: deliver(s, key); break;
    default: break;
    }
}

static void handle_keys(struct stdio_chardev *s, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s->escaped) {
            s->escaped = false;
            escape_key(s, p[i]);
        } else if (p[i] == KEY_ESCAPE) {
            s->escaped = true;
        } else {
            deliver(s, p[i]);
        }
    }
}

static void read_input(struct stdio_chardev *s)
{
    uint8_t buf[512];
    ssize_t n;

    if (s->eof)
        return;
    n = read(STDIN_FILENO, buf, sizeof(buf));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        watch_stdin(s, false);
        s->eof = true;
        return;
    }
    handle_keys(s, buf, (size_t)n);
    pump(s);
    if (!s->terminal && ring_used(&s->in))
        watch_stdin(s, false);
}

static void stdin_ready(void *opaque, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    read_input(opaque);
}

static void stdio_receive_ready(struct chardev *cd)
{
    pump(from_cd(cd));
}

bool chardev_is_stdio(const struct chardev *cd)
{
    return cd->ops->receive_ready == stdio_receive_ready;
}

void chardev_monitor_leave(struct chardev *cd)
{
    struct stdio_chardev *s = from_cd(cd);

    if (s->monitor)
        set_monitor(s, false);
}

/* Life */

static void join_writer(struct stdio_chardev *s)
{
    struct timespec until;

    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_mutex_unlock(&s->lock);
    pthread_cond_signal(&s->work);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DRAIN_SECONDS;
    if (pthread_timedjoin_np(s->writer, NULL, &until) != 0) {
        /* Nobody reads stdout.  write() is a cancellation point. */
        pthread_cancel(s->writer);
        pthread_join(s->writer, NULL);
    }
}

static void stdio_destroy(struct chardev *cd)
{
    struct stdio_chardev *s = from_cd(cd);

    watch_stdin(s, false);
    join_writer(s);
    term_restore();
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    ring_free(&s->in);
    ring_free(&s->out);
    free(s);
}

static const struct chardev_ops stdio_ops = {
    .write = stdio_write, .receive_ready = stdio_receive_ready, .destroy = stdio_destroy
};

int chardev_create_stdio(struct chardev **out, struct loop *loop,
                         const struct chardev_console *console, char *err, size_t err_size)
{
    struct stdio_chardev *s = calloc(1, sizeof(*s));
    int rc = -ENOMEM;

    if (!s || ring_init(&s->in, IN_SIZE) < 0 || ring_init(&s->out, OUT_SIZE) < 0)
        goto fail;
    s->cd.ops = &stdio_ops;
    s->cd.loop = loop;
    if (console)
        s->console = *console;
    s->terminal = isatty(STDIN_FILENO);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    rc = -pthread_create(&s->writer, NULL, writer_main, s);
    if (rc < 0)
        goto fail;
    term_raw();
    watch_stdin(s, true);
    *out = &s->cd;
    return 0;
fail:
    snprintf(err, err_size, "cannot start the console: %s", strerror(-rc));
    if (s) {
        ring_free(&s->in);
        ring_free(&s->out);
        free(s);
    }
    return rc;
}
