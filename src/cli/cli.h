/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands: each gets what follows its name and gives the exit status. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

int cli_run(int n, char **args);

/* One line on stderr, whatever the text holds. */
void cli_error(const char *text);

#endif
