# SPDX-License-Identifier: Apache-2.0
"""What changing code costs the translator, by what it counts: times say nothing on a busy host."""

import re
import subprocess

import build

from lab import product

# Topics, and the blocks that they may have translated.  "jit" writes 50,000 times beside functions
# that it calls: if each write made a page's blocks stale there would be more than 100,000.  It also
# puts 256 functions on one page, and calls all of them after each: 33,000 calls, of which each may
# be of a function that was forgotten.  "hot" changes no code.
BOUNDS = {"jit": 60_000, "hot": 1_000, "smc": 20_000}


def counted(topic):
    """{name: count} of what lodge run --stats prints."""
    done = subprocess.run([product.lodge(), "run", "--engine", "bt", "--stats", "--memory", "64M",
                           "--timeout", "100", "--kernel", build.kernel(topic)],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return {name: int(count) for name, count in re.findall(r"^(\S.*?) +(\d+)$", done.stderr, re.M)}


def test_what_is_translated_is_bounded():
    for topic, bound in BOUNDS.items():
        blocks = counted(topic)["blocks translated"]
        assert 0 < blocks <= bound, (topic, blocks)
