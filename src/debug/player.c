/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "debug/player.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "debug/format.h"
#include "debug/pages.h"
#include "debug/stream.h"

#define MAX_DIFFERENCES 40

/* What one stop says of a register or another word of the state. */
struct difference {
    char name[24];
    uint64_t then, now;
};

struct player {
    struct cpu_tape tape;
    struct stream *in;
    struct pages pages;
    const struct player_ops *ops;
    void *opaque;
    /* The state that was recorded, at the next stop. */
    uint64_t regs[TAPE_REGS], flags, known;
    uint64_t image[IMAGE_WORDS];
    unsigned image_words;
    bool has_image, has_memory;
    uint32_t *sums;                 /* of its pages */
    uint64_t last[TAPE_INPUTS];
    uint64_t inputs_end;            /* position in the stream where the segment's inputs end */
    struct player_result result;
    struct difference differences[MAX_DIFFERENCES];
    unsigned ndifferences;
    uint64_t from_rip, from_count;  /* of the last stop that agreed */
};

static const char *const input_names[] = {
    [TAPE_TIME] = "the clock", [TAPE_WALL] = "the time of day", [TAPE_RANDOM] = "a random number",
    [TAPE_RANDOM_OK] = "a random number", [TAPE_ATTENTION] = "events", [TAPE_MORE] = "more events",
    [TAPE_SIGNALS] = "signals", [TAPE_EXTINT] = "the PIC", [TAPE_INBOX] = "interrupts",
    [TAPE_VECTORS] = "interrupts", [TAPE_FLAGS] = "an event's frame", [ITEM_EXIT] = "an answer to an exit",
};

static struct player *of_tape(struct cpu_tape *tape)
{
    return container_of(tape, struct player, tape);
}

static const char *input_name(unsigned what)
{
    return what < ARRAY_SIZE(input_names) && input_names[what] ? input_names[what] : "something else";
}

__attribute__((format(printf, 3, 4))) static void finish(struct player *p, enum player_end end,
                                                         const char *fmt, ...)
{
    va_list ap;

    p->tape.over = true;
    if (p->result.end != PLAYER_RUNS)
        return;
    p->result.end = end;
    p->result.from_rip = p->from_rip;
    p->result.from_count = p->from_count;
    va_start(ap, fmt);
    vsnprintf(p->result.text, sizeof(p->result.text), fmt, ap);
    va_end(ap);
}

/* Whatever was read is of no use then. */
static bool stream_ok(struct player *p)
{
    if (likely(!p->in->error[0]))
        return true;
    finish(p, PLAYER_BROKEN, "%s", p->in->error);
    return false;
}

static uint64_t position(const struct player *p)
{
    return p->in->total + p->in->used;
}

/* ---- inputs --------------------------------------------------------------------- */

static void play_effect(struct player *p, unsigned what)
{
    uint64_t bitmap[4];
    uint8_t on = 0;

    if (what == ITEM_A20) {
        stream_get(p->in, &on, 1);
        p->ops->a20(p->opaque, on);
    } else {
        stream_get(p->in, bitmap, sizeof(bitmap));
        p->ops->eoi_exits(p->opaque, bitmap);
    }
}

static void play_console(struct player *p)
{
    uint8_t head[2], buf[RECORDER_CONSOLE_MAX];
    unsigned n;

    stream_get(p->in, head, 2);
    n = head[1] + 1u;
    stream_get(p->in, buf, n);
    if (!p->in->error[0])
        p->ops->console(p->opaque, head[0], buf, n);
}

static void play_dma(struct player *p)
{
    uint8_t buf[MEM_PAGE_SIZE];
    uint64_t gpa = 0;
    uint32_t len = 0;

    stream_get(p->in, &gpa, 8);
    stream_get(p->in, &len, 4);
    while (len && !p->in->error[0]) {
        size_t n = MIN(len, sizeof(buf));

        stream_get(p->in, buf, n);
        /* Where a forged one is no RAM, nothing happens. */
        mem_write(p->pages.mem, gpa, buf, n);
        gpa += n;
        len -= (uint32_t)n;
    }
}

/* Items that the CPU does not ask for: they happen before the next one. */
static void play_effects(struct player *p)
{
    while (!p->tape.over && position(p) < p->inputs_end) {
        int what = stream_peek(p->in);

        if (what < ITEM_A20)
            return;
        p->in->used++;
        switch (what) {
        case ITEM_CONSOLE: play_console(p); break;
        case ITEM_DMA: play_dma(p); break;
        case ITEM_A20:
        case ITEM_EOI_EXITS: play_effect(p, (unsigned)what); break;
        default: stream_fail(p->in, "the recording is damaged in chunk %u", p->in->number - 1);
        }
        stream_ok(p);
    }
}

/* The next item must be this one. */
static bool next_item(struct player *p, unsigned what)
{
    uint8_t kind = 0;

    play_effects(p);
    if (p->tape.over)
        return false;
    if (position(p) >= p->inputs_end) {
        finish(p, PLAYER_DIFFERS,
               "another way between instructions %" PRIu64 " and %" PRIu64
               ": it asks for %s, and then it did not",
               p->from_count, p->tape.next_count, input_name(what));
        return false;
    }
    stream_get(p->in, &kind, 1);
    if (kind != what && stream_ok(p))
        finish(p, PLAYER_DIFFERS,
               "another way between instructions %" PRIu64 " and %" PRIu64
               ": it asks for %s, and then it was %s",
               p->from_count, p->tape.next_count, input_name(what), input_name(kind));
    return !p->tape.over;
}

static uint64_t play_input(struct cpu_tape *tape, enum tape_input what, uint64_t v)
{
    struct player *p = of_tape(tape);

    if (!next_item(p, what))
        return v;
    v = stream_get_number(p->in);
    if (what == TAPE_TIME || what == TAPE_WALL)
        v = p->last[what] += v;
    return stream_ok(p) ? v : 0;
}

static const char *exit_name(unsigned kind)
{
    static const char *const names[] = {
        [CPU_EXIT_IO] = "port I/O", [CPU_EXIT_MMIO] = "MMIO", [CPU_EXIT_EOI] = "EOI",
        [CPU_EXIT_EXTINT] = "interrupt acknowledge", [CPU_EXIT_FERR] = "FERR",
        [CPU_EXIT_SHUTDOWN] = "shutdown",
    };

    return kind < ARRAY_SIZE(names) && names[kind] ? names[kind] : "exit";
}

static void describe(const struct exit_record *e, char *text, size_t size)
{
    snprintf(text, size, "%s%s 0x%" PRIx64 "/%u value 0x%" PRIx64, exit_name(e->kind),
             e->flags & EXIT_WRITE ? " write" : "", e->address, e->size, e->value);
}

/* Is it the exit that was recorded?  Reads: the answer lies in then->value. */
static bool same_exit(const struct exit_record *now, const struct exit_record *then)
{
    bool writes = now->flags & EXIT_WRITE;

    return now->kind == then->kind && now->size == then->size && now->flags == then->flags &&
           now->address == then->address && then->count <= now->count &&
           (!writes || (now->value == then->value && now->count == then->count));
}

static void take_answer(struct player *p, struct cpu_run *run, const struct exit_record *then)
{
    switch (run->exit) {
    case CPU_EXIT_IO: run->io.count = then->count; break;
    case CPU_EXIT_MMIO: run->mmio.data = then->value; break;
    case CPU_EXIT_EXTINT: run->extint.vector = (int)(int64_t)then->value; break;
    default: break;
    }
    stream_ok(p);
}

void player_exit(struct player *p, struct cpu_run *run)
{
    struct exit_record now, then;
    size_t n = format_exit(run, &now);
    uint8_t data[CPU_IO_PAGE];
    char text[2][100];
    uint64_t length;

    if (!next_item(p, ITEM_EXIT))
        return;
    stream_get(p->in, &then, sizeof(then));
    length = stream_get_number(p->in);
    if (length > sizeof(data))
        stream_fail(p->in, "the recording is damaged in chunk %u", p->in->number - 1);
    else
        stream_get(p->in, data, length);
    if (!stream_ok(p))
        return;
    if (!same_exit(&now, &then) || length > n ||
        ((now.flags & EXIT_WRITE) && (length != n || memcmp(run->io_data, data, n) != 0))) {
        describe(&now, text[0], sizeof(text[0]));
        describe(&then, text[1], sizeof(text[1]));
        finish(p, PLAYER_DIFFERS,
               "another way between instructions %" PRIu64 " and %" PRIu64 ": %s, and then it was %s",
               p->from_count, p->tape.next_count, text[0], text[1]);
        return;
    }
    memcpy(run->io_data, data, length);
    take_answer(p, run, &then);
}

/* ---- segments -------------------------------------------------------------------- */

static uint64_t get_word(const uint8_t **bytes)
{
    uint64_t v;

    memcpy(&v, *bytes, 8);
    *bytes += 8;
    return v;
}

static void get_registers(struct player *p)
{
    uint8_t buf[(TAPE_REGS + 2) * 8];
    const uint8_t *ahead, *bytes = buf;
    uint32_t changed = 0;
    size_t n;

    stream_get(p->in, &changed, 4);
    changed &= CHANGED_ALL;
    n = (size_t)__builtin_popcount(changed) * 8;
    ahead = stream_ahead(p->in, n);
    if (ahead) {
        bytes = ahead;
        p->in->used += n;
    } else {
        stream_get(p->in, buf, n);
    }
    for (uint32_t bits = changed & (CHANGED_FLAGS - 1); bits; bits &= bits - 1)
        p->regs[__builtin_ctz(bits)] = get_word(&bytes);
    if (changed & CHANGED_FLAGS)
        p->flags = get_word(&bytes);
    if (changed & CHANGED_KNOWN)
        p->known = get_word(&bytes);
}

static void get_image(struct player *p)
{
    uint64_t n = stream_get_number(p->in), i = 0;

    while (n-- && !p->in->error[0]) {
        i += stream_get_number(p->in);
        if (i >= p->image_words) {
            stream_fail(p->in, "the recording is damaged in chunk %u", p->in->number - 1);
            return;
        }
        stream_get(p->in, &p->image[i], 8);
    }
}

static void get_pages(struct player *p)
{
    uint64_t n = stream_get_number(p->in), i = 0;

    while (n-- && !p->in->error[0]) {
        i += stream_get_number(p->in);
        if (i >= p->pages.n) {
            stream_fail(p->in, "the recording is damaged in chunk %u", p->in->number - 1);
            return;
        }
        stream_get(p->in, &p->sums[i], 4);
    }
}

/* Where to run to, and how it looks there. */
static void next_segment(struct player *p)
{
    uint8_t kind = 0;
    uint64_t n, inputs;

    stream_get(p->in, &kind, 1);
    n = stream_get_number(p->in);
    p->tape.next_count += n;
    if (kind & SEGMENT_DELIVERIES)
        p->tape.next_deliveries += stream_get_number(p->in);
    get_registers(p);
    p->has_memory = kind & SEGMENT_MEMORY;
    kind &= ~(SEGMENT_MEMORY | SEGMENT_DELIVERIES);
    p->has_image = kind != TAPE_BLOCK;
    if (p->has_image)
        get_image(p);
    if (p->has_memory)
        get_pages(p);
    inputs = stream_get_number(p->in);
    if (kind >= TAPE_STOPS || n > SEGMENT_MAX_COUNT || inputs > SEGMENT_MAX_INPUTS)
        stream_fail(p->in, "the recording is damaged in chunk %u", p->in->number - 1);
    p->inputs_end = position(p) + inputs;
    p->tape.next = (enum tape_stop)kind;
    stream_ok(p);
}

static void differ(struct player *p, const char *name, uint64_t then, uint64_t now)
{
    struct difference *d = &p->differences[p->ndifferences];

    if (p->ndifferences == MAX_DIFFERENCES)
        return;
    snprintf(d->name, sizeof(d->name), "%s", name);
    d->then = then;
    d->now = now;
    p->ndifferences++;
}

static void compare_registers(struct player *p, const struct tape_point *at)
{
    static const char *const names[TAPE_REGS] = {
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8",
        "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip",
    };
    uint64_t known = p->known & at->known, flags = (p->flags ^ at->flags) & known;

    if (likely(memcmp(p->regs, at->regs, sizeof(p->regs)) == 0 && !flags))
        return;
    /* Flags that nobody will read may be stale. */
    if (flags && at->dead && at->dead(at->opaque, flags))
        flags = 0;
    for (unsigned i = 0; i < TAPE_REGS; i++)
        if (p->regs[i] != at->regs[i])
            differ(p, names[i], p->regs[i], at->regs[i]);
    if (flags)
        differ(p, "rflags", p->flags & known, at->flags & known);
}

static void compare_image(struct player *p, const struct vcpu_state *s)
{
    uint64_t now[IMAGE_WORDS];
    unsigned n = image_pack(s, now);
    char name[24];

    for (unsigned i = 0; i < n; i++)
        if (now[i] != p->image[i]) {
            image_name(i, name, sizeof(name));
            differ(p, name, p->image[i], now[i]);
        }
}

static void compare_memory(struct player *p)
{
    char name[24];

    pages_scan(&p->pages);
    for (uint64_t i = 0; i < p->pages.n; i++)
        if (p->pages.sums[i] != p->sums[i]) {
            snprintf(name, sizeof(name), "page 0x%" PRIx64, i);
            differ(p, name, p->sums[i], p->pages.sums[i]);
        }
}

/* The end of the machine that was recorded. */
static void get_end(struct player *p)
{
    uint64_t status = stream_get_number(p->in), n = stream_get_number(p->in);
    char cause[END_MAX_CAUSE + 1] = "";

    if (status > 255 || n > END_MAX_CAUSE)
        stream_fail(p->in, "the recording is damaged in chunk %u", p->in->number - 1);
    if (!stream_ok(p))
        return;
    stream_get(p->in, cause, n);
    if (!stream_ok(p))
        return;
    p->result.status = (int)status;
    finish(p, PLAYER_AGREED, "%s", cause);
}

static void compare(struct player *p, const struct tape_point *at)
{
    if (at->count != p->tape.next_count)
        differ(p, "instructions", p->tape.next_count, at->count);
    if (at->deliveries != p->tape.next_deliveries && p->tape.next != TAPE_END)
        differ(p, "events", p->tape.next_deliveries, at->deliveries);
    compare_registers(p, at);
    if (p->has_image && at->state)
        compare_image(p, at->state);
    if (p->has_memory && !p->ndifferences)
        compare_memory(p);
}

static bool play_point(struct cpu_tape *tape, enum tape_stop what, const struct tape_point *at)
{
    struct player *p = of_tape(tape);

    if (tape->over)
        return false;
    play_effects(p);
    compare(p, at);
    if (unlikely(p->ndifferences)) {
        const struct difference *d = &p->differences[0];

        finish(p, PLAYER_DIFFERS,
               "another way between instructions %" PRIu64 " and %" PRIu64
               ": %s is 0x%" PRIx64 ", and then it was 0x%" PRIx64,
               p->from_count, tape->next_count, d->name, d->now, d->then);
        return false;
    }
    if (unlikely(position(p) != p->inputs_end)) {
        finish(p, PLAYER_DIFFERS,
               "another way between instructions %" PRIu64 " and %" PRIu64
               ": it took fewer inputs than then", p->from_count, tape->next_count);
        return false;
    }
    p->result.count = at->count;
    p->result.stops++;
    p->from_count = at->count;
    p->from_rip = at->regs[TAPE_REGS - 1];
    if (what == TAPE_END)
        get_end(p);
    else
        next_segment(p);
    return !tape->over || what != TAPE_END;
}

static bool play_waits(struct cpu_tape *tape)
{
    struct player *p = of_tape(tape);

    play_effects(p);
    return !tape->over && position(p) < p->inputs_end;
}

static void play_differs(struct cpu_tape *tape, const char *what, uint64_t then, uint64_t now)
{
    struct player *p = of_tape(tape);

    differ(p, what, then, now);
    finish(p, PLAYER_DIFFERS,
           "another way between instructions %" PRIu64 " and %" PRIu64 ": %s 0x%" PRIx64
           ", and then it was 0x%" PRIx64,
           p->from_count, tape->next_count, what, now, then);
}

/* ---- life ------------------------------------------------------------------------- */

int player_create(struct player **out, const char *path, const struct player_ops *ops, void *opaque,
                  char *err, size_t err_size)
{
    struct player *p = calloc(1, sizeof(*p));
    int rc;

    if (!p) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    p->ops = ops;
    p->opaque = opaque;
    p->tape = (struct cpu_tape){ .playing = true, .input = play_input, .point = play_point,
                                .waits = play_waits, .differs = play_differs };
    rc = stream_open(&p->in, path, err, err_size);
    if (rc < 0)
        free(p);
    else
        *out = p;
    return rc;
}

void player_free(struct player *p)
{
    if (!p)
        return;
    stream_free(p->in);
    pages_free(&p->pages);
    free(p->sums);
    free(p);
}

struct cpu_tape *player_tape(struct player *p)
{
    return &p->tape;
}

/* Why this machine cannot be the one that was recorded; NULL: it can. */
static const char *mismatch(const struct recording_header *then, const struct recording_header *now)
{
    if (memcmp(then->magic, now->magic, sizeof(now->magic)) != 0)
        return "it is not a recording of bulkhead";
    if (then->version != now->version || then->image_words != now->image_words)
        return "it is of another version of bulkhead";
    if (then->memory != now->memory)
        return "it is of a machine with another amount of memory; give it the same";
    if (then->tsc_hz != now->tsc_hz || then->model_crc != now->model_crc)
        return "it is of a machine with another CPU model, or of another host's";
    if (then->memory_crc != now->memory_crc)
        return "it is of another machine: give it the same kernel, initrd, command line and devices";
    return NULL;
}

int player_begin(struct player *p, const struct recording_machine *m, char *err, size_t err_size)
{
    struct recording_header then, now;
    const char *why = NULL;

    if (pages_create(&p->pages, m->mem) < 0) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    stream_get(p->in, &then, sizeof(then));
    if (p->in->error[0]) {
        why = p->in->error;
    } else {
        pages_scan(&p->pages);
        format_header(&now, m, pages_sum(&p->pages));
        p->image_words = now.image_words;
        why = mismatch(&then, &now);
    }
    if (!why) {
        p->sums = malloc(p->pages.n * sizeof(*p->sums));
        if (!p->sums)
            why = "out of memory";
    }
    if (why) {
        snprintf(err, err_size, "cannot play the recording: %s", why);
        return -EINVAL;
    }
    memcpy(p->sums, p->pages.sums, p->pages.n * sizeof(*p->sums));
    next_segment(p);
    return 0;
}

const struct player_result *player_result(const struct player *p)
{
    return &p->result;
}

void player_print(const struct player *p, FILE *f)
{
    fprintf(f, "%-16s %18s %18s\n", "", "then", "now");
    for (unsigned i = 0; i < p->ndifferences; i++)
        fprintf(f, "%-16s 0x%016" PRIx64 " 0x%016" PRIx64 "\n", p->differences[i].name,
                p->differences[i].then, p->differences[i].now);
}
