/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a recorder writes, a player gives back and compares; without a CPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/tape.h"
#include "debug/player.h"
#include "debug/recorder.h"

#define PAGES 4

struct fixture {
    struct mem *mem;
    struct cpu_model model;
    struct recording_machine machine;
    char path[40], err[200];
    struct recorder *recorder;
    struct player *player;
    struct vcpu_state state;
    uint64_t regs[TAPE_REGS];
    char console[16];
    bool a20;
};

static void a20(void *opaque, bool enabled)
{
    ((struct fixture *)opaque)->a20 = enabled;
}

static void eoi_exits(void *opaque, const uint64_t bitmap[4])
{
    (void)opaque;
    (void)bitmap;
}

static void console(void *opaque, unsigned port, const uint8_t *data, size_t n)
{
    struct fixture *f = opaque;

    assert_int_equal(port, 0);
    strncat(f->console, (const char *)data, n);
}

static const struct player_ops ops = { .a20 = a20, .eoi_exits = eoi_exits, .console = console };

static int setup(void **opaque)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fd;

    assert_int_equal(mem_create(&f->mem, PAGES * MEM_PAGE_SIZE, f->err, sizeof(f->err)), 0);
    assert_int_equal(mem_add_slot(f->mem, 0, PAGES * MEM_PAGE_SIZE, 0, false), 0);
    f->model.tsc_hz = 1000000000;
    f->machine = (struct recording_machine){ f->mem, &f->model, "none" };
    strcpy(f->path, "/tmp/bulkhead-record-XXXXXX");
    fd = mkstemp(f->path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(recorder_create(&f->recorder, f->path, true, f->err, sizeof(f->err)), 0);
    assert_int_equal(recorder_begin(f->recorder, &f->machine, f->err, sizeof(f->err)), 0);
    *opaque = f;
    return 0;
}

static int teardown(void **opaque)
{
    struct fixture *f = *opaque;

    recorder_free(f->recorder);
    player_free(f->player);
    mem_destroy(f->mem);
    unlink(f->path);
    free(f);
    return 0;
}

static struct tape_point at(struct fixture *f, uint64_t count)
{
    return (struct tape_point){ .count = count, .regs = f->regs, .flags = 2, .known = ~0ULL };
}

/* A clock is read, a device writes to memory, a port is read: 100 instructions. */
static void record(struct fixture *f)
{
    struct cpu_tape *t = recorder_tape(f->recorder);
    struct cpu_run *run = calloc(1, sizeof(*run));
    struct tape_point p;

    assert_int_equal(t->input(t, TAPE_TIME, 5000), 5000);
    mem_write(f->mem, 0x1000, "data", 4);
    recorder_dma(f->recorder, 0x1000, 4);
    recorder_console(f->recorder, 0, "hello", 5);
    recorder_a20(f->recorder, true);
    run->exit = CPU_EXIT_IO;
    run->io.port = 0x60;
    run->io.size = run->io.count = 1;
    run->io_data[0] = 42;
    recorder_exit(f->recorder, run);
    f->regs[3] = 77;
    p = at(f, 40);
    assert_true(t->point(t, TAPE_BLOCK, &p));
    assert_int_equal(t->input(t, TAPE_TIME, 6000), 6000);
    f->state.insn_count = 100;
    f->state.gpr[3] = 77;
    f->state.rflags = 2;
    assert_int_equal(recorder_end(f->recorder, &f->state, 7, "the end", f->err, sizeof(f->err)), 0);
    mem_write(f->mem, 0x1000, "\0\0\0\0", 4);
    free(run);
}

static struct cpu_tape *play(struct fixture *f)
{
    assert_int_equal(player_create(&f->player, f->path, &ops, f, f->err, sizeof(f->err)), 0);
    assert_int_equal(player_begin(f->player, &f->machine, f->err, sizeof(f->err)), 0);
    return player_tape(f->player);
}

static void ask_port(struct fixture *f, uint16_t port, uint8_t *answer)
{
    struct cpu_run *run = calloc(1, sizeof(*run));

    run->exit = CPU_EXIT_IO;
    run->io.port = port;
    run->io.size = run->io.count = 1;
    player_exit(f->player, run);
    *answer = run->io_data[0];
    free(run);
}

static void test_same(void **opaque)
{
    struct fixture *f = *opaque;
    struct cpu_tape *t;
    struct tape_point p;
    char data[4];
    uint8_t answer;

    record(f);
    t = play(f);
    assert_int_equal(t->next_count, 40);
    assert_int_equal(t->input(t, TAPE_TIME, 1), 5000);
    ask_port(f, 0x60, &answer);
    assert_int_equal(answer, 42);
    assert_true(f->a20);
    assert_string_equal(f->console, "hello");
    mem_read(f->mem, 0x1000, data, 4);
    assert_memory_equal(data, "data", 4);
    assert_false(t->waits(t));
    p = at(f, 40);
    assert_true(t->point(t, TAPE_BLOCK, &p));
    assert_int_equal(t->next, TAPE_END);
    assert_int_equal(t->input(t, TAPE_TIME, 2), 6000);
    p = at(f, 100);
    p.state = &f->state;
    assert_false(t->point(t, TAPE_END, &p));
    assert_int_equal(player_result(f->player)->end, PLAYER_AGREED);
    assert_int_equal(player_result(f->player)->status, 7);
    assert_string_equal(player_result(f->player)->text, "the end");
}

static void test_other_register(void **opaque)
{
    struct fixture *f = *opaque;
    struct cpu_tape *t;
    struct tape_point p;
    uint8_t answer;

    record(f);
    t = play(f);
    t->input(t, TAPE_TIME, 1);
    ask_port(f, 0x60, &answer);
    f->regs[3] = 78;
    p = at(f, 40);
    assert_false(t->point(t, TAPE_BLOCK, &p));
    assert_true(t->over);
    assert_int_equal(player_result(f->player)->end, PLAYER_DIFFERS);
    assert_non_null(strstr(player_result(f->player)->text, "rbx is 0x4e, and then it was 0x4d"));
}

static void test_other_exit(void **opaque)
{
    struct fixture *f = *opaque;
    struct cpu_tape *t;
    uint8_t answer;

    record(f);
    t = play(f);
    t->input(t, TAPE_TIME, 1);
    ask_port(f, 0x61, &answer);
    assert_true(t->over);
    assert_int_equal(player_result(f->player)->end, PLAYER_DIFFERS);
}

static void test_other_input(void **opaque)
{
    struct fixture *f = *opaque;
    struct cpu_tape *t;

    record(f);
    t = play(f);
    t->input(t, TAPE_RANDOM, 1);
    assert_true(t->over);
    assert_int_equal(player_result(f->player)->end, PLAYER_DIFFERS);
}

static void test_other_machine(void **opaque)
{
    struct fixture *f = *opaque;

    record(f);
    mem_write(f->mem, 0, "x", 1);
    assert_int_equal(player_create(&f->player, f->path, &ops, f, f->err, sizeof(f->err)), 0);
    assert_true(player_begin(f->player, &f->machine, f->err, sizeof(f->err)) < 0);
    assert_non_null(strstr(f->err, "it is of another machine"));
}

static void test_cut(void **opaque)
{
    struct fixture *f = *opaque;

    record(f);
    assert_int_equal(truncate(f->path, 60), 0);
    assert_int_equal(player_create(&f->player, f->path, &ops, f, f->err, sizeof(f->err)), 0);
    assert_true(player_begin(f->player, &f->machine, f->err, sizeof(f->err)) < 0);
    assert_non_null(strstr(f->err, "the recording ends too early"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_register, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_exit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_input, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
