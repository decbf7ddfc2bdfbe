/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of `bulkhead run`: shorthand for the JSON document. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

#include "vm/config.h"

enum options_wish {
    OPTIONS_RUN,
    OPTIONS_HELP,
    OPTIONS_PRINT,      /* --print-config */
};

/*
 * Fills *config from args[0..n): the defaults; then the documents of
 * --config, in their order; then the other options, in theirs.  A later value
 * replaces an earlier one, lists grow.  --log takes effect at once.  Returns
 * an options_wish, or a negative errno with one line in err; *config is to be
 * freed in any case.
 */
int options_parse(struct vm_config *config, int n, char *const *args, char *err, size_t err_size);

/* help.c */
void options_help(FILE *f);
/* The options as part of the manual page (mdoc). */
void options_manual(FILE *f);

/* complete.c: what may stand for the last of words[0..n) on the command line
 * (without the program's name), one on each line; "@file" stands for the
 * names of files. */
void options_complete(FILE *f, int n, char *const *words);

#endif
