"""Checks audit parameters against a strategy's JSON schema and fills in its defaults (A-054)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import jsonschema
from jsonschema import exceptions as schema_exceptions

from trimtab_common.domain.errors import InvalidArgument

Json = Any


def checked(given: Mapping[str, Json], schema: Mapping[str, Json] | None) -> dict[str, Json]:
    """`given` with the schema's defaults filled in; the arguments stay as they are.

    InvalidArgument: parameters without a schema to check them, an unknown name, a wrong value.
    """
    properties = (schema or {}).get("properties") or {}
    if not schema or not properties:
        if given:
            raise InvalidArgument(
                "Specify parameters but no predefined strategy for audit, or no parameter spec in "
                "predefined strategy"
            )
        return {}
    unknown = [name for name in given if name not in properties]
    if unknown:
        raise InvalidArgument(f"Audit parameter {', '.join(unknown)} are not allowed")
    filled = with_defaults(given, schema)
    check(filled, schema, "Invalid parameters for strategy")
    assert isinstance(filled, dict)  # noqa: S101, an object in gives an object out
    return filled


def with_defaults(value: Json, schema: Mapping[str, Json]) -> Json:
    """A deep copy of `value` in which absent members have their default, at every depth."""
    if isinstance(value, Mapping):
        result = {key: copy.deepcopy(member) for key, member in value.items()}
        for name, inner in (schema.get("properties") or {}).items():
            if name in result:
                result[name] = with_defaults(result[name], inner)
            elif "default" in inner:
                result[name] = with_defaults(inner["default"], inner)
        return result
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, Mapping):
            return [with_defaults(item, items) for item in value]
    return copy.deepcopy(value)


def check(value: Json, schema: Mapping[str, Json], what: str) -> None:
    """InvalidArgument naming the failing path when `value` breaks the draft 4 `schema`."""
    problem = schema_exceptions.best_match(
        jsonschema.Draft4Validator(dict(schema)).iter_errors(value)
    )
    if problem is not None:
        path = "/".join(str(part) for part in problem.absolute_path)
        where = f" at /{path}" if path else ""
        raise InvalidArgument(f"{what}{where}: {problem.message}")
