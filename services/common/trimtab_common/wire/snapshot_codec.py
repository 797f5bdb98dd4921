"""A whole compute model to and from columnar messages, each below 1 MB.

`GetModel`, `WatchModel` and saved-model files carry these; 10,000 hosts with 200,000 servers are
about 10 MB.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC

import orjson

from trimtab.model.v1 import model_pb2
from trimtab_common.domain.changes import ServerRow, SetAggregates, SetHealth, UpsertGroup
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.wire.model_codec import (
    aggregate_message,
    aggregate_row,
    group_message,
    group_row,
    host_row,
    state_of,
)

MAX_BYTES = 900_000
_HOSTS_PER_CHUNK = 4_000
_SERVERS_PER_CHUNK = 10_000
_GROUPS_PER_CHUNK = 500
_UUID_BYTES = 16


def position_of(snapshot: ComputeSnapshot) -> model_pb2.Position:
    """The position that a snapshot shows."""
    return model_pb2.Position(epoch=snapshot.epoch, revision=snapshot.revision)


def begin_message(snapshot: ComputeSnapshot, reason: str) -> model_pb2.SnapshotBegin:
    """The head of a snapshot: its flags and index tables."""
    begin = model_pb2.SnapshotBegin(
        position=position_of(snapshot),
        reason=reason,
        kind="compute",
        partial=snapshot.partial,
        stale_reason=snapshot.stale_reason,
        missing_hosts=snapshot.missing_hosts,
        projects=snapshot.projects,
        zones=snapshot.zones,
        aggregates=[aggregate_message(row) for row in snapshot.aggregates],
        hosts=snapshot.n_hosts,
        servers=snapshot.n_servers,
        groups=len(snapshot.groups),
    )
    begin.taken_at.FromDatetime(snapshot.taken_at)
    return begin


def chunk_messages(snapshot: ComputeSnapshot) -> Iterator[model_pb2.ComputeChunk]:
    """The columns of a snapshot: hosts, servers, then server groups."""
    for start in range(0, snapshot.n_hosts, _HOSTS_PER_CHUNK):
        stop = min(start + _HOSTS_PER_CHUNK, snapshot.n_hosts)
        yield model_pb2.ComputeChunk(hosts=_host_columns(snapshot, start, stop))
    spans = [
        (start, min(start + _SERVERS_PER_CHUNK, snapshot.n_servers))
        for start in range(0, snapshot.n_servers, _SERVERS_PER_CHUNK)
    ]
    while spans:
        start, stop = spans.pop(0)
        chunk = model_pb2.ComputeChunk(servers=_server_columns(snapshot, start, stop))
        if chunk.ByteSize() > MAX_BYTES and stop - start > 1:
            middle = (start + stop) // 2
            spans[:0] = [(start, middle), (middle, stop)]
        else:
            yield chunk
    yield from _group_chunks(snapshot)


def _group_chunks(snapshot: ComputeSnapshot) -> Iterator[model_pb2.ComputeChunk]:
    chunk, size = model_pb2.ComputeChunk(), 0
    for row in snapshot.groups:
        message = group_message(row)
        if size + message.ByteSize() > MAX_BYTES or len(chunk.groups) == _GROUPS_PER_CHUNK:
            yield chunk
            chunk, size = model_pb2.ComputeChunk(), 0
        chunk.groups.append(message)
        size += message.ByteSize() + 8
    if chunk.groups:
        yield chunk


class SnapshotReader:
    """Puts a streamed snapshot together again."""

    def __init__(self, begin: model_pb2.SnapshotBegin) -> None:
        self.begin = begin
        self._hosts: list[model_pb2.HostColumns] = []
        self._servers: list[model_pb2.ServerColumns] = []
        self._groups: list[model_pb2.ServerGroup] = []

    def add(self, chunk: model_pb2.ComputeChunk) -> None:
        """Takes the next chunk."""
        if chunk.hosts.hostname:
            self._hosts.append(chunk.hosts)
        if chunk.servers.name:
            self._servers.append(chunk.servers)
        self._groups += chunk.groups

    def finish(self, end: model_pb2.SnapshotEnd) -> ComputeModel:
        """The model. InvalidArgument when parts are missing or the columns do not fit together."""
        begin = self.begin
        if begin.position != end.position:
            raise InvalidArgument("The snapshot ends at another position than it began.")
        try:
            with _no_collections():
                model = self._model()
        except (IndexError, ValueError) as error:
            raise InvalidArgument(f"The columns of the snapshot do not fit: {error}.") from error
        found = (model.n_hosts, model.n_servers, len(self._groups))
        said = (begin.hosts, begin.servers, begin.groups)
        if found != said:
            raise InvalidArgument(
                f"The snapshot holds {found} hosts, servers and server groups, its head says {said}."
            )
        aggregates = tuple(map(aggregate_row, begin.aggregates))
        health = SetHealth(begin.partial, begin.stale_reason, tuple(begin.missing_hosts))
        groups = [UpsertGroup(group_row(row)) for row in self._groups]
        model.apply([*groups, SetAggregates(aggregates), health])
        model.move_to(
            revision=int(begin.position.revision),
            at=begin.taken_at.ToDatetime(tzinfo=UTC),
        )
        return model

    def _model(self) -> ComputeModel:
        zones = [*self.begin.zones, ""]  # index -1 is the last
        hosts = [
            host_row(model_pb2.Host(**dict(zip(_HOST_FIELDS, values, strict=True))))
            for columns in self._hosts
            for values in zip(
                *(getattr(columns, name) for name in _HOST_FIELDS if name != "zone"),
                [zones[index] for index in columns.zone],
                strict=True,
            )
        ]
        names = [row.hostname for row in hosts]
        projects = list(self.begin.projects)
        servers = [
            row for columns in self._servers for row in _server_rows(columns, names, projects)
        ]
        return ComputeModel.from_rows(hosts, servers, epoch=self.begin.position.epoch)


@contextmanager
def _no_collections() -> Iterator[None]:
    """A million new objects, none of them garbage: to walk them again and again would cost a quarter."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


_HOST_FIELDS = [
    field.name for field in model_pb2.Host.DESCRIPTOR.fields if field.name != "zone"
] + ["zone"]


def _host_columns(snapshot: ComputeSnapshot, start: int, stop: int) -> model_pb2.HostColumns:
    part = slice(start, stop)
    inventory, reserved = snapshot.host_inventory[part], snapshot.host_reserved[part]
    ratio = snapshot.host_ratio[part]
    from_nova = snapshot.host_capacity_from_nova.tolist() or [False] * snapshot.n_hosts
    return model_pb2.HostColumns(
        uuid=snapshot.host_uuid[part],
        hostname=snapshot.host_name[part],
        vcpus=inventory[:, 0].tolist(),
        vcpus_reserved=reserved[:, 0].tolist(),
        vcpu_ratio=ratio[:, 0].tolist(),
        memory_mib=inventory[:, 1].tolist(),
        memory_mib_reserved=reserved[:, 1].tolist(),
        memory_ratio=ratio[:, 1].tolist(),
        disk_gib=inventory[:, 2].tolist(),
        disk_gib_reserved=reserved[:, 2].tolist(),
        disk_ratio=ratio[:, 2].tolist(),
        up=snapshot.host_up[part].tolist(),
        enabled=snapshot.host_enabled[part].tolist(),
        disabled_reason=[reason or "" for reason in snapshot.host_disabled_reason[part]],
        zone=snapshot.host_zone[part].tolist(),
        capacity_from_nova=from_nova[part],
    )


def _server_columns(snapshot: ComputeSnapshot, start: int, stop: int) -> model_pb2.ServerColumns:
    part = slice(start, stop)
    demand = snapshot.server_demand[part]
    created = snapshot.server_created_at_s.tolist() or [0] * snapshot.n_servers
    in_flux = snapshot.server_in_flux.tolist() or [False] * snapshot.n_servers
    columns = model_pb2.ServerColumns(
        uuid=snapshot.server_uuid[part].tobytes(),
        name=snapshot.server_name[part],
        host=snapshot.server_host[part].tolist(),
        vcpus=demand[:, 0].tolist(),
        memory_mib=demand[:, 1].tolist(),
        disk_gib=demand[:, 2].tolist(),
        state=snapshot.server_state[part].tolist(),
        locked=snapshot.server_locked[part].tolist(),
        project=snapshot.server_project[part].tolist(),
        created_at_s=created[part],
        in_flux=in_flux[part],
    )
    _add_attributes(columns, snapshot, range(start, stop))
    return columns


def _add_attributes(
    columns: model_pb2.ServerColumns, snapshot: ComputeSnapshot, part: range
) -> None:
    first, attributes = part.start, columns.attributes
    for i in part:
        if metadata := snapshot.server_metadata.get(i):
            attributes[i - first].metadata.update(metadata)
        if extra_specs := snapshot.server_extra_specs.get(i):
            attributes[i - first].extra_specs_json = orjson.dumps(extra_specs).decode()
        if hints := snapshot.server_scheduler_hints.get(i):
            attributes[i - first].scheduler_hints_json = orjson.dumps(hints).decode()
        if state_text := snapshot.server_state_text.get(i):
            attributes[i - first].state_text = state_text
        if pinned_zone := snapshot.server_pinned_zone.get(i):
            attributes[i - first].pinned_zone = pinned_zone
        if hostname := snapshot.server_missing_host.get(i):
            attributes[i - first].missing_hostname = hostname


def _server_rows(
    columns: model_pb2.ServerColumns, hosts: list[str], projects: list[str]
) -> Iterator[ServerRow]:
    raw = columns.uuid
    if len(raw) != _UUID_BYTES * len(columns.name):
        raise ValueError("16 bytes of uuid are needed for each server")
    none, attributes = model_pb2.ServerAttributes(), columns.attributes
    for i, (
        name,
        host,
        vcpus,
        memory_mib,
        disk_gib,
        state,
        locked,
        project,
        created,
        flux,
    ) in enumerate(
        zip(
            columns.name,
            columns.host,
            columns.vcpus,
            columns.memory_mib,
            columns.disk_gib,
            columns.state,
            columns.locked,
            columns.project,
            columns.created_at_s,
            columns.in_flux or [False] * len(columns.name),
            strict=True,
        )
    ):
        digits = raw[i * _UUID_BYTES : (i + 1) * _UUID_BYTES].hex()
        more = attributes[i] if i in attributes else none  # noqa: SIM401, a map field's get() makes an entry
        yield ServerRow(
            uuid=f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}",
            name=name,
            hostname=hosts[host] if host >= 0 else more.missing_hostname,
            demand=(vcpus, memory_mib, disk_gib),
            state=state_of(state),
            state_text=more.state_text,
            locked=locked,
            project_id=projects[project],
            metadata=dict(more.metadata),
            pinned_zone=more.pinned_zone,
            extra_specs=orjson.loads(more.extra_specs_json) if more.extra_specs_json else {},
            created_at_s=created,
            scheduler_hints=(
                orjson.loads(more.scheduler_hints_json) if more.scheduler_hints_json else {}
            ),
            in_flux=flux,
        )
