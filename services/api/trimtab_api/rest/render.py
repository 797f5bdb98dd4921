"""Records to Watcher's JSON, by the declarative description of each resource (A-006, A-007)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import orjson

from trimtab_common.domain.records import EfficacyIndicator
from trimtab_common.domain.resources import Field, JsonType, Kept, Resource

Json = Any
Computed = Mapping[str, Callable[[Any], Json]]
"""How to compute the fields that no row holds: field name -> function of the record."""

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Makes links that start with the origin as the client sees it (A-012)."""

    origin: str

    def item(self, collection: str, ident: str) -> list[dict[str, str]]:
        """Self first, then bookmark (A-031)."""
        return [
            {"href": f"{self.origin}/v1/{collection}/{ident}", "rel": "self"},
            {"href": f"{self.origin}/{collection}/{ident}", "rel": "bookmark"},
        ]

    def collection(self, collection: str) -> list[dict[str, str]]:
        """As `item`, with the slash at the end that the version document shows (A-002)."""
        return self.item(collection, "")


def item(
    resource: Resource,
    record: Any,
    *,
    fields: Iterable[Field],
    links: Links,
    computed: Computed | None = None,
) -> dict[str, Json]:
    """One resource as JSON: the given fields in order, then links. Null members stay."""
    shown = {field.name: _value(field, record, computed or {}) for field in fields}
    ident = str(record.id if "uuid" not in resource.by_name else record.uuid)
    shown["links"] = links.item(resource.plural, ident)
    return shown


def _value(field: Field, record: Any, computed: Computed) -> Json:
    if field.kept is Kept.COMPUTED:
        return computed[field.name](record)
    return to_json(field.type, getattr(record, field.name))


def to_json(type_: JsonType, value: Any) -> Json:
    """A record's value as it stands in JSON."""
    if isinstance(value, datetime):
        aware = value.astimezone(UTC)
        return (aware.replace(tzinfo=None) if type_ is JsonType.NAIVE_TIME else aware).isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [to_json(type_, member) for member in value]
    if isinstance(value, EfficacyIndicator):
        return {
            "name": value.name,
            "description": value.description,
            "unit": value.unit,
            "value": value.value,
        }
    return value


def dumps(value: Json) -> bytes:
    """Compact UTF-8 JSON."""
    return orjson.dumps(value)


def chunked(body: bytes) -> tuple[bytes, ...]:
    """The body in pieces that fit a gRPC message."""
    return tuple(body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES))
