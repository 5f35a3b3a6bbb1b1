# SPDX-License-Identifier: Apache-2.0
"""Where the programs of the suite run: on this machine itself, in a guest of lodge's software
engine, and in the same guest (kernel, initramfs, memory, one CPU) under QEMU's TCG.

A place is a command line and a way to tell it what to run; follow() runs one and notes when its
lines came.
"""

import os
import platform
import selectors
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from monitors import ROOT, lodge_program
from lab import cache, debian, initramfs, qemu, userland, vmlinux

# No tests of the kernel's ciphers, which are seconds of computing.
CMDLINE = "console=ttyS0 quiet panic=-1 cryptomgr.notests tsc=reliable"


def tsc_khz():
    """The time-stamp counter's frequency on this machine: Linux shows it as twice this, in MHz,
    where it knows it. A guest under TCG reads the host's counter and has no good clock to compare
    it with while the host is busy (the kernel then stands still), so it is told."""
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines():
        if line.startswith("bogomips"):
            return int(float(line.split(":")[1]) * 500)
    raise Failed("/proc/cpuinfo: no bogomips")


_WORK = b"""#!/bin/sh
mkdir -p /dev/shm
mount -t tmpfs shm /dev/shm
scale=1 only=
for word in $(cat /proc/cmdline); do
	case $word in
	bench.scale=*) scale=${word#*=} ;;
	bench.only=*) only=${word#*=} ;;
	esac
done
/bench/cpu --pause --scale "$scale" ${only:+--only "$only"}
"""


def host():
    """What the figures depend on, in words: processor, host's kernel, QEMU, guests' kernel."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text(
        encoding="utf-8").splitlines() if line.startswith("model name")), "")
    version = subprocess.run([qemu.binary(), "--version"], check=True, stdout=subprocess.PIPE,
                             text=True).stdout.split("\n")[0]
    return (f"{cpu}, {os.cpu_count()} CPUs, Linux {platform.release()}; {version}; guests' kernel "
            f"{debian.release('cloud')}")


class Failed(Exception):
    """A run came to no good end; the text says how."""


def guest_qemu(memory, *words, cpus=1):
    """QEMU's command line for a guest under TCG with a serial console and nothing else."""
    return [qemu.binary(), "-accel", "tcg", "-cpu", "max", "-smp", str(cpus), "-m", str(memory),
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
            *words]


def suite():
    """Path of the built suite: $BENCH_CPU or build/bench/cpu."""
    return Path(os.environ.get("BENCH_CPU", ROOT / "build" / "bench" / "cpu"))


def kernel():
    """The guests' kernel, entered as ELF file or by PVH."""
    return vmlinux.extract(debian.vmlinuz("cloud"))


def guest_initrd(program, directory):
    """Path of an initramfs with the suite as /init and nothing else, made in `directory`."""
    archive = initramfs.Archive()
    archive.node("dev/console", 5, 1)
    archive.file("init", program, 0o755)
    return cache.write_whole(Path(directory) / "suite.cpio", archive.bytes())


def userland_initrd(program, directory):
    """The same with Debian's userland: an archive of it, and one with the suite behind it."""
    base = userland.initrd({"work.sh": b"#!/bin/sh\nexec sh /bench/work.sh\n"})
    archive = initramfs.Archive()
    archive.file("bench/cpu", program, 0o755)
    archive.data("bench/work.sh", _WORK, 0o755)
    path = Path(directory) / "userland.cpio"
    with open(path, "wb") as out:
        subprocess.run(["cat", str(base)], stdout=out, check=True)
        out.write(archive.bytes())
    return path


def userland_root(program, directory):
    """The same as a directory, to be changed into as root."""
    root = Path(directory) / "root"
    root.mkdir()
    subprocess.run(["tar", "-xf", str(userland.tarball()), "-C", str(root)], check=True)
    (root / "bench").mkdir()
    (root / "bench" / "cpu").write_bytes(program.read_bytes())
    (root / "bench" / "cpu").chmod(0o755)
    return root


@dataclass
class Native:
    """This machine; in the directory `root`, if one is given (by root only)."""

    program: Path
    root: Path = None
    name: str = "native"

    def command(self, scale, only):
        """The command that runs the programs `only` (names with commas)."""
        words = ["--scale", str(scale), "--only", only]
        if not self.root:
            return [str(self.program), *words]
        return ["unshare", "-m", "sh", "-ec",
                'mount -t tmpfs shm "$0/dev/shm"; mount -t proc proc "$0/proc"; '
                'exec chroot "$0" /bench/cpu "$@"', str(self.root), *words]


@dataclass
class Guest:
    """A guest under a monitor."""

    name: str
    initrd: Path
    memory: int
    cmdline: str = ""
    flags: list = field(default_factory=list)
    cpus: int = 1

    def words(self, scale, only):
        """The kernel's command line."""
        return (f"{CMDLINE} tsc_early_khz={tsc_khz()} {self.cmdline} bench.scale={scale} "
                f"bench.only={only}")


class Lodge(Guest):
    """Under lodge; `flags` begin with the engine's."""

    def command(self, scale, only):
        """lodge's command line."""
        return [str(lodge_program()), "run", *self.flags, "--cpus", str(self.cpus), "--memory",
                f"{self.memory}M", "--kernel", str(kernel()), "--initrd", str(self.initrd),
                "--cmdline", self.words(scale, only)]


class Tcg(Guest):
    """Under QEMU's TCG."""

    def command(self, scale, only):
        """QEMU's command line."""
        return guest_qemu(self.memory, "-M", "microvm", "-kernel", str(kernel()), "-initrd",
                          str(self.initrd), "-append", self.words(scale, only), *self.flags,
                          cpus=self.cpus)


@dataclass
class Line:
    """A line that a process wrote, when it came (seconds after the process was started), and the
    CPU time of the process until then."""

    text: str
    at: float
    cpu: float


def _cpu_clock(pid):
    """The process's CPU clock, as clock_getcpuclockid(3) makes it."""
    return (~pid << 3) | 2


def _lines(process, begin, timeout):
    """Yields the lines of the process that was started at `begin`, as they come."""
    clock = _cpu_clock(process.pid)
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0, begin + timeout - time.monotonic())):
                raise Failed("its time is over")
            data = os.read(process.stdout.fileno(), 65536)
            at, cpu = time.monotonic() - begin, time.clock_gettime(clock)
            if not data:
                return
            *whole, pending = (pending + data).split(b"\n")
            for text in whole:
                yield Line(text.decode(errors="replace").rstrip("\r"), at, cpu)


def follow(command, last, timeout):
    """Runs a command until it writes a line that begins with `last`; its lines.  It is ended then:
    not every guest can power its machine off."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    found = []
    why = "it ended too early"
    try:
        for line in _lines(process, begin, timeout):
            found.append(line)
            if line.text.startswith(last):
                return found
    except Failed as error:
        why = str(error)
    finally:
        process.kill()
        _, errors = process.communicate()
    tail = "\n".join(line.text for line in found[-30:])
    raise Failed(f"{' '.join(command)}\n{why}; its output:\n{tail}\n{errors.decode()}")
