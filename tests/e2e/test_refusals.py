# SPDX-License-Identifier: Apache-2.0
"""Each flag with a wrong value: refused before anything starts, with words that name the flag."""

import re
import subprocess

import pytest

from lab import product

RUN = {
    "kernel": [""],
    "initrd": [""],
    "cpus": ["0", "65", "x", "-1", "1.5", ""],
    "memory": ["1", "x", "", "99999999G", "-1M", "8MM"],
    "engine": ["x", "", "bt,code=1", "kvm,code=16M"],
    "bt-dump": ["x", "", "guest:"],
    "cpu-model": ["x", ""],
    "boot": ["x", ""],
    "kvmclock": ["x", ""],
    "disk": ["a,x=1", "a,queues=x"],
    "net": ["x", "", "tap=", "user,x=1"],
    "metadata": ["/nonexistent,x"],
    "share": [""],
    "vsock": ["x", "", "cid=1,socket=/tmp/x"],
    "pmem": ["a,x"],
    "hotplug-memory": ["x", "", "max=1"],
    "balloon": ["x", "size=x"],
    "rng": ["x", "", "on,x=1"],
    "virtio": ["x", ""],
    "debug-exit": ["x", ""],
    "name": ["", "a/b", ".", "-"],
    "console": ["x", "", "file="],
    "virtio-console": ["x", "", "file="],
    "port": ["x", "", "a,x=y"],
    "timeout": ["x", "", "0", "-1", "nan", "inf"],
}
API = {
    "api-sock": [""],
    "id": ["", "a/b", "x" * 65],
    "config-file": [""],
    "metadata": [""],
    "engine": ["x", ""],
    "level": ["x", ""],
    "module": [""],
    "log-path": [""],
    "metrics-path": [""],
    "http-api-max-payload-size": ["x", "", "-1", "9999999999"],
    "mmds-size-limit": ["x", "", "-1", "9999999999"],
    "start-time-us": ["x", "", "-1"],
    "start-time-cpu-us": ["x", "", "-1"],
    "parent-cpu-time-us": ["x", "", "-1"],
}
NOT_JUDGED = {"run": {"cmdline"}, "api": {"seccomp-filter"}}  # any text will do


def refused(*words):
    """What lodge says to words that it has to refuse."""
    done = subprocess.run([product.lodge(), *words], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)
    assert done.returncode in (1, 2) and done.stdout == "", done
    assert re.fullmatch("lodge: .+\n", done.stderr), done
    return done.stderr


@pytest.mark.parametrize("verb, flag, value", [
    (verb, flag, value) for verb, table in (("run", RUN), ("api", API))
    for flag, values in table.items() for value in values])
def test_a_wrong_value_is_refused_by_its_flags_name(verb, flag, value, tmp_path):
    words = []
    if verb == "api" and flag != "api-sock":
        words = ["--api-sock", str(tmp_path / "sock")]
    said = refused(verb, *words, f"--{flag}={value}")
    assert re.search(rf"(?<![\w-])(--)?{flag}\b", said.removeprefix("lodge: ")), said


@pytest.mark.parametrize("flag, what", [("config-file", "configuration"), ("metadata", "metadata")])
def test_a_file_that_cannot_be_read_is_told_from_one_that_is_no_json(flag, what, tmp_path):
    words = ["api", "--api-sock", tmp_path / "sock", f"--{flag}", tmp_path / "file"]
    assert refused(*words) == (
        f"lodge: cannot read the {what} {tmp_path}/file: No such file or directory\n")
    (tmp_path / "file").mkdir()
    assert f"cannot read the {what} {tmp_path}/file: Is a directory" in refused(*words)
    (tmp_path / "file").rmdir()
    (tmp_path / "file").write_text("{\n\"a\": }")
    assert f"the {what} {tmp_path}/file is no JSON: line 2:" in refused(*words)


@pytest.mark.parametrize("verb, table", [("run", RUN), ("api", API)])
def test_each_flag_with_a_value_is_tried(verb, table):
    text = subprocess.run([product.lodge(), verb, "--help"], capture_output=True, text=True,
                          check=True, timeout=60).stdout
    flags = set(re.findall(r"^  --([a-z-]+) \S", text, re.M))
    assert len(flags) > 10
    assert flags == set(table) | NOT_JUDGED[verb]
