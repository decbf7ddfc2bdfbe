/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ENGINE_BT_HOST_H
#define ENGINE_BT_HOST_H

#include <stdbool.h>

/* Does the host have what translated code is made of: BMI1, BMI2, FSGSBASE? */
bool bt_host_fits(void);

/* Kinds of instructions that leave some flags undefined. */
enum host_flags { HOST_LOGIC, HOST_SHIFT_LEFT, HOST_SHIFT_RIGHT, HOST_SHIFT_ARITHMETIC, HOST_SHIFT_DOUBLE,
                  HOST_MULTIPLY, HOST_SCAN, HOST_BIT_FIELDS, HOST_FLAGS_COUNT };
/* Does this CPU make them from the operands alone, and not leave them as they
 * were?  Tried once, at the first call.  Any thread. */
bool bt_host_flags_fixed(enum host_flags what);

#endif
