# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests: whole guests booted by lodge in the lab.

    def test_it(boot):
        booted = boot("cloud", show=["nproc"], cpus=2)
        assert booted.status == 0 and booted.shown["nproc"] == "2\\n"

    def test_that(place, kernel, initrd):           # twice: kvm in the lab, bt on this machine
        done = place.run(kernel("cloud"), initrd(), "--cpus", "2", cmdline="quiet")
"""

from dataclasses import dataclass

import pytest

from lab import debian, guests
from lab.host import Host
from place import Place

@dataclass
class Booted:
    """A guest's whole life: lodge's Result, and what the guest showed on its console."""

    done: object
    shown: dict

    @property
    def status(self):
        """lodge's exit status."""
        return self.done.status

    @property
    def console(self):
        """The guest's console output."""
        return self.done.out


@pytest.fixture
def boot(lab, kernel, initrd):
    """boot(flavour, ...): boots a Debian kernel under `lodge run` in the lab to its end.

    form       "bzimage" or "vmlinux"
    show, do   what the guest prints and does then (see lab.guests)
    cmdline    further words for the guest's kernel
    arguments  further words for lodge
    machine    another lab machine (the default is the one-CPU one)
    """
    def run(flavour="cloud", *, form="bzimage", engine="kvm", cpus=1, memory="256M", show=(),
            do="poweroff", cmdline="", arguments=(), machine=None, timeout=180):
        words = f"console=ttyS0 quiet panic=-1 lodge.show={','.join(show)} lodge.do={do} {cmdline}"
        argv = ["lodge", "run", "--engine", engine, "--cpus", str(cpus), "--memory", memory,
                "--kernel", kernel(flavour, form), "--initrd",
                initrd(debian.FLAVOURS[flavour][1]), "--cmdline", words.strip(), *arguments]
        done = (machine or lab).run(argv, timeout=timeout)
        return Booted(done, guests.sections(done.out))

    return run


@pytest.fixture(params=["kvm", "bt"])
def place(request):
    """Each engine's Place in turn."""
    machine = request.getfixturevalue("lab") if request.param == "kvm" else Host()
    return Place(request.param, machine)


@pytest.fixture
def kvm(lab):
    """The Place of kvm alone."""
    return Place("kvm", lab)
