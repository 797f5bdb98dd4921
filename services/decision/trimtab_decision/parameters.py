"""An audit's parameters against a strategy's schema: checked, defaults filled in (B-031, A-054).

Runs before a strategy does, because an audit may have been stored by an older schema.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

from trimtab_decision.errors import ParametersRefused

Schema = Mapping[str, Any]


def complete(schema: Schema, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with the schema's defaults, both checked; `given` is left as it is.

    ParametersRefused names the first unknown key, or what is wrong and where.
    """
    unknown = sorted(_unknown_keys(schema, given))
    if unknown:
        raise ParametersRefused(f"Audit parameter {', '.join(unknown)} are not allowed")
    filled = _with_defaults(schema, given)
    validator = jsonschema.Draft4Validator(schema)
    error = jsonschema.exceptions.best_match(validator.iter_errors(filled))
    if error is not None:
        where = "/".join(str(part) for part in error.absolute_path)
        raise ParametersRefused(
            f"Invalid parameter {where}: {error.message}" if where else error.message
        )
    return filled


def _unknown_keys(schema: Schema, given: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Keys that no level which lists its properties knows."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    for key, value in given.items():
        if key not in properties:
            yield f"{path}{key}"
        elif isinstance(value, Mapping):
            yield from _unknown_keys(properties[key], value, f"{path}{key}/")


def _with_defaults(schema: Schema, given: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of `given` with the defaults of every level that it has."""
    filled: dict[str, Any] = copy.deepcopy(dict(given))
    for key, sub in schema.get("properties", {}).items():
        if key not in filled and "default" in sub:
            filled[key] = copy.deepcopy(sub["default"])
        if isinstance(filled.get(key), Mapping):
            filled[key] = _with_defaults(sub, filled[key])
    return filled
