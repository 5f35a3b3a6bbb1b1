# SPDX-License-Identifier: Apache-2.0
"""A machine with every device that waits for nothing wakes nobody: its threads' own counts say how
often each slept, and its processor time."""

import os
import sys
import time
from pathlib import Path

import pytest

from conftest import BUSES, command
from lab import guests
from lab.host import Host

pytestmark = pytest.mark.io

DRIVERS = ["virtio_blk", "virtio_net", "virtio_console", "virtio_balloon", "virtiofs",
           "virtio_rng", "vmw_vsock_virtio_transport"]

# All drivers have their queues running; then nothing happens any more.
SCRIPT = """
mount -t virtiofs share /mnt 2>/dev/null || { mkdir -p /mnt; mount -t virtiofs share /mnt; }
ls /mnt
dd if=/dev/vda of=/dev/null bs=1M count=1 2>/dev/null
busybox ip link set eth0 up
busybox udhcpc -i eth0 -n -q -t 10 -T 1 >/dev/null 2>&1
ls /sys/bus/virtio/drivers/*/ | grep -c '^virtio[0-9]'
echo READY
sleep 1000
"""

SECONDS = 20


def threads(pid):
    """{thread's name: how often it has slept by its own will}."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        status = (task / "status").read_text()
        count = int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
        found[(task / "comm").read_text().strip()] = count
    return found


def cpu_seconds(pid):
    """The processor time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("bus", BUSES)
def test_an_idle_machine_wakes_nobody(image, tmp_path, bus):
    share = tmp_path / "share"
    share.mkdir()
    (share / "file").write_text("there\n")
    script = guests.initrd(files=guests.with_drivers([*DRIVERS, BUSES[bus]], SCRIPT))
    session = Host().spawn(
        command(str(image(16)), script, "--virtio", bus, "--net", "user", "--rng", "on",
                "--vsock", f"cid=5,socket={tmp_path}/vsock", "--balloon", "size=16M,reporting",
                "--virtio-console", f"file={tmp_path}/hvc0", "--port",
                f"proof,socket={tmp_path}/port", "--share", f"{share}:share",
                cmdline="quiet lodge.show=script"), timeout=300)
    session.expect("there|file", timeout=120)
    session.expect(r"\n[78]\r?\n", timeout=60)
    session.expect("READY", timeout=60)
    time.sleep(15)  # what the guest still has to do for itself
    before, cpu = threads(session.pid), cpu_seconds(session.pid)
    time.sleep(SECONDS)
    after, used = threads(session.pid), cpu_seconds(session.pid) - cpu
    session.signal(15)
    session.wait(timeout=60)
    woken = {name: after[name] - before[name] for name in after}
    print(f"\n{bus}: in {SECONDS} s woken {woken}, {used:.2f} s of the processor", file=sys.stderr)
    # What wakes is the guest's own timers: they are on the I/O thread, and each is for a vCPU.
    timers = sum(n for name, n in woken.items() if "vcpu" in name)
    assert woken.pop("lodge-io") <= timers
    assert not {name: n for name, n in woken.items() if n and "vcpu" not in name}, woken
    assert used < SECONDS / 100
