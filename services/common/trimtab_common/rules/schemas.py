"""JSON Schema draft 4, the one validator of free-form JSON (A-108)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema
from jsonschema import exceptions as schema_exceptions

from trimtab_common.domain.errors import InvalidArgument

Json = Any


def problem_of(value: Json, schema: Mapping[str, Json]) -> tuple[str, str] | None:
    """Where and how `value` breaks the schema, the worst first; None when it does not.

    The place is a path such as `/hosts/0/port`, empty for the value as a whole.
    """
    problem = schema_exceptions.best_match(
        jsonschema.Draft4Validator(dict(schema)).iter_errors(value)
    )
    if problem is None:
        return None
    return "".join(f"/{part}" for part in problem.absolute_path), problem.message


def check(value: Json, schema: Mapping[str, Json], what: str) -> None:
    """InvalidArgument naming the failing path when `value` breaks the `schema`."""
    problem = problem_of(value, schema)
    if problem is not None:
        path, message = problem
        raise InvalidArgument(f"{what}{f' at {path}' if path else ''}: {message}")
