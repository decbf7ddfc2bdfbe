/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop: order of timers, descriptors, posted calls, the clock. */
#include <sys/epoll.h>

#include "machine.h"

#define TIMERS 50

struct shot {
    struct loop_timer *timer;
    uint64_t at;
};

static struct shot shots[TIMERS];
static uint64_t last_at;
static unsigned fired;

static void fire(void *opaque)
{
    struct shot *s = opaque;

    assert_true(s->at >= last_at);
    last_at = s->at;
    fired++;
}

static void test_timer_order(void **state)
{
    struct machine m;
    uint64_t now;

    (void)state;
    machine_init(&m);
    now = vm_clock_ns(&m.clock);
    srandom(2);
    fired = 0;
    last_at = 0;
    for (unsigned i = 0; i < TIMERS; i++) {
        loop_timer_create(m.bus->loop, &shots[i].timer, fire, &shots[i]);
        loop_timer_set(shots[i].timer, now + 5 * NSEC_PER_SEC);
        shots[i].at = now + (uint64_t)random() % NSEC_PER_SEC;
        loop_timer_set(shots[i].timer, shots[i].at);
    }
    for (unsigned i = 0; i < TIMERS; i += 5)
        loop_timer_cancel(shots[i].timer);
    run_ns(&m, NSEC_PER_SEC);
    assert_int_equal(fired, TIMERS - TIMERS / 5);
    for (unsigned i = 0; i < TIMERS; i++)
        loop_timer_destroy(shots[i].timer);
    machine_free(&m);
}

static void count(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_clock_stands(void **state)
{
    struct machine m;
    struct loop_timer *t;
    unsigned n = 0;

    (void)state;
    machine_init(&m);
    loop_timer_create(m.bus->loop, &t, count, &n);
    loop_timer_set(t, vm_clock_ns(&m.clock) + 1000);
    wait_ns(&m, 5000);
    loop_clock_changed(m.bus->loop);
    usleep(300);
    m.rounds = 2;
    loop_post(m.bus->loop, stop_later, &m);
    loop_run(m.bus->loop); /* the clock is stopped: nothing is due */
    assert_int_equal(n, 0);
    run_ns(&m, 0);
    assert_int_equal(n, 1);
    loop_timer_destroy(t);
    machine_free(&m);
}

struct pair {
    struct loop *loop;
    int fds[2];
    unsigned calls;
};

static void remove_both(void *opaque, int fd, uint32_t events)
{
    struct pair *p = opaque;

    (void)fd;
    assert_true(events & EPOLLIN);
    p->calls++;
    loop_fd_remove(p->loop, p->fds[0]);
    loop_fd_remove(p->loop, p->fds[1]);
}

/* Two descriptors are ready in one batch; the first removes both. */
static void test_remove_in_batch(void **state)
{
    struct machine m;
    struct pair p = { 0 };
    int a[2], b[2];

    (void)state;
    machine_init(&m);
    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    p = (struct pair){ m.bus->loop, { a[0], b[0] }, 0 };
    assert_int_equal(loop_fd_add(m.bus->loop, a[0], EPOLLIN, remove_both, &p), 0);
    assert_int_equal(loop_fd_add(m.bus->loop, b[0], EPOLLIN, remove_both, &p), 0);
    assert_true(loop_fd_add(m.bus->loop, b[0], EPOLLIN, remove_both, &p) < 0);
    assert_int_equal(write(a[1], "x", 1), 1);
    assert_int_equal(write(b[1], "x", 1), 1);
    run_ns(&m, 0);
    assert_int_equal(p.calls, 1);
    assert_true(loop_fd_modify(m.bus->loop, a[0], EPOLLIN) < 0);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    machine_free(&m);
}

static void *poster(void *opaque)
{
    struct pair *p = opaque;

    for (int i = 0; i < 1000; i++)
        assert_int_equal(loop_post(p->loop, count, &p->calls), 0);
    return NULL;
}

static void test_posts_from_threads(void **state)
{
    struct machine m;
    struct pair p = { 0 };
    pthread_t threads[4];

    (void)state;
    machine_init(&m);
    p.loop = m.bus->loop;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, poster, &p);
    run_ns(&m, 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    run_ns(&m, 0);
    assert_int_equal(p.calls, 4000);
    loop_post(m.bus->loop, count, &p.calls); /* freed with the loop */
    machine_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer_order),
        cmocka_unit_test(test_clock_stands),
        cmocka_unit_test(test_remove_in_batch),
        cmocka_unit_test(test_posts_from_threads),
    };

    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
