/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU models: what CPUID answers, and that it fits together. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cpu/model.h"
#include "cpu/model_leaves.h"
#include "x86/x86.h"

#define HZ 2596135000ULL

static struct cpu_model m;

static const struct cpuid_view view = {
    .apic_id = 2, .cr4 = 0, .xcr0 = 1, .apic_base = 0xfee00800
};

/* False: the host lacks what the model needs. */
static bool make(const char *name, unsigned ncpus)
{
    char err[200] = "";
    int r = cpu_model_init(&m, name, ncpus, HZ, err, sizeof(err));

    assert_true(r == 0 || (r == -EINVAL && strstr(err, "lacks")));
    return r == 0;
}

static struct cpuid_regs id(uint32_t leaf, uint32_t sub)
{
    return cpu_model_cpuid(&m, leaf, sub, &view);
}

static void test_names(void **state)
{
    char err[200] = "";

    (void)state;
    assert_int_equal(cpu_model_init(&m, "z80", 1, HZ, err, sizeof(err)), -EINVAL);
    assert_non_null(strstr(err, "x86-64-v3"));
}

static void test_hidden(void **state)
{
    static const char *const names[] = { "host", "x86-64-v2", "x86-64-v3" };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (!make(names[i], 3))
            continue;
        assert_false(cpu_has(&m, F_MONITOR));
        /* VMX, SMX, PDCM, DCA; hypervisor bit set. */
        assert_int_equal(id(1, 0).ecx & (BIT(5) | BIT(6) | BIT(15) | BIT(18)), 0);
        assert_true(id(1, 0).ecx & BIT(31));
        /* HLE, RTM, MPX, PT; PKU, CET, LA57; AMX, CET-IBT. */
        assert_int_equal(id(7, 0).ebx & (BIT(4) | BIT(11) | BIT(14) | BIT(25)), 0);
        assert_int_equal(id(7, 0).ecx & (BIT(3) | BIT(7) | BIT(16)), 0);
        assert_int_equal(id(7, 0).edx & (BIT(20) | BIT(22) | BIT(24) | BIT(25)), 0);
        assert_int_equal(id(0xa, 0).eax, 0);
        assert_int_equal(id(0x80000001, 0).ecx & BIT(2), 0); /* SVM */
        assert_int_equal(id(0xd, 1).eax & BIT(3), 0);        /* XSAVES */
        assert_true(m.phys_bits >= 36 && m.phys_bits <= 46);
        assert_true(cpu_has(&m, F_X2APIC) && cpu_has(&m, F_TSC_DEADLINE) && cpu_has(&m, F_PCID) &&
                    cpu_has(&m, F_INVPCID) && cpu_has(&m, F_INVARIANT_TSC));
    }
}

static void test_levels(void **state)
{
    (void)state;
    if (make("x86-64-v2", 1)) {
        assert_true(cpu_has(&m, F_SSE42) && cpu_has(&m, F_POPCNT) && cpu_has(&m, F_CX16));
        assert_false(cpu_has(&m, F_AVX) || cpu_has(&m, F_XSAVE) || cpu_has(&m, F_BMI2));
        assert_int_equal(m.xcr0_mask, 0);
        assert_int_equal(id(0xd, 0).eax, 0);
    }
    if (make("x86-64-v3", 1)) {
        assert_true(cpu_has(&m, F_AVX2) && cpu_has(&m, F_BMI2) && cpu_has(&m, F_MOVBE));
        assert_false(cpu_has(&m, F_AVX512F));
        assert_int_equal(m.xcr0_mask, 7);
    }
}

static void test_view(void **state)
{
    struct cpuid_view v = view;

    (void)state;
    make("host", 4);
    assert_int_equal(id(1, 0).ebx >> 24, 2);
    assert_int_equal(id(1, 0).ebx >> 16 & 0xff, 4);
    assert_true(id(1, 0).edx & BIT(9));
    assert_false(id(1, 0).ecx & BIT(27));
    v.apic_base = 0xfee00000;
    v.cr4 = CR4_OSXSAVE;
    assert_false(cpu_model_cpuid(&m, 1, 0, &v).edx & BIT(9));
    assert_int_equal(!!(cpu_model_cpuid(&m, 1, 0, &v).ecx & BIT(27)), cpu_has(&m, F_XSAVE));
}

static void test_topology(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 254; n++) {
        unsigned bits = 0;

        make("host", n);
        while (1u << bits < n)
            bits++;
        assert_int_equal(id(0xb, 0).ebx, 1);
        assert_int_equal(id(0xb, 0).edx, 2);
        assert_int_equal(id(0xb, 1).eax, bits);
        assert_int_equal(id(0xb, 1).ebx, n);
        assert_int_equal(id(0xb, 7).ecx, 7);
        assert_int_equal(id(0xb, 7).eax | id(0xb, 7).ebx, 0);
        assert_int_equal(!!(id(1, 0).edx & BIT(28)), n > 1);
        if (m.amd) {
            assert_int_equal(id(0x80000008, 0).ecx, (n - 1) | bits << 12);
            assert_int_equal(id(0x8000001e, 0).eax, 2);
        }
    }
}

static void test_xsave(void **state)
{
    struct cpuid_view v = view;
    uint32_t end = 576;

    (void)state;
    make("host", 1);
    if (!cpu_has(&m, F_XSAVE))
        return;
    assert_int_equal(id(0xd, 0).ebx, 576);
    for (unsigned n = 2; n < 63; n++) {
        struct cpuid_regs r = id(0xd, n);

        if (!(m.xcr0_mask >> n & 1)) {
            assert_int_equal(r.eax, 0);
            continue;
        }
        assert_int_equal(r.ebx % 64, 0);
        assert_true(r.ebx >= end);
        assert_int_equal(r.ebx, host_cpuid(0xd, n).ebx);
        assert_int_equal(r.eax, host_cpuid(0xd, n).eax);
        end = r.ebx + r.eax;
    }
    assert_int_equal(id(0xd, 0).ecx, end);
    v.xcr0 = m.xcr0_mask;
    assert_int_equal(cpu_model_cpuid(&m, 0xd, 0, &v).ebx, end);
    if (m.xcr0_mask & XCR0_AVX) {
        v.xcr0 = 7;
        assert_int_equal(cpu_model_cpuid(&m, 0xd, 0, &v).ebx, 832);
        assert_int_equal(cpu_model_cpuid(&m, 0xd, 1, &v).ebx, 832);
    }
}

static void test_ranges(void **state)
{
    struct cpuid_regs r;

    (void)state;
    make("host", 1);
    r = id(0x40000000, 0);
    assert_memory_equal(&r.ebx, "KVMKVMKVM\0\0\0", 12);
    assert_int_equal(id(0x40000001, 0).eax, BIT(0) | BIT(3) | BIT(6) | BIT(24));
    assert_int_equal(id(0x40000010, 0).eax, HZ / 1000);
    assert_int_equal(id(0x40000010, 0).ebx, CPU_APIC_HZ / 1000);
    /* Beyond the end. */
    assert_int_equal(id(0x12345678, 0).eax, m.amd ? 0 : id(0x16, 0).eax);
    assert_int_equal(id(0x8fffffff, 0).eax, m.amd ? 0 : id(0x16, 0).eax);
}

static void test_clock(void **state)
{
    static const uint64_t rates[] = { 1000000000, 1999999000, 2596135000, 3892775000,
                                      4294000000, 800000000,  33000000 };
    char err[200];

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
        struct cpuid_regs r;
        uint64_t hz;

        assert_int_equal(cpu_model_init(&m, "host", 1, rates[i], err, sizeof(err)), 0);
        r = id(0x15, 0);
        assert_int_equal(r.ecx, CPU_APIC_HZ);
        /* Linux: crystal_khz * ebx / eax in 32 bits. */
        assert_true((uint64_t)r.ecx / 1000 * r.ebx <= UINT32_MAX);
        hz = mul_div(r.ecx, r.ebx, r.eax);
        assert_true(hz > rates[i] ? hz - rates[i] < rates[i] / 1000000
                                  : rates[i] - hz < rates[i] / 1000000);
    }
}

static void test_words_agree(void **state)
{
    (void)state;
    make("host", 2);
    if (m.amd)
        assert_int_equal(id(0x80000001, 0).edx & 0x0183f3ff, id(1, 0).edx & 0x0183f3ff);
    assert_int_equal(cpu_has(&m, F_SSE2), id(1, 0).edx >> 26 & 1);
    assert_int_equal(cpu_has(&m, F_AVX2), id(7, 0).ebx >> 5 & 1);
    assert_int_equal(cpu_has(&m, F_NX), id(0x80000001, 0).edx >> 20 & 1);
    assert_int_equal(cpu_has(&m, F_AVX512F), (m.xcr0_mask & XCR0_AVX512) != 0);
    assert_true(m.nentries <= ARRAY_SIZE(m.entries));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_levels),      cmocka_unit_test(test_view),
        cmocka_unit_test(test_topology),    cmocka_unit_test(test_xsave),
        cmocka_unit_test(test_ranges),      cmocka_unit_test(test_clock),
        cmocka_unit_test(test_words_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
