"""Reads a cluster file ("peer-cluster/1", JSON) into a snapshot and its measured load.

Used by `trimtab simulate`, by tests and by the fake cloud: a strategy runs on it without any cloud.
Everything is checked; an error names the element and the field.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from dateutil.parser import isoparse
from numpy.typing import NDArray

from trimtab_common.domain.baremetal import BaremetalNodeRow, PowerState, baremetal_model
from trimtab_common.domain.changes import HostRow, ServerRow, uuid_bytes
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.elements import ElementSnapshot, Upsert
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable

FORMAT = "peer-cluster/1"
_MAX_INT = 2**31 - 1
_MAY_BE_NEGATIVE = frozenset({"host_outlet_temp", "host_inlet_temp"})


def load_cluster_file(path: str | Path) -> tuple[ComputeSnapshot, MetricsTable]:
    """The cluster in this file. InvalidArgument when it is unreadable or is not one."""
    data = _read(path)
    try:
        return parse_cluster(data)
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error.message}") from None


def load_machines(path: str | Path) -> ElementSnapshot:
    """The machines of the nodes in this file, by their `power_state`: on, off or absent (unknown).

    InvalidArgument when it is unreadable or is no cluster file.
    """
    document = _json(_read(path))
    nodes = _elements(document if isinstance(document, dict) else {}, "nodes")
    model = baremetal_model(epoch="file")
    model.apply([Upsert(_machine(_Element(f"nodes[{i}]", node))) for i, node in enumerate(nodes)])
    return model.snapshot()


def _machine(node: _Element) -> BaremetalNodeRow:
    states = tuple(state.value for state in PowerState)
    return BaremetalNodeRow(
        uuid=node.uuid(),
        human_id=node.text("hostname"),
        power_state=PowerState(node.choice("power_state", PowerState.UNKNOWN.value, states)),
        compute_node_id=node.uuid(),
    )


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"Cannot read {path}: {error.strerror}.") from None


def parse_cluster(data: bytes) -> tuple[ComputeSnapshot, MetricsTable]:
    """The cluster in these bytes. InvalidArgument names the field and the element at fault."""
    document = _json(data)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InvalidArgument(f'A cluster file is a JSON object with "format": "{FORMAT}".')
    nodes, instances = _elements(document, "nodes"), _elements(document, "instances")
    hosts = [_host(_Element(f"nodes[{i}]", node)) for i, node in enumerate(nodes)]
    names = _unique("nodes", "hostname", [row.hostname for row in hosts])
    _unique("nodes", "uuid", [row.uuid for row in hosts])
    servers = []
    for i, instance in enumerate(instances):
        row = _server(_Element(f"instances[{i}]", instance))
        if row.hostname and row.hostname not in names:
            raise InvalidArgument(
                f'instances[{i}].host: no node has hostname "{row.hostname}" (server {row.uuid}).'
            )
        servers.append(row)
    _unique("instances", "uuid", [row.uuid for row in servers])
    snapshot = ComputeModel.from_rows(hosts, servers, epoch="file").snapshot()
    host_order = {name: i for i, name in enumerate(snapshot.host_name)}
    table = MetricsTable(
        host=_metrics("nodes", nodes, [host_order[row.hostname] for row in hosts]),
        server=_metrics("instances", instances, _server_positions(servers)),
        source="file",
    )
    return snapshot, table


class _Element:
    """One node or instance, read field by field with its name in every error."""

    def __init__(self, name: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise InvalidArgument(f"{name}: must be an object, is {_kind(value)}.")
        self.name = name
        self.value = value

    def wrong(self, field: str, problem: str) -> InvalidArgument:
        return InvalidArgument(f"{self.name}.{field}: {problem}.")

    def text(self, field: str, default: str | None = None) -> str:
        value = self.value.get(field, default)
        if not isinstance(value, str) or (default is None and not value):
            raise self.wrong(field, f"must be a non-empty text, is {_kind(value)}")
        return value

    def optional_text(self, field: str) -> str | None:
        return None if self.value.get(field) is None else self.text(field, "")

    def choice(self, field: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(field, default)
        if value not in allowed:
            raise self.wrong(field, f'must be one of {", ".join(allowed)}, is "{value}"')
        return value

    def integer(self, field: str, default: int | None = None) -> int:
        value = self.value.get(field, default)
        if type(value) is not int:
            raise self.wrong(field, f"must be an integer, is {_kind(value)}")
        if not 0 <= value <= _MAX_INT:
            raise self.wrong(field, f"must be between 0 and {_MAX_INT}, is {value}")
        return value

    def number(self, field: str, default: float) -> float:
        value = self.value.get(field, default)
        if type(value) is not int and type(value) is not float:
            raise self.wrong(field, f"must be a number, is {_kind(value)}")
        if not math.isfinite(value) or value < 0:
            raise self.wrong(field, f"must be finite and not negative, is {value}")
        return float(value)

    def uuid(self) -> str:
        text = self.text("uuid")
        try:
            uuid_bytes(text)
        except InvalidArgument as error:
            raise self.wrong("uuid", error.message.rstrip(".")) from None
        return text.lower()


def _host(node: _Element) -> HostRow:
    return HostRow(
        uuid=node.uuid(),
        hostname=node.text("hostname"),
        inventory=(node.integer("vcpus"), node.integer("memory_mb"), node.integer("disk_gb")),
        reserved=(
            node.integer("vcpu_reserved", 0),
            node.integer("memory_mb_reserved", 0),
            node.integer("disk_gb_reserved", 0),
        ),
        ratio=(
            node.number("vcpu_ratio", 1.0),
            node.number("memory_ratio", 1.0),
            node.number("disk_ratio", 1.0),
        ),
        up=node.choice("state", "up", ("up", "down")) == "up",
        enabled=node.choice("status", "enabled", ("enabled", "disabled")) == "enabled",
        disabled_reason=node.optional_text("disabled_reason"),
        zone=node.text("zone", ""),
    )


def _server(instance: _Element) -> ServerRow:
    state_text = instance.text("state", "active")
    state = ServerState.from_nova(state_text)
    locked = instance.value.get("locked", False)
    if not isinstance(locked, bool):
        raise instance.wrong("locked", f"must be true or false, is {_kind(locked)}")
    metadata = instance.value.get("metadata", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise instance.wrong("metadata", "must be an object of texts")
    return ServerRow(
        uuid=instance.uuid(),
        name=instance.text("name", ""),
        hostname=instance.optional_text("host") or "",
        demand=(
            instance.integer("vcpus"),
            instance.integer("memory_mb"),
            instance.integer("disk_gb"),
        ),
        state=state,
        state_text=state_text if state is ServerState.UNKNOWN else "",
        locked=locked,
        project_id=instance.text("project_id", ""),
        metadata=metadata,
        created_at_s=_epoch_s(instance),
    )


def _epoch_s(instance: _Element) -> int:
    text = instance.optional_text("created")
    if not text:
        return 0
    try:
        created = isoparse(text)
    except ValueError:
        raise instance.wrong("created", f'must be an ISO 8601 time, is "{text}"') from None
    return int((created if created.tzinfo else created.replace(tzinfo=UTC)).timestamp())


def _metrics(
    what: str, elements: list[Any], positions: Iterable[int]
) -> dict[str, NDArray[np.float64]]:
    columns: dict[str, NDArray[np.float64]] = {}
    for i, (element, position) in enumerate(zip(elements, positions, strict=True)):
        metrics = element.get("metrics") or {}
        if not isinstance(metrics, Mapping):
            raise InvalidArgument(f"{what}[{i}].metrics: must be an object.")
        for metric, value in metrics.items():
            if value is None:
                continue
            number = type(value) is float or type(value) is int
            if not number or not math.isfinite(value):
                raise InvalidArgument(
                    f"{what}[{i}].metrics.{metric}: must be a finite number, is {value!r}."
                )
            if value < 0 and metric not in _MAY_BE_NEGATIVE:
                raise InvalidArgument(
                    f"{what}[{i}].metrics.{metric}: must not be negative, is {value!r}."
                )
            column = columns.get(metric)
            if column is None:
                column = columns[metric] = np.full(len(elements), np.nan)
            column[position] = value
    for column in columns.values():
        column.setflags(write=False)
    return columns


def _server_positions(servers: list[ServerRow]) -> list[int]:
    order = sorted(range(len(servers)), key=lambda i: uuid_bytes(servers[i].uuid))
    positions = [0] * len(servers)
    for position, i in enumerate(order):
        positions[i] = position
    return positions


def _elements(document: dict[str, Any], field: str) -> list[Any]:
    value = document.get(field)
    if not isinstance(value, list):
        raise InvalidArgument(f"{field}: must be a list, is {_kind(value)}.")
    return value


def _unique(what: str, field: str, keys: list[str]) -> set[str]:
    seen: set[str] = set()
    for i, key in enumerate(keys):
        if key in seen:
            raise InvalidArgument(f'{what}[{i}].{field}: "{key}" comes twice.')
        seen.add(key)
    return seen


def _json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        problem = str(error)
    try:  # the standard reader lets NaN through, so that the field can be named
        return json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidArgument(f"Not JSON: {problem}.") from None


def _kind(value: Any) -> str:
    return {type(None): "missing", dict: "an object", list: "a list"}.get(
        type(value), json.dumps(value) if isinstance(value, str | bool | int | float) else "?"
    )
