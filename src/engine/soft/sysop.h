/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Functions of the system instructions, for the rows in decode_sys.c. */
#ifndef ENGINE_SOFT_SYSOP_H
#define ENGINE_SOFT_SYSOP_H

#include "engine/soft/soft.h"

/* far.c */
int op_call_far(struct soft_cpu *c, const struct insn *i);
int op_jmp_far(struct soft_cpu *c, const struct insn *i);
int op_call_far_mem(struct soft_cpu *c, const struct insn *i);
int op_jmp_far_mem(struct soft_cpu *c, const struct insn *i);
int op_ret_far(struct soft_cpu *c, const struct insn *i);
/* iret.c */
int op_iret(struct soft_cpu *c, const struct insn *i);
int op_int(struct soft_cpu *c, const struct insn *i);
int op_int1(struct soft_cpu *c, const struct insn *i);
int op_int3(struct soft_cpu *c, const struct insn *i);
int op_into(struct soft_cpu *c, const struct insn *i);
/* sysenter.c */
int op_syscall(struct soft_cpu *c, const struct insn *i);
int op_sysret(struct soft_cpu *c, const struct insn *i);
int op_sysenter(struct soft_cpu *c, const struct insn *i);
int op_sysexit(struct soft_cpu *c, const struct insn *i);

/* segop.c */
int op_mov_from_sreg(struct soft_cpu *c, const struct insn *i);
int op_mov_to_sreg(struct soft_cpu *c, const struct insn *i);
int op_push_sreg(struct soft_cpu *c, const struct insn *i);
int op_pop_sreg(struct soft_cpu *c, const struct insn *i);
int op_load_far_ptr(struct soft_cpu *c, const struct insn *i); /* vreg: the segment register */
int op_lldt(struct soft_cpu *c, const struct insn *i);
int op_ltr(struct soft_cpu *c, const struct insn *i);
int op_sldt(struct soft_cpu *c, const struct insn *i);
int op_str(struct soft_cpu *c, const struct insn *i);
int op_lar(struct soft_cpu *c, const struct insn *i);
int op_lsl(struct soft_cpu *c, const struct insn *i);
int op_verr(struct soft_cpu *c, const struct insn *i);
int op_verw(struct soft_cpu *c, const struct insn *i);
int op_arpl(struct soft_cpu *c, const struct insn *i);
int op_lgdt(struct soft_cpu *c, const struct insn *i);
int op_lidt(struct soft_cpu *c, const struct insn *i);
int op_sgdt(struct soft_cpu *c, const struct insn *i);
int op_sidt(struct soft_cpu *c, const struct insn *i);
int op_swapgs(struct soft_cpu *c, const struct insn *i);
int op_rdfsbase(struct soft_cpu *c, const struct insn *i);
int op_rdgsbase(struct soft_cpu *c, const struct insn *i);
int op_wrfsbase(struct soft_cpu *c, const struct insn *i);
int op_wrgsbase(struct soft_cpu *c, const struct insn *i);

/* cr.c */
int op_mov_from_cr(struct soft_cpu *c, const struct insn *i);
int op_mov_to_cr(struct soft_cpu *c, const struct insn *i);
int op_mov_from_dr(struct soft_cpu *c, const struct insn *i);
int op_mov_to_dr(struct soft_cpu *c, const struct insn *i);
int op_clts(struct soft_cpu *c, const struct insn *i);
int op_lmsw(struct soft_cpu *c, const struct insn *i);
int op_smsw(struct soft_cpu *c, const struct insn *i);
int op_invlpg(struct soft_cpu *c, const struct insn *i);
int op_invpcid(struct soft_cpu *c, const struct insn *i);
int op_xgetbv(struct soft_cpu *c, const struct insn *i);
int op_xsetbv(struct soft_cpu *c, const struct insn *i);

/* sys.c */
int op_hlt(struct soft_cpu *c, const struct insn *i);
int op_cpuid(struct soft_cpu *c, const struct insn *i);
int op_rdtsc(struct soft_cpu *c, const struct insn *i);
int op_rdtscp(struct soft_cpu *c, const struct insn *i);
int op_rdpid(struct soft_cpu *c, const struct insn *i);
int op_rdpmc(struct soft_cpu *c, const struct insn *i);
int op_rdmsr(struct soft_cpu *c, const struct insn *i);
int op_wrmsr(struct soft_cpu *c, const struct insn *i);
int op_wbinvd(struct soft_cpu *c, const struct insn *i);
int op_monitor(struct soft_cpu *c, const struct insn *i);
int op_mwait(struct soft_cpu *c, const struct insn *i);
int op_cli(struct soft_cpu *c, const struct insn *i);
int op_sti(struct soft_cpu *c, const struct insn *i);
int op_clac(struct soft_cpu *c, const struct insn *i);
int op_stac(struct soft_cpu *c, const struct insn *i);
int op_pushf(struct soft_cpu *c, const struct insn *i);
int op_popf(struct soft_cpu *c, const struct insn *i);

#endif
