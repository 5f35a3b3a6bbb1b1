# SPDX-License-Identifier: Apache-2.0
"""Kernel modules in load order, found from the .modinfo section of the modules themselves.

Debian's packages carry no modules.dep (depmod makes it at installation), and the host may have no
depmod; `depends=` in .modinfo says the same.
"""

import lzma
import re


def _name(path):
    return path.name.split(".ko")[0].replace("-", "_")


def read(path):
    """A module's ELF image, decompressed if need be."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _depends(image):
    found = re.search(rb"\0depends=([^\0]*)\0", image)
    return [name for name in found.group(1).decode().split(",") if name] if found else []


def in_order(directory, names):
    """[(file name, image)] of the modules `names` below `directory`, dependencies first.

    A name that is not there raises KeyError: a kernel in which it is built in is not ours.
    """
    files = {_name(path): path for path in directory.rglob("*.ko*")}
    order = {}

    def add(name):
        if name not in order:
            image = read(files[name])
            for other in _depends(image):
                add(other)
            order[name] = (f"{name}.ko", image)

    for name in names:
        add(name.replace("-", "_"))
    return list(order.values())
