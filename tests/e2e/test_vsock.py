# SPDX-License-Identifier: Apache-2.0
"""virtio-vsock in Debian's cloud kernel, on both buses, under both engines.  Both ends of each
connection are sockpeer.c."""

import re
import uuid
from pathlib import Path

import pytest

from lab import cache, debian, guests, modules

BUSES = {"pci": "virtio_pci", "mmio": "virtio_mmio"}
MIB = 1 << 20


def image(initrd, bus, script):
    """An initramfs that loads the drivers, then runs the script, which finds peer."""
    loaded = modules.in_order(debian.modules("cloud"),
                              ["vmw_vsock_virtio_transport", BUSES[bus]])
    files = {f"modules/{name}": data for name, data in loaded}
    files["peer"] = Path(cache.static_program("../e2e/sockpeer.c")).read_bytes()
    lines = [f"insmod /modules/{name}" for name, _ in loaded]
    return initrd(files={**files, "script": "\n".join([*lines, script, ""]).encode()})


class End:
    """The host's end: the name of the sockets, and programs that use them."""

    def __init__(self, place):
        self.place = place
        self.name = f"/tmp/lodge-{uuid.uuid4().hex[:12]}"
        self.program = str(cache.static_program("../e2e/sockpeer.c"))
        self.sessions = []
        if place.engine == "kvm":
            place.machine.put_program(Path(self.program), "/bin/sockpeer")
            self.program = "/bin/sockpeer"

    def serve(self, kind, port):
        """Serves a port of the host's."""
        session = self.place.machine.spawn([self.program, kind, "serve",
                                            f"unix:{self.name}_{port}"])
        session.expect("serving", timeout=60)
        self.sessions.append(session)

    def drive(self, kind, port, what, count):
        """Has something done with a port of the guest's; what was said of it."""
        name = self.name + (".seqpacket" if kind == "packets" else "")
        done = self.place.machine.run([self.program, kind, "drive", f"call:{name}:{port}", what,
                                       str(count)], timeout=300)
        return done.out.strip()

    def there(self):
        """Which names there are."""
        done = self.place.machine.run(["sh", "-c", f"ls -d {self.name}*"])
        return [Path(line).name[len(Path(self.name).name):] for line in done.out.split()]

    def close(self):
        for session in self.sessions:
            session.signal(9)
        self.place.machine.run(["sh", "-c", f"rm -f {self.name}*"])


@pytest.fixture
def end(place):
    made = End(place)
    yield made
    made.close()


def flags(end, bus):
    return ["--vsock", f"cid=7,socket={end.name}", "--virtio", bus]


def from_guest(place, kernel, initrd, end, bus, commands):
    """Has the guest do something with ports 1000 (a stream) and 1001 (packets) of the host's."""
    end.serve("stream", 1000)
    end.serve("packets", 1001)
    script = "\n".join(f"/peer {kind} drive vsock:2:{port} {what} {count}"
                       for kind, port, what, count in commands)
    done = place.run(kernel("cloud"), image(initrd, bus, script), *flags(end, bus), timeout=900,
                     cmdline="quiet lodge.show=script")
    assert done.status == 0, done.err
    assert done.err == ""
    text = guests.sections(done.stdout)["script"]
    for _, _, what, _ in commands:
        assert f"done {what}" in text, text
    assert "failed" not in text
    assert sorted(end.there()) == ["_1000", "_1001"]
    return text


@pytest.mark.parametrize("bus", BUSES)
def test_the_guest_calls(place, kernel, initrd, end, bus):
    commands = [("stream", 1000, "source", 25 * MIB), ("stream", 1000, "sink", 25 * MIB),
                ("stream", 1000, "open", 100), ("stream", 1000, "hold", 100),
                ("stream", 1002, "refused", 20), ("packets", 1000, "refused", 1),
                ("packets", 1001, "packets", 3), ("stream", 1000, "stall", 20)]
    from_guest(place, kernel, initrd, end, bus, commands)


def serving(place, kernel, initrd, end, bus, more=""):
    """Starts a guest that serves ports 2000 (a stream) and 2001 (packets)."""
    script = f"""
/peer packets serve vsock:4294967295:2001 &
{more}
/peer stream serve vsock:4294967295:2000
"""
    session = place.spawn(kernel("cloud"), image(initrd, bus, script), *flags(end, bus),
                          timeout=900, cmdline="quiet lodge.show=script")
    session.expect("serving", timeout=300)
    session.expect("serving", timeout=300)
    return session


@pytest.mark.parametrize("bus", BUSES)
def test_the_host_calls(place, kernel, initrd, end, bus):
    session = serving(place, kernel, initrd, end, bus)
    assert sorted(end.there()) == ["", ".seqpacket"]
    assert end.drive("stream", 2000, "source", 25 * MIB) == "done source"
    assert end.drive("stream", 2000, "sink", 25 * MIB) == "done sink"
    assert end.drive("stream", 2000, "open", 100) == "done open"
    assert end.drive("stream", 2000, "hold", 100) == "done hold"
    assert end.drive("packets", 2001, "packets", 3) == "done packets"
    assert end.drive("stream", 2002, "refused", 20) == "done refused"
    assert re.fullmatch(r"stalled after \d+\ndone stall", end.drive("stream", 2000, "stall", 20))
    session.signal(15)
    done = session.wait(timeout=60)
    assert done.status == 130
    assert end.there() == []


@pytest.mark.parametrize("bus", BUSES)
def test_a_reboot_in_the_middle(place, kernel, initrd, end, bus):
    """Connections of before are cut off; the guest's next life has its own."""
    reboot = "sh -c 'while [ ! -e /tmp/sockpeer.mark ]; do sleep 1; done; reboot -f' &"
    session = serving(place, kernel, initrd, end, bus, more=reboot)
    sender = place.machine.spawn([end.program, "stream", "drive", f"call:{end.name}:2000",
                                  "source", str(1 << 40)])
    assert end.drive("packets", 2001, "mark", 1) == "done mark"
    assert "failed" in sender.wait(timeout=60).out
    session.expect("serving", timeout=300)
    session.expect("serving", timeout=300)
    assert end.drive("stream", 2000, "open", 2) == "done open"
    session.signal(9)
    session.wait(timeout=60)
    # Killed, it has left its sockets; they are in nobody's way.
    assert sorted(end.there()) == ["", ".seqpacket"]
    from_guest(place, kernel, initrd, end, bus, [("stream", 1000, "open", 2)])


def test_a_socket_in_use_is_refused(place, kernel, initrd, end):
    session = serving(place, kernel, initrd, end, "pci")
    done = place.run(kernel("cloud"), initrd(), *flags(end, "pci"))
    session.signal(15)
    assert session.wait(timeout=60).status == 130
    assert done.status == 1
    assert "in use" in done.err and end.name in done.err


@pytest.mark.slow
@pytest.mark.parametrize("bus", BUSES)
def test_many_connections_and_bytes(place, kernel, initrd, end, bus):
    """10,000 connections each way, and a gigabyte."""
    commands = [("stream", 1000, "source", 1024 * MIB), ("stream", 1000, "sink", 1024 * MIB),
                ("stream", 1000, "open", 10000)]
    from_guest(place, kernel, initrd, end, bus, commands)
    end.close()
    session = serving(place, kernel, initrd, end, bus)
    assert end.drive("stream", 2000, "source", 1024 * MIB) == "done source"
    assert end.drive("stream", 2000, "sink", 1024 * MIB) == "done sink"
    assert end.drive("stream", 2000, "open", 10000) == "done open"
    session.signal(15)
    session.wait(timeout=60)
