# SPDX-License-Identifier: Apache-2.0
"""What the tests of disks share: lodge on this machine, under the software engine."""

import subprocess

import pytest

from lab import debian, guests
from lab.host import Host

# A disk's options, and the drivers of the bus that it is on.
DISKS = {"cached": "", "direct": ",direct", "one-queue": ",queues=1", "qcow2": ",format=qcow2"}
BUSES = {"pci": "virtio_pci", "mmio": "virtio_mmio"}


def command(disk, initrd, *flags, cmdline="quiet", memory="512M"):
    """lodge's command line for a guest with a disk (FILE with options)."""
    return ["lodge", "run", "--engine", "bt", "--memory", memory, "--cpus", "2", "--kernel",
            debian.vmlinuz("cloud"), "--initrd", initrd, "--disk", disk, *flags, "--cmdline",
            f"console=ttyS0 cryptomgr.notests {cmdline}"]


def show(disk, bus, script, files, *flags, timeout=900):
    """What a guest's script prints, and the whole Result."""
    image = guests.initrd(files=guests.with_drivers(["virtio_blk", BUSES[bus]], script, files))
    done = Host().run(command(disk, image, "--virtio", bus, *flags,
                              cmdline="quiet lodge.show=script"), timeout=timeout)
    assert done.status == 0, done.err + done.out[-2000:]
    return guests.sections(done.stdout)["script"], done


def as_qcow2(path):
    """The same as a qcow2 image, in its place."""
    aside = path.with_suffix(".raw")
    path.rename(aside)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(aside), str(path)],
                   check=True)
    aside.unlink()


def sound_raw(path, name="raw.img"):
    """A raw copy of a qcow2 image, whose worst may be clusters that nobody uses: an image that was
    not closed may have such."""
    check = subprocess.run(["qemu-img", "check", "-f", "qcow2", str(path)], capture_output=True,
                           text=True)
    assert check.returncode in (0, 3), check.stdout + check.stderr
    raw = path.with_name(name)
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(path), str(raw)],
                   check=True)
    return raw


@pytest.fixture
def image(tmp_path):
    """image(size): the name of a sparse image of so many MiB."""
    def make(size, name="disk.img"):
        path = tmp_path / name
        with path.open("wb") as f:
            f.truncate(size << 20)
        return path

    return make


@pytest.fixture
def ext4(image):
    """ext4(size): the same with an empty ext4 file system in it."""
    def make(size):
        path = image(size)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(path)], check=True,
                       stdout=subprocess.DEVNULL)
        return path

    return make
