# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests: whole guests booted by lodge in the lab.

    def test_it(place, kernel, initrd):           # twice: kvm in the lab, bt on this machine
        done = place.run(kernel("cloud"), initrd(), "--cpus", "2", cmdline="quiet")
"""

import pytest

from lab.host import Host
from place import Place


@pytest.fixture(params=["kvm", "bt"])
def place(request):
    """Each engine's Place in turn."""
    machine = request.getfixturevalue("lab") if request.param == "kvm" else Host()
    return Place(request.param, machine)


@pytest.fixture
def kvm(lab):
    """The Place of kvm alone."""
    return Place("kvm", lab)
