"""The members that several resources have in common."""

from __future__ import annotations

from trimtab_common.domain.fields import Field, JsonType, Kept, Shown

SHORT, DETAIL, NEVER = Shown.SHORT, Shown.DETAIL, Shown.NEVER
STRING, OBJECT, LIST = JsonType.STRING, JsonType.OBJECT, JsonType.LIST
INTEGER, BOOLEAN, NUMBER = JsonType.INTEGER, JsonType.BOOLEAN, JsonType.NUMBER
NAIVE, ZONED = JsonType.NAIVE_TIME, JsonType.ZONED_TIME


def uuid() -> Field:
    """The public identity."""
    return Field(name="uuid", type=STRING, shown=SHORT, max_length=36)


def row_id(*, shown: Shown = NEVER) -> Field:
    """The number of the row; only services show it."""
    return Field(name="id", type=INTEGER, shown=shown)


def times(*, shown: Shown = DETAIL) -> tuple[Field, Field, Field]:
    """When the row came, changed and was soft-deleted."""
    return (
        Field(name="created_at", type=ZONED, shown=shown, nullable=True),
        Field(name="updated_at", type=ZONED, shown=shown, nullable=True),
        Field(name="deleted_at", type=ZONED, shown=shown, nullable=True),
    )


def joined(name: str, *, nullable: bool = False, shown: Shown = SHORT) -> Field:
    """A value out of a related row."""
    return Field(name=name, type=STRING, shown=shown, kept=Kept.JOINED, nullable=nullable)


def key(name: str, *, nullable: bool = False) -> Field:
    """The number of a related row."""
    return Field(name=name, type=INTEGER, shown=NEVER, nullable=nullable)


def state() -> Field:
    """Where the resource stands in `lifecycle`."""
    return Field(name="state", type=STRING, shown=SHORT, patchable=True, max_length=20)


def status_message(*, patchable: bool = False) -> Field:
    """Why it stands there; from 1.5 on."""
    return Field(
        name="status_message",
        type=STRING,
        nullable=True,
        since=5,
        patchable=patchable,
        max_length=255,
        cut=True,
    )


def body(name: str, *, patchable: bool = False, removable: bool = False) -> Field:
    """A member of request bodies only, resolved to another field."""
    return Field(
        name=name,
        type=STRING,
        shown=NEVER,
        kept=Kept.BODY,
        nullable=True,
        on_create=True,
        patchable=patchable,
        removable=removable,
    )


def own(name: str, type_: JsonType) -> Field:
    """A column that Watcher's API does not know."""
    return Field(name=name, type=type_, shown=NEVER, nullable=True, sortable=False)
