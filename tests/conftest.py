# SPDX-License-Identifier: Apache-2.0
"""Fixtures that the guest, lab and end-to-end tests share.

    def test_boots(lab, kernel, initrd):
        done = lab.run(["lodge", "run", "--kernel", kernel("cloud"), "--initrd", initrd()])
        assert done.status == 0

`kernel(...)` and `initrd(...)` give paths on the host; Machine.run() copies a pathlib.Path that
stands in a command into the emulated machine.
"""

import pytest

from lab import debian, guests, product, qemu, vmlinux
from lab.machine import Machine


class _Machines:
    """Machines by number of CPUs, booted when first asked for and again when one has died."""

    def __init__(self):
        self._machines = {}

    def get(self, cpus):
        machine = self._machines.get(cpus)
        if machine is None or not machine.alive():
            if machine:
                machine.close()
            machine = self._machines[cpus] = Machine(qemu.Options(cpus=cpus, memory=2048))
        if product.lodge().exists():
            machine.put_program(product.lodge(), "/bin/lodge")
        return machine

    def close(self):
        for machine in self._machines.values():
            machine.close()


@pytest.fixture(scope="session")
def _machines():
    machines = _Machines()
    yield machines
    machines.close()


@pytest.fixture
def lab(_machines):
    """The emulated AMD-V machine with one CPU, lodge at /bin/lodge; shared by all tests."""
    return _machines.get(1)


@pytest.fixture
def lab_smp(_machines):
    """The same with two CPUs."""
    return _machines.get(2)


@pytest.fixture
def kernel():
    """kernel(flavour, form): a Debian kernel ("cloud", "amd64", "686", "686-pae") on the host.

    `form` is "bzimage" (as packaged) or "vmlinux" (the ELF file inside it).
    """
    def path(flavour="cloud", form="bzimage"):
        bzimage = debian.vmlinuz(flavour)
        return vmlinux.extract(bzimage) if form == "vmlinux" else bzimage

    return path


@pytest.fixture
def initrd():
    """initrd(arch, files): the guests' initramfs on the host; see lab.guests."""
    return guests.initrd
