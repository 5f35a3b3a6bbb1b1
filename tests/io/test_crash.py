# SPDX-License-Identifier: Apache-2.0
"""A killed monitor loses nothing that was acknowledged.

Writers in the guest make files of an ext4 file system, each flushed (fsync) before its writer says
so. lodge is killed in the middle of that, several times over the same file system. Then every file
that was spoken of is there, whole, and the file system is sound once its journal was replayed.
"""

import re
import subprocess
import sys

import pytest

from conftest import BUSES, DISKS, as_qcow2, command, sound_raw
from lab import guests
from lab.host import Host

pytestmark = pytest.mark.io

WRITERS = 3
KILLS = [20, 45, 75, 110]  # after so many acknowledgements

SCRIPT = """
mkdir -p /data
mount -t ext4 /dev/vda /data || echo "no mount"
writer() {
	i=0
	while :; do
		name=$ROUND-$1-$i
		for line in 1 2 3 4 5 6 7 8; do printf '%4095s\\n' "$name"; done |
			dd of=/data/$name bs=4k conv=fsync 2>/dev/null && echo "done $name."
		i=$((i + 1))
	done
}
for w in WRITERS; do writer $w & done
wait
"""


def held(disk, names):
    """{name: bytes} of files in the root of the file system, all read in one go."""
    at = disk.with_name("held")
    at.mkdir(exist_ok=True)
    requests = "".join(f'dump /{name} "{at}/{name}"\n' for name in names)
    subprocess.run(["debugfs", "-f", "-", str(disk)], input=requests.encode(), check=True,
                   capture_output=True)
    return {path.name: path.read_bytes() for path in at.iterdir()}


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("options", DISKS)
def test_nothing_acknowledged_is_lost(ext4, bus, options):
    disk = plain = ext4(128)
    if options == "qcow2":
        as_qcow2(disk)
    acknowledged = []
    for kill, count in enumerate(KILLS):
        script = SCRIPT.replace("$ROUND", str(kill)).replace(
            "WRITERS", " ".join(str(w) for w in range(WRITERS)))
        image = guests.initrd(files=guests.with_drivers(["virtio_blk", BUSES[bus]], script))
        session = Host().spawn(command(f"{disk}{DISKS[options]}", image, "--virtio", bus,
                                       cmdline="quiet lodge.show=script"), timeout=600)
        for _ in range(count):
            session.expect(r"done [\d-]+\.", timeout=120)
        session.signal(9)
        done = session.wait(timeout=60)
        assert "no mount" not in done.out
        new = re.findall(r"^done ([\d-]+)\.\r?$", done.out, re.MULTILINE)
        assert len(new) >= count
        acknowledged += new
        if options == "qcow2":
            plain = sound_raw(disk)
        # What the kill has left is for the journal; what then is wrong is wrong.
        replay = subprocess.run(["e2fsck", "-p", str(plain)], capture_output=True, text=True)
        assert replay.returncode in (0, 1), replay.stdout
        check = subprocess.run(["e2fsck", "-fn", str(plain)], capture_output=True, text=True)
        assert check.returncode == 0, check.stdout
    files = held(plain, acknowledged)
    for name in acknowledged:
        assert files.get(name) == f"{name:>4095}\n".encode() * 8, name
    print(f"\n{bus}, {options}: {len(acknowledged)} files acknowledged before {len(KILLS)} kills, "
          "all there", file=sys.stderr)
