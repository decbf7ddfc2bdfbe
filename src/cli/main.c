/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/version.h"

static int help(int n, char **args);
static int version(int n, char **args);

static const struct subcommand {
    const char *name;
    const char *help;       /* NULL: another name of one that has it */
    int (*run)(int n, char **args);
} subcommands[] = {
    { "run", "boot a kernel in a new virtual machine", cli_run },
    { "help", "this text; help run for the options of run", help },
    { "version", "print the version", version },
    { "--help", NULL, help },
    { "-h", NULL, help },
    { "--version", NULL, version },
};

static void usage(FILE *f)
{
    fprintf(f, "Usage: bulkhead COMMAND [option]...\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
        if (subcommands[i].help)
            fprintf(f, "  %-8s %s\n", subcommands[i].name, subcommands[i].help);
}

static int help(int n, char **args)
{
    if (n > 0 && strcmp(args[0], "run") == 0)
        options_help(stdout);
    else
        usage(stdout);
    return VM_OK;
}

static int version(int n, char **args)
{
    (void)n;
    (void)args;
    printf("bulkhead %s\n", BULKHEAD_VERSION);
    return VM_OK;
}

static int unknown(const char *word)
{
    const char *names[ARRAY_SIZE(subcommands) + 1] = { NULL };
    const char *near;

    for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
        names[i] = subcommands[i].name;
    near = options_nearest(word, names);
    if (near)
        fprintf(stderr, "bulkhead: unknown command '%s'; did you mean %s?\n", word, near);
    else
        fprintf(stderr, "bulkhead: unknown command '%s'; see bulkhead help\n", word);
    return VM_WRONG_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return VM_WRONG_USAGE;
    }
    for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return subcommands[i].run(argc - 2, argv + 2);
    return unknown(argv[1]);
}
