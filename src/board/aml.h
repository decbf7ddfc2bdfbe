/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing ACPI machine language (ACPI 6.4 20) and resource descriptors (6.4)
 * into a fixed buffer.  What does not fit is dropped and sets overflow.
 */
#ifndef BOARD_AML_H
#define BOARD_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
    uint8_t *data;
    size_t size, n;
    bool overflow;
};

void aml_bytes(struct aml *a, const void *p, size_t n);
void aml_byte(struct aml *a, unsigned v);
/* size little-endian bytes. */
void aml_raw(struct aml *a, uint64_t v, unsigned size);
/* An integer in its shortest encoding. */
void aml_int(struct aml *a, uint64_t v);
/* A name of up to four characters, padded, with a leading '\' if given. */
void aml_name(struct aml *a, const char *name);
/* Name (name, ...): what is named follows. */
void aml_named(struct aml *a, const char *name);
/* Name (name, integer), Name (name, EisaId (id)) such as "PNP0A03". */
void aml_name_int(struct aml *a, const char *name, uint64_t v);
void aml_name_eisa(struct aml *a, const char *name, const char *id);
void aml_name_string(struct aml *a, const char *name, const char *s);

/* Constructs with a package length.  Each begin gives a mark for aml_end. */
size_t aml_scope(struct aml *a, const char *name);
size_t aml_device(struct aml *a, const char *name);
size_t aml_package(struct aml *a, unsigned elements);
/* Method (name, args), serialized if so; its body follows. */
size_t aml_method(struct aml *a, const char *name, unsigned args, bool serialized);
void aml_end(struct aml *a, size_t mark);

/* Notify (object, value) */
void aml_notify(struct aml *a, const char *object, unsigned value);

/* Name (_CRS, ResourceTemplate () { ... }). */
struct aml_crs {
    size_t buffer, length;
};
struct aml_crs aml_crs_begin(struct aml *a);
void aml_crs_end(struct aml *a, struct aml_crs crs);
void aml_io(struct aml *a, uint16_t port, uint8_t len);
void aml_irq(struct aml *a, unsigned irq);
/* A global system interrupt, active high: edge and exclusive, or level and
 * shared. */
void aml_gsi(struct aml *a, uint32_t gsi, bool level);
void aml_bus_range(struct aml *a, uint16_t first, uint16_t last);
void aml_io_range(struct aml *a, uint16_t first, uint16_t last);
void aml_mem_range(struct aml *a, uint32_t first, uint32_t last, bool cacheable);
void aml_mem_fixed(struct aml *a, uint32_t base, uint32_t len);

#endif
