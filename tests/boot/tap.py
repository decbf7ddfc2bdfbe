# SPDX-License-Identifier: GPL-2.0-or-later
"""The Test Anything Protocol, as tests/run counts it: a line for each check, and the plan at the end."""
import sys
import traceback


class Tally:
    count = 0
    failed = 0


def check(what, good, detail=""):
    """Write one TAP line; returns whether it is good."""
    Tally.count += 1
    if not good:
        Tally.failed += 1
    print(f"{'ok' if good else 'not ok'} {Tally.count} - {what.replace('#', 'no.')}", flush=True)
    if not good and str(detail):
        print("\n".join("# " + line for line in str(detail).splitlines()), flush=True)
    return bool(good)


def skip(what, why):
    Tally.count += 1
    print(f"ok {Tally.count} - {what} # SKIP {why}", flush=True)


def finish(test, *args, failure=()):
    """Run a test function to the end of the program. An exception of the class failure is a failed
    check, any other one is a bug in the test, and a failed check too."""
    try:
        test(*args)
    except failure as error:
        check(str(error), False)
    except Exception:  # pylint: disable=broad-except
        check("the test itself", False, traceback.format_exc())
    print(f"1..{Tally.count}")
    sys.exit(1 if Tally.failed or not Tally.count else 0)
