/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the loaders of this folder share. */
#ifndef BOARD_LOAD_H
#define BOARD_LOAD_H

#include "board/boot.h"

/* Puts the loadable segments of the ELF image at their physical addresses,
 * none below low_end.  *end: past the last byte; *entry: the entry point as a
 * physical address.  Returns 0, or a negative errno with a message. */
int load_segments(const struct boot_context *c, uint64_t low_end, uint64_t *end, uint64_t *entry);
/* Puts the first module as high as possible below limit and 4 GiB. */
int load_initrd(const struct boot_context *c, uint64_t kernel_end, uint64_t limit, uint64_t *gpa);
/* Puts the command line at ENTRY_CMDLINE; max: bytes without the final NUL. */
int load_cmdline(const struct boot_context *c, uint64_t max);

#endif
