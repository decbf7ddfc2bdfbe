/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The local APIC without a CPU: registers, priority, messages, the timer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/soft/lapic.h"

#define NCPUS  4
#define REG(r) ((r)*16u)

static struct machine {
    struct soft_vm vm;
    struct vm_clock clock;
    struct cpu_model model;
    struct cpu_run run[NCPUS];
    struct soft_cpu *cpu[NCPUS];
} m;

static int setup(void **state)
{
    struct engine_config config = { .clock = &m.clock, .model = &m.model, .ncpus = NCPUS };
    char err[160];

    (void)state;
    memset(&m, 0, sizeof(m));
    vm_clock_init(&m.clock);
    assert_int_equal(cpu_model_init(&m.model, "host", NCPUS, 2000000000, err, sizeof(err)), 0);
    soft_vm_init(&m.vm, &config);
    for (unsigned i = 0; i < NCPUS; i++) {
        m.cpu[i] = calloc(1, align_up(sizeof(struct soft_cpu), 64));
        assert_non_null(m.cpu[i]);
        m.cpu[i]->run = &m.run[i];
        soft_cpu_init(m.cpu[i], &m.vm, i);
    }
    vm_clock_set(&m.clock, 1000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NCPUS; i++) {
        soft_cpu_fini(m.cpu[i]);
        free(m.cpu[i]);
    }
    soft_vm_fini(&m.vm);
    return 0;
}

static uint32_t get(unsigned cpu, unsigned reg)
{
    uint64_t v;

    assert_int_equal(lapic_mmio_read(m.cpu[cpu], REG(reg), 4, &v), 0);
    return (uint32_t)v;
}

static void set(unsigned cpu, unsigned reg, uint32_t v)
{
    assert_int_equal(lapic_mmio_write(m.cpu[cpu], REG(reg), 4, v), 0);
}

static void enable(unsigned cpu)
{
    set(cpu, APIC_SVR, 0x1ff);
}

static void at(uint64_t ns, unsigned cpu)
{
    vm_clock_set(&m.clock, ns);
    lapic_poll(m.cpu[cpu]);
}

/* What this vCPU has been sent; then forget it. */
static int taken(unsigned cpu)
{
    int v;

    lapic_poll(m.cpu[cpu]);
    v = lapic_pending(m.cpu[cpu]);
    if (v < 0)
        return -1;
    assert_int_equal(lapic_acknowledge(m.cpu[cpu]), v);
    set(cpu, APIC_EOI, 0);
    return v;
}

/* ---- registers ------------------------------------------------------------------ */

static void test_reset(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NCPUS; i++) {
        assert_int_equal(get(i, APIC_ID), i << 24);
        assert_int_equal(get(i, APIC_SVR), 0xff);
        assert_int_equal(get(i, APIC_DFR), 0xffffffff);
        assert_int_equal(get(i, APIC_LVT_TIMER), 0x10000);
        assert_int_equal(get(i, APIC_LVT_LINT0), i ? 0x10000 : 0x700);
        assert_int_equal(m.cpu[i]->s.lapic.base, 0xfee00800 | (i ? 0 : 0x100));
        assert_int_equal(lapic_accepts_extint(m.cpu[i]), i == 0);
    }
    assert_int_equal(get(0, APIC_VERSION) & 0xff, 0x14);
}

static void test_access(void **state)
{
    uint64_t v;

    (void)state;
    set(0, APIC_TPR, 0x1234567);
    assert_int_equal(get(0, APIC_TPR), 0x67);
    /* Narrow reads give bytes; narrow or misaligned writes do nothing. */
    set(0, APIC_LDR, 0x55ffffff);
    assert_int_equal(get(0, APIC_LDR), 0x55000000);
    lapic_mmio_read(m.cpu[0], REG(APIC_LDR) + 3, 1, &v);
    assert_int_equal(v, 0x55);
    lapic_mmio_read(m.cpu[0], REG(APIC_LDR) + 4, 4, &v);
    assert_int_equal(v, 0);
    lapic_mmio_write(m.cpu[0], REG(APIC_LDR), 1, 0);
    lapic_mmio_write(m.cpu[0], REG(APIC_LDR) + 1, 4, 0);
    assert_int_equal(get(0, APIC_LDR), 0x55000000);
}

static void test_masked_while_disabled(void **state)
{
    (void)state;
    set(0, APIC_LVT_ERROR, 0x40);
    assert_int_equal(get(0, APIC_LVT_ERROR), 0x10040);
    enable(0);
    set(0, APIC_LVT_ERROR, 0x40);
    assert_int_equal(get(0, APIC_LVT_ERROR), 0x40);
    set(0, APIC_SVR, 0xff);
    assert_int_equal(get(0, APIC_LVT_ERROR), 0x10040);
}

static void test_esr(void **state)
{
    uint64_t v;

    (void)state;
    enable(0);
    set(0, APIC_LVT_ERROR, 0x41);
    set(0, APIC_ICR, 0x4000 | 1 << 18 | 5); /* fixed to self, vector 5 */
    assert_int_equal(get(0, APIC_ESR), 0);
    set(0, APIC_ESR, 0);
    assert_int_equal(get(0, APIC_ESR), 0x20);
    assert_int_equal(taken(0), 0x41);
    lapic_mmio_read(m.cpu[0], 0x3f0, 4, &v); /* reserved */
    set(0, APIC_ESR, 0);
    assert_int_equal(get(0, APIC_ESR), 0x80);
    lapic_msi(&m.vm, 0xfee00000, 7);
    lapic_poll(m.cpu[0]);
    set(0, APIC_ESR, 0);
    assert_int_equal(get(0, APIC_ESR), 0x40);
    set(0, APIC_ESR, 0);
    assert_int_equal(get(0, APIC_ESR), 0);
}

/* ---- priority ---------------------------------------------------------------------- */

static void test_priority(void **state)
{
    struct soft_cpu *c = m.cpu[0];

    (void)state;
    enable(0);
    lapic_msi(&m.vm, 0xfee00000, 0x31);
    lapic_msi(&m.vm, 0xfee00000, 0x85);
    lapic_msi(&m.vm, 0xfee00000, 0x8a);
    lapic_poll(c);
    assert_int_equal(get(0, APIC_IRR + 4), 1 << 5 | 1 << 10);
    set(0, APIC_TPR, 0x80);
    assert_int_equal(lapic_pending(c), -1);
    set(0, APIC_TPR, 0x7f);
    assert_int_equal(lapic_acknowledge(c), 0x8a);
    assert_int_equal(get(0, APIC_PPR), 0x80);
    assert_int_equal(get(0, APIC_ISR + 4), 1 << 10);
    assert_int_equal(lapic_pending(c), -1);
    set(0, APIC_EOI, 0);
    assert_int_equal(lapic_acknowledge(c), 0x85);
    set(0, APIC_EOI, 0);
    assert_int_equal(lapic_pending(c), -1);
    lapic_set_cr8(c, 2);
    assert_int_equal(get(0, APIC_TPR), 0x20);
    assert_int_equal(lapic_acknowledge(c), 0x31);
    /* Nothing there any more: the spurious vector, not in service. */
    assert_int_equal(lapic_acknowledge(c), 0xff);
    assert_int_equal(get(0, APIC_ISR + 7), 0);
}

static void test_eoi_exit(void **state)
{
    struct soft_cpu *c = m.cpu[0];

    (void)state;
    enable(0);
    atomic_store(&m.vm.eoi_exits[0], BIT(0x32));
    lapic_msi(&m.vm, 0xfee00000, 0x8032); /* level */
    lapic_poll(c);
    assert_int_equal(get(0, APIC_TMR + 1), 1 << 18);
    assert_int_equal(lapic_acknowledge(c), 0x32);
    /* First the exit; done when it is executed again, and only once. */
    assert_int_equal(lapic_mmio_write(c, REG(APIC_EOI), 4, 0), SOFT_EXIT);
    assert_int_equal(m.run[0].exit, CPU_EXIT_EOI);
    assert_int_equal(m.run[0].eoi.vector, 0x32);
    assert_int_equal(get(0, APIC_ISR + 1), 1 << 18);
    soft_io_complete(c);
    set(0, APIC_EOI, 0);
    assert_int_equal(get(0, APIC_ISR + 1), 0);
    soft_io_done(c);
    /* An edge has none, though the vector is the same. */
    lapic_msi(&m.vm, 0xfee00000, 0x32);
    assert_int_equal(taken(0), 0x32);
}

/* ---- messages ------------------------------------------------------------------------ */

static unsigned hit(void)
{
    unsigned set_of = 0;

    for (unsigned i = 0; i < NCPUS; i++)
        if (taken(i) >= 0)
            set_of |= 1u << i;
    return set_of;
}

static void test_destinations(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NCPUS; i++) {
        enable(i);
        set(i, APIC_LDR, 1u << (24 + i));
    }
    lapic_msi(&m.vm, 0xfee02000, 0x40); /* physical 2 */
    assert_int_equal(hit(), 1 << 2);
    lapic_msi(&m.vm, 0xfee09000, 0x40); /* physical 9 */
    assert_int_equal(hit(), 0);
    lapic_msi(&m.vm, 0xfeeff000, 0x40); /* broadcast */
    assert_int_equal(hit(), 0xf);
    lapic_msi(&m.vm, 0xfee0a004, 0x40); /* logical flat */
    assert_int_equal(hit(), 0xa);
    set(1, APIC_TPR, 0x20);
    lapic_msi(&m.vm, 0xfee0a00c, 0x40); /* redirection hint */
    assert_int_equal(hit(), 0x8);
    lapic_msi(&m.vm, 0xfee0a004, 0x140); /* lowest priority */
    assert_int_equal(hit(), 0x8);
    set(1, APIC_TPR, 0);
    for (unsigned i = 0; i < NCPUS; i++) {
        set(i, APIC_DFR, 0x0fffffff);
        set(i, APIC_LDR, (i / 2) << 28 | 1u << (24 + i % 2));
    }
    lapic_msi(&m.vm, 0xfee12004, 0x40); /* cluster 1, second */
    assert_int_equal(hit(), 1 << 3);
    lapic_msi(&m.vm, 0xfeef1004, 0x40); /* all clusters, first */
    assert_int_equal(hit(), 0x5);
}

static void test_shorthands(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NCPUS; i++)
        enable(i);
    set(1, APIC_ICR, 0x40000 | 0x50);
    assert_int_equal(hit(), 1 << 1);
    set(1, APIC_ICR, 0x80000 | 0x50);
    assert_int_equal(hit(), 0xf);
    set(1, APIC_ICR, 0xc0000 | 0x50);
    assert_int_equal(hit(), 0xd);
    set(1, APIC_ICR_HIGH, 3u << 24);
    set(1, APIC_ICR, 0x50);
    assert_int_equal(hit(), 1 << 3);
}

static void test_init_sipi_nmi(void **state)
{
    struct soft_inbox *in = &m.cpu[1]->inbox;

    (void)state;
    set(0, APIC_ICR_HIGH, 1u << 24);
    set(0, APIC_ICR, 0x4608);
    assert_true(in->sipi);
    assert_int_equal(in->sipi_vector, 8);
    set(0, APIC_ICR, 0x4500);
    assert_true(in->init);
    assert_false(in->sipi);
    in->init = false;
    set(0, APIC_ICR, 0x8500); /* de-assert */
    assert_false(in->init);
    set(0, APIC_ICR, 0x400);
    assert_true(in->nmi);
    in->nmi = false;
    lapic_lint1(m.cpu[1]);
    assert_false(in->nmi);
    enable(1);
    set(1, APIC_LVT_LINT1, 0x400);
    lapic_lint1(m.cpu[1]);
    assert_true(in->nmi);
}

static void test_disabled_drops(void **state)
{
    (void)state;
    lapic_msi(&m.vm, 0xfee00000, 0x40);
    assert_int_equal(taken(0), -1);
    enable(0);
    assert_int_equal(taken(0), -1);
    /* What was accepted before stays. */
    lapic_msi(&m.vm, 0xfee00000, 0x40);
    set(0, APIC_SVR, 0xff);
    assert_int_equal(taken(0), 0x40);
}

/* ---- x2APIC -------------------------------------------------------------------------- */

static int wr(uint32_t msr, uint64_t v)
{
    return lapic_wrmsr(m.cpu[3], msr, v);
}

static int rd(uint32_t msr, uint64_t *v)
{
    return lapic_rdmsr(m.cpu[3], msr, v);
}

static void test_modes(void **state)
{
    uint64_t v;

    (void)state;
    assert_int_equal(rd(0x802, &v), SOFT_FAULT);
    assert_int_equal(wr(MSR_APIC_BASE, 0xfee00400), SOFT_FAULT);
    assert_int_equal(wr(MSR_APIC_BASE, 0xfee00801), SOFT_FAULT);
    assert_int_equal(wr(MSR_APIC_BASE, 0xfee00000), 0);
    assert_int_equal(wr(MSR_APIC_BASE, 0xfee00c00), SOFT_FAULT);
    assert_int_equal(wr(MSR_APIC_BASE, 0xfee00800), 0);
    assert_int_equal(wr(MSR_APIC_BASE, 0xfee00c00), 0);
    assert_int_equal(wr(MSR_APIC_BASE, 0xfee00800), SOFT_FAULT);
    assert_int_equal(rd(0x802, &v), 0);
    assert_int_equal(v, 3);
    assert_int_equal(rd(0x80d, &v), 0);
    assert_int_equal(v, 8);
    assert_int_equal(wr(MSR_APIC_BASE, 0xfee00000), 0);
    assert_int_equal(lapic_pending(m.cpu[3]), -1);
}

static void test_x2_faults(void **state)
{
    static const uint16_t unreadable[] = { 0x800, 0x80b, 0x809, 0x80e, 0x831, 0x83f, 0x8ff };
    static const struct {
        uint16_t msr;
        uint64_t v;
    } bad[] = { { 0x802, 0 },         { 0x803, 0 }, { 0x80a, 0 },       { 0x80d, 0 },
                { 0x80e, 0 },         { 0x80b, 1 }, { 0x828, 1 },       { 0x808, 0x100 },
                { 0x80f, 0x10000 },   { 0x810, 0 }, { 0x830, 1 << 20 }, { 0x831, 0 },
                { 0x832, 1 << 20 },   { 0x839, 0 }, { 0x83e, 4 },       { 0x83f, 0x100 },
                { 0x838, 1ULL << 32 } };
    static const struct {
        uint16_t msr;
        uint64_t v;
    } good[] = { { 0x80b, 0 },       { 0x828, 0 },   { 0x808, 0xff },      { 0x80f, 0x1ff },
                 { 0x832, 0x700ff }, { 0x83e, 0xb }, { 0x838, 0xffffffff } };
    uint64_t v;

    (void)state;
    assert_int_equal(wr(MSR_APIC_BASE, 0xfee00c00), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(unreadable); i++)
        assert_int_equal(rd(unreadable[i], &v), SOFT_FAULT);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(wr(bad[i].msr, bad[i].v), SOFT_FAULT);
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
        assert_int_equal(wr(good[i].msr, good[i].v), 0);
}

static void test_x2_messages(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NCPUS; i++) {
        assert_int_equal(lapic_wrmsr(m.cpu[i], MSR_APIC_BASE, 0xfee00c00), 0);
        assert_int_equal(lapic_wrmsr(m.cpu[i], 0x80f, 0x1ff), 0);
    }
    assert_int_equal(wr(0x83f, 0x60), 0);
    lapic_poll(m.cpu[3]);
    assert_int_equal(lapic_acknowledge(m.cpu[3]), 0x60);
    assert_int_equal(wr(0x80b, 0), 0);
    assert_int_equal(wr(0x830, 2ULL << 32 | 0x61), 0);
    assert_int_equal(lapic_pending(m.cpu[2]), -1);
    lapic_poll(m.cpu[2]);
    assert_int_equal(lapic_pending(m.cpu[2]), 0x61);
    /* Logical: cluster 0, bits 0 and 1. */
    assert_int_equal(wr(0x830, 3ULL << 32 | 0x862), 0);
    for (unsigned i = 0; i < NCPUS; i++) {
        lapic_poll(m.cpu[i]);
        assert_int_equal(lapic_pending(m.cpu[i]) == 0x62, i < 2);
    }
}

/* ---- timer --------------------------------------------------------------------------- */

static void test_one_shot(void **state)
{
    (void)state;
    enable(0);
    set(0, APIC_LVT_TIMER, 0x70);
    set(0, APIC_TIMER_DCR, 3); /* by 16 */
    set(0, APIC_TIMER_ICR, 100);
    assert_int_equal(get(0, APIC_TIMER_CCR), 100);
    at(1000 + 800, 0);
    assert_int_equal(get(0, APIC_TIMER_CCR), 50);
    set(0, APIC_TIMER_DCR, 0xb); /* by 1: goes on from 50 */
    at(1000 + 849, 0);
    assert_int_equal(get(0, APIC_TIMER_CCR), 1);
    assert_int_equal(taken(0), -1);
    at(1000 + 850, 0);
    assert_int_equal(get(0, APIC_TIMER_CCR), 0);
    assert_int_equal(taken(0), 0x70);
    at(100000, 0);
    assert_int_equal(taken(0), -1);
}

static void test_periodic(void **state)
{
    (void)state;
    enable(0);
    set(0, APIC_LVT_TIMER, 0x20071);
    set(0, APIC_TIMER_DCR, 0xb);
    set(0, APIC_TIMER_ICR, 1000);
    at(2000, 0);
    assert_int_equal(taken(0), 0x71);
    assert_int_equal(get(0, APIC_TIMER_CCR), 1000);
    /* Missed periods are one interrupt, and the phase stays. */
    at(7300, 0);
    assert_int_equal(taken(0), 0x71);
    assert_int_equal(taken(0), -1);
    assert_int_equal(get(0, APIC_TIMER_CCR), 700);
    set(0, APIC_TIMER_ICR, 0);
    at(20000, 0);
    assert_int_equal(taken(0), -1);
}

static void test_tsc_deadline(void **state)
{
    struct soft_cpu *c = m.cpu[0];
    uint64_t v;

    (void)state;
    enable(0);
    /* Not in this mode: ignored. */
    assert_int_equal(lapic_wrmsr(c, MSR_TSC_DEADLINE, 1), 0);
    assert_int_equal(lapic_rdmsr(c, MSR_TSC_DEADLINE, &v), 0);
    assert_int_equal(v, 0);
    set(0, APIC_LVT_TIMER, 0x40072);
    lapic_wrmsr(c, MSR_TSC_DEADLINE, soft_tsc(c) + 2001); /* 2 GHz */
    set(0, APIC_TIMER_ICR, 5);
    assert_int_equal(get(0, APIC_TIMER_CCR), 0);
    at(2000, 0);
    assert_int_equal(taken(0), -1);
    at(2001, 0);
    assert_true(soft_tsc(c) >= 4001);
    assert_int_equal(taken(0), 0x72);
    lapic_rdmsr(c, MSR_TSC_DEADLINE, &v);
    assert_int_equal(v, 0);
    /* The past fires at once, the far future never overflows. */
    lapic_wrmsr(c, MSR_TSC_DEADLINE, 1);
    assert_int_equal(taken(0), 0x72);
    lapic_wrmsr(c, MSR_TSC_DEADLINE, UINT64_MAX);
    assert_int_equal(taken(0), -1);
    lapic_wrmsr(c, MSR_TSC_DEADLINE, 0);
    assert_int_equal(m.cpu[0]->s.lapic.timer_deadline_ns, 0);
    /* Leaving the mode disarms. */
    lapic_wrmsr(c, MSR_TSC_DEADLINE, soft_tsc(c) + 10);
    set(0, APIC_LVT_TIMER, 0x72);
    at(1000000, 0);
    assert_int_equal(taken(0), -1);
}

static void test_tsc(void **state)
{
    struct soft_cpu *c = m.cpu[1];
    uint64_t v;

    (void)state;
    assert_int_equal(soft_tsc(c), 2000);
    assert_int_equal(soft_wrmsr(c, MSR_TSC, 5000), 0);
    soft_rdmsr(c, MSR_TSC_ADJUST, &v);
    assert_int_equal(v, 3000);
    assert_int_equal(soft_tsc(m.cpu[0]), 2000);
    vm_clock_set(&m.clock, 2000);
    assert_int_equal(soft_tsc(c), 7000);
    assert_int_equal(soft_tsc_to_ns(c, 7000), 2000);
    /* A load with another clock goes on from the saved value. */
    vm_clock_set(&m.clock, 77);
    soft_tsc_load(c, 7000);
    assert_int_equal(soft_tsc(c), 7000);
    assert_int_equal(soft_tsc(m.cpu[0]), 4000);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_reset),
        T(test_access),
        T(test_masked_while_disabled),
        T(test_esr),
        T(test_priority),
        T(test_eoi_exit),
        T(test_destinations),
        T(test_shorthands),
        T(test_init_sipi_nmi),
        T(test_disabled_drops),
        T(test_modes),
        T(test_x2_faults),
        T(test_x2_messages),
        T(test_one_shot),
        T(test_periodic),
        T(test_tsc_deadline),
        T(test_tsc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
