# SPDX-License-Identifier: Apache-2.0
"""liblodge as its users have it: installed, found by pkg-config, from C and from Python.

What the engines do is tested through lodge itself; these guests run under bt on this machine.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lab import guests, product

ROOT = Path(__file__).resolve().parents[2]
FLAGS = "-std=c99 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror".split()


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """lodge installed below a prefix."""
    prefix = tmp_path_factory.mktemp("usr")
    product.make("install", f"PREFIX={prefix}")
    return prefix


@pytest.fixture(scope="session")
def environment(installed):
    """What a program needs to find that library."""
    return {**os.environ, "PKG_CONFIG_PATH": f"{installed}/lib/pkgconfig",
            "LD_LIBRARY_PATH": f"{installed}/lib", "PYTHONPATH": str(ROOT / "bindings/python"),
            "PYTHONDONTWRITEBYTECODE": "1"}


def run(command, environment, status=0, timeout=300):
    """Runs it; what it printed."""
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True,
                          text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def example(environment, tmp_path):
    """Compiles an example as its head says; its path."""

    def build(name):
        flags = shlex.split(run(["pkg-config", "--cflags", "--libs", "lodge"], environment))
        run(["cc", *FLAGS, ROOT / f"examples/{name}.c", *flags, "-o", tmp_path / name], environment)
        return tmp_path / name

    return build


def test_hello(example, environment, kernel, initrd):
    assert guests.MARKER in run([example("hello"), kernel("cloud"), initrd()], environment)


def test_several(example, environment, kernel, initrd):
    text = run([example("several"), kernel("cloud"), initrd(), 3], environment)
    for number in range(3):
        assert f"{number}: {guests.MARKER}" in text
        assert f"{number}: ended with 0" in text


def test_watch(example, environment, kernel, initrd):
    text = run([example("watch"), kernel("cloud"), initrd(), "LODGE-GUEST: wait",
                "console=ttyS0 quiet lodge.do=wait"], environment)
    assert re.findall("event: (.*)", text) == ["paused", "resumed", "ended"]
    assert len(re.findall(r"^counter: .* [1-9]\d*$", text, re.MULTILINE)) == 3


PROGRAM = f"""
import sys, lodge
kernel, initrd = sys.argv[1:]

with lodge.VM(kernel=kernel, initrd=initrd, memory="128M", rng=True,
              cmdline="console=ttyS0 quiet lodge.show=nproc", cpus=2) as vm:
    assert vm.state == lodge.State.CREATED
    console = vm.start()
    vm.pause()
    assert vm.state == lodge.State.PAUSED
    assert vm.devices() == ["rng"]
    assert vm.device_stats("rng").keys() >= set(
        ["notifications", "requests", "bytes", "throttled"])
    try:
        vm.wait(0.05)
        raise SystemExit("it has ended in its pause")
    except TimeoutError:
        pass
    vm.resume()
    text = b"".join(console).decode()
    assert "{guests.MARKER}" in text and "2" in text.split(), text
    result = vm.wait()
    assert result.end == lodge.End.POWEROFF and not result.text, result
    assert [e.kind.name for e in vm.events()] == ["PAUSED", "RESUMED", "ENDED"]
    assert vm.state == lodge.State.ENDED
    assert sum(vm.stats().values())
    usage = vm.usage()
    assert usage.engine in ("kvm", "bt") and usage.cpus == 2 and usage.memory == 128 << 20
    assert 0 < usage.cpu_time < 2 * usage.uptime
    assert len(usage.cpu_times) == 2 and min(usage.cpu_times) > 0

with lodge.VM() as vm:
    for name, value in [("cpus", "0"), ("colour", "red")]:
        try:
            vm.set(name, value)
            raise SystemExit(name + " was taken")
        except lodge.Error as e:
            assert name in str(e), e
    try:
        vm.start()
        raise SystemExit("it has started without a kernel")
    except lodge.Error as e:
        assert "kernel" in str(e)

print(lodge.version())
"""


def test_python(environment, kernel, initrd):
    text = run([sys.executable, "-c", PROGRAM, kernel("cloud"), initrd()], environment)
    assert text.strip() == (ROOT / "VERSION").read_text().strip()


def declared_functions():
    """Names of all functions of the header."""
    header = (ROOT / "include/lodge/lodge.h").read_text()
    return set(re.findall(r"^[a-z][\w ]*[ *](lodge_\w+)\(", header, re.MULTILINE))


def test_the_manual_page_names_every_function():
    """And none that there is not."""
    page = (ROOT / "docs/liblodge.3.scd").read_text()
    assert set(re.findall(r"\*(lodge_\w+)\*", page)) == declared_functions()


def test_the_library_exports_what_the_header_has(installed):
    """With a version each, and nothing else."""
    text = subprocess.run(["nm", "-D", "--defined-only", installed / "lib/liblodge.so"],
                          capture_output=True, text=True, check=True, timeout=60).stdout
    symbols = {row.split()[2] for row in text.splitlines() if row.split()[1] != "A"}
    assert symbols == {f"{name}@@LODGE_0" for name in declared_functions()}


def test_python_knows_every_function_of_the_header():
    """All but those that give text to free()."""
    declared = declared_functions()
    bound = set(re.findall(r'"(lodge_\w+)":', (ROOT / "bindings/python/lodge.py").read_text()))
    assert len(declared) > 15
    assert declared - bound == {"lodge_host_text", "lodge_host_json", "lodge_config_name"}
    assert bound <= declared
