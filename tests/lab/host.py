# SPDX-License-Identifier: Apache-2.0
"""Commands on this machine itself, by the same calls as in the emulated one (machine.Machine): what
needs no KVM needs no lab.

The word "lodge" in a command is the program under test.
"""

import fcntl
import os
import pty as ptys
import signal
import struct
import subprocess
import termios
import threading

from . import frames, product
from .session import Session

# What a command may take, beyond its own time limit, to end.
GRACE = 30


def _take_terminal():
    """In the child: its standard input becomes its session's controlling terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class HostSession(Session):
    """A Session whose command is a process of this machine."""

    def __init__(self, argv, *, pty, size, timeout, cwd, env, stdin):
        super().__init__(None, 0, argv)
        given = subprocess.PIPE if stdin else subprocess.DEVNULL
        output = errors = subprocess.PIPE
        self._terminal = None
        if pty:
            self._terminal, given = ptys.openpty()
            self._set_size(*size)
            output = errors = given
        self._process = subprocess.Popen(argv, stdin=given, stdout=output, stderr=errors, cwd=cwd,
                                         env={**os.environ, **(env or {})}, start_new_session=True,
                                         preexec_fn=_take_terminal if pty else None)
        if pty:
            os.close(given)
            self._input = self._terminal
            streams = [(self._terminal, "o")]
        else:
            self._input = self._process.stdin.fileno() if stdin else None
            streams = [(self._process.stdout.fileno(), "o"), (self._process.stderr.fileno(), "e")]
        self._timed_out = False
        self._timer = threading.Timer(timeout, self._time_over) if timeout else None
        readers = [threading.Thread(target=self._read, args=stream, daemon=True)
                   for stream in streams]
        for thread in readers:
            thread.start()
        if self._timer:
            self._timer.daemon = True
            self._timer.start()
        threading.Thread(target=self._reap, args=(readers,), daemon=True).start()

    @property
    def pid(self):
        """The process's id."""
        return self._process.pid

    def _read(self, descriptor, kind):
        while True:
            try:
                data = os.read(descriptor, frames.CHUNK)
            except OSError:  # a terminal's other end is closed
                return
            if not data:
                return
            self.deliver(kind, data)

    def _time_over(self):
        self._timed_out = True
        self.signal(signal.SIGKILL)

    def _reap(self, readers):
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._timer:
            self._timer.cancel()
        for thread in readers:
            thread.join(GRACE)
        if self._terminal is not None:
            os.close(self._terminal)
        self.deliver("x", frames.ENDED.pack(status, self._timed_out, 0, 0,
                                            int(usage.ru_utime * 1e6), int(usage.ru_stime * 1e6),
                                            usage.ru_maxrss))

    def send(self, data):
        if isinstance(data, str):
            data = data.encode()
        while data:
            try:
                data = data[os.write(self._input, data):]
            except OSError:  # the command has ended
                return

    def end_input(self):
        self._process.stdin.close()

    def signal(self, number):
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass

    def _set_size(self, rows, columns):
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("<HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        self._set_size(rows, columns)


class Host:
    """This machine."""

    def spawn(self, argv, *, pty=False, size=(24, 80), timeout=None, cwd="/", env=None,
              stdin=True):
        """Starts a command and returns its Session; see Machine.spawn."""
        words = [str(product.lodge()) if word == "lodge" else str(word) for word in argv]
        return HostSession(words, pty=pty, size=size, timeout=timeout, cwd=cwd, env=env,
                           stdin=stdin)

    def run(self, argv, *, stdin=None, timeout=60, **options):
        """Runs a command to its end and returns its Result; `stdin` is bytes or text."""
        session = self.spawn(argv, timeout=timeout, stdin=stdin is not None, **options)
        if stdin is not None:
            session.send(stdin)
            session.end_input()
        return session.wait(timeout + GRACE)
