/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzing of the PCI transport with MSI-X: what a guest can do with a virtio
 * function's configuration space and its BAR, between interrupts of the
 * device, saves, loads and resets.  The device is a console, for its several
 * queues and its configuration; its I/O thread stands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "chardev/backend.h"
#include "dev/i440fx.h"
#include "virtio/console.h"
#include "virtio/transport.h"

#define RAM_SIZE    (64 * KiB)
#define CONFIG_ADDR 0xcf8u
#define CONFIG_DATA 0xcfcu
#define SLOT        3u
#define BAR_GPA     0xd0000000u
#define TABLE_OFF   0x4000u
#define MAX_BELLS   64u

struct input {
    const uint8_t *p;
    size_t n;
};

static struct mem *mem;
static struct vm_clock vm_time;
static struct bus *bus;
static struct virtio_device *v;
static struct { /* the engine's table of doorbells */
    uint64_t at;
    unsigned size;
} bells[MAX_BELLS];
static unsigned nbells;
static bool line[4];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static uint64_t take(struct input *in, unsigned size)
{
    uint64_t value = 0;
    size_t n = MIN(in->n, size);

    memcpy(&value, in->p, n);
    in->p += n;
    in->n -= n;
    return value;
}

/* What the function reaches */

static void msi(void *opaque, uint64_t address, uint32_t data)
{
    (void)opaque;
    (void)data;
    must(!(address & 3), "a message to an address that no vector can have");
}

static void pirq(void *opaque, unsigned n, bool level)
{
    (void)opaque;
    line[n] = level;
}

static int doorbell_add(void *opaque, bool pio, uint64_t addr, unsigned size, bool match,
                        uint64_t value, int fd)
{
    (void)opaque;
    (void)match;
    (void)value;
    must(!pio && fd >= 0, "a doorbell of another kind");
    for (unsigned i = 0; i < nbells; i++)
        must(bells[i].at != addr, "a doorbell twice");
    must(nbells < MAX_BELLS, "doorbells are left behind");
    bells[nbells].at = addr;
    bells[nbells++].size = size;
    return 0;
}

static int doorbell_del(void *opaque, bool pio, uint64_t addr, unsigned size, bool match,
                        uint64_t value)
{
    (void)opaque;
    (void)pio;
    (void)match;
    (void)value;
    for (unsigned i = 0; i < nbells; i++)
        if (bells[i].at == addr && bells[i].size == size) {
            bells[i] = bells[--nbells];
            return 0;
        }
    must(false, "a doorbell goes that never came");
    return -1;
}

/* The host bridge's ports */

static void select_config(unsigned off)
{
    bus_io_write(bus, CONFIG_ADDR, 4, 0x80000000u | SLOT << 11 | (off & 0xfc));
}

static uint32_t get_config(unsigned off, unsigned size)
{
    select_config(off);
    return (uint32_t)bus_io_read(bus, (uint16_t)(CONFIG_DATA + (off & 3)), size);
}

static void set_config(unsigned off, unsigned size, uint32_t value)
{
    select_config(off);
    bus_io_write(bus, (uint16_t)(CONFIG_DATA + (off & 3)), size, value);
}

static uint64_t bar_gpa(void)
{
    return (uint64_t)get_config(PCI_BAR0 + 4, 4) << 32 | (get_config(PCI_BAR0, 4) & ~0xfu);
}

/* Steps */

static void stop_loop(void *opaque)
{
    loop_stop(opaque);
}

/* What was posted before. */
static void run_loop_once(void)
{
    must(loop_post(bus->loop, stop_loop, bus->loop) == 0, "no memory");
    loop_run(bus->loop);
}

static void save_and_load(void)
{
    struct state_writer w;
    struct state_reader r;

    state_writer_init(&w);
    bus_save(bus, &w);
    state_reader_init(&r, w.data, w.size);
    must(!w.error && bus_load(bus, &r) == 0, "own state is refused");
    state_writer_free(&w);
}

static void interrupt(struct input *in)
{
    const int q = (int)(take(in, 1) % (v->nqueues + 1)) - 1;

    virtio_lock(v);
    v->interrupt(v->transport, q);
    virtio_unlock(v);
}

/* An access to the BAR: mostly to the first bytes of its pages. */
static void access_bar(struct input *in)
{
    const unsigned page = (unsigned)take(in, 1), size = 1u << page / 64;
    const uint64_t at =
        bar_gpa() + (page % 8) * 0x1000u + (page & 8 ? take(in, 2) & 0xfff : take(in, 1) & 0x7f);

    if (page & 16)
        bus_mmio_read(bus, at, size);
    else
        bus_mmio_write(bus, at, size, take(in, size));
}

static void set_vector(struct input *in)
{
    const uint64_t at = bar_gpa() + TABLE_OFF + take(in, 1) % (v->nqueues + 2u) * 16;

    for (unsigned i = 0; i < 4; i++)
        bus_mmio_write(bus, at + i * 4, 4, take(in, i == 3 ? 1 : 4));
}

static void access_config(struct input *in)
{
    const unsigned how = (unsigned)take(in, 1), size = 1u << how % 3;
    const unsigned off = (unsigned)take(in, 1) & ~(size - 1);

    if (how & 8)
        get_config(off, size);
    else
        set_config(off, size, (uint32_t)take(in, size));
}

static void start(void)
{
    bus_reset(bus);
    must(nbells == 0, "doorbells outlive a reset");
    set_config(PCI_BAR0, 4, BAR_GPA);
    set_config(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    must(nbells == v->nqueues, "a mapped function has no doorbells");
}

static void step(struct input *in)
{
    switch (take(in, 1) % 12) {
    case 0:
    case 1:
    case 2: access_config(in); break;
    case 3:
    case 4:
    case 5:
    case 6: access_bar(in); break;
    case 7: set_vector(in); break;
    case 8: interrupt(in); break;
    case 9: run_loop_once(); break;
    case 10: save_and_load(); break;
    default: start(); break;
    }
}

static size_t drop(struct chardev *cd, const void *data, size_t n)
{
    (void)cd;
    (void)data;
    return n;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const struct chardev_ops sink = { .write = drop };
    static struct chardev out = { .ops = &sink };
    struct i440fx_config host = { 0 };
    struct i440fx *bridge;
    char err[100];

    (void)argc;
    (void)argv;
    vm_clock_init(&vm_time);
    for (unsigned i = 0; i < 4; i++)
        host.pirq[i] = (struct irq_line){ .set = pirq, .n = i };
    must(mem_create(&mem, RAM_SIZE, err, sizeof(err)) == 0 &&
             mem_add_slot(mem, 0, RAM_SIZE, 0, false) == 0 &&
             bus_create(&bus, mem, &vm_time) == 0 &&
             loop_create(&bus->loop, &bus->lock, &vm_time) == 0,
         "no machine");
    bus->msi = msi;
    bus->doorbell_add = doorbell_add;
    bus->doorbell_del = doorbell_del;
    must(i440fx_create(bus, &host, &bridge) == 0 && virtio_console_create(bus, &out, &v) == 0 &&
             virtio_pci_create(bus, i440fx_pci(bridge), PCI_DEVFN(SLOT, 0), v) == 0,
         "no device");
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = { data, n };

    start();
    while (in.n)
        step(&in);
    run_loop_once();
    bus_reset(bus);
    for (unsigned i = 0; i < 4; i++)
        must(!line[i], "an interrupt line is high after a reset");
    return 0;
}
