# SPDX-License-Identifier: Apache-2.0
"""lodge api: what metrics tell of a VM's devices, held against what its guest did."""

import json

from lab import debian, guests, modules
from test_api import serve  # noqa: F401 pylint: disable=unused-import

# 64 reads of 4 KiB past the page cache, 16 writes of 8 KiB, and one flush at least.
SCRIPT = """
dd if=/dev/vdb of=/dev/null bs=4k count=64 iflag=direct 2>/dev/null; echo read $?
dd if=/dev/zero of=/dev/vdb bs=8k count=16 oflag=direct conv=fsync 2>/dev/null; echo write $?
dd if=/dev/hwrng of=/dev/null bs=64 count=4 2>/dev/null; echo rng $?
echo flush now
while ! dd if=/dev/vda of=/dev/null bs=512 count=1 iflag=direct 2>/dev/null; do :; done
sleep 1000
"""


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_devices_tell_what_a_guest_did(serve, kernel, initrd, tmp_path):  # noqa: F811
    loaded = modules.in_order(debian.modules("cloud"),
                              ["virtio_blk", "virtio_mmio", "virtio-rng"])
    script = "".join(f"insmod /modules/{name}\n" for name, _ in loaded) + SCRIPT
    image = initrd(files={**{f"modules/{name}": data for name, data in loaded},
                          "script": script.encode()})
    server = serve()
    for drive in ["root", "data_1"]:
        with open(tmp_path / drive, "wb") as f:
            f.truncate(4 << 20)
        server.do("PUT", f"/drives/{drive}", {
            "drive_id": drive, "is_root_device": drive == "root",
            "path_on_host": str(tmp_path / drive)})
    server.do("PUT", "/entropy", {})
    server.do("PUT", "/metrics", {"metrics_path": str(tmp_path / "metrics")})
    server.boot(kernel("cloud"), image, "lodge.show=script")
    server.wait_for("flush now")
    server.do("PUT", "/actions", {"action_type": "FlushMetrics"})
    server.do("PUT", "/actions", {"action_type": "FlushMetrics"})
    text = server.printed()
    assert "read 0" in text and "write 0" in text and "rng 0" in text, text
    first, done, after = lines_of(tmp_path / "metrics")
    assert first["block_data_1"]["read_count"] == first["block"]["read_bytes"] == 0
    data, both = done["block_data_1"], done["block"]
    assert data["read_count"] >= 64 and data["read_bytes"] >= 64 << 12
    assert data["write_count"] == 16 and data["write_bytes"] == 16 << 13
    assert data["flush_count"] >= 1 and data["queue_event_count"] >= 1
    assert data["execute_fails"] == data["event_fails"] == 0
    for name in ["read_agg", "write_agg"]:
        assert data[name]["min_us"] <= data[name]["max_us"] <= data[name]["sum_us"]
    for field, value in both.items():
        if not isinstance(value, dict):
            assert value == data[field] + done["block_root"][field], field
    assert done["entropy"]["entropy_bytes"] >= 256 and done["entropy"]["entropy_event_count"] >= 1
    # What was told is not told again.
    assert after["block_data_1"]["write_count"] == after["block_data_1"]["write_bytes"] == 0
    assert after["block_data_1"]["write_agg"]["sum_us"] == 0
    assert "net" not in after and "vsock" not in after
    devices = server.ask("GET", "/lodge/stats")[1]["devices"]
    assert devices["disk1"]["writes"] == 16 and devices["disk1"]["write_bytes"] == 16 << 13
    assert devices["rng"]["bytes"] == sum(
        line["entropy"]["entropy_bytes"] for line in lines_of(tmp_path / "metrics"))
    server.connection.request("GET", "/lodge/metrics")
    assert 'lodge_device_total{device="disk1",name="writes"} 16\n' in \
        server.connection.getresponse().read().decode()


def test_the_last_line_has_the_devices_too(serve, kernel, initrd, tmp_path):  # noqa: F811
    loaded = modules.in_order(debian.modules("cloud"), ["virtio_mmio", "virtio-rng"])
    script = "".join(f"insmod /modules/{name}\n" for name, _ in loaded) + \
        "dd if=/dev/hwrng of=/dev/null bs=64 count=4 2>/dev/null; echo rng $?\n"
    image = initrd(files={**{f"modules/{name}": data for name, data in loaded},
                          "script": script.encode()})
    server = serve()
    server.do("PUT", "/entropy", {})
    server.do("PUT", "/metrics", {"metrics_path": str(tmp_path / "metrics")})
    server.boot(kernel("cloud"), image, "lodge.show=script")
    assert server.ends() == (0, "")
    assert "rng 0" in guests.sections(server.printed())["script"]
    first, last = lines_of(tmp_path / "metrics")
    assert first["entropy"]["entropy_bytes"] == 0
    assert last["entropy"]["entropy_bytes"] >= 256
