# SPDX-License-Identifier: Apache-2.0
"""The virtio console and its named ports in Debian's cloud kernel, on both buses, under both
engines."""

import hashlib
import re
import uuid

import pytest

from lab import cache
from test_virtio import BUSES, with_drivers

ON_HVC0 = "exec </dev/hvc0 >/dev/hvc0 2>&1"

# A port's device by the port's name, once the kernel has said it; and its opening as number 3.
PORTS = """
port() {
	while :; do
		for p in /sys/class/virtio-ports/vport*; do
			[ "$(cat $p/name 2>/dev/null)" = $1 ] && echo /dev/${p##*/} && return
		done
		sleep 0.1
	done
}
exec 3<>$(port a)
"""

MIB = 1 << 20


def on_hvc0(place, kernel, initrd, bus, script, *flags, **options):
    """Starts a guest that has no serial line's console, and runs the script on hvc0."""
    image = with_drivers(initrd, bus, ["virtio_console"], f"{ON_HVC0}\n{script}")
    return place.spawn(kernel("cloud"), image, "--virtio-console", "stdio", "--virtio", bus,
                       *flags, cmdline="console=hvc0 quiet lodge.show=script", timeout=600,
                       **options)


@pytest.mark.parametrize("bus", BUSES)
def test_a_terminal_on_hvc0(place, kernel, initrd, bus):
    """Lines come and go, the window has the terminal's size, and follows it."""
    script = """
stty -echo
echo ready
while read line && [ "$line" != end ]; do echo "got $line of $(stty size)."; done
"""
    session = on_hvc0(place, kernel, initrd, bus, script, pty=True, size=(31, 97))
    session.expect(r"ready\r\n", timeout=200)
    session.send("one\r")
    session.expect(r"got one of 31 97\.")
    session.resize(50, 132)
    for n in range(50):
        session.send(f"{n}\r")
        if session.expect(rf"got {n} of (\d+ \d+)\.")[1] == b"50 132":
            break
    else:
        pytest.fail("the window's new size did not reach the guest")
    session.send("end\r")
    assert session.wait(timeout=60).status == 0


@pytest.mark.parametrize("bus", BUSES)
def test_much_output_to_a_slow_reader(place, kernel, initrd, bus):
    """Five seconds long nobody reads; not a line is missing."""
    image = with_drivers(initrd, bus, ["virtio_console"],
                         f"{ON_HVC0}\nstty -opost\nseq 20000\necho all")
    command = place.command(kernel("cloud"), image, "--virtio-console", "stdio", "--virtio", bus,
                            cmdline="console=hvc0 quiet lodge.show=script")
    done = place.machine.run(["sh", "-c", '"$@" | { sleep 5; cat; }', "sh", *command],
                             timeout=300)
    lines = done.out.replace("\r", "").splitlines()
    assert lines[lines.index("1"):lines.index("all")] == [str(n) for n in range(1, 20001)]


def test_input_that_the_guest_takes_slowly(place, kernel, initrd):
    """To a raw hvc0, from a pipe, while COM1 is a file: bytes of every value but Ctrl-O, which to
    Linux begins a "magic SysRq" there."""
    data = bytes(value for value in range(256) if value != 15) * 400
    log = f"/tmp/lodge-{uuid.uuid4().hex}.log"
    script = f"echo on COM1 >/dev/ttyS0\n{ON_HVC0}\nstty raw -echo\necho ready\n" \
             f"sleep 3; head -c {len(data)} | md5sum"
    session = on_hvc0(place, kernel, initrd, "pci", script, "--console", f"file={log}")
    session.expect("ready", timeout=200)
    session.send(data)
    done = session.wait(timeout=60)
    assert done.status == 0, done.err
    assert hashlib.md5(data).hexdigest() in done.out
    assert "on COM1" in place.machine.run(["cat", log]).out
    place.machine.run(["rm", log])


@pytest.fixture
def end(place):
    """A name of a port's end, and the program that speaks there, where the engine is."""
    name = f"/tmp/lodge-{uuid.uuid4().hex[:12]}"
    program = cache.static_program("../e2e/unixcat.c")
    if place.engine == "kvm":
        place.machine.put_program(program, "/bin/unixcat")
        program = "/bin/unixcat"
    yield name, str(program)
    place.machine.run(["rm", "-f", name])


def with_port(place, kernel, initrd, bus, script, port):
    """Starts a guest with the port "a", which its script has open."""
    image = with_drivers(initrd, bus, ["virtio_console"], PORTS + script)
    return place.spawn(kernel("cloud"), image, "--port", f"a,{port}", "--virtio", bus,
                       cmdline="quiet lodge.show=script", timeout=600)


def sums(text):
    return re.findall(rb"^([0-9a-f]{32})\b", bytes(text).replace(b"\r", b""), re.MULTILINE)


@pytest.mark.parametrize("kind", ["socket", "pty"])
@pytest.mark.parametrize("bus", BUSES)
def test_a_port_both_ways_at_once(place, kernel, initrd, end, bus, kind):
    """Ten mebibytes each way, with their sums at either end."""
    size = 10 * MIB
    name, program = end
    script = f"""
head -c {size} </dev/urandom >/tmp/out
md5sum /tmp/out
head -c {size} <&3 >/tmp/in &
cat /tmp/out >&3
wait
md5sum /tmp/in
"""
    session = with_port(place, kernel, initrd, bus, script, f"{kind}={name}")
    done = place.machine.run(["sh", "-c", f"""
head -c {size} </dev/urandom >{name}.out
md5sum {name}.out
{program} {name} {size} <{name}.out | md5sum
rm {name}.out"""], timeout=400)
    host_out, host_in = sums(done.stdout)
    guest = session.wait(timeout=200)
    assert guest.status == 0, guest.err
    guest_out, guest_in = sums(guest.stdout)
    assert (guest_in, host_in) == (host_out, guest_out)


@pytest.mark.parametrize("bus", BUSES)
def test_a_file_gets_what_a_port_sends(place, kernel, initrd, end, bus):
    name, _ = end
    script = """
head -c 3000000 </dev/urandom >/tmp/out
cat /tmp/out >&3
md5sum /tmp/out
"""
    session = with_port(place, kernel, initrd, bus, script, f"file={name}")
    guest = session.wait(timeout=300)
    assert guest.status == 0, guest.err
    assert sums(guest.stdout) == sums(place.machine.run(["md5sum", name]).stdout)


def test_a_host_that_hangs_up(place, kernel, initrd, end):
    """The guest reads the end of input, and the next one that connects; the other way round, what
    is sent while the guest has its port closed waits."""
    name, program = end
    script = f"""
read line <&3; echo "1 $line."
cat <&3 >/dev/null; echo "1 ended."
while ! read line <&3; do sleep 0.1; done
echo "2 $line."; echo answer >&3
cat <&3 >/dev/null; echo "2 ended."
exec 3<&-
echo "closed."; sleep 3
exec 3<>$(port a)
while ! read line <&3; do sleep 0.1; done
echo "3 $line."
"""
    session = with_port(place, kernel, initrd, "pci", script, f"socket={name}")
    talk = f"{program} {name}"
    place.machine.run(["sh", "-c", f"echo one | {talk} 0"], timeout=200)
    session.expect(r"1 one\.\s+1 ended\.", timeout=60)
    done = place.machine.run(["sh", "-c", f"echo two | {talk} 7"], timeout=60)
    assert done.out == "answer\n"
    session.expect(r"2 ended\.\s+closed\.", timeout=60)
    place.machine.run(["sh", "-c", f"(echo three; sleep 6) | {talk} 0"], timeout=60)
    session.expect(r"3 three\.", timeout=60)
    assert session.wait(timeout=60).status == 0
    assert place.machine.run(["ls", name]).status != 0


@pytest.mark.parametrize("port, why", [
    ("a,socket=/nonexistent/socket", "/nonexistent/socket"),
    ("a,file=/nonexistent/file", "/nonexistent/file"),
    ("a,pty=/etc/passwd", "it exists"),
    ("a,socket=/etc/passwd", "it exists"),
])
def test_an_end_that_cannot_be(place, kernel, initrd, port, why):
    done = place.run(kernel("cloud"), initrd(), "--port", port)
    assert done.status == 1
    assert done.err.startswith("lodge: cannot ") and why in done.err


def test_two_owners_of_a_terminal_are_refused(place, kernel, initrd):
    done = place.run(kernel("cloud"), initrd(), "--console", "stdio", "--virtio-console", "stdio")
    assert done.status == 2
    assert "cannot both be stdio" in done.err
