/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio over MMIO, version 2 (virtio 1.2 4.2). */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "virtio/transport.h"

#define MAGIC     0x74726976u /* "virt" */
#define VERSION   2u
#define VENDOR_ID 0x4b484c42u /* "BLHK" */

/* 4.2.2 */
enum {
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_VENDOR_ID = 0x00c,
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_NUM_MAX = 0x034,
    REG_QUEUE_NUM = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_STATUS = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC = 0x080,
    REG_QUEUE_DRIVER = 0x090,
    REG_QUEUE_DEVICE = 0x0a0,
    REG_SHM_LEN = 0x0b0,
    REG_SHM_BASE = 0x0b8,
    REG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100
};

struct virtio_mmio {
    struct device dev;
    uint64_t gpa;
    struct irq_line irq;
    struct virtio_device *v;
    unsigned ndoorbells;
    uint32_t posted; /* atomic: update is on its way */
};

static void update(struct virtio_mmio *t)
{
    irq_set(&t->irq, __atomic_load_n(&t->v->isr, __ATOMIC_SEQ_CST) != 0);
}

static void posted_update(void *opaque)
{
    struct virtio_mmio *t = opaque;

    __atomic_store_n(&t->posted, 0, __ATOMIC_SEQ_CST);
    update(t);
}

/* The line needs the bus lock, which an I/O thread must not take. */
static void interrupt(void *transport, int q)
{
    struct virtio_mmio *t = transport;

    __atomic_fetch_or(&t->v->isr, q < 0 ? VIRTIO_ISR_CONFIG : VIRTIO_ISR_QUEUE, __ATOMIC_SEQ_CST);
    if (!__atomic_exchange_n(&t->posted, 1, __ATOMIC_SEQ_CST) &&
        loop_post(t->v->bus->loop, posted_update, t) < 0)
        __atomic_store_n(&t->posted, 0, __ATOMIC_SEQ_CST);
}

static uint32_t read_queue(const struct virtio_device *v, uint64_t off)
{
    unsigned q = v->queue_sel;

    if (q >= v->nqueues)
        return 0;
    return off == REG_QUEUE_NUM_MAX ? VRING_MAX_SIZE : v->q_enabled[q];
}

static uint32_t read_reg(struct virtio_device *v, uint64_t off)
{
    switch (off) {
    case REG_MAGIC: return MAGIC;
    case REG_VERSION: return VERSION;
    case REG_DEVICE_ID: return v->class->id;
    case REG_VENDOR_ID: return VENDOR_ID;
    case REG_DEVICE_FEATURES:
        return v->features_sel > 1 ? 0 : (uint32_t)(virtio_features(v) >> v->features_sel * 32);
    case REG_QUEUE_NUM_MAX:
    case REG_QUEUE_READY: return read_queue(v, off);
    case REG_INTERRUPT_STATUS: return __atomic_load_n(&v->isr, __ATOMIC_SEQ_CST);
    case REG_STATUS: return v->status;
    case REG_GENERATION: return v->config_generation;
    case REG_SHM_LEN:
    case REG_SHM_LEN + 4:
    case REG_SHM_BASE:
    case REG_SHM_BASE + 4: return 0xffffffff; /* there is no such region */
    default: return 0;
    }
}

static uint64_t read(void *opaque, uint64_t off, unsigned size)
{
    struct virtio_mmio *t = opaque;
    uint64_t value = 0;

    virtio_lock(t->v);
    if (off >= REG_CONFIG)
        value = virtio_config_read(t->v, off - REG_CONFIG, size);
    else if (size == 4 && off % 4 == 0) /* 4.2.2.2 */
        value = read_reg(t->v, off);
    virtio_unlock(t->v);
    return value;
}

static void set_half(uint64_t *v, uint64_t off, uint32_t value)
{
    unsigned shift = (off & 4) * 8;

    *v = (*v & ~(0xffffffffULL << shift)) | (uint64_t)value << shift;
}

static void write_queue(struct virtio_device *v, uint64_t off, uint32_t value)
{
    unsigned q = v->queue_sel;

    if (q >= v->nqueues || v->q_enabled[q])
        return;
    switch (off) {
    case REG_QUEUE_NUM: v->q_size[q] = value > VRING_MAX_SIZE ? 0 : (uint16_t)value; break;
    case REG_QUEUE_READY:
        if (value == 1)
            virtio_enable_queue(v);
        break;
    case REG_QUEUE_DESC:
    case REG_QUEUE_DESC + 4: set_half(&v->q_desc[q], off, value); break;
    case REG_QUEUE_DRIVER:
    case REG_QUEUE_DRIVER + 4: set_half(&v->q_avail[q], off, value); break;
    case REG_QUEUE_DEVICE:
    case REG_QUEUE_DEVICE + 4: set_half(&v->q_used[q], off, value); break;
    default: break;
    }
}

static void write_reg(struct virtio_mmio *t, uint64_t off, uint32_t value)
{
    struct virtio_device *v = t->v;

    switch (off) {
    case REG_DEVICE_FEATURES_SEL: v->features_sel = value; break;
    case REG_DRIVER_FEATURES: virtio_set_driver_features(v, value); break;
    case REG_DRIVER_FEATURES_SEL: v->driver_features_sel = value; break;
    case REG_QUEUE_SEL: v->queue_sel = (uint16_t)MIN(value, 0xffffu); break;
    case REG_QUEUE_NOTIFY: virtio_notify(v, value); break; /* without a doorbell */
    case REG_INTERRUPT_ACK:
        __atomic_fetch_and(&v->isr, ~value, __ATOMIC_SEQ_CST);
        update(t);
        break;
    case REG_STATUS:
        virtio_set_status(v, (uint8_t)value);
        update(t);
        break;
    default: write_queue(v, off, value); break;
    }
}

static void write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct virtio_mmio *t = opaque;

    virtio_lock(t->v);
    if (off >= REG_CONFIG)
        virtio_config_write(t->v, off - REG_CONFIG, size, value);
    else if (size == 4 && off % 4 == 0)
        write_reg(t, off, (uint32_t)value);
    virtio_unlock(t->v);
}

static const struct io_ops ops = { .read = read, .write = write };

static void reset(struct device *dev)
{
    update(container_of(dev, struct virtio_mmio, dev));
}

static void destroy(struct device *dev)
{
    struct virtio_mmio *t = container_of(dev, struct virtio_mmio, dev);
    struct bus *bus = t->v->bus;

    /* The virtio device was made before and goes after. */
    virtio_lock(t->v);
    t->v->interrupt = NULL;
    virtio_unlock(t->v);
    while (t->ndoorbells--)
        bus->doorbell_del(bus->doorbell_opaque, false, t->gpa + REG_QUEUE_NOTIFY, 4, true,
                          t->ndoorbells);
    free(t);
}

static const struct dev_class class = {
    .name = "virtio-mmio",
    .reset = reset,
    .pre_save = reset,
    .destroy = destroy,
};

int virtio_mmio_create(struct bus *bus, uint64_t gpa, const struct irq_line *irq,
                       struct virtio_device *v)
{
    struct virtio_mmio *t = calloc(1, sizeof(*t));
    int rc;

    if (!t)
        return -ENOMEM;
    t->v = v;
    t->gpa = gpa;
    t->irq = *irq;
    rc = bus_add_mmio(bus, gpa, VIRTIO_MMIO_SIZE, &ops, t);
    if (rc < 0) {
        free(t);
        return rc;
    }
    bus_add_device(bus, &t->dev, &class);
    v->transport = t;
    v->interrupt = interrupt;
    for (; bus->doorbell_add && t->ndoorbells < v->nqueues; t->ndoorbells++)
        if (bus->doorbell_add(bus->doorbell_opaque, false, gpa + REG_QUEUE_NOTIFY, 4, true,
                              t->ndoorbells, v->event[t->ndoorbells].fd) < 0)
            break;
    return 0;
}
