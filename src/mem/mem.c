/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"

/* Zeroed memory that costs nothing until it is touched; NULL on failure. */
static void *map_sparse(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static size_t code_size(const struct mem *mem)
{
    return mem->ram_size / MEM_PAGE_SIZE * sizeof(struct mem_code_page);
}

static size_t dirty_words(const struct mem *mem)
{
    return (mem->ram_size / MEM_PAGE_SIZE + 63) / 64;
}

static int map_ram(struct mem *mem, char *err, size_t err_size)
{
    void *hva;

    mem->fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (mem->fd < 0 || ftruncate(mem->fd, (off_t)mem->ram_size) < 0) {
        snprintf(err, err_size, "cannot make a memory file of %llu MiB for the guest: %s",
                 (unsigned long long)(mem->ram_size / MiB), strerror(errno));
        return -errno;
    }
    /* Whoever maps the file again may rely on its size. */
    fcntl(mem->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    hva = mmap(NULL, mem->ram_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, mem->fd, 0);
    if (hva == MAP_FAILED) {
        snprintf(err, err_size, "cannot map %llu MiB of guest memory: %s; try a smaller --memory",
                 (unsigned long long)(mem->ram_size / MiB), strerror(errno));
        return -errno;
    }
    mem->hva = hva;
    return 0;
}

int mem_create(struct mem **out, uint64_t size, char *err, size_t err_size)
{
    struct mem *mem;
    int rc;

    if (!size || size % MEM_PAGE_SIZE || size > (uint64_t)INT64_MAX) {
        snprintf(err, err_size, "memory size %llu is not a multiple of 4096",
                 (unsigned long long)size);
        return -EINVAL;
    }
    mem = calloc(1, sizeof(*mem));
    if (!mem) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    mem->fd = -1;
    mem->ram_size = size;
    rc = map_ram(mem, err, err_size);
    if (rc < 0)
        goto fail;
    mem->code = map_sparse(code_size(mem));
    mem->dirty = map_sparse(dirty_words(mem) * sizeof(*mem->dirty));
    if (!mem->code || !mem->dirty) {
        snprintf(err, err_size, "cannot reserve the page tables of guest memory: %s",
                 strerror(errno));
        rc = -ENOMEM;
        goto fail;
    }
    *out = mem;
    return 0;
fail:
    mem_destroy(mem);
    return rc;
}

void mem_destroy(struct mem *mem)
{
    if (!mem)
        return;
    if (mem->dirty)
        munmap((void *)mem->dirty, dirty_words(mem) * sizeof(*mem->dirty));
    if (mem->code)
        munmap(mem->code, code_size(mem));
    if (mem->hva)
        munmap(mem->hva, mem->ram_size);
    if (mem->fd >= 0)
        close(mem->fd);
    free(mem);
}

int mem_add_slot(struct mem *mem, uint64_t gpa, uint64_t size, uint64_t offset, bool readonly)
{
    unsigned i;

    if (!size || (gpa | size | offset) % MEM_PAGE_SIZE || gpa + size < gpa)
        return -EINVAL;
    if (offset > mem->ram_size || size > mem->ram_size - offset)
        return -EINVAL;
    if (mem->nslots == MEM_MAX_SLOTS)
        return -ENOSPC;
    for (i = 0; i < mem->nslots && mem->slots[i].gpa < gpa; i++)
        ;
    if (i < mem->nslots && mem->slots[i].gpa < gpa + size)
        return -EINVAL;
    if (i > 0 && mem->slots[i - 1].gpa + mem->slots[i - 1].size > gpa)
        return -EINVAL;
    memmove(&mem->slots[i + 1], &mem->slots[i], (mem->nslots - i) * sizeof(mem->slots[0]));
    mem->slots[i] = (struct mem_slot){
        .gpa = gpa, .size = size, .offset = offset, .hva = mem->hva + offset, .readonly = readonly
    };
    mem->nslots++;
    return 0;
}

const struct mem_slot *mem_find(const struct mem *mem, uint64_t gpa)
{
    for (unsigned i = 0; i < mem->nslots; i++) {
        const struct mem_slot *s = &mem->slots[i];

        if (gpa - s->gpa < s->size)
            return s;
    }
    return NULL;
}

/* Bytes of [gpa, gpa+len) in the slot that holds gpa; 0 if none does. */
static size_t slot_part(const struct mem_slot *s, uint64_t gpa, size_t len)
{
    return s ? MIN(len, s->gpa + s->size - gpa) : 0;
}

/* Is [gpa, gpa+len) RAM, and writable if that is wanted? */
static int check_range(const struct mem *mem, uint64_t gpa, size_t len, bool write)
{
    while (len) {
        const struct mem_slot *s = mem_find(mem, gpa);
        size_t n = slot_part(s, gpa, len);

        if (!n)
            return -EFAULT;
        if (write && s->readonly)
            return -EROFS;
        gpa += n;
        len -= n;
    }
    return 0;
}

/* Log and invalidate after a write in one slot. */
static void note_written(struct mem *mem, const struct mem_slot *s, uint64_t gpa, size_t len)
{
    if (mem->written)
        mem->written(mem->written_opaque, gpa, len);
    while (len) {
        unsigned offset = (unsigned)(gpa % MEM_PAGE_SIZE);
        size_t n = MIN(len, MEM_PAGE_SIZE - offset);
        uint64_t page = mem_slot_page(s, gpa);

        mem_mark_dirty(mem, page);
        mem_code_written(mem, page, offset, (unsigned)n);
        gpa += n;
        len -= n;
    }
}

int mem_read(struct mem *mem, uint64_t gpa, void *buf, size_t len)
{
    uint8_t *out = buf;

    while (len) {
        const struct mem_slot *s = mem_find(mem, gpa);
        size_t n = slot_part(s, gpa, len);

        if (!n)
            return -EFAULT;
        memcpy(out, s->hva + (gpa - s->gpa), n);
        out += n;
        gpa += n;
        len -= n;
    }
    return 0;
}

/* Copy buf, or fill with byte if buf is NULL, into a range that was checked. */
static void store(struct mem *mem, uint64_t gpa, const uint8_t *buf, int byte, size_t len)
{
    while (len) {
        const struct mem_slot *s = mem_find(mem, gpa);
        size_t n = slot_part(s, gpa, len);
        uint8_t *to = s->hva + (gpa - s->gpa);

        if (buf) {
            memcpy(to, buf, n);
            buf += n;
        } else {
            memset(to, byte, n);
        }
        note_written(mem, s, gpa, n);
        gpa += n;
        len -= n;
    }
}

int mem_write(struct mem *mem, uint64_t gpa, const void *buf, size_t len)
{
    int rc = check_range(mem, gpa, len, true);

    if (rc == 0)
        store(mem, gpa, buf, 0, len);
    return rc;
}

int mem_write_rom(struct mem *mem, uint64_t gpa, const void *buf, size_t len)
{
    int rc = check_range(mem, gpa, len, false);

    if (rc == 0)
        store(mem, gpa, buf, 0, len);
    return rc;
}

int mem_fill(struct mem *mem, uint64_t gpa, int byte, size_t len)
{
    int rc = check_range(mem, gpa, len, true);

    if (rc == 0)
        store(mem, gpa, NULL, byte, len);
    return rc;
}

void *mem_get(struct mem *mem, uint64_t gpa, size_t len, bool write)
{
    const struct mem_slot *s = mem_find(mem, gpa);

    if (!s || slot_part(s, gpa, len) != len || (write && s->readonly))
        return NULL;
    return s->hva + (gpa - s->gpa);
}

void mem_written(struct mem *mem, uint64_t gpa, size_t len)
{
    const struct mem_slot *s = mem_find(mem, gpa);

    if (s)
        note_written(mem, s, gpa, slot_part(s, gpa, len));
}

static void clear_dirty(struct mem *mem)
{
    for (size_t i = 0; i < dirty_words(mem); i++)
        if (atomic_load_explicit(&mem->dirty[i], memory_order_relaxed))
            atomic_store(&mem->dirty[i], 0);
}

void mem_dirty_start(struct mem *mem)
{
    clear_dirty(mem);
    atomic_store(&mem->dirty_on, true);
}

void mem_dirty_stop(struct mem *mem)
{
    atomic_store(&mem->dirty_on, false);
}

uint64_t mem_dirty_fetch(struct mem *mem, uint64_t first, uint64_t n, uint64_t *bits)
{
    uint64_t count = 0, words = dirty_words(mem);

    for (uint64_t i = 0; i < (n + 63) / 64; i++) {
        uint64_t w = first / 64 + i;

        bits[i] = 0;
        if (w < words && atomic_load_explicit(&mem->dirty[w], memory_order_relaxed))
            bits[i] = atomic_exchange(&mem->dirty[w], 0);
        count += (uint64_t)__builtin_popcountll(bits[i]);
    }
    return count;
}

static void page_lock(struct mem_code_page *p)
{
    while (atomic_exchange_explicit(&p->lock, 1, memory_order_acquire))
        sched_yield();
}

static void page_unlock(struct mem_code_page *p)
{
    atomic_store_explicit(&p->lock, 0, memory_order_release);
}

/* Bits of the lines that [offset, offset+len) meets. */
static uint64_t line_mask(unsigned offset, unsigned len)
{
    unsigned first = offset / MEM_CODE_LINE, last = (offset + len - 1) / MEM_CODE_LINE;

    return (~0ULL >> (63 - (last - first))) << first;
}

uint32_t mem_code_add(struct mem *mem, uint64_t page, unsigned offset, unsigned len, bool *fresh)
{
    struct mem_code_page *p = &mem->code[page];
    uint64_t before;
    uint32_t version;

    page_lock(p);
    before = atomic_fetch_or(&p->lines, line_mask(offset, len));
    version = atomic_load(&p->version);
    page_unlock(p);
    /* The decoder reads the bytes after its lines are visible to writers. */
    atomic_thread_fence(memory_order_seq_cst);
    if (fresh)
        *fresh = before == 0;
    return version;
}

/* The whole page's lines go: what was decoded there is checked by version. */
void mem_code_written_slow(struct mem *mem, uint64_t page, unsigned offset, unsigned len)
{
    struct mem_code_page *p = &mem->code[page];
    uint64_t hit;

    if (!len)
        return;
    page_lock(p);
    hit = atomic_load(&p->lines) & line_mask(offset, len);
    if (hit) {
        atomic_fetch_add(&p->version, 1);
        atomic_store(&p->lines, 0);
    }
    page_unlock(p);
    if (hit && mem->code_changed)
        mem->code_changed(mem->code_opaque, page);
}
