/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Members of struct engine_ops that software engines share (see cpu/cpu.h). */
#ifndef ENGINE_SOFT_CONTRACT_H
#define ENGINE_SOFT_CONTRACT_H

#include "engine/soft/soft.h"

struct engine_vm {
    struct soft_vm soft;
};

int soft_vcpu_create(struct vcpu **out, struct engine_vm *vm, unsigned id);
void soft_vcpu_destroy(struct vcpu *vcpu);
int soft_op_vm_create(struct engine_vm **out, const struct engine_config *config, char *err, int err_size);
void soft_op_vm_destroy(struct engine_vm *vm);
struct cpu_run *soft_op_vcpu_page(struct vcpu *vcpu);
void soft_op_vcpu_get_state(struct vcpu *vcpu, struct vcpu_state *s);
int soft_op_vcpu_set_state(struct vcpu *vcpu, const struct vcpu_state *s, char *err, size_t err_size);
int soft_op_vcpu_translate(struct vcpu *vcpu, uint64_t gva, uint64_t *gpa);
void soft_op_vcpu_kick(struct vcpu *vcpu);
void soft_op_vcpu_nmi(struct vcpu *vcpu);
void soft_op_vcpu_extint(struct vcpu *vcpu, bool request);
void soft_op_set_a20(struct engine_vm *vm, bool enabled);
void soft_op_msi(struct engine_vm *vm, uint64_t address, uint32_t data);
void soft_op_set_eoi_exits(struct engine_vm *vm, const uint64_t bitmap[4]);
int soft_op_doorbell_add(struct engine_vm *vm, bool pio, uint64_t addr, unsigned size, bool match,
                        uint64_t value, int fd);
int soft_op_doorbell_del(struct engine_vm *vm, bool pio, uint64_t addr, unsigned size, bool match,
                        uint64_t value);
int soft_op_counter_add(struct engine_vm *vm, const struct cpu_counter *counter);
void soft_op_dirty_revoke(struct engine_vm *vm);
void soft_op_clock_changed(struct engine_vm *vm);

#define SOFT_COMMON_OPS                                                                              \
    .tapes = true, \
    .vcpu_page = soft_op_vcpu_page, \
    .vcpu_get_state = soft_op_vcpu_get_state, \
    .vcpu_set_state = soft_op_vcpu_set_state, \
    .vcpu_translate = soft_op_vcpu_translate, \
    .vcpu_kick = soft_op_vcpu_kick, \
    .vcpu_nmi = soft_op_vcpu_nmi, \
    .vcpu_extint = soft_op_vcpu_extint, \
    .set_a20 = soft_op_set_a20, \
    .msi = soft_op_msi, \
    .set_eoi_exits = soft_op_set_eoi_exits, \
    .doorbell_add = soft_op_doorbell_add, \
    .doorbell_del = soft_op_doorbell_del, \
    .counter_add = soft_op_counter_add, \
    .dirty_revoke = soft_op_dirty_revoke, \
    .clock_changed = soft_op_clock_changed

#endif
