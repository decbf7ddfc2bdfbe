/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ENGINE_BT_HOST_H
#define ENGINE_BT_HOST_H

#include <stdbool.h>

/* Does the host have what translated code is made of: BMI1, BMI2, FSGSBASE? */
bool bt_host_fits(void);

#endif
