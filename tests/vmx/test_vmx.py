# SPDX-License-Identifier: Apache-2.0
"""lodge on VT-x, in the machine that Bochs emulates (`make check-vmx`).

Slow: each test boots a machine of its own, at least half a minute of CPU.
"""

import pytest

from lab import bochs, cache, debian, guests, product

pytestmark = pytest.mark.vmx


def test_the_machine_has_vt_x_and_kvm_uses_it():
    done = bochs.run(["sh", "-c", '"$1" 100 && cat /sys/module/kvm_intel/parameters/ept', "sh",
                      cache.static_program("kvmprobe.c")])
    assert (done.status, done.out, done.err) == (0, "kvmprobe: ok\nY\n", "")


@pytest.mark.parametrize("form", ["bzimage", "vmlinux"])
def test_a_debian_guest_boots_under_kvm_intel(form, kernel):
    done = bochs.run(["lodge", "run", "--engine", "kvm", "--memory", "256M", "--kernel",
                      kernel("cloud", form), "--initrd", guests.initrd(), "--cmdline",
                      "console=ttyS0 quiet panic=-1 lodge.show=uname,nproc"],
                     programs=[(product.lodge(), "/bin/lodge")], memory=1024, timeout=1500)
    shown = guests.sections(done.out)
    assert done.status == 0, done.err
    assert debian.release("cloud") in shown["uname"] and shown["nproc"] == "1\n"
