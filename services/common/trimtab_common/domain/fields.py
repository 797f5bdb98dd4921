"""The words in which `resources` describes what is stored and shown: Field and Resource.

On the main path: nothing here runs by itself; `api` and the store read the descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum


class Since(IntEnum):
    """Minor versions of whole features; fields carry their own `since`.

    The highest of all is `resources.MAX_MINOR`; docs/rest-api-history.md must tell what each
    brought.
    """

    DATA_MODEL = 3
    WEBHOOKS = 4
    PATCH_ACTIONS = 5
    DATA_MODEL_EXTENDED = 6
    ROLLBACK = 8
    DATA_MODEL_KINDS = 8
    UNMAPPED_SERVERS = 8


class JsonType(StrEnum):
    """How a value stands in Watcher's JSON."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    OBJECT = "object"
    LIST = "list"
    ZONED_TIME = "zoned_time"
    """ISO 8601 with +00:00 (A-007)."""
    NAIVE_TIME = "naive_time"
    """ISO 8601, UTC without offset (A-007)."""


class Shown(Enum):
    """Where a field appears."""

    SHORT = "short"
    """In lists and in details."""
    DETAIL = "detail"
    """In /detail, show, create and PATCH answers only."""
    NEVER = "never"
    """A column or a body member that no answer carries."""


class Kept(Enum):
    """Where the value lives."""

    COLUMN = "column"
    """In the resource's own row; the record has the attribute."""
    JOINED = "joined"
    """In a related row; the record has the attribute, filled by every read."""
    COMPUTED = "computed"
    """Nowhere: `api` computes it at reading."""
    BODY = "body"
    """Nowhere: a member of request bodies only, resolved to another field."""


class Ident(Enum):
    """What may stand in a path for the resource (A-032)."""

    ID_UUID_NAME = "id, uuid or name"
    UUID = "uuid only, else 400"
    ID_NAME = "id or name"


class Below(Enum):
    """What a POST that carries the field below its microversion gets."""

    REFUSED = "406"
    ACCEPTED = "accepted silently"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `since`: minor microversion that shows it; `max_length` in characters.

    `cut`: longer text is cut, not refused (A-131).
    """

    name: str
    type: JsonType
    shown: Shown = Shown.DETAIL
    kept: Kept = Kept.COLUMN
    nullable: bool = False
    since: int = 0
    below: Below = Below.REFUSED
    on_create: bool = False
    required: bool = False
    patchable: bool = False
    removable: bool = False
    sortable: bool = True
    max_length: int | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource. `filters`: query parameter -> field of the store's list filter.

    `page_sort_keys`: accepted as sort_key, but sorted within the page, ties by uuid (A-028).
    """

    name: str
    plural: str
    record: type | None
    fields: tuple[Field, ...]
    ident: Ident = Ident.ID_UUID_NAME
    marker_must_be_uuid: bool = False
    filters: Mapping[str, str] = field(default_factory=dict)
    page_sort_keys: tuple[str, ...] = ()
    patch_since: int = 0

    @property
    def by_name(self) -> dict[str, Field]:
        """The fields by their name."""
        return {item.name: item for item in self.fields}

    def listed(self, *, minor: int) -> tuple[Field, ...]:
        """The fields of the short list at microversion 1.`minor`, in order."""
        return tuple(f for f in self.fields if f.shown is Shown.SHORT and f.since <= minor)

    def detailed(self, *, minor: int) -> tuple[Field, ...]:
        """The fields of show and /detail at microversion 1.`minor`, in order."""
        return tuple(f for f in self.fields if f.shown is not Shown.NEVER and f.since <= minor)

    @property
    def on_create(self) -> frozenset[str]:
        """The members a POST body may have."""
        return frozenset(f.name for f in self.fields if f.on_create)

    @property
    def patchable(self) -> frozenset[str]:
        """The root members that a PATCH may add or replace."""
        return frozenset(f.name for f in self.fields if f.patchable)

    @property
    def removable(self) -> frozenset[str]:
        """The root members that a PATCH may remove."""
        return frozenset(f.name for f in self.fields if f.removable)

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields in the resource's own row."""
        return tuple(f.name for f in self.fields if f.kept is Kept.COLUMN)

    @property
    def sort_keys(self) -> frozenset[str]:
        """What the store sorts by; the API accepts these and `page_sort_keys`."""
        return frozenset(f.name for f in self.fields if f.kept is Kept.COLUMN and f.sortable)
