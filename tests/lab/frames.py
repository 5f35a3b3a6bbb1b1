# SPDX-License-Identifier: Apache-2.0
"""The frames that the host and the lab's agent exchange; agent.c describes them."""

import struct

HEADER = struct.Struct("<IBBH")
EXEC = struct.Struct("<IIIIII")
ENDED = struct.Struct("<iIQQQQQ")

PTY, SPOOL, STDIN = 1, 2, 4
CHUNK = 1 << 18


def frame(kind, channel, payload=b""):
    """One frame as bytes; `kind` is a letter."""
    return HEADER.pack(len(payload), ord(kind), 0, channel) + payload


def execute(channel, argv, *, flags=0, timeout=None, uid=0, size=(24, 80), cwd="/", env=None):
    """The request to start `argv`; `timeout` in seconds, `env` a dict added to the agent's own."""
    words = [cwd, *argv, *(f"{name}={value}" for name, value in (env or {}).items())]
    head = EXEC.pack(flags, int((timeout or 0) * 1000), uid, *size, len(argv))
    return frame("E", channel, head + b"".join(word.encode() + b"\0" for word in words))


def put(channel, path, mode, data):
    """The requests that create the file `path`; answered once, after the last."""
    parts = [frame("P", channel, struct.pack("<I", mode) + path.encode() + b"\0")]
    for at in range(0, len(data), CHUNK):
        parts.append(frame("p", channel, data[at:at + CHUNK]))
    parts.append(frame("p", channel))
    return b"".join(parts)


def get(channel, path):
    """The request to read the file `path`."""
    return frame("G", channel, path.encode() + b"\0")


class Reader:
    """Cuts a stream of bytes into frames."""

    def __init__(self):
        self._data = bytearray()

    def feed(self, data):
        """Adds `data`; yields (kind, channel, payload) of each frame that is now whole."""
        self._data += data
        while len(self._data) >= HEADER.size:
            length, kind, _, channel = HEADER.unpack_from(self._data)
            end = HEADER.size + length
            if len(self._data) < end:
                return
            payload = bytes(self._data[HEADER.size:end])
            del self._data[:end]
            yield chr(kind), channel, payload
