/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * WORK first touches of anonymous pages of 4 KiB. The VMM's own first touches of guest memory are
 * not the matter: more than these pages was in use before.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "row.h"

#define PAGE    4096U
#define CHUNK   (32U << 20)
#define TOUCHED (320U << 20)

static void *map(size_t size, int flags)
{
    void *area =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

    if (area == MAP_FAILED) {
        die("mmap");
    }
    return area;
}

static void touch(size_t pages)
{
    volatile char *area = map(CHUNK, 0);

    /* With large pages there would be one fault for 512 of them. A kernel without them says EINVAL. */
    if (madvise((void *)area, CHUNK, MADV_NOHUGEPAGE) < 0 && errno != EINVAL) {
        die("madvise");
    }
    for (size_t i = 0; i < pages; i++) {
        area[i * PAGE] = 1;
    }
    munmap((void *)area, CHUNK);
}

int main(int argc, char **argv)
{
    size_t count = (size_t)row_work(argc, argv), chunk = CHUNK / PAGE;
    void *touched = map(TOUCHED, 0);
    double begin;

    memset(touched, 1, TOUCHED);
    munmap(touched, TOUCHED);
    touch(chunk);
    begin = row_begin();
    for (; count > chunk; count -= chunk) {
        touch(chunk);
    }
    touch(count);
    row_print(argv, now() - begin);
    return 0;
}
