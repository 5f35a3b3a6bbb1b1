# SPDX-License-Identifier: Apache-2.0
"""What the tests of disks share: where lodge runs, on this machine under the software engine or in
the lab under KVM, and its guests."""

import contextlib
import subprocess

import pytest

from lab import debian, guests, modules, product, qemu
from lab.host import Host
from lab.machine import Machine

# A disk's options, and the drivers of the bus that it is on.
DISKS = {"cached": "", "direct": ",direct", "one-queue": ",queues=1", "qcow2": ",format=qcow2"}
BUSES = {"pci": "virtio_pci", "mmio": "virtio_mmio"}


def command(disk, initrd, *flags, cmdline="quiet", memory="512M", engine="bt"):
    """lodge's command line for a guest with a disk (FILE with options)."""
    return ["lodge", "run", "--engine", engine, "--memory", memory, "--cpus", "2", "--kernel",
            debian.vmlinuz("cloud"), "--initrd", initrd, "--disk", disk, *flags, "--cmdline",
            f"console=ttyS0 cryptomgr.notests {cmdline}"]


@contextlib.contextmanager
def _lab_with(path):
    """A machine of the lab whose disk /dev/vda is the file."""
    words = ["-drive", f"file={path},format=raw,if=none,id=disk,discard=unmap", "-device",
             "virtio-blk-pci,drive=disk,addr=0x10"]  # behind the agent's
    with Machine(qemu.Options(memory=2048, qemu=words)) as machine:
        machine.put_program(product.lodge(), "/bin/lodge")
        there = machine.run(["lsmod"]).out
        for name, image in modules.in_order(debian.modules("cloud"), ["virtio_blk"]):
            if f"{name.removesuffix('.ko')} " not in there:
                machine.put_bytes(f"/modules/{name}", image)
                assert machine.run(["insmod", f"/modules/{name}"]).status == 0
        yield machine


def run(engine, path, initrd, *flags, options="", timeout=900, **words):
    """Runs a guest to its end with the image `path` (and options) as its disk: the Result.

    Under kvm a raw image is a disk of the lab's machine, so that it is a block device for lodge; a
    qcow2 image is copied there and back.
    """
    if engine == "bt":
        done = Host().run(command(f"{path}{options}", initrd, *flags, **words), timeout=timeout)
    else:
        with _lab_with(path) as machine:
            disk = machine.put(path, "/tmp/disk.img") if "qcow2" in options else "/dev/vda"
            done = machine.run(command(f"{disk}{options}", initrd, *flags, engine="kvm", **words),
                               timeout=4 * timeout)
            if "qcow2" in options:
                path.write_bytes(machine.get(disk))
    assert done.status == 0, done.err + done.out[-2000:]
    return done


def show(engine, path, bus, script, files, *flags, options="", timeout=900):
    """What a guest's script prints, and the whole Result."""
    image = guests.initrd(files=guests.with_drivers(["virtio_blk", BUSES[bus]], script, files))
    done = run(engine, path, image, "--virtio", bus, *flags, options=options, timeout=timeout,
               cmdline="quiet lodge.show=script")
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
