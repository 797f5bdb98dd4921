"""Checks an audit scope and brings old forms into the one stored form (A-046, C-086..C-094).

What compute rules mean is `domain.scope`; here the schema of all models is put together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_api.parameters import check
from trimtab_common.domain import scope as domain_scope
from trimtab_common.domain.snapshot import ComputeSnapshot

Json = Any


def _closed(required: tuple[str, ...] = (), **properties: Json) -> dict[str, Json]:
    result: dict[str, Json] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return result | ({"required": list(required)} if required else {})


def _list(item: Json) -> dict[str, Json]:
    return {"type": "array", "items": item}


_TEXT = {"type": "string"}
_NAMED = _list(_closed(("name",), name=_TEXT))
_BY_UUID = _list(_closed(("uuid",), uuid=_TEXT))
_STORAGE = _list(
    _closed(
        availability_zones=_NAMED,
        volume_types=_NAMED,
        exclude=_list(_closed(storage_pools=_NAMED, volumes=_BY_UUID, projects=_BY_UUID)),
    )
)
_BAREMETAL = _list(_closed(exclude=_list(_closed(ironic_nodes=_BY_UUID))))
SCHEMA: Mapping[str, Json] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    **_list(
        _closed(
            compute=dict(domain_scope.COMPUTE_SCOPE_SCHEMA), storage=_STORAGE, baremetal=_BAREMETAL
        )
    ),
}
"""Collector publishes each model's schema too; api takes them from there once plug-ins add models."""


def checked(scope: Json) -> list[Json]:
    """The scope in its stored form; InvalidArgument names the failing path."""
    normal = domain_scope.normalise(scope)
    check(normal, SCHEMA, "Invalid audit scope")
    for item in normal:
        domain_scope.check_compute_rules(item.get("compute", ()))
    return normal


def cut(snapshot: ComputeSnapshot, scope: Json) -> ComputeSnapshot:
    """The part of the model that an audit of this scope sees."""
    return domain_scope.scoped(snapshot, scope).snapshot
