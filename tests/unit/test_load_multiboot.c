/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loading of Multiboot kernels: ELF32, ELF64, the a.out kludge; modules. */
#include "boot_fixture.h"

#include "x86/x86.h"

#include <elf.h> /* after x86.h: both have a PF_W */


#define MAGIC 0x1badb002u

struct header {
    uint32_t magic, flags, checksum;
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

static struct header header(uint32_t flags)
{
    return (struct header){ MAGIC, flags, -(MAGIC + flags), 0, 0, 0, 0, 0 };
}

struct elf32_file {
    Elf32_Ehdr h;
    Elf32_Phdr load;
    struct header mb;
    uint8_t code[64];
};

static void make_elf32(struct elf32_file *e, uint32_t paddr)
{
    *e = (struct elf32_file){
        .h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, 1 }, .e_type = ET_EXEC,
               .e_machine = EM_386, .e_entry = 0xc0100004, .e_phnum = 1,
               .e_phoff = offsetof(struct elf32_file, load), .e_phentsize = sizeof(Elf32_Phdr) },
        .load = { .p_type = PT_LOAD, .p_offset = offsetof(struct elf32_file, code),
                  .p_vaddr = 0xc0100000, .p_paddr = paddr, .p_filesz = 64, .p_memsz = 4096 },
        .mb = header(3),
    };
    memset(e->code, 0xcc, sizeof(e->code));
}

static void check_entry(const struct boot_fixture *f, uint64_t eip)
{
    assert_int_equal(f->bsp.rip, eip);
    assert_int_equal(f->bsp.gpr[CPU_RAX], 0x2badb002);
    assert_int_equal(f->bsp.cr0, CR0_PE | CR0_ET);
    assert_int_equal(f->bsp.rflags & X86_IF, 0);
    assert_int_equal(f->bsp.seg[SEG_DS].limit, 0xffffffff);
}

static void expect_text(struct boot_fixture *f, uint64_t gpa, const char *text)
{
    char got[256] = "";

    assert_int_equal(mem_read(f->mem, gpa, got, strlen(text) + 1), 0);
    assert_string_equal(got, text);
}

static void test_elf32(void **state)
{
    struct boot_fixture *f = *state;
    char line[128];
    struct elf32_file e;
    uint64_t mbi, map;

    make_elf32(&e, 0x100000);
    assert_int_equal(boot_try(f, &e, sizeof(e), NULL, "a b=c"), 0);
    check_entry(f, 0x100004);
    mbi = f->bsp.gpr[CPU_RBX];
    assert_int_equal(mbi, 0x9000);
    assert_int_equal(boot_peek(f, mbi, 4) & 0x245, 0x245);
    assert_int_equal(boot_peek(f, mbi + 4, 4), 639);
    assert_int_equal(boot_peek(f, mbi + 8, 4), (BOOT_MEMORY - MiB) / KiB);
    snprintf(line, sizeof(line), "%s a b=c", f->kernel);
    expect_text(f, boot_peek(f, mbi + 16, 4), line);
    assert_int_equal(boot_peek(f, mbi + 20, 4), 0);
    expect_text(f, boot_peek(f, mbi + 64, 4), "bulkhead");
    map = boot_peek(f, mbi + 48, 4);
    assert_int_equal(boot_peek(f, mbi + 44, 4), f->map.n * 24);
    assert_int_equal(boot_peek(f, map, 4), 20);
    assert_int_equal(boot_peek(f, map + 12, 8), RAM_EBDA);
    assert_int_equal(boot_peek(f, map + 20, 4), 1);
}

static void test_modules(void **state)
{
    struct boot_fixture *f = *state;
    struct elf32_file e;
    char spec[256];
    uint64_t mbi, mods;

    make_elf32(&e, 0x100000);
    boot_put_file(f->initrd, "module", 6);
    snprintf(spec, sizeof(spec), "%s one two,%s", f->initrd, f->initrd);
    assert_int_equal(boot_try(f, &e, sizeof(e), spec, NULL), 0);
    mbi = f->bsp.gpr[CPU_RBX];
    assert_int_equal(boot_peek(f, mbi + 20, 4), 2);
    mods = boot_peek(f, mbi + 24, 4);
    assert_int_equal(boot_peek(f, mods, 4), 0x101000);
    assert_int_equal(boot_peek(f, mods + 4, 4), 0x101006);
    expect_text(f, 0x101000, "module");
    snprintf(spec, sizeof(spec), "%s one two", f->initrd);
    expect_text(f, boot_peek(f, mods + 8, 4), spec);
    assert_int_equal(boot_peek(f, mods + 16, 4), 0x102000);
    expect_text(f, boot_peek(f, mods + 24, 4), f->initrd);
    assert_int_equal(boot_try(f, &e, sizeof(e), "/nonexistent arg", NULL), -ENOENT);
}

/* A kernel in low memory: the information goes elsewhere. */
static void test_low_kernel(void **state)
{
    struct boot_fixture *f = *state;
    struct elf32_file e;

    make_elf32(&e, 0x9000);
    assert_int_equal(boot_try(f, &e, sizeof(e), NULL, NULL), 0);
    assert_int_equal(f->bsp.rip, 0x9004);
    assert_int_equal(f->bsp.gpr[CPU_RBX], 0x100000);
    make_elf32(&e, 0x500);
    assert_int_equal(boot_try(f, &e, sizeof(e), NULL, NULL), -ENOEXEC);
}

static void test_elf64(void **state)
{
    struct boot_fixture *f = *state;
    struct {
        Elf64_Ehdr h;
        Elf64_Phdr load;
        struct header mb;
        uint8_t code[64];
    } e = {
        .h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 }, .e_phnum = 1,
               .e_machine = EM_X86_64, .e_entry = 0x200008, .e_phoff = sizeof(e.h),
               .e_phentsize = sizeof(Elf64_Phdr) },
        .load = { .p_type = PT_LOAD, .p_offset = sizeof(e) - 64, .p_vaddr = 0x200000,
                  .p_paddr = 0x200000, .p_filesz = 64, .p_memsz = 64 },
        .mb = header(0),
    };

    assert_int_equal(boot_try(f, &e, sizeof(e), NULL, NULL), 0);
    check_entry(f, 0x200008);
    e.load.p_paddr = e.h.e_entry = e.load.p_vaddr = 0x100000000;
    assert_int_equal(boot_try(f, &e, sizeof(e), NULL, NULL), -ENOEXEC);
}

struct kludge {
    uint8_t before[128];
    struct header mb;
    uint8_t code[256];
};

static void make_kludge(struct kludge *k)
{
    memset(k, 0x11, sizeof(*k));
    k->mb = header(1 << 16);
    k->mb.load_addr = 0x200000 + 64;
    k->mb.header_addr = 0x200000 + 128;
    k->mb.load_end_addr = 0x200000 + 300;
    k->mb.bss_end_addr = 0x200000 + 400;
    k->mb.entry_addr = 0x200000 + 200;
}

static void test_kludge(void **state)
{
    struct boot_fixture *f = *state;
    struct kludge k;

    make_kludge(&k);
    mem_fill(f->mem, 0x200000, 0xff, 4096);
    assert_int_equal(boot_try(f, &k, sizeof(k), NULL, NULL), 0);
    check_entry(f, 0x200000 + 200);
    assert_int_equal(boot_peek(f, 0x20003f, 2), 0x11ff);
    assert_int_equal(boot_peek(f, 0x200080, 4), MAGIC);
    assert_int_equal(boot_peek(f, 0x20012b, 2), 0x0011);
    assert_int_equal(boot_peek(f, 0x20018f, 2), 0xff00);
    /* No end given: the whole file. */
    k.mb.load_end_addr = k.mb.bss_end_addr = 0;
    assert_int_equal(boot_try(f, &k, sizeof(k), NULL, NULL), 0);
    assert_int_equal(boot_peek(f, 0x200000 + sizeof(k) - 1, 2), 0xff11);
}

static void test_damaged(void **state)
{
    struct boot_fixture *f = *state;
    struct elf32_file e;
    struct kludge k;

    make_kludge(&k);
    k.mb.load_end_addr = 0xfffffff0;
    assert_int_equal(boot_try(f, &k, sizeof(k), NULL, NULL), -ENOEXEC);
    make_kludge(&k);
    k.mb.header_addr = 0x300000;
    assert_int_equal(boot_try(f, &k, sizeof(k), NULL, NULL), -ENOEXEC);
    make_kludge(&k);
    k.mb.bss_end_addr = 0xffffffff;
    assert_int_equal(boot_try(f, &k, sizeof(k), NULL, NULL), -ENOEXEC);
    make_kludge(&k);
    k.mb.entry_addr = 0x100;
    assert_int_equal(boot_try(f, &k, sizeof(k), NULL, NULL), -ENOEXEC);
    assert_int_equal(boot_try(f, &k, offsetof(struct kludge, code) - 8, NULL, NULL), -ENOEXEC);
    make_kludge(&k);
    k.mb.flags |= 0x8000;
    k.mb.checksum -= 0x8000;
    assert_int_equal(boot_try(f, &k, sizeof(k), NULL, NULL), -ENOEXEC);
    make_kludge(&k);
    boot_fuzz(f, (const uint8_t *)&k, sizeof(k), offsetof(struct kludge, code), 600);
    make_elf32(&e, 0x100000);
    assert_int_equal(boot_try(f, &e, sizeof(e) - 1, NULL, NULL), -ENOEXEC);
    boot_fuzz(f, (const uint8_t *)&e, sizeof(e), offsetof(struct elf32_file, code), 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_elf32, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_modules, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_low_kernel, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_elf64, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_kludge, boot_setup, boot_teardown),
        cmocka_unit_test_setup_teardown(test_damaged, boot_setup, boot_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
