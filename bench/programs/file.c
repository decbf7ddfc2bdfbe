/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WORK times pread or pwrite (the word named third) of 4 KiB of a file in memory. */
#include <fcntl.h>
#include <string.h>

#include "row.h"

#define BLOCK  4096U
#define BLOCKS 4096U

static char block[BLOCK];

static void transfer(int file, long count, int writing)
{
    for (long i = 0; i < count; i++) {
        off_t at = (off_t)(i % BLOCKS) * BLOCK;
        ssize_t done = writing ? pwrite(file, block, BLOCK, at) : pread(file, block, BLOCK, at);

        if (done != (ssize_t)BLOCK) {
            die("transfer");
        }
    }
}

int main(int argc, char **argv)
{
    long count = row_work(argc, argv);
    int writing = argc == 4 && strcmp(argv[3], "pwrite") == 0;
    int file = open("/tmp", O_RDWR | O_TMPFILE, 0600);
    double begin;

    if (file < 0) {
        die("/tmp");
    }
    transfer(file, BLOCKS, 1);
    begin = row_begin();
    transfer(file, count, writing);
    row_print(argv, now() - begin);
    return 0;
}
