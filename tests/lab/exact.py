# SPDX-License-Identifier: Apache-2.0
"""One command in a machine of its own, with every instruction counted, the same way every time.

The command and its files are part of the machine's initramfs and its output leaves by a serial port
at the end, so nothing reaches the machine from outside while it runs; -icount makes its clock count
instructions.  The plugin counts.c tells the monitor's own instructions (L1 user), those of the
kernel under it (L1 kernel) and the guest's apart, and adds none.

The archive is padded to a multiple of PAD, so that small changes of the program under test do not
move anything else in memory.
"""

import os
import subprocess
import tempfile
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from . import cache, frames, image, initramfs, qemu, result

PAD = 16 << 20

# Numbers of mark.h.
START, END, INIT, LINE, LOOP_A, LOOP_B, LOOP_C = range(1, 8)


@dataclass
class Counts:
    """Executed instructions (L1 user, L1 kernel, guest), VM entries, exits that reached the
    monitor, and its system calls; of a whole run or of a part of it."""

    user: int = 0
    kernel: int = 0
    guest: int = 0
    entries: int = 0
    user_exits: int = 0
    syscalls: int = 0

    @property
    def total(self):
        """All instructions."""
        return self.user + self.kernel + self.guest

    def __sub__(self, other):
        return Counts(*(a - b for a, b in zip(astuple(self), astuple(other))))

    def __str__(self):
        text = ", ".join(f"{field.name} {getattr(self, field.name)}" for field in fields(self))
        return f"instructions {self.total} ({text})"


class Events(list):
    """[(event, Counts)] in the order they came; an event is "mark-N" or "first-entry"."""

    def first(self, event):
        """The counters when `event` (a name, or a mark's number) first came; KeyError if never."""
        name = f"mark-{event}" if isinstance(event, int) else event
        for known, counts in self:
            if known == name:
                return counts
        raise KeyError(name)

    def between(self, start, end):
        """What was counted from the event `start` to the event `end`."""
        return self.first(end) - self.first(start)


def plugin():
    """Path of the built plugin."""
    source = Path(__file__).parent / "counts.c"
    compiler = os.environ.get("LAB_CC", "gcc")
    return cache.built("counts", source, [compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra",
                                          "-Werror", "-fPIC", "-shared", "-fvisibility=hidden",
                                          "-o", "{out}", "{in}"], source.parent / "mark.h")


def archive(argv, programs, files, get, env, pad=PAD):
    """The second initramfs archive, with the command in it; returns (bytes, the command)."""
    cpio = initramfs.Archive()
    words = []
    for word in argv:
        if isinstance(word, Path):
            there = f"/host/{len(words)}/{word.name}"
            cpio.file(there, word)
            word = there
        words.append(str(word))
    for source, there in programs:
        cpio.program(there, source)
    for source, there in files:
        cpio.file(there, source)
    cpio.file("/lab/insncount", cache.static_program("insncount.c", "mark.h"), 0o755)
    requests = [frames.execute(1, ["/lab/insncount", *words], flags=frames.SPOOL, env=env),
                frames.frame("A", 0)]
    requests += [frames.get(2 + number, path) for number, path in enumerate(get)]
    cpio.data("/lab/requests", b"".join(requests))
    data = cpio.bytes()
    return data + b"\0" * (-len(data) % pad), words


def _read_counts(path):
    events = Events()
    for line in Path(path).read_text().splitlines():
        name, *values = line.split()
        if name != "#":
            events.append((name, Counts(*map(int, values))))
    return events


def read_answers(path, words, get):
    """The Result in what the agent wrote to the serial line; LabError if its end is missing."""
    out, err, ended = bytearray(), bytearray(), None
    files = {name: bytearray() for name in get}
    for kind, channel, payload in frames.Reader().feed(Path(path).read_bytes()):
        if kind == "x":
            ended = payload
        elif kind in "oe":
            (out if kind == "o" else err).extend(payload)
        elif kind == "d":
            files[get[channel - 2]] += payload
        elif kind == "!" and channel >= 2:
            del files[get[channel - 2]]
    if ended is None:
        return None
    done = result.from_ended(words, ended, out, err)
    done.files = {name: bytes(data) for name, data in files.items()}
    return done


def run(argv, *, programs=(), files=(), get=(), memory=1024, timeout=600, env=None,
        cmdline="", count=True):
    """Runs a command once and returns its Result, with `counts` and `events`.

    `programs` and `files` are [(path on the host, path in the machine)]; `get` names files to
    bring back (a missing one is left out).  A pathlib.Path in the command is a host's file and is
    brought along.  `timeout` is in seconds of the host's time for the whole run.  Without `count`
    only `tsc` says how many instructions it took, and the run is faster.
    """
    with tempfile.TemporaryDirectory(prefix="lodge-lab-") as directory:
        place = Path(directory)
        extra, words = archive(argv, programs, files, get, env)
        (place / "initrd").write_bytes(image.base().read_bytes() + extra)
        options = qemu.Options(memory=memory, exact=True, cmdline=cmdline)
        command = qemu.command(options, place / "initrd", place / "console")
        command += ["-serial", f"file:{place}/answers"]
        if count:
            command += ["-plugin", f"{plugin()},out={place}/counts"]
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=timeout, check=False)
            why = "it ended without a result"
        except subprocess.TimeoutExpired:
            why = f"no result within {timeout} s"
        answers = place / "answers"
        done = read_answers(answers, words, list(get)) if answers.exists() else None
        console = place / "console"
        text = console.read_text(errors="replace") if console.exists() else ""
        if done is None:
            raise result.LabError(f"{words}: {why}\n--- its console:\n{text[-4000:]}")
        done.console = text
        if count:
            done.events = _read_counts(place / "counts")
            done.counts = done.events.between(START, END)
        return done
