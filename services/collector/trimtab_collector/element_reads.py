"""Full reads of storage and baremetal models, and their rows while events are replayed on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trimtab_collector.notifications.outcome import HOST
from trimtab_common.domain import baremetal, storage
from trimtab_common.domain.changes import SetHealth
from trimtab_common.domain.elements import ElementModel, Remove, Upsert

_PREFIX = {
    storage.VOLUME: "",
    storage.POOL: HOST,
    storage.NODE: "node ",
    storage.VOLUME_TYPE: "type ",
    baremetal.NODE: "",
}


def _pool_of(row: Any) -> str:
    return str(row.pool)


def key(kind: str, name: str) -> str:
    """How rules of notifications name an element."""
    return _PREFIX[kind] + name


def key_of(change: Any) -> str | None:
    """The key of the element that a change is about."""
    match change:
        case Upsert(row):
            return key(row.KIND, row.key)
        case Remove(kind, name):
            return key(kind, name)
    return None


def lives(change: Any) -> bool | None:
    """Whether a change says that an element lives, is gone, or neither."""
    if isinstance(change, Upsert):
        return True
    return False if isinstance(change, Remove) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementRead:
    """All elements there are. `since`: events newer than this are not in it."""

    elements: Sequence[Any]
    health: SetHealth
    since: datetime

    def changes_to(self, model: ElementModel) -> list[Any]:
        """What makes the model equal to this."""
        return list(model.changes_to(self.elements, self.health))

    def keys(self) -> set[str]:
        """The keys of all elements."""
        return {key(row.KIND, row.key) for row in self.elements}

    def rows(self) -> ElementRows:
        """The content, to replay events on."""
        return ElementRows(self)


class ElementRows:
    """The rows of a full read, as handlers look at them and change them."""

    def __init__(self, read: ElementRead) -> None:
        self._read = read
        self._rows = {(row.KIND, row.key): row for row in read.elements}

    def find(self, kind: str, name: str) -> Any:
        """The row, or None."""
        return self._rows.get((kind, name))

    def members(self, kind: str, container: str) -> frozenset[str]:
        """Keys of the elements of a kind in this one; looks at all, a read being replayed on rarely."""
        tell = {storage.POOL: lambda row: storage.node_of(row.name), storage.VOLUME: _pool_of}[kind]
        rows = [row for (found, _), row in self._rows.items() if found == kind]
        return frozenset([row.key for row in rows if tell(row) == container])

    def apply(self, changes: Sequence[Any]) -> None:
        """Takes over changes."""
        for change in changes:
            if isinstance(change, Upsert):
                self._rows[change.row.KIND, change.row.key] = change.row
            elif isinstance(change, Remove):
                self._rows.pop((change.kind, change.key), None)

    def read(self) -> ElementRead:
        """A full read of the rows as they are now."""
        return dataclasses.replace(self._read, elements=list(self._rows.values()))
