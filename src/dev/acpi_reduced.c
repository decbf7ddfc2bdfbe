/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hardware-reduced ACPI (ACPI 6.4 4.8.3.3, 4.8.3.6, 4.8.3.7). */
#include "dev/acpi_reduced.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "dev/acpi_pm.h"

/* 4.8.3.7, sleep control; WAK_STS of the status register is never set, as
 * there is no sleep to wake from. */
#define SLP_TYP   0x1cu
#define SLP_SHIFT 2
#define SLP_EN    0x20u
#define SLEEP_LEN 2u

struct acpi_reduced {
    struct device dev;
    uint8_t sleep_ctl;
    struct bus *bus;
};

static void request(struct acpi_reduced *r, int what)
{
    if (r->bus->request)
        r->bus->request(r->bus->request_opaque, what, 0);
}

static uint64_t sleep_read(void *dev, uint64_t off, unsigned size)
{
    const struct acpi_reduced *r = dev;

    (void)size;
    return off == 0 ? r->sleep_ctl : 0;
}

static void sleep_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct acpi_reduced *r = dev;

    (void)size;
    if (off != 0)
        return;
    r->sleep_ctl = value & SLP_TYP; /* SLP_EN reads as zero */
    if (!(value & SLP_EN))
        return;
    if (r->sleep_ctl >> SLP_SHIFT == ACPI_REDUCED_S5)
        request(r, BUS_POWEROFF);
    else
        log_guest(LOG_DEV, "acpi: sleep type %u is not there", r->sleep_ctl >> SLP_SHIFT);
}

static void reset_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    (void)off;
    (void)size;
    if (value == ACPI_REDUCED_RESET_VALUE)
        request(dev, BUS_RESET);
}

static uint64_t tmr_read(void *dev, uint64_t off, unsigned size)
{
    const struct acpi_reduced *r = dev;

    (void)off;
    (void)size;
    return (uint32_t)mul_div(vm_clock_ns(r->bus->clock), ACPI_PM_TIMER_HZ, NSEC_PER_SEC);
}

static const struct io_ops sleep_ops = { sleep_read, sleep_write, 1, 1 };
static const struct io_ops reset_ops = { NULL, reset_write, 1, 1 };
static const struct io_ops tmr_ops = { tmr_read, NULL, 4, 4 };

void acpi_reduced_counter(struct cpu_counter *counter)
{
    *counter = (struct cpu_counter){
        .port = ACPI_REDUCED_PM_TMR, .size = 4, .hz = ACPI_PM_TIMER_HZ, .mask = UINT32_MAX
    };
}

static const struct state_field fields[] = {
    STATE_FIELD(struct acpi_reduced, sleep_ctl, 0),
    STATE_END,
};

static int post_load(void *obj, char *err, size_t err_size)
{
    const struct acpi_reduced *r = obj;

    if (!(r->sleep_ctl & ~SLP_TYP))
        return 0;
    snprintf(err, err_size, "reserved bits are set");
    return -EINVAL;
}

static const struct state_desc state = { "acpi_reduced", 1, fields, post_load };

static void destroy(struct device *dev)
{
    free(container_of(dev, struct acpi_reduced, dev));
}

static const struct dev_class class = {
    .name = "acpi_reduced",
    .state = &state,
    .destroy = destroy,
};

int acpi_reduced_create(struct bus *bus, struct acpi_reduced **out)
{
    struct acpi_reduced *r = calloc(1, sizeof(*r));
    int rc;

    if (!r)
        return -ENOMEM;
    r->bus = bus;
    bus_add_device(bus, &r->dev, &class);
    *out = r;
    rc = bus_add_io(bus, ACPI_REDUCED_SLEEP_CTL, SLEEP_LEN, &sleep_ops, r);
    if (rc == 0)
        rc = bus_add_io(bus, ACPI_REDUCED_RESET, 1, &reset_ops, r);
    return rc == 0 ? bus_add_io(bus, ACPI_REDUCED_PM_TMR, 4, &tmr_ops, r) : rc;
}
