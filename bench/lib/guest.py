# SPDX-License-Identifier: GPL-2.0-or-later
"""The disk of programs that bench/compare measures with, and the machines that run them."""
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

BENCH = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(BENCH.parent / "tests" / "boot"))
import rows  # noqa: E402
import vm  # noqa: E402

MEMORY = "768M"
# In seconds, against hanging: of one row with its warm-up, and of a boot.
ROW_LIMIT = 300
BOOT_LIMIT = 300
TEXT_SIZE = 16 << 20
TREE_FILES = 2000
PROGRAM_FLAGS = ["-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread"]
PROMPT = r"root@[^ ]*:/# "
CLOCK_TICK = os.sysconf("SC_CLK_TCK")
VMMS = ["native", "uml", "tcg", "bulkhead"]


def cpu_seconds(session):
    """What the processes of a session, and those they waited for, have used so far."""
    total = 0
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            total += sum(map(int, fields[11:15]))
    return total / CLOCK_TICK


def build_files(folder):
    """Programs, their sources (which the guest compiles), inputs and the script."""
    folder.mkdir(parents=True)
    sources = sorted((BENCH / "programs").glob("*.[ch]"))
    for source in sources:
        shutil.copy(source, folder)
        if source.suffix == ".c":
            subprocess.run(["gcc", *PROGRAM_FLAGS, "-o", folder / source.stem, source, "-lm"],
                           check=True)
    with open(folder / "text", "wb") as text:
        subprocess.run([folder / "generate", str(TEXT_SIZE)], stdout=text, check=True)
    lines = (folder / "text").read_text()[:1 << 21].splitlines()
    for number in range(TREE_FILES):
        path = folder / "tree" / f"{number % 37}" / f"file{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines[number:number + number % 120]))
    for name, text in rows.FILES.items():
        (folder / name).write_text(text)
    script = folder / "guest"
    script.write_text(rows.guest_script())
    script.chmod(0o755)


def program_disk():
    """The folder of what the guest runs, and an image of it; made again when its sources change."""
    digest = hashlib.sha256(repr([rows.guest_script(), rows.FILES, PROGRAM_FLAGS, TEXT_SIZE,
                                  TREE_FILES]).encode())
    for path in sorted(BENCH.glob("programs/*")):
        digest.update(path.read_bytes())
    target = BENCH.parent / "build" / "bench"
    stamp = target / "stamp"
    if not stamp.exists() or stamp.read_text() != digest.hexdigest():
        new = target.with_name(f"bench.{os.getpid()}")
        try:
            build_files(new / "files")
            path = os.environ["PATH"] + ":/usr/sbin:/sbin"
            subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", new / "files",
                            new / "programs.img", "96M"], env=dict(os.environ, PATH=path),
                           stdout=subprocess.DEVNULL, check=True)
            (new / "stamp").write_text(digest.hexdigest())
            # A run that uses the old one keeps what it has open.
            shutil.rmtree(target, ignore_errors=True)
            new.rename(target)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return target / "files", target / "programs.img"


class Bench:
    """What all machines of a run share."""

    def __init__(self, engine="bt", kernel="cloud", options=()):
        os.environ["ENGINE"] = engine
        self.kernel = kernel
        self.options = list(options)
        self.image = pathlib.Path(vm.script_output("make-disk", "--bench"))
        self.folder, self.programs = program_disk()

    def native_command(self, cpus, names):
        """The guest's script in a chroot of the disk's files."""
        tree = self.image.parent / "root"
        script = (f"for d in dev proc; do mount --rbind /$d {tree}/$d || exit; done;"
                  f" mount -t tmpfs tmp {tree}/tmp && mount --bind {self.folder} {tree}/mnt &&"
                  f" exec chroot {tree} /bin/sh /mnt/guest --native {' '.join(names)}")
        allowed = sorted(os.sched_getaffinity(0))[:cpus]
        return ["taskset", "-c", ",".join(map(str, allowed)), "unshare", "-r", "-m", "sh", "-c", script]

    def uml_command(self, *words):
        return [vm.script_output("fetch-kernel", "uml"), f"mem={MEMORY}", "con=null",
                f"uml_dir={self.programs.parent}/", "ssl0=fd:0,fd:1", "console=ttyS0", "quiet", *words]

    def shell_command(self, vmm, cpus):
        """A shell instead of systemd, on disks that stay as they are: nothing else runs."""
        if vmm == "uml":
            return self.uml_command(f"ubd0r={self.image}", f"ubd1r={self.programs}", "root=/dev/ubda",
                                    "ro", "init=/bin/bash")
        extra = ["-drive", f"file={self.programs},if=none,id=programs,format=raw,readonly=on",
                 # Behind the root disk, which has no address here and takes one of the first.
                 "-device", "virtio-blk-pci,drive=programs,addr=0x10"]
        if vmm == "bulkhead":
            extra = ["--disk", f"{self.programs},readonly=on", *self.options]
        return vm.command_line("bulkhead" if vmm == "bulkhead" else "qemu", self.kernel, cpus, MEMORY,
                               "quiet init=/bin/bash", False, extra, f"{self.image},readonly=on")

    def machine(self, vmm, words, name):
        return Machine(vmm=vmm, words=words, name=f"bench-{name}-{vmm}")


class Machine(vm.Machine):
    """A VM, or a native run: all of its processes end with it."""

    def close(self):
        # User-mode Linux has a process of the host for each address space.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        super().close()



class Results:
    """What was measured: of each VMM, number of CPUs and row the values of all rounds. `cpu` has the
    CPU seconds that the host spent on the row."""

    def __init__(self):
        self.values = {}
        self.cpu = {}
        self.checks = {}
        self.failures = []

    def add(self, vmm, cpus, name, value, check="-", cpu=None):
        for table, number in [(self.values, value), (self.cpu, cpu)]:
            if number is not None:
                table.setdefault(f"{vmm} {cpus}", {}).setdefault(name, []).append(number)
        # The same work gives the same result everywhere.
        if check != "-":
            first, other = self.checks.setdefault(name, (check, vmm))
            if check != first:
                self.fail(vmm, cpus, name, f"its result is {check}, that of {other} was {first}")

    def fail(self, vmm, cpus, name, why):
        text = f"{vmm}, {cpus} CPU(s), {name}: {why}"
        print(f"bench: {text}", file=sys.stderr)
        self.failures.append(text)


LINE = re.compile(r"@(begin|start|row|fail|clock|end)\b *([^\r\n]*)\r?\n")


class Session:
    """One run of the guest's script."""

    def __init__(self, bench, vmm, cpus, names, results):
        self.bench, self.vmm, self.cpus, self.results = bench, vmm, cpus, results
        self.left = list(names)
        self.current = self.machine = self.cpu = None
        self.clocks = []

    def start(self):
        bench = self.bench
        if self.vmm == "native":
            return bench.machine(self.vmm, bench.native_command(self.cpus, self.left), "rows")
        machine = bench.machine(self.vmm, bench.shell_command(self.vmm, self.cpus), "rows")
        try:
            machine.expect(PROMPT, BOOT_LIMIT)
        except vm.Failure:
            machine.close()
            raise
        disk = "ubdb" if self.vmm == "uml" else "vdb"
        machine.send(f"mount -o ro /dev/{disk} /mnt && exec sh /mnt/guest {' '.join(self.left)}\r")
        return machine

    def run(self):
        """All rows; after one that hangs or takes the VM along, the others in a new VM."""
        while self.left:
            self.current = None
            try:
                with self.start() as self.machine:
                    while self.take(self.machine.expect(LINE, ROW_LIMIT)):
                        pass
                    # All is measured; what comes is the end of the VM, which may fail, too.
                    self.current = "the end"
                    check_end(self.machine)
            except vm.Failure as failure:
                self.results.fail(self.vmm, self.cpus, self.current or "boot", str(failure))
                if not self.current:
                    return
                self.left = self.left[1:]

    def take(self, match):
        """One line of the script; false after the last."""
        kind, words = match[1], match[2].split()
        if kind == "begin":
            self.current = words[0]
        elif kind == "start":
            self.cpu = self.cpu_now()
            self.answer()
        elif kind == "row" and words[0] in self.left:
            seconds = float(words[2])
            self.results.add(self.vmm, self.cpus, words[0], seconds, words[3],
                             self.cpu_used(words[0], seconds))
            self.left.remove(words[0])
            self.answer()
        elif kind == "fail":
            self.results.fail(self.vmm, self.cpus, words[0], f"ended with status {words[1]}")
            self.left.remove(words[0])
        elif kind == "clock":
            self.clocks.append((float(words[0]), time.monotonic()))
        else:
            self.check_clock()
            for name in self.left:
                self.results.fail(self.vmm, self.cpus, name, "it printed no result")
            self.left = []
        return kind != "end"

    def cpu_now(self):
        """(CPU seconds, seconds) of the host."""
        return cpu_seconds(self.machine.process.pid), time.monotonic()

    def answer(self):
        """The guest waits for that, so that what is measured here belongs to the row alone."""
        self.machine.send("\r")

    def cpu_used(self, name, seconds):
        """The CPU seconds that belong to the seconds which a row printed."""
        used, elapsed = [end - begin for begin, end in zip(self.cpu, self.cpu_now())]
        # No clock of the host is fine enough for less.
        used = max(used, 1 / CLOCK_TICK)
        return used * seconds / elapsed if rows.BY_NAME[name].fixed_time else used

    def check_clock(self):
        """The guest's clock is what the rows are measured by."""
        guest, host = (end - begin for begin, end in zip(*self.clocks[-2:]))
        # Half a second may pass until a busy host reads a line.
        if abs(guest - host) > max(0.05 * host, 0.5):
            self.results.fail(self.vmm, self.cpus, "clock",
                              f"{host:.1f} s on the host were {guest:.1f} s in the guest")


def check_end(machine):
    status = machine.status()
    if status != 0:
        raise vm.Failure(f"it ended with status {status}; {machine.tail()}")


def kernel_boot(bench, vmm, results):
    """From the start of the VMM to the shell of our initramfs."""
    if vmm == "uml":
        words = bench.uml_command(f"initrd={vm.script_output('make-initramfs')}")
    else:
        extra = bench.options if vmm == "bulkhead" else []
        words = vm.command_line("bulkhead" if vmm == "bulkhead" else "qemu", bench.kernel, 1, MEMORY,
                                "quiet", False, extra)
    with bench.machine(vmm, words, "kernel") as machine:
        results.add(vmm, 1, "kernel-boot", machine.boot())
        machine.send("poweroff -f\r")
        check_end(machine)


def systemd_boot(bench, vmm, results):
    """From the start of the VMM to the login prompt; each time of a fresh disk."""
    disk = bench.programs.parent / f"root-{vmm}.img"
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", "--no-preserve=mode", bench.image,
                    disk], check=True)
    try:
        if vmm == "uml":
            words = bench.uml_command(f"ubd0={disk}", "root=/dev/ubda", "ro")
        else:
            extra = bench.options if vmm == "bulkhead" else []
            words = vm.command_line("bulkhead" if vmm == "bulkhead" else "qemu", bench.kernel, 1,
                                    MEMORY, "quiet", False, extra, disk)
        with bench.machine(vmm, words, "systemd") as machine:
            machine.prompt = vm.DISK_PROMPT
            results.add(vmm, 1, "systemd-boot", machine.login())
            if vmm != "uml":
                results.add(vmm, 1, "memory", machine.overhead())
            machine.send("poweroff -ff\r")
            check_end(machine)
    finally:
        disk.unlink()
