/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "board/boot.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "board/elf_file.h"

/* No kernel is near this; it bounds what we read for a hostile file. */
#define MAX_KERNEL_FILE (1 * GiB)

int boot_fail(const struct boot_context *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(c->err, c->err_size, fmt, ap);
    va_end(ap);
    return -ENOEXEC;
}

/* Opens a regular file (or device) and tells its size. */
static int open_file(const char *path, const char *what, uint64_t *size, char *err, size_t err_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        rc = -errno;
        snprintf(err, err_size, "cannot open the %s '%s': %s", what, path, strerror(-rc));
        goto fail;
    }
    if (!S_ISREG(st.st_mode)) {
        rc = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
        snprintf(err, err_size, "the %s '%s' is not a regular file", what, path);
        goto fail;
    }
    *size = (uint64_t)st.st_size;
    return fd;
fail:
    if (fd >= 0)
        close(fd);
    return rc;
}

/* pread of exactly size bytes; -EIO if the file is shorter by now. */
static int read_exact(int fd, void *buf, uint64_t size, uint64_t offset)
{
    uint8_t *p = buf;
    uint64_t at = 0;

    while (at < size) {
        ssize_t n = pread(fd, p + at, MIN(size - at, GiB), (off_t)(offset + at));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += (uint64_t)n;
    }
    return 0;
}

void boot_part_read(void *opaque, uint64_t offset, void *buf, size_t n)
{
    const struct boot_part *part = opaque;

    if (offset > part->size || n > part->size - offset ||
        read_exact(part->fd, buf, n, part->offset + offset) < 0)
        memset(buf, 0, n);
}

int boot_identify(const struct boot_image *image, char *err, size_t err_size)
{
    if (multiboot_find(image) >= 0)
        return BOOT_MULTIBOOT;
    if (image->size > 0x206 && memcmp(image->data + 0x202, "HdrS", 4) == 0)
        return BOOT_BZIMAGE;
    if (elf64_is(image->data, image->size))
        return elf64_pvh_entry(image->data, image->size, NULL) ? BOOT_PVH : BOOT_ELF64;
    if (image->size > 4 && memcmp(image->data, ELFMAG, SELFMAG) == 0)
        snprintf(err, err_size, "it is an ELF file, but neither a 64-bit x86 kernel nor Multiboot");
    else if (image->size < 1024)
        snprintf(err, err_size, "it is cut off (%zu bytes)", image->size);
    else
        snprintf(err, err_size, "it is no bzImage, ELF vmlinux or Multiboot kernel");
    return -ENOEXEC;
}

/* Not malloc: memory of this size would stay with the process afterwards. */
static uint8_t *alloc_file(size_t size)
{
    void *p = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static void free_file(uint8_t *data, size_t size)
{
    if (data)
        munmap(data, size + 1);
}

/* Reads the kernel file into memory of our own, for free_file. */
static int read_kernel(const struct boot_source *s, uint8_t **data, size_t *size, char *err,
                       size_t err_size)
{
    struct stat st;
    int rc = fstat(s->fd, &st) < 0 ? -errno : 0;

    if (rc == 0 && (uint64_t)st.st_size > MAX_KERNEL_FILE) {
        snprintf(err, err_size, "the kernel '%s' is larger than 1 GiB; is it a disk image?",
                 s->path);
        return -EFBIG;
    }
    *size = (size_t)st.st_size;
    *data = rc == 0 ? alloc_file(*size) : NULL;
    if (rc == 0)
        rc = *data ? read_exact(s->fd, *data, *size, 0) : -ENOMEM;
    if (rc != 0) {
        snprintf(err, err_size, "cannot read the kernel '%s': %s", s->path, strerror(-rc));
        free_file(*data, *size);
        *data = NULL;
    }
    return rc;
}

static int identify_file(struct boot_source *s, char *err, size_t err_size)
{
    char why[160];
    size_t size, setup = 0;
    uint8_t *data;
    int rc = read_kernel(s, &data, &size, err, err_size);

    if (rc != 0)
        return rc;
    rc = boot_identify(&(struct boot_image){ data, size }, why, sizeof(why));
    if (rc == BOOT_BZIMAGE)
        setup = MIN((data[0x1f1] ? data[0x1f1] + 1u : 5u) * 512u, size);
    free_file(data, size);
    if (rc < 0) {
        snprintf(err, err_size, "cannot boot '%s': %s", s->path, why);
        return rc;
    }
    s->setup = (struct boot_part){ s->fd, 0, setup };
    s->kernel = (struct boot_part){ s->fd, setup, size - setup };
    s->kind = (enum boot_kind)rc;
    return 0;
}

/* One "path arguments" of --initrd. */
static int add_module(struct boot_source *s, const char *spec, size_t len, char *err,
                      size_t err_size)
{
    struct boot_module *m = &s->modules[s->nmodules];
    const char *space = s->kind == BOOT_MULTIBOOT ? memchr(spec, ' ', len) : NULL;

    if (s->nmodules == BOOT_MAX_MODULES) {
        snprintf(err, err_size, "more than %d modules in --initrd", BOOT_MAX_MODULES);
        return -E2BIG;
    }
    m->cmdline = strndup(spec, len);
    m->path = strndup(spec, space ? (size_t)(space - spec) : len);
    if (!m->cmdline || !m->path) {
        snprintf(err, err_size, "out of memory");
        free(m->cmdline);
        free(m->path);
        return -ENOMEM;
    }
    s->nmodules++;
    m->fd = open_file(m->path, s->kind == BOOT_MULTIBOOT ? "module" : "initrd", &m->size, err,
                      err_size);
    if (m->fd < 0)
        return m->fd;
    m->part = (struct boot_part){ m->fd, 0, m->size };
    return 0;
}

/* Linux takes one file, whose name may hold any character. */
static int open_modules(struct boot_source *s, const char *initrd, char *err, size_t err_size)
{
    int rc = 0;

    if (s->kind != BOOT_MULTIBOOT)
        return add_module(s, initrd, strlen(initrd), err, err_size);
    while (rc == 0 && *initrd) {
        size_t len = strcspn(initrd, ",");

        if (len)
            rc = add_module(s, initrd, len, err, err_size);
        initrd += len;
        initrd += *initrd == ',';
    }
    return rc;
}

int boot_open(struct boot_source **out, const char *kernel, const char *initrd,
              const char *append, char *err, size_t err_size)
{
    struct boot_source *s = calloc(1, sizeof(*s));
    uint64_t size;
    int rc = -ENOMEM;

    if (!s || !(s->path = strdup(kernel)) || !(s->cmdline = strdup(append ? append : ""))) {
        snprintf(err, err_size, "out of memory");
        goto fail;
    }
    if (strlen(s->cmdline) >= BOOT_MAX_CMDLINE) {
        snprintf(err, err_size, "the command line (--append) is longer than %u bytes",
                 BOOT_MAX_CMDLINE - 1);
        rc = -E2BIG;
        goto fail;
    }
    rc = s->fd = open_file(kernel, "kernel", &size, err, err_size);
    if (rc >= 0)
        rc = identify_file(s, err, err_size);
    if (rc >= 0 && initrd)
        rc = open_modules(s, initrd, err, err_size);
    if (rc < 0)
        goto fail;
    *out = s;
    return 0;
fail:
    boot_close(s);
    return rc;
}

void boot_close(struct boot_source *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->nmodules; i++) {
        if (s->modules[i].fd >= 0)
            close(s->modules[i].fd);
        free(s->modules[i].path);
        free(s->modules[i].cmdline);
    }
    if (s->fd > 0)
        close(s->fd);
    free(s->path);
    free(s->cmdline);
    free(s);
}

int boot_read_module(const struct boot_context *c, const struct boot_module *m, uint64_t gpa)
{
    void *to = mem_get(c->mem, gpa, m->size, true);
    int rc = to ? read_exact(m->fd, to, m->size, 0) : -EFAULT;

    if (rc < 0) {
        snprintf(c->err, c->err_size, "cannot read '%s': %s", m->path, strerror(-rc));
        return rc;
    }
    mem_written(c->mem, gpa, m->size);
    return 0;
}

int boot_load(const struct boot_source *source, struct mem *mem, const struct ram_map *map,
              uint64_t rsdp, struct vcpu_state *bsp, char *err, size_t err_size)
{
    static int (*const loaders[])(const struct boot_context *, struct vcpu_state *) = {
        [BOOT_BZIMAGE] = load_bzimage,
        [BOOT_ELF64] = load_elf64,
        [BOOT_PVH] = load_pvh,
        [BOOT_MULTIBOOT] = load_multiboot,
    };
    char why[192];
    struct boot_context c = { .source = source, .mem = mem, .map = map, .rsdp = rsdp,
                              .err = why, .err_size = sizeof(why) };
    uint8_t *data;
    size_t size;
    int rc = read_kernel(source, &data, &size, err, err_size);

    if (rc != 0)
        return rc;
    c.image = (struct boot_image){ data, size };
    /* The file may have changed since it was identified. */
    rc = boot_identify(&c.image, why, sizeof(why));
    if (rc >= 0 && rc != (int)source->kind)
        rc = boot_fail(&c, "the file has changed meanwhile");
    if (rc >= 0)
        rc = loaders[source->kind](&c, bsp);
    if (rc < 0)
        snprintf(err, err_size, "cannot boot '%s': %s", source->path, why);
    free_file(data, size);
    return rc;
}
