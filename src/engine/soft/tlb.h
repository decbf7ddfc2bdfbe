/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the TLBs that mmu.c, tlb.c, rights.c and the tables of a translator share. */
#ifndef ENGINE_SOFT_TLB_H
#define ENGINE_SOFT_TLB_H

#include "engine/soft/soft.h"

static inline unsigned tlb_index(uint64_t la)
{
    return la >> MEM_PAGE_SHIFT & (TLB_SIZE - 1);
}

/* User entries of different address spaces keep out of each other's way. */
static inline unsigned ftlb_index(const struct soft_cpu *c, uint64_t la, bool user)
{
    return ((la >> MEM_PAGE_SHIFT) ^ (user ? (c->asid_slot + 1) * 37 : 0)) & (FTLB_SIZE - 1);
}

static inline bool ftlb_valid(const struct soft_cpu *c, const struct ftlb_entry *e)
{
    return e->owner == c->asids[c->asid_slot].id || e->owner == c->shared.id;
}

/* ---- tlb.c ---------------------------------------------------------------- */

void soft_tlb_init(struct soft_cpu *c, unsigned ncpus);
/* An entry was filled from a guest page of this size. */
void soft_tlb_note(struct soft_cpu *c, unsigned view, uint64_t la, uint64_t size_mask, bool global);
void soft_fetch_note(struct soft_cpu *c, uint64_t la, uint64_t size_mask, bool global, bool user);
/* Forget the address space in a slot that is not the present one. */
void soft_forget_slot(struct soft_cpu *c, unsigned slot);
/* Forget the entries of a view here, not in the tables. */
void soft_tlb_drop_view(struct soft_cpu *c, unsigned view);

/* ---- rights.c --------------------------------------------------------------- */

int soft_rights_create(struct soft_cpu *c);
void soft_rights_destroy(struct soft_cpu *c);
/*
 * May a view be filled with the right to write to a page of the memfd?  Then
 * the entry is noted; it must be stored before the vCPU next acknowledges.
 * False: there is code on the page.
 */
bool soft_rights_add(struct soft_cpu *c, unsigned view, uint64_t la, uint64_t page);
/* Take it back: of one page, or of all. */
void soft_rights_drop(struct soft_cpu *c, uint64_t page);
void soft_rights_drop_all(struct soft_cpu *c);
/* All entries have been dropped already. */
void soft_rights_forget(struct soft_cpu *c);
/* Ask another vCPU; it will when it next looks at ATT_CODE.  False: it has no
 * right there, nothing was asked. */
bool soft_rights_ask(struct soft_cpu *other, uint64_t page);
/* Ask for all rights. */
void soft_rights_ask_all(struct soft_cpu *other);
/* Do what others asked. */
void soft_rights_answer(struct soft_cpu *c);

#endif
