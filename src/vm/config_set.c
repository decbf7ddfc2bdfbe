/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Setting values from text. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/util.h"
#include "vm/config_table.h"

#define PAGE 4096u
#define MAX_SECONDS 1e9
#define MAX_VALUE 4400u     /* bytes of one key=value of a list */

__attribute__((format(printf, 3, 4))) static int fail(char *err, size_t err_size, const char *fmt,
                                                      ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(err, err_size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

struct config_quote config_quote(const char *text)
{
    struct config_quote q = { "" };
    const size_t n = strlen(text), max = 60;

    for (size_t i = 0; i < MIN(n, max); i++)
        q.text[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
    if (n > max)
        memcpy(q.text + max, "...", 4);
    return q;
}

void config_join(const char *const *list, char *text, size_t size)
{
    size_t at = 0;

    *text = 0;
    for (unsigned i = 0; list[i] && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%s",
                               !i ? "" : list[i + 1] ? ", " : " or ", list[i]);
}

int config_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    unsigned shift = 20;
    const char *unit;
    char *end;
    uint64_t n;

    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    errno = 0;
    n = strtoull(text, &end, 10);
    if (errno)
        return -EINVAL;
    if (*end) {
        unit = strchr(units, toupper((unsigned char)*end));
        if (!unit)
            return -EINVAL;
        shift = 10 * (unsigned)(unit - units + 1);
        end++;
        if (*end && strcasecmp(end, "B") != 0 && strcasecmp(end, "iB") != 0)
            return -EINVAL;
    }
    if (n > UINT64_MAX >> shift)
        return -EINVAL;
    *bytes = n << shift;
    return 0;
}

void config_size_text(uint64_t bytes, char *text, size_t size)
{
    static const char units[] = "KMGT";
    unsigned i = 0;

    bytes >>= 10;
    while (bytes && bytes % 1024 == 0 && units[i + 1]) {
        bytes >>= 10;
        i++;
    }
    snprintf(text, size, "%llu%c", (unsigned long long)bytes, units[i]);
}

/* Levenshtein distance of two words, with words over 31 characters cut. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[32], n = (unsigned)MIN(strlen(b), 31u);

    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 0; i < 31 && a[i]; i++) {
        unsigned diagonal = row[0];

        row[0] = i + 1;
        for (unsigned j = 0; j < n; j++) {
            unsigned change = diagonal + (a[i] != b[j]);

            diagonal = row[j + 1];
            row[j + 1] = MIN(change, MIN(row[j], row[j + 1]) + 1);
        }
    }
    return row[n];
}

const char *config_nearest(const char *word, const char *const *list)
{
    unsigned best = (unsigned)strlen(word) / 3 + 2;
    const char *found = NULL;

    for (; *list; list++) {
        unsigned d = distance(word, *list);

        if (d < best) {
            best = d;
            found = *list;
        }
    }
    return found;
}

uint64_t setting_number(const struct setting *s, const void *base)
{
    uint64_t v = 0;

    memcpy(&v, (const char *)base + s->offset, s->size);
    return v;
}

static void put_number(const struct setting *s, void *base, uint64_t v)
{
    memcpy(setting_at(s, base), &v, s->size);
}

static int put_text(const struct setting *s, void *base, const char *text, char *err,
                    size_t err_size)
{
    char **p = setting_at(s, base), *copy = strdup(text);

    if (!copy) {
        fail(err, err_size, "out of memory");
        return -ENOMEM;
    }
    free(*p);
    *p = copy;
    return 0;
}

static int set_text(const struct setting *s, void *base, const char *text, char *err,
                    size_t err_size)
{
    const size_t max = s->max ? s->max : 4095;

    if (strlen(text) < s->min)
        return fail(err, err_size, "it is empty");
    if (strlen(text) > max)
        return fail(err, err_size, "it has %zu bytes; %zu is the most", strlen(text), max);
    if (s->check && s->check(text, err, err_size) < 0)
        return -EINVAL;
    return put_text(s, base, text, err, err_size);
}

static int set_choice(const struct setting *s, void *base, const char *text, char *err,
                      size_t err_size)
{
    char known[200];

    for (unsigned i = 0; s->choices[i]; i++)
        if (strcmp(text, s->choices[i]) == 0)
            return put_text(s, base, text, err, err_size);
    config_join(s->choices, known, sizeof(known));
    return fail(err, err_size, "'%s' is unknown; choose %s", config_quote(text).text, known);
}

static int set_size(const struct setting *s, void *base, const char *text, char *err,
                    size_t err_size)
{
    char min[24], max[24];
    uint64_t v;

    if (config_size(text, &v) < 0)
        return fail(err, err_size, "'%s' is not a size; write for example 512M or 2G",
                    config_quote(text).text);
    if (v < s->min || v > s->max) {
        config_size_text(s->min, min, sizeof(min));
        config_size_text(s->max, max, sizeof(max));
        return fail(err, err_size, "%s is out of range; give %s to %s", config_quote(text).text,
                    min, max);
    }
    put_number(s, base, align_up(v, PAGE));
    return 0;
}

static int set_number(const struct setting *s, void *base, const char *text, char *err,
                      size_t err_size)
{
    const bool hex = text[0] == '0' && (text[1] | 0x20) == 'x';
    char *end = NULL;
    uint64_t v = 0;

    errno = 0;
    if (isdigit((unsigned char)*text))
        v = strtoull(text, &end, hex ? 16 : 10);
    if (!end || *end || errno || v < s->min || v > s->max) {
        if (s->max == INT64_MAX)
            return fail(err, err_size, "'%s' is not a number from %llu on", config_quote(text).text,
                        (unsigned long long)s->min);
        return fail(err, err_size, "'%s' is not a number from %llu to %llu",
                    config_quote(text).text, (unsigned long long)s->min,
                    (unsigned long long)s->max);
    }
    put_number(s, base, v);
    return 0;
}

static int set_seconds(const struct setting *s, void *base, const char *text, char *err,
                       size_t err_size)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end || !(seconds > 0) || seconds > MAX_SECONDS)
        return fail(err, err_size, "'%s' is not a number of seconds above 0",
                    config_quote(text).text);
    put_number(s, base, MAX((uint64_t)(seconds * NSEC_PER_SEC + 0.5), 1));
    return 0;
}

static int set_flag(const struct setting *s, void *base, const char *text, char *err,
                    size_t err_size)
{
    const bool on = strcmp(text, "on") == 0;

    if (!on && strcmp(text, "off") != 0)
        return fail(err, err_size, "'%s' is neither on nor off", config_quote(text).text);
    *(bool *)setting_at(s, base) = on;
    return 0;
}

int setting_add_begin(const struct setting *s, void *base, void **item, char *err, size_t err_size)
{
    const unsigned n = *setting_count(s, base);

    if (n == s->max_items)
        return fail(err, err_size, "there can be only %u", s->max_items);
    *item = (char *)setting_at(s, base) + (size_t)n * s->item_size;
    memset(*item, 0, s->item_size);
    if (setting_defaults(s->items, *item) < 0) {
        setting_free(s->items, *item);
        fail(err, err_size, "out of memory");
        return -ENOMEM;
    }
    return 0;
}

int setting_add_end(const struct setting *s, void *base, int rc, char *err, size_t err_size)
{
    const unsigned n = *setting_count(s, base);
    void *item = (char *)setting_at(s, base) + (size_t)n * s->item_size;

    for (const struct setting *i = s->items; rc == 0 && !setting_is_last(i); i++)
        if (i->required && !*(char **)setting_at(i, item))
            rc = fail(err, err_size, "%s is missing", i->key);
    if (rc == 0)
        ++*setting_count(s, base);
    else
        setting_free(s->items, item);
    return rc;
}

/* One "key=value" of a list's item, or, for the first, the value alone. */
static int set_member(const struct setting *s, void *item, const char *part, bool first, char *err,
                      size_t err_size)
{
    const char *names[24] = { NULL }, *near, *value = strchr(part, '=');
    const size_t len = value ? (size_t)(value - part) : strlen(part);
    char why[300], word[32];
    unsigned n = 0;

    if (first && !value)
        return setting_set(s->items, item, part, err, err_size);
    for (const struct setting *i = s->items; !setting_is_last(i) && n < 23; i++) {
        names[n++] = i->key;
        if (strlen(i->key) != len || strncmp(part, i->key, len) != 0)
            continue;
        if (!value && i->type == SETTING_FLAG)
            value = "=on";
        if (!value)
            return fail(err, err_size, "%s needs a value: %s=%s", i->key, i->key,
                        i->arg ? i->arg : "VALUE");
        if (setting_set(i, item, value + 1, why, sizeof(why)) == 0)
            return 0;
        return fail(err, err_size, "%s: %s", i->key, why);
    }
    if (first)
        return setting_set(s->items, item, part, err, err_size);
    snprintf(word, sizeof(word), "%.*s", (int)MIN(len, 31u), part);
    near = config_nearest(word, names);
    config_join(names, why, sizeof(why));
    return fail(err, err_size, near ? "'%s' is unknown; did you mean %s?" :
                "'%s' is unknown; choose %s", config_quote(word).text, near ? near : why);
}

/* Cuts off the text before the next comma; two commas are one in the value. */
static int next_part(const char **text, char *part, size_t size)
{
    size_t n = 0;

    for (; **text && (**text != ',' || (*text)[1] == ','); ++*text) {
        if (n + 1 >= size)
            return -EINVAL;
        *text += **text == ',';
        part[n++] = **text;
    }
    part[n] = 0;
    *text += **text == ',';
    return 0;
}

static int append_item(const struct setting *s, void *base, const char *text, char *err,
                       size_t err_size)
{
    char part[MAX_VALUE];
    bool first = true;
    void *item;
    int rc = setting_add_begin(s, base, &item, err, err_size);

    if (rc < 0)
        return rc;
    if (setting_is_plain(s)) {
        rc = setting_set(s->items, item, text, err, err_size);
    } else {
        do {
            rc = next_part(&text, part, sizeof(part));
            if (rc < 0)
                fail(err, err_size, "one of its values has more than %u bytes", MAX_VALUE - 1);
            else
                rc = set_member(s, item, part, first, err, err_size);
            first = false;
        } while (rc == 0 && *text);
    }
    return setting_add_end(s, base, rc, err, err_size);
}

int setting_set(const struct setting *s, void *base, const char *text, char *err, size_t err_size)
{
    switch (s->type) {
    case SETTING_TEXT:
    case SETTING_FILE: return set_text(s, base, text, err, err_size);
    case SETTING_CHOICE: return set_choice(s, base, text, err, err_size);
    case SETTING_SIZE: return set_size(s, base, text, err, err_size);
    case SETTING_NUMBER: return set_number(s, base, text, err, err_size);
    case SETTING_SECONDS: return set_seconds(s, base, text, err, err_size);
    case SETTING_FLAG: return set_flag(s, base, text, err, err_size);
    case SETTING_LIST: return append_item(s, base, text, err, err_size);
    case SETTING_ACTION: break;
    }
    return -EINVAL;
}

int setting_defaults(const struct setting *table, void *base)
{
    char err[128];
    int rc = 0;

    for (const struct setting *s = table; !setting_is_last(s) && rc == 0; s++)
        if (s->fallback)
            rc = setting_set(s, base, s->fallback, err, sizeof(err));
    return rc;
}

void setting_free(const struct setting *table, void *base)
{
    for (const struct setting *s = table; !setting_is_last(s); s++) {
        char **text = setting_at(s, base), *item = setting_at(s, base);

        if (s->type == SETTING_TEXT || s->type == SETTING_FILE || s->type == SETTING_CHOICE) {
            free(*text);
            *text = NULL;
        } else if (s->type == SETTING_LIST && s->item_size) {
            for (unsigned *n = setting_count(s, base); *n; item += s->item_size, --*n)
                setting_free(s->items, item);
        }
    }
}
