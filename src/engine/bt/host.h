/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ENGINE_BT_HOST_H
#define ENGINE_BT_HOST_H

#include <stdbool.h>

/* BMI1, BMI2 and FSGSBASE. */
bool bt_host_fits(void);

#endif
