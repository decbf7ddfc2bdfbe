/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A section on the wire, all numbers little-endian:
 *
 *   u32 magic "BSEC"
 *   u32 size of the section from the magic to the CRC, both included
 *   u8 length, name
 *   u32 instance, u32 version, u32 number of fields
 *   for each field: u8 length, name, u8 type, u32 count, count values
 *   u32 CRC-32C of all before
 *
 * Loading is in two steps: the fields are decoded into a copy of the object's
 * bytes, and only when all are good the copy's fields go into the object.
 */
#include "state/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/util.h"

#define SECTION_MAGIC  0x43455342u /* "BSEC" */
#define SECTION_HEADER 8u
#define SECTION_CRC    4u
#define NAME_MAX_LEN   255u

static unsigned type_size(enum state_type type)
{
    static const unsigned char sizes[] = {
        [STATE_U8] = 1,
        [STATE_U16] = 2,
        [STATE_U32] = 4,
        [STATE_U64] = 8,
        [STATE_BOOL] = sizeof(bool),
    };

    return sizes[type];
}

static uint64_t get_value(const void *obj, const struct state_field *f, uint32_t i)
{
    unsigned size = type_size(f->type);
    uint64_t v = 0;

    /* The host is little-endian (x86-64 only). */
    memcpy(&v, (const char *)obj + f->offset + (size_t)i * size, size);
    return v;
}

static void set_value(void *obj, const struct state_field *f, uint32_t i, uint64_t v)
{
    unsigned size = type_size(f->type);

    memcpy((char *)obj + f->offset + (size_t)i * size, &v, size);
}

static void reset_field(const struct state_field *f, void *obj)
{
    for (uint32_t i = 0; i < f->count; i++)
        set_value(obj, f, i, f->reset);
}

void state_reset(const struct state_desc *d, void *obj)
{
    for (const struct state_field *f = d->fields; f->name; f++)
        reset_field(f, obj);
}

void state_dump(const struct state_desc *d, const void *obj, FILE *f)
{
    for (const struct state_field *field = d->fields; field->name; field++) {
        fprintf(f, "  %s:", field->name);
        for (uint32_t i = 0; i < field->count; i++)
            fprintf(f, "%s%" PRIx64, i && i % 16 == 0 ? "\n    " : " ", get_value(obj, field, i));
        fputc('\n', f);
    }
}

/* Saving */

void state_writer_init(struct state_writer *w)
{
    *w = (struct state_writer){ 0 };
}

void state_writer_free(struct state_writer *w)
{
    free(w->data);
    state_writer_init(w);
}

static void put(struct state_writer *w, const void *data, size_t n)
{
    if (w->error)
        return;
    if (n > w->capacity - w->size) {
        size_t capacity = MAX(w->capacity * 2, align_up(w->size + n, 4096));
        uint8_t *bigger = realloc(w->data, capacity);

        if (!bigger) {
            w->error = -ENOMEM;
            return;
        }
        w->data = bigger;
        w->capacity = capacity;
    }
    memcpy(w->data + w->size, data, n);
    w->size += n;
}

static void put_int(struct state_writer *w, uint64_t v, unsigned size)
{
    put(w, &v, size);
}

static void put_name(struct state_writer *w, const char *name)
{
    size_t len = MIN(strlen(name), NAME_MAX_LEN);

    put_int(w, len, 1);
    put(w, name, len);
}

static uint32_t put_fields(struct state_writer *w, const struct state_field *fields,
                           const void *obj)
{
    uint32_t n = 0;

    for (const struct state_field *f = fields; f->name; f++, n++) {
        put_name(w, f->name);
        put_int(w, f->type, 1);
        put_int(w, f->count, 4);
        put(w, (const char *)obj + f->offset, (size_t)f->count * type_size(f->type));
    }
    return n;
}

void state_save(struct state_writer *w, const struct state_desc *d, uint32_t instance,
                const void *obj)
{
    size_t start = w->size, nfields_at;
    uint32_t n, size;

    put_int(w, SECTION_MAGIC, 4);
    put_int(w, 0, 4);
    put_name(w, d->name);
    put_int(w, instance, 4);
    put_int(w, d->version, 4);
    nfields_at = w->size;
    put_int(w, 0, 4);
    n = put_fields(w, d->fields, obj);
    if (w->error)
        return;
    size = (uint32_t)(w->size - start + SECTION_CRC);
    memcpy(w->data + start + 4, &size, 4);
    memcpy(w->data + nfields_at, &n, 4);
    put_int(w, crc32c(0, w->data + start, w->size - start), 4);
}

/* Loading */

/* A window on the input; bad once something did not fit. */
struct cursor {
    const uint8_t *p, *end;
    bool bad;
};

static const uint8_t *take(struct cursor *c, size_t n)
{
    const uint8_t *p = c->p;

    if (c->bad || n > (size_t)(c->end - c->p)) {
        c->bad = true;
        return NULL;
    }
    c->p += n;
    return p;
}

static uint64_t take_int(struct cursor *c, unsigned size)
{
    const uint8_t *p = take(c, size);
    uint64_t v = 0;

    if (p)
        memcpy(&v, p, size);
    return v;
}

/* A name as a C string of at most NAME_MAX_LEN characters, printable ones
 * only, since it ends up in error messages. */
static void take_name(struct cursor *c, char name[NAME_MAX_LEN + 1])
{
    size_t len = take_int(c, 1);
    const uint8_t *p = take(c, len);

    name[0] = 0;
    if (!p)
        return;
    for (size_t i = 0; i < len; i++) {
        if (p[i] < 0x20 || p[i] > 0x7e) {
            c->bad = true;
            return;
        }
        name[i] = (char)p[i];
    }
    name[len] = 0;
}

__attribute__((format(printf, 3, 4))) static int fail(struct state_reader *r, int error,
                                                      const char *fmt, ...)
{
    va_list ap;

    if (!r->error[0]) {
        va_start(ap, fmt);
        vsnprintf(r->error, sizeof(r->error), fmt, ap);
        va_end(ap);
    }
    return error;
}

void state_reader_init(struct state_reader *r, const void *data, size_t size)
{
    *r = (struct state_reader){ .data = data, .size = size };
}

struct section {
    char name[NAME_MAX_LEN + 1];
    uint32_t instance, version, nfields;
    struct cursor body; /* the fields */
};

/* The section at *pos; *pos goes to the next one. */
static int read_section(struct state_reader *r, size_t *pos, struct section *s)
{
    struct cursor c = { r->data + *pos, r->data + r->size, false };
    uint32_t magic = (uint32_t)take_int(&c, 4), size = (uint32_t)take_int(&c, 4), crc;

    if (c.bad || magic != SECTION_MAGIC || size < SECTION_HEADER + SECTION_CRC ||
        size > r->size - *pos)
        return fail(r, -EINVAL, "state: no section at byte %zu", *pos);
    c.end = r->data + *pos + size - SECTION_CRC;
    memcpy(&crc, c.end, 4);
    if (crc != crc32c(0, r->data + *pos, size - SECTION_CRC))
        return fail(r, -EINVAL, "state: wrong checksum of the section at byte %zu", *pos);
    take_name(&c, s->name);
    s->instance = (uint32_t)take_int(&c, 4);
    s->version = (uint32_t)take_int(&c, 4);
    s->nfields = (uint32_t)take_int(&c, 4);
    if (c.bad)
        return fail(r, -EINVAL, "state: bad section header at byte %zu", *pos);
    s->body = c;
    *pos += size;
    return 0;
}

static int find_section(struct state_reader *r, const char *name, uint32_t instance,
                        struct section *s)
{
    for (size_t pos = 0; pos < r->size;) {
        int ret = read_section(r, &pos, s);

        if (ret)
            return ret;
        if (s->instance == instance && !strcmp(s->name, name))
            return 0;
    }
    return fail(r, -ENOENT, "state: no section %s %u", name, instance);
}

static size_t field_index(const struct state_desc *d, const char *name)
{
    size_t i = 0;

    while (d->fields[i].name && strcmp(d->fields[i].name, name))
        i++;
    return i;
}

/* One field of the stream into obj; seen[i] says which the table has had. */
static int load_field(struct state_reader *r, const struct state_desc *d, struct section *s,
                      void *obj, bool *seen)
{
    char name[NAME_MAX_LEN + 1];
    uint8_t type;
    uint32_t count;
    const struct state_field *f;
    const uint8_t *p;
    size_t i;

    take_name(&s->body, name);
    type = (uint8_t)take_int(&s->body, 1);
    count = (uint32_t)take_int(&s->body, 4);
    if (s->body.bad)
        return fail(r, -EINVAL, "state: %s %u: cut short", s->name, s->instance);
    i = field_index(d, name);
    f = &d->fields[i];
    if (!f->name)
        return fail(r, -EINVAL, "state: %s %u: unknown field '%.80s'", d->name, s->instance, name);
    if (seen[i])
        return fail(r, -EINVAL, "state: %s %u: field '%s' twice", d->name, s->instance, f->name);
    if (type != f->type || count != f->count)
        return fail(r, -EINVAL, "state: %s %u: field '%s' has type %u and count %u, want %u and %u",
                    d->name, s->instance, f->name, type, count, (unsigned)f->type, f->count);
    p = take(&s->body, (size_t)count * type_size(f->type));
    if (!p)
        return fail(r, -EINVAL, "state: %s %u: field '%s' is cut short", d->name, s->instance,
                    f->name);
    for (uint32_t n = 0; f->type == STATE_BOOL && n < count; n++)
        if (p[n] > 1)
            return fail(r, -EINVAL, "state: %s %u: field '%s' is not a bool", d->name, s->instance,
                        f->name);
    memcpy((char *)obj + f->offset, p, (size_t)count * type_size(f->type));
    seen[i] = true;
    return 0;
}

static int load_missing(struct state_reader *r, const struct state_desc *d, const struct section *s,
                        void *obj, const bool *seen)
{
    for (size_t i = 0; d->fields[i].name; i++) {
        if (seen[i])
            continue;
        if (d->fields[i].since <= s->version)
            return fail(r, -EINVAL, "state: %s %u: field '%s' is missing", d->name, s->instance,
                        d->fields[i].name);
        reset_field(&d->fields[i], obj);
    }
    return 0;
}

static int load_fields(struct state_reader *r, const struct state_desc *d, struct section *s,
                       void *obj)
{
    size_t n = 0;
    bool *seen;
    int ret = 0;

    while (d->fields[n].name)
        n++;
    seen = calloc(n + 1, sizeof(*seen));
    if (!seen)
        return fail(r, -ENOMEM, "state: out of memory");
    /* A duplicate is an error, so a hostile nfields ends the loop early. */
    for (uint32_t i = 0; i < s->nfields && !ret; i++)
        ret = load_field(r, d, s, obj, seen);
    if (!ret && s->body.p != s->body.end)
        ret = fail(r, -EINVAL, "state: %s %u: bytes left over", d->name, s->instance);
    if (!ret)
        ret = load_missing(r, d, s, obj, seen);
    free(seen);
    return ret;
}

static void copy_fields(const struct state_desc *d, void *to, const void *from)
{
    for (const struct state_field *f = d->fields; f->name; f++)
        memcpy((char *)to + f->offset, (const char *)from + f->offset,
               (size_t)f->count * type_size(f->type));
}

/* Bytes of the object up to the end of its last field. */
static size_t fields_extent(const struct state_desc *d)
{
    size_t extent = 0;

    for (const struct state_field *f = d->fields; f->name; f++)
        extent = MAX(extent, f->offset + (size_t)f->count * type_size(f->type));
    return extent;
}

/* Put the good copy into obj; take it back if post_load does not like it. */
static int commit(struct state_reader *r, const struct state_desc *d, uint32_t instance, void *obj,
                  const void *copy, void *old)
{
    char err[160] = "bad values";
    int ret;

    copy_fields(d, old, obj);
    copy_fields(d, obj, copy);
    ret = d->post_load ? d->post_load(obj, err, sizeof(err)) : 0;
    if (ret) {
        copy_fields(d, obj, old);
        return fail(r, ret, "state: %s %u: %s", d->name, instance, err);
    }
    return 0;
}

int state_load(struct state_reader *r, const struct state_desc *d, uint32_t instance, void *obj)
{
    size_t extent = fields_extent(d);
    struct section s;
    char *copy;
    int ret;

    ret = find_section(r, d->name, instance, &s);
    if (ret)
        return ret;
    if (s.version == 0 || s.version > d->version)
        return fail(r, -EINVAL, "state: %s %u has version %u, this program knows 1 to %u", d->name,
                    instance, s.version, d->version);
    copy = calloc(2, extent + 1);
    if (!copy)
        return fail(r, -ENOMEM, "state: out of memory");
    ret = load_fields(r, d, &s, copy);
    if (!ret)
        ret = commit(r, d, instance, obj, copy, copy + extent + 1);
    free(copy);
    return ret;
}
