"""Filters and orders of typed lists: a small, exact part of AIP-160 and AIP-132.

    state = ONGOING OR state = PENDING AND created_at > "2026-01-31T00:00:00Z"

Terms are `field op value`; OR binds closer than AND (AIP-160) and joins `=` terms of one field.
Which fields there are, and their types, is the resource's description.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.resources import Field, JsonType, Kept, Resource, Shown

MAX_LENGTH = 2000
MAX_TERMS = 20
_OPERATORS = {"=": "", "!=": "neq", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(<=|>=|!=|=|<|>)|([^\s"=<>!()]+))')
_MAX_INTEGER = 2**31 - 1
_FILTERED = frozenset(
    {
        *(JsonType.STRING, JsonType.INTEGER, JsonType.BOOLEAN),
        *(JsonType.ZONED_TIME, JsonType.NAIVE_TIME),
    }
)
_Term = tuple[str, str, str, bool]
"""Field, operator, text, whether it was quoted."""

TYPED_NAMES: Mapping[str, Mapping[str, str]] = {
    "strategy": {"goal": "goal"},
    "audit_template": {"goal": "goal", "strategy": "strategy"},
    "audit": {
        "goal": "goal",
        "strategy": "strategy",
        "next_run_at": "next_run_time",
        "start_at": "start_time",
        "end_at": "end_time",
    },
    "action_plan": {"audit": "audit", "strategy": "strategy"},
    "action": {"action_plan": "action_plan_uuid"},
    "service": {"last_seen_at": "last_seen_up"},
}
"""Resource -> name in the typed messages -> name in the description, or of the store's filter that
takes a uuid or a name."""


def typed_name(resource: Resource, name: str) -> str:
    """What the typed messages call this field of the description."""
    renamed = TYPED_NAMES.get(resource.name, {})
    return next((typed for typed, stored in renamed.items() if stored == name), name)


def parse(resource: Resource, text: str) -> dict[str, Any]:
    """The store's filters of a filter text. InvalidArgument says what cannot be read, and where."""
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(f"filter has more than {MAX_LENGTH} characters.")
    result: dict[str, Any] = {}
    for terms in _conjunction(_tokens(text)):
        key, value = _condition(resource, terms)
        if key in result:
            raise InvalidArgument(
                f"filter names {terms[0][0]} {terms[0][1]} twice; join alternatives by OR."
            )
        result[key] = value
    return result


def order(resource: Resource, text: str) -> tuple[str, Literal["asc", "desc"]]:
    """Sort key and direction of `field [asc|desc]`; InvalidArgument names the fields there are."""
    words = text.split()
    if not words:
        return "id", "asc"
    name, direction = words[0], words[1].lower() if len(words) > 1 else "asc"
    known = {
        typed: stored for typed, stored in _names(resource).items() if stored in resource.sort_keys
    }
    known["id"] = "id"
    if len(words) > 2 or direction not in ("asc", "desc") or name not in known:  # noqa: PLR2004, a field and a direction
        raise InvalidArgument(
            f"order_by '{text[:100]}' must be one of {', '.join(sorted(known))}, "
            "with asc or desc behind it."
        )
    return known[name], "asc" if direction == "asc" else "desc"


def _names(resource: Resource) -> dict[str, str]:
    """Typed name -> stored name, of all fields that can be compared."""
    renamed = TYPED_NAMES.get(resource.name, {})
    hidden = set(renamed.values())
    own = {
        field.name: field.name
        for field in resource.fields
        if field.shown is not Shown.NEVER
        and field.kept in (Kept.COLUMN, Kept.JOINED)
        and field.type in _FILTERED
        and field.name not in hidden
    }
    return {**own, **renamed}


def _tokens(text: str) -> list[tuple[str, str]]:
    """(kind, text) with kind string, op or word."""
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise InvalidArgument(
                f"filter cannot be read from character {at + 1} on: '{text[at : at + 20]}'. "
                "Use terms like state = ONGOING, joined by AND and OR, without brackets."
            )
        kind = ("string", "op", "word")[(match.lastindex or 1) - 1]
        found.append((kind, match.group(match.lastindex or 1)))
        at = match.end()
    return found


def _conjunction(tokens: list[tuple[str, str]]) -> list[list[_Term]]:
    """The AND-joined groups of OR-joined terms."""
    groups: list[list[_Term]] = []
    joined_by = "AND"
    for start in range(0, len(tokens), 4):
        part = tokens[start : start + 4]
        shape = [kind for kind, _ in part[:3]]
        if len(part) == 4 and part[3] not in (("word", "AND"), ("word", "OR")):  # noqa: PLR2004, three tokens a term and one between
            raise InvalidArgument(f"filter needs AND or OR before '{part[3][1][:40]}'.")
        if shape not in (["word", "op", "word"], ["word", "op", "string"]) or (
            len(part) == 4 and start + 4 == len(tokens)  # noqa: PLR2004, as above
        ):
            shown = " ".join(text for _, text in part)[:80]
            raise InvalidArgument(f"filter has no whole term at '{shown}': field, operator, value.")
        value, quoted = part[2][1], shape[2] == "string"
        if quoted:
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        term = (part[0][1], part[1][1], value, quoted)
        if joined_by == "OR":
            groups[-1].append(term)
        else:
            groups.append([term])
        joined_by = part[3][1] if len(part) == 4 else "AND"  # noqa: PLR2004, as above
        if start > 4 * MAX_TERMS:
            raise InvalidArgument(f"filter has more than {MAX_TERMS} terms.")
    return groups


def _condition(resource: Resource, terms: list[_Term]) -> tuple[str, Any]:
    names = _names(resource)
    name, operator, _, _ = terms[0]
    if name not in names:
        raise InvalidArgument(
            f"filter names '{name[:60]}', which is none of {', '.join(sorted(names))}."
        )
    stored = names[name]
    field = resource.by_name.get(stored)
    if field is None or field.kept is Kept.BODY:  # a filter by uuid or name
        if len(terms) > 1 or operator != "=":
            raise InvalidArgument(f"filter takes {name} with one = only, by uuid or name.")
        return stored, terms[0][2]
    values = [_value(field, name, text, quoted=quoted) for _, _, text, quoted in terms]
    if len(terms) == 1:
        if values[0] is None and operator not in ("=", "!="):
            raise InvalidArgument(f"filter compares {name} with null by {operator}; use = or !=.")
        suffix = _OPERATORS[operator]
        return (f"{stored}__{suffix}" if suffix else stored), values[0]
    if any((other, op) != (name, "=") for other, op, _, _ in terms) or None in values:
        raise InvalidArgument("filter joins by OR only `=` terms of one field.")
    return f"{stored}__in", values


def _value(field: Field, name: str, text: str, *, quoted: bool) -> Any:
    if not quoted and text == "null":
        return None
    if field.type is JsonType.BOOLEAN:
        if text in ("true", "false"):
            return text == "true"
        raise InvalidArgument(f"filter needs true or false for {name}, not '{text[:60]}'.")
    if field.type is JsonType.INTEGER:
        if text.isascii() and text.isdigit() and int(text[:11]) <= _MAX_INTEGER:
            return int(text)
        raise InvalidArgument(f"filter needs a whole number for {name}, not '{text[:60]}'.")
    if field.type is JsonType.STRING:
        return text
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"filter needs a time such as \"2026-01-31T08:00:00Z\" for {name}, not '{text[:60]}'."
        ) from None
