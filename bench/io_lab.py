#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a virtio disk costs under KVM: lodge, kvmtool and QEMU, counted exactly in the lab.

The loads are those of bench/io.py (bench/io/load.c), in a number of operations instead of a time;
the lab's plugin counts what is executed between a load's beginning and its end: VM entries, returns
to the monitor, its system calls, instructions of the monitor, of the kernel under it and of the
guest. The machine's clock is instructions too, idle time left out, so operations a second are those
of a processor that executes 10^9 of them a second, however busy this machine is. The machine and
its files are made anew for each run: from one to the next rates and instructions differ by up to
3 %, and numbers of exits that are far below one by more.

The image lies in an ext4 file system in the machine's memory, and is in its page cache.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import io_load
import lab_rows
from lab import guests

IMAGE_MIB = 16
COLUMNS = {
    "exits": ("VM exits per operation", "{:.2f}", min),
    "user_exits": ("Returns to the monitor per operation", "{:.2f}", min),
    "syscalls": ("The monitor's system calls per operation", "{:.2f}", min),
    "monitor": ("The monitor's instructions per operation, and of the kernel for it", "{:,.0f}",
                min),
    "all": ("All instructions per operation, with the guest's", "{:,.0f}", min),
    "rate": ("Operations a second, at 10^9 instructions a second", "{:,.0f}", max),
    "cpu": ("Thousand million instructions of monitor and kernel per GB", "{:.2f}", min),
}

# The machine's disk; what is written stays in its page cache until the end.
_SCRIPT = """
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
mknod /dev/loop0 b 7 0 2>/dev/null
mkdir -p /disk
busybox losetup /dev/loop0 /lab/disk.ext4 || exit
mount -t ext4 -o noatime /dev/loop0 /disk || exit
cat /disk/disk.img >/dev/null
exec "$@"
"""


def rows(options):
    """All that are compared."""
    found = [lab_rows.lodge(bus, "--disk", f"/disk/disk.img{options.disk}")
             for bus in io_load.BUSES]
    found += lab_rows.kvmtool("--network", "mode=none", "--disk", "/disk/disk.img")
    drive = ["-drive", "file=/disk/disk.img,format=raw,if=none,id=d", "-device"]
    found += [
        lab_rows.qemu_row("QEMU pc, pci", "pc", "pci", *drive, "virtio-blk-pci,drive=d"),
        lab_rows.qemu_row("QEMU pc, pci, iothread", "pc", "pci", "-object", "iothread,id=t",
                          *drive, "virtio-blk-pci,drive=d,iothread=t"),
        lab_rows.qemu_row("QEMU microvm, mmio", "microvm", "mmio", *drive,
                          "virtio-blk-device,drive=d")]
    return [row for row in found
            if not options.only or any(word in row.name for word in options.only)]


def initrd(bus, options):
    """The guest's initramfs, which runs the loads one after the other."""
    script = f"/load /dev/vda {options.kib}x {' '.join(options.loads)}"
    files = {"load": io_load.program().read_bytes()}
    return guests.initrd(files=guests.with_drivers(
        ["virtio_blk", io_load.BUSES[bus]], script, files))


def disk(directory):
    """Path of the machine's disk: a file system with the image in it."""
    inside, image = Path(directory) / "inside", Path(directory) / "disk.ext4"
    inside.mkdir()
    subprocess.run(["dd", "if=/dev/urandom", f"of={inside}/disk.img", "bs=1M",
                    f"count={IMAGE_MIB}"], check=True, stderr=subprocess.DEVNULL)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", str(inside), str(image),
                    f"{IMAGE_MIB + 8}M"], check=True, stdout=subprocess.DEVNULL)
    return image


def measure(row, image, options):
    """{load: {column: figure}} of one run."""
    found = {}
    for load, ops, ns, c in lab_rows.measure(row, initrd(row.bus, options), ["loop"], _SCRIPT,
                                             [(image, "/lab/disk.ext4")], options.timeout):
        size = ops * int(load.split("-")[1]) << 10
        found[load] = {
            "exits": c.entries / ops, "user_exits": c.user_exits / ops,
            "syscalls": c.syscalls / ops, "user": c.user / ops, "kernel": c.kernel / ops,
            "monitor": (c.user + c.kernel) / ops, "all": c.total / ops, "rate": ops / ns * 1e9,
            "cpu": (c.user + c.kernel) / size}
    return found


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kib", type=int, default=2048, help="that each load transfers, at least "
                        "(and at least 32 operations)")
    parser.add_argument("--loads", nargs="+", default=io_load.LOADS, metavar="NAME")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME",
                        help="only those whose name contains NAME")
    parser.add_argument("--disk", default="", metavar=",OPTION...", help="options of lodge's disk")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="of a run")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--docs", metavar="DIRECTORY", help="write bench-io-lab.md there")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        image = disk(directory)
        for row in rows(options):
            print(row.name, file=sys.stderr)
            results[row.name] = measure(row, image, options)
    text = lab_rows.compared(results, {load: io_load.title(load) for load in options.loads},
                             COLUMNS)
    print(text)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.docs:
        (Path(options.docs) / "bench-io-lab.md").write_text(
            f"# A virtio disk under KVM\n\nBy `bench/io_lab.py`. {lab_rows.NOTE} A raw image in "
            "the page cache of an ext4 file system, in the machine's memory. The loads of "
            f"`bench/io.py`, {options.kib} KiB of each, at least 32 operations. A return to the "
            "monitor is an exit after which it ran, be it another thread of its. "
            f"{lab_rows.versions()}.\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
