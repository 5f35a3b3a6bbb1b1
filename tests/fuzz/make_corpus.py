#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the first inputs of the fuzz programs, in tests/fuzz/corpus/.

Needs lz4 and zstd.  The files are small: an ELF of a few pages that compress to nothing.
"""

import bz2
import gzip
import lzma
import struct
import subprocess
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
PADDR = 0x1000000
EM_386, EM_X86_64 = 3, 62
PT_LOAD, PT_NOTE = 1, 4


def note(name, kind, desc):
    """An ELF note."""
    name += b"\0"
    pad = -len(name) % 4
    return struct.pack("<III", len(name), len(desc), kind) + name + bytes(pad) + desc


def elf(bits, pvh, text_size=0x1100):
    """A kernel: two segments, the second larger in memory, and notes in the first."""
    notes = note(b"Linux", 0x100, bytes(8))
    if pvh:
        notes += note(b"Xen", 18, struct.pack("<Q", PADDR + 0x10))
    text = (notes + b"\xf4" * text_size)[:text_size]
    data = b"\x11" * 0x180
    loads = [
        (PT_LOAD, 0x1000, PADDR, len(text), len(text)),
        (PT_LOAD, 0x3000, PADDR + 0x200000, len(data), 0x5000),
        (PT_NOTE, 0x1000, PADDR, len(notes), len(notes)),
    ]
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1, 1]) + bytes(9)
    if bits == 64:
        header = ident + struct.pack("<HHIQQQIHHHHHH", 2, EM_X86_64, 1, PADDR, 64, 0, 0, 64,
                                     56, len(loads), 0, 0, 0)
        for kind, offset, paddr, filesz, memsz in loads:
            header += struct.pack("<IIQQQQQQ", kind, 7, offset, paddr, paddr, filesz, memsz, 4096)
    else:
        header = ident + struct.pack("<HHIIIIIHHHHHH", 2, EM_386, 1, PADDR, 52, 0, 0, 52,
                                     32, len(loads), 0, 0, 0)
        for kind, offset, paddr, filesz, memsz in loads:
            header += struct.pack("<IIIIIIII", kind, offset, paddr, paddr, filesz, memsz, 7, 4096)
    image = header + bytes(0x1000 - len(header)) + text
    return image + bytes(0x3000 - len(image)) + data


def bzimage(payload, version=0x020F, xloadflags=1, relocatable=1):
    """A bzImage with one setup sector."""
    code = b"\xf4" * 0x240 + payload
    code += bytes(-len(code) % 16)
    head = bytearray(1024)

    def put(offset, form, value):
        struct.pack_into("<" + form, head, offset, value)

    put(0x1F1, "B", 1)
    put(0x1F4, "I", len(code) // 16)
    put(0x1FE, "H", 0xAA55)
    put(0x200, "H", 0x6AEB)
    head[0x202:0x206] = b"HdrS"
    put(0x206, "H", version)
    put(0x211, "B", 1)
    put(0x22C, "I", 0x7FFFFFFF)
    put(0x230, "I", 0x200000)
    put(0x234, "B", relocatable)
    put(0x236, "H", xloadflags)
    put(0x238, "I", 2047)
    put(0x248, "I", 0x240)
    put(0x24C, "I", len(payload))
    put(0x258, "Q", PADDR)
    put(0x260, "I", 0x800000)
    return bytes(head) + code


def by_program(*words):
    """A function that compresses by a program."""
    return lambda data: subprocess.run(words, input=data, stdout=subprocess.PIPE,
                                       check=True).stdout


def xz_kernel(data):
    """xz as the kernel's build makes it: BCJ for x86, CRC32."""
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}]
    return lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=filters)


COMPRESSORS = {
    "bzip2": bz2.compress,
    "lz4": by_program("lz4", "-l", "-9", "-q", "-c"),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "xz": xz_kernel,
    "zstd": by_program("zstd", "-19", "-q", "-c"),
}


def payloads():
    """(name, payload) of every format; all but gzip have the length appended."""
    image = elf(64, True)
    yield "gzip", gzip.compress(image, mtime=0)
    for name, compress in COMPRESSORS.items():
        yield name, compress(image) + struct.pack("<I", len(image))
    yield "lz4-32", COMPRESSORS["lz4"](elf(32, False)) + struct.pack("<I", len(elf(32, False)))
    yield "lzo", b"\x89LZO" + bytes(32)


# Instructions of different shapes, in hexadecimal.
INSTRUCTIONS = {
    "sib": "4803848d10000000", "imm": "4881c001020304", "moffs": "48a10102030405060708",
    "rip": "660f6f0510000000", "lock": "f0480fb10c24", "rep": "f3a4",
    "far": "ea0403020134125678",
    "vex2": "c5fc280411", "vex3": "c4e3750f400807", "gather": "c4e26992048b",
    "evex": "62f17c4858c1",
    "x87": "9bd97c24fe", "cr": "f00f20c0", "segments": "64658ed8", "branch": "66e90102030405",
    "long": "666666666666666666666666666690", "3dnow": "0f0fc19e", "xop": "8fe878c2c100",
}


def instructions():
    """(name, input) of each: 64-bit code on Intel, 32-bit code on AMD."""
    for name, code in INSTRUCTIONS.items():
        for mode in (3, 6):
            yield f"{name}-{mode}", bytes([mode]) + bytes.fromhex(code)


def save(name, files):
    """Writes one program's corpus."""
    directory = CORPUS / name
    directory.mkdir(parents=True, exist_ok=True)
    for stem, data in files:
        (directory / stem).write_bytes(data)


def main():
    """Makes them all."""
    save("elf", [("elf64-pvh", elf(64, True)), ("elf64", elf(64, False)),
                 ("elf32-pvh", elf(32, True)), ("elf32", elf(32, False))])
    lz4 = dict(payloads())["lz4"]
    save("bzimage", [("64", bzimage(lz4)), ("32", bzimage(lz4, xloadflags=0)),
                     ("fixed", bzimage(lz4, relocatable=0)),
                     ("2.04", bzimage(lz4, version=0x0204))])
    save("decompress", payloads())
    save("decode", instructions())


if __name__ == "__main__":
    main()
