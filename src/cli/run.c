/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `bulkhead run`: one virtual machine in the foreground. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "vm/vm.h"

int cli_run(int n, char **args)
{
    struct vm_config config;
    struct vm_error error;
    char err[400];
    struct vm *vm;
    int status, rc = options_parse(&config, n, args, err, sizeof(err));

    if (rc == OPTIONS_HELP) {
        options_help(stdout);
        return VM_OK;
    }
    if (rc < 0) {
        fprintf(stderr, "bulkhead: %s\n", err);
        return VM_WRONG_USAGE;
    }
    if (vm_create(&vm, &config, &error) < 0) {
        fprintf(stderr, "bulkhead: %s\n", error.text);
        return error.status;
    }
    status = vm_run(vm);
    vm_destroy(vm);
    return status;
}
