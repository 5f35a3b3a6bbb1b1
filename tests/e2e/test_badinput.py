# SPDX-License-Identifier: Apache-2.0
"""Bad input and bad hosts: one clear line on standard error, the documented status, nothing leaked.

Each case runs twice, with the ordinary program and with one built with address, leak and undefined-
behaviour sanitizers.  Making a VM works on any host with /dev/kvm; where there is none the same
runs in the lab.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import badfiles
import bare
from lab import cache, product

# A sanitizer's finding has a status that lodge itself never has.
SANITIZER = 99
ENVIRONMENT = {
    "ASAN_OPTIONS": f"exitcode={SANITIZER}:detect_leaks=1",
    "LSAN_OPTIONS": f"exitcode={SANITIZER}",
    "UBSAN_OPTIONS": f"exitcode={SANITIZER}:halt_on_error=1:print_stacktrace=1",
}

NOBODY = 65534


@dataclass
class Done:
    status: int
    out: str
    err: str


@dataclass
class Place:
    """Where lodge runs: on this host, or in the lab."""

    program: Path
    lab: object = None

    def setpriv(self):
        """What a shell script calls setpriv: the lab's shell has one of its own, with less."""
        if self.lab:
            self.lab.put_program("/usr/bin/setpriv", "/bin/setpriv-under-test")
        return "setpriv-under-test" if self.lab else "setpriv"

    def run(self, *words, stdin=None, uid=0, shell=None, timeout=120):
        """lodge with `words` (a Path is a file of the host); in a `shell` script, as "$@"."""
        words = ["lodge" if self.lab else self.program, *words]
        if shell:
            words = ["sh", "-c", shell, "sh", *words]
        if self.lab:
            words[words.index("lodge")] = "/bin/lodge-under-test"
            done = self.lab.run(words, stdin=stdin, uid=uid, timeout=timeout, env=ENVIRONMENT)
            return Done(done.status, done.out, done.err)
        if uid:
            words = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", *words]
        done = subprocess.run(words, input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              env={**os.environ, **ENVIRONMENT}, check=False)
        return Done(done.returncode, done.stdout.decode(errors="replace"),
                    done.stderr.decode(errors="replace"))


@pytest.fixture(scope="session")
def sanitized():
    """lodge built with sanitizers."""
    product.make("SANITIZE=address,undefined", "BUILD=build-asan", "all")
    return product.ROOT / "build-asan" / "lodge"


@pytest.fixture(params=["plain", "sanitized"])
def place(request):
    """A Place for each build."""
    program = product.lodge()
    if request.param == "sanitized":
        program = request.getfixturevalue("sanitized")
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Place(program)
    lab = request.getfixturevalue("lab")
    lab.put_program(program, "/bin/lodge-under-test")
    return Place(program, lab)


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Directory with the files of badfiles.bad and some that are no files at all."""
    from lab import debian  # pylint: disable=import-outside-toplevel
    directory = tmp_path_factory.mktemp("bad")
    directory.chmod(0o755)
    for name, data in badfiles.bad(debian.vmlinuz("cloud").read_bytes()).items():
        (directory / name).write_bytes(data)
    (directory / "big").write_bytes(b"")
    os.truncate(directory / "big", 40 << 20)
    return directory


def refused(done, status, pattern):
    """Asserts that lodge refused with one line "lodge: what: why..." that matches."""
    assert done.status == status, done
    lines = done.err.splitlines()
    assert len(lines) == 1 and done.err.endswith("\n"), done.err
    assert re.match(r"lodge: [^:]+: .*[^.\s]$", lines[0]), done.err
    assert re.search(pattern, lines[0]), done.err
    assert done.out == ""


KERNEL = ["--kernel", "/nonexistent"]

USAGE = [
    ([], r"no verb: 'lodge help'"),
    (["rn"], r"no verb 'rn': did you mean 'run'\?"),
    (["frobnicate"], r"no verb 'frobnicate': 'lodge help'"),
    (["version", "now"], "version.*'now'"),
    (["run"], r"--kernel FILE"),
    (["run", "--kernel"], r"--kernel wants a value: --kernel FILE"),
    (["run", "--kernel", ""], "kernel is empty"),
    (["run", "vmlinuz"], r"no argument 'vmlinuz'.*--kernel"),
    (["run", "--kernle", "x"], r"no flag --kernle: did you mean --kernel\?"),
    (["run", "--xyzzy"], r"no flag --xyzzy: .*--help"),
    (["run", *KERNEL, *KERNEL], "--kernel is given twice"),
    (["run", *KERNEL, "--stats", "--stats"], "--stats is given twice"),
    (["run", *KERNEL, "--stats=yes"], "--stats takes no value"),
    (["run", *KERNEL, "--engine", "qemu"], "engine 'qemu'.*auto"),
    (["run", *KERNEL, "--cpu-model", "z80"], "'z80'.*x86-64-v2"),
    (["run", *KERNEL, "--boot", "floppy"], "'floppy'.*pvh"),
    (["run", *KERNEL, "--kvmclock", "maybe"], "'maybe'.*on.*off"),
    (["run", *KERNEL, "--debug-exit", ""], "debug-exit"),
    (["run", *KERNEL, "--console", "tty"], "'tty'.*stdio"),
    (["run", *KERNEL, "--console", "file="], "'file='.*PATH"),
    (["run", *KERNEL, "--name", "a b"], "'a b'"),
    (["run", *KERNEL, "--name", "n" * 65], "nnn"),
    *((["run", *KERNEL, "--cpus", n], f"cpus '{re.escape(n)}'.*1 to 64")
      for n in ("0", "65", "-1", "+1", "x", "1x", "0x1", "", "1.0", " 1", "9" * 40)),
    *((["run", *KERNEL, "--memory", n], f"memory '{re.escape(n)}'")
      for n in ("0", "0M", "1", "7M", "1025G", "2T", "-1M", "1.5G", "1Q", "M", "", "512 M",
                "18446744073709551616", "16777216T", "9" * 40)),
    *((["run", *KERNEL, "--timeout", n], f"--timeout '{re.escape(n)}'.*seconds")
      for n in ("0", "-1", "nan", "inf", "1s", "", "1e300")),
]


@pytest.mark.parametrize("words, pattern", USAGE, ids=lambda v: " ".join(v)[-40:]
                         if isinstance(v, list) else "")
def test_wrong_usage_gives_2(place, words, pattern):
    refused(place.run(*words), 2, pattern)


BAD_KERNELS = {
    "zeros": "not a kernel", "text": "not a kernel", "script": "a script", "gzip": "gunzip",
    "one-byte": "not a kernel", "empty": "empty",
    "bzimage-cut-in-header": "not a kernel", "bzimage-cut-in-setup": "truncated",
    "bzimage-cut-in-kernel": "truncated", "bzimage-many-setup-sectors": "truncated",
    "bzimage-old-protocol": r"1\.05", "bzimage-no-bzimage": "zImage",
    "bzimage-payload-outside": "payload outside", "bzimage-payload-too-long": "payload outside",
    "bzimage-payload-rubbish": "(damaged|corrupt)",
    "elf-cut-in-header": "truncated", "elf-cut-in-table": "truncated",
    "elf-cut-in-segment": "truncated", "elf-no-segments": "no segment",
    "elf-segment-outside-ram": "outside.*RAM", "elf-segment-in-the-device-window": "outside.*RAM",
    "elf-segment-wraps": "wraps", "elf-segment-below-1-mib": "below 1 MiB",
    "elf-segments-overlap": "overlap", "elf-larger-in-file": "larger in the file",
    "elf-entry-outside": "in no segment", "elf-for-arm": "aarch64",
    "elf-shared-library": "shared library", "elf-module": "module",
}


@pytest.mark.parametrize("name", BAD_KERNELS)
def test_a_bad_kernel_gives_1(place, files, name):
    memory = "32M" if name.startswith("elf") else "128M"
    boot = "pvh" if name == "bzimage-payload-rubbish" else "auto"  # auto leaves it to the guest
    refused(place.run("run", "--memory", memory, "--boot", boot, "--kernel", files / name), 1,
            BAD_KERNELS[name])


def test_the_guest_decompressing_needs_the_memory_that_the_header_asks_for(place, files):
    refused(place.run("run", "--memory", "128M", "--boot", "bzimage", "--kernel",
                      files / "bzimage-huge-init-size"), 1, "4096 MiB.*more memory")


@pytest.mark.parametrize("flag", ["kernel", "initrd"])
@pytest.mark.parametrize("make, pattern", [
    ("true", "No such file"), ("mkdir $F", "a directory"), ("mkfifo $F", "a FIFO"),
    ("mknod $F c 1 3", "a device"), ("ln -s $F $F", "symbolic links"), ("touch $F", "empty"),
])
def test_what_is_no_file_gives_1(place, flag, make, pattern):
    other = [] if flag == "kernel" else ["--kernel", bare.kernel()]
    shell = f'set -e; D=$(mktemp -d); F=$D/it; {make}; s=0; "$@" --{flag} $F || s=$?; rm -r $D; ' \
            "exit $s"
    refused(place.run("run", *other, shell=shell), 1, f"{flag} .*{pattern}")


@pytest.mark.parametrize("flag", ["kernel", "initrd"])
def test_a_file_that_may_not_be_read_gives_1(place, tmp_path, flag):
    """As another user, to whom /dev/kvm is open."""
    program = tmp_path / "lodge"
    shutil.copy(place.program, program)
    other = "" if flag == "kernel" else "--kernel $D/good"
    shell = ('set -e; D=$(mktemp -d); chmod 755 $D; cp "$1" $D/lodge; chmod 755 $D/lodge; '
             'cp "$2" $D/good; chmod 644 $D/good; cp "$2" $D/it; chmod 600 $D/it; '
             'chown $(id -u nobody):12345 $D; s=0; '
             'unshare -m sh -c \'mount -t tmpfs t /mnt; mknod -m 666 /mnt/kvm c 10 232; '
             'mount --bind /mnt/kvm /dev/kvm; cd /; '
             f'exec {place.setpriv()} --reuid 65534 --regid 65534 '
             f'--clear-groups $0/lodge run {other.replace("$D", "$0")} --{flag} $0/it\' $D || '
             's=$?; rm -r $D; exit $s')
    done = place.run(bare.kernel(), shell=shell)
    refused(done, 1, f"{flag} .*Permission denied: let this user read it")


def test_an_initrd_larger_than_ram_gives_1(place, files):
    refused(place.run("run", "--memory", "32M", "--kernel", bare.kernel(), "--initrd",
                      files / "big"), 1, "initrd.*memory")


@pytest.mark.parametrize("length", [65536, 100000])
def test_a_command_line_too_long_gives_1(place, length):
    refused(place.run("run", "--memory", "32M", "--kernel", bare.kernel(), "--cmdline",
                      "x" * length), 1, "command line.*at most 65535.*shorten")


def test_a_command_line_that_linux_would_cut_gives_1(place, kernel):
    refused(place.run("run", "--kernel", kernel("cloud"), "--cmdline", "x" * 2048), 1,
            "command line has 2048.*at most 2047.*shorten")


# Output that cannot be written


@pytest.mark.parametrize("words", [["help"], ["version"], ["run", "--help"], ["host", "--help"],
                                   ["host"], ["host", "--json"]])
@pytest.mark.parametrize("where, why", [("/dev/full", "No space left"), ("&-", "Bad file")])
def test_words_that_cannot_be_written_give_1(place, words, where, why):
    refused(place.run(*words, shell=f'"$@" >{where}'), 1, why)


FLOOD = bare.command("flood 100000")[1:]


@pytest.mark.parametrize("path, pattern", [
    ("/nonexistent/log", "No such file"), ("/tmp", "directory"), ("/tmp/fifo$$", "reader"),
])
def test_a_console_file_that_cannot_be_opened_gives_1(place, path, pattern):
    shell = (f'F={path}; case $F in *fifo*) mkfifo $F;; esac; s=0; "$@" --console file=$F || '
             's=$?; case $F in *fifo*) rm $F;; esac; exit $s')
    refused(place.run(*FLOOD, shell=shell), 1, f"console.*{pattern}")


@pytest.mark.parametrize("shell", ['"$@" >/dev/full', '"$@" --console file=/dev/full'])
def test_a_full_disk_behind_the_console_gives_1_at_the_end(place, shell):
    refused(place.run(*FLOOD, shell=shell), 1, "console.*No space left.*100000 bytes")


def test_a_closed_output_gives_1(place):
    refused(place.run(*FLOOD, shell='"$@" >&-'), 1, "standard output is closed")


# Hosts that lack something


def hidden_dev(prepare):
    """A shell script for root: "$@" where /dev holds only what `prepare` puts there."""
    return ('exec unshare -m sh -c \'set -e; mount -t tmpfs t /dev; '
            f'{prepare}; exec "$@"\' sh "$@"')


NO_KVM = ["true", "mkdir /dev/kvm", "mknod -m 666 /dev/kvm c 1 3", "mknod -m 666 /dev/kvm c 10 99"]


@pytest.mark.parametrize("prepare", NO_KVM)
def test_a_host_without_kvm_gives_1(place, prepare):
    refused(place.run(*bare.command("off")[1:], shell=hidden_dev(prepare)), 1, "/dev/kvm")


@pytest.mark.parametrize("prepare", NO_KVM)
def test_a_host_without_kvm_runs_the_software_engine(place, prepare):
    words = [word if word != "kvm" else "auto" for word in bare.command("off")[1:]]
    done = place.run(*words, shell=hidden_dev(prepare))
    assert (done.status, done.out, done.err) == (0, "bare\n", "")


def test_no_permission_gives_1(place, tmp_path):
    prepare = ('cp "$1" /dev/lodge; chmod 755 /dev/lodge; cp "$2" /dev/it; chmod 644 /dev/it; '
               "mknod -m 660 /dev/kvm c 10 232")
    shell = ('exec unshare -m sh -c \'set -e; mount -t tmpfs t /dev; ' + prepare +
             f'; exec {place.setpriv()} --reuid 65534 --regid 65534 --clear-groups /dev/lodge run '
             '--engine kvm --kernel /dev/it\' sh "$@"')
    refused(place.run(bare.kernel(), shell=shell), 1, "/dev/kvm.*(ermission|may not)")


# What oldkvm.c makes KVM lack, by number, the first and the last that lodge needs among them.
TOO_OLD = [(3, "KVM_CAP_USER_MEMORY: Linux 2.6.25"), (32, "KVM_CAP_IRQFD: Linux 2.6.32"),
           (121, "KVM_CAP_SPLIT_IRQCHIP: Linux 4.4"), (136, "KVM_CAP_IMMEDIATE_EXIT: Linux 4.11")]


@pytest.mark.parametrize("capability, pattern", [
    *((number, f"KVM is too old.*lacks {name} or newer") for number, name in TOO_OLD),
    ("version", "/dev/kvm.*API version 0, lodge needs 12"),
])
def test_a_kvm_too_old_gives_1(place, capability, pattern):
    old = cache.static_program("../e2e/oldkvm.c")
    if place.lab:
        place.lab.put_program(old, "/bin/oldkvm")
        old = "/bin/oldkvm"
    shell = f'exec {old} {capability} "$@"'
    refused(place.run(*bare.command("off")[1:], shell=shell), 1, pattern)


def test_a_kvm_too_old_is_no_reason_to_end_where_there_is_the_software_engine(place):
    old = cache.static_program("../e2e/oldkvm.c")
    words = [word if word != "kvm" else "auto" for word in bare.command("off")[1:]]
    if place.lab:
        place.lab.put_program(old, "/bin/oldkvm")
        old = "/bin/oldkvm"
    done = place.run(*words, shell=f'exec {old} 136 "$@"')
    assert (done.status, done.out, done.err) == (0, "bare\n", "")


def test_few_file_descriptors_give_1_wherever_they_run_out(place):
    """Each number of descriptors is too few at another place; from some number on it runs."""
    ran = 0
    words = bare.command("off", "--cpus", "4")[1:]
    if place.lab:
        words = [place.lab.put(word) if isinstance(word, Path) else word for word in words]
    for limit in range(4, 40):
        done = place.run(*words, shell=f'ulimit -n {limit}; exec "$@"')
        if ran:
            assert (done.status, done.out) == (0, "bare\n"), (limit, done)
        elif done.status == 0:
            ran = limit
        elif limit > 5:  # with fewer the dynamic linker does not come as far
            refused(done, 1, "Too many open files")
    assert ran > 8


@pytest.mark.parametrize("place", ["plain"], indirect=True)  # the sanitizers need address space
def test_memory_that_the_host_does_not_have_gives_1(place):
    words = [word if word != "32M" else "2G" for word in bare.command("off")[1:]]
    refused(place.run(*words, shell='ulimit -v 1000000; exec "$@"'), 1,
            "guest memory of 2048 MiB: Cannot allocate memory")


def test_valgrind_finds_nothing(files, tmp_path):
    """The part of the list that needs no VM, and a VM that is made and not run, under memcheck."""
    program = product.lodge()
    cases = [words for words, _ in USAGE[:12]] + [
        ["run", "--memory", "32M", "--kernel", files / name] for name in BAD_KERNELS
        if name.startswith("elf-s")]
    for words in cases:
        log = tmp_path / "log"
        done = subprocess.run(["valgrind", "-q", "--leak-check=full", "--track-fds=yes",
                               f"--error-exitcode={SANITIZER}", f"--log-file={log}", program,
                               *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=200, check=False)
        text = log.read_text()
        assert done.returncode in (1, 2), (words, text)
        leaked = [block for block in re.split(r"==\d+== \n", text)
                  if "Open " in block and "<inherited from parent>" not in block]
        assert not leaked, (words, text)
