# SPDX-License-Identifier: Apache-2.0
"""The metadata service, as a guest's own programs meet it: on this machine, the lab has no network.
By passt frames have no headers, by a tap device they have, and leave checksums and segmentation
undone."""

import hashlib
import json
import os
import re

import pytest

from test_api import Server
from test_net import bt, image, namespace, needs_root, run, tap  # noqa: F401

ADDRESS = "169.254.169.254"

UP = f"""
busybox ip link set lo up
busybox ip link set eth0 up
busybox ip addr add 10.1.1.2/24 dev eth0
busybox ip route add {ADDRESS} dev eth0
get() {{ busybox wget -q -O - "$@"; echo "<$?>"; }}
# A request as it stands, lines by CR LF; the answer.
ask() {{ printf "$1" | busybox nc -w 5 {ADDRESS} 80; echo; }}
"""

LARGE = "".join(f"{n:07d}," for n in range(5 << 10))
METADATA = {"latest": {"meta-data": {"ami-id": "ami-1", "n": 12, "network": {"mac": "none"}},
                       "user-data": "#!/bin/sh\necho hello\n"}, "large": LARGE}

V1 = UP + f"""
get http://{ADDRESS}/latest/meta-data/ami-id
get http://{ADDRESS}/latest/meta-data/
get --header 'Accept: application/json' http://{ADDRESS}//latest/meta-data
get http://{ADDRESS}/nothing
get http://{ADDRESS}:81/
for i in 1 2; do (busybox wget -q -O /tmp/$i http://{ADDRESS}/large; echo done >/tmp/end$i) & done
wait
busybox sha256sum /tmp/1 /tmp/2
dmesg -r | grep -E '^<[0-4]>.*(virtio|eth0|checksum|TCP)'
busybox ip neigh
"""


@pytest.fixture
def metadata(tmp_path):
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(METADATA))
    return path


def sees(text):
    assert "ami-1<0>" in text, text
    assert "ami-id\nn\nnetwork/<0>" in text, text
    assert '{"ami-id":"ami-1","n":12,"network":{"mac":"none"}}<0>' in text, text
    assert text.count("<1>") == 2, text
    assert text.count(hashlib.sha256(LARGE.encode()).hexdigest()) == 2, text
    assert not re.search(r"^<[0-4]>.", text, re.MULTILINE), text


def test_version_1_by_user_networking(bt, kernel, initrd, metadata):  # noqa: F811
    text = run(bt, kernel, image(initrd, "pci", V1), "--net", "user", "--metadata", str(metadata))
    sees(text)


@needs_root
@pytest.mark.parametrize("bus", ["pci", "mmio"])
def test_version_1_by_a_tap_device(bt, kernel, initrd, namespace, metadata, bus):  # noqa: F811
    """And what is for others is for others: the host's end of the tap device answers as before."""
    tap(namespace, "tap0", address="10.1.1.1/24")
    script = V1 + "busybox ping -c 1 -W 5 10.1.1.1 >/tmp/ping; echo ping $?\n"
    text = run(bt, kernel, image(initrd, bus, script), "--net", "tap=tap0", "--metadata",
               str(metadata), "--virtio", bus, within=namespace)
    sees(text)
    assert "ping 0" in text, text


# The token is the last line of an answer, which ends without a newline.
V2 = UP + """
ask 'GET /latest/meta-data/ami-id HTTP/1.0\r\n\r\n'
ask 'PUT /latest/api/token HTTP/1.0\r\nX-metadata-token-ttl-seconds: 60\r\n\r\n' >/tmp/token
busybox head -n 1 /tmp/token
token=$(busybox tail -n 1 /tmp/token)
get --header "X-metadata-token: $token" http://169.254.169.254/latest/meta-data/ami-id
get --header "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/ami-id
get --header "X-metadata-token: 0$token" http://169.254.169.254/latest/meta-data/ami-id
"""


def test_version_2(bt, kernel, initrd, metadata):  # noqa: F811
    text = run(bt, kernel, image(initrd, "pci", V2), "--net", "user", "--metadata",
               f"{metadata},version=2")
    assert "HTTP/1.1 401 Unauthorized" in text, text
    assert "HTTP/1.1 200 OK" in text, text
    assert text.count("ami-1<0>") == 2, text
    assert text.count("<1>") == 1, text


@needs_root
def test_by_the_api(tmp_path, kernel, initrd):
    """What is PATCHed while the guest runs is what it reads then."""
    server = Server(tmp_path, "--mmds-size-limit", "100")
    try:
        server.do("PUT", "/network-interfaces/eth0", {
            "iface_id": "eth0", "host_dev_name": f"lodge{os.getpid() % 100000}"})
        server.do("PUT", "/mmds/config", {"network_interfaces": ["eth0"],
                                          "ipv4_address": "169.254.170.2"})
        server.do("PUT", "/mmds", {"word": "first"})
        assert server.ask("PUT", "/mmds", {"word": "x" * 100})[0] == 413
        path = image(initrd, "mmio", UP + """
busybox ip route add 169.254.170.2 dev eth0
while get http://169.254.170.2/word && ! busybox wget -q -O - http://169.254.170.2/end; do
	sleep 0.2
done
""")
        server.boot(kernel("cloud"), path, "lodge.show=script")
        server.wait_for("first<0>")
        server.do("PATCH", "/mmds", {"word": "second"})
        server.wait_for("second<0>")
        assert "was started" in server.refusal("PUT", "/mmds/config",
                                               {"network_interfaces": ["eth0"]})
        assert server.ask("GET", "/mmds") == (200, {"word": "second"})
        server.do("PATCH", "/mmds", {"end": "ended", "word": None})
        assert server.ends() == (0, "")
        assert "ended" in server.printed() or "<1>" in server.printed()
    finally:
        server.close()
