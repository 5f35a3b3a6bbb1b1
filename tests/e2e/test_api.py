# SPDX-License-Identifier: Apache-2.0
"""lodge api: the REST server as its clients meet it, on this machine under bt."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import random
import socket
import subprocess
import time
from pathlib import Path

import pytest

from lab import debian, guests, modules, product

ARGS = "console=ttyS0 quiet cryptomgr.notests"


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Server:
    """A running lodge api."""

    def __init__(self, directory, *flags, program=None):
        self.path = directory / "api.sock"
        self._out = open(directory / "out", "w+b")
        self._err = open(directory / "err", "w+b")
        command = [program, "--api-sock", self.path] if program else \
            [product.lodge(), "api", "--engine", "bt", "--api-sock", self.path]
        self.process = subprocess.Popen([str(word) for word in [*command, *flags]],
                                        stdin=subprocess.DEVNULL, stdout=self._out,
                                        stderr=self._err,
                                        env={**os.environ, "XDG_RUNTIME_DIR": str(directory)})
        self.connection = Connection(self.path)
        while self.process.poll() is None:
            try:
                self.connection.connect()
                break
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.01)

    def ask(self, method, path, body=None, connection=None):
        """A request; the answer's status and its JSON (None: no body)."""
        connection = connection or self.connection
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        with contextlib.suppress(BrokenPipeError):  # refused by its head, and told so
            connection.request(method, path, data)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 204 or answer.headers["Content-Type"] == "application/json"
        return answer.status, json.loads(text) if text else None

    def do(self, method, path, body):
        """A request that must succeed and have no answer."""
        assert self.ask(method, path, body) == (204, None)

    def refusal(self, method, path, body=None):
        """A request that must be refused; why."""
        status, answer = self.ask(method, path, body)
        assert status == 400 and list(answer) == ["fault_message"]
        return answer["fault_message"]

    def boot(self, kernel, initrd, args=""):
        """Configures and starts a guest."""
        self.do("PUT", "/boot-source", {"kernel_image_path": str(kernel),
                                        "initrd_path": str(initrd),
                                        "boot_args": f"{ARGS} {args}"})
        self.do("PUT", "/actions", {"action_type": "InstanceStart"})

    def printed(self):
        """What the guest has printed until now."""
        # Through a descriptor of its own: the server's has an offset, where it writes.
        return Path(self._out.name).read_bytes().decode(errors="replace")

    def wait_for(self, text):
        end = time.monotonic() + 120
        while text not in self.printed() and time.monotonic() < end:
            time.sleep(0.02)
        assert text in self.printed()

    def ends(self):
        """Waits for the end; status and what lodge said."""
        status = self.process.wait(timeout=120)
        self._err.seek(0)
        return status, self._err.read().decode()

    def close(self):
        self.process.kill()
        self.process.wait()
        self._out.close()
        self._err.close()


@pytest.fixture
def serve(tmp_path):
    """Starts a server; ends it."""
    servers = []

    def start(*flags, **options):
        servers.append(Server(tmp_path, *flags, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_a_vm_is_configured_started_paused_and_ended(serve, kernel, initrd):
    server = serve("--id", "vm-1")
    assert server.ask("GET", "/") == (200, {"app_name": "Firecracker", "id": "vm-1",
                                           "state": "Not started",
                                           "vmm_version": product_version()})
    server.do("PUT", "/machine-config", {"vcpu_count": 2, "mem_size_mib": 256})
    server.do("PUT", "/entropy", {})
    server.boot(kernel("cloud"), initrd(), "lodge.show=nproc lodge.do=wait")
    server.wait_for("LODGE-GUEST: wait")
    assert "2" in guests.sections(server.printed())["nproc"]
    assert server.ask("GET", "/")[1]["state"] == "Running"
    for _ in range(3):
        server.do("PATCH", "/vm", {"state": "Paused"})
        assert server.ask("GET", "/")[1]["state"] == "Paused"
        server.do("PATCH", "/vm", {"state": "Resumed"})
    assert "was started" in server.refusal("PUT", "/entropy", {})
    assert "was started" in server.refusal("PUT", "/actions", {"action_type": "InstanceStart"})
    assert server.ask("GET", "/machine-config")[1]["vcpu_count"] == 2
    server.do("PUT", "/actions", {"action_type": "SendCtrlAltDel"})
    assert server.ends() == (0, "")
    assert not server.path.exists()


def product_version():
    done = subprocess.run([product.lodge(), "version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[1]


def test_a_drive_is_the_root_device(serve, kernel, initrd, tmp_path):
    """It is the first, with its id as its serial number, and the command line says so."""
    for name, size in [("data", 1), ("root", 2)]:
        with open(tmp_path / name, "wb") as f:
            f.truncate(size << 20)
        server = serve() if name == "data" else server
        server.do("PUT", f"/drives/{name}", {"drive_id": name, "is_root_device": name == "root",
                                            "path_on_host": str(tmp_path / name),
                                            "is_read_only": name == "root"})
    server.boot(kernel("cloud"), initrd(), "lodge.show=cmdline")
    assert server.ends()[0] == 0
    assert guests.sections(server.printed())["cmdline"].strip().endswith("root=/dev/vda ro")


def test_a_running_vm_changes_its_drive(serve, kernel, initrd, tmp_path):
    """A read that its limit lets wait for ever goes on when the limit is gone; the guest sees that
    the image has grown."""
    loaded = modules.in_order(debian.modules("cloud"), ["virtio_blk", "virtio_mmio"])
    script = "".join(f"insmod /modules/{name}\n" for name, _ in loaded) + """
echo go on
dd if=/dev/vda of=/dev/null bs=4k count=64 2>/dev/null; echo read $?
while [ $(cat /sys/block/vda/size) = 8192 ]; do sleep 0.1; done
cat /sys/block/vda/size
"""
    image = initrd(files={**{f"modules/{name}": data for name, data in loaded},
                          "script": script.encode()})
    disk = tmp_path / "disk"
    with open(disk, "wb") as f:
        f.truncate(4 << 20)
    server = serve()
    server.do("PUT", "/drives/d", {
        "drive_id": "d", "is_root_device": False, "path_on_host": str(disk),
        "rate_limiter": {"ops": {"size": 1, "refill_time": 1000000000}}})
    server.boot(kernel("cloud"), image, "lodge.show=script")
    server.wait_for("go on")
    for wrong in ["/dev/null", "/nonexistent"]:
        assert wrong in server.refusal("PATCH", "/drives/d", {"drive_id": "d",
                                                              "path_on_host": wrong})
    assert "no 'e'" in server.refusal("PATCH", "/drives/e", {"drive_id": "e"})
    server.do("PATCH", "/drives/d", {"drive_id": "d", "rate_limiter": {
        "ops": {"size": 0, "refill_time": 0},
        "bandwidth": {"size": 1 << 30, "refill_time": 100, "one_time_burst": 1 << 20}}})
    server.wait_for("read 0")
    os.truncate(disk, 6 << 20)
    server.do("PATCH", "/drives/d", {"drive_id": "d", "path_on_host": str(disk)})
    assert server.ends() == (0, "")
    assert guests.sections(server.printed())["script"].split()[-1] == str(6 << 11)


def test_a_running_vm_swaps_its_drive_for_another_file(serve, kernel, initrd, tmp_path):
    """A file of another size and content takes the place of a drive's, while that is written to;
    what was written before is in the first file, what comes after in the second."""
    loaded = modules.in_order(debian.modules("cloud"), ["virtio_blk", "virtio_mmio"])
    script = "".join(f"insmod /modules/{name}\n" for name, _ in loaded) + """
(while :; do dd if=/tmp/x of=/dev/vda bs=4k count=64 seek=1 oflag=direct 2>/dev/null; done) &
echo first | dd of=/dev/vda conv=fsync 2>/dev/null
echo go on
while [ $(cat /sys/block/vda/size) = 8192 ]; do sleep 0.1; done
kill %1
dd if=/dev/vda bs=512 count=1 iflag=direct 2>/dev/null | tr -d '\\0'
dd if=/dev/zero of=/dev/vda bs=512 count=1 seek=16000 oflag=direct 2>/dev/null; echo wrote $?
echo third | dd of=/dev/vda conv=sync,fsync bs=4k seek=1 2>/dev/null
"""
    image = initrd(files={**{f"modules/{name}": data for name, data in loaded},
                          "script": script.encode()})
    first, second = tmp_path / "first", tmp_path / "sec;ond,x"
    for path, size in [(first, 4 << 20), (second, 8 << 20)]:
        with open(path, "wb") as f:
            f.truncate(size)
    second.write_bytes(b"SECOND\n".ljust(8 << 20, b"\0"))
    server = serve()
    server.do("PUT", "/drives/d", {"drive_id": "d", "is_root_device": False,
                                   "path_on_host": str(first)})
    server.boot(kernel("cloud"), image, "lodge.show=script")
    server.wait_for("go on")
    server.do("PATCH", "/drives/d", {"drive_id": "d", "path_on_host": str(second)})
    assert server.ask("GET", "/vm/config")[1]["drives"][0]["path_on_host"] == str(second)
    assert server.ends() == (0, "")
    assert guests.sections(server.printed())["script"].splitlines()[-2:] == ["SECOND", "wrote 0"]
    assert first.read_bytes().startswith(b"first\n")
    data = second.read_bytes()
    assert data.startswith(b"SECOND\n") and data[4096:].startswith(b"third\n")


def test_a_network_interface_is_a_tap_device(serve, kernel, initrd):
    """A device made for the VM, with the guest's address as it was given."""
    done = subprocess.run(["unshare", "-n", "true"], capture_output=True, timeout=60)
    if done.returncode:
        pytest.skip("needs the right to make network devices (root)")
    drivers = ["virtio_net", "virtio_mmio"]
    loaded = modules.in_order(debian.modules("cloud"), drivers)
    script = "".join(f"insmod /modules/{name}\n" for name, _ in loaded) + \
        "cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu\n"
    image = initrd(files={**{f"modules/{name}": data for name, data in loaded},
                          "script": script.encode()})
    server = serve()
    name = f"lodge{os.getpid() % 100000}"
    server.do("PUT", "/network-interfaces/eth0", {
        "iface_id": "eth0", "host_dev_name": name, "guest_mac": "06:00:ac:10:00:02", "mtu": 1400,
        "tx_rate_limiter": {"bandwidth": {"size": 100000, "refill_time": 100}}})
    server.boot(kernel("cloud"), image, "lodge.show=script")
    assert server.ends() == (0, "")
    assert guests.sections(server.printed())["script"].split() == ["06:00:ac:10:00:02", "1400"]
    assert not os.path.exists(f"/sys/class/net/{name}")


def test_a_start_that_fails_can_be_put_right(serve, kernel, initrd, tmp_path):
    (tmp_path / "no-kernel").write_bytes(b"hello")
    server = serve()
    server.do("PUT", "/boot-source", {"kernel_image_path": str(tmp_path / "no-kernel")})
    assert "no-kernel" in server.refusal("PUT", "/actions", {"action_type": "InstanceStart"})
    assert server.ask("GET", "/")[1]["state"] == "Not started"
    server.boot(kernel("cloud"), initrd())
    assert server.ends() == (0, "")


def test_log_and_metrics(serve, kernel, initrd, tmp_path):
    """A log that is a FIFO without a reader loses lines, and nothing else waits for it."""
    os.mkfifo(tmp_path / "log")
    server = serve()
    server.do("PUT", "/logger", {"log_path": str(tmp_path / "log"), "level": "Debug"})
    server.do("PUT", "/metrics", {"metrics_path": str(tmp_path / "metrics")})
    for _ in range(3000):
        assert server.ask("GET", "/version")[0] == 200
    server.boot(kernel("cloud"), initrd(), "lodge.do=wait")
    server.wait_for("LODGE-GUEST: wait")
    server.do("PUT", "/actions", {"action_type": "FlushMetrics"})
    server.do("PUT", "/actions", {"action_type": "SendCtrlAltDel"})
    assert server.ends() == (0, "")
    lines = [json.loads(line) for line in (tmp_path / "metrics").read_text().splitlines()]
    assert len(lines) == 3  # start, request, end
    assert lines[0]["get_api_requests"]["vmm_version_count"] == 3000
    assert lines[0]["logger"]["missed_log_count"] > 1000
    assert sum(lines[1]["lodge"].values()) > 0
    assert [line["put_api_requests"]["actions_count"] for line in lines] == [1, 1, 1]


def test_as_firecracker_by_a_file(serve, kernel, initrd, tmp_path):
    """By that name it has its flags, and a file may say all."""
    program = tmp_path / "firecracker"
    program.symlink_to(product.lodge())
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"Firecracker v{product_version()}\n"
    config = tmp_path / "vm.json"
    config.write_text(json.dumps({
        "boot-source": {"kernel_image_path": str(kernel("cloud")), "initrd_path": str(initrd()),
                        "boot_args": ARGS},
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 128}, "drives": []}))
    server = serve("--engine", "bt", "--config-file", config, "--no-api", program=program)
    assert server.ends() == (0, "")
    assert guests.MARKER in server.printed()
    config.write_text('{"machine-config": {"vcpu_count": 0}}')
    server = serve("--config-file", config, "--no-api", program=program)
    status, said = server.ends()
    assert status == 1
    assert said.startswith(f"lodge: the configuration {config} is refused: machine-config: the")


@pytest.mark.parametrize("flags, words", [
    (["--api-sok", "x"], "did you mean --api-sock?"),
    (["--id"], "--id wants a value"),
    (["--id", "a", "--id", "b"], "--id is given twice"),
    (["--id", "a/b"], "--id 'a/b' cannot be"),
    (["--no-api"], "--no-api without --config-file"),
    (["--enable-pci=yes"], "takes no value"),
    (["--http-api-max-payload-size", "-1"], "give bytes"),
])
def test_wrong_usage(flags, words):
    done = subprocess.run([product.lodge(), "api", *flags], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 2 and words in done.stderr


def test_the_help_names_every_flag_of_the_manual():
    done = subprocess.run([product.lodge(), "api", "--help"], capture_output=True, text=True,
                          check=True)
    manual = (product.ROOT / "docs/lodge-api.1.scd").read_text()
    flags = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  --")]
    assert len(flags) > 8
    assert [flag for flag in flags if f"*{flag}*" not in manual] == []


def test_sockets_that_are_there(serve, tmp_path):
    """One that a dead server left is replaced; one that is served, and a file, are not."""
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "api.sock"))
    stale.close()
    server = serve()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            assert server.ask("GET", "/version", None, Connection(server.path))[0] == 200
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    for path, words in [(server.path, "is served by another process"),
                        (tmp_path / "out", "is no socket"),
                        (tmp_path / "no/where", "cannot listen"), ("/" + 200 * "x", "too long")]:
        done = subprocess.run([product.lodge(), "api", "--api-sock", path], capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 1 and words in done.stderr
    server.process.terminate()
    assert server.ends()[0] == 130
    assert not server.path.exists()


# Requests that are not what they should be


def raw(server, *pieces, pause=0.0):
    """Sends bytes; what comes back until the other end closes, or nothing comes for a while."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(server.path))
        s.settimeout(2)
        answer = b""
        try:
            for piece in pieces:
                s.sendall(piece)
                time.sleep(pause)
            s.shutdown(socket.SHUT_WR)
            while piece := s.recv(65536):
                answer += piece
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        return answer


def test_bodies_that_are_no_json(serve):
    server = serve()
    for body in [b"{", b"\xff\xfe", b'{"a":1,"a":2}', b"{} x", b'"\xc3"', b"[" * 40000, b"nul",
                 b'{"kernel_image_path":"' + b"\\u0000" + b'"}']:
        assert "no JSON" in server.refusal("PUT", "/boot-source", body)
    assert server.ask("GET", "/")[0] == 200


def test_bodies_that_are_too_long(serve):
    server = serve("--http-api-max-payload-size", "1000")
    small, large = b'"' + 998 * b"x" + b'"', b'"' + 999 * b"x" + b'"'
    assert "JSON object" in server.refusal("PUT", "/boot-source", small)
    assert server.ask("PUT", "/boot-source", large, Connection(server.path))[0] == 413
    head = b"PUT /boot-source HTTP/1.1\r\nHost: x\r\n"
    assert b" 413 " in raw(server, head + b"Content-Length: 99999999999999999999\r\n\r\n")
    chunk = b"400\r\n" + 1024 * b"x" + b"\r\n"
    assert b" 413 " in raw(server, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 20,
                           b"0\r\n\r\n")
    assert server.ask("GET", "/")[0] == 200


def test_requests_that_come_slowly_or_not_at_all(serve):
    """Others are served meanwhile."""
    server = serve()
    halves = []
    for half in [b"", b"GET", b"PUT /entropy HTTP/1.1\r\nContent-Length: 2\r\n\r\n{"]:
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(server.path))
        s.sendall(half)
        halves.append(s)
    assert server.ask("GET", "/")[0] == 200
    halves[2].sendall(b"}")
    assert b" 204 " in halves[2].recv(4096)
    for s in halves:
        s.close()
    answer = raw(server, b"PUT /entropy HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                         b"Content-Length: 2\r\n\r\n", b"{}", pause=0.2)
    assert answer.startswith(b"HTTP/1.1 100 ") and b" 204 " in answer
    assert b" 400 " in raw(server, b"GARBAGE\r\n\r\n") or server.ask("GET", "/")[0] == 200


def test_the_eleventh_connection_is_told_why(serve):
    server = serve()
    held = [server.connection] + [Connection(server.path) for _ in range(9)]
    for connection in held:
        assert server.ask("GET", "/", None, connection)[0] == 200
    status, answer = server.ask("GET", "/", None, Connection(server.path))
    assert (status, answer) == (503, {"fault_message": "there are ten connections already"})
    for connection in held:
        connection.close()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if server.ask("GET", "/", None, Connection(server.path))[0] == 200:
            break
    else:
        pytest.fail("those that were closed still count")


def test_a_hundred_connections_at_once(serve):
    """Each gets an answer: what it asked for, or that there are too many."""
    server = serve()

    def one(_):
        return server.ask("GET", "/version", None, Connection(server.path))[0]

    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        statuses = list(pool.map(one, range(400)))
    assert set(statuses) <= {200, 503} and 200 in statuses
    assert server.ask("GET", "/", None, Connection(server.path))[0] == 200


def some_value(chance, depth=0):
    kinds = [None, True, False, 0, 1, -1, 2, 32, 33, 128, 2**62, 1.5, "", "x", "None", "Paused",
             "é\u0001", "/etc/hostname", "/nonexistent", "a" * 300]
    if depth < 3 and chance.random() < 0.2:
        return [some_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if depth < 3 and chance.random() < 0.2:
        return {name: some_value(chance, depth + 1) for name in chance.sample(
            ["vcpu_count", "state", "x", "drive_id"], chance.randrange(3))}
    return chance.choice(kinds)


def test_any_requests_at_all(serve):
    """2,000 requests made of the interface's own words: each is answered, none by a 5xx; the server
    holds no more memory and no more descriptors afterwards."""
    chance = random.Random(5)
    server = serve()
    fields = ["vcpu_count", "mem_size_mib", "smt", "kernel_image_path", "initrd_path", "boot_args",
              "drive_id", "is_root_device", "path_on_host", "partuuid", "cache_type", "io_engine",
              "state", "serial_out_path", "track_dirty_pages", "huge_pages", "is_read_only"]
    paths = ["/", "/version", "/vm", "/vm/config", "/machine-config", "/boot-source", "/drives/a",
             "/drives/b1", "/drives/-", "/entropy", "/serial", "/nothing", "//", "/drives/a/b"]
    seen, before = set(), None
    for i in range(2000):
        if i == 500:
            before = resources(server)
        body = None
        if chance.random() < 0.8:
            body = {name: some_value(chance) for name in chance.sample(fields,
                                                                      chance.randrange(5))}
        status, _ = server.ask(chance.choice(["GET", "PUT", "PATCH", "DELETE", "POST"]),
                               chance.choice(paths), body)
        seen.add(status)
    assert seen == {200, 204, 400}
    memory, descriptors = resources(server)
    assert memory <= before[0] + 1024 and descriptors <= before[1]


def resources(server):
    """Resident KiB and descriptors of the server's process."""
    pid = server.process.pid
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        memory = next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
    return memory, len(os.listdir(f"/proc/{pid}/fd"))
