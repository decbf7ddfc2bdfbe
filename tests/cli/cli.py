# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the command line share: running it, TAP, and kernels made by hand."""
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "boot"))
import tap  # noqa: E402
from tap import check, skip  # noqa: E402, F401

BULKHEAD = os.environ.get("BULKHEAD", str(ROOT / "build" / "bulkhead"))
# Against hanging; sanitizer builds on a busy machine are slow. PATIENCE is for machines that are
# slower than that.
LIMIT = 60
PATIENCE = float(os.environ.get("PATIENCE", "1"))
NOBODY = 65534


def kernel(code=b"\xf4\xeb\xfd", setup_sectors=2):
    """A bzImage of boot protocol 2.15 that runs this code at its 64-bit entry. By default it halts
    for ever."""
    setup = bytearray((setup_sectors + 1) * 512)
    payload = bytearray(4096)
    payload[0x200:0x200 + len(code)] = code
    for at, form, value in [
            (0x1f1, "B", setup_sectors), (0x1f4, "<I", len(payload) // 16), (0x1fe, "<H", 0xaa55),
            (0x200, "<H", 0x66eb), (0x202, "4s", b"HdrS"), (0x206, "<H", 0x020f), (0x211, "B", 1),
            (0x22c, "<I", 0x7fffffff), (0x230, "<I", 0x200000), (0x234, "B", 1), (0x236, "<H", 1),
            (0x238, "<I", 2047), (0x258, "<Q", 0x1000000), (0x260, "<I", 0x800000)]:
        struct.pack_into(form, setup, at, value)
    return bytes(setup + payload)


class Result:
    """How a command ended."""

    def __init__(self, status, out, err):
        self.status = status
        self.out = out
        self.err = err

    def __str__(self):
        return f"status {self.status}\nstdout: {self.out!r}\nstderr: {self.err!r}"


def run(args, stdin="", user=None, cwd=None):
    """Run bulkhead with these arguments (str or bytes) to its end."""
    try:
        process = subprocess.run(
            [BULKHEAD, *args], input=stdin if isinstance(stdin, bytes) else stdin.encode(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT, check=False, user=user,
            cwd=cwd)
    except subprocess.TimeoutExpired as late:
        return Result(None, (late.stdout or b"").decode(), (late.stderr or b"").decode())
    return Result(process.returncode, process.stdout.decode(errors="replace"),
                  process.stderr.decode(errors="replace"))


def main(test):
    """Run a test function with a folder of its own; a bug in the test is a failed check."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-cli.") as folder:
        os.chmod(folder, 0o755)
        tap.finish(test, pathlib.Path(folder))
