/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inputs are kept until the next stop, since a segment begins with what the
 * player needs first: where that stop is.
 */
#include "debug/recorder.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "debug/format.h"
#include "debug/pages.h"
#include "debug/stream.h"

struct recorder {
    struct cpu_tape tape;
    struct stream *out;
    struct pages pages;
    uint64_t count, deliveries;     /* of the last stop */
    uint64_t regs[TAPE_REGS], flags, known;
    uint64_t image[IMAGE_WORDS];
    uint64_t last[TAPE_INPUTS];
    uint64_t memory_due;            /* instruction count of the next check of all memory */
    uint8_t *inputs;                /* since the last stop */
    size_t ninputs, room;
    bool ended;
};

static struct recorder *of_tape(struct cpu_tape *tape)
{
    return container_of(tape, struct recorder, tape);
}

/* ---- inputs ------------------------------------------------------------------- */

/* n bytes more; NULL: out of memory. */
static uint8_t *more_inputs(struct recorder *r, size_t n)
{
    uint8_t *p;

    if (r->ninputs + n > r->room) {
        size_t room = MAX(r->room * 2, r->ninputs + n);

        p = room <= SEGMENT_MAX_INPUTS ? realloc(r->inputs, room) : NULL;
        if (!p) {
            stream_fail(r->out, "too many inputs between two stops");
            return NULL;
        }
        r->inputs = p;
        r->room = room;
    }
    p = r->inputs + r->ninputs;
    r->ninputs += n;
    r->tape.crowded = r->ninputs > SEGMENT_CROWDED;
    return p;
}

static void add_item(struct recorder *r, unsigned what, const void *data, size_t n)
{
    uint8_t *p = more_inputs(r, n + 1);

    if (!p)
        return;
    *p = (uint8_t)what;
    memcpy(p + 1, data, n);
}

/* Clocks as the difference to the last reading: few bytes. */
static uint64_t keep_input(struct cpu_tape *tape, enum tape_input what, uint64_t v)
{
    struct recorder *r = of_tape(tape);
    uint8_t buf[10];
    uint64_t kept = v;

    if (what == TAPE_TIME || what == TAPE_WALL) {
        kept = v - r->last[what];
        r->last[what] = v;
    }
    add_item(r, what, buf, number_encode(buf, kept));
    return v;
}

void recorder_a20(struct recorder *r, bool enabled)
{
    const uint8_t v = enabled;

    add_item(r, ITEM_A20, &v, 1);
}

void recorder_eoi_exits(struct recorder *r, const uint64_t bitmap[4])
{
    add_item(r, ITEM_EOI_EXITS, bitmap, 32);
}

void recorder_dma(struct recorder *r, uint64_t gpa, size_t len)
{
    const uint32_t n = (uint32_t)len;
    uint8_t *p = len <= UINT32_MAX ? more_inputs(r, 1 + 8 + 4 + len) : NULL;

    if (!p)
        return;
    *p = ITEM_DMA;
    memcpy(p + 1, &gpa, 8);
    memcpy(p + 9, &n, 4);
    if (mem_read(r->pages.mem, gpa, p + 13, len) < 0)
        memset(p + 13, 0, len);
}

void recorder_console(struct recorder *r, unsigned port, const void *data, size_t n)
{
    uint8_t *p;

    assert(n && n <= RECORDER_CONSOLE_MAX);
    p = more_inputs(r, n + 3);
    if (!p)
        return;
    p[0] = ITEM_CONSOLE;
    p[1] = (uint8_t)port;
    p[2] = (uint8_t)(n - 1);
    memcpy(p + 3, data, n);
}

void recorder_exit(struct recorder *r, const struct cpu_run *run)
{
    struct exit_record e;
    size_t n = format_exit(run, &e);
    uint8_t buf[sizeof(e) + 10];
    unsigned head = sizeof(e) + number_encode(buf + sizeof(e), n);
    uint8_t *p = more_inputs(r, 1 + head + n);

    if (!p)
        return;
    memcpy(buf, &e, sizeof(e));
    *p++ = ITEM_EXIT;
    memcpy(p, buf, head);
    memcpy(p + head, run->io_data, n);
}

/* ---- stops --------------------------------------------------------------------- */

static uint8_t *put_word(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, 8);
    return p + 8;
}

/* The registers that have changed, behind a word of their bits. */
static uint8_t *put_registers(struct recorder *r, uint8_t *p, const struct tape_point *at)
{
    uint8_t *bits = p;
    uint32_t changed = 0;

    p += 4;
    for (unsigned i = 0; i < TAPE_REGS; i++)
        if (at->regs[i] != r->regs[i]) {
            changed |= 1u << i;
            r->regs[i] = at->regs[i];
            p = put_word(p, at->regs[i]);
        }
    if (at->flags != r->flags) {
        changed |= CHANGED_FLAGS;
        r->flags = at->flags;
        p = put_word(p, at->flags);
    }
    if (at->known != r->known) {
        changed |= CHANGED_KNOWN;
        r->known = at->known;
        p = put_word(p, at->known);
    }
    memcpy(bits, &changed, 4);
    return p;
}

static void put_image(struct recorder *r, const struct vcpu_state *s)
{
    uint64_t now[IMAGE_WORDS];
    unsigned n = image_pack(s, now), changed = 0, last = 0;

    for (unsigned i = 0; i < n; i++)
        changed += now[i] != r->image[i];
    stream_put_number(r->out, changed);
    for (unsigned i = 0; i < n; i++)
        if (now[i] != r->image[i]) {
            stream_put_number(r->out, i - last);
            stream_put(r->out, &now[i], 8);
            r->image[i] = now[i];
            last = i;
        }
}

static void put_pages(struct recorder *r)
{
    uint64_t last = 0;

    stream_put_number(r->out, pages_scan(&r->pages));
    for (uint64_t i = 0; i < r->pages.n; i++)
        if (r->pages.sums[i] != r->pages.old[i]) {
            stream_put_number(r->out, i - last);
            stream_put(r->out, &r->pages.sums[i], 4);
            last = i;
        }
}

static void put_segment(struct recorder *r, enum tape_stop what, const struct tape_point *at)
{
    uint8_t head[SEGMENT_HEAD], *room = stream_room(r->out, SEGMENT_HEAD), *p = room ? room : head;
    bool memory = what == TAPE_END || (what == TAPE_EVENTS && at->count >= r->memory_due);
    uint8_t *first = p;

    *p = (uint8_t)what | (memory ? SEGMENT_MEMORY : 0);
    if (at->deliveries != r->deliveries)
        *p |= SEGMENT_DELIVERIES;
    p++;
    p += number_encode(p, at->count - r->count);
    if (at->deliveries != r->deliveries)
        p += number_encode(p, at->deliveries - r->deliveries);
    r->count = at->count;
    r->deliveries = at->deliveries;
    p = put_registers(r, p, at);
    if (room)
        r->out->used += (size_t)(p - first);
    else
        stream_put(r->out, head, (size_t)(p - first));
    if (at->state)
        put_image(r, at->state);
    if (memory) {
        put_pages(r);
        r->memory_due = at->count + MEMORY_INTERVAL;
    }
    stream_put_number(r->out, r->ninputs);
    stream_put(r->out, r->inputs, r->ninputs);
    r->ninputs = 0;
    r->tape.crowded = false;
}

static bool keep_point(struct cpu_tape *tape, enum tape_stop what, const struct tape_point *p)
{
    struct recorder *r = of_tape(tape);

    /* The dispatcher and the block behind it tell of the same place. */
    if (what == TAPE_BLOCK && p->count == r->count && p->deliveries == r->deliveries && !r->ninputs)
        return true;
    put_segment(r, what, p);
    tape->over = r->out->error[0];
    return true;
}

/* ---- life ------------------------------------------------------------------------ */

int recorder_create(struct recorder **out, const char *path, bool blocks, char *err, size_t err_size)
{
    struct recorder *r = calloc(1, sizeof(*r));
    int rc;

    if (!r) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    r->tape = (struct cpu_tape){ .blocks = blocks, .input = keep_input, .point = keep_point };
    rc = stream_create(&r->out, path, err, err_size);
    if (rc < 0)
        free(r);
    else
        *out = r;
    return rc;
}

void recorder_free(struct recorder *r)
{
    if (!r)
        return;
    stream_free(r->out);
    pages_free(&r->pages);
    free(r->inputs);
    free(r);
}

struct cpu_tape *recorder_tape(struct recorder *r)
{
    return &r->tape;
}

const char *recorder_error(const struct recorder *r)
{
    return r->out->error[0] ? r->out->error : NULL;
}

int recorder_begin(struct recorder *r, const struct recording_machine *m, char *err, size_t err_size)
{
    struct recording_header h;
    int rc = pages_create(&r->pages, m->mem);

    if (rc < 0) {
        snprintf(err, err_size, "out of memory");
        return rc;
    }
    pages_scan(&r->pages);
    format_header(&h, m, pages_sum(&r->pages));
    h.blocks = r->tape.blocks;
    r->memory_due = MEMORY_INTERVAL;
    stream_put(r->out, &h, sizeof(h));
    return 0;
}

int recorder_end(struct recorder *r, const struct vcpu_state *s, int status, const char *cause,
                 char *err, size_t err_size)
{
    uint64_t regs[TAPE_REGS];
    struct tape_point p = { .count = s->insn_count, .deliveries = r->deliveries, .regs = regs,
                            .flags = s->rflags, .known = ~0ULL, .state = s };

    memcpy(regs, s->gpr, sizeof(s->gpr));
    regs[TAPE_REGS - 1] = s->rip;
    /* Whatever led to the shutdown comes before the end. */
    if (s->mp_state == MP_SHUTDOWN)
        p.deliveries += END_BY_SHUTDOWN;
    put_segment(r, TAPE_END, &p);
    stream_put_number(r->out, (uint64_t)status);
    stream_put_number(r->out, strlen(cause));
    stream_put(r->out, cause, strlen(cause));
    if (stream_flush(r->out) < 0) {
        snprintf(err, err_size, "%s", r->out->error);
        return -EIO;
    }
    return 0;
}
