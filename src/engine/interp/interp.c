/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The reference interpreter: decoded blocks and nothing else. */
#include "engine/soft/blocks.h"
#include "engine/soft/contract.h"

static int probe(char *why, int why_size)
{
    if (why_size > 0)
        why[0] = 0;
    return 0;
}

static int vcpu_run(struct vcpu *vcpu)
{
    return soft_run((struct soft_cpu *)vcpu, soft_run_piece);
}

static void vcpu_info(struct vcpu *vcpu, FILE *f)
{
    soft_blocks_info((struct soft_cpu *)vcpu, f);
}

const struct engine_ops engine_interp = {
    .name = "interp",
    .description = "software, reference interpreter",
    .probe = probe,
    .vm_create = soft_op_vm_create,
    .vm_destroy = soft_op_vm_destroy,
    .vcpu_create = soft_vcpu_create,
    .vcpu_destroy = soft_vcpu_destroy,
    .vcpu_run = vcpu_run,
    .vcpu_info = vcpu_info,
    SOFT_COMMON_OPS,
};
