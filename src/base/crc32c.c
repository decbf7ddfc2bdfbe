/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/crc32c.h"

#include <string.h>

/* Remainders of the 16 nibbles, polynomial 0x1edc6f41 reflected: where the host
 * has no instruction for it, a small table has to do. */
static const uint32_t nibble_table[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ nibble_table[crc & 15];
        crc = crc >> 4 ^ nibble_table[crc & 15];
    }
    return crc;
}

/* SSE4.2's CRC32 has this polynomial: recordings and memory are gigabytes. */
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *p,
                                                                 size_t len)
{
    uint64_t wide = crc;

    for (; len >= 8; p += 8, len -= 8) {
        uint64_t v;

        memcpy(&v, p, 8);
        wide = __builtin_ia32_crc32di(wide, v);
    }
    crc = (uint32_t)wide;
    for (; len; len--)
        crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    return ~(__builtin_cpu_supports("sse4.2") ? by_instruction(~crc, data, len) :
                                                by_table(~crc, data, len));
}
