/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * timer NAME WORK FILE COMMAND...: runs a command with its output in FILE ("-": in a file of its own),
 * prints how long it took and a sum of FILE. Fails as the command does.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "row.h"

#define OUTPUT "/tmp/output"

static void command_run(char **command, const char *output)
{
    int status;
    pid_t child = fork();

    if (child < 0) {
        die("fork");
    }
    if (child == 0) {
        int file = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        if (file < 0 || dup2(file, STDOUT_FILENO) < 0) {
            die(output);
        }
        execvp(*command, command);
        die(*command);
    }
    if (waitpid(child, &status, 0) != child) {
        die("waitpid");
    }
    if (status != 0) {
        exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
}

static uint64_t file_sum(const char *path)
{
    static char data[65536];
    uint64_t sum = HASH_START;
    int file = open(path, O_RDONLY);
    ssize_t size;

    if (file < 0) {
        die(path);
    }
    while ((size = read(file, data, sizeof(data))) > 0) {
        sum = hash(sum, data, (size_t)size);
    }
    close(file);
    return sum;
}

int main(int argc, char **argv)
{
    const char *output = argc > 4 && strcmp(argv[3], "-") != 0 ? argv[3] : OUTPUT;
    double begin, seconds;

    if (argc < 5) {
        fprintf(stderr, "usage: timer NAME WORK FILE|- COMMAND...\n");
        return 2;
    }
    begin = row_begin();
    command_run(argv + 4, output);
    seconds = now() - begin;
    row_print_checked(argv, seconds, file_sum(output));
    return 0;
}
