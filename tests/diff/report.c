/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Minimising and printing a case. */
#include "diff.h"

#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "x86/x86.h"

/* One case on both sides; the native outcome is native_outcomes()[0]. */
int run_pair(const struct test_case *t, struct outcome *guest)
{
    int r;

    if (t != native_cases())
        *native_cases() = *t;
    r = native_start(1);
    if (!r)
        r = native_wait();
    if (r)
        return r;
    if (guest_ready()) {
        guest_run(native_cases(), guest);
        return 0;
    }
    *guest = native_outcomes()[0];
    r = native_start(1);
    return r ? r : native_wait();
}

static bool still_differs(const struct test_case *t)
{
    static struct outcome guest;

    if (run_pair(t, &guest))
        return false;
    return compare(t, native_outcomes(), &guest, NULL) != 0;
}

/* Keep a change if the difference survives it. */
static bool keep(struct test_case *t, const struct test_case *smaller)
{
    if (!still_differs(smaller))
        return false;
    *t = *smaller;
    return true;
}

/* Instructions become NOPs, so that addresses stay. */
static void drop_insns(struct test_case *t)
{
    static struct test_case s;

    for (unsigned i = t->n; i-- > 0;) {
        s = *t;
        memset(s.code + s.off[i], 0x90, s.off[i + 1] - s.off[i]);
        keep(t, &s);
    }
}

static void zero_field(struct test_case *t, void *field, size_t n, uint8_t *value)
{
    static struct test_case s;
    size_t at = (size_t)((uint8_t *)field - (uint8_t *)t);

    if (!memcmp(field, value, n))
        return;
    s = *t;
    memcpy((uint8_t *)&s + at, value, n);
    keep(t, &s);
}

void minimise(struct test_case *t)
{
    uint8_t zero[64] = {0};
    uint64_t flags = X86_IF | X86_FLAGS_FIXED;
    uint32_t mxcsr = 0x1f80;
    uint16_t fcw = 0x37f;

    if (!still_differs(t))
        return;
    drop_insns(t);
    zero_field(t, &t->in.rflags, 8, (uint8_t *)&flags);
    zero_field(t, &t->in.mxcsr, 4, (uint8_t *)&mxcsr);
    zero_field(t, &t->in.fcw, 2, (uint8_t *)&fcw);
    zero_field(t, &t->in.fsw, 2, zero);
    zero_field(t, &t->in.ftw, 1, zero);
    for (unsigned i = 0; i < 16; i++)
        zero_field(t, &t->in.gpr[i], 8, zero);
    for (unsigned i = 0; i < 8; i++) {
        zero_field(t, t->in.st[i], 16, zero);
        zero_field(t, &t->in.k[i], 8, zero);
    }
    for (unsigned i = 0; i < 32; i++)
        zero_field(t, t->in.zmm[i], 64, zero);
}

static void print_code(const struct test_case *t, FILE *f)
{
    ZydisFormatter fmt;
    uint64_t base = t->entry + (t->mode == MODE_16 ? 0 : CODE_BASE);

    ZydisFormatterInit(&fmt, ZYDIS_FORMATTER_STYLE_INTEL);
    for (unsigned i = 0; i < t->n; i++) {
        const uint8_t *p = t->code + t->off[i];
        unsigned len = t->off[i + 1] - t->off[i];
        struct decoded d;
        char text[128] = "?";

        if (p[0] == 0x90 && len > 1 && p[1] == 0x90)
            continue;
        if (decode(t->mode, p, len, &d))
            ZydisFormatterFormatInstruction(&fmt, &d.z, d.op, d.z.operand_count_visible, text, sizeof(text),
                                            base + t->off[i], NULL);
        fprintf(f, "    %#" PRIx64 ": %-48s ;", base + t->off[i], text);
        for (unsigned k = 0; k < len; k++)
            fprintf(f, " %02x", p[k]);
        fprintf(f, "\n");
    }
}

static void print_bytes(FILE *f, const char *name, unsigned i, const uint8_t *p, unsigned n)
{
    bool any = false;

    for (unsigned k = 0; k < n; k++)
        any |= p[k] != 0;
    if (!any)
        return;
    fprintf(f, "    %s%u ", name, i);
    while (n--)
        fprintf(f, "%02x", p[n]);
    fprintf(f, "\n");
}

/* Memory around what the first memory operand names is what matters. */
static void print_memory(const struct test_case *t, FILE *f)
{
    struct decoded d;

    for (unsigned i = 0; i < t->n; i++) {
        if (!decode(t->mode, t->code + t->off[i], t->off[i + 1] - t->off[i], &d))
            continue;
        for (unsigned k = 0; k < d.z.operand_count; k++) {
            ZydisRegisterContext rc = {0};
            ZyanU64 la;
            uint8_t *p;

            if (d.op[k].type != ZYDIS_OPERAND_TYPE_MEMORY)
                continue;
            for (unsigned g = 0; g < 16; g++) {
                rc.values[ZYDIS_REGISTER_RAX + g] = t->in.gpr[g];
                rc.values[ZYDIS_REGISTER_EAX + g] = (uint32_t)t->in.gpr[g];
                rc.values[ZYDIS_REGISTER_AX + g] = (uint16_t)t->in.gpr[g];
            }
            if (!ZYAN_SUCCESS(ZydisCalcAbsoluteAddressEx(&d.z, &d.op[k], t->in.rip + t->off[i], &rc, &la)))
                continue;
            p = case_mem((struct test_case *)t, la, 16);
            if (p)
                print_bytes(f, "mem of instruction ", i, p, 16);
        }
    }
}

void report_case(const struct test_case *t, FILE *f)
{
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
    const struct regs *in = &t->in;

    print_code(t, f);
    fprintf(f, "    before: flags %#" PRIx64 " mxcsr %#x fcw %#x fsw %#x ftw %#x fs %#" PRIx64 " gs %#" PRIx64 "\n   ",
            in->rflags, in->mxcsr, in->fcw, in->fsw, in->ftw, in->fs_base, in->gs_base);
    for (unsigned i = 0; i < 16; i++)
        if (in->gpr[i])
            fprintf(f, " %s %#" PRIx64, names[i], in->gpr[i]);
    fprintf(f, "\n");
    for (unsigned i = 0; i < 8; i++)
        print_bytes(f, "st", i, in->st[i], 10);
    for (unsigned i = 0; i < 8; i++)
        print_bytes(f, "k", i, (const uint8_t *)&in->k[i], 8);
    for (unsigned i = 0; i < 32; i++)
        print_bytes(f, "zmm", i, in->zmm[i], 64);
    print_memory(t, f);
}
