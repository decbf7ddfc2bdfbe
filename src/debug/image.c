/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "debug/image.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

/* The TSC is a clock; the PIC's request is an input that has not been taken;
 * the others are compared by themselves. */
static bool is_left_out(const struct state_field *f)
{
    static const char *const names[] = { "tsc", "extint_request", "gpr", "rip", "rflags",
                                         "insn_count" };

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(f->name, names[i]) == 0)
            return true;
    return false;
}

static unsigned size_of(enum state_type type)
{
    switch (type) {
    case STATE_U16: return 2;
    case STATE_U32: return 4;
    case STATE_U64: return 8;
    default: return 1;
    }
}

unsigned image_pack(const struct vcpu_state *s, uint64_t words[IMAGE_WORDS])
{
    unsigned n = 0;

    for (const struct state_field *f = vcpu_state_desc.fields; f->name; f++) {
        const uint8_t *p = (const uint8_t *)s + f->offset;
        unsigned size = size_of(f->type);

        if (is_left_out(f))
            continue;
        assert(n + f->count <= IMAGE_WORDS);
        for (unsigned i = 0; i < f->count; i++, p += size) {
            words[n] = 0;
            memcpy(&words[n++], p, size);
        }
    }
    return n;
}

void image_name(unsigned word, char *name, size_t size)
{
    for (const struct state_field *f = vcpu_state_desc.fields; f->name; f++) {
        if (is_left_out(f))
            continue;
        if (word < f->count) {
            snprintf(name, size, f->count > 1 ? "%s[%u]" : "%s", f->name, word);
            return;
        }
        word -= f->count;
    }
    snprintf(name, size, "?");
}
