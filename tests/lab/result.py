# SPDX-License-Identifier: Apache-2.0
"""What a command run in the lab came to."""

from dataclasses import dataclass, field

from . import frames

# The status reported for a command that its time limit ended, as timeout(1) does.
TIMED_OUT = 124


class LabError(Exception):
    """The lab itself failed: the machine did not come up, or died.  Never a command's fault."""


@dataclass
class Result:
    """status: exit status; 128 + N after signal N; 124 when `timed_out`.

    `tsc` is the time-stamp counter's advance from before fork() to after wait(); in an exact run
    that is the number of instructions executed.  `max_rss_kib` is the command's peak memory.
    """

    argv: list
    status: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    tsc: int = 0
    user_us: int = 0
    system_us: int = 0
    max_rss_kib: int = 0
    files: dict = field(default_factory=dict)
    console: str = ""
    counts: object = None
    events: object = None

    @property
    def out(self):
        """Standard output as text."""
        return self.stdout.decode(errors="replace")

    @property
    def err(self):
        """Standard error as text."""
        return self.stderr.decode(errors="replace")


def from_ended(argv, payload, stdout, stderr):
    """The Result for an agent's report that a command ended."""
    status, timed_out, start, end, user, system, rss = frames.ENDED.unpack(payload)
    signal = status & 0x7f
    code = TIMED_OUT if timed_out else 128 + signal if signal else (status >> 8) & 0xff
    return Result(list(argv), code, bytes(stdout), bytes(stderr), bool(timed_out), end - start,
                  user, system, rss)
