/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of `bulkhead run`. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

#include "vm/vm.h"

#define OPTIONS_HELP 1

/* Fills *config from args[0..n), whose strings are borrowed; defaults are set
 * first.  --log takes effect at once.  Returns 0, OPTIONS_HELP if --help was
 * among them, or -EINVAL with one line in err. */
int options_parse(struct vm_config *config, int n, char *const *args, char *err, size_t err_size);
void options_help(FILE *f);

/* "512M", "1G", "64K"; a plain number counts MiB.  Returns 0 or -EINVAL. */
int options_size(const char *text, uint64_t *bytes);
/* The word of list (NULL-terminated) that is nearest to word, or NULL if none
 * is near. */
const char *options_nearest(const char *word, const char *const *list);

#endif
