/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qsort of WORK ints, with the C library's own function: calls through a pointer. */
#include "row.h"

static int compare(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    long count = row_work(argc, argv);
    int *numbers = malloc((size_t)count * sizeof(*numbers));
    uint64_t state = 1;
    double begin, seconds;

    if (!numbers) {
        die("malloc");
    }
    for (long i = 0; i < count; i++) {
        numbers[i] = (int)random_next(&state);
    }
    begin = row_begin();
    qsort(numbers, (size_t)count, sizeof(*numbers), compare);
    seconds = now() - begin;
    row_print_checked(argv, seconds, hash(HASH_START, numbers, (size_t)count * sizeof(*numbers)));
    free(numbers);
    return 0;
}
