/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator's forms: an instruction that takes one is decoded as if there
 * were none, whatever its displacement and immediate are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/bt/item.h"

#define ROUNDS 300000
#define BYTES 15

/* The linker leads the engine's calls here (meson.build). */
ZyanStatus __real_ZydisDecoderDecodeFull(const ZydisDecoder *d, const void *bytes, ZyanUSize n,
                                         ZydisDecodedInstruction *z, ZydisDecodedOperand *op);
ZyanStatus __wrap_ZydisDecoderDecodeFull(const ZydisDecoder *d, const void *bytes, ZyanUSize n,
                                         ZydisDecodedInstruction *z, ZydisDecodedOperand *op);

static unsigned decodes;
static uint64_t state = 1;
static uint8_t bytes[BYTES + 8];
static struct item plain, taken;

ZyanStatus __wrap_ZydisDecoderDecodeFull(const ZydisDecoder *d, const void *code, ZyanUSize n,
                                         ZydisDecodedInstruction *z, ZydisDecodedOperand *op)
{
    decodes++;
    return __real_ZydisDecoderDecodeFull(d, code, n, z, op);
}

static unsigned draw(unsigned n)
{
    state = state * 0x5851f42d4c957f2dULL + 0x14057b7ef767814fULL;
    return (unsigned)(state >> 33) % n;
}

/* Prefixes, opcode, ModRM and SIB, as they come. */
static unsigned make_head(bool code64)
{
    static const uint8_t prefixes[] = { 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x64, 0x65, 0x2e, 0x3e };
    unsigned n = 0;

    while (n < 3 && !draw(4))
        bytes[n++] = prefixes[draw(ARRAY_SIZE(prefixes))];
    if (code64 && draw(2))
        bytes[n++] = (uint8_t)(0x40 | draw(16));
    if (!draw(4))
        bytes[n++] = 0x0f;
    for (unsigned k = 0; k < 3; k++)
        bytes[n++] = (uint8_t)draw(256);
    return n;
}

/* What follows: values at their limits, or any. */
static void make_tail(unsigned n)
{
    static const uint32_t values[] = { 0, 1, 0xffffffff, 0x7fffffff, 0x80000000, 0x7ffffff8, 0xff80, 0x8000007f };

    for (; n < BYTES; n += 4) {
        uint32_t v = draw(2) ? values[draw(ARRAY_SIZE(values))] : state >> 20;

        memcpy(bytes + n, &v, sizeof(v));
    }
}

static void compare(const struct soft_cpu *c, struct bt_form *forms, unsigned mode, unsigned n)
{
    enum decode_result r, want;

    plain.bytes = taken.bytes = bytes;
    want = bt_decode(c, NULL, &plain, mode, n);
    r = bt_decode(c, forms, &taken, mode, n);
    assert_int_equal(r, want);
    if (want == DECODE_MORE)
        return;
    assert_int_equal(taken.kind, plain.kind);
    assert_int_equal(taken.reads, plain.reads);
    assert_int_equal(taken.kills, plain.kills);
    assert_int_equal(taken.writes, plain.writes);
    assert_memory_equal(&taken.insn, &plain.insn, sizeof(plain.insn));
    assert_int_equal(taken.z.mnemonic, plain.z.mnemonic);
    if (plain.z.mnemonic == ZYDIS_MNEMONIC_INVALID)
        return;
    assert_memory_equal(&taken.z, &plain.z, sizeof(plain.z));
    assert_memory_equal(taken.op, plain.op, plain.z.operand_count * sizeof(plain.op[0]));
}

/* Each head with several tails; with fewer bytes than the instruction may have. */
static void decode_many(const char *model_name, unsigned mode_key, unsigned mode)
{
    struct bt_form *forms = bt_forms_create();
    struct cpu_model model;
    struct soft_vm vm = { .model = &model };
    struct soft_cpu *c = calloc(1, sizeof(*c));
    unsigned tails = 3;
    char err[200];

    assert_non_null(forms);
    assert_non_null(c);
    assert_int_equal(cpu_model_init(&model, model_name, 1, 1000000000, err, sizeof(err)), 0);
    c->vm = &vm;
    c->mode_key = (uint8_t)mode_key;
    decodes = 0;
    for (unsigned n = 0; n < ROUNDS; n++) {
        unsigned head = make_head(!bt_mode32(mode));

        for (unsigned k = 0; k < tails; k++) {
            make_tail(head);
            compare(c, forms, mode, draw(8) ? BYTES : 1 + draw(BYTES));
        }
    }
    /* Without forms it were twice as many. */
    assert_true(decodes < ROUNDS * tails * 2 * 9 / 10);
    free(c);
    free(forms);
}

static void test_64(void **unused)
{
    (void)unused;
    decode_many("host", 2 | MODE_PROT, 2 | MODE_PROT | BT_MODE_USER | BT_MODE_SSE);
}

static void test_64_kernel(void **unused)
{
    (void)unused;
    decode_many("x86-64-v2", 2 | MODE_PROT, 2 | MODE_PROT);
}

static void test_32(void **unused)
{
    (void)unused;
    decode_many("host", 1 | MODE_PROT, 1 | MODE_PROT | BT_MODE_USER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_64),
        cmocka_unit_test(test_64_kernel),
        cmocka_unit_test(test_32),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
