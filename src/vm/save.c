/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a machine: sections of VM, vCPUs and devices, and in a file
 * RAM after them, at a page boundary and with holes where it is untouched.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "vm/internal.h"

/* What must agree, and the clock. */
struct vm_section {
    uint64_t memory, clock_ns;
    uint32_t cpus;
};

static const struct state_field vm_fields[] = {
    STATE_FIELD(struct vm_section, memory, 0),
    STATE_FIELD(struct vm_section, clock_ns, 0),
    STATE_FIELD(struct vm_section, cpus, 0),
    STATE_END,
};
static const struct state_desc vm_section_desc = { .name = "vm", .version = 1,
                                                   .fields = vm_fields };

int vm_save(struct vm *vm, struct state_writer *w)
{
    const struct vm_section s = { .memory = vm->config.memory, .cpus = vm->config.cpus,
                                  .clock_ns = vm_clock_ns(&vm->clock) };

    state_save(w, &vm_section_desc, 0, &s);
    /* Before the vCPUs: a device that comes up to date may interrupt one. */
    bus_save(vm->bus, w);
    for (unsigned i = 0; i < vm->config.cpus; i++) {
        struct vcpu_state state;

        memset(&state, 0, sizeof(state));
        vm->engine->vcpu_get_state(vm->vcpus[i].vcpu, &state);
        state_save(w, &vcpu_state_desc, i, &state);
    }
    return w->error;
}

static int load_vcpu(struct vm *vm, struct state_reader *r, unsigned i)
{
    struct vcpu_state state;
    char err[160] = "";
    int rc;

    vcpu_state_reset(&state, i, i == 0, false);
    rc = state_load(r, &vcpu_state_desc, i, &state);
    if (rc < 0)
        return rc;
    rc = vcpu_state_check(&state, err, sizeof(err));
    if (rc == 0)
        rc = vm->engine->vcpu_set_state(vm->vcpus[i].vcpu, &state, err, sizeof(err));
    if (rc < 0)
        snprintf(r->error, sizeof(r->error), "CPU %u: %s", i, err);
    return rc;
}

int vm_load(struct vm *vm, struct state_reader *r)
{
    struct vm_section s;
    int rc = state_load(r, &vm_section_desc, 0, &s);

    if (rc < 0)
        return rc;
    if (s.memory != vm->config.memory || s.cpus != vm->config.cpus) {
        snprintf(r->error, sizeof(r->error),
                 "it is of a machine with %u CPUs and %llu MiB; give it the same", s.cpus,
                 (unsigned long long)(s.memory / MiB));
        return -EINVAL;
    }
    vm_clock_set(&vm->clock, s.clock_ns);
    loop_clock_changed(vm->loop);
    for (unsigned i = 0; i < vm->config.cpus && rc == 0; i++)
        rc = load_vcpu(vm, r, i);
    /* After the vCPUs: devices drive lines and send messages, which must find
     * the local APICs as they are and must not be lost. */
    return rc == 0 ? bus_load(vm->bus, r) : rc;
}

/* The first page of a file. */
#define FILE_MAGIC "BLKHSTAT"
struct file_header {
    char magic[8];
    uint64_t state_offset, state_size;
    uint64_t ram_offset, ram_size;
};

static int write_all(int fd, const void *buf, uint64_t n, uint64_t at)
{
    const uint8_t *p = buf;

    while (n) {
        ssize_t done = pwrite(fd, p, MIN(n, GiB), (off_t)at);

        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            p += done;
            at += (uint64_t)done;
            n -= (uint64_t)done;
        }
    }
    return 0;
}

/* The parts of the memory file that hold data, and the length. */
static int write_ram(const struct vm *vm, int fd, uint64_t offset)
{
    off_t at = 0, end;
    int rc = 0;

    while (rc == 0 && (at = lseek(vm->mem->fd, at, SEEK_DATA)) >= 0) {
        end = lseek(vm->mem->fd, at, SEEK_HOLE);
        if (end < 0)
            return -errno;
        rc = write_all(fd, vm->mem->hva + at, (uint64_t)(end - at), offset + (uint64_t)at);
        at = end;
    }
    if (rc == 0 && at < 0 && errno != ENXIO)
        rc = -errno;
    if (rc == 0 && ftruncate(fd, (off_t)(offset + vm->mem->ram_size)) < 0)
        rc = -errno;
    return rc;
}

static int write_file(struct vm *vm, int fd, const struct state_writer *w)
{
    const struct file_header h = {
        .magic = FILE_MAGIC, .state_offset = MEM_PAGE_SIZE, .state_size = w->size,
        .ram_offset = align_up(MEM_PAGE_SIZE + w->size, MEM_PAGE_SIZE),
        .ram_size = vm->mem->ram_size,
    };
    int rc = write_all(fd, &h, sizeof(h), 0);

    if (rc == 0)
        rc = write_all(fd, w->data, w->size, h.state_offset);
    return rc == 0 ? write_ram(vm, fd, h.ram_offset) : rc;
}

int vm_save_file(struct vm *vm, const char *path, char *err, size_t err_size)
{
    struct state_writer w;
    int fd = -1, rc;

    state_writer_init(&w);
    rc = vm_save(vm, &w);
    if (rc == 0) {
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        rc = fd < 0 ? -errno : write_file(vm, fd, &w);
    }
    if (fd >= 0 && close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc < 0)
        snprintf(err, err_size, "cannot save the state to '%s': %s", path, strerror(-rc));
    state_writer_free(&w);
    return rc;
}

static int read_all(int fd, void *buf, uint64_t n, uint64_t at)
{
    uint8_t *p = buf;

    while (n) {
        ssize_t done = pread(fd, p, MIN(n, GiB), (off_t)at);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? -errno : -EINVAL;
        p += done;
        at += (uint64_t)done;
        n -= (uint64_t)done;
    }
    return 0;
}

/* Data only, so that what was untouched stays so.  The machine is fresh: no
 * code was decoded, and so no page needs mem_written. */
static int read_ram(struct vm *vm, int fd, const struct file_header *h)
{
    const uint64_t file_end = h->ram_offset + h->ram_size;
    off_t at = (off_t)h->ram_offset;
    int rc = 0;

    while (rc == 0 && (at = lseek(fd, at, SEEK_DATA)) >= 0 && (uint64_t)at < file_end) {
        off_t end = lseek(fd, at, SEEK_HOLE);
        uint64_t n = end < 0 ? 0 : MIN((uint64_t)end, file_end) - (uint64_t)at;

        if (end < 0)
            return -errno;
        rc = read_all(fd, vm->mem->hva + ((uint64_t)at - h->ram_offset), n, (uint64_t)at);
        at = end;
    }
    return rc;
}

static int read_state(struct vm *vm, int fd, const struct file_header *h, struct state_reader *r)
{
    uint8_t *data = malloc(h->state_size + 1);
    int rc = data ? read_all(fd, data, h->state_size, h->state_offset) : -ENOMEM;

    state_reader_init(r, data, h->state_size);
    if (rc == 0)
        rc = vm_load(vm, r);
    r->data = NULL;
    free(data);
    return rc;
}

/* Every number in the header is hostile. */
static bool header_ok(const struct vm *vm, const struct file_header *h, uint64_t file_size)
{
    return memcmp(h->magic, FILE_MAGIC, sizeof(h->magic)) == 0 && h->state_offset <= file_size &&
           h->state_size <= file_size - h->state_offset && h->ram_offset <= file_size &&
           h->ram_size <= file_size - h->ram_offset && h->ram_size == vm->mem->ram_size;
}

int vm_load_file(struct vm *vm, const char *path, char *err, size_t err_size)
{
    struct file_header h = { .magic = "" };
    struct state_reader r = { .error = "" };
    struct stat st = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 || fstat(fd, &st) < 0 ? -errno : read_all(fd, &h, sizeof(h), 0);

    if (rc == 0 && !header_ok(vm, &h, (uint64_t)st.st_size)) {
        snprintf(r.error, sizeof(r.error), "it is no state file of a machine with this much memory");
        rc = -EINVAL;
    }
    if (rc == 0)
        rc = read_ram(vm, fd, &h);
    if (rc == 0)
        rc = read_state(vm, fd, &h, &r);
    if (rc < 0)
        snprintf(err, err_size, "cannot load the state from '%s': %.160s", path,
                 r.error[0] ? r.error : strerror(-rc));
    if (fd >= 0)
        close(fd);
    return rc;
}
