# SPDX-License-Identifier: GPL-2.0-or-later
"""From the values of bench/compare to a table in Markdown and a chart in SVG."""
import math
import re
import statistics

import rows

CPUS = (1, 2, 4)
# Groups that have a geometric mean.
MEANS = ("compute", "kernel", "second")
TITLES = {"native": "native", "tcg": "QEMU TCG", "uml": "UML", "bulkhead": "Bulkhead"}
# In the chart, from top to bottom of each row; the colours differ in brightness, too.
BARS = {"native": "#9aa0a6", "uml": "#e8a33d", "bulkhead": "#1f5fa8"}


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(value) for value in values))


def seconds(value):
    """A time with three digits and a fitting unit."""
    for unit, size in [("s", 1), ("ms", 1e-3), ("µs", 1e-6)]:
        if value >= size:
            return f"{digits(value / size)} {unit}"
    return f"{digits(value * 1e9)} ns"


def digits(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.{1 if value >= 10 else 2}f}"


class Line:
    """One line of the table: a row at one number of CPUs."""

    def __init__(self, name, title, group, cpus, values):
        self.name, self.title, self.group, self.cpus = name, title, group, cpus
        # By VMM the values of all rounds; times, or where more is better rates.
        self.values = values

    def label(self):
        return self.title + (f" ({self.cpus} CPUs)" if self.cpus > 1 else "")

    def form(self, value):
        if self.group == "io":
            return f"{digits(value)}{'/s' if self.counts() else ' MB/s'}"
        if self.group == "memory":
            return f"{value / 2**20:.1f} MiB"
        return seconds(value)

    def counts(self):
        return re.search("4 KiB|request", self.title) is not None

    def best(self, vmm):
        return (max if self.group == "io" else min)(self.values[vmm])

    def cell(self, vmm):
        if vmm not in self.values:
            return "-"
        return f"{self.form(self.best(vmm))} / {self.form(statistics.median(self.values[vmm]))}"

    def speed(self, vmm, of=None, base="tcg"):
        """How many times as fast as TCG a VMM is, by the best of each, or by what else `of` takes."""
        if vmm not in self.values or base not in self.values:
            return None
        of = of or (max if self.group == "io" else min)
        ratio = of(self.values[base]) / of(self.values[vmm])
        return 1 / ratio if self.group == "io" else ratio


def lines(data):
    """The lines of the table, in the order of the tables in rows.py."""
    found = {}
    for machine, values in data["values"].items():
        vmm, cpus = machine.split()
        for name, numbers in values.items():
            found.setdefault((name, int(cpus)), {})[vmm] = numbers
    result = []
    for row in rows.ROWS:
        for cpus in CPUS:
            if (row.name, cpus) in found:
                values = found.pop((row.name, cpus))
                # What enters the kernel is told for one time of it.
                per = row.work if row.group == "kernel" else 1
                values = {vmm: [number / per for number in numbers]
                          for vmm, numbers in values.items()}
                group = row.group if cpus == 1 else "smp"
                result.append(Line(row.name, row.title, group, cpus, values))
    for (name, cpus), values in found.items():
        group = "boot" if name in rows.BOOTS else "memory" if name == "memory" else "io"
        title = rows.BOOTS.get(name, "memory of the VMM" if name == "memory" else name)
        result.append(Line(name, title, group, cpus, values))
    order = [*rows.GROUPS, "memory"]
    return sorted(result, key=lambda line: order.index(line.group))


def ratio_cell(line, vmm):
    if line.group == "memory" or line.speed(vmm) is None:
        return "-"
    return f"{digits(line.speed(vmm))} / {digits(line.speed(vmm, statistics.median))}"


def group_mean(members, vmm, of=None):
    """The geometric mean of a group's ratios; None unless the VMM has every row that TCG has."""
    ratios = [line.speed(vmm, of) for line in members if "tcg" in line.values]
    return geometric_mean(ratios) if ratios and None not in ratios else None


def mean_row(title, members, vmms, shown):
    """The line of the table with the geometric means of a group."""
    cells = []
    for vmm in shown:
        means = [group_mean(members, vmm, of) for of in (None, statistics.median)]
        cells.append("-" if None in means else " / ".join(f"**{digits(mean)}**" for mean in means))
    return "| ".join([f"| *geometric mean: {title}* ", *[" " for _ in vmms],
                      *[f"{cell} " for cell in cells]]) + "|"


def table(data):
    every = lines(data)
    vmms = [vmm for vmm in TITLES if any(vmm in line.values for line in every)]
    shown = [vmm for vmm in ("bulkhead", "uml", "native") if vmm in vmms] if "tcg" in vmms else []
    head = ["least / median", *(TITLES[vmm] for vmm in vmms),
            *(f"TCG / {TITLES[vmm]}" for vmm in shown)]
    out = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for group in [*rows.GROUPS, "memory"]:
        members = [line for line in every if line.group == group]
        for line in members:
            cells = [line.label(), *(line.cell(vmm) for vmm in vmms),
                     *(ratio_cell(line, vmm) for vmm in shown)]
            out.append(f"| {' | '.join(cells)} |")
        if group in MEANS and len(members) > 1 and shown:
            out.append(mean_row(rows.GROUPS[group].lower(), members, vmms, shown))
    return "\n".join(out + scaling(every))


def scaling(every):
    """How much faster several threads are than one, each on a CPU of its own."""
    out = []
    by_key = {(line.name, line.cpus): line for line in every if line.group == "smp"}
    for cpus in CPUS:
        one, all_of_them = by_key.get(("thread1", cpus)), by_key.get(("threads", cpus))
        if one and all_of_them:
            text = [f"{TITLES[vmm]} {one.best(vmm) / all_of_them.best(vmm):.2f}" for vmm in TITLES
                    if vmm in one.values and vmm in all_of_them.values]
            out += ["", f"{cpus} threads on {cpus} CPUs, times as fast as one: {', '.join(text)}."]
    return out


def conditions(data):
    about = data["about"]
    engine = " ".join([about["engine"], *about["options"]])
    peers = [f"Bulkhead {about['bulkhead']} (`--engine {engine}`)", about["qemu"],
             f"user-mode Linux {about['uml']}" if about["uml"] else ""]
    load = about["load"]
    return (f"{about['date']}; {about['host']}; {', '.join(peer for peer in peers if peer)}; guest "
            f"kernel {about['kernel']}, {about['memory']}. {about['rounds']} round(s) in turns; load "
            f"{load[0]} before, {', '.join(map(str, load[1:]))} after each.")


def markdown(data, cpu_time=False):
    parts = [conditions(data), table(data)]
    if cpu_time:
        parts += ["By the CPU seconds that the host spent, instead of the guest's clock:",
                  table(dict(data, values=data["cpu"]))]
    if data["failures"]:
        parts.append("Failed:\n\n" + "\n".join(f"- {first_words(why)}" for why in data["failures"]))
    return "\n\n".join(parts) + "\n"


def first_words(text):
    text = text.split("; last output")[0].replace("|", "/")
    return text if len(text) < 200 else text[:200] + "..."


LEFT, RIGHT, WIDTH, BAR, GAP, TOP = 225, 50, 890, 9, 9, 66


class Chart:
    """Bars that begin at TCG's speed, on a scale of powers of two."""

    def __init__(self, every, vmms, title):
        self.lines, self.vmms, self.title = every, vmms, title
        ratios = [line.speed(vmm) for line in every for vmm in vmms if line.speed(vmm)]
        self.low = min(math.floor(math.log2(min(ratios))), -1)
        self.high = max(math.ceil(math.log2(max(ratios))), 1)
        self.out = []
        self.y = TOP

    def x(self, ratio):
        return LEFT + (math.log2(ratio) - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)

    def text(self, x, y, text, more=""):
        text = text.replace("&", "&amp;").replace("<", "&lt;")
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" {more}>{text}</text>')

    def rect(self, x, y, width, height, colour):
        self.out.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
                        f'fill="{colour}"/>')

    def bar(self, ratio, vmm):
        one, end = self.x(1), self.x(ratio)
        self.rect(min(one, end), self.y, max(abs(end - one), 0.5), BAR, BARS[vmm])
        if ratio >= 1:
            self.text(end + 4, self.y + BAR - 1, digits(ratio), 'class="value"')
        else:
            self.text(end - 4, self.y + BAR - 1, digits(ratio), 'class="value" text-anchor="end"')
        self.y += BAR + 1

    def row(self, label, ratios, more=""):
        """The bars of one row; ratios by VMM."""
        begin = self.y
        for vmm, ratio in ratios.items():
            if ratio:
                self.bar(ratio, vmm)
        self.text(LEFT - 7, (begin + self.y) / 2 + 4, label, f'text-anchor="end"{more}')
        self.y += GAP

    def group(self, group, members):
        self.text(10, self.y + 12, rows.GROUPS[group], 'class="group"')
        self.y += 20
        for line in members:
            self.row(line.label(), {vmm: line.speed(vmm) for vmm in self.vmms})
        means = {vmm: group_mean(members, vmm) for vmm in self.vmms}
        if group in MEANS and len(members) > 1 and any(means.values()):
            self.row("geometric mean", means, ' font-weight="bold"')
        self.y += 8

    def grid(self):
        for power in range(self.low, self.high + 1):
            x, ratio = self.x(2.0 ** power), 2 ** power if power >= 0 else f"1/{2 ** -power}"
            stroke = '#444" stroke-width="1.5' if power == 0 else "#ddd"
            yield (f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{self.y}" '
                   f'stroke="{stroke}"/>')
            yield f'<text x="{x:.1f}" y="{TOP - 12}" text-anchor="middle">{ratio}</text>'

    def legend(self):
        x = LEFT
        for vmm in self.vmms:
            self.rect(x, 29, 10, 10, BARS[vmm])
            self.text(x + 15, 38, TITLES[vmm])
            x += 100

    def svg(self):
        for group in rows.GROUPS:
            members = [line for line in self.lines if line.group == group]
            if members:
                self.group(group, members)
        bars, self.out = self.out, []
        self.text(10, 18, self.title, 'class="group"')
        self.legend()
        body = "\n".join([*self.grid(), *self.out, *bars])
        height = self.y + 6
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
                f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">\n'
                "<!-- SPDX-License-Identifier: GPL-2.0-or-later; written by bench/compare -->\n"
                "<style>.group { font-weight: bold; font-size: 13px } .value { font-size: 9.5px; "
                "fill: #333 }</style>\n"
                f'<rect x="0" y="0" width="{WIDTH}" height="{height}" fill="#fff"/>\n{body}\n</svg>\n')


def chart(data, cpu_time=False):
    """The chart, or None if there is nothing to compare."""
    title = "Times as fast as QEMU TCG (longer to the right is faster; each step doubles)"
    if cpu_time:
        data = dict(data, values=data["cpu"])
        title = "Times as fast as QEMU TCG by the host's CPU seconds (each step doubles)"
    every = [line for line in lines(data) if line.group != "memory"]
    vmms = [vmm for vmm in BARS if any(line.speed(vmm) for line in every)]
    every = [line for line in every if any(line.speed(vmm) for vmm in vmms)]
    return Chart(every, vmms, title).svg() if every else None


def replace_between(text, name, new):
    """The text between the comments that begin and end the part of this name is what is new."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, rest = text.split(begin)
    return f"{before}{begin}{new}{end}{rest.split(end)[1]}"


def write_docs(data, docs, name, cpu_time=False):
    picture = "benchmarks.svg" if name == "first" else f"benchmarks-{name}.svg"
    page = docs / "benchmarks.md"
    text = f"![Speed beside QEMU TCG]({picture})\n\n{markdown(data, cpu_time)}"
    page.write_text(replace_between(page.read_text(), f"compare {name}", text))
    svg = chart(data, cpu_time)
    if svg:
        (docs / picture).write_text(svg)
