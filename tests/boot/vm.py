# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual machine on a pseudo-terminal, for tests that type at its console.

The same test drives Bulkhead or QEMU (TCG): `--vmm qemu` on a test's command line. That shows
whether a failure is the test's, and gives the comparisons of `make test-os`.

A test is a function given to main(); it calls check() for each thing it finds out, which is written
as TAP. Everything the console said goes into a transcript beside the logs.
"""
import argparse
import os
import pathlib
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time

import tap
from tap import check

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# Limits are against hanging, not a measure: machines under test may be slow and busy. PATIENCE is for
# those that are slower than that.
PATIENCE = float(os.environ.get("PATIENCE", "1"))
BOOT_LIMIT = 300 * PATIENCE
LIMIT = 120 * PATIENCE

BANNER = r"CPU\(s\), busybox\."
PROMPT = "bulkhead# "
DISK_PROMPT = "root@debian:~# "
CTRL_C = "\x03"
GUEST_RAM = ("/memfd:guest-ram", "/memfd:memory-backend-memfd")
VMMS = ["bulkhead", "qemu"]

# What a line editor and a BIOS write: control sequences, and lone carriage returns.
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[@-Z\\^_c])|\r(?!\n)")


class Failure(Exception):
    """The guest did not do what the test waits for."""


def script_output(name, *args):
    """The path that one of scripts/ prints."""
    result = subprocess.run([ROOT / "scripts" / name, *args], check=True, stdout=subprocess.PIPE)
    return result.stdout.decode().strip()


def kernel_path(kernel):
    """The image of a flavour (cloud, amd64, rt, 686), or of a path."""
    return kernel if "/" in kernel else script_output("fetch-kernel", kernel)


def kernel_release(kernel):
    return kernel_path(kernel).rsplit("/vmlinuz-", 1)[1]


def bulkhead_command():
    return [os.environ.get("BULKHEAD", str(ROOT / "build" / "bulkhead"))]


def disk_options(vmm, disk, forwards):
    """A root disk and a card on the user network, with these ports of the host."""
    network = ",".join(["user", *(["id=net"] if vmm == "qemu" else []),
                        *(f"hostfwd={forward}" for forward in forwards)])
    if vmm == "bulkhead":
        return ["--disk", str(disk), "--net", network]
    return ["-drive", f"file={disk},if=virtio,format=raw", "-netdev", network,
            "-device", "virtio-net-pci,netdev=net"]


def initramfs_options(kernel, disk, i386):
    if i386 or kernel.startswith("686"):
        return ["--i386"]
    return [kernel] if disk else []


def command_line(vmm, kernel, cpus, memory, append, reboot, extra, disk=None, forwards=(), i386=False):
    """The command that boots a kernel on a VMM with its first serial port on the terminal."""
    append = f"console=ttyS0 {'root=/dev/vda ' if disk else ''}{append}"
    direct = [
        "--kernel", kernel_path(kernel),
        "--initrd", script_output("make-initramfs", *initramfs_options(kernel, disk, i386)),
        "--append", append.strip(),
    ]
    if disk:
        extra = [*disk_options(vmm, disk, forwards), *extra]
    if vmm == "bulkhead":
        stay = [] if reboot else ["--no-reboot"]
        engine = ["--engine", os.environ.get("ENGINE", "auto")]
        return [*bulkhead_command(), "run", *engine, "-m", memory, "--cpus", str(cpus), *direct, *stay,
                *extra]
    # A memfd for the RAM, as Bulkhead has it, makes the two comparable in /proc/PID/smaps.
    return [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(cpus),
        "-m", memory,
        "-object", f"memory-backend-memfd,id=ram,size={memory},share=on",
        "-machine", "pc,memory-backend=ram", "-nodefaults", "-display", "none",
        "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
        *(arg.replace("--", "-", 1) for arg in direct), *([] if reboot else ["-no-reboot"]), *extra,
    ]


class Machine:
    """A running VM. Use as a context manager: it never outlives its block."""

    def __init__(self, kernel="cloud", cpus=1, memory="256M", append="", reboot=False, extra=(),
                 vmm=None, name=None, stderr=None, disk=None, forwards=(), words=None, i386=False):
        self.vmm = vmm or options.vmm
        self.command_words = words or command_line(self.vmm, kernel, cpus, memory, append, reboot,
                                                   extra, disk, forwards, i386)
        self.prompt = DISK_PROMPT if disk else PROMPT
        name = name or f"{pathlib.Path(sys.argv[0]).stem}-{kernel}-{self.vmm}"
        logs = pathlib.Path(os.environ.get("TEST_LOG_DIR", ROOT / "build" / "test-logs"))
        logs.mkdir(parents=True, exist_ok=True)
        self.transcript_path = logs / (name.replace("/", "_") + ".transcript")
        self.transcript = open(self.transcript_path, "wb")
        self.unread = ""
        self.partial = b""
        self.serial = 0
        self.ended = False
        self.begin = time.monotonic()
        master, slave = pty.openpty()
        self.terminal = master
        # A session of its own with the terminal as the controlling one, as at a real prompt.
        self.process = subprocess.Popen(
            self.command_words, stdin=slave, stdout=slave, stderr=stderr or slave,
            preexec_fn=lambda: take_terminal(slave))
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.terminal)
        self.transcript.close()

    def read(self, limit):
        """Take in what the console says within limit seconds. False at its end."""
        ready, _, _ = select.select([self.terminal], [], [], limit)
        if not ready:
            return True
        try:
            data = os.read(self.terminal, 65536)
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return False
        self.transcript.write(data)
        self.transcript.flush()
        # Half a control sequence at the end waits for its other half.
        data = self.partial + data
        cut = data.rfind(b"\x1b", -16)
        cut = cut if cut >= 0 and not ESCAPES.search(data[cut:].decode("latin-1")) else len(data)
        if data[cut - 1:cut] == b"\r":
            cut -= 1
        data, self.partial = data[:cut], data[cut:]
        self.unread += ESCAPES.sub("", data.decode("latin-1"))
        return True

    def expect(self, pattern, limit=LIMIT):
        """Wait for a regular expression in the console's output; returns the match. What comes
        after it stays for the next call."""
        deadline = time.monotonic() + limit
        while True:
            match = re.search(pattern, self.unread)
            if match:
                self.unread = self.unread[match.end():]
                return match
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure(f"no {pattern!r} within {limit} s; {self.tail()}")
            if self.ended or not self.read(min(left, 1.0)):
                raise Failure(f"the VMM ended (status {self.status(10)}) before {pattern!r}; "
                              f"{self.tail()}")

    def tail(self):
        return f"last output: {self.unread[-300:]!r}; transcript: {self.transcript_path}"

    def send(self, text):
        os.write(self.terminal, text.encode())

    def boot(self):
        """Wait for init's banner and the shell's prompt; returns the seconds since the start of the VMM."""
        self.expect(BANNER, BOOT_LIMIT)
        self.expect(re.escape(PROMPT))
        seconds = time.monotonic() - self.begin
        # From here on the kernel's messages would fall into what commands print.
        self.send("dmesg -n 1\r")
        self.expect(re.escape(PROMPT))
        return seconds

    def login(self):
        """Wait for systemd's login prompt and log in as root; returns the seconds since the start."""
        self.expect(r"debian login: ", 2 * BOOT_LIMIT)
        seconds = time.monotonic() - self.begin
        self.send("root\r")
        self.expect(re.escape(self.prompt))
        self.send("dmesg -n 1\r")
        self.expect(re.escape(self.prompt))
        return seconds

    def run(self, command, limit=LIMIT):
        """Type a command; returns (its output, its exit status)."""
        self.serial += 1
        # The quotes keep the echo of what is typed from looking like the result.
        mark = f"@{self.serial}"
        self.send(f"echo '@''{self.serial}<'; {command}; echo '@''{self.serial}>'$?\r")
        self.expect(re.escape(mark) + r"<\r?\n", limit)
        match = self.expect(r"(?s)^(.*?)" + re.escape(mark) + r">(\d+)", limit)
        self.expect(re.escape(self.prompt), limit)
        return match[1].replace("\r", ""), int(match[2])

    def overhead(self):
        """Resident bytes of the VMM without the guest's RAM."""
        total, counted = 0, True
        with open(f"/proc/{self.process.pid}/smaps") as smaps:
            for line in smaps:
                if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                    counted = not any(name in line for name in GUEST_RAM)
                elif counted and line.startswith("Rss:"):
                    total += int(line.split()[1]) << 10
        return total

    def status(self, limit=LIMIT):
        """Wait for the end of the VMM; returns its exit status (negative: a signal)."""
        deadline = time.monotonic() + limit
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise Failure(f"the VMM has not ended within {limit} s; {self.tail()}")
            # Its last words must not fill the terminal's buffer.
            if self.ended or not self.read(0.1):
                time.sleep(0.05)
        while not self.ended and self.read(0.5):
            if not select.select([self.terminal], [], [], 0)[0]:
                break
        return self.process.returncode


def take_terminal(slave):
    os.setsid()
    import fcntl
    import termios
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


options = argparse.Namespace(vmm=os.environ.get("VMM", "bulkhead"))


def arguments(*names):
    """Parse the command line: --vmm, and positional arguments with their defaults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--vmm", choices=VMMS, default=options.vmm)
    for name, default in names:
        parser.add_argument(name, nargs="?", default=default, type=type(default))
    parser.parse_args(namespace=options)
    return options


def main(test):
    """Run a test function; a failed wait or a bug in the test is a failed check."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by the test runner"))
    tap.finish(test, failure=Failure)


def quoted(words):
    return " ".join(shlex.quote(word) for word in words)
