/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host CPU and kernel must offer; apart because <elf.h> and x86.h
 * both name a PF_W. */
#include "engine/bt/host.h"

#include <sys/auxv.h>

/* AT_HWCAP2 bit 1: the kernel lets user mode use FSGSBASE. */
#define HWCAP2_FSGSBASE 2

bool bt_host_fits(void)
{
    return __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
           (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE);
}
