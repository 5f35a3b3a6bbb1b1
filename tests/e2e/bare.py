# SPDX-License-Identifier: Apache-2.0
"""The guest of bare.c, small and quick, told by its command line what to do."""

from pathlib import Path

from lab import cache

FLAGS = ["-m32", "-march=i686", "-ffreestanding", "-nostdlib", "-static", "-no-pie", "-fno-pic",
         "-fno-stack-protector", "-fcf-protection=none", "-mgeneral-regs-only",
         "-fno-asynchronous-unwind-tables", "-O2", "-Wall", "-Wextra", "-Werror",
         "-Wl,-N,-Ttext=0x100000,--section-start=.note.PVH=0x110000,--build-id=none,"
         "-z,noexecstack"]


def kernel():
    """Path of the guest, an ELF file for entry by PVH."""
    source = Path(__file__).parent / "bare.c"
    return cache.built("bare", source, ["gcc", *FLAGS, "-o", "{out}", "{in}"])


def command(words, *flags, engine="kvm"):
    """lodge's command line for a bare guest that does what `words` say."""
    return ["lodge", "run", "--engine", engine, "--memory", "32M", "--kernel", kernel(),
            "--cmdline", words, *flags]


def pattern(count):
    """The bytes of "flood COUNT"."""
    return bytes(10 if at % 64 == 63 else 33 + (at // 64 + at % 64 * 7) % 90
                 for at in range(count))
