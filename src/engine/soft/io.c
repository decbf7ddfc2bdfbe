/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port and memory-mapped I/O.
 *
 * An access that the engine cannot answer itself leaves the vCPU as an exit.
 * The instruction is executed again afterwards, from its start, and meets its
 * earlier accesses in a log: entries [0, made) are answered, `used` counts
 * those that this execution has met.  An instruction that goes another way
 * the second time (memory changed under it) drops the rest of the log.
 */
#include "engine/soft/soft.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* ---- the log ------------------------------------------------------------ */

/* The answered entry for this access, or NULL: it has to be made. */
static struct soft_io_entry *log_next(struct soft_cpu *c, enum soft_io_kind kind, uint64_t addr,
                                      unsigned size)
{
    struct soft_io_log *log = &c->io;
    struct soft_io_entry *e;

    if (log->used >= log->made)
        return NULL;
    e = &log->e[log->used];
    if (e->kind != kind || e->addr != addr || e->size != size) {
        log->made = log->used;
        return NULL;
    }
    log->used++;
    return e;
}

/* Make the next entry and wait for its answer.  False: the log is full. */
static bool log_open(struct soft_cpu *c, enum soft_io_kind kind, uint64_t addr, unsigned size)
{
    struct soft_io_log *log = &c->io;

    if (log->made >= SOFT_IO_LOG) {
        log_guest(LOG_CPU, "more than %d device accesses in one instruction", SOFT_IO_LOG);
        return false;
    }
    log->e[log->made] = (struct soft_io_entry){
        .addr = addr, .size = (uint8_t)size, .kind = (uint8_t)kind, .count = 1
    };
    log->pending = true;
    /* What the guest stored without ordering must be there for the device. */
    __asm__ volatile("sfence" ::: "memory");
    return true;
}

void soft_io_complete(struct soft_cpu *c)
{
    struct soft_io_log *log = &c->io;
    struct soft_io_entry *e = &log->e[log->made];

    if (c->extint_ack) {
        int v = c->run->extint.vector;

        c->extint_ack = false;
        c->extint_vector = v >= 0 && v <= 255 ? (uint16_t)(v + 1) : 0;
    }
    log->used = 0;
    if (!log->pending)
        return;
    log->pending = false;
    switch ((enum soft_io_kind)e->kind) {
    case IO_MMIO_READ: e->data = c->run->mmio.data & size_mask(e->size); break;
    case IO_PORT_IN: memcpy(&e->data, c->run->io_data, e->size); break;
    case IO_PORT_INS:
        /* The data stays in run->io_data, which only string I/O uses. */
        e->count = MIN(MAX(c->run->io.count, 1u), e->count);
        break;
    case IO_PORT_OUTS:
    case IO_MMIO_WRITE:
    case IO_PORT_OUT:
    case IO_EOI: break;
    }
    log->made++;
}

/* ---- doorbells and counters --------------------------------------------- */

static struct soft_doorbell *doorbell_find(struct soft_vm *vm, bool pio, uint64_t addr,
                                           unsigned size, bool match, uint64_t value)
{
    for (unsigned i = 0; i < vm->ndoorbells; i++) {
        struct soft_doorbell *d = &vm->doorbells[i];

        if (d->pio == pio && d->addr == addr && d->size == size && d->match == match &&
            (!match || d->value == value))
            return d;
    }
    return NULL;
}

int soft_doorbell_add(struct soft_vm *vm, bool pio, uint64_t addr, unsigned size, bool match,
                      uint64_t value, int fd)
{
    int ret = 0;

    if (size > 8 || (size & (size - 1)))
        return -EINVAL;
    pthread_rwlock_wrlock(&vm->tables_lock);
    if (doorbell_find(vm, pio, addr, size, match, value))
        ret = -EEXIST;
    else if (vm->ndoorbells == SOFT_MAX_DOORBELLS)
        ret = -ENOSPC;
    else
        vm->doorbells[vm->ndoorbells++] = (struct soft_doorbell){ .addr = addr,
                                                                  .value = value,
                                                                  .fd = fd,
                                                                  .size = (uint8_t)size,
                                                                  .pio = pio,
                                                                  .match = match };
    pthread_rwlock_unlock(&vm->tables_lock);
    return ret;
}

int soft_doorbell_del(struct soft_vm *vm, bool pio, uint64_t addr, unsigned size, bool match,
                      uint64_t value)
{
    struct soft_doorbell *d;

    pthread_rwlock_wrlock(&vm->tables_lock);
    d = doorbell_find(vm, pio, addr, size, match, value);
    if (d)
        *d = vm->doorbells[--vm->ndoorbells];
    pthread_rwlock_unlock(&vm->tables_lock);
    return d ? 0 : -ENOENT;
}

int soft_counter_add(struct soft_vm *vm, const struct cpu_counter *counter)
{
    int ret = 0;

    pthread_rwlock_wrlock(&vm->tables_lock);
    if (vm->ncounters == SOFT_MAX_COUNTERS)
        ret = -ENOSPC;
    else
        vm->counters[vm->ncounters++] = *counter;
    pthread_rwlock_unlock(&vm->tables_lock);
    return ret;
}

/* Signal the doorbell that this write hits; false: there is none. */
static bool doorbell_ring(struct soft_cpu *c, bool pio, uint64_t addr, unsigned size,
                          uint64_t value)
{
    struct soft_vm *vm = c->vm;
    const uint64_t one = 1;
    bool hit = false;

    if (!__atomic_load_n(&vm->ndoorbells, __ATOMIC_RELAXED))
        return false;
    pthread_rwlock_rdlock(&vm->tables_lock);
    for (unsigned i = 0; i < vm->ndoorbells && !hit; i++) {
        const struct soft_doorbell *d = &vm->doorbells[i];

        if (d->pio != pio || d->addr != addr || (d->size && d->size != size) ||
            (d->match && d->value != value))
            continue;
        hit = true;
        __asm__ volatile("sfence" ::: "memory");
        /* A full counter (EAGAIN) has been signalled already. */
        if (write(d->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
            log_warn(LOG_CPU, "doorbell at 0x%llx: %m", (unsigned long long)addr);
    }
    pthread_rwlock_unlock(&vm->tables_lock);
    return hit;
}

static bool counter_read(struct soft_cpu *c, uint16_t port, unsigned size, uint64_t *v)
{
    struct soft_vm *vm = c->vm;
    bool hit = false;

    if (!__atomic_load_n(&vm->ncounters, __ATOMIC_RELAXED))
        return false;
    pthread_rwlock_rdlock(&vm->tables_lock);
    for (unsigned i = 0; i < vm->ncounters && !hit; i++) {
        const struct cpu_counter *t = &vm->counters[i];

        if (t->port != port || t->size != size)
            continue;
        hit = true;
        *v = (mul_div(soft_now(c), t->hz, NSEC_PER_SEC) + t->offset) & t->mask;
    }
    pthread_rwlock_unlock(&vm->tables_lock);
    return hit;
}

/* ---- port I/O ------------------------------------------------------------- */

/* SDM 1 19.5.2: CPL against IOPL, else the bitmap of a 32- or 64-bit TSS.
 * Two bytes of the bitmap are always read. */
int soft_io_allowed(struct soft_cpu *c, uint16_t port, unsigned size)
{
    const struct seg_state *tr = &c->s.seg[SEG_TR];
    uint64_t map, bits;
    int r;

    if (unlikely(c->s.dr7 & 0xff))
        soft_io_breakpoints(c, port, size);
    if (!soft_pe(c) || (!soft_v86(c) && c->cpl <= soft_iopl(c)))
        return 0;
    if ((tr->attr & (SEG_ATTR_P | SEG_ATTR_UNUSABLE)) != SEG_ATTR_P || (tr->attr & 0xd) != 9 ||
        tr->limit < 103)
        return soft_gp0(c);
    r = soft_sys_read(c, tr->base + 102, 2, &map);
    if (r)
        return r;
    map += port / 8;
    if (map + 1 > tr->limit)
        return soft_gp0(c);
    r = soft_sys_read(c, tr->base + map, 2, &bits);
    if (r)
        return r;
    if (bits >> (port % 8) & ((1u << size) - 1))
        return soft_gp0(c);
    return 0;
}

static int port_exit(struct soft_cpu *c, uint16_t port, unsigned size, bool write, bool string,
                     unsigned count)
{
    c->run->exit = CPU_EXIT_IO;
    c->run->io.port = port;
    c->run->io.size = (uint8_t)size;
    c->run->io.write = write;
    c->run->io.string = string;
    c->run->io.count = count;
    return SOFT_EXIT;
}

/* The access is done: I/O breakpoints are traps behind it (SDM 3B 17.3.1.3). */
static int port_done(struct soft_cpu *c, uint16_t port, unsigned size)
{
    if (unlikely(c->s.dr7 & 0xff))
        soft_io_breakpoints(c, port, size);
    return 0;
}

int soft_io_in(struct soft_cpu *c, uint16_t port, unsigned size, uint64_t *v)
{
    const struct soft_io_entry *e = log_next(c, IO_PORT_IN, port, size);

    *v = size_mask(size);
    if (e) {
        *v = e->data;
        return port_done(c, port, size);
    }
    if (counter_read(c, port, size, v) || !log_open(c, IO_PORT_IN, port, size))
        return port_done(c, port, size);
    return port_exit(c, port, size, false, false, 1);
}

int soft_io_out(struct soft_cpu *c, uint16_t port, unsigned size, uint64_t v)
{
    v &= size_mask(size);
    if (log_next(c, IO_PORT_OUT, port, size) || doorbell_ring(c, true, port, size, v) ||
        !log_open(c, IO_PORT_OUT, port, size))
        return port_done(c, port, size);
    memcpy(c->run->io_data, &v, size);
    return port_exit(c, port, size, true, false, 1);
}

int soft_io_ins(struct soft_cpu *c, uint16_t port, unsigned size, void *data, unsigned max,
                unsigned *got)
{
    const struct soft_io_entry *e = log_next(c, IO_PORT_INS, port, size);

    max = MIN(max, CPU_IO_PAGE / size);
    if (e) {
        *got = MIN(e->count, max);
        memcpy(data, c->run->io_data, (size_t)*got * size);
        return port_done(c, port, size);
    }
    if (!log_open(c, IO_PORT_INS, port, size)) {
        *got = max;
        memset(data, 0xff, (size_t)max * size);
        return port_done(c, port, size);
    }
    c->io.e[c->io.made].count = max;
    return port_exit(c, port, size, false, true, max);
}

int soft_io_outs(struct soft_cpu *c, uint16_t port, unsigned size, const void *data, unsigned count,
                 unsigned *done)
{
    const struct soft_io_entry *e = log_next(c, IO_PORT_OUTS, port, size);
    uint64_t v = 0;

    count = MIN(count, CPU_IO_PAGE / size);
    *done = count;
    if (e) {
        *done = MIN(e->count, count);
        return port_done(c, port, size);
    }
    memcpy(&v, data, size);
    if ((count == 1 && doorbell_ring(c, true, port, size, v)) ||
        !log_open(c, IO_PORT_OUTS, port, size))
        return port_done(c, port, size);
    c->io.e[c->io.made].count = count;
    memcpy(c->run->io_data, data, (size_t)count * size);
    return port_exit(c, port, size, true, true, count);
}

int soft_io_eoi(struct soft_cpu *c, uint8_t vector)
{
    if (log_next(c, IO_EOI, vector, 1) || !log_open(c, IO_EOI, vector, 1))
        return 0;
    c->run->exit = CPU_EXIT_EOI;
    c->run->eoi.vector = vector;
    return SOFT_EXIT;
}

/* ---- memory-mapped I/O ------------------------------------------------------ */

/* The page of the local APIC's registers, if they are memory-mapped. */
static bool is_lapic(const struct soft_cpu *c, uint64_t gpa)
{
    const uint64_t base = c->s.lapic.base;

    /* EN (11) set, EXTD (10) clear: xAPIC mode (SDM 3A 10.12.1). */
    return (base & 0xc00) == 0x800 && !((base ^ gpa) & c->vm->a20_mask & MEM_PAGE_MASK);
}

static int mmio_read_part(struct soft_cpu *c, uint64_t gpa, unsigned size, uint64_t *v)
{
    const struct soft_io_entry *e;

    if (is_lapic(c, gpa))
        return lapic_mmio_read(c, gpa & ~MEM_PAGE_MASK, size, v);
    *v = size_mask(size);
    e = log_next(c, IO_MMIO_READ, gpa, size);
    if (e) {
        *v = e->data;
        return 0;
    }
    if (!log_open(c, IO_MMIO_READ, gpa, size))
        return 0;
    c->run->exit = CPU_EXIT_MMIO;
    c->run->mmio.gpa = gpa;
    c->run->mmio.size = (uint8_t)size;
    c->run->mmio.write = false;
    c->run->mmio.data = 0;
    return SOFT_EXIT;
}

static int mmio_write_part(struct soft_cpu *c, uint64_t gpa, unsigned size, uint64_t v)
{
    v &= size_mask(size);
    if (is_lapic(c, gpa))
        return lapic_mmio_write(c, gpa & ~MEM_PAGE_MASK, size, v);
    if (log_next(c, IO_MMIO_WRITE, gpa, size) || doorbell_ring(c, false, gpa, size, v) ||
        !log_open(c, IO_MMIO_WRITE, gpa, size))
        return 0;
    c->run->exit = CPU_EXIT_MMIO;
    c->run->mmio.gpa = gpa;
    c->run->mmio.size = (uint8_t)size;
    c->run->mmio.write = true;
    c->run->mmio.data = v;
    return SOFT_EXIT;
}

/* Parts of an access that crosses a page have any size from 1 to 7. */
static unsigned part_size(unsigned size)
{
    return size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
}

int soft_mmio_read(struct soft_cpu *c, uint64_t gpa, unsigned size, uint64_t *v)
{
    *v = 0;
    for (unsigned done = 0, n; done < size; done += n) {
        uint64_t part;
        int r;

        n = part_size(size - done);
        r = mmio_read_part(c, gpa + done, n, &part);
        if (r)
            return r;
        *v |= part << (done * 8);
    }
    return 0;
}

int soft_mmio_write(struct soft_cpu *c, uint64_t gpa, unsigned size, uint64_t v)
{
    for (unsigned done = 0, n; done < size; done += n) {
        int r;

        n = part_size(size - done);
        r = mmio_write_part(c, gpa + done, n, v >> (done * 8));
        if (r)
            return r;
    }
    return 0;
}
