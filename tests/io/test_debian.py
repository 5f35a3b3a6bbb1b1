# SPDX-License-Identifier: Apache-2.0
"""Debian boots from an ext4 file system on a virtio disk to systemd's multi-user target, and leaves
the file system clean."""

import re
import subprocess
import sys

import pytest

from conftest import command, run
from lab import rootdisk
from lab.host import Host

pytestmark = pytest.mark.io


@pytest.fixture
def disk(tmp_path):
    return rootdisk.copy(tmp_path / "root.img")


def fsck(disk):
    done = subprocess.run(["e2fsck", "-fn", str(disk)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("engine, bus", [("bt", "pci"), ("bt", "mmio"), ("kvm", "pci")])
def test_debian_reaches_its_multi_user_target(disk, engine, bus):
    script = "dd if=/dev/urandom of=/data bs=64k count=256 2>/dev/null; md5sum /data; sync\n"
    done = run(engine, disk, rootdisk.initrd(script), "--virtio", bus,
               cmdline="quiet lodge.do=script")
    reached = re.search(r"LODGE-DISK: multi-user ([\d.]+)", done.out)
    assert reached, done.out[-2000:]
    assert "LODGE-DISK: failed 0" in done.out
    assert re.search(r"LODGE-DISK: root /dev/vda +ext4 +rw", done.out), done.out[-2000:]
    print(f"\n{engine}, {bus}: multi-user after {reached[1]} s of the guest's, "
          f"{(done.user_us + done.system_us) / 1e6:.1f} s of the processor until power-off",
          file=sys.stderr)
    fsck(disk)
    written = re.search(r"([0-9a-f]{32})  /data", done.out)[1]
    held = subprocess.run(["debugfs", "-R", "cat /data", str(disk)], capture_output=True)
    sums = subprocess.run(["md5sum"], input=held.stdout, capture_output=True)
    assert sums.stdout.split()[0].decode() == written


def test_debian_boots_again_after_its_monitor_was_killed(disk):
    session = Host().spawn(command(disk, rootdisk.initrd(), cmdline="quiet lodge.do=wait"),
                           timeout=600)
    session.expect("LODGE-DISK: root", timeout=300)
    session.signal(9)
    session.wait(timeout=60)
    done = Host().run(command(disk, rootdisk.initrd(), cmdline="quiet"), timeout=600)
    assert done.status == 0 and "LODGE-DISK: failed 0" in done.out, done.out[-2000:]
    fsck(disk)
