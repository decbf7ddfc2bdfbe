/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Field tables: one const table for each kind of object drives save, load,
 * reset and dump, so that they cannot drift apart.
 *
 * A stream is a sequence of sections.  Each has a name, an instance number, a
 * version and tagged fields (name, type, count, little-endian values), and
 * ends with a CRC-32C.  Reading is strict about bounds and lenient about
 * order; an unknown field or a missing one is an error that names it, unless
 * the table says since which version the field exists.
 */
#ifndef STATE_STATE_H
#define STATE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum state_type { STATE_U8 = 1, STATE_U16, STATE_U32, STATE_U64, STATE_BOOL };

struct state_field {
    const char *name;     /* NULL ends the table */
    enum state_type type;
    uint32_t count;       /* elements; 1 for a scalar */
    uint32_t offset;
    uint64_t reset;       /* value of each element after reset */
    uint32_t since;       /* first version that has it; 0: all */
};

#define STATE_TYPE_OF(x)                                                       \
    _Generic((x), uint8_t: STATE_U8, int8_t: STATE_U8, uint16_t: STATE_U16,    \
             int16_t: STATE_U16, uint32_t: STATE_U32, int32_t: STATE_U32,      \
             uint64_t: STATE_U64, int64_t: STATE_U64, bool: STATE_BOOL)
/* A scalar field; its value after reset follows. */
#define STATE_FIELD(s, f, reset_value)                                         \
    { .name = #f, .type = STATE_TYPE_OF(((s *)0)->f), .count = 1,              \
      .offset = offsetof(s, f), .reset = (reset_value) }
/* A one-dimensional array, each element reset to the same value. */
#define STATE_ARRAY(s, f, reset_value)                                         \
    { .name = #f, .type = STATE_TYPE_OF(((s *)0)->f[0]),                       \
      .count = sizeof(((s *)0)->f) / sizeof(((s *)0)->f[0]),                   \
      .offset = offsetof(s, f), .reset = (reset_value) }
#define STATE_END { .name = NULL }

struct state_desc {
    const char *name;
    uint32_t version;
    const struct state_field *fields;
    /* Check and derive after a load; NULL if there is nothing to do.
     * Values are hostile: returns 0, or -EINVAL with a message in err. */
    int (*post_load)(void *obj, char *err, size_t err_size);
};

/* Set each field to its reset value. */
void state_reset(const struct state_desc *d, void *obj);
/* Print "field: value" lines for people. */
void state_dump(const struct state_desc *d, const void *obj, FILE *f);

/* Growing output buffer; a failed allocation is kept in error (-ENOMEM). */
struct state_writer {
    uint8_t *data;
    size_t size, capacity;
    int error;
};

void state_writer_init(struct state_writer *w);
void state_writer_free(struct state_writer *w);
/* Append one section. */
void state_save(struct state_writer *w, const struct state_desc *d, uint32_t instance,
                const void *obj);

/* Input: borrowed bytes; the first error is kept, as one line. */
struct state_reader {
    const uint8_t *data;
    size_t size;
    char error[256];
};

/* data must stay valid while the reader is used. */
void state_reader_init(struct state_reader *r, const void *data, size_t size);
/* Find the section (name, instance) and load it into obj, which is changed
 * only if the whole section is good.  Returns 0 or a negative errno with
 * r->error set. */
int state_load(struct state_reader *r, const struct state_desc *d, uint32_t instance, void *obj);

#endif
