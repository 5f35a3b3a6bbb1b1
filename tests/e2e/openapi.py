# SPDX-License-Identifier: Apache-2.0
"""docs/openapi.json, read: operations, and requests made by it, good ones and others."""

import copy
import json
from dataclasses import dataclass

from lab import product

METHODS = ["get", "put", "patch", "delete", "post"]


def document():
    return json.loads((product.ROOT / "docs/openapi.json").read_text())


@dataclass(frozen=True)
class Operation:
    """A method and path with what the file says of them."""

    method: str
    path: str
    schema: dict  # None: no body
    needs_body: bool
    statuses: frozenset


def resolve(doc, schema):
    """The schema without references."""
    while "$ref" in schema:
        at = doc
        for part in schema["$ref"].split("/")[1:]:
            at = at[part]
        schema = at
    schema = dict(schema)
    if "properties" in schema:
        schema["properties"] = {name: resolve(doc, value)
                                for name, value in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = resolve(doc, schema["items"])
    return schema


def operations():
    doc = document()
    found = []
    for path, item in doc["paths"].items():
        for method in METHODS:
            if method not in item:
                continue
            body = item[method].get("requestBody")
            schema = body and resolve(doc, body["content"]["application/json"]["schema"])
            found.append(Operation(method.upper(), path, schema,
                                   bool(body and body.get("required")),
                                   frozenset(int(code) for code in item[method]["responses"])))
    return found


def fields(schema):
    """An object's properties in the words of GET /lodge/interface."""
    required = schema.get("required", [])
    return sorted((field(name, value, name in required)
                   for name, value in schema["properties"].items()), key=lambda f: f["name"])


def field(name, schema, required):
    kind = {"string": "text", "boolean": "flag", "integer": "number", "object": "object",
            "array": "list"}[schema["type"]]
    said = {"name": name, "type": "word" if "enum" in schema else kind, "required": required,
            "deprecated": schema.get("deprecated", False)}
    if "enum" in schema:
        said |= {"words": schema["enum"], "any_case": schema.get("x-any-case", False)}
    elif kind == "text":
        assert schema["minLength"] == 1
    if kind == "number":
        said |= {"min": schema["minimum"], "max": schema["maximum"]}
    if kind == "object":
        said |= {"fields": fields(schema), "lenient": schema["additionalProperties"]}
    if kind == "list" and schema["items"]["type"] == "object":
        assert schema["items"]["additionalProperties"] is False
        said["fields"] = fields(schema["items"])
    return said


class Maker:
    """Makes bodies. texts: what strings are taken from."""

    def __init__(self, chance, texts):
        self._chance = chance
        self._texts = texts

    def good(self, schema, all_fields=False):
        """A value that the schema allows."""
        chance = self._chance
        if "enum" in schema:
            return chance.choice(schema["enum"])
        kind = schema["type"]
        if kind == "string":
            return chance.choice(self._texts)
        if kind == "boolean":
            return chance.random() < 0.5
        if kind == "integer":
            low, high = schema["minimum"], schema["maximum"]
            return chance.choice([low, high, min(high, low + 1), chance.randint(low, high)])
        if kind == "array":
            return [self.good(schema["items"]) for _ in range(chance.choice([0, 1, 1, 2]))]
        required = schema.get("required", [])
        return {name: self.good(value) for name, value in schema["properties"].items()
                if all_fields or name in required or chance.random() < 0.4}

    def bad(self, schema):
        """A body that it does not allow, and what is wrong with it."""
        body = self.good(schema)
        properties = schema["properties"]
        ways = ["unknown", "no object"]
        required = schema.get("required", [])
        ways += ["missing"] if required else []
        ways += ["type", "range"] if properties else []
        way = self._chance.choice(ways)
        if way == "no object":
            return self._chance.choice([[], "text", 7, True, None, [body]]), way
        if way == "unknown":
            body["unknown_" + self._chance.choice("abc")] = self._chance.choice([1, "x", {}, []])
        elif way == "missing":
            name = self._chance.choice(required)
            body[name] = None
            if self._chance.random() < 0.5:
                del body[name]
        else:
            name = self._chance.choice(sorted(properties))
            body[name] = self.wrong_type(properties[name]) if way == "type" else \
                self.out_of_range(properties[name])
        return body, way

    def wrong_type(self, schema):
        values = {"string": "x", "boolean": True, "integer": 1, "array": [], "object": {},
                  "number": 1.5}
        del values[schema["type"]]
        return copy.deepcopy(self._chance.choice(list(values.values())))

    def out_of_range(self, schema):
        if "enum" in schema:
            return self._chance.choice(["", "none at all", "\u00e9" * 9])
        if schema["type"] == "integer":
            return self._chance.choice([schema["minimum"] - 1,
                                        min(schema["maximum"] + 1, 2**63), 2**64, -2**63])
        return "" if schema["type"] == "string" else self.wrong_type(schema)
