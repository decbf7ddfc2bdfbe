/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory: slots, the door, the dirty log, code tracking. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "mem/mem.h"

/* 1 MiB: [0,640K) and [768K,1M) at their place, the last 64 KiB read-only. */
static struct mem *make(void)
{
    struct mem *mem;
    char err[128];

    assert_int_equal(mem_create(&mem, MiB, err, sizeof(err)), 0);
    assert_int_equal(mem_add_slot(mem, 0xc0000, 0x30000, 0xc0000, false), 0);
    assert_int_equal(mem_add_slot(mem, 0, 0xa0000, 0, false), 0);
    assert_int_equal(mem_add_slot(mem, 0xf0000, 0x10000, 0xf0000, true), 0);
    return mem;
}

static void test_create_bounds(void **state)
{
    struct mem *mem;
    char err[128] = "";

    (void)state;
    assert_int_equal(mem_create(&mem, 0, err, sizeof(err)), -EINVAL);
    assert_int_equal(mem_create(&mem, 4097, err, sizeof(err)), -EINVAL);
    assert_true(strlen(err) > 0);
    /* Sparse: a huge guest costs nothing. */
    assert_int_equal(mem_create(&mem, 256 * GiB, err, sizeof(err)), 0);
    mem_destroy(mem);
    mem_destroy(NULL);
}

static void test_slots(void **state)
{
    struct mem *mem = make();

    (void)state;
    assert_int_equal(mem->nslots, 3);
    assert_true(mem->slots[0].gpa < mem->slots[1].gpa && mem->slots[1].gpa < mem->slots[2].gpa);
    assert_int_equal(mem_add_slot(mem, 0x9f000, 0x2000, 0, false), -EINVAL);
    assert_int_equal(mem_add_slot(mem, 0xbf000, 0x2000, 0, false), -EINVAL);
    assert_int_equal(mem_add_slot(mem, 0x100000, 0x1000, MiB, false), -EINVAL);
    assert_int_equal(mem_add_slot(mem, 0x100000, 0x1000, ~0xfffULL, false), -EINVAL);
    assert_int_equal(mem_add_slot(mem, ~0xfffULL, 0x2000, 0, false), -EINVAL);
    assert_int_equal(mem_add_slot(mem, 0x100000, 0x800, 0, false), -EINVAL);
    assert_int_equal(mem_add_slot(mem, 0x100000, 0, 0, false), -EINVAL);
    assert_null(mem_find(mem, 0xa0000));
    assert_null(mem_find(mem, ~0ULL));
    assert_ptr_equal(mem_find(mem, 0x9ffff), &mem->slots[0]);
    for (unsigned i = 0; i < MEM_MAX_SLOTS - 3; i++)
        assert_int_equal(mem_add_slot(mem, 0x200000 + i * 0x1000, 0x1000, 0, false), 0);
    assert_int_equal(mem_add_slot(mem, 0x900000, 0x1000, 0, false), -ENOSPC);
    mem_destroy(mem);
}

static void test_door(void **state)
{
    struct mem *mem = make();
    uint8_t in[64], out[64];

    (void)state;
    memset(in, 0x5a, sizeof(in));
    assert_int_equal(mem_write(mem, 0xfe0, in, 64), 0);
    assert_int_equal(mem_read(mem, 0xfe0, out, 64), 0);
    assert_memory_equal(in, out, 64);
    /* Past the end of a slot: nothing is written. */
    assert_int_equal(mem_write(mem, 0x9fff0, in, 64), -EFAULT);
    assert_int_equal(mem_read(mem, 0x9fff0, out, 16), 0);
    assert_int_equal(out[0], 0);
    assert_int_equal(mem_read(mem, 0x9fff0, out, 17), -EFAULT);
    assert_int_equal(mem_read(mem, ~0ULL, out, 2), -EFAULT);
    /* Across two slots, and read-only. */
    assert_int_equal(mem_write(mem, 0xeffff, in, 2), -EROFS);
    assert_int_equal(mem_write_rom(mem, 0xeffff, in, 2), 0);
    assert_int_equal(mem_read(mem, 0xeffff, out, 2), 0);
    assert_memory_equal(in, out, 2);
    assert_int_equal(mem_fill(mem, 0x100, 7, 3), 0);
    assert_int_equal(mem_read(mem, 0x102, out, 2), 0);
    assert_int_equal(out[0], 7);
    assert_int_equal(out[1], 0);
    mem_destroy(mem);
}

static void test_get(void **state)
{
    struct mem *mem = make();

    (void)state;
    assert_ptr_equal(mem_get(mem, 0x1234, 16, true), mem->hva + 0x1234);
    assert_null(mem_get(mem, 0x9ffff, 2, false));
    assert_null(mem_get(mem, 0xb0000, 1, false));
    assert_null(mem_get(mem, 0xf0000, 1, true));
    assert_non_null(mem_get(mem, 0xf0000, 1, false));
    assert_null(mem_get(mem, 0x1000, (size_t)-1, false));
    mem_destroy(mem);
}

static void test_dirty(void **state)
{
    struct mem *mem = make();
    uint64_t bits[4];
    uint8_t b = 1;

    (void)state;
    mem_write(mem, 0x5000, &b, 1);
    mem_dirty_start(mem);
    assert_int_equal(mem_dirty_fetch(mem, 0, 256, bits), 0);
    mem_write(mem, 0x3fff, "ab", 2);
    mem_written(mem, 0xc0000, 1);
    assert_int_equal(mem_dirty_fetch(mem, 0, 256, bits), 3);
    assert_int_equal(bits[0], 0x18);
    assert_int_equal(bits[3], 1);
    assert_int_equal(mem_dirty_fetch(mem, 0, 256, bits), 0);
    mem_dirty_stop(mem);
    mem_write(mem, 0x3fff, "ab", 2);
    assert_int_equal(mem_dirty_fetch(mem, 0, 256, bits), 0);
    mem_destroy(mem);
}

static void count_change(void *opaque, uint64_t page)
{
    assert_int_equal(page, 2);
    ++*(unsigned *)opaque;
}

static void test_code(void **state)
{
    struct mem *mem = make();
    unsigned changes = 0;
    uint32_t v;
    bool fresh;

    (void)state;
    mem->code_opaque = &changes;
    mem->code_changed = count_change;
    v = mem_code_add(mem, 2, 0x40, 0x41, &fresh);
    assert_true(fresh);
    assert_int_equal(mem->code[2].lines, 6);
    assert_int_equal(mem_code_add(mem, 2, 0xfff, 1, &fresh), v);
    assert_false(fresh);
    /* Data beside code does not count. */
    mem_write(mem, 0x203f, "x", 1);
    mem_write(mem, 0x20c0, "x", 1);
    assert_int_equal(mem_code_version(mem, 2), v);
    assert_int_equal(changes, 0);
    mem_write(mem, 0x203f, "xy", 2);
    assert_int_equal(mem_code_version(mem, 2), v + 1);
    assert_int_equal(changes, 1);
    mem->code_changed = NULL;
    assert_false(mem_has_code(mem, 2));
    /* A write that ends in a page with code. */
    mem_code_add(mem, 3, 0, 4096, &fresh);
    assert_true(mem->code[3].lines == ~0ULL);
    mem_fill(mem, 0x1000, 0, 0x2001);
    assert_false(mem_has_code(mem, 3));
    mem_destroy(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_bounds), cmocka_unit_test(test_slots),
        cmocka_unit_test(test_door),          cmocka_unit_test(test_get),
        cmocka_unit_test(test_dirty),         cmocka_unit_test(test_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
