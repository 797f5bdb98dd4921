"""Checks an audit scope and brings old forms into the one stored form (A-046, C-086..C-094).

What compute rules mean is `domain.scope`; here the schema of all models is put together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_common.domain import element_scope
from trimtab_common.domain import scope as domain_scope
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.rules import schemas

Json = Any


SCHEMA: Mapping[str, Json] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "compute": dict(domain_scope.COMPUTE_SCOPE_SCHEMA),
            "storage": dict(element_scope.STORAGE_SCOPE_SCHEMA),
            "baremetal": dict(element_scope.BAREMETAL_SCOPE_SCHEMA),
        },
        "additionalProperties": False,
    },
}
"""Collector publishes each model's schema too; api takes them from there once plug-ins add models."""


def checked(scope: Json) -> list[Json]:
    """The scope in its stored form; InvalidArgument names the failing path."""
    normal = domain_scope.normalise(scope)
    schemas.check(normal, SCHEMA, "Invalid audit scope")
    for item in normal:
        domain_scope.check_compute_rules(item.get("compute", ()))
        element_scope.check_storage_rules(item.get("storage", ()))
    return normal


def cut(snapshot: ComputeSnapshot, scope: Json) -> ComputeSnapshot:
    """The part of the model that an audit of this scope sees."""
    return domain_scope.scoped(snapshot, scope).snapshot
