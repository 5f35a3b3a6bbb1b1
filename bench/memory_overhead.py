#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What memory a monitor takes beyond its guest's RAM while a Debian guest boots.

The monitor's /proc/PID/smaps is read many times from its start until the guest's /init waits; the
largest sum over all mappings but the guest's RAM (those of at least half its size) is printed: all
resident pages, and of these the anonymous ones (the rest is mapped from files: mostly the
program, its libraries and, with some monitors, the kernel); and the last sum, when /init waits.
"""

import argparse
import json
import re

from monitors import CMDLINE, GUEST_MEMORY_MIB, chosen, failure, kernel
from lab import guests, qemu
from lab.machine import Machine

_WATCH = """
"$@" >/tmp/out 2>&1 </dev/null &
pid=$!
while [ -e /proc/$pid ] && ! grep -q 'LODGE-GUEST: wait' /tmp/out; do
	cat /proc/$pid/smaps
	echo ====
	usleep 20000
done
cat /proc/$pid/smaps
kill -9 $pid
cat /tmp/out >&2
"""


def beyond_ram(smaps):
    """(resident, anonymous) KiB of all mappings in one smaps text but the guest's RAM."""
    resident = anonymous = 0
    for mapping in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", smaps):
        field = {name: int(value) for name, value in
                 re.findall(r"(?m)^(\w+): +(\d+) kB$", mapping)}
        if not field or field["Size"] >= GUEST_MEMORY_MIB * 512:
            continue
        resident += field["Rss"]
        anonymous += field["Anonymous"]
    return resident, anonymous


def measure(monitor, flavour):
    """The figures of one monitor, in KiB."""
    words = monitor.command(kernel(monitor.kernel, flavour), guests.initrd(),
                            CMDLINE + " quiet lodge.do=wait")
    with Machine(qemu.Options(memory=2048)) as machine:
        for source, there in monitor.programs():
            machine.put_program(source, there)
        for source, there in monitor.files():
            machine.put(source, there)
        done = machine.run(["sh", "-c", _WATCH, "sh", *words], timeout=300)
    samples = [beyond_ram(text) for text in done.out.split("====\n")]
    if "LODGE-GUEST: wait" not in done.err:
        done.stdout = b""
        failure(monitor, done, "the guest's /init")
    return {"monitor": monitor.name, "resident_kib": max(s[0] for s in samples),
            "anonymous_kib": max(s[1] for s in samples), "steady_kib": samples[-1][0],
            "samples": len(samples)}


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--monitor", action="append", default=[], metavar="NAME",
                        help="only monitors whose name contains NAME")
    parser.add_argument("--kernel", default="cloud", metavar="FLAVOUR")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(monitor, options.kernel) for monitor in chosen(options.monitor)]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| monitor | resident beyond RAM, KiB | anonymous | resident at the end | samples |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['monitor']} | {row['resident_kib']:,} | {row['anonymous_kib']:,} | "
              f"{row['steady_kib']:,} | {row['samples']} |")


if __name__ == "__main__":
    main()
