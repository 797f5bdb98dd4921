"""Large values in small messages, so that sending a model never holds the interpreter for long.

Between the service and its workers. One pickle of a model of 200,000 servers would keep the event
loop waiting for a quarter of a second; arrays travel as their bytes, long tuples and mappings in
slices, and other threads run between two messages.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, overload

import numpy as np

from trimtab_common.domain.server_texts import ServerNames
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_decision.execution import Execution

Message = bytes | memoryview
Receive = Callable[[], bytes]

SLICE = 500
"""Elements in one message: well below a millisecond of pickling."""


def pack_question(question: Execution) -> Iterator[Message]:
    """The messages of a question: its small members, then model and metrics by column."""
    yield _dump(dataclasses.replace(question, compute=None, metrics=MetricsTable(), storage=None))
    columns = None
    if question.compute is not None:
        columns = {
            field.name: getattr(question.compute, field.name)
            for field in dataclasses.fields(question.compute)
        }
    yield from _pack_columns(columns)
    yield from _pack_columns(question.metrics.host)
    yield from _pack_columns(question.metrics.server)
    yield _dump(question.metrics.source)
    if question.storage is None:
        yield _dump(None)
        return
    yield _dump(dataclasses.replace(question.storage, rows={}))
    yield from _pack_columns(question.storage.rows)


def unpack_question(receive: Receive) -> Execution:
    """The question whose messages `receive` gives."""
    small: Execution = _load(receive())
    columns = _unpack_columns(receive)
    host, server = _unpack_columns(receive), _unpack_columns(receive)
    source, storage = _load(receive()), _load(receive())
    if storage is not None:
        storage = dataclasses.replace(storage, rows=_unpack_columns(receive) or {})
    return dataclasses.replace(
        small,
        compute=None if columns is None else ComputeSnapshot(**columns),
        metrics=MetricsTable(host=host or {}, server=server or {}, source=source),
        storage=storage,
    )


def pack(value: Any) -> Iterator[Message]:
    """The messages of one value: a head, then what it announces."""
    match value:
        case np.ndarray() if value.dtype.hasobject is False:
            yield _dump(("array", value.dtype.str, value.shape))
            yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
        case tuple() | ServerNames() if len(value) > SLICE:
            yield _dump(("tuple", len(value)))
            yield from map(_dump, _slices(value))
        case Mapping() if len(value) > SLICE:
            yield _dump(("dict", len(value)))
            yield from map(_dump, _slices(value.items()))
        case _:
            yield _dump(("value", value))


def unpack(receive: Receive) -> Any:
    """The value whose messages `receive` gives. Arrays are read-only."""
    match _load(receive()):
        case ("array", dtype, shape):
            return np.frombuffer(receive(), dtype=np.dtype(dtype)).reshape(shape)
        case ("tuple", length):
            return tuple(_joined(receive, length))
        case ("dict", length):
            return dict(_joined(receive, length))
        case (_, value):
            return value
    raise AssertionError


def unpack_later(receive: Receive) -> Any:
    """The same, but a long tuple stays in its slices; see PackedTuple."""
    match head := _load(receive()):
        case ("tuple", int(length)):
            messages: list[bytes] = [receive() for _ in range(0, length, SLICE)]
            return PackedTuple(messages, length)
        case ("value", value):
            return value
    message = f"{head[0]} is not unpacked later"
    raise AssertionError(message)


class PackedTuple(Sequence[Any]):
    """A long tuple still in its messages: as many objects live as one slice holds.

    A plan of 160,000 actions is a million objects, which the garbage collector would walk through
    again and again, and each time nothing else in the process runs for half a second.
    """

    def __init__(self, messages: Sequence[bytes], length: int) -> None:
        self._messages = messages
        self._length = length
        self._last: tuple[int, list[Any]] = (-1, [])

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, key: int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> list[Any]: ...
    def __getitem__(self, key: int | slice) -> Any:
        positions = range(self._length)[key]
        if isinstance(positions, int):
            return self._slice(positions // SLICE)[positions % SLICE]
        return [self._slice(at // SLICE)[at % SLICE] for at in positions]

    def _slice(self, number: int) -> list[Any]:
        if self._last[0] != number:
            self._last = (number, _load(self._messages[number]))
        return self._last[1]


def _pack_columns(columns: Mapping[str, Any] | None) -> Iterator[Message]:
    yield _dump(None if columns is None else tuple(columns))
    for column in (columns or {}).values():
        yield from pack(column)


def _unpack_columns(receive: Receive) -> dict[str, Any] | None:
    names = _load(receive())
    return None if names is None else {name: unpack(receive) for name in names}


def _slices(values: Iterable[Any]) -> Iterator[list[Any]]:
    source = iter(values)
    while part := list(islice(source, SLICE)):
        yield part


def _joined(receive: Receive, length: int) -> Iterator[Any]:
    while length > 0:
        part = _load(receive())
        length -= len(part)
        yield from part


def _dump(value: Any) -> bytes:
    return pickle.dumps(value, protocol=5)


def _load(message: bytes) -> Any:
    return pickle.loads(message)  # noqa: S301, only ever from our own process
