# SPDX-License-Identifier: Apache-2.0
"""virtio devices in Debian's cloud kernel, on both buses, under both engines."""

import hashlib
import re
import subprocess
import time
import uuid

import pytest

from lab import guests
from lab.host import Host
from place import Place

BUSES = {"pci": "virtio_pci", "mmio": "virtio_mmio"}


def with_drivers(initrd, bus, drivers, script):
    """An initramfs that loads the drivers and the bus, then runs the script."""
    return initrd(files=guests.with_drivers([*drivers, BUSES[bus]], script))


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


def test_devices_that_share_a_line(place, kernel, initrd, image):
    """Nine disks by INTA#: the first and the last have one wire, and none loses its interrupt."""
    disks = [word for _ in range(9) for word in ("--disk", image(8))]
    script = """
dd if=/dev/urandom of=/tmp/data bs=64k count=4 2>/dev/null
for d in vda vdi; do
	for i in 0 1; do
		(k=0; while [ $k -lt 8 ]; do
			dd if=/tmp/data of=/dev/$d bs=4k seek=$((i * 64)) conv=fsync 2>/dev/null
			k=$((k + 1))
		done) &
	done
done
wait
echo all 1
grep virtio /proc/interrupts
"""
    text = run(place, kernel, with_drivers(initrd, "pci", ["virtio_blk"], script), *disks,
               "--cpus", "2", cmdline="quiet pci=nomsi")
    assert numbers(text, "all") == [1]
    assert re.search(r" virtio0, virtio8$", text, re.MULTILINE), text


@pytest.fixture
def image(place):
    """Makes images of that many MiB where the engine is; gives their names."""
    made = []

    def make(size):
        name = f"/tmp/lodge-{uuid.uuid4().hex}.img"
        done = place.machine.run(["dd", "if=/dev/zero", f"of={name}", "bs=1M", "count=0",
                                  f"seek={size}"])
        assert done.status == 0, done.err
        made.append(name)
        return name

    yield make
    for name in made:
        place.machine.run(["rm", name])


def md5(place, name, blocks):
    """The MD5 of the first blocks, of 64 KiB, of a file where the engine is."""
    done = place.machine.run(["sh", "-c",
                              f"dd if={name} bs=64k count={blocks} 2>/dev/null | md5sum"])
    assert done.status == 0, done.err
    return done.out.split()[0]


@pytest.mark.parametrize("bus", BUSES)
def test_a_disk_keeps_what_the_guest_writes(place, kernel, initrd, image, bus):
    """8 MiB of random bytes: read back past the guest's cache, and in the image on the host."""
    first, second = image(64), image(32)
    script = """
cd /sys/block
for d in vda vdb; do echo $d $(cat $d/size $d/ro $d/serial); done
cat vda/queue/discard_max_bytes vda/queue/write_cache
dd if=/dev/urandom of=/tmp/data bs=64k count=128 2>/dev/null
md5sum /tmp/data
dd if=/tmp/data of=/dev/vda bs=64k conv=fsync 2>/dev/null; echo written $?
echo 3 >/proc/sys/vm/drop_caches
dd if=/dev/vda bs=64k count=128 2>/dev/null | md5sum
dd if=/dev/vda of=/dev/null bs=4k skip=12345 count=100 2>&1 | tail -n 1
dd if=/tmp/data of=/dev/vdb bs=64k count=1 2>/dev/null; echo refused $?
dmesg -r | grep -E '^<[0-3]>.*(vd[ab]|virtio)'
"""
    text = run(place, kernel, with_drivers(initrd, bus, ["virtio_blk"], script),
               "--disk", f"{first},serial=LODGE-1", "--disk", f"{second},ro", "--virtio", bus)
    assert f"vda {64 * 2048} 0 LODGE-1" in text
    assert re.search(rf"^vdb {32 * 2048} 1$", text, re.MULTILINE), text
    assert "write back" in text
    assert numbers(text, "written") == [0]
    assert numbers(text, "refused") == [1]
    sums = re.findall(r"^([0-9a-f]{32})  ", text, re.MULTILINE)
    assert len(sums) == 2 and sums[0] == sums[1], text
    assert md5(place, first, 128) == sums[0]


@pytest.mark.parametrize("bus", BUSES)
def test_writers_and_readers_at_once(place, kernel, initrd, image, bus):
    """Two vCPUs, four writers, then four readers past the guest's cache, with flushes between."""
    disk = image(64)
    script = """
for i in 0 1 2 3; do dd if=/dev/urandom of=/tmp/$i bs=64k count=64 2>/dev/null; done
for i in 0 1 2 3; do
	dd if=/tmp/$i of=/dev/vda bs=4k seek=$((i * 1024)) conv=fsync 2>/dev/null &
done
wait
echo 3 >/proc/sys/vm/drop_caches
for i in 0 1 2 3; do
	dd if=/dev/vda of=/tmp/back$i bs=4k skip=$((i * 1024)) count=1024 2>/dev/null &
done
wait
md5sum /tmp/[0-3] /tmp/back[0-3]
"""
    text = run(place, kernel, with_drivers(initrd, bus, ["virtio_blk"], script), "--disk", disk,
               "--virtio", bus, "--cpus", "2")
    sums = re.findall(r"^([0-9a-f]{32})  ", text, re.MULTILINE)
    assert len(sums) == 8 and sums[:4] == sums[4:], text
    assert len(set(sums)) == 4


@pytest.mark.parametrize("bus", BUSES)
def test_a_reboot_in_the_middle_of_requests(place, kernel, initrd, image, bus):
    """The machine's reset finds reads under way; the next boot has its disk again."""
    disk = image(256)
    script = """
if dd if=/dev/vda bs=512 count=1 2>/dev/null | grep -q AGAIN; then
	echo booted 2
	dd if=/dev/vda of=/dev/null bs=1M count=64 2>/dev/null; echo read $?
else
	echo AGAIN | dd of=/dev/vda conv=fsync 2>/dev/null
	for i in 1 2 3 4; do dd if=/dev/vda of=/dev/null bs=1M skip=$((i * 50)) 2>/dev/null & done
	reboot -f
fi
"""
    text = run(place, kernel, with_drivers(initrd, bus, ["virtio_blk"], script), "--disk", disk,
               "--virtio", bus)
    assert numbers(text, "booted") == [2]
    assert numbers(text, "read") == [0]


def test_what_was_acknowledged_outlives_a_killed_monitor(place, kernel, initrd, image):
    """Records written and flushed one by one; lodge is killed in the middle."""
    disk = image(1)
    script = """
i=0
while [ $i -lt 1000 ]; do
	printf 'record %5d.' $i | dd of=/dev/vda bs=512 seek=$i conv=sync,fsync 2>/dev/null
	echo "done $i."
	i=$((i + 1))
done
"""
    session = place.spawn(kernel("cloud"), with_drivers(initrd, "pci", ["virtio_blk"], script),
                          "--disk", disk, cmdline="quiet lodge.show=script")
    session.expect(r"done 40\.", timeout=200)
    session.signal(9)
    done = session.wait(timeout=60)
    acknowledged = [int(n) for n in re.findall(r"done (\d+)\.", done.out)]
    assert acknowledged[:41] == list(range(41))
    held = place.machine.run(["cat", disk]).stdout
    for record in acknowledged:
        assert held[record * 512:].startswith(b"record %5d." % record)


def test_an_image_in_use_is_refused(place, kernel, initrd, image):
    disk = image(1)
    session = place.spawn(kernel("cloud"), initrd(), "--disk", disk, cmdline="quiet lodge.do=wait")
    session.expect("LODGE-GUEST: wait", timeout=200)
    done = place.run(kernel("cloud"), initrd(), "--disk", disk)
    session.signal(15)
    assert session.wait(timeout=60).status == 130
    assert done.status == 1
    assert "in use" in done.err and disk in done.err


def test_a_missing_image_is_refused(place, kernel, initrd):
    done = place.run(kernel("cloud"), initrd(), "--disk", "/nonexistent/disk.img")
    assert done.status == 1
    assert done.err.startswith("lodge: cannot open the disk /nonexistent/disk.img: ")


@pytest.mark.parametrize("bus", BUSES)
def test_each_processor_has_a_queue(place, kernel, initrd, image, bus):
    """Two writers, each bound to its processor; on PCI each queue has an interrupt of its own."""
    disk = image(32)
    script = """
echo $(ls /sys/block/vda/mq)
for i in 0 1; do
	taskset -c $i dd if=/dev/urandom of=/tmp/$i bs=64k count=32 2>/dev/null
	taskset -c $i dd if=/tmp/$i of=/dev/vda bs=64k seek=$((i * 64)) conv=fsync 2>/dev/null &
done
wait
echo 3 >/proc/sys/vm/drop_caches
for i in 0 1; do
	dd if=/dev/vda of=/tmp/back$i bs=64k skip=$((i * 64)) count=32 2>/dev/null
done
md5sum /tmp/[01] /tmp/back[01]
grep virtio0 /proc/interrupts
"""
    text = run(place, kernel, with_drivers(initrd, bus, ["virtio_blk"], script), "--disk", disk,
               "--virtio", bus, "--cpus", "2")
    assert text.splitlines()[0] == "0 1"
    sums = re.findall(r"^([0-9a-f]{32})  ", text, re.MULTILINE)
    assert len(sums) == 4 and sums[:2] == sums[2:], text
    if bus == "pci":
        counts = [sum(int(n) for n in found.split()) for found in re.findall(
            r"^ *\d+:((?: +\d+)+) .*virtio0-req\.\d", text, re.MULTILINE)]
        assert len(counts) == 2 and all(counts), text


def test_limits_direct_and_large_blocks(place, kernel, initrd, image):
    """4 MiB past a limit of 2 MiB/s take a second and more (the bucket is full at first); direct
    reads and writes of large blocks; a cache that writes through."""
    slow, direct = image(16), image(16)
    # The lab's files are in its memory, which there is no way past.
    past = ",direct" if place.engine == "bt" else ""
    script = """
cat /sys/block/vdb/queue/logical_block_size
dd if=/dev/urandom of=/tmp/data bs=64k count=64 2>/dev/null
sum=$(md5sum </tmp/data)
begin=$(awk '{print int($1 * 1000)}' /proc/uptime)
dd if=/tmp/data of=/dev/vda bs=64k conv=fsync 2>/dev/null; echo written $?
end=$(awk '{print int($1 * 1000)}' /proc/uptime)
echo took $((end - begin))
echo "write through" >/sys/block/vdb/queue/write_cache
cat /sys/block/vdb/cache_type
echo "write through" >/sys/block/vdb/cache_type
cat /sys/block/vdb/cache_type
dd if=/tmp/data of=/dev/vdb bs=64k 2>/dev/null; echo written $?
sync
echo 3 >/proc/sys/vm/drop_caches
dd if=/dev/vdb bs=64k count=64 2>/dev/null | md5sum
echo $sum
"""
    text = run(place, kernel, with_drivers(initrd, "pci", ["virtio_blk"], script),
               "--disk", f"{slow},bandwidth=2M", "--disk", f"{direct},blocksize=4096{past}")
    assert text.splitlines()[0] == "4096"
    assert numbers(text, "written") == [0, 0]
    assert numbers(text, "took")[0] >= 900, text
    assert "write back\nwrite through\n" in text
    sums = re.findall(r"^([0-9a-f]{32}) +-", text, re.MULTILINE)
    assert len(sums) == 2 and sums[0] == sums[1], text


def test_a_full_host_disk_is_an_error_for_the_guest(place, kernel, initrd):
    """A sparse image of 64 MiB on a file system of 4 MiB: writes fail, the guest lives, lodge says
    it once."""
    where = f"/tmp/lodge-{uuid.uuid4().hex}"
    done = place.machine.run(["sh", "-c", f"mkdir {where} && mount -t tmpfs -o size=4m x {where} "
                              f"&& dd if=/dev/zero of={where}/disk bs=1M count=0 seek=64"])
    if done.status:
        pytest.skip("needs a mount")
    script = """
dd if=/dev/urandom of=/tmp/data bs=64k count=16 2>/dev/null
for i in 0 1 2 3 4 5 6 7; do
	dd if=/tmp/data of=/dev/vda bs=64k seek=$((i * 16)) conv=fsync 2>/dev/null; echo status $?
done
dd if=/dev/vda bs=64k count=16 2>/dev/null | cmp - /tmp/data && echo first 0
"""
    try:
        done = place.run(kernel("cloud"), with_drivers(initrd, "pci", ["virtio_blk"], script),
                         "--disk", f"{where}/disk", cmdline="quiet lodge.show=script", timeout=600)
    finally:
        place.machine.run(["umount", where])
        place.machine.run(["rmdir", where])
    assert done.status == 0, done.err
    text = guests.sections(done.stdout)["script"]
    assert numbers(text, "status")[0] == 0
    assert numbers(text, "status")[-1] == 1
    assert numbers(text, "first") == [0]
    assert done.err.count("I/O errors") == 1 and "No space left" in done.err, done.err


def test_a_direct_disk_with_the_wrong_blocks_is_refused(place, kernel, initrd, image):
    disk = image(1)
    place.machine.run(["sh", "-c", f"dd if=/dev/zero of={disk} bs=512 count=2049 2>/dev/null"])
    done = place.run(kernel("cloud"), initrd(), "--disk", f"{disk},blocksize=4096")
    assert done.status == 1
    assert "no whole blocks of 4096" in done.err and disk in done.err


def qemu_img(*words):
    """What qemu-img says; it has to succeed."""
    done = subprocess.run(["qemu-img", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("bus", BUSES)
def test_a_qcow2_disk_on_a_backing_file(place, kernel, initrd, tmp_path, bus):
    """The guest reads what the backing file has and writes beside it; qemu-img finds both."""
    base, disk, raw = tmp_path / "base.raw", tmp_path / "disk.qcow2", tmp_path / "all.raw"
    base.write_bytes(bytes(range(256)) * 4096)
    qemu_img("create", "-q", "-f", "qcow2", "-b", base.name, "-F", "raw", str(disk), "64M")
    where = str(tmp_path)
    for file in (base, disk) if hasattr(place.machine, "put") else ():
        place.machine.put(file, f"{where}/{file.name}")
    script = """
echo size $(cat /sys/block/vda/size)
dd if=/dev/vda bs=64k count=16 2>/dev/null | md5sum
dd if=/dev/urandom of=/tmp/data bs=64k count=32 2>/dev/null
md5sum /tmp/data
dd if=/tmp/data of=/dev/vda bs=4k seek=129 conv=fsync 2>/dev/null; echo written $?
echo 3 >/proc/sys/vm/drop_caches
dd if=/dev/vda bs=4k skip=129 count=512 2>/dev/null | md5sum
dmesg -r | grep -E '^<[0-3]>.*(vda|virtio)'
"""
    text = run(place, kernel, with_drivers(initrd, bus, ["virtio_blk"], script),
               "--disk", f"{where}/{disk.name}", "--virtio", bus)
    assert numbers(text, "size") == [64 * 2048]
    assert numbers(text, "written") == [0]
    sums = re.findall(r"^([0-9a-f]{32})  ", text, re.MULTILINE)
    assert len(sums) == 3 and sums[1] == sums[2], text
    assert sums[0] == hashlib.md5(base.read_bytes()).hexdigest()
    if hasattr(place.machine, "get"):
        disk.write_bytes(place.machine.get(f"{where}/{disk.name}"))
    qemu_img("check", str(disk))
    qemu_img("convert", "-O", "raw", str(disk), str(raw))
    data = raw.read_bytes()
    assert hashlib.md5(data[129 * 4096:641 * 4096]).hexdigest() == sums[1]
    assert data[:129 * 4096] == base.read_bytes()[:129 * 4096]


def test_a_raw_disk_that_looks_like_qcow2_is_told(place, kernel, initrd, image):
    """It is used as raw all the same: a guest may have written that."""
    disk = image(1)
    place.machine.run(["sh", "-c", f"printf 'QFI\\373' | dd of={disk} conv=notrunc 2>/dev/null"])
    done = place.run(kernel("cloud"), initrd(), "--disk", disk, cmdline="quiet")
    assert "begins like a qcow2 image" in done.err and disk in done.err, done.err
    assert done.status == 0


def resident(session):
    """The resident memory of a process of this machine, in MiB."""
    status = open(f"/proc/{session.pid}/status", encoding="ascii").read()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) // 1024


@pytest.mark.parametrize("bus", BUSES)
def test_free_memory_goes_back_to_the_host(kernel, initrd, bus):
    """Under the software engine, whose process can be looked at: the guest fills 200 MiB and frees
    them, and reports that."""
    bt = Place("bt", Host())
    script = """
mkdir /m
mount -t tmpfs -o size=300m none /m
dd if=/dev/urandom of=/m/a bs=1M count=200 2>/dev/null
echo filled
sleep 3
rm /m/a
echo freed
sleep 1000
"""
    image_file = with_drivers(initrd, bus, ["virtio_balloon"], script)
    session = bt.spawn(kernel("cloud"), image_file, "--balloon", "reporting", "--virtio", bus,
                       "--memory", "512M", cmdline="quiet lodge.show=script")
    session.expect("filled", timeout=300)
    full = resident(session)
    session.expect("freed", timeout=300)
    deadline = time.monotonic() + 60
    while resident(session) > full - 150 and time.monotonic() < deadline:
        time.sleep(0.5)
    freed = resident(session)
    session.signal(15)
    session.wait(timeout=60)
    assert full > 200 and freed < full - 150, (full, freed)


@pytest.mark.parametrize("bus", BUSES)
def test_a_balloon_takes_memory(place, kernel, initrd, bus):
    script = """
i=0
left() { sed -n 's/^MemFree: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo; }
while [ $(left) -gt 260000 ] && [ $i -lt 60 ]; do
	sleep 1
	i=$((i + 1))
done
echo free $(left)
"""
    text = run(place, kernel, with_drivers(initrd, bus, ["virtio_balloon"], script), "--balloon",
               "size=256M", "--virtio", bus, "--memory", "512M")
    assert numbers(text, "free")[0] < 260000
