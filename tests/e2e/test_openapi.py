# SPDX-License-Identifier: Apache-2.0
"""docs/openapi.json and lodge api, held against each other: what the file says is served, and
nothing else is; and many requests made by it, good and bad ones."""

import json
import os
import random
import sys

import openapi
import pytest
from lab import product
from test_api import Connection, resources, serve  # noqa: F401 (a fixture)

sys.path.insert(0, str(product.ROOT / "tests/guest"))
import build  # noqa: E402 (beside the guests)

REQUESTS = int(os.environ.get("LODGE_API_REQUESTS", "300"))
SEED = int(os.environ.get("LODGE_API_SEED", "1"))


def key(said):
    return said["path"], said["method"]


def sorted_fields(said):
    """A list of fields by their names, in depth."""
    return said and sorted(({**f, "fields": sorted_fields(f["fields"])} if "fields" in f else f
                            for f in said), key=lambda f: f["name"])


def test_the_file_says_what_is_served(serve):  # noqa: F811
    """Each method, path and field with its type, both ways."""
    routes = serve().ask("GET", "/lodge/interface")[1]["routes"]
    served = sorted(({"method": r["method"], "path": r["path"],
                      "fields": sorted_fields(r["fields"])} for r in routes), key=key)
    written = sorted(({"method": o.method, "path": o.path,
                       "fields": openapi.fields(o.schema) if o.schema else None}
                      for o in openapi.operations()), key=key)
    assert [key(r) for r in written] == [key(r) for r in served]
    for said, done in zip(written, served):
        assert said == done
    assert written == served


def test_methods_and_paths_that_are_not_in_the_file_are_refused(serve):  # noqa: F811
    server = serve()
    there = {(o.method, o.path) for o in openapi.operations()}
    paths = {path for _, path in there} | {"/nothing", "/lodge/x", "/drives", "/drives/a/b"}
    for path in sorted(paths):
        for method in openapi.METHODS:
            if (method.upper(), path) not in there:
                why = server.refusal(method.upper(), path.replace("{id}", "a"), {})
                assert f"no {method.upper()} of" in why


def what_fields(schema, path=()):
    """Each field, with the way to it."""
    for name, value in schema["properties"].items():
        yield (*path, name), value
        if value["type"] == "object":
            yield from what_fields(value, (*path, name))
        elif value["type"] == "array" and value["items"]["type"] == "object":
            yield from what_fields(value["items"], (*path, name, 0))


def put(body, path, value):
    for part in path[:-1]:
        body = body[part]
    body[path[-1]] = value


def test_each_field_is_known_and_its_type_is_checked(serve):  # noqa: F811
    """A wrong type is complained of by the field's name, and an unknown field is unknown."""
    server = serve()
    maker = openapi.Maker(random.Random(3), ["a"])
    seen = 0
    for operation in openapi.operations():
        if not operation.schema:
            continue
        for path, schema in what_fields(operation.schema):
            body = whole(maker, operation.schema)
            put(body, path, 1.5)
            why = server.refusal(operation.method, operation.path.replace("{id}", "a"), body)
            assert f"'{path[-1]}' is to be" in why or path[-1] in why, (operation, path, why)
            assert "no field" not in why
            if schema["type"] == "object" and schema["additionalProperties"] is False:
                body = whole(maker, operation.schema)
                put(body, (*path, "unknown"), 1)
                assert "there is no field 'unknown'" in server.refusal(
                    operation.method, operation.path.replace("{id}", "a"), body)
            seen += 1
    assert seen > 60


def whole(maker, schema):
    """A body with all fields, and one item in each list of objects."""
    body = maker.good(schema, all_fields=True)
    for name, value in schema["properties"].items():
        if value["type"] == "object":
            body[name] = whole(maker, value)
        elif value["type"] == "array" and value["items"]["type"] == "object":
            body[name] = [whole(maker, value["items"])]
    return body


@pytest.fixture
def texts(tmp_path):
    """What strings may be: files that are there, no kernels, and much else."""
    for name in ["a", "b"]:
        (tmp_path / name).write_bytes(bytes(1 << 20))
    return [str(tmp_path / "a"), str(tmp_path / "b"), "a", "b", "A_1", "x" * 200, "\u00e9\u0416",
            "a,b", "a b", "06:00:ac:10:00:02", "0x1", "0b10x", "../..", "/", "%s%n", "-", ".",
            "tcp:8080:80", "\x01\x7f", str(tmp_path / "none/there"), "\\\"'`$(id)"]


def path_of(chance, operation):
    """The operation's path with some id, and sometimes slashes that do no harm."""
    path = operation.path.replace("{id}", chance.choice(["a", "b", "A_1", "-", "%41", "x" * 300]))
    if chance.random() < 0.1:
        path = "/" + path.replace("/", "//") + "/"
    return path


def one_request(server, chance, maker, operation):
    """Makes a request by the operation, good or bad; checks its answer."""
    body, wrong = None, False
    if operation.schema and operation.schema["additionalProperties"]:
        body = chance.choice([{}, {"a": None, "b": {"c": 1}}, [1, 2], "text", None, 1.5])
    elif operation.schema:
        if chance.random() < 0.6:
            body = maker.good(operation.schema)
            name = next((n for n in ["drive_id", "iface_id", "id"] if n in body), None)
            if name:
                body[name] = chance.choice(["a", "b", "A_1"])
        else:
            body, wrong = maker.bad(operation.schema)
        if chance.random() < 0.02 and operation.needs_body:
            body, wrong = None, True
    elif chance.random() < 0.05:
        body, wrong = {}, True
    anything = operation.schema and operation.schema["additionalProperties"]
    data = json.dumps(body).encode() if anything or body is not None else \
        b"" if wrong is True else None
    path = path_of(chance, operation)
    server.connection.request(operation.method, path, data)
    answer = server.connection.getresponse()
    text = answer.read()
    what = f"{operation.method} {path} {data}: {answer.status} {text[:300]}"
    assert answer.status in operation.statuses, what
    if wrong:
        assert answer.status == 400, what
    if answer.status == 204:
        assert text == b"", what
    elif answer.headers["Content-Type"] == "application/json":
        shown = json.loads(text)
        if answer.status >= 400:
            assert list(shown) == ["fault_message"] and shown["fault_message"], what
    else:
        assert operation.path == "/lodge/metrics" and answer.status == 200, what
    return answer.status


def run(server, count, maker, chance, operations):
    """Makes requests; the server holds no more memory and descriptors at the end than after a part
    of them."""
    seen = {}
    for i in range(count):
        if i == count // 3:
            before = resources(server)
        operation = chance.choice(operations)
        status = one_request(server, chance, maker, operation)
        seen.setdefault((operation.method, operation.path), set()).add(status)
        if i % 50 == 49:
            assert server.process.poll() is None
    memory, descriptors = resources(server)
    # What was configured meanwhile is a few lists; sanitizers keep what is freed for a while.
    sanitized = "asan" in str(product.lodge())
    assert memory <= before[0] + (65536 if sanitized else 2048)
    assert descriptors <= before[1] + 2  # log and metrics, once
    return seen


def ends_well(server):
    """A sanitizer that finds a leak says so, and has its own status."""
    server.process.terminate()
    status, said = server.ends()
    assert status == 130 and "Sanitizer" not in said, said[-4000:]


def test_any_requests_by_the_file_before_the_start(serve, tmp_path, texts,  # noqa: F811
                                                   monkeypatch):
    monkeypatch.chdir(tmp_path)
    chance = random.Random(SEED)
    server = serve()
    seen = run(server, REQUESTS, openapi.Maker(chance, texts), chance, openapi.operations())
    ends_well(server)
    if REQUESTS >= 1000:
        good = {key for key, statuses in seen.items() if min(statuses) < 400}
        assert len(good) >= len(seen) // 2
        assert all(400 in statuses for key, statuses in seen.items()
                   if key[0] != "GET" and key[1] != "/mmds")


def test_any_requests_by_the_file_while_a_vm_runs(serve, tmp_path, texts,  # noqa: F811
                                                  monkeypatch):
    """But for those that end it."""
    monkeypatch.chdir(tmp_path)
    chance = random.Random(SEED)
    server = serve("--boot-timer")
    server.do("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 64})
    server.do("PUT", "/drives/a", {"drive_id": "a", "is_root_device": False,
                                   "path_on_host": str(tmp_path / "a")})
    server.do("PUT", "/balloon", {"amount_mib": 0, "deflate_on_oom": False,
                                  "stats_polling_interval_s": 1})
    server.do("PUT", "/boot-source", {"kernel_image_path": str(
        build.kernel("tiny", build.HERE / "tiny"))})
    server.do("PUT", "/actions", {"action_type": "InstanceStart"})
    operations = [o for o in openapi.operations() if o.path != "/actions"]
    run(server, REQUESTS, openapi.Maker(chance, texts), chance, operations)
    state = server.ask("GET", "/", None, Connection(server.path))[1]["state"]
    assert state in ["Running", "Paused"]
    ends_well(server)
