# SPDX-License-Identifier: Apache-2.0
"""Builds the guests of this folder, each an ELF file for entry by PVH."""

import hashlib
import os
import subprocess
from pathlib import Path

from lab import cache

HERE = Path(__file__).resolve().parent

COMMON = ["-ffreestanding", "-fno-builtin", "-nostdlib", "-static", "-no-pie", "-fno-pic",
          "-fno-stack-protector", "-fcf-protection=none", "-mgeneral-regs-only",
          "-fno-asynchronous-unwind-tables", "-fno-delete-null-pointer-checks", "-std=gnu11",
          "-O1", "-Wall", "-Wextra", "-Werror",
          "-Wl,-N,-Ttext=0x100000,--section-start=.note.PVH=0x1f0000,--build-id=none,"
          "-z,noexecstack,--no-warn-rwx-segments"]
FLAGS = {64: ["-m64", "-mno-red-zone", "-mcmodel=small"], 32: ["-m32", "-march=i686"]}


def topics():
    """Every topic: the sources that are not what all stand on."""
    return sorted(path.stem for path in HERE.glob("*.c") if path.stem != "guest")


def kernel(topic, folder=HERE, more=()):
    """Path of a topic's guest, built when its sources changed; `more` are its files besides that of
    its name, without ".c"."""
    width = 32 if topic.endswith("32") else 64
    sources = [HERE / f"entry{width}.S", HERE / "guest.c",
               *(folder / f"{name}.c" for name in (topic, *more))]
    command = ["gcc", *FLAGS[width], *COMMON, "-I", HERE]
    digest = hashlib.sha256(repr(command).encode())
    for path in [*sources, *sorted(HERE.glob("*.h")), *sorted(folder.glob("*.h"))]:
        digest.update(path.read_bytes())
    path = cache.directory("built") / f"guest-{topic}-{digest.hexdigest()[:16]}"
    if not path.exists():
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        subprocess.run([*command, "-o", aside, *sources], check=True)
        os.rename(aside, path)
    return path
