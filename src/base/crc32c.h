/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CRC-32C (Castagnoli), the checksum of state streams. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of len bytes; start with crc 0, go on with the last result. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
