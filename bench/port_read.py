#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What one port read by the guest costs, counted exactly.

The guest of port_read.S reads the serial port's line status in two loops of different length; the
difference per read is what is printed, so start, end and timer ticks cancel out but for a rest
below one instruction in a hundred.
"""

import argparse
import json

from monitors import chosen, failure, port_read_kernel
from lab import exact

READS = 1000


def measure(monitor, timeout):
    """Instructions for one read: (the monitor's own, L1 kernel's)."""
    done = exact.run(monitor.command(port_read_kernel()), programs=monitor.programs(),
                     files=monitor.files(), timeout=timeout)
    try:
        one = (done.events.between(exact.LOOP_B, exact.LOOP_C)
               - done.events.between(exact.LOOP_A, exact.LOOP_B))
    except KeyError as missing:
        failure(monitor, done, missing)
    return {"monitor": monitor.name, "user": one.user / READS, "kernel": one.kernel / READS,
            "entries": one.entries / READS, "user_exits": one.user_exits / READS,
            "syscalls": one.syscalls / READS}


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--monitor", action="append", default=[], metavar="NAME",
                        help="only monitors whose name contains NAME")
    parser.add_argument("--timeout", type=float, default=900, metavar="SECONDS")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(monitor, options.timeout) for monitor in chosen(options.monitor)
            if monitor.kernel == "bzimage"]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| monitor | user | kernel | entries | user exits | syscalls |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['monitor']} | {row['user']:,.1f} | {row['kernel']:,.1f} | "
              f"{row['entries']:.3f} | {row['user_exits']:.3f} | {row['syscalls']:.3f} |")


if __name__ == "__main__":
    main()
