/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel files.  The first byte chooses what goes with the kernel: bits 0 and
 * 1 the number of initrds or modules, bit 2 a command line, bit 3 more memory.
 * What loads must be entered in memory.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "board/boot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct machine {
    struct mem *mem;
    struct ram_map map;
} machines[2];
static int kernel_fd, initrd_fd;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const uint64_t sizes[] = { 4 * MiB, 24 * MiB };
    char err[128];

    (void)argc;
    (void)argv;
    for (unsigned i = 0; i < 2; i++) {
        struct machine *m = &machines[i];

        assert(mem_create(&m->mem, sizes[i], err, sizeof(err)) == 0);
        ram_map_init(&m->map, sizes[i]);
        assert(ram_map_add_slots(&m->map, m->mem) == 0);
    }
    kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
    initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
    assert(ftruncate(initrd_fd, 10000) == 0);
    return 0;
}

static void load(const struct boot_source *source, struct machine *m)
{
    struct vcpu_state bsp;
    uint8_t bytes[64];
    char err[320] = "";
    int rc;

    vcpu_state_reset(&bsp, 0, true, false);
    rc = boot_load(source, m->mem, &m->map, 0xe0000, &bsp, err, sizeof(err));
    assert(rc == 0 || (*err && !strchr(err, '\n')));
    if (rc == 0)
        assert(mem_find(m->mem, bsp.rip));
    boot_part_read((void *)(uintptr_t)&source->kernel, 0, bytes, sizeof(bytes));
    boot_part_read((void *)(uintptr_t)&source->setup, 500, bytes, sizeof(bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const appends[] = { NULL, "console=ttyS0 quiet" };
    char kernel[32], module[32], initrd[140] = "", err[320] = "";
    struct boot_source *source;
    unsigned what;
    int rc;

    if (n < 1)
        return 0;
    what = data[0];
    snprintf(kernel, sizeof(kernel), "/proc/self/fd/%d", kernel_fd);
    snprintf(module, sizeof(module), "/proc/self/fd/%d", initrd_fd);
    for (unsigned i = 0; i < (what & 3); i++)
        snprintf(initrd + strlen(initrd), sizeof(initrd) - strlen(initrd), "%s%s%s", i ? "," : "",
                 module, i ? " argument" : "");
    assert(ftruncate(kernel_fd, 0) == 0 && pwrite(kernel_fd, data + 1, n - 1, 0) == (ssize_t)n - 1);
    rc = boot_open(&source, kernel, *initrd ? initrd : NULL, appends[what >> 2 & 1], err,
                   sizeof(err));
    assert(rc == 0 || (*err && !strchr(err, '\n')));
    if (rc < 0)
        return 0;
    load(source, &machines[what >> 3 & 1]);
    boot_close(source);
    return 0;
}
