/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checksums of all memory of this process, so that a test can say that nothing
 * was written but what may be.  A mapping larger than LARGE, such as a table
 * that is reserved and not used, is not read: how much of it is there counts.
 */
#ifndef TESTS_KEEPIN_PAGES_H
#define TESTS_KEEPIN_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct pages;

/* Bytes that may change from now on; before the first checksum. */
void pages_may_change(const void *start, size_t size);
/* The mappings that there are now: what comes later may change. */
void pages_note_mappings(void);
/* Checksums of now, without mappings that came after the note.  The first
 * and the last are kept. */
const struct pages *pages_take(void);
size_t pages_count(const struct pages *p);
/* How many pages are not as they were; f: prints them there, or NULL. */
unsigned pages_compare(const struct pages *before, const struct pages *after, FILE *f);
#endif
