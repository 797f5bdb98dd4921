"""The table of Cinder's events: what each does to the storage model (C 6).

Cinder's notifications are not versioned; on the wire they wear the same envelope as Nova's. A volume
moved by Cinder is told by nobody: the applier asks for it by `Reread` (C-078).
"""

from __future__ import annotations

import dataclasses
import uuid as uuid_module
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from trimtab_collector.element_reads import key, key_of, lives
from trimtab_collector.notifications.envelope import Malformed, Notification, plain
from trimtab_collector.notifications.nova_payloads import moment, text, text_or_none, texts
from trimtab_collector.notifications.outcome import Dialect, EventRule, Outcome
from trimtab_collector.storage.reading import size
from trimtab_common.domain.elements import Remove, Upsert
from trimtab_common.domain.storage import POOL, VOLUME, Attachment, PoolRow, VolumeRow

_TOO_MANY = 1 << 31
_ATTACHED = "attached"


class Known(Protocol):
    """What handlers look at: the live model, or a read of Cinder not yet applied."""

    def find(self, kind: str, key: str) -> Any:
        """The row, or None."""
        ...

    def members(self, kind: str, container: str) -> frozenset[str]:
        """Keys of the elements of a kind that are in this one."""
        ...


Handler = Callable[[Notification, Known], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A line of the table. kind: what its events are about."""

    handler: Handler
    kind: str = VOLUME
    priority: str = "INFO"
    revives: bool = False
    partial: bool = False
    at_once: bool = True

    def key(self, event: Notification) -> str:
        """Names the element. Malformed."""
        if self.kind == POOL:
            return key(POOL, text(event.data, "name_to_id"))
        return key(VOLUME, volume_uuid(event.data))

    def handle(self, event: Notification, known: Known, extended: bool) -> Outcome:  # noqa: ARG002, FBT001, as EventRule has it
        """What the event means for what is known."""
        return self.handler(event, known)


def dialect(type_names: Mapping[str, str]) -> Dialect:
    """Cinder and the storage model. type_names: name of a volume type by its id, kept current."""

    def upsert(event: Notification, known: Known) -> Outcome:
        return upsert_volume(event, known, type_names)

    volume, pool = Rule(handler=upsert), Rule(handler=upsert_pool, kind=POOL)
    table: Mapping[str, EventRule] = {
        "capacity.pool": pool,
        "volume.create.end": volume,
        "volume.update.end": Rule(handler=_and_read(upsert)),  # bootable, read-only...
        "volume.attach.end": volume,
        "volume.detach.end": volume,
        "volume.resize.end": volume,
        "volume.retype": Rule(handler=_and_read(upsert)),
        "volume.revert.end": volume,
        "volume.delete.end": Rule(handler=remove_volume),
    }
    return Dialect(
        table=table,
        ignored=IGNORED,
        publishers=("volume.", "capacity."),
        decode=plain,
        key_of=key_of,
        lives=lives,
    )


IGNORED = frozenset({"capacity.backend"})
"""Sums of what `capacity.pool` says."""


def upsert_pool(event: Notification, known: Known) -> Outcome:
    """Takes over the capacities; a pool that is not known is read from Cinder."""
    data = event.data
    name = text(data, "name_to_id")
    row: PoolRow | None = known.find(POOL, name)
    if row is None:
        return Outcome(hosts=(name,))
    changed = dataclasses.replace(
        row,
        volumes=len(known.members(VOLUME, name)),
        total_gb=size(data.get("total")),
        free_gb=size(data.get("free")),
        provisioned_gb=size(data.get("provisioned")),
        allocated_gb=size(data.get("allocated")),
        virtual_free_gb=size(data.get("virtual_free")) or 0.0,
    )
    return Outcome(changes=(Upsert(changed),))


def upsert_volume(event: Notification, known: Known, type_names: Mapping[str, str]) -> Outcome:
    """Adds or replaces the volume; the counters of its pools are read again (C-076).

    What the payload does not tell is kept; of a volume that is not known it is read.
    """
    data = event.data
    uuid = volume_uuid(data)
    row: VolumeRow | None = known.find(VOLUME, uuid)
    type_id = text_or_none(data, "volume_type")
    type_name = type_names.get(type_id, row.volume_type if row else "")
    changed = VolumeRow(
        uuid=uuid,
        name=str(data.get("display_name") or ""),
        size_gb=whole(data.get("size"), "size"),
        status=text(data, "status"),
        pool=text_or_none(data, "host"),
        attachments=attachments(data.get("volume_attachment")),
        multiattach=row.multiattach if row else False,
        snapshot_id=text_or_none(data, "snapshot_id"),
        project_id=text_or_none(data, "tenant_id"),
        metadata=metadata(data.get("metadata")),
        bootable=row.bootable if row else bool(data.get("glance_metadata")),
        volume_type=type_name,
        migration_status=row.migration_status if row else "",
        created_at_s=_seconds(moment(data.get("created_at"), "created_at")),
    )
    unsure = row is None or (type_id and type_id not in type_names)
    pools = {changed.pool, row.pool if row else ""} - {""}
    return Outcome(
        changes=(Upsert(changed),),
        servers=(uuid,) if unsure else (),
        hosts=tuple(sorted(pools)),
    )


def remove_volume(event: Notification, known: Known) -> Outcome:
    """Removes the volume; the counters of its pool are read again."""
    uuid = volume_uuid(event.data)
    row: VolumeRow | None = known.find(VOLUME, uuid)
    pool = row.pool if row else text_or_none(event.data, "host")
    return Outcome(changes=(Remove(VOLUME, uuid),), hosts=(pool,) if pool else ())


def _and_read(handler: Handler) -> Handler:
    """As the handler, and what the payload does not tell is read."""

    def both(event: Notification, known: Known) -> Outcome:
        outcome = handler(event, known)
        return dataclasses.replace(outcome, servers=(volume_uuid(event.data),))

    return both


# -- payloads -----------------------------------------------------------------------------------


def volume_uuid(data: Mapping[str, Any]) -> str:
    """The volume's uuid. Malformed."""
    value = data.get("volume_id")
    try:
        return str(uuid_module.UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise Malformed(f"volume_id is {value!r}") from None


def whole(value: Any, name: str) -> int:
    """A whole number, as number or as text (C-075). Malformed."""
    try:
        number = int(value) if isinstance(value, int | str) and value is not True else -1
    except ValueError:
        number = -1
    if not 0 <= number < _TOO_MANY:
        raise Malformed(f"{name} is {value!r}")
    return number


def attachments(value: Any) -> tuple[Attachment, ...]:
    """Who has the volume, as Cinder writes it or as its API does (C-074, C-075). Malformed."""
    found = set()
    if value is not None and not isinstance(value, list):
        raise Malformed(f"volume_attachment is {value!r}")
    for item in value or ():
        if not isinstance(item, dict):
            raise Malformed(f"volume_attachment is {value!r}")
        if item.get("attach_status", _ATTACHED) != _ATTACHED:
            continue
        server = item.get("instance_uuid") or item.get("server_id")
        own = item.get("id") or item.get("attachment_id")
        found.add((str(server or ""), str(own or "")))
    return tuple([Attachment(server, own) for server, own in sorted(found)])


def metadata(value: Any) -> dict[str, str]:
    """An object, or a list of {key, value} (C-075). Malformed."""
    if isinstance(value, list):
        if not all(isinstance(item, dict) and isinstance(item.get("key"), str) for item in value):
            raise Malformed(f"metadata is {value!r}")
        return {item["key"]: str(item.get("value")) for item in value}
    return {name: str(found) for name, found in texts(value, "metadata").items()}


def _seconds(at: datetime | None) -> int:
    seconds = int(at.timestamp()) if at else 0
    return seconds if 0 <= seconds < 1 << 32 else 0
