/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `bulkhead host`: what this host can do for virtual machines. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "vm/config_table.h"
#include "vm/host.h"
#include "vm/vm.h"

void cli_host_help(FILE *f)
{
    fprintf(f, "Usage: bulkhead host [--json]\n"
               "Tell which engines can run here and why others cannot, and what this host's CPU,\n"
               "memory and limits mean for virtual machines.\n\n"
               "  --json                   as one JSON object\n"
               "  -h, --help               this text\n");
}

int cli_host(int n, char **args)
{
    struct host_report *r;
    bool json = false;
    int rc = 0;

    for (int i = 0; i < n; i++) {
        char text[200];

        if (strcmp(args[i], "--help") == 0 || strcmp(args[i], "-h") == 0) {
            cli_host_help(stdout);
            return VM_OK;
        }
        if (strcmp(args[i], "--json") != 0) {
            snprintf(text, sizeof(text), "'%s' is not an option; see bulkhead host --help",
                     config_quote(args[i]).text);
            cli_error(text);
            return VM_WRONG_USAGE;
        }
        json = true;
    }
    r = calloc(1, sizeof(*r));
    if (!r) {
        cli_error("out of memory");
        return VM_HOST_FAILURE;
    }
    host_look(r);
    if (json)
        rc = host_print_json(r, stdout);
    else
        host_print(r, stdout);
    free(r);
    return rc < 0 ? VM_HOST_FAILURE : VM_OK;
}
