/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator's code cache: its limit, eviction of a part, growth, and what
 * happens when the host refuses memory.  The guest is a chain of small pieces
 * of code on many pages that adds up numbers, so each piece that is skipped,
 * run twice or run in the wrong place shows in the sum.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cpu/state.h"
#include "engine/bt/bt.h"
#include "engine/bt/host.h"

extern const struct engine_ops engine_bt;

/* The linker leads the engine's calls here (meson.build). */
void *__real_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset);
int __real_ftruncate64(int fd, off_t size);
int __real_fallocate64(int fd, int mode, off_t offset, off_t size);
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset);
int __wrap_ftruncate64(int fd, off_t size);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

#define NEVER (~0u)
static unsigned requests, refuse_at = NEVER;    /* all calls that ask for memory; the one that fails */
static unsigned grown, refuse_growth = NEVER;   /* fallocate: this one and all behind it fail */

static bool refused(void)
{
    return requests++ == refuse_at;
}

void *__wrap_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    if (refused()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap64(at, size, prot, flags, fd, offset);
}

int __wrap_ftruncate64(int fd, off_t size)
{
    if (refused()) {
        errno = ENOMEM;
        return -1;
    }
    return __real_ftruncate64(fd, size);
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t size)
{
    if (grown++ >= refuse_growth || refused()) {
        errno = ENOSPC;
        return -1;
    }
    return __real_fallocate64(fd, mode, offset, size);
}

void *__wrap_malloc(size_t size)
{
    return refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return refused() ? NULL : __real_calloc(n, size);
}

/* ---- a machine ---------------------------------------------------------------------- */

#define RAM (16 * MiB)
enum { PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, CODE = 0x400000, PIECE = 512, PIECES = 4096, PORT = 0xf0 };

static struct vm_clock vm_time;
static struct cpu_model model;
static struct engine_config config;
static struct engine_vm *vm;
static struct soft_cpu *c;

static void put64(uint64_t gpa, uint64_t v)
{
    mem_write(config.mem, gpa, &v, 8);
}

static unsigned put_jump(uint8_t *at, unsigned opcode_bytes, uint32_t from, uint32_t to)
{
    int32_t by = (int32_t)(to - (from + opcode_bytes + 4));

    memcpy(at + opcode_bytes, &by, 4);
    return opcode_bytes + 4;
}

/* add rax, n; a load, which misses at first; jmp to the next.  Eight of them are in a
 * page, so there are links, and the page is left by the eighth. */
static void put_piece(unsigned n, unsigned pieces)
{
    uint8_t code[64] = { 0x48, 0x05, 0, 0, 0, 0, 0x48, 0x8b, 0x0c, 0x25, 0, 0, 0, 0 };
    uint32_t at = CODE + n * PIECE, data = CODE + PIECES * PIECE + n * 64;
    unsigned len = 14;

    memcpy(code + 2, &n, 4);
    memcpy(code + 10, &data, 4);
    if (n < pieces - 1) {
        code[len] = 0xe9;
        len += put_jump(code + len, 1, at + len, at + PIECE);
    } else {
        static const uint8_t dec_rbx[] = { 0x48, 0xff, 0xcb };

        memcpy(code + len, dec_rbx, 3);
        len += 3;
        code[len] = 0x0f;
        code[len + 1] = 0x85;                   /* jne to the first */
        len += put_jump(code + len, 2, at + len, CODE);
        code[len++] = 0xe6;                     /* out PORT, al */
        code[len++] = PORT;
    }
    mem_write(config.mem, at, code, len);
}

static void make_vm(uint64_t tb_size)
{
    char err[160];

    config = (struct engine_config){ .clock = &vm_time, .model = &model, .ncpus = 1, .tb_size = tb_size };
    assert_int_equal(mem_create(&config.mem, RAM, err, sizeof(err)), 0);
    assert_int_equal(mem_add_slot(config.mem, 0, RAM, 0, false), 0);
    vm_clock_init(&vm_time);
    assert_int_equal(cpu_model_init(&model, "host", 1, 1000000000, err, sizeof(err)), 0);
    assert_int_equal(engine_bt.vm_create(&vm, &config, err, sizeof(err)), 0);
    put64(PML4, PDPT | PTE_P | PTE_W);
    put64(PDPT, PD | PTE_P | PTE_W);
    for (unsigned n = 0; n < RAM >> 21; n++)
        put64(PD + n * 8, (uint64_t)n << 21 | PTE_P | PTE_W | PTE_PS);
}

static void unmake_vm(void)
{
    engine_bt.vm_destroy(vm);
    mem_destroy(config.mem);
}

static int make_cpu(void)
{
    return engine_bt.vcpu_create((struct vcpu **)&c, vm, 0);
}

static void unmake_cpu(void)
{
    engine_bt.vcpu_destroy((struct vcpu *)c);
}

/* Go through the chain; its sum is right. */
static void run_chain(unsigned pieces, uint64_t rounds)
{
    struct vcpu_state s;
    char err[160];

    for (unsigned n = 0; n < pieces; n++)
        put_piece(n, pieces);
    vcpu_state_reset(&s, 0, true, false);
    s.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    s.cr3 = PML4;
    s.cr4 = CR4_PAE | CR4_PGE;
    s.efer = EFER_LME | EFER_LMA;
    s.seg[SEG_CS] = (struct seg_state){ 0, 0xffffffff, 0xa09b, 8 };
    s.seg[SEG_SS] = (struct seg_state){ 0, 0xffffffff, 0xc093, 16 };
    s.rip = CODE;
    s.gpr[CPU_RAX] = 0;
    s.gpr[CPU_RBX] = rounds;
    assert_int_equal(engine_bt.vcpu_set_state((struct vcpu *)c, &s, err, sizeof(err)), 0);
    assert_int_equal(engine_bt.vcpu_run((struct vcpu *)c), 0);
    assert_int_equal(c->run->exit, CPU_EXIT_IO);
    engine_bt.vcpu_get_state((struct vcpu *)c, &s);
    assert_int_equal(s.gpr[CPU_RAX], rounds * pieces * (pieces - 1) / 2);
}

/* ---- tests ---------------------------------------------------------------------------- */

/* Everything that the cache knows lies inside its limit. */
static void check_limits(uint64_t size)
{
    const struct bt *bt = c->translator;
    unsigned blocks = 0;

    assert_int_equal(bt->code_size, size);
    assert_true(bt->code_start + (uint64_t)bt->nregions * bt->region_code <= size);
    for (unsigned n = 0; n < bt->nregions; n++) {
        assert_true(bt->regions[n].code_used <= bt->code_start + (uint64_t)(n + 1) * bt->region_code);
        assert_true(bt->regions[n].meta_used <= (n + 1) * bt->region_meta);
        blocks += bt->regions[n].nblocks;
    }
    assert_int_equal(blocks, bt->nblocks);
}

static void test_limit(void **state)
{
    (void)state;
    make_vm(128 * KiB);
    assert_int_equal(make_cpu(), 0);
    run_chain(PIECES, 3);
    assert_true(c->translator->evictions > c->translator->nregions);
    assert_int_equal(c->translator->flushes, 1);
    assert_true(c->translator->nblocks > 0);
    check_limits(128 * KiB);
    /* A chain that fits is translated once. */
    run_chain(8, 1000);
    c->translator->translated = 0;
    run_chain(8, 1000);
    assert_true(c->translator->translated < 100);
    unmake_cpu();
    unmake_vm();
}

/* Code that comes back gets more room, up to all there is. */
static void test_growth(void **state)
{
    struct bt *bt;

    (void)state;
    make_vm(2 * MiB);
    assert_int_equal(make_cpu(), 0);
    bt = c->translator;
    assert_true(bt->nregions > 2);
    bt->wanted = 1;
    run_chain(PIECES, 1);
    assert_int_equal(bt->wanted, 1);
    assert_int_equal(bt->again, 0);
    run_chain(PIECES, 10);
    assert_true(bt->again > 0);
    assert_true(bt->wanted > 1);
    check_limits(2 * MiB);
    unmake_cpu();
    unmake_vm();
}

/* A guest that idles gives regions back; what was in them works on. */
static void test_shrink(void **state)
{
    struct bt *bt;
    unsigned open = 0;

    (void)state;
    make_vm(512 * KiB);
    assert_int_equal(make_cpu(), 0);
    bt = c->translator;
    run_chain(PIECES, 2);
    bt->base = 1;
    for (unsigned n = 0; n < 2; n++) {
        uint64_t evictions = bt->evictions;

        bt_cache_shrink(bt);
        assert_int_equal(bt->evictions, evictions + 1);
        check_limits(512 * KiB);
        run_chain(64, 2);
    }
    bt_cache_shrink(bt);        /* the last one stays */
    for (unsigned n = 0; n < bt->nregions; n++)
        open += bt->regions[n].open;
    assert_int_equal(open, 1);
    assert_true(bt->nblocks > 0);
    run_chain(PIECES, 10);
    assert_true(bt->wanted > 1);
    unmake_cpu();
    unmake_vm();
}

/* Each request for memory refused in turn, until none is left. */
static void test_refused_at_start(void **state)
{
    bool met = true;
    unsigned interpreted = 0;

    (void)state;
    make_vm(MiB);
    for (unsigned n = 0; met; n++) {
        int ret;

        requests = 0;
        refuse_at = n;
        ret = make_cpu();
        met = requests > n;
        if (!ret) {
            if (!c->translator)
                interpreted++;
            run_chain(64, 3);
            unmake_cpu();
        }
        refuse_at = NEVER;
    }
    assert_true(interpreted > 0);
    unmake_vm();
}

static void test_refused_later(void **state)
{
    (void)state;
    make_vm(2 * MiB);
    for (unsigned n = 0; n < 3; n++) {
        grown = 0;
        refuse_growth = n;
        assert_int_equal(make_cpu(), 0);
        run_chain(PIECES, 2);
        assert_int_equal(c->translator->translated == 0, n == 0);
        for (unsigned r = 0; r < c->translator->nregions; r++)
            assert_int_equal(c->translator->regions[r].open, r < n);
        check_limits(2 * MiB);
        unmake_cpu();
    }
    refuse_growth = NEVER;
    unmake_vm();
}

/* What is said in `info engine`, with and without a translator. */
static void test_info(void **state)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    (void)state;
    assert_non_null(f);
    make_vm(128 * KiB);
    assert_int_equal(make_cpu(), 0);
    run_chain(PIECES, 1);
    engine_bt.vcpu_info((struct vcpu *)c, f);
    fclose(f);
    assert_non_null(strstr(text, "evictions"));
    assert_non_null(strstr(text, "bytes of code and"));
    free(text);
    unmake_cpu();
    unmake_vm();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_shrink),
        cmocka_unit_test(test_refused_at_start),
        cmocka_unit_test(test_refused_later),
        cmocka_unit_test(test_info),
    };

    if (!bt_host_fits())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
