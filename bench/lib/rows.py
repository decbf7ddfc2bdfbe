# SPDX-License-Identifier: GPL-2.0-or-later
"""What bench/compare measures, and the script that the guest runs for it."""
import dataclasses

# The values on the groups are their titles.
GROUPS = {
    "compute": "Programs that compute",
    "kernel": "Programs that enter the kernel",
    "smp": "Several CPUs",
    "boot": "Boot",
    "io": "Disk and network",
    "second": "Second set, not used for tuning",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement. `command` is shell text that prints "@start" before and
    "@row NAME WORK SECONDS CHECK" after what is measured, and waits for a line after each;
    {row} stands for NAME and WORK. `warm` runs before it, untimed: it brings what the row's program is
    made of into the guest's page cache."""
    name: str
    title: str
    group: str
    work: int
    command: str
    warm: str = ""
    cpus: tuple = (1,)
    # Whether it runs for a fixed time, and the seconds it prints are worked out of its rate.
    fixed_time: bool = False

    def script(self):
        """The row's case of the guest's script."""
        row = f"{self.name} {self.work}"
        warm = f"    {{ {self.warm}; }} </dev/null >/tmp/warm\n" if self.warm else ""
        return f"{self.name})\n{warm}    {self.command.format(row=row, work=self.work)}\n    ;;\n"


def timed(command, output="-"):
    return f"./timer {{row}} {output} {command}"


PERL = ("my (%h, $s); for my $i (1..{work}) {{ $h{{$i % 5003}} += $i; }}"
        " $s += $h{{$_}} for keys %h; print qq($s\\n);")
SQL = ("create table t(a integer primary key, b integer, c text);"
       " begin; insert into t select value, value * 7919 % 10007, hex(value)"
       " from generate_series(1, {work}); commit; create index i on t(b);"
       " select count(*), sum(b), max(c) from t where b between 100 and 5000;"
       " select b, count(*) from t group by b order by 2 desc, 1 limit 5;")
JSON = """import json, re
text = open("text").read({work})
words = re.findall(r"[a-z]{{3,}}", text)
count = {{}}
for word in words:
    count[word] = count.get(word, 0) + 1
again = json.loads(json.dumps(count, sort_keys=True))
print(len(words), len(again), len(re.sub(r"([aeiou])([^aeiou ])", r"<\\2\\1>", text)))"""
LUA = """local t, s = {{}}, 0
for i = 1, {work} do t[i % 1009 + 1] = (t[i % 1009 + 1] or 0) + i % 7; end
for i, v in ipairs(t) do s = s + v; end
print(s, #string.rep("ab", 1000):gsub("a", "bc"))"""

ROWS = [
    Row("shell", "shell loop", "compute", 200000,
        timed("sh -c 'i=0; while [ $i -lt {work} ]; do i=$((i+1)); done; echo $i'"),
        "sh -c 'echo'"),
    Row("python", "python3 generator", "compute", 2000000,
        timed("python3 -c 'print(sum(i & 255 for i in range({work})))'"), "python3 -c 'print()'"),
    Row("perl", "perl hash", "compute", 1000000, timed(f"perl -e '{PERL}'"), "perl -e 'print 1'"),
    Row("sqlite", "sqlite", "compute", 50000, timed(f"sqlite3 :memory: '{SQL}'"),
        "sqlite3 :memory: 'select 1;'"),
    Row("gcc", "gcc -O2", "compute", 2,
        timed("sh -c 'for f in qsort storm; do gcc -O2 -c -o /tmp/$f.o $f.c || exit; done;"
              " cat /tmp/qsort.o /tmp/storm.o'"),
        "gcc -O2 -c -o /tmp/warm.o getppid.c"),
    Row("xz", "xz -1", "compute", 2 << 20,
        timed("sh -c 'head -c {work} text | xz -1 -T1 -c'"), "head -c 4096 text | xz -1 -c"),
    Row("sha256", "openssl sha256", "compute", 32 << 20, "speed {row} sha256", fixed_time=True),
    Row("aes-cbc", "openssl aes-128-cbc", "compute", 128 << 20,
        "speed {row} aes-128-cbc", fixed_time=True),
    Row("aes-ctr", "openssl aes-128-ctr", "compute", 128 << 20,
        "speed {row} aes-128-ctr", fixed_time=True),
    Row("qsort", "qsort", "compute", 2000000, "./qsort {row}", "./qsort warm 1000"),
    Row("fp", "floating point", "compute", 200000, "./nbody {row}", "./nbody warm 1000"),

    Row("getppid", "getppid", "kernel", 300000, "./getppid {row}", "./getppid warm 1000"),
    Row("fork", "fork", "kernel", 300, "./fork {row}"),
    Row("exec", "fork + exec", "kernel", 60, "./fork {row} /bin/true"),
    Row("pipe", "pipe round trip", "kernel", 10000, "./pipe {row}", cpus=(1, 2, 4)),
    Row("fault", "anonymous page fault", "kernel", 40000, "./fault {row}"),
    Row("pwrite", "pwrite of 4 KiB", "kernel", 60000, "./file {row} pwrite"),
    Row("pread", "pread of 4 KiB", "kernel", 60000, "./file {row} pread"),
    Row("storm", "50 processes switch", "kernel", 60, "./storm {row}", cpus=(1, 2, 4)),

    Row("thread1", "computing in one thread", "smp", 60000, "./threads {row} 1",
        "./threads warm 100 2", cpus=(2, 4)),
    Row("threads", "computing on all CPUs", "smp", 60000, "./threads {row} \"$(nproc)\"",
        "./threads warm 100 2", cpus=(2, 4)),

    Row("gzip", "gzip", "second", 2 << 20, timed("sh -c 'head -c {work} text | gzip -c'"),
        "head -c 4096 text | gzip -c"),
    Row("bzip2", "bzip2", "second", 1 << 20, timed("sh -c 'head -c {work} text | bzip2 -c'"),
        "head -c 4096 text | bzip2 -c"),
    Row("zstd", "zstd -3", "second", 4 << 20,
        timed("sh -c 'head -c {work} text | zstd -3 -T1 -c'"), "head -c 4096 text | zstd -c"),
    Row("awk", "awk", "second", 4 << 20,
        timed("sh -c 'head -c {work} text | awk \"{{ n[\\$1]++; s += \\$3 }}"
              " END {{ for (w in n) k += n[w] * n[w]; print s, k }}\"'"), "awk 'BEGIN {{ }}'"),
    Row("sort", "sort", "second", 2 << 20, timed("sh -c 'head -c {work} text | sort -k2,2 -k3n'"),
        "head -c 4096 text | sort"),
    Row("json", "python3 json and re", "second", 1 << 20, timed("python3 json-re.py"),
        "python3 -c 'import json, re'"),
    Row("lua", "lua", "second", 2000000, timed("lua5.4 loop.lua"), "lua5.4 -e 'print(1)'"),
    Row("sha512", "openssl sha512", "second", 32 << 20, "speed {row} sha512", fixed_time=True),
    Row("matrix", "matrix of floats", "second", 40, "./matrix {row}", "./matrix warm 1"),
    Row("tar", "tar of 2000 files", "second", 2000, timed("tar -C tree -c --sort=name --mtime=@0"
        " --owner=0 --group=0 --mode=0644 ."), "tar -C tree -c ."),
    Row("find", "find in 2000 files", "second", 20,
        timed("sh -c 'for n in $(seq {work}); do find tree -type f -name \"*7*\" -size -9;"
              " done | sort'"), "find tree"),
]
BY_NAME = {row.name: row for row in ROWS}

# Other rows: what they need is not a script in the guest. Their values are seconds, too, but for
# disk and network.
BOOTS = {
    "kernel-boot": "kernel boot to init",
    "systemd-boot": "systemd boot to login",
}

# Beside the programs on the disk.
FILES = {
    "json-re.py": JSON.format(work=BY_NAME["json"].work),
    "loop.lua": LUA.format(work=BY_NAME["lua"].work),
}

HEAD = r"""#!/bin/sh
# Made by bench/compare. Usage: guest [--native] ROW...
# Prints "@begin ROW", what the row prints, and "@fail ROW STATUS" where it fails.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/tmp PYTHONDONTWRITEBYTECODE=1
cd "${0%/*}" || exit
if [ "$1" = --native ]; then
    native=1
    shift
else
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t tmpfs -o size=75% tmp /tmp
    dmesg -n 1
fi

# speed NAME WORK ALGORITHM: openssl in blocks of 16 KiB for a second; the time that WORK bytes take.
# The check is what the algorithm makes of a file.
speed() {
    case $3 in
    aes*) check=$(openssl enc "-$3" -K 00112233445566778899aabbccddeeff \
        -iv 0123456789abcdef0123456789abcdef -in text | cksum) ;;
    *) check=$(openssl dgst "-$3" -r text) ;;
    esac || return
    echo @start
    read -r _
    openssl speed -elapsed -mr -seconds 1 -bytes 16384 -evp "$3" 2>/tmp/speed |
        awk -F: -v row="$1 $2" -v work="$2" -v check="${check%% *}" \
            '/^\+F/ { printf "@row %s %.6f %s\n", row, work / $NF, check; found = 1 }
             END { exit !found }' &&
        read -r _
}

row() {
    case $1 in
"""
TAIL = r"""    *) return 127 ;;
    esac
}

echo "@clock $(date +%s.%N)"
for name; do
    echo "@begin $name"
    row "$name" || echo "@fail $name $?"
done
echo "@clock $(date +%s.%N)"
echo "@end"
[ "$native" ] || poweroff -ff
"""


def guest_script():
    return HEAD + "".join("    " + row.script().replace("\n", "\n    ").rstrip(" ")
                          for row in ROWS) + TAIL


def select(words, second=False):
    """The names of rows that words mean (names, groups), in the order of the tables. No words: all of
    the first set, or of the second."""
    every = [*((row.name, row.group) for row in ROWS), *((name, "boot") for name in BOOTS),
             ("io", "io")]
    known = {word for pair in every for word in pair}
    for word in words:
        if word not in known:
            raise ValueError(f"there is no row or group '{word}'; the rows are: "
                             + " ".join(name for name, _ in every))
    if not words:
        return [name for name, group in every if (group == "second") == second]
    return [name for name, group in every if name in words or group in words]
