"""Names of servers and what few of them have, read out of the rows that a snapshot shares.

A tuple and mappings in all but their making: 200,000 of them are there at once, and one that is read
costs half a microsecond. They can be pickled, as the tuple and the dictionary that they stand for.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.pieces import REST, SHIFT

if TYPE_CHECKING:
    from trimtab_common.domain.changes import ServerRow
    from trimtab_common.domain.server_table import ServerColumns

V = TypeVar("V")
_AT_ONCE = 4096
"""Elements that a walk through all of them gathers before it hands on the first."""


class ServerTexts(NamedTuple):
    """Rows by slot, in pieces that nobody changes; one that is None is in the columns that came."""

    rows: tuple[list[ServerRow | None], ...]
    came: ServerColumns

    def name(self, slot: int) -> str:
        """The name of the server in this slot."""
        row = self.rows[slot >> SHIFT][slot & REST]
        return self.came.names[slot] if row is None else row.name

    def attribute(self, slot: int, name: str) -> Any:
        """One of `Attributes` of the server in this slot, which has it."""
        row = self.rows[slot >> SHIFT][slot & REST]
        return getattr(self.came.attributes[slot] if row is None else row, name)


class ServerNames(Sequence[str]):
    """Names by index of the server. order: [V] the slot of each."""

    __slots__ = ("_order", "_texts")

    def __init__(self, texts: ServerTexts, order: NDArray[np.intp]) -> None:
        self._texts = texts
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[str, ...]: ...
    def __getitem__(self, key: int | slice) -> str | tuple[str, ...]:
        if isinstance(key, slice):
            return tuple(map(self._texts.name, self._order[key].tolist()))
        return self._texts.name(int(self._order[key]))

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self._order), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]

    def taken(self, servers: NDArray[np.intp]) -> ServerNames:
        """Those of these servers, in this order."""
        return ServerNames(self._texts, self._order[servers])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, tuple | ServerNames):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (list(self),)


class ServerAttribute(Mapping[int, V]):
    """One of `Attributes` by index of the server. here: [V] who has it; order: [V] the slot of each."""

    __slots__ = ("_here", "_length", "_name", "_order", "_texts")

    def __init__(
        self, name: str, texts: ServerTexts, order: NDArray[np.intp], here: NDArray[np.bool_]
    ) -> None:
        self._name = name
        self._texts = texts
        self._order = order
        self._here = here
        self._length = int(np.count_nonzero(here))

    def __len__(self) -> int:
        return self._length

    def __contains__(self, server: object) -> bool:
        if not isinstance(server, int | np.integer):
            return False
        return bool(0 <= server < len(self._here) and self._here[server])

    def __getitem__(self, server: int) -> V:
        if server not in self:
            raise KeyError(server)
        value: V = self._texts.attribute(int(self._order[server]), self._name)
        return value

    def get(self, server: int, default: Any = None) -> Any:
        """The same, or the default where there is none."""
        if server not in self:
            return default
        return self._texts.attribute(int(self._order[server]), self._name)

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self._here).tolist())

    def items(self) -> ItemsView[int, V]:
        """All, by index of the server."""
        return _Items(self)

    def within(self, part: range) -> Iterator[tuple[int, V]]:
        """Those of servers next to each other, by index."""
        for start in range(part.start, part.stop, _AT_ONCE):
            stop = min(start + _AT_ONCE, part.stop)
            found = np.flatnonzero(self._here[start:stop]) + start
            for server, slot in zip(found.tolist(), self._order[found].tolist(), strict=True):
                yield server, self._texts.attribute(slot, self._name)

    def pairs(self) -> Iterator[tuple[int, V]]:
        """All of them."""
        return self.within(range(len(self._here)))

    def taken(self, servers: NDArray[np.intp]) -> ServerAttribute[V]:
        """Those of these servers, by their index among these."""
        return ServerAttribute(self._name, self._texts, self._order[servers], self._here[servers])

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (list(self.items()),)


class _Items(ItemsView[int, V]):
    _mapping: ServerAttribute[V]

    def __iter__(self) -> Iterator[tuple[int, V]]:
        return self._mapping.pairs()


def within(column: Mapping[int, V], part: range) -> Iterable[tuple[int, V]]:
    """What a sparse mapping says of servers next to each other, by index; empty values left out."""
    if isinstance(column, ServerAttribute):
        return column.within(part)
    return ((server, value) for server in part if (value := column.get(server)))
