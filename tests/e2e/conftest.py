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

import bare
from lab import debian, guests
from lab.host import Host

# Linux's tests of its own ciphers are seconds of computing to the software engine; that they pass
# is shown by the boots of test_bt.py.
NO_SELF_TESTS = "cryptomgr.notests"


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


@dataclass
class Place:
    """An engine, and a machine that has it: the lab for kvm, this machine for bt."""

    engine: str
    machine: object

    def command(self, kernel, initrd, *flags, cmdline=""):
        """lodge's command line for a kernel and an initramfs (paths on the host)."""
        words = ["lodge", "run", "--engine", self.engine, "--kernel", kernel]
        words += ["--initrd", initrd] if initrd else []
        cmdline = f"console=ttyS0 {NO_SELF_TESTS if self.engine == 'bt' else ''} {cmdline}"
        return [*words, "--cmdline", cmdline.strip(), *flags]

    def run(self, kernel, initrd, *flags, cmdline="quiet", timeout=300, **options):
        """Runs lodge with a kernel to its end."""
        return self.machine.run(self.command(kernel, initrd, *flags, cmdline=cmdline),
                                timeout=timeout, **options)

    def spawn(self, kernel, initrd, *flags, cmdline="quiet", timeout=300, **options):
        """Starts lodge with a kernel; returns its Session."""
        return self.machine.spawn(self.command(kernel, initrd, *flags, cmdline=cmdline),
                                  timeout=timeout, **options)

    def bare(self, words, *flags):
        """lodge's command line for a bare guest."""
        return bare.command(words, *flags, engine=self.engine)


@pytest.fixture(params=["kvm", "bt"])
def place(request):
    """Each engine's Place in turn."""
    machine = request.getfixturevalue("lab") if request.param == "kvm" else Host()
    return Place(request.param, machine)


@pytest.fixture
def kvm(lab):
    """The Place of kvm alone."""
    return Place("kvm", lab)
