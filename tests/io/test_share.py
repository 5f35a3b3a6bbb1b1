# SPDX-License-Identifier: Apache-2.0
"""A shared directory with 100,000 files in it at once, made, listed, moved and removed."""

from pathlib import Path

import pytest

from conftest import BUSES
from lab import cache, debian, guests
from lab.host import Host

FILES = 100_000


@pytest.mark.io
@pytest.mark.parametrize("bus", BUSES)
def test_a_hundred_thousand_files(tmp_path, bus):
    files = {"fsworker": Path(cache.static_program("../e2e/fsworker.c")).read_bytes()}
    script = f"mkdir /m; mount -t virtiofs shared /m; /fsworker torture /m {FILES}"
    image = guests.initrd(files=guests.with_drivers(["virtiofs", BUSES[bus]], script, files))
    done = Host().run(["lodge", "run", "--engine", "bt", "--cpus", "2", "--memory", "1G",
                       "--kernel", debian.vmlinuz("cloud"), "--initrd", image, "--share",
                       f"{tmp_path}:shared", "--virtio", bus, "--cmdline",
                       "console=ttyS0 quiet cryptomgr.notests lodge.show=script"], timeout=3000)
    assert done.status == 0 and done.err == "", done.err
    assert "done torture 0" in done.out, done.out[-2000:]
    assert not list(tmp_path.iterdir())
