# SPDX-License-Identifier: Apache-2.0
"""QEMU's command line for the emulated AMD-V machine.

QEMU's software emulation (TCG) of `-cpu EPYC` has SVM with nested paging, so kvm-amd loads in it on
any host.  The kernel is entered by PVH as an uncompressed vmlinux: the emulated machine then spares
itself the decompression.  Measured until the agent answers: pc with bzImage 3.9 s, pc with vmlinux
2.9 s, q35 with vmlinux 2.8 s, the same with tsc=reliable 2.3 s.

L1 is told how fast its time-stamp counter is, which is the host's.  Where it measures that itself,
against PIT and HPET, and they differ, Linux believes the PIT: "PIT calibration deviates from HPET:
698913 2594186", after QEMU was stopped for some milliseconds just then, as a busy host does.  Its
clock, and every time limit with it, was then several times too fast.

In exact mode one nanosecond of the machine's time is one instruction executed (-icount shift=0),
idle time is skipped, and nothing reaches the machine from outside: the same files and the same
command give the same count every time.
"""

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass, field

from . import cache, debian, vmlinux

_CMDLINE = ("console=ttyS0 quiet loglevel=4 panic=-1 tsc=reliable no_timer_check "
            "cryptomgr.notests")
_EXACT_CMDLINE = "nokaslr randomize_kstack_offset=off"


@dataclass
class Options:
    """The emulated machine: CPUs, memory in MiB, exact counting, further words for QEMU or L1."""

    cpus: int = 1
    memory: int = 1024
    exact: bool = False
    cmdline: str = ""
    qemu: list = field(default_factory=list)


def binary():
    """The QEMU to use: $LAB_QEMU or qemu-system-x86_64."""
    name = os.environ.get("LAB_QEMU", "qemu-system-x86_64")
    found = shutil.which(name)
    if not found:
        raise FileNotFoundError(f"{name}: not installed (Debian package qemu-system-x86)")
    return found


@functools.cache
def tsc_khz():
    """The frequency of this host's time-stamp counter."""
    return int(subprocess.run([cache.static_program("tsckhz.c")], check=True,
                              stdout=subprocess.PIPE).stdout)


def command(options, initrd, console):
    """QEMU's argument list without the agent's channel; L1's kernel messages go to `console`.

    The process is made to die with the thread that starts it.
    """
    if options.exact and options.cpus != 1:
        raise ValueError("exact counts need one CPU")
    cpu, accel = "EPYC", "tcg"
    words = _CMDLINE
    if options.exact:
        cpu += ",-rdrand,-rdseed"
        words += " " + _EXACT_CMDLINE
    else:
        words += f" tsc_early_khz={tsc_khz()}"
        if options.cpus > 1:
            accel += ",thread=multi"
    argv = ["setpriv", "--pdeathsig", "KILL", "--", binary(), "-M", "q35", "-accel", accel,
            "-cpu", cpu, "-smp", str(options.cpus), "-m", str(options.memory), "-nodefaults",
            "-no-user-config", "-display", "none", "-no-reboot", "-kernel",
            str(vmlinux.extract(debian.vmlinuz("cloud"))), "-initrd", str(initrd), "-append",
            f"{words} {options.cmdline}".strip(), "-serial", f"file:{console}"]
    if options.exact:
        argv += ["-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "base=2026-01-01,clock=vm"]
    return argv + options.qemu
