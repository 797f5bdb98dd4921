"""The server columns of a snapshot from its messages: arrays, no object for a server."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from trimtab.model.v1 import model_pb2
from trimtab_common.domain.columns import uuid_texts
from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.server_table import Attributes, ServerColumns

_UUID_BYTES = 16
_STATES = np.array(list(ServerState), np.int64)


def server_columns(
    parts: Sequence[model_pb2.ServerColumns], hosts: list[str], projects: list[str]
) -> ServerColumns:
    """The servers of all parts, one after the other.

    hosts, projects: what the messages have the index of. ValueError, IndexError: they do not fit.
    """
    raw = b"".join([_checked(part) for part in parts])
    names = [name for part in parts for name in part.name]
    count = len(names)
    uuid = np.frombuffer(raw, np.uint8).reshape(count, _UUID_BYTES)
    numbers = np.zeros((count, 8), np.int64)
    places = np.zeros(count, np.int64)
    attributes: dict[int, Attributes] = {}
    missing: dict[int, str] = {}
    first = 0
    for part in parts:
        rows = slice(first, first + len(part.name))
        places[rows] = _column(part.host, part)
        for index, column in enumerate(_numbers(part)):
            numbers[rows, index] = column
        for index, message in part.attributes.items():
            if not 0 <= index < len(part.name):
                continue  # of no server
            attributes[first + index] = _attributes(message)
            missing[first + index] = message.missing_hostname
        first = rows.stop
    if (numbers[:, 5] < 0).any() or (numbers[:, 5] >= len(projects)).any():
        raise IndexError("a project that is not in the head")
    if (places >= len(hosts)).any():
        raise IndexError("a host that is not in the snapshot")
    names_of_hosts = [*hosts, ""]  # index -1 is the last
    hostnames = [names_of_hosts[place] for place in np.maximum(places, -1).tolist()]
    for index in np.flatnonzero(places < 0).tolist():
        hostnames[index] = missing.get(index, "")
    return ServerColumns(
        uuids=uuid_texts(uuid),
        uuid=uuid,
        names=names,
        hostnames=hostnames,
        numbers=numbers,
        projects=projects,
        attributes={index: more for index, more in attributes.items() if any(more)},
    )


def _numbers(part: model_pb2.ServerColumns) -> Iterator[NDArray[np.int64]]:
    state = _column(part.state, part)
    yield _column(part.vcpus, part)
    yield _column(part.memory_mib, part)
    yield _column(part.disk_gib, part)
    yield np.where(np.isin(state, _STATES), state, int(ServerState.UNKNOWN))
    yield _column(part.locked, part)
    yield _column(part.project, part)
    yield _column(part.created_at_s, part)
    yield _column(part.in_flux or [False] * len(part.name), part)


def _checked(part: model_pb2.ServerColumns) -> bytes:
    if len(part.uuid) != _UUID_BYTES * len(part.name):
        raise ValueError("16 bytes of uuid are needed for each server")
    return part.uuid


def _column(values: Collection[Any], part: model_pb2.ServerColumns) -> NDArray[np.int64]:
    if len(values) != len(part.name):
        raise ValueError(f"{len(values)} values for {len(part.name)} servers")
    return np.fromiter(values, np.int64, count=len(values))


def _attributes(message: model_pb2.ServerAttributes) -> Attributes:
    specs, hints = message.extra_specs_json, message.scheduler_hints_json
    metadata = message.metadata
    return Attributes(
        metadata={key: metadata[key] for key in metadata},  # dict() takes half as long again
        state_text=message.state_text,
        pinned_zone=message.pinned_zone,
        extra_specs=orjson.loads(specs) if specs else {},
        scheduler_hints=orjson.loads(hints) if hints else {},
    )
