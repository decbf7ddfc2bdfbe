/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs of the benchmark share. Each is started as `PROGRAM NAME WORK`, does a warm-up
 * where one is due, and prints two lines, before and after what is measured:
 *
 *     @start
 *     @row NAME WORK SECONDS CHECK
 *
 * CHECK is a number that must be the same wherever the program runs, or "-".
 */
#ifndef ROW_H
#define ROW_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* Seconds by the clock that only goes forward. */
static inline double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

_Noreturn static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

/* The amount of work on the command line. */
static inline long row_work(int argc, char **argv)
{
    long work = argc >= 3 ? atol(argv[2]) : 0;

    if (work <= 0) {
        fprintf(stderr, "usage: %s NAME WORK\n", argv[0]);
        exit(2);
    }
    return work;
}

/* Say that the measurement begins; returns when. */
static inline double row_begin(void)
{
    puts("@start");
    fflush(stdout);
    /* A console must not be busy with that line any more. */
    tcdrain(STDOUT_FILENO);
    return now();
}

static inline void row_print(char **argv, double begin)
{
    printf("@row %s %s %.6f -\n", argv[1], argv[2], now() - begin);
}

static inline void row_print_checked(char **argv, double seconds, uint64_t check)
{
    printf("@row %s %s %.6f %016llx\n", argv[1], argv[2], seconds, (unsigned long long)check);
}

#define HASH_START 0xcbf29ce484222325U

/* FNV-1a, continued. */
static inline uint64_t hash(uint64_t sum, const void *data, size_t size)
{
    const unsigned char *byte = data;

    for (size_t i = 0; i < size; i++) {
        sum = (sum ^ byte[i]) * 0x100000001b3U;
    }
    return sum;
}

/* A fixed sequence of numbers (Knuth's MMIX); the upper half is the good one. */
static inline uint32_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*state >> 32);
}

#endif
