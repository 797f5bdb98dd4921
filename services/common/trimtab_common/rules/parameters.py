"""Audit parameters: checked against a strategy's schema, defaults filled in (A-054, B-031, B-033).

Whoever takes parameters comes here: audits and templates in `api`, and decision before a strategy
runs (audits, what-if, simulate).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.rules import schemas

Json = Any


def checked(given: Mapping[str, Json], schema: Mapping[str, Json] | None) -> dict[str, Json]:
    """`given` with the schema's defaults filled in; the arguments stay as they are.

    InvalidArgument: parameters without a schema to check them, a wrong value, or an unknown name
    at any level that lists its properties.
    """
    if not schema or not schema.get("properties"):
        if given:
            raise InvalidArgument(
                "Specify parameters but no predefined strategy for audit, or no parameter spec in "
                "predefined strategy"
            )
        return {}
    _refuse_unknown(given, schema)
    filled: dict[str, Json] = _with_defaults(given, schema)
    schemas.check(filled, schema, "Invalid parameters for strategy")
    return filled


def _refuse_unknown(value: Json, schema: Mapping[str, Json]) -> None:
    if isinstance(value, list):
        for item in value:
            _refuse_unknown(item, _items(schema))
    properties = schema.get("properties")
    if not isinstance(value, Mapping) or not properties:
        return
    unknown = [name for name in value if name not in properties]
    if unknown:
        raise InvalidArgument(f"Audit parameter {', '.join(unknown)} are not allowed")
    for name, member in value.items():
        _refuse_unknown(member, properties[name])


def _with_defaults(value: Json, schema: Mapping[str, Json]) -> Json:
    """A deep copy of `value` in which absent members have their default, at every depth."""
    if isinstance(value, list):
        return [_with_defaults(item, _items(schema)) for item in value]
    if not isinstance(value, Mapping):
        return copy.deepcopy(value)
    result = {name: copy.deepcopy(member) for name, member in value.items()}
    for name, inner in (schema.get("properties") or {}).items():
        if name in result:
            result[name] = _with_defaults(result[name], inner)
        elif "default" in inner:
            result[name] = _with_defaults(inner["default"], inner)
    return result


def _items(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    items = schema.get("items")
    return items if isinstance(items, Mapping) else {}
