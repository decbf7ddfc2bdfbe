/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tape: what a software engine's vCPU takes in from outside, so that
 * another run can be given the same.
 *
 * A vCPU with its memory is deterministic but for two things.  Inputs, which
 * an instruction or an event asks for: clocks, random numbers, answers to
 * exits, what others have left for it.  They come in the same order in each
 * run, so their order is enough.  And stops: moments at which something
 * happens to it, or at which its state is looked at.  A stop's place is the
 * number of retired instructions (iterations of string instructions count)
 * and of events delivered, which is exact for any engine.
 *
 * Recording, the engine runs as ever and tells of each.  Playing, it runs to
 * the next stop and no further, does there what was done, takes no input of
 * its own, and no event comes but by the tape.
 *
 * All calls come from the vCPU's thread, or while it is out of vcpu_run.
 */
#ifndef CPU_TAPE_H
#define CPU_TAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/state.h"

enum tape_input {
    TAPE_TIME,          /* VM clock, ns */
    TAPE_WALL,          /* the host's time of day, ns */
    TAPE_RANDOM,        /* RDRAND, RDSEED: the number */
    TAPE_RANDOM_OK,     /* and whether there was one */
    TAPE_ATTENTION,     /* why the vCPU looks for events; the engine's bits */
    TAPE_MORE,          /* there is more to look at */
    TAPE_SIGNALS,       /* INIT, SIPI, NMI that others have sent */
    TAPE_EXTINT,        /* the PIC asks */
    TAPE_INBOX,         /* interrupts that others have sent: are there any, */
    TAPE_VECTORS,       /* and 64 vectors of them */
    TAPE_FLAGS,         /* RFLAGS in an event's frame: those that are dead may be anything */
    TAPE_INPUTS
};

enum tape_stop {
    TAPE_BLOCK,         /* nothing: the state is compared */
    TAPE_EVENTS,        /* the vCPU looks for events */
    TAPE_CLOCK,         /* the VM clock was stopped or started */
    TAPE_END,           /* the recording ends here */
    TAPE_STOPS
};

/* Where a vCPU is, and how. */
#define TAPE_REGS 17
struct tape_point {
    uint64_t count, deliveries;
    const uint64_t *regs;               /* general registers, RIP: TAPE_REGS */
    uint64_t flags, known;              /* RFLAGS; bits that are not known may be stale */
    /* Are these arithmetic flags written before they are read?  An engine need
     * not keep such ones. */
    bool (*dead)(void *opaque, uint64_t flags);
    void *opaque;
    const struct vcpu_state *state;     /* everything, but for TAPE_BLOCK: NULL */
};

struct cpu_tape {
    bool playing;
    bool blocks;        /* recording: stop at each block */
    bool crowded;       /* recording: a TAPE_EVENTS stop would be welcome, soon */
    bool over;          /* playing: ended, or the run went another way; recording: failed; leave
                         * with CPU_EXIT_TAPE */
    /* Playing: the next stop. */
    uint64_t next_count, next_deliveries;
    enum tape_stop next;

    /* Recording: keeps v and returns it.  Playing: what was kept; v is ignored. */
    uint64_t (*input)(struct cpu_tape *tape, enum tape_input what, uint64_t v);
    /* The vCPU is at a stop, or playing, beyond the next one.  Playing, it is
     * compared; false: over is set. */
    bool (*point)(struct cpu_tape *tape, enum tape_stop what, const struct tape_point *p);
    /* Playing: there are inputs left to be taken before the next stop. */
    bool (*waits)(struct cpu_tape *tape);
    /* Playing: the engine found that the run goes another way. */
    void (*differs)(struct cpu_tape *tape, const char *what, uint64_t then, uint64_t now);
};

#endif
