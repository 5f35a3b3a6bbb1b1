#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What memory a monitor takes beyond its guest's RAM while a Debian guest boots.

The monitor's /proc/PID/smaps is read many times from its start until the guest's /init waits; the
largest sum over all mappings but the guest's RAM (those of at least half its size) is printed: all
resident pages, and of these the anonymous ones (the rest is mapped from files: mostly the
program, its libraries and, with some monitors, the kernel); and the last sum, when /init waits.

lodge's software engine, "lodge bt", is measured on this machine itself, the others in the lab.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from monitors import CMDLINE, GUEST_MEMORY_MIB, chosen, failure, kernel, lodge_program
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
        # Translated code is mapped twice.
        resident += field["Pss" if "/memfd:" in mapping else "Rss"]
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
    return row(monitor.name, samples)


def measure_here(flags, flavour):
    """Those of lodge's software engine, with flags for lodge run, on this machine."""
    words = [lodge_program(), "run", *flags, "--memory", f"{GUEST_MEMORY_MIB}M", "--kernel",
             kernel("vmlinux", flavour), "--initrd", guests.initrd(), "--cmdline",
             CMDLINE + " quiet lodge.do=wait"]
    samples, out = [], b""
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        smaps = Path(f"/proc/{process.pid}/smaps")
        end = time.monotonic() + 300
        os.set_blocking(process.stdout.fileno(), False)
        while b"LODGE-GUEST: wait" not in out and process.poll() is None \
                and time.monotonic() < end:
            samples.append(beyond_ram(smaps.read_text(encoding="ascii")))
            time.sleep(0.02)
            out += process.stdout.read() or b""
        if process.poll() is None:
            samples.append(beyond_ram(smaps.read_text(encoding="ascii")))
            process.kill()
    if b"LODGE-GUEST: wait" not in out:
        sys.exit(f"lodge: did not reach the guest's /init; its output:\n{out.decode()}")
    return row(f"lodge {flags[1]}", samples)


def row(name, samples):
    """The figures of one monitor, by its samples."""
    return {"monitor": name, "resident_kib": max(s[0] for s in samples),
            "anonymous_kib": max(s[1] for s in samples), "steady_kib": samples[-1][0],
            "samples": len(samples)}


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--monitor", action="append", default=[], metavar="NAME",
                        help="only monitors whose name contains NAME")
    parser.add_argument("--engine", action="append", default=[], metavar="ENGINE",
                        help="only lodge on this machine, with this --engine, as bt,code=16M")
    parser.add_argument("--kernel", default="cloud", metavar="FLAVOUR")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    if not options.engine:
        rows = [measure(monitor, options.kernel) for monitor in chosen(options.monitor)]
    if options.engine or not options.monitor:
        rows += [measure_here(["--engine", engine], options.kernel)
                 for engine in options.engine or ["bt"]]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("| monitor | resident beyond RAM, KiB | anonymous | resident at the end | samples |")
    print("|---|---|---|---|---|")
    for of in rows:
        print(f"| {of['monitor']} | {of['resident_kib']:,} | {of['anonymous_kib']:,} | "
              f"{of['steady_kib']:,} | {of['samples']} |")


if __name__ == "__main__":
    main()
