/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MC146818 real-time clock (Motorola ADI-856R2) with 128 bytes of CMOS RAM.
 *
 * The time is the host's wall clock plus an offset; the time registers are
 * computed when they are read.  Flags of register C are brought up to date
 * when somebody looks or when an enabled interrupt is due, so an idle clock
 * needs no timer.  What happened several times unseen is one flag, as on the
 * chip.
 */
#include "dev/mc146818.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"

#define RTC_PORT       0x70
#define RTC_SIZE       128
#define INDEX_NMI_MASK 0x80

/* Figure 9, address map */
enum {
    RTC_SECONDS,
    RTC_SECONDS_ALARM,
    RTC_MINUTES,
    RTC_MINUTES_ALARM,
    RTC_HOURS,
    RTC_HOURS_ALARM,
    RTC_WEEKDAY,
    RTC_DAY,
    RTC_MONTH,
    RTC_YEAR,
    RTC_A,
    RTC_B,
    RTC_C,
    RTC_D
};
/* Bytes that the PC's BIOS and others define */
#define CMOS_EQUIPMENT 0x14
#define CMOS_BASE_LOW  0x15 /* KiB below 1 MiB */
#define CMOS_EXT_LOW   0x17 /* KiB above 1 MiB, at most 64 MiB */
#define CMOS_EXT2_LOW  0x30 /* the same */
#define CMOS_CENTURY   0x32
#define CMOS_64K_LOW   0x34 /* 64-KiB units between 16 MiB and 4 GiB */
#define CMOS_HIGH      0x5b /* 64-KiB units above 4 GiB, three bytes */
#define EQUIPMENT_PS2  0x04
#define EQUIPMENT_FPU  0x02

#define A_UIP      0x80
#define A_DV       0x70
#define A_DV_RESET 0x60 /* 11x: divider held in reset */
#define A_RS       0x0f
#define A_DEFAULT  0x26 /* 32768 Hz, 1024 Hz periodic */
#define B_SET      0x80
#define B_PIE      0x40
#define B_AIE      0x20
#define B_UIE      0x10
#define B_SQWE     0x08
#define B_DM       0x04
#define B_24H      0x02
#define C_IRQF     0x80
#define C_FLAGS    0x70 /* PF, AF, UF: at the places of PIE, AIE, UIE */
#define C_PF       0x40
#define C_AF       0x20
#define C_UF       0x10
#define D_VRT      0x80
#define ALARM_ANY  0xc0 /* both high bits: "don't care" */
#define HOUR_PM    0x80

#define RTC_HZ     32768u
#define UIP_NS     244000u /* table 6: UIP rises 244 us before the update */
#define DAY        86400
#define MAX_OFFSET 1000000000000LL /* seconds; beyond any settable year */

struct battery {
    uint8_t regs[RTC_SIZE];
    int64_t offset;
};

struct mc146818 {
    struct device dev;
    uint8_t regs[RTC_SIZE];
    uint8_t index;
    bool nmi_masked;
    int64_t offset;      /* seconds that the guest's time is ahead of the host's */
    int64_t last_second; /* of guest time that flags were computed for */
    uint64_t last_period;
    bool live;              /* false after a reset: take the battery's copy */
    struct battery battery; /* what a reset does not clear */
    struct bus *bus;
    struct mc146818_config config;
    struct loop_timer *timer;
};

static uint64_t wall(const struct mc146818 *r)
{
    return r->config.wall_ns ? r->config.wall_ns() : wall_ns();
}

static int64_t now_seconds(const struct mc146818 *r)
{
    return (int64_t)(wall(r) / NSEC_PER_SEC) + r->offset;
}

static bool stopped(const struct mc146818 *r)
{
    return (r->regs[RTC_B] & B_SET) || (r->regs[RTC_A] & A_DV_RESET) == A_DV_RESET;
}

static uint8_t encode(const struct mc146818 *r, int v)
{
    return (uint8_t)(r->regs[RTC_B] & B_DM ? v : v / 10 << 4 | v % 10);
}

static int decode(const struct mc146818 *r, uint8_t v)
{
    return r->regs[RTC_B] & B_DM ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct mc146818 *r, int h)
{
    if (r->regs[RTC_B] & B_24H)
        return encode(r, h);
    return (uint8_t)(encode(r, h % 12 ? h % 12 : 12) | (h >= 12 ? HOUR_PM : 0));
}

static int decode_hour(const struct mc146818 *r, uint8_t v)
{
    if (r->regs[RTC_B] & B_24H)
        return decode(r, v);
    return decode(r, v & ~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

/* Put the time into its registers, unless it stands still there. */
static void update_time(struct mc146818 *r)
{
    time_t t = now_seconds(r);
    struct tm tm;

    if (stopped(r) || !gmtime_r(&t, &tm))
        return;
    r->regs[RTC_SECONDS] = encode(r, tm.tm_sec);
    r->regs[RTC_MINUTES] = encode(r, tm.tm_min);
    r->regs[RTC_HOURS] = encode_hour(r, tm.tm_hour);
    r->regs[RTC_WEEKDAY] = encode(r, tm.tm_wday + 1);
    r->regs[RTC_DAY] = encode(r, tm.tm_mday);
    r->regs[RTC_MONTH] = encode(r, tm.tm_mon + 1);
    r->regs[RTC_YEAR] = encode(r, tm.tm_year >= 0 ? tm.tm_year % 100 : 0);
    r->regs[CMOS_CENTURY] = encode(r, tm.tm_year >= 0 ? (tm.tm_year / 100 + 19) % 100 : 0);
}

/* Take the time from its registers. */
static void set_time(struct mc146818 *r)
{
    struct tm tm = {
        .tm_sec = decode(r, r->regs[RTC_SECONDS]),
        .tm_min = decode(r, r->regs[RTC_MINUTES]),
        .tm_hour = decode_hour(r, r->regs[RTC_HOURS]),
        .tm_mday = decode(r, r->regs[RTC_DAY]),
        .tm_mon = decode(r, r->regs[RTC_MONTH]) - 1,
        .tm_year = decode(r, r->regs[CMOS_CENTURY]) * 100 + decode(r, r->regs[RTC_YEAR]) - 1900,
    };

    /* timegm carries what is out of range, so any bytes are some time. */
    r->offset = (int64_t)timegm(&tm) - (int64_t)(wall(r) / NSEC_PER_SEC);
    r->last_second = now_seconds(r);
}

/* Flags and interrupts */

/* Nanoseconds between periodic interrupts, table 5; 0: none. */
static uint64_t period_ns(const struct mc146818 *r)
{
    unsigned rs = r->regs[RTC_A] & A_RS;

    if (!rs || (r->regs[RTC_A] & A_DV) != (A_DEFAULT & A_DV))
        return 0;
    if (rs <= 2)
        rs += 7;
    return (NSEC_PER_SEC << (rs - 1)) / RTC_HZ;
}

static bool alarm_byte(const struct mc146818 *r, unsigned reg, int value)
{
    uint8_t v = r->regs[reg];

    if ((v & ALARM_ANY) == ALARM_ANY)
        return true;
    return (reg == RTC_HOURS_ALARM ? decode_hour(r, v) : decode(r, v)) == value;
}

/* Did the alarm time come in (from, to]?  A day holds every time once. */
static bool alarm_between(const struct mc146818 *r, int64_t from, int64_t to)
{
    if (to - from > DAY)
        from = to - DAY;
    for (int64_t s = from + 1; s <= to; s++) {
        int second = (int)(s % DAY);

        if (second < 0)
            second += DAY;
        if (alarm_byte(r, RTC_SECONDS_ALARM, second % 60) &&
            alarm_byte(r, RTC_MINUTES_ALARM, second / 60 % 60) &&
            alarm_byte(r, RTC_HOURS_ALARM, second / 3600))
            return true;
    }
    return false;
}

static void update_flags(struct mc146818 *r)
{
    int64_t second = now_seconds(r);
    uint64_t period = period_ns(r), n;

    if (!stopped(r) && second > r->last_second) {
        r->regs[RTC_C] |= C_UF;
        if (alarm_between(r, r->last_second, second))
            r->regs[RTC_C] |= C_AF;
    }
    r->last_second = second;
    n = period ? vm_clock_ns(r->bus->clock) / period : 0;
    if (period && n != r->last_period)
        r->regs[RTC_C] |= C_PF;
    r->last_period = n;
}

static void arm(struct mc146818 *r)
{
    uint64_t now = vm_clock_ns(r->bus->clock), period = period_ns(r), at = UINT64_MAX;
    uint8_t b = r->regs[RTC_B];

    if ((b & (B_UIE | B_AIE)) && !stopped(r))
        at = now + NSEC_PER_SEC - wall(r) % NSEC_PER_SEC;
    if ((b & B_PIE) && period)
        at = MIN(at, (now / period + 1) * period);
    /* While the line is high nothing new can happen: the guest must read C. */
    if (at == UINT64_MAX || (r->regs[RTC_C] & C_IRQF))
        loop_timer_cancel(r->timer);
    else
        loop_timer_set(r->timer, at);
}

static void update(struct mc146818 *r)
{
    update_flags(r);
    r->regs[RTC_C] &= C_FLAGS;
    if (r->regs[RTC_C] & r->regs[RTC_B] & C_FLAGS)
        r->regs[RTC_C] |= C_IRQF;
    irq_set(&r->config.irq, r->regs[RTC_C] & C_IRQF);
    arm(r);
}

static void timer_fired(void *opaque)
{
    update(opaque);
}

/* Registers */

static bool is_time(unsigned reg)
{
    return reg == CMOS_CENTURY || reg == RTC_SECONDS || reg == RTC_MINUTES || reg == RTC_HOURS ||
           (reg >= RTC_WEEKDAY && reg <= RTC_YEAR);
}

static uint8_t read_a(const struct mc146818 *r)
{
    bool uip = !stopped(r) && wall(r) % NSEC_PER_SEC >= NSEC_PER_SEC - UIP_NS;

    return (r->regs[RTC_A] & ~A_UIP) | (uip ? A_UIP : 0);
}

static uint8_t read_c(struct mc146818 *r)
{
    uint8_t v;

    update(r);
    v = r->regs[RTC_C];
    r->regs[RTC_C] = 0;
    /* A period may end right now: the line goes low all the same, for who waits for its edge. */
    irq_set(&r->config.irq, false);
    update(r);
    return v;
}

static uint8_t read_reg(struct mc146818 *r)
{
    if (is_time(r->index))
        update_time(r);
    switch (r->index) {
    case RTC_A: return read_a(r);
    case RTC_C: return read_c(r);
    case RTC_D: return D_VRT;
    default: return r->regs[r->index];
    }
}

/* Register A or B: the clock may stop or go on with what was set. */
static void write_control(struct mc146818 *r, unsigned reg, uint8_t v)
{
    bool was_stopped = stopped(r);

    update_flags(r);
    update_time(r);
    if (reg == RTC_A)
        r->regs[RTC_A] = v & ~A_UIP;
    else
        r->regs[RTC_B] = v & B_SET ? v & ~B_UIE : v; /* SET clears UIE */
    if (was_stopped && !stopped(r))
        set_time(r);
    if (period_ns(r))
        r->last_period = vm_clock_ns(r->bus->clock) / period_ns(r);
    update(r);
}

static void write_reg(struct mc146818 *r, uint8_t v)
{
    unsigned reg = r->index;

    if (reg == RTC_A || reg == RTC_B) {
        write_control(r, reg, v);
    } else if (reg == RTC_C || reg == RTC_D) {
        return; /* read only */
    } else {
        if (is_time(reg))
            update_time(r);
        r->regs[reg] = v;
        if (is_time(reg) && !stopped(r))
            set_time(r);
    }
    memcpy(r->battery.regs, r->regs, RTC_SIZE);
    r->battery.offset = r->offset;
}

static uint64_t read(void *dev, uint64_t off, unsigned size)
{
    (void)size;
    return off ? read_reg(dev) : 0xff; /* the index is write-only on the PC */
}

static void write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct mc146818 *r = dev;

    (void)size;
    if (off) {
        write_reg(r, (uint8_t)value);
        return;
    }
    r->index = value & (RTC_SIZE - 1);
    r->nmi_masked = value & INDEX_NMI_MASK;
    irq_set(&r->config.nmi_mask, r->nmi_masked);
}

static const struct io_ops ops = { read, write, 1, 1 };

static const struct state_field fields[] = {
    STATE_ARRAY(struct mc146818, regs, 0),        STATE_FIELD(struct mc146818, index, 0),
    STATE_FIELD(struct mc146818, nmi_masked, 0),  STATE_FIELD(struct mc146818, offset, 0),
    STATE_FIELD(struct mc146818, last_second, 0), STATE_FIELD(struct mc146818, last_period, 0),
    STATE_FIELD(struct mc146818, live, 0),        STATE_END,
};

static int post_load(void *obj, char *err, size_t err_size)
{
    const struct mc146818 *r = obj;

    if (r->index >= RTC_SIZE || r->offset > MAX_OFFSET || r->offset < -MAX_OFFSET ||
        r->last_second > 2 * MAX_OFFSET || r->last_second < -2 * MAX_OFFSET || !r->live) {
        snprintf(err, err_size, "impossible values");
        return -EINVAL;
    }
    return 0;
}

static const struct state_desc state = { "mc146818", 1, fields, post_load };

static void reset(struct device *dev)
{
    struct mc146818 *r = container_of(dev, struct mc146818, dev);

    if (!r->live) {
        memcpy(r->regs, r->battery.regs, RTC_SIZE);
        r->offset = r->battery.offset;
        r->regs[RTC_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE); /* RESET pin */
        r->regs[RTC_C] = 0;
        r->last_second = now_seconds(r);
        r->live = true;
    }
    memcpy(r->battery.regs, r->regs, RTC_SIZE);
    r->battery.offset = r->offset;
    irq_set(&r->config.nmi_mask, r->nmi_masked);
    update(r);
}

static void pre_save(struct device *dev)
{
    update(container_of(dev, struct mc146818, dev));
}

static void destroy(struct device *dev)
{
    struct mc146818 *r = container_of(dev, struct mc146818, dev);

    loop_timer_destroy(r->timer);
    free(r);
}

static const struct dev_class class = {
    .name = "mc146818",
    .state = &state,
    .reset = reset,
    .pre_save = pre_save,
    .destroy = destroy,
};

static void put16(uint8_t *regs, unsigned at, uint64_t v)
{
    v = MIN(v, 0xffffu);
    regs[at] = (uint8_t)v;
    regs[at + 1] = (uint8_t)(v >> 8);
}

static void fill_memory_size(uint8_t *regs, uint64_t below_4g, uint64_t above_4g)
{
    uint64_t high = MIN(above_4g / (64 * KiB), 0xffffffu);

    put16(regs, CMOS_BASE_LOW, MIN(below_4g / KiB, 640));
    put16(regs, CMOS_EXT_LOW, below_4g > MiB ? (below_4g - MiB) / KiB : 0);
    put16(regs, CMOS_EXT2_LOW, below_4g > MiB ? (below_4g - MiB) / KiB : 0);
    put16(regs, CMOS_64K_LOW, below_4g > 16 * MiB ? (below_4g - 16 * MiB) / (64 * KiB) : 0);
    put16(regs, CMOS_HIGH, high & 0xffff);
    regs[CMOS_HIGH + 2] = (uint8_t)(high >> 16);
}

int mc146818_create(struct bus *bus, const struct mc146818_config *config, struct mc146818 **out)
{
    struct mc146818 *r = calloc(1, sizeof(*r));
    uint8_t *regs;
    int ret;

    if (!r)
        return -ENOMEM;
    r->bus = bus;
    r->config = *config;
    regs = r->battery.regs;
    regs[RTC_A] = A_DEFAULT;
    regs[RTC_B] = B_24H;
    regs[CMOS_EQUIPMENT] = EQUIPMENT_PS2 | EQUIPMENT_FPU;
    fill_memory_size(regs, config->ram_below_4g, config->ram_above_4g);
    bus_add_device(bus, &r->dev, &class);
    *out = r;
    ret = loop_timer_create(bus->loop, &r->timer, timer_fired, r);
    if (!ret)
        ret = bus_add_io(bus, RTC_PORT, 2, &ops, r);
    return ret;
}

void mc146818_set_nvram(struct mc146818 *rtc, uint8_t index, uint8_t value)
{
    if (index <= RTC_D || index >= RTC_SIZE)
        return;
    rtc->regs[index] = rtc->battery.regs[index] = value;
}
