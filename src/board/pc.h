/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine type `pc`: a PC/AT with PCI and ACPI. */
#ifndef BOARD_PC_H
#define BOARD_PC_H

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

#define PC_SERIAL_PORTS 4

struct pc;

struct pc_config {
    unsigned ncpus;
    const struct ram_map *map;                  /* borrowed */
    const struct boot_source *boot;             /* borrowed; NULL: nothing to boot (a load follows) */
    struct chardev *serial[PC_SERIAL_PORTS];    /* borrowed; NULL: port not there */
    struct virtio_set virtio;                   /* on PCI, from slot 2 on */
    bool debug_exit;                            /* isa-debug-exit at ... */
    uint16_t debug_exit_port;
    uint8_t debug_exit_size;
    /* engine_ops.set_eoi_exits */
    void (*eoi_bitmap)(void *opaque, const uint64_t bitmap[4]);
    void (*a20)(void *opaque, unsigned n, bool level);  /* engine_ops.set_a20; may be NULL */
    void *opaque;                                       /* of both */
};

/* Makes all devices on the bus, which destroys them.  Returns 0, or a
 * negative errno with a message in err; *pc is set (perhaps to NULL) in any
 * case and to be destroyed. */
int pc_create(struct pc **pc, struct bus *bus, const struct pc_config *config, char *err,
              size_t err_size);
/* After bus_destroy. */
void pc_destroy(struct pc *pc);

/* Does the work of firmware: fills guest memory with tables and kernel, and
 * the states of all processors (reset before by vcpu_state_reset).  After
 * creation and after each bus_reset, with the bus lock held or before vCPUs
 * run.  Returns 0, or a negative errno with a message in err. */
int pc_boot(struct pc *pc, struct vcpu_state *states, char *err, size_t err_size);

/* These take the bus lock themselves. */
void pc_eoi(struct pc *pc, uint8_t vector);
void pc_ferr(struct pc *pc);            /* CPU_EXIT_FERR */
int pc_acknowledge(struct pc *pc);      /* the vector, or -1 */
/* With the bus lock held. */
void pc_power_button(struct pc *pc);
/* The counters that an engine may answer itself; returns how many of max. */
unsigned pc_counters(struct pc *pc, struct cpu_counter *counters, unsigned max);

#endif
