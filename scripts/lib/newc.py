#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Usage: newc.py OUTPUT <LIST

Writes a cpio archive in the "newc" format (the kernel's buffer-format.rst) without being root. The
list has the lines of the kernel's gen_init_cpio, without owners, which are all root:

    dir NAME MODE
    nod NAME MODE MAJOR MINOR       (a character device)
    slink NAME TARGET
    file NAME MODE SOURCE
"""
import stat
import sys


def record(out, number, name, mode, data=b"", device=(0, 0)):
    name = name.lstrip("/").encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = [number, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(name), 0]
    out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
    out.write(b"\0" * (-(110 + len(name)) % 4) + data + b"\0" * (-len(data) % 4))


def entry(words):
    kind, name = words[:2]
    if kind == "slink":
        return name, stat.S_IFLNK | 0o777, words[2].encode(), (0, 0)
    mode = int(words[2], 8)
    if kind == "dir":
        return name, stat.S_IFDIR | mode, b"", (0, 0)
    if kind == "nod":
        return name, stat.S_IFCHR | mode, b"", (int(words[3]), int(words[4]))
    if kind == "file":
        with open(words[3], "rb") as source:
            return name, stat.S_IFREG | mode, source.read(), (0, 0)
    raise ValueError(f"unknown kind of entry: {kind}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], "wb") as out:
        for number, line in enumerate(sys.stdin, 1):
            # A source path, always the last word, may hold spaces.
            words = line.rstrip("\n").split(" ", 3 if line.startswith("file ") else -1)
            record(out, number, *entry(words))
        record(out, 0, "TRAILER!!!", 0)


main()
