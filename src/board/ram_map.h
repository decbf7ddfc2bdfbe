/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The map of guest RAM as firmware would report it: one list, from which the
 * zero page, PVH's memory map, Multiboot's and fw_cfg's "etc/e820" are made.
 */
#ifndef BOARD_RAM_MAP_H
#define BOARD_RAM_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/mem.h"

/* RAM below this line; the rest starts at 4 GiB. */
#define RAM_BELOW_4G_MAX 0xc0000000ULL
#define RAM_LOW_END      0xa0000ULL    /* then the VGA window */
#define RAM_BIOS_START   0xc0000ULL
#define RAM_EBDA         0x9fc00ULL    /* extended BIOS data area: reserved */
#define RAM_ACPI         0xe0000ULL    /* our tables, up to 1 MiB: reserved */
#define RAM_MPTABLE      0xf0000ULL    /* the last of them */

enum { E820_RAM = 1, E820_RESERVED = 2 };

/* ACPI 6.4 15.1, boot.rst "e820_table". */
struct e820_entry {
    uint64_t addr, size;
    uint32_t type;
} __attribute__((packed));

struct ram_map {
    uint64_t below_4g, above_4g;    /* bytes of RAM, the former with the VGA hole */
    struct e820_entry entries[8];   /* sorted */
    unsigned n;
};

/* size: bytes, a multiple of 4096, at least 1 MiB. */
void ram_map_init(struct ram_map *map, uint64_t size);
/* The slots of mem as the map says.  Returns 0 or a negative errno. */
int ram_map_add_slots(const struct ram_map *map, struct mem *mem);
/* Is all of [gpa, gpa+len) RAM that a loader may use? */
bool ram_map_usable(const struct ram_map *map, uint64_t gpa, uint64_t len);

#endif
