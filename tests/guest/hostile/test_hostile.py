# SPDX-License-Identifier: Apache-2.0
"""Guests that mean harm (hostile.c) under the software engine: lodge stays up, takes no more memory
than the guest's and a little, and ends as documented: by the time limit, at once by a signal, or
with the status of what the guest did to itself."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import build
import pytest

from lab import product

MEMORY = 64  # MiB; RAM_END in hostile.c
CODE = 64  # MiB that lodge may take for what it knows of the guest's code
OVERHEAD = CODE + 32  # MiB of lodge's own at most
LIMIT, SIGNALLED, CRASHED = 124, 130, 10
HERE = Path(__file__).resolve().parent
SOON = 3  # seconds for an end that is at once, on a busy machine

TASKS = "tasks"  # what hostile32.c does

# Those that end by themselves. The others go on until they are stopped.
ENDS = dict.fromkeys(
    ["triple", "tables-in-mmio", "tables-in-nothing", "tables-self", "idt-in-mmio",
     "idt-in-nothing", "gdt-in-mmio", "tss-in-mmio"], CRASHED)
ENDS["code-everywhere"] = 0
GOES_ON = ["jump-mmio", "jump-unmapped", "jump-noncanonical", "own-tables", "flood",
           "timer-periodic", "timer-deadline", "stack-in-mmio", "lock-mmio", "rep-mmio",
           "rep-port", "rep-all", "prefixes", "int-loop", "fault-loop", "double-faults",
           "ipi-storm", "nmi-storm", "own-code", "cross-code", "garbage", "halt", "reset",
           TASKS]
# In every run also by the interpreter alone, and held against it block by block: what there is most
# to lose with. The others so in the slow one.
OFTEN = ["own-code", "garbage", "prefixes", "rep-all", "own-tables", "int-loop"]
# At random: whether the guest survives it is not the point.
RANDOM = ["ports", "mmio", "msrs"]


class Run:
    """lodge with a hostile guest."""

    def __init__(self, word, *flags, engine="bt", stdout=subprocess.DEVNULL):
        guest = "hostile32" if word == TASKS else "hostile"
        words = [product.lodge(), "run", "--engine", f"{engine},code={CODE}M",
                 "--memory", f"{MEMORY}M", "--kernel", build.kernel(guest, HERE), "--cmdline", word,
                 "--cpus", "2" if word == "cross-code" else "1", *flags]
        self.usage = tempfile.NamedTemporaryFile(mode="r", encoding="ascii")
        self.process = subprocess.Popen([sys.executable, "-I", HERE / "usage.py", self.usage.name,
                                         *words], stdin=subprocess.DEVNULL, stdout=stdout,
                                        stderr=subprocess.PIPE)
        # On a busy machine Python may take longer to begin than a test to end.
        deadline = time.monotonic() + 60
        while not Path(self.usage.name).stat().st_size and time.monotonic() < deadline:
            time.sleep(0.01)
        self.begin = time.monotonic()

    def stop(self):
        """Ends it as a user would."""
        self.process.send_signal(signal.SIGTERM)

    def end(self):
        """Exit status, seconds until then, seconds of processor time, MiB of memory at most. Of
        what the guest does lodge says nothing but at the end."""
        err = self.process.stderr.read()
        self.process.wait()
        took = time.monotonic() - self.begin
        self.process.stderr.close()
        with self.usage as usage:
            used, memory = map(float, usage.read().split())
        assert err.count(b"\n") < 30, err.decode()
        if self.process.returncode != CRASHED:
            assert err.count(b"lodge: ") == err.count(b"\n") < 2, err.decode()
        return self.process.returncode, took, used, memory


def ways():
    """(engine, word): the software engine in its ways. "bt,check" has one processor."""
    for engine in ("bt", "bt,eager", "bt,hot", "bt,interp", "bt,check"):
        for word in GOES_ON + RANDOM:
            if engine == "bt,check" and word == "cross-code":
                continue
            slow = engine != "bt" and word not in OFTEN
            yield pytest.param(engine, word, marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize("engine, word", ways())
def test_until_stopped(engine, word):
    allowed = {0, CRASHED} if word in RANDOM else set()
    limited, signalled = Run(word, "--timeout", "1", engine=engine), Run(word, engine=engine)
    time.sleep(0.7)
    signalled.stop()
    sent = time.monotonic() - signalled.begin
    status, took, used, memory = signalled.end()
    assert status in allowed | {SIGNALLED}
    assert took - sent < SOON
    assert memory < MEMORY + OVERHEAD
    status, took, used, memory = limited.end()
    assert status in allowed | {LIMIT}
    assert took < 1 + SOON
    assert memory < MEMORY + OVERHEAD
    if word == "halt":
        assert used < 0.5


@pytest.mark.parametrize("engine", ["bt", "bt,eager", "bt,hot", "bt,interp", "bt,check"])
@pytest.mark.parametrize("word, want", ENDS.items())
def test_until_its_own_end(word, want, engine):
    status, _, _, memory = Run(word, "--timeout", "20", engine=engine).end()
    assert status == want
    assert memory < MEMORY + OVERHEAD


def test_a_flood_that_nobody_reads():
    run = Run("flood", "--timeout", "1", stdout=subprocess.PIPE)
    status, took, _, memory = run.end()
    run.process.stdout.close()
    assert status == LIMIT
    assert took < 1 + SOON
    assert memory < MEMORY + OVERHEAD
