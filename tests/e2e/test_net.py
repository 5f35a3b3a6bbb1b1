# SPDX-License-Identifier: Apache-2.0
"""virtio-net in Debian's cloud kernel: user-mode networking by passt, and tap devices in network
namespaces that the tests make, on both buses.  On this machine: the lab has no network."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from lab import debian, guests, modules, networks
from lab.host import Host
from lab.networks import free_port, peer, tap
from place import Place

BUSES = {"pci": "virtio_pci", "mmio": "virtio_mmio"}

# What udhcpc calls with what it has been given.
LEASE = """#!/bin/sh
export PATH=/bin
[ "$1" = bound ] || exit 0
busybox ip addr add $ip/$mask dev $interface
[ -n "$router" ] && busybox ip route add default via ${router%% *}
[ -n "$mtu" ] && busybox ip link set $interface mtu $mtu
echo lease $ip/$mask router $router mtu $mtu dns $dns
for server in $dns; do echo nameserver $server; done >/etc/resolv.conf
"""

DHCP = """
busybox ip link set lo up
busybox ip link set eth0 up
busybox udhcpc -i eth0 -s /lease -n -q -t 10 -T 1 2>/dev/null
gateway=$(busybox ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')
"""

# Warnings of the kernel about the device.
COMPLAINTS = "dmesg -r | grep -E '^<[0-4]>.*(virtio|eth0|checksum)'"

needs_root = pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/dev/net/tun"),
                                reason="makes tap devices: needs root and /dev/net/tun")


@pytest.fixture
def bt():
    """This machine's software engine."""
    return Place("bt", Host())


def image(initrd, bus, script, options=""):
    """An initramfs that loads the drivers (virtio_net with options), then runs the script."""
    loaded = modules.in_order(debian.modules("cloud"), ["virtio_net", BUSES[bus]])
    files = {f"modules/{name}": data for name, data in loaded}
    lines = [f"insmod /modules/{name} {options if name == 'virtio_net.ko' else ''}"
             for name, _ in loaded]
    return initrd(files={**files, "lease": LEASE.encode(), "etc/resolv.conf": b"",
                         "www/word": b"from the guest\n",
                         "script": "\n".join([*lines, script, ""]).encode()})


def shown(done):
    """What the script has printed."""
    assert done.status == 0, done.err
    assert done.err == ""
    return guests.sections(done.stdout)["script"]


CMDLINE = "quiet lodge.show=script"


def run(place, kernel, path, *flags, within=(), timeout=150):
    """Boots to the end of the script; what it printed.  `within`: words before lodge's."""
    command = place.command(kernel("cloud"), path, *flags, cmdline=CMDLINE)
    return shown(place.machine.run([*within, *command], timeout=timeout))


def send(address, take):
    """A script that sends /tmp/data to the peer, and prints what the peer says of it.  It does not
    close its half before the peer does: passt of Debian 12 then loses its way."""
    return f"""
: >/tmp/sum
(busybox stat -c %s /tmp/data; cat /tmp/data; sleep 100) | busybox nc {address} {take} >/tmp/sum &
i=0
while [ ! -s /tmp/sum ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i + 1)); done
cat /tmp/sum
{COMPLAINTS}
"""


def exchange(address, give, take):
    """A script that fetches from the peer, and sends it back."""
    return f"""
busybox wget -q -O /tmp/data http://{address}:{give}/; echo fetched $?
echo received $(cat /sys/class/net/eth0/statistics/rx_packets)
busybox sha256sum </tmp/data
{send(address, take)}
"""


def exchanged(text, digest):
    assert "fetched 0" in text, text
    assert text.count(digest) == 2, text
    assert not re.search(r"^<[0-4]>", text, re.MULTILINE), text


# --- user-mode networking ------------------------------------------------------------------------

def may_ping():
    """Whether the host lets any group open ping sockets."""
    first, last = Path("/proc/sys/net/ipv4/ping_group_range").read_text().split()
    return int(first) <= 65534 <= int(last)


@pytest.mark.parametrize("bus", BUSES)
def test_user_network(bt, kernel, initrd, bus):
    """An address by DHCP; the host's servers through the gateway, checked byte by byte."""
    with peer(32 << 20, "127.0.0.1") as (digest, ports):
        script = f"""
{DHCP}
cat /sys/class/net/eth0/mtu /sys/class/net/eth0/address
{exchange("$gateway", *ports)}
busybox ping -c 3 -W 5 $gateway >/tmp/ping; echo ping $?
"""
        text = run(bt, kernel, image(initrd, bus, script), "--net",
                   "user,mac=02:00:00:00:00:07", "--virtio", bus)
    assert re.search(r"^lease [0-9.]+/\d+ router [0-9.]+ mtu 65520", text, re.MULTILINE), text
    assert "\n65520\n02:00:00:00:00:07\n" in text
    exchanged(text, digest)
    # passt, which is nobody's, may only ping where the host lets everybody.
    if may_ping():
        assert "ping 0" in text, text


def test_small_packets(bt, kernel, initrd):
    """The mtu that was asked for."""
    with peer(4 << 20, "127.0.0.1") as (digest, ports):
        script = f"{DHCP}\ncat /sys/class/net/eth0/mtu\n{exchange('$gateway', *ports)}"
        text = run(bt, kernel, image(initrd, "pci", script), "--net", "user,mtu=1400")
    assert re.search(r"^1400$", text, re.MULTILINE), text
    exchanged(text, digest)


def test_without_offloads(bt, kernel, initrd):
    """The guest's driver does all checksums."""
    with peer(4 << 20, "127.0.0.1") as (digest, ports):
        text = run(bt, kernel, image(initrd, "pci", DHCP + exchange("$gateway", *ports),
                                     "csum=0 gso=0"), "--net", "user")
    exchanged(text, digest)


def gateway6():
    """The host's IPv6 gateway, if a guest can name it without an interface."""
    routes = subprocess.run(["ip", "-6", "route", "show", "default"], stdout=subprocess.PIPE)
    found = re.search(r"via (\S+)", routes.stdout.decode())
    return found.group(1) if found and not found.group(1).startswith("fe80") else None


@pytest.mark.skipif(not gateway6(), reason="the host has no IPv6, or a gateway of link scope")
def test_user_network_ipv6(bt, kernel, initrd):
    """Its address and route by router advertisement."""
    with peer(0, "::1") as (_, ports):
        script = f"""
busybox ip link set eth0 up
i=0
while ! busybox ip -6 route | grep -q ^default && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
sleep 2
busybox ip -6 addr show dev eth0
dd if=/dev/urandom of=/tmp/data bs=64k count=64 2>/dev/null
busybox sha256sum </tmp/data
{send(gateway6(), ports[1])}
"""
        text = run(bt, kernel, image(initrd, "pci", script), "--net", "user")
    digests = re.findall(r"^[0-9a-f]{64}", text, re.MULTILINE)
    assert len(digests) == 2 and digests[0] == digests[1], text


@contextlib.contextmanager
def started(place, kernel, path, *flags):
    """A machine whose script has said READY; ended at the end."""
    session = place.spawn(kernel("cloud"), path, *flags, cmdline=CMDLINE)
    try:
        session.expect("READY", timeout=200)
        yield session
    finally:
        session.signal(signal.SIGTERM)
        session.wait(timeout=60)


def passts(port):
    """Process ids of the passts that forward that port."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes()
            if words.startswith(b"passt") and b"/%d:" % port in words:
                found.append(int(entry.parent.name))
    return found


def alive(pid):
    with contextlib.suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


WEB = f"{DHCP}\nbusybox httpd -h /www\necho READY\n"


def fetch(port):
    """What the guest serves at /word by that port of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/word")
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_forward_reaches_the_guest(bt, kernel, initrd):
    port = free_port()
    with started(bt, kernel, image(initrd, "pci", WEB + "sleep 1000"),
                 "--net", f"user,forward=tcp:127.0.0.1:{port}:80") as session:
        for _ in range(20):
            assert fetch(port) == (200, b"from the guest\n")
        pids = passts(port)
        assert len(pids) == 1
        # However lodge ends, passt ends with it.
        session.signal(signal.SIGKILL)
        for _ in range(100):
            if not alive(pids[0]):
                break
            time.sleep(0.1)
        assert not alive(pids[0])


def test_a_passt_that_ends_is_a_link_down(bt, kernel, initrd):
    port = free_port()
    script = WEB + """
while [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do sleep 0.1; done
busybox ping -c 2 -W 1 $gateway
echo carrier $(cat /sys/class/net/eth0/carrier)
"""
    with started(bt, kernel, image(initrd, "pci", script),
                 "--net", f"user,forward=tcp:127.0.0.1:{port}:80") as session:
        os.kill(passts(port)[0], signal.SIGKILL)
        done = session.wait(timeout=60)
    assert done.status == 0
    assert "carrier 0" in done.out
    assert done.err.count("the network user is gone: passt has ended") == 1, done.err


def test_what_passt_refuses_is_told(bt, kernel, initrd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = bt.run(kernel("cloud"), initrd(), "--net", f"user,forward=tcp:127.0.0.1:{port}:80")
    assert done.status == 1
    assert done.err.startswith("lodge: passt refuses: ") and str(port) in done.err


# --- tap devices ---------------------------------------------------------------------------------

@pytest.fixture
def namespace():
    """Words that run a command in a network namespace, gone with the test."""
    with networks.namespace() as within:
        yield within


UP = """
busybox ip link set eth0 up
busybox ip addr add 10.1.1.2/24 dev eth0
"""


def over_tap(place, kernel, initrd, within, *flags, script="", bus="pci", size=32 << 20,
             options="", net=""):
    """A transfer both ways between a guest and the namespace by tap0, 10.1.1.1."""
    with peer(size, "10.1.1.1", within=within) as (digest, ports):
        whole = f"""{UP}
busybox ping -c 3 -W 5 10.1.1.1 >/tmp/ping; echo ping $?
{exchange("10.1.1.1", *ports)}
{script}"""
        text = run(place, kernel, image(initrd, bus, whole, options), "--net", f"tap=tap0{net}",
                   "--virtio", bus, *flags, within=within)
    assert "ping 0" in text, text
    exchanged(text, digest)
    return text


@needs_root
@pytest.mark.parametrize("bus", BUSES)
def test_tap(bt, kernel, initrd, namespace, bus):
    """100 MB each way; and offloads make packets of more than the MTU of them."""
    tap(namespace, "tap0", address="10.1.1.1/24")
    script = "cat /sys/class/net/eth0/mtu"
    text = over_tap(bt, kernel, initrd, namespace, bus=bus, size=100_000_000, script=script)
    assert text.split()[-1] == "1500"
    # By then only the fetching: what is sent back is acknowledged by packets, too.
    packets = int(re.search(r"^received (\d+)$", text, re.MULTILINE)[1])
    assert packets < 100_000_000 / 1500 / 2, text


@needs_root
def test_tap_without_offloads(bt, kernel, initrd, namespace):
    tap(namespace, "tap0", address="10.1.1.1/24")
    script = "cat /sys/class/net/eth0/statistics/rx_packets"
    text = over_tap(bt, kernel, initrd, namespace, size=8 << 20, options="csum=0 gso=0",
                    script=script)
    assert text


@needs_root
def test_tap_with_large_packets(bt, kernel, initrd, namespace):
    """The tap device's own MTU is the guest's."""
    tap(namespace, "tap0", address="10.1.1.1/24")
    subprocess.run([*namespace, "ip", "link", "set", "tap0", "mtu", "9000"], check=True)
    script = "cat /sys/class/net/eth0/mtu; busybox ping -c 2 -s 8900 10.1.1.1 | tail -n 2"
    text = over_tap(bt, kernel, initrd, namespace, size=8 << 20, script=script)
    assert re.search(r"^9000$", text, re.MULTILINE) and " 0% packet loss" in text, text


@needs_root
def test_tap_of_several_queues(bt, kernel, initrd, namespace):
    tap(namespace, "tap0", "multi_queue", address="10.1.1.1/24")
    script = "ls /sys/class/net/eth0/queues; grep virtio /proc/interrupts"
    text = over_tap(bt, kernel, initrd, namespace, "--cpus", "2", size=8 << 20, net=",queues=2",
                    script=script)
    assert all(word in text for word in ("rx-0", "rx-1", "tx-0", "tx-1")), text
    assert "virtio0-output.1" in text, text


@needs_root
def test_a_tap_that_is_made(bt, kernel, initrd, namespace):
    """One that does not exist lives as long as lodge, and is in use by it alone."""
    path = image(initrd, "pci", UP + "echo READY; sleep 1000")
    command = [*namespace, *bt.command(kernel("cloud"), path, "--net", "tap=made0,mtu=1300",
                                       cmdline=CMDLINE)]
    session = bt.machine.spawn(command, timeout=60)
    session.expect("READY", timeout=200)
    shows = [*namespace, "ip", "link", "show", "made0"]
    link = subprocess.run(shows, stdout=subprocess.PIPE, check=True).stdout.decode()
    second = bt.machine.run(command, timeout=60)
    session.signal(signal.SIGTERM)
    session.wait(timeout=60)
    assert "mtu 1300" in link and "UP" in link
    assert second.status == 1
    assert second.err == ("lodge: cannot use the tap device made0: another program has it: give "
                          "each VM its own\n")
    assert subprocess.run(shows, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode


@needs_root
def test_a_tap_that_is_deleted(bt, kernel, initrd, namespace):
    tap(namespace, "tap0", address="10.1.1.1/24")
    script = UP + """echo READY
while [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do sleep 0.1; done
echo carrier $(cat /sys/class/net/eth0/carrier)
"""
    command = bt.command(kernel("cloud"), image(initrd, "pci", script), "--net", "tap=tap0",
                         cmdline=CMDLINE)
    session = bt.machine.spawn([*namespace, *command], timeout=60)
    session.expect("READY", timeout=200)
    subprocess.run([*namespace, "ip", "link", "del", "tap0"], check=True)
    done = session.wait(timeout=60)
    assert "carrier 0" in done.out
    assert done.err.count("the network tap0 is gone: it was deleted on the host") == 1, done.err


@needs_root
def test_two_guests_on_a_bridge(bt, kernel, initrd, namespace):
    for words in (["link", "add", "br0", "type", "bridge"], ["link", "set", "br0", "up"]):
        subprocess.run([*namespace, "ip", *words], check=True)
    for name in ("tap0", "tap1"):
        tap(namespace, name)
        subprocess.run([*namespace, "ip", "link", "set", name, "master", "br0"], check=True)
    one = image(initrd, "pci", f"""{UP}
dd if=/dev/urandom of=/www/data bs=1M count=16 2>/dev/null
md5sum </www/data
busybox httpd -h /www
echo READY
busybox nc -l -p 7000
""")
    two = image(initrd, "mmio", """
busybox ip link set eth0 up
busybox ip addr add 10.1.1.3/24 dev eth0
busybox ping -c 3 -W 5 10.1.1.2 >/tmp/ping; echo ping $?
busybox wget -q -O - http://10.1.1.2/data | md5sum
echo end | busybox nc 10.1.1.2 7000
""")
    command = bt.command(kernel("cloud"), one, "--net", "tap=tap0", cmdline=CMDLINE)
    first = bt.machine.spawn([*namespace, *command], timeout=60)
    first.expect("READY", timeout=50)
    text = run(bt, kernel, two, "--net", "tap=tap1", "--virtio", "mmio", within=namespace)
    done = first.wait(timeout=60)
    assert "ping 0" in text, text
    digest = re.search(r"^([0-9a-f]{32}) ", shown(done), re.MULTILINE).group(1)
    assert digest in text, text


@needs_root
def test_a_reboot_in_the_middle_of_a_transfer(bt, kernel, initrd, namespace, tmp_path):
    """The machine's reset finds frames under way; the next boot, which finds a disk written to,
    has its network again."""
    tap(namespace, "tap0", address="10.1.1.1/24")
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4096))
    drivers = modules.in_order(debian.modules("cloud"), ["virtio_net", "virtio_blk", "virtio_pci"])
    with peer(32 << 20, "10.1.1.1", within=namespace) as (digest, ports):
        script = f"""{UP}
if dd if=/dev/vda bs=512 count=1 2>/dev/null | grep -q AGAIN; then
	{exchange("10.1.1.1", *ports)}
else
	echo AGAIN | dd of=/dev/vda conv=fsync 2>/dev/null
	for i in 1 2 3; do busybox wget -q -O /dev/null http://10.1.1.1:{ports[0]}/ & done
	sleep 0.3
	reboot -f
fi
"""
        files = {f"modules/{name}": data for name, data in drivers}
        lines = [f"insmod /modules/{name}" for name, _ in drivers]
        path = initrd(files={**files, "script": "\n".join([*lines, script, ""]).encode()})
        text = run(bt, kernel, path, "--net", "tap=tap0", "--disk", str(disk), within=namespace)
    exchanged(text, digest)


@needs_root
def test_limits_are_kept(bt, kernel, initrd, namespace):
    """1 MB a second both ways: 4 MB each take more than 3 s, and not much more than 4."""
    tap(namespace, "tap0", address="10.1.1.1/24")
    with peer(4_000_000, "10.1.1.1", within=namespace) as (digest, ports):
        script = f"""{UP}
up() {{ read now rest </proc/uptime; echo time $now; }}
up
busybox wget -q -O /tmp/data http://10.1.1.1:{ports[0]}/
up
{send("10.1.1.1", ports[1])}
up
"""
        text = run(bt, kernel, image(initrd, "pci", script), "--net",
                   "tap=tap0,rx-bandwidth=1000000,tx-bandwidth=1000000", within=namespace)
    assert digest in text
    times = [float(found) for found in re.findall(r"^time ([0-9.]+)$", text, re.MULTILINE)]
    for before, after in zip(times, times[1:]):
        assert 2.5 < after - before < 12, text


@needs_root
@pytest.mark.parametrize("words,told", [
    ("tap=lo", "is no tap device"),
    ("tap=tap0,queues=2", "is no tap device of several queues"),
])
def test_refusals(bt, kernel, initrd, namespace, words, told):
    tap(namespace, "tap0")
    command = bt.command(kernel("cloud"), initrd(), "--net", words)
    done = bt.machine.run([*namespace, *command])
    assert done.status == 1
    assert done.err.startswith("lodge: cannot use ") and told in done.err


@pytest.mark.parametrize("bus", BUSES)
def test_tap_under_kvm(kvm, kernel, initrd, bus):
    """In the emulated machine, whose kernel is the peer: pings, and 4 MiB each way."""
    for name, data in modules.in_order(debian.modules("cloud"), ["tun"]):
        kvm.machine.put_bytes(f"/tmp/{name}", data)
        kvm.machine.run(["busybox", "insmod", f"/tmp/{name}"])
    script = f"""{UP}
i=0
while ! busybox ping -c 1 -W 1 10.1.1.1 >/dev/null && [ $i -lt 30 ]; do i=$((i + 1)); done
busybox ping -c 3 -W 5 10.1.1.1 >/tmp/ping; echo ping $?
busybox wget -q -O /tmp/data http://10.1.1.1/data; echo fetched $?
md5sum </tmp/data
busybox httpd -h /tmp
echo READY
busybox nc -l -p 7000
grep virtio /proc/interrupts
{COMPLAINTS}
"""
    session = kvm.spawn(kernel("cloud"), image(initrd, bus, script), "--net", "tap=tap0",
                        "--virtio", bus, cmdline=CMDLINE)
    peers = kvm.machine.run(["sh", "-c", """
while ! busybox ip link show tap0 >/dev/null 2>&1; do sleep 0.2; done
busybox ip addr add 10.1.1.1/24 dev tap0
mkdir -p /tmp/www
dd if=/dev/urandom of=/tmp/www/data bs=1M count=4 2>/dev/null
busybox md5sum /tmp/www/data
busybox httpd -h /tmp/www
"""], timeout=60)
    digest = peers.out.split()[0]
    session.expect("READY", timeout=100)
    back = kvm.machine.run(["sh", "-c", """
busybox wget -q -O /tmp/back http://10.1.1.2/data
busybox md5sum /tmp/back
echo end | busybox nc 10.1.1.2 7000
busybox killall httpd
"""], timeout=60)
    done = session.wait(timeout=60)
    text = shown(done)
    assert "ping 0" in text and "fetched 0" in text, text
    assert digest in text and digest in back.out, (text, back.out)
    assert not re.search(r"^<[0-4]>", text, re.MULTILINE), text
