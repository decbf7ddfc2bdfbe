/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this host can do for virtual machines: a list of findings in groups,
 * each with what to do about it where something is missing.
 */
#ifndef VM_HOST_H
#define VM_HOST_H

#include <stdbool.h>
#include <stdio.h>

#define HOST_MAX_FINDINGS 48

enum host_level { HOST_GOOD, HOST_NOTE, HOST_MISSING };

struct host_finding {
    const char *group; /* "engines", "cpu", ...: constants */
    char name[32];
    char value[280];
    char advice[240]; /* empty: none */
    enum host_level level;
};

struct host_report {
    struct host_finding findings[HOST_MAX_FINDINGS + 1]; /* the last: what had no room */
    unsigned n;
    char engine[16]; /* that `auto` takes */
};

/* Looks at everything; takes about as long as starting a VM. */
void host_look(struct host_report *r);
void host_print(const struct host_report *r, FILE *f);
/* One JSON object.  Returns 0 or -EIO. */
int host_print_json(const struct host_report *r, FILE *f);

#endif
