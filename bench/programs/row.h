/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs of the benchmark share. Each is started as `PROGRAM NAME WORK`, does a warm-up
 * where one is due, and prints two lines, before and after what is measured:
 *
 *     @start
 *     @row NAME WORK SECONDS CHECK
 *
 * Each waits for a line of answer. CHECK is a number that must be the same wherever the program runs, or "-".
 */
#ifndef ROW_H
#define ROW_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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

/*
 * Print a line and wait for a line of answer: so the runner can look at its own clocks while nothing
 * happens here. Where there is no input there is nothing to wait for.
 */
static inline void row_say(const char *line)
{
    char answer;

    fputs(line, stdout);
    fflush(stdout);
    while (read(STDIN_FILENO, &answer, 1) == 1 && answer != '\n') {
    }
}

/* Say that the measurement begins; returns when. */
static inline double row_begin(void)
{
    row_say("@start\n");
    return now();
}

static inline void row_print(char **argv, double seconds)
{
    char line[128];

    snprintf(line, sizeof(line), "@row %s %s %.6f -\n", argv[1], argv[2], seconds);
    row_say(line);
}

static inline void row_print_checked(char **argv, double seconds, uint64_t check)
{
    char line[128];

    snprintf(line, sizeof(line), "@row %s %s %.6f %016llx\n", argv[1], argv[2], seconds,
             (unsigned long long)check);
    row_say(line);
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
