"""Models of plain rows by kind and key: storage and baremetal, which are small beside compute.

Same shape as `domain.compute`: rows compare by value, changes are applied in order, a digest stands
for the content whatever the order of its making.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from trimtab_common.domain.changes import SetHealth
from trimtab_common.domain.errors import InvalidArgument

_MASK = (1 << 128) - 1


class Row(Protocol):
    """A frozen dataclass: one element of a model."""

    KIND: ClassVar[str]
    """Names the type of element, e.g. "volume"."""

    @property
    def key(self) -> str:
        """What it is found by among its kind."""
        ...


def check_row(row: Row, key: str, **amounts: float) -> None:
    """InvalidArgument: an element without a key, or an amount below zero (C-019)."""
    if not key:
        raise InvalidArgument(f"A {row.KIND} needs a key.")
    wrong = [f"{name} is {amount}" for name, amount in amounts.items() if not amount >= 0]
    if wrong:
        raise InvalidArgument(f"{row.KIND} {key}: {', '.join(wrong)}; it must not be below zero.")


@dataclass(frozen=True, slots=True)
class Upsert:
    """Add an element, or replace the one with this key."""

    row: Row


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an element; one that is not there is no error."""

    kind: str
    key: str


ElementChange = Upsert | Remove | SetHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementSnapshot:
    """The content at one instant: per kind the rows, sorted by key."""

    epoch: str
    revision: int
    taken_at: datetime
    rows: Mapping[str, tuple[Any, ...]]
    partial: bool = False
    stale_reason: str = ""
    missing: tuple[str, ...] = ()

    def of(self, kind: str) -> tuple[Any, ...]:
        """The rows of a kind."""
        return self.rows.get(kind, ())


class ElementModel:
    """A mutable model of these kinds. Not thread-safe; look-ups by key are O(1).

    inside: for a kind of elements, how to tell what one of them is in; `members` finds them by it.
    """

    def __init__(
        self,
        kinds: Iterable[str],
        *,
        epoch: str = "",
        revision: int = 0,
        inside: Mapping[str, Callable[[Any], str]] | None = None,
    ) -> None:
        self.epoch = epoch
        self.revision = revision
        self.taken_at = datetime.now(UTC)
        self.health = SetHealth()
        self._rows: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
        self._inside = dict(inside or {})
        self._members: dict[tuple[str, str], set[str]] = {}
        self._hashes: dict[tuple[str, str], int] = {}
        self._sum = 0
        self._cached: ElementSnapshot | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many elements of each kind there are."""
        return {kind: len(rows) for kind, rows in self._rows.items()}

    def find(self, kind: str, key: str) -> Any:
        """The row, or None."""
        return self._rows[kind].get(key)

    def rows(self, kind: str) -> Iterable[Any]:
        """All rows of a kind, in no order."""
        return self._rows[kind].values()

    def members(self, kind: str, container: str) -> frozenset[str]:
        """Keys of the elements of a kind that are in this one; the container need not be here."""
        return frozenset(self._members.get((kind, container), ()))

    def apply(self, changes: Iterable[Any]) -> int:
        """Apply changes in order; how many of them changed anything. InvalidArgument."""
        applied = sum([self._apply_one(change) for change in changes])
        if applied:
            self._cached = None
        return applied

    def move_to(self, *, revision: int, at: datetime) -> None:
        """Say which revision this content is, and when it was true."""
        self.revision = revision
        self.taken_at = at
        self._cached = None

    def changes_to(self, rows: Iterable[Any], health: SetHealth) -> list[ElementChange]:
        """The fewest changes that make this model equal to these rows; nothing is applied."""
        wanted: dict[str, dict[str, Any]] = {kind: {} for kind in self._rows}
        for row in rows:
            wanted[row.KIND][row.key] = row
        changes: list[ElementChange] = [
            Upsert(row)
            for kind, found in wanted.items()
            for key, row in found.items()
            if self._rows[kind].get(key) != row
        ]
        changes += [
            Remove(kind, key)
            for kind, found in self._rows.items()
            for key in found
            if key not in wanted[kind]
        ]
        if health != self.health:
            changes.append(health)
        return changes

    def digest(self) -> str:
        """Hex digest of the content."""
        return f"{self._sum & _MASK:032x}"

    def digest_some(self, most: int) -> bool:  # noqa: ARG002, as ComputeModel's
        """False: each change brings its own part of the digest."""
        return False

    def snapshot(self) -> ElementSnapshot:
        """The content now, immutable; the same object until something changes."""
        if self._cached is None:
            self._cached = ElementSnapshot(
                epoch=self.epoch,
                revision=self.revision,
                taken_at=self.taken_at,
                rows={
                    kind: tuple([found[key] for key in sorted(found)])
                    for kind, found in self._rows.items()
                },
                partial=self.health.partial,
                stale_reason=self.health.stale_reason,
                missing=self.health.missing_hosts,
            )
        return self._cached

    def _apply_one(self, change: ElementChange) -> bool:
        if isinstance(change, SetHealth):
            changed = change != self.health
            self.health = change
            return changed
        if isinstance(change, Remove):
            gone = self._rows.get(change.kind, {}).pop(change.key, None)
            self._sum -= self._hashes.pop((change.kind, change.key), 0)
            if gone is not None:
                self._leave(gone)
            return gone is not None
        row = change.row
        found = self._rows.get(row.KIND)
        if found is None:
            raise InvalidArgument(f"A model of {', '.join(self._rows)} has no {row.KIND}.")
        known = found.get(row.key)
        if known == row:
            return False
        if known is not None:
            self._leave(known)
        found[row.key] = row
        if (tell := self._inside.get(row.KIND)) is not None:
            self._members.setdefault((row.KIND, tell(row)), set()).add(row.key)
        self._sum -= self._hashes.get((row.KIND, row.key), 0)
        hashed = self._hashes[row.KIND, row.key] = _hash(row)
        self._sum += hashed
        return True

    def _leave(self, row: Any) -> None:
        tell = self._inside.get(row.KIND)
        if tell is None:
            return
        place = (row.KIND, tell(row))
        self._members[place].discard(row.key)
        if not self._members[place]:
            del self._members[place]


def _hash(row: Any) -> int:
    parts = [row.KIND]
    parts += [_canonical(getattr(row, field.name)) for field in dataclasses.fields(row)]
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=16).digest(), "big")


def _canonical(value: Any) -> Any:
    """Equal values give equal texts in every process."""
    if isinstance(value, Mapping):
        return [(key, _canonical(value[key])) for key in sorted(value)]
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_canonical(item) for item in value]
    if dataclasses.is_dataclass(value):
        return [_canonical(getattr(value, field.name)) for field in dataclasses.fields(value)]
    return value
