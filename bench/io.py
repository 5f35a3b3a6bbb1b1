#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A virtio disk under lodge's software engine against the same under QEMU's TCG, on PCI and MMIO.

The guest (Debian's cloud kernel, one CPU) reads and writes a raw image past its cache by a program
of ours, bench/io/load.c; the host's page cache holds the image, so that it is the monitors that are
measured and not a disk. Rounds in turns; medians of operations a second, of the monitor's CPU time
per GB, and, from one run with few operations and one with more, of notifications per operation:
what leaves translated code under lodge (all its MMIO accesses), the trace of virtio_queue_notify
under QEMU.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import places
from io_load import BUSES, LOADS, program, title
from monitors import lodge_program
from lab import guests

MEMORY = 512
IMAGE_MIB = 512


def initrd(bus, seconds, loads):
    """The guest's initramfs, which runs these loads one after the other."""
    script = f"/load /dev/vda {seconds} {' '.join(loads)}"
    files = {"load": program().read_bytes()}
    return guests.initrd(files=guests.with_drivers(["virtio_blk", BUSES[bus]], script, files))


def commands(image, seconds, loads, options):
    """{name: command} of all that are compared."""
    words = f"{places.CMDLINE} lodge.show=script"
    found = {}
    for bus in BUSES:
        guest = str(initrd(bus, seconds, loads))
        found[f"lodge, {bus}"] = [
            str(lodge_program()), "run", "--engine", "bt", "--memory", f"{MEMORY}M", "--kernel",
            str(places.kernel()), "--initrd", guest, "--disk", f"{image}{options.disk}", "--virtio",
            bus, "--cmdline", words, "--stats"]
        if options.only_lodge:
            continue
        device = "virtio-blk-pci" if bus == "pci" else "virtio-blk-device"
        machine = "pc" if bus == "pci" else "microvm"
        found[f"QEMU {machine}, {bus}"] = places.guest_qemu(
            MEMORY, "-M", machine, "-kernel", str(places.kernel()), "-initrd", guest, "-append",
            f"{words} tsc_early_khz={places.tsc_khz()}", "-drive",
            f"file={image},format=raw,if=none,id=d{options.qemu_disk}", "-device",
            f"{device},drive=d")
    return found


def measure(command, timeout):
    """{load: (operations a second, MB/s, CPU seconds per GB)} of one run."""
    figures, begin = {}, None
    for line in places.follow(command, "LOAD: all", timeout):
        found = re.match(r"LOAD: (begin|end|failed:) (\S+)(?: (\d+) (\d+))?", line.text)
        if not found:
            continue
        if found[1] == "failed:":
            raise places.Failed(line.text)
        if found[1] == "begin":
            begin = line
            continue
        ops, size = int(found[3]), int(found[2].split("-")[1]) << 10
        seconds = line.at - begin.at
        figures[found[2]] = (ops / seconds, ops * size / seconds / 1e6,
                             (line.cpu - begin.cpu) / (ops * size / 1e9))
    return figures


def notifications(name, command, timeout):
    """(operations, notifications) of one run."""
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory) / "trace"
        if name.startswith("QEMU"):
            command = [*command, "-trace", f"enable=virtio_queue_notify,file={trace}"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout, text=True, check=True)
        ops = sum(int(found) for found in re.findall(r"LOAD: end \S+ (\d+)", done.stdout))
        if name.startswith("QEMU"):
            return ops, trace.read_text(errors="replace").count("virtio_queue_notify")
        return ops, int(re.search(r"mmio accesses +(\d+)", done.stderr)[1])


def exits(image, options):
    """{(name, load): notifications per operation}, as the difference of a long and a short run."""
    found = {}
    for load in options.exits:
        few, many = ({name: notifications(name, command, options.timeout) for name, command
                      in commands(image, seconds, [load], options).items()}
                     for seconds in (0.2, 1.5))
        for name, (ops, count) in many.items():
            found[name, load] = (count - few[name][1]) / max(1, ops - few[name][0])
    return found


def rounds(of, options):
    """{name: {load: [figures of each round]}}."""
    found = {name: {load: [] for load in options.loads} for name in of}
    for number in range(options.rounds):
        for name, command in of.items():
            print(f"round {number + 1}: {name}", file=sys.stderr)
            for load, figures in measure(command, options.timeout).items():
                found[name][load].append(figures)
    return found


def tables(results, per_op, options):
    """The figures as tables for documents."""
    median = {name: {load: [statistics.median(column) for column in zip(*rows)]
                     for load, rows in loads.items()} for name, loads in results.items()}
    lines = []
    for which, words, form in ((0, "operations a second", "{:,.0f}"), (1, "MB/s", "{:,.0f}"),
                               (2, "the monitor's CPU seconds per GB", "{:.2f}")):
        lines += [f"## {words[0].upper()}{words[1:]}", "",
                  f"| | {' | '.join(median)} | lodge / best QEMU |",
                  f"|---|{'---:|' * (len(median) + 1)}"]
        for load in options.loads:
            values = {name: of[load][which] for name, of in median.items()}
            ours = [v for name, v in values.items() if name.startswith("lodge")]
            theirs = [v for name, v in values.items() if name.startswith("QEMU")]
            best = min if which == 2 else max
            ratio = f"**{best(ours) / best(theirs):.2f}**" if theirs else ""
            cells = " | ".join(form.format(v) for v in values.values())
            lines.append(f"| {title(load)} | {cells} | {ratio} |")
        lines.append("")
    if per_op:
        lines += ["## Notifications per operation", "", f"| | {' | '.join(median)} |",
                  f"|---|{'---:|' * len(median)}"]
        for load in options.exits:
            cells = " | ".join(f"{per_op[name, load]:.2f}" for name in median)
            lines.append(f"| {title(load)} | {cells} |")
        lines.append("")
    return "\n".join(lines)


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=float, default=2, help="of each load")
    parser.add_argument("--loads", nargs="+", default=LOADS, metavar="NAME")
    parser.add_argument("--exits", nargs="*", default=["randread-4-1", "randread-4-32"],
                        metavar="NAME", help="loads whose notifications are counted")
    parser.add_argument("--disk", default="", metavar=",OPTION...", help="options of lodge's disk")
    parser.add_argument("--qemu-disk", default="", metavar=",OPTION...", help="of QEMU's -drive")
    parser.add_argument("--only-lodge", action="store_true", help="leave QEMU out")
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS")
    parser.add_argument("--json", metavar="FILE", help="write every round's figures there")
    parser.add_argument("--docs", metavar="DIRECTORY", help="write bench-io.md there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        image = Path(directory) / "disk.img"
        subprocess.run(["dd", "if=/dev/urandom", f"of={image}", "bs=1M", f"count={IMAGE_MIB}"],
                       check=True, stderr=subprocess.DEVNULL)
        try:
            results = rounds(commands(image, options.seconds, options.loads, options), options)
            per_op = exits(image, options)
        except places.Failed as error:
            sys.exit(str(error))
    text = tables(results, per_op, options)
    print(text)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.docs:
        head = (f"# A virtio disk under bt and under TCG\n\nBy `bench/io.py`; medians of "
                f"{options.rounds} rounds in turns, {options.seconds:g} s a load, one CPU, "
                f"a raw image in the host's page cache. {places.host()}. Under lodge every MMIO "
                "access counts as a notification: on MMIO two of three are an interrupt's status "
                "and its acknowledgement, which QEMU's trace leaves out. On a busy machine CPU "
                "time says more than operations a second.\n\n")
        (Path(options.docs) / "bench-io.md").write_text(head + text, encoding="utf-8")


if __name__ == "__main__":
    main()
