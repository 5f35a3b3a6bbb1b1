# SPDX-License-Identifier: Apache-2.0
"""A command under way in the lab: its input, its output as it comes, and its end."""

import re
import struct
import threading
import time

from . import frames, result


class Session:
    """Made by Machine.spawn().  Its methods may be called from any one thread at a time."""

    def __init__(self, machine, channel, argv):
        self._machine = machine
        self._channel = channel
        self._changed = threading.Condition()
        self._ended = None
        self._failure = None
        self._seen = 0
        self.argv = list(argv)
        self.stdout = bytearray()
        self.stderr = bytearray()

    # Called by the machine's reader thread.

    def deliver(self, kind, payload):
        """Takes one frame of this channel."""
        with self._changed:
            if kind == "o":
                self.stdout += payload
            elif kind == "e":
                self.stderr += payload
            elif kind == "x":
                self._ended = payload
            elif kind == "!":
                self._failure = payload.decode(errors="replace")
            self._changed.notify_all()

    def fail(self, why):
        """The machine is gone."""
        self.deliver("!", why.encode())

    # Called by tests.

    def send(self, data):
        """Sends standard input; text is sent as UTF-8."""
        if isinstance(data, str):
            data = data.encode()
        for at in range(0, len(data), frames.CHUNK):
            self._machine.transmit(frames.frame("I", self._channel, data[at:at + frames.CHUNK]))

    def end_input(self):
        """Closes the command's standard input."""
        self._machine.transmit(frames.frame("I", self._channel))

    def signal(self, number):
        """Sends a signal to the command's process group."""
        self._machine.transmit(frames.frame("S", self._channel, struct.pack("<I", number)))

    def resize(self, rows, columns):
        """Changes the size of the command's pseudo-terminal."""
        self._machine.transmit(frames.frame("W", self._channel, struct.pack("<II", rows, columns)))

    def _wait_for(self, ready, what, timeout):
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                value = ready()
                if value is not None:
                    return value
                left = deadline - time.monotonic()
                if self._failure or left <= 0:
                    why = self._failure or f"not within {timeout} s"
                    tail = bytes(self.stdout[-2000:]).decode(errors="replace")
                    errors = bytes(self.stderr[-2000:]).decode(errors="replace")
                    raise result.LabError(f"{self.argv}: {what}: {why}\n--- its output:\n{tail}\n"
                                          f"--- its errors:\n{errors}")
                self._changed.wait(left)

    def expect(self, pattern, timeout=60):
        """Waits until the output, from behind the last match, has `pattern` (bytes or text).

        Returns the match.  Raises LabError when the command ends or the time is over before.
        """
        if isinstance(pattern, str):
            pattern = pattern.encode()
        compiled = re.compile(pattern)

        def ready():
            match = compiled.search(self.stdout, self._seen)
            if match:
                self._seen = match.end()
            elif self._ended is not None:
                self._failure = "the command has ended"
            return match

        return self._wait_for(ready, f"waiting for {pattern!r}", timeout)

    def ended(self):
        """Whether the command has ended."""
        with self._changed:
            return self._ended is not None

    def failed(self):
        """Whether the command could not be started or its machine has died."""
        with self._changed:
            return self._failure is not None

    def wait(self, timeout=60):
        """Waits for the command's end; returns its Result."""
        payload = self._wait_for(lambda: self._ended, "waiting for its end", timeout)
        return result.from_ended(self.argv, payload, self.stdout, self.stderr)
