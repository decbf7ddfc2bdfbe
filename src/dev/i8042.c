/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8042 keyboard controller (IBM PS/2 hardware interface technical reference,
 * "Keyboard and auxiliary device controller") and a keyboard that answers its
 * commands.  Nothing is on the auxiliary port: what is sent there comes back
 * as a time-out, so that drivers give up at once.
 *
 * Bytes for the output buffer wait in two queues, the controller's own and
 * the keyboard's; the latter waits while the keyboard's clock is held.
 */
#include "dev/i8042.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define DATA_PORT   0x60
#define STATUS_PORT 0x64

/* Status register */
#define ST_OBF      0x01
#define ST_SYS      0x04
#define ST_CMD      0x08
#define ST_UNLOCKED 0x10
#define ST_AUX_OBF  0x20
#define ST_TIMEOUT  0x40
/* Controller command byte */
#define CCB_KBD_INT   0x01
#define CCB_AUX_INT   0x02
#define CCB_SYS       0x04
#define CCB_KBD_OFF   0x10
#define CCB_AUX_OFF   0x20
#define CCB_TRANSLATE 0x40
/* Output port */
#define OUT_NO_RESET 0x01
#define OUT_A20      0x02
#define OUT_KBD_IRQ  0x10
#define OUT_AUX_IRQ  0x20

enum {
    CMD_READ_CCB = 0x20,
    CMD_WRITE_CCB = 0x60,
    CMD_AUX_OFF = 0xa7,
    CMD_AUX_ON = 0xa8,
    CMD_AUX_TEST = 0xa9,
    CMD_SELF_TEST = 0xaa,
    CMD_KBD_TEST = 0xab,
    CMD_KBD_OFF = 0xad,
    CMD_KBD_ON = 0xae,
    CMD_READ_INPUT = 0xc0,
    CMD_READ_OUTPUT = 0xd0,
    CMD_WRITE_OUTPUT = 0xd1,
    CMD_WRITE_KBD_BUFFER = 0xd2,
    CMD_WRITE_AUX_BUFFER = 0xd3,
    CMD_WRITE_AUX = 0xd4,
    CMD_A20_OFF = 0xdd,
    CMD_A20_ON = 0xdf,
    CMD_PULSE = 0xf0,
};
#define SELF_TEST_OK   0x55
#define INPUT_UNLOCKED 0x80

/* Keyboard commands and answers */
enum {
    KBD_LEDS = 0xed,
    KBD_ECHO = 0xee,
    KBD_SCAN_SET = 0xf0,
    KBD_IDENTIFY = 0xf2,
    KBD_RATE = 0xf3,
    KBD_ENABLE = 0xf4,
    KBD_DISABLE = 0xf5,
    KBD_DEFAULT = 0xf6,
    KBD_RESEND = 0xfe,
    KBD_RESET = 0xff,
};
#define KBD_ACK    0xfa
#define KBD_BAT_OK 0xaa

#define QUEUE_SIZE 16
/* Flags beside the bytes of the controller's queue. */
#define FROM_AUX  ST_AUX_OBF
#define TIMED_OUT ST_TIMEOUT

struct i8042 {
    struct device dev;
    uint8_t ccb, out_port;
    uint8_t out;      /* output buffer */
    uint8_t status;   /* OBF, SYS, CMD, AUX_OBF, TIMEOUT */
    uint8_t data_for; /* command that the next data byte belongs to; 0: keyboard */
    uint8_t queue[QUEUE_SIZE], queue_flags[QUEUE_SIZE], queue_len;
    uint8_t kbd_queue[QUEUE_SIZE], kbd_len;
    uint8_t kbd_data_for; /* keyboard command that waits for its byte */
    uint8_t kbd_last, kbd_leds, kbd_scan_set;
    bool kbd_enabled;
    struct bus *bus;
    struct i8042_config config;
};

/* Interrupts follow the output buffer while they are enabled. */
static void update_lines(struct i8042 *k)
{
    bool full = k->status & ST_OBF, aux = k->status & ST_AUX_OBF;

    irq_set(&k->config.keyboard_irq, full && !aux && (k->ccb & CCB_KBD_INT));
    irq_set(&k->config.aux_irq, full && aux && (k->ccb & CCB_AUX_INT));
}

static void pop(uint8_t *queue, uint8_t *len)
{
    memmove(queue, queue + 1, --*len);
}

/* Fill the output buffer if it is empty. */
static void next_byte(struct i8042 *k)
{
    uint8_t flags = 0;

    if (k->status & ST_OBF)
        return;
    if (k->queue_len) {
        uint8_t len = k->queue_len;

        k->out = k->queue[0];
        flags = k->queue_flags[0];
        pop(k->queue_flags, &len);
        pop(k->queue, &k->queue_len);
    } else if (k->kbd_len && !(k->ccb & CCB_KBD_OFF)) {
        k->out = k->kbd_queue[0];
        pop(k->kbd_queue, &k->kbd_len);
        /* Set 2 to set 1; of the few bytes we send only this one differs. */
        if ((k->ccb & CCB_TRANSLATE) && k->out == 0x83)
            k->out = 0x41;
    } else {
        return;
    }
    k->status &= ~(ST_AUX_OBF | ST_TIMEOUT);
    k->status |= ST_OBF | flags;
    update_lines(k);
}

static void answer(struct i8042 *k, uint8_t byte, uint8_t flags)
{
    if (k->queue_len == QUEUE_SIZE)
        return; /* the guest does not read its answers */
    k->queue[k->queue_len] = byte;
    k->queue_flags[k->queue_len++] = flags;
    next_byte(k);
}

static void kbd_send(struct i8042 *k, uint8_t byte)
{
    if (k->kbd_len == QUEUE_SIZE)
        return;
    k->kbd_last = byte;
    k->kbd_queue[k->kbd_len++] = byte;
    next_byte(k);
}

/* The keyboard */

static void kbd_defaults(struct i8042 *k)
{
    k->kbd_leds = 0;
    k->kbd_scan_set = 2;
    k->kbd_enabled = true;
}

static void kbd_parameter(struct i8042 *k, uint8_t v)
{
    uint8_t command = k->kbd_data_for;

    k->kbd_data_for = 0;
    kbd_send(k, KBD_ACK);
    if (command == KBD_LEDS)
        k->kbd_leds = v & 7;
    else if (command == KBD_SCAN_SET && v == 0)
        kbd_send(k, k->kbd_scan_set);
    else if (command == KBD_SCAN_SET && v <= 3)
        k->kbd_scan_set = v;
}

static void kbd_command(struct i8042 *k, uint8_t v)
{
    if (v == KBD_ECHO) {
        kbd_send(k, KBD_ECHO);
        return;
    }
    if (v == KBD_RESEND) {
        kbd_send(k, k->kbd_last);
        return;
    }
    kbd_send(k, KBD_ACK);
    switch (v) {
    case KBD_LEDS:
    case KBD_SCAN_SET:
    case KBD_RATE: k->kbd_data_for = v; break;
    case KBD_IDENTIFY: /* MF2 keyboard */
        kbd_send(k, 0xab);
        kbd_send(k, 0x83);
        break;
    case KBD_ENABLE: k->kbd_enabled = true; break;
    case KBD_DISABLE:
        kbd_defaults(k);
        k->kbd_enabled = false;
        break;
    case KBD_DEFAULT: kbd_defaults(k); break;
    case KBD_RESET:
        kbd_defaults(k);
        kbd_send(k, KBD_BAT_OK);
        break;
    default: /* 0xf7 to 0xfd set key types, which are not kept */ break;
    }
}

static void kbd_write(struct i8042 *k, uint8_t v)
{
    /* Any command ends one that waits for its parameter. */
    if (k->kbd_data_for && v < 0xed)
        kbd_parameter(k, v);
    else {
        k->kbd_data_for = 0;
        kbd_command(k, v);
    }
}

/* The controller */

static void request_reset(struct i8042 *k)
{
    if (k->bus->request)
        k->bus->request(k->bus->request_opaque, BUS_RESET, 0);
}

static void write_out_port(struct i8042 *k, uint8_t v)
{
    k->out_port = v & (OUT_NO_RESET | OUT_A20);
    irq_set(&k->config.a20, v & OUT_A20);
    if (!(v & OUT_NO_RESET))
        request_reset(k);
}

static uint8_t read_out_port(const struct i8042 *k)
{
    uint8_t v = k->out_port;

    if (k->status & ST_OBF)
        v |= k->status & ST_AUX_OBF ? OUT_AUX_IRQ : OUT_KBD_IRQ;
    return v;
}

static void write_ccb(struct i8042 *k, uint8_t v)
{
    k->ccb = v & 0x77;
    k->status = (k->status & ~ST_SYS) | (v & CCB_SYS ? ST_SYS : 0);
    next_byte(k);
    update_lines(k);
}

static void self_test(struct i8042 *k)
{
    k->status |= ST_SYS;
    k->ccb |= CCB_SYS;
    answer(k, SELF_TEST_OK, 0);
}

static void controller_command(struct i8042 *k, uint8_t v)
{
    k->status |= ST_CMD;
    k->data_for = 0;
    switch (v) {
    case CMD_READ_CCB: answer(k, k->ccb, 0); break;
    case CMD_AUX_OFF: write_ccb(k, k->ccb | CCB_AUX_OFF); break;
    case CMD_AUX_ON: write_ccb(k, k->ccb & ~CCB_AUX_OFF); break;
    case CMD_AUX_TEST:
    case CMD_KBD_TEST: answer(k, 0, 0); break;
    case CMD_SELF_TEST: self_test(k); break;
    case CMD_KBD_OFF: write_ccb(k, k->ccb | CCB_KBD_OFF); break;
    case CMD_KBD_ON: write_ccb(k, k->ccb & ~CCB_KBD_OFF); break;
    case CMD_READ_INPUT: answer(k, INPUT_UNLOCKED, 0); break;
    case CMD_READ_OUTPUT: answer(k, read_out_port(k), 0); break;
    case CMD_WRITE_CCB:
    case CMD_WRITE_OUTPUT:
    case CMD_WRITE_KBD_BUFFER:
    case CMD_WRITE_AUX_BUFFER:
    case CMD_WRITE_AUX: k->data_for = v; break;
    case CMD_A20_OFF: write_out_port(k, k->out_port & ~OUT_A20); break;
    case CMD_A20_ON: write_out_port(k, k->out_port | OUT_A20); break;
    default:
        /* Pulse output bits that are 0 in the command; bit 0 is reset. */
        if (v >= CMD_PULSE && !(v & OUT_NO_RESET))
            request_reset(k);
        break;
    }
}

static void write_data(struct i8042 *k, uint8_t v)
{
    uint8_t command = k->data_for;

    k->status &= ~ST_CMD;
    k->data_for = 0;
    switch (command) {
    case CMD_WRITE_CCB: write_ccb(k, v); break;
    case CMD_WRITE_OUTPUT: write_out_port(k, v); break;
    case CMD_WRITE_KBD_BUFFER: answer(k, v, 0); break;
    case CMD_WRITE_AUX_BUFFER: answer(k, v, FROM_AUX); break;
    case CMD_WRITE_AUX: answer(k, KBD_RESEND, FROM_AUX | TIMED_OUT); break;
    default:
        /* Sending to the keyboard enables its interface. */
        write_ccb(k, k->ccb & ~CCB_KBD_OFF);
        kbd_write(k, v);
        break;
    }
}

static uint8_t read_data(struct i8042 *k)
{
    uint8_t v = k->out;

    if (!(k->status & ST_OBF))
        return v; /* the last byte stays in the buffer */
    /* The line goes low between two bytes: each is an edge. */
    k->status &= ~(ST_OBF | ST_AUX_OBF | ST_TIMEOUT);
    update_lines(k);
    next_byte(k);
    return v;
}

static uint64_t data_read(void *dev, uint64_t off, unsigned size)
{
    (void)off;
    (void)size;
    return read_data(dev);
}

static void data_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    (void)off;
    (void)size;
    write_data(dev, (uint8_t)value);
}

static uint64_t status_read(void *dev, uint64_t off, unsigned size)
{
    const struct i8042 *k = dev;

    (void)off;
    (void)size;
    return k->status | ST_UNLOCKED;
}

static void command_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    (void)off;
    (void)size;
    controller_command(dev, (uint8_t)value);
}

static const struct io_ops data_ops = { data_read, data_write, 1, 1 };
static const struct io_ops status_ops = { status_read, command_write, 1, 1 };

/* As a BIOS leaves it: interrupts on, translation on, no mouse. */
static const struct state_field fields[] = {
    STATE_FIELD(struct i8042, ccb, CCB_KBD_INT | CCB_SYS | CCB_AUX_OFF | CCB_TRANSLATE),
    STATE_FIELD(struct i8042, out_port, OUT_NO_RESET | OUT_A20),
    STATE_FIELD(struct i8042, out, 0),
    STATE_FIELD(struct i8042, status, ST_SYS),
    STATE_FIELD(struct i8042, data_for, 0),
    STATE_ARRAY(struct i8042, queue, 0),
    STATE_ARRAY(struct i8042, queue_flags, 0),
    STATE_FIELD(struct i8042, queue_len, 0),
    STATE_ARRAY(struct i8042, kbd_queue, 0),
    STATE_FIELD(struct i8042, kbd_len, 0),
    STATE_FIELD(struct i8042, kbd_data_for, 0),
    STATE_FIELD(struct i8042, kbd_last, 0),
    STATE_FIELD(struct i8042, kbd_leds, 0),
    STATE_FIELD(struct i8042, kbd_scan_set, 2),
    STATE_FIELD(struct i8042, kbd_enabled, 1),
    STATE_END,
};

static int post_load(void *obj, char *err, size_t err_size)
{
    const struct i8042 *k = obj;
    uint8_t flags = 0;

    for (unsigned i = 0; i < QUEUE_SIZE; i++)
        flags |= k->queue_flags[i];
    if (k->queue_len > QUEUE_SIZE || k->kbd_len > QUEUE_SIZE || k->ccb & ~0x77 ||
        flags & ~(FROM_AUX | TIMED_OUT)) {
        snprintf(err, err_size, "impossible values");
        return -EINVAL;
    }
    return 0;
}

static const struct state_desc state = { "i8042", 1, fields, post_load };

static void reset(struct device *dev)
{
    struct i8042 *k = container_of(dev, struct i8042, dev);

    irq_set(&k->config.a20, k->out_port & OUT_A20);
    update_lines(k);
}

static void destroy(struct device *dev)
{
    free(container_of(dev, struct i8042, dev));
}

static const struct dev_class class = {
    .name = "i8042",
    .state = &state,
    .reset = reset,
    .destroy = destroy,
};

int i8042_create(struct bus *bus, const struct i8042_config *config, struct i8042 **out)
{
    struct i8042 *k = calloc(1, sizeof(*k));
    int ret;

    if (!k)
        return -ENOMEM;
    k->bus = bus;
    k->config = *config;
    bus_add_device(bus, &k->dev, &class);
    *out = k;
    ret = bus_add_io(bus, DATA_PORT, 1, &data_ops, k);
    if (!ret)
        ret = bus_add_io(bus, STATUS_PORT, 1, &status_ops, k);
    return ret;
}
