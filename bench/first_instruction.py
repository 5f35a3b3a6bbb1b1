#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""CPU time of a monitor from execve() to its first KVM_RUN: natively, not in the lab.

Median and least of some runs, user and system time of all its threads.  It needs a /dev/kvm that
this user may open, but not one that executes guests well: nothing of the guest runs.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from monitors import boot_initrd, chosen, kernel
from lab import cache


def watcher():
    """Path of the built first_run.c."""
    source = Path(__file__).parent / "first_run.c"
    return cache.built("first_run", source, ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o",
                                             "{out}", "{in}"])


def measure(monitor, runs):
    """The figures of one monitor, in milliseconds."""
    words = [str(word) for word in monitor.command(kernel(monitor.kernel), boot_initrd())]
    words[0] = str(monitor.program)
    times = []
    for _ in range(runs):
        done = subprocess.run([watcher(), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=120)
        if done.returncode:
            print(f"{monitor.name} does not run here: {done.stderr.decode()}", file=sys.stderr)
            return None
        times.append(int(done.stdout) / 1e6)
    return {"monitor": monitor.name, "median_ms": statistics.median(times), "least_ms": min(times)}


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--monitor", action="append", default=[], metavar="NAME",
                        help="only monitors whose name contains NAME")
    parser.add_argument("--runs", type=int, default=20, metavar="N")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [row for monitor in chosen(options.monitor) if (row := measure(monitor, options.runs))]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| monitor | median, ms | least, ms |")
    print("|---|---|---|")
    for row in rows:
        print(f"| {row['monitor']} | {row['median_ms']:.2f} | {row['least_ms']:.2f} |")


if __name__ == "__main__":
    main()
