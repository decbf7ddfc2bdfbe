/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exits and their log, doorbells, counters, MSRs and the paravirtual clock. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/soft/soft.h"

#define HZ 2596135000ULL

static struct soft_vm vm;
static struct vm_clock vm_time;
static struct cpu_model model;
static struct cpu_run run;
static struct soft_cpu *c;

static int setup(void **state)
{
    struct engine_config config = { .clock = &vm_time, .model = &model, .ncpus = 1 };
    char err[160];

    (void)state;
    memset(&vm, 0, sizeof(vm));
    memset(&run, 0, sizeof(run));
    assert_int_equal(mem_create(&config.mem, MiB, err, sizeof(err)), 0);
    assert_int_equal(mem_add_slot(config.mem, 0, MiB, 0, false), 0);
    vm_clock_init(&vm_time);
    assert_int_equal(cpu_model_init(&model, "host", 1, HZ, err, sizeof(err)), 0);
    soft_vm_init(&vm, &config);
    c = aligned_alloc(64, align_up(sizeof(*c), 64));
    assert_non_null(c);
    memset(c, 0, sizeof(*c));
    c->run = &run;
    soft_cpu_init(c, &vm, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    soft_cpu_fini(c);
    free(c);
    mem_destroy(vm.mem);
    soft_vm_fini(&vm);
    return 0;
}

/* ---- exits --------------------------------------------------------------------- */

static void test_port(void **state)
{
    uint64_t v = 0;

    (void)state;
    assert_int_equal(soft_io_in(c, 0x60, 1, &v), SOFT_EXIT);
    assert_int_equal(run.exit, CPU_EXIT_IO);
    assert_int_equal(run.io.port, 0x60);
    assert_false(run.io.write || run.io.string);
    run.io_data[0] = 0xaa;
    soft_io_complete(c);
    assert_int_equal(soft_io_in(c, 0x60, 1, &v), 0);
    assert_int_equal(v, 0xaa);
    soft_io_done(c);
    assert_int_equal(soft_io_out(c, 0x80, 4, 0x1122334455667788), SOFT_EXIT);
    assert_true(run.io.write);
    assert_memory_equal(run.io_data, "\x88\x77\x66\x55", 4);
    soft_io_complete(c);
    assert_int_equal(soft_io_out(c, 0x80, 4, 0x55667788), 0);
    soft_io_done(c);
    assert_int_equal(c->io.made, 0);
}

/* An instruction with several accesses makes each once, in order. */
static void test_log(void **state)
{
    uint64_t v;

    (void)state;
    assert_int_equal(soft_mmio_read(c, 0xe0000000, 8, &v), SOFT_EXIT);
    assert_int_equal(run.mmio.size, 8);
    run.mmio.data = 7;
    soft_io_complete(c);
    assert_int_equal(soft_mmio_read(c, 0xe0000000, 8, &v), 0);
    assert_int_equal(v, 7);
    assert_int_equal(soft_mmio_write(c, 0xe0000010, 2, 0x12345), SOFT_EXIT);
    assert_true(run.mmio.write);
    assert_int_equal(run.mmio.data, 0x2345);
    soft_io_complete(c);
    run.mmio.data = 99;
    assert_int_equal(soft_mmio_read(c, 0xe0000000, 8, &v), 0);
    assert_int_equal(v, 7);
    assert_int_equal(soft_mmio_write(c, 0xe0000010, 2, 0x2345), 0);
    /* Gone another way this time: the rest of the log is dropped. */
    soft_io_complete(c);
    assert_int_equal(soft_mmio_read(c, 0xe0000008, 8, &v), SOFT_EXIT);
    assert_int_equal(c->io.made, 0);
}

static void test_odd_sizes(void **state)
{
    static const struct {
        unsigned off, size;
    } parts[] = { { 0, 4 }, { 4, 2 }, { 6, 1 } };
    uint64_t v;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        assert_int_equal(soft_mmio_read(c, 0xe0000001, 7, &v), SOFT_EXIT);
        assert_int_equal(run.mmio.gpa, 0xe0000001 + parts[i].off);
        assert_int_equal(run.mmio.size, parts[i].size);
        run.mmio.data = 0xf0f1f2f3f4f5f6f7 >> (i * 8);
        soft_io_complete(c);
    }
    assert_int_equal(soft_mmio_read(c, 0xe0000001, 7, &v), 0);
    assert_int_equal(v, 0x00f5f5f6f4f5f6f7);
}

static void test_log_is_bounded(void **state)
{
    uint64_t v = 0;
    unsigned n = 0;

    (void)state;
    for (unsigned round = 0; round < SOFT_IO_LOG + 5; round++) {
        int r = 0;

        for (n = 0; n < SOFT_IO_LOG + 4 && !r; n++)
            r = soft_mmio_read(c, 0xe0000000 + n * 8, 8, &v);
        if (!r)
            break;
        run.mmio.data = n;
        soft_io_complete(c);
    }
    assert_int_equal(n, SOFT_IO_LOG + 4);
    assert_int_equal(v, ~0ULL);
}

static void test_strings(void **state)
{
    uint8_t data[16];
    unsigned n;

    (void)state;
    assert_int_equal(soft_io_ins(c, 0x1f0, 2, data, 8, &n), SOFT_EXIT);
    assert_true(run.io.string);
    assert_int_equal(run.io.count, 8);
    memcpy(run.io_data, "abcdefgh", 8);
    run.io.count = 3;
    soft_io_complete(c);
    assert_int_equal(soft_io_ins(c, 0x1f0, 2, data, 8, &n), 0);
    assert_int_equal(n, 3);
    assert_memory_equal(data, "abcdef", 6);
    soft_io_done(c);
    /* A hostile count cannot reach beyond what was asked for. */
    soft_io_ins(c, 0x1f0, 2, data, 8, &n);
    run.io.count = 5000;
    soft_io_complete(c);
    soft_io_ins(c, 0x1f0, 2, data, 8, &n);
    assert_int_equal(n, 8);
    soft_io_done(c);
    assert_int_equal(soft_io_outs(c, 0x1f0, 4, "0123456789abcdef", 4, &n), SOFT_EXIT);
    assert_memory_equal(run.io_data, "0123456789abcdef", 16);
    soft_io_complete(c);
    assert_int_equal(soft_io_outs(c, 0x1f0, 4, "0123456789abcdef", 4, &n), 0);
    assert_int_equal(n, 4);
}

/* ---- answered inside --------------------------------------------------------------- */

static uint64_t rings(int fd)
{
    uint64_t v = 0;

    return read(fd, &v, sizeof(v)) == sizeof(v) ? v : 0;
}

static void test_doorbells(void **state)
{
    int fd = eventfd(0, EFD_NONBLOCK);

    (void)state;
    assert_int_equal(soft_doorbell_add(&vm, false, 0xe0001000, 2, true, 3, fd), 0);
    assert_int_equal(soft_doorbell_add(&vm, false, 0xe0001000, 2, true, 3, fd), -EEXIST);
    assert_int_equal(soft_doorbell_add(&vm, true, 0x500, 0, false, 0, fd), 0);
    assert_int_equal(soft_doorbell_add(&vm, true, 0x500, 3, false, 0, fd), -EINVAL);
    assert_int_equal(soft_mmio_write(c, 0xe0001000, 2, 3), 0);
    assert_int_equal(rings(fd), 1);
    assert_int_equal(soft_mmio_write(c, 0xe0001000, 2, 4), SOFT_EXIT);
    c->io.pending = false;
    assert_int_equal(soft_mmio_write(c, 0xe0001000, 4, 3), SOFT_EXIT);
    c->io.pending = false;
    assert_int_equal(soft_io_out(c, 0x500, 1, 1), 0);
    assert_int_equal(soft_io_out(c, 0x500, 4, 9), 0);
    assert_int_equal(rings(fd), 2);
    assert_int_equal(soft_doorbell_del(&vm, true, 0x500, 0, false, 0), 0);
    assert_int_equal(soft_doorbell_del(&vm, true, 0x500, 0, false, 0), -ENOENT);
    assert_int_equal(soft_io_out(c, 0x500, 1, 1), SOFT_EXIT);
    assert_int_equal(rings(fd), 0);
    close(fd);
}

static void test_counters(void **state)
{
    const struct cpu_counter pm = { 0x608, 4, 3579545, 0xffffff, 5 };
    uint64_t v;

    (void)state;
    assert_int_equal(soft_counter_add(&vm, &pm), 0);
    vm_clock_set(&vm_time, 2 * NSEC_PER_SEC);
    assert_int_equal(soft_io_in(c, 0x608, 4, &v), 0);
    assert_int_equal(v, 7159095);
    vm_clock_set(&vm_time, 6 * NSEC_PER_SEC);
    soft_io_in(c, 0x608, 4, &v);
    assert_int_equal(v, (6 * 3579545 + 5) & 0xffffff);
    assert_int_equal(soft_io_in(c, 0x608, 2, &v), SOFT_EXIT);
}

/* ---- permission bitmap ---------------------------------------------------------------- */

static void test_permission(void **state)
{
    struct seg_state *tr = &c->s.seg[SEG_TR];
    uint16_t map = 104;
    uint8_t bits = 0xfe;

    (void)state;
    assert_int_equal(soft_io_allowed(c, 0x60, 1), 0);
    c->s.cr0 |= CR0_PE;
    c->cpl = 3;
    soft_mode_changed(c);
    *tr = (struct seg_state){ .base = 0x1000, .limit = 104 + 13, .attr = 0x8b, .selector = 8 };
    mem_write(vm.mem, 0x1000 + 102, &map, 2);
    mem_write(vm.mem, 0x1000 + 104 + 0x60 / 8, &bits, 1);
    assert_int_equal(soft_io_allowed(c, 0x60, 1), 0);
    assert_int_equal(soft_io_allowed(c, 0x60, 2), SOFT_FAULT);
    assert_int_equal(c->exc.vector, VEC_GP);
    assert_int_equal(soft_io_allowed(c, 0x58, 4), 0);
    /* The byte behind the last one is read as well. */
    assert_int_equal(soft_io_allowed(c, 0x68, 1), SOFT_FAULT);
    tr->limit = 104 + 14;
    assert_int_equal(soft_io_allowed(c, 0x68, 1), 0);
    tr->attr = 0x83; /* 16-bit TSS: no bitmap */
    assert_int_equal(soft_io_allowed(c, 0x68, 1), SOFT_FAULT);
    c->rflags |= X86_IOPL;
    assert_int_equal(soft_io_allowed(c, 0x68, 1), 0);
}

/* ---- MSRs -------------------------------------------------------------------------------- */

static void test_msrs(void **state)
{
    static const struct {
        uint32_t msr;
        uint64_t v;
    } bad[] = { { MSR_EFER, 2 },
                { MSR_EFER, 1ULL << 12 },
                { MSR_LSTAR, 1ULL << 47 },
                { MSR_PAT, 2 },
                { MSR_PAT, 8 },
                { MSR_MTRR_DEF_TYPE, 0x200 },
                { MSR_MTRR_DEF_TYPE, 2 },
                { MSR_MTRR_FIX64K, 7 },
                { MSR_MTRR_PHYSBASE0, 0x100 },
                { MSR_MTRR_PHYSBASE0 + 1, 1 },
                { MSR_MTRR_PHYSBASE0, 1ULL << 60 },
                { MSR_MTRRCAP, 0 },
                { 0x12345, 0 },
                { MSR_KVM_PV_EOI, 2 },
                { MSR_SPEC_CTRL, 0 },
                { MSR_APIC_BASE, 1 } };
    static const struct {
        uint32_t msr;
        uint64_t v;
    } good[] = { { MSR_EFER, 0x901 },
                 { MSR_LSTAR, 0xffff800000000000 },
                 { MSR_PAT, 0x0007010600070106 },
                 { MSR_MTRR_DEF_TYPE, 0xc06 },
                 { MSR_MTRR_FIX4K + 7, 0x0606060606060606 },
                 { MSR_MTRR_PHYSBASE0 + 14, 0x80000006 },
                 { MSR_MTRR_PHYSBASE0 + 15, 0xff80000800 },
                 { MSR_FS_BASE, 0x1234 },
                 { MSR_KERNEL_GS_BASE, 1 },
                 { MSR_STAR, 0x123456789abcdef },
                 { MSR_SYSENTER_CS, 0x10 },
                 { MSR_TSC_AUX, 0xffffffff } };
    uint64_t v;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(soft_wrmsr(c, bad[i].msr, bad[i].v), SOFT_FAULT);
        assert_int_equal(c->exc.vector, VEC_GP);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(soft_wrmsr(c, good[i].msr, good[i].v), 0);
        assert_int_equal(soft_rdmsr(c, good[i].msr, &v), 0);
        assert_int_equal(v, good[i].v);
    }
    assert_int_equal(soft_rdmsr(c, 0x12345, &v), SOFT_FAULT);
    /* LME is fixed while paging is on. */
    c->s.cr0 |= CR0_PG | CR0_PE;
    assert_int_equal(soft_wrmsr(c, MSR_EFER, 0x801), SOFT_FAULT);
}

/* ---- kvmclock -------------------------------------------------------------------------------- */

struct info {
    uint32_t version, pad0;
    uint64_t tsc, ns;
    uint32_t mul;
    int8_t shift;
    uint8_t flags, pad[2];
};

/* What a guest computes (Linux, pvclock_clocksource_read). */
static uint64_t guest_ns(uint64_t gpa)
{
    struct info i;
    uint64_t delta;

    assert_int_equal(mem_read(vm.mem, gpa, &i, sizeof(i)), 0);
    assert_int_equal(i.version & 1, 0);
    delta = soft_tsc(c) - i.tsc;
    delta = i.shift < 0 ? delta >> -i.shift : delta << i.shift;
    return i.ns + (uint64_t)((unsigned __int128)delta * i.mul >> 32);
}

static void test_kvmclock(void **state)
{
    static const uint64_t rates[] = { 1000000000, 999999999, HZ, 4999000000, 33000000 };
    uint32_t wall[3];

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
        model.tsc_hz = rates[i];
        vm_clock_set(&vm_time, 5 * NSEC_PER_SEC);
        assert_int_equal(soft_wrmsr(c, MSR_KVM_SYSTEM_TIME, 0x2001), 0);
        assert_int_equal(guest_ns(0x2000), 5 * NSEC_PER_SEC);
        /* An hour later it is right to a microsecond. */
        vm_clock_set(&vm_time, 3605 * NSEC_PER_SEC);
        assert_in_range(guest_ns(0x2000), 3605 * NSEC_PER_SEC - 1000, 3605 * NSEC_PER_SEC + 1000);
        /* The guest moves its TSC: time stays. */
        soft_wrmsr(c, MSR_TSC, 12345);
        assert_in_range(guest_ns(0x2000), 3605 * NSEC_PER_SEC - 1000, 3605 * NSEC_PER_SEC);
        soft_wrmsr(c, MSR_TSC_ADJUST, 0);
    }
    assert_int_equal(soft_wrmsr(c, MSR_KVM_WALL_CLOCK, 0x3000), 0);
    mem_read(vm.mem, 0x3000, wall, sizeof(wall));
    assert_int_equal(wall[0] & 1, 0);
    assert_true(wall[0] != 0);
    assert_in_range(wall[1], wall_ns() / NSEC_PER_SEC - 3607, wall_ns() / NSEC_PER_SEC - 3604);
    /* Not RAM: nothing happens. */
    assert_int_equal(soft_wrmsr(c, MSR_KVM_SYSTEM_TIME, 0xffffffffff001), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_port),    T(test_log),       T(test_odd_sizes), T(test_log_is_bounded),
        T(test_strings), T(test_doorbells), T(test_counters),  T(test_permission),
        T(test_msrs),    T(test_kvmclock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
