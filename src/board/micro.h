/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine type `micro`: no firmware, no PCI, virtio over MMIO. */
#ifndef BOARD_MICRO_H
#define BOARD_MICRO_H

#include "board/board.h"

extern const struct board_ops board_micro;

#endif
