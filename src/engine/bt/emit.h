/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes of host code (SDM 2A 2).  The lowest of three levels: this knows
 * encodings, translate.c knows guest instructions, memop.c how the guest's
 * memory is reached.  None of the helpers here but emit_op changes flags.
 */
#ifndef ENGINE_BT_EMIT_H
#define ENGINE_BT_EMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/util.h"

enum host_reg { H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI,
                H_R8, H_R9, H_R10, H_R11, H_R12, H_R13, H_R14, H_R15 };

struct emit {
    uint8_t *p;             /* next byte, in the writable mapping */
    uint8_t *end;           /* no emission starts at or behind it */
    bool hashed;            /* guest pages are looked up in hashed tables */
    uint8_t *const *unaligned;      /* shared code for accesses that are not aligned; NULL: none (memop.c) */
    bool code32;            /* of 32-bit guest code */
};

static inline void emit8(struct emit *e, unsigned b)
{
    *e->p++ = (uint8_t)b;
}

static inline void emit32(struct emit *e, uint32_t v)
{
    memcpy(e->p, &v, 4);
    e->p += 4;
}

static inline void emit64(struct emit *e, uint64_t v)
{
    memcpy(e->p, &v, 8);
    e->p += 8;
}

/* mod 3: register to register, 64 bits. */
static inline void emit_rr(struct emit *e, unsigned opcode, unsigned reg, unsigned rm)
{
    emit8(e, 0x48 | (reg >> 3) << 2 | rm >> 3);
    emit8(e, opcode);
    emit8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static inline void emit_mov(struct emit *e, unsigned dst, unsigned src)
{
    emit_rr(e, 0x89, src, dst);
}

/* As wide as the guest's code: 32 bits clear the upper half. */
static inline void emit_mov_code(struct emit *e, unsigned dst, unsigned src)
{
    if (!e->code32) {
        emit_mov(e, dst, src);
        return;
    }
    if (dst >> 3 || src >> 3)
        emit8(e, 0x40 | (src >> 3) << 2 | dst >> 3);
    emit8(e, 0x89);
    emit8(e, 0xc0 | (src & 7) << 3 | (dst & 7));
}

/* OP reg, gs:[disp] or the reverse, as the opcode says; w: 64 bits. */
static inline void emit_gs(struct emit *e, unsigned opcode, unsigned reg, int32_t disp, bool w)
{
    emit8(e, 0x65);
    if (w || reg >> 3)
        emit8(e, 0x40 | w << 3 | (reg >> 3) << 2);
    emit8(e, opcode);
    emit8(e, 0x04 | (reg & 7) << 3);
    emit8(e, 0x25);
    emit32(e, (uint32_t)disp);
}

static inline void emit_gs_load(struct emit *e, unsigned reg, int32_t disp)
{
    emit_gs(e, 0x8b, reg, disp, true);
}

static inline void emit_gs_store(struct emit *e, unsigned reg, int32_t disp)
{
    emit_gs(e, 0x89, reg, disp, true);
}

/* MOV qword gs:[disp], imm32 */
static inline void emit_gs_imm(struct emit *e, int32_t disp, uint32_t imm)
{
    static const uint8_t mov[] = { 0x65, 0x48, 0xc7, 0x04, 0x25 };

    memcpy(e->p, mov, sizeof(mov));
    e->p += sizeof(mov);
    emit32(e, (uint32_t)disp);
    emit32(e, imm);
}

/* ModRM and SIB of [base + index + disp]. */
static inline void emit_sib(struct emit *e, unsigned reg, unsigned base, unsigned index, int32_t disp)
{
    unsigned mod = !disp && (base & 7) != 5 ? 0 : disp == (int8_t)disp ? 1 : 2;

    emit8(e, mod << 6 | (reg & 7) << 3 | 4);
    emit8(e, (index & 7) << 3 | (base & 7));
    if (mod == 1)
        emit8(e, (uint8_t)disp);
    else if (mod == 2)
        emit32(e, (uint32_t)disp);
}

/* OP reg, [base + index << scale + disp]; no base: -1; no index: -1; w: 64
 * bits.  Bytes in front of REX (prefixes) are the caller's. */
static inline void emit_mem_w(struct emit *e, unsigned opcode, unsigned reg, int base, int index,
                              unsigned scale, int32_t disp, bool w)
{
    unsigned b = base < 0 ? 5 : (unsigned)base, x = index < 0 ? 4 : (unsigned)index;
    bool sib = base < 0 || index >= 0 || (b & 7) == 4;
    unsigned mod = base < 0 || (!disp && (b & 7) != 5) ? 0 : disp == (int8_t)disp ? 1 : 2;

    emit8(e, 0x40 | w << 3 | (reg >> 3) << 2 | (x >> 3) << 1 | (base < 0 ? 0 : b >> 3));
    emit8(e, opcode);
    emit8(e, mod << 6 | (reg & 7) << 3 | (sib ? 4 : b & 7));
    if (sib)
        emit8(e, scale << 6 | (x & 7) << 3 | (b & 7));
    if (mod == 1)
        emit8(e, (uint8_t)disp);
    else if (mod == 2 || base < 0)
        emit32(e, (uint32_t)disp);
}

static inline void emit_mem(struct emit *e, unsigned opcode, unsigned reg, int base, int index,
                            unsigned scale, int32_t disp)
{
    emit_mem_w(e, opcode, reg, base, index, scale, disp, true);
}

/* The guest's address arithmetic: modulo 2^32 in 32-bit code, whatever the
 * upper halves of the registers hold. */
static inline void emit_lea_code(struct emit *e, unsigned reg, int base, int index, unsigned scale,
                                 int32_t disp)
{
    emit_mem_w(e, 0x8d, reg, base, index, scale, disp, !e->code32);
}

static inline void emit_lea(struct emit *e, unsigned reg, int base, int index, unsigned scale, int32_t disp)
{
    emit_mem(e, 0x8d, reg, base, index, scale, disp);
}

static inline void emit_load(struct emit *e, unsigned reg, int base, int32_t disp)
{
    emit_mem(e, 0x8b, reg, base, -1, 0, disp);
}

static inline void emit_imm64(struct emit *e, unsigned reg, uint64_t v)
{
    if (v == (uint32_t)v) {
        if (reg >> 3)
            emit8(e, 0x41);
        emit8(e, 0xb8 | (reg & 7));
        emit32(e, (uint32_t)v);
    } else if (v == (uint64_t)(int32_t)v) {
        emit8(e, 0x48 | reg >> 3);
        emit8(e, 0xc7);
        emit8(e, 0xc0 | (reg & 7));
        emit32(e, (uint32_t)v);
    } else {
        emit8(e, 0x48 | reg >> 3);
        emit8(e, 0xb8 | (reg & 7));
        emit64(e, v);
    }
}

/* Jumps: the place of the 32-bit displacement is returned, for emit_target. */
static inline uint8_t *emit_jmp(struct emit *e)
{
    emit8(e, 0xe9);
    emit32(e, 0);
    return e->p - 4;
}

#define EMIT_JMP 5
#define EMIT_JCC 6
static inline uint8_t *emit_jcc(struct emit *e, unsigned cc)
{
    emit8(e, 0x0f);
    emit8(e, 0x80 | cc);
    emit32(e, 0);
    return e->p - 4;
}

static inline void emit_patch(uint8_t *at, const uint8_t *target)
{
    int32_t d = (int32_t)(target - (at + 4));

    memcpy(at, &d, 4);
}

static inline void emit_here(struct emit *e, uint8_t *at)
{
    emit_patch(at, e->p);
}

/* LEA reg, [rip + ...] of a place to be patched. */
static inline uint8_t *emit_lea_rip(struct emit *e, unsigned reg)
{
    emit8(e, 0x48 | (reg >> 3) << 2);
    emit8(e, 0x8d);
    emit8(e, 0x05 | (reg & 7) << 3);
    emit32(e, 0);
    return e->p - 4;
}

/* A short jump forward: the place of its displacement, for emit_here8. */
static inline uint8_t *emit_jcc8(struct emit *e, unsigned cc)
{
    emit8(e, 0x70 | cc);
    emit8(e, 0);
    return e->p - 1;
}

static inline void emit_here8(struct emit *e, uint8_t *at)
{
    *at = (uint8_t)(e->p - (at + 1));
}

static inline void emit_bytes(struct emit *e, const void *bytes, unsigned n)
{
    memcpy(e->p, bytes, n);
    e->p += n;
}
/*
 * The next n bytes are to lie within 32 bytes, and not up to their end: there
 * many Intel CPUs do not keep a jump, or the pair of a comparison and its jump,
 * in the cache of decoded instructions (erratum SKX102).
 */
static inline void emit_within(struct emit *e, unsigned n)
{
    static const uint8_t nops[10][9] = {
        [1] = { 0x90 }, [2] = { 0x66, 0x90 }, [3] = { 0x0f, 0x1f, 0x00 }, [4] = { 0x0f, 0x1f, 0x40 },
        [5] = { 0x0f, 0x1f, 0x44 }, [6] = { 0x66, 0x0f, 0x1f, 0x44 }, [7] = { 0x0f, 0x1f, 0x80 },
        [8] = { 0x0f, 0x1f, 0x84 }, [9] = { 0x66, 0x0f, 0x1f, 0x84 },
    };
    unsigned left = 32 - ((unsigned)(uintptr_t)e->p & 31);

    if (n < left)
        return;
    while (left) {
        unsigned size = MIN(left, 9u);

        emit_bytes(e, nops[size], size);
        left -= size;
    }
}

#define EMIT(e, ...)                                                           \
    do {                                                                       \
        static const uint8_t bytes_[] = { __VA_ARGS__ };                       \
        emit_bytes(e, bytes_, sizeof(bytes_));                                 \
    } while (0)

#endif
