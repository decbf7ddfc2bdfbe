/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A storm of context switches: 50 processes in a ring of pipes pass ten tokens on, WORK times around.
 */
#include <sys/wait.h>

#include "row.h"

#define PROCESSES 50
#define TOKENS    10

static int pipes[PROCESSES][2];

/* Of the ring, process n reads its own pipe and writes into the next one's. */
static void tokens_pass(int n, long count, long forward)
{
    int in = pipes[n][0], out = pipes[(n + 1) % PROCESSES][1];
    char token;

    for (long i = 0; i < count; i++) {
        if (read(in, &token, 1) != 1 || (i < forward && write(out, &token, 1) != 1)) {
            die("token");
        }
    }
}

static void ring_start(long count)
{
    for (int n = 0; n < PROCESSES; n++) {
        if (pipe(pipes[n]) < 0) {
            die("pipe");
        }
    }
    for (int n = 1; n < PROCESSES; n++) {
        pid_t child = fork();

        if (child < 0) {
            die("fork");
        }
        if (child == 0) {
            tokens_pass(n, count, count);
            _exit(0);
        }
    }
}

int main(int argc, char **argv)
{
    long count = row_work(argc, argv) * TOKENS;
    char tokens[TOKENS] = { 0 };
    double begin;

    /* One lap more, which wakes all of them up. */
    ring_start(count + TOKENS);
    if (write(pipes[1][1], tokens, TOKENS) != TOKENS) {
        die("write");
    }
    tokens_pass(0, TOKENS, TOKENS);
    begin = row_begin();
    tokens_pass(0, count, count - TOKENS);
    row_print(argv, now() - begin);
    while (wait(NULL) > 0) {
    }
    return 0;
}
