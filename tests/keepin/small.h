/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_KEEPIN_SMALL_H
#define TESTS_KEEPIN_SMALL_H

/* Guests of a few instructions, each for one rule of docs/translator.md. */
void test_small(void);

#endif
