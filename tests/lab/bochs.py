# SPDX-License-Identifier: Apache-2.0
"""The other machine: VT-x, emulated by Bochs, for one command at a time.

Bochs interprets a Haswell with VMX, EPT (with accessed and dirty bits), unrestricted guest and
VPID, so Debian's kvm-intel loads. (Its Skylake-X has PML as well, but an XSAVE area that Linux
finds inconsistent: it then does without XSAVE, and KVM without XCR0.) It is slow (some 50 million
instructions a second): a command costs about half a minute of CPU before it starts. The machine
inside is the one of exact.py, the same initramfs with the command in it and the same agent,
answering on the second serial port; it is booted by GRUB from a CD image.

What makes Bochs run unattended: its `term` display wants a terminal of a size other than zero, so
it gets a pseudo-terminal; Debian's build stops at its debugger's prompt, which is answered with
"c" (and with "q" when it comes back after the end); sound drivers must be the dummy ones; a panic,
which is also how a power-off ends, must not ask.
"""

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path

from . import debian, exact, image, result

# Instructions per emulated second, and the wall clock at the start.
IPS = 50_000_000
EPOCH = 1767225600  # 2026-01-01 00:00:00 UTC

_CMDLINE = "console=ttyS0 quiet loglevel=4 panic=-1 tsc=reliable no_timer_check cryptomgr.notests"


def _config(directory, memory):
    return f"""
plugin_ctrl: unmapped=true, biosdev=true, speaker=false, parallel=false, serial=true
config_interface: textconfig
display_library: term
cpu: model=corei7_haswell_4770, count=1, ips={IPS}, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest={memory}, host={memory}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
clock: sync=none, time0={EPOCH}
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path={directory}/cd, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={directory}/console
com2: enabled=1, mode=file, dev={directory}/answers
sound: driver=dummy, waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
log: {directory}/log
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
"""


def _cd(directory, initrd, cmdline):
    """Makes the CD image that GRUB boots the machine from."""
    tree = directory / "tree"
    (tree / "boot" / "grub").mkdir(parents=True)
    shutil.copy(debian.vmlinuz("cloud"), tree / "boot" / "vmlinuz")
    (tree / "boot" / "initrd").write_bytes(initrd)
    (tree / "boot" / "grub" / "grub.cfg").write_text(
        f"set timeout=0\nlinux /boot/vmlinuz {_CMDLINE} {cmdline}\ninitrd /boot/initrd\nboot\n")
    subprocess.run(["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "-o", directory / "cd", tree],
                   check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _start(directory):
    """Starts Bochs on a pseudo-terminal of its own; returns (process, the terminal's other end)."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 200, 0, 0))
    environment = dict(os.environ, TERM="vt100", HOME=str(directory))
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", "bochs", "-q", "-f",
                                directory / "bochsrc"], stdin=slave, stdout=slave, stderr=slave,
                               cwd=directory, env=environment, start_new_session=True)
    os.close(slave)
    return process, master


def _attend(process, terminal, timeout):
    """Answers the debugger's prompts until Bochs ends; returns whether it did in time."""
    deadline = time.monotonic() + timeout
    answers = [b"c\n"] + [b"q\n"] * 3
    seen = b""
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return False
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                seen = (seen + os.read(terminal, 65536))[-100_000:]
            except OSError:  # the other end is closed
                continue
        if b"<bochs:" in seen and answers:
            seen = b""
            os.write(terminal, answers.pop(0))
    return True


def _text(path, length=4000):
    return path.read_text(errors="replace")[-length:] if path.exists() else ""


def run(argv, *, programs=(), files=(), get=(), memory=512, timeout=900, env=None, cmdline=""):
    """Runs a command once and returns its Result; parameters as exact.run() has them."""
    with tempfile.TemporaryDirectory(prefix="lodge-lab-") as name:
        directory = Path(name)
        extra, words = exact.archive(argv, programs, files, get, env, pad=512)
        _cd(directory, image.base().read_bytes() + extra, cmdline)
        (directory / "bochsrc").write_text(_config(directory, memory))
        process, terminal = _start(directory)
        try:
            in_time = _attend(process, terminal, timeout)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(terminal)
        answers = directory / "answers"
        done = exact.read_answers(answers, words, list(get)) if answers.exists() else None
        console = _text(directory / "console", 1 << 20)
        if done is None:
            why = "it ended without a result" if in_time else f"no result within {timeout} s"
            raise result.LabError(f"{words}: {why}\n--- its console:\n{console[-4000:]}\n"
                                  f"--- Bochs:\n{_text(directory / 'log')}")
        done.console = console
        return done
