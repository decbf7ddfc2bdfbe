/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The forms: all encodings of each opcode map are enumerated with every
 * prefix, vector length and ModRM that changes the instruction, decoded, and
 * kept if the engine's tables accept them.  So the list follows from decoder
 * and tables alone, and a form that never runs is noticed.
 */
#include "diff.h"
#include "encode.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static struct form *forms;
static unsigned nforms, forms_max;
static unsigned *hash;          /* index + 1; 0: empty */
static unsigned hash_size;
static ZydisDecoder decoders[MODE_COUNT];
static const struct cpu_model *cpu;

unsigned forms_count(void)
{
    return nforms;
}

struct form *form_get(unsigned i)
{
    return &forms[i];
}

bool decode(enum mode mode, const uint8_t *bytes, unsigned n, struct decoded *d)
{
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders[mode], bytes, n, &d->z, d->op));
}

static uint8_t key_attrs(const ZydisDecodedInstruction *z)
{
    uint8_t a = 0;

    if (z->attributes & ZYDIS_ATTRIB_HAS_LOCK)
        a |= FK_LOCK;
    if (z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
        a |= FK_REP;
    if (z->attributes & ZYDIS_ATTRIB_HAS_REPNE)
        a |= FK_REPNE;
    if (z->avx.mask.reg != ZYDIS_REGISTER_NONE && z->avx.mask.reg != ZYDIS_REGISTER_K0)
        a |= FK_MASK;
    if (z->avx.mask.mode == ZYDIS_MASK_MODE_ZEROING ||
        z->avx.mask.mode == ZYDIS_MASK_MODE_CONTROL_ZEROING)
        a |= FK_ZERO;
    if (z->avx.broadcast.mode && !z->avx.broadcast.is_static)
        a |= FK_BCAST;
    if (z->avx.rounding.mode)
        a |= FK_ROUND;
    if (z->avx.has_sae)
        a |= FK_SAE;
    return a;
}

static uint8_t reg_class(ZydisRegister r)
{
    if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
        return 0xff;            /* a kind of its own: the high bytes */
    return (uint8_t)ZydisRegisterGetClass(r);
}

void form_key_of(enum mode mode, const struct decoded *d, struct form_key *key)
{
    const ZydisDecodedInstruction *z = &d->z;

    memset(key, 0, sizeof(*key));
    key->mnemonic = (uint16_t)z->mnemonic;
    key->mode = (uint8_t)mode;
    key->encoding = (uint8_t)z->encoding;
    key->width = z->operand_width;
    key->attrs = key_attrs(z);
    key->nops = MIN(z->operand_count_visible, FORM_OPS);
    for (unsigned i = 0; i < key->nops; i++) {
        key->op[i].kind = (uint8_t)d->op[i].type;
        key->op[i].size = d->op[i].size;
        if (d->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER)
            key->op[i].reg_class = reg_class(d->op[i].reg.value);
        else if (d->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
            key->op[i].reg_class = (uint8_t)d->op[i].mem.type;
    }
}

static const char *reg_name(unsigned class)
{
    switch (class) {
    case ZYDIS_REGCLASS_GPR8: case ZYDIS_REGCLASS_GPR16: case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return "r";
    case 0xff: return "rh";
    case ZYDIS_REGCLASS_X87: return "st";
    case ZYDIS_REGCLASS_MMX: return "mm";
    case ZYDIS_REGCLASS_XMM: return "xmm";
    case ZYDIS_REGCLASS_YMM: return "ymm";
    case ZYDIS_REGCLASS_ZMM: return "zmm";
    case ZYDIS_REGCLASS_SEGMENT: return "sreg";
    case ZYDIS_REGCLASS_CONTROL: return "cr";
    case ZYDIS_REGCLASS_DEBUG: return "dr";
    case ZYDIS_REGCLASS_MASK: return "k";
    default: return "reg";
    }
}

static void op_text(char *s, size_t n, uint8_t kind, uint8_t class, unsigned size)
{
    if (kind == ZYDIS_OPERAND_TYPE_REGISTER)
        snprintf(s, n, class == ZYDIS_REGCLASS_XMM || class == ZYDIS_REGCLASS_YMM ||
                 class == ZYDIS_REGCLASS_ZMM ? "%s" : "%s%u", reg_name(class), size);
    else if (kind == ZYDIS_OPERAND_TYPE_MEMORY)
        snprintf(s, n, "%s%u", class == ZYDIS_MEMOP_TYPE_VSIB ? "vm" :
                 class == ZYDIS_MEMOP_TYPE_AGEN ? "ea" : "m", size);
    else
        snprintf(s, n, "%s%u", kind == ZYDIS_OPERAND_TYPE_POINTER ? "far" : "i", size);
}

struct insn_text form_text(const struct form_key *key)
{
    static const char *const enc[] = {"", ".3dnow", ".xop", ".vex", ".evex", ".mvex"};
    static const char *const attr[] = {".lock", ".rep", ".repne", "{k}", "{z}", "{bcst}", "{rc}", "{sae}"};
    static const unsigned bits[] = {16, 32, 64};
    struct insn_text t;
    size_t n = (size_t)snprintf(t.s, sizeof(t.s), "%u %s%s", bits[key->mode],
                                ZydisMnemonicGetString(key->mnemonic), enc[key->encoding]);

    for (unsigned i = 0; i < 8; i++)
        if (key->attrs >> i & 1)
            n += (size_t)snprintf(t.s + n, sizeof(t.s) - n, "%s", attr[i]);
    n += (size_t)snprintf(t.s + n, sizeof(t.s) - n, " o%u", key->width);
    for (unsigned i = 0; i < key->nops; i++) {
        char op[24];

        op_text(op, sizeof(op), key->op[i].kind, key->op[i].reg_class, key->op[i].size);
        n += (size_t)snprintf(t.s + n, sizeof(t.s) - n, "%s%s", i ? "," : " ", op);
    }
    return t;
}

static uint64_t hash_key(const struct form_key *key)
{
    const uint8_t *p = (const uint8_t *)key;
    uint64_t h = 0xcbf29ce484222325;

    for (unsigned i = 0; i < sizeof(*key); i++)
        h = (h ^ p[i]) * 0x100000001b3;
    return h ^ h >> 29;
}

static void hash_grow(void)
{
    free(hash);
    hash_size = hash_size ? hash_size * 2 : 1 << 14;
    hash = calloc(hash_size, sizeof(*hash));
    if (!hash)
        abort();
    for (unsigned i = 0; i < nforms; i++) {
        uint64_t h = hash_key(&forms[i].key);

        while (hash[h & (hash_size - 1)])
            h++;
        hash[h & (hash_size - 1)] = i + 1;
    }
}

/* The form with this key, or a new one. */
static struct form *find_form(const struct form_key *key, bool *fresh)
{
    uint64_t h = hash_key(key);

    if (nforms * 2 >= hash_size)
        hash_grow();
    for (; hash[h & (hash_size - 1)]; h++) {
        struct form *f = &forms[hash[h & (hash_size - 1)] - 1];

        if (!memcmp(&f->key, key, sizeof(*key))) {
            *fresh = false;
            return f;
        }
    }
    if (nforms == forms_max) {
        forms_max = forms_max ? forms_max * 2 : 4096;
        forms = realloc(forms, forms_max * sizeof(*forms));
        if (!forms)
            abort();
    }
    hash[h & (hash_size - 1)] = nforms + 1;
    forms[nforms] = (struct form){.key = *key};
    *fresh = true;
    return &forms[nforms++];
}

/* Keep some templates of each form, each encoding with the same chance. */
static void add_template(struct form *f, const struct enc *e)
{
    static struct rng r;
    unsigned i = f->nseen++;

    if (i >= FORM_TEMPLATES) {
        i = rnd_below(&r, f->nseen);
        if (i >= FORM_TEMPLATES)
            return;
    } else {
        f->ntemplates++;
    }
    f->templates[i] = *e;
}

/* Decode one encoding; returns false if it is none at all (not even with
 * another ModRM, as far as no_modrm tells). */
static void try_enc(enum mode mode, const struct enc *e, bool *no_modrm)
{
    uint8_t bytes[32] = {0};
    /* A SIB byte, since gathers need one. */
    struct encode_choice c = {.e = *e, .addr = {.rm = 4, .has_sib = mode != MODE_16, .sib = 0x08}};
    struct decoded d;
    struct form_key key;
    struct form *f;
    bool fresh;

    encode(mode, &c, bytes);
    if (!decode(mode, bytes, 15, &d))
        return;
    if (e->kind == ENC_LEGACY && d.z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return;
    if (!(d.z.attributes & ZYDIS_ATTRIB_HAS_MODRM))
        *no_modrm = true;
    form_key_of(mode, &d, &key);
    if (!accept_insn(cpu, mode, bytes, d.z.length))
        return;
    f = find_form(&key, &fresh);
    if (fresh)
        f->excluded = exclude_reason(mode, &d);
    c.e.has_modrm = d.z.attributes & ZYDIS_ATTRIB_HAS_MODRM;
    add_template(f, &c.e);
}

/* Every ModRM that may name another instruction or operand kind. */
static void each_modrm(enum mode mode, struct enc *e, bool all_rm)
{
    bool no_modrm = false;

    e->has_modrm = true;
    for (unsigned reg = 0; reg < 8 && !no_modrm; reg++) {
        e->reg = (uint8_t)reg;
        e->rm = 1;
        e->reg_form = false;
        try_enc(mode, e, &no_modrm);
        e->reg_form = true;
        for (unsigned rm = all_rm ? 0 : 1; rm < (all_rm ? 8 : 2); rm++) {
            e->rm = (uint8_t)rm;
            try_enc(mode, e, &no_modrm);
        }
    }
}

static bool is_prefix(enum mode mode, unsigned op)
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2,
                                       0xf3, 0x0f};

    for (unsigned i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (op == prefixes[i])
            return true;
    return mode == MODE_64 && (op & 0xf0) == 0x40;
}

static bool wants_all_rm(unsigned map, unsigned op)
{
    return map == 0 ? op >= 0xd8 && op <= 0xdf : map == 1 && (op == 0x01 || op == 0xae || op == 0xc7);
}

static void each_legacy(enum mode mode)
{
    struct enc e = {.kind = ENC_LEGACY};
    static const uint8_t reps[] = {0, 0xf2, 0xf3};

    for (unsigned v = 0; v < 4u << 8; v++) {
        e.map = (uint8_t)(v >> 8);
        e.opcode = (uint8_t)v;
        if (e.map == 0 && is_prefix(mode, e.opcode))
            continue;
        if (e.map == 1 && (e.opcode == 0x38 || e.opcode == 0x3a || e.opcode == 0x0f))
            continue;
        for (unsigned p = 0; p < 24; p++) {
            e.p66 = p & 1;
            e.w = p >> 1 & 1;
            e.lock = p >> 2 & 1;
            e.rep = reps[p >> 3];
            if ((e.w && mode != MODE_64) || (e.lock && (e.rep || e.map > 1)))
                continue;
            each_modrm(mode, &e, wants_all_rm(e.map, e.opcode));
        }
    }
}

static void each_vex(enum mode mode)
{
    struct enc e = {.kind = ENC_VEX};

    for (unsigned v = 0; v < 3u << 8; v++) {
        e.map = (uint8_t)(1 + (v >> 8));
        e.opcode = (uint8_t)v;
        for (unsigned p = 0; p < 32; p++) {
            e.pp = p & 3;
            e.l = p >> 2 & 1;
            e.w = p >> 3 & 1;
            e.vvvv = p >> 4 & 1 ? 3 : 0;
            each_modrm(mode, &e, false);
        }
    }
}

static void each_evex(enum mode mode)
{
    struct enc e = {.kind = ENC_EVEX};

    for (unsigned v = 0; v < 3u << 8; v++) {
        bool group = v < 256 && v >= 0x71 && v <= 0x73;

        e.map = (uint8_t)(1 + (v >> 8));
        e.opcode = (uint8_t)v;
        group |= e.map == 2 && (e.opcode == 0xc6 || e.opcode == 0xc7);
        for (unsigned p = 0; p < 4 * 2 * 4 * 2 * 2 * 3; p++) {
            bool dummy;
            unsigned mask = p / (4 * 2 * 4 * 2 * 2);

            e.pp = p & 3;
            e.w = p >> 2 & 1;
            e.l = p >> 3 & 3;
            e.b = p >> 5 & 1;
            e.vvvv = p >> 6 & 1 ? 3 : 0;
            e.aaa = mask ? 1 : 0;
            e.z = mask == 2;
            e.has_modrm = true;
            e.rm = 1;
            for (unsigned reg = group ? 0 : 2; reg < (group ? 8 : 3); reg++) {
                e.reg = (uint8_t)reg;
                e.reg_form = false;
                try_enc(mode, &e, &dummy);
                e.reg_form = true;
                try_enc(mode, &e, &dummy);
            }
        }
    }
}

static void init_decoder(enum mode mode, bool amd)
{
    static const ZydisMachineMode machine[] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32,
                                               ZYDIS_MACHINE_MODE_LONG_64};
    static const ZydisStackWidth stack[] = {ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64};
    ZydisDecoder *d = &decoders[mode];

    ZydisDecoderInit(d, machine[mode], stack[mode]);
    ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
    ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
    ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_KNC, ZYAN_FALSE);
    ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_AMD_BRANCHES, amd ? ZYAN_TRUE : ZYAN_FALSE);
}

void forms_init(const struct cpu_model *model, unsigned mode_mask)
{
    cpu = model;
    for (enum mode m = 0; m < MODE_COUNT; m++) {
        init_decoder(m, model->amd);
        if (!(mode_mask >> m & 1))
            continue;
        each_legacy(m);
        if (m == MODE_16)       /* vector instructions have no 16-bit forms of their own */
            continue;
        each_vex(m);
        each_evex(m);
    }
}
