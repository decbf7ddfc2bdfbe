/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `bulkhead run`: one virtual machine in the foreground. */
#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "vm/vm.h"

static int run(const struct vm_config *config)
{
    struct vm_error error;
    struct vm *vm;
    int status;

    if (vm_create(&vm, config, &error) < 0) {
        cli_error(error.text);
        return error.status;
    }
    status = vm_run(vm);
    vm_destroy(vm);
    return status;
}

int cli_run(int n, char **args)
{
    struct vm_config config;
    char err[400];
    int rc = options_parse(&config, n, args, err, sizeof(err)), status = VM_OK;

    if (rc == OPTIONS_HELP)
        options_help(stdout);
    else if (rc == OPTIONS_PRINT)
        rc = config_print_json(&config, stdout, err, sizeof(err));
    else if (rc == OPTIONS_RUN)
        status = run(&config);
    if (rc < 0) {
        cli_error(err);
        status = rc == -EIO ? VM_HOST_FAILURE : VM_WRONG_USAGE;
    }
    config_free(&config);
    return status;
}
