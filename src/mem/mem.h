/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest physical memory: the map, the one checked door, the dirty log, and
 * the tracking of pages that hold code an engine has decoded or translated.
 *
 * RAM is one memfd ("guest-ram"), mapped once as a whole here and perhaps
 * again by an engine.  Slots say which guest physical ranges show which part
 * of it.  Devices, loaders and the debugger use the door (mem_read, mem_write
 * and mem_get/mem_put); engines map slots into their TLBs and follow the
 * rules of dirty log and code tracking by the inline functions below.
 */
#ifndef MEM_MEM_H
#define MEM_MEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEM_PAGE_SHIFT 12
#define MEM_PAGE_SIZE 4096ULL
#define MEM_PAGE_MASK (~(MEM_PAGE_SIZE - 1))
#define MEM_MAX_SLOTS 16
/* One bit of a page's code lines stands for this many bytes. */
#define MEM_CODE_LINE 64

struct mem_slot {
    uint64_t gpa;        /* page aligned */
    uint64_t size;       /* bytes, page aligned */
    uint64_t offset;     /* in the memfd */
    uint8_t *hva;        /* host address of the first byte */
    bool readonly;       /* guest writes are dropped (ROM) */
};

struct mem_code_page;

struct mem {
    int fd;
    uint64_t ram_size;
    uint8_t *hva;                           /* the whole memfd */
    struct mem_slot slots[MEM_MAX_SLOTS];   /* sorted by gpa */
    unsigned nslots;
    /* Per page of the memfd: see mem_code_*. */
    struct mem_code_page *code;
    /* Per page of the memfd, one bit: written since the log was last read. */
    _Atomic uint64_t *dirty;
    _Atomic bool dirty_on;
    /* Called after code on a page has changed, on the writer's thread; NULL: nobody asks. */
    void (*code_changed)(void *opaque, uint64_t page);
    void *code_opaque;
    /* Called for each write by somebody else than an engine; NULL: nobody asks. */
    void (*written)(void *opaque, uint64_t gpa, size_t len);
    void *written_opaque;
};

/* Make RAM of size bytes (page aligned, zeroed, committed on touch) with no
 * slots.  Returns 0 or a negative errno, with a message in err. */
int mem_create(struct mem **mem, uint64_t size, char *err, size_t err_size);
void mem_destroy(struct mem *mem);

/* Show [offset, offset+size) of the memfd at gpa.  Only before vCPUs run.
 * Returns 0, -EINVAL (overlap, alignment, out of the memfd) or -ENOSPC. */
int mem_add_slot(struct mem *mem, uint64_t gpa, uint64_t size, uint64_t offset, bool readonly);
/* The slot that holds gpa, or NULL (MMIO or nothing there). */
const struct mem_slot *mem_find(const struct mem *mem, uint64_t gpa);

/* The door.  Any thread.  Each copies len bytes, may cross pages and slots,
 * and returns 0 or -EFAULT if a byte is not RAM; then nothing was copied by
 * mem_write.  Writes to read-only slots return -EROFS (mem_write_rom is for
 * loaders). */
int mem_read(struct mem *mem, uint64_t gpa, void *buf, size_t len);
int mem_write(struct mem *mem, uint64_t gpa, const void *buf, size_t len);
int mem_write_rom(struct mem *mem, uint64_t gpa, const void *buf, size_t len);
int mem_fill(struct mem *mem, uint64_t gpa, int byte, size_t len);

/* Borrow host memory for [gpa, gpa+len), which must lie in one slot; NULL if
 * not.  After writing call mem_written for the part that was written, before
 * the guest is told that the data is there. */
void *mem_get(struct mem *mem, uint64_t gpa, size_t len, bool write);
void mem_written(struct mem *mem, uint64_t gpa, size_t len);

/*
 * Dirty log.  While on, an engine sets the bit of a page before it lets a
 * vCPU write there without asking (mem_mark_dirty), and after the log is read
 * it must revoke such rights: the reader calls the engine for that.
 */
static inline uint64_t mem_slot_page(const struct mem_slot *s, uint64_t gpa)
{
    return (s->offset + (gpa - s->gpa)) >> MEM_PAGE_SHIFT;
}

static inline void mem_mark_dirty(struct mem *mem, uint64_t page)
{
    if (atomic_load_explicit(&mem->dirty_on, memory_order_relaxed))
        atomic_fetch_or(&mem->dirty[page / 64], 1ULL << (page % 64));
}

void mem_dirty_start(struct mem *mem);
void mem_dirty_stop(struct mem *mem);
/* Copy the log of n pages from page first (multiples of 64) into bits and
 * clear it.  Returns the number of dirty pages. */
uint64_t mem_dirty_fetch(struct mem *mem, uint64_t first, uint64_t n, uint64_t *bits);

/*
 * Code tracking.  A page whose lines are not 0 holds decoded code: no engine
 * may keep a way for the guest to write there without asking.  Decoder: call
 * mem_code_add, then read the bytes; what it decoded is valid as long as the
 * page's version is the returned one.  Writer: write first, then call
 * mem_code_written, which changes the version if it touched a line.  All
 * three orders are by full fences inside.  Rights that other vCPUs hold at
 * the moment of mem_code_add are the engine's matter.
 */
struct mem_code_page {
    _Atomic uint64_t lines;     /* bit n: code in bytes [64n, 64n+64) */
    _Atomic uint32_t version;
    _Atomic uint32_t lock;
};

/* Note code at [offset, offset+len) of page; len > 0, within the page.
 * *fresh (may be NULL) says that the page had no code before.  Returns the
 * version. */
uint32_t mem_code_add(struct mem *mem, uint64_t page, unsigned offset, unsigned len, bool *fresh);
void mem_code_written_slow(struct mem *mem, uint64_t page, unsigned offset, unsigned len);

static inline bool mem_has_code(const struct mem *mem, uint64_t page)
{
    return atomic_load_explicit(&mem->code[page].lines, memory_order_relaxed) != 0;
}

static inline uint32_t mem_code_version(const struct mem *mem, uint64_t page)
{
    return atomic_load_explicit(&mem->code[page].version, memory_order_acquire);
}

/* After a write inside one page. */
static inline void mem_code_written(struct mem *mem, uint64_t page, unsigned offset, unsigned len)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (mem_has_code(mem, page))
        mem_code_written_slow(mem, page, offset, len);
}

#endif
