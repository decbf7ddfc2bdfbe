/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks of the host: both ways of I/O, errors, locks. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "machine.h"

#include "block/block.h"

#define SIZE (4 * MiB)

static char path[64];
static char err[320];

struct job {
    struct block_request req;
    struct iovec iov[3];
    unsigned done;
    int rc;
};

static int set_up(void **state)
{
    int fd;

    (void)state;
    snprintf(path, sizeof(path), "/tmp/test-block-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    close(fd);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static enum block_aio kind(void **state)
{
    return *(enum block_aio *)*state;
}

static struct block_backend *open_disk(enum block_aio aio, bool readonly)
{
    const struct block_config config = { .path = path, .aio = aio, .readonly = readonly };
    struct block_backend *b = NULL;
    int rc = block_open(&b, &config, err, sizeof(err));

    if (rc == -ENOSYS || rc == -EPERM)
        return NULL; /* io_uring is blocked here */
    if (rc < 0)
        fail_msg("%s", err);
    return b;
}

static void done(struct block_request *req, int rc)
{
    struct job *j = container_of(req, struct job, req);

    j->done++;
    j->rc = rc;
}

static void submit(struct block_backend *b, struct job *j, enum block_op op, uint64_t offset,
                   void *data, uint64_t len)
{
    const uint64_t third = len / 3;

    memset(j, 0, sizeof(*j));
    j->req.op = op;
    j->req.offset = offset;
    j->req.len = len;
    j->req.done = done;
    if (data) {
        j->iov[0] = (struct iovec){ data, third };
        j->iov[1] = (struct iovec){ (uint8_t *)data + third, third };
        j->iov[2] = (struct iovec){ (uint8_t *)data + 2 * third, len - 2 * third };
        j->req.iov = j->iov;
        j->req.niov = 3;
    }
    block_submit(b, &j->req);
}

static int run(struct block_backend *b, enum block_op op, uint64_t offset, void *data, uint64_t len)
{
    struct job j;

    submit(b, &j, op, offset, data, len);
    block_drain(b);
    assert_int_equal(j.done, 1);
    return j.rc;
}

static void test_data(void **state)
{
    static uint8_t out[128 * KiB], in[128 * KiB], zero[128 * KiB];
    struct block_backend *b = open_disk(kind(state), false);
    struct stat st;

    if (!b)
        skip();
    assert_int_equal(b->size, SIZE);
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i * 7 + i / 251);
    assert_int_equal(run(b, BLOCK_WRITE, 512, out, sizeof(out)), 0);
    assert_int_equal(run(b, BLOCK_READ, 512, in, sizeof(in)), 0);
    assert_memory_equal(in, out, sizeof(in));
    assert_int_equal(run(b, BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_int_equal(run(b, BLOCK_WRITE_ZEROES, 4096, NULL, 8192), 0);
    memset(out + 4096 - 512, 0, 8192);
    assert_int_equal(run(b, BLOCK_READ, 512, in, sizeof(in)), 0);
    assert_memory_equal(in, out, sizeof(in));
    assert_int_equal(run(b, BLOCK_DISCARD, 0, NULL, SIZE), 0);
    assert_int_equal(run(b, BLOCK_READ, 512, in, sizeof(in)), 0);
    assert_true(memcmp(in, zero, sizeof(in)) == 0 || memcmp(in, out, sizeof(in)) == 0);
    stat(path, &st);
    assert_int_equal(st.st_size, SIZE);
    block_close(b);
}

/* More at once than a ring has entries, with the descriptor as the only sign. */
static void test_many(void **state)
{
    enum { N = 1000 };
    struct block_backend *b = open_disk(kind(state), false);
    struct job *jobs = calloc(N, sizeof(*jobs));
    uint64_t *data = calloc(N, 512);
    unsigned ended = 0;

    if (!b) {
        free(jobs);
        free(data);
        skip();
    }
    for (unsigned i = 0; i < N; i++) {
        data[i * 64] = i + 1;
        submit(b, &jobs[i], BLOCK_WRITE, i * 512, &data[i * 64], 512);
    }
    block_kick(b);
    while (b->in_flight) {
        struct pollfd p = { .fd = b->fd, .events = POLLIN };

        assert_int_equal(poll(&p, 1, 10000), 1);
        block_poll(b);
    }
    for (unsigned i = 0; i < N; i++) {
        ended += jobs[i].done;
        assert_int_equal(jobs[i].rc, 0);
    }
    assert_int_equal(ended, N);
    memset(data, 0, N * 512);
    for (unsigned i = 0; i < N; i++)
        submit(b, &jobs[i], BLOCK_READ, i * 512, &data[i * 64], 512);
    block_drain(b);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(data[i * 64], i + 1);
    free(jobs);
    free(data);
    block_close(b);
}

/* A limit of the file's size stands for a full disk. */
static void test_full(void **state)
{
    static uint8_t data[64 * KiB];
    struct block_backend *b = open_disk(kind(state), false);
    struct rlimit old, limit;

    if (!b)
        skip();
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = (struct rlimit){ .rlim_cur = MiB, .rlim_max = old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(run(b, BLOCK_WRITE, 0, data, sizeof(data)), 0);
    assert_true(run(b, BLOCK_WRITE, 2 * MiB, data, sizeof(data)) < 0);
    /* One that begins below the limit is cut short first. */
    assert_true(run(b, BLOCK_WRITE, MiB - 4096, data, sizeof(data)) < 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(run(b, BLOCK_WRITE, 2 * MiB, data, sizeof(data)), 0);
    block_close(b);
}

/* The file gets shorter behind our back. */
static void test_truncated(void **state)
{
    static uint8_t data[64 * KiB];
    struct block_backend *b = open_disk(kind(state), false);

    if (!b)
        skip();
    assert_int_equal(truncate(path, MiB), 0);
    assert_int_equal(run(b, BLOCK_READ, 0, data, sizeof(data)), 0);
    assert_int_equal(run(b, BLOCK_READ, 2 * MiB, data, sizeof(data)), -EIO);
    assert_int_equal(run(b, BLOCK_READ, MiB - 4096, data, sizeof(data)), -EIO);
    block_close(b);
}

static int try_open(const char *file, bool readonly)
{
    const struct block_config config = { .path = file,
                                         .readonly = readonly,
                                         .aio = BLOCK_AIO_THREADS };
    struct block_backend *b = NULL;
    int rc = block_open(&b, &config, err, sizeof(err));

    if (rc == 0)
        block_close(b);
    return rc;
}

static void test_locks(void **state)
{
    struct block_backend *b;

    (void)state;
    b = open_disk(BLOCK_AIO_THREADS, false);
    assert_int_equal(try_open(path, false), -EBUSY);
    assert_non_null(strstr(err, "in use by another"));
    assert_int_equal(try_open(path, true), -EBUSY);
    block_close(b);
    b = open_disk(BLOCK_AIO_THREADS, true);
    assert_true(b->readonly);
    assert_int_equal(try_open(path, true), 0);
    assert_int_equal(try_open(path, false), -EBUSY);
    block_close(b);
    assert_int_equal(try_open(path, false), 0);
}

static void test_wrong(void **state)
{
    enum block_aio aio;

    (void)state;
    assert_int_equal(try_open("/nonexistent/disk", false), -ENOENT);
    assert_int_equal(try_open("/tmp", false), -EISDIR);
    assert_non_null(strstr(err, "is a directory"));
    assert_int_equal(try_open("/tmp", true), -EISDIR);
    assert_int_equal(try_open("/dev/full", false), -EINVAL);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(try_open(path, false), -EINVAL);
    assert_non_null(strstr(err, "is empty"));
    assert_int_equal(block_parse_aio("threads", &aio), 0);
    assert_int_equal(aio, BLOCK_AIO_THREADS);
    assert_int_equal(block_parse_aio("native", &aio), -EINVAL);
}

#define ON(f, aio)                                                 \
    {                                                              \
#f " " #aio, f, set_up, tear_down, &kinds[BLOCK_AIO_##aio] \
    }

int main(void)
{
    static enum block_aio kinds[] = { BLOCK_AIO_AUTO, BLOCK_AIO_URING, BLOCK_AIO_THREADS };
    const struct CMUnitTest tests[] = {
        ON(test_data, URING),
        ON(test_data, THREADS),
        ON(test_many, URING),
        ON(test_many, THREADS),
        ON(test_full, URING),
        ON(test_full, THREADS),
        ON(test_truncated, URING),
        ON(test_truncated, THREADS),
        ON(test_data, AUTO),
        cmocka_unit_test_setup_teardown(test_locks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wrong, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
