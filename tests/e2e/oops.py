# SPDX-License-Identifier: Apache-2.0
"""A kernel module that oopses when it is loaded: one of Debian's, its first instruction changed.

Nothing in a Debian kernel oopses on request (LKDTM is not built), and building a module takes the
kernel's headers.
"""

import struct

from lab import debian, modules

# Small, without needs, with an init function.
MODULE = "test_static_key_base"
INVALID = 0x06  # PUSH ES: no instruction in 64-bit mode
SIGNED = b"~Module signature appended~\n"
ENDBR64 = b"\xf3\x0f\x1e\xfa"
CALL = 0xe8


def _sections(image):
    """[(name, header offset, file offset, size)] of an ELF64 file."""
    table, = struct.unpack_from("<Q", image, 0x28)
    size, count, names = struct.unpack_from("<HHH", image, 0x3a)
    rows = [(table + i * size, *struct.unpack_from("<II8xQQQ", image, table + i * size)[:1],
             *struct.unpack_from("<QQ", image, table + i * size + 0x18)) for i in range(count)]
    strings = rows[names][2]
    return [(image[strings + name:image.index(b"\0", strings + name)].decode(), header, at, length)
            for header, name, at, length in rows]


def _symbol(image, wanted):
    """Offset in the file of the first byte of a symbol's section-relative place."""
    sections = _sections(image)
    _, header, at, length = next(s for s in sections if s[0] == ".symtab")
    strings = sections[struct.unpack_from("<I", image, header + 0x28)[0]][2]
    for entry in range(at, at + length, 24):
        name, _, _, index, value, _ = struct.unpack_from("<IBBHQQ", image, entry)
        if image[strings + name:image.index(b"\0", strings + name)] == wanted.encode():
            return sections[index][2] + value
    raise KeyError(wanted)


def _unsigned(image):
    """The module without its signature, which would not fit (Linux kernel/module_signature.c): a
    12-byte record that ends in the signature's length, and a mark, stand behind it."""
    if not image.endswith(SIGNED):
        return image
    end = len(image) - len(SIGNED) - 12
    return image[:end - struct.unpack_from(">I", image, end + 8)[0]]


def module(flavour="amd64"):
    """The module's bytes. The call to the tracer at the function's start is left in place."""
    image = bytearray(_unsigned(modules.in_order(debian.modules(flavour), [MODULE])[-1][1]))
    at = _symbol(image, "init_module")
    if image[at:at + 4] == ENDBR64:
        at += 4
    if image[at] == CALL:
        at += 5
    image[at] = INVALID
    return bytes(image)
