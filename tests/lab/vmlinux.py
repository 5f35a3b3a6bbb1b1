# SPDX-License-Identifier: Apache-2.0
"""The ELF vmlinux that a bzImage carries, decompressed.

The place of the payload is in the setup header (Documentation/arch/x86/boot.rst, "THE REAL-MODE
KERNEL HEADER"): payload_offset (0x248) counts from the start of the protected-mode code, which
follows setup_sects (0x1f1) + 1 sectors of 512 bytes; payload_length is at 0x24c.  Every format but
gzip is followed by four bytes with the size of the decompressed image, which belong to the payload.
"""

import bz2
import lzma
import struct
import subprocess
import zlib

from . import cache

_MAGICS = [
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
]


def payload(image):
    """(format's name, compressed bytes) of the bzImage `image` (bytes)."""
    if image[0x202:0x206] != b"HdrS":
        raise ValueError("not a Linux kernel: no HdrS in its setup header")
    setup_sects = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sects + 1) * 512 + offset
    data = image[start:start + length]
    for magic, name in _MAGICS:
        if data.startswith(magic):
            return name, data
    raise ValueError(f"unknown compression of the kernel's payload: {data[:6].hex()}")


def _filter(command, data):
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise ValueError(f"{command[0]}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def decompress(name, data):
    """The bytes that `data`, a payload compressed in the format `name`, stands for."""
    if name == "gzip":
        return zlib.decompressobj(wbits=31).decompress(data)
    if name == "bzip2":
        return bz2.BZ2Decompressor().decompress(data)
    if name in ("lzma", "xz"):
        return lzma.LZMADecompressor().decompress(data)
    return _filter([name, "-d", "-c", "-q"], data[:-4])


def extract(bzimage):
    """Path (in the cache) of the vmlinux inside the file `bzimage`."""
    image = bzimage.read_bytes()
    digest = zlib.crc32(image)
    path = cache.directory("vmlinux") / f"{bzimage.name}-{digest:08x}"
    if not path.exists():
        elf = decompress(*payload(image))
        if elf[:4] != b"\x7fELF":
            raise ValueError(f"{bzimage}: its payload is no ELF file")
        cache.write_whole(path, elf)
    return path
