/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State streams: what goes out comes back; anything else is an error. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "state/state.h"

struct thing {
    int host;
    uint8_t a;
    uint16_t b[3];
    uint32_t c;
    uint64_t d;
    bool e;
};

static const struct state_field old_fields[] = {
    STATE_FIELD(struct thing, a, 1),
    STATE_ARRAY(struct thing, b, 7),
    STATE_FIELD(struct thing, c, 3),
    STATE_FIELD(struct thing, e, 1),
    STATE_END,
};
static const struct state_field new_fields[] = {
    STATE_FIELD(struct thing, e, 1),
    STATE_ARRAY(struct thing, b, 7),
    STATE_FIELD(struct thing, c, 3),
    STATE_FIELD(struct thing, a, 1),
    { .name = "d",
      .type = STATE_U64,
      .count = 1,
      .offset = offsetof(struct thing, d),
      .reset = 99,
      .since = 2 },
    STATE_END,
};

static int check(void *obj, char *err, size_t err_size)
{
    struct thing *t = obj;

    if (t->a != 200)
        return 0;
    snprintf(err, err_size, "a is 200");
    return -EINVAL;
}

static const struct state_desc old_desc = { "thing", 1, old_fields, check };
static const struct state_desc new_desc = { "thing", 2, new_fields, check };

static const struct thing sample = { 1, 2, { 3, 4, 5 }, 6, 7, true };

static void save(struct state_writer *w, const struct state_desc *d, const struct thing *t)
{
    state_writer_init(w);
    state_save(w, d, 0, t);
    state_save(w, d, 1, &sample);
    assert_int_equal(w->error, 0);
}

static int load(const struct state_writer *w, const struct state_desc *d, uint32_t instance,
                struct thing *t, char *error)
{
    struct state_reader r;
    int ret;

    state_reader_init(&r, w->data, w->size);
    ret = state_load(&r, d, instance, t);
    if (error)
        memcpy(error, r.error, sizeof(r.error));
    return ret;
}

static void test_crc(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283); /* RFC 3720 B.4's check value */
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

static void test_round_trip(void **state)
{
    struct state_writer w;
    struct thing t = { .host = 42 };

    (void)state;
    save(&w, &old_desc, &sample);
    assert_int_equal(load(&w, &old_desc, 1, &t, NULL), 0);
    assert_int_equal(t.host, 42); /* not in the table */
    assert_int_equal(t.a, 2);
    assert_memory_equal(t.b, sample.b, sizeof(t.b));
    assert_int_equal(t.c, 6);
    assert_true(t.e);
    state_writer_free(&w);
}

static void test_versions(void **state)
{
    struct state_writer w;
    struct thing t = { 0 };
    char error[256];

    (void)state;
    save(&w, &old_desc, &sample);
    assert_int_equal(load(&w, &new_desc, 0, &t, NULL), 0);
    assert_int_equal(t.d, 99); /* came with version 2 */
    state_writer_free(&w);
    save(&w, &new_desc, &sample);
    assert_int_equal(load(&w, &old_desc, 0, &t, error), -EINVAL);
    assert_non_null(strstr(error, "version 2"));
    state_writer_free(&w);
}

static void test_errors_name_the_field(void **state)
{
    static const struct state_field fields[] = { STATE_FIELD(struct thing, a, 0), STATE_END };
    static const struct state_desc less = { "thing", 1, fields, NULL };
    struct state_writer w;
    struct thing t = { 0 };
    char error[256];

    (void)state;
    save(&w, &old_desc, &sample);
    assert_int_equal(load(&w, &less, 0, &t, error), -EINVAL);
    assert_non_null(strstr(error, "unknown field 'b'"));
    assert_int_equal(load(&w, &old_desc, 2, &t, error), -ENOENT);
    state_writer_free(&w);
    save(&w, &less, &sample);
    assert_int_equal(load(&w, &old_desc, 0, &t, error), -EINVAL);
    assert_non_null(strstr(error, "'b' is missing"));
    state_writer_free(&w);
}

static void test_bad_values_change_nothing(void **state)
{
    struct thing bad = sample, t = { .a = 9, .c = 8 };
    struct state_writer w;
    char error[256];

    (void)state;
    bad.a = 200;
    save(&w, &old_desc, &bad);
    assert_int_equal(load(&w, &old_desc, 0, &t, error), -EINVAL);
    assert_non_null(strstr(error, "a is 200"));
    assert_int_equal(t.a, 9);
    assert_int_equal(t.c, 8);
    state_writer_free(&w);
}

/* Every single-byte change and every cut is noticed. */
static void test_corruption(void **state)
{
    struct state_writer w;
    struct thing t;

    (void)state;
    save(&w, &old_desc, &sample);
    for (size_t i = 0; i < w.size; i++) {
        size_t size = w.size;

        w.data[i] ^= 0x41;
        memcpy(&t, &sample, sizeof(t));
        assert_int_not_equal(load(&w, &old_desc, 1, &t, NULL), 0);
        assert_memory_equal(&t, &sample, sizeof(t));
        w.data[i] ^= 0x41;
        w.size = i;
        assert_int_not_equal(load(&w, &old_desc, 1, &t, NULL), 0);
        w.size = size;
    }
    state_writer_free(&w);
}

/* Random changes with a right checksum: errors perhaps, no crash. */
static void test_hostile(void **state)
{
    struct state_writer w;
    struct thing t;
    uint32_t crc, size;

    (void)state;
    srandom(1);
    for (int i = 0; i < 20000; i++) {
        save(&w, &old_desc, &sample);
        memcpy(&size, w.data + 4, 4);
        for (int n = 0; n < 3; n++)
            w.data[8 + (size_t)random() % (size - 12)] = (uint8_t)random();
        crc = crc32c(0, w.data, size - 4);
        memcpy(w.data + size - 4, &crc, 4);
        memcpy(&t, &sample, sizeof(t));
        if (load(&w, &old_desc, 0, &t, NULL))
            assert_memory_equal(&t, &sample, sizeof(t));
        state_writer_free(&w);
    }
}

static void test_reset(void **state)
{
    struct thing t = sample;

    (void)state;
    state_reset(&new_desc, &t);
    assert_int_equal(t.host, 1);
    assert_int_equal(t.a, 1);
    assert_int_equal(t.b[2], 7);
    assert_int_equal(t.d, 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_errors_name_the_field),
        cmocka_unit_test(test_bad_values_change_nothing),
        cmocka_unit_test(test_corruption),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_reset),
    };

    return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
