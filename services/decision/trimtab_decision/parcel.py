"""Large values in small messages, so that sending a model never holds the interpreter for long.

Between the service and its workers. One pickle of a model of 200,000 servers would keep the event
loop waiting for a quarter of a second; arrays travel as their bytes, long tuples and mappings in
slices, and other threads run between two messages.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_decision.execution import Execution

Message = bytes | memoryview
Receive = Callable[[], bytes]

SLICE = 500
"""Elements in one message: well below a millisecond of pickling."""


def pack_question(question: Execution) -> Iterator[Message]:
    """The messages of a question: its small members, then model and metrics by column."""
    yield _dump(dataclasses.replace(question, compute=None, metrics=MetricsTable()))
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


def unpack_question(receive: Receive) -> Execution:
    """The question whose messages `receive` gives."""
    small: Execution = _load(receive())
    columns = _unpack_columns(receive)
    host, server = _unpack_columns(receive), _unpack_columns(receive)
    return dataclasses.replace(
        small,
        compute=None if columns is None else ComputeSnapshot(**columns),
        metrics=MetricsTable(host=host or {}, server=server or {}, source=_load(receive())),
    )


def pack(value: Any) -> Iterator[Message]:
    """The messages of one value: a head, then what it announces."""
    match value:
        case np.ndarray() if value.dtype.hasobject is False:
            yield _dump(("array", value.dtype.str, value.shape))
            yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
        case tuple() if len(value) > SLICE:
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
