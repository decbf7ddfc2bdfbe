/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices: the ring, files, sockets, the stdio console. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "chardev/chardev.h"
#include "chardev/ring.h"

static void test_ring(void **state)
{
    struct ring r;
    const uint8_t *p;

    (void)state;
    assert_int_equal(ring_init(&r, 8), 0);
    assert_int_equal(ring_put(&r, "abcde", 5), 5);
    assert_int_equal(ring_put(&r, "fghij", 5), 3);
    assert_int_equal(ring_room(&r), 0);
    assert_int_equal(ring_peek(&r, r.start, &p), 8);
    assert_memory_equal(p, "abcdefgh", 8);
    ring_drop(&r, 6);
    assert_int_equal(ring_put(&r, "123", 3), 3);
    assert_int_equal(ring_peek(&r, r.start, &p), 2);
    assert_memory_equal(p, "gh", 2);
    assert_int_equal(ring_peek(&r, r.start + 2, &p), 3);
    assert_memory_equal(p, "123", 3);
    ring_drop(&r, 99);
    assert_int_equal(ring_used(&r), 0);
    ring_free(&r);
}

static void test_ring_push(void **state)
{
    struct ring r;
    const uint8_t *p;
    char out[9] = "";
    size_t n = 0;

    (void)state;
    assert_int_equal(ring_init(&r, 8), 0);
    ring_push(&r, "abcdef", 6);
    ring_push(&r, "ghij", 4);
    assert_int_equal(r.start, 2);
    assert_int_equal(r.end, 10);
    ring_push(&r, "0123456789AB", 12);
    assert_int_equal(r.end, 22);
    assert_int_equal(ring_used(&r), 8);
    for (uint64_t pos = r.start; pos != r.end; pos += n) {
        n = ring_peek(&r, pos, &p);
        memcpy(out + (pos - r.start), p, n);
    }
    assert_string_equal(out, "456789AB");
    ring_free(&r);
}

static void test_check(void **state)
{
    static const char *const bad[] = { "", "file:", "unix:", "stdio:", "tcp:1", "none,x" };
    char err[256], path[200];

    (void)state;
    assert_int_equal(chardev_check("stdio", err, sizeof(err)), 0);
    assert_int_equal(chardev_check("none", err, sizeof(err)), 0);
    assert_int_equal(chardev_check("file:x", err, sizeof(err)), 0);
    assert_int_equal(chardev_check("unix:/x", err, sizeof(err)), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        err[0] = 0;
        assert_int_equal(chardev_check(bad[i], err, sizeof(err)), -EINVAL);
        assert_true(err[0]);
    }
    snprintf(path, sizeof(path), "unix:%0150d", 1);
    assert_int_equal(chardev_check(path, err, sizeof(err)), -EINVAL);
}

/* A loop, run for as long as posted work and descriptors are ready. */
struct fixture {
    pthread_mutex_t lock;
    struct vm_clock clock;
    struct loop *loop;
    struct loop_timer *timer;
    char dir[32];
    char got[256];          /* what the guest's side received */
    size_t ngot, room;
    unsigned nwritable, nbreaks, nquits;
    char monitor[64];
    struct chardev *cd;
};

static void stop_loop(void *opaque)
{
    loop_stop(((struct fixture *)opaque)->loop);
}

static void run_loop(struct fixture *f)
{
    loop_timer_set(f->timer, vm_clock_ns(&f->clock) + 50000000);
    loop_run(f->loop);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    pthread_mutex_init(&f->lock, NULL);
    vm_clock_init(&f->clock);
    vm_clock_start(&f->clock);
    strcpy(f->dir, "/tmp/test_chardev.XXXXXX");
    if (!mkdtemp(f->dir) || loop_create(&f->loop, &f->lock, &f->clock) < 0 ||
        loop_timer_create(f->loop, &f->timer, stop_loop, f) < 0)
        return -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    loop_timer_destroy(f->timer);
    loop_destroy(f->loop);
    rmdir(f->dir);
    free(f);
    return 0;
}

static void on_receive(void *opaque, const uint8_t *data, size_t n)
{
    struct fixture *f = opaque;

    assert_true(n <= f->room);
    memcpy(f->got + f->ngot, data, n);
    f->ngot += n;
    f->room -= n;
}

static size_t can_receive(void *opaque)
{
    return ((struct fixture *)opaque)->room;
}

static void on_writable(void *opaque)
{
    ((struct fixture *)opaque)->nwritable++;
}

static void on_break(void *opaque)
{
    ((struct fixture *)opaque)->nbreaks++;
}

static void open_chardev(struct fixture *f, const char *spec,
                         const struct chardev_console *console)
{
    const struct chardev_handler handler = { .receive = on_receive, .can_receive = can_receive,
                                             .writable = on_writable,
                                             .receive_break = on_break, .opaque = f };
    char err[256] = "";

    if (chardev_create(&f->cd, f->loop, spec, console, err, sizeof(err)) < 0)
        fail_msg("%s: %s", spec, err);
    chardev_set_handler(f->cd, &handler);
}

static void test_file(void **state)
{
    struct fixture *f = *state;
    char spec[64], buf[16] = "", err[128];
    struct chardev *cd;
    int fd;

    snprintf(spec, sizeof(spec), "file:%s/out", f->dir);
    open_chardev(f, spec, NULL);
    assert_int_equal(chardev_write(f->cd, "hello", 5), 5);
    chardev_destroy(f->cd);
    fd = open(spec + 5, O_RDONLY);
    assert_int_equal(read(fd, buf, sizeof(buf)), 5);
    assert_string_equal(buf, "hello");
    close(fd);
    unlink(spec + 5);
    assert_int_equal(chardev_create(&cd, f->loop, "file:/nonexistent/x", NULL, err, sizeof(err)),
                     -ENOENT);
}

static int connect_to(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    strcpy(addr.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static void test_unix(void **state)
{
    struct fixture *f = *state;
    char spec[64], buf[128];
    int one, two;

    snprintf(spec, sizeof(spec), "unix:%s/s", f->dir);
    f->room = 3;
    open_chardev(f, spec, NULL);
    assert_int_equal(chardev_write(f->cd, "early ", 6), 6);
    one = connect_to(spec + 5);
    run_loop(f);
    assert_int_equal(chardev_write(f->cd, "late", 4), 4);
    run_loop(f);
    assert_int_equal(read(one, buf, sizeof(buf)), 10);
    assert_memory_equal(buf, "early late", 10);
    /* Input goes no faster than the guest takes it. */
    assert_int_equal(write(one, "abcdef", 6), 6);
    run_loop(f);
    assert_int_equal(f->ngot, 3);
    f->room = 10;
    chardev_receive_ready(f->cd);
    run_loop(f);
    assert_int_equal(f->ngot, 6);
    assert_memory_equal(f->got, "abcdef", 6);
    /* The next client waits, then gets what was kept. */
    two = connect_to(spec + 5);
    run_loop(f);
    assert_int_equal(read(two, buf, sizeof(buf)), -1);
    close(one);
    run_loop(f);
    run_loop(f);
    assert_int_equal(read(two, buf, sizeof(buf)), 10);
    chardev_destroy(f->cd);
    assert_int_equal(read(two, buf, sizeof(buf)), 0);
    close(two);
    assert_int_equal(access(spec + 5, F_OK), -1);
}

/* A client that does not read loses old output, not new. */
static void test_unix_slow_client(void **state)
{
    struct fixture *f = *state;
    static char big[300 * 1024], buf[400 * 1024];
    size_t n = 0;
    char spec[64];
    ssize_t got;
    int fd;

    snprintf(spec, sizeof(spec), "unix:%s/s", f->dir);
    open_chardev(f, spec, NULL);
    memset(big, 'x', sizeof(big));
    memcpy(big + sizeof(big) - 3, "end", 3);
    assert_int_equal(chardev_write(f->cd, big, sizeof(big)), sizeof(big));
    fd = connect_to(spec + 5);
    run_loop(f);
    while ((got = read(fd, buf + n, sizeof(buf) - n)) > 0)
        n += (size_t)got;
    assert_int_equal(n, 64 * 1024);
    assert_memory_equal(buf + n - 3, "end", 3);
    close(fd);
    chardev_destroy(f->cd);
}

static void test_unix_stale(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    char spec[64], err[128];
    struct chardev *cd;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(spec, sizeof(spec), "unix:%s/s", f->dir);
    strcpy(addr.sun_path, spec + 5);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    close(fd);
    /* Left over: replaced.  In use: refused. */
    open_chardev(f, spec, NULL);
    assert_int_equal(chardev_create(&cd, f->loop, spec, NULL, err, sizeof(err)), -EADDRINUSE);
    assert_int_equal(access(spec + 5, F_OK), 0);
    chardev_destroy(f->cd);
}

static void on_quit(void *opaque)
{
    ((struct fixture *)opaque)->nquits++;
}

static void on_monitor(void *opaque, const uint8_t *data, size_t n)
{
    struct fixture *f = opaque;

    strncat(f->monitor, (const char *)data, n);
}

/* Standard input and output replaced by pipes for the test. */
static void test_stdio(void **state)
{
    struct fixture *f = *state;
    const struct chardev_console console = { .quit = on_quit, .monitor_input = on_monitor,
                                             .opaque = f };
    static const char keys[] = "ab\001\001c\001b\001cmon\001cd\001x";
    int in[2], out[2], old_in = dup(0), old_out = dup(1);
    char buf[64] = "";

    assert_int_equal(pipe(in) | pipe(out), 0);
    fflush(stdout);
    dup2(in[0], 0);
    dup2(out[1], 1);
    f->room = 2;
    open_chardev(f, "stdio", &console);
    assert_true(chardev_is_stdio(f->cd));
    assert_int_equal(write(in[1], keys, sizeof(keys) - 1), sizeof(keys) - 1);
    run_loop(f);
    f->room = 100;
    chardev_receive_ready(f->cd);
    close(in[1]);
    run_loop(f);
    assert_int_equal(chardev_write(f->cd, "out", 3), 3);
    chardev_destroy(f->cd);
    dup2(old_in, 0);
    dup2(old_out, 1);
    assert_int_equal(f->ngot, 5);
    assert_memory_equal(f->got, "ab\001cd", 5);
    assert_string_equal(f->monitor, "mon");
    assert_int_equal(f->nbreaks, 1);
    assert_int_equal(f->nquits, 1);
    assert_int_equal(read(out[0], buf, sizeof(buf)), 3);
    assert_string_equal(buf, "out");
    close(in[0]);
    close(out[0]);
    close(out[1]);
    close(old_in);
    close(old_out);
}

/* A full pipe: a short write, and writable() once there is room. */
static void test_stdio_full(void **state)
{
    struct fixture *f = *state;
    static char big[256 * 1024];
    int out[2], old_out = dup(1);
    size_t taken, left;

    assert_int_equal(pipe(out), 0);
    fflush(stdout);
    dup2(out[1], 1);
    open_chardev(f, "stdio", NULL);
    taken = chardev_write(f->cd, big, sizeof(big));
    run_loop(f);
    assert_true(taken < sizeof(big));
    f->nwritable = 0;
    taken += chardev_write(f->cd, big, sizeof(big));
    for (left = 100 * 1024; left;) {
        ssize_t n = read(out[0], big, MIN(left, sizeof(big)));

        assert_true(n > 0);
        left -= (size_t)n;
    }
    run_loop(f);
    dup2(old_out, 1);
    close(out[1]);
    assert_int_equal(f->nwritable, 1);
    /* Nobody reads any more: destroy does not hang. */
    chardev_destroy(f->cd);
    close(out[0]);
    close(old_out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_ring_push),
        cmocka_unit_test(test_check),
        cmocka_unit_test_setup_teardown(test_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unix_slow_client, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unix_stale, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stdio, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stdio_full, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
