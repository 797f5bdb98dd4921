"""Storage and baremetal models to and from protobuf messages: rows, deltas, whole snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from trimtab.model.v1 import model_pb2
from trimtab_common.domain import baremetal, storage
from trimtab_common.domain.baremetal import BaremetalNodeRow, PowerState
from trimtab_common.domain.changes import SetHealth
from trimtab_common.domain.elements import (
    ElementChange,
    ElementModel,
    ElementSnapshot,
    Remove,
    Row,
    Upsert,
)
from trimtab_common.domain.errors import Bug, InvalidArgument
from trimtab_common.domain.storage import (
    Attachment,
    PoolRow,
    StorageNodeRow,
    VolumeRow,
    VolumeTypeRow,
)
from trimtab_common.wire.model_codec import health_message, health_of
from trimtab_common.wire.snapshot_codec import MAX_BYTES

MODELS: Mapping[str, Callable[..., ElementModel]] = {
    "storage": storage.storage_model,
    "baremetal": baremetal.baremetal_model,
}
"""An empty model for each kind."""


def element_message(row: Any) -> model_pb2.Element:
    """The message of a row."""
    match row:
        case StorageNodeRow():
            return model_pb2.Element(
                storage_node=model_pb2.StorageNode(
                    host=row.host,
                    zone=row.zone,
                    up=row.up,
                    enabled=row.enabled,
                    disabled_reason=row.disabled_reason,
                    volume_types=row.volume_types,
                )
            )
        case PoolRow():
            return model_pb2.Element(pool=_pool_message(row))
        case VolumeRow():
            return model_pb2.Element(volume=_volume_message(row))
        case VolumeTypeRow():
            return model_pb2.Element(
                volume_type=model_pb2.VolumeType(name=row.name, extra_specs=row.extra_specs)
            )
        case BaremetalNodeRow():
            return model_pb2.Element(baremetal_node=_machine_message(row))
    raise Bug(f"{type(row).__name__} has no message")


def element_row(message: model_pb2.Element) -> Row:
    """The row of a message. InvalidArgument when it is of a kind that is not known."""
    match message.WhichOneof("element"):
        case "storage_node":
            node = message.storage_node
            return StorageNodeRow(
                host=node.host,
                zone=node.zone,
                up=node.up,
                enabled=node.enabled,
                disabled_reason=node.disabled_reason,
                volume_types=tuple(node.volume_types),
            )
        case "pool":
            return _pool_row(message.pool)
        case "volume":
            return _volume_row(message.volume)
        case "volume_type":
            kind = message.volume_type
            return VolumeTypeRow(name=kind.name, extra_specs=dict(kind.extra_specs))
        case "baremetal_node":
            return _machine_row(message.baremetal_node)
    raise InvalidArgument("An element of a kind that this release does not know.")


def _pool_message(row: PoolRow) -> model_pb2.Pool:
    return model_pb2.Pool(
        name=row.name,
        volumes=row.volumes,
        total_gb=row.total_gb,
        free_gb=row.free_gb,
        provisioned_gb=row.provisioned_gb,
        allocated_gb=row.allocated_gb,
        virtual_free_gb=row.virtual_free_gb,
        pool_name=row.pool_name,
        backend_name=row.backend_name,
        max_over_subscription_ratio=row.max_over_subscription_ratio,
    )


def _pool_row(message: model_pb2.Pool) -> PoolRow:
    def size(name: str) -> float | None:
        return getattr(message, name) if message.HasField(name) else None  # type: ignore[arg-type]

    return PoolRow(
        name=message.name,
        volumes=message.volumes,
        total_gb=size("total_gb"),
        free_gb=size("free_gb"),
        provisioned_gb=size("provisioned_gb"),
        allocated_gb=size("allocated_gb"),
        virtual_free_gb=message.virtual_free_gb,
        pool_name=message.pool_name,
        backend_name=message.backend_name,
        max_over_subscription_ratio=size("max_over_subscription_ratio"),
    )


def _volume_message(row: VolumeRow) -> model_pb2.Volume:
    return model_pb2.Volume(
        uuid=row.uuid,
        name=row.name,
        size_gb=row.size_gb,
        status=row.status,
        pool=row.pool,
        attachments=[
            model_pb2.VolumeAttachment(server=item.server, id=item.id) for item in row.attachments
        ],
        multiattach=row.multiattach,
        snapshot_id=row.snapshot_id,
        project_id=row.project_id,
        metadata=row.metadata,
        bootable=row.bootable,
        volume_type=row.volume_type,
        migration_status=row.migration_status,
        created_at_s=row.created_at_s,
    )


def _volume_row(message: model_pb2.Volume) -> VolumeRow:
    return VolumeRow(
        uuid=message.uuid,
        name=message.name,
        size_gb=message.size_gb,
        status=message.status,
        pool=message.pool,
        attachments=tuple([Attachment(item.server, item.id) for item in message.attachments]),
        multiattach=message.multiattach,
        snapshot_id=message.snapshot_id,
        project_id=message.project_id,
        metadata=dict(message.metadata),
        bootable=message.bootable,
        volume_type=message.volume_type,
        migration_status=message.migration_status,
        created_at_s=message.created_at_s,
    )


def _machine_message(row: BaremetalNodeRow) -> model_pb2.BaremetalNode:
    return model_pb2.BaremetalNode(
        uuid=row.uuid,
        human_id=row.human_id,
        power_state=row.power_state.value,
        power_text=row.power_text,
        maintenance=row.maintenance,
        maintenance_reason=row.maintenance_reason,
        compute_node_id=row.compute_node_id,
        instance_uuid=row.instance_uuid,
        extra_json=orjson.dumps(row.extra).decode() if row.extra else "",
        up_when_off=row.up_when_off,
        fault=row.fault,
        can_boot_from_volume=row.can_boot_from_volume,
    )


def _machine_row(message: model_pb2.BaremetalNode) -> BaremetalNodeRow:
    known = {state.value for state in PowerState}
    text = message.power_state
    return BaremetalNodeRow(
        uuid=message.uuid,
        human_id=message.human_id,
        power_state=PowerState(text) if text in known else PowerState.UNKNOWN,
        power_text=message.power_text,
        maintenance=message.maintenance,
        maintenance_reason=message.maintenance_reason,
        compute_node_id=message.compute_node_id,
        instance_uuid=message.instance_uuid,
        extra=orjson.loads(message.extra_json) if message.extra_json else {},
        up_when_off=message.up_when_off,
        fault=message.fault,
        can_boot_from_volume=message.can_boot_from_volume,
    )


# -- deltas -------------------------------------------------------------------------------------


def change_message(change: ElementChange) -> model_pb2.Change:
    """The message of a change."""
    match change:
        case Upsert(row):
            return model_pb2.Change(upsert_element=element_message(row))
        case Remove(kind, key):
            return model_pb2.Change(remove_element=model_pb2.ElementKey(kind=kind, key=key))
        case SetHealth():
            return model_pb2.Change(health=health_message(change))


def change_of(message: model_pb2.Change) -> ElementChange:
    """The change of a message. InvalidArgument when it is none of these models."""
    match message.WhichOneof("change"):
        case "upsert_element":
            return Upsert(element_row(message.upsert_element))
        case "remove_element":
            return Remove(message.remove_element.kind, message.remove_element.key)
        case "health":
            return health_of(message.health)
    raise InvalidArgument("A change of a kind that this model does not have.")


def delta_message(
    changes: Iterable[ElementChange],
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


# -- snapshots ----------------------------------------------------------------------------------


def element_messages(
    snapshot: ElementSnapshot, *, kind: str, digest: str = "", reason: str = "requested"
) -> Iterator[model_pb2.GetModelResponse]:
    """A snapshot as GetModel streams it."""
    position = model_pb2.Position(epoch=snapshot.epoch, revision=snapshot.revision)
    begin = model_pb2.SnapshotBegin(
        position=position,
        reason=reason,
        kind=kind,
        partial=snapshot.partial,
        stale_reason=snapshot.stale_reason,
        missing_hosts=snapshot.missing,
        elements=sum([len(rows) for rows in snapshot.rows.values()]),
    )
    begin.taken_at.FromDatetime(snapshot.taken_at)
    yield model_pb2.GetModelResponse(begin=begin)
    chunk, size = model_pb2.ElementChunk(), 0
    for rows in snapshot.rows.values():
        for row in rows:
            message = element_message(row)
            room = message.ByteSize() + 8
            if chunk.elements and size + room > MAX_BYTES:
                yield model_pb2.GetModelResponse(elements=chunk)
                chunk, size = model_pb2.ElementChunk(), 0
            chunk.elements.append(message)
            size += room
    if chunk.elements:
        yield model_pb2.GetModelResponse(elements=chunk)
    end = model_pb2.SnapshotEnd(position=position, digest=digest)
    yield model_pb2.GetModelResponse(end=end)


class ElementReader:
    """Puts a streamed storage or baremetal snapshot together again."""

    def __init__(self, begin: model_pb2.SnapshotBegin) -> None:
        self.begin = begin
        self._rows: list[Row] = []

    def add(self, chunk: model_pb2.ElementChunk) -> None:
        """Takes the next chunk."""
        self._rows += [element_row(message) for message in chunk.elements]

    def finish(self, end: model_pb2.SnapshotEnd) -> ElementModel:
        """The model. InvalidArgument when parts are missing."""
        begin = self.begin
        if begin.position != end.position or len(self._rows) != begin.elements:
            raise InvalidArgument(
                f"The snapshot holds {len(self._rows)} elements, its head says {begin.elements}."
            )
        make = MODELS.get(begin.kind)
        if make is None:
            raise InvalidArgument(f"There is no model {begin.kind!r} of elements.")
        model = make(epoch=begin.position.epoch)
        health = SetHealth(begin.partial, begin.stale_reason, tuple(begin.missing_hosts))
        model.apply([*map(Upsert, self._rows), health])
        model.move_to(
            revision=int(begin.position.revision), at=begin.taken_at.ToDatetime(tzinfo=UTC)
        )
        return model


def elements_of(messages: Iterable[model_pb2.GetModelResponse]) -> ElementModel:
    """The model that GetModel streamed. InvalidArgument when it is cut short or out of order."""
    reader: ElementReader | None = None
    for message in messages:
        part = message.WhichOneof("part")
        if part == "begin":
            reader = ElementReader(message.begin)
        elif reader is None:
            raise InvalidArgument("A model begins with its head; this one does not.")
        elif part == "elements":
            reader.add(message.elements)
        elif part == "end":
            return reader.finish(message.end)
    raise InvalidArgument("The model ends before its end: it was cut short.")
