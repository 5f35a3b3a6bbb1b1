# SPDX-License-Identifier: Apache-2.0
"""VMs with names: run --detach and the verbs that speak to them, under bt on this machine.

The bare guest starts in some milliseconds; each test has a runtime directory of its own.
"""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import bare
from lab import product
from lab.host import Host
from test_api import Connection

LINE = 60  # seconds within which anything happens on a busy machine


class Lodge:
    """The program with a runtime directory."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.env = {"XDG_RUNTIME_DIR": str(runtime)}

    def run(self, *words, stdin=b"", timeout=LINE):
        """lodge with these words: its Result."""
        return Host().run(["lodge", *words], stdin=stdin, timeout=timeout, env=self.env)

    def good(self, *words, **options):
        """The same; it has to succeed silently. What it printed."""
        done = self.run(*words, **options)
        assert (done.status, done.err) == (0, ""), done
        return done.out

    def spawn(self, *words, **options):
        """A Session."""
        return Host().spawn(["lodge", *words], timeout=2 * LINE, env=self.env, **options)

    def start(self, words, *flags, name=None):
        """A detached VM; its name."""
        named = ["--name", name] if name else []
        return self.good(*bare.command(words, "--detach", *named, *flags,
                                       engine="bt")[1:]).strip()

    def list(self, *flags):
        """{name: object} of ps --json."""
        return {vm["name"]: vm for vm in json.loads(self.good("ps", "--json", *flags))}

    def until(self, ready, what):
        """Waits until ready() is true; what it gave."""
        end = time.monotonic() + LINE
        while time.monotonic() < end:
            found = ready()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"never: {what}")

    def until_logged(self, name, text):
        """Waits until a VM's log has the text."""
        return self.until(lambda: text in self.good("logs", name), f"{text!r} in {name}'s log")

    def until_listed(self, name):
        """Waits until a VM answers; its object."""
        return self.until(lambda: "detached" in (vm := self.list().get(name, {})) and vm,
                          f"{name} is listed and answers")

    def directory(self, name):
        return self.runtime / "lodge" / name


@pytest.fixture
def lodge(tmp_path):
    tmp_path.chmod(0o700)
    program = Lodge(tmp_path)
    yield program
    for name in program.list():
        program.run("kill", name)


def test_a_machines_day(lodge):
    """Started, listed, looked at, paused, resumed, stopped by its button, and known after that."""
    assert lodge.start("button", name="day") == "day"
    lodge.until_logged("day", "bare\n")
    vm = lodge.list()["day"]
    assert (vm["state"], vm["engine"], vm["cpus"], vm["memory"]) == ("running", "bt", 1, 32 << 20)
    assert vm["detached"] and vm["console"] and 0 < vm["resident"] < 64 << 20
    os.kill(vm["pid"], 0)
    table = lodge.good("ps").splitlines()
    assert table[0].split() == ["NAME", "PID", "STATE", "UPTIME", "CPUS", "MEMORY", "ENGINE",
                                "CPU-TIME"]
    assert table[1].split()[:3] == ["day", str(vm["pid"]), "running"]
    lodge.good("pause", "day")
    assert lodge.list()["day"]["state"] == "paused"
    lodge.good("resume", "day")
    assert lodge.list()["day"]["state"] == "running"
    lodge.good("stop", "day")
    assert lodge.list() == {}
    assert lodge.good("ps").split() == table[0].split()
    vm = lodge.list("--all")["day"]
    assert (vm["state"], vm["status"], vm["text"]) == ("ended", 0, "")
    assert lodge.good("ps", "--all").splitlines()[1].split() == ["day", "ended", "(0)"]
    assert lodge.good("logs", "day") == "bare\npressed\n"
    assert json.loads(lodge.good("inspect", "day")) == vm
    assert sorted(p.name for p in lodge.directory("day").iterdir()) == ["ended", "log", "pid"]


def test_stop_pulls_the_plug_in_the_end(lodge):
    lodge.start("wait", name="deaf")
    lodge.good("pause", "deaf")  # stop resumes it
    done = lodge.run("stop", "deaf", "--timeout", "0.3")
    assert done.status == 0
    assert done.err == "lodge: deaf did not power off within 0.3 seconds: it is stopped at once\n"
    assert lodge.list("--all")["deaf"]["status"] == 130


def test_kill(lodge):
    lodge.start("spin", name="loop")
    lodge.good("kill", "loop")
    assert lodge.list("--all")["loop"]["status"] == 130
    done = lodge.run("kill", "loop")
    assert (done.status, done.err) == (
        1, "lodge: the VM loop has ended already: 'lodge logs loop' may tell why\n")


def test_a_process_that_is_stopped_is_told_and_can_be_killed(lodge):
    lodge.start("wait", name="frozen")
    pid = lodge.list()["frozen"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert lodge.list() == {"frozen": {"name": "frozen", "state": "no answer", "pid": pid}}
    assert "does not answer" in lodge.run("pause", "frozen").err
    assert lodge.run("stats", "frozen").status == 0
    lodge.good("kill", "frozen")
    assert lodge.list("--all")["frozen"]["state"] == "killed"


def test_killed_machines_are_known_to_be_dead(lodge):
    """A pid that somebody else has now means nothing: the lock does."""
    lodge.start("wait", name="gone")
    pid = lodge.list()["gone"]["pid"]
    os.kill(pid, signal.SIGKILL)
    lodge.until(lambda: not lodge.list(), "it is dead")
    (lodge.directory("gone") / "pid").write_text(f"{os.getpid()} 1\n")
    assert lodge.list() == {}
    assert lodge.list("--all") == {"gone": {"name": "gone", "state": "killed"}}
    assert not (lodge.directory("gone") / "control").exists()
    assert lodge.run("stop", "gone").status == 1
    assert lodge.start("wait", name="gone") == "gone"
    assert lodge.list()["gone"]["state"] == "running"


def test_a_name_is_had_once(lodge):
    lodge.start("wait", name="one")
    pid = lodge.list()["one"]["pid"]
    done = lodge.run(*bare.command("off", "--name", "one", engine="bt")[1:])
    assert (done.status, done.out) == (2, "")
    assert done.err == (f"lodge: a VM named one runs (process {pid}): stop it, or give another "
                        "name\n")
    done = lodge.run(*bare.command("off", "--name", "one", "--detach", engine="bt")[1:])
    assert done.status == 2
    assert lodge.list()["one"]["pid"] == pid


def test_of_many_at_once_one_has_the_name(lodge):
    command = [str(product.lodge()), *map(str, bare.command("wait", "--detach", "--name", "race",
                                                            engine="bt")[1:])]
    env = {**os.environ, **lodge.env}
    racers = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
              for _ in range(8)]
    results = [(*racer.communicate(timeout=LINE), racer.returncode) for racer in racers]
    assert sorted(status for *_, status in results) == [0] + [2] * 7, results
    assert list(lodge.list()) == ["race"]


@pytest.mark.parametrize("name", [".hidden", "-x", "a b", "a/b", "..", "", "n" * 65, "ü"])
def test_names_that_cannot_be(lodge, name):
    done = lodge.run(*bare.command("off", f"--name={name}", engine="bt")[1:])
    assert done.status == 2 and "name" in done.err, done
    if name and name[0] != "-":
        assert lodge.run("stop", name).status == 2
    assert lodge.list() == {}


def test_a_name_that_is_not_there(lodge):
    lodge.start("wait", name="database")
    for verb in ("stop", "kill", "pause", "resume", "console", "inspect", "logs", "stats"):
        done = lodge.run(verb, "databse")
        assert (done.status, done.out) == (1, "")
        assert done.err == "lodge: no VM is named databse: did you mean database?\n"
        if verb != "stats":
            done = lodge.run(verb)
            assert (done.status, "wants the name" in done.err) == (2, True)


def test_names_are_made_up(lodge):
    assert [lodge.start("wait") for _ in range(3)] == ["vm1", "vm2", "vm3"]


def test_what_is_wrong_at_the_start_is_told(lodge):
    done = lodge.run("run", "--detach", "--kernel", "/nonexistent", "--name", "bad")
    assert (done.status, done.out) == (1, "")
    assert re.fullmatch("lodge: .*/nonexistent.*No such file.*\n", done.err)
    assert lodge.list("--all") == {}
    assert list((lodge.runtime / "lodge").iterdir()) == []


def test_how_it_ended_is_kept(lodge):
    lodge.start("panic", name="p")
    lodge.start("off", name="o")
    lodge.start("wait", "--timeout", "0.2", name="t")
    lodge.start("exit 7", "--debug-exit", "on", name="e")
    lodge.until(lambda: not lodge.list(), "all have ended")
    ended = lodge.list("--all")
    assert {n: vm["status"] for n, vm in ended.items()} == {"p": 10, "o": 0, "t": 124, "e": 7}
    assert "panic" in ended["p"]["text"]
    assert "lodge: " in lodge.good("logs", "p") and "RIP" in lodge.good("logs", "p").upper()
    assert "stopped after the time limit" in lodge.good("logs", "t")


def test_a_machine_in_the_foreground_is_known_by_its_name(lodge):
    session = lodge.spawn(*bare.command("button", "--name", "front", engine="bt")[1:])
    session.expect("bare\n")
    vm = lodge.until_listed("front")
    assert not vm["detached"] and not vm["console"]
    done = lodge.run("console", "front")
    assert done.status == 1 and "has its console elsewhere" in done.err
    assert "has no log" in lodge.run("logs", "front").err
    lodge.good("stop", "front")
    assert session.wait().status == 0
    assert lodge.list("--all") == {}


def test_without_a_place_for_names_it_runs(lodge):
    (lodge.runtime / "lodge").write_text("")
    done = lodge.run(*bare.command("off", "--name", "nameless", engine="bt")[1:])
    assert (done.status, done.out) == (0, "bare\n")
    assert "it is no directory" in done.err
    done = lodge.run(*bare.command("off", "--detach", engine="bt")[1:])
    assert done.status == 1 and "it is no directory" in done.err
    assert lodge.run("ps").status == 1
    (lodge.runtime / "lodge").unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user's part")
def test_two_users_see_their_own():
    """And nobody is lured into a directory that another made, or may look into."""
    with tempfile.TemporaryDirectory() as runtime, tempfile.TemporaryDirectory() as place:
        lodge = Lodge(Path(runtime))
        for directory in (runtime, place):
            os.chmod(directory, 0o755)
        shutil.copy(product.lodge(), f"{place}/lodge")
        program = ["setpriv", "--reuid", str(pwd.getpwnam("nobody").pw_uid), "--clear-groups",
                   f"{place}/lodge"]

        def nobody(*words):
            return subprocess.run([*program, *words], env={**os.environ, **lodge.env}, cwd="/",
                                  capture_output=True, text=True, timeout=LINE)

        lodge.start("wait", name="mine")
        for words in (["ps"], ["kill", "mine"], ["console", "mine"]):
            done = nobody(*words)
            assert done.returncode == 1 and "Permission denied" in done.stderr, done
        base = lodge.runtime / "lodge"
        base.chmod(0o755)
        assert "it belongs to another user" in nobody("ps").stderr
        assert "others may look into it" in lodge.run("ps").err
        base.chmod(0o700)
        assert list(lodge.list()) == ["mine"]
        lodge.good("kill", "mine")


def served(path):
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True


def test_a_machine_of_the_api_is_known_by_its_id(lodge, tmp_path):
    """Before it is started, and when; the other verbs and the API see the same machine."""
    path = tmp_path / "api"
    session = lodge.spawn("api", "--id", "rest-1", "--api-sock", path, "--engine", "bt")
    lodge.until(lambda: served(path), "it listens")
    connection = Connection(path)

    def do(method, where, body):
        connection.request(method, where, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status in (200, 204), text
        return json.loads(text) if text else None

    vm = lodge.until_listed("rest-1")
    assert vm["state"] == "not started" and vm["arguments"][:2] == ["--id", "rest-1"]
    assert lodge.good("ps").splitlines()[1].split() == ["rest-1", str(vm["pid"]), "not", "started"]
    assert json.loads(lodge.good("inspect", "rest-1"))["state"] == "not started"
    assert lodge.good("stats").splitlines()[1].split() == ["rest-1", "not", "started"]
    for verb in ("pause", "resume", "stop"):
        done = lodge.run(verb, "rest-1")
        assert (done.status, done.err) == (1, "lodge: rest-1: it was not started yet\n")
    do("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 32})
    do("PUT", "/entropy", {})
    do("PUT", "/boot-source", {"kernel_image_path": str(bare.kernel()), "boot_args": "button"})
    do("PUT", "/actions", {"action_type": "InstanceStart"})
    session.expect("bare\n")
    vm = lodge.list()["rest-1"]
    assert (vm["state"], vm["engine"], vm["memory"]) == ("running", "bt", 32 << 20)
    assert not vm["detached"] and not vm["console"]
    assert json.loads(lodge.good("inspect", "rest-1"))["devices"]["rng"]["requests"] == 0
    lodge.good("pause", "rest-1")
    assert do("GET", "/", None)["state"] == "Paused"
    do("PATCH", "/vm", {"state": "Resumed"})
    assert lodge.list()["rest-1"]["state"] == "running"
    lodge.good("stop", "rest-1")
    assert session.wait().status == 0
    assert lodge.list("--all") == {} and list((lodge.runtime / "lodge").iterdir()) == []


def test_an_id_may_be_had_twice_and_be_no_name(lodge, tmp_path):
    """As with Firecracker: they are served, and the first of a name is the one that is listed."""
    first = lodge.spawn("api", "--id", "twin", "--api-sock", tmp_path / "1")
    pid = lodge.until_listed("twin")["pid"]
    second = lodge.spawn("api", "--id", "twin", "--api-sock", tmp_path / "2")
    nameless = lodge.spawn("api", "--id=-", "--api-sock", tmp_path / "3")
    for path in ("1", "2", "3"):
        lodge.until(lambda: served(tmp_path / path), "it listens")
    assert {name: vm["pid"] for name, vm in lodge.list().items()} == {"twin": pid}
    lodge.good("kill", "twin")
    for session, said in [(first, ""), (second, "'lodge ps' does not know it"), (nameless, "")]:
        if session != first:
            session.signal(signal.SIGTERM)
        done = session.wait()
        assert done.status == 130 and (said in done.err if said else not done.err)


# The console


def test_console_on_a_terminal(lodge):
    lodge.start("lines 1000", name="c")
    lodge.until_logged("c", "bare\n")
    one = lodge.spawn("console", "c", pty=True)
    one.expect("Ctrl-A d detaches")
    one.expect("bare\n")  # what it printed before
    other = lodge.spawn("console", "c", pty=True)
    other.expect("bare\n")
    one.send("from one\n")
    one.expect("from one\n")
    other.expect("from one\n")
    other.send("\x01a\x01h")
    other.expect("Ctrl-A d  detach")
    other.send("\x01d")
    assert other.wait().status == 0
    one.send("still there\n")
    one.expect("still there\n")
    one.send("\x01d")
    one.expect("detached from c")
    assert one.wait().status == 0
    assert lodge.list()["c"]["state"] == "running"
    late = lodge.spawn("console", "c", pty=True)
    late.expect("still there\n")
    lodge.good("kill", "c")
    late.expect("c has ended")
    assert late.wait().status == 0


def test_console_in_pipes(lodge):
    lodge.start("lines 2", name="c")
    assert lodge.good("console", "c", stdin=b"first\nsecond\n") == "bare\nfirst\nsecond\n"
    lodge.until(lambda: not lodge.list(), "it has ended")
    done = lodge.run("console", "c")
    assert done.status == 1 and "has ended" in done.err


def test_console_takes_all_that_is_typed(lodge):
    """More than a pipe holds, to a guest that is slow to read."""
    typed = b"".join(b"%07d\n" % i for i in range(20000))
    lodge.start(f"lines {20000}", name="c")
    out = lodge.good("console", "c", stdin=typed, timeout=2 * LINE)
    assert out == "bare\n" + typed.decode()


def test_a_viewer_that_does_not_read_holds_up_nobody(lodge):
    lodge.start("flood 3000000", name="f")
    with socket.socket(socket.AF_UNIX) as viewer:
        directory = os.open(lodge.directory("f"), os.O_RDONLY)
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            viewer.connect(f"/proc/self/fd/{directory}/console")
        except (FileNotFoundError, ConnectionRefusedError):
            pytest.skip("it had ended already")
        finally:
            os.close(directory)
        lodge.until(lambda: not lodge.list(), "it has ended")
        seen = b""
        while data := viewer.recv(65536):
            seen += data
    assert seen[:60000] in bare.pattern(3000000)
    log = lodge.good("logs", "f").encode()
    assert bare.pattern(3000000).endswith(log) and len(log) > 1 << 20


def test_sixteen_viewers_and_no_more(lodge):
    lodge.start("wait", name="v")
    lodge.until_logged("v", "bare\n")
    directory = os.open(lodge.directory("v"), os.O_RDONLY)
    viewers = []
    for _ in range(17):
        viewer = socket.socket(socket.AF_UNIX)
        viewer.settimeout(LINE)
        viewer.connect(f"/proc/self/fd/{directory}/console")
        viewers.append(viewer)
    os.close(directory)
    assert [v.recv(100) for v in viewers[:16]] == [b"bare\n"] * 16
    assert b"as many viewers" in viewers[16].recv(100)
    for viewer in viewers:
        viewer.close()
    assert lodge.list()["v"]["state"] == "running"


# stats, logs, output that cannot be written


def test_stats(lodge):
    lodge.start("spin", name="busy")
    lodge.start("wait", name="idle")
    look = {vm["name"]: vm for vm in json.loads(lodge.good("stats", "--json", "--once"))}
    assert look["busy"]["cpu_time"] > 0 and len(look["busy"]["cpu_times"]) == 1
    assert look["busy"]["counters"]["blocks translated"] > 0
    rows = lodge.good("stats").splitlines()
    assert [row.split()[0] for row in rows] == ["NAME", "busy", "idle"]
    assert "blocks translated" in lodge.good("stats", "busy")
    lodge.start("wait", "--rng", "on", name="with-rng")
    look = json.loads(lodge.good("stats", "with-rng", "--json", "--once"))[0]
    assert list(look["devices"]) == ["rng"] and look["devices"]["rng"]["notifications"] == 0
    lines = lodge.spawn("stats", "busy", "--json", "--interval", "0.1")
    lines.expect(r"\]\n\[")
    lines.signal(signal.SIGINT)
    looks = [json.loads(line)[0] for line in lines.wait().out.splitlines()]
    assert looks[0]["uptime"] < looks[1]["uptime"] and looks[0]["cpu_time"] < looks[1]["cpu_time"]


def test_stats_on_a_terminal(lodge):
    lodge.start("spin", name="busy")
    session = lodge.spawn("stats", "--interval", "0.1", pty=True, size=(5, 30))
    session.expect("busy +running")
    session.expect("(?s)\x1b\\[H.*busy")
    session.send("q")
    done = session.wait()
    assert done.status == 0 and done.out.endswith("\x1b[?25h\x1b[?1049l")
    for line in re.split("\x1b\\[K\r\n", done.out):
        shown = re.sub("\x1b\\[[?0-9]*[A-Za-z]", "", line)
        assert len(shown) <= 30


def test_fifty_machines(lodge):
    """One after the other, as a script would; listed as people count, cut at a terminal's width."""
    for _ in range(50):
        lodge.start("wait")
    names = [f"vm{i}" for i in range(1, 51)]
    begin = time.monotonic()
    assert list(lodge.list()) == names
    assert time.monotonic() - begin < 10
    assert [line.split()[0] for line in lodge.good("ps").splitlines()] == ["NAME", *names]
    session = lodge.spawn("ps", pty=True, size=(24, 20))
    assert {len(line) <= 20 for line in session.wait().out.split("\r\n")} == {True}
    for name in names:
        lodge.good("kill", name)
    assert len(lodge.list("--all")) == 32  # no more are kept


def test_a_reader_that_goes_away(lodge):
    lodge.start("flood 500000", name="f")
    lodge.until(lambda: not lodge.list(), "it has ended")
    for words in (["logs", "f"], ["ps", "--all"], ["inspect", "f"]):
        done = subprocess.run(["sh", "-c", '{ "$@"; echo $? >&2; } | true', "sh",
                               str(product.lodge()), *words], env={**os.environ, **lodge.env},
                              capture_output=True, text=True, timeout=LINE)
        assert done.stderr in ("0\n", "1\n"), done


def test_logs_follow(lodge):
    lodge.start("lines 2", name="l")
    session = lodge.spawn("logs", "l", "--follow")
    session.expect("bare\n")
    lodge.good("console", "l", stdin=b"one\ntwo\n")
    assert session.wait().out == "bare\none\ntwo\n"


def test_a_guest_does_not_speak_to_the_terminal_by_its_log(lodge):
    lodge.start("lines 1", name="l")
    lodge.good("console", "l", stdin=b"\x1b[6n\x07here\n")
    lodge.until(lambda: not lodge.list(), "it has ended")
    assert lodge.good("logs", "l") == "bare\n\x1b[6n\x07here\n"
    session = lodge.spawn("logs", "l", pty=True)
    assert session.wait().out == "bare\r\n^[[6n^Ghere\r\n"


def test_a_full_disk_is_told(lodge):
    full = lambda *words: subprocess.run(  # noqa: E731
        ["sh", "-c", '"$@" >/dev/full', "sh", str(product.lodge()), *words], capture_output=True,
        env={**os.environ, **lodge.env}, text=True, timeout=LINE)
    lodge.start("off", name="o")
    lodge.until(lambda: not lodge.list(), "it has ended")
    for words in (["ps"], ["ps", "--json"], ["logs", "o"], ["inspect", "o"], ["completion", "zsh"]):
        done = full(*words)
        assert done.returncode == 1 and "No space left" in done.stderr, done


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_what_the_log_cannot_take_is_counted(lodge):
    """64 KiB for all: the guest goes on, the loss is in inspect, and in the log when there is room
    again."""
    script = ('set -e; mount -t tmpfs -o size=64k,mode=700 small "$1"; shift; "$@" --detach '
              '--name small --cmdline "lines 3000" >&2; D=$XDG_RUNTIME_DIR/lodge/small; '
              'L=$1; i=0; until [ $i = 2000 ]; do echo "$i .......................................'
              '..........................."; i=$((i + 1)); done | timeout 3 "$L" console small '
              '>/dev/null || :; "$L" inspect small | grep log_lost; : >$D/log; '
              'echo room | timeout 1 "$L" console small >/dev/null || :; grep lost $D/log; '
              '"$L" kill small')
    command = [str(w) if w != "lodge" else str(product.lodge())
               for w in bare.command("-", engine="bt")]
    at = command.index("--cmdline")
    del command[at:at + 2]
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", str(lodge.runtime), *command],
                          env={**os.environ, **lodge.env}, capture_output=True, text=True,
                          timeout=2 * LINE)
    assert done.returncode == 0, done
    lost = int(re.search(r'"log_lost": (\d+)', done.stdout).group(1))
    assert lost > 10000
    assert re.search(r"lodge: \d+ bytes of the log are lost: No space left on device", done.stdout)
    assert done.stderr == "small\n"


# The control socket


def test_the_control_socket_takes_anything(lodge):
    lodge.start("wait", name="ctl")
    directory = os.open(lodge.directory("ctl"), os.O_RDONLY)

    def ask(data):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(LINE)
            s.connect(f"/proc/self/fd/{directory}/control")
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := s.recv(65536):
                answer += piece
            return [json.loads(line) for line in answer.splitlines()]

    assert ask(b'{"do": "status"}\n')[0]["name"] == "ctl"
    wrong = b'{"do": "nothing"}\n[]\n\n\xff\n{"do": 1}\n'
    assert [sorted(answer) for answer in ask(wrong)] == [["error"]] * 5
    assert ask(b'{"do": "window", "columns": 80, "rows": 70000}\n')[0]["error"]
    assert ask(b'{"do": "window", "columns": 80, "rows": 25}\n') == [{}]
    assert ask(b"[" * 3000 + b"\n")[0]["error"]
    assert ask(b'{"do": "status"') == []
    try:
        assert ask(b"x" * 100000) == []
    except OSError:
        pass
    assert len(ask(b'{"do": "stats"}\n' * 20)) == 20
    os.close(directory)
    assert lodge.list()["ctl"]["state"] == "running"
