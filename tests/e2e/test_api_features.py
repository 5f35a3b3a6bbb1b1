# SPDX-License-Identifier: Apache-2.0
"""lodge api: processor configuration, the boot timer, logs and metrics by flags, deprecated fields,
and what is beyond Firecracker under /lodge."""

import json
import re
import sys

import pytest
from lab import guests, product
from test_api import ARGS, Connection, serve  # noqa: F401 (a fixture)

sys.path.insert(0, str(product.ROOT / "tests/guest"))
import build  # noqa: E402 (beside the guests)

# Without AVX2 (CPUID leaf 7, EBX bit 5), and called another family 6.
MASKED = {"kvm_capabilities": ["!56"], "cpuid_modifiers": [
    {"leaf": "0x7", "subleaf": "0x0", "flags": 1,
     "modifiers": [{"register": "ebx", "bitmap": "0b0xxxxx"}]},
    {"leaf": "0x1", "subleaf": "0x0", "flags": 0,
     "modifiers": [{"register": "eax", "bitmap": "0bxxxx_0111"}]}],
    "msr_modifiers": [{"addr": "0xc0000103", "bitmap": "0b101"}]}


def tiny():
    return str(build.kernel("tiny", build.HERE / "tiny"))


def judge_masked(shown):
    flags = re.search(r"flags\s*: (.*)", shown)[1].split()
    assert "avx" in flags and "avx2" not in flags
    assert re.search(r"stepping\s*: 7\b", shown)


def script():
    return {"script": b"cat /proc/cpuinfo\n"}


def test_a_guest_sees_the_processor_that_was_asked_for(serve, kernel, initrd):  # noqa: F811
    server = serve()
    server.do("PUT", "/cpu-config", MASKED)
    assert server.ask("GET", "/vm/config")[1]["cpu-config"] == MASKED
    server.boot(kernel("cloud"), initrd(files=script()), "lodge.show=script")
    assert server.ends() == (0, "")
    judge_masked(guests.sections(server.printed())["script"])


def test_the_same_under_kvm(lab, kernel, initrd, tmp_path):
    """By a configuration file; the lab's processor has no AVX, so another feature goes: SSE4.2."""
    config = tmp_path / "vm.json"
    config.write_text(json.dumps({
        "boot-source": {"kernel_image_path": "/tmp/kernel", "initrd_path": "/tmp/initrd",
                        "boot_args": ARGS + " lodge.show=script"},
        "cpu-config": {"cpuid_modifiers": [
            {"leaf": "0x1", "subleaf": "0x0", "flags": 0,
             "modifiers": [{"register": "ecx", "bitmap": "0b0" + 20 * "x"},
                           {"register": "eax", "bitmap": "0bxxxx_0111"}]}]}}))
    for name, path in [("kernel", kernel("cloud")), ("initrd", initrd(files=script())),
                       ("vm.json", config)]:
        lab.put_bytes(f"/tmp/{name}", path.read_bytes())
    done = lab.run(["lodge", "api", "--engine", "kvm", "--no-api", "--config-file",
                    "/tmp/vm.json"], timeout=300)
    assert (done.status, done.err) == (0, "")
    shown = guests.sections(done.out)["script"]
    flags = re.search(r"flags\s*: (.*)", shown)[1].split()
    assert "sse4_1" in flags and "sse4_2" not in flags
    assert re.search(r"stepping\s*: 7\b", shown)


@pytest.mark.parametrize("config, words", [
    ({"kvm_capabilities": ["56"]}, "cannot be asked for"),
    ({"kvm_capabilities": ["!x"]}, "no number"),
    ({"cpuid_modifiers": [{"leaf": "7", "subleaf": "0x0", "flags": 0, "modifiers": [
        {"register": "eax", "bitmap": "0b1"}]}]}, "cpuid '7.0x0:eax=0b1' cannot be"),
    ({"msr_modifiers": [{"addr": "0x10", "bitmap": "0b2"}]}, "msr '0x10=0b2' cannot be"),
    ({"reg_modifiers": ["x"]}, "of Arm"),
])
def test_what_a_processor_cannot_be_asked_for(serve, config, words):  # noqa: F811
    assert words in serve().refusal("PUT", "/cpu-config", config)


@pytest.mark.parametrize("config, words", [
    # 3DNow! (AMD APM vol. 3, 0x80000001 EDX bit 31): no engine has it.
    ({"cpuid_modifiers": [{"leaf": "0x80000001", "subleaf": "0x0", "flags": 0, "modifiers": [
        {"register": "edx", "bitmap": "0b1" + 31 * "x"}]}]}, "features that cannot be given"),
    ({"cpuid_modifiers": [{"leaf": "0xb", "subleaf": "0x0", "flags": 1, "modifiers": [
        {"register": "edx", "bitmap": "0b1111"}]}]}, "what cannot be changed"),
    ({"msr_modifiers": [{"addr": "0x10a", "bitmap": "0b1"}]}, "MSR 0x10a cannot be changed"),
])
def test_what_this_host_cannot_give_is_told_at_the_start(serve, config, words):  # noqa: F811
    """And put right afterwards."""
    server = serve("--boot-timer")
    server.do("PUT", "/boot-source", {"kernel_image_path": tiny()})
    server.do("PUT", "/cpu-config", config)
    assert words in server.refusal("PUT", "/actions", {"action_type": "InstanceStart"})
    server.do("PUT", "/cpu-config", {})
    server.do("PUT", "/actions", {"action_type": "InstanceStart"})


def test_the_boot_timer_and_a_log_by_flags(serve, tmp_path):  # noqa: F811
    log, metrics = tmp_path / "log", tmp_path / "metrics"
    server = serve("--boot-timer", "--log-path", log, "--level", "info", "--show-level",
                   "--show-log-origin", "--module", "vm", "--metrics-path", metrics,
                   "--start-time-us", "1", "--start-time-cpu-us", "0", "--parent-cpu-time-us",
                   "1000000")
    server.do("PUT", "/boot-source", {"kernel_image_path": tiny()})
    server.do("PUT", "/actions", {"action_type": "InstanceStart"})
    line = re.compile(r"\[anonymous-instance:Info:vm\] Guest-boot-time = +(\d+) us (\d+) ms, "
                      r"+(\d+) CPU us (\d+) CPU ms; since the process began (\d+) us, (\d+) "
                      r"CPU us\n")
    while not (found := line.search(log.read_text())):
        assert server.process.poll() is None
    us, ms, cpu_us, cpu_ms, whole, whole_cpu = (int(n) for n in found.groups())
    assert 0 < us < whole and us // 1000 == ms and 0 < cpu_us < whole_cpu
    assert cpu_us // 1000 == cpu_ms
    assert ":api]" not in log.read_text()
    startup = json.loads(metrics.read_text().splitlines()[0])["api_server"]
    assert startup["process_startup_time_us"] > 1000
    assert startup["process_startup_time_cpu_us"] > 1000000


def test_without_the_flag_there_is_no_boot_timer(serve, tmp_path):  # noqa: F811
    log = tmp_path / "log"
    server = serve("--log-path", log)
    server.do("PUT", "/boot-source", {"kernel_image_path": tiny()})
    server.do("PUT", "/actions", {"action_type": "InstanceStart"})
    while not server.ask("GET", "/lodge/stats")[1]["counters"]["mmio unclaimed writes"]:
        assert server.process.poll() is None
    assert "Guest-boot-time" not in log.read_text()


@pytest.mark.parametrize("flags, words", [
    (["--level", "loud"], "'level' cannot be 'loud'"),
    (["--log-path", "/none/there"], "cannot write the log to /none/there"),
    (["--metrics-path", "/none/there"], "cannot write metrics to /none/there"),
])
def test_logs_that_cannot_be(serve, flags, words):  # noqa: F811
    status, said = serve(*flags).ends()
    assert status == 1 and words in said


def header(server, method, path, body):
    connection = Connection(server.path)
    connection.request(method, path, json.dumps(body))
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers["Deprecation"]


def test_deprecated_fields_are_told(serve):  # noqa: F811
    server = serve()
    machine = {"vcpu_count": 1, "mem_size_mib": 128}
    assert header(server, "PUT", "/machine-config", machine) == (204, None)
    assert header(server, "PUT", "/machine-config",
                  {**machine, "cpu_template": None}) == (204, None)
    assert header(server, "PATCH", "/machine-config", {"cpu_template": "None"}) == (204, "true")
    vsock = {"guest_cid": 3, "uds_path": "v.sock"}
    assert header(server, "PUT", "/vsock", vsock) == (204, None)
    assert header(server, "PUT", "/vsock", {**vsock, "vsock_id": "v"}) == (204, "true")


def metrics(server):
    server.connection.request("GET", "/lodge/metrics")
    answer = server.connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/plain")
    values, text = {}, answer.read().decode()
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z_]+=\"[^\"\\\n]*\",?)+\})? "
                            r"[0-9]+(\.[0-9]+)?", line), line
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name not in values
            values[name] = float(value)
    return values


def test_statistics_and_prometheus(serve):  # noqa: F811
    server = serve()
    before = metrics(server)
    assert before['lodge_vm_info{id="anonymous-instance",state="Not started"}'] == 1
    assert "was not started" in server.refusal("GET", "/lodge/stats")
    server.do("PUT", "/machine-config", {"vcpu_count": 2, "mem_size_mib": 64})
    server.do("PUT", "/boot-source", {"kernel_image_path": tiny()})
    server.do("PUT", "/actions", {"action_type": "InstanceStart"})
    after = metrics(server)
    assert after["lodge_memory_bytes"] == 64 << 20
    assert after['lodge_engine_info{engine="bt"}'] == 1
    kinds = [name for name in after if name.startswith("lodge_requests_total") and "boot_" in name]
    assert [after[name] - before[name] for name in kinds] == [1]
    refused = [name for name in after if "lodge_refusals" in name and "lodge_stats" in name]
    assert [after[name] for name in refused] == [1]
    assert any(name.startswith("lodge_events_total") for name in after)
    stats = server.ask("GET", "/lodge/stats")[1]
    assert (stats["engine"], stats["memory_bytes"]) == ("bt", 64 << 20)
    assert len(stats["vcpu_times_ns"]) == 2 and sum(stats["vcpu_times_ns"]) >= 0
    assert stats["uptime_ns"] > 0 and stats["counters"]


def test_beyond_firecracker(serve, tmp_path):  # noqa: F811
    """Engine, ports, qcow2, a network of user mode: each checked when it is given."""
    server = serve()
    port = {"name": "a", "kind": "file", "path": str(tmp_path / "port")}
    server.do("PUT", "/lodge", {"engine": "bt", "cpu_model": "x86-64-v2", "ports": [port]})
    assert "two of the name" in server.refusal("PUT", "/lodge", {"ports": [port, port]})
    assert "comma" in server.refusal("PUT", "/lodge", {"ports": [{**port, "name": "a,b"}]})
    assert "'engine' cannot be" in server.refusal("PUT", "/lodge", {"engine": "x"})
    net = {"iface_id": "n", "user_mode": True, "forwards": ["tcp:8080:80"]}
    server.do("PUT", "/network-interfaces/n", net)
    assert "leave it away" in server.refusal("PUT", "/network-interfaces/n",
                                             {**net, "host_dev_name": "tap0"})
    assert "'host_dev_name' is missing" in server.refusal("PUT", "/network-interfaces/n",
                                                          {"iface_id": "n"})
    assert "need user_mode" in server.refusal("PUT", "/network-interfaces/n", {
        "iface_id": "n", "host_dev_name": "tap0", "forwards": ["tcp:1:1"]})
    assert "forward" in server.refusal("PUT", "/network-interfaces/n", {**net, "forwards": ["x"]})
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    drive = {"drive_id": "d", "is_root_device": False, "path_on_host": str(tmp_path / "disk")}
    server.do("PUT", "/drives/d", {**drive, "format": "Raw"})
    server.do("PUT", "/drives/d", {**drive, "format": "Qcow2"})
    server.do("PUT", "/boot-source", {"kernel_image_path": tiny()})
    assert "qcow2" in server.refusal("PUT", "/actions", {"action_type": "InstanceStart"})
    assert server.ask("GET", "/vm/config")[1]["lodge"]["ports"] == [port]
