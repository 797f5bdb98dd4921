"""Checks an audit scope and brings old forms into the one stored form (A-046, C-086..C-094).

What compute rules mean is `domain.scope`; here the schema of all models is put together, of what
each model's plug-in declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_api.ports import Deps
from trimtab_common.domain import element_scope
from trimtab_common.domain import scope as domain_scope
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.rules import schemas

Json = Any

SCHEMAS: Mapping[str, Json] = {
    "compute": domain_scope.COMPUTE_SCOPE_SCHEMA,
    "storage": element_scope.STORAGE_SCOPE_SCHEMA,
    "baremetal": element_scope.BAREMETAL_SCOPE_SCHEMA,
}
"""Model -> schema of its rules; taken while collector has not said what it holds."""


async def declared(deps: Deps, *asked: Any) -> Mapping[str, Json]:
    """The schemas of the models that collector holds (C-086).

    Collector is asked, once a minute at most, when any of `asked` is there: without a scope there
    is nothing to check.
    """
    if not any(asked):
        return SCHEMAS
    return await deps.models.scope_schemas() or SCHEMAS


def checked(scope: Json, known: Mapping[str, Json]) -> list[Json]:
    """The scope in its stored form; InvalidArgument names the failing path.

    `known`: what `declared` gave.
    """
    normal = domain_scope.normalise(scope)
    _refuse_missing_models(normal, known)
    schemas.check(normal, _assembled(known), "Invalid audit scope")
    for item in normal:
        domain_scope.check_compute_rules(item.get("compute", ()))
        element_scope.check_storage_rules(item.get("storage", ()))
    return normal


def _refuse_missing_models(scope: list[dict[str, Json]], known: Mapping[str, Json]) -> None:
    for number, item in enumerate(scope):
        for model in item:
            if model in SCHEMAS and model not in known:
                raise InvalidArgument(
                    f"Invalid audit scope at /{number}: collector holds no {model} model; name it "
                    "in [collector] collector_plugins."
                )


def _assembled(known: Mapping[str, Json]) -> Mapping[str, Json]:
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {model: dict(schema) for model, schema in known.items()},
            "additionalProperties": False,
        },
    }


def cut(snapshot: ComputeSnapshot, scope: Json) -> ComputeSnapshot:
    """The part of the model that an audit of this scope sees."""
    return domain_scope.scoped(snapshot, scope).snapshot
