# SPDX-License-Identifier: Apache-2.0
"""The guest's memory as it is told of, given back, added and taken while the guest runs."""

import re
import subprocess
import time

import pytest

from lab import guests, product
from lab.host import Host
from test_api import serve  # noqa: F401 pylint: disable=unused-import
from test_virtio import run

BUSES = {"pci": ("virtio_pci", ["--enable-pci"]), "mmio": ("virtio_mmio", [])}


def resident(server):
    """The resident memory of the server, in MiB."""
    status = open(f"/proc/{server.process.pid}/status", encoding="ascii").read()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) // 1024


def until(condition, seconds=90):
    """Waits for what it gives to be true; that."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.2)
    return value


# 200 MiB in use, and then free.
FILL = """
mkdir /m
mount -t tmpfs -o size=300m none /m
dd if=/dev/urandom of=/m/a bs=1M count=200 2>/dev/null
echo state filled
sleep 3
rm /m/a
echo state freed
sleep 1000
"""


@pytest.mark.parametrize("bus", BUSES)
def test_statistics_and_hints(serve, kernel, initrd, bus):  # noqa: F811
    """The balloon under bt, driven as Firecracker's clients do."""
    driver, flags = BUSES[bus]
    server = serve(*flags)
    server.do("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 512})
    server.do("PUT", "/balloon", {"amount_mib": 0, "deflate_on_oom": True,
                                  "stats_polling_interval_s": 600, "free_page_hinting": True})
    assert server.ask("GET", "/balloon")[1]["stats_polling_interval_s"] == 600
    image = initrd(files=guests.with_drivers(["virtio_balloon", driver], FILL))
    server.boot(kernel("cloud"), image, "lodge.show=script")
    server.wait_for("state filled")
    full = resident(server)

    def ask():
        server.do("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 600})
        time.sleep(0.2)
        stats = server.ask("GET", "/balloon/statistics")[1]
        return stats

    told = until(lambda: {} if (stats := ask()).get("free_memory", 1 << 40) > 350 << 20 else stats)
    assert told["target_pages"] == told["actual_mib"] == 0
    assert 400 << 20 < told["total_memory"] < 512 << 20
    assert told["disk_caches"] > 200 << 20 and told["minor_faults"] > 0
    server.wait_for("state freed")
    assert until(lambda: ask()["free_memory"] > told["free_memory"] + (150 << 20))
    assert "cannot be 0" in server.refusal("PATCH", "/balloon/statistics",
                                           {"stats_polling_interval_s": 0})
    assert server.ask("GET", "/balloon/hinting/status")[1] == {"host_cmd": 0, "guest_cmd": None}
    server.do("PATCH", "/balloon/hinting/start", None)
    assert until(lambda: server.ask("GET", "/balloon/hinting/status")[1]
                 == {"host_cmd": 1, "guest_cmd": 0})
    assert resident(server) < full - 150
    assert until(lambda: ask()["free_memory"] > told["free_memory"] + (150 << 20))
    free = ask()["free_memory"]
    server.do("PATCH", "/balloon/hinting/start", {"acknowledge_on_stop": False})
    assert until(lambda: server.ask("GET", "/balloon/hinting/status")[1]
                 == {"host_cmd": 3, "guest_cmd": 0})
    # The guest keeps its free pages until it is told to have them again. (It said 0 already when it
    # had not begun.)
    assert until(lambda: ask()["free_memory"] < free - (100 << 20))
    server.do("PATCH", "/balloon/hinting/stop", {})
    assert until(lambda: ask()["free_memory"] > free - (50 << 20))
    server.do("PATCH", "/balloon", {"amount_mib": 128})
    assert until(lambda: ask()["actual_mib"] == 128)


def total(server):
    """The memory that the guest has printed last, in MiB."""
    found = re.findall(r"^total (\d+)", server.printed().replace("\r", ""), re.MULTILINE)
    return int(found[-1]) // 1024 if found else 0


# Each line is a look at what there is, until a file of 300 MiB has been written and removed.
PLUG = """
memory() { sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo; }
total() { echo total $(memory); }
total
while [ $(memory) -lt 600000 ]; do sleep 0.2; done
total
mkdir /m
mount -t tmpfs -o size=500m none /m
dd if=/dev/urandom of=/m/a bs=1M count=300 2>/dev/null
md5sum /m/a; md5sum /m/a
echo state filled
rm /m/a
while :; do sleep 0.5; total; done
"""


@pytest.mark.parametrize("bus", BUSES)
def test_memory_is_plugged_and_unplugged(serve, kernel, initrd, bus):  # noqa: F811
    """Under bt: half a gigabyte comes, is used, and goes again, to the host."""
    driver, flags = BUSES[bus]
    server = serve(*flags)
    server.do("PUT", "/machine-config", {"vcpu_count": 2, "mem_size_mib": 256})
    assert "max is to be" in server.refusal("PUT", "/hotplug/memory", {"total_size_mib": 100})
    server.do("PUT", "/hotplug/memory", {"total_size_mib": 1024})
    image = initrd(files=guests.with_drivers(["virtio_mem", driver], PLUG))
    server.boot(kernel("cloud"), image,
                "lodge.show=script memhp_default_state=online_movable")
    server.wait_for("total ")
    before = total(server)
    assert before < 256
    shown = {"total_size_mib": 1024, "slot_size_mib": 128, "block_size_mib": 2,
             "plugged_size_mib": 0, "requested_size_mib": 0}
    assert server.ask("GET", "/hotplug/memory")[1] == shown
    assert "whole blocks" in server.refusal("PATCH", "/hotplug/memory",
                                            {"requested_size_mib": 513})
    server.do("PATCH", "/hotplug/memory", {"requested_size_mib": 512})
    assert until(lambda: server.ask("GET", "/hotplug/memory")[1]["plugged_size_mib"] == 512)
    server.wait_for("state filled")
    assert total(server) > before + 480
    sums = re.findall(r"^([0-9a-f]{32})  /m/a", server.printed(), re.MULTILINE)
    assert len(sums) == 2 and sums[0] == sums[1]
    full = resident(server)
    assert full > 300
    server.do("PATCH", "/hotplug/memory", {"requested_size_mib": 0})
    assert until(lambda: server.ask("GET", "/hotplug/memory")[1]["plugged_size_mib"] == 0)
    assert until(lambda: total(server) < before + 10)
    assert resident(server) < full - 250
    server.do("PATCH", "/hotplug/memory", {"requested_size_mib": 128})
    assert until(lambda: server.ask("GET", "/hotplug/memory")[1]["plugged_size_mib"] == 128)


def test_memory_is_plugged_from_the_start(place, kernel, initrd):
    """Under both engines."""
    script = """
i=0
left() { sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo; }
while [ $(left) -lt 450000 ] && [ $i -lt 100 ]; do sleep 0.2; i=$((i + 1)); done
echo total $(left)
mkdir /m
mount -t tmpfs -o size=300m none /m
dd if=/dev/urandom of=/m/a bs=1M count=250 2>/dev/null; echo wrote $?
[ $(md5sum </m/a | head -c 32) = $(md5sum </m/a | head -c 32) ] && echo same
"""
    text = run(place, kernel, initrd(files=guests.with_drivers(["virtio_mem", "virtio_pci"],
                                                               script)),
               "--memory", "256M", "--hotplug-memory", "max=512M,size=256M,block=4M",
               cmdline="quiet memhp_default_state=online_movable")
    assert int(re.search(r"^total (\d+)", text, re.MULTILINE)[1]) > 450000, text
    assert "wrote 0" in text and "same" in text


# The guest asks for what is done to it, and waits until it sees that.
ASKS = """
left() { sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo; }
wait_until() { i=0; until [ $(left) $1 $2 ] || [ $i = 300 ]; do sleep 0.2; i=$((i + 1)); done; }
mkdir /m
mount -t tmpfs -o size=300m none /m
for round in 1 2; do
	echo change memory size=256M
	wait_until -gt 450000
	dd if=/dev/urandom of=/m/a bs=1M count=220 2>/dev/null
	[ $(md5sum </m/a | head -c 32) = $(md5sum </m/a | head -c 32) ] && echo same
	rm /m/a
	echo stats memory
	echo change memory size=0
	wait_until -lt 260000
	echo left $(left)
	sleep 0.5 # what it says, and what it sees, are not one
	echo stats memory
done
echo change balloon stats=1
sleep 3
echo change balloon hinting=start
sleep 3
echo stats balloon
dmesg -r | grep -E '^<[0-3]>'
"""


@pytest.mark.parametrize("engine", ["bt", "kvm"])
def test_a_program_has_memory_come_and_go(engine, request, kernel, initrd, tmp_path):
    """By liblodge: plugged, used and unplugged, twice; then statistics and hints."""
    product.make("lib")
    source, program = product.ROOT / "tests" / "e2e" / "memhost.c", tmp_path / "memhost"
    subprocess.run(["cc", "-std=gnu99", "-Wall", "-Wextra", "-Werror",
                    f"-I{product.ROOT}/include", source, product.lodge().parent / "liblodge.a",
                    "-lz", "-ljansson", "-pthread", "-o", program], check=True)
    machine, word = Host(), str(program)
    if engine == "kvm":
        machine = request.getfixturevalue("lab")
        word = machine.put_program(program, "/bin/memhost")
    image = initrd(files=guests.with_drivers(["virtio_mem", "virtio_balloon", "virtio_pci"], ASKS))
    done = machine.run([word, engine, kernel("cloud"), image,
                        "console=ttyS0 quiet cryptomgr.notests lodge.show=script "
                        "memhp_default_state=online_movable"], timeout=250)
    assert (done.status, done.err) == (0, ""), done.err + done.out
    told = re.findall(r"^(memory|balloon) (\w+) (\d+)$", done.out, re.MULTILINE)
    plugged = [int(value) for device, name, value in told if name == "plugged"]
    assert plugged == [256 << 20, 0] * 2, done.out
    assert done.out.count("guest: same") == 2 and "<" not in done.out, done.out
    balloon = {name: int(value) for device, name, value in told if device == "balloon"}
    assert 0 < balloon["free_memory"] < balloon["total_memory"] < 256 << 20, done.out
    assert balloon["hints_command"] == 1 and balloon["hints_guest_command"] == 0, done.out
    assert balloon["returned"] > 50 << 20, done.out
