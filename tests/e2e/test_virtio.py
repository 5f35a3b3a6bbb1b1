# SPDX-License-Identifier: Apache-2.0
"""virtio devices in Debian's cloud kernel, on both buses, under both engines."""

import re

import pytest

from lab import debian, guests, modules

BUSES = {"pci": "virtio_pci", "mmio": "virtio_mmio"}


def with_drivers(initrd, bus, drivers, script):
    """An initramfs that loads the drivers and the bus, then runs the script."""
    loaded = modules.in_order(debian.modules("cloud"), [*drivers, BUSES[bus]])
    files = {f"modules/{name}": image for name, image in loaded}
    lines = [f"insmod /modules/{name}" for name, _ in loaded]
    return initrd(files={**files, "script": "\n".join([*lines, script, ""]).encode()})


def run(place, kernel, image, *flags, cmdline="quiet"):
    """Boots to the end of the script; what it printed."""
    done = place.run(kernel("cloud"), image, *flags, cmdline=f"{cmdline} lodge.show=script",
                     timeout=600)
    assert done.status == 0, done.err
    assert done.err == ""
    return guests.sections(done.stdout)["script"]


def numbers(text, word):
    """What follows `word` in each line that it begins, as numbers."""
    return [int(found) for found in re.findall(rf"^{word} (\d+)$", text, re.MULTILINE)]


@pytest.mark.parametrize("bus", BUSES)
def test_the_guest_draws_random_bytes(place, kernel, initrd, bus):
    """More than the queue holds at once; two draws differ; their interrupts came."""
    script = """
cat /sys/class/misc/hw_random/rng_current
for i in 1 2; do dd if=/dev/hwrng of=/tmp/$i bs=4096 count=16 2>/dev/null; done
for i in 1 2; do echo size $(wc -c </tmp/$i); md5sum /tmp/$i; done
grep virtio /proc/interrupts
cat /proc/iomem | grep -i virtio
"""
    text = run(place, kernel, with_drivers(initrd, bus, ["virtio_rng"], script), "--rng", "on",
               "--virtio", bus)
    assert text.splitlines()[0].startswith("virtio_rng.0")
    assert numbers(text, "size") == [65536, 65536]
    assert len(set(re.findall(r"^([0-9a-f]{32}) ", text, re.MULTILINE))) == 2
    kind = "MSI" if bus == "pci" else "IO-APIC"
    assert re.search(rf"^ *\d+: +[1-9]\d* +.*{kind}.* virtio0", text, re.MULTILINE), text


def test_interrupts_by_a_line(place, kernel, initrd):
    """PCI without MSI: INTA#, as a level."""
    script = """
dd if=/dev/hwrng of=/tmp/1 bs=4096 count=4 2>/dev/null
echo size $(wc -c </tmp/1)
grep virtio /proc/interrupts
"""
    text = run(place, kernel, with_drivers(initrd, "pci", ["virtio_rng"], script), "--rng", "on",
               cmdline="quiet pci=nomsi")
    assert numbers(text, "size") == [16384]
    assert re.search(r"^ *\d+: +[1-9]\d* +IO-APIC +\d+-fasteoi +virtio0", text, re.MULTILINE), text
