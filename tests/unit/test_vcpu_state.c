/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vCPU's state: its table covers all of it, reset, checks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cpu/state.h"
#include "x86/x86.h"

static unsigned type_size(enum state_type t)
{
    return t == STATE_U16 ? 2 : t == STATE_U32 ? 4 : t == STATE_U64 ? 8 : 1;
}

/* Every byte is in exactly one field, or is padding: no gap is as wide as the
 * alignment asks for. */
static void test_table_is_complete(void **state)
{
    static uint8_t owner[sizeof(struct vcpu_state)];
    unsigned gap = 0;

    (void)state;
    memset(owner, 0, sizeof(owner));
    for (const struct state_field *f = vcpu_state_desc.fields; f->name; f++)
        for (unsigned i = 0; i < f->count * type_size(f->type); i++)
            assert_int_equal(owner[f->offset + i]++, 0);
    for (unsigned i = 0; i < sizeof(owner); i++) {
        gap = owner[i] ? 0 : gap + 1;
        assert_true(gap < 8);
        /* A gap ends at an aligned offset. */
        if (gap && i + 1 < sizeof(owner) && owner[i + 1])
            assert_int_equal((i + 1) % (gap < 2 ? 2 : gap < 4 ? 4 : 8), 0);
    }
}

static void test_round_trip(void **state)
{
    struct vcpu_state a, b;
    struct state_writer w;
    struct state_reader r;
    uint8_t *p = (uint8_t *)a.xmm;

    (void)state;
    memset(&b, 0, sizeof(b));
    vcpu_state_reset(&a, 3, false, false);
    for (unsigned i = 0; i < sizeof(a.xmm) + sizeof(a.ymmh); i++)
        p[i] = (uint8_t)(i * 7);
    a.gpr[CPU_R15] = 0x123456789abcdef0;
    a.hi16_zmm[15][7] = 42;
    a.lapic.irr[7] = 0x80000000;
    a.seg[SEG_TR].selector = 0x40;
    a.idtr.limit = 0x3ff;
    a.insn_count = 1ULL << 40;
    state_writer_init(&w);
    state_save(&w, &vcpu_state_desc, 3, &a);
    assert_int_equal(w.error, 0);
    state_reader_init(&r, w.data, w.size);
    assert_int_equal(state_load(&r, &vcpu_state_desc, 3, &b), 0);
    state_writer_free(&w);
    for (const struct state_field *f = vcpu_state_desc.fields; f->name; f++)
        assert_memory_equal((char *)&a + f->offset, (char *)&b + f->offset,
                            f->count * type_size(f->type));
}

/* SDM 3A table 9-1. */
static void test_reset(void **state)
{
    struct vcpu_state s;
    char err[160];

    (void)state;
    vcpu_state_reset(&s, 0, true, false);
    assert_int_equal(vcpu_state_check(&s, err, sizeof(err)), 0);
    assert_int_equal(s.rip, 0xfff0);
    assert_int_equal(s.seg[SEG_CS].base, 0xffff0000);
    assert_int_equal(s.seg[SEG_CS].selector, 0xf000);
    assert_int_equal(s.cr0, 0x60000010);
    assert_int_equal(s.mxcsr, 0x1f80);
    assert_int_equal(s.fcw, 0x40);
    assert_int_equal(s.pat, 0x0007040600070406);
    assert_int_equal(s.dr6, 0xffff0ff0);
    assert_int_equal(s.mp_state, MP_RUNNABLE);
    assert_int_equal(s.lapic.base, 0xfee00900);
    vcpu_state_reset(&s, 5, false, false);
    assert_int_equal(s.mp_state, MP_WAIT_SIPI);
    assert_int_equal(s.lapic.base, 0xfee00800);
    assert_int_equal(s.lapic.id, 5u << 24);
}

static void test_init_keeps(void **state)
{
    struct vcpu_state s;

    (void)state;
    vcpu_state_reset(&s, 1, false, false);
    s.cr0 = CR0_PE | CR0_PG | CR0_CD;
    s.cr3 = s.cr4 = 0x1000;
    s.efer = 0xd00;
    s.xcr0 = 7;
    s.xmm[3][0] = 9;
    s.fcw = 0x37f;
    s.mtrr_def_type = 0xc06;
    s.tsc = 1234;
    s.lapic.base = 0xfee00c00;
    s.lapic.svr = 0x1ff;
    s.nmi_pending = true;
    vcpu_state_reset(&s, 1, false, true);
    assert_int_equal(s.cr0, CR0_CD | CR0_ET);
    assert_int_equal(s.cr3 | s.cr4 | s.efer, 0);
    assert_int_equal(s.xcr0, 7);
    assert_int_equal(s.xmm[3][0], 9);
    assert_int_equal(s.fcw, 0x37f);
    assert_int_equal(s.mtrr_def_type, 0xc06);
    assert_int_equal(s.tsc, 1234);
    assert_int_equal(s.lapic.base, 0xfee00c00);
    assert_int_equal(s.lapic.id, 1);
    assert_int_equal(s.lapic.ldr, 2);
    assert_int_equal(s.lapic.svr, 0xff);
    assert_false(s.nmi_pending);
    assert_int_equal(s.mp_state, MP_WAIT_SIPI);
}

#define REJECTED(change)                                                   \
    do {                                                                   \
        struct vcpu_state s;                                               \
        char err[160] = "";                                                \
        vcpu_state_reset(&s, 0, true, false);                              \
        change;                                                            \
        assert_int_equal(vcpu_state_check(&s, err, sizeof(err)), -EINVAL); \
        assert_true(strlen(err) > 0);                                      \
    } while (0)

static void test_hostile(void **state)
{
    (void)state;
    REJECTED(s.cr0 |= CR0_PG);
    REJECTED(s.cr0 |= 2ULL << 32);
    REJECTED(s.cr0 = CR0_NW);
    REJECTED(s.cr4 = 1ULL << 12);
    REJECTED(s.efer = EFER_LMA);
    REJECTED(s.efer = 1ULL << 12);
    REJECTED(s.cr8 = 16);
    REJECTED(s.cr3 = 1ULL << 52);
    REJECTED(s.rflags = 0);
    REJECTED(s.rflags |= X86_VM);
    REJECTED(s.dr7 |= 1ULL << 32);
    REJECTED(s.xcr0 = 0);
    REJECTED(s.xcr0 = 5);
    REJECTED(s.xcr0 = 0x27);
    REJECTED(s.mxcsr = 0x10000);
    REJECTED(s.rip = 1ULL << 47);
    REJECTED(s.seg[SEG_CS].base = 1ULL << 32);
    REJECTED(s.seg[SEG_CS].attr |= SEG_ATTR_UNUSABLE);
    REJECTED(s.seg[SEG_DS].attr |= 0xf00);
    REJECTED(s.gdtr.base = 1ULL << 60);
    REJECTED(s.lstar = 1ULL << 63);
    REJECTED(s.pat = 2);
    REJECTED(s.mtrr_fix[4] = 0x0300);
    REJECTED(s.lapic.base = 0xfee00400);
    REJECTED(s.lapic.irr[0] = 1);
    REJECTED(s.lapic.lvt_timer = 0x80000000);
    REJECTED(s.mp_state = 9);
    REJECTED(s.shadows = 8);
}

static void test_print(void **state)
{
    struct vcpu_state s;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    (void)state;
    assert_non_null(f);
    vcpu_state_reset(&s, 0, true, false);
    vcpu_state_print(&s, f);
    fclose(f);
    assert_non_null(strstr(text, "EIP=0000fff0"));
    assert_non_null(strstr(text, "CS =f000 00000000ffff0000"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_complete),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_init_keeps),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_print),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
