/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WORK units of computing, shared out evenly to so many threads as the third word says. */
#include <pthread.h>

#include "row.h"

#define MAX_THREADS 64
#define UNIT        1024U

struct share {
    pthread_t thread;
    long units;
    uint64_t sum;
    uint32_t table[UNIT];
};

static struct share shares[MAX_THREADS];

/* Arithmetic, loads and stores in a table that nobody else has. */
static void *compute(void *opaque)
{
    struct share *share = opaque;
    uint64_t state = 5;

    for (long unit = 0; unit < share->units; unit++) {
        for (uint32_t i = 0; i < UNIT; i++) {
            uint32_t number = random_next(&state);

            share->table[number % UNIT] += number ^ i;
            share->sum += share->table[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    long units = row_work(argc, argv), threads = argc == 4 ? atol(argv[3]) : 1;
    uint64_t sum = 0;
    double begin = row_begin(), seconds;

    if (threads < 1 || threads > MAX_THREADS) {
        fprintf(stderr, "threads: 1 to %d of them\n", MAX_THREADS);
        return 2;
    }
    for (long i = 0; i < threads; i++) {
        shares[i].units = units / threads;
        if (pthread_create(&shares[i].thread, NULL, compute, &shares[i])) {
            die("pthread_create");
        }
    }
    for (long i = 0; i < threads; i++) {
        pthread_join(shares[i].thread, NULL);
        sum += shares[i].sum;
    }
    seconds = now() - begin;
    row_print_checked(argv, seconds, sum);
    return 0;
}
