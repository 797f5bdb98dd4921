"""Checks an audit scope and brings old forms into the one stored form (A-046, C-086..C-094)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from trimtab_api.parameters import check
from trimtab_common.domain.errors import InvalidArgument

Json = Any
WILDCARD = "*"


def _closed(required: tuple[str, ...] = (), **properties: Json) -> dict[str, Json]:
    result: dict[str, Json] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "minProperties": 1,
    }
    return result | ({"required": list(required)} if required else {})


def _list(item: Json) -> dict[str, Json]:
    return {"type": "array", "items": item}


_TEXT = {"type": "string", "minLength": 1, "maxLength": 255}
_UUID = {"type": "string", "minLength": 1, "maxLength": 64}
_NAMED = _list(_closed(("name",), name=_TEXT))
_BY_UUID = _list(_closed(("uuid",), uuid=_UUID))
_AGGREGATES = _list(
    {
        "anyOf": [
            _closed(("id",), id={"anyOf": [{"type": "integer"}, {"enum": [WILDCARD]}]}),
            _closed(("name",), name=_TEXT),
        ]
    }
)
_COMPUTE = _list(
    _closed(
        host_aggregates=_AGGREGATES,
        availability_zones=_NAMED,
        exclude=_list(
            _closed(
                instances=_BY_UUID,
                compute_nodes=_NAMED,
                host_aggregates=_AGGREGATES,
                instance_metadata=_list({"type": "object"}),
                projects=_BY_UUID,
            )
        ),
    )
)
_STORAGE = _list(
    _closed(
        availability_zones=_NAMED,
        volume_types=_NAMED,
        exclude=_list(_closed(storage_pools=_NAMED, volumes=_BY_UUID, projects=_BY_UUID)),
    )
)
_BAREMETAL = _list(_closed(exclude=_list(_closed(ironic_nodes=_BY_UUID))))
KINDS: Mapping[str, Json] = {"compute": _COMPUTE, "storage": _STORAGE, "baremetal": _BAREMETAL}
SCHEMA: Mapping[str, Json] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    **_list(_closed(**KINDS)),
}


def checked(scope: Json) -> list[Json]:
    """The scope in its stored form; InvalidArgument names the failing path."""
    normal = normalised(scope)
    check(normal, SCHEMA, "Invalid audit scope")
    for rules in _parts(normal, "compute"):
        _check_aggregates(rules)
    return normal


def normalised(scope: Json) -> list[Json]:
    """Old forms as today's: a bare list of compute rules, or one object (C-089)."""
    if isinstance(scope, Mapping):
        return [dict(scope)]
    if not isinstance(scope, list):
        raise InvalidArgument("Invalid audit scope: it must be a list.")
    first = scope[0] if scope else None
    if isinstance(first, Mapping) and first and not any(key in KINDS for key in first):
        return [{"compute": scope}]
    return scope


def _parts(scope: Iterable[Json], kind: str) -> Iterator[list[Json]]:
    for item in scope:
        if kind in item:
            yield item[kind]


def _check_aggregates(rules: list[Json]) -> None:
    included = [entry for rule in rules for entry in rule.get("host_aggregates", ())]
    excluded = [
        entry
        for rule in rules
        for exclude in rule.get("exclude", ())
        for entry in exclude.get("host_aggregates", ())
    ]
    if included and excluded:
        raise InvalidArgument("host_aggregates can't be included and excluded together")
    for entries in (included, excluded):
        for key in ("id", "name"):
            values = [entry[key] for entry in entries if key in entry]
            if WILDCARD in values and len(values) > 1:
                raise InvalidArgument(
                    f"The wildcard * in host_aggregates cannot stand beside another {key}."
                )
