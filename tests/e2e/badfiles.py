# SPDX-License-Identifier: Apache-2.0
"""Files that are no good kernels, each in its own way. bad(kernel) gives {name: bytes}."""

import struct

RAM = 32 << 20

# Fields of the setup header (Documentation/arch/x86/boot.rst), as offsets in the file.
SETUP_SECTS = 0x1f1
BOOT_FLAG = 0x1fe
JUMP = 0x200
MAGIC = 0x202
VERSION = 0x206
LOADFLAGS = 0x211
PAYLOAD_OFFSET = 0x248
PAYLOAD_LENGTH = 0x24c
INIT_SIZE = 0x260


def elf(segments, *, entry=0x100000, machine=62, kind=2, note=True, size=None):
    """A 64-bit ELF file of [(physical address, bytes in the file, bytes in memory)]."""
    headers = 64 + 56 * (len(segments) + note)
    text = b"\xf4" * 64
    words = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", entry)
    table = b"".join(struct.pack("<IIQQQQQQ", 1, 7, headers, at, at, filesz, memsz, 1)
                     for at, filesz, memsz in segments)
    if note:
        table += struct.pack("<IIQQQQQQ", 4, 4, headers + len(text), 0, 0, len(words),
                             len(words), 4)
    head = struct.pack("<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, kind, machine, 1, entry,
                       64, 0, 0, 64, 56, len(segments) + note, 0, 0, 0)
    whole = head + table + text + words
    return whole if size is None else whole[:size]


def patched(image, *changes):
    """`image` with [(offset, struct format, value)] written over it."""
    image = bytearray(image)
    for offset, form, value in changes:
        struct.pack_into(form, image, offset, value)
    return bytes(image)


def bad(kernel):
    """{name: bytes}; `kernel` is the content of a good bzImage."""
    good = [(0x100000, 64, 4096)]
    return {
        "zeros": bytes(8192),
        "text": b"This is no kernel.\n" * 100,
        "script": b"#!/bin/sh\nexit 0\n",
        "gzip": b"\x1f\x8b\x08" + bytes(100),
        "one-byte": b"x",
        "empty": b"",
        # A bzImage
        "bzimage-cut-in-header": kernel[:0x230],
        "bzimage-cut-in-setup": kernel[:0x1000],
        "bzimage-cut-in-kernel": kernel[:len(kernel) // 2],
        "bzimage-many-setup-sectors": patched(kernel[:0x9000], (SETUP_SECTS, "<B", 255)),
        "bzimage-old-protocol": patched(kernel, (VERSION, "<H", 0x105)),
        "bzimage-no-bzimage": patched(kernel, (LOADFLAGS, "<B", 0)),
        "bzimage-payload-outside": patched(kernel, (PAYLOAD_OFFSET, "<I", 0xfffffff0)),
        "bzimage-payload-too-long": patched(kernel, (PAYLOAD_LENGTH, "<I", 0xffffffff)),
        "bzimage-payload-rubbish": patched(kernel, *((len(kernel) // 2 + at, "<Q", 0)
                                                     for at in range(0, 4096, 8))),
        "bzimage-huge-init-size": patched(kernel, (INIT_SIZE, "<I", 0xfffff000)),
        # An ELF file
        "elf-cut-in-header": elf(good, size=40),
        "elf-cut-in-table": elf(good, size=100),
        "elf-cut-in-segment": elf([(0x100000, 100000, 100000)]),
        "elf-no-segments": elf([]),
        "elf-segment-outside-ram": elf([(0x100000, 64, 4096), (RAM - 4096, 64, 8192)]),
        "elf-segment-in-the-device-window": elf([(0x100000, 64, 4096), (0xfec00000, 64, 4096)]),
        "elf-segment-wraps": elf([(0xfffffffffffff000, 64, 0x2000)]),
        "elf-segment-below-1-mib": elf([(0x1000, 64, 4096)]),
        "elf-segments-overlap": elf([(0x100000, 64, 4096), (0x100800, 64, 4096)]),
        "elf-larger-in-file": elf([(0x100000, 64, 32)]),
        "elf-entry-outside": elf(good, entry=0x900000),
        "elf-for-arm": elf(good, machine=183),
        "elf-shared-library": elf(good, kind=3),
        "elf-module": elf(good, kind=1),
    }
