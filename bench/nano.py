#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Cycles for single operations of a guest: system call, port access, page fault, ... (bench/nano).

One guest without an operating system, entered by PVH, under lodge's software engine, under QEMU's
TCG and, if asked for, under lodge's kvm in the lab; natively what user mode can do.  IPIs between
processors have runs of their own, with two.  Medians of some rounds in turns, each the median of 21
batches.  Cycles are those of the time-stamp counter, real time.  The lab's processor is
emulated: its column shows what is an exit there and what is not, and is no measure of hardware.
"""

import argparse
import json
import os
import re
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import places
from monitors import ROOT, lodge_program
from lab import cache, qemu
from lab.machine import Machine

sys.path.insert(0, str(ROOT / "tests" / "guest"))
import build  # noqa: E402

HERE = Path(__file__).resolve().parent / "nano"

WHAT = {
    "syscall": "SYSCALL and SYSRET (natively a system call)",
    "in": "IN from a device's register",
    "out": "OUT to it",
    "cr8": "write to CR8",
    "call": "CALL and RET",
    "indirect-call": "indirect CALL of ten targets in turn, and RET",
    "page-fault": "page fault in ring 3, handled",
    "divide-error": "divide error in ring 3, handled",
    "page-table": "write to a page table",
    "invlpg": "INVLPG, access",
    "remap": "write to a page table, INVLPG, access",
    "cr3": "address space switch, four pages touched",
    "cr3-pcid": "the same with PCID, nothing flushed",
    "mmio": "MMIO read from a device (I/O APIC)",
    "apic": "read of the local APIC",
    "self-ipi": "IPI to itself, taken, EOI",
    "timer": "timer armed, its interrupt taken, EOI",
    "halt": "HLT until a timer: how late",
    "ipi-running": "IPI to another vCPU that runs, until taken",
    "ipi-halted": "IPI to another vCPU that halts, until taken",
}


def kernel():
    """The guest, built."""
    return build.kernel("nano", HERE)


def native_program():
    """The native part, built."""
    return cache.built("nano-native", HERE / "native.c",
                       ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", "{out}",
                        "{in}"])


def parse(text):
    """{operation: cycles}; raises places.Failed where a check of the guest's did."""
    if bad := re.findall(r"^FAIL .*", text, re.M):
        raise places.Failed("\n".join(bad))
    return {name: float(cycles) for name, cycles in
            re.findall(r"^nano ([\w-]+) (\d+\.\d+)\r?$", text, re.M)}


def _lodge(program, engine, cpus, path):
    return [program, "run", "--engine", engine, "--cpus", str(cpus), "--memory", "64M", "--timeout",
            "300", "--kernel", path]


@dataclass
class Local:
    """Commands of this machine that write the lines; each is ended after its last."""

    name: str
    commands: list

    def run(self):
        """{operation: cycles} of one run of each."""
        text = ""
        for command in self.commands:
            lines = places.follow(command, "checks ", 300)
            text += "".join(f"{line.text}\n" for line in lines)
        return parse(text)


class Lab:
    """lodge's kvm in the lab."""

    name = "kvm in the lab"

    def __init__(self):
        self._machine = None

    def run(self):
        """{operation: cycles} of one run."""
        if not self._machine:
            self._machine = Machine(qemu.Options())
            self._machine.put_program(lodge_program(), "/bin/lodge")
        done = self._machine.run(_lodge("lodge", "kvm", 1, kernel()), timeout=400)
        if done.status:
            raise places.Failed(f"{self.name}: status {done.status}:\n{done.out[-2000:]}{done.err}")
        return parse(done.out)


def chosen(options):
    """The places that the command line names."""
    every = {
        "native": lambda: Local("native", [[str(native_program())]]),
        "bt": lambda: Local("bt", [_lodge(str(lodge_program()), options.engine, cpus, str(kernel()))
                                   for cpus in (1, 2)]),
        "tcg": lambda: Local("tcg", [places.guest_qemu(64, "-M", "microvm", "-smp", str(cpus),
                                                       "-kernel", str(kernel()))
                                     for cpus in (1, 2)]),
        "lab": Lab,
    }
    names = options.places.split(",")
    if unknown := [name for name in names if name not in every]:
        sys.exit(f"no such place: {unknown[0]}; there are: {', '.join(every)}")
    return [make() for name, make in every.items() if name in names]


def table(columns, cycles):
    """The figures as a table for documents; {place: {operation: cycles}}."""
    both = "bt" in columns and "tcg" in columns
    lines = ["| operation | " + " | ".join(columns) + (" | tcg/bt |" if both else " |"),
             "|---|" + "---:|" * (len(columns) + both)]
    for name, words in WHAT.items():
        cells = [f"{cycles[place][name]:,.0f}" if name in cycles[place] else "-"
                 for place in columns]
        if both and all(name in cycles[place] for place in ("bt", "tcg")):
            cells.append(f"{cycles['tcg'][name] / max(cycles['bt'][name], 1):.2f}")
        elif both:
            cells.append("-")
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", default="native,bt,tcg", metavar="NAME,...",
                        help="of native, bt, tcg, lab")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--engine", default="bt", metavar="ENGINE", help="lodge's --engine")
    parser.add_argument("--json", metavar="FILE", help="write every round's cycles there")
    parser.add_argument("--docs", metavar="DIRECTORY", help="write bench-nano.md there")
    options = parser.parse_args()
    where = chosen(options)
    ran = {place.name: [] for place in where}
    load = os.getloadavg()[0]
    try:
        for number in range(options.rounds):
            for place in where:
                print(f"round {number + 1}: {place.name}", file=sys.stderr)
                ran[place.name].append(place.run())
    except places.Failed as error:
        sys.exit(str(error))
    cycles = {place: {name: statistics.median(one[name] for one in of) for name in of[0]}
              for place, of in ran.items()}
    text = table(list(cycles), cycles)
    print(text)
    if options.json:
        Path(options.json).write_text(json.dumps(ran, indent=1), encoding="utf-8")
    if options.docs:
        (Path(options.docs) / "bench-nano.md").write_text(
            "# Single operations of a guest\n\nCycles of the time-stamp counter, by "
            f"`bench/nano.py`; medians of {options.rounds} rounds. {places.host()}; load average "
            f"{load:.1f} at the beginning, {os.getloadavg()[0]:.1f} at the end. Where "
            "there is more load than CPUs, timers, HLT and IPIs show the host's scheduler too.\n\n"
            f"{text}\n",
            encoding="utf-8")


if __name__ == "__main__":
    main()
