/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loading of Linux: bzImage, vmlinux, PVH; and of what is not one. */
#include "boot_fixture.h"

#include "x86/x86.h"

#include <elf.h> /* after x86.h: both have a PF_W */

#include "board/entry.h"

#define SETUP_SECTS 2u
#define SETUP_SIZE ((SETUP_SECTS + 1) * 512)
#define PAYLOAD 4096u
#define BZ_SIZE (SETUP_SIZE + PAYLOAD)

static void put(uint8_t *p, unsigned at, uint64_t v, unsigned size)
{
    memcpy(p + at, &v, size);
}

/* A relocatable 64-bit kernel of protocol 2.15. */
static void make_bzimage(uint8_t *p)
{
    memset(p, 0, BZ_SIZE);
    put(p, 0x1f1, SETUP_SECTS, 1);
    put(p, 0x1f4, PAYLOAD / 16, 4);
    put(p, 0x1fe, 0xaa55, 2);
    put(p, 0x200, 0x66eb, 2);          /* jump over the header */
    memcpy(p + 0x202, "HdrS", 4);
    put(p, 0x206, 0x020f, 2);
    put(p, 0x211, 1, 1);               /* LOADED_HIGH */
    put(p, 0x22c, 0x7fffffff, 4);
    put(p, 0x230, 0x200000, 4);
    put(p, 0x234, 1, 1);
    put(p, 0x236, 1, 2);               /* XLF_KERNEL_64 */
    put(p, 0x238, 2047, 4);
    put(p, 0x258, 0x1000000, 8);
    put(p, 0x260, 0x800000, 4);
    memset(p + SETUP_SIZE, 0x90, PAYLOAD);
}

static void check_long_entry(const struct boot_fixture *f, uint64_t rip)
{
    assert_int_equal(f->bsp.rip, rip);
    assert_int_equal(f->bsp.efer, EFER_LME | EFER_LMA);
    assert_int_equal(f->bsp.cr0, CR0_PE | CR0_ET | CR0_PG);
    assert_int_equal(f->bsp.cr4, CR4_PAE);
    assert_int_equal(f->bsp.rflags & X86_IF, 0);
    assert_int_equal(f->bsp.seg[SEG_CS].selector, 0x10);
    assert_int_equal(f->bsp.seg[SEG_SS].selector, 0x18);
    assert_true(f->bsp.seg[SEG_CS].attr & SEG_ATTR_L);
    assert_int_equal(f->bsp.gpr[CPU_RSI], ENTRY_BOOT_PARAMS);
}

static void test_bzimage(void **state)
{
    struct boot_fixture *f = *state;
    uint8_t image[BZ_SIZE];
    char text[16];

    make_bzimage(image);
    assert_int_equal(boot_try(f, image, sizeof(image), NULL, "console=ttyS0"), 0);
    check_long_entry(f, 0x1000200);
    assert_int_equal(boot_peek(f, 0x1000000, 4), 0x90909090);
    assert_int_equal(boot_peek(f, 0x1000000 + PAYLOAD - 1, 2), 0x90);
    /* The zero page. */
    assert_int_equal(boot_peek(f, ENTRY_BOOT_PARAMS + 0x202, 4), 0x53726448);
    assert_int_equal(boot_peek(f, ENTRY_BOOT_PARAMS + 0x210, 1), 0xff);
    assert_int_equal(boot_peek(f, ENTRY_BOOT_PARAMS + 0x070, 8), BOOT_RSDP);
    assert_int_equal(boot_peek(f, ENTRY_BOOT_PARAMS + 0x228, 4), ENTRY_CMDLINE);
    assert_int_equal(boot_peek(f, ENTRY_BOOT_PARAMS + 0x1e8, 1), f->map.n);
    assert_int_equal(boot_peek(f, ENTRY_BOOT_PARAMS + 0x2d0 + 8, 8), RAM_EBDA);
    assert_int_equal(boot_peek(f, ENTRY_BOOT_PARAMS + 0x218, 8), 0);
    assert_int_equal(mem_read(f->mem, ENTRY_CMDLINE, text, 14), 0);
    assert_string_equal(text, "console=ttyS0");
    /* Page tables: virtual 3 GiB + 2 MiB to itself. */
    assert_int_equal(boot_peek(f, f->bsp.cr3, 8) & MEM_PAGE_MASK, f->bsp.cr3 + 0x1000);
    assert_int_equal(boot_peek(f, f->bsp.cr3 + 0x1000 + 24, 8) & MEM_PAGE_MASK,
                     f->bsp.cr3 + 0x5000);
    assert_int_equal(boot_peek(f, f->bsp.cr3 + 0x5000 + 8, 8), 0xc0200083);
}

static void test_bzimage_initrd(void **state)
{
    struct boot_fixture *f = *state;
    uint8_t image[BZ_SIZE], initrd[5000];
    uint64_t at;

    make_bzimage(image);
    memset(initrd, 0xab, sizeof(initrd));
    boot_put_file(f->initrd, initrd, sizeof(initrd));
    assert_int_equal(boot_try(f, image, sizeof(image), f->initrd, NULL), 0);
    at = boot_peek(f, ENTRY_BOOT_PARAMS + 0x218, 4);
    assert_int_equal(at, BOOT_MEMORY - 8192);
    assert_int_equal(boot_peek(f, ENTRY_BOOT_PARAMS + 0x21c, 4), sizeof(initrd));
    assert_int_equal(boot_peek(f, at + sizeof(initrd) - 1, 2), 0xab);
    /* The kernel's limit counts. */
    put(image, 0x22c, 0x1ffffff, 4);
    assert_int_equal(boot_try(f, image, sizeof(image), f->initrd, NULL), 0);
    assert_int_equal(boot_peek(f, ENTRY_BOOT_PARAMS + 0x218, 4), 0x2000000 - 8192);
    /* No room between kernel and limit. */
    put(image, 0x22c, 0x1800fff, 4);
    assert_int_equal(boot_try(f, image, sizeof(image), f->initrd, NULL), -ENOEXEC);
    assert_non_null(strstr(f->err, "--memory"));
    assert_int_equal(boot_try(f, image, sizeof(image), "/nonexistent", NULL), -ENOENT);
}

static void test_bzimage_placement(void **state)
{
    struct boot_fixture *f = *state;
    uint8_t image[BZ_SIZE];

    make_bzimage(image);
    /* Not at the preferred address: moved. */
    put(image, 0x258, 0x10000000, 8);
    assert_int_equal(boot_try(f, image, sizeof(image), NULL, NULL), 0);
    assert_int_equal(f->bsp.rip, 0x200200);
    /* Cannot be moved, or does not fit at all. */
    put(image, 0x234, 0, 1);
    assert_int_equal(boot_try(f, image, sizeof(image), NULL, NULL), -ENOEXEC);
    make_bzimage(image);
    put(image, 0x260, 0xf0000000, 4);
    assert_int_equal(boot_try(f, image, sizeof(image), NULL, NULL), -ENOEXEC);
    assert_non_null(strstr(f->err, "--memory"));
}

/* A kernel without the 64-bit entry goes in by the 32-bit one. */
static void test_bzimage_32(void **state)
{
    struct boot_fixture *f = *state;
    uint8_t image[BZ_SIZE];

    make_bzimage(image);
    put(image, 0x236, 0, 2);
    assert_int_equal(boot_try(f, image, sizeof(image), NULL, NULL), 0);
    assert_int_equal(f->bsp.rip, 0x1000000);
    assert_int_equal(f->bsp.cr0, CR0_PE | CR0_ET);
    assert_int_equal(f->bsp.efer, 0);
    assert_false(f->bsp.seg[SEG_CS].attr & SEG_ATTR_L);
    assert_true(f->bsp.seg[SEG_CS].attr & SEG_ATTR_DB);
}

static void test_bzimage_damaged(void **state)
{
    struct boot_fixture *f = *state;
    uint8_t image[BZ_SIZE];
    char append[3000];

    make_bzimage(image);
    assert_int_equal(boot_try(f, image, sizeof(image) - 1, NULL, NULL), -ENOEXEC);
    assert_non_null(strstr(f->err, "cut off"));
    assert_int_equal(boot_try(f, image, 0x210, NULL, NULL), -ENOEXEC);
    memset(append, 'a', sizeof(append));
    append[2999] = 0;
    assert_int_equal(boot_try(f, image, sizeof(image), NULL, append), -ENOEXEC);
    append[2047] = 0;
    assert_int_equal(boot_try(f, image, sizeof(image), NULL, append), 0);
    put(image, 0x206, 0x203, 2);
    assert_int_equal(boot_try(f, image, sizeof(image), NULL, NULL), -ENOEXEC);
    boot_fuzz(f, (make_bzimage(image), image), sizeof(image), 0x290, 600);
}

static void test_not_a_kernel(void **state)
{
    struct boot_fixture *f = *state;
    char zeros[4096] = { 0 };

    assert_int_equal(boot_try(f, zeros, sizeof(zeros), NULL, NULL), -ENOEXEC);
    assert_int_equal(boot_try(f, zeros, 0, NULL, NULL), -ENOEXEC);
    assert_int_equal(boot_try(f, "\177ELF\2\1\1", 8, NULL, NULL), -ENOEXEC);
}

/* ELF */

struct elf_file {
    Elf64_Ehdr h;
    Elf64_Phdr load, note;
    struct {
        Elf64_Nhdr h;
        char name[4];
        uint32_t entry;
    } pvh;
    uint8_t code[64];
};

static void make_elf(struct elf_file *e, bool pvh)
{
    *e = (struct elf_file){
        .h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 }, .e_type = ET_EXEC,
               .e_machine = EM_X86_64, .e_entry = 0xffffffff81000010, .e_phnum = pvh ? 2 : 1,
               .e_phoff = offsetof(struct elf_file, load), .e_phentsize = sizeof(Elf64_Phdr) },
        .load = { .p_type = PT_LOAD, .p_offset = offsetof(struct elf_file, code),
                  .p_vaddr = 0xffffffff81000000, .p_paddr = 0x1000000, .p_filesz = 64,
                  .p_memsz = 8192 },
        .note = { .p_type = PT_NOTE, .p_offset = offsetof(struct elf_file, pvh),
                  .p_filesz = sizeof(e->pvh) },
        .pvh = { .h = { 4, 4, 18 }, .name = "Xen", .entry = 0x1000020 },
    };
    memset(e->code, 0xcc, sizeof(e->code));
}

static void test_elf(void **state)
{
    struct boot_fixture *f = *state;
    struct elf_file e;

    make_elf(&e, false);
    mem_fill(f->mem, 0x1000000, 0xff, 0x3000);
    assert_int_equal(boot_try(f, &e, sizeof(e), NULL, "x"), 0);
    check_long_entry(f, 0x1000010);
    assert_int_equal(boot_peek(f, 0x100003f, 2), 0x00cc);
    assert_int_equal(boot_peek(f, 0x1001fff, 2), 0xff00);
}

static void test_pvh(void **state)
{
    struct boot_fixture *f = *state;
    uint64_t info, map, module;
    struct elf_file e;

    make_elf(&e, true);
    boot_put_file(f->initrd, "data", 4);
    assert_int_equal(boot_try(f, &e, sizeof(e), f->initrd, "x y"), 0);
    assert_int_equal(f->bsp.rip, 0x1000020);
    assert_int_equal(f->bsp.cr0, CR0_PE | CR0_ET);
    assert_int_equal(f->bsp.seg[SEG_TR].limit, 0x67);
    info = f->bsp.gpr[CPU_RBX];
    assert_int_equal(boot_peek(f, info, 4), 0x336ec578);
    assert_int_equal(boot_peek(f, info + 4, 4), 1);
    assert_int_equal(boot_peek(f, info + 12, 4), 1);
    module = boot_peek(f, info + 16, 8);
    assert_int_equal(boot_peek(f, boot_peek(f, module, 8), 4), 0x61746164);
    assert_int_equal(boot_peek(f, module + 8, 8), 4);
    assert_int_equal(boot_peek(f, boot_peek(f, info + 24, 8), 4), 0x792078);
    assert_int_equal(boot_peek(f, info + 32, 8), BOOT_RSDP);
    map = boot_peek(f, info + 40, 8);
    assert_int_equal(boot_peek(f, info + 48, 4), f->map.n);
    assert_int_equal(boot_peek(f, map + 8, 8), RAM_EBDA);
    assert_int_equal(boot_peek(f, map + 16, 4), E820_RAM);
}

static void test_elf_damaged(void **state)
{
    struct boot_fixture *f = *state;
    struct elf_file e;

    make_elf(&e, false);
    e.load.p_paddr = BOOT_MEMORY - 4096;
    assert_int_equal(boot_try(f, &e, sizeof(e), NULL, NULL), -ENOEXEC);
    e.load.p_paddr = 0x9000; /* where our tables are */
    assert_int_equal(boot_try(f, &e, sizeof(e), NULL, NULL), -ENOEXEC);
    make_elf(&e, false);
    assert_int_equal(boot_try(f, &e, offsetof(struct elf_file, code) + 63, NULL, NULL), -ENOEXEC);
    e.load.p_memsz = 1;
    assert_int_equal(boot_try(f, &e, sizeof(e), NULL, NULL), -ENOEXEC);
    e.load.p_type = PT_NULL;
    assert_int_equal(boot_try(f, &e, sizeof(e), NULL, NULL), -ENOEXEC);
    make_elf(&e, true);
    e.pvh.entry = 0xb0000;
    assert_int_equal(boot_try(f, &e, sizeof(e), NULL, NULL), -ENOEXEC);
    make_elf(&e, true);
    boot_fuzz(f, (const uint8_t *)&e, sizeof(e), offsetof(struct elf_file, code), 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bzimage, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_bzimage_initrd, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_bzimage_placement, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_bzimage_32, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_bzimage_damaged, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_not_a_kernel, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_elf, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_pvh, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_elf_damaged, boot_setup, boot_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
