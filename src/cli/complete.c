/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Completion of the command line of `bulkhead run`, for a shell to ask. */
#include <string.h>

#include "cli/options.h"
#include "vm/config_table.h"

static bool is_word(const char *name, const char *word, size_t len)
{
    return name && strlen(name) == len && strncmp(word, name, len) == 0;
}

/* The option that a word names up to a '='. */
static const struct setting *find(const char *word)
{
    const bool two = strncmp(word, "--", 2) == 0;
    const size_t len = strcspn(word, "=");

    if (*word != '-')
        return NULL;
    for (const struct setting *s = config_table; !setting_is_last(s); s++)
        if (((two || s->alias) && is_word(s->option, word + 1 + two, len - 1 - two)) ||
            (!two && is_word(s->alias, word + 1, len - 1)))
            return s;
    return NULL;
}

static void print_options(FILE *f, const char *start)
{
    const size_t n = strlen(start);

    for (const struct setting *s = config_table; !setting_is_last(s); s++) {
        char word[64];

        if (!s->option)
            continue;
        snprintf(word, sizeof(word), "--%s", s->option);
        if (strncmp(word, start, n) == 0)
            fprintf(f, "%s\n", word);
    }
    if (strncmp("--help", start, n) == 0)
        fputs("--help\n", f);
}

static void print_choices(FILE *f, const char *prefix, const struct setting *s, const char *start)
{
    static const char *const flag[] = { "on", "off", NULL };
    const char *const *list = s->type == SETTING_FLAG ? flag : s->choices;

    for (unsigned i = 0; list && list[i]; i++)
        if (strncmp(list[i], start, strlen(start)) == 0)
            fprintf(f, "%s%s\n", prefix, list[i]);
}

/* "FILE,format=r": the last part of an item, with what is before it. */
static void print_item(FILE *f, const char *before, const struct setting *s, const char *start)
{
    const char *comma = strrchr(start, ','), *part = comma ? comma + 1 : start;
    const char *equals = strchr(part, '=');
    char prefix[512];

    for (const struct setting *i = s->items; !setting_is_last(i); i++) {
        const size_t len = equals ? (size_t)(equals - part) : strlen(part);

        if (strncmp(i->key, part, len) != 0 || (i == s->items && comma))
            continue;
        if (equals && strlen(i->key) == len) {
            snprintf(prefix, sizeof(prefix), "%s%.*s", before, (int)(equals + 1 - start), start);
            print_choices(f, prefix, i, equals + 1);
        } else if (!equals && comma) {
            fprintf(f, "%s%.*s%s=\n", before, (int)(part - start), start, i->key);
        }
    }
    if (!comma && s->items->type == SETTING_FILE)
        fputs("@file\n", f);
    else if (!comma)
        print_choices(f, before, s->items, start);
}

static void print_serial(FILE *f, const char *before, const char *start)
{
    static const char *const words[] = { "stdio", "none", "file:", "unix:" };

    if (strncmp(start, "file:", 5) == 0 || strncmp(start, "unix:", 5) == 0) {
        fputs("@file\n", f);
        return;
    }
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strncmp(words[i], start, strlen(start)) == 0)
            fprintf(f, "%s%s\n", before, words[i]);
}

/* before: what stands in front of the value in the same word. */
static void print_values(FILE *f, const char *before, const struct setting *s, const char *start)
{
    if (s->type == SETTING_FILE || strcmp(s->option, "config") == 0)
        fputs("@file\n", f);
    else if (strcmp(s->option, "serial") == 0)
        print_serial(f, before, start);
    else if (s->type == SETTING_LIST && !setting_is_plain(s))
        print_item(f, before, s, start);
    else
        print_choices(f, before, s, start);
}

void options_complete(FILE *f, int n, char *const *words)
{
    const struct setting *option = n > 1 ? find(words[n - 2]) : NULL;
    const char *word = n > 0 ? words[n - 1] : "", *equals = strchr(word, '=');
    char before[64];

    if (option && option->arg && !strchr(words[n - 2], '=')) {
        print_values(f, "", option, word);
    } else if (equals && *word == '-' && (option = find(word)) && option->arg) {
        snprintf(before, sizeof(before), "%.*s", (int)(equals + 1 - word), word);
        print_values(f, before, option, equals + 1);
    } else {
        print_options(f, word);
    }
}
