/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decoder's front: one instruction in all modes.  Whatever the bytes, a
 * function is chosen, the length is 1 to 15 and within what was given, the
 * registers are such that have a place, fewer bytes than the instruction has
 * ask for more, and more do not change it.
 */
#include <assert.h>
#include <string.h>

#include "base/util.h"
#include "engine/soft/decode.h"

#define MAX_LENGTH 15u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct cpu_model models[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const names[] = { "host", "x86-64-v2" };
    char err[200];

    (void)argc;
    (void)argv;
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
        assert(cpu_model_init(&models[i], names[i], 1, 1000000000, err, sizeof(err)) == 0);
    return 0;
}

static bool is_invalid(const struct insn *i)
{
    return i->fn == op_ud || i->fn == op_too_long;
}

static void check_fields(const struct insn *i, unsigned mode, unsigned n)
{
    assert(i->fn && i->len >= 1 && i->len <= n);
    if (is_invalid(i))
        return;
    assert(i->scale <= 3 && i->seg <= SEG_GS);
    assert(i->base <= GPR_ZERO);
    assert(i->index <= GPR_ZERO || (i->index == GPR_STEP && i->base == GPR_RIP));
    assert(i->asize == 2 || i->asize == 4 || i->asize == 8);
    assert((i->asize == 8) <= ((mode & MODE_BITS) == 2));
    assert(!(i->flags & INSN_CODE64) == ((mode & MODE_BITS) != 2));
}

static void check_mode(const struct cpu_model *model, unsigned mode, const uint8_t *bytes,
                       unsigned n)
{
    struct insn i, again;
    enum decode_result r = soft_decode(model, mode, bytes, n, &i);

    assert(r == DECODE_OK || r == DECODE_END || r == DECODE_MORE);
    if (r == DECODE_MORE) {
        assert(n < MAX_LENGTH);
        return;
    }
    check_fields(&i, mode, n);
    if (is_invalid(&i)) {
        assert(r == DECODE_END);
        return;
    }
    for (unsigned len = 1; len < i.len; len++)
        assert(soft_decode(model, mode, bytes, len, &again) == DECODE_MORE);
    assert(soft_decode(model, mode, bytes, i.len, &again) == r);
    assert(again.fn == i.fn && again.imm == i.imm && again.len == i.len && again.disp == i.disp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const unsigned modes[] = { 0, MODE_PROT, 1, 1 | MODE_PROT, 2 | MODE_PROT };
    uint8_t bytes[MAX_LENGTH];

    if (!n)
        return 0;
    n = MIN(n, sizeof(bytes));
    memcpy(bytes, data, n);
    for (unsigned m = 0; m < ARRAY_SIZE(modes); m++)
        for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
            check_mode(&models[i], modes[m], bytes, (unsigned)n);
    return 0;
}
