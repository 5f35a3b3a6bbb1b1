# SPDX-License-Identifier: Apache-2.0
"""tools/run-unit counts what cmocka's programs say, and takes silence for failure."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = 'echo "[==========] Running 3 test(s)."; echo "[  PASSED  ] 3 test(s)."'
BAD = ('echo "[  PASSED  ] 2 test(s)."; echo "[  FAILED  ] tests: 1 test(s), listed below:";'
       ' echo "[  FAILED  ] test_that_broke"; exit 1')


def run(tmp_path, **programs):
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    return subprocess.run([ROOT / "tools/run-unit", tmp_path, *(tmp_path / n for n in programs)],
                          capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, UNIT_TIMEOUT="2"))


def test_all_pass(tmp_path):
    result = run(tmp_path, a_test=GOOD, b_test=GOOD)
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == "unit: 2 programs, 6 passed, 0 failed"


def test_one_fails(tmp_path):
    result = run(tmp_path, a_test=GOOD, b_test=BAD)
    assert result.returncode == 1
    assert "test_that_broke" in result.stdout
    assert result.stdout.splitlines()[-1] == "unit: 2 programs, 5 passed, 1 failed"


@pytest.mark.parametrize("text,why", [
    ("exit 0", "ran no test"),
    ('echo "[  PASSED  ] 0 test(s)."', "ran no test"),
    (f"{GOOD}; exit 3", "status 3"),
    (f"{GOOD}; kill -SEGV $$", "killed by signal 11"),
    (f'{GOOD}; echo "[  SKIPPED ] 1 test(s), listed below:"', "skipped"),
    ("exec sleep 30", "no end within 2 s")])
def test_silence_is_failure(tmp_path, text, why):
    result = run(tmp_path, a_test=text)
    assert result.returncode == 1
    assert why in result.stdout


SKIP = ('echo "[==========] Running 2 test(s)."; echo "skipped: no such processor";'
        ' echo "[  SKIPPED ] test_a"; echo "[==========] 2 test(s) run.";'
        ' echo "[  PASSED  ] 1 test(s)."; echo "[  SKIPPED ] 1 test(s), listed below:";'
        ' echo "[  SKIPPED ] test_a"')


def test_skipped_is_not_passed(tmp_path):
    result = run(tmp_path, a_test=SKIP)
    assert result.returncode == 0
    assert "test_a: [  SKIPPED ] no such processor" in result.stdout
    assert result.stdout.splitlines()[-1] == "unit: 1 programs, 1 passed, 0 failed, 1 skipped"


def test_skipped_without_a_reason(tmp_path):
    result = run(tmp_path, a_test=SKIP.replace("skipped: ", ""))
    assert result.returncode == 1
    assert "does not say why" in result.stdout


def test_not_here_counts_neither_way(tmp_path):
    result = run(tmp_path, a_test=GOOD, b_test='echo "no /dev/kvm"; exit 77')
    assert result.returncode == 0
    assert "b_test: no /dev/kvm" in result.stdout
    assert result.stdout.splitlines()[-1] == \
        "unit: 2 programs, 3 passed, 0 failed, 1 programs not run here"


def test_no_programs(tmp_path):
    assert run(tmp_path).returncode == 1
