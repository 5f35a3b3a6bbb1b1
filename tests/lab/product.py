# SPDX-License-Identifier: Apache-2.0
"""Where the program under test is, and how tests build more of it."""

import hashlib
import os
import subprocess
from pathlib import Path

from . import cache

ROOT = Path(__file__).resolve().parent.parent.parent


def lodge():
    """Path of lodge on the host: $LODGE or build/lodge.  It may not exist (yet)."""
    return Path(os.environ.get("LODGE", ROOT / "build" / "lodge"))


def make(*words):
    """make in the tree, by one process at a time: tests run in several.  $LODGE_MAKE has the words
    that what is there was made with, which other flags would make anew."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    command = ["make", "-s", "-C", ROOT, *env.get("LODGE_MAKE", "").split(), *words]
    with cache.lock(f"make-{hashlib.sha256(bytes(ROOT)).hexdigest()[:16]}"):
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=1200, check=False)
    if done.returncode:
        raise RuntimeError(f"make {' '.join(words)}: {done.stdout}")
