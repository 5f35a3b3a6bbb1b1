# SPDX-License-Identifier: Apache-2.0
"""Devices that come to a running VM and go from it, by ACPI, in Debian's cloud kernel."""

import re
import subprocess
import time
from pathlib import Path

import pytest

from lab import cache, guests, product
from lab.host import Host
from test_api import serve  # noqa: F401  (a fixture)

DRIVERS = ["virtio_blk", "virtio_net", "virtio_pci"]

# Writes to a disk that came and reads it back past the guest's cache; says its size.
TRY_DISK = """
try_disk() {
	dd if=/dev/urandom of=/tmp/data bs=64k count=1 2>/dev/null
	dd if=/tmp/data of=/dev/$1 bs=64k conv=fsync 2>/dev/null || echo no write
	dd if=/dev/$1 of=/tmp/back bs=64k count=1 iflag=direct 2>/dev/null
	[ "$(md5sum </tmp/data)" = "$(md5sum </tmp/back)" ] &&
		echo same $1 $(cat /sys/block/$1/size)
}
wait_for() { while [ ! -e $1 ]; do sleep 0.05; done; }
wait_gone() { while [ -e $1 ]; do sleep 0.05; done; }
"""


def make(path, size):
    with open(path, "wb") as f:
        f.truncate(size)
    return str(path)


def boot(server, kernel, initrd, script, args=""):
    server.boot(kernel("cloud"), initrd(files=guests.with_drivers(DRIVERS, TRY_DISK + script)),
                f"lodge.show=script {args}")


def drive(name, path, root=False):
    body = {"drive_id": name, "is_root_device": root, "path_on_host": str(path)}
    return f"/drives/{name}", body


def ids(server):
    return [one["drive_id"] for one in server.ask("GET", "/vm/config")[1]["drives"]]


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def test_a_disk_comes_and_goes_twenty_times(serve, kernel, initrd, tmp_path):  # noqa: F811
    """Beside a disk that is written to all the time; each time another size, which it sees."""
    server = serve("--enable-pci")
    server.do("PUT", *drive("first", make(tmp_path / "first", 8 << 20)))
    boot(server, kernel, initrd, """
while :; do
	dd if=/dev/zero of=/dev/vda bs=64k count=64 oflag=direct 2>/dev/null || echo bad
done &
i=0
while [ $i -lt 20 ]; do
	echo ready $i.
	wait_for /sys/block/vdb/size
	try_disk vdb
	echo tried $i.
	wait_gone /sys/block/vdb
	i=$((i + 1))
done
dmesg -r | grep -E '^<[0-3]>'
""")
    for i in range(20):
        server.wait_for(f"ready {i}.")
        server.do("PUT", *drive("second", make(tmp_path / "second", (i + 1) << 20)))
        assert ids(server) == ["first", "second"]
        server.wait_for(f"tried {i}.")
        server.do("DELETE", "/drives/second", None)
        wait_until(lambda: ids(server) == ["first"])
    assert server.ends() == (0, "")
    text = guests.sections(server.printed())["script"]
    assert [int(size) for size in re.findall(r"^same vdb (\d+)$", text, re.MULTILINE)] == \
        [(i + 1) << 11 for i in range(20)], text
    assert "bad" not in text and "<" not in text


# More than can lie between a guest's writing and its reader.
MUCH = 300_000


def test_processors_run_while_a_disk_is_closed(serve, kernel, initrd, tmp_path,  # noqa: F811
                                               monkeypatch):
    """Its image's last writes go to the disk then, which may take long."""
    slow = cache.built("slowflush", Path(__file__).with_name("slowflush.c"),
                       ["gcc", "-O2", "-shared", "-fPIC", "-o", "{out}", "{in}"])
    monkeypatch.setenv("LD_PRELOAD", str(slow))
    monkeypatch.setenv("FLUSHES", str(tmp_path))
    server = serve("--enable-pci")
    monkeypatch.delenv("LD_PRELOAD")
    image = tmp_path / "image"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "64M"], check=True)
    boot(server, kernel, initrd, """
echo ready.
wait_for /sys/block/vda/size
dd if=/dev/zero of=/dev/vda bs=64k count=64 oflag=direct 2>/dev/null
echo written.
while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done
""")
    server.wait_for("ready.")
    path, body = drive("first", image)
    server.do("PUT", path, {**body, "format": "Qcow2"})
    server.wait_for("written.")
    assert not (tmp_path / "asked").exists()
    server.do("DELETE", path, None)
    try:
        wait_until((tmp_path / "asked").exists)
        there = len(server.printed())
        wait_until(lambda: len(server.printed()) > there + MUCH, 50)
    finally:
        (tmp_path / "go").touch()
    wait_until(lambda: ids(server) == [])
    subprocess.run(["qemu-img", "check", "-q", str(image)], check=True)


def test_without_pci_devices_stay(serve, kernel, initrd, tmp_path):  # noqa: F811
    server = serve()
    server.do("PUT", *drive("first", make(tmp_path / "first", 8 << 20)))
    boot(server, kernel, initrd, "echo ready.; wait_gone /dev/console")
    server.wait_for("ready.")
    for method, path, body in (
            ("PUT", *drive("second", make(tmp_path / "second", 1 << 20))),
            ("PUT", "/network-interfaces/eth0", {"iface_id": "eth0", "host_dev_name": "tap0"}),
            ("DELETE", "/drives/first", None)):
        assert "--enable-pci" in server.refusal(method, path, body)
    assert ids(server) == ["first"]


PLUG = """
for round in 1 2 3; do
	echo plug
	wait_for /sys/block/vda/size
	try_disk vda
	if [ $round = 2 ]; then # asked for in the middle of what it does
		exec 5>/dev/vda
		dd if=/dev/zero bs=64k count=1000 >&5 2>/dev/null &
		exec 5>&-
	fi
	echo unplug
	wait_gone /sys/block/vda
	wait
done
dmesg -r | grep -E '^<[0-3]>' | grep -v 'vda'
"""


@pytest.mark.parametrize("engine", ["bt", "kvm"])
def test_a_disk_comes_and_goes_under_each_engine(engine, request, kernel, initrd, tmp_path):
    """By examples/plug.c; the second time while it is written to."""
    product.make("lib")
    source = product.ROOT / "examples" / "plug.c"
    program = tmp_path / "plug"
    archive = product.lodge().parent / "liblodge.a"
    subprocess.run(["cc", "-std=c99", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
                    f"-I{product.ROOT}/include", str(source), str(archive), "-lz", "-ljansson",
                    "-pthread", "-o", str(program)], check=True)
    machine, disk, word = Host(), Path(make(tmp_path / "disk", 32 << 20)), str(program)
    if engine == "kvm":
        machine = request.getfixturevalue("lab")
        word = machine.put_program(program, "/bin/plug")
    image = initrd(files=guests.with_drivers(DRIVERS, TRY_DISK + PLUG))
    done = machine.run([word, engine, kernel("cloud"), image, disk,
                        "console=ttyS0 quiet cryptomgr.notests lodge.show=script"], timeout=200)
    assert (done.status, done.err) == (0, ""), done.err + done.out
    assert re.findall(r"^(attached disk0|detached disk0|guest: same vda 65536)$", done.out,
                      re.MULTILINE) == ["attached disk0", "guest: same vda 65536",
                                        "detached disk0"] * 3, done.out
    assert "<" not in done.out, done.out
