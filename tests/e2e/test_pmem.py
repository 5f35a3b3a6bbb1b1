# SPDX-License-Identifier: Apache-2.0
"""Persistent memory in Debian's cloud kernel, under both engines: ext4 with DAX."""

import re
import subprocess
import uuid

import pytest

from lab import guests
from test_api import serve  # noqa: F401 pylint: disable=unused-import
from test_virtio import BUSES, run

DRIVERS = ["virtio_pmem", "nd_pmem"]

# The driver looks at its devices when it has time.
READY = """
while ! [ -b /dev/pmem0 ]; do sleep 0.1; done
"""

MOUNT = """
mkdir -p /mnt
mount -t ext4 -o dax /dev/pmem0 /mnt
grep pmem0 /proc/mounts
"""

# The program's pages are the file's: it is executed where it lies.
WRITE = MOUNT + """
[ -x /mnt/busybox ] && /mnt/busybox echo from the first boot
[ -f /mnt/a ] && md5sum /mnt/a
dd if=/dev/urandom of=/mnt/b bs=64k count=40 conv=fsync 2>/dev/null; echo wrote $?
mv /mnt/b /mnt/a
mkdir -p /mnt/dev
cat /bin/busybox >/mnt/busybox; chmod +x /mnt/busybox
chroot /mnt /busybox echo as a root
sync; echo synced $?
md5sum /mnt/a
dmesg -r | grep -E '^<[0-3]>'
"""


def with_pmem(initrd, bus, script):
    return initrd(files=guests.with_drivers([*DRIVERS, BUSES[bus]], READY + script))


@pytest.fixture
def image(place):
    """Makes a file with an empty ext4 where the engine is; gives its name."""
    name = f"/tmp/lodge-{uuid.uuid4().hex}.pmem"
    local = f"{name}.made"
    subprocess.run(["truncate", "-s", "16M", local], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", local], check=True)
    with open(local, "rb") as made:
        done = place.machine.run(["sh", "-c", f"cat >{name}"], stdin=made.read())
    assert done.status == 0, done.err
    subprocess.run(["rm", local], check=True)
    yield name
    place.machine.run(["rm", name])


def sums(text):
    return re.findall(r"^([0-9a-f]{32})  ", text, re.MULTILINE)


@pytest.mark.parametrize("bus", BUSES)
def test_files_are_kept_and_executed(place, kernel, initrd, image, bus):
    initrd = with_pmem(initrd, bus, WRITE)
    first = run(place, kernel, initrd, "--pmem", image, "--virtio", bus)
    assert "ext4 rw,relatime,dax=always" in first
    assert "as a root" in first and "wrote 0" in first and "synced 0" in first
    assert not re.search(r"^<[0-3]>", first, re.MULTILINE), first
    again = run(place, kernel, initrd, "--pmem", image, "--virtio", bus)
    assert "from the first boot" in again
    assert sums(again)[0] == sums(first)[0] != sums(again)[1]


def test_what_is_read_only_stays_as_it_was(place, kernel, initrd, image):
    """Also to a guest that writes."""
    image_file = with_pmem(initrd, "pci", MOUNT + """
ls /mnt
echo hello >/mnt/new; sync
cat /mnt/new
""")
    for _ in range(2):
        text = run(place, kernel, image_file, "--pmem", f"{image},ro")
        assert "new" not in text.split("hello")[0] and "hello" in text


def test_a_file_that_is_made_shorter(place, kernel, initrd, image):
    """The guest finds zeroes, and is told by its flushes; lodge lives to tell."""
    image_file = with_pmem(initrd, "pci", """
dd if=/dev/pmem0 of=/dev/null bs=64k 2>/dev/null; echo read $?
echo state ready
read line
dd if=/dev/pmem0 of=/tmp/all bs=64k iflag=direct 2>/dev/null; echo read $?
dd if=/dev/zero of=/dev/pmem0 bs=4k count=1 conv=fsync 2>/dev/null; echo flushed $?
echo state alive
""")
    session = place.spawn(kernel("cloud"), image_file, "--pmem", image,
                          cmdline="quiet lodge.show=script")
    session.expect("state ready", timeout=200)
    assert place.machine.run(["dd", "if=/dev/null", f"of={image}", "bs=4096",
                              "seek=1"]).status == 0
    session.send("go\n")
    done = session.wait(timeout=120)
    assert done.status == 0, done.err
    assert "state alive" in done.out and "flushed 1" in done.out
    assert "was made shorter" in done.err


def test_in_use_and_missing(place, kernel, initrd, image):
    session = place.spawn(kernel("cloud"), initrd(), "--pmem", image, cmdline="quiet lodge.do=wait")
    session.expect("LODGE-GUEST: wait", timeout=200)
    done = place.run(kernel("cloud"), initrd(), "--pmem", image)
    session.signal(15)
    session.wait(timeout=60)
    assert done.status == 1 and "in use" in done.err and image in done.err
    done = place.run(kernel("cloud"), initrd(), "--pmem", "/nonexistent")
    assert done.status == 1 and "no such file" in done.err


def test_through_the_interface(serve, kernel, initrd, tmp_path):  # noqa: F811
    """As Firecracker's clients do it; a length that is no multiple of 2 MiB."""
    path = tmp_path / "root"
    path.write_bytes(bytes(3 << 20))
    server = serve()
    body = {"id": "p1", "path_on_host": str(path), "root_device": True}
    assert "no such" in server.refusal("PUT", "/pmem/p1", {**body, "path_on_host": "/none"}).lower()
    assert "another than the path's" in server.refusal("PUT", "/pmem/p2", body)
    server.do("PUT", "/pmem/p1", {**body, "rate_limiter": {"ops": {"size": 5, "refill_time": 1}}})
    assert "root device" in server.refusal("PUT", "/pmem/p2", {**body, "id": "p2"})
    script = """
cat /proc/cmdline
cat /sys/block/pmem0/size
echo hello | dd of=/dev/pmem0 conv=fsync 2>/dev/null; echo wrote $?
echo state done
sleep 1000
"""
    server.boot(kernel("cloud"), with_pmem(initrd, "mmio", script), "lodge.show=script")
    server.wait_for("state done")
    assert "root=/dev/pmem0 rw" in server.printed() and "\n8192" in server.printed()
    assert path.read_bytes()[:5] == b"hello" and path.stat().st_size == 3 << 20
    server.do("PATCH", "/pmem/p1", {"id": "p1", "rate_limiter": {"ops": {"size": 0,
                                                                        "refill_time": 0}}})
    assert server.ask("GET", "/vm/config")[1]["pmem"][0]["id"] == "p1"
