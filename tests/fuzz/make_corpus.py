#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the first inputs of the fuzz programs, in tests/fuzz/corpus/.

Needs lz4, zstd and qemu-img.  The files are small: an ELF of a few pages that compress to nothing.
"""

import bz2
import gzip
import lzma
import struct
import subprocess
import tempfile
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


# Code for the interpreter, in hexadecimal: what reaches into its parts.
PROGRAMS = {
    "control": "0f20c00f22c00f20e00f22e00f20d80f22d8f4",
    "msr": "0f320f300fa20f310f01f9f4",
    "debug": "0f23c00f23f80f21f0f1cd03ccf4",
    "tables": "0f010f0f01170f00d80f00d00f00c80f0107",
    "segments": "8ed88ec08ed01f070fb2070fa9",
    "far": "ff1fff2fcbcf48cbca0400",
    "soft": "cd21cd22cd40ceccf4",
    "ports": "e410e61066efedf36ef36c",
    "string": "f3a4f3abf3a6f2aef3ac",
    "locked": "f0480fb10ff0480fc70ff00fc70f86074801070fc10f",
    "rewrites": "88078907c60700ebf8",
    "paging": "0f013f660f388207ff074889070f20d80f22d8",
    "system": "0f050f340f350f070f01f8faf4",
    "stack": "6061c8100001c99c9d50585455",
    "x87": "d907dd27dd37d9f0dbe39bd93fdfe0d9d0",
    "sse": "0f28070f58c10f5ec00f2e07660fefc0f20f51070f77",
    "save": "0fae070fae0f0fae270fae2f0fc7270fc71f0fae170fae1f",
    "avx": "c5fc2807c5fc58c1c4e26990048bc5f877c4e2f19204cb",
    "bits": "0fa30f0fbb0f0fba2f07f30fbcc10fa4c1050fadc8",
    "flow": "e2fee3fe740feb02e80000c300c20400",
    "bcd": "373f272fd40ad50a62",
    "clock": "b9014d564bb80180020031d20f30b9004d564b0f300f31f4",
    "tasks": "ea0000000088009a000000009000ea000000008000cf",
    "wide": "4801c84809c84811d84819d8482107482bc14833074839c84881c001000000",
    "user": "0f01ca0f01cb0f01ee0f01d00f01d1f30faec0",
}


def start(mode, flags, values):
    """The head of an input of the interpreter (struct start); values are the registers'."""
    rest = bytes(values) + bytes(16 - len(values)) + bytes(12)
    return struct.pack("<BBBBIIIHBBIHHI4s", mode, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                       bytes(4)) + rest


def programs():
    """(name, input) of each program in some modes: real, virtual-8086, 32-bit and 64-bit, the two
    with paging, in ring 0 and 3."""
    for name, code in PROGRAMS.items():
        for mode, flags in ((0, 0), (2, 4), (4, 4), (6, 4), (6, 6), (0x86, 4), (0x86, 6)):
            head = start(mode, flags, [28, 24, 1, 24, 0, 24, 24, 30])
            yield f"{name}-{mode}-{flags}", head + bytes.fromhex(code)


TAKE, PUT, ASK, KICKS, POKE, AGAIN = range(6)
NEXT, WRITE, INDIRECT = 1, 2, 4


def steps(*rows):
    """Steps of the virtqueue program (struct step): (kind, which, at, value)."""
    return b"".join(struct.pack("<BBHI", *row, *[0] * (4 - len(row))) for row in rows)


def virtqueue(packed, features, chains):
    """A queue of 8 with chains of (address, length, flags), each taken and put back."""
    todo = steps(*[(TAKE, n) for n in range(len(chains))], (KICKS, 0), (ASK,),
                 *[(PUT, n, 0, 20) for n in reversed(range(len(chains)))], (ASK,), (KICKS, 1),
                 (AGAIN, 1), (TAKE, 0), (PUT, 0, 0, 1))
    desc, driver, device = 0x1000, 0x1800, 0x1a00
    memory = bytearray(0x2000)
    at = 0
    for number, chain in enumerate(chains):
        if not packed:
            struct.pack_into("<H", memory, driver + 4 + number * 2, at)
        for addr, length, flags in chain:
            last = [number, flags | 0x80] if packed else [flags, at + 1]
            struct.pack_into("<QIHH", memory, desc + at * 16, addr, length, *last)
            at += 1
    struct.pack_into("<H", memory, driver + 2, 0 if packed else len(chains))
    # what an indirect descriptor may point to
    for n, (flags, more) in enumerate([(0, NEXT), (WRITE, 0)]):
        rest = [0, flags] if packed else [flags | more, n + 1]
        struct.pack_into("<QIHH", memory, 0x800 + n * 16, 0x300 + n * 0x100, 40, *rest)
    head = struct.pack("<BBHHHH", packed | features << 1, len(todo) // 8, 8, desc, driver, device)
    return head + todo + memory


def virtqueues():
    """(name, input) of both forms of queue with every combination of features."""
    chains = [[(0x100, 16, WRITE)], [(0x200, 8, NEXT), (0x8010, 100, NEXT | WRITE),
                                     (0x8200, 1, WRITE)], [(0x800, 32, INDIRECT)]]
    for packed in (False, True):
        for features in range(8):
            yield f"{'packed' if packed else 'split'}-{features}", virtqueue(packed, features,
                                                                            chains)


WRITE_REGISTER, READ_REGISTER, POKE_MEMORY, NOTIFY, START = range(5)


def virtio(device, requests):
    """A device (0: entropy, 1: block) with split descriptors, one chain for each request."""
    def step(kind, size=0, at=0, value=0):
        return struct.pack("<BBHI", kind, size, at, value)

    todo = step(START, 4, 0, 0x10000000) + step(NOTIFY) * 2 + step(READ_REGISTER, 2, 0x60)
    todo += step(WRITE_REGISTER, 2, 0x64, 3) + step(NOTIFY) + step(START, 4, 0, 0x30000200)
    todo += step(NOTIFY)
    memory = bytearray(0x4000)
    at = 0
    for number, (header, data, parts) in enumerate(requests):
        place = 0x2000 + number * 0x400
        memory[place:place + len(header + data)] = header + data
        struct.pack_into("<H", memory, 0x1804 + number * 2, at)
        for offset, length, flags in parts:
            struct.pack_into("<QIHH", memory, 0x1000 + at * 16, place + offset, length, flags,
                             at + 1)
            at += 1
    struct.pack_into("<H", memory, 0x1802, len(requests))
    return struct.pack("<BBH", device, len(todo) // 8, 0) + todo + memory


def virtio_inputs():
    """(name, input) of the devices' own requests."""
    def header(kind, sector=0):
        return struct.pack("<IIQ", kind, 0, sector)

    status = (0x3ff, 1, WRITE)
    area = struct.pack("<QII", 4, 8, 1)
    read = [(0, 16, NEXT), (16, 512, NEXT | WRITE), status]
    change = [(0, 32, NEXT), status]
    for bus, bits in (("", 0), ("pci-", 2)):
        yield f"{bus}rng", virtio(bits, [(b"", b"", [(0, 100, WRITE)]),
                                         (b"", b"", [(0, 9, NEXT | WRITE), (9, 7, WRITE)])])
        yield f"{bus}blk-read", virtio(bits | 1, [
            (header(0), b"", read), (header(0, 63), b"", read), (header(0, 64), b"", read)])
        yield f"{bus}blk-write", virtio(bits | 1, [
            (header(1), b"x" * 512, [(0, 528, NEXT), status]),
            (header(4), b"", [(0, 16, NEXT), status]),
            (header(8), b"", [(0, 16, NEXT), (16, 21, WRITE)])])
        yield f"{bus}blk-ranges", virtio(bits | 1, [
            (header(11), area[:12] + bytes(4), change), (header(13), area, change),
            (header(11), area, change)])


def virtio_net(headers, features, frames):
    """A network device whose five queues have four buffers each, (length, flags) in the first two;
    the frames come to it, (length, first bytes)."""
    def step(kind, size=0, at=0, value=0):
        return struct.pack("<BBHI", kind, size, at, value)

    came, turn, refuse, time = range(5, 9)
    todo = step(START, 4, 0, features) + step(turn)
    for length, first in frames:
        todo += step(came, 0, length, first) + step(NOTIFY, 0) + step(turn)
    todo += step(refuse, 1) + step(NOTIFY, 1) + step(refuse, 0) + step(turn) + step(NOTIFY, 2)
    todo += step(time, 0, 0, 10**9) + step(turn) + step(turn, 1)
    memory = bytearray(0x6000)
    chains = [[(40, WRITE), (1500, WRITE), (1600, WRITE), (2000, WRITE)],
              [(54, 0), (112, 0), (100, NEXT), (1000, 0)],
              [(3, NEXT), (1, WRITE), (12, NEXT), (1, WRITE)]]
    for queue, parts in enumerate(chains):
        area = 0x1000 + queue * 0xc00
        for n, (length, flags) in enumerate(parts):
            struct.pack_into("<QIHH", memory, area + n * 16, 0x5000 + n * 0x100, length, flags,
                             n + 1)
            struct.pack_into("<H", memory, area + 0x804 + n * 2, n)
        struct.pack_into("<H", memory, area + 0x802, 4 if queue == 0 else 2)
    memory[0x5000:0x500c] = struct.pack("<BBHHHHH", 1, 0, 0, 0, 14, 6, 0)
    return struct.pack("<BBH", headers, len(todo) // 8, 0) + todo + memory


def virtio_net_inputs():
    """(name, input): frames both ways, with and without mergeable buffers and headers."""
    frames = [(60, 0), (1500, 0), (3000, 0x100), (80, 1)]
    for headers in (0, 1):
        for name, features in (("plain", 0x20), ("merged", 0x8020), ("all", 0xffffff)):
            yield f"{name}-{headers}", virtio_net(headers, features, frames)


QCOW2 = {
    "v3": ("cluster_size=512", "data", []),
    "v2": ("cluster_size=512,compat=0.10", "data", []),
    "refcounts-1": ("cluster_size=512,refcount_bits=1", "data", []),
    "refcounts-64": ("cluster_size=512,refcount_bits=64", "data", []),
    "compressed": ("cluster_size=512", "compressed", []),
    "zstd": ("cluster_size=512,compression_type=zstd", "compressed", []),
    "snapshot": ("cluster_size=512", "data", ["snapshot"]),
    "dirty": ("cluster_size=512,lazy_refcounts=on", "data", ["snapshot", "dirty"]),
}


def qcow2(options, kind, extras):
    """A small image of qemu-img's, and calls: each a kind, a place, a length."""
    with tempfile.TemporaryDirectory() as folder:
        image, raw = Path(folder) / "image", Path(folder) / "raw"
        raw.write_bytes(b"".join(bytes([i % 7]) * 512 for i in range(96)))
        compress = ["-c"] if kind == "compressed" else []
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", "-o", options, *compress, raw, image],
                       check=True)
        if "snapshot" in extras:
            subprocess.run(["qemu-img", "snapshot", "-c", "one", image], check=True)
        content = bytearray(image.read_bytes())
    if "dirty" in extras:
        content[79] |= 1
    calls = b"".join(bytes([k, 7 * k % 96, 0, 3 + k]) for k in range(24))
    return bytes(content) + calls


def vhost_inputs():
    """Two honest daemons, one of which acknowledges; then rings that are used honestly."""
    def said(*answers):
        return b"".join(struct.pack("<IIIQ", request, 5, 8, value) for request, value in answers)

    features = (1, 1 << 28 | 1 << 30 | 1 << 32)
    ring = [(request, 0) for request in (8, 10, 9, 12, 13, 18)]
    full = said(features, (15, 9), (17, 2), (3, 0), (2, 0), (5, 0), *ring, *ring, (11, 1), *ring)
    brief = said(features, (15, 0), (11, 1))
    steps = b""
    for n in range(1, 20):
        place = 4 + (n - 1) * 8
        steps += struct.pack("<BBHI", n & 1, 0, 0, 0)
        for at, size, value in ((place, 2, 0), (place + 4, 2, 16), (2, 1, n)):
            steps += struct.pack("<BBHI", 3, size, at, value)
        steps += struct.pack("<BBHI", 2, 0, 0, 0)
    return [(name, struct.pack("<H", len(answers)) + answers + steps)
            for name, answers in (("full", full), ("brief", brief))]


def save(name, files):
    """Writes one program's corpus."""
    directory = CORPUS / name
    directory.mkdir(parents=True, exist_ok=True)
    for stem, data in files:
        (directory / stem).write_bytes(data)


def mmds(header, requests):
    """A connection on which these are asked for, and which the guest then closes."""
    def step(kind, flags=0, data=b"", length=None):
        return struct.pack("<BBBbbBH", kind, flags, 0, 0, 0, 16,
                           len(data) if length is None else length) + data
    segment, take = 1, 2
    steps = [step(segment, 0x02), step(take), step(segment, 0x10)]
    for request in requests:
        steps += [step(segment, 0x18, request), step(take), step(segment, 0x10),
                  step(3, length=300)]
    return bytes([header]) + b"".join([*steps, step(segment, 0x11), step(take), step(take),
                                       step(segment, 0x10)])


NUMBERS, STATS, COMMAND, FREE, HOST, TIME, CONFIG, BEGIN, RING, QUEUE = range(10)


def balloon(*rows):
    """Steps of the balloon program: (kind, queue, shape, way, n, at, value)."""
    return b"".join(struct.pack("<BBBBIII", *row, *[0] * (7 - len(row))) for row in rows)


def balloons():
    """(name, input): each queue by its use; with the numbers of the specification and of Linux."""
    up, down, leap = 1, 0xff, 5
    few = (NUMBERS, 0, 0, up, 20, 0x20)
    yield "inflate", balloon(few, (NUMBERS, 0, 0, down, 20, 0x80, 0xff),
                             (NUMBERS, 0, 0, leap, 300, 0xf0, 0xffffffff),
                             (NUMBERS, 0, 0, up, 8, 0xfc), (NUMBERS, 0, 0, up, 8, 0x2fe, 0x300),
                             (NUMBERS, 1, 0, up, 20, 0x20), (CONFIG, 0, 0, 2, 0, 4, 40),
                             (HOST, 0, 0, 0, 0, 0, 0x10000), (NUMBERS, 0, 4, up, 3, 9))
    yield "stats", balloon((STATS, 2, 0, 1, 160), (HOST, 0, 0, 1, 0, 0, 2), (STATS, 2, 0, 1, 55),
                           (TIME, 0, 0, 0, 0x1000000), (STATS, 2, 0, 0, 10), (QUEUE, 2, 0, 1),
                           (STATS, 2, 0, 1, 20), (STATS, 2, 0, 1, 20))
    free = [(FREE, 3, 0x78, 0, 0x8000, 0x40000, 0x10000),
            (FREE, 3, 0x7b, 0, 0x1801, 0x50800, 0x2000)]
    told = (COMMAND, 3, 0, 1)
    yield "hints", balloon((HOST, 0, 0, 2, 0, 0, 1), told, *free, (COMMAND, 3, 0, 0),
                           (HOST, 0, 0, 2), told, *free, (HOST, 0, 0, 3), *free)
    yield "reporting", balloon((FREE, 4, 0x7a, 0, 0x4000, 0x60000, 0x8000),
                               (FREE, 4, 0x78, 0, 0x4000, 0xfe000, 0x1000),
                               (FREE, 4, 0x78, 0, 0x2000, 0x300000),
                               (FREE, 4, 0, 0, 0x2000, 0x30000))
    yield "pattern", balloon((CONFIG, 0, 0, 2, 0, 12, 0x55), (FREE, 4, 0x78, 0, 0x4000, 0x60000),
                             (HOST, 0, 0, 2), told, *free, (CONFIG, 0, 0, 2, 0, 12, 0), *free)
    for features, without in ((0x3a, 0), (0x28, 0x18), (0x08, 0x1c), (0x20, 0x18), (2, 0x18)):
        yield f"linux-{features:x}", balloon(
            (BEGIN, without, 0, 0, 0, 0, features), few, (STATS, 2, 0, 1, 100), (HOST, 0, 0, 2),
            (COMMAND, 2, 0, 1), (FREE, 2, 0x78, 0, 0x4000, 0x40000),
            (FREE, 3, 0x78, 0, 0x4000, 0x60000), (RING, 0, 0, 0, 0, 0x802, 9))


def rows_of(*rows):
    """Steps of the programs of persistent memory and of memory: (kind, byte, word, at, value)."""
    return b"".join(struct.pack("<BBHII", *row, *[0] * (5 - len(row))) for row in rows)


def pmems():
    """(name, input): flushes that end well, badly, late, together and never."""
    flush, chain, gate, wait, limit, time, begin, ring, queue = range(9)
    yield "flushes", rows_of((flush,), (wait,), (flush, 0, 3), (wait,), (flush, 0, 0, 0, 1))
    yield "together", rows_of((gate,), (flush, 0, 2), (flush, 0, 20), (wait,), (wait,))
    yield "fails", rows_of((gate, 0, 0, 0, 1), (flush, 0, 2), (wait,), (flush,), (wait,))
    yield "reset", rows_of((gate,), (flush, 0, 2), (begin,), (flush,), (gate,), (flush,), (queue,),
                           (flush,), (wait,))
    yield "limits", rows_of((limit, 3, 0, 100, 0x100000), (flush,), (wait,), (flush,), (flush,),
                            (time, 0, 0, 0, 400000), (wait,), (flush,), (begin,))
    yield "chains", rows_of((chain, 1 | 2 << 2, 4, 0x20000), (begin,), (chain, 0, 4), (begin,),
                            (chain, 1 | 2 << 2, 3, 0x20000), (begin, 0, 0, 0, 1 << 28),
                            (chain, 3 | 0xe << 2, 4, 0x20000), (ring, 0, 0, 0x802, 99))


def memories():
    """(name, input): blocks that come and go, and what happens meanwhile."""
    ask, chain, host, meanwhile, serve, clear, begin, ring, touch = range(9)
    plug, unplug, unplug_all, state = range(4)
    yield "plug", rows_of((ask, plug, 4, 2), (ask, state, 4, 2), (ask, state, 8, 0),
                          (ask, state, 1, 20), (ask, plug, 1, 2), (ask, plug, 9, 8),
                          (ask, unplug, 2, 3), (ask, unplug, 4, 2), (ask, plug, 31, 0),
                          (ask, unplug_all), (host, 0, 0, 24), (ask, plug, 24, 0),
                          (ask, plug, 1, 24), (host, 0, 0, 3), (ask, unplug, 24, 0), (clear,))
    for what in range(6):
        yield f"meanwhile-{what}", rows_of(
            (meanwhile, what), (ask, plug, 2, 2), (begin,), (ask, 0x40 | plug, 2, 8),
            (ask, 0x40 | state, 2, 8), (meanwhile, what), (serve,), (begin,), (ask, plug, 2, 12),
            (meanwhile, what), (ask, unplug, 2, 12), (begin,), (meanwhile, what), (ask, unplug_all))
    yield "inside", rows_of((ask, plug, 1, 0), (begin, 1), (ask, plug, 1, 1), (ask, unplug, 1, 0),
                            (ask, state, 1, 1))
    yield "chains", rows_of((ask, 0x87), (ask, 0x80, 1, 0x100000, 0x1000), (chain, 0, 0x18),
                            (begin,), (chain, 1 | 2 << 2, 0xa8), (begin,),
                            (chain, 1 | 2 << 2, 0x98), (begin,), (chain, 3 | 8 << 2, 0xf8aa),
                            (touch, 2, 0, 40, 9), (ring, 0, 0, 0x802, 99))


def console(device, *rows):
    """The console program: (kind, queue or port, shape, way, n, value) each step."""
    return bytes([device]) + b"".join(struct.pack("<BBBBII", *row, *[0] * (6 - len(row)))
                                      for row in rows)


def consoles():
    """(name, input): a console, and ports that are opened at both ends."""
    chains, message, input_, room, open_, size, again, config, begin, ring, queue = range(11)
    good = 0x80
    yield "console", console(0, (room, 0, 0, 0, 300), (chains, 1, good, 1, 200),
                             (room, 0, 0, 0, 50), (chains, 0, good | 1, 3, 16),
                             (input_, 0, 0, 0, 20), (input_, 0, 0, 0, 500), (size, 0, 0, 0, 80, 25),
                             (config, 0, 0, 2, 8, 65), (room, 0, 0, 0, 2000))
    yield "much", console(0, (room, 0, 0, 0, 0xffffff), (chains, 1, good | 3, 7, 0x10000), (again,),
                          (again,), (input_, 0, 0, 0, 0xffff), (chains, 0, good, 7, 0x8000))
    yield "odd", console(0, (room, 0, 0, 0, 9), (chains, 1, 1 | 2 << 2, 0, 9), (begin,),
                         (chains, 0, 0, 0, 9), (input_, 0, 0, 0, 9), (begin,),
                         (chains, 1, good, 0, 99), (queue, 1, 0, 1), (chains, 1, good, 0, 99),
                         (begin, 2, 0, 0, 0, 4), (input_,), (ring, 0, 0, 0, 0x802, 70))
    opened = [(chains, 2, good, 7, 64), (chains, 2, good, 7, 64), (message, 0, 0, 0, 0, 1)]
    opened += [(message, port, 0, event, 0, 1) for port in range(3) for event in (3, 6)]
    yield "ports", console(1, *opened, (open_, 1, 0, 0, 0, 1), (chains, 6, good, 3, 40),
                           (input_, 2, 0, 0, 70), (room, 2, 0, 0, 60), (chains, 7, good, 1, 40),
                           (open_, 1), (message, 1, 0, 6), (room, 2, 0, 0, 99),
                           (message, 2, 0, 3), (message, 0, 0x40, 6, 77))
    yield "control", console(1, (chains, 2, good, 0, 10), *opened[1:], (begin,),
                             (chains, 2, 0, 0, 64), (message, 0, 0, 0, 0, 1), (begin,),
                             (message, 0, 0x80, 0, 7), (begin, 0, 0, 0, 1 << 28), *opened)


def main():
    """Makes them all."""
    save("console", consoles())
    save("balloon", balloons())
    save("pmem", pmems())
    save("memory", memories())
    save("elf", [("elf64-pvh", elf(64, True)), ("elf64", elf(64, False)),
                 ("elf32-pvh", elf(32, True)), ("elf32", elf(32, False))])
    lz4 = dict(payloads())["lz4"]
    save("bzimage", [("64", bzimage(lz4)), ("32", bzimage(lz4, xloadflags=0)),
                     ("fixed", bzimage(lz4, relocatable=0)),
                     ("2.04", bzimage(lz4, version=0x0204))])
    save("decompress", payloads())
    save("decode", instructions())
    save("interp", programs())
    save("virtqueue", virtqueues())
    save("virtio", virtio_inputs())
    save("virtio_net", virtio_net_inputs())
    save("vhost", vhost_inputs())
    save("mmds", [("get", mmds(0, [b"GET /a/b HTTP/1.1\r\n\r\n"])),
                  ("token", mmds(1, [b"PUT /latest/api/token HTTP/1.1\r\n"
                                     b"X-metadata-token-ttl-seconds: 60\r\n\r\n",
                                     b"GET / HTTP/1.1\r\nX-metadata-token: x\r\n\r\n"]))])
    save("qcow2", [(name, qcow2(*how)) for name, how in QCOW2.items()])


if __name__ == "__main__":
    main()
