/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's buses: port and MMIO dispatch, interrupt lines, devices.
 *
 * All devices of a machine share one lock (bus_lock): vCPU threads take it to
 * dispatch an exit, the event loop holds it around callbacks.  Functions here
 * are called with it held unless they say otherwise.
 */
#ifndef BUS_BUS_H
#define BUS_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "loop/loop.h"
#include "mem/mem.h"
#include "state/state.h"

struct bus;

/* Handlers of a range.  off: from the start of the range, not always a
 * multiple of size; size: 1, 2, 4 or 8 bytes and within [min_size, max_size]:
 * larger accesses are split, smaller ones widened (a read is cut; a write of
 * less than min_size is passed as it is with its own size).  A read returns
 * the value in the low bits. */
struct io_ops {
    uint64_t (*read)(void *dev, uint64_t off, unsigned size);
    void (*write)(void *dev, uint64_t off, unsigned size, uint64_t value);
    unsigned min_size, max_size;     /* 0: 1 and 8 */
};

/* An interrupt input: of a PIC, of an I/O APIC, of an inverter, ... */
struct irq_line {
    void (*set)(void *opaque, unsigned n, bool level);
    void *opaque;
    unsigned n;
};

static inline void irq_set(const struct irq_line *irq, bool level)
{
    if (irq->set)
        irq->set(irq->opaque, irq->n, level);
}

static inline void irq_pulse(const struct irq_line *irq)
{
    irq_set(irq, true);
    irq_set(irq, false);
}

/* Each device starts with this; its class is const and drives its life. */
struct device {
    const struct dev_class *cls;
    uint32_t instance;              /* counted for each class */
    struct device *next;            /* in bus order of creation */
};

struct dev_class {
    const char *name;
    const struct state_desc *state; /* object = the struct that starts with struct device */
    /* After state_reset and after a load of all devices: derive timers, lines,
     * ...  A load alone must change no state.  May be NULL. */
    void (*reset)(struct device *dev);
    /* Before all devices are saved: bring fields up to date.  May be NULL. */
    void (*pre_save)(struct device *dev);
    /* Threads of a device's own: finish what is under way and touch guest
     * memory no more, until resume.  A device is created quiesced.  May be NULL. */
    void (*quiesce)(struct device *dev);
    void (*resume)(struct device *dev);
    void (*destroy)(struct device *dev);
    /* Lines for `info devices`; NULL: state_dump. */
    void (*info)(struct device *dev, FILE *f);
};

struct bus {
    pthread_mutex_t lock;
    struct loop *loop;              /* borrowed */
    struct mem *mem;                /* borrowed */
    struct vm_clock *clock;         /* borrowed */
    struct device *devices, **devices_end;
    /* MSI into the engine; any thread.  Set by the VM. */
    void (*msi)(void *opaque, uint64_t address, uint32_t data);
    void *msi_opaque;
    /* INTR output of the PIC: ExtINT request to the bootstrap processor. */
    void (*extint)(void *opaque, bool level);
    void *extint_opaque;
    /* Doorbells of the engine, as cpu/cpu.h says; any thread.  NULL: there are
     * none, and each such write comes through the bus.  Set by the VM. */
    int (*doorbell_add)(void *opaque, bool pio, uint64_t addr, unsigned size, bool match,
                        uint64_t value, int fd);
    int (*doorbell_del)(void *opaque, bool pio, uint64_t addr, unsigned size, bool match,
                        uint64_t value);
    void *doorbell_opaque;
    /* Recording: device threads write to guest memory only between these two,
     * while no vCPU runs.  Taken before any lock.  NULL: they need not wait. */
    void (*gate_enter)(void *opaque);
    void (*gate_leave)(void *opaque);
    void *gate_opaque;
    /* Requests of a device to the VM: reset, power off, exit status.  Called
     * with the lock held on a vCPU's or the loop's thread: note it, act later. */
    void (*request)(void *opaque, int what, int status);
    void *request_opaque;
    struct bus_range *io, *mmio;    /* private: sorted arrays */
    unsigned nio, nmmio;
};

enum bus_request { BUS_RESET, BUS_POWEROFF, BUS_DEBUG_EXIT };

/* The loop is made with bus->lock, so the bus comes first: set bus->loop then. */
int bus_create(struct bus **bus, struct mem *mem, struct vm_clock *clock);
/* Destroys the devices too, last created first. */
void bus_destroy(struct bus *bus);

/* Ranges must not overlap nor wrap; returns 0, -EEXIST, -EINVAL or -ENOMEM. */
int bus_add_io(struct bus *bus, uint16_t port, uint32_t len, const struct io_ops *ops, void *dev);
int bus_add_mmio(struct bus *bus, uint64_t gpa, uint64_t len, const struct io_ops *ops, void *dev);
void bus_remove_io(struct bus *bus, uint16_t port);
void bus_remove_mmio(struct bus *bus, uint64_t gpa);

/* Dispatch of exits; these take the lock themselves.  Nothing there: reads
 * give all ones, writes are dropped. */
uint64_t bus_io_read(struct bus *bus, uint16_t port, unsigned size);
void bus_io_write(struct bus *bus, uint16_t port, unsigned size, uint64_t value);
uint64_t bus_mmio_read(struct bus *bus, uint64_t gpa, unsigned size);
void bus_mmio_write(struct bus *bus, uint64_t gpa, unsigned size, uint64_t value);

/* Put a created device on the bus's list (order of reset and save). */
void bus_add_device(struct bus *bus, struct device *dev, const struct dev_class *cls);
/* While vCPUs are out of the engine: devices' own threads stand as well. */
void bus_quiesce(struct bus *bus);
void bus_resume(struct bus *bus);
/* Reset, save, load, list all devices in order.  Reset once after creation.
 * The first three only while quiesced, as all devices are after creation.
 * After a failed load the machine is of no use but to be destroyed. */
void bus_reset(struct bus *bus);
void bus_save(struct bus *bus, struct state_writer *w);
int bus_load(struct bus *bus, struct state_reader *r);
void bus_info(struct bus *bus, FILE *f);

#endif
