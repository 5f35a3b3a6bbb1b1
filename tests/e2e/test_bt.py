# SPDX-License-Identifier: Apache-2.0
"""Unmodified Debian kernels under the software engine, on this machine: no lab, no KVM.

What both engines are to do alike is in test_guests.py.  The whole matrix, with the kernels' own
tests of their ciphers, is `make check-slow`.
"""

import os
import re
import time

import pytest

from place import NO_SELF_TESTS, Place
from lab import debian, guests
from lab.host import Host

SLOW = pytest.mark.slow


@pytest.fixture
def bt():
    """The Place of bt alone."""
    return Place("bt", Host())


def matrix():
    """(flavour, form, way of entry, vCPUs): some for every run, all for the slow one."""
    often = [("cloud", "bzimage", "auto", 2), ("cloud", "vmlinux", "elf", 1),
             ("686", "bzimage", "auto", 1), ("686-pae", "bzimage", "auto", 2)]
    forms = [("bzimage", "auto"), ("bzimage", "bzimage"), ("vmlinux", "auto")]
    rows = [(flavour, *form, cpus) for flavour in debian.FLAVOURS for form in forms
            for cpus in (1, 2, 4)]
    return often + [pytest.param(*row, marks=SLOW) for row in rows if row not in often]


def boots(bt, kernel, initrd, row, words):
    flavour, form, boot, cpus = row
    done = bt.machine.run(
        ["lodge", "run", "--engine", bt.engine, "--cpus", str(cpus), "--memory", "256M",
         "--boot", boot, "--kernel", kernel(flavour, form),
         "--initrd", initrd(debian.FLAVOURS[flavour][1]), "--cmdline",
         f"console=ttyS0 quiet {words} lodge.show=uname,nproc,online,interrupts,dmesg"],
        timeout=900)
    guests.all_online(done, cpus)
    shown = guests.sections(done.stdout)
    assert f" {debian.release(flavour)} " in shown["uname"]
    assert not re.search(r"alg: .*fail|soft lockup|rcu.*stall|Oops|BUG:", shown["dmesg"])
    assert ("alg: self-tests disabled" in shown["dmesg"]) == (NO_SELF_TESTS in words)
    assert done.err == ""
    return shown


@pytest.mark.parametrize("flavour, form, boot, cpus", matrix())
def test_a_kernel_boots(bt, kernel, initrd, flavour, form, boot, cpus):
    boots(bt, kernel, initrd, (flavour, form, boot, cpus), NO_SELF_TESTS)


@pytest.mark.parametrize("engine", ["bt,interp", "bt,code=8M",
                                    pytest.param("bt,check", marks=SLOW)])
def test_a_kernel_boots_in_other_ways(kernel, initrd, engine):
    """By the interpreter alone; translated, with room for a fraction of the code; and with blocks
    held against the interpreter."""
    boots(Place(engine, Host()), kernel, initrd, ("cloud", "vmlinux", "elf", 1), NO_SELF_TESTS)


@pytest.mark.parametrize("flavour, cpus", [
    ("cloud", 1), *(pytest.param(flavour, cpus, marks=SLOW) for flavour, cpus in
                    [("cloud", 4), ("amd64", 1), ("686", 1), ("686-pae", 2)])])
def test_a_kernels_tests_of_its_ciphers_pass(bt, kernel, initrd, flavour, cpus):
    """With them a boot is most of what a processor can do: AES, PCLMUL, SHA, AVX2, division."""
    boots(bt, kernel, initrd, (flavour, "bzimage", "auto", cpus), "")


def cpu_seconds(pid):
    """User and system time of a process, in seconds (proc(5), stat)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("cpus", [1, pytest.param(4, marks=SLOW)])
def test_an_idle_guest_costs_next_to_nothing(bt, kernel, initrd, cpus):
    """Processor time, which other work on this machine does not change."""
    session = bt.spawn(kernel("cloud"), initrd(), "--cpus", str(cpus),
                       cmdline="quiet lodge.do=wait")
    session.expect("LODGE-GUEST: wait", timeout=200)
    time.sleep(3)
    for _ in range(4):  # what the kernel puts off until after the boot may take its time
        before = cpu_seconds(session.pid)
        time.sleep(10)
        used = cpu_seconds(session.pid) - before
        if used < 0.02 * 10:
            break
    assert not session.ended()
    session.signal(15)
    assert session.wait(timeout=60).status == 130
    assert used < 0.02 * 10
