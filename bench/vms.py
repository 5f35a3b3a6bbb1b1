#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many VMs on this machine, each a lodge api of its own: configured, started with the least guest,
paused, resumed and stopped by this one program through their sockets.

Prints what each phase took and what memory a VM takes beyond its guest's RAM: its own pages, and
its share of those that processes have in common. Fails if anything is left behind.
"""

import argparse
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from monitors import ROOT, lodge_program

sys.path += [str(ROOT / "tests/guest"), str(ROOT / "tests/e2e")]
import build
from test_api import Connection

MIB = 1024


class Vm:
    """One process, and its connection."""

    def __init__(self, folder, number, engine):
        self.folder = folder / f"vm{number}"
        self.folder.mkdir()
        self.connection = Connection(self.folder / "api.sock")
        self.process = subprocess.Popen(
            [str(lodge_program()), "api", "--engine", engine, "--id", f"vm{number}",
             "--api-sock", str(self.folder / "api.sock"), "--boot-timer",
             "--log-path", str(self.folder / "log")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env={**os.environ, "XDG_RUNTIME_DIR": str(folder)})

    def ready(self):
        while True:
            try:
                self.connection.connect()
                return
            except (FileNotFoundError, ConnectionRefusedError):
                if self.process.poll() is not None:
                    raise SystemExit(f"a VM has ended: {self.process.returncode}") from None
                time.sleep(0.005)

    def ask(self, method, path, body):
        self.connection.request(method, path, body)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 204:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode()}")

    def configure(self, memory):
        self.ask("PUT", "/machine-config", f'{{"vcpu_count": 1, "mem_size_mib": {memory}}}')
        self.ask("PUT", "/boot-source", '{"kernel_image_path": "%s"}' %
                 build.kernel("tiny", build.HERE / "tiny"))

    def booted(self):
        """Waits for the boot timer; microseconds since InstanceStart."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            found = re.search(r"Guest-boot-time = +(\d+) us", (self.folder / "log").read_text())
            if found:
                return int(found[1])
            time.sleep(0.01)
        raise SystemExit("a guest does not boot")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)

    def memory(self, ram):
        """KiB beyond the guest's RAM: its own, and with its share of what is in common."""
        own = share = 0
        text = Path(f"/proc/{self.process.pid}/smaps").read_text()
        for mapping in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", text):
            field = {name: int(value) for name, value in
                     re.findall(r"(?m)^(\w+): +(\d+) kB$", mapping)}
            if field and field["Size"] < ram * MIB // 2:
                own += field["Private_Clean"] + field["Private_Dirty"]
                share += field["Pss"]
        return own, share


def left_behind(folder, vms):
    """What should not be there any more."""
    there = [str(path) for path in folder.rglob("*") if path.name not in ("log",)
             and not path.is_dir()]
    there += [f"process {vm.process.pid}" for vm in vms
              if os.path.exists(f"/proc/{vm.process.pid}")]
    return there


def run(options, folder):
    phases = {}

    def phase(name, call):
        begin = time.monotonic()
        found = [call(vm) for vm in vms]
        phases[name] = time.monotonic() - begin
        return found

    vms = []
    begin = time.monotonic()
    try:
        for number in range(options.vms):
            vms.append(Vm(folder, number, options.engine))
        for vm in vms:
            vm.ready()
        phases["processes ready"] = time.monotonic() - begin
        phase("configured", lambda vm: vm.configure(options.memory))
        phase("InstanceStart", lambda vm: vm.ask("PUT", "/actions",
                                                 '{"action_type": "InstanceStart"}'))
        boots = phase("booted", lambda vm: vm.booted())
        phase("paused", lambda vm: vm.ask("PATCH", "/vm", '{"state": "Paused"}'))
        memory = [vm.memory(options.memory) for vm in vms]
        phase("resumed", lambda vm: vm.ask("PATCH", "/vm", '{"state": "Resumed"}'))
        phase("told to stop", lambda vm: vm.stop())
        phase("ended", lambda vm: vm.process.wait(timeout=60))
    finally:
        for vm in vms:
            vm.process.kill()
            vm.process.wait()
    return phases, boots, memory, left_behind(folder, vms)


def report(options, phases, boots, memory):
    print(f"# {options.vms} VMs of {options.memory} MiB\n\n"
          f"By `bench/vms.py`, engine {options.engine}; {os.cpu_count()} CPUs, Linux "
          f"{platform.release()}; load when it ended {os.getloadavg()[0]:.1f}.\n\n"
          "| phase, all VMs one after the other | s |\n|---|---:|")
    for name, seconds in phases.items():
        print(f"| {name} | {seconds:.2f} |")
    own, share = ([m[i] for m in memory] for i in (0, 1))
    print("\n| beyond the guest's RAM, a VM | median, KiB | most, KiB |\n|---|---:|---:|\n"
          f"| its own pages | {statistics.median(own):.0f} | {max(own)} |\n"
          f"| and its share of what processes have in common | {statistics.median(share):.0f} |"
          f" {max(share)} |\n")
    print(f"InstanceStart to the boot timer, median: {statistics.median(boots) / 1000:.1f} ms.")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vms", type=int, default=200)
    parser.add_argument("--memory", type=int, default=128, metavar="MIB")
    parser.add_argument("--engine", default="bt")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lodge-vms-") as folder:
        phases, boots, memory, left = run(options, Path(folder))
    report(options, phases, boots, memory)
    if left:
        raise SystemExit("left behind: " + ", ".join(left[:10]))


if __name__ == "__main__":
    main()
