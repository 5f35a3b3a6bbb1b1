# SPDX-License-Identifier: Apache-2.0
"""The host's end of guests' networks: peers to talk with, network namespaces, tap devices (the last
two need root)."""

import contextlib
import socket
import subprocess
import sys
import uuid
from pathlib import Path

_PEER = Path(__file__).with_name("netpeer.py")


@contextlib.contextmanager
def peer(size, *addresses, within=()):
    """netpeer.py; gives the payload's SHA-256 and its ports.  `within`: words before its own."""
    process = subprocess.Popen([*within, sys.executable, str(_PEER), str(size), *addresses],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        digest, *ports = process.stdout.readline().decode().split()
        yield digest, [int(port) for port in ports]
    finally:
        process.kill()
        process.wait()


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def namespace():
    """A network namespace with its loopback up: words that run a command in it."""
    name = f"lodge-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        within = ["ip", "netns", "exec", name]
        subprocess.run([*within, "ip", "link", "set", "lo", "up"], check=True)
        yield within
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def tap(within, name, *words, address=None):
    """Makes a tap device in a namespace, up, with an address (10.1.1.1/24) if one is given."""
    for command in (["tuntap", "add", name, "mode", "tap", *words], ["link", "set", name, "up"]):
        subprocess.run([*within, "ip", *command], check=True)
    if address:
        subprocess.run([*within, "ip", "addr", "add", address, "dev", name], check=True)
