# SPDX-License-Identifier: Apache-2.0
"""lodge host: words, JSON and exit status agree, on hosts with and without KVM.

Hosts that lack something are made here by hiding /dev in a mount namespace, which needs root or
sudo without a password.
"""

import json
import os
import platform
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = Path(os.environ.get("LODGE", ROOT / "build" / "lodge"))
MANUAL = ROOT / "docs" / "lodge-host.1.scd"

NOBODY = "65534"
NULL_DEVICE = "c 1 3"  # opens, but is no KVM


def host(*arguments, **options):
    return subprocess.run([PROGRAM, "host", *arguments], capture_output=True, text=True,
                          timeout=60, check=False, **options)


def host_with_dev(prepare, *arguments, as_nobody=False):
    """lodge host where /dev is an empty directory that the shell script `prepare` fills."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    user = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"] if as_nobody else []
    # A copy of the program goes along, for nobody may be unable to reach the original.
    script = ('set -e; mount -t tmpfs none /dev; install -m 0755 "$1" /dev/lodge; shift; '
              f'{prepare}; exec "$@"')
    return subprocess.run([*sudo, "unshare", "--mount", "sh", "-c", script, "sh", PROGRAM,
                           *user, "/dev/lodge", "host", *arguments],
                          capture_output=True, text=True, timeout=60, check=False)


def rows(text):
    """The report in words: (label, text) of each line."""
    found = [(line[:16].rstrip(), line[16:]) for line in text.splitlines()]
    assert all(label and value for label, value in found), text
    return found


def row(text, label):
    values = [value for name, value in rows(text) if name == label]
    assert len(values) == 1, text
    return values[0]


def engine(report, name):
    return next(e for e in report["engines"] if e["name"] == name)


def check_fallback(done, report):
    """KVM is of no use there: auto takes the software engine, if that has what it needs."""
    usable = engine(report, "bt")["usable"]
    assert done.returncode == (0 if usable else 1), done.stderr
    assert report["verdict"]["engine"] == ("bt" if usable else None)


def leaves(value, path=""):
    """Paths of all fields: those of a list's elements, and of each feature, without its name."""
    if path == "engines.features":
        return {path}.union(*(leaves(v, "engines") for v in value.values()))
    if isinstance(value, dict):
        return set().union({path} if path else set(),
                           *(leaves(v, f"{path}.{k}".lstrip(".")) for k, v in value.items()))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return set().union(*(leaves(v, path) for v in value))
    return {path}


def test_json_is_what_the_manual_lists():
    report = json.loads(host("--json").stdout)
    manual = MANUAL.read_text().split("# JSON")[1].split("# EXIT STATUS")[0]
    documented, section = set(), None
    for line in manual.splitlines():
        top = re.match(r"^\*(\w+)\*$", line)
        if top:
            section = top[1]
            documented.add(section)
        elif section:
            documented |= {f"{section}.{name}"
                           for name in re.findall(r"(?<!\w)_(\w+?)_(?!\w)", line)}
    of_a_feature = {"engines.required", "engines.present"}  # no features where KVM cannot be asked
    assert leaves(report) | of_a_feature == documented


def test_words_and_json_agree():
    words, data = host(), host("--json")
    report = json.loads(data.stdout)
    assert words.stderr == "" and data.stderr == ""
    assert words.returncode == data.returncode
    cpu, kvm, verdict = report["cpu"], report["kvm"], report["verdict"]
    assert row(words.stdout, "processor") == f"{cpu['model'] or 'unnamed'} ({cpu['vendor']})"
    assert (": yes" in row(words.stdout, "virtualization")) == (
        cpu["present"] and not cpu["switched_off"])
    assert row(words.stdout, "kernel") == report["machine"]["kernel"]
    assert row(words.stdout, "kvm module") == (kvm["module"] or "none")
    assert row(words.stdout, "/dev/kvm").startswith("there" if kvm["present"] else "not there")
    assert ("this machine is itself virtual" in row(words.stdout, "hypervisor")) == \
        report["machine"]["virtual"]
    for found in report["engines"]:
        line = row(words.stdout, f"engine {found['name']}")
        assert line.startswith("usable" if found["usable"] else "not usable")
        assert line.startswith("usable, efficient") == found["efficient"]
        assert not found["efficient"] or found["usable"]
    assert verdict["why"].split(":")[0] in row(words.stdout, "verdict")
    if verdict["engine"]:
        assert row(words.stdout, "verdict").startswith(f"--engine auto takes {verdict['engine']}:")
    assert [text for name, text in rows(words.stdout) if name == "to do"] == verdict["advice"]


def test_json_is_true_of_this_host():
    report = json.loads(host("--json").stdout)
    cpuinfo = Path("/proc/cpuinfo").read_text()
    assert report["machine"]["kernel"] == f"Linux {platform.release()}"
    assert report["cpu"]["model"] in " ".join(cpuinfo.split())
    assert report["cpu"]["vendor"] in cpuinfo
    assert report["machine"]["virtual"] == bool(re.search(r"^flags.*\bhypervisor\b", cpuinfo, re.M))
    assert report["kvm"]["present"] == Path("/dev/kvm").is_char_device()
    assert report["kvm"]["permitted"] == os.access("/dev/kvm", os.R_OK | os.W_OK)


def test_status_tells_whether_an_engine_is_usable():
    done = host("--json")
    usable = any(e["usable"] for e in json.loads(done.stdout)["engines"])
    assert done.returncode == (0 if usable else 1)


def test_no_device():
    done = host_with_dev("true", "--json")
    report = json.loads(done.stdout)
    check_fallback(done, report)
    assert not report["kvm"]["present"] and not report["kvm"]["permitted"]
    assert report["kvm"]["owner"] is None and report["kvm"]["mode"] is None
    kvm = engine(report, "kvm")
    assert not kvm["usable"] and not kvm["efficient"] and "/dev/kvm" in kvm["why"]
    assert report["verdict"]["advice"]

    words = host_with_dev("true")
    assert words.returncode == done.returncode
    assert row(words.stdout, "/dev/kvm") == "not there"
    assert row(words.stdout, "verdict").startswith(
        "--engine auto takes bt: " if done.returncode == 0 else "--engine auto finds nothing: ")


@pytest.mark.parametrize("owner, mode, advice", [
    ("0:12345", "0660", "sudo usermod -aG 12345 nobody"),
    ("0:0", "0600", "setfacl -m u:nobody:rw /dev/kvm"),
    ("0:12345", "0600", "only root may open /dev/kvm (mode 0600)"),
])
def test_no_permission(owner, mode, advice):
    prepare = f"mknod -m {mode} /dev/kvm {NULL_DEVICE}; chown {owner} /dev/kvm"
    done = host_with_dev(prepare, "--json", as_nobody=True)
    report = json.loads(done.stdout)
    check_fallback(done, report)
    assert report["kvm"]["present"] and not report["kvm"]["permitted"]
    assert report["kvm"]["mode"] == mode
    kvm = engine(report, "kvm")
    assert not kvm["usable"] and "permission denied" in kvm["why"].lower()
    assert advice in report["verdict"]["advice"][0]

    words = host_with_dev(prepare, as_nobody=True)
    assert "nobody cannot open it: Permission denied" in row(words.stdout, "/dev/kvm")
    assert advice in row(words.stdout, "to do")


def test_a_device_that_is_no_kvm():
    done = host_with_dev(f"mknod -m 0666 /dev/kvm {NULL_DEVICE}", "--json")
    report = json.loads(done.stdout)
    check_fallback(done, report)
    assert report["kvm"]["permitted"]
    kvm = engine(report, "kvm")
    assert not kvm["usable"] and "not a KVM device" in kvm["why"]
    assert not any(f["present"] for f in kvm["features"].values())


def test_hardware_virtualization_is_seen(lab):
    """In the emulated AMD-V machine."""
    done = lab.run(["lodge", "host", "--json"], timeout=120)
    assert done.status == 0, done.err
    report = json.loads(done.stdout)
    assert report["cpu"]["virtualization"] == "AMD-V"
    assert report["cpu"]["present"] and report["cpu"]["nested_paging"]
    assert report["kvm"]["module"] == "kvm_amd" and report["kvm"]["nested_paging"]
    kvm = engine(report, "kvm")
    assert kvm["usable"] and kvm["efficient"] and kvm["ratio"] < 10
    assert all(f["present"] for f in kvm["features"].values() if f["required"])
    assert report["verdict"] == {"engine": "kvm", "why": "kvm is efficient here", "advice": []}


@pytest.mark.parametrize("arguments", [["--jsn"], ["json"], ["--json", "x"]])
def test_wrong_usage(arguments):
    done = host(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and arguments[-1] in done.stderr


def test_help():
    done = host("--help")
    assert done.returncode == 0 and "--json" in done.stdout and done.stderr == ""


def test_output_that_cannot_be_written():
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([PROGRAM, "host"], stdout=full, stderr=subprocess.PIPE, text=True,
                              timeout=60, check=False)
    assert done.returncode == 1
    assert "cannot write" in done.stderr
