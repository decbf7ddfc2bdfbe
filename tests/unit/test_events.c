/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events of a vCPU without running an instruction: HLT and who ends it, INIT
 * and SIPI, the PIC's acknowledge cycle; and running alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/soft/lapic.h"

#define NCPUS    4
#define HANDLER  0x7000u /* of vector v: HANDLER + v, in segment 0 */
#define ROUNDS   20000
#define ALONE    16 /* every so many rounds */
#define NEVER_MS 30 /* long enough for what must not happen */
#define SOON_NS  2000000

static struct machine {
    struct soft_vm vm;
    struct mem *mem;
    struct vm_clock clock;
    struct cpu_model model;
    struct cpu_run run[NCPUS];
    struct soft_cpu *cpu[NCPUS];
    pthread_t thread[NCPUS];
    _Atomic int result[NCPUS]; /* of soft_events; -1: not back yet */
    _Atomic int inside, errors;
} m;

static int setup(void **state)
{
    char err[160];

    (void)state;
    memset(&m, 0, sizeof(m));
    assert_int_equal(mem_create(&m.mem, MiB, err, sizeof(err)), 0);
    assert_int_equal(mem_add_slot(m.mem, 0, MiB, 0, false), 0);
    for (unsigned v = 0; v < 256; v++) {
        uint32_t entry = HANDLER + v;

        mem_write(m.mem, v * 4, &entry, 4);
    }
    vm_clock_init(&m.clock);
    assert_int_equal(cpu_model_init(&m.model, "host", NCPUS, 1000000000, err, sizeof(err)), 0);
    soft_vm_init(&m.vm, &(struct engine_config){
                            .mem = m.mem, .clock = &m.clock, .model = &m.model, .ncpus = NCPUS });
    for (unsigned i = 0; i < NCPUS; i++) {
        m.cpu[i] = aligned_alloc(64, align_up(sizeof(struct soft_cpu), 64));
        assert_non_null(m.cpu[i]);
        memset(m.cpu[i], 0, sizeof(struct soft_cpu));
        m.cpu[i]->run = &m.run[i];
        soft_cpu_init(m.cpu[i], &m.vm, i);
    }
    vm_clock_start(&m.clock);
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
    mem_destroy(m.mem);
    return 0;
}

/* As vcpu_run does it, up to the first instruction. */
static void *run_thread(void *arg)
{
    struct soft_cpu *c = arg;

    soft_io_complete(c);
    soft_unpark(c);
    atomic_store(&m.result[c->id], soft_events(c));
    soft_park(c);
    return NULL;
}

static void run(unsigned cpu)
{
    atomic_store(&m.result[cpu], -1);
    assert_int_equal(pthread_create(&m.thread[cpu], NULL, run_thread, m.cpu[cpu]), 0);
}

static int finish(unsigned cpu)
{
    pthread_join(m.thread[cpu], NULL);
    return atomic_load(&m.result[cpu]);
}

static bool still_waits(unsigned cpu)
{
    usleep(NEVER_MS * 1000);
    return atomic_load(&m.result[cpu]) == -1;
}

static void halt(unsigned cpu)
{
    struct soft_cpu *c = m.cpu[cpu];

    c->s.mp_state = MP_HALTED;
    soft_set_rflags(c, X86_FLAGS_FIXED | X86_IF);
    lapic_mmio_write(c, APIC_SVR * 16, 4, 0x1ff);
}

/* ---- HLT ------------------------------------------------------------------------- */

static void test_message_wakes(void **state)
{
    (void)state;
    halt(0);
    run(0);
    assert_true(still_waits(0));
    assert_int_equal(m.cpu[0]->running, 0);
    lapic_msi(&m.vm, 0xfee00000, 0x40);
    assert_int_equal(finish(0), 0);
    assert_int_equal(soft_rip(m.cpu[0]), HANDLER + 0x40);
    assert_int_equal(m.cpu[0]->s.mp_state, MP_RUNNABLE);
    assert_false(soft_get_rflags(m.cpu[0]) & X86_IF);
}

static void test_timer_wakes(void **state)
{
    static const uint32_t modes[] = { 0x00041, 0x20041, 0x40041 };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        struct soft_cpu *c = m.cpu[0];

        halt(0);
        lapic_mmio_write(c, APIC_LVT_TIMER * 16, 4, modes[i]);
        lapic_mmio_write(c, APIC_TIMER_DCR * 16, 4, 0xb);
        if (i == 2)
            lapic_wrmsr(c, MSR_TSC_DEADLINE, soft_tsc(c) + SOON_NS);
        else
            lapic_mmio_write(c, APIC_TIMER_ICR * 16, 4, SOON_NS);
        run(0);
        assert_int_equal(finish(0), 0);
        assert_int_equal(soft_rip(c), HANDLER + 0x41);
        lapic_mmio_write(c, APIC_EOI * 16, 4, 0);
    }
}

static void test_masked_does_not_wake(void **state)
{
    (void)state;
    halt(0);
    soft_set_rflags(m.cpu[0], X86_FLAGS_FIXED);
    run(0);
    lapic_msi(&m.vm, 0xfee00000, 0x40);
    assert_true(still_waits(0));
    lapic_msi(&m.vm, 0xfee00000, 0x400); /* NMI */
    assert_int_equal(finish(0), 0);
    assert_int_equal(soft_rip(m.cpu[0]), HANDLER + 2);
    assert_true(m.cpu[0]->s.shadows & SHADOW_NMI);
    assert_true(m.cpu[0]->event_waiting);
}

static void test_kick(void **state)
{
    (void)state;
    halt(0);
    run(0);
    assert_true(still_waits(0));
    soft_attention(m.cpu[0], ATT_KICK);
    assert_int_equal(finish(0), SOFT_EXIT);
    assert_int_equal(m.run[0].exit, CPU_EXIT_INTR);
    assert_int_equal(m.cpu[0]->s.mp_state, MP_HALTED);
    m.run[0].immediate_exit = true;
    run(0);
    assert_int_equal(finish(0), SOFT_EXIT);
    assert_int_equal(m.run[0].exit, CPU_EXIT_INTR);
}

static void test_halt_exit(void **state)
{
    (void)state;
    halt(0);
    m.run[0].halt_exits = true;
    run(0);
    assert_int_equal(finish(0), SOFT_EXIT);
    assert_int_equal(m.run[0].exit, CPU_EXIT_HALT);
}

/* ---- shadows, ExtINT, INIT and SIPI ------------------------------------------------- */

static void test_shadow_holds_back(void **state)
{
    struct soft_cpu *c = m.cpu[0];

    (void)state;
    halt(0);
    c->s.mp_state = MP_RUNNABLE;
    c->shadow = SHADOW_STI;
    lapic_msi(&m.vm, 0xfee00000, 0x40);
    run(0);
    assert_int_equal(finish(0), 0);
    assert_int_equal(soft_rip(c), 0xfff0);
    assert_true(atomic_load(&c->attention) & ATT_EVENT);
    c->shadow = 0;
    run(0);
    assert_int_equal(finish(0), 0);
    assert_int_equal(soft_rip(c), HANDLER + 0x40);
}

static void test_extint(void **state)
{
    struct soft_cpu *c = m.cpu[0];

    (void)state;
    halt(0);
    lapic_mmio_write(c, APIC_LVT_LINT0 * 16, 4, 0x700);
    run(0);
    assert_true(still_waits(0));
    atomic_store(&c->inbox.extint, true);
    soft_attention(c, ATT_EVENT);
    assert_int_equal(finish(0), SOFT_EXIT);
    assert_int_equal(m.run[0].exit, CPU_EXIT_EXTINT);
    /* Spurious: the request is gone, the vCPU goes on waiting. */
    atomic_store(&c->inbox.extint, false);
    run(0);
    assert_true(still_waits(0));
    atomic_store(&c->inbox.extint, true);
    soft_attention(c, ATT_EVENT);
    assert_int_equal(finish(0), SOFT_EXIT);
    atomic_store(&c->inbox.extint, false);
    m.run[0].extint.vector = 0x20;
    run(0);
    assert_int_equal(finish(0), 0);
    assert_int_equal(soft_rip(c), HANDLER + 0x20);
    /* Masked at LINT0: not even asked. */
    halt(0);
    lapic_mmio_write(c, APIC_LVT_LINT0 * 16, 4, 0x10700);
    atomic_store(&c->inbox.extint, true);
    run(0);
    assert_true(still_waits(0));
    soft_attention(c, ATT_KICK);
    finish(0);
}

/* An ExtINT message that meets IF clear waits for STI, as an interrupt does. */
static void test_extint_message_blocked(void **state)
{
    struct soft_cpu *c = m.cpu[0];

    (void)state;
    c->s.mp_state = MP_RUNNABLE;
    c->rflags &= ~(uint32_t)X86_IF;
    lapic_msi(&m.vm, 0xfee00000, 0x700);
    run(0);
    assert_int_equal(finish(0), 0);
    assert_int_equal(atomic_load(&c->attention), 0);
    soft_set_rflags(c, soft_get_rflags(c) | X86_IF);
    assert_true(atomic_load(&c->attention) & ATT_EVENT);
    run(0);
    assert_int_equal(finish(0), SOFT_EXIT);
    assert_int_equal(m.run[0].exit, CPU_EXIT_EXTINT);
}

static void test_init_sipi(void **state)
{
    struct soft_cpu *c = m.cpu[1];

    (void)state;
    run(1);
    assert_true(still_waits(1));
    lapic_msi(&m.vm, 0xfee01000, 0x40); /* only a SIPI starts it */
    assert_true(still_waits(1));
    lapic_msi(&m.vm, 0xfee01000, 0x609);
    assert_int_equal(finish(1), 0);
    assert_int_equal(c->s.seg[SEG_CS].base, 0x9000);
    assert_int_equal(c->s.seg[SEG_CS].selector, 0x900);
    c->gpr[CPU_RAX] = 5;
    c->s.cr2 = 7;
    lapic_msi(&m.vm, 0xfee01000, 0x60a); /* ignored while it runs */
    run(1);
    assert_int_equal(finish(1), 0);
    assert_int_equal(c->s.seg[SEG_CS].base, 0x9000);
    lapic_msi(&m.vm, 0xfee01000, 0x500);
    lapic_msi(&m.vm, 0xfee01000, 0x60b);
    run(1);
    assert_int_equal(finish(1), 0);
    assert_int_equal(c->s.seg[SEG_CS].base, 0xb000);
    assert_int_equal(c->gpr[CPU_RAX] | c->s.cr2, 0);
    assert_int_equal(c->gpr[CPU_RDX], cpu_model_lookup(&m.model, 1, 0).eax);
}

/* ---- running alone --------------------------------------------------------------------- */

static void *compete(void *arg)
{
    struct soft_cpu *c = arg;

    soft_unpark(c);
    for (unsigned n = 0; n < ROUNDS; n++) {
        if (atomic_load(&c->attention))
            soft_events(c);
        atomic_fetch_add(&m.inside, 1);
        atomic_fetch_sub(&m.inside, 1);
        if (n % ALONE)
            continue;
        soft_exclusive_begin(c);
        if (atomic_fetch_add(&m.inside, 1) != 0)
            atomic_fetch_add(&m.errors, 1);
        for (volatile int i = 0; i < 100; i++)
            ;
        if (atomic_fetch_sub(&m.inside, 1) != 1)
            atomic_fetch_add(&m.errors, 1);
        soft_exclusive_end(c);
    }
    soft_park(c);
    return NULL;
}

static void test_exclusive(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NCPUS; i++) {
        m.cpu[i]->s.mp_state = MP_RUNNABLE;
        assert_int_equal(pthread_create(&m.thread[i], NULL, compete, m.cpu[i]), 0);
    }
    for (unsigned i = 0; i < NCPUS; i++)
        pthread_join(m.thread[i], NULL);
    assert_int_equal(m.errors, 0);
    assert_null(m.vm.excl_owner);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_message_wakes),
        T(test_timer_wakes),
        T(test_masked_does_not_wake),
        T(test_kick),
        T(test_halt_exit),
        T(test_shadow_holds_back),
        T(test_extint),
        T(test_extint_message_blocked),
        T(test_init_sipi),
        T(test_exclusive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
