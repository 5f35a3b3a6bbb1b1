# SPDX-License-Identifier: Apache-2.0
"""A driver that means harm (torture.c) at every virtio device, on both buses: the machine and the
devices work afterwards. LODGE_TORTURE_SEEDS: so many seeds; LODGE_TORTURE_ROUNDS: rounds of each."""

import os
import re
import struct
import subprocess
from pathlib import Path

import build
import pytest

from lab import product

HERE = Path(__file__).resolve().parent
SEEDS = int(os.environ.get("LODGE_TORTURE_SEEDS", "1"))
ROUNDS = int(os.environ.get("LODGE_TORTURE_ROUNDS", "10000"))
WORD = 0x7265676C


@pytest.fixture
def disks(tmp_path):
    """Two images whose sectors begin with their numbers and a word: one is written to."""
    data = b"".join(struct.pack("<II", n, WORD).ljust(512, b"\xff") for n in range(128))
    for name in ("ro", "rw"):
        (tmp_path / name).write_bytes(data)
    return tmp_path


def judge(text):
    verdicts = re.findall(r"^(ok  |FAIL)", text, re.M)
    made = re.search(r"^checks ([0-9a-f]+) failures 0\r?$", text, re.M)
    assert made and int(made[1], 16) == len(verdicts), text[-3000:]


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
@pytest.mark.parametrize("bus", ["pci", "mmio"])
@pytest.mark.parametrize("engine", ["bt", "bt,interp"])
def test_torture(disks, engine, bus, seed):
    words = [product.lodge(), "run", "--engine", engine, "--memory", "64M", "--virtio", bus,
             "--rng", "on", "--disk", f"{disks}/ro,ro", "--disk", f"{disks}/rw",
             "--virtio-console", f"file={disks}/hvc",
             "--port", f"a,socket={disks}/a", "--port", f"b,file={disks}/b",
             "--timeout", "500", "--kernel", build.kernel("torture", HERE, ["device"]),
             "--cmdline", f"{seed} {ROUNDS}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-2000:] + done.stderr[-4000:]
    judge(done.stdout)
    assert "alive\n" in (disks / "hvc").read_text(errors="replace")
