/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Playing a recording: the CPU gets what it got then, and its state is
 * compared at each stop.  The file is hostile: whatever it says, the machine
 * runs otherwise than the one that was recorded, and no worse.
 */
#ifndef DEBUG_PLAYER_H
#define DEBUG_PLAYER_H

#include "cpu/cpu.h"
#include "debug/recorder.h"

/* What the answer to an exit does beside filling in the run page. */
struct player_ops {
    void (*a20)(void *opaque, bool enabled);
    void (*eoi_exits)(void *opaque, const uint64_t bitmap[4]);
    void (*console)(void *opaque, unsigned port, const uint8_t *data, size_t n);
};

enum player_end { PLAYER_RUNS, PLAYER_AGREED, PLAYER_DIFFERS, PLAYER_BROKEN };

struct player_result {
    enum player_end end;
    int status;                 /* PLAYER_AGREED: of the machine that was recorded */
    char text[400];             /* one line: its end; or what differs; or what is wrong */
    uint64_t count;             /* instructions up to the last stop that agreed */
    uint64_t stops;             /* that agreed */
    /* PLAYER_DIFFERS: where the piece of code began that went another way. */
    uint64_t from_rip, from_count;
};

struct player;

/* Returns 0 or a negative errno, with a message in err. */
int player_create(struct player **p, const char *path, const struct player_ops *ops, void *opaque,
                  char *err, size_t err_size);
void player_free(struct player *p);
struct cpu_tape *player_tape(struct player *p);
/* The machine is made as it was for the recording; 0, or -EINVAL and err. */
int player_begin(struct player *p, const struct recording_machine *m, char *err, size_t err_size);
/* Answer the exit in run as it was answered then. */
void player_exit(struct player *p, struct cpu_run *run);
const struct player_result *player_result(const struct player *p);
/* Both states, as far as the last stop has them: a line for each that differs. */
void player_print(const struct player *p, FILE *f);

#endif
