/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI fixed hardware: timer, events, sleep, SMI command. */
#include "dev/acpi_pm.h"

#include "machine.h"

static struct acpi_pm *pm;

static void make(struct machine *m)
{
    machine_init(m);
    assert_int_equal(acpi_pm_create(m->bus, &(struct acpi_pm_config){ .sci = line(m, 9) }, &pm), 0);
    bus_reset(m->bus);
}

static uint64_t ticks(uint64_t n)
{
    return mul_div(n, NSEC_PER_SEC, ACPI_PM_TIMER_HZ) + 10;
}

static void test_timer(void **state)
{
    struct machine m;
    struct cpu_counter c;
    uint64_t a, b;

    (void)state;
    make(&m);
    a = bus_io_read(m.bus, ACPI_PM_TMR, 4);
    wait_ns(&m, NSEC_PER_SEC);
    b = bus_io_read(m.bus, ACPI_PM_TMR, 4);
    assert_in_range(b - a, ACPI_PM_TIMER_HZ - 1, ACPI_PM_TIMER_HZ + 1);
    acpi_pm_counter(pm, &c);
    assert_int_equal((mul_div(vm_clock_ns(&m.clock), c.hz, NSEC_PER_SEC) + c.offset) & c.mask, b);
    assert_int_equal(bus_io_read(m.bus, ACPI_PM_TMR + 1, 2), b >> 8 & 0xffff);
    wait_ns(&m, ticks(1 << 24));
    assert_in_range(bus_io_read(m.bus, ACPI_PM_TMR, 4), b, b + 1); /* 24 bits */
    machine_free(&m);
}

static void test_timer_status(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    assert_int_equal(bus_io_read(m.bus, ACPI_PM1_EVT, 2), 0);
    wait_ns(&m, ticks(1 << 23));
    assert_int_equal(bus_io_read(m.bus, ACPI_PM1_EVT, 2), 1);
    bus_io_write(m.bus, ACPI_PM1_EVT, 2, 1);
    assert_int_equal(bus_io_read(m.bus, ACPI_PM1_EVT, 2), 0);
    bus_io_write(m.bus, ACPI_PM1_CNT, 2, 1);
    bus_io_write(m.bus, ACPI_PM1_EVT + 2, 2, 1);
    run_ns(&m, ticks(1 << 23));
    assert_true(m.level[9]);
    bus_io_write(m.bus, ACPI_PM1_EVT, 2, 1);
    assert_false(m.level[9]);
    machine_free(&m);
}

static void test_power_button(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    bus_io_write(m.bus, ACPI_PM1_EVT + 3, 1, 0x01); /* PWRBTN_EN, by its byte */
    assert_int_equal(bus_io_read(m.bus, ACPI_PM1_EVT, 4), 0x01000000);
    acpi_pm_power_button(pm);
    assert_false(m.level[9]);
    out8(&m, ACPI_SMI_CMD, ACPI_ENABLE);
    assert_int_equal(bus_io_read(m.bus, ACPI_PM1_CNT, 2), 1);
    assert_true(m.level[9]);
    bus_io_write(m.bus, ACPI_PM1_EVT, 4, 0x01000100);
    assert_false(m.level[9]);
    assert_int_equal(bus_io_read(m.bus, ACPI_PM1_EVT, 4), 0x01000000);
    out8(&m, ACPI_SMI_CMD, ACPI_DISABLE);
    assert_int_equal(bus_io_read(m.bus, ACPI_PM1_CNT, 2), 0);
    machine_free(&m);
}

static void test_gpe(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    bus_io_write(m.bus, ACPI_PM1_CNT, 2, 1);
    bus_io_write(m.bus, ACPI_GPE0 + 2, 1, 0x04);
    acpi_pm_gpe(pm, 3);
    assert_false(m.level[9]);
    acpi_pm_gpe(pm, 2);
    assert_true(m.level[9]);
    assert_int_equal(in8(&m, ACPI_GPE0), 0x0c);
    out8(&m, ACPI_GPE0, 0x04);
    assert_false(m.level[9]);
    machine_free(&m);
}

static void test_sleep(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    bus_io_write(m.bus, ACPI_PM1_CNT, 2, 0x2400); /* S1 is not there */
    assert_int_equal(m.requests, 0);
    bus_io_write(m.bus, 0x604, 2, 0x2000); /* as small systems know it */
    assert_int_equal(m.requests, 1);
    assert_int_equal(m.request, BUS_POWEROFF);
    machine_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer),        cmocka_unit_test(test_timer_status),
        cmocka_unit_test(test_power_button), cmocka_unit_test(test_gpe),
        cmocka_unit_test(test_sleep),
    };

    return cmocka_run_group_tests_name("dev_acpi_pm", tests, NULL, NULL);
}
