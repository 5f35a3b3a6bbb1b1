#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What virtio-net costs under KVM: lodge, kvmtool and QEMU on a tap device, counted in the lab.

The guest sends some MiB over one TCP connection to a server in the emulated machine, receives as
many, and pings that machine (bench/io/stream.c). The machine has one processor, whose instructions
are counted: those of "host" are the monitor's, the server's and the kernel's under them. Without
vhost, which the lab's kernel has for none of them.
"""

import argparse
import json
import sys
from pathlib import Path

import lab_rows
from io_load import BUSES
from monitors import ROOT
from lab import cache, guests

PEER, GUEST, MAC = "10.1.1.1", "10.1.1.2", "02:00:00:00:00:01"
TITLES = {"send": "guest sends", "receive": "guest receives", "ping": "ping"}
COLUMNS = {
    "exits": ("VM exits per MiB", "{:.1f}", min),
    "host": ("Instructions of host per MiB", "{:,.0f}", min),
    "all": ("All instructions per MiB, with the guest's", "{:,.0f}", min),
    "syscalls": ("System calls of monitor and server per MiB", "{:.1f}", min),
    "rate": ("Gbit/s, at 10^9 instructions a second", "{:.2f}", max),
    "ping_exits": ("VM exits per round trip", "{:.2f}", min),
    "ping_host": ("Instructions of host per round trip", "{:,.0f}", min),
    "ping_us": ("Microseconds a round trip, at 10^9 instructions a second", "{:.1f}", min),
}

_SCRIPT = f"""
mkdir -p /dev/net
mknod /dev/net/tun c 10 200 2>/dev/null
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
/lab/stream tap tap0 || exit
ifconfig tap0 {PEER} netmask 255.255.255.0 up || exit
/lab/stream serve &
sleep 0.1; exec "$@"
"""


def program():
    """The static program at both ends."""
    return cache.built("stream", ROOT / "bench" / "io" / "stream.c", [
        "gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-static", "-o", "{out}", "{in}"],
        ROOT / "tests" / "lab" / "mark.h")


def rows(options):
    """All that are compared."""
    found = [lab_rows.lodge(bus, "--net", f"tap=tap0,mac={MAC}{options.net}") for bus in BUSES]
    found += lab_rows.kvmtool("--network",
                              f"mode=tap,tapif=tap0,script=none,guest_mac={MAC}")
    backend = ["-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no,vhost=off", "-device"]
    device = f"netdev=n,mac={MAC}"
    found.append(lab_rows.qemu_row("QEMU pc, pci", "pc", "pci", *backend,
                                   f"virtio-net-pci,{device},romfile="))
    found.append(lab_rows.qemu_row("QEMU microvm, mmio", "microvm", "mmio", *backend,
                                   f"virtio-net-device,{device}"))
    return [row for row in found
            if not options.only or any(word in row.name for word in options.only)]


def initrd(bus, options):
    """The guest's initramfs, which runs the loads."""
    script = "\n".join([
        "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6",
        "busybox ip link set lo up", "busybox ip link set eth0 up",
        f"busybox ip addr add {GUEST}/24 dev eth0",
        f"/stream load {PEER} {options.mib << 10} {options.pings}"])
    return guests.initrd(files=guests.with_drivers(
        ["virtio_net", BUSES[bus]], script, {"stream": program().read_bytes()}))


def measure(row, options):
    """{load: {column: figure}} of one run."""
    found = {}
    for load, amount, ns, c in lab_rows.measure(
            row, initrd(row.bus, options), ["tun"], _SCRIPT, [(program(), "/lab/stream")],
            options.timeout):
        host = c.user + c.kernel
        if load == "ping":
            found[load] = {"ping_exits": c.entries / amount, "ping_host": host / amount,
                           "ping_us": ns / amount / 1e3}
            continue
        mib = amount / 1024
        found[load] = {"exits": c.entries / mib, "host": host / mib, "user": c.user / mib,
                       "kernel": c.kernel / mib, "all": c.total / mib,
                       "syscalls": c.syscalls / mib, "rate": mib * 2**20 * 8 / ns}
    return found


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=10, help="each way")
    parser.add_argument("--pings", type=int, default=64)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME",
                        help="only those whose name contains NAME")
    parser.add_argument("--net", default="", metavar=",OPTION...", help="options of lodge's --net")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="of a run")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--docs", metavar="DIRECTORY", help="write bench-net-lab.md there")
    options = parser.parse_args()
    results = {}
    for row in rows(options):
        print(row.name, file=sys.stderr)
        results[row.name] = measure(row, options)
    text = lab_rows.compared(results, TITLES, COLUMNS)
    print(text)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.docs:
        (Path(options.docs) / "bench-net-lab.md").write_text(
            f"# virtio-net under KVM\n\nBy `bench/net_lab.py`. {lab_rows.NOTE} A tap device, one "
            f"TCP connection, {options.mib} MiB each way, without vhost; host is the monitor, the "
            f"server at the other end and the kernel under them. {lab_rows.versions()}.\n\n{text}",
            encoding="utf-8")


if __name__ == "__main__":
    main()
