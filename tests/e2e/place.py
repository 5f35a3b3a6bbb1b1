# SPDX-License-Identifier: Apache-2.0
"""Where an engine runs guests: kvm in the lab, bt on this machine."""

from dataclasses import dataclass

import bare

# Linux's tests of its own ciphers are seconds of computing, to the software engine and to the lab's
# emulated processor; that they pass is shown by the boots of test_bt.py and test_guests.py.
NO_SELF_TESTS = "cryptomgr.notests"
SELF_TESTS = "cryptomgr.notests=0"  # the last word counts


@dataclass
class Place:
    """An engine, and a machine that has it: the lab for kvm, this machine for bt."""

    engine: str
    machine: object

    def command(self, kernel, initrd, *flags, cmdline=""):
        """lodge's command line for a kernel and an initramfs (paths on the host)."""
        words = ["lodge", "run", "--engine", self.engine, "--kernel", kernel]
        words += ["--initrd", initrd] if initrd else []
        cmdline = f"console=ttyS0 {NO_SELF_TESTS} {cmdline}"
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
