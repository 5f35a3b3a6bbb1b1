#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""virtio-net under lodge's software engine against the same under QEMU's TCG, on PCI and MMIO.

The guest (Debian's cloud kernel, one CPU) has a tap device in a network namespace that is made for
it, and sends to an iperf3 there, or receives from it; and it pings its peer. QEMU has the tap
device as lodge has it, without vhost: with headers, and so with offloads. Rounds in turns; medians
of Mbit/s, of the CPU time of the monitor (which is the guest's too) per GB, and of the round trip.
Needs root, for the namespace.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import places
from monitors import lodge_program
from lab import debian, guests, initramfs, modules

LOADS = {"guest sends": "", "guest receives": "-R"}
BUSES = {"pci": "virtio_pci", "mmio": "virtio_mmio"}
MEMORY = 512
NAMESPACE = "lodge-bench"
PEER, GUEST = "10.1.1.1", "10.1.1.2"
PINGS = 50


def iperf3():
    """{name in the guest: content} of iperf3 and its libraries."""
    program = Path("/usr/bin/iperf3")
    return {str(path).lstrip("/"): Path(path).read_bytes()
            for path in [program, *initramfs.libraries(program)]}


def initrd(bus, seconds):
    """The guest's initramfs, which runs the loads one after the other."""
    loaded = modules.in_order(debian.modules("cloud"), ["virtio_net", BUSES[bus]])
    lines = [f"insmod /modules/{name}" for name, _ in loaded]
    lines += ["busybox ip link set lo up", "busybox ip link set eth0 up",
              f"busybox ip addr add {GUEST}/24 dev eth0",
              f"busybox ping -c 1 -W 10 {PEER} >/dev/null"]
    for number, flags in enumerate(LOADS.values()):
        lines += [f"echo LOAD: begin {number}",
                  f"/usr/bin/iperf3 -c {PEER} -t {seconds:g} {flags} -f k | grep receiver",
                  f"echo LOAD: end {number}"]
    lines += [f"busybox ping -q -c {PINGS} -i 0.05 {PEER}", "echo LOAD: all"]
    files = {f"modules/{name}": data for name, data in loaded}
    return guests.initrd(files={**files, **iperf3(), "script": "\n".join([*lines, ""]).encode()})


def within(*words):
    """A command in the namespace."""
    return ["ip", "netns", "exec", NAMESPACE, *words]


def commands(options):
    """{name: command} of all that are compared."""
    words = f"{places.CMDLINE} lodge.show=script"
    found = {}
    for bus in BUSES:
        guest = str(initrd(bus, options.seconds))
        found[f"lodge, {bus}"] = within(
            str(lodge_program()), "run", "--engine", options.engine, "--memory", f"{MEMORY}M",
            "--kernel", str(places.kernel()), "--initrd", guest, "--net",
            f"tap=tap0{options.net}", "--virtio", bus, "--cmdline", words)
        if options.only_lodge:
            continue
        device = "virtio-net-pci" if bus == "pci" else "virtio-net-device"
        machine = "pc" if bus == "pci" else "microvm"
        # On a busy host the kernel's test of the timer fails under TCG.
        found[f"QEMU {machine}, {bus}"] = within(*places.guest_qemu(
            MEMORY, "-M", machine, "-kernel", str(places.kernel()), "-initrd", guest, "-append",
            f"{words} no_timer_check tsc_early_khz={places.tsc_khz()}", "-netdev",
            "tap,id=n,ifname=tap0,script=no,downscript=no,vhost=off", "-device",
            f"{device},netdev=n{',romfile=' if bus == 'pci' else ''}"))
    return found


@contextlib.contextmanager
def namespace():
    """The network: a tap device, and an iperf3 behind it."""
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    server = None
    try:
        for words in (["link", "set", "lo", "up"], ["tuntap", "add", "tap0", "mode", "tap"],
                      ["link", "set", "tap0", "up"], ["addr", "add", f"{PEER}/24", "dev", "tap0"]):
            subprocess.run(within("ip", *words), check=True)
        server = subprocess.Popen(within("iperf3", "-s"), stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        yield
    finally:
        if server:
            server.kill()
            server.wait()
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


def measure(command, timeout):
    """{load: (Mbit/s, CPU seconds per GB)}, and {"ping": (ms,)}, of one run."""
    names, figures, begin, data = list(LOADS), {}, None, None
    for line in places.follow(command, "LOAD: all", timeout):
        if line.text.startswith("LOAD: begin"):
            begin = line
        elif found := re.search(r"([\d.]+) ([KMG]?)Bytes +(\d+) Kbits/sec", line.text):
            data = float(found[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[found[2]], found[3]
        elif found := re.match(r"LOAD: end (\d)", line.text):
            if not data:
                raise places.Failed("iperf3 gave no figures")
            figures[names[int(found[1])]] = (int(data[1]) / 1e3,
                                             (line.cpu - begin.cpu) / (data[0] / 1e9))
            data = None
        elif found := re.search(r"min/avg/max = [\d.]+/([\d.]+)/", line.text):
            figures["ping"] = (float(found[1]),)
    return figures


def rounds(of, options):
    """{name: {load: [figures of each round]}}."""
    found = {name: {load: [] for load in [*LOADS, "ping"]} for name in of}
    for number in range(options.rounds):
        for name, command in of.items():
            print(f"round {number + 1}: {name}", file=sys.stderr)
            for load, figures in measure(command, options.timeout).items():
                found[name][load].append(figures)
    return found


def table(results):
    """The figures as a table for documents."""
    median = {name: {load: [statistics.median(column) for column in zip(*rows)]
                     for load, rows in loads.items()} for name, loads in results.items()}
    lines = [f"| | {' | '.join(median)} | lodge / best QEMU |",
             f"|---|{'---:|' * (len(median) + 1)}"]
    rows = [(f"{load}, Mbit/s", load, 0, max, "{:,.0f}") for load in LOADS]
    rows += [(f"{load}, CPU seconds per GB", load, 1, min, "{:.2f}") for load in LOADS]
    rows.append(("ping, average, ms", "ping", 0, min, "{:.2f}"))
    for title, load, which, best, form in rows:
        values = {name: of[load][which] for name, of in median.items()}
        ours = [v for name, v in values.items() if name.startswith("lodge")]
        theirs = [v for name, v in values.items() if name.startswith("QEMU")]
        ratio = f"**{best(ours) / best(theirs):.2f}**" if theirs else ""
        cells = " | ".join(form.format(v) for v in values.values())
        lines.append(f"| {title} | {cells} | {ratio} |")
    return "\n".join(lines)


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=float, default=5, help="of each load")
    parser.add_argument("--engine", default="bt", metavar="ENGINE", help="lodge's --engine")
    parser.add_argument("--net", default="", metavar=",OPTION...", help="options of lodge's --net")
    parser.add_argument("--only-lodge", action="store_true", help="leave QEMU out")
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS")
    parser.add_argument("--json", metavar="FILE", help="write every round's figures there")
    parser.add_argument("--docs", metavar="DIRECTORY", help="write bench-net.md there")
    options = parser.parse_args()
    if os.geteuid():
        print("bench/net.py: left out: it makes a network namespace, as root only", file=sys.stderr)
        return
    try:
        with namespace():
            results = rounds(commands(options), options)
    except places.Failed as error:
        sys.exit(str(error))
    text = table(results)
    print(text)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1), encoding="utf-8")
    if options.docs:
        (Path(options.docs) / "bench-net.md").write_text(
            "# virtio-net under bt and under TCG\n\nBy `bench/net.py`; medians of "
            f"{options.rounds} rounds in turns, {options.seconds:g} s a load, one CPU, a tap "
            f"device in a network namespace. Other work on the machine changes the rates, and "
            f"hardly the CPU seconds. {places.host()}.\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
