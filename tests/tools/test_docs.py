# SPDX-License-Identifier: Apache-2.0
"""README and manual pages say what the program says of itself, and what they link to is there."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from lab.host import Host

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


VERBS = re.findall(r"^  ([a-z]+) +\S", lodge("help"), re.M)


def test_verbs():
    assert len(VERBS) > 10
    manual = (ROOT / "docs/lodge.1.scd").read_text()
    readme = (ROOT / "README.md").read_text()
    for verb in VERBS:
        assert f"*lodge {verb}*" in manual
        assert f"lodge {verb}" in readme or verb in ("version", "help")


def flags_of(verb):
    """[(flag, value, help)] of a verb's --help."""
    return re.findall(r"^  (--[a-z-]+)(?: (\S+))?  +(\S.*)$", lodge(verb, "--help"), re.M)


def accepts(verb, flag, value):
    """Whether the verb knows the flag: one that it does not is told first."""
    words = [f"{flag}=x"] if value else [flag]
    done = subprocess.run([LODGE, verb, *words, "--no-such-flag"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 2, done
    return f"has no flag {flag}" not in done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_accepts_what_its_help_says(verb):
    flags = flags_of(verb)
    assert flags[-1][0] == "--help"
    for flag, value, _ in flags:
        assert accepts(verb, flag, value)
    assert not accepts(verb, "--frobnicate", "")
    assert lodge(verb, "--help") == lodge(verb, "-h") == lodge("help", verb)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("version", "help")])
def test_a_verb_has_a_page_with_its_flags(verb):
    text = (ROOT / f"docs/lodge-{verb}.1.scd").read_text()
    heads = "\n".join(re.findall(r"^\*--.*$", text, re.M))  # one flag, or several with commas
    rows = re.findall(r"\*(--[a-z-]+)\*(?: ([^\s]+?))?(?=, \*|$)", heads, re.M)
    assert [(f, v.replace("_", "")) for f, v in rows] == [(f, v) for f, v, _ in flags_of(verb)]
    usage = re.match(r"usage: (lodge [a-z]+)(?: (.*))?\n", lodge(verb, "--help"))
    synopsis = text.split("# SYNOPSIS")[1].split("\n\n")[1].replace("*", "").replace("_", "")
    assert synopsis == " ".join(filter(None, usage.groups()))


def complete(shell, line):
    """What the shell offers for the last word of a line, by lodge's script."""
    words = line.split(" ")
    script = {
        "bash": 'source <("$LODGE" completion bash); COMP_WORDS=("$@"); '
                'COMP_CWORD=$(($# - 1)); _lodge 2>/dev/null; printf "%s\\n" "${COMPREPLY[@]}"',
        "fish": '$LODGE completion fish | source; complete -C "$argv"',
    }[shell]
    if shell == "bash":
        command = ["bash", "-c", script, "bash", *words]
    else:
        command = ["fish", "--no-config", "-c", script, line]
    env = {**os.environ, "LODGE": str(LODGE), "PATH": f"{LODGE.parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done
    return {row.split("\t")[0] for row in done.stdout.splitlines() if row}


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize("verb", VERBS)
def test_completion_knows_each_flag(shell, verb):
    assert {f for f, *_ in flags_of(verb)} == complete(shell, f"lodge {verb} --")


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_completion_knows_verbs_and_values(shell):
    assert set(VERBS) <= complete(shell, "lodge ") <= {*VERBS, "--help", "--version"}
    assert complete(shell, "lodge run --engine ") == {"auto", "kvm", "bt"}
    assert complete(shell, "lodge run --console f") == {"file="}
    assert complete(shell, "lodge completion ") == {"bash", "zsh", "fish"}
    assert complete(shell, "lodge run --cpus ") == set()
    assert set(VERBS) == complete(shell, "lodge help ")


def test_completion_in_zsh():
    """By its line editor, on a terminal."""
    session = Host().spawn(["zsh", "-f"], pty=True, timeout=60,
                           env={"PATH": f"{LODGE.parent}:{os.environ['PATH']}", "TERM": "dumb"})
    session.send("PS1='$ '; autoload -Uz compinit; compinit -D; "
                 "source <(lodge completion zsh); print rea''dy\r")
    session.expect("ready")
    for typed, completed in [("lodge inspe", "lodge inspect"),
                             ("lodge run --virtio-c", "lodge run --virtio-console"),
                             ("lodge run --engine k", "lodge run --engine kvm"),
                             ("lodge completion fi", "lodge completion fish")]:
        session.send(f"{typed}\t")
        session.expect(re.escape(completed))
        session.send("\x15\r")
    session.send("exit\r")
    session.wait()


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
