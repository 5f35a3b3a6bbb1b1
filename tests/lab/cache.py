# SPDX-License-Identifier: Apache-2.0
"""The lab's cache directory: downloaded packages, unpacked packages and built helpers.

Everything in it can be deleted at any time; it is made again when next needed.  Several processes
may use it at once: whoever makes an entry holds a lock, builds it aside and renames it into place,
so a name that exists is always whole.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
from pathlib import Path


def root():
    """The cache's directory ($XDG_CACHE_HOME/lodge or ~/.cache/lodge), made if missing."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    path = Path(base) / "lodge"
    path.mkdir(parents=True, exist_ok=True)
    return path


def directory(name):
    """A directory below the cache, made if missing."""
    path = root() / name
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def lock(name):
    """Holds the cache-wide lock `name`; blocks while another process has it."""
    with open(directory("locks") / name, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_whole(path, data):
    """Writes `data` (bytes) to `path` so that nobody ever sees half of it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(data)
    os.rename(aside, path)
    return path


def built(name, source, command, *more):
    """Path of a program built from the file `source`; built at most once for each content.

    `command` is the compiler's argument list; the words "{out}" and "{in}" in it are replaced.
    `more` are the other files that it is made of: C files, which follow `source` in the command,
    and headers, which are only looked at for their content.
    """
    files = [source, *more]
    content = b"".join(file.read_bytes() for file in files)
    digest = hashlib.sha256(content + repr(command).encode()).hexdigest()[:16]
    path = directory("built") / f"{name}-{digest}"
    if path.exists():
        return path
    compiled = [str(file) for file in files if file.suffix != ".h"]
    with lock(f"built-{name}"):
        if not path.exists():
            aside = path.with_name(f".{path.name}.{os.getpid()}")
            words = []
            for word in command:
                words += compiled if word == "{in}" else [word.replace("{out}", str(aside))]
            done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                raise RuntimeError(f"{' '.join(words)}: {done.stdout.decode(errors='replace')}")
            os.rename(aside, path)
    return path


def static_program(*names):
    """Path of the statically linked program built from C files beside this one, and their headers;
    named after the first."""
    source, *more = (Path(__file__).parent / name for name in names)
    compiler = os.environ.get("LAB_CC", "gcc")
    command = [compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static",
               "-o", "{out}", "{in}"]
    return built(source.stem, source, command, *more)
