#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""From exec to the first line of /init: lodge's software engine against QEMU's TCG at its fastest.

Debian's cloud kernel as an ELF file, entered by PVH under QEMU; an initramfs with one small
program; one CPU.  Real time, and CPU time of the monitor's process (all its threads), which other
work on the machine changes less.  Medians of some rounds in turns; lodge is compared with the QEMU
that was fastest here, by each of the two.

TCG's guests read the host's time-stamp counter and are told its frequency: to find it out by the
timer takes them longer, and fails on a busy host.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import places
from monitors import GUEST_MEMORY_MIB, boot_initrd, lodge_program

LINE = "LODGE-GUEST: init"
CMDLINE = "console=ttyS0 quiet panic=-1 tsc=reliable"

# Machine types, and what they add to the kernel's command line. microvm's ACPI is left out on
# QEMU's side: without a word to the kernel it then finds its serial port's interrupt.
QEMU = {
    "QEMU microvm": (["-M", "microvm"], ""),
    "QEMU microvm, no ACPI": (["-M", "microvm,acpi=off"], ""),
    "QEMU pc, acpi=off": (["-M", "pc"], "acpi=off"),
}


def commands(options):
    """{name: command} of all that are compared; lodge comes first."""
    words = f"{CMDLINE} {options.cmdline}".strip()
    kernel, initrd = str(places.kernel()), str(boot_initrd())
    found = {"lodge": [str(lodge_program()), "run", "--engine", options.engine, "--cpus", "1",
                       "--memory", f"{options.memory}M", "--kernel", kernel, "--initrd", initrd,
                       "--cmdline", words, *options.lodge]}
    for name, (machine, more) in QEMU.items():
        append = f"{words} tsc_early_khz={places.tsc_khz()} {more}".strip()
        found[name] = places.guest_qemu(options.memory, *machine, "-kernel", kernel, "-initrd",
                                        initrd, "-append", append)
    return found


def rounds(of, options):
    """{name: [(wall, cpu)]} in seconds."""
    times = {name: [] for name in of}
    for number in range(options.rounds):
        for name, command in of.items():
            print(f"round {number + 1}: {name}", file=sys.stderr)
            line = places.follow(command, LINE, options.timeout)[-1]
            times[name].append((line.at, line.cpu))
    return times


def table(times):
    """The figures as a table for documents."""
    median = {name: [statistics.median(column) for column in zip(*rows)]
              for name, rows in times.items()}
    lines = ["| monitor | wall, s | CPU, s |", "|---|---:|---:|"]
    lines += [f"| {name} | {wall:.2f} | {cpu:.2f} |" for name, (wall, cpu) in median.items()]
    lodge = median.pop("lodge")
    if median:
        fastest = [min(column) for column in zip(*median.values())]
        cells = [f"{one / best:.2f}" for one, best in zip(lodge, fastest)]
        lines.append(f"| **lodge / fastest QEMU** | **{cells[0]}** | **{cells[1]}** |")
    return "\n".join(lines)


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--only-lodge", action="store_true", help="leave QEMU out")
    parser.add_argument("--engine", default="bt", metavar="ENGINE", help="lodge's --engine")
    parser.add_argument("--lodge", action="append", default=[], metavar="FLAG",
                        help="a further word for lodge run, as in --lodge=--stats")
    parser.add_argument("--cmdline", default="", metavar="WORDS",
                        help="for the guests' kernel, as in cryptomgr.notests")
    parser.add_argument("--memory", type=int, default=GUEST_MEMORY_MIB, metavar="MIB")
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS")
    parser.add_argument("--json", metavar="FILE", help="write every round's seconds there")
    parser.add_argument("--docs", metavar="DIRECTORY", help="write bench-boot.md there")
    options = parser.parse_args()
    of = commands(options)
    if options.only_lodge:
        of = {"lodge": of["lodge"]}
    try:
        times = rounds(of, options)
    except places.Failed as error:
        sys.exit(str(error))
    text = table(times)
    print(text)
    if options.json:
        Path(options.json).write_text(json.dumps(times, indent=1), encoding="utf-8")
    if options.docs:
        words = f"{CMDLINE} {options.cmdline}".strip()
        (Path(options.docs) / "bench-boot.md").write_text(
            "# From exec to the first line of /init\n\nBy `bench/boot_bt.py`; medians of "
            f"{options.rounds} rounds. {places.host()}; `{words}`.\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
