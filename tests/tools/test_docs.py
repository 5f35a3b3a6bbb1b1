# SPDX-License-Identifier: Apache-2.0
"""README and manual pages say what the program says of itself, and what they link to is there."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LODGE = Path(os.environ.get("LODGE", ROOT / "build" / "lodge"))
PAGES = sorted(p.name for p in ROOT.glob("*.md"))


def lodge(*words):
    done = subprocess.run([LODGE, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def flags():
    """[(flag, value, help)] of lodge run --help."""
    found = re.findall(r"^  (--[a-z-]+)(?: (\S+))?  +(\S.*)$", lodge("run", "--help"), re.M)
    assert len(found) > 5
    return found


@pytest.fixture(scope="module")
def statuses():
    """{status: meaning} of lodge run --help."""
    text = " ".join(lodge("run", "--help").split("Exit status:")[1].split())
    found = dict(re.findall(r"(\d+) ([^;.]+)[;.]", text))
    assert len(found) > 4
    return found


def test_readme_flags(flags):
    rows = re.findall(r"^\| `(--[a-z-]+)` \| (?:`(\S+)`)? ?\| (.*) \|$",
                      (ROOT / "README.md").read_text(), re.M)
    assert [(f, v.replace("\\|", "|"), h) for f, v, h in rows] == flags


def test_readme_statuses(statuses):
    text = (ROOT / "README.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", text, re.M))
    assert rows == statuses


def test_manual_flags(flags):
    text = (ROOT / "docs/lodge-run.1.scd").read_text()
    rows = re.findall(r"^\*(--[a-z-]+)\*(?: (\S+))?$", text, re.M)
    assert [(f, v.replace("_", "")) for f, v in rows] == [(f, v) for f, v, _ in flags]


def test_manual_statuses(statuses):
    text = (ROOT / "docs/lodge-run.1.scd").read_text().split("# EXIT STATUS")[1]
    assert re.findall(r"^(\d+)$", text, re.M) == list(statuses)


def test_manual_keys():
    """The escape keys of the manual are those that the program's text lists."""
    text = (ROOT / "docs/lodge-run.1.scd").read_text()
    manual = re.findall(r"^\*Ctrl-A (\w)\*$", text, re.M)
    source = (ROOT / "src/cli/terminal.c").read_text().split("terminal_help[]")[1].split(";")[0]
    assert sorted(manual) == sorted(re.findall(r"Ctrl-A (\w)\b", source))


def test_verbs():
    verbs = re.findall(r"^  ([a-z]+) +\S", lodge("help"), re.M)
    assert verbs
    manual = (ROOT / "docs/lodge.1.scd").read_text()
    for verb in verbs:
        assert f"*lodge {verb}*" in manual


@pytest.mark.parametrize("page", sorted(p.name for p in (ROOT / "docs").glob("*.scd")))
def test_manual_page_is_well_formed(page):
    done = subprocess.run(["scdoc"], input=(ROOT / "docs" / page).read_bytes(),
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (ROOT / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page):
    """Files that a page names in backquotes are there."""
    text = (ROOT / page).read_text()
    for name in re.findall(r"`((?:src|tests|tools|docs|include)/[\w./-]+)`", text):
        if not re.search(r"[A-Z]{4}|watchdog", name):
            assert (ROOT / name).exists(), f"{page}: {name}"


def test_rooms_table_is_the_rules():
    """ARCHITECTURE.md's table of rooms and tools/check-rooms' are the same."""
    page = (ROOT / "ARCHITECTURE.md").read_text()
    rows = {}
    for names, _, allowed in re.findall(r"^\| (`[^|]+`) \| ([^|]+) \| ([^|]+) \|$", page, re.M):
        for name in re.findall(r"`([\w/]+)`", names):
            words = {w.strip() for w in allowed.split(",")} - {"-"}
            rows[name] = words
    rule = (ROOT / "tools/check-rooms").read_text()
    table = {}
    exec(rule[rule.index("ROOMS = {"):rule.index("}\n") + 2], table)
    expected = {room: {"engine" if a.startswith("engine/") else
                       "include/lodge" if a == "lodge" else a for a in allowed}
                for room, allowed in table["ROOMS"].items()}
    rows = {room: words for room, words in rows.items() if room in expected}
    assert rows == expected
