/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm/config.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "vm/config_table.h"

__attribute__((format(printf, 3, 4))) static int fail(char *err, size_t err_size, const char *fmt,
                                                      ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(err, err_size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

int config_init(struct vm_config *config)
{
    memset(config, 0, sizeof(*config));
    return setting_defaults(config_table, config);
}

void config_free(struct vm_config *config)
{
    setting_free(config_table, config);
}

static int check_serial(const struct vm_config *c, char *err, size_t err_size)
{
    for (unsigned i = 0; i < c->nserial; i++)
        for (unsigned j = 0; j < i && strcmp(c->serial[i], "none") != 0; j++)
            if (strcmp(c->serial[i], c->serial[j]) == 0)
                return fail(err, err_size, "serial: only one port can be on %s",
                            config_quote(c->serial[i]).text);
    return 0;
}

/* A disk that is written to can have one user only. */
static int check_disks(const struct vm_config *c, char *err, size_t err_size)
{
    for (unsigned i = 0; i < c->ndisks; i++)
        for (unsigned j = 0; j < i; j++)
            if (strcmp(c->disks[i].file, c->disks[j].file) == 0 &&
                !(c->disks[i].readonly && c->disks[j].readonly))
                return fail(err, err_size, "disks: '%s' is there twice, and not readonly",
                            config_quote(c->disks[i].file).text);
    return 0;
}

static int check_devices(const struct vm_config *c, char *err, size_t err_size)
{
    for (unsigned i = 1; i < c->ndevices; i++)
        if (strcmp(c->devices[i].driver, "isa-debug-exit") == 0)
            return fail(err, err_size, "devices: there can be only one isa-debug-exit");
    return 0;
}

/* One CPU; and devices are not played. */
static int check_tape(const struct vm_config *c, char *err, size_t err_size)
{
    const char *option = c->record ? "--record" : "--replay";

    if (!c->record && !c->replay)
        return 0;
    if (c->record && c->replay)
        return fail(err, err_size, "--record and --replay do not go together");
    if (c->cpus != 1)
        return fail(err, err_size, "%s needs --cpus 1", option);
    if (c->save_state)
        return fail(err, err_size, "--save-state does not go with %s", option);
    return 0;
}

int config_finish(struct vm_config *c, char *err, size_t err_size)
{
    int rc = c->nserial ? 0 : setting_set(config_setting("serial"), c, "stdio", err, err_size);

    if (rc == 0)
        rc = check_serial(c, err, err_size);
    if (rc == 0)
        rc = check_disks(c, err, err_size);
    if (rc == 0)
        rc = check_devices(c, err, err_size);
    if (rc == 0)
        rc = check_tape(c, err, err_size);
    if (rc == 0 && c->save_state && !c->stop_at)
        rc = fail(err, err_size, "--save-state needs --stop-at N");
    return rc;
}

int config_runnable(const struct vm_config *c, char *err, size_t err_size)
{
    if (!c->kernel && (c->initrd || c->append))
        return fail(err, err_size, "%s needs --kernel FILE", c->initrd ? "--initrd" : "--append");
    if (!c->kernel && !c->load_state)
        return fail(err, err_size,
                    "no kernel; give one with --kernel FILE (there is no firmware boot yet)");
    return 0;
}
