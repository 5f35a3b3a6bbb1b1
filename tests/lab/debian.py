# SPDX-License-Identifier: Apache-2.0
"""Debian packages by name, for amd64 and i386, without root and without touching the host's apt.

apt-get runs with the host's own sources and keys (Dir::Etc stays as it is, so mirrors and proxies
are whatever the host uses), but with state and cache directories of its own and a package status
file that is empty: to this apt nothing is installed.  i386 has an apt to itself.
Packages are unpacked with dpkg-deb, never installed.

A package once fetched is remembered by name, so the next run needs no network; `refresh=True` asks
the archive again.  A meta package of the kernel (linux-image-cloud-amd64) stands for the real one.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from . import cache

# Kernel flavours by the name the tests use: (meta package, architecture).
FLAVOURS = {
    "cloud": ("linux-image-cloud-amd64", "amd64"),
    "amd64": ("linux-image-amd64", "amd64"),
    "686": ("linux-image-686", "i386"),
    "686-pae": ("linux-image-686-pae", "i386"),
}


class DebianError(Exception):
    """A package could not be had; the text says which and why."""


def _apt_config(arch):
    """The configuration that makes apt private, written to the cache; returns its path.

    Each architecture has an apt of its own, so that one whose index is broken spoils no other.
    """
    base = cache.directory("apt") / arch
    for name in ("state/lists/partial", "cache/archives/partial"):
        (base / name).mkdir(parents=True, exist_ok=True)
    status = base / "state" / "status"
    if not status.exists():
        status.touch()
    text = "\n".join([
        f'Dir::State "{base}/state/";',
        f'Dir::State::status "{status}";',
        f'Dir::Cache "{base}/cache/";',
        'Dir::Cache::pkgcache "pkgcache.bin";',
        'Dir::Cache::srcpkgcache "srcpkgcache.bin";',
        f'APT::Architecture "{arch}";',
        '#clear APT::Architectures;',
        f'APT::Architectures {{ "{arch}"; }};',
        # The host's hooks clean the host's caches; its sandbox user cannot write to ours.
        '#clear APT::Update::Post-Invoke;',
        '#clear APT::Update::Post-Invoke-Success;',
        'APT::Sandbox::User "root";',
        'Acquire::Languages "none";',
        '#clear Acquire::IndexTargets::deb::DEP-11;',
        '#clear Acquire::IndexTargets::deb::DEP-11-icons-small;',
        '#clear Acquire::IndexTargets::deb::DEP-11-icons;',
        '#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;',
        '',
    ])
    return cache.write_whole(base / "apt.conf", text.encode())


def _apt_get(arch, *words, cwd=None):
    command = ["apt-get", "-q", "-c", str(_apt_config(arch)), *words]
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode(errors="replace")


def _download(name, arch, into):
    """Downloads the newest `name` for `arch` into the directory `into`; returns the file."""
    before = set(into.glob("*.deb"))
    status, text = _apt_get(arch, "download", name, cwd=into)
    if status:
        updated, news = _apt_get(arch, "update")
        status, text = _apt_get(arch, "download", name, cwd=into)
        if status:
            text += f"\n(apt-get update ended with {updated}: {news[-2000:]})"
    new = set(into.glob("*.deb")) - before
    if status or len(new) != 1:
        raise DebianError(f"package {name}:{arch}: cannot be downloaded: {text}")
    return new.pop()


def _real_kernel(deb):
    """Name of the kernel package that the meta package in `deb` depends on."""
    depends = subprocess.run(["dpkg-deb", "-f", str(deb), "Depends"], check=True,
                             stdout=subprocess.PIPE).stdout.decode()
    found = re.search(r"\blinux-image-[0-9]+\.[^\s,(]*", depends)
    if not found:
        raise DebianError(f"{deb.name}: no kernel package among its dependencies: {depends}")
    return found.group(0)


def _make(name, arch, link):
    aside = cache.directory("packages") / f".{name}-{arch}.{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        deb = _download(name, arch, aside)
        if re.fullmatch(r"linux-image-(?![0-9]+\.).*", name):
            target = package(_real_kernel(deb), arch)
        else:
            target = cache.directory("packages") / deb.name[:-len(".deb")]
            if not target.exists():
                subprocess.run(["dpkg-deb", "-x", str(deb), str(aside / "tree")], check=True)
                os.rename(aside / "tree", target)
        temporary = aside / "link"
        temporary.symlink_to(target)
        os.rename(temporary, link)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def package(name, arch="amd64", refresh=False):
    """Directory of the unpacked package `name`; for a kernel's meta package, of the real one."""
    link = cache.directory("packages") / f"{name}.{arch}"
    if link.exists() and not refresh:
        return link.resolve()
    with cache.lock(f"package-{name}-{arch}"):
        if refresh:
            _apt_get(arch, "update")
        if refresh or not link.exists():
            _make(name, arch, link)
    return link.resolve()


def vmlinuz(flavour="cloud"):
    """Path of the bzImage of a kernel flavour (a key of FLAVOURS)."""
    name, arch = FLAVOURS[flavour]
    found = sorted((package(name, arch) / "boot").glob("vmlinuz-*"))
    if len(found) != 1:
        raise DebianError(f"{name}: {len(found)} kernels in one package")
    return found[0]


def release(flavour="cloud"):
    """The kernel's release, as uname -r prints it."""
    return vmlinuz(flavour).name[len("vmlinuz-"):]


def modules(flavour="cloud"):
    """Directory of the flavour's modules (…/lib/modules/RELEASE/kernel)."""
    name, arch = FLAVOURS[flavour]
    return package(name, arch) / "lib" / "modules" / release(flavour) / "kernel"


def busybox(arch="amd64"):
    """Path of the statically linked busybox for `arch`."""
    tree = package("busybox-static", arch)
    for place in ("bin/busybox", "usr/bin/busybox"):
        if (tree / place).exists():
            return tree / Path(place)
    raise DebianError(f"busybox-static:{arch}: no busybox inside")
