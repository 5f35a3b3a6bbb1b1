# SPDX-License-Identifier: Apache-2.0
"""--bt-dump: each stage of each block, and nothing of what was not asked for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "guest"))

import build  # noqa: E402

LODGE = os.environ.get("LODGE", ROOT / "build" / "lodge")
STAGES = ["guest", "decoded", "flags", "host", "installed", "linked"]


def run(*words):
    """lodge with a small guest that ends by itself."""
    return subprocess.run([LODGE, "run", "--kernel", build.kernel("syscall"), "--timeout", "60",
                           *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=90)


def heads(text):
    """[(linear address, stage)] of a dump."""
    return re.findall(r"^([0-9a-f]{16}) cpu 0 (\w+)", text, re.M)


@pytest.fixture(scope="module")
def dumped(tmp_path_factory):
    """(the dump of all stages, the counters)."""
    path = tmp_path_factory.mktemp("dump") / "all"
    done = run("--engine", "bt", "--stats", "--bt-dump", f"all:{path}")
    assert done.returncode == 0, done.stderr
    return path.read_text(), dict(re.findall(r"^(\S.*\S) +(\d+)$", done.stderr, re.M))


def test_every_block_has_every_stage(dumped):
    text, counters = dumped
    found = heads(text)
    count = {stage: [name for _, name in found].count(stage) for stage in STAGES}
    blocks = int(counters["blocks translated"])
    assert blocks > 20
    assert [count[stage] for stage in STAGES[:5]] == [blocks] * 5
    assert count["linked"] == int(counters["blocks linked"]) > 5
    order = [name for _, name in found if name in STAGES[:5]]
    assert order == STAGES[:5] * blocks


def test_a_blocks_stages_say_the_same(dumped):
    """Of a block that pushes a register: its bytes, its text, and a store of the register."""
    text, _ = dumped
    blocks = re.split(r"(?m)^(?=[0-9a-f]{16} cpu 0 guest)", text)
    block = next(b for b in blocks if re.search(r"^  [0-9a-f]{16}  53$", b, re.M))
    assert re.search(r"^  [0-9a-f]{16}  push rbx$", block, re.M)
    assert re.search(r"^  [O-][S-][Z-][A-][P-][C-]  [0-9a-f]{16}  push rbx$", block, re.M)
    host = block[block.index(" host: "):]
    assert re.search(r"^  [0-9a-f]{16}  mov \[r10[^]]*\], rbx$", host, re.M)
    assert re.search(r"^  [0-9a-f]{16}  site: retry [0-9a-f]+, access ", host, re.M)


def test_only_what_is_asked_for_is_written():
    done = run("--engine", "bt", "--bt-dump", "decoded,links")
    assert done.returncode == 0
    assert {stage for _, stage in heads(done.stderr)} <= {"decoded", "installed", "linked",
                                                          "forgotten"}
    assert " decoded: " in done.stderr and " installed: " in done.stderr


@pytest.mark.parametrize("words, told", [
    (["--bt-dump", "code"], "bt-dump 'code' has no such stage"),
    (["--bt-dump", "host", "--engine", "kvm"], "engine kvm translates no code"),
    (["--bt-dump", "host:/nowhere/at/all", "--engine", "bt"], "cannot write to /nowhere/at/all"),
])
def test_what_cannot_be_is_told(words, told):
    done = run(*words)
    assert done.returncode in (1, 2)
    assert told in done.stderr
