# SPDX-License-Identifier: Apache-2.0
"""Initramfs archives (cpio "newc"), written without root and the same, byte for byte, each time.

Format: Documentation/driver-api/early-userspace/buffer-format.rst.  Owner and times are zero, inode
numbers count up, and members stand in the order they were added, so equal input gives equal output.
Device nodes are only entries in the archive: nobody needs the right to make one.
"""

import json
import os
import re
import stat
import struct
import subprocess
from pathlib import Path, PurePosixPath


class Archive:
    """An archive being built; directories above a member are added by themselves."""

    def __init__(self):
        self._parts = []
        self._names = set()
        self._inode = 0

    def _entry(self, name, mode, data=b"", device=(0, 0)):
        self._inode += 1
        raw = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(raw), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        self._parts.append(header + b"\0" * (-len(header) % 4) + data + b"\0" * (-len(data) % 4))
        self._names.add(name)

    def _member(self, path, mode, data=b"", device=(0, 0)):
        name = str(PurePosixPath("/") / path).lstrip("/")
        for parent in reversed(PurePosixPath(name).parents):
            if str(parent) not in (".", "") and str(parent) not in self._names:
                self._entry(str(parent), stat.S_IFDIR | 0o755)
        if name not in self._names:
            self._entry(name, mode, data, device)

    def directory(self, path, mode=0o755):
        """Adds a directory."""
        self._member(path, stat.S_IFDIR | mode)

    def data(self, path, data, mode=0o644):
        """Adds a regular file with the bytes `data`; the first of two with one name stands."""
        self._member(path, stat.S_IFREG | mode, data)

    def file(self, path, source, mode=None):
        """Adds the host's file `source`, with its own permission bits unless `mode` is given."""
        if mode is None:
            mode = stat.S_IMODE(os.stat(source).st_mode)
        self.data(path, Path(source).read_bytes(), mode)

    def link(self, path, target):
        """Adds a symbolic link."""
        self._member(path, stat.S_IFLNK | 0o777, target.encode())

    def node(self, path, major, minor, mode=0o600):
        """Adds a character device."""
        self._member(path, stat.S_IFCHR | mode, device=(major, minor))

    def program(self, path, source):
        """Adds an executable with every shared library it is linked with."""
        self.file(path, source, 0o755)
        for library in libraries(source):
            self.file(library, library, 0o755)

    def busybox(self, source, links):
        """Adds busybox as /bin/busybox with a link in /bin for each name of `links`."""
        self.file("bin/busybox", source, 0o755)
        for name in links:
            self.link(f"bin/{name}", "busybox")

    def bytes(self):
        """The whole archive; more may be added afterwards."""
        kept = self._inode, set(self._names)
        self._entry("TRAILER!!!", 0)
        trailer = self._parts.pop()
        self._inode, self._names = kept
        image = b"".join(self._parts) + trailer
        return image + b"\0" * (-len(image) % 512)


def _notes(image):
    """What the ELF notes of the section .note.dlopen say: a list for each note."""
    if not image.startswith(b"\x7fELF\x02"):
        return
    table, = struct.unpack_from("<Q", image, 0x28)
    size, count, names = struct.unpack_from("<3H", image, 0x3a)
    sections = [struct.unpack_from("<IIQQQQ", image, table + i * size) for i in range(count)]
    for name, _, _, _, offset, length in sections:
        if not image.startswith(b".note.dlopen\0", sections[names][4] + name):
            continue
        end = offset + length
        while offset < end:
            owner, text = struct.unpack_from("<2I", image, offset)
            offset += 12 + (owner + 3 & ~3)
            yield json.loads(image[offset:offset + text].rstrip(b"\0"))
            offset += text + 3 & ~3


def _loaded_later(program):
    """Paths of the libraries that a program says it may load when it runs, if they are here."""
    wanted = {soname for note in _notes(Path(program).read_bytes())
              for library in note for soname in library["soname"]}
    known = subprocess.run(["/sbin/ldconfig", "-p"], check=True, stdout=subprocess.PIPE, text=True)
    return [path for soname, path in
            re.findall(r"^\s*(\S+) \(libc6,x86-64[^)]*\) => (\S+)$", known.stdout, re.MULTILINE)
            if soname in wanted]


def libraries(program):
    """Absolute paths of the shared libraries of a program, also of those that it loads only when it
    needs them (systemd.io/ELF_DLOPEN_METADATA); empty for a static one."""
    found = _linked(program)
    for library in _loaded_later(program):
        found += [path for path in (library, *_linked(library)) if path not in found]
    return found


def _linked(program):
    """The libraries that a program or library is linked with."""
    done = subprocess.run(["ldd", str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    text = done.stdout.decode()
    if "not found" in text:
        raise FileNotFoundError(f"{program}: a library is missing on this host:\n{text}")
    return re.findall(r"(?:=> |^\s*)(/\S+) \(0x", text, re.MULTILINE)
