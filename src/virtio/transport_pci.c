/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio over PCI, without the legacy interface (virtio 1.2 4.1).  BAR 0 has
 * all structures, a page each:
 *
 *   0x0000  common configuration    0x3000  notifications, 4 bytes a queue
 *   0x1000  ISR status              0x4000  MSI-X table
 *   0x2000  device configuration    0x5000  MSI-X pending bits
 *
 * INTx needs the bus lock, which an I/O thread must not take, so changes of
 * its level are posted to the loop.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "bus/msix.h"
#include "virtio/transport.h"

#define VENDOR_VIRTIO 0x1af4
#define DEVICE_BASE   0x1040u /* 4.1.2.1 */
#define REVISION      1
#define SUBSYSTEM     0x1100

#define BAR_SIZE       0x8000u
#define COMMON_OFF     0x0000u
#define ISR_OFF        0x1000u
#define DEVICE_OFF     0x2000u
#define NOTIFY_OFF     0x3000u
#define MSIX_TABLE_OFF 0x4000u
#define MSIX_PBA_OFF   0x5000u
#define NOTIFY_STEP    4u

/* 4.1.4: types and members of the vendor capabilities */
#define CAP_VENDOR 0x09
enum { CFG_COMMON = 1, CFG_NOTIFY, CFG_ISR, CFG_DEVICE, CFG_PCI };
#define CAP_CFG_LEN  2u
#define CAP_CFG_TYPE 3u
#define CAP_BAR      4u
#define CAP_OFFSET   8u
#define CAP_LENGTH   12u
#define CAP_LEN      16u
#define CAP_EXTRA    16u /* notify_off_multiplier, pci_cfg_data */

/* 4.1.4.3 */
enum {
    COMMON_DFSELECT = 0x00,
    COMMON_DF = 0x04,
    COMMON_GFSELECT = 0x08,
    COMMON_GF = 0x0c,
    COMMON_MSIX = 0x10,
    COMMON_NUMQ = 0x12,
    COMMON_STATUS = 0x14,
    COMMON_GENERATION = 0x15,
    COMMON_Q_SELECT = 0x16,
    COMMON_Q_SIZE = 0x18,
    COMMON_Q_MSIX = 0x1a,
    COMMON_Q_ENABLE = 0x1c,
    COMMON_Q_NOFF = 0x1e,
    COMMON_Q_DESC = 0x20,
    COMMON_Q_AVAIL = 0x28,
    COMMON_Q_USED = 0x30,
    COMMON_END = 0x38
};

struct virtio_pci {
    struct device dev;
    struct pci_device pci;
    struct msix msix;
    struct virtio_device *v;
    uint64_t doorbells_at; /* NOTIFY_OFF of the mapped BAR; 0: none */
    unsigned ndoorbells;
    unsigned window; /* the capability CFG_PCI */
    uint32_t posted; /* atomic: update_intx is on its way */
};

/* Interrupts */

static void update_intx(struct virtio_pci *t)
{
    pci_set_intx(&t->pci, __atomic_load_n(&t->v->isr, __ATOMIC_RELAXED) != 0);
}

static void posted_intx(void *opaque)
{
    struct virtio_pci *t = opaque;

    __atomic_store_n(&t->posted, 0, __ATOMIC_SEQ_CST);
    update_intx(t);
}

static void interrupt(void *transport, int q)
{
    struct virtio_pci *t = transport;
    unsigned vector = q < 0 ? t->v->config_vector : t->v->q_vector[q];

    if (msix_notify(&t->msix, vector))
        return;
    __atomic_fetch_or(&t->v->isr, q < 0 ? VIRTIO_ISR_CONFIG : VIRTIO_ISR_QUEUE, __ATOMIC_SEQ_CST);
    if (!__atomic_exchange_n(&t->posted, 1, __ATOMIC_SEQ_CST) &&
        loop_post(t->v->bus->loop, posted_intx, t) < 0)
        __atomic_store_n(&t->posted, 0, __ATOMIC_SEQ_CST);
}

/* 4.1.4.5: reading it takes the interrupt back. */
static uint64_t read_isr(struct virtio_pci *t)
{
    uint32_t isr = __atomic_exchange_n(&t->v->isr, 0, __ATOMIC_SEQ_CST);

    pci_set_intx(&t->pci, false);
    return isr;
}

/* Common configuration.  Members are accessed with their own width, 64-bit
 * ones by halves (4.1.3.1). */

static uint64_t half(uint64_t v, uint64_t off, unsigned size)
{
    return v >> (off & 4) * 8 & size_mask(size);
}

static uint64_t read_queue(struct virtio_device *v, uint64_t off, unsigned size)
{
    unsigned q = v->queue_sel;

    if (q >= v->nqueues) /* 4.1.4.3.1: a size of 0 says that it is not there */
        return 0;
    switch (off) {
    case COMMON_Q_SIZE: return v->q_size[q];
    case COMMON_Q_MSIX: return v->q_vector[q];
    case COMMON_Q_ENABLE: return v->q_enabled[q];
    case COMMON_Q_NOFF: return q;
    case COMMON_Q_DESC:
    case COMMON_Q_DESC + 4: return half(v->q_desc[q], off, size);
    case COMMON_Q_AVAIL:
    case COMMON_Q_AVAIL + 4: return half(v->q_avail[q], off, size);
    case COMMON_Q_USED:
    case COMMON_Q_USED + 4: return half(v->q_used[q], off, size);
    default: return 0;
    }
}

static uint64_t read_common(struct virtio_device *v, uint64_t off, unsigned size)
{
    switch (off) {
    case COMMON_DFSELECT: return v->features_sel;
    case COMMON_DF:
        return v->features_sel > 1 ? 0 : virtio_features(v) >> v->features_sel * 32 & 0xffffffff;
    case COMMON_GFSELECT: return v->driver_features_sel;
    case COMMON_GF:
        return v->driver_features_sel > 1
                   ? 0
                   : v->driver_features >> v->driver_features_sel * 32 & 0xffffffff;
    case COMMON_MSIX: return v->config_vector;
    case COMMON_NUMQ: return v->nqueues;
    case COMMON_STATUS: return v->status;
    case COMMON_GENERATION: return v->config_generation;
    case COMMON_Q_SELECT: return v->queue_sel;
    default: return read_queue(v, off, size);
    }
}

static void set_half(uint64_t *v, uint64_t off, unsigned size, uint64_t value)
{
    if (size == 8)
        *v = value;
    else
        *v = (*v & ~(0xffffffffULL << (off & 4) * 8)) | (value & 0xffffffff) << (off & 4) * 8;
}

/* A vector that is not there reads back as "none" (4.1.5.1.2.1). */
static uint16_t vector(const struct virtio_pci *t, uint64_t value)
{
    return value < t->msix.n ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

static void write_queue(struct virtio_pci *t, uint64_t off, unsigned size, uint64_t value)
{
    struct virtio_device *v = t->v;
    unsigned q = v->queue_sel;

    if (q >= v->nqueues)
        return;
    if (off == COMMON_Q_MSIX)
        v->q_vector[q] = vector(t, value);
    if (v->q_enabled[q]) /* 4.1.4.3.2: the rest is fixed now */
        return;
    switch (off) {
    case COMMON_Q_SIZE: v->q_size[q] = (uint16_t)value; break;
    case COMMON_Q_ENABLE:
        if (value == 1)
            virtio_enable_queue(v);
        break;
    case COMMON_Q_DESC:
    case COMMON_Q_DESC + 4: set_half(&v->q_desc[q], off, size, value); break;
    case COMMON_Q_AVAIL:
    case COMMON_Q_AVAIL + 4: set_half(&v->q_avail[q], off, size, value); break;
    case COMMON_Q_USED:
    case COMMON_Q_USED + 4: set_half(&v->q_used[q], off, size, value); break;
    default: break;
    }
}

static void write_common(struct virtio_pci *t, uint64_t off, unsigned size, uint64_t value)
{
    struct virtio_device *v = t->v;

    switch (off) {
    case COMMON_DFSELECT: v->features_sel = (uint32_t)value; break;
    case COMMON_GFSELECT: v->driver_features_sel = (uint32_t)value; break;
    case COMMON_GF: virtio_set_driver_features(v, (uint32_t)value); break;
    case COMMON_MSIX: v->config_vector = vector(t, value); break;
    case COMMON_STATUS:
        virtio_set_status(v, (uint8_t)value);
        update_intx(t);
        break;
    case COMMON_Q_SELECT: v->queue_sel = (uint16_t)value; break;
    default: write_queue(t, off, size, value); break;
    }
}

/* The BAR */

static uint64_t bar_read(void *opaque, uint64_t off, unsigned size)
{
    struct virtio_pci *t = opaque;
    uint64_t value = 0;

    if (off >= MSIX_PBA_OFF)
        return msix_pba_read(&t->msix, off - MSIX_PBA_OFF, size);
    if (off >= MSIX_TABLE_OFF)
        return msix_table_read(&t->msix, off - MSIX_TABLE_OFF, size);
    if (off == ISR_OFF)
        return read_isr(t);
    virtio_lock(t->v);
    if (off < COMMON_END)
        value = read_common(t->v, off, size);
    else if (off >= DEVICE_OFF && off < NOTIFY_OFF)
        value = virtio_config_read(t->v, off - DEVICE_OFF, size);
    virtio_unlock(t->v);
    return value;
}

static void bar_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct virtio_pci *t = opaque;

    if (off >= MSIX_TABLE_OFF) {
        if (off < MSIX_PBA_OFF)
            msix_table_write(&t->msix, off - MSIX_TABLE_OFF, size, value);
        return;
    }
    if (off >= NOTIFY_OFF) { /* without a doorbell */
        virtio_notify(t->v, (unsigned)(off - NOTIFY_OFF) / NOTIFY_STEP);
        return;
    }
    virtio_lock(t->v);
    if (off < COMMON_END)
        write_common(t, off, size, value);
    else if (off >= DEVICE_OFF)
        virtio_config_write(t->v, off - DEVICE_OFF, size, value);
    virtio_unlock(t->v);
}

static const struct io_ops bar_ops = { .read = bar_read, .write = bar_write };

/* Doorbells follow the BAR.  The driver writes the queue's number, 16 bits. */

static void remove_doorbells(struct virtio_pci *t)
{
    struct bus *bus = t->v->bus;

    while (t->ndoorbells) {
        t->ndoorbells--;
        bus->doorbell_del(bus->doorbell_opaque, false,
                          t->doorbells_at + (uint64_t)t->ndoorbells * NOTIFY_STEP, 2, false, 0);
    }
}

static void bar_moved(struct pci_device *pci, unsigned n)
{
    struct virtio_pci *t = container_of(pci, struct virtio_pci, pci);
    struct bus *bus = t->v->bus;

    remove_doorbells(t);
    t->doorbells_at = pci->bar[n].mapped_at + NOTIFY_OFF;
    if (!pci->bar[n].mapped_at || !bus->doorbell_add)
        return;
    for (; t->ndoorbells < t->v->nqueues; t->ndoorbells++) {
        int rc = bus->doorbell_add(bus->doorbell_opaque, false,
                                   t->doorbells_at + (uint64_t)t->ndoorbells * NOTIFY_STEP, 2,
                                   false, 0, t->v->event[t->ndoorbells].fd);

        if (rc < 0) {
            log_debug(LOG_DEV, "%s %u: no doorbell for queue %u", t->v->dev.cls->name,
                      t->v->dev.instance, t->ndoorbells);
            break;
        }
    }
}

/* 4.1.4.9: a window through configuration space, for firmware. */

static bool window(const struct virtio_pci *t, unsigned off, unsigned size, uint32_t *at,
                   uint32_t *len)
{
    const uint8_t *cap = t->pci.config + t->window;
    unsigned data = t->window + CAP_EXTRA;

    if (off >= data + 4 || off + size <= data)
        return false;
    *at = pci_get(cap, CAP_OFFSET, 4);
    *len = pci_get(cap, CAP_LENGTH, 4);
    return cap[CAP_BAR] == 0 && (*len == 1 || *len == 2 || *len == 4) && *at % *len == 0 &&
           *at <= BAR_SIZE - *len;
}

static void before_read(struct pci_device *pci, unsigned off, unsigned size)
{
    struct virtio_pci *t = container_of(pci, struct virtio_pci, pci);
    uint32_t at, len;

    if (window(t, off, size, &at, &len))
        pci_put(pci->config, t->window + CAP_EXTRA, 4,
                (uint32_t)(bar_read(t, at, len) & size_mask(len)));
}

static void written(struct pci_device *pci, unsigned off, unsigned size)
{
    struct virtio_pci *t = container_of(pci, struct virtio_pci, pci);
    uint32_t at, len;

    msix_written(&t->msix, off, size);
    if (window(t, off, size, &at, &len))
        bar_write(t, at, len, pci_get(pci->config, t->window + CAP_EXTRA, 4) & size_mask(len));
}

/* Life */

static const struct state_field fields[] = {
    PCI_STATE(struct virtio_pci, pci),
    MSIX_STATE(struct virtio_pci, msix),
    STATE_END,
};
static const struct state_desc state = { "virtio-pci", 1, fields, NULL };

static void reset(struct device *dev)
{
    struct virtio_pci *t = container_of(dev, struct virtio_pci, dev);

    pci_derive(&t->pci);
    msix_derive(&t->msix);
    update_intx(t);
}

/* An interrupt that is on its way is in the state. */
static void pre_save(struct device *dev)
{
    update_intx(container_of(dev, struct virtio_pci, dev));
}

static void destroy(struct device *dev)
{
    struct virtio_pci *t = container_of(dev, struct virtio_pci, dev);

    /* The virtio device was made before and goes after. */
    virtio_lock(t->v);
    t->v->interrupt = NULL;
    virtio_unlock(t->v);
    remove_doorbells(t);
    msix_destroy(&t->msix);
    free(t);
}

static const struct dev_class class = {
    .name = "virtio-pci",
    .state = &state,
    .reset = reset,
    .pre_save = pre_save,
    .destroy = destroy,
};

static int add_cap(struct virtio_pci *t, uint8_t type, uint32_t off, uint32_t len, unsigned extra)
{
    int at = pci_add_capability(&t->pci, CAP_VENDOR, CAP_LEN + extra);
    uint8_t *c = t->pci.initial + at;

    if (at < 0)
        return at;
    c[CAP_CFG_LEN] = (uint8_t)(CAP_LEN + extra);
    c[CAP_CFG_TYPE] = type;
    pci_put(c, CAP_OFFSET, 4, off);
    pci_put(c, CAP_LENGTH, 4, len);
    return at;
}

static int add_caps(struct virtio_pci *t)
{
    int notify, cfg, rc;

    if ((rc = add_cap(t, CFG_COMMON, COMMON_OFF, COMMON_END, 0)) < 0 ||
        (rc = add_cap(t, CFG_ISR, ISR_OFF, 1, 0)) < 0 ||
        (rc = add_cap(t, CFG_DEVICE, DEVICE_OFF, 0x1000, 0)) < 0 ||
        (rc = notify = add_cap(t, CFG_NOTIFY, NOTIFY_OFF, t->v->nqueues * NOTIFY_STEP, 4)) < 0 ||
        (rc = cfg = add_cap(t, CFG_PCI, 0, 0, 4)) < 0)
        return rc;
    pci_put(t->pci.initial, (unsigned)notify + CAP_EXTRA, 4, NOTIFY_STEP);
    t->window = (unsigned)cfg;
    pci_allow(&t->pci, t->window + CAP_BAR, 1, 0xff);
    pci_allow(&t->pci, t->window + CAP_OFFSET, 4, 0xffffffff);
    pci_allow(&t->pci, t->window + CAP_LENGTH, 4, 0xffffffff);
    pci_allow(&t->pci, t->window + CAP_EXTRA, 4, 0xffffffff);
    return 0;
}

int virtio_pci_create(struct bus *bus, struct pci_bus *pci, uint8_t devfn, struct virtio_device *v)
{
    const struct pci_ids ids = {
        .vendor = VENDOR_VIRTIO,
        .device = (uint16_t)(DEVICE_BASE + v->class->id),
        .subsystem_vendor = VENDOR_VIRTIO,
        .subsystem = SUBSYSTEM,
        .class_code = v->class->pci_class,
        .revision = REVISION,
        .pin = 1,
    };
    struct virtio_pci *t = calloc(1, sizeof(*t));
    int rc;

    if (!t)
        return -ENOMEM;
    t->v = v;
    rc = pci_init(&t->pci, pci, devfn, &ids);
    if (rc < 0) {
        free(t);
        return rc;
    }
    bus_add_device(bus, &t->dev, &class);
    if ((rc = add_caps(t)) < 0 ||
        (rc = pci_add_bar(&t->pci, 0, PCI_BAR_MEM64, BAR_SIZE, &bar_ops, t)) < 0 ||
        (rc = msix_init(&t->msix, &t->pci, v->nqueues + 1, 0, MSIX_TABLE_OFF, MSIX_PBA_OFF)) < 0)
        return rc;
    t->pci.written = written;
    t->pci.before_read = before_read;
    t->pci.bar_moved = bar_moved;
    v->transport = t;
    v->interrupt = interrupt;
    return 0;
}
