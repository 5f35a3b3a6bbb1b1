# SPDX-License-Identifier: Apache-2.0
"""A driver that means harm (torture.c) at every virtio device, on both buses: the machine and the
devices work afterwards. LODGE_TORTURE_SEEDS: how many seeds; LODGE_TORTURE_ROUNDS: their rounds."""

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


# A disk whose sectors begin with their numbers and a word.
DISK = b"".join(struct.pack("<II", n, WORD).ljust(512, b"\xff") for n in range(128))


def command(engine, bus, seed, folder):
    return ["lodge", "run", "--engine", engine, "--memory", "64M", "--virtio", bus,
            "--rng", "on", "--disk", f"{folder}/ro,ro", "--disk", f"{folder}/rw",
            "--virtio-console", f"file={folder}/hvc", "--port", f"a,socket={folder}/a",
            "--port", f"b,file={folder}/b", "--timeout", "500",
            "--balloon", "deflate-on-oom,reporting,hinting,stats=1",
            "--hotplug-memory", "max=128M,size=64M", "--pmem", f"{folder}/pmem",
            "--vsock", f"cid=3,socket={folder}/vsock",
            "--kernel", build.kernel("torture", HERE, ["device"]),
            "--cmdline", f"{seed} {ROUNDS}"]


def make_files(folder):
    """What the command names: the disks, and memory."""
    for name in ("ro", "rw"):
        (folder / name).write_bytes(DISK)
    with open(folder / "pmem", "wb") as f:
        f.truncate(2 << 20)


def judge(text):
    verdicts = re.findall(r"^(ok  |FAIL)", text, re.M)
    made = re.search(r"^checks ([0-9a-f]+) failures 0\r?$", text, re.M)
    assert made and int(made[1], 16) == len(verdicts), text[-3000:]


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
@pytest.mark.parametrize("bus", ["pci", "mmio"])
@pytest.mark.parametrize("engine", ["bt", "bt,interp"])
def test_bt(tmp_path, engine, bus, seed):
    make_files(tmp_path)
    words = [product.lodge(), *command(engine, bus, seed, tmp_path)[1:]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-2000:] + done.stderr[-4000:]
    judge(done.stdout)
    assert "alive\n" in (tmp_path / "hvc").read_text(errors="replace")


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
@pytest.mark.parametrize("bus", ["pci", "mmio"])
def test_bt_with_a_shared_directory(tmp_path, bus, seed):
    """virtiofsd may well end at what it is told; that is all that happens."""
    (tmp_path / "shared").mkdir()
    make_files(tmp_path)
    words = [product.lodge(), *command("bt", bus, seed, tmp_path)[1:], "--share",
             str(tmp_path / "shared")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert re.fullmatch("(lodge: share shared: virtiofsd is gone: .*\n)?", done.stderr), done.stderr
    judge(done.stdout)
    assert not list((tmp_path / "shared").iterdir())


@pytest.mark.parametrize("bus", ["pci", "mmio"])
def test_kvm(lab, bus):
    for name in ("ro", "rw"):
        lab.put_bytes(f"/tmp/{name}", DISK)
    lab.put_bytes("/tmp/pmem", bytes(2 << 20))
    done = lab.run(command("kvm", bus, 1, "/tmp"), timeout=300)
    assert (done.status, done.err) == (0, ""), done.out[-2000:] + done.err[-4000:]
    judge(done.out)
