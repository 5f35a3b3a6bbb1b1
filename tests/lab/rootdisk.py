# SPDX-License-Identifier: Apache-2.0
"""Debian on a disk: an ext4 image that systemd boots from, and the initramfs that mounts it.

mmdebstrap makes the system from the host's own package sources, mke2fs the image; it needs root.
Modules are the kernel package's own. The system tells the console when it has reached a target:

    LODGE-DISK: multi-user 8.4

with the seconds since the kernel began, then does what `lodge.do=` on the command line says:
"poweroff" (the default), "script" (runs /script first, its output on the console), "wait".
"""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from . import cache, debian, initramfs, modules, userland

PACKAGES = ["systemd-sysv", "udev", "dbus", "e2fsprogs", "kmod", "iproute2", "openssh-server"]
LEFT_OUT = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"]
BUSES = ["virtio_pci", "virtio_mmio"]
SIZE = "1G"

_UNIT = """[Unit]
Description=tells the test
After=multi-user.target

[Service]
Type=idle
StandardOutput=file:/dev/ttyS0
StandardError=file:/dev/ttyS0
ExecStart=/bin/sh /lodge.sh
"""

# A unit that multi-user.target wants would be part of it: this one is started when it is reached.
_TARGET = """[Unit]
Wants=lodge-test.service
"""

# For a network card, if the machine has one.
_NETWORK = """[Match]
Name=e*

[Network]
DHCP=ipv4
"""

_SCRIPT = """export PATH=/usr/sbin:/usr/bin:/sbin:/bin
while [ "$(systemctl is-active multi-user.target)" != active ]; do sleep 0.1; done
echo "LODGE-DISK: multi-user $(cut -d' ' -f1 /proc/uptime)"
echo "LODGE-DISK: failed $(systemctl list-units --failed --no-legend | wc -l)"
echo "LODGE-DISK: root $(findmnt -no SOURCE,FSTYPE,OPTIONS /)"
case $(cat /proc/cmdline) in
*lodge.do=wait*) exit ;;
*lodge.do=script*) sh /script ;;
esac
systemctl poweroff
"""

_INIT = """#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
tries=0
until [ -b /dev/vda ] || [ $tries = 100 ]; do sleep 0.1; tries=$((tries + 1)); done
mount -t ext4 /dev/vda /disk || echo "LODGE-DISK: no root"
if [ -e /script ]; then cat /script >/disk/script; fi
umount /proc /sys
mount --move /dev /disk/dev
exec switch_root /disk /sbin/init
"""


def _key(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _tarball():
    path = cache.directory("images") / f"rootdisk-{_key(PACKAGES, LEFT_OUT)}.tar"
    if not path.exists():
        aside = path.with_name(f".{path.name}")
        sources = next(source for source in userland.SOURCES if source.exists())
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase",
                        f"--include={','.join(PACKAGES)}",
                        *(f"--dpkgopt=path-exclude={name}" for name in LEFT_OUT),
                        "--format=tar", userland.SUITE, str(aside), str(sources)], check=True)
        os.rename(aside, path)
    return path


def _write(root, name, text):
    path = Path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _enable(root, unit):
    """As systemctl does for a unit that multi-user.target wants."""
    link = Path(root, f"etc/systemd/system/multi-user.target.wants/{unit}")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"/lib/systemd/system/{unit}")


def image():
    """Path of the image, which is not to be written to: copy it (see `copy`)."""
    key = _key(PACKAGES, LEFT_OUT, _UNIT, _TARGET, _NETWORK, _SCRIPT, SIZE)
    path = cache.directory("images") / f"rootdisk-{key}.ext4"
    with cache.lock("rootdisk"):
        if path.exists():
            return path
        aside = path.with_name(f".{path.name}")
        with tempfile.TemporaryDirectory() as root:
            subprocess.run(["tar", "-C", root, "-xf", str(_tarball())], check=True)
            _write(root, "etc/systemd/system/lodge-test.service", _UNIT)
            _write(root, "etc/systemd/system/multi-user.target.d/lodge.conf", _TARGET)
            _write(root, "lodge.sh", _SCRIPT)
            _write(root, "etc/systemd/network/card.network", _NETWORK)
            _enable(root, "systemd-networkd.service")
            _write(root, "etc/fstab", "/dev/vda / ext4 defaults 0 1\n")
            _write(root, "etc/hostname", "lodge\n")
            aside.unlink(missing_ok=True)
            subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", root, str(aside), SIZE],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.rename(aside, path)
    return path


def copy(to):
    """A fresh copy of the image at `to`, as sparse as it is."""
    subprocess.run(["cp", "--sparse=always", str(image()), str(to)], check=True)
    return to


def initrd(script=""):
    """Path of the initramfs; `script` becomes the system's /script."""
    loaded = modules.in_order(debian.modules("cloud"), ["virtio_blk", "virtio_net", *BUSES])
    key = _key(_INIT, script, [name for name, _ in loaded], debian.release())
    path = cache.directory("images") / f"rootdisk-{key}.cpio"
    if path.exists():
        return path
    archive = initramfs.Archive()
    archive.node("dev/console", 5, 1)
    archive.node("dev/null", 1, 3, 0o666)
    for name in ("proc", "sys", "disk"):
        archive.directory(name)
    archive.busybox(debian.busybox(), ["sh", "mount", "umount", "insmod", "cat", "sleep", "echo",
                                       "switch_root", "["])
    archive.data("init", _INIT.encode(), 0o755)
    archive.data("modules/order", "\n".join(name for name, _ in loaded).encode())
    if script:
        archive.data("script", script.encode())
    for name, data in loaded:
        archive.data(f"modules/{name}", data)
    return cache.write_whole(path, archive.bytes())
