"""Checks an audit's parameters against a strategy's schema and fills the defaults (B-031, B-033).

Used wherever a strategy is about to run: audits, what-if, simulate.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import jsonschema

from trimtab_common.domain.errors import InvalidArgument


def check_parameters(schema: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with defaults filled in; InvalidArgument names the one that is wrong.

    Unknown keys are refused at every object level that lists its properties.
    """
    result: dict[str, Any] = copy.deepcopy(dict(given))
    _refuse_unknown(schema, result)
    _fill_defaults(schema, result)
    validator = jsonschema.Draft4Validator(dict(schema))
    error = jsonschema.exceptions.best_match(validator.iter_errors(result))
    if error is not None:
        where = "/".join(str(part) for part in error.absolute_path)
        raise InvalidArgument(f"Invalid parameter{' ' + where if where else 's'}: {error.message}")
    return result


def _refuse_unknown(schema: Mapping[str, Any], value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _refuse_unknown(schema.get("items", {}), item)
        return
    properties = schema.get("properties")
    if not isinstance(value, Mapping) or not properties:
        return
    unknown = sorted(set(value) - set(properties))
    if unknown:
        raise InvalidArgument(f"Audit parameter {', '.join(unknown)} are not allowed")
    for name, inner in value.items():
        _refuse_unknown(properties[name], inner)


def _fill_defaults(schema: Mapping[str, Any], value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _fill_defaults(schema.get("items", {}), item)
        return
    if not isinstance(value, dict):
        return
    for name, inner in schema.get("properties", {}).items():
        if "default" in inner and name not in value:
            value[name] = copy.deepcopy(inner["default"])
        if name in value:
            _fill_defaults(inner, value[name])
