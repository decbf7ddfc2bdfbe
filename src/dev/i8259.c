/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8259A programmable interrupt controller (Intel order number 231468), two of
 * them wired as in the PC, with ELCR as in the 82371SB (PIIX3) 2.5.
 *
 * An edge is latched in IRR until it is acknowledged, also when the input
 * goes low before (the data sheet's chip would then answer IR7): devices may
 * so pulse their lines.  The cascade input follows the slave's INT.
 */
#include "dev/i8259.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"

#define MASTER_PORT 0x20
#define SLAVE_PORT  0xa0
#define ELCR_PORT   0x4d0
#define CASCADE     2

/* ICW1, figure 7 */
#define ICW1_IC4  0x01 /* ICW4 follows */
#define ICW1_SNGL 0x02 /* no ICW3 */
#define ICW1_INIT 0x10
/* ICW4 */
#define ICW4_AEOI 0x02
#define ICW4_SFNM 0x10
/* OCW2, figure 8: command in bits 7:5 */
#define OCW2_LEVEL 0x07
enum {
    OCW2_CLEAR_ROTATE_AEOI,
    OCW2_EOI,
    OCW2_NOP,
    OCW2_SPECIFIC_EOI,
    OCW2_SET_ROTATE_AEOI,
    OCW2_ROTATE_EOI,
    OCW2_SET_PRIORITY,
    OCW2_ROTATE_SPECIFIC_EOI,
};
/* OCW3 */
#define OCW3_SELECT  0x08
#define OCW3_RIS     0x01
#define OCW3_RR      0x02
#define OCW3_POLL    0x04
#define OCW3_SMM     0x20
#define OCW3_ESMM    0x40
#define POLL_PENDING 0x80

/* What the next write to the odd port is. */
enum { EXPECT_OCW1, EXPECT_ICW2, EXPECT_ICW3, EXPECT_ICW4 };

/* IRQ 0, 1, 2, 8 and 13 cannot be level-triggered (PIIX3 2.5.5). */
static const uint8_t elcr_writable[2] = { 0xf8, 0xde };

struct chip {
    uint8_t irr, imr, isr;
    uint8_t lines; /* levels of the inputs */
    uint8_t elcr;
    uint8_t base; /* ICW2 bits 7:3 */
    uint8_t top;  /* level with the highest priority */
    uint8_t expect;
    bool icw4_needed, single;
    bool auto_eoi, rotate_auto_eoi, fully_nested, special_mask;
    bool read_isr, poll;
    struct i8259 *pic;
    bool slave;
};

struct i8259 {
    struct device dev;
    struct chip chip[2];
    struct bus *bus;
    bool intr;
};

/* Distance of the best of these levels from the top; 8: none. */
static unsigned priority(const struct chip *c, uint8_t levels)
{
    unsigned rotated = (unsigned)(levels << 8 | levels) >> c->top & 0xff;

    return rotated ? (unsigned)__builtin_ctz(rotated) : 8;
}

/* The level that drives INT, or -1. */
static int pending(const struct chip *c)
{
    unsigned want = priority(c, c->irr & ~c->imr);
    uint8_t busy = c->isr;

    if (c->special_mask)
        busy &= ~c->imr;
    /* Special fully nested: the slave may interrupt itself. */
    if (c->fully_nested && !c->slave)
        busy &= ~BIT(CASCADE);
    if (want >= priority(c, busy))
        return -1;
    return (int)((want + c->top) & 7);
}

static void update(struct i8259 *pic)
{
    struct chip *master = &pic->chip[0];
    bool intr;

    if (pending(&pic->chip[1]) >= 0)
        master->irr |= BIT(CASCADE);
    else
        master->irr &= ~BIT(CASCADE);
    intr = pending(master) >= 0;
    if (intr == pic->intr)
        return;
    pic->intr = intr;
    if (pic->bus->extint)
        pic->bus->extint(pic->bus->extint_opaque, intr);
}

void i8259_set(void *opaque, unsigned n, bool level)
{
    struct i8259 *pic = opaque;
    struct chip *c = &pic->chip[n >> 3 & 1];
    uint8_t bit = (uint8_t)BIT(n & 7);

    if (n > 15 || n == CASCADE)
        return;
    if (c->elcr & bit)
        c->irr = level ? c->irr | bit : c->irr & ~bit;
    else if (level && !(c->lines & bit))
        c->irr |= bit;
    c->lines = level ? c->lines | bit : c->lines & ~bit;
    update(pic);
}

static void acknowledge(struct chip *c, int level)
{
    uint8_t bit = (uint8_t)BIT(level);

    if (!(c->elcr & bit))
        c->irr &= ~bit;
    if (!c->auto_eoi)
        c->isr |= bit;
    else if (c->rotate_auto_eoi)
        c->top = (level + 1) & 7;
}

int i8259_acknowledge(struct i8259 *pic)
{
    struct chip *master = &pic->chip[0], *slave = &pic->chip[1];
    int level = pending(master), vector;

    if (level < 0)
        return -1;
    acknowledge(master, level);
    vector = master->base + level;
    if (level == CASCADE) {
        level = pending(slave);
        if (level >= 0)
            acknowledge(slave, level);
        else
            level = 7; /* the default IR7, without ISR bit: "spurious IRQ 15" */
        vector = slave->base + level;
    }
    update(pic);
    return vector;
}

/* Initialization command words, "Programming the 8259A" */

static void write_icw1(struct chip *c, uint8_t v)
{
    /* The edge sense circuit is reset: an input must go low and high again. */
    c->irr &= c->elcr;
    c->imr = c->isr = 0;
    c->top = 0;
    c->special_mask = c->read_isr = c->poll = false;
    c->auto_eoi = c->rotate_auto_eoi = c->fully_nested = false;
    c->icw4_needed = v & ICW1_IC4;
    c->single = v & ICW1_SNGL;
    /* LTIM is not used: ELCR says edge or level for each input. */
    c->expect = EXPECT_ICW2;
}

static void write_odd(struct chip *c, uint8_t v)
{
    switch (c->expect) {
    case EXPECT_OCW1: c->imr = v; break;
    case EXPECT_ICW2:
        c->base = v & 0xf8;
        c->expect = !c->single ? EXPECT_ICW3 : c->icw4_needed ? EXPECT_ICW4 : EXPECT_OCW1;
        break;
    case EXPECT_ICW3: /* the cascade is wired */
        c->expect = c->icw4_needed ? EXPECT_ICW4 : EXPECT_OCW1;
        break;
    case EXPECT_ICW4:
        c->auto_eoi = v & ICW4_AEOI;
        c->fully_nested = v & ICW4_SFNM;
        c->expect = EXPECT_OCW1;
        break;
    }
}

/* Operation command words */

static void end_of_interrupt(struct chip *c, bool rotate)
{
    uint8_t busy = c->isr;
    unsigned p;

    /* A masked ISR bit is not cleared in special mask mode. */
    if (c->special_mask)
        busy &= ~c->imr;
    p = priority(c, busy);
    if (p == 8)
        return;
    p = (p + c->top) & 7;
    c->isr &= ~BIT(p);
    if (rotate)
        c->top = (p + 1) & 7;
}

static void write_ocw2(struct chip *c, uint8_t v)
{
    uint8_t level = v & OCW2_LEVEL;

    switch (v >> 5) {
    case OCW2_CLEAR_ROTATE_AEOI: c->rotate_auto_eoi = false; break;
    case OCW2_SET_ROTATE_AEOI: c->rotate_auto_eoi = true; break;
    case OCW2_EOI: end_of_interrupt(c, false); break;
    case OCW2_ROTATE_EOI: end_of_interrupt(c, true); break;
    case OCW2_SPECIFIC_EOI: c->isr &= ~BIT(level); break;
    case OCW2_SET_PRIORITY: c->top = (level + 1) & 7; break;
    case OCW2_ROTATE_SPECIFIC_EOI:
        c->isr &= ~BIT(level);
        c->top = (level + 1) & 7;
        break;
    default: break;
    }
}

static void write_ocw3(struct chip *c, uint8_t v)
{
    c->poll = v & OCW3_POLL;
    if (v & OCW3_RR)
        c->read_isr = v & OCW3_RIS;
    if (v & OCW3_ESMM)
        c->special_mask = v & OCW3_SMM;
}

static void pic_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct chip *c = dev;
    uint8_t v = (uint8_t)value;

    (void)size;
    if (off == 1)
        write_odd(c, v);
    else if (v & ICW1_INIT)
        write_icw1(c, v);
    else if (v & OCW3_SELECT)
        write_ocw3(c, v);
    else
        write_ocw2(c, v);
    update(c->pic);
}

/* The read after a poll command is the acknowledge cycle. */
static uint8_t read_poll(struct chip *c)
{
    int level = pending(c);

    c->poll = false;
    if (level < 0)
        return 0;
    acknowledge(c, level);
    update(c->pic);
    return (uint8_t)(POLL_PENDING | level);
}

static uint64_t pic_read(void *dev, uint64_t off, unsigned size)
{
    struct chip *c = dev;

    (void)size;
    if (c->poll)
        return read_poll(c);
    if (off == 1)
        return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static uint64_t elcr_read(void *dev, uint64_t off, unsigned size)
{
    struct i8259 *pic = dev;

    (void)size;
    return pic->chip[off].elcr;
}

static void elcr_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct i8259 *pic = dev;
    struct chip *c = &pic->chip[off];
    uint8_t old = c->elcr;

    (void)size;
    c->elcr = value & elcr_writable[off];
    /* What became level follows its input, what became edge waits for one. */
    c->irr = (c->irr & ~(old | c->elcr)) | (c->lines & c->elcr);
    update(pic);
}

static const struct io_ops pic_ops = { pic_read, pic_write, 1, 1 };
static const struct io_ops elcr_ops = { elcr_read, elcr_write, 1, 1 };

#define F(n, f) STATE_FIELD(struct i8259, chip[n].f, 0)
#define CHIP(n)                                                                                    \
    F(n, irr), F(n, imr), F(n, isr), F(n, lines), F(n, elcr), F(n, base), F(n, top), F(n, expect), \
        F(n, icw4_needed), F(n, single), F(n, auto_eoi), F(n, rotate_auto_eoi),                    \
        F(n, fully_nested), F(n, special_mask), F(n, read_isr), F(n, poll)

static const struct state_field fields[] = { CHIP(0), CHIP(1), STATE_END };

static int post_load(void *obj, char *err, size_t err_size)
{
    struct i8259 *pic = obj;

    for (int n = 0; n < 2; n++) {
        const struct chip *c = &pic->chip[n];

        if (c->top > 7 || c->expect > EXPECT_ICW4 || c->base & 7 || c->elcr & ~elcr_writable[n]) {
            snprintf(err, err_size, "impossible values in chip %d", n);
            return -EINVAL;
        }
    }
    return 0;
}

static const struct state_desc state = { "i8259", 1, fields, post_load };

static void reset(struct device *dev)
{
    struct i8259 *pic = container_of(dev, struct i8259, dev);

    /* Make the output follow even if it seems unchanged. */
    update(pic);
    if (pic->bus->extint)
        pic->bus->extint(pic->bus->extint_opaque, pic->intr);
}

static void destroy(struct device *dev)
{
    free(container_of(dev, struct i8259, dev));
}

static const struct dev_class class = {
    .name = "i8259",
    .state = &state,
    .reset = reset,
    .destroy = destroy,
};

int i8259_create(struct bus *bus, const struct i8259_config *config, struct i8259 **out)
{
    struct i8259 *pic = calloc(1, sizeof(*pic));
    int ret;

    (void)config;
    if (!pic)
        return -ENOMEM;
    pic->bus = bus;
    for (int n = 0; n < 2; n++) {
        pic->chip[n].pic = pic;
        pic->chip[n].slave = n == 1;
    }
    bus_add_device(bus, &pic->dev, &class);
    ret = bus_add_io(bus, MASTER_PORT, 2, &pic_ops, &pic->chip[0]);
    if (!ret)
        ret = bus_add_io(bus, SLAVE_PORT, 2, &pic_ops, &pic->chip[1]);
    if (!ret)
        ret = bus_add_io(bus, ELCR_PORT, 2, &elcr_ops, pic);
    *out = pic;
    return ret;
}
