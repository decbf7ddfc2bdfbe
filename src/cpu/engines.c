/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stddef.h>

#include "cpu/cpu.h"

const struct engine_ops *const engines[] = {
    &engine_kvm,
    &engine_bt,
    &engine_interp,
    NULL,
};
