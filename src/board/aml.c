/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "board/aml.h"

#include <string.h>

/* ACPI 6.4 table 20.2 */
enum {
    OP_ZERO = 0x00, OP_ONE = 0x01, OP_NAME = 0x08, OP_BYTE = 0x0a, OP_WORD = 0x0b,
    OP_DWORD = 0x0c, OP_STRING = 0x0d, OP_QWORD = 0x0e, OP_SCOPE = 0x10, OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12, OP_METHOD = 0x14, OP_NOTIFY = 0x86, OP_EXT = 0x5b, OP_EXT_DEVICE = 0x82,
};
/* The package length takes three bytes here, whatever its value (20.2.4). */
#define PKG_LENGTH_SIZE 3

void aml_bytes(struct aml *a, const void *p, size_t n)
{
    if (n > a->size - a->n) {
        a->overflow = true;
        return;
    }
    memcpy(a->data + a->n, p, n);
    a->n += n;
}

void aml_byte(struct aml *a, unsigned v)
{
    uint8_t b = (uint8_t)v;

    aml_bytes(a, &b, 1);
}

void aml_raw(struct aml *a, uint64_t v, unsigned size)
{
    aml_bytes(a, &v, size);
}

void aml_int(struct aml *a, uint64_t v)
{
    if (v <= 1) {
        aml_byte(a, v ? OP_ONE : OP_ZERO);
    } else if (v <= 0xff) {
        aml_byte(a, OP_BYTE);
        aml_raw(a, v, 1);
    } else if (v <= 0xffff) {
        aml_byte(a, OP_WORD);
        aml_raw(a, v, 2);
    } else if (v <= 0xffffffff) {
        aml_byte(a, OP_DWORD);
        aml_raw(a, v, 4);
    } else {
        aml_byte(a, OP_QWORD);
        aml_raw(a, v, 8);
    }
}

void aml_name(struct aml *a, const char *name)
{
    char seg[4] = { '_', '_', '_', '_' };

    if (*name == '\\')
        aml_byte(a, (uint8_t)*name++);
    memcpy(seg, name, strnlen(name, sizeof(seg)));
    aml_bytes(a, seg, sizeof(seg));
}

void aml_named(struct aml *a, const char *name)
{
    aml_byte(a, OP_NAME);
    aml_name(a, name);
}

void aml_name_int(struct aml *a, const char *name, uint64_t v)
{
    aml_named(a, name);
    aml_int(a, v);
}

static unsigned hex(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of five bits and four hex digits, big-endian (ACPI 6.4 19.3.4). */
void aml_name_eisa(struct aml *a, const char *name, const char *id)
{
    unsigned letters = (unsigned)(id[0] - '@') << 10 | (unsigned)(id[1] - '@') << 5 |
                       (unsigned)(id[2] - '@');
    unsigned digits = hex(id[3]) << 12 | hex(id[4]) << 8 | hex(id[5]) << 4 | hex(id[6]);

    aml_named(a, name);
    aml_byte(a, OP_DWORD);
    aml_byte(a, letters >> 8);
    aml_byte(a, letters);
    aml_byte(a, digits >> 8);
    aml_byte(a, digits);
}

void aml_name_string(struct aml *a, const char *name, const char *s)
{
    aml_named(a, name);
    aml_byte(a, OP_STRING);
    aml_bytes(a, s, strlen(s) + 1);
}

/* Room for the package length; the mark is its place. */
static size_t begin(struct aml *a)
{
    size_t mark = a->n;

    aml_raw(a, 0, PKG_LENGTH_SIZE);
    return mark;
}

void aml_end(struct aml *a, size_t mark)
{
    size_t len = a->n - mark;

    if (a->overflow)
        return;
    a->data[mark] = (uint8_t)((PKG_LENGTH_SIZE - 1) << 6 | (len & 0xf));
    a->data[mark + 1] = (uint8_t)(len >> 4);
    a->data[mark + 2] = (uint8_t)(len >> 12);
}

size_t aml_scope(struct aml *a, const char *name)
{
    size_t mark;

    aml_byte(a, OP_SCOPE);
    mark = begin(a);
    aml_name(a, name);
    return mark;
}

size_t aml_device(struct aml *a, const char *name)
{
    size_t mark;

    aml_byte(a, OP_EXT);
    aml_byte(a, OP_EXT_DEVICE);
    mark = begin(a);
    aml_name(a, name);
    return mark;
}

size_t aml_package(struct aml *a, unsigned elements)
{
    size_t mark;

    aml_byte(a, OP_PACKAGE);
    mark = begin(a);
    aml_byte(a, elements);
    return mark;
}

size_t aml_method(struct aml *a, const char *name, unsigned args, bool serialized)
{
    size_t mark;

    aml_byte(a, OP_METHOD);
    mark = begin(a);
    aml_name(a, name);
    aml_byte(a, args | (serialized ? 8 : 0));
    return mark;
}

void aml_notify(struct aml *a, const char *object, unsigned value)
{
    aml_byte(a, OP_NOTIFY);
    aml_name(a, object);
    aml_int(a, value);
}

struct aml_crs aml_crs_begin(struct aml *a)
{
    struct aml_crs crs;

    aml_named(a, "_CRS");
    aml_byte(a, OP_BUFFER);
    crs.buffer = begin(a);
    aml_byte(a, OP_WORD);
    crs.length = a->n;
    aml_raw(a, 0, 2);
    return crs;
}

void aml_crs_end(struct aml *a, struct aml_crs crs)
{
    size_t len;

    aml_raw(a, 0x0079, 2); /* end tag, checksum 0: not computed (6.4.2.9) */
    len = a->n - crs.length - 2;
    if (!a->overflow) {
        a->data[crs.length] = (uint8_t)len;
        a->data[crs.length + 1] = (uint8_t)(len >> 8);
    }
    aml_end(a, crs.buffer);
}

/* 6.4.2.5, 16-bit decode */
void aml_io(struct aml *a, uint16_t port, uint8_t len)
{
    aml_raw(a, 0x0147, 2);
    aml_raw(a, port, 2);
    aml_raw(a, port, 2);
    aml_byte(a, 1);
    aml_byte(a, len);
}

/* 6.4.2.1: edge, active high, exclusive */
void aml_irq(struct aml *a, unsigned irq)
{
    aml_byte(a, 0x22);
    aml_raw(a, 1u << irq, 2);
}

/* 6.4.3.6: consumer; bit 1 edge, bit 2 active low, bit 3 shared */
void aml_gsi(struct aml *a, uint32_t gsi, bool level)
{
    aml_byte(a, 0x89);
    aml_raw(a, 6, 2);
    aml_byte(a, level ? 0x09 : 0x03);
    aml_byte(a, 1);
    aml_raw(a, gsi, 4);
}

/* 6.4.3.5: length, type, general flags (fixed minimum and maximum, producer),
 * type flags, then granularity, minimum, maximum, translation, length. */
static void address_space(struct aml *a, unsigned tag, unsigned type, unsigned flags,
                          uint64_t first, uint64_t last, unsigned size)
{
    aml_byte(a, tag);
    aml_raw(a, 3 + 5 * size, 2);
    aml_byte(a, type);
    aml_byte(a, 0x0c);
    aml_byte(a, flags);
    aml_raw(a, 0, size);
    aml_raw(a, first, size);
    aml_raw(a, last, size);
    aml_raw(a, 0, size);
    aml_raw(a, last - first + 1, size);
}

#define TAG_WORD 0x88
#define TAG_DWORD 0x87
enum { SPACE_MEMORY, SPACE_IO, SPACE_BUS };

void aml_bus_range(struct aml *a, uint16_t first, uint16_t last)
{
    address_space(a, TAG_WORD, SPACE_BUS, 0, first, last, 2);
}

void aml_io_range(struct aml *a, uint16_t first, uint16_t last)
{
    address_space(a, TAG_WORD, SPACE_IO, 3, first, last, 2); /* the whole range */
}

void aml_mem_range(struct aml *a, uint32_t first, uint32_t last, bool cacheable)
{
    /* read-write; bit 1: cacheable */
    address_space(a, TAG_DWORD, SPACE_MEMORY, cacheable ? 3 : 1, first, last, 4);
}

/* 6.4.3.4 */
void aml_mem_fixed(struct aml *a, uint32_t base, uint32_t len)
{
    aml_byte(a, 0x86);
    aml_raw(a, 9, 2);
    aml_byte(a, 1);
    aml_raw(a, base, 4);
    aml_raw(a, len, 4);
}
