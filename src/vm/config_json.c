/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The document: reading it into a configuration and printing one.  Values go
 * through the same setters as an option's text, so both accept the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "vm/config_table.h"

#define MAX_MEMBERS 64      /* of one object, for finding the nearest name */

struct reader {
    const char *name;       /* of the document */
    char where[128];        /* "disks[0].format" */
    char *err;
    size_t err_size;
};

__attribute__((format(printf, 2, 3))) static int fail(struct reader *r, const char *fmt, ...)
{
    char why[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    snprintf(r->err, r->err_size, "%s: %s%s%s", config_quote(r->name).text, r->where,
             *r->where ? ": " : "", why);
    return -EINVAL;
}

static int read_object(struct reader *r, const struct setting *table, const char *prefix,
                       void *base, json_t *object);

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: return "null";
    }
    return "something";
}

static int wrong_type(struct reader *r, const char *wanted, const json_t *v)
{
    return fail(r, "%s is wanted here, not %s", wanted, type_name(v));
}

static int read_list(struct reader *r, const struct setting *s, void *base, json_t *v);

/* Numbers as the setters' text; they know the range. */
static int read_number(struct reader *r, const struct setting *s, void *base, json_t *v)
{
    char text[64], why[300];

    if (json_is_integer(v))
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(v));
    else
        snprintf(text, sizeof(text), "%.17g", json_real_value(v));
    return setting_set(s, base, text, why, sizeof(why)) < 0 ? fail(r, "%s", why) : 0;
}

static int read_value(struct reader *r, const struct setting *s, void *base, json_t *v)
{
    char why[300];

    switch (s->type) {
    case SETTING_TEXT:
    case SETTING_FILE:
    case SETTING_CHOICE:
        if (!json_is_string(v))
            return wrong_type(r, "a string", v);
        break;
    case SETTING_SIZE:
        if (json_is_integer(v))
            return read_number(r, s, base, v);
        if (!json_is_string(v))
            return wrong_type(r, "a size such as \"512M\"", v);
        break;
    case SETTING_NUMBER:
        return json_is_integer(v) ? read_number(r, s, base, v) :
               wrong_type(r, json_is_real(v) ? "a whole number" : "a number", v);
    case SETTING_SECONDS:
        return json_is_number(v) ? read_number(r, s, base, v) : wrong_type(r, "a number", v);
    case SETTING_FLAG:
        if (!json_is_boolean(v))
            return wrong_type(r, "true or false", v);
        return setting_set(s, base, json_is_true(v) ? "on" : "off", why, sizeof(why));
    case SETTING_LIST: return read_list(r, s, base, v);
    case SETTING_ACTION: return 0;
    }
    return setting_set(s, base, json_string_value(v), why, sizeof(why)) < 0 ? fail(r, "%s", why) :
           0;
}

static int read_list(struct reader *r, const struct setting *s, void *base, json_t *list)
{
    const size_t at = strlen(r->where);
    size_t i;
    json_t *v;

    if (!json_is_array(list))
        return wrong_type(r, "a list", list);
    json_array_foreach(list, i, v) {
        void *item;
        char why[300];
        int rc = setting_add_begin(s, base, &item, why, sizeof(why));

        if (rc < 0)
            return fail(r, "%s", why);
        snprintf(r->where + at, sizeof(r->where) - at, "[%zu]", i);
        *why = *r->err = 0;
        rc = setting_is_plain(s) ? read_value(r, s->items, item, v) :
             !json_is_object(v) ? wrong_type(r, "an object", v) :
             read_object(r, s->items, "", item, v);
        rc = setting_add_end(s, base, rc, why, sizeof(why));
        if (rc < 0)
            return *r->err ? rc : fail(r, "%s", why);
        r->where[at] = 0;
    }
    return 0;
}

/* Is prefix.key an object of settings?  Then its members begin with *inner. */
static bool is_group(const struct setting *table, const char *full, char inner[66])
{
    snprintf(inner, 66, "%.63s.", full);
    for (const struct setting *s = table; !setting_is_last(s); s++)
        if (s->key && strncmp(s->key, inner, strlen(inner)) == 0)
            return true;
    return false;
}

static int unknown(struct reader *r, const struct setting *table, const char *prefix,
                   const char *key)
{
    char words[MAX_MEMBERS][32], word[64], all[600];
    const char *names[MAX_MEMBERS + 1] = { NULL }, *near;
    const size_t skip = strlen(prefix);
    unsigned n = 0;

    for (const struct setting *s = table; !setting_is_last(s) && n < MAX_MEMBERS; s++) {
        if (!s->key || strncmp(s->key, prefix, skip) != 0)
            continue;
        snprintf(words[n], sizeof(words[n]), "%.*s", (int)strcspn(s->key + skip, "."),
                 s->key + skip);
        if (n && strcmp(words[n], words[n - 1]) == 0)
            continue;
        names[n] = words[n];
        n++;
    }
    snprintf(word, sizeof(word), "%.60s", key);
    near = config_nearest(word, names);
    if (near)
        return fail(r, "unknown key '%s'; did you mean '%s'?", config_quote(key).text, near);
    config_join(names, all, sizeof(all));
    return fail(r, "unknown key '%s'; the keys are %s", config_quote(key).text, all);
}

static int read_member(struct reader *r, const struct setting *table, const char *prefix,
                       void *base, const char *key, json_t *value)
{
    char full[64], inner[66];

    if (*key && !strchr(key, '.') && strlen(prefix) < 32 && strlen(key) < 32) {
        const size_t at = strlen(r->where);
        int rc = 1;

        snprintf(full, sizeof(full), "%.31s%.31s", prefix, key);
        snprintf(r->where + at, sizeof(r->where) - at, "%s%s", at ? "." : "", key);
        for (const struct setting *s = table; !setting_is_last(s) && rc == 1; s++)
            if (s->key && strcmp(s->key, full) == 0)
                rc = read_value(r, s, base, value);
        if (rc == 1 && is_group(table, full, inner))
            rc = json_is_object(value) ? read_object(r, table, inner, base, value) :
                 wrong_type(r, "an object", value);
        r->where[at] = 0;
        if (rc <= 0)
            return rc;
    }
    return unknown(r, table, prefix, key);
}

static int read_object(struct reader *r, const struct setting *table, const char *prefix,
                       void *base, json_t *object)
{
    const char *key;
    json_t *value;
    int rc = 0;

    json_object_foreach(object, key, value) {
        rc = read_member(r, table, prefix, base, key, value);
        if (rc < 0)
            break;
    }
    return rc;
}

int config_parse_json(struct vm_config *config, const char *text, size_t len, const char *name,
                      char *err, size_t err_size)
{
    struct reader r = { .name = name, .err_size = err_size };
    json_error_t e;
    json_t *root;
    int rc;

    r.err = err;
    if (len > CONFIG_MAX_BYTES)
        return fail(&r, "it is larger than %u KiB; is it a configuration?",
                    CONFIG_MAX_BYTES / 1024);
    root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
    if (!root)
        return fail(&r, "line %d, column %d: %s", MAX(e.line, 1), MAX(e.column, 0),
                    strstr(e.text, "JSON_ALLOW_NUL") ? "a NUL character is not allowed" :
                    config_quote(e.text).text);
    rc = json_is_object(root) ? read_object(&r, config_table, "", config, root) :
         fail(&r, "the document is not an object; begin it with {");
    json_decref(root);
    return rc;
}

/* At most CONFIG_MAX_BYTES + 1 bytes of a file; a negative errno. */
static ssize_t read_all(int fd, char *text)
{
    size_t n = 0;

    while (n <= CONFIG_MAX_BYTES) {
        ssize_t got = read(fd, text + n, CONFIG_MAX_BYTES + 1 - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

int config_read_json(struct vm_config *config, const char *path, char *err, size_t err_size)
{
    const bool in = strcmp(path, "-") == 0;
    const char *name = in ? "standard input" : path;
    char *text = malloc(CONFIG_MAX_BYTES + 1);
    int fd = in ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    ssize_t n;

    if (!text || fd < 0) {
        rc = text ? -errno : -ENOMEM;
        n = rc;
    } else {
        n = read_all(fd, text);
    }
    if (n < 0) {
        rc = (int)n;
        snprintf(err, err_size, "cannot read the configuration '%s': %s", config_quote(name).text,
                 strerror(-rc));
    } else {
        rc = config_parse_json(config, text, (size_t)n, name, err, err_size);
    }
    if (fd >= 0 && !in)
        close(fd);
    free(text);
    return rc;
}

static json_t *write_object(const struct setting *table, const void *base);

static json_t *write_list(const struct setting *s, const void *base)
{
    const char *item = (const char *)base + s->offset;
    json_t *list = json_array();
    unsigned n;

    memcpy(&n, (const char *)base + s->count, sizeof(n));
    for (unsigned i = 0; i < n && list; i++, item += s->item_size) {
        json_t *v = setting_is_plain(s) ? json_string(*(char *const *)(const void *)item) :
                    write_object(s->items, item);

        if (json_array_append_new(list, v) < 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

/* *v: the value, or NULL if the setting is not there.  False: failed. */
static bool write_value(const struct setting *s, const void *base, json_t **v)
{
    const void *at = (const char *)base + s->offset;
    uint64_t number;
    char text[32];

    *v = NULL;
    switch (s->type) {
    case SETTING_TEXT:
    case SETTING_FILE:
    case SETTING_CHOICE:
        if (!*(char *const *)at)
            return true;
        *v = json_string(*(char *const *)at);
        break;
    case SETTING_SIZE:
        config_size_text(setting_number(s, base), text, sizeof(text));
        *v = json_string(text);
        break;
    case SETTING_NUMBER:
        number = setting_number(s, base);
        if (number < s->min)
            return true;
        *v = json_integer((json_int_t)number);
        break;
    case SETTING_SECONDS:
        number = setting_number(s, base);
        if (!number)
            return true;
        *v = number % NSEC_PER_SEC ? json_real((double)number / NSEC_PER_SEC) :
             json_integer((json_int_t)(number / NSEC_PER_SEC));
        break;
    case SETTING_FLAG: *v = json_boolean(*(const bool *)at); break;
    case SETTING_LIST: *v = write_list(s, base); break;
    case SETTING_ACTION: return true;
    }
    return *v != NULL;
}

/* The object that a dotted key is a member of; *name: its last part. */
static json_t *owner(json_t *object, const char *key, const char **name)
{
    const char *dot = strchr(key, '.');
    char group[32];
    json_t *inner;

    *name = dot ? dot + 1 : key;
    if (!dot)
        return object;
    snprintf(group, sizeof(group), "%.*s", (int)(dot - key), key);
    inner = json_object_get(object, group);
    if (!inner) {
        inner = json_object();
        if (json_object_set_new(object, group, inner) < 0)
            return NULL;
    }
    return inner;
}

static json_t *write_object(const struct setting *table, const void *base)
{
    json_t *object = json_object(), *v;

    for (const struct setting *s = table; object && !setting_is_last(s); s++) {
        const char *name;
        json_t *in;
        bool good;

        if (!s->key)
            continue;
        good = write_value(s, base, &v);
        if (good && v) {
            in = owner(object, s->key, &name);
            good = json_object_set_new(in, name, v) == 0;
        }
        if (!good) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}

int config_print_json(const struct vm_config *config, FILE *f, char *err, size_t err_size)
{
    json_t *root = write_object(config_table, config);
    int rc = 0;

    if (!root) {
        snprintf(err, err_size, "a setting is not UTF-8 text, as JSON has to be");
        return -EILSEQ;
    }
    if (json_dumpf(root, f, JSON_INDENT(4)) < 0 || fputc('\n', f) == EOF || fflush(f) == EOF) {
        snprintf(err, err_size, "cannot write the configuration: %s", strerror(errno));
        rc = -EIO;
    }
    json_decref(root);
    return rc;
}
