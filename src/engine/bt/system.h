/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sensitive instructions inline, on the virtual state (system.c). */
#ifndef ENGINE_BT_SYSTEM_H
#define ENGINE_BT_SYSTEM_H

#include "engine/bt/item.h"

/* What an inline form needs around it. */
enum system_shape {
    SYSTEM_PLAIN,       /* nothing; changes no flags */
    SYSTEM_FLAGS,       /* uses flags, which are saved where they live; may go to its function */
    SYSTEM_PUSH,        /* leaves in R11 what is stored below RSP; flags are saved */
    SYSTEM_POP,         /* gets in R11 what RSP points to; may go to its function */
};

struct system_form {
    uint16_t mnemonic;  /* ZydisMnemonic */
    uint8_t shape;
    bool kernel;        /* of CPL 0; at CPL 3 it is a function */
    bool shadow;        /* nothing may come between it and the next instruction */
    /* Does the form fit this instruction?  NULL: always. */
    bool (*fits)(const struct item *i, unsigned mode);
    void (*emit)(struct emit *e, struct item *i, unsigned mode);
};

/* The inline form of an instruction in blocks of this mode, or NULL. */
const struct system_form *bt_system_form(const struct item *i, unsigned mode);
void bt_emit_system(struct translation *t, struct item *i);

/* Jumps to the function of an item whose first access is made: on a condition;
 * if a byte of the context is not 0; if R10 is not canonical (uses R11). */
void bt_cold_if(struct emit *e, struct item *i, unsigned cc);
void bt_cold_unless_zero(struct emit *e, struct item *i, int32_t disp);
void bt_cold_unless_canonical(struct emit *e, struct item *i);

/* R11D = RFLAGS, of which the arithmetic flags are in W_FLAGS. */
void bt_emit_full_flags(struct emit *e);
/* Go over to another view, which stands ready in three words from this one (note_view in bt.c).  Uses R10. */
void bt_emit_view(struct emit *e, unsigned word);

#endif
