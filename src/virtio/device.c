/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Section numbers are those of virtio 1.2. */
#include "virtio/device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

#define STATUS_BITS                                                               \
    (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | \
     VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

/* Locking */

/* The I/O thread gives way to those who wait here: mutexes are not fair, and
 * a busy guest would keep the bus lock's owner waiting. */
void virtio_lock(struct virtio_device *v)
{
    __atomic_fetch_add(&v->waiters, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&v->lock);
    __atomic_fetch_sub(&v->waiters, 1, __ATOMIC_RELAXED);
}

void virtio_unlock(struct virtio_device *v)
{
    pthread_mutex_unlock(&v->lock);
}

bool virtio_yield(struct virtio_device *v, unsigned q, unsigned n)
{
    if (n < v->ring[q].size && !__atomic_load_n(&v->waiters, __ATOMIC_RELAXED))
        return false;
    virtio_notify(v, q);
    return true;
}

/* State */

bool virtio_running(const struct virtio_device *v)
{
    /* While quiesced, the rest is not this thread's to look at. */
    return !v->quiesced && (v->status & VIRTIO_STATUS_DRIVER_OK) &&
           !(v->status & VIRTIO_STATUS_NEEDS_RESET);
}

uint64_t virtio_features(const struct virtio_device *v)
{
    return v->features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
}

bool virtio_has(const struct virtio_device *v, uint64_t feature)
{
    return (v->driver_features & feature) == feature;
}

static void interrupt(struct virtio_device *v, int q)
{
    if (v->interrupt)
        v->interrupt(v->transport, q);
}

void virtio_config_changed(struct virtio_device *v)
{
    v->config_generation++;
    if (v->status & VIRTIO_STATUS_DRIVER_OK)
        interrupt(v, -1);
}

void virtio_break(struct virtio_device *v)
{
    if (v->status & VIRTIO_STATUS_NEEDS_RESET)
        return;
    log_guest(LOG_DEV, "%s %u needs a reset", v->dev.cls->name, v->dev.instance);
    v->status |= VIRTIO_STATUS_NEEDS_RESET;
    if (v->status & VIRTIO_STATUS_DRIVER_OK)
        interrupt(v, -1);
}

void virtio_published(struct virtio_device *v, unsigned q)
{
    if (v->ring[q].broken)
        virtio_break(v);
    else if (vring_should_interrupt(&v->ring[q]))
        interrupt(v, (int)q);
}

bool virtio_pop(struct virtio_device *v, unsigned q)
{
    struct vring *r = &v->ring[q];
    int rc = vring_pop(r, &v->chain);

    /* One may have come before the wish was seen. */
    if (rc == 0 && vring_want_notify(r, true))
        rc = vring_pop(r, &v->chain);
    if (rc < 0)
        virtio_break(v);
    return rc > 0;
}

/* Queues */

void virtio_notify(struct virtio_device *v, unsigned q)
{
    const uint64_t one = 1;

    /* A full counter has been signalled already. */
    if (q < v->nqueues && write(v->event[q].fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_error(LOG_DEV, "%s %u: eventfd: %m", v->dev.cls->name, v->dev.instance);
}

static void notify_all(struct virtio_device *v)
{
    for (unsigned q = 0; q < v->nqueues; q++)
        virtio_notify(v, q);
}

/* Sets queue q up from its registers; what is wrong shows at its first use. */
static void set_ring(struct virtio_device *v, unsigned q)
{
    const struct vring_config config = {
        .desc = v->q_desc[q],
        .avail = v->q_avail[q],
        .used = v->q_used[q],
        .size = v->q_size[q],
        .last_avail = v->q_last_avail[q],
        .used_idx = v->q_used_idx[q],
        .event_idx = virtio_has(v, VIRTIO_F_EVENT_IDX),
        .indirect = virtio_has(v, VIRTIO_F_INDIRECT_DESC),
    };

    if (vring_setup(&v->ring[q], v->bus->mem, &config) < 0)
        log_guest(LOG_DEV, "%s %u: queue %u is not in RAM or has a wrong size", v->dev.cls->name,
                  v->dev.instance, q);
}

static void queue_event(void *opaque, int fd, uint32_t events)
{
    struct virtio_queue_event *e = opaque;
    struct virtio_device *v = e->v;
    unsigned q = (unsigned)(e - v->event);
    uint64_t count;

    (void)events;
    if (read(fd, &count, sizeof(count)) < 0)
        return;
    if (v->class->on_loop)
        virtio_lock(v);
    if (virtio_running(v) && v->q_enabled[q]) {
        v->class->queue(v, q);
        if (v->ring[q].broken)
            virtio_break(v);
    }
    if (v->class->on_loop)
        virtio_unlock(v);
}

/* Reset, and the status register */

static void drain(struct virtio_device *v)
{
    if (v->class->drain)
        v->class->drain(v);
}

/* 2.4: the guest's reset of a device */
static void reset(struct virtio_device *v)
{
    drain(v);
    v->driver_features = 0;
    v->features_sel = v->driver_features_sel = 0;
    v->queue_sel = 0;
    v->config_vector = VIRTIO_NO_VECTOR;
    v->status = 0;
    __atomic_store_n(&v->isr, 0, __ATOMIC_RELAXED);
    for (unsigned q = 0; q < VIRTIO_MAX_QUEUES; q++) {
        v->ring[q] = (struct vring){ .broken = true };
        v->q_size[q] = VRING_MAX_SIZE;
        v->q_vector[q] = VIRTIO_NO_VECTOR;
        v->q_enabled[q] = false;
        v->q_desc[q] = v->q_avail[q] = v->q_used[q] = 0;
        v->q_last_avail[q] = v->q_used_idx[q] = 0;
    }
    if (v->class->reset)
        v->class->reset(v);
}

void virtio_set_driver_features(struct virtio_device *v, uint32_t value)
{
    unsigned shift = v->driver_features_sel * 32;

    /* 3.1.1: they are fixed once FEATURES_OK is set. */
    if (v->driver_features_sel > 1 || v->status & VIRTIO_STATUS_FEATURES_OK)
        return;
    v->driver_features &= ~(0xffffffffULL << shift);
    v->driver_features |= (uint64_t)value << shift;
}

/* 2.2.2: features that were not offered are refused, and so is a driver from
 * before version 1. */
static bool features_ok(const struct virtio_device *v)
{
    return !(v->driver_features & ~virtio_features(v)) && virtio_has(v, VIRTIO_F_VERSION_1);
}

void virtio_set_status(struct virtio_device *v, uint8_t status)
{
    uint8_t set = status & STATUS_BITS & ~v->status;

    if (!status) {
        reset(v);
        return;
    }
    if ((set & VIRTIO_STATUS_FEATURES_OK) && !features_ok(v))
        set &= ~VIRTIO_STATUS_FEATURES_OK;
    if ((set & VIRTIO_STATUS_DRIVER_OK) && !((v->status | set) & VIRTIO_STATUS_FEATURES_OK))
        set &= ~VIRTIO_STATUS_DRIVER_OK;
    v->status |= set; /* bits go by reset only (2.1.1) */
    if (set & VIRTIO_STATUS_DRIVER_OK)
        notify_all(v);
}

void virtio_enable_queue(struct virtio_device *v)
{
    unsigned q = v->queue_sel;

    if (q >= v->nqueues || v->q_enabled[q] || !(v->status & VIRTIO_STATUS_FEATURES_OK))
        return;
    v->q_enabled[q] = true;
    set_ring(v, q);
    if (v->ring[q].broken)
        virtio_break(v);
}

/* Configuration space of the type (2.5) */

uint64_t virtio_config_read(struct virtio_device *v, uint64_t off, unsigned size)
{
    uint64_t value = 0;

    if (off < v->config_size)
        memcpy(&value, v->config + off, MIN(size, v->config_size - off));
    return value;
}

void virtio_config_write(struct virtio_device *v, uint64_t off, unsigned size, uint64_t value)
{
    bool any = false;

    for (unsigned i = 0; i < size && off + i < MIN(v->config_size, 64u); i++) {
        if (!(v->config_writable >> (off + i) & 1))
            continue;
        v->config[off + i] = (uint8_t)(value >> i * 8);
        any = true;
    }
    if (any && v->class->config_written)
        v->class->config_written(v, (unsigned)off, size);
}

/* The hooks of the machine */

void virtio_dev_reset(struct device *dev)
{
    struct virtio_device *v = container_of(dev, struct virtio_device, dev);

    virtio_lock(v);
    for (unsigned q = 0; q < v->nqueues; q++) {
        v->ring[q] = (struct vring){ .broken = true };
        if (v->q_enabled[q])
            set_ring(v, q);
    }
    if (v->class->reset)
        v->class->reset(v);
    virtio_unlock(v);
}

void virtio_dev_pre_save(struct device *dev)
{
    struct virtio_device *v = container_of(dev, struct virtio_device, dev);

    virtio_lock(v);
    for (unsigned q = 0; q < v->nqueues; q++) {
        if (!v->q_enabled[q])
            continue;
        v->q_last_avail[q] = v->ring[q].last_avail;
        v->q_used_idx[q] = v->ring[q].used_idx;
    }
    virtio_unlock(v);
}

void virtio_dev_quiesce(struct device *dev)
{
    struct virtio_device *v = container_of(dev, struct virtio_device, dev);

    virtio_lock(v);
    drain(v);
    v->quiesced = true;
    virtio_unlock(v);
}

void virtio_dev_resume(struct device *dev)
{
    struct virtio_device *v = container_of(dev, struct virtio_device, dev);

    virtio_lock(v);
    v->quiesced = false;
    notify_all(v);
    virtio_unlock(v);
}

int virtio_post_load(void *obj, char *err, size_t err_size)
{
    const struct virtio_device *v = obj;

    /* Before FEATURES_OK a guest may have written anything. */
    if ((v->status & VIRTIO_STATUS_FEATURES_OK) && (v->driver_features & ~virtio_features(v))) {
        snprintf(err, err_size, "the guest uses features that this device does not have (0x%llx)",
                 (unsigned long long)(v->driver_features & ~virtio_features(v)));
        return -EINVAL;
    }
    if (v->status & ~(STATUS_BITS | VIRTIO_STATUS_NEEDS_RESET) ||
        ((v->status & VIRTIO_STATUS_FEATURES_OK) && !features_ok(v)) ||
        ((v->status & VIRTIO_STATUS_DRIVER_OK) && !(v->status & VIRTIO_STATUS_FEATURES_OK)) ||
        v->isr & ~(VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG)) {
        snprintf(err, err_size, "status 0x%x and interrupts 0x%x cannot be", v->status, v->isr);
        return -EINVAL;
    }
    for (unsigned q = v->nqueues; q < VIRTIO_MAX_QUEUES; q++) {
        if (v->q_enabled[q]) {
            snprintf(err, err_size, "queue %u is in use, and this device has %u", q, v->nqueues);
            return -EINVAL;
        }
    }
    return 0;
}

/* Making and destroying */

static void *thread_main(void *opaque)
{
    struct virtio_device *v = opaque;

    loop_run(v->loop);
    return NULL;
}

static int start_thread(struct virtio_device *v)
{
    char name[16];
    int rc;

    if (v->class->on_loop) {
        v->loop = v->bus->loop;
        return 0;
    }
    rc = loop_create(&v->loop, &v->lock, v->bus->clock);
    if (rc == 0)
        loop_set_gate(v->loop, v->bus->gate_enter, v->bus->gate_leave, v->bus->gate_opaque);
    if (rc == 0)
        rc = -pthread_create(&v->thread, NULL, thread_main, v);
    if (rc < 0)
        return rc;
    v->has_thread = true;
    /* "virtio-blk" becomes "io-blk0". */
    snprintf(name, sizeof(name), "io-%.8s%u", v->dev.cls->name + strlen("virtio-"),
             v->dev.instance % 1000);
    pthread_setname_np(v->thread, name);
    return 0;
}

int virtio_init(struct virtio_device *v, struct bus *bus, const struct dev_class *cls)
{
    int rc = 0;

    v->bus = bus;
    v->quiesced = true;
    for (unsigned q = 0; q < VIRTIO_MAX_QUEUES; q++) {
        v->event[q] = (struct virtio_queue_event){ v, -1 };
        v->ring[q].broken = true;
    }
    pthread_mutex_init(&v->lock, NULL);
    v->has_lock = true;
    bus_add_device(bus, &v->dev, cls);
    for (unsigned q = 0; q < v->nqueues && rc == 0; q++) {
        v->event[q].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        rc = v->event[q].fd < 0 ? -errno : 0;
    }
    if (rc == 0)
        rc = start_thread(v);
    virtio_lock(v);
    for (unsigned q = 0; q < v->nqueues && rc == 0; q++)
        rc = loop_fd_add(v->loop, v->event[q].fd, EPOLLIN, queue_event, &v->event[q]);
    virtio_unlock(v);
    return rc;
}

void virtio_fini(struct virtio_device *v)
{
    if (!v->has_lock)
        return;
    virtio_lock(v);
    drain(v);
    v->quiesced = true;
    virtio_unlock(v);
    if (v->has_thread) {
        loop_stop(v->loop);
        pthread_join(v->thread, NULL);
    }
    for (unsigned q = 0; q < v->nqueues; q++) {
        if (v->event[q].fd < 0)
            continue;
        if (v->loop)
            loop_fd_remove(v->loop, v->event[q].fd);
        close(v->event[q].fd);
    }
    if (!v->class->on_loop)
        loop_destroy(v->loop);
    pthread_mutex_destroy(&v->lock);
}
