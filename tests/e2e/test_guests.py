# SPDX-License-Identifier: Apache-2.0
"""Unmodified Debian kernels under lodge, in the emulated AMD-V machine."""

import re
import time

import pytest

from lab import guests

MARKER = guests.MARKER

# What a Debian kernel says at warning level or above on a machine without a fault, each with its
# cause.  Anything else fails test_a_guest_has_nothing_to_complain_of.
EXPECTED_WARNINGS = []


def run(lab, kernel, initrd, *flags, cmdline="", timeout=120, **options):
    """Runs lodge with a kernel and an initramfs (paths on the host)."""
    return lab.run(["lodge", "run", "--engine", "kvm", "--kernel", kernel, "--initrd", initrd,
                    "--cmdline", f"console=ttyS0 {cmdline}".strip(), *flags],
                   timeout=timeout, **options)


@pytest.mark.parametrize("flavour", ["cloud", "amd64"])
@pytest.mark.parametrize("form, boot", [("bzimage", "bzimage"), ("bzimage", "pvh"),
                                        ("vmlinux", "pvh"), ("vmlinux", "elf"),
                                        ("bzimage", "auto")])
def test_a_64_bit_kernel_boots(lab, kernel, initrd, flavour, form, boot):
    done = run(lab, kernel(flavour, form), initrd(), "--boot", boot,
               cmdline="lodge.show=uname,nproc")
    assert done.status == 0, done.err
    shown = guests.sections(done.stdout)
    assert "x86_64" in shown["uname"]
    assert shown["nproc"].strip() == "1"


def test_a_32_bit_kernel_boots(lab, kernel, initrd):
    done = run(lab, kernel("686"), initrd("i386"), cmdline="lodge.show=uname")
    assert done.status == 0, done.err
    assert "i686" in guests.sections(done.stdout)["uname"]


@pytest.mark.parametrize("cpus", [2, 8])
def test_every_cpu_is_online(lab_smp, kernel, initrd, cpus):
    done = run(lab_smp, kernel("cloud"), initrd(), "--cpus", str(cpus), "--memory", "512M",
               cmdline="lodge.show=nproc,online,interrupts", timeout=240)
    assert done.status == 0, done.err
    shown = guests.sections(done.stdout)
    assert shown["nproc"].strip() == str(cpus)
    assert shown["online"].strip() == f"0-{cpus - 1}"
    assert len(shown["interrupts"].splitlines()[0].split()) == cpus


def test_a_guest_has_nothing_to_complain_of(lab, kernel, initrd):
    done = run(lab, kernel("cloud"), initrd(), cmdline="lodge.show=warnings,dmesg")
    assert done.status == 0, done.err
    shown = guests.sections(done.stdout)
    assert "Linux version" in shown["dmesg"]
    for word in ("Firmware Bug", "ACPI Error", "ACPI Warning", "unchecked MSR", "FW_BUG"):
        assert word not in shown["dmesg"]
    unexpected = [line for line in shown["warnings"].splitlines()
                  if not any(re.search(known, line) for known in EXPECTED_WARNINGS)]
    assert not unexpected, "\n".join(unexpected)


def test_the_machine_is_the_one_described(lab, kernel, initrd):
    done = run(lab, kernel("cloud"), initrd(), "--memory", "4G",
               cmdline="lodge.show=iomem,ioports,interrupts,memory,pci,acpi,clocksource")
    assert done.status == 0, done.err
    shown = guests.sections(done.stdout)
    assert re.search(r"e8000000-e80fffff : PCI (ECAM|MMCONFIG)", shown["iomem"], re.I)
    assert re.search(r"fec00000-fec003ff : IOAPIC 0", shown["iomem"])
    assert re.search(r"100000000-13fffffff : System RAM", shown["iomem"])
    assert "serial" in shown["ioports"]
    assert re.search(r"IO-APIC +4-edge +ttyS0", shown["interrupts"])
    assert re.search(r"IO-APIC +9-\S+ +acpi", shown["interrupts"])
    assert re.search(r"MemTotal: +(39|40|41)\d{5} kB", shown["memory"])
    assert "kvm-clock" in shown["clocksource"].split()
    assert {"APIC", "DSDT", "FACP", "MCFG"} <= set(shown["acpi"].split())


def test_the_wall_clock_is_right_within_a_second(lab, kernel, initrd):
    """The guest's date lies between the host's dates before and after, give or take a second."""
    script = ("date +%s; lodge run --kernel /k --initrd /i --cmdline "
              "'console=ttyS0 quiet lodge.show=date'; date +%s")
    lab.put(kernel("cloud"), "/k")
    lab.put(initrd(), "/i")
    done = lab.run(["sh", "-c", script], timeout=120)
    assert done.status == 0, done.err
    lines = done.out.replace("\r", "").split("\n")
    before, after = int(lines[0]), int([line for line in lines if line.strip()][-1])
    inside = int(guests.sections(done.stdout)["date"])
    assert before - 1 <= inside <= after + 1


def test_reboot_starts_the_guest_again(lab, kernel, initrd):
    session = lab.spawn(["lodge", "run", "--kernel", lab.put(kernel("cloud"), "/k") or "/k",
                         "--initrd", lab.put(initrd(), "/i") or "/i",
                         "--cmdline", "console=ttyS0 quiet lodge.do=reboot"], timeout=240)
    for _ in range(3):
        session.expect(MARKER, timeout=100)
    session.signal(15)
    assert session.wait(timeout=30).status == 130


def test_reboot_ends_the_guest_if_so_told(lab, kernel, initrd):
    done = run(lab, kernel("cloud"), initrd(), "--no-reboot", cmdline="quiet lodge.do=reboot")
    assert done.status == 0, done.err
    assert done.out.count(MARKER) == 1


def test_a_panic_gives_10_and_the_registers(lab, kernel, initrd):
    done = run(lab, kernel("cloud"), initrd(), cmdline="lodge.do=panic")
    assert done.status == 10, done.err
    assert "sysrq triggered crash" in done.out
    assert "panic" in done.err
    assert re.search(r"rip[ =:]+(0x)?ffffffff[89ab]", done.err, re.I)


def test_a_triple_fault_gives_10_and_the_registers(lab, kernel, initrd):
    done = run(lab, kernel("cloud"), initrd(), cmdline="reboot=t quiet lodge.do=reboot")
    assert done.status == 10, done.err
    assert "triple fault" in done.err
    assert re.search(r"\brip\b", done.err, re.I)


def test_the_time_limit_gives_124(lab, kernel, initrd):
    before = time.monotonic()
    done = run(lab, kernel("cloud"), initrd(), "--timeout", "1.5", cmdline="lodge.do=wait")
    assert done.status == 124, done.err
    assert "time limit" in done.err
    assert time.monotonic() - before < 60


@pytest.mark.parametrize("number", [1, 2, 15])
def test_a_signal_ends_it_with_130(lab, kernel, initrd, number):
    session = lab.spawn(["lodge", "run", "--kernel", lab.put(kernel("cloud"), "/k") or "/k",
                         "--initrd", lab.put(initrd(), "/i") or "/i",
                         "--cmdline", "console=ttyS0 quiet lodge.do=wait"], timeout=120)
    session.expect("LODGE-GUEST: wait", timeout=100)
    session.signal(number)
    assert session.wait(timeout=30).status == 130
