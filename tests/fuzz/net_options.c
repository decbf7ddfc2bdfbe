/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What users write about networks: one option a line, in the order of the
 * table; lines after it are forwarded ports.  Errors are one line, and what is
 * accepted prints as text that is accepted and prints the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "net/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_error(const char *err)
{
    assert(*err && !strchr(err, '\n'));
}

static void check_forward(const char *text)
{
    char one[NET_HOSTFWD_TEXT], two[NET_HOSTFWD_TEXT], err[240] = "";
    struct net_hostfwd fwd;

    if (net_publish_parse(text, &fwd, err, sizeof(err)) < 0) {
        check_error(err);
        if (net_hostfwd_parse(text, &fwd, err, sizeof(err)) < 0) {
            check_error(err);
            return;
        }
    }
    net_hostfwd_text(&fwd, one);
    assert(net_hostfwd_parse(one, &fwd, err, sizeof(err)) == 0);
    net_hostfwd_text(&fwd, two);
    assert(strcmp(one, two) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *forwards[NET_MAX_HOSTFWD + 1];
    struct net_user_options o = { .hostfwd = forwards };
    const char **const texts[] = { &o.net, &o.host, &o.dns, &o.dhcpstart, &o.hostname };
    char *text = malloc(n + 1), *rest = text, *line, err[240] = "";
    struct net_user_config c;
    uint8_t mac[6];
    unsigned i = 0;

    assert(text);
    memcpy(text, data, n);
    text[n] = 0;
    while ((line = strsep(&rest, "\n")) && o.nhostfwd < NET_MAX_HOSTFWD + 1) {
        check_forward(line);
        if (net_mac_parse(line, mac, err, sizeof(err)) < 0)
            check_error(err);
        if (i >= sizeof(texts) / sizeof(texts[0]))
            forwards[o.nhostfwd++] = line;
        else if (*line)
            *texts[i] = line;
        i++;
    }
    if (net_user_parse(&o, &c, err, sizeof(err)) < 0)
        check_error(err);
    free(text);
    return 0;
}
