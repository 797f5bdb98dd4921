"""The servers of a compute model as growing columns, with rows made only for what is asked for.

A snapshot of 200,000 servers comes over the wire as columns and stays so: a row becomes an object
when somebody looks at it or changes it. A removed server's slot is filled with the last one, which
has a row from then on: a server without one is in the slot of its index in the columns that came.
What is no number, names and what few servers have, is in rows and columns that came, nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.changes import ServerRow, hash_plain_server, hash_server, uuid_bytes
from trimtab_common.domain.columns import frozen, grown
from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.pieces import Pieces
from trimtab_common.domain.server_texts import ServerTexts
from trimtab_common.domain.snapshot import NO_HOST

_FIRST_SIZE = 64
DEMAND, STATE, LOCKED, PROJECT, CREATED, IN_FLUX = slice(0, 3), 3, 4, 5, 6, 7
"""Columns of the numbers of a server."""


class Attributes(NamedTuple):
    """What most servers do not have, as in `ServerRow`."""

    metadata: Mapping[str, str]
    state_text: str
    pinned_zone: str
    extra_specs: Mapping[str, Any]
    scheduler_hints: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerColumns:
    """Servers by index. uuid: [V, 16]. numbers: [V, 8], PROJECT is an index into `projects`.

    InvalidArgument: a demand or a time of creation below zero (C-019).
    """

    uuids: list[str]
    uuid: NDArray[np.uint8]
    names: list[str]
    hostnames: list[str]
    numbers: NDArray[np.int64]
    projects: list[str]
    attributes: dict[int, Attributes]

    def __post_init__(self) -> None:
        negative = (self.numbers[:, DEMAND] < 0).any(axis=1) | (self.numbers[:, CREATED] < 0)
        if negative.any():
            self.row(int(negative.argmax()))  # says what is wrong with it

    def row(self, index: int) -> ServerRow:
        """The server at this index as a row."""
        vcpus, memory, disk, state, locked, project, created, in_flux = self.numbers[index].tolist()
        more = self.attributes.get(index, _NO_ATTRIBUTES)
        return ServerRow(
            uuid=self.uuids[index],
            name=self.names[index],
            hostname=self.hostnames[index],
            demand=(vcpus, memory, disk),
            state=ServerState(state),
            state_text=more.state_text,
            locked=bool(locked),
            project_id=self.projects[project],
            metadata=more.metadata,
            pinned_zone=more.pinned_zone,
            extra_specs=more.extra_specs,
            created_at_s=created,
            scheduler_hints=more.scheduler_hints,
            in_flux=bool(in_flux),
        )


_NO_ATTRIBUTES = Attributes({}, "", "", {}, {})


def _attributes_of(row: ServerRow) -> Attributes | None:
    hints = row.scheduler_hints
    if row.metadata or row.state_text or row.pinned_zone or row.extra_specs or hints:
        return Attributes(row.metadata, row.state_text, row.pinned_zone, row.extra_specs, hints)
    return None


def _marks(more: Attributes | ServerRow) -> int:
    """Which attributes there are: bit n for the n-th of `Attributes`."""
    marks = 1 if more.metadata else 0
    if more.state_text:
        marks |= 2
    if more.pinned_zone:
        marks |= 4
    if more.extra_specs:
        marks |= 8
    return marks | 16 if more.scheduler_hints else marks


def columns_of(rows: Sequence[ServerRow]) -> ServerColumns:
    """The columns of rows."""
    code: dict[str, int] = {}
    numbers = [
        (
            *row.demand,
            row.state,
            row.locked,
            code.setdefault(row.project_id, len(code)),
            row.created_at_s,
            row.in_flux,
        )
        for row in rows
    ]
    raw = b"".join([uuid_bytes(row.uuid) for row in rows])
    return ServerColumns(
        uuids=[row.uuid for row in rows],
        uuid=np.frombuffer(raw, np.uint8).reshape(-1, 16),
        names=[row.name for row in rows],
        hostnames=[row.hostname for row in rows],
        numbers=np.array(numbers, np.int64).reshape(-1, 8),
        projects=list(code),
        attributes={
            i: more for i, row in enumerate(rows) if (more := _attributes_of(row)) is not None
        },
    )


class ServerTable:
    """Servers by slot; `slot` finds one by uuid.

    host: [slots] slot of its host or NO_HOST. marks: [slots] bit n: it has the n-th of `Attributes`.
    """

    def __init__(self) -> None:
        self.slot: dict[str, int] = {}
        self.host = np.full(_FIRST_SIZE, NO_HOST, np.int32)
        self.numbers = np.zeros((_FIRST_SIZE, 8), np.int64)
        self.marks = np.zeros(_FIRST_SIZE, np.uint8)
        self.projects: list[str] = []
        self._project_code: dict[str, int] = {}
        self._uuid = np.zeros((_FIRST_SIZE, 16), np.uint8)
        self._uuids: list[str] = []
        self._rows: Pieces[ServerRow | None] = Pieces()
        self._came = columns_of([])
        self._order: NDArray[np.intp] | None = None
        self._hashes: list[int] = []
        self._unhashed: set[int] = set()
        self._sum = 0

    def __len__(self) -> int:
        return len(self._rows)

    def fill(self, columns: ServerColumns, rows: Sequence[ServerRow] = ()) -> None:
        """Takes the first servers; rows: the same as objects, if there are any. InvalidArgument."""
        count, more = len(columns.names), columns.attributes
        self.slot = dict(zip(columns.uuids, range(count), strict=True))
        if len(self.slot) != count:
            raise InvalidArgument(f"Server {_first_twice(columns.uuids)} comes twice.")
        size = max(_FIRST_SIZE, count)
        self._uuid, self.numbers = np.zeros((size, 16), np.uint8), np.zeros((size, 8), np.int64)
        self.host, self.marks = np.full(size, NO_HOST, np.int32), np.zeros(size, np.uint8)
        self.marks[list(more)] = [_marks(attributes) for attributes in more.values()]
        self._uuid[:count], self.numbers[:count] = columns.uuid, columns.numbers
        self.projects, self._uuids = list(columns.projects), list(columns.uuids)
        self._project_code = {project: code for code, project in enumerate(self.projects)}
        self._rows = Pieces(rows or [None] * count)
        self._came = columns_of([]) if rows else columns
        self._hashes, self._unhashed = [0] * count, set(range(count))

    # -- reading --------------------------------------------------------------------------------

    def row(self, slot: int) -> ServerRow:
        """The server in this slot."""
        row = self._rows[slot]
        if row is None:
            row = self._came.row(slot)
            self._rows.put_equal(slot, row)
        return row

    def hostname(self, slot: int) -> str:
        """Where Nova places the server in this slot."""
        row = self._rows[slot]
        return self._came.hostnames[slot] if row is None else row.hostname

    def rows(self) -> Iterator[ServerRow]:
        """All servers, by slot."""
        return map(self.row, range(len(self._rows)))

    def by_uuid(self) -> NDArray[np.intp]:
        """The slots in the order of the servers' uuids; read-only, another one after a change of it."""
        if self._order is None:
            halves = self._uuid[: len(self._rows)].view(">u8").astype(np.uint64)
            order = np.argsort(halves[:, 0])
            first = halves[order, 0]
            if (first[1:] == first[:-1]).any():
                order = np.lexsort((halves[:, 1], halves[:, 0]))
            self._order = frozen(order)
        return self._order

    def texts(self) -> ServerTexts:
        """Names and attributes now, whatever changes later."""
        return ServerTexts(self._rows.lend(), self._came)

    def uuid_bytes(self, slots: NDArray[np.intp]) -> NDArray[np.uint8]:
        """[n, 16] of the servers in these slots."""
        return self._uuid[slots]

    # -- changing -------------------------------------------------------------------------------

    def add(self, row: ServerRow) -> int:
        """The slot of a new server. InvalidArgument when its uuid is none."""
        raw = np.frombuffer(uuid_bytes(row.uuid), np.uint8)
        slot = len(self._rows)
        if slot == len(self.host):
            self.host, self.numbers = grown(self.host), grown(self.numbers)
            self._uuid, self.marks = grown(self._uuid), grown(self.marks)
        self._uuid[slot] = raw
        self.slot[row.uuid] = slot
        self._rows.append(row)
        self._uuids.append(row.uuid)
        self._hashes.append(0)
        self._order = None
        self.put(slot, row)
        return slot

    def put(self, slot: int, row: ServerRow) -> None:
        """Replaces the server in a slot by one with the same uuid."""
        project = self._project_code.setdefault(row.project_id, len(self.projects))
        if project == len(self.projects):
            self.projects.append(row.project_id)
        self.numbers[slot] = (
            *row.demand, row.state, row.locked, project, row.created_at_s, row.in_flux,
        )  # fmt: skip
        self.marks[slot] = _marks(row)
        self._rows[slot] = row
        self._unhashed.add(slot)

    def remove(self, slot: int) -> None:
        """Removes the server in a slot; the last one moves into it."""
        end = len(self._rows) - 1
        moved = self.row(end)
        del self.slot[self._uuids[slot]]
        self._sum -= self._hashes[slot]
        if slot != end:
            self.slot[self._uuids[end]] = slot
            for column in (self._uuid, self.host, self.numbers, self.marks):
                column[slot] = column[end]
            self._rows[slot], self._uuids[slot] = moved, self._uuids[end]
            self._hashes[slot] = self._hashes[end]
            self._unhashed.discard(slot)
            if end in self._unhashed:
                self._unhashed.add(slot)
        self._rows.pop()
        del self._uuids[end], self._hashes[end]
        self._unhashed.discard(end)
        self._order = None

    # -- digest ---------------------------------------------------------------------------------

    @property
    def unhashed(self) -> int:
        """How many servers changed since they were last in `hash_sum`."""
        return len(self._unhashed)

    def hash_some(self, most: int) -> None:
        """Brings at most so many servers into `hash_sum`."""
        slots = [self._unhashed.pop() for _ in range(min(most, len(self._unhashed)))]
        for slot, found in zip(slots, self._hashed(slots), strict=True):
            self._sum += found - self._hashes[slot]
            self._hashes[slot] = found

    @property
    def hash_sum(self) -> int:
        """Sum of the hashes of all servers."""
        self.hash_some(len(self._unhashed))
        return self._sum

    def _hashed(self, slots: list[int]) -> Iterator[int]:
        came = self._came
        plain = [slot for slot in slots if self._rows[slot] is None and slot not in came.attributes]
        numbers = iter(self.numbers[plain].tolist())
        for slot in slots:
            row = self._rows[slot]
            if row is not None or slot in came.attributes:
                yield hash_server(row or came.row(slot))
                continue
            vcpus, memory, disk, state, locked, project, created, in_flux = next(numbers)
            yield hash_plain_server(
                uuid=self._uuids[slot],
                name=came.names[slot],
                hostname=came.hostnames[slot],
                demand=(vcpus, memory, disk),
                state=state,
                locked=bool(locked),
                project_id=self.projects[project],
                created_at_s=created,
                in_flux=bool(in_flux),
            )


def _first_twice(uuids: Iterable[str]) -> str:
    seen: set[str] = set()
    return next(uuid for uuid in uuids if uuid in seen or seen.add(uuid))  # type: ignore[func-returns-value]
