"""The JSON schema (draft 4) of the compute model's audit scope (C-086).

`ListModels` publishes it; api assembles it with those of other models and validates scopes.
"""

from __future__ import annotations

from typing import Any

import orjson


def _list_of(*choices: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": choices[0] if len(choices) == 1 else {"anyOf": [*choices]}}


def _closed(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


_TEXT = {"type": "string"}
_ID = {"anyOf": [{"type": "integer"}, {"type": "string", "enum": ["*"]}]}
_AGGREGATES = _list_of(_closed(id=_ID), _closed(name=_TEXT))
_EXCLUDE = _closed(
    instances=_list_of(_closed(uuid=_TEXT)),
    compute_nodes=_list_of(_closed(name=_TEXT)),
    host_aggregates=_AGGREGATES,
    instance_metadata=_list_of({"type": "object"}),
    projects=_list_of(_closed(uuid=_TEXT)),
)

SCOPE_SCHEMA: dict[str, Any] = {
    "type": "array",
    "items": _closed(
        host_aggregates=_AGGREGATES,
        availability_zones=_list_of(_closed(name=_TEXT)),
        exclude=_list_of(_EXCLUDE),
    ),
}
SCOPE_SCHEMA_JSON = orjson.dumps(SCOPE_SCHEMA).decode()
