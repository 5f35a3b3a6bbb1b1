# SPDX-License-Identifier: Apache-2.0
"""usage.py FILE COMMAND...: runs a command, writes its processor seconds and the MiB of memory it
had at most to FILE, and ends as it ended. SIGTERM goes on to the command, from when something is in
FILE on.

A process counts what its parent had at its fork as memory of its own, until it has more: only a
small parent learns what the command itself took, and pytest is none."""

import os
import signal
import sys

pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
signal.signal(signal.SIGTERM, lambda number, _: os.kill(pid, number))
with open(sys.argv[1], "w", encoding="ascii") as out:
    out.write("begun")
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w", encoding="ascii") as out:
    out.write(f"{usage.ru_utime + usage.ru_stime} {usage.ru_maxrss / 1024}")
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
