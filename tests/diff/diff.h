/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Differential test: generated instruction sequences run on the host CPU and
 * in an engine, from the same registers, flags and memory, and must end the
 * same.
 *
 *   forms.c    every instruction form that the engine's tables accept
 *   exclude.c  the forms that user mode cannot compare, and why
 *   value.c    random and edge values
 *   operand.c  memory operands that land where they should
 *   gen.c      sequences
 *   native.c   the host side: a child process, signals
 *   guest.c    the engine side: a VM at CPL 3, through cpu/cpu.h only
 *   compare.c  differences
 *   inuse.c    XSAVE areas, where hardware has a choice
 *   report.c   minimising and printing
 *   main.c     options, schedule, counts
 *
 * Code and data have the same linear addresses on both sides, all below
 * 4 GiB, so that 32-bit code reaches them.
 */
#ifndef TESTS_DIFF_DIFF_H
#define TESTS_DIFF_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <Zydis/Zydis.h>

#include "cpu/cpu.h"
#include "cpu/model.h"

/* Two pages of code, so that sequences cross a page now and then. */
#define CODE_BASE 0x10000000u
#define CODE_SIZE 0x2000u
/* Three writable pages and a read-only one; nothing around them. */
#define DATA_BASE 0x20000000u
#define DATA_RW 0x3000u
#define DATA_SIZE 0x4000u
/* The same data again, where 16-bit addresses reach it. */
#define LOW_BASE 0x8000u

/* Selectors as 64-bit Linux has them, and one 16-bit code segment in the LDT. */
#define SEL_CS32 0x23
#define SEL_DATA 0x2b
#define SEL_CS64 0x33
#define SEL_CS16 0x07
#define SEL_CPU 0x7b

#define SEQ_MAX 6
#define SEQ_BYTES 96
#define BATCH 256

enum mode { MODE_16, MODE_32, MODE_64, MODE_COUNT };
enum { DS_ES, DS_CS, DS_SS, DS_DS, DS_FS, DS_GS, DS_COUNT };

/* What an instruction in user mode can see and change. */
struct regs {
    uint64_t gpr[16];           /* in encoding order, as enum CPU_RAX... in cpu/state.h */
    uint64_t rip, rflags;
    uint64_t fs_base, gs_base;
    uint16_t sel[DS_COUNT];
    uint16_t fcw, fsw, fop;
    uint8_t ftw;                /* abridged */
    uint32_t mxcsr;
    uint64_t fip, fdp;
    uint8_t st[8][16];          /* ST(i), 10 bytes each */
    uint64_t k[8];
    _Alignas(64) uint8_t zmm[32][64];
};

struct test_case {
    enum mode mode;
    uint64_t id;
    unsigned n;                 /* instructions */
    unsigned entry;             /* offset of the first in the code pages */
    uint8_t code[SEQ_BYTES];
    unsigned off[SEQ_MAX + 1];  /* of each instruction in code; off[n] is the end */
    unsigned form[SEQ_MAX];
    struct regs in;
    _Alignas(64) uint8_t mem[DATA_SIZE];
};

enum status { ST_OK, ST_HUNG, ST_KILLED, ST_BROKEN };
struct outcome {
    enum status status;
    uint8_t vector;
    uint32_t error;
    uint64_t cr2;               /* of #PF */
    char text[64];              /* ST_BROKEN: what happened instead */
    struct regs out;
    _Alignas(64) uint8_t mem[DATA_SIZE];
};

/* ---- random numbers (value.c) ------------------------------------------- */
struct rng {
    uint64_t s;
};
uint64_t rnd(struct rng *r);
/* 0 to n-1. */
static inline unsigned rnd_below(struct rng *r, unsigned n) { return (unsigned)((rnd(r) >> 32) * n >> 32); }
/* true in pct of 100 cases. */
static inline bool rnd_pct(struct rng *r, unsigned pct) { return rnd_below(r, 100) < pct; }
uint64_t value_int(struct rng *r);
void value_st(struct rng *r, uint8_t st[16]);
void value_vector(struct rng *r, uint8_t *p, unsigned len);
void value_memory(struct rng *r, uint8_t *p, unsigned len);
/* All registers of a case, without regard to its instructions. */
void value_regs(struct rng *r, struct regs *in, enum mode mode);

/* ---- forms (forms.c) ---------------------------------------------------- */
enum enc_kind { ENC_LEGACY, ENC_VEX, ENC_EVEX };

/* An encoding without registers and addresses. */
struct enc {
    uint8_t kind, map, opcode;
    uint8_t p66, rep, lock;     /* rep: 0, 0xf2 or 0xf3 */
    uint8_t w, l, pp, b, z, aaa, vvvv;
    bool has_modrm, reg_form;
    uint8_t reg, rm;
};

#define FORM_OPS 5
struct form_key {
    uint16_t mnemonic;
    uint8_t mode, encoding, width, attrs, nops;
    struct {
        uint8_t kind;
        uint8_t reg_class;
        uint16_t size;          /* bits */
    } op[FORM_OPS];
};
enum { FK_LOCK = 1, FK_REP = 2, FK_REPNE = 4, FK_MASK = 8, FK_ZERO = 16, FK_BCAST = 32, FK_ROUND = 64,
       FK_SAE = 128 };

#define FORM_TEMPLATES 12
struct form {
    struct form_key key;
    struct enc templates[FORM_TEMPLATES];
    unsigned ntemplates, nseen;
    const char *excluded;       /* why it does not run, or NULL */
    unsigned ran, retired, failed;
};

struct insn_text {
    char s[160];
};

struct decoded {
    ZydisDecodedInstruction z;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};

/* Enumerate all encodings of a mode and keep the accepted forms. */
void forms_init(const struct cpu_model *model, unsigned mode_mask);
unsigned forms_count(void);
struct form *form_get(unsigned i);
bool decode(enum mode mode, const uint8_t *bytes, unsigned n, struct decoded *d);
void form_key_of(enum mode mode, const struct decoded *d, struct form_key *key);
struct insn_text form_text(const struct form_key *key);
/* Does the engine under test have it?  (accept.c) */
bool accept_insn(const struct cpu_model *model, enum mode mode, const uint8_t *bytes, unsigned n);

/* Reason why this instruction cannot be compared in user mode, or NULL. */
const char *exclude_reason(enum mode mode, const struct decoded *d);
void exclude_print(FILE *f);

/* ---- sequences (gen.c, operand.c) --------------------------------------- */
enum reg_use { REG_FREE, REG_FIXED, REG_LOST };
struct gen {
    struct rng *r;
    struct test_case *t;
    enum reg_use use[16];
    bool vec_lost[32];
    unsigned len;               /* bytes so far */
};

/* Append an instruction of this form; false if it did not work out. */
bool gen_insn(struct gen *g, const struct form *f, unsigned index);
/* A case whose first (or a later) instruction has form `form`; the others come from pick(). */
bool gen_case(struct test_case *t, struct rng *r, unsigned form, bool first,
              unsigned (*pick)(struct rng *r, enum mode mode));

/* Address bytes (ModRM, SIB, displacement) of a memory operand. */
struct addr_bytes {
    uint8_t mod, rm;            /* ModRM fields */
    bool has_sib;
    uint8_t sib, disp_len;
    uint8_t x, b;               /* upper bits of index and base */
};
void operand_shape(struct gen *g, unsigned asize, bool vsib, struct addr_bytes *a);
/* Give registers (or the displacement in bytes) values so that the memory
 * operands of d land in the data; false: impossible with these registers. */
bool operand_place(struct gen *g, struct decoded *d, uint8_t *bytes);
/* What particular instructions need beside: call after operand_place.  False:
 * with these registers the two sides cannot be compared. */
bool operand_hooks(struct gen *g, const struct decoded *d, uint8_t *bytes);
/* Linear address to the case's copy of it, or NULL. */
uint8_t *case_mem(struct test_case *t, uint64_t la, unsigned len);

/* ---- running ------------------------------------------------------------ */
int native_init(void);
/* Shared with the child; fill and run. */
struct test_case *native_cases(void);
const struct outcome *native_outcomes(void);
int native_start(unsigned n);
int native_wait(void);
uint64_t native_xcr0(void);
/* Bits of the host's XCR0 that the engine does not have. */
uint64_t native_other_components(void);
struct native_layout;
const struct native_layout *native_get_layout(void);
uint64_t native_cpu_descriptor(void);

int guest_init(const char *engine, const struct cpu_model *model, enum cpu_stress stress, uint64_t tb_size);
void guest_run(const struct test_case *t, struct outcome *o);
void guest_exit(void);
/* false: the host runs against itself. */
bool guest_ready(void);

/* ---- results ------------------------------------------------------------ */
/* Number of differing fields; printed to f if not NULL. */
unsigned compare(const struct test_case *t, const struct outcome *native, const struct outcome *guest,
                 FILE *f);
/* guest's memory as native has it where XSAVE may say "in use" or not (inuse.c). */
void inuse_forget(const struct test_case *t, const uint8_t *native, uint8_t *guest);
/* The ignored flags of a case by its instructions; aborts the run if wider than the manual's. */
void compare_init(void);
/* Does it leave flags that we ignore? */
bool compare_ignores(unsigned mnemonic);
/* How many instructions of the case have run, and whether the last one retired. */
unsigned case_ran(const struct test_case *t, const struct outcome *o, bool *last_retired);
int run_pair(const struct test_case *t, struct outcome *guest);
void report_case(const struct test_case *t, FILE *f);
/* Smaller case with a difference still. */
void minimise(struct test_case *t);

#endif
