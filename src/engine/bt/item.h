/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest instruction on its way to host code (allow.c, translate.c). */
#ifndef ENGINE_BT_ITEM_H
#define ENGINE_BT_ITEM_H

#include "engine/bt/bt.h"

enum kind { K_FUNCTION, K_NOP, K_GENERIC, K_SIMD, K_COPY, K_MOV_IMM, K_BSWAP, K_LEA, K_PUSH_REG, K_PUSH_IMM,
            K_POP, K_JCC, K_JMP, K_JMP_IND, K_CALL, K_CALL_IND, K_RET };

struct item {
    struct insn insn;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    const uint8_t *bytes;
    uint16_t offset;
    uint8_t kind;
    uint32_t reads, kills;      /* arithmetic flags */
    bool live;                  /* flags must survive what is inserted before it */
    /* emission */
    struct memop mem;
    struct site *site;
    uint8_t *cont;              /* where the cold path comes back */
};

/* How the instruction is translated; mode: of the block (BT_MODE_*). */
enum kind bt_classify(const struct soft_cpu *c, const struct item *i, unsigned mode);
/* Fill reads and kills by kind. */
void bt_flag_effects(struct item *i);
/* The explicit memory operand, or NULL. */
const ZydisDecodedOperand *bt_memory_operand(const struct item *i);
/* Is the ModRM.reg field a register (not part of the opcode)? */
bool bt_reg_field(const ZydisDecodedInstruction *z);

#endif
