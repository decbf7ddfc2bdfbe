/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "board/ram_map.h"

#include "base/util.h"

static void add(struct ram_map *map, uint64_t addr, uint64_t end, uint32_t type)
{
    if (end > addr)
        map->entries[map->n++] = (struct e820_entry){ addr, end - addr, type };
}

void ram_map_init(struct ram_map *map, uint64_t size)
{
    *map = (struct ram_map){ .below_4g = MIN(size, RAM_BELOW_4G_MAX) };
    map->above_4g = size - map->below_4g;
    add(map, 0, RAM_EBDA, E820_RAM);
    add(map, RAM_EBDA, RAM_LOW_END, E820_RESERVED);
    add(map, RAM_ACPI, MiB, E820_RESERVED);
    add(map, MiB, map->below_4g, E820_RAM);
    add(map, 4 * GiB, 4 * GiB + map->above_4g, E820_RAM);
}

int ram_map_add_slots(const struct ram_map *map, struct mem *mem)
{
    int rc = mem_add_slot(mem, 0, RAM_LOW_END, 0, false);

    if (rc == 0)
        rc = mem_add_slot(mem, RAM_BIOS_START, map->below_4g - RAM_BIOS_START, RAM_BIOS_START,
                          false);
    if (rc == 0 && map->above_4g)
        rc = mem_add_slot(mem, 4 * GiB, map->above_4g, map->below_4g, false);
    return rc;
}

bool ram_map_usable(const struct ram_map *map, uint64_t gpa, uint64_t len)
{
    for (unsigned i = 0; i < map->n; i++) {
        const struct e820_entry *e = &map->entries[i];

        if (e->type == E820_RAM && gpa >= e->addr && gpa - e->addr <= e->size &&
            len <= e->size - (gpa - e->addr))
            return true;
    }
    return false;
}
