/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NS16550A universal asynchronous receiver/transmitter (National
 * Semiconductor PC16550D data sheet, section numbers from there).
 *
 * The line rate is not simulated: a byte that is written goes to the chardev
 * at once and THR is empty again.  If the chardev takes nothing, bytes wait in
 * a transmit FIFO and THRE stays low until it is empty, so that nothing is
 * lost and the guest is slowed down.  Input stays in the chardev until there
 * is room in the receive FIFO.
 */
#include "dev/ns16550.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

#define UART_LEN  8
#define FIFO_SIZE 16

/* Register offsets, table II */
enum { UART_RBR_THR, UART_IER, UART_IIR_FCR, UART_LCR, UART_MCR, UART_LSR, UART_MSR, UART_SCR };

/* 8.7 */
#define IER_RDA   0x01 /* received data available */
#define IER_THRE  0x02
#define IER_LINE  0x04
#define IER_MODEM 0x08
/* 8.6 */
#define IIR_NONE    0x01
#define IIR_MODEM   0x00
#define IIR_THRE    0x02
#define IIR_RDA     0x04
#define IIR_LINE    0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS   0xc0
/* 8.5 */
#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04
#define FCR_KEPT     0xc9
/* 8.1 */
#define LCR_DLAB 0x80
/* 8.8 */
#define MCR_DTR      0x01
#define MCR_RTS      0x02
#define MCR_OUT1     0x04
#define MCR_OUT2     0x08
#define MCR_LOOP     0x10
#define MCR_WRITABLE 0x1f
/* 8.4 */
#define LSR_DR     0x01
#define LSR_OE     0x02
#define LSR_BI     0x10
#define LSR_ERRORS 0x1e
#define LSR_THRE   0x20
#define LSR_TEMT   0x40
/* 8.9 */
#define MSR_DELTAS 0x0f
#define MSR_CTS    0x10
#define MSR_DSR    0x20
#define MSR_RI     0x40
#define MSR_DCD    0x80

/* Four characters of ten bits at 115200 baud, 8.10: a guest that lowers the
 * rate has no use for waiting longer. */
#define TIMEOUT_NS 350000u

struct ns16550 {
    struct device dev;
    uint8_t ier, fcr, lcr, mcr, msr, scr;
    uint8_t lsr_errors; /* BI, FE, PE, OE */
    uint16_t divisor;
    uint8_t rx[FIFO_SIZE], tx[FIFO_SIZE];
    uint8_t rx_count, tx_count; /* oldest byte first at index 0 */
    bool thre_pending;          /* the THRE interrupt, until IIR is read */
    bool timeout;
    struct bus *bus;
    struct ns16550_config config;
    struct loop_timer *timer;
};

static unsigned fifo_depth(const struct ns16550 *u)
{
    return u->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned rx_trigger(const struct ns16550 *u)
{
    static const uint8_t levels[] = { 1, 4, 8, 14 };

    return u->fcr & FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

/* 8.6: the highest-priority interrupt, without the FIFO bits. */
static uint8_t interrupt_id(const struct ns16550 *u)
{
    if ((u->ier & IER_LINE) && u->lsr_errors)
        return IIR_LINE;
    if ((u->ier & IER_RDA) && u->rx_count >= rx_trigger(u))
        return IIR_RDA;
    if ((u->ier & IER_RDA) && u->timeout)
        return IIR_TIMEOUT;
    if ((u->ier & IER_THRE) && u->thre_pending)
        return IIR_THRE;
    if ((u->ier & IER_MODEM) && (u->msr & MSR_DELTAS))
        return IIR_MODEM;
    return IIR_NONE;
}

/* On the PC, OUT2 lets the interrupt through to the bus.  It is not looked
 * at: QEMU and most drivers' probes agree that it need not be. */
static void update_irq(struct ns16550 *u)
{
    irq_set(&u->config.irq, interrupt_id(u) != IIR_NONE);
}

/* Receiving */

static void rx_changed(struct ns16550 *u)
{
    if (!u->rx_count)
        u->timeout = false;
    if (u->rx_count && (u->fcr & FCR_ENABLE) && !u->timeout)
        loop_timer_set(u->timer, vm_clock_ns(u->bus->clock) + TIMEOUT_NS);
    else if (!u->rx_count)
        loop_timer_cancel(u->timer);
    update_irq(u);
}

static void timeout(void *opaque)
{
    struct ns16550 *u = opaque;

    u->timeout = u->rx_count > 0;
    update_irq(u);
}

static void rx_put(struct ns16550 *u, uint8_t byte)
{
    if (u->rx_count >= fifo_depth(u)) {
        u->lsr_errors |= LSR_OE;
        /* 8.4: without FIFO the new byte takes the place of the old one */
        if (!(u->fcr & FCR_ENABLE))
            u->rx[0] = byte;
        return;
    }
    u->rx[u->rx_count++] = byte;
}

static uint8_t rx_get(struct ns16550 *u)
{
    uint8_t byte = u->rx[0];

    if (!u->rx_count)
        return 0;
    memmove(u->rx, u->rx + 1, --u->rx_count);
    u->timeout = false;
    rx_changed(u);
    if (u->config.chardev && !(u->mcr & MCR_LOOP))
        chardev_receive_ready(u->config.chardev);
    return byte;
}

static size_t can_receive(void *opaque)
{
    const struct ns16550 *u = opaque;

    if (u->mcr & MCR_LOOP || u->rx_count >= fifo_depth(u))
        return 0;
    return fifo_depth(u) - u->rx_count;
}

static void receive(void *opaque, const uint8_t *data, size_t n)
{
    struct ns16550 *u = opaque;

    for (size_t i = 0; i < n; i++)
        rx_put(u, data[i]);
    rx_changed(u);
}

static void receive_break(void *opaque)
{
    struct ns16550 *u = opaque;

    if (u->mcr & MCR_LOOP)
        return;
    rx_put(u, 0);
    u->lsr_errors |= LSR_BI;
    rx_changed(u);
}

/* Transmitting */

static void transmit(struct ns16550 *u)
{
    size_t taken = u->tx_count;

    if (u->config.chardev && u->tx_count)
        taken = chardev_write(u->config.chardev, u->tx, u->tx_count);
    u->tx_count -= taken;
    memmove(u->tx, u->tx + taken, u->tx_count);
    if (!u->tx_count && taken)
        u->thre_pending = true;
    update_irq(u);
}

static void writable(void *opaque)
{
    transmit(opaque);
}

static void write_thr(struct ns16550 *u, uint8_t byte)
{
    u->thre_pending = false;
    if (u->mcr & MCR_LOOP) {
        rx_put(u, byte);
        u->thre_pending = true;
        rx_changed(u);
        return;
    }
    /* A guest that does not look at THRE loses bytes as on the chip, where
     * the last byte written is the one that is overwritten. */
    if (u->tx_count >= fifo_depth(u))
        u->tx_count = (uint8_t)(fifo_depth(u) - 1);
    u->tx[u->tx_count++] = byte;
    transmit(u);
}

/* Registers */

static void write_fcr(struct ns16550 *u, uint8_t v)
{
    bool toggled = (v ^ u->fcr) & FCR_ENABLE;

    /* 8.5: changing the mode clears both FIFOs.  What the guest has handed
     * over is not thrown away for that, only on its own request. */
    if (!(v & FCR_ENABLE))
        v &= FCR_ENABLE;
    u->fcr = v & FCR_KEPT;
    if (toggled || (v & FCR_CLEAR_RX)) {
        u->rx_count = 0;
        u->lsr_errors &= ~LSR_BI;
    }
    if ((v & FCR_CLEAR_TX) && u->tx_count) {
        u->tx_count = 0;
        u->thre_pending = true;
    }
    rx_changed(u);
    if (u->config.chardev)
        chardev_receive_ready(u->config.chardev);
}

static void write_ier(struct ns16550 *u, uint8_t v)
{
    uint8_t old = u->ier;

    u->ier = v & 0x0f;
    /* Enabling THRE while the transmitter is empty interrupts at once; Linux
     * and its THRE test rely on it. */
    if ((u->ier & ~old & IER_THRE) && !u->tx_count)
        u->thre_pending = true;
    update_irq(u);
}

/* Inputs of the modem: in loopback the four outputs (8.8), else a terminal
 * that is always there. */
static void update_modem(struct ns16550 *u)
{
    uint8_t inputs = MSR_CTS | MSR_DSR | MSR_DCD, old = u->msr, changed;

    if (u->mcr & MCR_LOOP)
        inputs = (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
                 (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
    changed = (old ^ inputs) & 0xf0;
    /* RI counts only when it ends (8.9) */
    if (!(old & MSR_RI))
        changed &= ~MSR_RI;
    u->msr = inputs | (old & MSR_DELTAS) | changed >> 4;
    update_irq(u);
}

static void write_mcr(struct ns16550 *u, uint8_t v)
{
    bool was_loop = u->mcr & MCR_LOOP;

    u->mcr = v & MCR_WRITABLE;
    update_modem(u);
    if (was_loop && !(v & MCR_LOOP) && u->config.chardev)
        chardev_receive_ready(u->config.chardev);
}

static uint8_t read_lsr(struct ns16550 *u)
{
    uint8_t v = u->lsr_errors;

    if (u->rx_count)
        v |= LSR_DR;
    if (!u->tx_count)
        v |= LSR_THRE | LSR_TEMT;
    u->lsr_errors = 0;
    update_irq(u);
    return v;
}

static uint8_t read_iir(struct ns16550 *u)
{
    uint8_t id = interrupt_id(u);

    if (id == IIR_THRE)
        u->thre_pending = false; /* table IV: reading IIR resets it */
    update_irq(u);
    return id | (u->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_msr(struct ns16550 *u)
{
    uint8_t v = u->msr;

    u->msr &= ~MSR_DELTAS;
    update_irq(u);
    return v;
}

static uint64_t read(void *dev, uint64_t off, unsigned size)
{
    struct ns16550 *u = dev;
    bool dlab = u->lcr & LCR_DLAB;

    (void)size;
    switch (off) {
    case UART_RBR_THR: return dlab ? u->divisor & 0xff : rx_get(u);
    case UART_IER: return dlab ? u->divisor >> 8 : u->ier;
    case UART_IIR_FCR: return read_iir(u);
    case UART_LCR: return u->lcr;
    case UART_MCR: return u->mcr;
    case UART_LSR: return read_lsr(u);
    case UART_MSR: return read_msr(u);
    default: return u->scr;
    }
}

static void write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct ns16550 *u = dev;
    uint8_t v = (uint8_t)value;
    bool dlab = u->lcr & LCR_DLAB;

    (void)size;
    switch (off) {
    case UART_RBR_THR:
        if (dlab)
            u->divisor = (u->divisor & 0xff00) | v;
        else
            write_thr(u, v);
        break;
    case UART_IER:
        if (dlab)
            u->divisor = (uint16_t)((u->divisor & 0xff) | v << 8);
        else
            write_ier(u, v);
        break;
    case UART_IIR_FCR: write_fcr(u, v); break;
    case UART_LCR: u->lcr = v; break;
    case UART_MCR: write_mcr(u, v); break;
    case UART_SCR: u->scr = v; break;
    default: break; /* LSR and MSR are for factory tests (8.4) */
    }
}

static const struct io_ops ops = { read, write, 1, 1 };

static const struct state_field fields[] = {
    STATE_FIELD(struct ns16550, ier, 0),
    STATE_FIELD(struct ns16550, fcr, 0),
    STATE_FIELD(struct ns16550, lcr, 0),
    STATE_FIELD(struct ns16550, mcr, 0),
    STATE_FIELD(struct ns16550, msr, MSR_CTS | MSR_DSR | MSR_DCD),
    STATE_FIELD(struct ns16550, scr, 0),
    STATE_FIELD(struct ns16550, lsr_errors, 0),
    STATE_FIELD(struct ns16550, divisor, 12), /* 9600 baud */
    STATE_ARRAY(struct ns16550, rx, 0),
    STATE_ARRAY(struct ns16550, tx, 0),
    STATE_FIELD(struct ns16550, rx_count, 0),
    STATE_FIELD(struct ns16550, tx_count, 0),
    STATE_FIELD(struct ns16550, thre_pending, 0),
    STATE_FIELD(struct ns16550, timeout, 0),
    STATE_END,
};

static int post_load(void *obj, char *err, size_t err_size)
{
    const struct ns16550 *u = obj;

    if (u->rx_count > fifo_depth(u) || u->tx_count > FIFO_SIZE || u->ier > 0x0f ||
        u->lsr_errors & ~LSR_ERRORS) {
        snprintf(err, err_size, "impossible values");
        return -EINVAL;
    }
    return 0;
}

static const struct state_desc state = { "ns16550", 1, fields, post_load };

static void reset(struct device *dev)
{
    struct ns16550 *u = container_of(dev, struct ns16550, dev);

    rx_changed(u);
    transmit(u);
    if (u->config.chardev)
        chardev_receive_ready(u->config.chardev);
}

static void info(struct device *dev, FILE *f)
{
    static const char *const names[8] = { "modem", "THRE", "data", "line", "?", "?", "timeout" };
    const struct ns16550 *u = container_of(dev, struct ns16550, dev);
    uint8_t id = interrupt_id(u);

    state_dump(&state, u, f);
    fprintf(f, "  interrupt: %s\n", id == IIR_NONE ? "none" : names[id >> 1 & 7]);
}

static void destroy(struct device *dev)
{
    struct ns16550 *u = container_of(dev, struct ns16550, dev);

    if (u->config.chardev)
        chardev_set_handler(u->config.chardev, NULL);
    loop_timer_destroy(u->timer);
    free(u);
}

static const struct dev_class class = {
    .name = "ns16550",
    .state = &state,
    .reset = reset,
    .destroy = destroy,
    .info = info,
};

int ns16550_create(struct bus *bus, const struct ns16550_config *config, struct ns16550 **out)
{
    struct ns16550 *u = calloc(1, sizeof(*u));
    struct chardev_handler handler = {
        .receive = receive,
        .can_receive = can_receive,
        .writable = writable,
        .opaque = u,
        .receive_break = receive_break,
    };
    int ret;

    if (!u)
        return -ENOMEM;
    u->bus = bus;
    u->config = *config;
    bus_add_device(bus, &u->dev, &class);
    *out = u;
    state_reset(&state, u);
    ret = loop_timer_create(bus->loop, &u->timer, timeout, u);
    if (!ret)
        ret = bus_add_io(bus, config->port, UART_LEN, &ops, u);
    if (!ret && config->chardev)
        chardev_set_handler(config->chardev, &handler);
    return ret;
}
