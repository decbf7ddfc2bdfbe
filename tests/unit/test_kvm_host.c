/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said of hosts whose KVM cannot be had, or not for this VM. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/kvm/probe.h"

#define GiB (1ULL << 30)

static char text[240];

static bool said(const char *part)
{
    return strstr(text, part) != NULL;
}

static void test_missing(void **state)
{
    static const struct {
        struct kvm_cpu_facts facts;
        const char *advice;
    } cases[] = {
        { { .svm = true }, "modprobe kvm-amd" },
        { { .vmx = true }, "modprobe kvm-intel" },
        { { .vmx = true, .hypervisor = true }, "modprobe kvm-intel" },
        { { .hypervisor = true }, "nested virtualization is switched on in the host below" },
        { { 0 }, "firmware's setup" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        kvm_explain_missing(&cases[i].facts, text, sizeof(text));
        assert_true(said("there is no /dev/kvm"));
        assert_true(said(cases[i].advice));
    }
}

static void test_denied(void **state)
{
    (void)state;
    kvm_explain_denied("kvm", text, sizeof(text));
    assert_true(said("no permission") && said("usermod -aG kvm"));
    kvm_explain_denied(NULL, text, sizeof(text));
    assert_true(said("no permission") && said("chgrp kvm /dev/kvm"));
}

static void test_cpus(void **state)
{
    const struct kvm_limits limits = { .max_vcpus = 16 };

    (void)state;
    assert_int_equal(kvm_limits_check(&limits, 16, GiB, text, sizeof(text)), 0);
    assert_int_equal(kvm_limits_check(&limits, 17, GiB, text, sizeof(text)), -E2BIG);
    assert_true(said("at most 16 CPUs") && said("--cpus 16"));
}

static void test_memory(void **state)
{
    const struct kvm_limits limits = { .phys_bits = 36 };

    (void)state;
    assert_int_equal(kvm_limits_check(&limits, 1, 64 * GiB, text, sizeof(text)), 0);
    assert_int_equal(kvm_limits_check(&limits, 1, 64 * GiB + 1, text, sizeof(text)), -E2BIG);
    assert_true(said("above the 36 address bits") && said("--memory"));
}

/* What is not known limits nothing. */
static void test_unknown(void **state)
{
    const struct kvm_limits limits = { 0 };

    (void)state;
    assert_int_equal(kvm_limits_check(&limits, 254, UINT64_MAX, text, sizeof(text)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing), cmocka_unit_test(test_denied), cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_memory),  cmocka_unit_test(test_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
