# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the state files that --save-state writes, and compares two of them."""
import fnmatch
import os
import struct

HEADER = struct.Struct("<8sQQQQ")
SECTION_MAGIC = b"BSEC"
SIZES = {1: 1, 2: 2, 3: 4, 4: 8, 5: 1}
PAGE = 4096


class Stream:
    """The sections of a file: {(name, instance): {field: tuple of values}}."""

    def __init__(self, path):
        with open(path, "rb") as file:
            header = file.read(HEADER.size)
            magic, at, size, self.ram_offset, self.ram_size = HEADER.unpack(header)
            if magic != b"BLKHSTAT":
                raise ValueError(f"{path} is no state file")
            file.seek(at)
            self.data = file.read(size)
            self.state_offset = at
            self.ram = self.read_ram(file)
        self.sections = {}
        self.bounds = {}
        at = 0
        while at < len(self.data):
            at = self.read_section(at)

    def read_ram(self, file):
        """The pages that are not all zero."""
        pages, at, end = {}, self.ram_offset, self.ram_offset + self.ram_size
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:     # nothing but a hole
                break
            stop = min(os.lseek(file.fileno(), at, os.SEEK_HOLE), end)
            file.seek(at)
            data = file.read(max(stop - at, 0))
            for offset in range(0, len(data), PAGE):
                page = data[offset:offset + PAGE]
                if page.count(0) != len(page):
                    pages[at - self.ram_offset + offset] = page
            at = max(stop, at + 1)
        return pages

    def text(self, at):
        length = self.data[at]
        return self.data[at + 1:at + 1 + length].decode(), at + 1 + length

    def read_section(self, begin):
        if self.data[begin:begin + 4] != SECTION_MAGIC:
            raise ValueError(f"no section at {begin}")
        size, = struct.unpack_from("<I", self.data, begin + 4)
        name, at = self.text(begin + 8)
        instance, _version, fields = struct.unpack_from("<III", self.data, at)
        at += 12
        section = {}
        for _ in range(fields):
            field, at = self.text(at)
            kind, count = struct.unpack_from("<BI", self.data, at)
            at += 5
            width = SIZES[kind]
            section[field] = tuple(
                int.from_bytes(self.data[at + i * width:at + (i + 1) * width], "little")
                for i in range(count))
            at += count * width
        self.sections[name, instance] = section
        self.bounds[name, instance] = (begin, begin + size)
        return begin + size


def differences(first, second, ignored=()):
    """Lines that say how two states differ.  ignored: patterns of "section.field" that the clock
    moves."""
    lines = []
    if first.sections.keys() != second.sections.keys():
        lines.append(f"sections: {sorted(first.sections.keys() ^ second.sections.keys())}")
    for key in first.sections.keys() & second.sections.keys():
        a, b = first.sections[key], second.sections[key]
        for field in sorted(a.keys() | b.keys()):
            name = f"{key[0]}.{field}"
            if a.get(field) != b.get(field) and \
                    not any(fnmatch.fnmatchcase(name, pattern) for pattern in ignored):
                at = next((i for i, (x, y) in enumerate(zip(a.get(field, ()), b.get(field, ())))
                           if x != y), 0)
                lines.append(f"{name} {key[1]} [{at}]: {a[field][at]:#x} != {b[field][at]:#x}")
    if first.ram != second.ram:
        pages = sorted(page for page in first.ram.keys() | second.ram.keys()
                       if first.ram.get(page) != second.ram.get(page))
        lines.append("RAM differs in pages " + " ".join(f"{page:#x}" for page in pages[:8]))
    return lines
