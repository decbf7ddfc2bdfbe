/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI fixed hardware (ACPI 6.4, section 4.8), at the places that the
 * 82371AB (PIIX4, 7.2 and 7.3) gives it. */
#include "dev/acpi_pm.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"

/* Offsets from ACPI_PM_BASE */
#define PM1_STS      0x0
#define PM1_EN       0x2
#define PM1_CNT      0x4
#define PM_BLOCK_LEN 8
/* 4.8.3.1.1, PM1 status; the enable bits are at the same places */
#define PM1_TMR      0x0001u
#define PM1_GBL      0x0020u
#define PM1_PWRBTN   0x0100u
#define PM1_RTC      0x0400u
#define PM1_EVENTS   (PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_RTC)
#define PM1_STS_BITS (PM1_EVENTS | 0x8010u) /* and WAK_STS, BM_STS */
/* 4.8.3.2.1, PM1 control */
#define CNT_SCI_EN    0x0001u
#define CNT_SLP_TYP   0x1c00u
#define CNT_SLP_SHIFT 10
#define CNT_SLP_EN    0x2000u
#define CNT_KEPT      (CNT_SCI_EN | 0x0002u | CNT_SLP_TYP)
/* General-purpose event block */
#define GPE_STS 0
#define GPE_EN  2
#define SMI_CMD 0
#define SMI_STS 1

struct acpi_pm {
    struct device dev;
    uint16_t pm1_sts, pm1_en, pm1_cnt;
    uint16_t gpe_sts, gpe_en;
    uint8_t smi_cmd, smi_sts; /* APMC and APMS */
    uint64_t toggles;         /* changes of the timer's top bit that PM1_STS has seen */
    struct bus *bus;
    struct acpi_pm_config config;
    struct loop_timer *timer;
};

static unsigned top_bit(const struct acpi_pm *pm)
{
    return pm->config.timer_32bit ? 31 : 23;
}

/* Ticks since VM time 0; the register shows the low 24 or 32 bits. */
static uint64_t timer_ticks(const struct acpi_pm *pm)
{
    return mul_div(vm_clock_ns(pm->bus->clock), ACPI_PM_TIMER_HZ, NSEC_PER_SEC);
}

/* TMR_STS is set whenever the top bit changes (4.8.3.3). */
static void update_timer_status(struct acpi_pm *pm)
{
    uint64_t toggles = timer_ticks(pm) >> top_bit(pm);

    if (toggles != pm->toggles)
        pm->pm1_sts |= PM1_TMR;
    pm->toggles = toggles;
}

static void update(struct acpi_pm *pm)
{
    bool event;

    update_timer_status(pm);
    event = (pm->pm1_sts & pm->pm1_en & PM1_EVENTS) || (pm->gpe_sts & pm->gpe_en);
    /* Without SCI_EN events are SMIs, and there is no SMM. */
    irq_set(&pm->config.sci, event && (pm->pm1_cnt & CNT_SCI_EN));
    if ((pm->pm1_en & PM1_TMR) && !(pm->pm1_sts & PM1_TMR)) {
        uint64_t ticks = (pm->toggles + 1) << top_bit(pm);

        loop_timer_set(pm->timer, mul_div(ticks, NSEC_PER_SEC, ACPI_PM_TIMER_HZ) + 1);
    } else {
        loop_timer_cancel(pm->timer);
    }
}

static void timer_fired(void *opaque)
{
    update(opaque);
}

static void write_cnt(struct acpi_pm *pm, uint16_t v)
{
    unsigned type = (v & CNT_SLP_TYP) >> CNT_SLP_SHIFT;

    pm->pm1_cnt = v & CNT_KEPT;
    if (!(v & CNT_SLP_EN))
        return;
    if (type != ACPI_SLP_TYP_S5)
        log_guest(LOG_DEV, "acpi: sleep type %u is not there", type);
    else if (pm->bus->request)
        pm->bus->request(pm->bus->request_opaque, BUS_POWEROFF, 0);
}

/* A 16-bit register after a write of one or two bytes at off. */
static uint16_t merge(uint16_t old, uint64_t off, unsigned size, uint64_t value)
{
    uint16_t mask = size == 2 ? 0xffff : (uint16_t)(0xff << (off & 1) * 8);

    return (old & ~mask) | ((uint16_t)(value << (off & 1) * 8) & mask);
}

static uint64_t pm_read(void *dev, uint64_t off, unsigned size)
{
    struct acpi_pm *pm = dev;

    (void)size;
    switch (off & ~1u) {
    case PM1_STS: update_timer_status(pm); return pm->pm1_sts;
    case PM1_EN: return pm->pm1_en;
    case PM1_CNT: return pm->pm1_cnt;
    default: return 0;
    }
}

static void pm_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct acpi_pm *pm = dev;

    switch (off & ~1u) {
    case PM1_STS:
        update_timer_status(pm);
        pm->pm1_sts &= ~merge(0, off, size, value);
        break;
    case PM1_EN: pm->pm1_en = merge(pm->pm1_en, off, size, value) & PM1_EVENTS; break;
    case PM1_CNT: write_cnt(pm, merge(pm->pm1_cnt, off, size, value)); break;
    default: break;
    }
    update(pm);
}

static uint64_t tmr_read(void *dev, uint64_t off, unsigned size)
{
    const struct acpi_pm *pm = dev;

    (void)off;
    (void)size;
    return timer_ticks(pm) & ((2ULL << top_bit(pm)) - 1);
}

static uint64_t gpe_read(void *dev, uint64_t off, unsigned size)
{
    const struct acpi_pm *pm = dev;

    (void)size;
    return off < GPE_EN ? pm->gpe_sts : pm->gpe_en;
}

static void gpe_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct acpi_pm *pm = dev;

    if (off < GPE_EN)
        pm->gpe_sts &= ~merge(0, off, size, value);
    else
        pm->gpe_en = merge(pm->gpe_en, off, size, value);
    update(pm);
}

static uint64_t smi_read(void *dev, uint64_t off, unsigned size)
{
    const struct acpi_pm *pm = dev;

    (void)size;
    return off == SMI_CMD ? pm->smi_cmd : pm->smi_sts;
}

static void smi_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct acpi_pm *pm = dev;

    (void)size;
    if (off == SMI_STS) {
        pm->smi_sts = (uint8_t)value;
        return;
    }
    pm->smi_cmd = (uint8_t)value;
    if (value == ACPI_ENABLE)
        pm->pm1_cnt |= CNT_SCI_EN;
    else if (value == ACPI_DISABLE)
        pm->pm1_cnt &= ~CNT_SCI_EN;
    update(pm);
}

static const struct io_ops pm_ops = { pm_read, pm_write, 2, 2 };
static const struct io_ops tmr_ops = { tmr_read, NULL, 4, 4 };
static const struct io_ops gpe_ops = { gpe_read, gpe_write, 2, 2 };
static const struct io_ops smi_ops = { smi_read, smi_write, 1, 1 };

void acpi_pm_power_button(struct acpi_pm *pm)
{
    pm->pm1_sts |= PM1_PWRBTN;
    update(pm);
}

void acpi_pm_gpe(struct acpi_pm *pm, unsigned n)
{
    pm->gpe_sts |= 1u << (n & 15);
    update(pm);
}

void acpi_pm_counter(const struct acpi_pm *pm, struct cpu_counter *counter)
{
    *counter = (struct cpu_counter){
        .port = ACPI_PM_TMR,
        .size = 4,
        .hz = ACPI_PM_TIMER_HZ,
        .mask = (uint32_t)((2ULL << top_bit(pm)) - 1),
        .offset = 0,
    };
}

static const struct state_field fields[] = {
    STATE_FIELD(struct acpi_pm, pm1_sts, 0),
    STATE_FIELD(struct acpi_pm, pm1_en, 0),
    STATE_FIELD(struct acpi_pm, pm1_cnt, 0),
    STATE_FIELD(struct acpi_pm, gpe_sts, 0),
    STATE_FIELD(struct acpi_pm, gpe_en, 0),
    STATE_FIELD(struct acpi_pm, smi_cmd, 0),
    STATE_FIELD(struct acpi_pm, smi_sts, 0),
    STATE_FIELD(struct acpi_pm, toggles, UINT64_MAX), /* see reset */
    STATE_END,
};

static int post_load(void *obj, char *err, size_t err_size)
{
    const struct acpi_pm *pm = obj;

    if (pm->pm1_sts & ~PM1_STS_BITS || pm->pm1_en & ~PM1_EVENTS || pm->pm1_cnt & ~CNT_KEPT) {
        snprintf(err, err_size, "reserved bits are set");
        return -EINVAL;
    }
    return 0;
}

static const struct state_desc state = { "acpi_pm", 1, fields, post_load };

static void reset(struct device *dev)
{
    struct acpi_pm *pm = container_of(dev, struct acpi_pm, dev);

    if (pm->toggles == UINT64_MAX)
        pm->toggles = timer_ticks(pm) >> top_bit(pm);
    if (pm->config.acpi_only)
        pm->pm1_cnt |= CNT_SCI_EN;
    update(pm);
}

static void pre_save(struct device *dev)
{
    update(container_of(dev, struct acpi_pm, dev));
}

static void destroy(struct device *dev)
{
    struct acpi_pm *pm = container_of(dev, struct acpi_pm, dev);

    loop_timer_destroy(pm->timer);
    free(pm);
}

static const struct dev_class class = {
    .name = "acpi_pm",
    .state = &state,
    .reset = reset,
    .pre_save = pre_save,
    .destroy = destroy,
};

int acpi_pm_create(struct bus *bus, const struct acpi_pm_config *config, struct acpi_pm **out)
{
    struct acpi_pm *pm = calloc(1, sizeof(*pm));
    int ret;

    if (!pm)
        return -ENOMEM;
    pm->bus = bus;
    pm->config = *config;
    bus_add_device(bus, &pm->dev, &class);
    *out = pm;
    ret = loop_timer_create(bus->loop, &pm->timer, timer_fired, pm);
    if (!ret)
        ret = bus_add_io(bus, ACPI_PM_BASE, PM_BLOCK_LEN, &pm_ops, pm);
    if (!ret)
        ret = bus_add_io(bus, ACPI_PM_TMR, 4, &tmr_ops, pm);
    if (!ret)
        ret = bus_add_io(bus, ACPI_GPE0, ACPI_GPE0_LEN, &gpe_ops, pm);
    if (!ret)
        ret = bus_add_io(bus, ACPI_SMI_CMD, 2, &smi_ops, pm);
    return ret;
}
