#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Why a guest exits while it boots, and which exits reach the monitor.

KVM's tracepoints are counted by the kernel's own histograms (ftrace) during a boot as in
boot_cost.py, to the guest's power-off, but in real time: so the numbers differ a little from run to
run and from the exact ones.  Printed are the exits by hardware reason, KVM_RUN's returns by reason,
and port accesses by port.
"""

import argparse
import re

from monitors import boot_initrd, chosen, failure, kernel
from lab import qemu
from lab.machine import Machine

_EVENTS = {
    "exits": ("kvm_exit", "exit_reason"),
    "to user space": ("kvm_userspace_exit", "reason"),
    "port accesses": ("kvm_pio", "port.hex,rw"),
}

# AMD64 Architecture Programmer's Manual, volume 2, appendix C.
_HARDWARE = {
    0x60: "interrupt", 0x61: "NMI", 0x64: "virtual interrupt window", 0x65: "CR0 selective write",
    0x72: "CPUID", 0x73: "RSM", 0x76: "INVD", 0x77: "PAUSE", 0x78: "HLT", 0x79: "INVLPG",
    0x7b: "port", 0x7c: "MSR", 0x7f: "shutdown", 0x81: "VMMCALL", 0x87: "RDTSCP", 0x89: "WBINVD",
    0x8b: "MWAIT", 0x8d: "XSETBV", 0x400: "nested page fault",
}

# Linux, include/uapi/linux/kvm.h, KVM_EXIT_*.
_USER = {0: "unknown", 1: "exception", 2: "IO", 3: "hypercall", 5: "HLT", 6: "MMIO",
         7: "IRQ window", 8: "shutdown", 9: "failed entry", 10: "interrupted", 17: "internal error",
         24: "system event", 26: "IOAPIC EOI", 29: "RDMSR", 30: "WRMSR"}

_SCRIPT = """
trace=/sys/kernel/debug/tracing/events/kvm
for spec in {specs}; do
	echo "hist:keys=${{spec#*=}}:size=4096" >$trace/${{spec%%=*}}/trigger
done
"$@"
for spec in {specs}; do
	cat $trace/${{spec%%=*}}/hist >/tmp/${{spec%%=*}}
done
"""


def histogram(text):
    """[(key, hits)] of a histogram as the kernel prints it, most frequent first."""
    rows = re.findall(r"^\{(.*?)\} hitcount: +(\d+)", text, re.MULTILINE)
    return sorted(((re.sub(r"\s+", " ", key).strip(), int(hits)) for key, hits in rows),
                  key=lambda row: -row[1])


def meaning(event, key):
    """A histogram's key in words, where it is a number with a name."""
    number = int(key.split(":")[1].split(",")[0], 0) if event != "kvm_pio" else None
    names = {"kvm_exit": _HARDWARE, "kvm_userspace_exit": _USER}.get(event, {})
    return f"{key} ({names[number]})" if number in names else key


def measure(monitor, timeout):
    """{title: [(key, hits)]} of one monitor's boot."""
    specs = " ".join(f"{name}={keys}" for name, keys in _EVENTS.values())
    command = monitor.command(kernel(monitor.kernel), boot_initrd())
    with Machine(qemu.Options(memory=1024)) as machine:
        for source, there in monitor.programs():
            machine.put_program(source, there)
        for source, there in monitor.files():
            machine.put(source, there)
        done = machine.run(["sh", "-c", _SCRIPT.format(specs=specs), "sh", *command],
                           timeout=timeout)
        if "LODGE-GUEST: init" not in done.out:
            failure(monitor, done, "the guest's /init")
        return {title: histogram(machine.get(f"/tmp/{name}").decode())
                for title, (name, _) in _EVENTS.items()}


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--monitor", action="append", default=[], metavar="NAME",
                        help="only monitors whose name contains NAME")
    parser.add_argument("--top", type=int, default=12, metavar="N", help="rows of each table")
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS")
    options = parser.parse_args()
    for monitor in chosen(options.monitor):
        figures = measure(monitor, options.timeout)
        for title, (event, _) in _EVENTS.items():
            rows = figures[title]
            print(f"\n{monitor.name}: {title}: {sum(hits for _, hits in rows):,}")
            for key, hits in rows[:options.top]:
                print(f"{hits:>10,}  {meaning(event, key)}")


if __name__ == "__main__":
    main()
