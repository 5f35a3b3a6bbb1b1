#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What lodge api takes: processor time from its start until it answers, and the time from
InstanceStart until the guest writes to the boot timer, beside what Firecracker promises.

Guests: the least one (tests/guest/tiny) and Debian's cloud kernel, whose /init writes there first.
Under the software engine on this machine, and under KVM in the lab with --lab (an emulated
machine: its times say nothing of a real one's).
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import monitors
from monitors import ROOT, lodge_program

sys.path += [str(ROOT / "tests/guest"), str(ROOT / "tests/e2e")]
import build
from lab import cache, initramfs, qemu
from lab.machine import Machine
from test_api import Connection

ARGS = "console=ttyS0 quiet panic=-1 reboot=k cryptomgr.notests tsc=reliable iomem=relaxed"
LINE = re.compile(r"Guest-boot-time = +(\d+) us \d+ ms, +(\d+) CPU us \d+ CPU ms; "
                  r"since the process began (\d+) us, (\d+) CPU us")


def timer_initrd():
    """The initramfs whose /init is init_timer.c and nothing else."""
    program = monitors._guest_program("init_timer.c")
    archive = initramfs.Archive()
    archive.node("dev/console", 5, 1)
    archive.node("dev/mem", 1, 1)
    archive.file("init", program, 0o755)
    return cache.write_whole(cache.directory("images") / f"bench-{program.name}.cpio",
                             archive.bytes())


def cpu_seconds(pid):
    """Processor time of all threads, to the nanosecond."""
    return sum(int((task / "schedstat").read_text().split()[0])
               for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def ready_once(folder):
    """Processor time until the first answer, in milliseconds."""
    socket = folder / "api.sock"
    with subprocess.Popen([str(lodge_program()), "api", "--api-sock", str(socket)],
                          stdin=subprocess.DEVNULL) as process:
        connection = Connection(socket)
        while True:
            try:
                connection.request("GET", "/")
                connection.getresponse().read()
                break
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
        used = cpu_seconds(process.pid)
        connection.close()
        process.terminate()
    return used * 1000


def section(kernel, initrd):
    boot = {"kernel_image_path": str(kernel), "boot_args": ARGS}
    if initrd:
        boot["initrd_path"] = str(initrd)
    return {"boot-source": boot, "machine-config": {"vcpu_count": 1, "mem_size_mib": 128}}


def boot_here(folder, kernel, initrd):
    """(us, CPU us) from InstanceStart to the boot timer, under bt on this machine."""
    config, log = folder / "vm.json", folder / "log"
    config.write_text(json.dumps(section(kernel, initrd)))
    log.unlink(missing_ok=True)
    with subprocess.Popen([str(lodge_program()), "api", "--engine", "bt", "--no-api",
                           "--config-file", str(config), "--boot-timer", "--log-path", str(log)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (log.exists() and LINE.search(log.read_text())):
            pass
        process.terminate()
    return tuple(int(n) for n in LINE.search(log.read_text()).groups()[:2])


def boot_lab(machine, kernel, initrd):
    """The same under KVM in the lab."""
    there = section("/tmp/kernel", "/tmp/initrd" if initrd else None)
    machine.put_bytes("/tmp/kernel", Path(kernel).read_bytes())
    if initrd:
        machine.put_bytes("/tmp/initrd", Path(initrd).read_bytes())
    machine.put_bytes("/tmp/vm.json", json.dumps(there).encode())
    done = machine.run(["sh", "-c", "rm -f /tmp/log; lodge api --engine kvm --no-api "
                        "--config-file /tmp/vm.json --boot-timer --log-path /tmp/log "
                        ">/dev/null 2>&1 </dev/null & until grep -q Guest-boot /tmp/log; "
                        "do usleep 10000; done; kill $!; cat /tmp/log"], timeout=300)
    return tuple(int(n) for n in LINE.search(done.out).groups()[:2])


def guests():
    return [("the least guest", build.kernel("tiny", build.HERE / "tiny"), None),
            ("Debian's cloud kernel to /init", monitors.kernel("bzimage"), timer_initrd()),
            ("the same, unpacked (vmlinux)", monitors.kernel("vmlinux"), timer_initrd())]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lab", action="store_true", help="also under KVM in the lab")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="lodge-api-") as name:
        folder = Path(name)
        ready = [ready_once(folder) for _ in range(options.rounds * 3)]
        for what, kernel, initrd in guests():
            rows.append((what, "bt", [boot_here(folder, kernel, initrd)
                                      for _ in range(options.rounds)]))
    if options.lab:
        with Machine(qemu.Options(memory=2048)) as machine:
            machine.put_program(lodge_program(), "/bin/lodge")
            for what, kernel, initrd in guests():
                rows.append((what, "KVM, in the lab", [boot_lab(machine, kernel, initrd)]))
    print("# The API: until it answers, and from InstanceStart to the guest\n\n"
          f"By `bench/api.py`; medians of {options.rounds} rounds (in the lab one), 1 vCPU, "
          f"128 MiB; {os.cpu_count()} CPUs, Linux {platform.release()}; load when it ended "
          f"{os.getloadavg()[0]:.1f}.\n\n| | lodge | Firecracker's promise |\n|---|---:|---:|\n"
          f"| start to API ready, CPU ms (median of {len(ready)}) |"
          f" {statistics.median(ready):.1f} | 8 |")
    for what, engine, times in rows:
        wall, cpu = (statistics.median(t[i] for t in times) / 1000 for i in (0, 1))
        print(f"| InstanceStart to boot timer, {what}, {engine}: ms (CPU ms) | {wall:.0f} "
              f"({cpu:.0f}) | 125 |")


if __name__ == "__main__":
    main()
