# SPDX-License-Identifier: Apache-2.0
"""The build: what a change builds again, what is installed, what the libraries show."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"
MAIN = SPDX + """#include <stdio.h>

#include "base/bits.h"
#include "lodge/lodge.h"

int main(void)
{
	return puts(lodge_version()) < 0;
}
"""
LIB = SPDX + """#include "lodge/lodge.h"

const char *lodge_version(void)
{
	return LODGE_VERSION;
}

const char *private_name(void);
const char *private_name(void)
{
	return "private";
}
"""


@pytest.fixture
def tree(tmp_path):
    """A small lodge of base, one library function and a program."""
    for part in ["src/base", "include", "tools", "docs"]:
        shutil.copytree(ROOT / part, tmp_path / part,
                        ignore=shutil.ignore_patterns("__pycache__"))
    for part in ["Makefile", "VERSION"]:
        shutil.copy(ROOT / part, tmp_path)
    for path, text in [("src/cli/main.c", MAIN), ("src/lib/vm.c", LIB)]:
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def make(tree, *args, status=0):
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    r = subprocess.run(["make", *args], cwd=tree, capture_output=True, text=True, timeout=120,
                       env=env)
    assert r.returncode == status, r.stdout + r.stderr
    return r.stdout + r.stderr


def compiled(output):
    return sorted(line.split()[1] for line in output.splitlines() if line.startswith("  CC "))


def test_builds_what_changed(tree):
    everything = compiled(make(tree))
    assert "src/cli/main.c" in everything and "src/lib/vm.c" in everything
    assert "Nothing to be done" in make(tree)

    (tree / "src/base/bits.h").touch()
    assert "src/cli/main.c" in compiled(make(tree))

    assert compiled(make(tree, "CFLAGS=-O1")) == everything
    assert "Nothing to be done" in make(tree, "CFLAGS=-O1")
    assert compiled(make(tree, "CFLAGS=-O1", "CC=clang")) == everything


def test_removed_source_leaves_the_archive(tree):
    (tree / "src/base/gone.c").write_text(f"{SPDX}int gone(void);\nint gone(void)\n"
                                          "{\n\treturn 1;\n}\n")
    make(tree, "lib")
    members = ["ar", "t", tree / "build/liblodge.a"]
    assert "gone.o" in subprocess.run(members, capture_output=True, text=True).stdout
    (tree / "src/base/gone.c").unlink()
    make(tree, "lib")
    assert "gone.o" not in subprocess.run(members, capture_output=True, text=True).stdout


def test_missing_package_is_named(tree):
    packages = tree / "tools/packages"
    packages.write_text(packages.read_text() + "build  libnone-dev  none/such.h  nothing\n")
    output = make(tree, status=2)
    assert "missing <none/such.h>: it is in Debian's package libnone-dev" in output
    assert "run tools/install-deps build" in output
    assert compiled(output) == []


def test_warning_fails_with_werror(tree):
    (tree / "src/lib/vm.c").write_text(LIB + "static int unused;\n")
    make(tree)
    make(tree, "WERROR=1", "BUILD=build-werror", status=2)


def test_hardened(tree):
    make(tree)
    headers = subprocess.run(["readelf", "-lWd", tree / "build/lodge"], capture_output=True,
                             text=True, check=True).stdout
    assert "GNU_RELRO" in headers and "BIND_NOW" in headers and "PIE" in headers
    stack = next(line for line in headers.splitlines() if "GNU_STACK" in line)
    assert "RW " in stack and "RWE" not in stack
    assert not [line for line in headers.splitlines() if "LOAD" in line and "RWE" in line]


def test_install_and_uninstall(tree, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    where = [f"DESTDIR={root}", "PREFIX=/usr"]
    make(tree, "install", *where)
    pc = root / "usr/lib/pkgconfig"
    assert "-llodge" in subprocess.run(
        ["grep", "^Libs:", pc / "lodge.pc"], capture_output=True, text=True).stdout
    exported = subprocess.run(["nm", "-D", "--defined-only", root / "usr/lib/liblodge.so"],
                              capture_output=True, text=True, check=True).stdout.split()[2::3]
    assert [n for n in exported if not n.startswith("LODGE_")] == ["lodge_version@@LODGE_0"]

    (tree / "user.c").write_text(MAIN.replace('#include "base/bits.h"\n', ""))
    subprocess.run(["gcc", "-o", tree / "user", tree / "user.c", f"-I{root}/usr/include",
                    f"-L{root}/usr/lib", "-llodge"], check=True, timeout=60)
    said = subprocess.run([tree / "user"], capture_output=True, text=True, timeout=60,
                          env={"LD_LIBRARY_PATH": str(root / "usr/lib")}).stdout
    assert said.strip() == (tree / "VERSION").read_text().strip()

    firecracker = root / "usr/bin/firecracker"
    assert os.readlink(firecracker) == "lodge"
    make(tree, "uninstall", *where)
    assert [p for p in root.rglob("*") if p.is_symlink() or not p.is_dir()] == []

    # Somebody else's program of that name is left alone.
    firecracker.write_text("theirs")
    make(tree, "install", *where)
    make(tree, "uninstall", *where)
    assert firecracker.read_text() == "theirs"


def test_sanitizers_find(tree):
    (tree / "src/lib/vm.c").write_text(LIB.replace(
        "\treturn LODGE_VERSION;", "\tstatic const char v[2] = \"0\";\n\tvolatile int i = 2;\n\n"
        "\treturn &v[v[i] != 0];"))
    make(tree, "SANITIZE=address,undefined", "BUILD=build-asan")
    r = subprocess.run([tree / "build-asan/lodge"], capture_output=True, text=True, timeout=60)
    assert r.returncode != 0 and "runtime error" in r.stderr or "AddressSanitizer" in r.stderr


def test_fuzz_run_fails_on_a_crash(tree):
    fuzz = tree / "tests/fuzz"
    fuzz.mkdir(parents=True)
    text = SPDX + """#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1 && data[0] == 'x')
		%s;
	return 0;
}
"""
    (fuzz / "one_fuzz.c").write_text(text % "return 0")
    corpus = fuzz / "corpus/one"
    corpus.mkdir(parents=True)
    (corpus / "seed").write_bytes(b"xy")
    make(tree, "fuzz-run", "FUZZ_SECONDS=1")
    assert [p.name for p in corpus.iterdir()] == ["seed"]
    (fuzz / "one_fuzz.c").write_text(text % "__builtin_trap()")
    assert "FAILED" in make(tree, "fuzz-run", "FUZZ_SECONDS=1", status=2)
