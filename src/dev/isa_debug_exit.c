/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dev/isa_debug_exit.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"

struct isa_debug_exit {
    struct device dev;
    struct bus *bus;
};

static uint64_t read(void *dev, uint64_t off, unsigned size)
{
    (void)dev;
    (void)off;
    (void)size;
    return 0; /* as QEMU's: guests tell it from an empty port by that */
}

static void write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct isa_debug_exit *d = dev;

    (void)off;
    (void)size;
    if (d->bus->request)
        d->bus->request(d->bus->request_opaque, BUS_DEBUG_EXIT, (int)((value << 1 | 1) & 0xff));
}

static const struct io_ops ops = { read, write, 1, 4 };

static void destroy(struct device *dev)
{
    free(container_of(dev, struct isa_debug_exit, dev));
}

static const struct dev_class class = { .name = "isa-debug-exit", .destroy = destroy };

int isa_debug_exit_create(struct bus *bus, const struct isa_debug_exit_config *config,
                          struct isa_debug_exit **out)
{
    struct isa_debug_exit *d = calloc(1, sizeof(*d));

    if (!d)
        return -ENOMEM;
    d->bus = bus;
    bus_add_device(bus, &d->dev, &class);
    *out = d;
    return bus_add_io(bus, config->port, config->size ? config->size : 4, &ops, d);
}
