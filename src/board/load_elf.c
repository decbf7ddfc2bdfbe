/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loading of ELF segments, and the PVH entry. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "board/boot.h"
#include "board/elf_file.h"
#include "board/entry.h"
#include "board/load.h"

static int load_segment(const struct boot_context *c, const struct elf_segment *seg,
                        uint64_t low_end)
{
    int rc;

    if (seg->paddr < low_end || !ram_map_usable(c->map, seg->paddr, seg->memsz))
        return boot_fail(c, "a segment of %llu KiB at address 0x%llx is not in free memory; "
                         "does the machine have enough --memory?",
                         (unsigned long long)(seg->memsz / KiB), (unsigned long long)seg->paddr);
    rc = mem_write(c->mem, seg->paddr, c->image.data + seg->offset, seg->filesz);
    if (rc == 0)
        rc = mem_fill(c->mem, seg->paddr + seg->filesz, 0, seg->memsz - seg->filesz);
    return rc < 0 ? boot_fail(c, "a segment at 0x%llx is not in memory",
                              (unsigned long long)seg->paddr) : 0;
}

int load_segments(const struct boot_context *c, uint64_t low_end, uint64_t *end, uint64_t *entry)
{
    const uint64_t start = elf_entry(c->image.data, c->image.size);
    struct elf_segment seg;
    unsigned n;
    bool bad, virtual = false;

    *end = 0;
    *entry = start;
    for (n = 0; elf_segment(c->image.data, c->image.size, n, &seg, &bad); n++) {
        int rc = load_segment(c, &seg, low_end);

        if (rc < 0)
            return rc;
        *end = MAX(*end, seg.paddr + seg.memsz);
        /* Many kernels give the entry as a virtual address. */
        if (!virtual && start - seg.vaddr < seg.memsz) {
            *entry = start - seg.vaddr + seg.paddr;
            virtual = true;
        }
    }
    if (bad)
        return boot_fail(c, "a segment lies outside of the file; it is damaged or cut off");
    if (n == 0)
        return boot_fail(c, "it has no loadable segment");
    if (!mem_find(c->mem, *entry))
        return boot_fail(c, "its entry point 0x%llx is not in memory", (unsigned long long)*entry);
    return 0;
}

/* xen/include/public/arch-x86/hvm/start_info.h */
#define PVH_MAGIC 0x336ec578u
struct pvh_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist, cmdline, rsdp, memmap;
    uint32_t memmap_entries, reserved;
};
struct pvh_module {
    uint64_t paddr, size, cmdline, reserved;
};
struct pvh_memmap {
    uint64_t addr, size;
    uint32_t type, reserved;
};
/* All of it in the page at ENTRY_PVH_INFO. */
struct pvh_page {
    struct pvh_start_info info;
    struct pvh_module module;
    struct pvh_memmap memmap[ARRAY_SIZE(((struct ram_map *)0)->entries)];
};

int load_pvh(const struct boot_context *c, struct vcpu_state *bsp)
{
    struct pvh_page page = {
        .info = { .magic = PVH_MAGIC, .version = 1, .rsdp = c->rsdp, .cmdline = ENTRY_CMDLINE,
                  .memmap = ENTRY_PVH_INFO + offsetof(struct pvh_page, memmap),
                  .memmap_entries = c->map->n, .nr_modules = c->source->nmodules,
                  .modlist = ENTRY_PVH_INFO + offsetof(struct pvh_page, module) },
    };
    uint64_t end, entry64;
    uint32_t entry = 0;
    int rc = load_segments(c, ENTRY_LOW_END, &end, &entry64);

    if (rc == 0)
        rc = load_cmdline(c, BOOT_MAX_CMDLINE - 1);
    if (rc == 0 && c->source->nmodules)
        rc = load_initrd(c, end, 4 * GiB, &page.module.paddr);
    if (rc < 0)
        return rc;
    page.module.size = c->source->nmodules ? c->source->modules[0].size : 0;
    for (unsigned i = 0; i < c->map->n; i++)
        page.memmap[i] = (struct pvh_memmap){ c->map->entries[i].addr, c->map->entries[i].size,
                                              c->map->entries[i].type, 0 };
    elf64_pvh_entry(c->image.data, c->image.size, &entry);
    if (!mem_find(c->mem, entry))
        return boot_fail(c, "its PVH entry point 0x%x is not in memory", entry);
    rc = mem_write(c->mem, ENTRY_PVH_INFO, &page, sizeof(page));
    bsp->gpr[CPU_RBX] = ENTRY_PVH_INFO;
    return rc < 0 ? rc : entry_protected(bsp, c->mem, entry);
}
