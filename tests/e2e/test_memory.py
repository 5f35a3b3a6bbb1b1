# SPDX-License-Identifier: Apache-2.0
"""The guest's memory as it is told of, given back, added and taken while the guest runs."""

import re
import time

import pytest

from lab import guests
from test_api import serve  # noqa: F401 pylint: disable=unused-import

BUSES = {"pci": ("virtio_pci", ["--enable-pci"]), "mmio": ("virtio_mmio", [])}


def resident(server):
    """The resident memory of the server, in MiB."""
    status = open(f"/proc/{server.process.pid}/status", encoding="ascii").read()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) // 1024


def until(condition, seconds=90):
    """Waits for what it gives to be true; that."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.2)
    return value


# 200 MiB in use, and then free.
FILL = """
mkdir /m
mount -t tmpfs -o size=300m none /m
dd if=/dev/urandom of=/m/a bs=1M count=200 2>/dev/null
echo state filled
sleep 3
rm /m/a
echo state freed
sleep 1000
"""


@pytest.mark.parametrize("bus", BUSES)
def test_statistics_and_hints(serve, kernel, initrd, bus):  # noqa: F811
    """The balloon under bt, driven as Firecracker's clients do."""
    driver, flags = BUSES[bus]
    server = serve(*flags)
    server.do("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 512})
    server.do("PUT", "/balloon", {"amount_mib": 0, "deflate_on_oom": True,
                                  "stats_polling_interval_s": 600, "free_page_hinting": True})
    assert server.ask("GET", "/balloon")[1]["stats_polling_interval_s"] == 600
    image = initrd(files=guests.with_drivers(["virtio_balloon", driver], FILL))
    server.boot(kernel("cloud"), image, "lodge.show=script")
    server.wait_for("state filled")
    full = resident(server)

    def ask():
        server.do("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 600})
        time.sleep(0.2)
        stats = server.ask("GET", "/balloon/statistics")[1]
        return stats

    told = until(lambda: {} if (stats := ask()).get("free_memory", 1 << 40) > 350 << 20 else stats)
    assert told["target_pages"] == told["actual_mib"] == 0
    assert 400 << 20 < told["total_memory"] < 512 << 20
    assert told["disk_caches"] > 200 << 20 and told["minor_faults"] > 0
    server.wait_for("state freed")
    assert until(lambda: ask()["free_memory"] > told["free_memory"] + (150 << 20))
    assert "cannot be 0" in server.refusal("PATCH", "/balloon/statistics",
                                           {"stats_polling_interval_s": 0})
    assert server.ask("GET", "/balloon/hinting/status")[1] == {"host_cmd": 0, "guest_cmd": None}
    server.do("PATCH", "/balloon/hinting/start", None)
    assert until(lambda: server.ask("GET", "/balloon/hinting/status")[1]
                 == {"host_cmd": 1, "guest_cmd": 0})
    assert resident(server) < full - 150
    server.do("PATCH", "/balloon/hinting/start", {"acknowledge_on_stop": False})
    assert until(lambda: server.ask("GET", "/balloon/hinting/status")[1]
                 == {"host_cmd": 3, "guest_cmd": 0})
    # The guest keeps its free pages until it is told to have them again.
    held = ask()["free_memory"]
    server.do("PATCH", "/balloon/hinting/stop", {})
    assert until(lambda: ask()["free_memory"] > held + (100 << 20))
    server.do("PATCH", "/balloon", {"amount_mib": 128})
    assert until(lambda: ask()["actual_mib"] == 128)
