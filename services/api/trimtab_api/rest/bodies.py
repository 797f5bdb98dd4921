"""Checks request bodies against the declarative description: names, types, lengths, versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from trimtab_api.rest import versions
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.resources import Below, Field, JsonType, Resource
from trimtab_common.rules import times

Json = Any
TRUE_WORDS = frozenset({"1", "t", "true", "on", "y", "yes"})
FALSE_WORDS = frozenset({"0", "f", "false", "off", "n", "no"})
ALSO_INTEGER = frozenset({"interval"})
"""Text fields in which clients may send a number (A-052)."""
MAX_SHOWN = 200
MAX_DEPTH = 64


def load(body: bytes) -> Json:
    """The JSON of a body. InvalidArgument when it is none, or holds text that no store keeps."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"Invalid JSON in the request body: {error}") from None
    _check_tree(value, depth=0)
    return value


def created(resource: Resource, body: bytes, *, minor: int) -> dict[str, Json]:
    """The members of a POST body, converted; null members count as absent (A-008).

    InvalidArgument: not an object, unknown or read-only member, wrong type, missing member.
    NotAcceptable: a member that needs a higher microversion.
    """
    value = load(body) if body.strip() else {}
    if not isinstance(value, dict):
        raise InvalidArgument("The request body must be a JSON object.")
    members = {name: member for name, member in value.items() if member is not None}
    for name in value:
        if name not in resource.on_create:
            raise InvalidArgument(f"Unknown attribute: {name}")
    result: dict[str, Json] = {}
    for name, member in members.items():
        field = resource.by_name[name]
        gate(field, member, minor=minor)
        result[name] = coerced(field, member)
    for field in resource.fields:
        if field.required and field.name not in result:
            raise invalid(field.name, None, "Mandatory field missing.")
    return result


def list_of_texts(body: bytes, name: str) -> list[str]:
    """The one member `name` of an optional body; empty when it is absent or null."""
    value = load(body) if body.strip() else {}
    if not isinstance(value, dict):
        raise InvalidArgument("The request body must be a JSON object.")
    for key in value:
        if key != name:
            raise InvalidArgument(f"Unknown attribute: {key}")
    items = value.get(name) or []
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise invalid(name, items, "It must be a list of texts.")
    return items


def gate(field: Field, value: Json, *, minor: int) -> None:
    """NotAcceptable when the field is newer than the request's microversion (table §1.3)."""
    is_empty_default = field.type is JsonType.OBJECT and not value
    if field.below is Below.REFUSED and not is_empty_default:
        versions.require(minor, field.since)


def coerced(field: Field, value: Json) -> Json:
    """The value as the use cases want it; InvalidArgument naming the field when it is wrong."""
    if field.name == "scope" and isinstance(value, dict):
        return value
    result = _CONVERTERS[field.type](field, value)
    bound = None if field.cut else field.max_length
    if bound is not None and isinstance(result, str) and len(result) > bound:
        raise invalid(field.name, value, f"Value should have at most {bound} characters.")
    return result


def invalid(name: str, value: Json, why: str) -> InvalidArgument:
    """The error for one wrong field."""
    shown = str(value)
    cut = shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."
    return InvalidArgument(f"Invalid input for field/attribute {name}. Value: '{cut}'. {why}")


def _text(field: Field, value: Json) -> Json:
    if isinstance(value, str):
        return value
    if field.name in ALSO_INTEGER and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise invalid(field.name, value, "It must be text.")


def _boolean(field: Field, value: Json) -> Json:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if isinstance(value, str | int) and word in TRUE_WORDS | FALSE_WORDS:
        return word in TRUE_WORDS
    raise invalid(field.name, value, "It must be true or false.")


def _object(field: Field, value: Json) -> Json:
    if isinstance(value, dict):
        return value
    raise invalid(field.name, value, "It must be a JSON object.")


def _list(field: Field, value: Json) -> Json:
    if isinstance(value, list):
        return value
    raise invalid(field.name, value, "It must be a JSON list.")


def _time(field: Field, value: Json) -> Json:
    if isinstance(value, str):
        return times.parsed(value)
    raise invalid(field.name, value, "It must be ISO 8601 text.")


_CONVERTERS: Mapping[JsonType, Callable[[Field, Json], Json]] = {
    JsonType.STRING: _text,
    JsonType.BOOLEAN: _boolean,
    JsonType.OBJECT: _object,
    JsonType.LIST: _list,
    JsonType.NAIVE_TIME: _time,
}


def _check_tree(value: Json, *, depth: int) -> None:
    """Refuses what no store keeps: NUL characters, and nesting that would exhaust the stack."""
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"The request body is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, str):
        if "\x00" in value:
            raise InvalidArgument("The request body holds a NUL character.")
    elif isinstance(value, dict):
        for key, member in value.items():
            _check_tree(key, depth=depth + 1)
            _check_tree(member, depth=depth + 1)
    elif isinstance(value, list):
        for member in value:
            _check_tree(member, depth=depth + 1)
