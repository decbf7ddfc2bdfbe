/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vCPU's state as a row of words, made from its field table: to be compared. */
#ifndef DEBUG_IMAGE_H
#define DEBUG_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "cpu/state.h"

#define IMAGE_WORDS 1024

/* One word for each element of each field that is to agree; what depends on
 * the host's time alone is left out.  Returns the number of words. */
unsigned image_pack(const struct vcpu_state *s, uint64_t words[IMAGE_WORDS]);
/* "xmm[3]" for a word. */
void image_name(unsigned word, char *name, size_t size);

#endif
