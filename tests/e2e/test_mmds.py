# SPDX-License-Identifier: Apache-2.0
"""The metadata service, as a guest's own programs meet it: on this machine, the lab has no network.
By passt frames have no headers, by a tap device they have, and leave checksums and segmentation
undone."""

import json
import re

import pytest

from test_api import Server
from test_net import bt, image, namespace, needs_root, run, shown, tap  # noqa: F401

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
    import hashlib
    assert "ami-1<0>" in text, text
    assert "ami-id\nn\nnetwork/<0>" in text, text
    assert '{"ami-id":"ami-1","n":12,"network":{"mac":"none"}}<0>' in text, text
    assert text.count("<1>") == 2, text
    assert text.count(hashlib.sha256(LARGE.encode()).hexdigest()) == 2, text
    assert not re.search(r"^<[0-4]>.", text, re.MULTILINE), text


def test_version_1_by_user_networking(bt, kernel, initrd, metadata):
    text = run(bt, kernel, image(initrd, "pci", V1), "--net", "user", "--metadata", str(metadata))
    sees(text)
