/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which engine runs the machine, and why not a better one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "vm/internal.h"

/* "kvm: there is no /dev/kvm; ..." for the start line. */
static void note(struct vm *vm, const char *name, const char *why)
{
    size_t len = strlen(vm->engine_note);

    snprintf(vm->engine_note + len, sizeof(vm->engine_note) - len, "; not %s: %s", name, why);
}

/* What ops->probe says, and whether it can do what is asked for. */
static int probe(const struct vm *vm, const struct engine_ops *ops, char *why, int why_size)
{
    if ((vm->config.record || vm->config.replay) && !ops->tapes) {
        snprintf(why, (size_t)why_size, "it cannot record or replay");
        return -ENOTSUP;
    }
    return ops->probe(why, why_size);
}

/* By name: one that runs badly is taken all the same. */
static int take_named(struct vm *vm, const struct engine_ops *ops, char *err, size_t err_size)
{
    char why[240] = "";
    int rc = probe(vm, ops, why, sizeof(why));

    if (rc < 0) {
        snprintf(err, err_size, "engine %s cannot run here: %s", ops->name, why);
        return rc;
    }
    if (rc == CPU_PROBE_POOR)
        fprintf(stderr,
                "bulkhead: warning: engine %s is no good here, and --engine auto would not take "
                "it: %s\n",
                ops->name, why);
    vm->engine = ops;
    return 0;
}

static int take_first(struct vm *vm, char *err, size_t err_size)
{
    for (unsigned i = 0; engines[i]; i++) {
        char why[240] = "";
        int rc = probe(vm, engines[i], why, sizeof(why));

        if (rc == 0) {
            vm->engine = engines[i];
            if (why[0])
                snprintf(vm->engine_note, sizeof(vm->engine_note), "; %s", why);
            return 0;
        }
        note(vm, engines[i]->name, why);
    }
    snprintf(err, err_size, "no engine can run here%.240s", vm->engine_note);
    return -ENOTSUP;
}

int vm_choose_engine(struct vm *vm, char *err, size_t err_size)
{
    const char *name = vm->config.engine;
    char known[100] = "";

    if (strcmp(name, "auto") == 0)
        return take_first(vm, err, err_size);
    for (unsigned i = 0; engines[i]; i++) {
        size_t len = strlen(known);

        snprintf(known + len, sizeof(known) - len, ", %s", engines[i]->name);
        if (strcmp(name, engines[i]->name) == 0)
            return take_named(vm, engines[i], err, err_size);
    }
    snprintf(err, err_size, "unknown engine '%s'; choose one of auto%s", name, known);
    return -EINVAL;
}
