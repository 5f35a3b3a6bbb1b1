# SPDX-License-Identifier: Apache-2.0
"""Initramfs images for the guests that the tests boot under lodge.

The guest's /init prints the line MARKER first of all.  What it does then, the kernel's command line
says:

    lodge.show=uname,nproc,...	print these (see SHOWS), each as a section between two lines
    lodge.do=WORD		afterwards: poweroff (the default), reboot, halt, panic (sysrq c),
				shell (an interactive shell; powers off at its end), wait (for ever)

`sections()` cuts a guest's console output into what was shown.
"""

import hashlib
import re
import shutil
from pathlib import Path

from . import cache, debian, initramfs, modules

MARKER = "LODGE-GUEST: init"

SHOWS = {
    "uname": "uname -a",
    "nproc": "nproc",
    "online": "cat /sys/devices/system/cpu/online",
    "date": "date +%s",
    "cmdline": "cat /proc/cmdline",
    "memory": "cat /proc/meminfo",
    "cpuinfo": "cat /proc/cpuinfo",
    "interrupts": "cat /proc/interrupts",
    "iomem": "cat /proc/iomem",
    "ioports": "cat /proc/ioports",
    "clocksource": "cat /sys/devices/system/clocksource/clocksource0/current_clocksource",
    "pci": "cat /proc/bus/pci/devices",
    "acpi": "ls /sys/firmware/acpi/tables",
    "initrd": "ls -l /payload; md5sum /payload/*",
    "dmesg": "dmesg",
    "e820": "dmesg | grep BIOS-e820: | sed 's/.*BIOS//'",
    "script": "sh /script",
    "warnings": "dmesg -r | grep -E '^<[0-4]>'",
}

_APPLETS = """[ ash cat cttyhack date dd dmesg echo env free grep halt head hexdump insmod kill ls
lsmod md5sum mkdir mknod mount nproc poweroff printf ps reboot sed seq setsid sh sleep stty tail
test top touch true umount uname uptime wc yes""".split()


def _init():
    cases = "\n".join(f"\t{name}) {command} ;;" for name, command in SHOWS.items())
    return f"""#!/bin/sh
echo "{MARKER}"
export PATH=/bin HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
show= do=poweroff
for word in $(cat /proc/cmdline); do
	case $word in
	lodge.show=*) show=$(echo "${{word#*=}}" | sed 's/,/ /g') ;;
	lodge.do=*) do=${{word#*=}} ;;
	esac
done
for what in $show; do
	echo "LODGE-GUEST: begin $what"
	case $what in
{cases}
	*) echo "unknown" ;;
	esac
	echo "LODGE-GUEST: end $what"
done
echo "LODGE-GUEST: $do"
case $do in
shell) setsid cttyhack sh; poweroff -f ;;
wait) while :; do sleep 1000; done ;;
reboot) reboot -f ;;
halt) halt -f ;;
panic) echo c >/proc/sysrq-trigger ;;
*) poweroff -f ;;
esac
"""


def initrd(arch="amd64", files=None):
    """Path of the initramfs for guests of `arch` (amd64 or i386).

    `files` maps names in the guest to bytes; those under /payload are shown by "initrd".
    """
    init = _init()
    key = hashlib.sha256(init.encode() + debian.busybox(arch).parts[-3].encode()
                         + repr([_APPLETS, sorted((files or {}).items())]).encode())
    path = cache.directory("images") / f"guest-{arch}-{key.hexdigest()[:16]}.cpio"
    if path.exists():
        return path
    archive = initramfs.Archive()
    archive.node("dev/console", 5, 1)
    archive.node("dev/null", 1, 3, 0o666)
    for name in ("proc", "sys", "tmp", "root", "payload"):
        archive.directory(name)
    archive.busybox(debian.busybox(arch), _APPLETS)
    archive.data("init", init.encode(), 0o755)
    for name, data in sorted((files or {}).items()):
        archive.data(name, data, 0o755)
    return cache.write_whole(path, archive.bytes())


def programs(*names):
    """`files` for initrd(): these programs of the host, in /bin, with all their libraries."""
    files = {}
    for name in names:
        found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if not found:
            raise FileNotFoundError(f"this host has no {name}")
        files[f"bin/{name}"] = Path(found).read_bytes()
        for library in initramfs.libraries(found):
            files[library.lstrip("/")] = Path(library).read_bytes()
    return files


def with_drivers(drivers, script, files=None):
    """`files` for initrd(): loads these modules of the cloud kernel, and what they depend on, then
    runs the script; shown as "script"."""
    loaded = modules.in_order(debian.modules("cloud"), drivers)
    lines = [f"insmod /modules/{name}" for name, _ in loaded]
    return {**{f"modules/{name}": image for name, image in loaded}, **(files or {}),
            "script": "\n".join([*lines, script, ""]).encode()}


def sections(console):
    """{name: text} of what the guest has shown on its console (text or bytes)."""
    if isinstance(console, bytes):
        console = console.decode(errors="replace")
    console = console.replace("\r\n", "\n")
    return {found.group(1): found.group(2) for found in
            re.finditer(r"^LODGE-GUEST: begin (\w+)\n(.*?)^LODGE-GUEST: end \1$", console,
                        re.MULTILINE | re.DOTALL)}


def all_online(done, cpus):
    """Asserts of a Result that the guest, told to show nproc, online and interrupts, has seen, and
    used, every CPU."""
    assert done.status == 0, done.err
    shown = sections(done.stdout)
    assert shown["nproc"].strip() == str(cpus)
    assert shown["online"].strip() == (f"0-{cpus - 1}" if cpus > 1 else "0")
    heads, *rows = [line.split() for line in shown["interrupts"].splitlines()]
    assert heads == [f"CPU{n}" for n in range(cpus)]
    ticks = next(row[1:cpus + 1] for row in rows if row[0] == "LOC:")
    assert all(int(count) > 0 for count in ticks), shown["interrupts"]
