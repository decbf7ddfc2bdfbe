/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest of the translator may not reach, seen from the host's side: the
 * engine's own memory during a sweep of bad addresses (tests/guests/reach.c);
 * and what small guests cannot know of themselves (small.c).
 *
 * keepin IMAGE: a Multiboot guest that ends by a write to port 0xf4.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/rseq.h>
#include <unistd.h>

#include "machine.h"
#include "pages.h"
#include "small.h"

#include "board/boot.h"

#define PASSED 0x10
/* Seconds: a guest that never ends is a failure. */
#define LIMIT  100

/* ---- the engine's memory ----------------------------------------------------------------- */

static uint8_t trampolines[64 * KiB];

static void heap_may_change(const void *p)
{
    if (p)
        pages_may_change(p, malloc_usable_size((void *)(uintptr_t)p));
}

/* What vCPU 0 writes to that is not in mappings of its own, and what it may tell
 * vCPU 1: that code has changed. */
static void note_what_may_change(void)
{
    const struct mem *m = st.mem;
    struct bt *bt = bt_of(cpu(0));
    char *thread;

    pages_may_change(&st, sizeof(st));
    pages_may_change(trampolines, sizeof(trampolines));
    /* Of this thread: the host's kernel says there which CPU it runs on. */
    __asm__("mov %%fs:0, %0" : "=r"(thread));
    pages_may_change(thread + __rseq_offset, sizeof(struct rseq));
    pages_may_change(&errno, sizeof(errno));
    pages_may_change(m->hva, m->ram_size);
    pages_may_change(m, sizeof(*m));
    pages_may_change(m->code, (m->ram_size >> MEM_PAGE_SHIFT) * sizeof(*m->code));
    pages_may_change(st.vm, malloc_usable_size(st.vm));
    pages_may_change((void *)&cpu(1)->attention, sizeof(cpu(1)->attention));
    pages_may_change(&cpu(1)->changed, sizeof(cpu(1)->changed));
    pages_may_change((void *)&cpu(1)->code_changed, sizeof(cpu(1)->code_changed));
    heap_may_change(bt);
    heap_may_change(bt->scratch);
    heap_may_change(bt->parked);
    heap_may_change(bt->signal_stack);
    heap_may_change(cpu(0)->blocks);
    heap_may_change(cpu(0)->rights);
    for (unsigned n = 0; n < ARRAY_SIZE(bt->views); n++) {
        heap_may_change(bt->views[n].all.pages);
        heap_may_change(bt->views[n].local.pages);
    }
}

static void load(const char *image)
{
    struct boot_source *source;
    struct vcpu_state s;
    struct ram_map map;

    ram_map_init(&map, RAM);
    vcpu_state_reset(&s, 0, true, false);
    if (boot_open(&source, image, NULL, NULL, st.err, sizeof(st.err)) ||
        boot_load(source, st.mem, &map, RAM_ACPI, &s, st.err, sizeof(st.err)))
        fail(image);
    boot_close(source);
    set_state(0, &s);
    st.nserial = 0;
}

static unsigned changed_since(const struct pages *before)
{
    return pages_compare(before, pages_take(), NULL);
}

/* The check itself, by one byte here and there. */
static void notices(const struct pages *before)
{
    struct soft_cpu *idle = cpu(1);
    uint8_t *const places[] = { (uint8_t *)&idle->gpr[3], bt_of(idle)->rw, (uint8_t *)bt_of(idle)->parked,
                                (uint8_t *)&bt_of(idle)->spaces[2].gen };
    const unsigned none = changed_since(before);
    bool all = true;

    for (size_t n = 0; n < ARRAY_SIZE(places); n++) {
        *places[n] ^= 1;
        all &= changed_since(before) == none + 1;
        *places[n] ^= 1;
    }
    bt_of(idle)->views[VIEW_KERNEL].read[0x12345678] = 1;
    all &= changed_since(before) == none + 1;
    tell("a byte of the engine that changes is noticed, and a table that is touched", all);
}

static void test_untouched(const char *image)
{
    const struct pages *before, *after;
    struct bt *bt;
    uint32_t result;

    make_vm();
    make_vcpu(1);
    pages_note_mappings();
    make_vcpu(0);
    /* Once before: libraries are bound, stubs made. */
    load(image);
    run_guest(0);
    load(image);
    bt = bt_of(cpu(0));
    bt_cache_flush(bt);
    note_what_may_change();
    before = pages_take();
    memcpy(trampolines, bt->rx, MIN(bt->code_start, sizeof(trampolines)));
    result = run_guest(0);
    after = pages_take();
    printf("# %zu pages looked at, %llu instructions\n", pages_count(after),
           (unsigned long long)cpu(0)->insn_count);
    tell("the sweep passes", result == PASSED);
    if (result != PASSED)
        printf("# exit %d\n%s\n", page(0)->exit, st.serial);
    tell("the engine's memory is as it was", pages_compare(before, after, stdout) == 0);
    tell("so is the code that translations share",
         !memcmp(trampolines, bt->rx, MIN(bt->code_start, sizeof(trampolines))));
    notices(before);
    destroy_vm();
}

int main(int argc, char **argv)
{
    char why[160];

    if (argc != 2) {
        fprintf(stderr, "usage: keepin IMAGE\n");
        return 2;
    }
    if (engine_bt.probe(why, sizeof(why))) {
        printf("1..0 # skip %s\n", why);
        return 77;
    }
    alarm(LIMIT);
    test_untouched(argv[1]);
    test_small();
    printf("1..%u\n", st.ntests);
    return st.nfailed != 0;
}
