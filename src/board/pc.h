/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine type `pc`: a PC/AT with PCI and ACPI. */
#ifndef BOARD_PC_H
#define BOARD_PC_H

#include "board/board.h"

extern const struct board_ops board_pc;

#endif
