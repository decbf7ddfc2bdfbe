# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a guest in pieces: stopped at an instruction count, saved, loaded into a new process."""
import os
import pathlib
import re
import subprocess
import tempfile

# Against hanging; a piece takes milliseconds.
LIMIT = 120
DEBUG_EXIT = ["--device", "isa-debug-exit,iobase=0xf4"]


def binary():
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    return os.environ.get("BULKHEAD", str(root / "build" / "bulkhead"))


class Piece:
    """One process: what it printed on the serial port, its status, its last words."""

    def __init__(self, process, output):
        self.status = process.returncode
        self.stderr = process.stderr.decode(errors="replace")
        self.output = output
        self.stopped = "bulkhead: stopped after" in self.stderr
        count = re.search(r"^instructions: (\d+)", self.stderr, re.MULTILINE)
        self.instructions = int(count[1]) if count else None

    def __str__(self):
        return f"status {self.status}, {self.stderr.strip()}"


class Guest:
    """A Multiboot image and the machine that it wants.  Use as a context manager: its files lie
    in a folder of their own."""

    def __init__(self, image, cpus=1, memory="8M", options=()):
        self.image = str(image)
        self.machine = ["--kernel", self.image, "-m", memory, "--cpus", str(cpus), *DEBUG_EXIT,
                        "--stats", "--no-reboot", *options]
        self.folder = None
        self.files = 0

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        return self

    def __exit__(self, *exc):
        self.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def new_file(self):
        self.files += 1
        return self.path(f"state{self.files}")

    def run(self, load=None, stop=None, save=None):
        serial = self.path("serial")
        words = [binary(), "run", *self.machine, "--serial", f"file:{serial}"]
        for option, value in ("--load-state", load), ("--stop-at", stop), ("--save-state", save):
            if value is not None:
                words += [option, str(value)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, timeout=LIMIT, check=False)
        output = b""
        if os.path.exists(serial):
            output = pathlib.Path(serial).read_bytes()
            os.unlink(serial)
        return Piece(done, output)

    def run_cut(self, stops, each=None, last_stop=None, last_save=None):
        """Run with a save and a load at each of these counts, as far as the guest comes.
        each(file, count) sees each state.  Returns the last piece, with the output and
        the instructions of all."""
        output, load, instructions = b"", None, 0
        for stop in stops:
            save = self.new_file()
            piece = self.run(load, stop, save)
            output += piece.output
            instructions += piece.instructions or 0
            if load:
                os.unlink(load)
            if not piece.stopped:
                piece.output, piece.instructions = output, instructions
                return piece
            load = save
            if each:
                each(load, stop)
        piece = self.run(load, last_stop, last_save)
        if load:
            os.unlink(load)
        piece.output = output + piece.output
        piece.instructions = instructions + (piece.instructions or 0)
        return piece
