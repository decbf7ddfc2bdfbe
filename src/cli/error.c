/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "cli/cli.h"

void cli_error(const char *text)
{
    char line[600];
    int n = snprintf(line, sizeof(line), "bulkhead: %s", text);

    n = n < (int)sizeof(line) ? n : (int)sizeof(line) - 1;
    for (int i = 0; i < n; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    fprintf(stderr, "%s\n", line);
}
