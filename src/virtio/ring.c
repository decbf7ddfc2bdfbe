/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Section numbers are those of virtio 1.2. */
#include "virtio/ring.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

/* 2.7.5 */
#define DESC_SIZE       16u
#define DESC_F_NEXT     1u
#define DESC_F_WRITE    2u
#define DESC_F_INDIRECT 4u
/* 2.7.6 and 2.7.8: flags, idx, ring, event */
#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY     1u
#define RING_IDX             2u
#define RING_ENTRIES         4u
#define AVAIL_ENTRY          2u
#define USED_ENTRY           8u

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

/* One access each, and never cached: the guest writes there meanwhile. */
static uint16_t load16(const uint8_t *p)
{
    return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_RELAXED);
}

static void store16(void *p, uint16_t v)
{
    __atomic_store_n((uint16_t *)p, v, __ATOMIC_RELAXED);
}

static uint8_t *avail_event(const struct vring *r)
{
    return r->used + RING_ENTRIES + USED_ENTRY * r->size;
}

static const uint8_t *used_event(const struct vring *r)
{
    return r->avail + RING_ENTRIES + AVAIL_ENTRY * r->size;
}

static int broken(struct vring *r, const char *why)
{
    if (!r->broken)
        log_guest(LOG_DEV, "virtqueue is broken: %s", why);
    r->broken = true;
    return -EINVAL;
}

int vring_setup(struct vring *r, struct mem *mem, const struct vring_config *config)
{
    const uint32_t n = config->size;

    *r = (struct vring){ .mem = mem, .size = config->size, .broken = true };
    if (!n || n > VRING_MAX_SIZE || n & (n - 1))
        return -EINVAL;
    /* 2.7: alignment of the three parts */
    if (config->desc % 16 || config->avail % 2 || config->used % 4)
        return -EINVAL;
    r->desc = mem_get(mem, config->desc, (size_t)n * DESC_SIZE, false);
    r->avail = mem_get(mem, config->avail, RING_ENTRIES + AVAIL_ENTRY * n + 2, false);
    r->used = mem_get(mem, config->used, RING_ENTRIES + USED_ENTRY * n + 2, true);
    if (!r->desc || !r->avail || !r->used)
        return -EFAULT;
    r->used_gpa = config->used;
    r->last_avail = config->last_avail;
    r->used_idx = config->used_idx;
    r->event_idx = config->event_idx;
    r->indirect = config->indirect;
    r->broken = false;
    return 0;
}

/* Chains that wait; -EINVAL if the guest's index is beyond the ring. */
static int waiting(struct vring *r)
{
    uint16_t n;

    if (r->broken)
        return -EINVAL;
    n = (uint16_t)(load16(r->avail + RING_IDX) - r->last_avail);
    if (n > r->size)
        return broken(r, "available index out of range");
    /* What the index covers is read after it. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return n;
}

bool vring_ready(struct vring *r)
{
    return waiting(r) > 0;
}

/* Resolves one buffer into the chain; it may cross slots. */
static int add_buffer(struct vring *r, struct vring_chain *c, const struct desc *d)
{
    const bool write = d->flags & DESC_F_WRITE;
    uint64_t gpa = d->addr, left = d->len;

    if (!write && c->nin)
        return broken(r, "readable buffer after a writable one"); /* 2.7.4.2 */
    while (left) {
        const struct mem_slot *s = mem_find(r->mem, gpa);
        uint64_t n = s ? MIN(left, s->gpa + s->size - gpa) : 0;
        unsigned i = c->nout + c->nin;

        if (!n || (write && s->readonly))
            return broken(r, "buffer is not in RAM");
        if (i == VRING_MAX_IOV)
            return broken(r, "too many buffers");
        c->iov[i] = (struct iovec){ s->hva + (gpa - s->gpa), n };
        c->gpa[i] = gpa;
        if (write)
            c->nin++;
        else
            c->nout++;
        gpa += n;
        left -= n;
    }
    if (write)
        c->in_len += d->len;
    else
        c->out_len += d->len;
    return 0;
}

static struct desc copy_desc(const uint8_t *table, unsigned i)
{
    struct desc d;

    memcpy(&d, table + (size_t)i * DESC_SIZE, sizeof(d));
    /* The compiler must not read the guest's copy again. */
    __asm__ volatile("" ::: "memory");
    return d;
}

/* 2.7.5.3: the whole chain is in a table of its own. */
static int walk_table(struct vring *r, struct vring_chain *c, const struct desc *at)
{
    const uint8_t *table;
    unsigned n = at->len / DESC_SIZE, i = 0;

    if (!r->indirect || at->flags & DESC_F_NEXT || at->len % DESC_SIZE || !n || n > VRING_MAX_CHAIN)
        return broken(r, "wrong indirect descriptor");
    table = mem_get(r->mem, at->addr, at->len, false);
    if (!table)
        return broken(r, "indirect table is not in RAM");
    for (unsigned count = 0; count < n; count++) {
        struct desc d = copy_desc(table, i);

        if (d.flags & DESC_F_INDIRECT)
            return broken(r, "indirect descriptor in an indirect table");
        if (add_buffer(r, c, &d) < 0)
            return -EINVAL;
        if (!(d.flags & DESC_F_NEXT))
            return 0;
        i = d.next;
        if (i >= n)
            return broken(r, "next descriptor out of range");
    }
    return broken(r, "descriptors make a loop");
}

static int walk(struct vring *r, struct vring_chain *c)
{
    unsigned i = c->head;

    for (unsigned count = 0; count < r->size; count++) {
        struct desc d = copy_desc(r->desc, i);

        if (d.flags & DESC_F_INDIRECT) {
            if (count)
                return broken(r, "indirect descriptor within a chain");
            return walk_table(r, c, &d);
        }
        if (add_buffer(r, c, &d) < 0)
            return -EINVAL;
        if (!(d.flags & DESC_F_NEXT))
            return 0;
        i = d.next;
        if (i >= r->size)
            return broken(r, "next descriptor out of range");
    }
    return broken(r, "descriptors make a loop");
}

int vring_pop(struct vring *r, struct vring_chain *c)
{
    int n = waiting(r);

    if (n <= 0)
        return n;
    c->nout = c->nin = 0;
    c->out_len = c->in_len = 0;
    c->head = load16(r->avail + RING_ENTRIES + AVAIL_ENTRY * (r->last_avail & (r->size - 1u)));
    if (c->head >= r->size)
        return broken(r, "head out of range");
    if (walk(r, c) < 0)
        return -EINVAL;
    r->last_avail++;
    return 1;
}

void vring_unpop(struct vring *r, unsigned n)
{
    r->last_avail = (uint16_t)(r->last_avail - n);
}

void vring_fill(struct vring *r, unsigned i, uint16_t head, uint32_t len)
{
    const struct {
        uint32_t id, len;
    } e = { head, len };
    uint32_t off = RING_ENTRIES + USED_ENTRY * ((r->used_idx + i) & (r->size - 1u));

    if (r->broken)
        return;
    memcpy(r->used + off, &e, sizeof(e));
    mem_written(r->mem, r->used_gpa + off, sizeof(e));
}

void vring_publish(struct vring *r, unsigned n)
{
    uint16_t old = r->used_idx;

    if (r->broken || !n)
        return;
    r->used_idx = (uint16_t)(old + n);
    /* An event that was passed long ago must not look like one to come. */
    if (r->signalled_valid && (uint16_t)(r->used_idx - r->signalled) < n)
        r->signalled_valid = false;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    store16(r->used + RING_IDX, r->used_idx);
    mem_written(r->mem, r->used_gpa + RING_IDX, 2);
}

void vring_push(struct vring *r, uint16_t head, uint32_t len)
{
    vring_fill(r, 0, head, len);
    vring_publish(r, 1);
}

/* 2.7.7.2 and 2.7.10 */
bool vring_should_interrupt(struct vring *r)
{
    uint16_t old = r->signalled, now = r->used_idx, event;
    bool valid = r->signalled_valid;

    if (r->broken || (valid && old == now))
        return false;
    /* The index must be visible before the guest's wish is read. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    r->signalled = now;
    r->signalled_valid = true;
    if (!r->event_idx)
        return !(load16(r->avail) & AVAIL_F_NO_INTERRUPT);
    event = load16(used_event(r));
    return !valid || (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

bool vring_want_notify(struct vring *r, bool on)
{
    uint8_t *p = r->used;
    uint16_t v = on ? 0 : USED_F_NO_NOTIFY;

    if (r->broken)
        return false;
    if (r->event_idx) {
        if (!on)
            return false; /* an old avail_event says it */
        p = avail_event(r);
        v = r->last_avail;
    }
    store16(p, v);
    mem_written(r->mem, r->used_gpa + (uint64_t)(p - r->used), 2);
    /* The wish must be visible before the ring is looked at once more. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return on && vring_ready(r);
}

unsigned vring_slice(const struct vring_chain *c, bool writable, uint64_t off, uint64_t len,
                     struct iovec *iov, uint64_t *gpa)
{
    unsigned i = writable ? c->nout : 0, end = c->nout + (writable ? c->nin : 0), n = 0;

    for (; i < end && len; i++) {
        uint64_t skip = MIN(off, c->iov[i].iov_len), part = MIN(len, c->iov[i].iov_len - skip);

        off -= skip;
        if (!part)
            continue;
        iov[n] = (struct iovec){ (uint8_t *)c->iov[i].iov_base + skip, part };
        if (gpa)
            gpa[n] = c->gpa[i] + skip;
        len -= part;
        n++;
    }
    return n;
}

size_t vring_read(const struct vring_chain *c, uint64_t off, void *buf, size_t n)
{
    uint8_t *to = buf;

    for (unsigned i = 0; i < c->nout && n; i++) {
        size_t skip = MIN(off, c->iov[i].iov_len), part = MIN(n, c->iov[i].iov_len - skip);

        memcpy(to, (const uint8_t *)c->iov[i].iov_base + skip, part);
        off -= skip;
        to += part;
        n -= part;
    }
    __asm__ volatile("" ::: "memory");
    return (size_t)(to - (uint8_t *)buf);
}

size_t vring_write(struct vring *r, const struct vring_chain *c, uint64_t off, const void *buf,
                   size_t n)
{
    const uint8_t *from = buf;

    for (unsigned i = c->nout; i < c->nout + c->nin && n; i++) {
        size_t skip = MIN(off, c->iov[i].iov_len), part = MIN(n, c->iov[i].iov_len - skip);

        memcpy((uint8_t *)c->iov[i].iov_base + skip, from, part);
        if (part)
            mem_written(r->mem, c->gpa[i] + skip, part);
        off -= skip;
        from += part;
        n -= part;
    }
    return (size_t)(from - (const uint8_t *)buf);
}

void vring_written(struct vring *r, const struct vring_chain *c, uint64_t n)
{
    for (unsigned i = c->nout; i < c->nout + c->nin && n; i++) {
        uint64_t part = MIN(n, c->iov[i].iov_len);

        mem_written(r->mem, c->gpa[i], part);
        n -= part;
    }
}
