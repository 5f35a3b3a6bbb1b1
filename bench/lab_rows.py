# SPDX-License-Identifier: Apache-2.0
"""Monitors side by side in the lab, each with one paravirtual device, and what the lab's plugin
counts between a guest's marks: for io_lab.py and net_lab.py."""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from monitors import Monitor, kvmtool_program, lodge_program
from lab import debian, exact, modules, qemu

MEMORY = 256
CMDLINE = "console=ttyS0 quiet panic=-1 cryptomgr.notests lodge.show=script"
NOTE = ("Counted exactly in the lab (docs/lab.md): one processor, whose clock is executed "
        "instructions, however busy the real one is. The machine is made anew for each run: from "
        "one to the next rates and instructions differ by up to 3 %, and small numbers of exits "
        "by more. kvmtool is measured where $KVMTOOL, or PATH, has one.")


@dataclass
class Row:
    """One of those that are compared: a monitor, the bus of its device, and words for that."""

    name: str
    monitor: Monitor
    bus: str
    words: list

    def command(self, initrd):
        """Its command line."""
        words = self.monitor.command(debian.vmlinuz("cloud"), initrd, CMDLINE)
        return [*words, *self.words]


def lodge(bus, *words):
    """lodge with a device on `bus`."""
    return Row(f"lodge, {bus}", Monitor("lodge", lodge_program(), [
        "run", "--engine", "kvm", "--memory", f"{MEMORY}M"]), bus, [*words, "--virtio", bus])


def kvmtool(*words):
    """[kvmtool], or nothing where there is none; it knows PCI only."""
    if not kvmtool_program():
        return []
    return [Row("kvmtool, pci", Monitor("kvmtool", kvmtool_program(), [
        "run", "--cpus", "1", "--mem", str(MEMORY), "--console", "serial", "--virtio-transport",
        "pci", *words]), "pci", [])]


def qemu_row(name, machine, bus, *words):
    """QEMU's machine type."""
    return Row(name, Monitor("QEMU", Path(qemu.binary()), [
        "-M", machine, "-accel", "kvm", "-cpu", "host", "-m", str(MEMORY), "-nodefaults",
        "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]), bus,
        list(words))


def _counted(events):
    """The counts of each load, in order: between MARK_LOOP_A and MARK_LOOP_B."""
    begin, found = None, []
    for event, counts in events:
        if event == f"mark-{exact.LOOP_A}":
            begin = counts
        elif event == f"mark-{exact.LOOP_B}" and begin:
            found.append(counts - begin)
    return found


def measure(row, initrd, drivers, script, files, timeout):
    """[(load, amount, nanoseconds, counts)] of one run. In the machine `drivers` are loaded and
    `script` run first, which ends with what starts the monitor: exec "$@"."""
    loaded = modules.in_order(debian.modules("cloud"), drivers)
    lines = "".join(f"insmod /lab/modules/{name} || exit\n" for name, _ in loaded)
    with tempfile.TemporaryDirectory() as directory:
        files = [*files, *row.monitor.files()]
        for name, content in loaded:
            (Path(directory) / name).write_bytes(content)
            files.append((Path(directory) / name, f"/lab/modules/{name}"))
        done = exact.run(["sh", "-c", lines + script, "sh", *row.command(initrd)],
                         programs=row.monitor.programs(), files=files, timeout=timeout)
    said = re.findall(r"LOAD: end (\S+) (\d+) (\d+)", done.out)
    counts = _counted(done.events)
    if "LOAD: all" not in done.out or len(said) != len(counts):
        sys.exit(f"{row.name}: status {done.status}, its output:\n{done.out}{done.err}")
    return [(load, int(amount), int(ns), c) for (load, amount, ns), c in zip(said, counts)]


def versions():
    """The programs compared, and the kernel of guest and machine, in words."""
    words = [subprocess.run([program, *asked], check=True, stdout=subprocess.PIPE,
                            text=True).stdout.split("\n")[0]
             for program, *asked in [[qemu.binary(), "--version"], *(
                 [[kvmtool_program(), "version"]] if kvmtool_program() else [])]]
    return "; ".join([*words, f"kernel of machine and guest {debian.release('cloud')}"])


def compared(results, titles, columns):
    """Tables for documents: results is {name: {load: {column: figure}}}, titles {load: words},
    columns {column: (words, form, min or max)}; a load without that column has no row."""
    names = list(results)
    lines = []
    for column, (words, form, best) in columns.items():
        lines += [f"## {words}", "", f"| | {' | '.join(names)} | lodge / best other |",
                  f"|---|{'---:|' * (len(names) + 1)}"]
        for load, title in titles.items():
            values = {name: results[name][load].get(column) for name in names}
            if None in values.values():
                continue
            ours = [v for name, v in values.items() if name.startswith("lodge")]
            theirs = [v for name, v in values.items() if not name.startswith("lodge")]
            ratio = f"**{best(ours) / best(theirs):.2f}**" if ours and theirs and best(
                theirs) else ""
            cells = " | ".join(form.format(v) for v in values.values())
            lines.append(f"| {title} | {cells} | {ratio} |")
        lines.append("")
    return "\n".join(lines)
