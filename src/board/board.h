/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VM knows of its machine, whichever type it has. */
#ifndef BOARD_BOARD_H
#define BOARD_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board/boot.h"
#include "board/ram_map.h"
#include "board/virtio_set.h"
#include "bus/bus.h"
#include "chardev/chardev.h"
#include "cpu/cpu.h"
#include "cpu/state.h"

#define BOARD_SERIAL_PORTS 4

struct board_config {
    unsigned ncpus;
    const struct ram_map *map;                  /* borrowed */
    const struct boot_source *boot;             /* borrowed; NULL: nothing to boot (a load follows) */
    struct chardev *serial[BOARD_SERIAL_PORTS]; /* borrowed; NULL: port not there */
    struct virtio_set virtio;
    bool debug_exit;                            /* isa-debug-exit at ... */
    uint16_t debug_exit_port;
    uint8_t debug_exit_size;
    /* engine_ops.set_eoi_exits */
    void (*eoi_bitmap)(void *opaque, const uint64_t bitmap[4]);
    void (*a20)(void *opaque, unsigned n, bool level);  /* engine_ops.set_a20; may be NULL */
    void *opaque;                                       /* of both */
};

/* Each machine's struct starts with this. */
struct board {
    const struct board_ops *ops;
};

struct board_ops {
    const char *name;
    /* Makes all devices on the bus, which destroys them.  Returns 0, or a
     * negative errno (-EINVAL, -EEXIST: the configuration's fault) with a
     * message in err; *board is set (perhaps to NULL) in any case and to be
     * destroyed. */
    int (*create)(struct board **board, struct bus *bus, const struct board_config *config,
                  char *err, size_t err_size);
    /* After bus_destroy. */
    void (*destroy)(struct board *board);

    /* Does the work of firmware: fills guest memory with tables and kernel,
     * and the states of all processors (reset before by vcpu_state_reset).
     * After creation and after each bus_reset, with the bus lock held or
     * before vCPUs run.  Returns 0, or a negative errno with a message in err. */
    int (*boot)(struct board *board, struct vcpu_state *states, char *err, size_t err_size);

    /* These take the bus lock themselves. */
    void (*eoi)(struct board *board, uint8_t vector);
    void (*ferr)(struct board *board);          /* CPU_EXIT_FERR; NULL: the pin is open */
    int (*acknowledge)(struct board *board);    /* the vector, or -1; NULL: there is no PIC */
    /* With the bus lock held. */
    void (*power_button)(struct board *board);
    /* The counters that an engine may answer itself; returns how many of max. */
    unsigned (*counters)(struct board *board, struct cpu_counter *counters, unsigned max);
};

/* The machine types; NULL: there is none of that name. */
const struct board_ops *board_find(const char *name);

/* What the types share, for their own use.  What create says after rc < 0. */
void board_explain(const struct board_config *config, int rc, char *err, size_t err_size);
/* isa-debug-exit, if the configuration has it; see its header. */
int board_add_debug_exit(const struct board_config *config, struct bus *bus);

#endif
