/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of translated code for perf: lines "START SIZE name" in
 * /tmp/perf-PID.map.  Code that takes the place of other code that was
 * evicted is named once more; perf takes one of the names.
 */
#include <stdio.h>
#include <unistd.h>

#include "engine/bt/bt.h"

void bt_perf_open(struct bt *bt)
{
    char path[64];

    snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
    bt->perf_map = fopen(path, "ae");
    if (!bt->perf_map) {
        fprintf(stderr, "bulkhead: warning: %s cannot be written: translated code has no names\n", path);
        return;
    }
    fprintf(bt->perf_map, "%llx %zx bt-trampolines\n", (unsigned long long)(uintptr_t)bt->rx, bt->code_start);
}

void bt_perf_block(struct bt *bt, const struct tblock *b, size_t size, uint64_t linear)
{
    if (bt->perf_map)
        fprintf(bt->perf_map, "%llx %zx guest-%llx\n", (unsigned long long)(uintptr_t)(bt->rx + b->start),
                size, (unsigned long long)linear);
}
