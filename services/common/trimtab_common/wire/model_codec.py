"""Rows and changes of the compute model to and from protobuf messages.

Collector writes deltas with it, replicas (decision, cli) read them; `snapshot_codec` does whole
models.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from trimtab.model.v1 import model_pb2
from trimtab_common.domain.changes import (
    Change,
    HostRow,
    RemoveGroup,
    RemoveHost,
    RemoveServer,
    ServerRow,
    SetAggregates,
    SetHealth,
    UpsertGroup,
    UpsertHost,
    UpsertServer,
)
from trimtab_common.domain.compute_terms import Aggregate, ServerGroup, ServerState
from trimtab_common.domain.errors import Bug, InvalidArgument

_STATES = {int(state): state for state in ServerState}


def host_message(row: HostRow) -> model_pb2.Host:
    """The message of a host."""
    return model_pb2.Host(
        uuid=row.uuid,
        hostname=row.hostname,
        vcpus=row.inventory[0],
        vcpus_reserved=row.reserved[0],
        vcpu_ratio=row.ratio[0],
        memory_mib=row.inventory[1],
        memory_mib_reserved=row.reserved[1],
        memory_ratio=row.ratio[1],
        disk_gib=row.inventory[2],
        disk_gib_reserved=row.reserved[2],
        disk_ratio=row.ratio[2],
        up=row.up,
        enabled=row.enabled,
        disabled_reason=row.disabled_reason or "",
        zone=row.zone,
        capacity_from_nova=row.capacity_from_nova,
    )


def host_row(message: model_pb2.Host) -> HostRow:
    """The host of a message."""
    return HostRow(
        uuid=message.uuid,
        hostname=message.hostname,
        inventory=(message.vcpus, message.memory_mib, message.disk_gib),
        reserved=(message.vcpus_reserved, message.memory_mib_reserved, message.disk_gib_reserved),
        ratio=(message.vcpu_ratio, message.memory_ratio, message.disk_ratio),
        up=message.up,
        enabled=message.enabled,
        disabled_reason=message.disabled_reason or None,
        zone=message.zone,
        capacity_from_nova=message.capacity_from_nova,
    )


def _attributes_message(row: ServerRow) -> model_pb2.ServerAttributes | None:
    """The rarely set fields of a server; None when all are unset."""
    hints = row.scheduler_hints
    if not (row.metadata or row.state_text or row.pinned_zone or row.extra_specs or hints):
        return None
    return model_pb2.ServerAttributes(
        metadata=row.metadata,
        state_text=row.state_text,
        pinned_zone=row.pinned_zone,
        extra_specs_json=orjson.dumps(row.extra_specs).decode() if row.extra_specs else "",
        scheduler_hints_json=orjson.dumps(hints).decode() if hints else "",
    )


def server_message(row: ServerRow) -> model_pb2.Server:
    """The message of a server."""
    return model_pb2.Server(
        uuid=row.uuid,
        name=row.name,
        hostname=row.hostname,
        vcpus=row.demand[0],
        memory_mib=row.demand[1],
        disk_gib=row.demand[2],
        state=state_message(row.state),
        locked=row.locked,
        project_id=row.project_id,
        attributes=_attributes_message(row),
        created_at_s=row.created_at_s,
        in_flux=row.in_flux,
    )


def server_row(message: model_pb2.Server) -> ServerRow:
    """The server of a message."""
    extra = message.attributes.extra_specs_json
    hints = message.attributes.scheduler_hints_json
    return ServerRow(
        uuid=message.uuid,
        name=message.name,
        hostname=message.hostname,
        demand=(message.vcpus, message.memory_mib, message.disk_gib),
        state=state_of(message.state),
        state_text=message.attributes.state_text,
        locked=message.locked,
        project_id=message.project_id,
        metadata=dict(message.attributes.metadata),
        pinned_zone=message.attributes.pinned_zone,
        extra_specs=orjson.loads(extra) if extra else {},
        created_at_s=message.created_at_s,
        scheduler_hints=orjson.loads(hints) if hints else {},
        in_flux=message.in_flux,
    )


def state_message(state: ServerState) -> model_pb2.ServerState.ValueType:
    """The wire enum of a state: the same numbers."""
    return model_pb2.ServerState.ValueType(int(state))


def state_of(value: int) -> ServerState:
    """The state of a wire number; UNKNOWN for one of a later release."""
    return _STATES.get(value, ServerState.UNKNOWN)


def aggregate_message(row: Aggregate) -> model_pb2.Aggregate:
    """The message of an aggregate."""
    return model_pb2.Aggregate(
        id=row.id,
        name=row.name,
        zone=row.zone or "",
        hosts=sorted(row.hosts),
        metadata=row.metadata,
    )


def aggregate_row(message: model_pb2.Aggregate) -> Aggregate:
    """The aggregate of a message."""
    return Aggregate(
        id=message.id,
        name=message.name,
        zone=message.zone or None,
        hosts=frozenset(message.hosts),
        metadata=dict(message.metadata),
    )


def group_message(row: ServerGroup) -> model_pb2.ServerGroup:
    """The message of a server group."""
    return model_pb2.ServerGroup(
        uuid=row.uuid,
        name=row.name,
        policy=row.policy,
        members=sorted(row.members),
        max_per_host=row.max_per_host or 0,
        project_id=row.project_id,
    )


def group_row(message: model_pb2.ServerGroup) -> ServerGroup:
    """The server group of a message."""
    return ServerGroup(
        uuid=message.uuid,
        name=message.name,
        policy=message.policy,
        members=frozenset(message.members),
        max_per_host=message.max_per_host or None,
        project_id=message.project_id,
    )


def health_message(row: SetHealth) -> model_pb2.Health:
    """The message of a model's flags."""
    return model_pb2.Health(
        partial=row.partial, stale_reason=row.stale_reason, missing_hosts=row.missing_hosts
    )


def health_of(message: model_pb2.Health) -> SetHealth:
    """The flags of a message."""
    return SetHealth(message.partial, message.stale_reason, tuple(message.missing_hosts))


def change_message(change: Change) -> model_pb2.Change:  # noqa: PLR0911, one for each kind
    """The message of a change."""
    match change:
        case UpsertServer(server):
            return model_pb2.Change(upsert_server=server_message(server))
        case RemoveServer(uuid):
            return model_pb2.Change(remove_server=uuid)
        case UpsertHost(host):
            return model_pb2.Change(upsert_host=host_message(host))
        case RemoveHost(hostname):
            return model_pb2.Change(remove_host=hostname)
        case UpsertGroup(group):
            return model_pb2.Change(upsert_group=group_message(group))
        case RemoveGroup(uuid):
            return model_pb2.Change(remove_group=uuid)
        case SetAggregates(rows):
            messages = [aggregate_message(row) for row in rows]
            return model_pb2.Change(aggregates=model_pb2.AggregateIndex(aggregates=messages))
        case SetHealth():
            return model_pb2.Change(health=health_message(change))


def change_of(message: model_pb2.Change) -> Change:  # noqa: PLR0911, one for each kind
    """The change of a message. InvalidArgument when it is one that this release does not know."""
    match message.WhichOneof("change"):
        case "upsert_server":
            return UpsertServer(server_row(message.upsert_server))
        case "remove_server":
            return RemoveServer(message.remove_server)
        case "upsert_host":
            return UpsertHost(host_row(message.upsert_host))
        case "remove_host":
            return RemoveHost(message.remove_host)
        case "upsert_group":
            return UpsertGroup(group_row(message.upsert_group))
        case "remove_group":
            return RemoveGroup(message.remove_group)
        case "aggregates":
            return SetAggregates(tuple(map(aggregate_row, message.aggregates.aggregates)))
        case "health":
            return health_of(message.health)
        case None | "upsert_element" | "remove_element":
            raise InvalidArgument("A change of a kind that a compute model does not have.")
        case other:
            raise Bug(f"change {other} has no row")


def delta_message(
    changes: Iterable[Change],
    *,
    position: model_pb2.Position,
    at: Timestamp,
    cause: str,
    event_id: str = "",
) -> model_pb2.Delta:
    """The message of one atomic delta."""
    return model_pb2.Delta(
        position=position,
        at=at,
        cause=cause,
        event_id=event_id,
        changes=[change_message(change) for change in changes],
    )
