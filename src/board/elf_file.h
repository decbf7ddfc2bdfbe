/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bounded reading of hostile ELF files (System V ABI 4, "ELF-64"). */
#ifndef BOARD_ELF_FILE_H
#define BOARD_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One loadable segment, of a 32-bit or 64-bit file. */
struct elf_segment {
    uint64_t offset, vaddr, paddr, filesz, memsz;
};

/* Is it an ELF file for x86-64, class 64, with a program header table that
 * lies within it? */
bool elf64_is(const uint8_t *data, size_t size);
/* Is it one for i386, class 32? */
bool elf32_is(const uint8_t *data, size_t size);
uint64_t elf_entry(const uint8_t *data, size_t size);
/* The loadable segment with index n among the loadable ones; false: no more.
 * Its file part lies within the file and filesz <= memsz, else *bad is set
 * and false returned.  Works for both classes. */
bool elf_segment(const uint8_t *data, size_t size, unsigned n, struct elf_segment *seg, bool *bad);
/* The 32-bit entry in the note XEN_ELFNOTE_PHYS32_ENTRY; entry may be NULL. */
bool elf64_pvh_entry(const uint8_t *data, size_t size, uint32_t *entry);

#endif
