/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/version.h"
#include "vm/config_table.h"
#include "vm/vm.h"

static int help(int n, char **args);
static int version(int n, char **args);
static int complete(int n, char **args);
static int manual(int n, char **args);
static void help_help(FILE *f);
static void version_help(FILE *f);

static const struct subcommand {
    const char *name;
    const char *help;               /* NULL: not shown */
    int (*run)(int n, char **args);
    void (*usage)(FILE *f);         /* its own --help; NULL: usage() */
} subcommands[] = {
    { "run", "boot a kernel in a new virtual machine", cli_run, options_help },
    { "host", "tell what this host can do for virtual machines", cli_host, cli_host_help },
    { "help", "this text, or that of a command: help COMMAND", help, help_help },
    { "version", "print the version", version, version_help },
    { "--help", NULL, help, NULL },
    { "-h", NULL, help, NULL },
    { "--version", NULL, version, NULL },
    { "-V", NULL, version, NULL },
    /* For the completion of shells, and for making the manual page. */
    { "__complete", NULL, complete, NULL },
    { "__manual", NULL, manual, NULL },
};

static void usage(FILE *f)
{
    fprintf(f, "Usage: bulkhead COMMAND [OPTION]...\n"
               "A virtual machine monitor that needs no hardware virtualization.\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
        if (subcommands[i].help)
            fprintf(f, "  %-10s%s\n", subcommands[i].name, subcommands[i].help);
    fprintf(f, "\nbulkhead COMMAND --help tells more. Manual page: bulkhead(1).\n");
}

static void help_help(FILE *f)
{
    fprintf(f, "Usage: bulkhead help [COMMAND]\n"
               "List the commands, or tell the options of one.\n");
}

static void version_help(FILE *f)
{
    fprintf(f, "Usage: bulkhead version\n"
               "Print the version.\n");
}

static const struct subcommand *find(const char *word)
{
    for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
        if (strcmp(word, subcommands[i].name) == 0)
            return &subcommands[i];
    return NULL;
}

static int unknown(const char *word)
{
    const char *names[ARRAY_SIZE(subcommands) + 1] = { NULL }, *near;
    char text[200];
    unsigned n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
        if (subcommands[i].help || *subcommands[i].name == '-')
            names[n++] = subcommands[i].name;
    near = config_nearest(word, names);
    snprintf(text, sizeof(text), near ? "unknown command '%s'; did you mean %s?" :
             "unknown command '%s'; see bulkhead help", config_quote(word).text, near);
    cli_error(text);
    return VM_WRONG_USAGE;
}

/* A subcommand without options: is there a word that it does not take?  Then
 * the exit status is in *status. */
static bool only_help(const char *name, int n, char **args, int *status)
{
    char text[200];

    if (n == 0)
        return false;
    *status = VM_OK;
    if (strcmp(args[0], "--help") == 0 || strcmp(args[0], "-h") == 0) {
        find(name)->usage(stdout);
        return true;
    }
    snprintf(text, sizeof(text), "'%s' is not an option; see bulkhead %s --help",
             config_quote(args[0]).text, name);
    cli_error(text);
    *status = VM_WRONG_USAGE;
    return true;
}

static int help(int n, char **args)
{
    const struct subcommand *c;
    int status;

    if (n == 0) {
        usage(stdout);
        return VM_OK;
    }
    c = *args[0] == '-' ? NULL : find(args[0]);
    if (!c && *args[0] == '-' && only_help("help", n, args, &status))
        return status;
    if (!c || !c->help)
        return unknown(args[0]);
    if (n > 1 && only_help("help", n - 1, args + 1, &status))
        return status;
    c->usage(stdout);
    return VM_OK;
}

static int version(int n, char **args)
{
    int status;

    if (only_help("version", n, args, &status))
        return status;
    printf("bulkhead %s\n", BULKHEAD_VERSION);
    return VM_OK;
}

/* args: the words of the command line so far, the last one unfinished. */
static int complete(int n, char **args)
{
    if (n > 1 && strcmp(args[0], "run") == 0) {
        options_complete(stdout, n - 1, args + 1);
    } else if (n == 1 || (n == 2 && strcmp(args[0], "help") == 0)) {
        for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
            if ((subcommands[i].help || strcmp(subcommands[i].name, "--version") == 0) &&
                strncmp(subcommands[i].name, args[n - 1], strlen(args[n - 1])) == 0)
                printf("%s\n", subcommands[i].name);
    }
    return VM_OK;
}

static int manual(int n, char **args)
{
    (void)n;
    (void)args;
    options_manual(stdout);
    return VM_OK;
}

int main(int argc, char **argv)
{
    const struct subcommand *c;
    int status;

    if (argc < 2) {
        usage(stderr);
        return VM_WRONG_USAGE;
    }
    c = find(argv[1]);
    status = c ? c->run(argc - 2, argv + 2) : unknown(argv[1]);
    if (fflush(stdout) == EOF && status == VM_OK) {
        cli_error("cannot write to the standard output");
        status = VM_HOST_FAILURE;
    }
    return status;
}
