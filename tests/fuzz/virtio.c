/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest of the virtio targets.  An input is a byte of features and then a
 * list of steps, each with its operands: write memory, a descriptor, the
 * available ring, a register, the device's configuration; run a queue; let
 * something come from the host; save and load.  The device's I/O thread stays
 * out of it, so that an input always does the same.
 */
#include "virtio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "virtio/transport.h"

#define RAM_SIZE  (128 * KiB)
#define MMIO_GPA  0xd0000000u
#define RING_SIZE 16u
#define RING_GPA  0x1000u /* 4 KiB for each queue */

struct input {
    const uint8_t *p;
    size_t n;
};

static struct mem *mem;
static struct vm_clock vm_time;
static struct bus *bus;
static struct virtio_device *v;
static uint16_t avail[VIRTIO_MAX_QUEUES];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static uint64_t take(struct input *in, unsigned size)
{
    uint64_t value = 0;
    size_t n = MIN(in->n, size);

    memcpy(&value, in->p, n);
    in->p += n;
    in->n -= n;
    return value;
}

/* A length of that size, and what is left of so many bytes. */
static size_t take_bytes(struct input *in, unsigned size)
{
    const uint64_t n = take(in, size);

    return (size_t)MIN(n, in->n);
}

static void set_reg(unsigned off, uint32_t value)
{
    bus_mmio_write(bus, MMIO_GPA + off, 4, value);
}

static void msi(void *opaque, uint64_t address, uint32_t data)
{
    (void)opaque;
    (void)address;
    (void)data;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const struct irq_line none = { 0 };
    char err[100];

    (void)argc;
    (void)argv;
    vm_clock_init(&vm_time);
    if (mem_create(&mem, RAM_SIZE, err, sizeof(err)) < 0 ||
        mem_add_slot(mem, 0, RAM_SIZE / 2, 0, false) < 0 ||
        mem_add_slot(mem, RAM_SIZE / 2, RAM_SIZE / 4, RAM_SIZE / 2, false) < 0 ||
        bus_create(&bus, mem, &vm_time) < 0 || loop_create(&bus->loop, &bus->lock, &vm_time) < 0)
        abort();
    bus->msi = msi;
    v = fuzz_make(bus);
    if (virtio_mmio_create(bus, MMIO_GPA, &none, v) < 0)
        abort();
    return 0;
}

/* The device goes on for a moment, on this thread. */
static void run_queue(unsigned q)
{
    if (q >= v->nqueues)
        return;
    virtio_lock(v);
    v->quiesced = false;
    if (virtio_running(v) && v->q_enabled[q]) {
        v->class->queue(v, q);
        if (v->ring[q].broken)
            virtio_break(v);
    }
    if (v->class->drain)
        v->class->drain(v);
    v->quiesced = true;
    virtio_unlock(v);
}

static void put_desc(struct input *in)
{
    const unsigned q = (unsigned)take(in, 1) % v->nqueues, i = (unsigned)take(in, 1) % RING_SIZE;
    struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } d;

    d.addr = take(in, 3);
    d.len = (uint32_t)take(in, 2);
    d.flags = (uint16_t)(take(in, 1) & 7);
    d.next = (uint16_t)take(in, 1);
    mem_write(mem, RING_GPA * (q + 1) + i * 16, &d, sizeof(d));
}

static void put_avail(struct input *in)
{
    const unsigned q = (unsigned)take(in, 1) % v->nqueues;
    const uint16_t head = (uint16_t)take(in, 1);
    const uint64_t at = RING_GPA * (q + 1) + 0x400;

    mem_write(mem, at + 4 + avail[q] % RING_SIZE * 2, &head, 2);
    avail[q]++;
    mem_write(mem, at + 2, &avail[q], 2);
}

static void put_memory(struct input *in)
{
    const uint64_t gpa = take(in, 3);
    const size_t n = take_bytes(in, 1);

    mem_write(mem, gpa % RAM_SIZE, in->p, n);
    in->p += n;
    in->n -= n;
}

static void save_and_load(void)
{
    struct state_writer w;
    struct state_reader r;

    state_writer_init(&w);
    bus_save(bus, &w);
    state_reader_init(&r, w.data, w.size);
    if (w.error || bus_load(bus, &r) < 0) {
        fprintf(stderr, "own state is refused: %s\n", r.error);
        abort();
    }
    state_writer_free(&w);
}

static void host_event(struct input *in)
{
    const size_t n = take_bytes(in, 2);

    fuzz_host_event(in->p, n);
    in->p += n;
    in->n -= n;
}

static void start(uint64_t mask)
{
    const uint64_t features = virtio_features(v) & (mask | VIRTIO_F_VERSION_1);

    set_reg(0x70, 0);
    fuzz_reset();
    memset(avail, 0, sizeof(avail));
    mem_fill(mem, 0, 0, RAM_SIZE / 4 * 3);
    set_reg(0x70, 3);
    for (unsigned i = 0; i < 2; i++) {
        set_reg(0x24, i);
        set_reg(0x20, (uint32_t)(features >> i * 32));
    }
    set_reg(0x70, 11);
    for (unsigned q = 0; q < v->nqueues; q++) {
        set_reg(0x30, q);
        set_reg(0x38, RING_SIZE);
        for (unsigned part = 0; part < 3; part++)
            set_reg(0x80 + part * 0x10, RING_GPA * (q + 1) + part * 0x400);
        set_reg(0x44, 1);
    }
    set_reg(0x70, 15);
}

static void step(struct input *in)
{
    switch (take(in, 1) % 10) {
    case 0: put_memory(in); break;
    case 1:
    case 2: put_desc(in); break;
    case 3: put_avail(in); break;
    case 4:
    case 5: run_queue((unsigned)take(in, 1) % v->nqueues); break;
    case 6: {
        const unsigned off = (unsigned)take(in, 1) & 0xfc;

        if (off != 0x50)
            set_reg(off, (uint32_t)take(in, 4));
        break;
    }
    case 7: {
        const unsigned off = (unsigned)take(in, 1), size = 1u << take(in, 1) % 4;

        bus_mmio_read(bus, MMIO_GPA + 0x100 + off, size);
        bus_mmio_write(bus, MMIO_GPA + 0x100 + off, size, take(in, 4));
        break;
    }
    case 8: host_event(in); break;
    default: save_and_load(); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = { data, n };

    start(~(take(&in, 1) * 0x0101010101010101ULL));
    while (in.n)
        step(&in);
    for (unsigned q = 0; q < v->nqueues; q++)
        run_queue(q);
    return 0;
}
