/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Functions of the integer instructions, by operand form and size, for the
 * rows in decode_int.c. */
#ifndef ENGINE_SOFT_OP_INT_H
#define ENGINE_SOFT_OP_INT_H

#include "engine/soft/alu.h"
#include "engine/soft/decode.h"

/* Index: 0 to 3 for 8, 16, 32, 64 bits.  r: register in insn.reg, m: memory;
 * second operand r: register in insn.rm, i: immediate.  1: shift by one. */
struct int_forms {
    insn_fn rr[4], ri[4], rm[4], mr[4], mi[4], lockr[4], locki[4], r1[4], m1[4];
};

extern const struct int_forms forms_add, forms_or, forms_adc, forms_sbb, forms_and, forms_sub,
    forms_xor, forms_cmp, forms_test, forms_inc, forms_dec, forms_neg, forms_not, forms_rol,
    forms_ror, forms_rcl, forms_rcr, forms_shl, forms_shr, forms_sar, forms_mov;

/* op_mov.c */
extern const insn_fn fns_movzx8[4], fns_movzx16[4], fns_movsx8[4], fns_movsx16[4], fns_movsxd[4];
extern const insn_fn fns_movzx8_m[4], fns_movzx16_m[4], fns_movsx8_m[4], fns_movsx16_m[4], fns_movsxd_m[4];
int op_lea64(struct soft_cpu *c, const struct insn *i);
int op_lea(struct soft_cpu *c, const struct insn *i);
int op_xchg_rr(struct soft_cpu *c, const struct insn *i);
int op_xchg_m(struct soft_cpu *c, const struct insn *i);
int op_xadd(struct soft_cpu *c, const struct insn *i);
int op_cmpxchg(struct soft_cpu *c, const struct insn *i);
int op_cmpxchg_pair(struct soft_cpu *c, const struct insn *i);
int op_mov_load_moffs(struct soft_cpu *c, const struct insn *i);
int op_mov_store_moffs(struct soft_cpu *c, const struct insn *i);
int op_movbe(struct soft_cpu *c, const struct insn *i);
int op_bswap(struct soft_cpu *c, const struct insn *i);
int op_xlat(struct soft_cpu *c, const struct insn *i);
int op_setcc(struct soft_cpu *c, const struct insn *i);
int op_setcc_m(struct soft_cpu *c, const struct insn *i);
int op_cmovcc(struct soft_cpu *c, const struct insn *i);
int op_nop(struct soft_cpu *c, const struct insn *i);
/* Is condition cc (0 to 15, as in Jcc's opcode) true? */
bool soft_condition(const struct soft_cpu *c, unsigned cc);

/* op_muldiv.c */
int op_mul(struct soft_cpu *c, const struct insn *i);
int op_imul1(struct soft_cpu *c, const struct insn *i);
int op_imul2(struct soft_cpu *c, const struct insn *i);
int op_div(struct soft_cpu *c, const struct insn *i);
int op_idiv(struct soft_cpu *c, const struct insn *i);
int op_cbw(struct soft_cpu *c, const struct insn *i);      /* CBW, CWDE, CDQE */
int op_cwd(struct soft_cpu *c, const struct insn *i);      /* CWD, CDQ, CQO */
int op_aaa(struct soft_cpu *c, const struct insn *i);
int op_aas(struct soft_cpu *c, const struct insn *i);
int op_aam(struct soft_cpu *c, const struct insn *i);
int op_aad(struct soft_cpu *c, const struct insn *i);
int op_daa(struct soft_cpu *c, const struct insn *i);
int op_das(struct soft_cpu *c, const struct insn *i);

/* op_bit.c */
int op_bt(struct soft_cpu *c, const struct insn *i);       /* insn.vreg: 0 BT, 1 BTS, 2 BTR, 3 BTC */
int op_bsf(struct soft_cpu *c, const struct insn *i);
int op_bsr(struct soft_cpu *c, const struct insn *i);
int op_tzcnt(struct soft_cpu *c, const struct insn *i);
int op_lzcnt(struct soft_cpu *c, const struct insn *i);
int op_popcnt(struct soft_cpu *c, const struct insn *i);
int op_shld(struct soft_cpu *c, const struct insn *i);
int op_shrd(struct soft_cpu *c, const struct insn *i);
int op_crc32(struct soft_cpu *c, const struct insn *i);
int op_adcx(struct soft_cpu *c, const struct insn *i);
int op_adox(struct soft_cpu *c, const struct insn *i);
int op_andn(struct soft_cpu *c, const struct insn *i);
int op_bextr(struct soft_cpu *c, const struct insn *i);
int op_blsi(struct soft_cpu *c, const struct insn *i);
int op_blsr(struct soft_cpu *c, const struct insn *i);
int op_blsmsk(struct soft_cpu *c, const struct insn *i);
int op_bzhi(struct soft_cpu *c, const struct insn *i);
int op_mulx(struct soft_cpu *c, const struct insn *i);
int op_pdep(struct soft_cpu *c, const struct insn *i);
int op_pext(struct soft_cpu *c, const struct insn *i);
int op_rorx(struct soft_cpu *c, const struct insn *i);
int op_sarx(struct soft_cpu *c, const struct insn *i);
int op_shlx(struct soft_cpu *c, const struct insn *i);
int op_shrx(struct soft_cpu *c, const struct insn *i);
int op_rdrand(struct soft_cpu *c, const struct insn *i);
int op_rdseed(struct soft_cpu *c, const struct insn *i);

/* op_branch.c */
extern const insn_fn fns_jcc64[16], fns_jcc[16];
int op_jmp_rel(struct soft_cpu *c, const struct insn *i);
int op_jmp_rel64(struct soft_cpu *c, const struct insn *i);
int op_jmp_ind(struct soft_cpu *c, const struct insn *i);
int op_call_rel(struct soft_cpu *c, const struct insn *i);
int op_call_rel64(struct soft_cpu *c, const struct insn *i);
int op_call_ind(struct soft_cpu *c, const struct insn *i);
int op_ret(struct soft_cpu *c, const struct insn *i);
int op_ret64(struct soft_cpu *c, const struct insn *i);
int op_jcxz(struct soft_cpu *c, const struct insn *i);
int op_loop(struct soft_cpu *c, const struct insn *i);     /* insn.vreg: 0 LOOPNE, 1 LOOPE, 2 LOOP */
int op_push_r(struct soft_cpu *c, const struct insn *i);
int op_push_r64(struct soft_cpu *c, const struct insn *i);
int op_push_m(struct soft_cpu *c, const struct insn *i);
int op_push_i(struct soft_cpu *c, const struct insn *i);
int op_pop_r(struct soft_cpu *c, const struct insn *i);
int op_pop_r64(struct soft_cpu *c, const struct insn *i);
int op_pop_m(struct soft_cpu *c, const struct insn *i);
int op_pusha(struct soft_cpu *c, const struct insn *i);
int op_popa(struct soft_cpu *c, const struct insn *i);
int op_enter(struct soft_cpu *c, const struct insn *i);
int op_leave(struct soft_cpu *c, const struct insn *i);
int op_bound(struct soft_cpu *c, const struct insn *i);
int op_lahf(struct soft_cpu *c, const struct insn *i);
int op_sahf(struct soft_cpu *c, const struct insn *i);
int op_clc(struct soft_cpu *c, const struct insn *i);
int op_stc(struct soft_cpu *c, const struct insn *i);
int op_cmc(struct soft_cpu *c, const struct insn *i);
int op_cld(struct soft_cpu *c, const struct insn *i);
int op_std(struct soft_cpu *c, const struct insn *i);
int op_salc(struct soft_cpu *c, const struct insn *i);

/* op_string.c; insn.osize: element */
int op_movs(struct soft_cpu *c, const struct insn *i);
int op_stos(struct soft_cpu *c, const struct insn *i);
int op_lods(struct soft_cpu *c, const struct insn *i);
int op_scas(struct soft_cpu *c, const struct insn *i);
int op_cmps(struct soft_cpu *c, const struct insn *i);
int op_ins(struct soft_cpu *c, const struct insn *i);
int op_outs(struct soft_cpu *c, const struct insn *i);
int op_in(struct soft_cpu *c, const struct insn *i);       /* insn.rm: GPR_ZERO: port is imm */
int op_out(struct soft_cpu *c, const struct insn *i);

#endif
