/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio devices, between a transport (PCI, MMIO) and the device types
 * (virtio 1.2 section 2).  This layer has the device status, feature
 * negotiation, queues and their notifications, and the life of the I/O thread.
 *
 * Locks.  A device's lock guards its queues and everything of its type.  Its
 * I/O thread takes it for each event; a vCPU takes it, with the bus lock held,
 * to get at registers.  So the order is bus lock, then device lock, and an
 * I/O thread never takes the bus lock.  Whoever has the device lock may finish
 * the I/O under way by class->drain on its own thread; that is how a reset and
 * bus_quiesce stop a device, without a hand-off.
 */
#ifndef VIRTIO_DEVICE_H
#define VIRTIO_DEVICE_H

#include "bus/bus.h"
#include "virtio/ring.h"

#define VIRTIO_MAX_QUEUES 16u
#define VIRTIO_NO_VECTOR  0xffffu

/* 2.1 device status */
#define VIRTIO_STATUS_ACKNOWLEDGE 1u
#define VIRTIO_STATUS_DRIVER      2u
#define VIRTIO_STATUS_DRIVER_OK   4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_NEEDS_RESET 64u
#define VIRTIO_STATUS_FAILED      128u
/* 6: features of all devices */
#define VIRTIO_F_INDIRECT_DESC BIT(28)
#define VIRTIO_F_EVENT_IDX     BIT(29)
#define VIRTIO_F_VERSION_1     BIT(32)
/* 4.1.4.5: bits of the ISR status, and of MMIO's InterruptStatus */
#define VIRTIO_ISR_QUEUE  1u
#define VIRTIO_ISR_CONFIG 2u

struct virtio_device;

/* All are called with the device's lock held. */
struct virtio_class {
    uint16_t id;        /* section 5 */
    uint32_t pci_class; /* class << 16 | subclass << 8 | interface */
    bool on_loop;       /* no I/O thread: the bus lock is held as well */
    /* Queue q was notified, or the device goes on after a stop.  Takes chains
     * until there is none or virtio_yield says stop. */
    void (*queue)(struct virtio_device *v, unsigned q);
    /* The I/O under way is finished and given back to the guest.  May be NULL. */
    void (*drain)(struct virtio_device *v);
    /* After a reset and after a load.  May be NULL. */
    void (*reset)(struct virtio_device *v);
    /* The guest wrote config[off, off+size), where config_writable allows. */
    void (*config_written)(struct virtio_device *v, unsigned off, unsigned size);
};

struct virtio_queue_event {
    struct virtio_device *v;
    int fd; /* eventfd: the guest's notification */
};

/* Each device type's struct starts with this. */
struct virtio_device {
    struct device dev;
    /* Registers (4.1.4.3, 4.2.2) */
    uint64_t driver_features;
    uint32_t features_sel, driver_features_sel;
    uint32_t isr; /* atomic: also by the I/O thread */
    uint16_t queue_sel, config_vector;
    uint8_t status, config_generation;
    uint16_t q_size[VIRTIO_MAX_QUEUES], q_vector[VIRTIO_MAX_QUEUES];
    bool q_enabled[VIRTIO_MAX_QUEUES];
    uint64_t q_desc[VIRTIO_MAX_QUEUES], q_avail[VIRTIO_MAX_QUEUES], q_used[VIRTIO_MAX_QUEUES];
    uint16_t q_last_avail[VIRTIO_MAX_QUEUES], q_used_idx[VIRTIO_MAX_QUEUES];

    /* What the type has set before virtio_init. */
    const struct virtio_class *class;
    uint64_t features; /* its own: the common ones are added */
    unsigned nqueues, config_size;
    uint8_t *config;          /* config_size bytes, little-endian */
    uint64_t config_writable; /* bit n: the guest may write byte n (below 64) */

    struct bus *bus;
    pthread_mutex_t lock;
    struct vring ring[VIRTIO_MAX_QUEUES];
    struct vring_chain chain; /* scratch of the type */
    bool quiesced;
    uint32_t waiters; /* atomic: threads that wait for the lock */
    struct virtio_queue_event event[VIRTIO_MAX_QUEUES];
    struct loop *loop; /* its I/O thread's, or the bus's */
    pthread_t thread;
    bool has_lock, has_thread;
    /* Set by the transport: interrupt for queue q, or for the configuration
     * if q is negative; with the device's lock held, on any thread. */
    void (*interrupt)(void *transport, int q);
    void *transport;
};

/* Fields of a type's struct s; its own follow. */
#define VIRTIO_STATE(s)                                                                         \
    STATE_FIELD(s, v.driver_features, 0), STATE_FIELD(s, v.features_sel, 0),                    \
        STATE_FIELD(s, v.driver_features_sel, 0), STATE_FIELD(s, v.isr, 0),                     \
        STATE_FIELD(s, v.queue_sel, 0), STATE_FIELD(s, v.config_vector, VIRTIO_NO_VECTOR),      \
        STATE_FIELD(s, v.status, 0), STATE_FIELD(s, v.config_generation, 0),                    \
        STATE_ARRAY(s, v.q_size, VRING_MAX_SIZE), STATE_ARRAY(s, v.q_vector, VIRTIO_NO_VECTOR), \
        STATE_ARRAY(s, v.q_enabled, false), STATE_ARRAY(s, v.q_desc, 0),                        \
        STATE_ARRAY(s, v.q_avail, 0), STATE_ARRAY(s, v.q_used, 0),                              \
        STATE_ARRAY(s, v.q_last_avail, 0), STATE_ARRAY(s, v.q_used_idx, 0)

/* Hooks for a type's struct dev_class, and its state's post_load. */
void virtio_dev_reset(struct device *dev);
void virtio_dev_pre_save(struct device *dev);
void virtio_dev_quiesce(struct device *dev);
void virtio_dev_resume(struct device *dev);
int virtio_post_load(void *obj, char *err, size_t err_size);

/* Puts the device on the bus, which destroys it, and starts its I/O thread.
 * Returns 0 or a negative errno; it is on the bus also after a failure. */
int virtio_init(struct virtio_device *v, struct bus *bus, const struct dev_class *cls);
/* First thing of the class's destroy: the thread is gone afterwards. */
void virtio_fini(struct virtio_device *v);

/* For transports.  These take the device's lock; the bus lock is held. */
void virtio_lock(struct virtio_device *v);
void virtio_unlock(struct virtio_device *v);
uint64_t virtio_features(const struct virtio_device *v);
void virtio_set_driver_features(struct virtio_device *v, uint32_t value);
void virtio_set_status(struct virtio_device *v, uint8_t status);
void virtio_enable_queue(struct virtio_device *v);
uint64_t virtio_config_read(struct virtio_device *v, uint64_t off, unsigned size);
void virtio_config_write(struct virtio_device *v, uint64_t off, unsigned size, uint64_t value);
/* The guest's notification of queue q; any thread, no lock. */
void virtio_notify(struct virtio_device *v, unsigned q);

/* For device types, with the lock held. */
bool virtio_running(const struct virtio_device *v);
bool virtio_has(const struct virtio_device *v, uint64_t feature);
/* Takes the next chain of q into v->chain.  If there is none, asks the guest
 * for notifications.  Returns false if there is none or the ring is broken. */
bool virtio_pop(struct virtio_device *v, unsigned q);
/* Chains were published on q: interrupt if the guest wants it.  Also finds out
 * that the ring is broken, and then asks for a reset. */
void virtio_published(struct virtio_device *v, unsigned q);
/* The ring gave an error: DEVICE_NEEDS_RESET (2.1.2). */
void virtio_break(struct virtio_device *v);
/* The configuration was changed by the host. */
void virtio_config_changed(struct virtio_device *v);
/* In a loop over chains, n so far: true if it is time to let others have the
 * lock.  Then class->queue is called again soon. */
bool virtio_yield(struct virtio_device *v, unsigned q, unsigned n);

#endif
