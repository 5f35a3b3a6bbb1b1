#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a boot costs: executed instructions, VM entries and exits to user space, counted exactly.

From right before execve() of the monitor until the guest's /init has written its first line, Debian
cloud kernel, one vCPU, in the lab's exact mode.  The same programs give the same numbers each time.
Also: the monitor's own instructions until the first guest instruction, and the size of its program.
"""

import argparse
import json

from monitors import boot_initrd, chosen, failure, kernel
from lab import exact

COLUMNS = ["total", "kernel", "user", "guest", "entries", "user_exits", "syscalls",
           "user_to_first_entry", "kernel_to_first_entry"]


def measure(monitor, flavour, timeout):
    """The figures of one monitor, by column."""
    done = exact.run(monitor.command(kernel(monitor.kernel, flavour), boot_initrd()),
                     programs=monitor.programs(), files=monitor.files(), timeout=timeout)
    try:
        boot = done.events.between(exact.START, exact.LINE)
    except KeyError as missing:
        failure(monitor, done, missing)
    start = done.events.between(exact.START, "first-entry")
    return {"monitor": monitor.name, "total": boot.total, "kernel": boot.kernel,
            "user": boot.user, "guest": boot.guest, "entries": boot.entries,
            "user_exits": boot.user_exits, "syscalls": boot.syscalls,
            "user_to_first_entry": start.user, "kernel_to_first_entry": start.kernel}


def table(rows):
    """The figures as a table for documents."""
    lines = ["| monitor | " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |",
             "|---|" + "---|" * len(COLUMNS)]
    for row in rows:
        lines.append(f"| {row['monitor']} | " + " | ".join(f"{row[c]:,}" for c in COLUMNS) + " |")
    return "\n".join(lines)


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--monitor", action="append", default=[], metavar="NAME",
                        help="only monitors whose name contains NAME")
    parser.add_argument("--kernel", default="cloud", metavar="FLAVOUR")
    parser.add_argument("--timeout", type=float, default=900, metavar="SECONDS")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(monitor, options.kernel, options.timeout)
            for monitor in chosen(options.monitor)]
    print(json.dumps(rows, indent=1) if options.json else table(rows))


if __name__ == "__main__":
    main()
