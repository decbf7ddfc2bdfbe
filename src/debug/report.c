/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "debug/report.h"

#include <inttypes.h>

#include <Zydis/Zydis.h>

#include "base/util.h"
#include "x86/x86.h"

/* Bytes of guest code as they are mapped now; returns how many there are. */
static unsigned fetch(const struct engine_ops *engine, struct vcpu *vcpu, struct mem *mem,
                      uint64_t la, uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH])
{
    unsigned n = 0;
    uint64_t gpa;

    while (n < ZYDIS_MAX_INSTRUCTION_LENGTH && engine->vcpu_translate(vcpu, la + n, &gpa) == 0 &&
           mem_read(mem, gpa, bytes + n, 1) == 0)
        n++;
    return n;
}

static void make_decoder(ZydisDecoder *decoder, const struct vcpu_state *s)
{
    const struct seg_state *cs = &s->seg[SEG_CS];

    if ((s->efer & EFER_LMA) && (cs->attr & SEG_ATTR_L))
        ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    else if (cs->attr & SEG_ATTR_DB)
        ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    else
        ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
}

void report_code(const struct engine_ops *engine, struct vcpu *vcpu, struct mem *mem, uint64_t rip,
                 unsigned max, FILE *f)
{
    struct vcpu_state s;
    ZydisDecoder decoder;
    ZydisFormatter formatter;
    uint64_t base;

    engine->vcpu_get_state(vcpu, &s);
    base = (s.efer & EFER_LMA) && (s.seg[SEG_CS].attr & SEG_ATTR_L) ? 0 : s.seg[SEG_CS].base;
    make_decoder(&decoder, &s);
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    for (unsigned i = 0; i < max; i++) {
        uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
        ZydisDecodedInstruction insn;
        ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
        char text[100];
        unsigned n = fetch(engine, vcpu, mem, base + rip, bytes);

        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, n, &insn, ops)) ||
            !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &insn, ops,
                                                          insn.operand_count_visible, text,
                                                          sizeof(text), rip, ZYAN_NULL))) {
            fprintf(f, "  0x%016" PRIx64 "  ?\n", rip);
            return;
        }
        fprintf(f, "  0x%016" PRIx64 "  %s\n", rip, text);
        rip += insn.length;
    }
}
