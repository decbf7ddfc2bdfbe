/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segmentation and control transfer, as seg.c, exc.c, far.c and task.c share
 * them: descriptors, supervisor accesses, and stacks that are not yet the
 * present one.
 */
#ifndef ENGINE_SOFT_SEG_H
#define ENGINE_SOFT_SEG_H

#include "engine/soft/soft.h"

/* ---- descriptors (SDM 3A 3.4.5) -------------------------------------------- */

struct desc {
    uint64_t raw;
    uint64_t la;       /* of its first byte */
    uint16_t selector; /* that named it */
};

/* Types of system descriptors (SDM 3A table 3-2). */
enum {
    DESC_TSS16 = 1,
    DESC_LDT = 2,
    DESC_TSS16_BUSY = 3,
    DESC_CALL16 = 4,
    DESC_TASK_GATE = 5,
    DESC_INT16 = 6,
    DESC_TRAP16 = 7,
    DESC_TSS32 = 9,
    DESC_TSS32_BUSY = 11,
    DESC_CALL32 = 12,
    DESC_INT32 = 14,
    DESC_TRAP32 = 15
};
#define TSS_BUSY 2u

/* As SYSCALL and the like load CS and SS; L or D of CS, and DPL, are to be added. */
#define SEG_FLAT_CODE (0xbu | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_G)
#define SEG_FLAT_DATA (0x3u | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_G | SEG_ATTR_DB)

/* Bits of seg_state.attr's type for code and data. */
#define TYPE_ACCESSED  1u
#define TYPE_RW        2u /* data: writable; code: readable */
#define TYPE_DOWN_CONF 4u /* data: expand-down; code: conforming */
#define TYPE_CODE      8u

static inline uint32_t desc_attr(uint64_t raw)
{
    return (uint32_t)(raw >> 40) & 0xf0ff;
}
static inline unsigned desc_type(uint64_t raw)
{
    return (unsigned)(raw >> 40) & 15;
}
static inline unsigned desc_dpl(uint64_t raw)
{
    return (unsigned)(raw >> 45) & 3;
}
static inline bool desc_s(uint64_t raw)
{
    return raw >> 44 & 1;
}
static inline bool desc_present(uint64_t raw)
{
    return raw >> 47 & 1;
}
static inline bool desc_long(uint64_t raw)
{
    return raw >> 53 & 1;
}
static inline bool desc_big(uint64_t raw)
{
    return raw >> 54 & 1;
}
static inline bool desc_is_code(uint64_t raw)
{
    return desc_s(raw) && (desc_type(raw) & TYPE_CODE);
}
static inline bool desc_conforming(uint64_t raw)
{
    return desc_type(raw) & TYPE_DOWN_CONF;
}
static inline bool desc_writable(uint64_t raw)
{
    return desc_s(raw) && (desc_type(raw) & (TYPE_CODE | TYPE_RW)) == TYPE_RW;
}
static inline uint32_t desc_base(uint64_t raw)
{
    return (uint32_t)(raw >> 16 & 0xffffff) | (uint32_t)(raw >> 56) << 24;
}
static inline uint32_t desc_limit(uint64_t raw)
{
    uint32_t limit = (uint32_t)(raw & 0xffff) | (uint32_t)(raw >> 32 & 0xf0000);

    return raw >> 55 & 1 ? limit << 12 | 0xfff : limit;
}
/* Offset and selector in a gate. */
static inline uint32_t gate_offset(uint64_t raw)
{
    return (uint32_t)(raw & 0xffff) | (uint32_t)(raw >> 32 & 0xffff0000);
}
static inline uint16_t gate_selector(uint64_t raw)
{
    return (uint16_t)(raw >> 16);
}

void desc_to_seg(uint64_t raw, uint16_t selector, struct seg_state *s);
static inline bool selector_null(uint16_t selector)
{
    return !(selector & 0xfffc);
}
/* What a data segment register holds after a null selector, or SS in 64-bit
 * mode: unusable, with the DPL for SS. */
void seg_set_null(struct seg_state *s, uint16_t selector, unsigned dpl);

/* May all of the 4 GiB behind its base be read and written? */
bool seg_is_unlimited(const struct seg_state *s);

/* Read the descriptor; outside its table: exception vector(selector). */
int desc_read(struct soft_cpu *c, uint16_t selector, unsigned vector, struct desc *d);
/* Bits 95:64 of a system descriptor in long mode: the upper base or offset.
 * #GP(selector) if the second half looks like a descriptor of its own. */
int desc_read_upper(struct soft_cpu *c, const struct desc *d, unsigned vector, uint32_t *upper);
/* Set bits in the type field in memory, atomically, if they are not set. */
int desc_set_type(struct soft_cpu *c, struct desc *d, unsigned bits);
static inline int desc_set_accessed(struct soft_cpu *c, struct desc *d)
{
    return likely(desc_type(d->raw) & TYPE_ACCESSED) ? 0 : desc_set_type(c, d, TYPE_ACCESSED);
}
/* Clear the busy bit of the TSS descriptor that selector names in the GDT. */
int desc_clear_busy(struct soft_cpu *c, uint16_t selector);

/* ---- checks that several transfers make -------------------------------------- */

/* SS for privilege cpl (SDM 2B MOV SS, IRET, 3A 6.12.1): vector is #GP or #TS;
 * not present is #SS.  The accessed bit is set. */
int seg_check_stack(struct soft_cpu *c, uint16_t selector, unsigned cpl, unsigned vector,
                    struct seg_state *s);
/* A data segment register, null selector included. */
int seg_check_data(struct soft_cpu *c, uint16_t selector, unsigned vector, struct seg_state *s);
/* Code segment that RETF and IRET go back to. */
int seg_check_return(struct soft_cpu *c, uint16_t selector, struct desc *d);
/* Null the data segment registers that the new, outer CPL may not keep. */
void seg_drop_privileged(struct soft_cpu *c);
/* Real mode and virtual-8086: base is the selector times 16. */
void seg_load_real(struct soft_cpu *c, unsigned seg, uint16_t selector);
void seg_load_v86(struct soft_cpu *c, unsigned seg, uint16_t selector);
/* One segment's hidden part has changed outside 64-bit mode. */
void seg_changed(struct soft_cpu *c, unsigned seg);
/* Is offset a legal instruction pointer in the code segment of descriptor raw?
 * Else #GP(0). */
int code_check_target(struct soft_cpu *c, uint64_t raw, uint64_t offset);
/* All is checked: make raw the present CS with this CPL.  Not the derived fields. */
void code_set(struct soft_cpu *c, uint64_t raw, uint16_t selector, unsigned cpl);

/* Offset and limit of a segment to a linear address; outside 64-bit mode. */
int seg_linear(struct soft_cpu *c, const struct seg_state *s, unsigned seg, uint32_t error,
               uint64_t off, unsigned size, bool write, uint64_t *la);

/* ---- stacks ------------------------------------------------------------------- */

/* A stack to push on or pop from before anything is committed. */
struct stack {
    const struct seg_state *ss; /* NULL: 64-bit */
    uint64_t sp, mask;
    bool sys;       /* supervisor accesses, whatever CPL is now */
    uint16_t error; /* selector in #SS */
};

/* The present one. */
struct stack stack_present(struct soft_cpu *c);
static inline uint64_t stack_mask(const struct seg_state *ss)
{
    return ss->attr & SEG_ATTR_DB ? 0xffffffffu : 0xffffu;
}
int stack_push(struct soft_cpu *c, struct stack *st, unsigned size, uint64_t v);
int stack_pop(struct soft_cpu *c, struct stack *st, unsigned size, uint64_t *v);
int stack_peek(struct soft_cpu *c, const struct stack *st, unsigned off, unsigned size,
               uint64_t *v);
/* Give its stack pointer to rSP, cut to the mask. */
void stack_commit(struct soft_cpu *c, const struct stack *st);

/* The stack that the TSS has for an inner privilege: legacy mode. ss is
 * checked and filled. */
int stack_inner(struct soft_cpu *c, unsigned cpl, struct seg_state *ss, struct stack *st);
/* Long mode: RSP of privilege cpl, or IST n (1 to 7). */
int stack_inner64(struct soft_cpu *c, unsigned cpl, unsigned ist, struct stack *st);

/* ---- between files --------------------------------------------------------------- */

enum task_source { TASK_JMP, TASK_CALL, TASK_IRET };
/* Switch to the TSS of selector (its descriptor, checked for type, in d).
 * next_rip: where the old task goes on.  0: done, all registers are the new
 * task's; SOFT_FAULT may be in either task's context. */
int task_switch(struct soft_cpu *c, enum task_source source, struct desc *d, uint64_t next_rip);
/* Through the TSS selector in a task gate: checks and switches. */
int task_gate(struct soft_cpu *c, enum task_source source, uint16_t tss, uint64_t next_rip);

/* The answer to a triple fault. */
static inline int soft_shutdown(struct soft_cpu *c)
{
    c->s.mp_state = MP_SHUTDOWN;
    c->run->exit = CPU_EXIT_SHUTDOWN;
    return SOFT_EXIT;
}

#endif
