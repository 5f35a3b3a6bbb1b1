# SPDX-License-Identifier: Apache-2.0
"""Tests of the lab itself: what it says of a command must be true."""

import subprocess
import time
from pathlib import Path

import pytest

from lab import cache, debian, exact, guests, initramfs, modules, product, vmlinux
from lab.result import LabError

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def kvmprobe():
    """The probe program on the host."""
    return cache.static_program("kvmprobe.c")


# Packages and images


@pytest.mark.parametrize("flavour, bits", [("cloud", 2), ("amd64", 2), ("686", 1)])
def test_kernel_packages_hold_a_kernel_and_its_vmlinux(flavour, bits):
    image = debian.vmlinuz(flavour).read_bytes()
    assert image[0x202:0x206] == b"HdrS"
    elf = vmlinux.extract(debian.vmlinuz(flavour)).read_bytes()
    assert elf[:4] == b"\x7fELF" and elf[4] == bits
    assert debian.release(flavour).encode() in elf


def test_vmlinux_refuses_what_is_no_kernel():
    with pytest.raises(ValueError):
        vmlinux.payload(b"\0" * 4096)


def test_modules_come_after_what_they_depend_on():
    names = [name for name, _ in modules.in_order(debian.modules("cloud"), ["kvm-amd"])]
    assert names.index("irqbypass.ko") < names.index("kvm.ko") < names.index("kvm_amd.ko")
    with pytest.raises(KeyError):
        modules.in_order(debian.modules("cloud"), ["no_such_module"])


def _small_archive():
    archive = initramfs.Archive()
    archive.node("dev/console", 5, 1)
    archive.data("a/b/file", b"content", 0o640)
    archive.link("a/link", "b/file")
    return archive.bytes()


def test_initramfs_is_a_cpio_archive_and_reproducible():
    first, second = _small_archive(), _small_archive()
    assert first == second
    listing = subprocess.run(["cpio", "-itv", "--quiet"], input=first, stdout=subprocess.PIPE,
                             check=True).stdout.decode()
    lines = {line.split(" -> ")[0].split()[-1]: line for line in listing.splitlines()}
    assert list(lines) == ["dev", "dev/console", "a", "a/b", "a/b/file", "a/link"]
    assert lines["dev/console"].startswith("crw-------") and "5,   1" in lines["dev/console"]
    assert lines["a/b/file"].startswith("-rw-r-----")
    assert lines["a/link"].endswith("-> b/file")


def test_sections_of_a_guests_output():
    text = "x\r\nLODGE-GUEST: begin nproc\r\n8\r\nLODGE-GUEST: end nproc\r\n"
    assert guests.sections(text) == {"nproc": "8\n"}


# Commands


def test_status_and_streams_are_the_commands_own(lab):
    done = lab.run(["sh", "-c", "echo to out; echo to err >&2; exit 3"])
    assert (done.status, done.stdout, done.stderr) == (3, b"to out\n", b"to err\n")
    assert not done.timed_out


def test_a_signal_and_a_missing_program_have_the_shells_status(lab):
    assert lab.run(["sh", "-c", "kill -SEGV $$"]).status == 128 + 11
    assert lab.run(["no-such-program"]).status == 127


def test_input_reaches_the_command(lab):
    data = bytes(range(256)) * 4000
    done = lab.run(["cat"], stdin=data)
    assert done.stdout == data
    assert lab.run(["cat"]).stdout == b""


def test_time_limit_ends_a_command_and_its_children(lab):
    done = lab.run(["sh", "-c", "echo begun; sleep 1000 & sleep 1000"], timeout=5)
    assert (done.status, done.timed_out, done.stdout) == (124, True, b"begun\n")
    assert lab.run(["pidof", "sleep"]).stdout == b""


def test_files_go_both_ways(lab, tmp_path):
    data = bytes(range(251)) * 5000
    (tmp_path / "sent").write_bytes(data)
    done = lab.run(["cp", tmp_path / "sent", "/tmp/returned"])
    assert done.status == 0
    assert lab.get("/tmp/returned") == data
    with pytest.raises(FileNotFoundError):
        lab.get("/tmp/never-made")


def test_a_changed_file_is_sent_again(lab, tmp_path):
    for text in ("one", "another"):
        (tmp_path / "file").write_text(text)
        assert lab.run(["cat", tmp_path / "file"]).out == text


def test_a_program_brings_its_libraries(lab):
    lab.put_program("/usr/bin/getconf", "/bin/getconf")
    assert initramfs.libraries("/usr/bin/getconf")
    assert lab.run(["getconf", "PAGESIZE"]).out == "4096\n"


def test_libraries_that_lodge_may_load_come_along():
    names = {Path(path).name for path in initramfs.libraries(product.lodge())}
    assert {"libc.so.6", "libzstd.so.1", "liblzma.so.5", "liblz4.so.1", "libbz2.so.1.0"} <= names


def test_a_command_can_run_without_rights(lab):
    assert "uid=65534" in lab.run(["id"], uid=65534).out


def test_conversation_on_a_terminal(lab):
    session = lab.spawn(["sh", "-c", "stty size; read line; echo got $line; read line; exit 9"],
                        pty=True, size=(31, 77))
    session.expect("31 77")
    session.send("first\n")
    session.expect("got first")
    session.send("second\n")
    assert session.wait().status == 9


def test_expect_says_so_when_the_command_ends_without_a_match(lab):
    session = lab.spawn(["echo", "something else"])
    began = time.monotonic()
    with pytest.raises(LabError, match="something else"):
        session.expect("never", timeout=300)
    assert time.monotonic() - began < 200


def test_two_commands_at_once(lab):
    waiting = lab.spawn(["cat"])
    assert lab.run(["echo", "meanwhile"]).stdout == b"meanwhile\n"
    waiting.send("late")
    waiting.end_input()
    assert waiting.wait().stdout == b"late"


# The machine


def test_kvm_runs_a_virtual_machine(lab, kvmprobe):
    done = lab.run([kvmprobe, "100"])
    assert (done.status, done.out, done.err) == (0, "kvmprobe: ok\n", "")
    assert lab.run(["cat", "/sys/module/kvm_amd/parameters/npt"]).out == "Y\n"


def test_kvm_is_open_to_users_without_rights(lab, kvmprobe):
    assert lab.run([kvmprobe], uid=65534).status == 0


def test_the_probe_can_fail(lab, kvmprobe):
    done = lab.run(["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev; exec "$1"', "sh",
                    kvmprobe])
    assert done.status == 1 and "/dev/kvm" in done.err


def test_two_cpus(lab_smp, kvmprobe):
    assert lab_smp.run(["nproc"]).out == "2\n"
    assert lab_smp.run([kvmprobe, "10"]).status == 0


# Exact counts


def test_exact_run_gives_streams_status_and_files(tmp_path):
    (tmp_path / "file").write_text("inside\n")
    done = exact.run(["sh", "-c", 'cat "$1"; echo e >&2; echo kept >/tmp/kept; exit 6', "sh",
                      tmp_path / "file"], get=["/tmp/kept", "/tmp/missing"], timeout=200)
    assert (done.status, done.out, done.err) == (6, "inside\n", "e\n")
    assert done.files == {"/tmp/kept": b"kept\n"}


def test_exact_counts_repeat_and_tell_apart(kvmprobe):
    first, second, longer = (exact.run([kvmprobe, reads], timeout=200)
                             for reads in ("1000", "1000", "2000"))
    assert first.out == "kvmprobe: ok\n"
    assert first.counts == second.counts and first.events == second.events
    more = longer.counts - first.counts
    assert more.entries == more.user_exits == more.syscalls == 1000
    assert more.guest == 3 * 1000
    # A read, the loop around it and the system call: a few dozen instructions of the monitor's
    # own, the same each time; the kernel's share has timer ticks in it.
    assert more.user % 1000 == 0 and 10_000 < more.user < 200_000
    assert more.kernel > 500_000


def test_exact_counts_agree_with_the_time_stamp_counter():
    done = exact.run([cache.static_program("spin.c", "mark.h")], timeout=200)
    counted = done.events.between(exact.LOOP_A, exact.LOOP_B)
    assert 2_000_000 <= int(done.out) < 2_100_000
    assert abs(counted.total - int(done.out)) < 20
    assert abs(counted.user - 2_000_000) < 20


def test_exact_time_limit_is_the_labs_failure():
    with pytest.raises(LabError, match="no result within"):
        exact.run(["sleep", "100000000"], timeout=15)


# The script


def _script(*words, **options):
    return subprocess.run([HERE / "run", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=200, **options)


def test_script_passes_streams_files_and_status(tmp_path):
    (tmp_path / "name").write_text("lodge\n")
    done = _script("--file", "name:/in/name", "--get", "/tmp/result", "--", "sh", "-c",
                   "cat /in/name - >/tmp/result; echo fine; echo warned >&2; exit 7",
                   cwd=tmp_path, input=b"typed\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"fine\n", b"warned\n")
    assert (tmp_path / "result").read_text() == "lodge\ntyped\n"


def test_script_counts(kvmprobe):
    done = _script("--exact", "--program", f"{kvmprobe}:/bin/kvmprobe", "--", "kvmprobe", "5",
                   stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (0, b"kvmprobe: ok\n")
    assert b"instructions" in done.stderr and b"entries 9," in done.stderr


def test_script_time_limit():
    done = _script("--timeout", "1", "--", "sleep", "100", stdin=subprocess.DEVNULL)
    assert done.returncode == 124
