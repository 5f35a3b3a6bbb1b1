# SPDX-License-Identifier: Apache-2.0
"""The emulated machine's own initramfs (L1): busybox, the KVM modules, the agent.

The base depends only on the packages and the agent and is kept in the cache.  What a run adds (the
program under test, its libraries, kernels for guests) is a second archive behind it: the kernel
unpacks archives that follow one another as if they were one.
"""

import hashlib

from . import cache, debian, initramfs, modules

# Links to busybox that the init script and people at the shell want.
APPLETS = """[ ash awk basename cat chmod chown cmp cp cut date dd df diff dirname dmesg du echo
env expr false find free grep gunzip gzip halt head hexdump hostname id ifconfig insmod kill
killall ln ls lsmod md5sum mkdir mkfifo mknod mktemp more mount mv nc nproc od pidof poweroff
printf ps pwd readlink reboot rm rmdir rmmod sed seq setsid sh sha256sum sleep sort stat stty sync
tail tar tee test time timeout top touch tr true tty umount uname uniq unshare unxz usleep vi
watch wc which xargs xxd xz yes zcat""".split()

_INIT = """#!/bin/sh
# The first program of the emulated machine: mounts, modules, then the agent for good.
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts dev /dev/pts
mount -t tmpfs tmp /tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t debugfs debug /sys/kernel/debug
ifconfig lo up 2>/dev/null
case "$(grep -m 1 vendor_id /proc/cpuinfo)" in
*GenuineIntel*) vendor=intel ;;
*) vendor=amd ;;
esac
for module in $(cat /lab/modules-common /lab/modules-$vendor); do
	insmod /lab/modules/$module
done
chmod 666 /dev/kvm
export PATH=/bin:/usr/bin HOME=/root TERM=${TERM:-vt100}
if [ -e /lab/requests ]; then
	exec /lab/agent /lab/requests /dev/ttyS1
fi
for module in $(cat /lab/modules-port); do
	insmod /lab/modules/$module
done
exec /lab/agent /dev/vport0p1
"""


def _parts():
    directory = debian.modules("cloud")
    common = modules.in_order(directory, ["kvm"])
    return {
        "common": common,
        "amd": [m for m in modules.in_order(directory, ["kvm_amd"]) if m not in common],
        "intel": [m for m in modules.in_order(directory, ["kvm_intel"]) if m not in common],
        "port": modules.in_order(directory, ["virtio_pci", "virtio_console"]),
    }


def agent():
    """Path of the built agent."""
    return cache.static_program("agent.c", "agent_command.c", "agent_file.c", "agent.h")


def base():
    """Path of the initramfs every machine starts from."""
    key = "1".join([debian.release("cloud"), agent().name, debian.busybox().parts[-3], _INIT,
                   *APPLETS])
    path = cache.directory("images") / f"base-{hashlib.sha256(key.encode()).hexdigest()[:16]}.cpio"
    if path.exists():
        return path
    archive = initramfs.Archive()
    archive.node("dev/console", 5, 1)
    archive.node("dev/null", 1, 3, 0o666)
    for name in ("proc", "sys", "tmp", "root", "run", "mnt"):
        archive.directory(name)
    archive.busybox(debian.busybox(), APPLETS)
    archive.data("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    archive.data("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    archive.file("lab/agent", agent(), 0o755)
    for group, members in _parts().items():
        archive.data(f"lab/modules-{group}", "".join(f"{name}\n" for name, _ in members).encode())
        for name, image in members:
            archive.data(f"lab/modules/{name}", image)
    archive.data("init", _INIT.encode(), 0o755)
    return cache.write_whole(path, archive.bytes())
