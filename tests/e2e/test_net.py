# SPDX-License-Identifier: Apache-2.0
"""virtio-net in Debian's cloud kernel: user-mode networking by passt, and tap devices, on both
buses.  On this machine, since the lab has no network."""

import hashlib
import http.server
import os
import re
import socket
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest

from lab import debian, guests, modules
from lab.host import Host
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
"""


@pytest.fixture
def bt():
    """This machine's software engine."""
    return Place("bt", Host())


def image(initrd, bus, script, extra=()):
    """An initramfs that loads the drivers, then runs the script."""
    loaded = modules.in_order(debian.modules("cloud"),
                              ["virtio_net", *extra, BUSES[bus]])
    files = {f"modules/{name}": data for name, data in loaded}
    lines = [f"insmod /modules/{name}" for name, _ in loaded]
    return initrd(files={**files, "lease": LEASE.encode(), "etc/resolv.conf": b"",
                         "script": "\n".join([*lines, script, ""]).encode()})


def shown(done):
    """What the script has printed."""
    assert done.status == 0, done.err
    assert done.err == ""
    return guests.sections(done.stdout)["script"]


def run(place, kernel, path, *flags, timeout=300, env=None):
    return shown(place.run(kernel("cloud"), path, *flags, cmdline="quiet lodge.show=script",
                           timeout=timeout, env=env))


class Files(http.server.BaseHTTPRequestHandler):
    """Serves BYTES; takes what is put, and remembers its SHA-256."""

    payload = b""
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.payload)))
        self.end_headers()
        self.wfile.write(self.payload)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """server(bytes, family) -> port of an HTTP server on the host's loopback."""
    servers = []

    def start(payload, address="127.0.0.1"):
        kind = type("Kind", (Files,), {"payload": payload})
        made = type("Server", (http.server.ThreadingHTTPServer,), {
            "address_family": socket.AF_INET6 if ":" in address else socket.AF_INET})
        one = made((address, 0), kind)
        threading.Thread(target=one.serve_forever, daemon=True).start()
        servers.append(one)
        return one.server_address[1]

    yield start
    for one in servers:
        one.shutdown()
        one.server_close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def may_ping():
    """Whether the host lets any group open ping sockets."""
    first, last = Path("/proc/sys/net/ipv4/ping_group_range").read_text().split()
    return int(first) <= 65534 <= int(last)


@pytest.mark.parametrize("bus", BUSES)
def test_user_network(bt, kernel, initrd, server, bus):
    """An address by DHCP; the host's servers through the gateway, checked byte by byte."""
    payload = os.urandom(8 << 20)
    port = server(payload)
    script = f"""
{DHCP}
cat /sys/class/net/eth0/mtu /sys/class/net/eth0/address
gateway=$(busybox ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')
busybox wget -q -O - http://$gateway:{port}/ | busybox sha256sum
busybox ping -c 3 -W 5 $gateway >/tmp/ping; echo ping $?
dmesg -r | grep -E '^<[0-4]>.*(virtio|eth0)'
"""
    text = run(bt, kernel, image(initrd, bus, script), "--net", "user,mac=02:00:00:00:00:07",
               "--virtio", bus)
    assert re.search(r"^lease [0-9.]+/\d+ router [0-9.]+ mtu 65520", text, re.MULTILINE), text
    assert "\n65520\n02:00:00:00:00:07\n" in text
    assert hashlib.sha256(payload).hexdigest() in text
    # passt, which is nobody's, may only ping where the host lets everybody.
    if may_ping():
        assert "ping 0" in text, text
