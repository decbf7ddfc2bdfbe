/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Floating point: WORK steps of five bodies that attract each other, in doubles. */
#include <math.h>

#include "row.h"

#define BODIES 5

struct body {
    double at[3], speed[3], mass;
};

/* A heavy body and four light ones around it. */
static void bodies_place(struct body *bodies)
{
    uint64_t state = 7;

    for (int i = 0; i < BODIES; i++) {
        bodies[i].mass = i ? 0.01 / i : 40.0;
        for (int k = 0; k < 3; k++) {
            bodies[i].at[k] = i ? 5.0 * i + random_next(&state) * 0x1p-32 : 0.0;
            bodies[i].speed[k] = i ? random_next(&state) * 0x1p-32 - 0.5 : 0.0;
        }
    }
}

static void bodies_attract(struct body *a, struct body *b, double step)
{
    double d[3], square = 0, pull;

    for (int k = 0; k < 3; k++) {
        d[k] = a->at[k] - b->at[k];
        square += d[k] * d[k];
    }
    pull = step / (square * sqrt(square));
    for (int k = 0; k < 3; k++) {
        a->speed[k] -= d[k] * b->mass * pull;
        b->speed[k] += d[k] * a->mass * pull;
    }
}

static void bodies_step(struct body *bodies, double step)
{
    for (int i = 0; i < BODIES; i++) {
        for (int j = i + 1; j < BODIES; j++) {
            bodies_attract(&bodies[i], &bodies[j], step);
        }
    }
    for (int i = 0; i < BODIES; i++) {
        for (int k = 0; k < 3; k++) {
            bodies[i].at[k] += bodies[i].speed[k] * step;
        }
    }
}

int main(int argc, char **argv)
{
    long steps = row_work(argc, argv);
    struct body bodies[BODIES];
    double begin;

    bodies_place(bodies);
    begin = row_begin();
    for (long i = 0; i < steps; i++) {
        bodies_step(bodies, 0.001);
    }
    row_print_checked(argv, now() - begin, hash(HASH_START, bodies, sizeof(bodies)));
    return 0;
}
