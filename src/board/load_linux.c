/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux by its x86 boot protocol (Documentation/x86/boot.rst in the kernel's
 * source): bzImage through the 64-bit entry, or the 32-bit one of kernels
 * without it, and vmlinux (ELF64), which is entered like the former.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "board/boot.h"
#include "board/elf_file.h"
#include "board/entry.h"
#include "board/load.h"

/* Offsets in the zero page and, from 0x1f1 on, in the file ("The Real-Mode
 * Kernel Header", zero-page.rst). */
enum {
    BP_ACPI_RSDP = 0x070,
    BP_E820_ENTRIES = 0x1e8,
    BP_SETUP_SECTS = 0x1f1,
    BP_SYSSIZE = 0x1f4,
    BP_BOOT_FLAG = 0x1fe,
    BP_JUMP_LENGTH = 0x201,
    BP_HEADER = 0x202,
    BP_VERSION = 0x206,
    BP_TYPE_OF_LOADER = 0x210,
    BP_LOADFLAGS = 0x211,
    BP_RAMDISK_IMAGE = 0x218,
    BP_RAMDISK_SIZE = 0x21c,
    BP_CMD_LINE_PTR = 0x228,
    BP_INITRD_ADDR_MAX = 0x22c,
    BP_KERNEL_ALIGNMENT = 0x230,
    BP_RELOCATABLE = 0x234,
    BP_XLOADFLAGS = 0x236,
    BP_CMDLINE_SIZE = 0x238,
    BP_PREF_ADDRESS = 0x258,
    BP_INIT_SIZE = 0x260,
    BP_HEADER_MAX = 0x290,
    BP_E820_TABLE = 0x2d0,
    BP_SIZE = 0x1000,
};
#define LOADED_HIGH 0x01u
#define XLF_KERNEL_64 0x0001u
#define LOADER_UNDEFINED 0xffu
#define OLD_CMDLINE_MAX 255u       /* before 2.06 */
#define ENTRY_64_OFFSET 0x200u
#define HIGH_LOAD 0x100000u        /* of a kernel that cannot be moved */
#define MAX_ALIGNMENT (16 * MiB)

static uint32_t get(const uint8_t *p, unsigned offset, unsigned size)
{
    uint32_t v = 0;

    memcpy(&v, p + offset, size);
    return v;
}

static void put(uint8_t *p, unsigned offset, uint64_t v, unsigned size)
{
    memcpy(p + offset, &v, size);
}

/* What the header says, checked. */
struct linux_header {
    unsigned version;
    uint32_t setup_size;     /* bytes of the file before the protected-mode part */
    uint64_t payload;        /* bytes of that part */
    uint64_t init_size, pref_address;
    uint32_t alignment, initrd_max, cmdline_max;
    bool relocatable, entry64;
};

static int parse_header(const struct boot_context *c, struct linux_header *h)
{
    const uint8_t *p = c->image.data;
    uint32_t sects;

    if (c->image.size < BP_HEADER_MAX || get(p, BP_BOOT_FLAG, 2) != 0xaa55)
        return boot_fail(c, "the bzImage header is damaged or cut off");
    sects = get(p, BP_SETUP_SECTS, 1);
    *h = (struct linux_header){ .version = get(p, BP_VERSION, 2) };
    h->setup_size = ((sects ? sects : 4) + 1) * 512;
    if (h->version < 0x204 || !(get(p, BP_LOADFLAGS, 1) & LOADED_HIGH))
        return boot_fail(c, "boot protocol %u.%02u is too old; 2.04 and a bzImage are needed",
                         h->version >> 8, h->version & 0xff);
    if (c->image.size <= h->setup_size ||
        c->image.size - h->setup_size < 16ULL * get(p, BP_SYSSIZE, 4))
        return boot_fail(c, "it is cut off (%zu bytes, its header says %llu)", c->image.size,
                         h->setup_size + 16ULL * get(p, BP_SYSSIZE, 4));
    h->payload = c->image.size - h->setup_size;
    h->initrd_max = get(p, BP_INITRD_ADDR_MAX, 4);
    h->alignment = h->version >= 0x205 ? get(p, BP_KERNEL_ALIGNMENT, 4) : 0;
    h->relocatable = h->version >= 0x205 && get(p, BP_RELOCATABLE, 1);
    h->cmdline_max = h->version >= 0x206 ? get(p, BP_CMDLINE_SIZE, 4) : OLD_CMDLINE_MAX;
    h->pref_address = HIGH_LOAD;
    if (h->version >= 0x20a) {
        memcpy(&h->pref_address, p + BP_PREF_ADDRESS, 8);
        h->init_size = get(p, BP_INIT_SIZE, 4);
    }
    h->entry64 = h->version >= 0x20c && get(p, BP_XLOADFLAGS, 2) & XLF_KERNEL_64;
    h->init_size = MAX(h->init_size, h->payload);
    return 0;
}

/* Where the protected-mode part goes; it runs in place there and unpacks
 * itself within init_size bytes. */
static int place_kernel(const struct boot_context *c, const struct linux_header *h, uint64_t *gpa)
{
    uint64_t align = h->alignment;

    *gpa = h->pref_address;
    if (*gpa >= HIGH_LOAD && *gpa < 4 * GiB && ram_map_usable(c->map, *gpa, h->init_size))
        return 0;
    if (h->relocatable && align && !(align & (align - 1)) && align <= MAX_ALIGNMENT) {
        *gpa = align_up(HIGH_LOAD, align);
        if (ram_map_usable(c->map, *gpa, h->init_size))
            return 0;
    }
    return boot_fail(c, "it needs %llu MiB of memory; give the machine more with --memory",
                     (unsigned long long)((align_up(*gpa, MiB) + h->init_size) / MiB + 1));
}

int load_initrd(const struct boot_context *c, uint64_t kernel_end, uint64_t limit, uint64_t *gpa)
{
    const struct boot_module *m = &c->source->modules[0];
    uint64_t top = MIN(limit, c->map->below_4g);

    if (top < kernel_end || align_up(m->size, MEM_PAGE_SIZE) > top - kernel_end)
        return boot_fail(c, "no room for the initrd of %llu MiB; give the machine more --memory",
                         (unsigned long long)(m->size / MiB + 1));
    *gpa = align_down(top - m->size, MEM_PAGE_SIZE);
    /* Rounding down may reach into the kernel's last page. */
    if (*gpa < kernel_end)
        return boot_fail(c, "no room for the initrd; give the machine more --memory");
    return m->size ? boot_read_module(c, m, *gpa) : 0;
}

int load_cmdline(const struct boot_context *c, uint64_t max)
{
    const char *text = c->source->cmdline;
    size_t len = strlen(text);

    if (len > max)
        return boot_fail(c, "the kernel takes a command line of %llu bytes; --append has %zu",
                         (unsigned long long)max, len);
    return mem_write(c->mem, ENTRY_CMDLINE, text, len + 1);
}

/* The part of the zero page that does not come from the file. */
static int finish_zero_page(const struct boot_context *c, uint8_t *bp, uint64_t kernel_end,
                            uint64_t initrd_limit)
{
    uint64_t initrd = 0;
    int rc = 0;

    put(bp, BP_BOOT_FLAG, 0xaa55, 2);
    memcpy(bp + BP_HEADER, "HdrS", 4);
    put(bp, BP_TYPE_OF_LOADER, LOADER_UNDEFINED, 1);
    put(bp, BP_CMD_LINE_PTR, ENTRY_CMDLINE, 4);
    put(bp, BP_ACPI_RSDP, c->rsdp, 8);
    if (c->source->nmodules) {
        rc = load_initrd(c, kernel_end, initrd_limit, &initrd);
        put(bp, BP_RAMDISK_IMAGE, initrd, 4);
        put(bp, BP_RAMDISK_SIZE, c->source->modules[0].size, 4);
    }
    put(bp, BP_E820_ENTRIES, c->map->n, 1);
    memcpy(bp + BP_E820_TABLE, c->map->entries, c->map->n * sizeof(c->map->entries[0]));
    if (rc == 0)
        rc = mem_write(c->mem, ENTRY_BOOT_PARAMS, bp, BP_SIZE);
    return rc;
}

int load_bzimage(const struct boot_context *c, struct vcpu_state *bsp)
{
    uint8_t bp[BP_SIZE] = { 0 };
    struct linux_header h = { 0 };
    uint64_t gpa = 0, header_end;
    int rc = parse_header(c, &h);

    if (rc == 0)
        rc = place_kernel(c, &h, &gpa);
    if (rc == 0)
        rc = load_cmdline(c, MIN(h.cmdline_max, BOOT_MAX_CMDLINE - 1));
    if (rc < 0)
        return rc;
    /* The header ends where its first jump goes. */
    header_end = MIN(BP_HEADER + get(c->image.data, BP_JUMP_LENGTH, 1), (unsigned)BP_HEADER_MAX);
    memcpy(bp + BP_SETUP_SECTS, c->image.data + BP_SETUP_SECTS, header_end - BP_SETUP_SECTS);
    rc = mem_write(c->mem, gpa, c->image.data + h.setup_size, h.payload);
    if (rc == 0)
        rc = finish_zero_page(c, bp, gpa + h.init_size, h.initrd_max + 1ULL);
    if (rc < 0)
        return rc;
    bsp->gpr[CPU_RSI] = ENTRY_BOOT_PARAMS;
    if (h.entry64)
        return entry_long(bsp, c->mem, gpa + ENTRY_64_OFFSET);
    return entry_protected(bsp, c->mem, (uint32_t)gpa);
}

int load_elf64(const struct boot_context *c, struct vcpu_state *bsp)
{
    uint8_t bp[BP_SIZE] = { 0 };
    uint64_t end, entry;
    int rc = load_segments(c, ENTRY_LOW_END, &end, &entry);

    if (rc == 0)
        rc = load_cmdline(c, 2047);
    if (rc == 0)
        rc = finish_zero_page(c, bp, end, 0x80000000ULL);
    if (rc < 0)
        return rc;
    bsp->gpr[CPU_RSI] = ENTRY_BOOT_PARAMS;
    return entry_long(bsp, c->mem, entry);
}
