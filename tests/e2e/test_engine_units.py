# SPDX-License-Identifier: Apache-2.0
"""The unit tests of engine/kvm, and those that hold for every engine, again, in the emulated AMD-V
machine: there they meet real hardware virtualization whatever the host is, so there none may say
that it cannot run (status 77), nor that there is no hardware for it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted(p.stem for of in ("kvm", "engine")
                  for p in (ROOT / "tests/unit/engine").glob(f"{of}_*_test.c"))


def test_there_are_programs():
    assert PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
def test_in_the_lab(lab, name):
    program = ROOT / "build/tests/unit/engine" / name
    assert program.exists(), f"{program} is not built: make unit"
    lab.put_program(program, f"/bin/{name}")
    done = lab.run([name], timeout=300)
    said = done.stdout + done.stderr
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    assert done.status == 0, text
    assert re.search(r"\[  PASSED  \] [1-9]\d* test\(s\)\.", text), text
    assert "no hardware virtualization" not in text, text
    assert "[  FAILED  ]" not in text and "[  SKIPPED ]" not in text, text
