# SPDX-License-Identifier: Apache-2.0
"""Directories of the host in the guest, by virtio-fs and virtiofsd, under both engines.

In the guest fsworker.c works on them.
"""

import os
import re
import signal
import struct
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from lab import cache, guests, product
from lab.host import Host
from place import Place

BUSES = {"pci": "virtio_pci", "mmio": "virtio_mmio"}
PROGRAMS = ["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"]
NO_NAMESPACES = re.compile(r"^lodge: share \S+: virtiofsd has no namespaces here, and is confined "
                           r"by chroot alone\n", re.MULTILINE)


class Share:
    """A directory where the engine is, and what lies beside it and must not be reached."""

    def __init__(self, place):
        self.place = place
        self.name = f"/tmp/lodge-share-{uuid.uuid4().hex[:12]}"
        self.path = f"{self.name}/share"
        self.do(f"mkdir -p {self.path}/sub {self.name}/beside; echo outside >{self.name}/secret; "
                f"echo outside >{self.name}/beside/secret")
        if place.engine == "kvm":
            place.machine.put_program(Path(daemon_program()), daemon_program())

    def do(self, script):
        """Runs a shell script where the directory is; what it printed."""
        done = self.place.machine.run(["sh", "-c", script], timeout=120)
        assert done.status == 0, done.err
        return done.out

    def close(self):
        self.do(f"rm -rf {self.name}")


def daemon_program():
    return next(name for name in PROGRAMS if os.path.exists(name))


@pytest.fixture
def share(place):
    made = Share(place)
    yield made
    made.close()


@pytest.fixture(params=["bt", pytest.param("kvm", marks=pytest.mark.slow)])
def anywhere(request):
    """A share, as above; in the lab it takes minutes."""
    machine = request.getfixturevalue("lab") if request.param == "kvm" else Host()
    made = Share(Place(request.param, machine))
    yield made
    made.close()


@pytest.fixture
def bt():
    return Place("bt", Host())


@pytest.fixture
def here(bt):
    """A share on this machine."""
    made = Share(bt)
    yield made
    made.close()


def image(initrd, bus, script):
    files = {"fsworker": Path(cache.static_program("../e2e/fsworker.c")).read_bytes()}
    mount = "mkdir -p /m /n; mount -t virtiofs shared /m; echo mounted $?"
    return initrd(files=guests.with_drivers(["virtiofs", BUSES[bus]], f"{mount}\n{script}", files))


def flags(share, bus, options=""):
    return ["--share", f"{share.path}:shared{options}", "--virtio", bus]


def complaints(share, text):
    """What lodge said, but for what it has to say in the lab: there is no pivot_root there."""
    return NO_NAMESPACES.sub("", text) if share.place.engine == "kvm" else text


def run(share, kernel, initrd, bus, script, *more, options=""):
    """Boots with the directory mounted at /m; what the script printed."""
    done = share.place.run(kernel("cloud"), image(initrd, bus, script), *flags(share, bus, options),
                           *more, cmdline="quiet lodge.show=script", timeout=600)
    assert done.status == 0, done.err + done.out
    assert complaints(share, done.err) == ""
    text = guests.sections(done.stdout)["script"]
    assert "mounted 0" in text
    return text


@pytest.mark.parametrize("bus", BUSES)
def test_torture(anywhere, kernel, initrd, bus):
    """Names, links, attributes, unlinked open files, content, four threads, and many files: fewer
    of them in the lab, where everything is slow."""
    files = {"pci": 2000, "mmio": 300}[bus] if anywhere.place.engine == "bt" else 100
    text = run(anywhere, kernel, initrd, bus, f"/fsworker torture /m {files}", "--cpus", "2")
    assert "done torture 0" in text, text
    assert anywhere.do(f"ls {anywhere.path}").split() == ["sub"]


def test_content_is_the_same_on_both_sides(share, kernel, initrd):
    script = """
dd if=/dev/urandom of=/m/made bs=64k count=80 2>/dev/null; md5sum </m/made
md5sum </m/given
"""
    share.do(f"dd if=/dev/urandom of={share.path}/given bs=64k count=80 2>/dev/null")
    text = run(share, kernel, initrd, "pci", script)
    made, given = re.findall(r"^([0-9a-f]{32}) ", text, re.MULTILINE)
    assert share.do(f"md5sum <{share.path}/made").split()[0] == made
    assert share.do(f"md5sum <{share.path}/given").split()[0] == given


def test_nothing_leads_out(anywhere, kernel, initrd):
    """Links of the host's and of the guest's, and names that change from a directory to a link to
    outside and back, on both sides."""
    anywhere.do(f"""cd {anywhere.path}; ln -s {anywhere.name}/secret host-absolute
ln -s ../secret host-relative; ln -s {anywhere.name}/beside host-dir""")
    times = 3000 if anywhere.place.engine == "bt" else 300
    script = f"/fsworker escape /m\n/fsworker race /m {times}"
    text = run(anywhere, kernel, initrd, "pci", script, "--cpus", "2")
    assert "done escape 0" in text and "done race 0" in text, text
    assert anywhere.do(f"ls {anywhere.name} {anywhere.name}/beside").split() == [
        f"{anywhere.name}:", "beside", "secret", "share", f"{anywhere.name}/beside:", "secret"]


def expected(text):
    return dict(re.findall(r"^(\w+) (\d+)$", text, re.MULTILINE))


def test_read_only(share, kernel, initrd):
    """It is the host that refuses: the guest's own mount is not read-only."""
    share.do(f"cd {share.path}; echo x >file; echo y >other; chmod 604 other")
    before = share.do(f"cd {share.path}; ls -lR; cat file other")
    text = run(share, kernel, initrd, "pci", "grep virtiofs /proc/mounts; /fsworker use /m",
               options=",ro")
    assert " rw," in text
    got = expected(text)
    assert (got["open"], got["read"], got["stat"]) == ("0", "0", "0")
    for what in ("create", "write", "mkdir", "unlink", "chmod", "rename", "sub"):
        assert got[what] == "30", (what, text)  # EROFS
    assert share.do(f"cd {share.path}; ls -lR; cat file other") == before


def test_code_that_the_daemon_reads_into_a_page(share, kernel, initrd):
    """A page that was executed is filled anew by the daemon, past all caches of the guest's: what
    the engine made of its code before is of no use any more."""
    text = run(share, kernel, initrd, "pci", "/fsworker code /m 60")
    assert "done code 0" in text, text


def tiny_program(status):
    """An ELF program of two pages that ends with that status; where in it the status stands."""
    code = b"\xbf" + bytes([status]) + b"\0\0\0\xb8\x3c\0\0\0\x0f\x05"
    base, at = 0x400000, 0x1000
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, base + at, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, 0x2000, 0x2000, 0x1000)
    return (head + load).ljust(at, b"\0") + code.ljust(0x1000, b"\x90"), at + 1


def test_a_program_that_the_host_changes(anywhere, kernel, initrd):
    """The guest executes a program in the directory; the host writes another byte into it; the
    guest executes that, from pages that it had executed before."""
    program, at = tiny_program(10)
    if anywhere.place.engine == "kvm":
        anywhere.place.machine.put_bytes(f"{anywhere.path}/program", program, 0o755)
    else:
        Path(f"{anywhere.path}/program").write_bytes(program)
        os.chmod(f"{anywhere.path}/program", 0o755)
    session = anywhere.place.spawn(kernel("cloud"), image(initrd, "pci",
                                                       "/fsworker again /m ./program 5"),
                                   *flags(anywhere, "pci"), cmdline="quiet lodge.show=script",
                                   timeout=300)
    for i in range(5):
        anywhere.do(f"printf '\\{10 + i:03o}' | dd of={anywhere.path}/program bs=1 seek={at} "
                    f"conv=notrunc 2>/dev/null; : >{anywhere.path}/go.{i}")
        for _ in range(3):
            session.expect(rf"ran {i} {10 + i}\r?\n", timeout=120)
    done = session.wait(120)
    assert done.status == 0 and complaints(anywhere, done.err) == "", done.err
    assert len(re.findall(r"^ran ", done.out, re.MULTILINE)) == 15


def test_two_directories(share, kernel, initrd):
    share.do(f"mkdir {share.name}/other; echo one >{share.path}/f; echo two >{share.name}/other/f")
    script = """
mount -t virtiofs other /n; echo mounted $?
cat /m/f /n/f; echo three >/n/g
mount -t virtiofs nobody /n; echo refused $?
"""
    text = run(share, kernel, initrd, "pci", script, "--share", f"{share.name}/other")
    assert re.search(r"one\ntwo\n", text) and "refused 0" not in text, text
    assert share.do(f"cat {share.name}/other/g") == "three\n"


@pytest.mark.parametrize("bus", BUSES)
def test_mounted_again_and_the_driver_bound_again(anywhere, kernel, initrd, bus):
    """Unmounted, unbound (which resets the device), bound and mounted, three times; then with a
    file open and writers under way."""
    script = """
cd /sys/bus/virtio/drivers/virtiofs; dev=$(basename $(readlink -f virtio*))
[ -e "$dev" ] || dev=virtio0
for i in 1 2 3; do
	echo $i >/m/f$i; umount /m; echo $dev >unbind; echo $dev >bind
	mount -t virtiofs shared /m; echo mounted $?; cat /m/f$i
done
dd if=/dev/zero of=/m/long bs=1M count=64 2>/dev/null & sleep 0.2
echo $dev >unbind; echo unbound; wait
echo $dev >bind; umount -l /m; mount -t virtiofs shared /n; echo mounted $?; cat /n/f3
""".replace("basename", "busybox basename").replace("readlink", "busybox readlink")
    text = run(anywhere, kernel, initrd, bus, script, "--cpus", "2")
    assert re.findall(r"mounted (\d+)", text) == ["0"] * 5, text
    assert re.search(r"mounted 0\n1\nmounted 0\n2\nmounted 0\n3\n", text), text
    assert "unbound" in text and text.rstrip().endswith("3"), text


def test_the_guest_reboots_in_the_middle(anywhere, kernel, initrd):
    script = """
if [ -e /m/second ]; then cat /m/second; exit; fi
echo again >/m/second
dd if=/dev/zero of=/m/long bs=64k count=100000 2>/dev/null & sleep 0.3
echo b >/proc/sysrq-trigger; sleep 100
"""
    done = anywhere.place.run(kernel("cloud"), image(initrd, "pci", script),
                              *flags(anywhere, "pci"), cmdline="quiet lodge.show=script",
                              timeout=300)
    assert done.status == 0 and complaints(anywhere, done.err) == "", done.err
    assert done.out.count("mounted 0") == 2 and "again" in done.out.replace("\r", ""), done.out


def daemons(share):
    """Process ids of the virtiofsds of that directory, parents first."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if words.startswith(b"virtiofsd\0") and share.path.encode() in words:
            pids.append(int(entry.name))
    return sorted(pids)


def gone(share, seconds=10):
    end = time.monotonic() + seconds
    while daemons(share) and time.monotonic() < end:
        time.sleep(0.05)
    return not daemons(share)


def test_the_daemon_is_confined(here, kernel, initrd):
    """It has namespaces of its own, and the directory is its root and all that it has mounted."""
    session = here.place.spawn(kernel("cloud"), image(initrd, "pci", "echo ready; sleep 1000"),
                               *flags(here, "pci"), cmdline="quiet lodge.show=script", timeout=120)
    session.expect("ready", timeout=60)
    worker = daemons(here)[-1]
    root, meant = os.stat(f"/proc/{worker}/root/."), os.stat(here.path)
    assert (root.st_dev, root.st_ino) == (meant.st_dev, meant.st_ino)
    for kind in ("mnt", "net", "pid"):
        assert os.readlink(f"/proc/{worker}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
    mounts = Path(f"/proc/{worker}/mountinfo").read_text().splitlines()
    assert [line.split()[4] for line in mounts] == ["/"], mounts
    session.signal(signal.SIGKILL)  # however lodge ends, it ends too
    assert gone(here)


def test_a_daemon_that_dies(here, kernel, initrd):
    """Told once; programs get errors, none hangs; the rest of the guest goes on; lodge too."""
    here.do(f"echo x >{here.path}/file; echo y >{here.path}/other")
    script = """
cat /m/file; (while cat /m/sub/../file >/dev/null; do :; done; echo reader ended) & echo ready
wait; cd /; /fsworker use /m; dd if=/dev/zero of=/tmp/x bs=64k count=16 2>/dev/null; echo on $?
umount /m; echo umounted $?; mount -t virtiofs shared /m; cat /m/file; echo again $?
"""
    session = here.place.spawn(kernel("cloud"), image(initrd, "pci", script), *flags(here, "pci"),
                               cmdline="quiet lodge.show=script", timeout=120)
    session.expect("ready", timeout=60)
    for pid in daemons(here):
        os.kill(pid, signal.SIGKILL)
    done = session.wait(100)
    assert done.status == 0, done.err
    assert done.err.count("virtiofsd is gone") == 1 and len(done.err.splitlines()) == 1, done.err
    assert "reader ended" in done.out and "on 0" in done.out and "umounted 0" in done.out
    assert "again" in done.out and "again 0" not in done.out
    assert gone(here, 0)


def test_without_privileges(here, kernel, initrd):
    """Another user than root, with groups: the directory is the guest's as far as it is his."""
    there = Path(here.name, "there")
    there.mkdir()
    files = [(product.lodge(), "lodge", 0o755), (kernel("cloud"), "kernel", 0o644),
             (image(initrd, "pci", "echo made >/m/new; echo no >/m/sub/new; cat /m/given; "
                    "rm -f /m/given /m/alien; echo $?"), "initrd", 0o644)]
    for source, name, mode in files:
        (there / name).write_bytes(Path(source).read_bytes())
        (there / name).chmod(mode)
    Path(here.path, "given").write_text("given\n")
    Path(here.path, "sub").chmod(0o755)
    Path(here.path, "alien").symlink_to("/etc/shadow")
    for name in (".", "given"):
        os.chown(Path(here.path, name), 65534, 65534)
    for options, made in ((",ro", False), ("", True)):
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--groups",
                               "65534,100", there / "lodge", "run", "--engine", "bt", "--kernel",
                               there / "kernel", "--initrd", there / "initrd", "--share",
                               f"{here.path}:shared{options}", "--cmdline",
                               "console=ttyS0 quiet cryptomgr.notests lodge.show=script"],
                              capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0 and done.stderr == "", done
        assert "given\n" in done.stdout.replace("\r", "") and "can't create" in done.stdout
        assert Path(here.path, "new").exists() is made
        assert Path(here.path, "given").exists() is not made
    assert os.stat(Path(here.path, "new")).st_uid == 65534
    assert not Path(here.path, "sub", "new").exists()


def refusal(*words, wrapper=(), **options):
    done = subprocess.run([*wrapper, product.lodge(), "run", "--engine", "bt", "--kernel",
                           "/dev/null", *words], capture_output=True, text=True, timeout=60,
                          check=False, **options)
    assert done.returncode == 1, done
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_refusals(here):
    nothing = refusal("--share", f"{here.name}/nothing")
    assert nothing.startswith(f"lodge: cannot share '{here.name}/nothing': No such file")
    assert "it is not a directory: name one" in refusal("--share", f"{here.name}/secret")
    hide = "".join(f"mount -t tmpfs none {Path(name).parent}; " for name in PROGRAMS
                   if os.path.exists(name))
    missing = refusal("--share", here.path,
                      wrapper=["unshare", "-m", "sh", "-c", hide + 'exec "$@"', "sh"])
    assert "virtiofsd is not installed: install the package virtiofsd, or qemu-system-common" \
        in missing


def test_a_name_with_a_comma_and_a_colon(here, kernel, initrd):
    odd = f"{here.path}/a,b:c\\d/e"
    os.makedirs(odd)
    Path(odd, "file").write_text("inside\n")
    done = here.place.run(kernel("cloud"), image(initrd, "pci", "cat /m/file"), "--share",
                          f"{odd}:shared", cmdline="quiet lodge.show=script", timeout=120)
    assert done.err == "" and "inside" in done.out, done.err + done.out
