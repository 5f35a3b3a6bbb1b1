# SPDX-License-Identifier: Apache-2.0
"""An emulated machine that lives on: boots once, then runs any number of commands.

    with Machine() as machine:
        machine.put_program("build/lodge", "/bin/lodge")
        done = machine.run(["lodge", "host", "--json"])
        assert done.status == 0

A pathlib.Path among a command's words is a file of the host: it is copied into the machine first
(once, until it changes) and the word becomes its name there.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from . import frames, image, initramfs, qemu, result
from .session import Session

# What the agent may take, beyond a command's own time limit, to report its end.
GRACE = 30
BOOT_TIMEOUT = 120


class Machine:
    """One emulated machine; `options` is a qemu.Options."""

    def __init__(self, options=None):
        self._options = options or qemu.Options()
        self._directory = tempfile.mkdtemp(prefix="lodge-lab-")
        self._lock = threading.Lock()
        self._sessions = {}
        self._channel = 0
        self._copied = {}
        self._alive = threading.Event()
        self._gone = None
        self._start()

    # Life

    def _start(self):
        self._socket, theirs = socket.socketpair()
        argv = qemu.command(self._options, image.base(), self._path("console"))
        argv += ["-device", "virtio-serial-pci", "-chardev",
                 f"socket,id=agent,fd={theirs.fileno()}", "-device",
                 "virtserialport,chardev=agent"]
        with open(self._path("qemu"), "wb") as log:
            self._process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdout=log,
                                             stderr=log, stdin=subprocess.DEVNULL)
        theirs.close()
        threading.Thread(target=self._read, daemon=True).start()
        if not self._alive.wait(BOOT_TIMEOUT) or self._gone:
            self._gone = self._gone or f"it did not boot within {BOOT_TIMEOUT} s"
            text = self._obituary()
            self.close()
            raise result.LabError(text)

    def _path(self, name):
        return os.path.join(self._directory, name)

    def console(self):
        """What the emulated machine's own kernel has printed."""
        return self._text("console")

    def _text(self, name):
        try:
            return Path(self._path(name)).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _obituary(self):
        log = self._text("qemu")
        lines = [line for line in log.splitlines() if "TCG doesn't support" not in line]
        return (f"the emulated machine is gone: {self._gone}\n--- its console:\n"
                f"{self.console()[-4000:]}\n--- QEMU:\n" + "\n".join(lines))

    def _read(self):
        reader = frames.Reader()
        try:
            while data := self._socket.recv(1 << 18):
                for kind, channel, payload in reader.feed(data):
                    if kind == "h":
                        self._alive.set()
                        continue
                    with self._lock:
                        session = self._sessions.get(channel)
                        if kind in "xk!":  # the channel's last frame
                            self._sessions.pop(channel, None)
                    if session:
                        session.deliver(kind, payload)
            why = "it powered off or crashed"
        except OSError as error:
            why = str(error)
        with self._lock:
            self._gone = self._gone or why
            left = list(self._sessions.values())
        for session in left:
            session.fail(self._obituary())
        self._alive.set()

    def alive(self):
        """Whether the machine still answers (as far as known)."""
        return self._gone is None

    def close(self):
        """Ends the machine at once."""
        self._gone = self._gone or "it was closed"
        self._process.kill()
        self._process.wait()
        self._socket.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Commands

    def transmit(self, data):
        """Sends requests to the agent (for Session)."""
        if self._gone:
            raise result.LabError(self._obituary())
        self._socket.sendall(data)

    def _open(self, argv):
        with self._lock:
            self._channel = self._channel % 65535 + 1
            session = Session(self, self._channel, argv)
            self._sessions[self._channel] = session
            return session, self._channel

    def spawn(self, argv, *, pty=False, size=(24, 80), timeout=None, uid=0, cwd="/", env=None,
              spool=False, stdin=True):
        """Starts a command and returns its Session.

        With `pty` it has a terminal of size (rows, columns) and one output stream.  With `spool`
        its output comes only at its end (and costs it no pipe).  Without `stdin` its standard
        input is /dev/null.  `timeout` in seconds; then it is killed, its status is 124.
        """
        words = [self.put(word) if isinstance(word, Path) else str(word) for word in argv]
        flags = (frames.PTY if pty else 0) | (frames.SPOOL if spool else 0)
        flags |= frames.STDIN if stdin else 0
        session, channel = self._open(words)
        self.transmit(frames.execute(channel, words, flags=flags, timeout=timeout, uid=uid,
                                     size=size, cwd=cwd, env=env))
        return session

    def run(self, argv, *, stdin=None, timeout=60, **options):
        """Runs a command to its end and returns its Result; `stdin` is bytes or text."""
        session = self.spawn(argv, timeout=timeout, stdin=stdin is not None, **options)
        if stdin is not None:
            session.send(stdin)
            session.end_input()
        try:
            return session.wait(timeout + GRACE)
        except result.LabError:
            if self.alive():  # the agent should have ended the command: it hangs itself
                self._gone = "it did not answer in time"
                self._process.kill()
            raise

    # Files

    def put_bytes(self, path, data, mode=0o644):
        """Creates the file `path` in the machine, with its directories."""
        session, channel = self._open(["put", path])
        done = _Transfer(session)
        self.transmit(frames.put(channel, path, mode, data))
        done.wait(GRACE + len(data) / 1e6)

    def put(self, source, path=None, mode=None):
        """Copies the host's file into the machine; returns its path there."""
        source = Path(source).resolve()
        status = source.stat()
        key = (str(source), path, status.st_mtime_ns, status.st_size, status.st_ino)
        if key not in self._copied:
            there = path or f"/host/{len(self._copied)}/{source.name}"
            self.put_bytes(there, source.read_bytes(), mode or status.st_mode & 0o777)
            self._copied[key] = there
        return self._copied[key]

    def put_program(self, source, path):
        """Copies a program and its shared libraries."""
        for library in initramfs.libraries(source):
            self.put(library, library, 0o755)
        return self.put(source, path, 0o755)

    def get(self, path):
        """The content of a file in the machine; FileNotFoundError if it cannot be read."""
        session, channel = self._open(["get", path])
        done = _Transfer(session)
        self.transmit(frames.get(channel, path))
        return done.wait(GRACE * 4)


class _Transfer:
    """Turns a Session into the end of a file's way: content and success, or an error."""

    def __init__(self, session):
        self._done = threading.Event()
        self._data = bytearray()
        self._error = None
        session.deliver = self._deliver
        session.fail = lambda why: self._deliver("!", why.encode())

    def _deliver(self, kind, payload):
        if kind == "d":
            self._data += payload
            return
        if kind == "!":
            self._error = payload.decode(errors="replace")
        self._done.set()

    def wait(self, timeout):
        if not self._done.wait(timeout):
            raise result.LabError("a file did not get through in time")
        if self._error:
            raise FileNotFoundError(self._error)
        return bytes(self._data)
