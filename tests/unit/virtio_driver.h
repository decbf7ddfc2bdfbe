/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's driver for tests: virtio-mmio, split rings in the first MiB. */
#ifndef TESTS_UNIT_VIRTIO_DRIVER_H
#define TESTS_UNIT_VIRTIO_DRIVER_H

#include "machine.h"
#include "virtio/transport.h"

#define DRIVER_GPA  0xd0000000u
#define DRIVER_SIZE 16u      /* entries of each queue */
#define DRIVER_RING 0x10000u /* 4 KiB for each queue */
#define DRIVER_DATA 0x40000u /* for the tests */

struct driver {
    struct machine *m;
    uint16_t avail[VIRTIO_MAX_QUEUES], seen[VIRTIO_MAX_QUEUES];
    unsigned next_desc;
};

struct driver_buffer {
    uint64_t gpa;
    uint32_t len;
    bool write;
};

static inline uint32_t reg(struct machine *m, unsigned off)
{
    return (uint32_t)bus_mmio_read(m->bus, DRIVER_GPA + off, 4);
}

static inline void set_reg(struct machine *m, unsigned off, uint32_t v)
{
    bus_mmio_write(m->bus, DRIVER_GPA + off, 4, v);
}

static inline uint64_t ring_gpa(unsigned q, unsigned part)
{
    return DRIVER_RING + q * 0x1000u + part * 0x400u;
}

static inline void put_mem(struct machine *m, uint64_t gpa, const void *p, size_t n)
{
    assert_int_equal(mem_write(m->mem, gpa, p, n), 0);
}

static inline void get_mem(struct machine *m, uint64_t gpa, void *p, size_t n)
{
    assert_int_equal(mem_read(m->mem, gpa, p, n), 0);
}

static inline uint16_t get16(struct machine *m, uint64_t gpa)
{
    uint16_t v;

    get_mem(m, gpa, &v, 2);
    return v;
}

static inline void driver_queue(struct driver *d, unsigned q)
{
    struct machine *m = d->m;

    set_reg(m, 0x30, q);
    assert_int_equal(reg(m, 0x34), VRING_MAX_SIZE);
    set_reg(m, 0x38, DRIVER_SIZE);
    for (unsigned part = 0; part < 3; part++) {
        set_reg(m, 0x80 + part * 0x10, (uint32_t)ring_gpa(q, part));
        set_reg(m, 0x84 + part * 0x10, 0);
    }
    set_reg(m, 0x44, 1);
}

/* Negotiates features (VERSION_1 is added) and starts n queues. */
static inline void driver_start(struct driver *d, struct machine *m, uint64_t features, unsigned n)
{
    *d = (struct driver){ .m = m };
    mem_fill(m->mem, DRIVER_RING, 0, 0x1000 * VIRTIO_MAX_QUEUES);
    set_reg(m, 0x70, 0);
    assert_int_equal(reg(m, 0x70), 0);
    set_reg(m, 0x70, 3);
    features |= VIRTIO_F_VERSION_1;
    for (unsigned i = 0; i < 2; i++) {
        set_reg(m, 0x24, i);
        set_reg(m, 0x20, (uint32_t)(features >> i * 32));
    }
    set_reg(m, 0x70, 11);
    assert_int_equal(reg(m, 0x70), 11);
    for (unsigned q = 0; q < n; q++)
        driver_queue(d, q);
    set_reg(m, 0x70, 15);
    assert_int_equal(reg(m, 0x70), 15);
}

static inline void put_desc(struct machine *m, unsigned q, unsigned i, uint64_t gpa, uint32_t len,
                            uint16_t flags, uint16_t next)
{
    const struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } d = { gpa, len, flags, next };

    put_mem(m, ring_gpa(q, 0) + i * 16, &d, sizeof(d));
}

/* Shows head to the device, without a notification. */
static inline void put_avail(struct driver *d, unsigned q, uint16_t head)
{
    uint64_t avail = ring_gpa(q, 1);

    put_mem(d->m, avail + 4 + d->avail[q] % DRIVER_SIZE * 2, &head, 2);
    d->avail[q]++;
    put_mem(d->m, avail + 2, &d->avail[q], 2);
}

static inline void driver_notify(struct driver *d, unsigned q)
{
    set_reg(d->m, 0x50, q);
}

/* A chain from descriptor first on, which is its head. */
static inline void driver_chain(struct driver *d, unsigned q, unsigned first,
                                const struct driver_buffer *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        put_desc(d->m, q, first + i, b[i].gpa, b[i].len,
                 (uint16_t)((b[i].write ? 2 : 0) | (i + 1 < n ? 1 : 0)), (uint16_t)(first + i + 1));
    put_avail(d, q, (uint16_t)first);
}

static inline uint16_t used_idx(struct driver *d, unsigned q)
{
    return get16(d->m, ring_gpa(q, 2) + 2);
}

/* Waits for the next used entry; returns its length, its head in *head. */
static inline uint32_t driver_wait(struct driver *d, unsigned q, uint32_t *head)
{
    uint32_t e[2];

    for (unsigned i = 0; used_idx(d, q) == d->seen[q]; i++) {
        if (i == 20000)
            fail_msg("queue %u: nothing comes back", q);
        usleep(100);
    }
    get_mem(d->m, ring_gpa(q, 2) + 4 + d->seen[q] % DRIVER_SIZE * 8, e, sizeof(e));
    d->seen[q]++;
    if (head)
        *head = e[0];
    return e[1];
}

/* Waits until the device asks for a reset. */
static inline void driver_wait_broken(struct driver *d)
{
    for (unsigned i = 0; !(reg(d->m, 0x70) & VIRTIO_STATUS_NEEDS_RESET); i++) {
        if (i == 20000)
            fail_msg("the device does not ask for a reset");
        usleep(100);
    }
}

static inline void driver_attach(struct machine *m, struct virtio_device *v)
{
    const struct irq_line irq = line(m, 5);

    assert_int_equal(virtio_mmio_create(m->bus, DRIVER_GPA, &irq, v), 0);
    bus_reset(m->bus);
    bus_resume(m->bus);
}

#endif
