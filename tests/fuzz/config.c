/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configurations: an input that begins with '-' is a command line, one option
 * a line; any other is a JSON document.  What is accepted must print as a
 * document that is accepted and prints the same.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "vm/config_table.h"

#define MAX_ARGS 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char *print(const struct vm_config *c)
{
    char *text = NULL, err[400];
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    assert(f);
    if (config_print_json(c, f, err, sizeof(err)) < 0) {
        fclose(f);
        free(text);
        return NULL;
    }
    fclose(f);
    return text;
}

static void check_round_trip(const struct vm_config *c)
{
    struct vm_config again;
    char *text = print(c), *text2, err[400];

    if (!text)
        return; /* not UTF-8 */
    assert(config_init(&again) == 0);
    if (config_parse_json(&again, text, strlen(text), "printed", err, sizeof(err)) < 0) {
        fprintf(stderr, "%s\n%s\n", err, text);
        abort();
    }
    text2 = print(&again);
    assert(text2 && strcmp(text, text2) == 0);
    free(text2);
    free(text);
    config_free(&again);
}

/* --config would read files of the host. */
static int parse_options(struct vm_config *c, char *text, char *err, size_t err_size)
{
    char *args[MAX_ARGS], *line;
    int n = 0;

    while ((line = strsep(&text, "\n")) && n < MAX_ARGS)
        if (strncmp(line, "--config", 8) != 0)
            args[n++] = line;
    return options_parse(c, n, args, err, err_size);
}

static void complete(char *text)
{
    char *words[MAX_ARGS], *line, *out = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&out, &size);
    int n = 0;

    assert(f);
    while ((line = strsep(&text, "\n")) && n < MAX_ARGS)
        words[n++] = line;
    options_complete(f, n, words);
    fclose(f);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1), *copy, err[400] = "";
    struct vm_config c;
    int rc;

    memcpy(text, data, n);
    text[n] = 0;
    copy = strdup(text);
    if (*text == '-') {
        rc = parse_options(&c, text, err, sizeof(err));
        complete(copy);
    } else {
        assert(config_init(&c) == 0);
        rc = config_parse_json(&c, text, n, "input", err, sizeof(err));
        if (rc == 0)
            rc = config_finish(&c, err, sizeof(err));
    }
    assert(rc >= 0 || (*err && !strchr(err, '\n')));
    if (rc >= 0)
        check_round_trip(&c);
    config_free(&c);
    free(copy);
    free(text);
    return 0;
}
