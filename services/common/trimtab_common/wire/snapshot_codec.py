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
from trimtab_common.domain.changes import HostRow, SetAggregates, SetHealth, UpsertGroup
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.server_texts import within
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.wire.model_codec import (
    aggregate_message,
    aggregate_row,
    group_message,
    group_row,
)
from trimtab_common.wire.server_columns import server_columns

MAX_BYTES = 900_000
_HOSTS_PER_CHUNK = 4_000
_SERVERS_PER_CHUNK = 10_000
_GROUPS_PER_CHUNK = 500


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
        hosts = [row for columns in self._hosts for row in _host_rows(columns, zones)]
        servers = server_columns(
            self._servers, [row.hostname for row in hosts], list(self.begin.projects)
        )
        return ComputeModel.from_columns(hosts, servers, epoch=self.begin.position.epoch)


@contextmanager
def _no_collections() -> Iterator[None]:
    """So many new objects, none of them garbage: to walk them again and again would cost a quarter."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _host_rows(columns: model_pb2.HostColumns, zones: list[str]) -> Iterator[HostRow]:
    c = columns
    for uuid, hostname, inventory, reserved, ratio, up, enabled, reason, zone, from_nova in zip(
        c.uuid,
        c.hostname,
        zip(c.vcpus, c.memory_mib, c.disk_gib, strict=True),
        zip(c.vcpus_reserved, c.memory_mib_reserved, c.disk_gib_reserved, strict=True),
        zip(c.vcpu_ratio, c.memory_ratio, c.disk_ratio, strict=True),
        c.up,
        c.enabled,
        c.disabled_reason,
        c.zone,
        c.capacity_from_nova,
        strict=True,
    ):
        yield HostRow(
            uuid=uuid,
            hostname=hostname,
            inventory=inventory,
            reserved=reserved,
            ratio=ratio,
            up=up,
            enabled=enabled,
            disabled_reason=reason or None,
            zone=zones[zone],
            capacity_from_nova=from_nova,
        )


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
    for i, metadata in within(snapshot.server_metadata, part):
        attributes[i - first].metadata.update(metadata)
    for i, extra_specs in within(snapshot.server_extra_specs, part):
        attributes[i - first].extra_specs_json = orjson.dumps(extra_specs).decode()
    for i, hints in within(snapshot.server_scheduler_hints, part):
        attributes[i - first].scheduler_hints_json = orjson.dumps(hints).decode()
    for i, state_text in within(snapshot.server_state_text, part):
        attributes[i - first].state_text = state_text
    for i, pinned_zone in within(snapshot.server_pinned_zone, part):
        attributes[i - first].pinned_zone = pinned_zone
    for i, hostname in within(snapshot.server_missing_host, part):
        attributes[i - first].missing_hostname = hostname
