/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the machine tells its guest: memory map and ACPI tables. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "board/acpi_pc.h"
#include "board/aml.h"
#include "board/mptable.h"
#include "board/ram_map.h"

static void test_map_small(void **state)
{
    struct ram_map map;

    (void)state;
    ram_map_init(&map, MiB);
    assert_int_equal(map.n, 3);
    assert_int_equal(map.above_4g, 0);
    ram_map_init(&map, 2 * MiB);
    assert_int_equal(map.n, 4);
    assert_true(ram_map_usable(&map, MiB, MiB));
    assert_false(ram_map_usable(&map, MiB, MiB + 1));
    assert_false(ram_map_usable(&map, 0x9f000, 0x1000));
    assert_false(ram_map_usable(&map, RAM_ACPI, 1));
    assert_false(ram_map_usable(&map, ~0ULL, 2));
    assert_false(ram_map_usable(&map, MiB, ~0ULL));
}

/* The list is sorted, without overlap, and RAM in it is RAM in the slots. */
static void check_map(uint64_t size)
{
    struct ram_map map;
    struct mem *mem;
    uint64_t end = 0;
    char err[128];

    ram_map_init(&map, size);
    assert_int_equal(map.below_4g + map.above_4g, size);
    assert_int_equal(mem_create(&mem, size, err, sizeof(err)), 0);
    assert_int_equal(ram_map_add_slots(&map, mem), 0);
    for (unsigned i = 0; i < map.n; i++) {
        const struct e820_entry *e = &map.entries[i];

        assert_true(e->addr >= end);
        end = e->addr + e->size;
        if (e->type == E820_RAM)
            assert_non_null(mem_get(mem, e->addr, e->size, true));
    }
    assert_null(mem_find(mem, RAM_LOW_END));
    assert_null(mem_find(mem, RAM_BELOW_4G_MAX));
    assert_null(mem_find(mem, end));
    mem_destroy(mem);
}

static void test_map_large(void **state)
{
    (void)state;
    check_map(64 * MiB);
    check_map(3 * GiB);
    check_map(3 * GiB + 4096);
    check_map(100 * GiB);
}

static void test_aml(void **state)
{
    uint8_t buf[32];
    struct aml a = { .data = buf, .size = sizeof(buf) };

    (void)state;
    aml_name_eisa(&a, "_HID", "PNP0A03");
    assert_int_equal(a.n, 10);
    assert_memory_equal(buf, "\x08_HID\x0c\x41\xd0\x0a\x03", 10);
    a.n = 0;
    aml_int(&a, 1);
    aml_int(&a, 2);
    aml_int(&a, 0x1234);
    aml_int(&a, 0x12345678);
    assert_memory_equal(buf, "\x01\x0a\x02\x0b\x34\x12\x0c\x78\x56\x34\x12", 11);
    a.n = 0;
    aml_end(&a, aml_scope(&a, "\\_SB"));
    assert_memory_equal(buf, "\x10\x88\x00\x00\\_SB_", 9);
    aml_bytes(&a, buf, 32);
    assert_true(a.overflow);
}

static uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t s = 0;

    while (n--)
        s = (uint8_t)(s + *p++);
    return s;
}

static uint64_t get(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, p, size);
    return v;
}

/* A table by its address, with its checksum right. */
static const uint8_t *table(struct mem *mem, uint64_t gpa, const char *signature)
{
    const uint8_t *p = mem_get(mem, gpa, 36, false);
    size_t len;

    assert_non_null(p);
    assert_memory_equal(p, signature, 4);
    len = get(p + 4, 4);
    assert_non_null(mem_get(mem, gpa, len, false));
    if (strcmp(signature, "FACS") != 0)
        assert_int_equal(sum(p, len), 0);
    return p;
}

static void test_acpi(void **state)
{
    const struct acpi_pc_config config = {
        .ncpus = 254, .ioapic_gpa = 0xfec00000, .ioapic_pins = 24, .sci = 9,
        .pci_mmio_start = 0xc0000000, .pci_mmio_end = 0xfec00000,
        .com = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } },
    };
    const uint8_t *rsdp, *xsdt, *fadt, *madt;
    struct ram_map map;
    struct mem *mem;
    uint64_t at;
    char err[128];
    unsigned cpus = 0;

    (void)state;
    ram_map_init(&map, MiB);
    assert_int_equal(mem_create(&mem, MiB, err, sizeof(err)), 0);
    assert_int_equal(ram_map_add_slots(&map, mem), 0);
    assert_int_equal(acpi_pc_write(mem, RAM_ACPI, MiB, &config, &at), 0);
    rsdp = mem_get(mem, at, 36, false);
    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_int_equal(at % 16, 0);
    assert_int_equal(sum(rsdp, 20), 0);
    assert_int_equal(sum(rsdp, 36), 0);
    table(mem, get(rsdp + 16, 4), "RSDT");
    xsdt = table(mem, get(rsdp + 24, 8), "XSDT");
    fadt = table(mem, get(xsdt + 36, 8), "FACP");
    madt = table(mem, get(xsdt + 44, 8), "APIC");
    table(mem, get(fadt + 36, 4), "FACS");
    table(mem, get(fadt + 140, 8), "DSDT");
    for (unsigned i = 44; i < get(madt + 4, 4); i += madt[i + 1]) {
        assert_true(madt[i + 1] >= 2);
        cpus += madt[i] == 0;
    }
    assert_int_equal(cpus, 254);
    assert_int_equal(acpi_pc_write(mem, RAM_ACPI, RAM_ACPI + 4096, &config, &at), -ENOSPC);
    mem_destroy(mem);
}

static void test_mptable(void **state)
{
    const struct mptable_config config = { .ncpus = 3, .ioapic_gpa = 0xfec00000, .sci = 9 };
    static const uint8_t sizes[] = { 20, 8, 8, 8, 8 };
    unsigned counts[5] = { 0 }, entries = 0, at = 44;
    struct ram_map map;
    struct mem *mem;
    const uint8_t *p, *t;
    char err[128];

    (void)state;
    ram_map_init(&map, MiB);
    assert_int_equal(mem_create(&mem, MiB, err, sizeof(err)), 0);
    assert_int_equal(ram_map_add_slots(&map, mem), 0);
    assert_int_equal(mptable_write(mem, RAM_MPTABLE, MiB, &config), 0);
    p = mem_get(mem, RAM_MPTABLE, 16, false);
    assert_memory_equal(p, "_MP_", 4);
    assert_int_equal(sum(p, 16), 0);
    t = mem_get(mem, get(p + 4, 4), 44, false);
    assert_memory_equal(t, "PCMP", 4);
    assert_int_equal(sum(t, get(t + 4, 2)), 0);
    for (; at < get(t + 4, 2); at += sizes[t[at]], entries++) {
        assert_true(t[at] < ARRAY_SIZE(sizes));
        counts[t[at]]++;
    }
    assert_int_equal(at, get(t + 4, 2));
    assert_int_equal(entries, get(t + 34, 2));
    assert_int_equal(counts[0], 3);
    assert_int_equal(counts[3], 15);
    mem_destroy(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_small),
        cmocka_unit_test(test_map_large),
        cmocka_unit_test(test_aml),
        cmocka_unit_test(test_acpi),
        cmocka_unit_test(test_mptable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
