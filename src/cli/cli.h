/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands: each gets what follows its name and gives the exit status. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>

int cli_run(int n, char **args);
int cli_host(int n, char **args);
void cli_host_help(FILE *f);

/* One line on stderr, whatever the text holds. */
void cli_error(const char *text);

#endif
