/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Split virtqueues, the device's side (virtio 1.2 2.7).
 *
 * Everything in guest memory is hostile and may change at any time.  So each
 * descriptor is copied once and then judged, indexes are bounded by the queue,
 * a chain by VRING_MAX_CHAIN, and buffers are resolved to host memory through
 * the door before anybody sees them.  What breaks the rules makes the ring
 * broken: it gives nothing any more until it is set up again.
 *
 * A ring belongs to one thread at a time; its device's lock sees to that.
 */
#ifndef VIRTIO_RING_H
#define VIRTIO_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "mem/mem.h"

#define VRING_MAX_SIZE  256u /* entries of a queue: ours, the limit is 32768 */
#define VRING_MAX_CHAIN 256u /* descriptors of a chain, in a table or not */
/* A buffer that crosses memory slots takes a piece for each. */
#define VRING_MAX_IOV (VRING_MAX_CHAIN + 8u)

struct vring {
    struct mem *mem;
    uint8_t *desc, *avail, *used; /* host addresses of the three parts */
    uint64_t used_gpa;
    uint16_t size;       /* 0: not set up */
    uint16_t last_avail; /* next entry of the available ring to take */
    uint16_t used_idx;   /* next entry of the used ring to fill */
    uint16_t signalled;  /* used_idx when the guest was last interrupted */
    bool signalled_valid;
    bool event_idx, indirect; /* negotiated */
    bool broken;
};

/* A chain, device-readable pieces first.  Pieces have at least one byte. */
struct vring_chain {
    uint16_t head;
    unsigned nout, nin;
    uint64_t out_len, in_len;        /* bytes */
    struct iovec iov[VRING_MAX_IOV]; /* nout, then nin */
    uint64_t gpa[VRING_MAX_IOV];     /* where each is */
};

/* Where a queue is, and how far it was; to set it up or to save it. */
struct vring_config {
    uint64_t desc, avail, used; /* gpa */
    uint16_t size;              /* a power of two, at most VRING_MAX_SIZE */
    uint16_t last_avail, used_idx;
    bool event_idx, indirect;
};

/* Returns 0, or -EINVAL (size, alignment) or -EFAULT (not RAM): then the ring
 * is broken. */
int vring_setup(struct vring *r, struct mem *mem, const struct vring_config *config);

/* Takes the next chain: 1, 0 if there is none, or -EINVAL: the ring is broken
 * (now or before). */
int vring_pop(struct vring *r, struct vring_chain *c);
/* Takes back the last n pops, whose chains were not pushed. */
void vring_unpop(struct vring *r, unsigned n);
/* Anything to pop? */
bool vring_ready(struct vring *r);

/* Gives chains back, len bytes of each written.  vring_fill writes the i-th
 * entry beyond the published ones, vring_publish shows n of them at once. */
void vring_fill(struct vring *r, unsigned i, uint16_t head, uint32_t len);
void vring_publish(struct vring *r, unsigned n);
void vring_push(struct vring *r, uint16_t head, uint32_t len);

/* Does the guest want an interrupt for what was published since the last yes? */
bool vring_should_interrupt(struct vring *r);
/* Ask the guest for notifications or not.  After asking, look for chains
 * once more: returns whether there are some. */
bool vring_want_notify(struct vring *r, bool on);

/* Copies from the device-readable part, from byte off; returns how many. */
size_t vring_read(const struct vring_chain *c, uint64_t off, void *buf, size_t n);
/* Copies to the device-writable part, and marks it written. */
size_t vring_write(struct vring *r, const struct vring_chain *c, uint64_t off, const void *buf,
                   size_t n);
/* The first n bytes of the device-writable part were written by others. */
void vring_written(struct vring *r, const struct vring_chain *c, uint64_t n);
/* Pieces for [off, off+len) of the readable (or writable) part into iov, which
 * has room for VRING_MAX_IOV; gpa may be NULL.  Returns their number. */
unsigned vring_slice(const struct vring_chain *c, bool writable, uint64_t off, uint64_t len,
                     struct iovec *iov, uint64_t *gpa);

#endif
