"""JSON schemas (2020-12) of what the REST API takes and gives, from the descriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab_api.rest.bodies import ALSO_INTEGER, FALSE_WORDS, TRUE_WORDS
from trimtab_common.domain.resources import (
    BAREMETAL_MODEL,
    DATA_MODEL,
    STORAGE_MODEL,
    STORED,
    Field,
    JsonType,
    Resource,
    Since,
)

Schema = dict[str, Any]
UUID = {"type": "string", "format": "uuid"}
_BASIC: Mapping[JsonType, Schema] = {
    JsonType.STRING: {"type": "string"},
    JsonType.INTEGER: {"type": "integer"},
    JsonType.NUMBER: {"type": "number"},
    JsonType.BOOLEAN: {"type": "boolean"},
    JsonType.OBJECT: {"type": "object"},
    JsonType.LIST: {"type": "array"},
    JsonType.ZONED_TIME: {
        "type": "string",
        "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$",
    },
    JsonType.NAIVE_TIME: {
        "type": "string",
        "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?$",
    },
}
PATCH_PATH = r"^(/[A-Za-z0-9_-]+)+$"


def class_name(resource: Resource) -> str:
    """audit_template -> AuditTemplate."""
    return "".join(part.capitalize() for part in resource.name.split("_"))


def reference(name: str) -> Schema:
    """A link to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def closed(properties: Mapping[str, Schema], required: Sequence[str]) -> Schema:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def shown(field: Field) -> Schema:
    """A field as answers show it."""
    schema = dict(_BASIC[field.type])
    if field.max_length is not None:
        schema["maxLength"] = field.max_length
    if field.name == "uuid" or field.name.endswith("_uuid"):
        schema |= UUID
    return _with_version(field, _nullable(schema) if field.nullable else schema)


def given(field: Field) -> Schema:
    """A field as requests may give it; null means absent (A-008)."""
    if field.type is JsonType.BOOLEAN:
        schema: Schema = {"anyOf": [{"type": "boolean"}, _words(), {"enum": [0, 1]}]}
    elif field.name == "scope":
        schema = {"type": ["array", "object"]}
    elif field.type in (JsonType.ZONED_TIME, JsonType.NAIVE_TIME):
        schema = {"type": "string", "description": "ISO 8601; server's time without an offset."}
    else:
        schema = dict(_BASIC[field.type])
    if field.name in ALSO_INTEGER:
        schema["type"] = [schema["type"], "integer"]
    if field.max_length is not None:
        schema["maxLength"] = field.max_length
    if field.name == "name" and field.required:
        schema["minLength"] = 1
    return _with_version(field, schema if field.required else _nullable(schema))


def components() -> dict[str, Schema]:
    """Every schema of the document by its name."""
    result: dict[str, Schema] = {"Link": _LINK, "Links": _LINKS, "Error": _ERROR, "Patch": _PATCH}
    for resource in STORED:
        name = class_name(resource)
        result[name] = _answer(resource, resource.detailed(minor=_ALL))
        result[f"{name}Short"] = _answer(resource, resource.listed(minor=_ALL))
        for kind in ("", "Short"):
            result[f"{name}{kind}List"] = closed(
                {
                    resource.plural: {"type": "array", "items": reference(name + kind)},
                    "next": {"type": "string", "description": "The next page, if there is one."},
                },
                [resource.plural],
            )
        if resource.on_create:
            result[f"New{name}"] = closed(
                {f.name: given(f) for f in resource.fields if f.on_create},
                [f.name for f in resource.fields if f.required],
            )
    rows = [_cells(model, always) for model, always in _MODEL_ROWS]
    result["DataModel"] = closed(
        {
            "context": {"type": "array", "items": {"anyOf": rows}},
            "unmapped_servers": {
                "type": "array",
                "items": _unmapped(),
                "description": f"Of the compute model, from microversion 1.{Since.UNMAPPED_SERVERS} on.",
            },
        },
        ["context"],
    )
    result["StrategyState"] = {"type": "array", "items": _REQUIREMENT}
    result["Version"], result["Versions"], result["V1"] = _VERSION, _VERSIONS, _V1
    result["Rollback"] = _ROLLBACK
    plan = result["ActionPlan"]
    result["RolledBackPlan"] = closed(
        {**plan["properties"], "results": {"type": "array", "items": _RESULT}},
        [*plan["required"], "results"],
    )
    return result


_MODEL_ROWS = ((DATA_MODEL, "node_"), (STORAGE_MODEL, "pool_"), (BAREMETAL_MODEL, "ironic_"))
"""The row of each model, and how the names of those fields begin that are always there."""


def _cells(model: Resource, always: str) -> Schema:
    required = [f.name for f in model.fields if f.name.startswith(always)]
    return closed({f.name: shown(f) for f in model.fields}, required)


def _unmapped() -> Schema:
    """The cells of a server that stands on no known host."""
    cells = [f for f in DATA_MODEL.fields if f.name.startswith("server_")]
    return closed({f.name: shown(f) for f in cells}, [f.name for f in cells])


_ALL = 10**6
"""Above every minor version."""


def _answer(resource: Resource, fields: Sequence[Field]) -> Schema:
    """Fields that came with a later microversion are absent below it."""
    return closed(
        {**{f.name: shown(f) for f in fields}, "links": reference("Links")},
        [*(f.name for f in fields if not f.since), "links"],
    ) | {"description": f"One {resource.name.replace('_', ' ')}."}


def _nullable(schema: Schema) -> Schema:
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    kinds = schema["type"]
    return {**schema, "type": [*(kinds if isinstance(kinds, list) else [kinds]), "null"]}


def _with_version(field: Field, schema: Schema) -> Schema:
    if not field.since:
        return schema
    return {**schema, "description": f"From microversion 1.{field.since} on."}


def _words() -> Schema:
    """The words that stand for true and false, in any case, with spaces around."""
    words = "|".join(
        "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word)
        for word in sorted(TRUE_WORDS | FALSE_WORDS)
    )
    return {"type": "string", "pattern": rf"^\s*({words})\s*$"}


_LINK = closed({"href": {"type": "string"}, "rel": {"enum": ["self", "bookmark"]}}, ["href", "rel"])
_LINKS = {"type": "array", "items": reference("Link"), "minItems": 2, "maxItems": 2}
_ERROR = closed(
    {
        "error_message": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "A JSON object once more: faultcode (Client or Server), faultstring, "
            "debuginfo.",
        }
    },
    ["error_message"],
)
_PATCH = {
    "type": "array",
    "items": closed(
        {
            "op": {"enum": ["add", "replace", "remove"]},
            "path": {"type": "string", "pattern": PATCH_PATH},
            "value": {"description": "Needed unless op is remove."},
        },
        ["op", "path"],
    ),
}
_REQUIREMENT = closed(
    {
        "type": {"type": "string"},
        "state": {"type": ["string", "array"]},
        "mandatory": {"type": ["boolean", "string"]},
        "comment": {"type": "string"},
    },
    ["type", "state", "mandatory", "comment"],
)
_VERSION = closed(
    {
        "id": {"const": "v1"},
        "status": {"const": "CURRENT"},
        "min_version": {"type": "string"},
        "max_version": {"type": "string"},
        "links": {"type": "array", "items": {"type": "object"}},
    },
    ["id", "status", "min_version", "max_version", "links"],
)
_VERSIONS = closed(
    {
        "name": {"type": "string"},
        "description": {"type": "string"},
        "versions": {"type": "array", "items": reference("Version")},
        "default_version": reference("Version"),
    },
    ["name", "description", "versions", "default_version"],
)
_V1 = {
    "type": "object",
    "properties": {
        "id": {"const": "v1"},
        "media_types": {"type": "array"},
        "links": {"type": "array"},
    },
    "required": ["id", "media_types", "links"],
    "additionalProperties": reference("Links"),
}
_ROLLBACK = closed({"actions": {"type": ["array", "null"], "items": UUID}}, [])
_RESULT = closed(
    {
        "action_uuid": UUID,
        "inverse_uuid": {"type": ["string", "null"]},
        "problem": {"type": ["string", "null"]},
    },
    ["action_uuid", "inverse_uuid", "problem"],
)
