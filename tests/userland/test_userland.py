# SPDX-License-Identifier: Apache-2.0
"""Debian's userland under the software engine: the results of its programs are those of the same
programs run natively (make check-userland)."""

import re
import sys
from pathlib import Path

import pytest

from lab import debian, guests, userland
from lab.host import Host

HERE = Path(__file__).resolve().parent
FILES = {name: (HERE / name).read_bytes()
         for name in ("work.sh", "compute.py", "compute.pl", "compute.c")}

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

SECTIONS = {"apt", "packages", "python", "perl", "digests", "ciphers", "signatures", "compile",
            "speed_sha256", "speed_gcm"}

pytestmark = pytest.mark.userland


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the host's own processor makes of the same files."""
    return guests.sections(userland.native(FILES, tmp_path_factory.mktemp("userland")))


def test_the_host_knows_the_answers(expected):
    assert set(expected) == SECTIONS
    assert [name for name, text in expected.items() if not text.endswith("status 0\n")] == []
    assert expected["digests"].split("\n")[0:12:2] == ABC


@pytest.mark.parametrize("cpus", [1, 2])
def test_results_are_those_of_the_host(expected, cpus):
    done = Host().run(["lodge", "run", "--engine", "bt", "--cpus", str(cpus), "--memory", "1G",
                       "--kernel", debian.vmlinuz("cloud"), "--initrd", userland.initrd(FILES),
                       "--cmdline", "console=ttyS0 quiet panic=-1"], timeout=2400)
    print(re.sub(r"(?m)^LODGE-GUEST: (?!\w+ took).*\n", "", "\n".join(
        re.findall(r"LODGE-GUEST: \w+ took .*", done.out))), file=sys.stderr)
    print(f"{cpus} vCPUs: {done.user_us / 1e6:.0f} s of the processor", file=sys.stderr)
    assert done.status == 0, done.err + done.out[-3000:]
    shown = guests.sections(done.stdout)
    assert set(shown) == SECTIONS
    for name in sorted(SECTIONS):
        if not name.startswith("speed"):
            assert shown[name] == expected[name], name
            continue
        numbers = re.findall(r" (\d+\.\d+)k", shown[name])
        assert len(numbers) == 6 and all(float(number) > 0 for number in numbers), shown[name]
        assert shown[name].endswith("status 0\n")
