/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the loaders share: files, a small machine, boot_load. */
#ifndef TESTS_BOOT_FIXTURE_H
#define TESTS_BOOT_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "board/boot.h"

#define BOOT_MEMORY (64 * MiB)
#define BOOT_RSDP 0xe0000u

struct boot_fixture {
    struct mem *mem;
    struct ram_map map;
    struct vcpu_state bsp;
    char dir[32], kernel[48], initrd[48], err[320];
};

static inline int boot_setup(void **state)
{
    struct boot_fixture *f = calloc(1, sizeof(*f));

    strcpy(f->dir, "/tmp/test_load.XXXXXX");
    if (!mkdtemp(f->dir) || mem_create(&f->mem, BOOT_MEMORY, f->err, sizeof(f->err)) < 0)
        return -1;
    ram_map_init(&f->map, BOOT_MEMORY);
    snprintf(f->kernel, sizeof(f->kernel), "%s/kernel", f->dir);
    snprintf(f->initrd, sizeof(f->initrd), "%s/initrd", f->dir);
    *state = f;
    return ram_map_add_slots(&f->map, f->mem);
}

static inline int boot_teardown(void **state)
{
    struct boot_fixture *f = *state;

    unlink(f->kernel);
    unlink(f->initrd);
    rmdir(f->dir);
    mem_destroy(f->mem);
    free(f);
    return 0;
}

static inline void boot_put_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    close(fd);
}

/* Opens and loads image; initrd: as in --initrd.  The result of the first
 * function that fails, or 0. */
static inline int boot_try(struct boot_fixture *f, const void *image, size_t size,
                           const char *initrd, const char *append)
{
    struct boot_source *source;
    int rc;

    boot_put_file(f->kernel, image, size);
    f->err[0] = 0;
    memset(&f->bsp, 0, sizeof(f->bsp));
    rc = boot_open(&source, f->kernel, initrd, append, f->err, sizeof(f->err));
    if (rc == 0) {
        rc = boot_load(source, f->mem, &f->map, BOOT_RSDP, &f->bsp, f->err, sizeof(f->err));
        boot_close(source);
    }
    /* A failure is always explained, in one line. */
    assert_int_equal(rc < 0, f->err[0] != 0);
    assert_null(strchr(f->err, '\n'));
    return rc;
}

static inline uint64_t boot_peek(struct boot_fixture *f, uint64_t gpa, unsigned size)
{
    uint64_t v = 0;

    assert_int_equal(mem_read(f->mem, gpa, &v, size), 0);
    return v;
}

/* Damages image in many ways and loads each: nothing may go wrong but the load. */
static inline void boot_fuzz(struct boot_fixture *f, const uint8_t *image, size_t size,
                             size_t header, unsigned rounds)
{
    static const uint64_t edges[] = { 0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff, ~0ULL, 1ULL << 63 };
    uint8_t *copy = malloc(size);
    uint32_t seed = 12345;

    for (unsigned i = 0; i < rounds; i++) {
        unsigned changes = 1 + i % 3;

        memcpy(copy, image, size);
        while (changes--) {
            size_t at;

            seed = seed * 1664525 + 1013904223;
            at = (seed >> 8) % (header - 8);
            if (seed & 1)
                copy[at] = (uint8_t)(seed >> 24);
            else
                memcpy(copy + at, &edges[(seed >> 1) % ARRAY_SIZE(edges)], 1u << (seed >> 5) % 4);
        }
        boot_try(f, copy, i % 16 ? size : (seed >> 4) % size, NULL, NULL);
    }
    free(copy);
}

#endif
