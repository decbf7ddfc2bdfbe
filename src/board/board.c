/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "board/board.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "board/micro.h"
#include "board/pc.h"
#include "dev/isa_debug_exit.h"

static const struct board_ops *const boards[] = { &board_pc, &board_micro };

const struct board_ops *board_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(boards); i++)
        if (strcmp(boards[i]->name, name) == 0)
            return boards[i];
    return NULL;
}

void board_explain(const struct board_config *config, int rc, char *err, size_t err_size)
{
    if (rc == -EEXIST && config->debug_exit)
        snprintf(err, err_size,
                 "isa-debug-exit at port 0x%x meets another device; "
                 "choose another iobase",
                 config->debug_exit_port);
    else
        snprintf(err, err_size, "cannot make the machine's devices: %s", strerror(-rc));
}

int board_add_debug_exit(const struct board_config *config, struct bus *bus)
{
    const struct isa_debug_exit_config debug = { .port = config->debug_exit_port,
                                                 .size = config->debug_exit_size };
    struct isa_debug_exit *dev;

    return config->debug_exit ? isa_debug_exit_create(bus, &debug, &dev) : 0;
}
