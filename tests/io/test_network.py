# SPDX-License-Identifier: Apache-2.0
"""A Debian with a network: apt from a server of this machine's, ssh in by a forward, a gigabyte
each way and iperf3, by user-mode networking and by tap devices."""

import contextlib
import functools
import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading

import pytest

from conftest import BUSES, command
from lab import debian, guests, modules, networks, rootdisk
from lab.host import Host

pytestmark = pytest.mark.io

GIB = 1 << 30


@pytest.fixture
def disk(tmp_path):
    return rootdisk.copy(tmp_path / "root.img")


# --- apt -----------------------------------------------------------------------------------------

CONTROL = """Package: lodge-proof
Version: 1.0
Architecture: all
Maintainer: nobody <nobody@localhost>
Description: a payload that proves its way
"""


def repository(directory):
    """A repository with one package of 24 MB; the payload's SHA-256."""
    payload = os.urandom(24_000_000)
    root = directory / "package"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(CONTROL)
    (root / "usr/share/lodge").mkdir(parents=True)
    (root / "usr/share/lodge/payload").write_bytes(payload)
    served = directory / "served"
    served.mkdir()
    package = served / "lodge-proof_1.0_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root),
                    str(package)], check=True, stdout=subprocess.DEVNULL)
    data = package.read_bytes()
    (served / "Packages").write_text(
        f"{CONTROL}Filename: ./{package.name}\nSize: {len(data)}\n"
        f"SHA256: {hashlib.sha256(data).hexdigest()}\n")
    return served, hashlib.sha256(payload).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A directory of files, without a word."""

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(directory):
    """Serves it to this machine's loopback; gives the port."""
    handler = functools.partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


# passt gives the host's own loopback the gateway's address.
GATEWAY = """
i=0
while ! ip route | grep -q ^default && [ $i -lt 300 ]; do sleep 0.1; i=$((i + 1)); done
gateway=$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')
"""


@pytest.mark.parametrize("bus", BUSES)
def test_apt_installs_from_a_server_of_this_machine(tmp_path, disk, bus):
    directory, digest = repository(tmp_path)
    with served(directory) as port:
        script = f"""{GATEWAY}
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo "deb [trusted=yes] http://$gateway:{port}/ ./" >/etc/apt/sources.list
apt-get -q update; echo update $?
apt-get -q -y install lodge-proof; echo install $?
sha256sum /usr/share/lodge/payload
"""
        done = Host().run(command(disk, rootdisk.initrd(script), "--virtio", bus, "--net", "user",
                                  cmdline="quiet lodge.do=script"), timeout=900)
    assert done.status == 0, done.err + done.out[-2000:]
    text = done.out.replace("\r\n", "\n")
    assert "\nupdate 0\n" in text and "\ninstall 0\n" in text, text[-3000:]
    assert digest in text, text[-3000:]


# --- ssh -----------------------------------------------------------------------------------------

def test_ssh_comes_in_by_a_forward(tmp_path, disk):
    """A command, 64 MB each way through it, and four sessions at once."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    script = f"""{GATEWAY}
mkdir -p -m 700 ~root/.ssh
echo '{key.with_suffix(".pub").read_text().strip()}' >~root/.ssh/authorized_keys
ssh-keygen -A >/dev/null
systemctl restart ssh
echo READY
while [ ! -e /run/enough ]; do sleep 0.2; done
"""
    port = networks.free_port()
    ssh = ["ssh", "-p", str(port), "-i", str(key), "-o", "StrictHostKeyChecking=no", "-o",
           "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes",
           "root@127.0.0.1"]
    session = Host().spawn(command(disk, rootdisk.initrd(script), "--net",
                                   f"user,forward=tcp:127.0.0.1:{port}:22",
                                   cmdline="quiet lodge.do=script"), timeout=900)
    session.expect("READY", timeout=600)

    def told(*words, data=None):
        return subprocess.run([*ssh, *words], input=data, capture_output=True, timeout=300,
                              check=True).stdout

    assert told("hostname") == b"lodge\n"
    payload = os.urandom(64_000_000)
    assert told("sha256sum", data=payload).split()[0].decode() == \
        hashlib.sha256(payload).hexdigest()
    assert told("cat >/run/back; cat /run/back", data=payload) == payload
    at_once = [subprocess.Popen([*ssh, f"sleep 1; echo {n}"], stdout=subprocess.PIPE)
               for n in range(4)]
    assert [p.communicate(timeout=120)[0] for p in at_once] == [b"%d\n" % n for n in range(4)]
    told("touch /run/enough")
    done = session.wait(timeout=300)
    assert done.status == 0, done.err + done.out[-2000:]


# --- transfers -----------------------------------------------------------------------------------

LEASE = """#!/bin/sh
[ "$1" = bound ] || exit 0
busybox ip addr add $ip/$mask dev $interface
busybox ip route add default via ${router%% *}
busybox ip link set $interface mtu ${mtu:-1500}
"""

USER = """
busybox ip link set eth0 up
busybox udhcpc -i eth0 -s /lease -n -q -t 10 -T 1 2>/dev/null
peer=$(busybox ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')
"""

TAP = """
busybox ip link set eth0 up
busybox ip addr add 10.1.1.2/24 dev eth0
peer=10.1.1.1
"""


def image(bus, script):
    """An initramfs with the network's drivers and the host's iperf3."""
    loaded = modules.in_order(debian.modules("cloud"), ["virtio_net", BUSES[bus]])
    lines = [f"insmod /modules/{name}" for name, _ in loaded]
    return guests.initrd(files={**{f"modules/{name}": data for name, data in loaded},
                                **guests.programs("iperf3"), "lease": LEASE.encode(),
                                "script": "\n".join([*lines, script, ""]).encode()})


@contextlib.contextmanager
def network(kind):
    """(lodge's flag, the guest's way up, the peer's address, words that run a command there)."""
    if kind == "user":
        yield "user", USER, "127.0.0.1", ()
        return
    with networks.namespace() as within:
        networks.tap(within, "tap0", address="10.1.1.1/24")
        yield "tap=tap0", TAP, "10.1.1.1", within


def run(flag, within, bus, script):
    """What the script has printed."""
    words = ["lodge", "run", "--engine", "bt", "--memory", "512M", "--cpus", "2", "--kernel",
             debian.vmlinuz("cloud"), "--initrd", image(bus, script), "--net", flag, "--virtio",
             bus, "--cmdline", "console=ttyS0 cryptomgr.notests quiet lodge.show=script"]
    done = Host().run([*within, *words], timeout=1200)
    assert done.status == 0 and done.err == "", done.err + done.out[-2000:]
    return guests.sections(done.stdout)["script"]


# Connections that the way out takes.  Debian 12's passt resets one that moves much now and then (a
# timer of its own that has run out by the time it is set anew counts as two hours of silence;
# Debian 13's does not): there a piece that was reset goes again.
PIECES = {"user": 16, "tap": 1}


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("kind", ["user", "tap"])
def test_a_gigabyte_each_way(kind, bus):
    pieces = PIECES[kind]
    with network(kind) as (flag, up, address, within), \
            networks.peer(GIB, address, within=within) as (digest, ports):
        # What comes is counted and summed as it goes by; what goes is 16 times the same 64 MB.
        text = run(flag, within, bus, f"""{up}
busybox wget -q -O - http://$peer:{ports[0]}/ | busybox sha256sum
dd if=/dev/urandom of=/tmp/data bs=1M count=64 2>/dev/null
send() {{ n=0; while [ $n -lt {16 // pieces} ]; do cat /tmp/data; n=$((n + 1)); done; }}
echo "sent: $(send | busybox sha256sum)"
piece=0 reset=0
while [ $piece -lt {pieces} ] && [ $reset -lt {pieces} ]; do
    : >/tmp/sum
    (echo {GIB // pieces}; send; sleep 100) | busybox nc $peer {ports[1]} >/tmp/sum &
    while [ ! -s /tmp/sum ] && kill -0 $! 2>/dev/null; do sleep 0.1; done
    if [ -s /tmp/sum ]; then
        echo "arrived: $(cat /tmp/sum)"
        piece=$((piece + 1))
    else
        reset=$((reset + 1))
    fi
done
echo "reset: $reset"
dmesg -r | grep -E '^<[0-4]>.*(virtio|eth0|checksum)'
""")
    (received,) = re.findall(r"^[0-9a-f]{64}", text, re.MULTILINE)
    (sent,) = re.findall(r"^sent: ([0-9a-f]{64})", text, re.MULTILINE)
    arrived = re.findall(r"^arrived: ([0-9a-f]{64})", text, re.MULTILINE)
    assert received == digest and arrived == [sent] * pieces, text
    assert kind == "user" or "reset: 0" in text, text
    assert not re.search(r"^<[0-4]>", text, re.MULTILINE), text


@pytest.mark.parametrize("kind", ["user", "tap"])
def test_iperf3(kind):
    """Both directions, four streams, and UDP; the rates are told, not judged."""
    port = networks.free_port()
    with network(kind) as (flag, up, address, within):
        server = subprocess.Popen([*within, "iperf3", "-s", "-B", address, "-p", str(port)],
                                  stdout=subprocess.DEVNULL)
        try:
            text = run(flag, within, "pci", f"""{up}
for words in "" "-R" "-P 4" "-u -b 200M"; do
	echo "IPERF $words"
	/bin/iperf3 -c $peer -p {port} -t 3 -J $words
done
echo IPERF
""")
        finally:
            server.kill()
            server.wait()
    runs = text.split("IPERF")[1:5]
    assert len(runs) == 4, text
    for shown in runs:
        words, result = shown.split("\n", 1)
        end = json.loads(result)["end"]
        received = end.get("sum_received") or end["sum"]
        assert received["bytes"] > 0, result
        print(f"\n{kind}, iperf3{words}: {received['bits_per_second'] / 1e6:.0f} Mbit/s",
              file=sys.stderr)


def test_datagrams_come_in_by_a_forward():
    """iperf3 the other way round: its server is the guest, for one port of TCP and UDP."""
    port = networks.free_port()
    script = f"""{USER}
/bin/iperf3 -s -1 -p 9000 --forceflush >/tmp/log &
until grep -q listening /tmp/log; do sleep 0.1; done
echo READY
wait
"""
    words = ["lodge", "run", "--engine", "bt", "--kernel", debian.vmlinuz("cloud"), "--initrd",
             image("pci", script), "--net",
             f"user,forward=tcp:127.0.0.1:{port}:9000,forward=udp:127.0.0.1:{port}:9000",
             "--cmdline", "console=ttyS0 cryptomgr.notests quiet lodge.show=script"]
    session = Host().spawn(words, timeout=300)
    session.expect("READY", timeout=120)
    client = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", str(port), "-u", "-b", "20M", "-t",
                             "3", "-J"], capture_output=True, timeout=60)
    assert client.returncode == 0, client.stdout
    done = session.wait(timeout=60)
    assert done.status == 0, done.err
    received = json.loads(client.stdout)["end"]["sum"]
    assert received["packets"] - received["lost_packets"] > 100, client.stdout
