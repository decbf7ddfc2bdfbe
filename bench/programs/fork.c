/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WORK times: fork, and wait for the child. It ends at once, or runs the program named third. */
#include <sys/wait.h>

#include "row.h"

static void child_run(char **program)
{
    pid_t child = fork();
    int status;

    if (child < 0) {
        die("fork");
    }
    if (child == 0) {
        if (*program) {
            execv(*program, program);
        }
        _exit(*program != NULL);
    }
    if (waitpid(child, &status, 0) != child || status != 0) {
        die("the child");
    }
}

int main(int argc, char **argv)
{
    long count = row_work(argc, argv);
    double begin;

    child_run(argv + 3);
    begin = row_begin();
    for (long i = 0; i < count; i++) {
        child_run(argv + 3);
    }
    row_print(argv, now() - begin);
    return 0;
}
