/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System control port A (PS/2 hardware reference; PIIX3 2.5.8 leaves it to
 * the keyboard controller's pins). */
#include "dev/port92.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"

#define PORT92       0x92
#define P92_RESET    0x01 /* a rising edge resets */
#define P92_A20      0x02
#define P92_WRITABLE 0x0b /* bit 3 is the CMOS lock */

struct port92 {
    struct device dev;
    uint8_t value;
    struct bus *bus;
    struct irq_line a20;
};

static uint64_t read(void *dev, uint64_t off, unsigned size)
{
    const struct port92 *p = dev;

    (void)off;
    (void)size;
    return p->value;
}

static void write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct port92 *p = dev;
    uint8_t old = p->value;

    (void)off;
    (void)size;
    p->value = value & P92_WRITABLE;
    irq_set(&p->a20, p->value & P92_A20);
    if ((p->value & ~old & P92_RESET) && p->bus->request)
        p->bus->request(p->bus->request_opaque, BUS_RESET, 0);
}

static const struct io_ops ops = { read, write, 1, 1 };

static const struct state_field fields[] = {
    STATE_FIELD(struct port92, value, 0),
    STATE_END,
};
static const struct state_desc state = { "port92", 1, fields, NULL };

static void reset(struct device *dev)
{
    struct port92 *p = container_of(dev, struct port92, dev);

    p->value &= P92_WRITABLE;
    irq_set(&p->a20, p->value & P92_A20);
}

void port92_open_a20(struct port92 *p)
{
    p->value |= P92_A20;
    irq_set(&p->a20, true);
}

static void destroy(struct device *dev)
{
    free(container_of(dev, struct port92, dev));
}

static const struct dev_class class = {
    .name = "port92",
    .state = &state,
    .reset = reset,
    .destroy = destroy,
};

int port92_create(struct bus *bus, const struct port92_config *config, struct port92 **out)
{
    struct port92 *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->bus = bus;
    p->a20 = config->a20;
    bus_add_device(bus, &p->dev, &class);
    *out = p;
    return bus_add_io(bus, PORT92, 1, &ops, p);
}
