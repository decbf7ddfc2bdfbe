/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Direct boot: a kernel file, what goes with it, and the state in which the
 * bootstrap processor enters it.
 *
 * The kernel file is hostile: it is read once into our memory, and every
 * number in it is bounded before use.  Files stay open, so that a reset loads
 * them again without their paths.
 */
#ifndef BOARD_BOOT_H
#define BOARD_BOOT_H

#include <stddef.h>
#include <stdint.h>

#include "board/ram_map.h"
#include "cpu/state.h"
#include "mem/mem.h"

#define BOOT_MAX_MODULES 32
#define BOOT_MAX_CMDLINE 65536u

enum boot_kind { BOOT_BZIMAGE, BOOT_ELF64, BOOT_PVH, BOOT_MULTIBOOT };

/* Bytes of an open file, for fw_cfg, which reads them when the guest asks: a
 * mapping would kill the process by SIGBUS should someone cut the file off. */
struct boot_part {
    int fd;
    uint64_t offset, size;
};

struct boot_module {
    int fd;
    uint64_t size;
    struct boot_part part;
    char *path;
    char *cmdline;      /* Multiboot: path and arguments */
};

struct boot_source {
    int fd;
    char *path;
    enum boot_kind kind;
    /* bzImage: its real-mode part, and the rest; else an empty one, and all. */
    struct boot_part setup, kernel;
    char *cmdline;      /* never NULL */
    struct boot_module modules[BOOT_MAX_MODULES];   /* Linux: at most one */
    unsigned nmodules;
};

/* A kernel file in our memory. */
struct boot_image {
    const uint8_t *data;
    size_t size;
};

/* What a loader works with.  Messages are whole sentences for the user. */
struct boot_context {
    const struct boot_source *source;
    struct boot_image image;
    struct mem *mem;
    const struct ram_map *map;
    uint64_t rsdp;      /* gpa of the ACPI root pointer */
    char *err;
    size_t err_size;
};

/* Opens the files and finds out what kind of kernel it is.  initrd (one
 * path; for Multiboot "file args,file args") and append may be NULL.
 * Returns 0 or a negative errno with a message in err. */
int boot_open(struct boot_source **source, const char *kernel, const char *initrd,
              const char *append, char *err, size_t err_size);
void boot_close(struct boot_source *source);
/* A fw_cfg_read_fn of a struct boot_part; zeros if the file got shorter. */
void boot_part_read(void *part, uint64_t offset, void *buf, size_t n);

/* Puts all into guest memory and makes the entry state in *bsp, which was
 * reset before.  Returns 0 or a negative errno with a message in err. */
int boot_load(const struct boot_source *source, struct mem *mem, const struct ram_map *map,
              uint64_t rsdp, struct vcpu_state *bsp, char *err, size_t err_size);

/* Returns the kind, or -ENOEXEC with a message. */
int boot_identify(const struct boot_image *image, char *err, size_t err_size);

/* The loaders, one for each kind; also for unit tests. */
int load_bzimage(const struct boot_context *c, struct vcpu_state *bsp);
int load_elf64(const struct boot_context *c, struct vcpu_state *bsp);
int load_pvh(const struct boot_context *c, struct vcpu_state *bsp);
int load_multiboot(const struct boot_context *c, struct vcpu_state *bsp);

/* For the loaders: a formatted message in c->err; returns -ENOEXEC. */
int boot_fail(const struct boot_context *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Is it multiboot?  The header's offset, or -1. */
long multiboot_find(const struct boot_image *image);
/* Copies a module's file to gpa, which was found usable. */
int boot_read_module(const struct boot_context *c, const struct boot_module *m, uint64_t gpa);

#endif
