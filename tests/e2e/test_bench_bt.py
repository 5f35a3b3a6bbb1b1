# SPDX-License-Identifier: Apache-2.0
"""bench/nano, bench/boot_bt and bench/scale: what they measure runs under the software engine, and
their tables say what was measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab import product

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import boot_bt  # noqa: E402
import nano  # noqa: E402
import places  # noqa: E402
import scale  # noqa: E402


def bench(name, *words):
    done = subprocess.run([ROOT / "bench" / f"{name}.py", "--rounds", "1", *words],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_single_operations_under_bt(tmp_path):
    """All of them, but the one that needs PCID where the processor has none."""
    figures = tmp_path / "nano.json"
    printed = bench("nano", "--places", "native,bt", "--json", figures, "--docs", tmp_path)
    ran = json.loads(figures.read_text())
    assert set(ran["native"][0]) == {"syscall", "call", "indirect-call"}
    assert set(nano.WHAT) - set(ran["bt"][0]) <= {"cr3-pcid"}
    # A late halt may be less than late.
    assert all(cycles > 0 for name, cycles in ran["bt"][0].items() if name != "halt")
    assert [line.split(" | ")[0].strip("| ") for line in printed.splitlines()[2:]] \
        == list(nano.WHAT.values())
    assert printed.strip() in (tmp_path / "bench-nano.md").read_text()


def test_a_check_that_fails_in_the_guest_is_told():
    assert nano.parse("ok   in\r\nnano in 12.5\r\nnano cr3-pcid 7.0\r\n") \
        == {"in": 12.5, "cr3-pcid": 7.0}
    with pytest.raises(places.Failed, match="FAIL out: got d, want ffff"):
        nano.parse("ok   in\r\nnano in 12.5\r\nFAIL out: got d, want ffff\r\n")


def test_a_boot_is_timed(tmp_path):
    figures = tmp_path / "boot.json"
    printed = bench("boot_bt", "--only-lodge", "--cmdline", "cryptomgr.notests", "--json", figures)
    (wall, cpu), = json.loads(figures.read_text())["lodge"]
    assert wall > 0 and cpu > 0
    assert f"| lodge | {wall:.2f} | {cpu:.2f} |" in printed


def test_two_vcpus_are_measured(tmp_path):
    product.make("bench-programs")
    figures = tmp_path / "scale.json"
    printed = bench("scale", "--places", "native,bt", "--programs", "crc,hash", "--scale", "0.01",
                    "--measure", "cpu", "--json", figures, "--docs", tmp_path)
    times = json.loads(figures.read_text())
    assert set(times) == {"native", "bt"}
    assert all(set(run) == {"crc", "hash"} for place in times.values() for of in place.values()
               for run in of)
    assert printed.split("\n\n", maxsplit=1)[0] in (tmp_path / "bench-scale.md").read_text()


def test_no_loss_is_two():
    times = {1: [{"a": 3.0}], 2: [{"a": 3.0}]}
    assert scale.ratio(times, "a", "wall") == 2
    # CPU time of both together.
    assert scale.ratio({1: [{"a": 3.0}], 2: [{"a": 6.0}]}, "a", "cpu") == 2


def test_the_fastest_is_what_lodge_is_compared_with():
    text = boot_bt.table({"lodge": [(4, 3), (2, 1), (9, 9)], "a": [(8, 2)], "b": [(5, 6)]})
    assert "| lodge | 4.00 | 3.00 |" in text
    assert "**0.80** | **1.50** |" in text


def test_a_guest_that_stops_early_is_told():
    with pytest.raises(places.Failed, match="ended too early; its output:\none"):
        places.follow(["printf", "one\\n"], "last", 20)
    with pytest.raises(places.Failed, match="its time is over"):
        places.follow(["sleep", "20"], "last", 0.2)
