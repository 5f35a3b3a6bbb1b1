#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Programs of bench/cpu natively, under lodge's software engine and under QEMU's TCG, in turns.

One static program is all: it times each of its parts by CLOCK_MONOTONIC, in guests with one CPU,
the same kernel and the same initramfs.  Printed are medians of some rounds, ratios, and geometric
means of the ratios.  Each part's checksum has to be the native one's, and a guest's clock has to
agree with this machine's.

On a busy machine --measure cpu is of more use: the CPU time that the monitor's process took while
the program ran (natively, the program's own), whatever else was running.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import chart
import places

# What a guest's clock may be off, of the time that passed here; and seconds that a line may take.
CLOCK = 0.02
LATE = 0.5

KINDS = {"integer": ["integer"], "floating point and vector": ["vector"],
         "all compute": ["integer", "vector"], "system": ["system"]}


@dataclass
class Ran:
    """One program's run."""

    kind: str
    seconds: float
    checksum: str


def programs(asked):
    """Names of the suite's programs; with those that run only when they are asked for."""
    text = subprocess.run([places.suite(), "--list"], check=True, stdout=subprocess.PIPE,
                          text=True).stdout
    rows = [line.split() for line in text.splitlines()]
    # Those that are asked for are not listed but by name.
    text = subprocess.run([places.suite(), "--list", "--only", "gcc,python3"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return [row[0] for row in rows + ([line.split() for line in text.splitlines()] if asked
                                      else [])]


def parse(lines, measure, native):
    """{program: Ran} of a run's lines."""
    found, started = {}, 0.0
    for line in lines:
        if line.text.startswith("bench: run "):
            started = line.cpu
        row = re.fullmatch(r"(\w+) (integer|vector|system) (\d+\.\d+) ([0-9a-f]{16}) (\d+\.\d+)",
                           line.text)
        if row:
            name, kind, wall, checksum, cpu = row.groups()
            seconds = float(wall)
            if measure == "cpu":
                seconds = float(cpu) if native else line.cpu - started
            found[name] = Ran(kind, seconds, checksum)
    return found


def check_clock(place, lines):
    """A guest's own time from the first line to the last is this machine's."""
    first = next(line for line in lines if line.text.startswith("bench: begin "))
    here = lines[-1].at - first.at
    there = float(lines[-1].text.split()[2]) - float(first.text.split()[2])
    if abs(here - there) > CLOCK * here + LATE:
        raise places.Failed(f"{place.name}: its clock counted {there:.3f} s, this one {here:.3f} s")


def run(place, options, only):
    """Runs the programs once in a place; {program: Ran}."""
    native = isinstance(place, places.Native)
    lines = places.follow(place.command(options.scale, ",".join(only)), "bench: end ",
                          options.timeout)
    if not native:
        check_clock(place, lines)
    return parse(lines, options.measure, native)


def compare(place, ran, reference):
    """The checksums are the reference's, and all of its programs ran."""
    for name, expected in reference.items():
        if name not in ran:
            raise places.Failed(f"{place.name}: {name} did not run; it needs what is missing there")
        if ran[name].checksum != expected.checksum:
            raise places.Failed(f"{place.name}: {name}: checksum {ran[name].checksum}, natively "
                                f"{expected.checksum}")


def rounds(chosen, options, only):
    """{place: {program: [seconds]}} and {program: kind}, of all rounds."""
    times = {place.name: {} for place in chosen}
    reference = None
    for number in range(options.rounds):
        for place in chosen:
            print(f"round {number + 1}: {place.name}", file=sys.stderr)
            ran = run(place, options, only)
            reference = reference or ran
            compare(place, ran, reference)
            for name, one in ran.items():
                times[place.name].setdefault(name, []).append(one.seconds)
    return times, {name: one.kind for name, one in reference.items()}


class Table:
    """Medians, ratios and geometric means; the first of `places` divides the others."""

    def __init__(self, times, kinds):
        self.places = list(times)
        self.kinds = kinds
        self.median = {place: {name: statistics.median(values) for name, values in of.items()}
                       for place, of in times.items()}
        base, *others = self.places
        self.ratios = [(other, base) for other in others]
        if "bt" in others and "tcg" in others:
            self.ratios.append(("tcg", "bt"))

    def ratio(self, name, pair):
        """One program's ratio of the pair (dividend, divisor) of places."""
        return self.median[pair[0]][name] / max(self.median[pair[1]][name], 1e-9)

    def names(self, kinds):
        """The programs that are of one of the kinds."""
        return [name for name, kind in self.kinds.items() if kind in kinds]

    def means(self):
        """[(title, number of programs, [geometric mean of each ratio])]."""
        rows = []
        for title, kinds in KINDS.items():
            names = self.names(kinds)
            if names:
                rows.append((title, len(names), [
                    statistics.geometric_mean(self.ratio(name, pair) for name in names)
                    for pair in self.ratios]))
        return rows

    def markdown(self):
        """The table for documents."""
        heads = [f"{place}, s" for place in self.places] + [f"{a}/{b}" for a, b in self.ratios]
        lines = ["| program | kind | " + " | ".join(heads) + " |",
                 "|---|---|" + "---:|" * len(heads)]
        for name, kind in self.kinds.items():
            cells = [f"{self.median[place][name]:.4f}" for place in self.places]
            cells += [f"{self.ratio(name, pair):.2f}" for pair in self.ratios]
            lines.append(f"| {name} | {kind} | " + " | ".join(cells) + " |")
        for title, count, means in self.means():
            cells = [""] * len(self.places) + [f"**{mean:.2f}**" for mean in means]
            lines.append(f"| **{title}** | geometric mean of {count} | " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def chart(self):
        """The ratios to the first place, as a chart's bars."""
        pairs = [pair for pair in self.ratios if pair[1] == self.places[0]]
        groups = [(name, [self.ratio(name, pair) for pair in pairs]) for name in self.kinds]
        means = [(title, values[:len(pairs)]) for title, _, values in self.means()]
        return chart.bars([pair[0] for pair in pairs], groups, means,
                          f"time relative to {self.places[0]} (logarithmic; shorter is faster)")


def circumstances(options):
    """What the figures depend on, as a line."""
    of = "wall time" if options.measure == "wall" else "CPU time of the monitor's process"
    return (f"{places.host()}, {options.memory} MiB, one CPU. Medians of {options.rounds} rounds "
            f"in turns, scale {options.scale:g}, {of}.")


def document(table, options):
    """Writes docs/bench-cpu.md and .svg."""
    directory = Path(options.docs)
    (directory / "bench-cpu.svg").write_text(table.chart(), encoding="utf-8")
    (directory / "bench-cpu.md").write_text(
        f"# Programs, natively, under bt and under TCG\n\nBy `bench/cpu.py`; what each program "
        f"does stands atop its source in `bench/cpu/`.\n\n{circumstances(options)}\n\n"
        f"![time relative to native](bench-cpu.svg)\n\n{table.markdown()}\n", encoding="utf-8")


def chosen_places(options, directory):
    """The places that the command line names; native first, whose checksums count."""
    program = places.suite()
    root = initrd = None
    if options.userland:
        initrd = places.userland_initrd(program, directory)
        root = places.userland_root(program, directory)
    else:
        initrd = places.guest_initrd(program, directory)
    every = {
        "native": places.Native(program, root),
        "bt": places.Lodge("bt", initrd, options.memory, options.cmdline,
                           ["--engine", options.engine, *options.lodge]),
        "tcg": places.Tcg("tcg", initrd, options.memory, options.cmdline, options.qemu),
    }
    names = options.places.split(",")
    if unknown := [name for name in names if name not in every]:
        sys.exit(f"no such place: {unknown[0]}; there are: {', '.join(every)}")
    return [place for name, place in every.items() if name in names]


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", metavar="NAME,...", help="only these (default: all)")
    parser.add_argument("--places", default="native,bt,tcg", metavar="NAME,...")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--scale", type=float, default=1, metavar="X",
                        help="part of the work to do: 1 is about 0.3 s a program natively")
    parser.add_argument("--measure", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--userland", action="store_true",
                        help="gcc and python3, too, in a Debian userland (root)")
    parser.add_argument("--engine", default="bt", metavar="ENGINE", help="lodge's --engine")
    parser.add_argument("--lodge", action="append", default=[], metavar="FLAG",
                        help="a further word for lodge run, as in --lodge=--stats")
    parser.add_argument("--qemu", action="append", default=[], metavar="WORD",
                        help="a further word for QEMU")
    parser.add_argument("--cmdline", default="", metavar="WORDS", help="for the guests' kernel")
    parser.add_argument("--memory", type=int, metavar="MIB",
                        help="of guests (default: 256, with --userland 1024)")
    parser.add_argument("--timeout", type=float, default=1800, metavar="SECONDS",
                        help="of one run of all programs")
    parser.add_argument("--json", metavar="FILE", help="write every round's seconds there")
    parser.add_argument("--docs", metavar="DIRECTORY",
                        help="write bench-cpu.md and bench-cpu.svg there")
    options = parser.parse_args()
    options.memory = options.memory or (1024 if options.userland else 256)
    return options


def main():
    """Measures what the command line asks for."""
    options = arguments()
    known = programs(options.userland)
    only = options.programs.split(",") if options.programs else known
    if unknown := [name for name in only if name not in known]:
        sys.exit(f"no such program: {unknown[0]}; there are: {', '.join(known)}")
    with tempfile.TemporaryDirectory(prefix="lodge-bench-") as directory:
        try:
            times, kinds = rounds(chosen_places(options, directory), options, only)
        except places.Failed as error:
            sys.exit(str(error))
    table = Table(times, kinds)
    if options.json:
        Path(options.json).write_text(json.dumps(times, indent=1), encoding="utf-8")
    if options.docs:
        document(table, options)
    print(table.markdown())
    print(f"\n{circumstances(options)}")


if __name__ == "__main__":
    main()
