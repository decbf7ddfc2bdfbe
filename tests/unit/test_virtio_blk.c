/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The block device over MMIO: requests, errors, hostile ones, saved state. */
#include <fcntl.h>

#include "virtio/blk.h"
#include "virtio_driver.h"

#define DISK_SIZE MiB
#define HEADER    DRIVER_DATA
#define BODY      (DRIVER_DATA + 0x1000u)
#define STATUS    (DRIVER_DATA + 0x8000u)

enum { OK, IOERR, UNSUPP, NONE = 0xaa };
enum { IN, OUT, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
#define F_FLUSH  BIT(9)
#define F_ZEROES (BIT(13) | BIT(14))

struct test {
    struct machine m;
    struct driver d;
    struct block_backend *disk;
    struct virtio_device *v;
    char path[64];
};

static void open_machine(struct test *t, bool readonly, unsigned queues)
{
    const struct block_config disk = { .path = t->path, .readonly = readonly };
    struct virtio_blk_config config = { .serial = "SERIAL-OF-MORE-THAN-20", .queues = queues };
    char err[300];

    machine_init(&t->m);
    assert_int_equal(block_open(&t->disk, &disk, err, sizeof(err)), 0);
    config.disk = t->disk;
    assert_int_equal(virtio_blk_create(t->m.bus, &config, &t->v), 0);
    driver_attach(&t->m, t->v);
}

static void start(struct test *t, bool readonly, uint64_t features)
{
    int fd;

    memset(t, 0, sizeof(*t));
    snprintf(t->path, sizeof(t->path), "/tmp/test-blk-XXXXXX");
    fd = mkstemp(t->path);
    assert_int_equal(ftruncate(fd, DISK_SIZE), 0);
    close(fd);
    open_machine(t, readonly, 2);
    driver_start(&t->d, &t->m, features, 2);
}

static void close_machine(struct test *t)
{
    machine_free(&t->m);
    block_close(t->disk);
}

static void end(struct test *t)
{
    close_machine(t);
    unlink(t->path);
}

static void put_header(struct test *t, uint32_t type, uint64_t sector)
{
    const struct {
        uint32_t type, reserved;
        uint64_t sector;
    } h = { type, 0, sector };
    uint8_t none = NONE;

    put_mem(&t->m, HEADER, &h, sizeof(h));
    put_mem(&t->m, STATUS, &none, 1);
}

static uint8_t status_of(struct test *t)
{
    uint8_t s;

    get_mem(&t->m, STATUS, &s, 1);
    return s;
}

/* One request on queue q; returns its status. */
static uint8_t request(struct test *t, unsigned q, uint32_t type, uint64_t sector, uint32_t len)
{
    const bool in = type == IN || type == GET_ID;
    const struct driver_buffer b[] = { { HEADER, 16, false },
                                       { BODY, len, in },
                                       { STATUS, 1, true } };
    uint32_t used;

    put_header(t, type, sector);
    driver_chain(&t->d, q, 0, b, 3);
    driver_notify(&t->d, q);
    used = driver_wait(&t->d, q, NULL);
    if (status_of(t) != OK)
        assert_int_equal(used, 1);
    else if (in)
        assert_true(used <= len + 1 && used > 1);
    return status_of(t);
}

static void test_config(void **state)
{
    struct test t;

    (void)state;
    start(&t, false, F_FLUSH);
    assert_int_equal(reg(&t.m, 0x00), 0x74726976);
    assert_int_equal(reg(&t.m, 0x04), 2);
    assert_int_equal(reg(&t.m, 0x08), 2);
    assert_int_equal(reg(&t.m, 0x100), DISK_SIZE / 512);
    assert_int_equal(bus_mmio_read(t.m.bus, DRIVER_GPA + 0x122, 2), 2); /* num_queues */
    assert_int_equal(bus_mmio_read(t.m.bus, DRIVER_GPA + 0x1f0, 8), 0);
    end(&t);
}

static void test_requests(void **state)
{
    uint8_t data[4096], back[4096];
    char id[20];
    struct test t;

    (void)state;
    start(&t, false, F_FLUSH | F_ZEROES);
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 3 + 1);
    for (unsigned q = 0; q < 2; q++) {
        put_mem(&t.m, BODY, data, sizeof(data));
        assert_int_equal(request(&t, q, OUT, 8 + q, sizeof(data)), OK);
        assert_int_equal(request(&t, q, FLUSH, 0, 0), OK);
        mem_fill(t.m.mem, BODY, 0, sizeof(data));
        assert_int_equal(request(&t, q, IN, 8 + q, sizeof(data)), OK);
        get_mem(&t.m, BODY, back, sizeof(back));
        assert_memory_equal(back, data, sizeof(back));
    }
    assert_int_equal(request(&t, 0, GET_ID, 0, 20), OK);
    get_mem(&t.m, BODY, id, 20);
    assert_memory_equal(id, "SERIAL-OF-MORE-THAN-20", 20);
    end(&t);
}

static void test_refused(void **state)
{
    const uint64_t sectors = DISK_SIZE / 512;
    struct test t;

    (void)state;
    start(&t, false, F_FLUSH);
    assert_int_equal(request(&t, 0, IN, sectors - 1, 512), OK);
    assert_int_equal(request(&t, 0, IN, sectors, 512), IOERR);
    assert_int_equal(request(&t, 0, IN, sectors - 1, 1024), IOERR);
    assert_int_equal(request(&t, 0, OUT, ~0ULL, 512), IOERR);
    assert_int_equal(request(&t, 0, OUT, ~0ULL - 1, 1024), IOERR);
    assert_int_equal(request(&t, 0, IN, 0, 511), IOERR);
    assert_int_equal(request(&t, 0, 0x1234, 0, 512), UNSUPP);
    assert_int_equal(request(&t, 0, DISCARD, 0, 16), UNSUPP); /* not negotiated */
    end(&t);
    start(&t, true, F_FLUSH);
    assert_int_equal(request(&t, 0, OUT, 0, 512), IOERR);
    assert_int_equal(request(&t, 0, IN, 0, 512), OK);
    end(&t);
}

static uint8_t range(struct test *t, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
    const struct {
        uint64_t sector;
        uint32_t n, flags;
    } r = { sector, n, flags };

    put_mem(&t->m, BODY, &r, sizeof(r));
    return request(t, 0, type, 0, sizeof(r));
}

static void test_discard(void **state)
{
    struct test t;
    uint8_t data[512], zero[512] = { 0 };

    (void)state;
    start(&t, false, F_FLUSH | F_ZEROES);
    mem_fill(t.m.mem, BODY, 0x55, 512);
    assert_int_equal(request(&t, 0, OUT, 16, 512), OK);
    assert_int_equal(range(&t, ZEROES, 16, 8, 0), OK);
    assert_int_equal(request(&t, 0, IN, 16, 512), OK);
    get_mem(&t.m, BODY, data, 512);
    assert_memory_equal(data, zero, 512);
    assert_int_equal(range(&t, ZEROES, 16, 8, 1), OK);
    assert_int_equal(range(&t, ZEROES, 16, 8, 2), UNSUPP);
    assert_int_equal(range(&t, DISCARD, 16, 8, 0), OK);
    assert_int_equal(range(&t, DISCARD, 16, 8, 1), UNSUPP);
    assert_int_equal(range(&t, DISCARD, DISK_SIZE / 512, 1, 0), IOERR);
    assert_int_equal(range(&t, DISCARD, 0, 0xffffffff, 0), IOERR);
    assert_int_equal(range(&t, DISCARD, ~0ULL, 2, 0), IOERR);
    assert_int_equal(request(&t, 0, DISCARD, 0, 15), IOERR);
    assert_int_equal(request(&t, 0, DISCARD, 0, 32), IOERR);
    end(&t);
}

/* Header and status cut into pieces, data in several. */
static void test_pieces(void **state)
{
    const struct driver_buffer b[] = {
        { HEADER, 1, false },      { HEADER + 1, 15, false }, { BODY, 100, true },
        { BODY + 100, 411, true }, { BODY + 511, 1, true },   { STATUS, 1, true },
    };
    struct test t;

    (void)state;
    start(&t, false, F_FLUSH);
    put_header(&t, IN, 0);
    driver_chain(&t.d, 0, 0, b, 6);
    driver_notify(&t.d, 0);
    assert_int_equal(driver_wait(&t.d, 0, NULL), 513);
    assert_int_equal(status_of(&t), OK);
    end(&t);
}

static void test_hostile(void **state)
{
    const struct driver_buffer short_header[] = { { HEADER, 15, false }, { STATUS, 1, true } };
    const struct driver_buffer no_status[] = { { HEADER, 16, false } };
    struct test t;

    (void)state;
    start(&t, false, F_FLUSH);
    put_header(&t, IN, 0);
    driver_chain(&t.d, 0, 0, short_header, 2);
    driver_notify(&t.d, 0);
    driver_wait(&t.d, 0, NULL);
    assert_int_equal(status_of(&t), IOERR);
    driver_chain(&t.d, 0, 0, no_status, 1);
    driver_notify(&t.d, 0);
    driver_wait_broken(&t.d);
    /* A reset mends it. */
    driver_start(&t.d, &t.m, F_FLUSH, 2);
    assert_int_equal(request(&t, 1, IN, 0, 512), OK);
    put_avail(&t.d, 1, 0x7777);
    driver_notify(&t.d, 1);
    driver_wait_broken(&t.d);
    driver_start(&t.d, &t.m, F_FLUSH, 2);
    /* Rings that are nowhere. */
    set_reg(&t.m, 0x70, 0);
    set_reg(&t.m, 0x70, 3);
    set_reg(&t.m, 0x24, 1);
    set_reg(&t.m, 0x20, 1);
    set_reg(&t.m, 0x70, 11);
    set_reg(&t.m, 0x30, 0);
    set_reg(&t.m, 0x84, 0xffff);
    set_reg(&t.m, 0x44, 1);
    assert_true(reg(&t.m, 0x70) & VIRTIO_STATUS_NEEDS_RESET);
    end(&t);
}

static void test_negotiation(void **state)
{
    struct test t;

    (void)state;
    start(&t, false, F_FLUSH);
    set_reg(&t.m, 0x70, 0);
    set_reg(&t.m, 0x70, 11); /* without VERSION_1 */
    assert_int_equal(reg(&t.m, 0x70), 3);
    set_reg(&t.m, 0x24, 1);
    set_reg(&t.m, 0x20, 0x81); /* with one that was not offered */
    set_reg(&t.m, 0x70, 11);
    assert_int_equal(reg(&t.m, 0x70), 3);
    set_reg(&t.m, 0x70, 7); /* DRIVER_OK before FEATURES_OK */
    assert_int_equal(reg(&t.m, 0x70), 3);
    set_reg(&t.m, 0x20, 1);
    set_reg(&t.m, 0x70, 11);
    assert_int_equal(reg(&t.m, 0x70), 11);
    set_reg(&t.m, 0x20, 0); /* too late */
    set_reg(&t.m, 0x70, 15);
    assert_int_equal(reg(&t.m, 0x70), 15);
    assert_true(virtio_has(t.v, VIRTIO_F_VERSION_1));
    end(&t);
}

/* A request that was offered before the save is answered after the load. */
static void test_state(void **state)
{
    const struct driver_buffer b[] = { { HEADER, 16, false },
                                       { BODY, 512, true },
                                       { STATUS, 1, true } };
    struct test t, u;
    struct state_writer w;
    struct state_reader r;
    void *ram;

    (void)state;
    start(&t, false, F_FLUSH);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(request(&t, 0, IN, i, 512), OK);
    bus_quiesce(t.m.bus);
    put_header(&t, IN, 0);
    driver_chain(&t.d, 0, 0, b, 3);
    driver_notify(&t.d, 0);
    usleep(2000);
    assert_int_equal(status_of(&t), NONE); /* it stands */
    state_writer_init(&w);
    bus_save(t.m.bus, &w);
    assert_int_equal(w.error, 0);
    ram = malloc(MiB);
    get_mem(&t.m, 0, ram, MiB);
    close_machine(&t);

    u = t;
    open_machine(&u, false, 2);
    bus_quiesce(u.m.bus);
    put_mem(&u.m, 0, ram, MiB);
    state_reader_init(&r, w.data, w.size);
    if (bus_load(u.m.bus, &r))
        fail_msg("%s", r.error);
    bus_resume(u.m.bus);
    u.d.m = &u.m;
    assert_int_equal(driver_wait(&u.d, 0, NULL), 513);
    assert_int_equal(status_of(&u), OK);
    assert_int_equal(request(&u, 1, IN, 3, 512), OK);
    close_machine(&u);
    /* A machine whose disk lacks what the guest uses. */
    open_machine(&u, false, 1);
    bus_quiesce(u.m.bus);
    assert_int_not_equal(bus_load(u.m.bus, &r), 0);
    state_writer_free(&w);
    free(ram);
    end(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config),      cmocka_unit_test(test_requests),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_discard),
        cmocka_unit_test(test_pieces),      cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_negotiation), cmocka_unit_test(test_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
