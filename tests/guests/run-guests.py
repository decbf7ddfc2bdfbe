#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the tiny guests and judge them.

Each guest prints `ok NAME`, `FAIL NAME: ...` or `skip NAME: why` for each
check and ends through isa-debug-exit.  Under QEMU, and only there, checks
listed in qemu-exceptions.txt may fail (the check END: no proper verdict).
"""
import argparse
import fnmatch
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
STATUS_PASS = 0x10 * 2 + 1
STATUS_CRASH = 3  # of the VMM, after a triple fault


def fields(path, separator=None):
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith('#'):
            yield [word.strip() for word in line.split(separator)]


def command(args, image, cpus, serial):
    if args.vmm == 'qemu':
        return [args.binary or 'qemu-system-x86_64', '-accel', 'tcg',
                '-cpu', 'max', '-smp', cpus, '-m', '64', '-kernel', image,
                '-device', 'isa-debug-exit,iobase=0xf4,iosize=4',
                '-serial', f'file:{serial}', '-display', 'none',
                '-no-reboot', '-net', 'none']
    return [args.binary or 'bulkhead', 'run', '--kernel', image, '-m', '64M',
            '--cpus', cpus, '--device', 'isa-debug-exit,iobase=0xf4',
            '--serial', f'file:{serial}', '--timeout', str(args.timeout),
            '--no-reboot', *args.option]


class Result:
    """What one guest printed and how it ended."""

    def __init__(self, name, output, status, end, known):
        self.ok, self.skipped, self.failed, self.excused = [], [], [], []
        self.problems = []
        for line in output.splitlines():
            word, _, rest = line.partition(' ')
            if word == 'ok':
                self.ok.append(rest)
            elif word == 'skip':
                self.skipped.append(rest)
            elif word == 'FAIL':
                check = rest.partition(':')[0]
                excused = any(fnmatch.fnmatchcase(name, g) and
                              fnmatch.fnmatchcase(check, c)
                              for g, c, *_ in known)
                (self.excused if excused else self.failed).append(rest)
        ended = 'end ' in output
        if end == 'crash':
            if status not in (0, STATUS_CRASH) or ended:
                self.problems.append(f'no triple fault, status {status}')
        elif not ended or status is None:
            self.problems.append(
                f'no verdict, status {"timeout" if status is None else status}')
        elif status != STATUS_PASS and not (self.excused or self.failed):
            self.problems.append(f'status {status}')
        if self.problems and any(fnmatch.fnmatchcase(name, g) and c == 'END'
                                 for g, c, *_ in known):
            self.excused += self.problems
            self.problems = []

    @property
    def good(self):
        return not self.failed and not self.problems

    def __str__(self):
        text = f'{len(self.ok)} ok'
        for what in ('failed', 'excused', 'skipped'):
            if getattr(self, what):
                text += f', {len(getattr(self, what))} {what}'
        return ', '.join([text, *self.problems])


def run_guest(args, name, cpus, end, known):
    image = str(args.guests / f'{name}.elf')
    with tempfile.TemporaryDirectory() as tmp:
        serial = os.path.join(tmp, 'serial')
        try:
            done = subprocess.run(command(args, image, cpus, serial),
                                  stdin=subprocess.DEVNULL,
                                  capture_output=True, check=False,
                                  timeout=args.timeout + 5)
            status, noise = done.returncode, done.stderr
        except subprocess.TimeoutExpired as late:
            status, noise = None, late.stderr or b''
        output = ''
        if os.path.exists(serial):
            output = pathlib.Path(serial).read_text(errors='replace')
    result = Result(name, output, status, end, known)
    if args.verbose or not result.good:
        sys.stdout.write(output + noise.decode(errors='replace'))
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('name', nargs='*', help='guests; default: all')
    parser.add_argument('--vmm', choices=['bulkhead', 'qemu'],
                        default='bulkhead')
    parser.add_argument('--binary', help='the VMM to run')
    parser.add_argument('--guests', type=pathlib.Path,
                        default=HERE.parents[1] / 'build/tests/guests',
                        help='folder with the images')
    parser.add_argument('--timeout', type=int, default=300,
                        help='seconds for each guest')
    parser.add_argument('--option', action='append', default=[],
                        help='one more argument for bulkhead run')
    parser.add_argument('--exceptions', type=pathlib.Path, action='append',
                        default=[], help='file of checks that may fail')
    parser.add_argument('-v', '--verbose', action='store_true',
                        help='show all that the guests print')
    args = parser.parse_args()

    if args.vmm == 'qemu' and not args.exceptions:
        args.exceptions = [HERE / 'qemu-exceptions.txt']
    known = [row for path in args.exceptions for row in fields(path, '|')]
    table = list(fields(HERE / 'guests.txt'))
    unknown = [p for p in args.name
               if not fnmatch.filter([t[0] for t in table], p)]
    if unknown:
        parser.error(f'no such guest: {" ".join(unknown)}')

    bad = checks = 0
    stale = [k for k in known if not args.name]
    for name, _, _, cpus, end in table:
        if args.name and not any(fnmatch.fnmatchcase(name, p)
                                 for p in args.name):
            continue
        result = run_guest(args, name, cpus, end, known)
        checks += len(result.ok)
        bad += not result.good
        print(f'{"pass" if result.good else "FAIL"} {name}: {result}')
        for line in result.failed:
            print(f'    {line}')
        stale = [k for k in stale
                 if not (fnmatch.fnmatchcase(name, k[0]) and
                         any(fnmatch.fnmatchcase(e.partition(':')[0], k[1])
                             for e in [*result.excused, 'END']))]
        sys.stdout.flush()
    for guest, check, *_ in stale:
        print(f'note: {guest} | {check}: listed as an exception but passes')
    print(f'{checks} checks passed; '
          f'{f"{bad} guests failed" if bad else "all guests pass"}')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
