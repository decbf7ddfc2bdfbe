/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "debug/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"

int pages_create(struct pages *p, struct mem *mem)
{
    static const uint8_t zeroes[MEM_PAGE_SIZE];
    const uint32_t empty = crc32c(0, zeroes, sizeof(zeroes));

    p->mem = mem;
    p->n = mem->ram_size / MEM_PAGE_SIZE;
    p->sums = malloc(p->n * sizeof(*p->sums));
    p->old = malloc(p->n * sizeof(*p->old));
    if (!p->sums || !p->old) {
        pages_free(p);
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < p->n; i++)
        p->sums[i] = empty;
    return 0;
}

void pages_free(struct pages *p)
{
    free(p->sums);
    free(p->old);
    *p = (struct pages){ 0 };
}

/* A hole of the file reads as zeroes, and is left one. */
uint64_t pages_scan(struct pages *p)
{
    uint64_t changed = 0;
    off_t at = 0;

    memcpy(p->old, p->sums, p->n * sizeof(*p->sums));
    while ((at = lseek(p->mem->fd, at, SEEK_DATA)) >= 0) {
        off_t end = lseek(p->mem->fd, at, SEEK_HOLE);

        for (uint64_t i = (uint64_t)at / MEM_PAGE_SIZE; i < (uint64_t)end / MEM_PAGE_SIZE && i < p->n; i++) {
            p->sums[i] = crc32c(0, p->mem->hva + i * MEM_PAGE_SIZE, MEM_PAGE_SIZE);
            changed += p->sums[i] != p->old[i];
        }
        if (end < 0)
            break;
        at = end;
    }
    return changed;
}

uint32_t pages_sum(const struct pages *p)
{
    return crc32c(0, p->sums, p->n * sizeof(*p->sums));
}
