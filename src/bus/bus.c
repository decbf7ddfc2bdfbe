/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ranges are kept in arrays sorted by address; a dispatch is one binary
 * search.  A handler may change the map (a PCI BAR moves), so the range is
 * copied before the handler runs.
 */
#include "bus/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

#define IO_SPACE_SIZE 0x10000u

struct bus_range {
    uint64_t start, last; /* both included */
    const struct io_ops *ops;
    void *dev;
};

/* Index of the first range that ends at addr or later; n if there is none. */
static unsigned lower_bound(const struct bus_range *ranges, unsigned n, uint64_t addr)
{
    unsigned low = 0;

    while (low < n) {
        unsigned mid = low + (n - low) / 2;

        if (ranges[mid].last < addr)
            low = mid + 1;
        else
            n = mid;
    }
    return low;
}

static int add_range(struct bus_range **ranges, unsigned *n, const struct bus_range *r)
{
    unsigned i = lower_bound(*ranges, *n, r->start);
    struct bus_range *bigger;

    if (i < *n && (*ranges)[i].start <= r->last)
        return -EEXIST;
    bigger = realloc(*ranges, (*n + 1) * sizeof(**ranges));
    if (!bigger)
        return -ENOMEM;
    memmove(bigger + i + 1, bigger + i, (*n - i) * sizeof(*bigger));
    bigger[i] = *r;
    *ranges = bigger;
    (*n)++;
    return 0;
}

static void remove_range(struct bus_range *ranges, unsigned *n, uint64_t start)
{
    unsigned i = lower_bound(ranges, *n, start);

    if (i == *n || ranges[i].start != start)
        return;
    (*n)--;
    memmove(ranges + i, ranges + i + 1, (*n - i) * sizeof(*ranges));
}

int bus_add_io(struct bus *bus, uint16_t port, uint32_t len, const struct io_ops *ops, void *dev)
{
    struct bus_range r = { port, (uint64_t)port + len - 1, ops, dev };

    if (!len || len > IO_SPACE_SIZE - port)
        return -EINVAL;
    return add_range(&bus->io, &bus->nio, &r);
}

int bus_add_mmio(struct bus *bus, uint64_t gpa, uint64_t len, const struct io_ops *ops, void *dev)
{
    struct bus_range r = { gpa, gpa + len - 1, ops, dev };

    if (!len || r.last < gpa)
        return -EINVAL;
    return add_range(&bus->mmio, &bus->nmmio, &r);
}

void bus_remove_io(struct bus *bus, uint16_t port)
{
    remove_range(bus->io, &bus->nio, port);
}

void bus_remove_mmio(struct bus *bus, uint64_t gpa)
{
    remove_range(bus->mmio, &bus->nmmio, gpa);
}

/* Dispatch */

/* What one call of a handler covers. */
struct piece {
    struct bus_range range; /* range.ops NULL: nothing there */
    unsigned size;
};

static unsigned power_of_two_below(uint64_t n)
{
    return n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}

/* The largest piece of [addr, addr + n) that one handler may get.  The map is
 * looked up anew for each piece, since a handler may have changed it. */
static struct piece next_piece(const struct bus *bus, bool io, uint64_t addr, unsigned n)
{
    const struct bus_range *ranges = io ? bus->io : bus->mmio;
    unsigned count = io ? bus->nio : bus->nmmio, i = lower_bound(ranges, count, addr);
    struct piece p = { .size = n };
    unsigned min, max;

    if (i == count || ranges[i].start > addr) {
        if (i < count)
            p.size = (unsigned)MIN((uint64_t)n, ranges[i].start - addr);
        return p;
    }
    p.range = ranges[i];
    min = p.range.ops->min_size ? p.range.ops->min_size : 1;
    max = p.range.ops->max_size ? p.range.ops->max_size : 8;
    n = MIN(n, max);
    if (p.range.last - addr < n)
        n = (unsigned)(p.range.last - addr) + 1;
    p.size = power_of_two_below(n);
    /* A read that is widened must lie within one unit of min_size. */
    if (p.size < min && ((addr - p.range.start) & (min - 1)) + p.size > min)
        p.size = 1;
    return p;
}

static uint64_t read_piece(const struct piece *p, bool io, uint64_t addr)
{
    const struct io_ops *ops = p->range.ops;
    uint64_t off = addr - p->range.start;
    unsigned shift;

    if (!ops)
        log_guest(LOG_BUS, "read of %u bytes at %s 0x%llx: nothing there", p->size,
                  io ? "port" : "address", (unsigned long long)addr);
    if (!ops || !ops->read)
        return size_mask(p->size);
    if (p->size >= ops->min_size)
        return ops->read(p->range.dev, off, p->size) & size_mask(p->size);
    shift = (unsigned)(off & (ops->min_size - 1));
    return ops->read(p->range.dev, off - shift, ops->min_size) >> (shift * 8) & size_mask(p->size);
}

static void write_piece(const struct piece *p, bool io, uint64_t addr, uint64_t value)
{
    const struct io_ops *ops = p->range.ops;

    value &= size_mask(p->size);
    if (!ops)
        log_guest(LOG_BUS, "write of %u bytes 0x%llx at %s 0x%llx: nothing there", p->size,
                  (unsigned long long)value, io ? "port" : "address", (unsigned long long)addr);
    else if (ops->write)
        ops->write(p->range.dev, addr - p->range.start, p->size, value);
}

/* size is 1 to 8. */
static uint64_t bus_read(struct bus *bus, bool io, uint64_t addr, unsigned size)
{
    uint64_t value = 0;

    pthread_mutex_lock(&bus->lock);
    for (unsigned done = 0; done < size;) {
        struct piece p = next_piece(bus, io, addr + done, size - done);

        value |= read_piece(&p, io, addr + done) << (done * 8);
        done += p.size;
    }
    pthread_mutex_unlock(&bus->lock);
    return value;
}

static void bus_write(struct bus *bus, bool io, uint64_t addr, unsigned size, uint64_t value)
{
    pthread_mutex_lock(&bus->lock);
    for (unsigned done = 0; done < size;) {
        struct piece p = next_piece(bus, io, addr + done, size - done);

        write_piece(&p, io, addr + done, value >> (done * 8));
        done += p.size;
    }
    pthread_mutex_unlock(&bus->lock);
}

uint64_t bus_io_read(struct bus *bus, uint16_t port, unsigned size)
{
    return bus_read(bus, true, port, size);
}

void bus_io_write(struct bus *bus, uint16_t port, unsigned size, uint64_t value)
{
    bus_write(bus, true, port, size, value);
}

uint64_t bus_mmio_read(struct bus *bus, uint64_t gpa, unsigned size)
{
    return bus_read(bus, false, gpa, size);
}

void bus_mmio_write(struct bus *bus, uint64_t gpa, unsigned size, uint64_t value)
{
    bus_write(bus, false, gpa, size, value);
}

/* Life */

int bus_create(struct bus **bus, struct mem *mem, struct vm_clock *clock)
{
    struct bus *b = calloc(1, sizeof(*b));

    if (!b)
        return -ENOMEM;
    pthread_mutex_init(&b->lock, NULL);
    b->mem = mem;
    b->clock = clock;
    b->devices_end = &b->devices;
    *bus = b;
    return 0;
}

static struct device *reverse(struct device *list)
{
    struct device *out = NULL;

    while (list) {
        struct device *next = list->next;

        list->next = out;
        out = list;
        list = next;
    }
    return out;
}

void bus_destroy(struct bus *bus)
{
    struct device *dev, *next;

    if (!bus)
        return;
    for (dev = reverse(bus->devices); dev; dev = next) {
        next = dev->next;
        if (dev->cls->destroy)
            dev->cls->destroy(dev);
    }
    free(bus->io);
    free(bus->mmio);
    pthread_mutex_destroy(&bus->lock);
    free(bus);
}

/* Devices */

void bus_add_device(struct bus *bus, struct device *dev, const struct dev_class *cls)
{
    dev->cls = cls;
    dev->instance = 0;
    dev->next = NULL;
    for (struct device *d = bus->devices; d; d = d->next)
        dev->instance += d->cls == cls;
    *bus->devices_end = dev;
    bus->devices_end = &dev->next;
}

/* First all states, then all that follows from them: a device that drives
 * its line in the second step must meet an interrupt controller that is
 * already what it will be. */
static void derive_all(struct bus *bus)
{
    for (struct device *d = bus->devices; d; d = d->next)
        if (d->cls->reset)
            d->cls->reset(d);
}

void bus_quiesce(struct bus *bus)
{
    for (struct device *d = bus->devices; d; d = d->next)
        if (d->cls->quiesce)
            d->cls->quiesce(d);
}

void bus_resume(struct bus *bus)
{
    for (struct device *d = bus->devices; d; d = d->next)
        if (d->cls->resume)
            d->cls->resume(d);
}

void bus_reset(struct bus *bus)
{
    for (struct device *d = bus->devices; d; d = d->next)
        if (d->cls->state)
            state_reset(d->cls->state, d);
    derive_all(bus);
}

/* In two steps too: a device that comes up to date may raise its line. */
void bus_save(struct bus *bus, struct state_writer *w)
{
    for (struct device *d = bus->devices; d; d = d->next)
        if (d->cls->pre_save)
            d->cls->pre_save(d);
    for (struct device *d = bus->devices; d; d = d->next)
        if (d->cls->state)
            state_save(w, d->cls->state, d->instance, d);
}

int bus_load(struct bus *bus, struct state_reader *r)
{
    for (struct device *d = bus->devices; d; d = d->next) {
        int ret = d->cls->state ? state_load(r, d->cls->state, d->instance, d) : 0;

        if (ret)
            return ret;
    }
    derive_all(bus);
    return 0;
}

void bus_info(struct bus *bus, FILE *f)
{
    for (struct device *d = bus->devices; d; d = d->next) {
        fprintf(f, "%s %u\n", d->cls->name, d->instance);
        if (d->cls->info)
            d->cls->info(d, f);
        else if (d->cls->state)
            state_dump(d->cls->state, d, f);
    }
}
