# SPDX-License-Identifier: Apache-2.0
"""The monitors that are measured side by side, and the guests they are measured with.

Each is started in the lab's machine with one vCPU and the same memory, its serial console on its
standard output.  QEMU is Debian's package, with no devices but what its machine type brings.
kvmtool is measured where there is one: $KVMTOOL, or lkvm on PATH (Debian has no package of it).
"""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from lab import cache, debian, initramfs, qemu, vmlinux  # noqa: E402

GUEST_MEMORY_MIB = 256
CMDLINE = "console=ttyS0 panic=-1"

# Where Debian's QEMU looks for firmware, in its order.
_FIRMWARE = [Path("/usr/share/qemu"), Path("/usr/share/seabios")]
_FIRMWARE_FILES = ["bios-256k.bin", "bios-microvm.bin", "kvmvapic.bin", "linuxboot_dma.bin",
                   "pvh.bin"]


@dataclass
class Monitor:
    """One row of a table: how the program is called, and what it needs in the machine."""

    name: str
    program: Path
    arguments: list
    kernel: str = "bzimage"

    @property
    def _there(self):
        # QEMU finds its firmware from where it is itself.
        return f"/usr/bin/{self.program.name}"

    def programs(self):
        """[(host path, path in the machine)] for lab.exact.run()."""
        return [(self.program, self._there)]

    def files(self):
        """Likewise, the plain files."""
        if not self.program.name.startswith("qemu"):
            return []
        found = []
        for name in _FIRMWARE_FILES:
            place = next(d / name for d in _FIRMWARE if (d / name).exists())
            found.append((place, f"/usr/share/qemu/{name}"))
        return found

    def command(self, kernel, initrd=None, cmdline=CMDLINE):
        """The command line that boots `kernel` (a Path) and, if given, `initrd`."""
        words = [self._there, *self.arguments]
        if self.name == "kvmtool":
            words += ["--kernel", kernel]
            return words + (["--initrd", initrd, "--params", cmdline] if initrd else [])
        dash = "-" if self.program.name.startswith("qemu") else "--"
        words += [f"{dash}kernel", kernel]
        if initrd:
            words += [f"{dash}initrd", initrd,
                      "-append" if dash == "-" else "--cmdline", cmdline]
        return words


def _qemu(machine):
    return ["-M", machine, "-accel", "kvm", "-cpu", "host", "-m", str(GUEST_MEMORY_MIB),
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]


def lodge_program():
    """The lodge to measure: $LODGE or build/lodge."""
    return Path(os.environ.get("LODGE", ROOT / "build" / "lodge"))


def kvmtool_program():
    """The kvmtool to measure, None without one."""
    found = os.environ.get("KVMTOOL") or shutil.which("lkvm")
    return Path(found) if found else None


def monitors():
    """All that can be measured here; lodge only once it is built."""
    found = [
        Monitor("QEMU pc", Path(qemu.binary()), _qemu("pc")),
        Monitor("QEMU microvm", Path(qemu.binary()), _qemu("microvm")),
        Monitor("QEMU microvm, vmlinux", Path(qemu.binary()), _qemu("microvm"), "vmlinux"),
    ]
    if kvmtool_program():
        found.append(Monitor("kvmtool", kvmtool_program(),
                             ["run", "--cpus", "1", "--mem", str(GUEST_MEMORY_MIB), "--console",
                              "serial", "--network", "mode=none"]))
    if lodge_program().exists():
        words = ["run", "--engine", "kvm", "--memory", f"{GUEST_MEMORY_MIB}M"]
        found.append(Monitor("lodge", lodge_program(), words))
        found.append(Monitor("lodge, vmlinux", lodge_program(), words, "vmlinux"))
        found.append(Monitor("lodge --boot pvh", lodge_program(), [*words, "--boot", "pvh"]))
    return found


def chosen(names):
    """The monitors whose name contains one of `names` (all of them without names)."""
    every = monitors()
    found = [m for m in every if not names or any(name in m.name for name in names)]
    if not found:
        sys.exit(f"no such monitor; there are: {', '.join(m.name for m in every)}")
    return found


def failure(monitor, done, missing):
    """Ends the program: `monitor` did not come as far as the event `missing`."""
    sys.exit(f"{monitor.name}: did not reach {missing}; its status {done.status}, its output:\n"
             f"{done.out}{done.err}")


def kernel(form, flavour="cloud"):
    """A Debian kernel in the form that a monitor wants: "bzimage" or "vmlinux"."""
    bzimage = debian.vmlinuz(flavour)
    return vmlinux.extract(bzimage) if form == "vmlinux" else bzimage


def _guest_program(source, *flags):
    source = Path(__file__).parent / source
    return cache.built(source.stem, source, ["gcc", "-nostdlib", "-static", "-no-pie", "-O2",
                                             "-fno-stack-protector", *flags, "-o", "{out}",
                                             "{in}"])


def boot_initrd():
    """The initramfs whose /init is init.c and nothing else."""
    program = _guest_program("init.c")
    archive = initramfs.Archive()
    archive.node("dev/console", 5, 1)
    archive.file("init", program, 0o755)
    path = cache.directory("images") / f"bench-{program.name}.cpio"
    return cache.write_whole(path, archive.bytes())


def port_read_kernel():
    """The guest of port_read.S, an ELF file for entry by PVH."""
    return _guest_program("port_read.S", "-Wl,-N,-Ttext=0x100000,--build-id=none,"
                          "--no-warn-rwx-segments,--section-start=.note.PVH=0x101000")
