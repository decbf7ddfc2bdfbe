/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pages.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"

#define PAGE     4096u
#define LARGE    (4 * GiB)
#define MAX_HOLES 128
#define MAX_MAPS 1024
#define MAX_PAGES (1u << 17)
#define MAX_TEXT (1 * MiB)
/* Of the main thread: what runs here uses it. */
#define STACK_NAME "[stack]"

struct range {
    uintptr_t start, end;
};

struct sum {
    uintptr_t at;
    uint64_t value;     /* of the bytes; of a large mapping: KiB in memory */
    char name[40];
};

struct pages {
    size_t n;
    struct sum sums[MAX_PAGES];
};

/* All that this file uses: apart from the heap, which is looked at. */
struct work {
    struct range holes[MAX_HOLES], old[MAX_MAPS];
    unsigned nholes, nold, ntaken;
    char text[MAX_TEXT];
    unsigned char there[LARGE / PAGE];
    struct pages taken[2];
};
static struct work *work;

static struct work *get_work(void)
{
    if (work)
        return work;
    work = mmap(NULL, sizeof(*work), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (work == MAP_FAILED)
        abort();
    pages_may_change(work, align_up(sizeof(*work), PAGE));
    return work;
}

/* ---- what may change ----------------------------------------------------------------- */

void pages_may_change(const void *start, size_t size)
{
    struct work *w = get_work();

    if (w->nholes == MAX_HOLES)
        abort();
    w->holes[w->nholes++] = (struct range){ (uintptr_t)start, (uintptr_t)start + size };
}

/* The page without the bytes that may change. */
static void copy_page(uint8_t *out, uintptr_t at)
{
    memcpy(out, (const void *)at, PAGE);
    for (unsigned n = 0; n < work->nholes; n++) {
        const struct range *h = &work->holes[n];
        uintptr_t from = MAX(h->start, at), to = MIN(h->end, at + PAGE);

        if (from < to)
            memset(out + (from - at), 0, to - from);
    }
}

static bool whole_page_may_change(uintptr_t at)
{
    for (unsigned n = 0; n < work->nholes; n++)
        if (work->holes[n].start <= at && at + PAGE <= work->holes[n].end)
            return true;
    return false;
}

static bool is_old(uintptr_t at)
{
    for (unsigned n = 0; n < work->nold; n++)
        if (at >= work->old[n].start && at < work->old[n].end)
            return true;
    return false;
}

/* ---- mappings ------------------------------------------------------------------------- */

struct mapping {
    struct range range;
    char rights[5], name[40];
    unsigned long rss;          /* KiB */
};

static void read_text(void)
{
    int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t r;

    while ((r = read(fd, work->text + n, MAX_TEXT - 1 - n)) > 0)
        n += (size_t)r;
    if (fd < 0 || r < 0 || n == MAX_TEXT - 1)
        abort();
    close(fd);
    work->text[n] = 0;
}

/* Calls fn for each; from smaps, which says how much is in memory. */
static void each_mapping(void (*fn)(const struct mapping *m, void *arg), void *arg)
{
    struct mapping m = { .range = { 0, 0 } };
    char *line, *rest = NULL;

    read_text();
    for (line = strtok_r(work->text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        struct mapping next = { .range = { 0, 0 } };

        if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %39s", &next.range.start, &next.range.end, next.rights,
                   next.name) >= 3)
            m = next;
        else if (sscanf(line, "Rss: %lu kB", &m.rss) == 1)
            fn(&m, arg);
    }
}

static void note(const struct mapping *m, void *arg)
{
    (void)arg;
    if (work->nold == MAX_MAPS)
        abort();
    work->old[work->nold++] = m->range;
}

void pages_note_mappings(void)
{
    get_work()->nold = 0;
    each_mapping(note, NULL);
}

/* ---- checksums -------------------------------------------------------------------------- */

static uint64_t checksum(const uint8_t *p)
{
    uint64_t h = 0x9e3779b97f4a7c15ULL, v;

    for (unsigned n = 0; n < PAGE; n += 8) {
        memcpy(&v, p + n, 8);
        h = (h ^ v) * 0xff51afd7ed558ccdULL;
        h ^= h >> 29;
    }
    return h;
}

static void add(struct pages *p, uintptr_t at, uint64_t value, const char *name)
{
    struct sum *s = &p->sums[p->n];

    if (++p->n == MAX_PAGES)
        abort();
    *s = (struct sum){ .at = at, .value = value };
    memcpy(s->name, name, sizeof(s->name));
}

/* Which pages are there; reading others would change that. */
static void add_pages(struct pages *p, const struct mapping *m)
{
    size_t n = (m->range.end - m->range.start) / PAGE;
    unsigned char *there = work->there;
    uint8_t copy[PAGE];

    if (mincore((void *)m->range.start, m->range.end - m->range.start, there))
        memset(there, 0, n);
    for (size_t k = 0; k < n; k++) {
        uintptr_t at = m->range.start + k * PAGE;

        if (!(there[k] & 1) || !is_old(at) || whole_page_may_change(at))
            continue;
        copy_page(copy, at);
        add(p, at, checksum(copy), m->name);
    }
}

static void take(const struct mapping *m, void *arg)
{
    bool special = m->name[0] == '[' && (m->name[1] == 'v' || !strcmp(m->name, STACK_NAME));

    if (m->rights[0] != 'r' || special || !m->rss)
        return;
    if (m->range.end - m->range.start < LARGE)
        add_pages(arg, m);
    else if (is_old(m->range.start) && !whole_page_may_change(m->range.start))
        add(arg, m->range.start, m->rss, m->name);
}

const struct pages *pages_take(void)
{
    struct pages *p = &work->taken[work->ntaken++ ? 1 : 0];

    p->n = 0;
    each_mapping(take, p);
    return p;
}

size_t pages_count(const struct pages *p)
{
    return p->n;
}

static const struct sum *find(const struct pages *p, uintptr_t at)
{
    size_t lo = 0, hi = p->n;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (p->sums[mid].at < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < p->n && p->sums[lo].at == at ? &p->sums[lo] : NULL;
}

/* A page that was not there was not touched: zeros are no change either, but
 * then somebody was there. */
unsigned pages_compare(const struct pages *before, const struct pages *after, FILE *f)
{
    unsigned bad = 0;

    for (size_t n = 0; n < after->n; n++) {
        const struct sum *now = &after->sums[n], *old = find(before, now->at);

        if (old && old->value == now->value)
            continue;
        bad++;
        if (f)
            fprintf(f, "# %s: page %#lx of %s\n", old ? "changed" : "touched", (unsigned long)now->at,
                    now->name[0] ? now->name : "anonymous memory");
    }
    return bad;
}
