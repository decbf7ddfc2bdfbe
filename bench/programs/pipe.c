/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WORK round trips of a byte between two processes, over two pipes. */
#include <sys/wait.h>

#include "row.h"

/* Give back each byte until there are no more. */
static void echo(int in, int out)
{
    char byte;

    while (read(in, &byte, 1) == 1) {
        if (write(out, &byte, 1) != 1) {
            die("write");
        }
    }
    _exit(0);
}

static void round_trips(int out, int in, long count)
{
    char byte = 0;

    for (long i = 0; i < count; i++) {
        if (write(out, &byte, 1) != 1 || read(in, &byte, 1) != 1) {
            die("pipe");
        }
    }
}

int main(int argc, char **argv)
{
    long count = row_work(argc, argv);
    int there[2], back[2];
    double begin;

    if (pipe(there) < 0 || pipe(back) < 0) {
        die("pipe");
    }
    switch (fork()) {
    case -1: die("fork");
    case 0:
        close(there[1]);
        echo(there[0], back[1]);
        break;
    default: break;
    }
    round_trips(there[1], back[0], count / 100 + 1);
    begin = row_begin();
    round_trips(there[1], back[0], count);
    row_print(argv, now() - begin);
    close(there[1]);
    wait(NULL);
    return 0;
}
