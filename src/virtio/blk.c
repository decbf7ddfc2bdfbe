/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block device (section numbers of virtio 1.2).
 *
 * Each chain becomes a request of its own, which copies the chain's pieces;
 * the disk reads and writes guest memory directly.  Requests that are refused
 * are answered at once, by the same path as those that have ended.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/log.h"
#include "base/util.h"

/* 5.2.3 */
#define F_SIZE_MAX     BIT(1)
#define F_SEG_MAX      BIT(2)
#define F_GEOMETRY     BIT(4)
#define F_RO           BIT(5)
#define F_BLK_SIZE     BIT(6)
#define F_FLUSH        BIT(9)
#define F_TOPOLOGY     BIT(10)
#define F_MQ           BIT(12)
#define F_DISCARD      BIT(13)
#define F_WRITE_ZEROES BIT(14)

/* 5.2.6 */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK, S_IOERR, S_UNSUPP };
#define ZEROES_F_UNMAP 1u

/* Two descriptors of a chain are header and status.  The largest request is
 * 126 MiB; the guest's own limits are far below. */
#define SEG_MAX   (VRING_MAX_CHAIN / 2 - 2)
#define SIZE_MAX_ (1u << 20)
#define RANGE_MAX (1u << 21) /* sectors of one discard: 1 GiB */
#define IN_FLIGHT (VRING_MAX_SIZE)
#define FREE_KEPT 32u

/* 5.2.4 */
struct config_space {
    uint64_t capacity;
    uint32_t size_max, seg_max;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp, alignment_offset;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint8_t writeback, unused0;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap, unused1[3];
} __attribute__((packed));

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

struct range {
    uint64_t sector;
    uint32_t sectors, flags;
};

struct virtio_blk {
    struct virtio_device v;
    struct config_space space;
    struct block_backend *disk;
    char serial[VIRTIO_BLK_SERIAL_SIZE];
    struct request *free;
    unsigned nfree, in_flight;
    uint32_t stalled; /* queues that have more than fits in flight */
};

struct request {
    struct block_request block;
    struct virtio_blk *blk;
    struct request *next;
    uint16_t q, head;
    bool write_through; /* 5.2.6.2: without F_FLUSH, writes are flushed */
    uint64_t in_len;    /* of the chain */
    uint64_t data_len;  /* bytes that the disk puts into the chain */
    uint8_t *bounce;    /* recording: they come here first; or NULL */
    struct iovec bounce_iov;
    unsigned nin;
    struct iovec iov[VRING_MAX_IOV];
    /* The device-writable part, for what was written there. */
    uint64_t gpa[VRING_MAX_IOV];
    uint32_t len[VRING_MAX_IOV];
    uint8_t *status;
    uint64_t status_gpa;
};

static struct virtio_blk *blk_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_blk, v);
}

/* Requests */

static struct request *request_new(struct virtio_blk *b)
{
    struct request *r = b->free;

    if (r) {
        b->free = r->next;
        b->nfree--;
        return r;
    }
    return malloc(sizeof(*r));
}

static void request_free(struct virtio_blk *b, struct request *r)
{
    if (b->nfree == FREE_KEPT) {
        free(r);
        return;
    }
    r->next = b->free;
    b->free = r;
    b->nfree++;
}

/* While the machine is recorded, guest memory changes only when the request is
 * complete, not at any time before. */
static int bounce_read(struct request *r)
{
    r->bounce = malloc(r->block.len);
    if (!r->bounce)
        return -ENOMEM;
    r->bounce_iov = (struct iovec){ r->bounce, r->block.len };
    r->block.iov = &r->bounce_iov;
    r->block.niov = 1;
    return 0;
}

static void bounce_done(struct request *r, uint64_t left)
{
    const uint8_t *from = r->bounce;

    for (unsigned i = 0; from && left; i++) {
        size_t n = (size_t)MIN(left, r->iov[i].iov_len);

        memcpy(r->iov[i].iov_base, from, n);
        from += n;
        left -= n;
    }
    free(r->bounce);
    r->bounce = NULL;
}

/* Gives a request back; written: bytes before the status. */
static void complete(struct request *r, uint8_t status, uint64_t written)
{
    struct virtio_blk *b = r->blk;
    struct vring *ring = &b->v.ring[r->q];
    uint64_t left = written;

    for (unsigned i = 0; i < r->nin && left; i++) {
        uint64_t n = MIN(left, r->len[i]);

        mem_written(b->v.bus->mem, r->gpa[i], n);
        left -= n;
    }
    *r->status = status;
    mem_written(b->v.bus->mem, r->status_gpa, 1);
    vring_push(ring, r->head, (uint32_t)MIN(written + 1, UINT32_MAX));
    virtio_published(&b->v, r->q);
    request_free(b, r);
}

static void done(struct block_request *block, int rc)
{
    struct request *r = container_of(block, struct request, block);
    struct virtio_blk *b = r->blk;

    if (rc == 0 && r->write_through && block->op != BLOCK_FLUSH) {
        block->op = BLOCK_FLUSH;
        block_submit(b->disk, block);
        return;
    }
    b->in_flight--;
    bounce_done(r, rc < 0 ? 0 : r->data_len);
    complete(r, rc < 0 ? S_IOERR : S_OK, rc < 0 ? 0 : r->data_len);
}

static void submit(struct request *r)
{
    r->blk->in_flight++;
    r->block.done = done;
    block_submit(r->blk->disk, &r->block);
}

/* [sector, sector + n) is on the disk. */
static bool in_range(const struct virtio_blk *b, uint64_t sector, uint64_t n)
{
    return sector <= b->space.capacity && n <= b->space.capacity - sector;
}

static int read_write(struct request *r, const struct vring_chain *c, const struct header *h)
{
    struct virtio_blk *b = r->blk;
    const bool write = h->type == T_OUT;
    const uint64_t len = write ? c->out_len - sizeof(*h) : c->in_len - 1;

    if (len % BLOCK_SECTOR || !in_range(b, h->sector, len / BLOCK_SECTOR) ||
        len > (uint64_t)SEG_MAX * SIZE_MAX_ || (write && b->disk->readonly))
        return S_IOERR;
    if (!len)
        return S_OK;
    r->block.op = write ? BLOCK_WRITE : BLOCK_READ;
    r->block.offset = h->sector * BLOCK_SECTOR;
    r->block.len = len;
    r->block.iov = r->iov;
    r->block.niov = vring_slice(c, !write, write ? sizeof(*h) : 0, len, r->iov, NULL);
    r->data_len = write ? 0 : len;
    if (!write && b->v.bus->gate_enter && bounce_read(r) < 0)
        return S_IOERR;
    submit(r);
    return -EINPROGRESS;
}

/* 5.2.6.2: flags are refused as unsupported, ranges as errors. */
static int discard(struct request *r, const struct vring_chain *c, const struct header *h)
{
    struct virtio_blk *b = r->blk;
    const bool zeroes = h->type == T_WRITE_ZEROES;
    struct range range;

    if (!virtio_has(&b->v, zeroes ? F_WRITE_ZEROES : F_DISCARD))
        return S_UNSUPP;
    if (c->out_len != sizeof(*h) + sizeof(range) || b->disk->readonly)
        return S_IOERR;
    vring_read(c, sizeof(*h), &range, sizeof(range));
    if (range.flags & ~(zeroes ? ZEROES_F_UNMAP : 0))
        return S_UNSUPP;
    if (range.sectors > RANGE_MAX || !in_range(b, range.sector, range.sectors))
        return S_IOERR;
    if (!range.sectors)
        return S_OK;
    r->block.op = zeroes ? BLOCK_WRITE_ZEROES : BLOCK_DISCARD;
    r->block.unmap = range.flags & ZEROES_F_UNMAP;
    r->block.offset = range.sector * BLOCK_SECTOR;
    r->block.len = (uint64_t)range.sectors * BLOCK_SECTOR;
    submit(r);
    return -EINPROGRESS;
}

static int flush(struct request *r)
{
    r->block.op = BLOCK_FLUSH;
    r->block.offset = r->block.len = 0;
    submit(r);
    return -EINPROGRESS;
}

static int get_id(struct request *r, const struct vring_chain *c)
{
    struct virtio_blk *b = r->blk;
    size_t n = MIN(c->in_len - 1, sizeof(b->serial));

    r->data_len = vring_write(&b->v.ring[r->q], c, 0, b->serial, n);
    return S_OK;
}

/* Returns a status, or -EINPROGRESS. */
static int start(struct request *r, const struct vring_chain *c)
{
    struct header h;

    if (vring_read(c, 0, &h, sizeof(h)) < sizeof(h))
        return S_IOERR;
    switch (h.type) {
    case T_IN:
    case T_OUT: return read_write(r, c, &h);
    case T_FLUSH: return flush(r);
    case T_GET_ID: return get_id(r, c);
    case T_DISCARD:
    case T_WRITE_ZEROES: return discard(r, c, &h);
    default: return S_UNSUPP;
    }
}

static void note_buffers(struct request *r, const struct vring_chain *c)
{
    const struct iovec *last = &c->iov[c->nout + c->nin - 1];

    r->nin = c->nin;
    for (unsigned i = 0; i < c->nin; i++) {
        r->gpa[i] = c->gpa[c->nout + i];
        r->len[i] = (uint32_t)MIN(c->iov[c->nout + i].iov_len, UINT32_MAX);
    }
    r->status = (uint8_t *)last->iov_base + last->iov_len - 1;
    r->status_gpa = c->gpa[c->nout + c->nin - 1] + last->iov_len - 1;
}

/* A chain without room for the status cannot even be refused (5.2.6.1). */
static void handle(struct virtio_blk *b, unsigned q)
{
    const struct vring_chain *c = &b->v.chain;
    struct request *r = c->in_len ? request_new(b) : NULL;
    int status;

    if (!r) {
        log_guest(LOG_DEV, "virtio-blk %u: request without status", b->v.dev.instance);
        virtio_break(&b->v);
        return;
    }
    r->blk = b;
    r->q = (uint16_t)q;
    r->head = c->head;
    r->data_len = 0;
    r->bounce = NULL;
    r->in_len = c->in_len;
    r->write_through = !virtio_has(&b->v, F_FLUSH);
    note_buffers(r, c);
    status = start(r, c);
    if (status >= 0)
        complete(r, (uint8_t)status, status == S_OK ? r->data_len : 0);
}

static void queue(struct virtio_device *v, unsigned q)
{
    struct virtio_blk *b = blk_of(v);

    b->stalled &= ~(1u << q);
    vring_want_notify(&v->ring[q], false);
    for (unsigned n = 0; virtio_running(v) && !virtio_yield(v, q, n); n++) {
        if (b->in_flight >= IN_FLIGHT) { /* disk_event goes on with it */
            b->stalled |= 1u << q;
            break;
        }
        if (!virtio_pop(v, q))
            break;
        handle(b, q);
    }
    block_kick(b->disk);
}

/* The disk has finished something. */
static void disk_event(void *opaque, int fd, uint32_t events)
{
    struct virtio_blk *b = opaque;

    (void)fd;
    (void)events;
    block_poll(b->disk);
    for (unsigned q = 0; q < b->v.nqueues; q++)
        if (b->stalled >> q & 1)
            virtio_notify(&b->v, q);
}

static void drain(struct virtio_device *v)
{
    block_drain(blk_of(v)->disk);
}

static const struct virtio_class virtio_class = {
    .id = 2,
    .pci_class = 0x018000, /* mass storage, other */
    .queue = queue,
    .drain = drain,
};

static const struct state_field fields[] = {
    VIRTIO_STATE(struct virtio_blk),
    STATE_END,
};
static const struct state_desc state = { "virtio-blk", 1, fields, virtio_post_load };

static void destroy(struct device *dev)
{
    struct virtio_blk *b = container_of(dev, struct virtio_blk, v.dev);
    struct request *r, *next;

    virtio_fini(&b->v);
    for (r = b->free; r; r = next) {
        next = r->next;
        free(r);
    }
    free(b);
}

static const struct dev_class class = {
    .name = "virtio-blk",
    .state = &state,
    .reset = virtio_dev_reset,
    .pre_save = virtio_dev_pre_save,
    .quiesce = virtio_dev_quiesce,
    .resume = virtio_dev_resume,
    .destroy = destroy,
};

static void fill_config(struct virtio_blk *b)
{
    struct config_space *s = &b->space;
    uint64_t cylinders = b->disk->size / BLOCK_SECTOR / (16 * 63);

    *s = (struct config_space){
        .capacity = b->disk->size / BLOCK_SECTOR,
        .size_max = SIZE_MAX_,
        .seg_max = SEG_MAX,
        .cylinders = (uint16_t)MIN(cylinders, 16383u),
        .heads = 16,
        .sectors = 63,
        .blk_size = BLOCK_SECTOR,
        .physical_block_exp = 3, /* 4 KiB, the page cache's unit */
        .min_io_size = 1,
        .writeback = 1,
        .num_queues = (uint16_t)b->v.nqueues,
        .max_discard_sectors = RANGE_MAX,
        .max_discard_seg = 1,
        .discard_sector_alignment = 8,
        .max_write_zeroes_sectors = RANGE_MAX,
        .max_write_zeroes_seg = 1,
        .write_zeroes_may_unmap = 1,
    };
}

int virtio_blk_create(struct bus *bus, const struct virtio_blk_config *config,
                      struct virtio_device **v)
{
    struct virtio_blk *b = calloc(1, sizeof(*b));
    int rc;

    if (!b)
        return -ENOMEM;
    b->disk = config->disk;
    if (config->serial)
        memcpy(b->serial, config->serial, MIN(strlen(config->serial), sizeof(b->serial)));
    b->v.class = &virtio_class;
    b->v.nqueues = MIN(MAX(config->queues, 1u), VIRTIO_BLK_MAX_QUEUES);
    b->v.features = F_SIZE_MAX | F_SEG_MAX | F_GEOMETRY | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | F_MQ;
    b->v.features |= b->disk->readonly ? F_RO : F_DISCARD | F_WRITE_ZEROES;
    fill_config(b);
    b->v.config = (uint8_t *)&b->space;
    b->v.config_size = sizeof(b->space);
    rc = virtio_init(&b->v, bus, &class);
    if (rc < 0)
        return rc;
    virtio_lock(&b->v);
    rc = loop_fd_add(b->v.loop, b->disk->fd, EPOLLIN, disk_event, b);
    virtio_unlock(&b->v);
    *v = &b->v;
    return rc;
}
