/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Floating point: the product of two matrices of floats, WORK times. */
#include "row.h"

#define SIZE 160

static float a[SIZE][SIZE], b[SIZE][SIZE], product[SIZE][SIZE];

static void multiply(void)
{
    for (int i = 0; i < SIZE; i++) {
        for (int j = 0; j < SIZE; j++) {
            float sum = product[i][j] * 0.5F;

            for (int k = 0; k < SIZE; k++) {
                sum += a[i][k] * b[k][j];
            }
            product[i][j] = sum;
        }
    }
}

int main(int argc, char **argv)
{
    long count = row_work(argc, argv);
    uint64_t state = 3;
    double begin;

    for (int i = 0; i < SIZE; i++) {
        for (int j = 0; j < SIZE; j++) {
            a[i][j] = (float)random_next(&state) * 0x1p-32F;
            b[i][j] = (float)random_next(&state) * 0x1p-32F;
        }
    }
    begin = row_begin();
    for (long n = 0; n < count; n++) {
        multiply();
    }
    row_print_checked(argv, now() - begin, hash(HASH_START, product, sizeof(product)));
    return 0;
}
