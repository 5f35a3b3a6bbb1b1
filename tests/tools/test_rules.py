# SPDX-License-Identifier: Apache-2.0
"""The source rules (tools/check-*) pass on the tree and fail on a planted violation of each."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"

# A header in each room that is planted into, so that an include of it names a file that is there.
STUBS = ["host/back.h", "host/back_int.h", "engine/kvm/kvm.h", "engine/bt/bt.h",
         "engine/bt/decode/decode.h", "engine/bt/mmu/walk.h", "engine/bt/fpu/x87.h",
         "devices/legacy/port.h", "devices/pci/config.h", "devices/pci/config_int.h",
         "virtio/queue.h", "virtio/mmio.h", "virtio/pci.h", "machine/pc.h", "lib/vm.h",
         "sandbox/seccomp.h"]


def run(tree, rule, *args):
    return subprocess.run([f"tools/check-{rule}", *args], cwd=tree, capture_output=True, text=True,
                          timeout=300)


def guard(path):
    return "LODGE_" + path.replace("/", "_").replace(".", "_").upper()


@pytest.fixture
def tree(tmp_path):
    """A small tree that breaks no rule: base, core, the public header, a stub for each room."""
    for part in ["src/base", "src/core", "include", "tools"]:
        shutil.copytree(ROOT / part, tmp_path / part,
                        ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".clang-format", tmp_path)
    for stub in STUBS:
        path = tmp_path / "src" / stub
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{SPDX}#ifndef {guard(stub)}\n#define {guard(stub)}\n#endif\n")
    return tmp_path


def plant(tree, path, text):
    file = tree / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def refused(result, *words):
    """The rule failed, and said so about what was planted."""
    assert result.returncode == 1, result.stdout + result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize("rule", ["rooms", "sizes", "headers", "format", "text", "scripts"])
def test_small_tree_is_clean(tree, rule):
    result = run(tree, rule)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("rule", ["rooms", "sizes", "headers", "format", "text", "scripts"])
def test_whole_tree_is_clean(rule):
    result = run(ROOT, rule)
    assert result.returncode == 0, result.stdout + result.stderr


INCLUDES = [
    # a room's row
    ("base/x.c", '"core/bus.h"', "room base may not include core/bus.h"),
    ("core/x.c", '"host/back.h"', "room core may not include host/back.h"),
    ("host/x.c", '"devices/legacy/port.h"', "room host may not include"),
    ("host/x.c", '"machine/pc.h"', "room host may not include"),
    ("lib/x.c", '"engine/kvm/kvm.h"', "room lib may not include"),
    ("lib/x.c", '"devices/legacy/port.h"', "room lib may not include"),
    ("sandbox/x.c", '"core/bus.h"', "room sandbox may not include"),
    ("virtio/x.c", '"devices/legacy/port.h"', "room virtio may not include"),
    # an engine includes no devices, virtio, machine or host
    ("engine/kvm/x.c", '"devices/legacy/port.h"', "room engine/kvm may not include"),
    ("engine/kvm/x.c", '"virtio/queue.h"', "room engine/kvm may not include"),
    ("engine/bt/x.c", '"machine/pc.h"', "room engine/bt may not include"),
    ("engine/bt/x.c", '"host/back.h"', "room engine/bt may not include"),
    # devices and virtio include no engine and no machine
    ("devices/legacy/x.c", '"engine/kvm/kvm.h"', "room devices may not include"),
    ("devices/legacy/x.c", '"machine/pc.h"', "room devices may not include"),
    ("virtio/x.c", '"engine/bt/bt.h"', "room virtio may not include"),
    ("virtio/x.c", '"machine/pc.h"', "room virtio may not include"),
    # the two engines do not include each other
    ("engine/kvm/x.c", '"engine/bt/bt.h"', "room engine/kvm may not include"),
    ("engine/bt/x.c", '"engine/kvm/kvm.h"', "room engine/bt may not include"),
    # bt/decode and bt/fpu stand alone
    ("engine/bt/decode/x.c", '"engine/bt/mmu/walk.h"', "stands alone"),
    ("engine/bt/fpu/x.c", '"engine/bt/decode/decode.h"', "stands alone"),
    ("engine/bt/fpu/x.c", '"engine/bt/bt.h"', "stands alone"),
    # a virtio device includes no transport
    ("virtio/blk.c", '"virtio/mmio.h"', "a virtio device includes a transport"),
    ("virtio/blk.c", '"virtio/pci.h"', "a virtio device includes a transport"),
    # api and cli see the public header only
    ("api/x.c", '"core/bus.h"', "room api may not include"),
    ("api/x.c", '"lib/vm.h"', "room api may not include"),
    ("cli/x.c", '"machine/pc.h"', "room cli may not include"),
    ("cli/x.c", '"host/back.h"', "room cli may not include"),
    # private headers, source files, paths
    ("machine/x.c", '"devices/pci/config_int.h"', "is private to room devices"),
    ("devices/legacy/x.c", '"host/back_int.h"', "is private to room host"),
    ("core/x.c", '"core/bus.c"', "includes a .c file"),
    ("core/x.c", '"bus.h"', "not a path from src/"),
    ("cli/x.c", '"lodge/nothing.h"', "no such header in include/"),
    # one kernel header, one room
    ("machine/x.c", "<linux/kvm.h>", "only engine/kvm includes <linux/kvm.h>"),
    ("host/x.c", "<linux/kvm.h>", "only engine/kvm includes <linux/kvm.h>"),
    ("lib/x.c", "<asm/kvm.h>", "only engine/kvm includes <asm/kvm.h>"),
    # rooms that ask nothing of the operating system
    ("core/x.c", "<sys/ioctl.h>", "asks nothing of the operating"),
    ("devices/legacy/x.c", "<unistd.h>", "asks nothing of the operating"),
    ("virtio/x.c", "<sys/socket.h>", "asks nothing of the operating"),
    ("engine/bt/mmu/x.c", "<sys/mman.h>", "asks nothing of the operating"),
]


@pytest.mark.parametrize("path,target,words", INCLUDES)
def test_include(tree, path, target, words):
    plant(tree, f"src/{path}", f"{SPDX}#include {target}\n")
    refused(run(tree, "rooms"), f"src/{path}:2", words)


PERMITTED = [
    ("engine/kvm/x.c", "<linux/kvm.h>"),
    ("machine/x.c", '"engine/kvm/kvm.h"'),
    ("machine/x.c", '"devices/legacy/port.h"'),
    ("devices/pci/x.c", '"devices/pci/config_int.h"'),
    ("virtio/mmio.c", '"virtio/mmio.h"'),
    ("virtio/pci_bar.c", '"virtio/pci.h"'),
    ("virtio/pci.c", '"devices/pci/config.h"'),
    ("engine/bt/decode/x.c", '"engine/bt/decode/decode.h"'),
    ("engine/bt/decode/x.c", '"core/mem.h"'),
    ("cli/x.c", '"lodge/lodge.h"'),
    ("lib/x.c", '"lodge/lodge.h"'),
]


@pytest.mark.parametrize("path,target", PERMITTED)
def test_permitted_include(tree, path, target):
    plant(tree, f"src/{path}", f"{SPDX}#include {target}\n")
    result = run(tree, "rooms")
    assert result.returncode == 0, result.stderr


def test_file_outside_rooms(tree):
    plant(tree, "src/util/x.c", SPDX)
    refused(run(tree, "rooms"), "src/util/x.c: lies in no room")


def test_public_header_includes_nothing_internal(tree):
    plant(tree, "include/lodge/more.h", f'{SPDX}#include "core/bus.h"\n')
    refused(run(tree, "rooms"), "the public header includes core/bus.h")


def test_tests_include_no_source(tree):
    plant(tree, "tests/unit/core/x_test.c", f'{SPDX}#include "core/bus.c"\n')
    refused(run(tree, "rooms"), "includes a .c file")


def test_host_names_a_device(tree):
    plant(tree, "src/host/x.c", f"{SPDX}/* the UART reads this */\nint uart_ready;\n")
    refused(run(tree, "rooms"), "src/host/x.c:3: host names a device: uart_ready")


def test_header_that_everybody_includes(tree):
    for n in range(40):
        plant(tree, f"src/machine/x{n}.c", f'{SPDX}#include "host/back.h"\n')
    refused(run(tree, "rooms"), "src/host/back.h: included by 40 of")


def test_core_headers_may_be_everybodys(tree):
    for n in range(40):
        plant(tree, f"src/machine/x{n}.c", f'{SPDX}#include "core/bus.h"\n')
    assert run(tree, "rooms").returncode == 0


def function(lines, head="void x(void)"):
    """A function whose body has that many lines, braces included."""
    return f"{head}\n{{\n" + "\t;\n" * (lines - 2) + "}\n"


@pytest.mark.parametrize("lines,status", [(150, 0), (151, 1)])
def test_function_size(tree, lines, status):
    plant(tree, "src/core/x.c", SPDX + function(lines))
    result = run(tree, "sizes")
    assert result.returncode == status, result.stderr
    assert ("x has 151 lines, over 150" in result.stderr) == bool(status)


@pytest.mark.parametrize("path,lines,status", [
    ("src/core/x.c", 1000, 0), ("src/core/x.c", 1001, 1),
    ("src/core/x.h", 400, 0), ("src/core/x.h", 401, 1),
    ("tests/unit/core/x_test.c", 1001, 1), ("tests/lab/x.py", 1001, 1)])
def test_file_size(tree, path, lines, status):
    plant(tree, path, SPDX + "\n" * (lines - 1))
    result = run(tree, "sizes")
    assert result.returncode == status, result.stderr
    assert (f"{path}: file has {lines} lines" in result.stderr) == bool(status)


@pytest.mark.parametrize("arguments,status", [
    ("int a, int b, int c, int d, int e, int f", 0),
    ("int a, void (*b)(int x, int y), int c, int d, int e, int f", 0),
    ("int a, int b, int c, int d, int e, int f, int g", 1),
    ("int a, int b, int c,\n\t      int d, int e, int f, ...", 1)])
def test_parameters(tree, arguments, status):
    plant(tree, "src/core/x.c",
          f"{SPDX}\nstatic __attribute__((noinline)) int x({arguments})\n{{\n\treturn a;\n}}\n")
    result = run(tree, "sizes")
    assert result.returncode == status, result.stderr
    assert ("x has 7 parameters, over 6" in result.stderr) == bool(status)


def test_aim_is_reported_not_refused(tree):
    plant(tree, "src/core/x.c", SPDX + function(61))
    result = run(tree, "sizes", "--aims")
    assert result.returncode == 0
    assert "x has 61 lines, over the aim of 60" in result.stdout


def test_header_stands_alone(tree):
    plant(tree, "src/core/x.h", f"{SPDX}#ifndef LODGE_CORE_X_H\n#define LODGE_CORE_X_H\n"
          "uint64_t x(void);\n#endif\n")
    result = run(tree, "headers")
    for compiler in ("gcc", "clang"):
        refused(result, f"src/core/x.h: does not stand by itself ({compiler})")


def test_header_needs_guard(tree):
    plant(tree, "src/core/x.h", f"{SPDX}enum x {{ X }};\n")
    refused(run(tree, "headers"), "src/core/x.h: has no guard")


def test_header_guard_name(tree):
    plant(tree, "src/core/x.h", f"{SPDX}#ifndef CORE_X_H\n#define CORE_X_H\n#endif\n")
    refused(run(tree, "headers"), "src/core/x.h: guard CORE_X_H is not LODGE_..._X_H")


def test_public_header_is_cxx(tree):
    if not shutil.which("g++"):
        pytest.fail("g++ is missing: tools/install-deps check")
    plant(tree, "include/lodge/more.h", f"{SPDX}#ifndef LODGE_MORE_H\n#define LODGE_MORE_H\n"
          "int lodge_new(int new);\n#endif\n")
    refused(run(tree, "headers"), "does not stand by itself (g++)")


@pytest.mark.parametrize("text", ["int x( void );\n", "int f(void)\n{\n    return 1;\n}\n",
                                  "int f(void) {\n\treturn 1;\n}\n"])
def test_format(tree, text):
    plant(tree, "src/core/x.c", SPDX + text)
    refused(run(tree, "format"), "src/core/x.c: not in clang-format's form")
    assert run(tree, "format", "--fix").returncode == 0
    assert run(tree, "format").returncode == 0


@pytest.mark.parametrize("path,text,words", [
    ("src/core/x.c", "int x;\n", "has no line 'SPDX"),
    ("tools/x", "#!/bin/sh\n", "has no line 'SPDX"),
    ("src/core/x.c", "/* A file. */\n" + SPDX, "first line is not"),
    ("src/core/x.c", SPDX + "// note\n", "has // comments"),
    ("src/core/x.c", SPDX + "int x; // note\n", "has // comments"),
    ("src/core/x.c", SPDX + 'char *p = "' + "/hom" + 'e/me/x";\n', ":2: names a path of one"),
    ("docs/x.md", "see " + "/wor" + "k/main\n", ":1: names a path of one machine"),
    ("src/core/x.c", SPDX + "int x; \n", ":2: white space at the end"),
    ("src/core/x.c", SPDX + "int x;", "no newline at its end"),
    ("src/core/x.c", SPDX + "/*" + "x" * 100 + "*/\n", ":2: is over 100 columns wide"),
    ("tests/x.bin", "\0\1", "is binary"),
    ("tools/x", "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n", "cannot be executed")])
def test_text(tree, path, text, words):
    plant(tree, path, text)
    refused(run(tree, "text"), path, words)


def test_shell_script(tree):
    plant(tree, "tools/x", "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\nrm $1\n")
    refused(run(tree, "scripts"), "tools/x:3", "SC2086")


@pytest.mark.parametrize("path", ["tests/x.py", "tools/x"])
def test_python_script(tree, path):
    plant(tree, path, "#!/usr/bin/env python3\n# SPDX-License-Identifier: Apache-2.0\ndef (:\n")
    refused(run(tree, "scripts"), f"{path}:3")


@pytest.mark.parametrize("text,found", [
    ("int x = 1;\n", "x"),
    ("static int x;\nint *f(void) { return &x; }\n", "x"),
    ("int *f(void) { static int calls; return &calls; }\n", "calls"),
    ("extern int y;\nint *x = &y;\n", "x"),
    ("_Thread_local int x;\n", "x"),
    ("const int x = 1;\nextern const int y;\nconst int *const p = &y;\n", None),
    ("static const char *const names[] = {\"a\"};\nconst char *f(int i) { return names[i]; }\n",
     None)])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_globals(tree, compiler, text, found):
    plant(tree, "src/core/x.c", SPDX + text)
    objects = tree / "build" / "src"
    (objects / "core").mkdir(parents=True)
    subprocess.run([compiler, "-O2", "-fPIC", "-fdata-sections", "-c", "-o", objects / "core/x.o",
                    tree / "src/core/x.c"], check=True, timeout=60)
    result = run(tree, "globals", "build/src")
    if found:
        refused(result, f"src/core/x.c: global mutable state: {found}\n")
    else:
        assert result.returncode == 0, result.stderr


def test_rules_together(tree):
    """check-rules passes when each rule does, and fails when one does not."""
    command = ["tools/check-rules"]
    assert subprocess.run(command, cwd=tree, timeout=300).returncode == 0
    plant(tree, "src/core/x.c", SPDX + '#include "host/back.h"\n')
    result = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert "rooms    FAILED" in result.stdout
    assert re.search(r"sizes    (ok|\d+ over the aim)", result.stdout), result.stdout
