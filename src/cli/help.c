/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of `bulkhead run --help`, and the same for the manual page. */
#include <string.h>

#include "cli/options.h"
#include "vm/config_table.h"

#define COLUMN 28       /* where the right column begins */
#define WIDTH 80

/* Writes text from column at on, in lines that end before WIDTH. */
static void wrap(FILE *f, unsigned at, const char *text)
{
    unsigned column = at;

    while (*text) {
        unsigned n = (unsigned)strcspn(text, " ");

        if (column > COLUMN && column + n + 1 >= WIDTH) {
            fprintf(f, "\n%*s", COLUMN, "");
            column = COLUMN;
        } else if (column > COLUMN) {
            fputc(' ', f);
            column++;
        }
        fwrite(text, 1, n, f);
        column += n;
        text += n + (text[n] == ' ');
    }
    fputc('\n', f);
}

/* The rest of what an option's value may hold: ",key=value"s. */
static void describe_items(const struct setting *s, char *text, size_t size)
{
    size_t at = strlen(text);

    if (s->type != SETTING_LIST || setting_is_plain(s))
        return;
    at += (size_t)snprintf(text + at, size - at, "; then");
    for (const struct setting *i = s->items + 1; !setting_is_last(i) && at < size; i++) {
        char values[80] = "";

        if (i->choices)
            for (unsigned n = 0; i->choices[n] && strlen(values) < 60; n++)
                snprintf(values + strlen(values), sizeof(values) - strlen(values), "%s%s",
                         n ? "|" : "", i->choices[n]);
        at += (size_t)snprintf(text + at, size - at, " [,%s=%s]", i->key,
                               i->type == SETTING_FLAG ? "on|off" : *values ? values : i->arg);
    }
}

/* Phrase, choices and default; e.g. "CPU model: host or max (default host)". */
static void describe(const struct setting *s, char *text, size_t size)
{
    const struct setting *item = s->type == SETTING_LIST && !setting_is_plain(s) ? s->items : s;
    char choices[160] = "", range[80] = "", low[24], high[24];

    if (item->choices)
        config_join(item->choices, choices, sizeof(choices));
    if (s->type == SETTING_NUMBER && s->max != INT64_MAX)
        snprintf(range, sizeof(range), ", %llu to %llu", (unsigned long long)s->min,
                 (unsigned long long)s->max);
    if (s->type == SETTING_SIZE) {
        config_size_text(s->min, low, sizeof(low));
        config_size_text(s->max, high, sizeof(high));
        snprintf(range, sizeof(range), "; %s to %s", low, high);
    }
    snprintf(text, size, "%s%s%s%s", s->help, range, *choices ? ": " : "", choices);
    describe_items(s, text, size);
    if (s->fallback)
        snprintf(text + strlen(text), size - strlen(text), " (default %s)", s->fallback);
}

static void print_option(FILE *f, const struct setting *s)
{
    char left[80], text[700];
    int n;

    if (s->alias && strcmp(s->alias, s->option) != 0)
        n = snprintf(left, sizeof(left), "  -%s, --%s %s", s->alias, s->option,
                     s->arg ? s->arg : "");
    else
        n = snprintf(left, sizeof(left), "      --%s %s", s->option, s->arg ? s->arg : "");
    describe(s, text, sizeof(text));
    fputs(left, f);
    if (n >= COLUMN)
        fprintf(f, "\n%*s", COLUMN, "");
    else
        fprintf(f, "%*s", COLUMN - n, "");
    wrap(f, COLUMN, text);
}

void options_help(FILE *f)
{
    fputs("Usage: bulkhead run --kernel FILE [OPTION]...\n"
          "       bulkhead run --config FILE [OPTION]...\n"
          "Boot a kernel in a new virtual machine, with its console on this terminal.\n", f);
    for (const struct setting *s = config_table; !setting_is_last(s); s++) {
        if (s->group)
            fprintf(f, "\n%s:\n", s->group);
        if (s->option)
            print_option(f, s);
    }
    fprintf(f, "  %-*s%s\n", COLUMN - 2, "-h, --help", "this text");
    fputs("\n--name=VALUE is the same as --name VALUE. Options that QEMU has may be written\n"
          "with one dash. A comma inside of a value is written as two.\n"
          "\nDocuments of --config are read first, then the other options from left to\n"
          "right: values replace earlier ones, disks, cards, ports and devices are added.\n"
          "\nKeys on the console: Ctrl-A x ends, Ctrl-A c monitor, Ctrl-A h help.\n"
          "\nExit status: 0 guest powered off, 1 host failure, 2 wrong usage, 3 guest\n"
          "crashed, 4 timeout, 5 a replay differs, 128+N ended by signal N;\n"
          "isa-debug-exit's value wins.\n", f);
}

/* A sentence in mdoc: a dot or quote at the start of a line would be a macro. */
static void manual_text(FILE *f, const char *text)
{
    fputs("\\&", f);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", f);
        else if (*text == '-')
            fputs("\\-", f);
        else
            fputc(*text, f);
    }
    fputs(".\n", f);
}

/* Words of an argument for a macro's line. */
static void manual_option(FILE *f, const struct setting *s)
{
    char text[700];

    fputs(".It ", f);
    if (s->alias && strcmp(s->alias, s->option) != 0)
        fprintf(f, "Fl %s , ", s->alias);
    fprintf(f, "Fl Fl %s", s->option);
    if (s->arg)
        fprintf(f, " Ar %s", s->arg);
    fputc('\n', f);
    describe(s, text, sizeof(text));
    manual_text(f, text);
    if (s->key)
        fprintf(f, "In the document:\n.Cm %s .\n", s->key);
}

void options_manual(FILE *f)
{
    bool open = false;

    for (const struct setting *s = config_table; !setting_is_last(s); s++) {
        if (s->group) {
            fprintf(f, "%s.Ss %s\n.Bl -tag -width indent\n", open ? ".El\n" : "", s->group);
            open = true;
        }
        if (s->option)
            manual_option(f, s);
    }
    if (open)
        fputs(".El\n", f);
}
