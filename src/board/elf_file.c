/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "board/elf_file.h"

#include <elf.h>
#include <string.h>

#include "base/util.h"

/* From Xen's public/elfnote.h: the note that PVH (x86/HVM direct boot) uses. */
#define XEN_ELFNOTE_PHYS32_ENTRY 18

static bool in_file(size_t size, uint64_t offset, uint64_t len)
{
    return offset <= size && len <= size - offset;
}

static bool ident_is(const uint8_t *data, size_t size, unsigned class)
{
    return size >= EI_NIDENT && memcmp(data, ELFMAG, SELFMAG) == 0 && data[EI_CLASS] == class &&
           data[EI_DATA] == ELFDATA2LSB;
}

bool elf64_is(const uint8_t *data, size_t size)
{
    Elf64_Ehdr h;

    if (!ident_is(data, size, ELFCLASS64) || size < sizeof(h))
        return false;
    memcpy(&h, data, sizeof(h));
    return h.e_machine == EM_X86_64 && h.e_phentsize == sizeof(Elf64_Phdr) && h.e_phnum &&
           in_file(size, h.e_phoff, (uint64_t)h.e_phnum * sizeof(Elf64_Phdr));
}

bool elf32_is(const uint8_t *data, size_t size)
{
    Elf32_Ehdr h;

    if (!ident_is(data, size, ELFCLASS32) || size < sizeof(h))
        return false;
    memcpy(&h, data, sizeof(h));
    return h.e_machine == EM_386 && h.e_phentsize == sizeof(Elf32_Phdr) && h.e_phnum &&
           in_file(size, h.e_phoff, (uint64_t)h.e_phnum * sizeof(Elf32_Phdr));
}

uint64_t elf_entry(const uint8_t *data, size_t size)
{
    Elf64_Ehdr h64;
    Elf32_Ehdr h32;

    if (elf64_is(data, size)) {
        memcpy(&h64, data, sizeof(h64));
        return h64.e_entry;
    }
    memcpy(&h32, data, sizeof(h32));
    return h32.e_entry;
}

/* Program header i in 64-bit form, whatever the class; false: no such. */
static bool program_header(const uint8_t *data, size_t size, unsigned i, Elf64_Phdr *out)
{
    Elf64_Ehdr h64;
    Elf32_Ehdr h32;
    Elf32_Phdr p;

    if (elf64_is(data, size)) {
        memcpy(&h64, data, sizeof(h64));
        if (i >= h64.e_phnum)
            return false;
        memcpy(out, data + h64.e_phoff + i * sizeof(*out), sizeof(*out));
        return true;
    }
    if (!elf32_is(data, size))
        return false;
    memcpy(&h32, data, sizeof(h32));
    if (i >= h32.e_phnum)
        return false;
    memcpy(&p, data + h32.e_phoff + i * sizeof(p), sizeof(p));
    *out = (Elf64_Phdr){ .p_type = p.p_type, .p_offset = p.p_offset, .p_vaddr = p.p_vaddr,
                         .p_paddr = p.p_paddr, .p_filesz = p.p_filesz, .p_memsz = p.p_memsz,
                         .p_align = p.p_align };
    return true;
}

bool elf_segment(const uint8_t *data, size_t size, unsigned n, struct elf_segment *seg, bool *bad)
{
    Elf64_Phdr p;

    *bad = false;
    for (unsigned i = 0; program_header(data, size, i, &p); i++) {
        if (p.p_type != PT_LOAD || !p.p_memsz || n-- > 0)
            continue;
        *bad = !in_file(size, p.p_offset, p.p_filesz) || p.p_filesz > p.p_memsz;
        *seg = (struct elf_segment){ p.p_offset, p.p_vaddr, p.p_paddr, p.p_filesz, p.p_memsz };
        return !*bad;
    }
    return false;
}

/* Look through one note segment of len bytes (padded to 4, as all that Linux
 * has for us are). */
static bool find_note(const uint8_t *p, uint64_t len, uint32_t *entry)
{
    Elf64_Nhdr n;
    uint64_t name, desc;

    while (len >= sizeof(n)) {
        memcpy(&n, p, sizeof(n));
        p += sizeof(n);
        len -= sizeof(n);
        name = align_up(n.n_namesz, 4);
        desc = align_up(n.n_descsz, 4);
        if (name > len || desc > len - name)
            return false;
        if (n.n_type == XEN_ELFNOTE_PHYS32_ENTRY && n.n_namesz == 4 && memcmp(p, "Xen", 4) == 0 &&
            (n.n_descsz == 4 || n.n_descsz == 8)) {
            if (entry)
                memcpy(entry, p + name, sizeof(*entry));
            return true;
        }
        p += name + desc;
        len -= name + desc;
    }
    return false;
}

bool elf64_pvh_entry(const uint8_t *data, size_t size, uint32_t *entry)
{
    Elf64_Phdr p;

    for (unsigned i = 0; program_header(data, size, i, &p); i++)
        if (p.p_type == PT_NOTE && in_file(size, p.p_offset, p.p_filesz) &&
            find_note(data + p.p_offset, p.p_filesz, entry))
            return true;
    return false;
}
