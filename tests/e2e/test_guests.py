# SPDX-License-Identifier: Apache-2.0
"""Unmodified Debian kernels under lodge: under kvm in the emulated AMD-V machine, and what both
engines are to do alike under bt on this one.  More of bt is in test_bt.py."""

import re
import signal
import time

import pytest

import oops
from lab import debian, guests, modules
from place import SELF_TESTS

MARKER = guests.MARKER

# What a Debian kernel says at warning level or above through no fault of lodge: lines that are cut
# out before the rest is looked at. With an AMD processor's model number (-cpu EPYC's in the lab,
# the host's under bt) and no microcode, the mitigation cannot work; and the machines share their
# host with others.
EXPECTED = [r".*Speculative Return Stack Overflow: .*\n", r".*hrtimer: interrupt took \d+ ns\n"]

# KVM does not learn of an XSETBV in the emulated machine, so the size in CPUID leaf 0xD stays that
# of power-on; Linux warns with a trace, under QEMU's pc machine with KVM in the lab as well.
EXPECTED_IN_THE_LAB = [
    r".*cut here.*\n.*XSAVE consistency problem: size 832 != kernel_size 576\n"
    r"(.*\n)*?.*end trace.*\n(.*CPUID\[0d, [0-9a-f]{2}\]: .*\n)+",
]


# Linux prefers an invariant TSC, which bt has and the lab's processor has not, to kvm-clock.
CLOCK = {"kvm": "kvm-clock", "bt": "tsc"}


# Kernels and ways to enter them


@pytest.mark.parametrize("flavour, form, boot", [
    ("cloud", "bzimage", "bzimage"), ("cloud", "bzimage", "pvh"), ("cloud", "vmlinux", "pvh"),
    ("cloud", "vmlinux", "elf"),
    ("amd64", "bzimage", "bzimage"), ("amd64", "bzimage", "pvh"), ("amd64", "vmlinux", "pvh"),
])
def test_a_64_bit_kernel_boots(kvm, kernel, initrd, flavour, form, boot):
    """Once of each with the kernel's tests of its own ciphers."""
    tests = SELF_TESTS if (form, boot) == ("bzimage", "bzimage") else ""
    done = kvm.run(kernel(flavour, form), initrd(), "--boot", boot,
                   cmdline=f"quiet {tests} lodge.show=uname,nproc")
    assert done.status == 0, done.err
    shown = guests.sections(done.stdout)
    assert f" {debian.release(flavour)} " in shown["uname"] and "x86_64" in shown["uname"]
    assert shown["nproc"] == "1\n"
    assert done.err == ""


@pytest.mark.parametrize("form, boot", [("bzimage", "bzimage"), ("bzimage", "auto")])
def test_a_32_bit_kernel_boots(kvm, kernel, initrd, form, boot):
    done = kvm.run(kernel("686", form), initrd("i386"), "--boot", boot,
                   cmdline="quiet lodge.show=uname")
    assert done.status == 0, done.err
    assert f" {debian.release('686')} " in guests.sections(done.stdout)["uname"]


# In the machine with one CPU: see docs/lab.md on the lab's QEMU with several.


@pytest.mark.parametrize("cpus", [2, 8])
def test_every_cpu_is_online(kvm, kernel, initrd, cpus):
    done = kvm.run(kernel("cloud"), initrd(), "--cpus", str(cpus), "--memory", "512M",
                   cmdline="quiet lodge.show=nproc,online,interrupts")
    guests.all_online(done, cpus)


@pytest.mark.slow
def test_64_cpus_are_online(kvm, kernel, initrd):
    done = kvm.run(kernel("cloud"), initrd(), "--cpus", "64", "--memory", "1G",
                   cmdline="quiet lodge.show=nproc,online,interrupts", timeout=1500)
    guests.all_online(done, 64)


# What the guest sees


def test_a_guest_has_nothing_to_complain_of(place, kernel, initrd):
    done = place.run(kernel("cloud"), initrd(), cmdline="quiet lodge.show=warnings,dmesg")
    assert done.status == 0, done.err
    shown = guests.sections(done.stdout)
    assert "Linux version" in shown["dmesg"]
    for word in ("Firmware Bug", "FW_BUG", "ACPI Error", "ACPI Warning", "ACPI BIOS",
                 "unchecked MSR", "Call Trace: <IRQ>", "nobody cared", "soft lockup"):
        assert word not in shown["dmesg"]
    expected = EXPECTED + (EXPECTED_IN_THE_LAB if place.engine == "kvm" else [])
    left = re.sub("|".join(expected), "", shown["warnings"])
    assert not left, left


def test_the_machine_is_the_one_described(place, kernel, initrd):
    done = place.run(kernel("cloud"), initrd(), "--memory", "4G",
                     cmdline="quiet "
                     "lodge.show=iomem,ioports,interrupts,memory,pci,acpi,clocksource,cpuinfo")
    assert done.status == 0, done.err
    shown = guests.sections(done.stdout)
    assert re.search(r"e8000000-e80fffff : PCI (ECAM|MMCONFIG)", shown["iomem"], re.I)
    assert re.search(r"fec00000-fec003ff : IOAPIC 0", shown["iomem"])
    assert re.search(r"100000000-13fffffff : System RAM", shown["iomem"])
    assert "serial" in shown["ioports"]
    assert re.search(r"IO-APIC +4-edge +ttyS0", shown["interrupts"])
    assert re.search(r"IO-APIC +9-\S+ +acpi", shown["interrupts"])
    assert re.search(r"(ERR|MIS): +0$", shown["interrupts"], re.M)
    assert re.search(r"MemTotal: +(39|40|41)\d{5} kB", shown["memory"])
    assert CLOCK[place.engine] in shown["clocksource"].split()
    assert {"APIC", "DSDT", "FACP", "MCFG"} <= set(shown["acpi"].split())
    assert " hypervisor " in shown["cpuinfo"] and " svm " not in shown["cpuinfo"]


def now(machine):
    """Its clock, in seconds."""
    return int(machine.run(["date", "+%s"]).out)


@pytest.mark.parametrize("kvmclock", ["on", "off"])
def test_the_wall_clock_is_right_within_a_second(place, kernel, initrd, kvmclock):
    """The guest looks at it between two looks at the host's."""
    session = place.spawn(kernel("cloud"), initrd(), "--kvmclock", kvmclock,
                          cmdline="quiet lodge.do=shell")
    session.expect(MARKER, timeout=200)
    session.send("\necho rea''dy\n")
    session.expect("ready", timeout=100)
    before = now(place.machine)
    session.send("echo it is $(date +%s).\n")
    inside = int(session.expect(r"it is (\d+)\.", timeout=100)[1])
    assert before - 1 <= inside <= now(place.machine) + 1
    session.send("exit\n")
    assert session.wait(timeout=60).status == 0


# Ends


def test_reboot_starts_the_guest_again(place, kernel, initrd):
    """Three times, each with the same memory map and a log that begins anew."""
    session = place.spawn(kernel("cloud"), initrd(),
                          cmdline="quiet lodge.show=e820 lodge.do=reboot", timeout=500)
    for _ in range(4):
        session.expect("LODGE-GUEST: end e820", timeout=200)
    session.signal(signal.SIGTERM)
    assert session.wait(timeout=60).status == 130
    boots = bytes(session.stdout).decode().replace("\r", "").split(MARKER)[1:5]
    maps = [guests.sections(text)["e820"] for text in boots]
    assert maps[0].count("usable") == 2 and maps[0].count("e820: [mem 0x") > 2
    assert maps == maps[:1] * 4


@pytest.mark.parametrize("keys", ["kkk", "999", "k9k"])
def test_memory_is_zero_after_a_reset(place, keys):
    session = place.machine.spawn(place.bare("memory"), timeout=200)
    for key in keys + "o":
        found = session.expect(r"not zero: ([0-9a-f]+)\n", timeout=60)
        assert found[1] == b"00000000"
        session.send(key)
    assert session.wait().status == 0


def test_reboot_ends_the_guest_if_so_told(place, kernel, initrd):
    done = place.run(kernel("cloud"), initrd(), "--no-reboot", cmdline="quiet lodge.do=reboot")
    assert done.status == 0, done.err
    assert done.out.count(MARKER) == 1


@pytest.mark.parametrize("flavour", ["cloud", "amd64"])
def test_a_panic_gives_10_its_reason_and_the_registers(place, kernel, initrd, flavour):
    done = place.run(kernel(flavour), initrd(), cmdline="quiet lodge.do=panic")
    assert done.status == 10, done.err
    lines = done.err.splitlines()
    assert lines[0] == "lodge: the guest's kernel panicked: sysrq triggered crash"
    assert re.match(r"vCPU 0: .*64-bit", lines[1])
    assert re.match(r"  RIP=ffffffff[89ab][0-9a-f]{7} ", lines[2])


def test_a_panic_before_user_space_is_told_too(place, kernel):
    done = place.run(kernel("cloud"), None, cmdline="quiet root=/dev/none")
    assert done.status == 10, done.err
    assert re.match(r"lodge: the guest's kernel panicked: VFS: Unable to mount root fs", done.err)


def test_an_oops_that_the_kernel_survives_ends_nothing(place, kernel, initrd):
    archive = initrd(files={"payload/oops.ko": oops.module("amd64")})
    done = place.run(kernel("amd64"), archive, cmdline="quiet lodge.do=shell",
                     stdin="\ninsmod /payload/oops.ko\necho surv''ived\n"
                     "dmesg | grep -c 'invalid opcode'\nexit\n")
    assert done.status == 0, done.err
    said = [line for line in done.out.replace("\r", "").splitlines() if line[:1] != "/"]
    assert "survived" in said and "1" in said, done.out
    assert "panic" not in done.err


def test_a_triple_fault_gives_10_and_the_registers(place, kernel, initrd):
    done = place.run(kernel("cloud"), initrd(), cmdline="reboot=t quiet lodge.do=reboot")
    assert done.status == 10, done.err
    assert "triple fault" in done.err.splitlines()[0]
    assert re.search(r"^  RIP=[0-9a-f]{16} ", done.err, re.M)


def test_a_report_by_pvpanic_gives_10(place):
    done = place.machine.run(place.bare("panic"))
    assert (done.status, done.out) == (10, "")
    assert done.err.startswith("lodge: the guest reported a panic\nvCPU 0: ")


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_the_debug_exit_port_gives_its_status(place, code):
    done = place.machine.run(place.bare(f"exit {code}", "--debug-exit", "on"))
    assert (done.status, done.out, done.err) == (code, "", "")


def test_the_debug_exit_port_is_not_there_unasked(place):
    assert place.machine.run(place.bare("exit 77", "--timeout", "2")).status == 124


def test_what_nobody_claims_reads_as_ones(place):
    done = place.machine.run(place.bare("unclaimed"))
    assert (done.status, done.out) == (0, "ffffffffffff\n")


@pytest.mark.parametrize("words", ["wait", "spin"])
def test_the_time_limit_gives_124(place, words):
    for limit in ("1.5", "6", "24"):  # on a busy machine the guest may need some to say a word
        began = time.monotonic()
        done = place.machine.run(place.bare(words, "--timeout", limit))
        if done.out:
            break
    assert (done.status, done.out) == (124, "bare\n")
    assert done.err == f"lodge: stopped after the time limit of {limit} seconds\n"
    assert time.monotonic() - began > 0.9 * float(limit)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_130(place, kernel, initrd, number):
    session = place.spawn(kernel("cloud"), initrd(), cmdline="quiet lodge.do=wait")
    session.expect("LODGE-GUEST: wait", timeout=200)
    session.signal(number)
    done = session.wait(timeout=60)
    assert (done.status, done.err) == (130, "")


# The user's hands on a Debian guest


def test_ctrl_alt_del_reboots_the_guest(place, kernel, initrd):
    session = place.spawn(kernel("cloud"), initrd(), "--no-reboot",
                          cmdline="quiet lodge.do=wait", pty=True)
    session.expect("LODGE-GUEST: wait", timeout=200)
    session.send(b"\x01c")
    assert session.wait(timeout=100).status == 0


def test_the_power_button_reaches_a_guests_driver(place, kernel, initrd):
    """Debian's button driver is a module; what a desktop does, a line of shell does."""
    loaded = modules.in_order(debian.modules("cloud"), ["button"])
    archive = initrd(files={f"payload/{name}": image for name, image in loaded})
    session = place.spawn(kernel("cloud"), archive, cmdline="quiet lodge.do=shell", pty=True)
    session.expect(MARKER, timeout=200)
    session.send("\n" + "".join(f"insmod /payload/{name}; " for name, _ in loaded)
                 + "echo rea''dy; while read n _ </sys/firmware/acpi/interrupts/ff_pwr_btn; "
                 "[ $n = 0 ]; do sleep 1; done; poweroff -f\n")
    session.expect("ready", timeout=100)
    session.send(b"\x01p")
    assert session.wait(timeout=100).status == 0
