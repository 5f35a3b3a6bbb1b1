# SPDX-License-Identifier: Apache-2.0
"""Debian's userland under the software engine: the results of its programs are those of the same
programs run natively (make check-userland).  Everything translated; a part of it by the
interpreter alone, and some more held against it block by block."""

import re
import sys
from pathlib import Path

import pytest

from lab import debian, guests, userland
from lab.host import Host

HERE = Path(__file__).resolve().parent
FILES = {name: (HERE / name).read_bytes()
         for name in ("work.sh", "compute.py", "compute.pl", "compute.js", "compute.c",
                      "generate.py")}

# Digests of "abc": RFC 1321 A.5, FIPS 180-4's examples, FIPS 202's examples, RFC 7693 appendix A.
ABC = """
900150983cd24fb0d6963f7d28e17f72
a9993e364706816aba3e25717850c26c9cd0d89d
ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd\
454d4423643ce80e2a9ac94fa54ca49f
3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532
ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc95\
18d38aa8dbf1925ab92386edd4009923
""".split()

TESTS = {"test_math", "test_json", "test_struct", "test_zlib", "test_re", "test_float"}
SPEEDS = {"speed_md5", "speed_sha256", "speed_gcm", "speed_chacha", "speed_rsa"}
SECTIONS = {"apt", "packages", "small_python", "small_compile", "python", "perl", "node", "digests",
            "ciphers", "signatures", "compile", "build", *TESTS, *SPEEDS}

pytestmark = pytest.mark.userland


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the host's own processor makes of the same files."""
    place = tmp_path_factory.mktemp("userland")
    return guests.sections(userland.native(FILES, place, userland.LARGE))


def test_the_host_knows_the_answers(expected):
    assert set(expected) == SECTIONS
    assert [name for name, text in expected.items() if not text.endswith("status 0\n")] == []
    assert expected["digests"].split("\n")[0:12:2] == ABC
    for name in TESTS:
        ran = re.search(r"^Ran (\d+) tests\n\nOK", expected[name], re.M)
        assert ran and int(ran[1]) >= 30, expected[name][-1000:]


def speed_is_sound(text):
    """Figures that hang together: all there, none nothing, large pieces not slower than small ones;
    checking a signature faster than making one."""
    numbers = [float(number) for number in re.findall(r" (\d+\.\d+)(?=k| |$)", text, re.M)]
    assert numbers and min(numbers) > 0, text
    if text.startswith("rsa") or "\nrsa" in text:
        signed, verified = numbers[-2:]
        assert verified > signed, text
    else:
        assert len(numbers) == 6 and numbers[-1] > numbers[0], text
    assert text.endswith("status 0\n"), text


def runs(expected, engine, cpus, names):
    """The sections with these names (all: None) in a guest, and their times."""
    words = f"lodge.work={','.join(sorted(names))}" if names else ""
    done = Host().run(["lodge", "run", "--engine", engine, "--cpus", str(cpus), "--memory", "2G",
                       "--kernel", debian.vmlinuz("cloud"), "--initrd",
                       userland.initrd(FILES, userland.LARGE),
                       "--cmdline", f"console=ttyS0 quiet panic=-1 {words}"], timeout=3600)
    took = re.findall(r"LODGE-GUEST: (\w+ took .*)", done.out)
    print(f"{engine}, {cpus} vCPUs: {', '.join(took)}; {done.user_us / 1e6:.0f} s of the processor",
          file=sys.stderr)
    assert done.status == 0, done.err + done.out[-3000:]
    shown = guests.sections(done.stdout)
    assert set(shown) == (names or SECTIONS)
    for name in sorted(shown):
        if name in SPEEDS:
            speed_is_sound(shown[name])
        else:
            assert shown[name] == expected[name], name


@pytest.mark.parametrize("cpus", [1, 2])
def test_translated_results_are_those_of_the_host(expected, cpus):
    runs(expected, "bt", cpus, None)


def test_interpreted_results_are_those_of_the_host(expected):
    runs(expected, "bt,interp", 1, {"python", "perl", "digests", "test_float"})


def test_translator_and_interpreter_agree(expected):
    runs(expected, "bt,check", 1, {"small_python", "small_compile"})
