# SPDX-License-Identifier: Apache-2.0
"""A machine with every device that waits for nothing wakes nobody: its threads' own counts say how
often each slept, and its processor time."""

import os
import sys
import time

import pytest

from conftest import BUSES, command
from lab import debian, guests, modules, product, qemu
from lab.host import Host
from lab.machine import Machine

pytestmark = pytest.mark.io

DRIVERS = ["virtio_blk", "virtio_net", "virtio_console", "virtio_balloon", "virtio_rng",
           "vmw_vsock_virtio_transport", "virtio_pmem", "virtio_mem"]

# All drivers have their queues running; then nothing happens any more: the guest asks for no IPv6
# router.
BEGIN = """
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
dd if=/dev/vda of=/dev/null bs=1M count=1 2>/dev/null
dd if=/dev/hwrng of=/dev/null bs=64 count=1 2>/dev/null
busybox ip link set eth0 up
"""
SHARE = """
mount -t virtiofs share /mnt 2>/dev/null || { mkdir -p /mnt; mount -t virtiofs share /mnt; }
ls /mnt
busybox udhcpc -i eth0 -n -q -t 10 -T 1 >/dev/null 2>&1
"""
END = """
echo DEVICES $(ls /sys/bus/virtio/drivers/*/ | grep -c '^virtio[0-9]')
echo READY
sleep 1000
"""

SECONDS = 20
ENTROPY = 4  # how often the guest's kernel asks for more in that time, at most


def initrd(bus, script, *drivers):
    """The guest, which says how many devices have drivers."""
    return guests.initrd(files=guests.with_drivers([*DRIVERS, *drivers, BUSES[bus]], script))


def flags(place):
    """Every device that needs nothing of the host but files in that directory."""
    return ["--rng", "on", "--vsock", f"cid=5,socket={place}/vsock", "--balloon",
            "size=16M,reporting", "--virtio-console", f"file={place}/hvc0", "--port",
            f"proof,socket={place}/port", "--pmem", f"{place}/pmem", "--hotplug-memory",
            "max=256M,size=128M"]


def look(run, pid):
    """{thread: how often it has slept by its own will} and the processor time that the process has
    used, in seconds; run gives what a command prints."""
    words = run(["sh", "-c", f"cd /proc/{pid}; for t in task/*; do cat $t/comm; "
                 "grep ^voluntary $t/status; done; tail -n 1 stat"]).split("\n")
    *tasks, stat = [word for word in words if word]
    fields = stat.rsplit(")", 1)[1].split()
    counts = {name: int(count.split()[1]) for name, count in zip(tasks[::2], tasks[1::2])}
    return counts, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_and_judge(where, session, run, pid):
    """Whoever waits until all drivers run: then it may wake for vCPUs' timers, and for no other."""
    assert int(session.expect(r"DEVICES (\d+)", timeout=300).group(1)) >= 9
    session.expect("READY", timeout=60)
    time.sleep(15)  # what the guest still has to do for itself
    before, cpu = look(run, pid)
    time.sleep(SECONDS)
    after, used = look(run, pid)
    woken = {name: after[name] - before[name] for name in after}
    print(f"\n{where}: in {SECONDS} s woken {woken}, {used - cpu:.2f} s of the processor",
          file=sys.stderr)
    # What wakes is the guest's own timers: under bt they are on the I/O thread, each for a vCPU.
    timers = sum(n for name, n in woken.items() if "vcpu" in name) if "bt" in where else 0
    assert woken.pop("lodge-io") <= timers + ENTROPY
    assert not {name: n for name, n in woken.items() if n and "vcpu" not in name}, woken
    # The lab's processor is emulated: its time says nothing.
    assert "kvm" in where or used - cpu < SECONDS / 100


@pytest.mark.parametrize("bus", BUSES)
def test_an_idle_machine_wakes_nobody(image, tmp_path, bus):
    share = tmp_path / "share"
    share.mkdir()
    (share / "file").write_text("there\n")
    image(16, "pmem")
    session = Host().spawn(
        command(str(image(16)), initrd(bus, BEGIN + SHARE + END, "virtiofs"), "--virtio", bus,
                *flags(tmp_path), "--net", "user", "--share", f"{share}:share",
                cmdline="quiet lodge.show=script"), timeout=300)
    session.expect("there|file", timeout=120)
    wait_and_judge(f"bt, {bus}", session, lambda words: Host().run(words).out, session.pid)
    session.signal(15)
    session.wait(timeout=60)


@pytest.mark.parametrize("bus", BUSES)
def test_an_idle_machine_wakes_nobody_under_kvm(bus):
    with Machine(qemu.Options(memory=2048)) as machine:
        machine.put_program(product.lodge(), "/bin/lodge")
        machine.put_bytes("/modules/tun.ko", dict(
            modules.in_order(debian.modules("cloud"), ["tun"]))["tun.ko"])
        for words in [["insmod", "/modules/tun.ko"],
                      ["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6"],
                      *(["dd", "if=/dev/zero", f"of=/tmp/{name}", "bs=1M", "count=16"]
                        for name in ("disk", "pmem"))]:
            done = machine.run(words)
            assert done.status == 0, done.err
        session = machine.spawn(
            command("/tmp/disk", initrd(bus, BEGIN + END), "--virtio", bus, *flags("/tmp"), "--net",
                    "tap=tap0", engine="kvm", cmdline="quiet lodge.show=script"), timeout=900)
        session.expect("begin script", timeout=300)
        pid = machine.run(["pidof", "lodge"]).out.strip()
        wait_and_judge(f"kvm, {bus}", session, lambda words: machine.run(words).out, pid)
