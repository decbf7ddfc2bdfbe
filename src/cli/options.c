/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/options.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "vm/config_table.h"

#define MAX_OPTIONS 64

struct parse {
    struct vm_config *config;
    bool documents;         /* this pass is for them; else for all others */
    bool print;
    char option[64];        /* as it was written, for messages */
    char *err;
    size_t err_size;
};

__attribute__((format(printf, 2, 3))) static int fail(struct parse *p, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(p->err, p->err_size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static int unknown(struct parse *p, const char *word)
{
    const char *names[MAX_OPTIONS + 2] = { "help" }, *near;
    unsigned n = 1;

    for (const struct setting *s = config_table; !setting_is_last(s) && n <= MAX_OPTIONS; s++)
        if (s->option)
            names[n++] = s->option;
    near = config_nearest(word, names);
    if (near)
        return fail(p, "unknown option %s; did you mean --%s?", p->option, near);
    return fail(p, "unknown option %s; see bulkhead run --help", p->option);
}

static bool is_word(const char *name, const char *word, size_t len)
{
    return name && strlen(name) == len && strncmp(word, name, len) == 0;
}

/* The option that arg names, with *value after its '=', if it has one.  A
 * single dash is for those that QEMU has. */
static const struct setting *find_option(const char *arg, const char **value)
{
    bool two = arg[1] == '-';
    const char *word = arg + (two ? 2 : 1);
    size_t len = strcspn(word, "=");

    *value = word[len] ? word + len + 1 : NULL;
    for (const struct setting *s = config_table; !setting_is_last(s); s++)
        if ((is_word(s->option, word, len) && (two || s->alias)) ||
            (!two && is_word(s->alias, word, len)))
            return s;
    return NULL;
}

/* An option that is no setting. */
static int act(struct parse *p, const struct setting *s, const char *value)
{
    char why[300];

    if (strcmp(s->option, "print-config") == 0)
        p->print = true;
    else if (s->apply && !p->documents && s->apply(p->config, value, why, sizeof(why)) < 0)
        return fail(p, "%s: %s", p->option, why);
    else if (strcmp(s->option, "config") == 0 && p->documents)
        return config_read_json(p->config, value, p->err, p->err_size);
    return 0;
}

static int set(struct parse *p, const struct setting *s, const char *value)
{
    char why[300];

    if (s->type == SETTING_ACTION)
        return act(p, s, value);
    if (p->documents)
        return 0;
    if (s->type == SETTING_FLAG)
        value = "on";
    if (s->skip && value && strncmp(value, s->skip, strlen(s->skip)) == 0)
        value += strlen(s->skip);
    return setting_set(s, p->config, value, why, sizeof(why)) < 0 ?
           fail(p, "%s: %s", p->option, why) : 0;
}

/* One argument and perhaps its value; *used: how many were taken. */
static int parse_one(struct parse *p, int n, char *const *args, int *used)
{
    const struct setting *s;
    const char *value;

    *used = 1;
    if (args[0][0] != '-' || !args[0][1])
        return fail(p, "'%s' is not an option; see bulkhead run --help",
                    config_quote(args[0]).text);
    s = find_option(args[0], &value);
    snprintf(p->option, sizeof(p->option), "%.*s", (int)strcspn(args[0], "="), args[0]);
    if (!s)
        return unknown(p, p->option + strspn(p->option, "-"));
    if (!s->arg && value)
        return fail(p, "%s takes no value", p->option);
    if (s->arg && !value) {
        if (n < 2)
            return fail(p, "%s needs a value: %s %s", p->option, p->option, s->arg);
        value = args[1];
        *used = 2;
    }
    return set(p, s, value);
}

static int parse_all(struct parse *p, int n, char *const *args)
{
    int rc = 0, used;

    for (int i = 0; i < n && rc == 0; i += used)
        rc = parse_one(p, n - i, args + i, &used);
    return rc;
}

int options_parse(struct vm_config *config, int n, char *const *args, char *err, size_t err_size)
{
    struct parse p = { .config = config, .documents = true, .err = err, .err_size = err_size };
    int rc = config_init(config);

    if (rc < 0)
        return fail(&p, "out of memory");
    for (int i = 0; i < n; i++)
        if (strcmp(args[i], "--help") == 0 || strcmp(args[i], "-h") == 0)
            return OPTIONS_HELP;
    rc = parse_all(&p, n, args);
    p.documents = false;
    if (rc == 0)
        rc = parse_all(&p, n, args);
    if (rc == 0)
        rc = config_finish(config, err, err_size);
    if (rc == 0 && !p.print)
        rc = config_runnable(config, err, err_size);
    if (rc < 0)
        return rc;
    return p.print ? OPTIONS_PRINT : OPTIONS_RUN;
}
