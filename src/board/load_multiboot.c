/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot Specification 0.6.96: kernels in ELF32 or ELF64 files, or in any
 * file whose header gives the addresses (the a.out kludge).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "board/boot.h"
#include "board/elf_file.h"
#include "board/entry.h"
#include "board/load.h"

/* 3.1.1, 3.1.2 */
#define MB_MAGIC 0x1badb002u
#define MB_SEARCH 8192u
#define MB_MEMORY_INFO (1u << 1)
#define MB_VIDEO (1u << 2)
#define MB_ADDRESSES (1u << 16)
#define MB_REQUIRED 0xffffu
struct multiboot_header {
    uint32_t magic, flags, checksum;
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};
#define MB_SHORT_HEADER 12u   /* without the addresses */

/* 3.3 */
#define MB_LOADER_MAGIC 0x2badb002u
#define MBI_MEMORY (1u << 0)
#define MBI_BOOT_DEVICE (1u << 1)
#define MBI_CMDLINE (1u << 2)
#define MBI_MODULES (1u << 3)
#define MBI_MEM_MAP (1u << 6)
#define MBI_LOADER_NAME (1u << 9)
struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
    uint32_t mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
    uint32_t drives_length, drives_addr, config_table, boot_loader_name, apm_table;
    uint8_t vbe[16];
};
struct multiboot_module {
    uint32_t start, end, string, reserved;
};
struct multiboot_mmap {
    uint32_t size;
    uint64_t addr, len;
    uint32_t type;
} __attribute__((packed));

/* What we tell the kernel, but for the strings, which follow it. */
struct info_block {
    struct multiboot_info info;
    struct multiboot_module modules[BOOT_MAX_MODULES];
    struct multiboot_mmap mmap[ARRAY_SIZE(((struct ram_map *)0)->entries)];
    char loader[16];
};
#define INFO_LOW 0x9000u          /* where other loaders have it */
#define KERNEL_LOW 0x1000u        /* below: vectors, BIOS data, our GDT */

long multiboot_find(const struct boot_image *image)
{
    size_t end = MIN(image->size, (size_t)MB_SEARCH);

    for (size_t at = 0; at + MB_SHORT_HEADER <= end; at += 4) {
        uint32_t h[3];

        memcpy(h, image->data + at, sizeof(h));
        if (h[0] == MB_MAGIC && h[0] + h[1] + h[2] == 0)
            return (long)at;
    }
    return -1;
}

/* The a.out kludge (3.1.3). */
static int load_addresses(const struct boot_context *c, const struct multiboot_header *h,
                          uint64_t at, uint64_t *end, uint64_t *entry)
{
    uint64_t offset, len, bss_end;
    int rc;

    if (h->header_addr < h->load_addr || h->header_addr - h->load_addr > at)
        return boot_fail(c, "the address fields of its Multiboot header are wrong");
    offset = at - (h->header_addr - h->load_addr);
    len = c->image.size - offset;
    if (h->load_end_addr) {
        if (h->load_end_addr < h->load_addr || h->load_end_addr - h->load_addr > len)
            return boot_fail(c, "its Multiboot header asks for more than the file has");
        len = h->load_end_addr - h->load_addr;
    }
    bss_end = MAX(h->load_addr + len, (uint64_t)h->bss_end_addr);
    if (h->load_addr < KERNEL_LOW || !ram_map_usable(c->map, h->load_addr, bss_end - h->load_addr))
        return boot_fail(c, "0x%x to 0x%llx is not free memory; is --memory large enough?",
                         h->load_addr, (unsigned long long)bss_end);
    if (h->entry_addr < h->load_addr || h->entry_addr >= bss_end)
        return boot_fail(c, "its entry point 0x%x is outside of the image", h->entry_addr);
    rc = mem_write(c->mem, h->load_addr, c->image.data + offset, len);
    if (rc == 0)
        rc = mem_fill(c->mem, h->load_addr + len, 0, bss_end - h->load_addr - len);
    *end = bss_end;
    *entry = h->entry_addr;
    return rc;
}

static int load_kernel(const struct boot_context *c, uint64_t *end, uint64_t *entry)
{
    long at = multiboot_find(&c->image);
    struct multiboot_header h = { 0 };
    int rc;

    if (at < 0)
        return boot_fail(c, "it has no Multiboot header");
    memcpy(&h, c->image.data + at, MIN(sizeof(h), c->image.size - (size_t)at));
    if (h.flags & MB_REQUIRED & ~(1u | MB_MEMORY_INFO | MB_VIDEO))
        return boot_fail(c, "it needs Multiboot features 0x%x, which do not exist",
                         h.flags & MB_REQUIRED);
    if (h.flags & MB_ADDRESSES) {
        if ((size_t)at + sizeof(h) > c->image.size)
            return boot_fail(c, "it is cut off");
        return load_addresses(c, &h, (uint64_t)at, end, entry);
    }
    if (!elf32_is(c->image.data, c->image.size) && !elf64_is(c->image.data, c->image.size))
        return boot_fail(c, "it is neither ELF nor does its Multiboot header give addresses");
    rc = load_segments(c, KERNEL_LOW, end, entry);
    if (rc == 0 && *entry > UINT32_MAX)
        return boot_fail(c, "its entry point 0x%llx is above 4 GiB", (unsigned long long)*entry);
    return rc;
}

/* Modules on pages after the kernel, or above 1 MiB if that is low. */
static int load_modules(const struct boot_context *c, struct info_block *b, uint64_t *end)
{
    uint64_t at = align_up(MAX(*end, MiB), MEM_PAGE_SIZE);

    for (unsigned i = 0; i < c->source->nmodules; i++) {
        const struct boot_module *m = &c->source->modules[i];
        int rc;

        if (at >= c->map->below_4g || m->size > c->map->below_4g - at)
            return boot_fail(c, "no room for the module '%s'; give the machine more --memory",
                             m->path);
        rc = m->size ? boot_read_module(c, m, at) : 0;
        if (rc < 0)
            return rc;
        b->modules[i].start = (uint32_t)at;
        b->modules[i].end = (uint32_t)(at + m->size);
        at = align_up(at + m->size, MEM_PAGE_SIZE);
    }
    *end = at;
    return 0;
}

/* Does a segment or the address range of the kernel touch low memory? */
static bool kernel_is_low(const struct boot_context *c)
{
    struct elf_segment seg;
    bool bad;

    if (!elf32_is(c->image.data, c->image.size) && !elf64_is(c->image.data, c->image.size))
        return true;
    for (unsigned n = 0; elf_segment(c->image.data, c->image.size, n, &seg, &bad); n++)
        if (seg.paddr < RAM_LOW_END)
            return true;
    return false;
}

/* One string after the info block; *at moves past it. */
static int put_string(const struct boot_context *c, const char *s, uint64_t *at, uint32_t *gpa)
{
    size_t len = strlen(s) + 1;

    if (!ram_map_usable(c->map, *at, len))
        return boot_fail(c, "no room for its command lines");
    *gpa = (uint32_t)*at;
    *at += len;
    return mem_write(c->mem, *gpa, s, len);
}

/* "kernel path, then arguments", as other loaders give it. */
static int put_cmdline(const struct boot_context *c, uint64_t *at, uint32_t *gpa)
{
    char line[BOOT_MAX_CMDLINE + 512];

    snprintf(line, sizeof(line), "%.500s%s%s", c->source->path, *c->source->cmdline ? " " : "",
             c->source->cmdline);
    return put_string(c, line, at, gpa);
}

static void fill_info(const struct boot_context *c, struct info_block *b, uint32_t gpa)
{
    b->info.flags = MBI_MEMORY | MBI_BOOT_DEVICE | MBI_CMDLINE | MBI_MODULES | MBI_MEM_MAP |
                    MBI_LOADER_NAME;
    b->info.mem_lower = (uint32_t)(RAM_EBDA / KiB);
    b->info.mem_upper = (uint32_t)((c->map->below_4g - MiB) / KiB);
    b->info.boot_device = 0xffffffffu;   /* none */
    b->info.mods_count = c->source->nmodules;
    b->info.mods_addr = gpa + offsetof(struct info_block, modules);
    b->info.mmap_addr = gpa + offsetof(struct info_block, mmap);
    b->info.mmap_length = c->map->n * (uint32_t)sizeof(b->mmap[0]);
    b->info.boot_loader_name = gpa + offsetof(struct info_block, loader);
    snprintf(b->loader, sizeof(b->loader), "bulkhead");
    for (unsigned i = 0; i < c->map->n; i++)
        b->mmap[i] = (struct multiboot_mmap){ sizeof(b->mmap[0]) - 4, c->map->entries[i].addr,
                                              c->map->entries[i].size, c->map->entries[i].type };
}

int load_multiboot(const struct boot_context *c, struct vcpu_state *bsp)
{
    struct info_block b = { 0 };
    uint64_t end, entry, gpa, at;
    int rc = load_kernel(c, &end, &entry);

    if (rc == 0)
        rc = load_modules(c, &b, &end);
    if (rc < 0)
        return rc;
    gpa = kernel_is_low(c) ? end : INFO_LOW;
    at = gpa + sizeof(b);
    fill_info(c, &b, (uint32_t)gpa);
    rc = put_cmdline(c, &at, &b.info.cmdline);
    for (unsigned i = 0; i < c->source->nmodules && rc == 0; i++)
        rc = put_string(c, c->source->modules[i].cmdline, &at, &b.modules[i].string);
    if (rc == 0 && !ram_map_usable(c->map, gpa, sizeof(b)))
        rc = boot_fail(c, "no room for the Multiboot information");
    if (rc == 0)
        rc = mem_write(c->mem, gpa, &b, sizeof(b));
    if (rc < 0)
        return rc;
    bsp->gpr[CPU_RAX] = MB_LOADER_MAGIC;
    bsp->gpr[CPU_RBX] = gpa;
    return entry_protected(bsp, c->mem, (uint32_t)entry);
}
