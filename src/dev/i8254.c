/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8254 programmable interval timer (Intel order number 231164).
 *
 * Counters are not counted: what a channel shows is computed from the VM
 * clock, `start` being the time at which it had counted `base` ticks.  Only
 * OUT of channel 0 needs a timer, since it is an interrupt.
 *
 * Lost ticks.  If the host runs us late, several periods of channel 0 may be
 * due at once.  Each rising edge is then given separately, at twice the rate,
 * so that a guest that counts ticks keeps its time; at most MAX_OWED of them
 * are kept, older ones are lost.  Edges are never closer than MIN_GAP, so a
 * tiny count cannot keep the host busy.  Reads of the counter always show the
 * real time.
 *
 * Simplifications: a count takes effect at once instead of one clock later,
 * and a new count in mode 3 at the end of the period, not of the half.
 */
#include "dev/i8254.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"

#define PIT_PORT 0x40
#define PORT_B   0x61
#define CHANNELS 3

/* Control word, figure 7; read-back command, figure 10; status, figure 11 */
#define CW_BCD        0x01
#define CW_MODE_SHIFT 1
#define CW_RW_SHIFT   4
#define CW_SC_SHIFT   6
#define RW_LATCH      0
#define RW_LSB        1
#define RW_MSB        2
#define RW_BOTH       3
#define SC_READ_BACK  3
#define RB_NO_COUNT   0x20
#define RB_NO_STATUS  0x10
#define ST_NULL       0x40
#define ST_OUT        0x80

/* Port 0x61 (PIIX3 2.5.7, NMI status and control) */
#define PB_GATE2    0x01
#define PB_SPEAKER  0x02
#define PB_WRITABLE 0x0f
#define PB_REFRESH  0x10
#define PB_OUT2     0x20
#define REFRESH_NS  15085u

#define MAX_OWED   32u
#define MIN_GAP_NS 50000u

struct channel {
    uint32_t count;       /* what the counter starts from, 1 to 65536 */
    uint32_t next;        /* count of the next period; 0: the same */
    uint64_t start, base; /* at VM time start, base ticks had passed */
    uint8_t mode, rw;
    bool bcd, gate;
    bool loaded;    /* a count was written since the control word */
    bool triggered; /* modes 1 and 5: the gate has risen */
    bool running;
    bool write_msb, read_msb; /* second byte of two is next */
    uint8_t write_lsb;
    uint16_t latch;
    uint8_t latched; /* bytes to read: bit 0 LSB, bit 1 MSB */
    uint8_t status;
    bool status_latched;
};

struct i8254 {
    struct device dev;
    struct channel ch[CHANNELS];
    uint64_t edges; /* of channel 0 since its start: given or lost */
    bool irq_level; /* as last driven */
    uint8_t port_b;
    struct bus *bus;
    struct irq_line irq;
    struct loop_timer *timer;
};

static bool is_periodic(const struct channel *c)
{
    return c->mode == 2 || c->mode == 3;
}

static uint64_t elapsed(const struct channel *c, uint64_t now)
{
    if (!c->running || now <= c->start)
        return c->base;
    return c->base + mul_div(now - c->start, I8254_HZ, NSEC_PER_SEC);
}

/* VM time of the moment when ticks have passed. */
static uint64_t time_of(const struct channel *c, uint64_t ticks)
{
    if (ticks <= c->base)
        return c->start;
    return c->start + mul_div(ticks - c->base, NSEC_PER_SEC, I8254_HZ) + 1;
}

/* A count written while counting in modes 2 and 3 starts with the next
 * period, which may have begun unseen. */
static void start_next(struct channel *c, uint64_t now)
{
    uint64_t d = elapsed(c, now);

    if (!c->next || d < c->count)
        return;
    c->start = time_of(c, c->count);
    c->base = 0;
    c->count = c->next;
    c->next = 0;
}

/* OUT after d ticks, figures 15 to 20. */
static bool out_level(const struct channel *c, uint64_t d)
{
    if (!c->loaded)
        return c->mode != 0;
    switch (c->mode) {
    case 0: return d >= c->count;
    case 1: return !c->triggered || d >= c->count;
    case 2: return !c->gate || d % c->count != c->count - 1;
    case 3: return !c->gate || d % c->count < (c->count + 1) / 2;
    case 5: return !c->triggered || d != c->count;
    default: return d != c->count;
    }
}

/* The counting element as read. */
static uint16_t counter_value(const struct channel *c, uint64_t d)
{
    uint32_t wrap = c->bcd ? 10000 : 65536, v;

    if (c->mode == 2)
        v = c->count - (uint32_t)(d % c->count);
    else if (c->mode == 3) /* counts by two */
        v = c->count - (uint32_t)(2 * (d % c->count) % c->count);
    else
        v = (uint32_t)((c->count + wrap - d % wrap) % wrap);
    v %= wrap;
    if (c->bcd)
        v = v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 << 12;
    return (uint16_t)v;
}

/* Interrupts of channel 0 */

/* Rising edges of OUT up to d ticks. */
static uint64_t edges_due(const struct channel *c, uint64_t d)
{
    if (!c->loaded)
        return 0;
    switch (c->mode) {
    case 0: return d >= c->count;
    case 2:
    case 3: return d / c->count;
    case 4: return d > c->count;
    default: return 0; /* 1 and 5: the gate of channel 0 never rises */
    }
}

/* VM time of the next change of OUT that the interrupt needs; 0: none. */
static uint64_t next_event(const struct i8254 *pit, uint64_t now)
{
    const struct channel *c = &pit->ch[0];
    uint64_t d = elapsed(c, now), due = edges_due(c, d), in_period, at;

    if (!c->loaded || !c->running)
        return 0;
    if (is_periodic(c)) {
        uint64_t half_period = mul_div(c->count, NSEC_PER_SEC / 2, I8254_HZ);

        if (due > pit->edges)
            return now + MAX(half_period, MIN_GAP_NS);
        in_period = d % c->count;
        if (c->mode == 3 && in_period < (c->count + 1) / 2 && half_period > MIN_GAP_NS)
            at = d - in_period + (c->count + 1) / 2;
        else
            at = (pit->edges + 1) * c->count;
        return MAX(time_of(c, at), now + (2 * half_period < MIN_GAP_NS ? MIN_GAP_NS : 0));
    }
    if (due > pit->edges) /* after a load: it was due, and the timer had not come */
        return now;
    if (due || c->mode == 1 || c->mode == 5)
        return 0;
    return time_of(c, c->count + (c->mode == 4));
}

static void drive(struct i8254 *pit, bool level)
{
    pit->irq_level = level;
    irq_set(&pit->irq, level);
}

static void rising_edge(struct i8254 *pit)
{
    drive(pit, false);
    drive(pit, true);
}

static void arm(struct i8254 *pit, uint64_t now)
{
    uint64_t at = next_event(pit, now);

    if (at)
        loop_timer_set(pit->timer, at);
    else
        loop_timer_cancel(pit->timer);
}

/* Bring IRQ 0 up to date; give one edge if one is due. */
static void update_irq(struct i8254 *pit)
{
    struct channel *c = &pit->ch[0];
    uint64_t now = vm_clock_ns(pit->bus->clock), due;

    if (c->next && is_periodic(c) && elapsed(c, now) >= c->count) {
        due = pit->edges < 1; /* the edge between the old and the new period */
        start_next(c, now);
        pit->edges = 0;
        if (due)
            rising_edge(pit);
    }
    due = edges_due(c, elapsed(c, now));
    if (due > pit->edges + MAX_OWED)
        pit->edges = due - MAX_OWED;
    if (due > pit->edges) {
        pit->edges++;
        rising_edge(pit);
    }
    drive(pit, out_level(c, elapsed(c, now)));
    arm(pit, now);
}

static void timer_fired(void *opaque)
{
    update_irq(opaque);
}

/* Programming */

static void restart(struct channel *c, uint64_t now)
{
    c->start = now;
    c->base = 0;
    if (c->next)
        c->count = c->next;
    c->next = 0;
    /* A low gate stops modes 0, 2, 3 and 4 (figure 22). */
    c->running = c->gate || c->mode == 1 || c->mode == 5;
}

static void load_count(struct i8254 *pit, unsigned n, uint32_t value)
{
    struct channel *c = &pit->ch[n];
    uint64_t now = vm_clock_ns(pit->bus->clock);

    if (c->bcd) /* digits above 9 are not defined; they count as they are */
        value = (value & 15) + (value >> 4 & 15) * 10 + (value >> 8 & 15) * 100 +
                (value >> 12 & 15) * 1000;
    if (!value)
        value = c->bcd ? 10000 : 65536;
    if (c->loaded && (is_periodic(c) || c->mode == 1 || c->mode == 5)) {
        c->next = value;
    } else {
        c->count = value;
        c->next = 0;
        c->loaded = true;
        restart(c, now);
        if (n == 0)
            pit->edges = 0;
    }
    if (n == 0)
        update_irq(pit);
}

/* The channel waits for a count. */
static void unload(struct i8254 *pit, unsigned n)
{
    pit->ch[n].loaded = false;
    if (n)
        return;
    pit->edges = 0;
    update_irq(pit);
}

static void write_count(struct i8254 *pit, unsigned n, uint8_t v)
{
    struct channel *c = &pit->ch[n];

    if (c->rw == RW_LSB) {
        load_count(pit, n, v);
    } else if (c->rw == RW_MSB) {
        load_count(pit, n, (uint32_t)v << 8);
    } else if (!c->write_msb) {
        c->write_lsb = v;
        c->write_msb = true;
        /* Mode 0: the first byte stops the counting, OUT goes low. */
        if (c->mode == 0)
            unload(pit, n);
    } else {
        c->write_msb = false;
        load_count(pit, n, c->write_lsb | (uint32_t)v << 8);
    }
}

static void latch_count(struct i8254 *pit, struct channel *c)
{
    uint64_t now = vm_clock_ns(pit->bus->clock);

    if (c->latched)
        return; /* the first latch stays until it is read */
    c->latch = counter_value(c, elapsed(c, now));
    c->latched = c->rw;
}

static void latch_status(struct i8254 *pit, struct channel *c)
{
    uint64_t now = vm_clock_ns(pit->bus->clock);

    if (c->status_latched)
        return;
    c->status = (uint8_t)(c->bcd | c->mode << CW_MODE_SHIFT | c->rw << CW_RW_SHIFT);
    if (!c->loaded || c->next)
        c->status |= ST_NULL;
    if (out_level(c, elapsed(c, now)))
        c->status |= ST_OUT;
    c->status_latched = true;
}

/* Look at the channel as it is now: the next count may have begun. */
static struct channel *current(struct i8254 *pit, unsigned n)
{
    if (n == 0 && pit->ch[0].next)
        update_irq(pit);
    else if (is_periodic(&pit->ch[n]))
        start_next(&pit->ch[n], vm_clock_ns(pit->bus->clock));
    return &pit->ch[n];
}

static void read_back(struct i8254 *pit, uint8_t v)
{
    for (unsigned n = 0; n < CHANNELS; n++) {
        if (!(v >> (n + 1) & 1))
            continue;
        if (!(v & RB_NO_COUNT))
            latch_count(pit, current(pit, n));
        if (!(v & RB_NO_STATUS))
            latch_status(pit, current(pit, n));
    }
}

static void write_control(struct i8254 *pit, uint8_t v)
{
    unsigned n = v >> CW_SC_SHIFT, rw = v >> CW_RW_SHIFT & 3, mode = v >> CW_MODE_SHIFT & 7;
    struct channel *c;

    if (n == SC_READ_BACK) {
        read_back(pit, v);
        return;
    }
    c = current(pit, n);
    if (rw == RW_LATCH) {
        latch_count(pit, c);
        return;
    }
    c->rw = (uint8_t)rw;
    c->mode = (uint8_t)(mode > 5 ? mode - 4 : mode); /* bit 2 does not matter in 2 and 3 */
    c->bcd = v & CW_BCD;
    c->triggered = false;
    c->write_msb = c->read_msb = false;
    c->latched = 0;
    c->status_latched = false;
    c->next = 0;
    unload(pit, n);
}

static uint8_t read_count(struct i8254 *pit, unsigned n)
{
    struct channel *c = current(pit, n);
    uint16_t v;

    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    if (c->latched) {
        bool msb = !(c->latched & RW_LSB);

        c->latched &= msb ? 0 : RW_MSB;
        return (uint8_t)(msb ? c->latch >> 8 : c->latch);
    }
    v = counter_value(c, elapsed(c, vm_clock_ns(pit->bus->clock)));
    if (c->rw == RW_BOTH)
        c->read_msb = !c->read_msb;
    if (c->rw == RW_MSB || (c->rw == RW_BOTH && !c->read_msb))
        v >>= 8;
    return (uint8_t)v;
}

static uint64_t pit_read(void *dev, uint64_t off, unsigned size)
{
    (void)size;
    return off < CHANNELS ? read_count(dev, (unsigned)off) : 0xff;
}

static void pit_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    (void)size;
    if (off < CHANNELS)
        write_count(dev, (unsigned)off, (uint8_t)value);
    else
        write_control(dev, (uint8_t)value);
}

/* Port 0x61 */

static void set_gate2(struct i8254 *pit, bool gate)
{
    struct channel *c = current(pit, 2);
    uint64_t now = vm_clock_ns(pit->bus->clock);

    if (gate == c->gate)
        return;
    if (!gate && c->mode != 1 && c->mode != 5) {
        c->base = elapsed(c, now);
        c->running = false;
    }
    c->gate = gate;
    if (!gate)
        return;
    if (c->mode == 0 || c->mode == 4) {
        c->start = now;
        c->running = true;
    } else { /* the rising edge starts or restarts */
        c->triggered = c->loaded;
        restart(c, now);
    }
}

static uint64_t port_b_read(void *dev, uint64_t off, unsigned size)
{
    struct i8254 *pit = dev;
    uint64_t now = vm_clock_ns(pit->bus->clock);
    struct channel *c = current(pit, 2);

    (void)off;
    (void)size;
    return pit->port_b | (now / REFRESH_NS & 1 ? PB_REFRESH : 0) |
           (out_level(c, elapsed(c, now)) ? PB_OUT2 : 0);
}

static void port_b_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct i8254 *pit = dev;

    (void)off;
    (void)size;
    pit->port_b = value & PB_WRITABLE;
    set_gate2(pit, value & PB_GATE2);
}

static const struct io_ops pit_ops = { pit_read, pit_write, 1, 1 };
static const struct io_ops port_b_ops = { port_b_read, port_b_write, 1, 1 };

#define F(n, f, v) STATE_FIELD(struct i8254, ch[n].f, v)
/* As a BIOS leaves it: channel 0 in mode 3 with 65536, 18.2 Hz. */
#define CHANNEL(n)                                                                          \
    F(n, count, 65536), F(n, next, 0), F(n, start, 0), F(n, base, 0), F(n, mode, 3),        \
        F(n, rw, RW_BOTH), F(n, bcd, 0), F(n, gate, (n) != 2), F(n, loaded, 1),             \
        F(n, triggered, 0), F(n, running, (n) != 2), F(n, write_msb, 0), F(n, read_msb, 0), \
        F(n, write_lsb, 0), F(n, latch, 0), F(n, latched, 0), F(n, status, 0),              \
        F(n, status_latched, 0)

static const struct state_field fields[] = {
    CHANNEL(0),
    CHANNEL(1),
    CHANNEL(2),
    STATE_FIELD(struct i8254, edges, UINT64_MAX), /* see reset */
    STATE_FIELD(struct i8254, irq_level, 1),
    STATE_FIELD(struct i8254, port_b, 0),
    STATE_END,
};

static int post_load(void *obj, char *err, size_t err_size)
{
    const struct i8254 *pit = obj;

    for (unsigned n = 0; n < CHANNELS; n++) {
        const struct channel *c = &pit->ch[n];

        if (c->count < 1 || c->count > 65536 || c->next > 65536 || c->mode > 5 || c->rw < 1 ||
            c->rw > 3 || c->latched > 3 || c->base >> 48) {
            snprintf(err, err_size, "impossible values in channel %u", n);
            return -EINVAL;
        }
    }
    return 0;
}

static const struct state_desc state = { "i8254", 1, fields, post_load };

static void reset(struct device *dev)
{
    struct i8254 *pit = container_of(dev, struct i8254, dev);
    uint64_t now = vm_clock_ns(pit->bus->clock);

    if (pit->edges == UINT64_MAX) { /* after a reset, not after a load */
        for (unsigned n = 0; n < CHANNELS; n++)
            pit->ch[n].start = now;
        pit->edges = 0;
    }
    pit->edges = MIN(pit->edges, edges_due(&pit->ch[0], elapsed(&pit->ch[0], now)));
    /* What is due comes by the timer, so that a load alone changes nothing. */
    irq_set(&pit->irq, pit->irq_level);
    arm(pit, now);
}

static void destroy(struct device *dev)
{
    struct i8254 *pit = container_of(dev, struct i8254, dev);

    loop_timer_destroy(pit->timer);
    free(pit);
}

static const struct dev_class class = {
    .name = "i8254",
    .state = &state,
    .reset = reset,
    .destroy = destroy,
};

int i8254_create(struct bus *bus, const struct i8254_config *config, struct i8254 **out)
{
    struct i8254 *pit = calloc(1, sizeof(*pit));
    int ret;

    if (!pit)
        return -ENOMEM;
    pit->bus = bus;
    pit->irq = config->irq;
    bus_add_device(bus, &pit->dev, &class);
    *out = pit;
    ret = loop_timer_create(bus->loop, &pit->timer, timer_fired, pit);
    if (!ret)
        ret = bus_add_io(bus, PIT_PORT, 4, &pit_ops, pit);
    if (!ret)
        ret = bus_add_io(bus, PORT_B, 1, &port_b_ops, pit);
    return ret;
}
