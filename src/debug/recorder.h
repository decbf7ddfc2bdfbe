/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recording a machine with one CPU: everything that comes to it from outside
 * its own instructions goes into a file (cpu/tape.h, docs/record.md).
 */
#ifndef DEBUG_RECORDER_H
#define DEBUG_RECORDER_H

#include "cpu/cpu.h"

/* What must be the same when it is played. */
struct recording_machine {
    struct mem *mem;                /* borrowed; for its contents too */
    const struct cpu_model *model;
    const char *engine;
};

struct recorder;

/* Returns 0 or a negative errno, with a message in err.  blocks: the state is
 * kept at each block of the engine's. */
int recorder_create(struct recorder **r, const char *path, bool blocks, char *err, size_t err_size);
/* Closes the file.  r may be NULL. */
void recorder_free(struct recorder *r);
/* For engine_config. */
struct cpu_tape *recorder_tape(struct recorder *r);

/* The machine is made; nothing has run.  0, or a negative errno and err. */
int recorder_begin(struct recorder *r, const struct recording_machine *m, char *err, size_t err_size);
/* An exit was answered, on the vCPU's thread; and what else the answer did to
 * the CPU, before it. */
void recorder_exit(struct recorder *r, const struct cpu_run *run);
void recorder_a20(struct recorder *r, bool enabled);
void recorder_eoi_exits(struct recorder *r, const uint64_t bitmap[4]);
/* Somebody else wrote to guest memory, where the CPU cannot see it before this
 * returns; one thread at a time. */
void recorder_dma(struct recorder *r, uint64_t gpa, size_t len);
/* What the guest wrote to a serial port, on the vCPU's thread. */
#define RECORDER_CONSOLE_MAX 256u
void recorder_console(struct recorder *r, unsigned port, const void *data, size_t n);
/* The end, with the state there; the vCPU has left the engine for good.
 * Returns 0, or -EIO with a message in err. */
int recorder_end(struct recorder *r, const struct vcpu_state *s, int status, const char *cause,
                 char *err, size_t err_size);
/* NULL, or why it cannot go on. */
const char *recorder_error(const struct recorder *r);

#endif
