# SPDX-License-Identifier: Apache-2.0
"""The loads that a guest puts on its disk, by bench/io/load.c: for io.py and io_lab.py."""

from monitors import ROOT
from lab import cache

LOADS = ["randread-4-1", "randread-4-32", "randwrite-4-1", "randwrite-4-32", "seqread-1024-1",
         "seqread-1024-4", "seqwrite-1024-1", "seqwrite-1024-4"]
BUSES = {"pci": "virtio_pci", "mmio": "virtio_mmio"}


def program():
    """The static program that makes the load."""
    source = ROOT / "bench" / "io" / "load.c"
    return cache.built("load", source, ["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-static",
                                        "-o", "{out}", "{in}"], ROOT / "tests" / "lab" / "mark.h")


def title(load):
    """A load in words."""
    kind, kib, depth = load.split("-")
    kind = kind.replace("rand", "random ").replace("seq", "sequential ")
    size = f"{int(kib) >> 10} MiB" if int(kib) >= 1024 else f"{kib} KiB"
    return f"{kind}, {size}, depth {depth}"
