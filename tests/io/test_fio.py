# SPDX-License-Identifier: Apache-2.0
"""fio in the guest writes, discards and flushes at random, and verifies every block it has
written."""

import re
import sys

import pytest

from conftest import BUSES, DISKS, as_qcow2, show, sound_raw
from lab import guests

pytestmark = pytest.mark.io

# Beside each other on two processors: sizes of 512 bytes to 128 KiB with flushes; blocks that are
# discarded first; through the guest's cache; sequential and large.
SCRIPT = r"""
ulimit -n 4096
cat >/jobs <<EOF
[global]
filename=/dev/vda
direct=1
ioengine=libaio
verify=crc32c
verify_fatal=1
do_verify=1
thread=1
group_reporting=0
[mixed]
rw=randwrite
bsrange=BLOCK-128k
blockalign=BLOCK
iodepth=32
fsync=50
size=48m
offset=0
[trimmed]
rw=randtrimwrite
bs=4k
iodepth=16
size=24m
offset=64m
[buffered]
rw=randwrite
direct=0
bs=16k
fdatasync=20
size=24m
offset=96m
verify=md5
[sequential]
rw=write
bs=1m
iodepth=4
size=64m
offset=128m
verify=sha256
EOF
/bin/fio --output-format=terse /jobs >/out 2>&1; echo fio $?
cat /out
wc -l </out
dd if=/dev/urandom of=/tmp/data bs=1M count=4 2>/dev/null
dd if=/tmp/data of=/dev/vda bs=1M seek=200 conv=fsync 2>/dev/null
/bin/blkdiscard -z -o $((201 << 20)) -l $((1 << 20)) /dev/vda; echo zeroes $?
/bin/blkdiscard -o $((203 << 20)) -l $((1 << 20)) /dev/vda; echo discard $?
echo 3 >/proc/sys/vm/drop_caches
dd if=/dev/vda bs=1M skip=200 count=1 2>/dev/null | cmp - /tmp/data 2>/dev/null
dd if=/tmp/data bs=1M count=1 2>/dev/null >/tmp/first
dd if=/dev/vda bs=1M skip=200 count=1 2>/dev/null | cmp - /tmp/first && echo first 0
dd if=/dev/vda bs=1M skip=201 count=1 2>/dev/null | tr -d '\000' | wc -c
dmesg -r | grep -E '^<[0-3]>.*(vd[ab]|virtio)'
"""


# Under kvm a raw disk is a block device; how disks differ otherwise is not the engine's.
PLACES = [*(("bt", options) for options in [*DISKS, "large-blocks"]),
          ("kvm", "cached"), ("kvm", "qcow2")]


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("engine, options", PLACES)
def test_what_fio_writes_it_reads(image, bus, engine, options):
    large = options == "large-blocks"
    script = SCRIPT.replace("BLOCK", "4k" if large else "512")
    path = image(256)
    if options == "qcow2":
        as_qcow2(path)
    text, done = show(engine, path, bus, script, guests.programs("fio", "blkdiscard"),
                      options=",blocksize=4096" if large else DISKS[options])
    assert re.search(r"^fio 0$", text, re.MULTILINE), done.err + text
    assert re.search(r"^zeroes 0\ndiscard 0$", text, re.MULTILINE), text
    assert re.search(r"^first 0\n0$", text, re.MULTILINE), text
    assert "virtio_blk" not in text and "I/O error" not in text
    assert done.err == ""
    if options == "qcow2":
        sound_raw(path)
    print(f"\n{engine}, {bus}, {options}: {(done.user_us + done.system_us) / 1e6:.0f} s of the "
          "processor", file=sys.stderr)
