/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine micro: its ACPI tables and the registers that they name. */
#include <errno.h>
#include <stdio.h>

#include "board/acpi_micro.h"
#include "board/ram_map.h"
#include "dev/acpi_reduced.h"

#include "machine.h"

static uint64_t get(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, p, size);
    return v;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t s = 0;

    while (n--)
        s = (uint8_t)(s + *p++);
    return s;
}

static struct mem *make_memory(void)
{
    struct ram_map map;
    struct mem *mem;
    char err[128];

    ram_map_init(&map, MiB);
    assert_int_equal(mem_create(&mem, MiB, err, sizeof(err)), 0);
    assert_int_equal(ram_map_add_slots(&map, mem), 0);
    return mem;
}

/* A table by its address, with its checksum right. */
static const uint8_t *table(struct mem *mem, uint64_t gpa, const char *signature)
{
    const uint8_t *p = mem_get(mem, gpa, 36, false);

    assert_non_null(p);
    assert_memory_equal(p, signature, 4);
    assert_non_null(mem_get(mem, gpa, get(p + 4, 4), false));
    assert_int_equal(sum(p, get(p + 4, 4)), 0);
    return p;
}

static struct acpi_micro_config full_config(void)
{
    struct acpi_micro_config c = { .ncpus = 254,
                                   .ioapic_gpa = 0xfec00000,
                                   .com_port = 0x3f8,
                                   .com_gsi = 4,
                                   .power_gsi = 5,
                                   .nvirtio = VIRTIO_SET_MAX };

    for (unsigned i = 0; i < c.nvirtio; i++) {
        c.virtio[i].gpa = 0xfeb00000 + i * 0x1000;
        c.virtio[i].len = 0x200;
        c.virtio[i].gsi = 6 + i % 18;
    }
    return c;
}

/* Is there iasl, it compiles again what it read, without a remark. */
static void check_aml(const uint8_t *dsdt)
{
    char folder[] = "/tmp/bulkhead-acpi-XXXXXX", command[400];
    FILE *f;

    if (system("command -v iasl >/dev/null 2>&1") != 0)
        return;
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof(command), "%s/dsdt.dat", folder);
    f = fopen(command, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(dsdt, get(dsdt + 4, 4), 1, f), 1);
    fclose(f);
    snprintf(command, sizeof(command),
             "cd %s && iasl -d dsdt.dat >out 2>&1 && iasl -p again dsdt.dsl >>out 2>&1 && "
             "grep -q '0 Errors, 0 Warnings, 0 Remarks' out && "
             "[ $(grep -c LNRO0005 dsdt.dsl) = %u ] && "
             "grep -q 'Notify (PWRB, 0x80)' dsdt.dsl; r=$?; rm -rf %s; exit $r",
             folder, VIRTIO_SET_MAX, folder);
    assert_int_equal(system(command), 0);
}

static void test_tables(void **state)
{
    const struct acpi_micro_config config = full_config();
    const uint8_t *rsdp, *xsdt, *fadt, *madt;
    struct mem *mem = make_memory();
    unsigned counts[5] = { 0 };
    uint64_t at;

    (void)state;
    assert_int_equal(acpi_micro_write(mem, RAM_ACPI, MiB, &config, &at), 0);
    rsdp = mem_get(mem, at, 36, false);
    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_int_equal(sum(rsdp, 20), 0);
    assert_int_equal(sum(rsdp, 36), 0);
    xsdt = table(mem, get(rsdp + 24, 8), "XSDT");
    fadt = table(mem, get(xsdt + 36, 8), "FACP");
    assert_true(get(fadt + 112, 4) & 1u << 20); /* HW_REDUCED_ACPI */
    assert_int_equal(get(fadt + 120, 8), ACPI_REDUCED_RESET);
    assert_int_equal(get(fadt + 212, 8), ACPI_REDUCED_PM_TMR);
    assert_int_equal(get(fadt + 248, 8), ACPI_REDUCED_SLEEP_CTL);
    assert_int_equal(get(fadt + 260, 8), ACPI_REDUCED_SLEEP_STS);
    check_aml(table(mem, get(fadt + 140, 8), "DSDT"));
    madt = table(mem, get(xsdt + 44, 8), "APIC");
    assert_int_equal(get(madt + 40, 4), 0); /* no 8259 pair */
    for (unsigned i = 44; i < get(madt + 4, 4); i += madt[i + 1]) {
        assert_in_range(madt[i], 0, 4);
        assert_true(madt[i + 1] >= 2);
        counts[madt[i]]++;
    }
    assert_int_equal(counts[0], 254);
    assert_int_equal(counts[1], 1);
    assert_int_equal(counts[2], 0); /* no ISA interrupt is elsewhere */
    assert_int_equal(counts[4], 1);
    mem_destroy(mem);
}

/* Nothing is written that does not fit, whatever the room. */
static void test_no_room(void **state)
{
    const struct acpi_micro_config config = full_config();
    struct mem *mem = make_memory();
    uint64_t at;

    (void)state;
    for (unsigned room = 36; room < 8192; room += 59)
        assert_int_equal(acpi_micro_write(mem, RAM_ACPI, RAM_ACPI + room, &config, &at), -ENOSPC);
    mem_destroy(mem);
}

static void make(struct machine *m)
{
    struct acpi_reduced *acpi;

    machine_init(m);
    assert_int_equal(acpi_reduced_create(m->bus, &acpi), 0);
    bus_reset(m->bus);
}

static void test_sleep(void **state)
{
    struct machine m, copy;

    (void)state;
    make(&m);
    out8(&m, ACPI_REDUCED_SLEEP_CTL, 3u << 2 | 0x20u);
    assert_int_equal(m.requests, 0); /* there is no S3 */
    out8(&m, ACPI_REDUCED_SLEEP_CTL, ACPI_REDUCED_S5 << 2);
    assert_int_equal(m.requests, 0);
    make(&copy);
    copy_state(&m, &copy);
    assert_int_equal(in8(&copy, ACPI_REDUCED_SLEEP_CTL), ACPI_REDUCED_S5 << 2);
    machine_free(&copy);
    out8(&m, ACPI_REDUCED_SLEEP_CTL, 0xe3 | ACPI_REDUCED_S5 << 2);
    assert_int_equal(m.requests, 1);
    assert_int_equal(m.request, BUS_POWEROFF);
    assert_int_equal(in8(&m, ACPI_REDUCED_SLEEP_CTL), ACPI_REDUCED_S5 << 2);
    out8(&m, ACPI_REDUCED_SLEEP_STS, 0x80);
    assert_int_equal(in8(&m, ACPI_REDUCED_SLEEP_STS), 0);
    machine_free(&m);
}

static void test_reset(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    out8(&m, ACPI_REDUCED_RESET, ACPI_REDUCED_RESET_VALUE + 1);
    assert_int_equal(m.requests, 0);
    out8(&m, ACPI_REDUCED_RESET, ACPI_REDUCED_RESET_VALUE);
    assert_int_equal(m.requests, 1);
    assert_int_equal(m.request, BUS_RESET);
    assert_int_equal(in8(&m, ACPI_REDUCED_RESET), 0xff);
    machine_free(&m);
}

static void test_timer(void **state)
{
    struct cpu_counter c;
    struct machine m;
    uint64_t a, b;

    (void)state;
    make(&m);
    acpi_reduced_counter(&c);
    a = bus_io_read(m.bus, c.port, c.size);
    wait_ns(&m, 2 * NSEC_PER_SEC);
    b = bus_io_read(m.bus, c.port, c.size);
    assert_in_range(b - a, 2 * c.hz - 1, 2 * c.hz + 1);
    assert_int_equal((mul_div(vm_clock_ns(&m.clock), c.hz, NSEC_PER_SEC) + c.offset) & c.mask, b);
    wait_ns(&m, 3000 * NSEC_PER_SEC); /* beyond 32 bits */
    assert_true(bus_io_read(m.bus, c.port, c.size) <= UINT32_MAX);
    machine_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables), cmocka_unit_test(test_no_room), cmocka_unit_test(test_sleep),
        cmocka_unit_test(test_reset),  cmocka_unit_test(test_timer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
