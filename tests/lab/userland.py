# SPDX-License-Identifier: Apache-2.0
"""A small Debian with compilers and interpreters: as an initramfs for guests, and as a directory to
run the same commands in natively.

mmdebstrap makes it from the host's own package sources; it needs root, as chroot does.  What the
tests do not use (documentation, translations, link-time optimization, static libraries) is left
out, so that a guest of a GiB holds it twice, packed and unpacked.
"""

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

from . import cache, initramfs

class System(NamedTuple):
    """What a system is made of; patterns of what it does without, and of what it keeps of that."""

    packages: list
    left_out: list
    kept: list


SMALL = System(
    ["python3", "perl", "openssl", "gcc", "libc6-dev"],
    ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "*/lto1", "*lto-dump*",
     "*san.so*", "*san.a", "*/lib/x86_64-linux-gnu/lib*.a"],
    ["*/libc_nonshared.a"])
# With node and Python's own tests.
LARGE = System([*SMALL.packages, "libpython3.11-testsuite", "nodejs"], SMALL.left_out, SMALL.kept)
SOURCES = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
SUITE = "bookworm"

_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
sh /userland/work.sh
echo o >/proc/sysrq-trigger
sleep 1000
"""


def _key(system, *more):
    return hashlib.sha256(repr([*system, SUITE, *more]).encode()).hexdigest()[:16]


def tarball(system=SMALL):
    """Path of the tar archive of the whole system."""
    path = cache.directory("images") / f"userland-{_key(system)}.tar"
    with cache.lock("userland"):
        if not path.exists():
            aside = path.with_name(f".{path.name}")
            sources = next(source for source in SOURCES if source.exists())
            subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase",
                            f"--include={','.join(system.packages)}",
                            *(f"--dpkgopt=path-exclude={name}" for name in system.left_out),
                            *(f"--dpkgopt=path-include={name}" for name in system.kept),
                            "--format=tar", SUITE, str(aside), str(sources)], check=True)
            os.rename(aside, path)
    return path


def initrd(files, system=SMALL):
    """Path of an initramfs with the system and `files` ({name: bytes}) in /userland, of which it
    runs work.sh and then powers off."""
    path = cache.directory("images") / f"userland-{_key(system, _INIT, sorted(files.items()))}.cpio"
    if path.exists():
        return path
    archive = initramfs.Archive()
    archive.data("init", _INIT.encode(), 0o755)
    archive.node("dev/console", 5, 1)
    archive.node("dev/null", 1, 3, 0o666)
    for name, data in files.items():
        archive.data(f"userland/{name}", data, 0o755)
    with tarfile.open(tarball(system)) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if member.isdir() and name not in ("", "."):
                archive.directory(name, member.mode)
            elif member.issym():
                archive.link(name, member.linkname)
            elif member.isreg() or member.islnk():
                archive.data(name, tar.extractfile(member).read(), member.mode)
    return cache.write_whole(path, archive.bytes())


def native(files, directory, system=SMALL):
    """Unpacks the system and `files` below `directory` and runs work.sh there; its output."""
    subprocess.run(["tar", "-xf", str(tarball(system)), "-C", str(directory)], check=True)
    place = directory / "userland"
    place.mkdir()
    for name, data in files.items():
        (place / name).write_bytes(data)
    done = subprocess.run(["chroot", str(directory), "/bin/sh", "/userland/work.sh"], check=True,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE)
    return done.stdout
