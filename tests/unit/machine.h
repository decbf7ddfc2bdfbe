/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bus without processors, for device tests.  The clock stands; tests set it. */
#ifndef TESTS_UNIT_MACHINE_H
#define TESTS_UNIT_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "bus/bus.h"

struct machine {
    struct mem *mem;
    struct vm_clock clock;
    struct bus *bus;
    /* What irq_log saw, by line. */
    bool level[32];
    unsigned rises[32];
    /* bus->extint, bus->msi, bus->request */
    bool extint;
    unsigned msis, requests;
    uint64_t msi_address;
    uint32_t msi_data;
    int request, status;
    unsigned rounds;
};

static void irq_log(void *opaque, unsigned n, bool level)
{
    struct machine *m = opaque;

    m->rises[n] += level && !m->level[n];
    m->level[n] = level;
}

static inline struct irq_line line(struct machine *m, unsigned n)
{
    return (struct irq_line){ irq_log, m, n };
}

static void extint_log(void *opaque, bool level)
{
    ((struct machine *)opaque)->extint = level;
}

static void msi_log(void *opaque, uint64_t address, uint32_t data)
{
    struct machine *m = opaque;

    m->msis++;
    m->msi_address = address;
    m->msi_data = data;
}

static void request_log(void *opaque, int what, int status)
{
    struct machine *m = opaque;

    m->requests++;
    m->request = what;
    m->status = status;
}

static inline void machine_init(struct machine *m)
{
    char err[128];

    memset(m, 0, sizeof(*m));
    vm_clock_init(&m->clock);
    vm_clock_set(&m->clock, NSEC_PER_SEC);
    assert_int_equal(mem_create(&m->mem, MiB, err, sizeof(err)), 0);
    assert_int_equal(mem_add_slot(m->mem, 0, MiB, 0, false), 0);
    assert_int_equal(bus_create(&m->bus, m->mem, &m->clock), 0);
    assert_int_equal(loop_create(&m->bus->loop, &m->bus->lock, &m->clock), 0);
    m->bus->extint = extint_log;
    m->bus->msi = msi_log;
    m->bus->request = request_log;
    m->bus->extint_opaque = m->bus->msi_opaque = m->bus->request_opaque = m;
}

static inline void machine_free(struct machine *m)
{
    struct loop *loop = m->bus->loop;

    bus_destroy(m->bus);
    loop_destroy(loop);
    mem_destroy(m->mem);
}

static inline void wait_ns(struct machine *m, uint64_t ns)
{
    vm_clock_set(&m->clock, vm_clock_ns(&m->clock) + ns);
}

static void stop_later(void *opaque)
{
    struct machine *m = opaque;

    if (m->rounds--)
        loop_post(m->bus->loop, stop_later, m);
    else
        loop_stop(m->bus->loop);
}

/* Let ns pass and the timers run that are due then. */
static inline void run_ns(struct machine *m, uint64_t ns)
{
    wait_ns(m, ns);
    vm_clock_start(&m->clock);
    loop_clock_changed(m->bus->loop);
    usleep(200);
    m->rounds = 3;
    loop_post(m->bus->loop, stop_later, m);
    loop_run(m->bus->loop);
    vm_clock_stop(&m->clock);
}

static inline uint8_t in8(struct machine *m, uint16_t port)
{
    return (uint8_t)bus_io_read(m->bus, port, 1);
}

static inline void out8(struct machine *m, uint16_t port, uint8_t v)
{
    bus_io_write(m->bus, port, 1, v);
}

/* The first device whose state differs, for messages. */
static inline const char *first_difference(struct bus *a, struct bus *b)
{
    struct device *db = b->devices;

    for (struct device *da = a->devices; da; da = da->next, db = db->next)
        for (const struct state_field *f = da->cls->state ? da->cls->state->fields : NULL;
             f && f->name; f++)
            if (memcmp((char *)da + f->offset, (char *)db + f->offset, f->count))
                return f->name;
    return "nothing";
}

/* Save a and load it into b; both must then save the same. */
static inline void copy_state(struct machine *a, struct machine *b)
{
    struct state_writer wa, wb;
    struct state_reader r;

    state_writer_init(&wa);
    state_writer_init(&wb);
    bus_save(a->bus, &wa);
    assert_int_equal(wa.error, 0);
    b->clock = a->clock;
    state_reader_init(&r, wa.data, wa.size);
    if (bus_load(b->bus, &r))
        fail_msg("%s", r.error);
    bus_save(b->bus, &wb);
    assert_int_equal(wa.size, wb.size);
    if (memcmp(wa.data, wb.data, wa.size))
        fail_msg("%s differs after a load", first_difference(a->bus, b->bus));
    state_writer_free(&wa);
    state_writer_free(&wb);
}

#endif
