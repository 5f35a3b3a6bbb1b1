#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two programs on two vCPUs against one: what a second processor is worth in a guest.

The guest has two vCPUs.  Each program of bench/cpu runs once on the first, then twice at the same
time, one on each; natively likewise.  The ratio is 2 T1 / T2: 2 would be no loss at all.  By wall
time it means something only while this machine has two CPUs idle; with --measure cpu it is of the
CPU time that the monitor took: what the vCPUs cost each other.

--profile FILE leaves the last round's `perf record` of the monitor there; what functions of locks
appear in it is printed.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cpu
import places

PROGRAMS = "core,sha256,compress,bytecode,hash,sort,matmul,avx2"
COPIES = (1, 2)
LOCKS = re.compile(r"futex|mutex|spin_lock|rwsem|__lll_|cond_wait|exclusive_")


class Native(places.Native):
    """This machine, with copies."""

    copies = 1

    def command(self, scale, only):
        return [*super().command(scale, only), "--copies", str(self.copies), "--pause"]


def chosen(options, directory):
    """The places that the command line names."""
    program = places.suite()
    initrd = places.guest_initrd(program, directory)
    every = {
        "native": Native(program),
        "bt": places.Lodge("bt", initrd, options.memory, "", ["--engine", options.engine,
                                                              *options.lodge], cpus=2),
        "tcg": places.Tcg("tcg", initrd, options.memory, "", [], cpus=2),
    }
    names = options.places.split(",")
    if unknown := [name for name in names if name not in every]:
        sys.exit(f"no such place: {unknown[0]}; there are: {', '.join(every)}")
    return [place for name, place in every.items() if name in names]


def measure(place, copies, options):
    """{program: seconds} of one run with so many copies at once."""
    native = isinstance(place, places.Native)
    if native:
        place.copies = copies
    else:
        place.cmdline = f"bench.copies={copies}"
    lines = places.follow(place.command(options.scale, options.programs), "bench: end ",
                          options.timeout)
    if any("checksums differ" in line.text for line in lines):
        raise places.Failed(f"{place.name}: the copies' checksums differ")
    found = cpu.parse(lines, options.measure, native)
    if missing := set(options.programs.split(",")) - set(found):
        raise places.Failed(f"{place.name}: {', '.join(sorted(missing))} did not run")
    return {name: one.seconds for name, one in found.items()}


def ratio(times, name, of):
    """2 T1 / T2, of medians; CPU time adds up over the copies."""
    one, two = (statistics.median(run[name] for run in times[copies]) for copies in COPIES)
    return (4 if of == "cpu" else 2) * one / max(two, 1e-9)


def table(times, options):
    """The ratios as a table for documents; {place: {copies: [{program: seconds}]}}."""
    names = options.programs.split(",")
    rows = {name: [ratio(times[place], name, options.measure) for place in times]
            for name in names}
    lines = ["| program | " + " | ".join(times) + " |", "|---|" + "---:|" * len(times)]
    lines += [f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |"
              for name, values in rows.items()]
    means = [statistics.geometric_mean(column) for column in zip(*rows.values())]
    lines.append("| **geometric mean** | " + " | ".join(f"**{mean:.2f}**" for mean in means) + " |")
    return "\n".join(lines)


def profile(place, options):
    """Where the monitor's time goes with both vCPUs at work: [(share, function)] of locks, and the
    part of it all that they are."""
    place.cmdline = "bench.copies=2"
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "2000", "-o", options.profile,
               *place.command(options.scale, options.programs)]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False, timeout=options.timeout)
    text = subprocess.run(["perf", "report", "-i", options.profile, "--sort", "symbol", "--stdio"],
                          capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^ +(\d+\.\d+)% +\[[.k]\] (\S+)", text, re.M)
    return [(float(share), name) for share, name in found if LOCKS.search(name)]


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", default=PROGRAMS, metavar="NAME,...")
    parser.add_argument("--places", default="native,bt,tcg", metavar="NAME,...")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--scale", type=float, default=1, metavar="X", help="as of cpu.py")
    parser.add_argument("--measure", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--engine", default="bt", metavar="ENGINE", help="lodge's --engine")
    parser.add_argument("--lodge", action="append", default=[], metavar="FLAG",
                        help="a further word for lodge run")
    parser.add_argument("--memory", type=int, default=512, metavar="MIB")
    parser.add_argument("--timeout", type=float, default=900, metavar="SECONDS")
    parser.add_argument("--profile", metavar="FILE")
    parser.add_argument("--json", metavar="FILE", help="write every round's seconds there")
    parser.add_argument("--docs", metavar="DIRECTORY", help="write bench-scale.md there")
    return parser.parse_args()


def main():
    """Measures what the command line asks for."""
    options = arguments()
    if (os.cpu_count() or 1) < 2:
        sys.exit("this machine has one CPU: there is nothing to measure")
    with tempfile.TemporaryDirectory(prefix="lodge-bench-") as directory:
        where = chosen(options, directory)
        times = {place.name: {copies: [] for copies in COPIES} for place in where}
        try:
            for number in range(options.rounds):
                for place in where:
                    print(f"round {number + 1}: {place.name}", file=sys.stderr)
                    for copies in COPIES:
                        times[place.name][copies].append(measure(place, copies, options))
        except places.Failed as error:
            sys.exit(str(error))
        locks = [profile(place, options) for place in where
                 if options.profile and place.name == "bt"]
    of = "wall time" if options.measure == "wall" else "CPU time of the monitor's process"
    text = (f"{table(times, options)}\n\n{places.host()}, {options.memory} MiB, two vCPUs. Medians "
            f"of {options.rounds} rounds in turns, scale {options.scale:g}, {of}.")
    for found in locks:
        text += (f"\n\nLocks in bt's profile: {sum(share for share, _ in found):.2f} % of the time"
                 + "".join(f"\n- {share:.2f} % {name}" for share, name in found[:5]))
    print(text)
    if options.json:
        Path(options.json).write_text(json.dumps(times, indent=1), encoding="utf-8")
    if options.docs:
        (Path(options.docs) / "bench-scale.md").write_text(
            "# Two programs on two vCPUs\n\nBy `bench/scale.py`: 2 T1 / T2, where T1 is the time "
            f"of one program and T2 that of two at once.\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
