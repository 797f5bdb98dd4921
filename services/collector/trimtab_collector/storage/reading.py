"""Reads the storage model from Cinder: nodes, pools, volumes, types, each in one list (C-069)."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from trimtab_collector.element_reads import ElementRead
from trimtab_collector.reads import IncrementalRead
from trimtab_common.domain.changes import SetHealth
from trimtab_common.domain.elements import ElementModel, Remove, Upsert
from trimtab_common.domain.errors import DeadlineExceeded, NotFound
from trimtab_common.domain.storage import (
    POOL,
    VOLUME,
    Attachment,
    PoolRow,
    StorageNodeRow,
    VolumeRow,
    VolumeTypeRow,
    backend_of,
)
from trimtab_common.openstack.cinder import (
    CinderReader,
    PoolRecord,
    VolumeRecord,
    VolumeServiceRecord,
    VolumeTypeRecord,
)

_OVERLAP = timedelta(seconds=10)
_BACKEND = "volume_backend_name"


class StorageReader:
    """Reads through Cinder's client. type_names: name by id of the volume types, as last read."""

    def __init__(self, cinder: CinderReader, *, timeout_s: float = 600.0) -> None:
        self._cinder = cinder
        self._timeout_s = timeout_s
        self.type_names: dict[str, str] = {}

    async def read_all(self, model: ElementModel) -> ElementRead:
        """All of Cinder. Unavailable, DeadlineExceeded...: nothing was read."""
        since = datetime.now(UTC) - _OVERLAP
        try:
            async with asyncio.timeout(self._timeout_s), asyncio.TaskGroup() as group:
                services = group.create_task(self._cinder.services())
                pools = group.create_task(self._cinder.pools())
                types = group.create_task(self._cinder.volume_types())
                volumes = group.create_task(self._cinder.volumes())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        except TimeoutError:
            raise DeadlineExceeded(
                f"Cinder's lists: not complete within {self._timeout_s:.0f} s."
            ) from None
        self.type_names.clear()
        self.type_names.update({row.id: row.name for row in types.result()})
        offered = _types_by_backend(types.result())
        rows = [volume_row(record) for record in volumes.result()]
        counts = Counter(row.pool for row in rows)
        elements: list[Any] = [node_row(record, offered) for record in services.result()]
        elements += [
            VolumeTypeRow(name=row.name, extra_specs=dict(row.extra_specs))
            for row in types.result()
        ]
        elements += [
            pool_row(record, counts[record.name], model.find(POOL, record.name))
            for record in pools.result()
        ]
        return ElementRead(elements=[*elements, *rows], health=SetHealth(), since=since)

    async def read_changes(
        self,
        model: ElementModel,
        since: datetime,  # noqa: ARG002, Cinder has no list of what was deleted since
        *,
        thorough: bool,  # noqa: ARG002, same
    ) -> IncrementalRead:
        """What changed: Cinder lists no deleted volumes, so all is read and compared."""
        read = await self.read_all(model)
        return IncrementalRead(changes=read.changes_to(model), since=read.since)

    async def read_elements(
        self, model: ElementModel, *, servers: Collection[str], hosts: Collection[str]
    ) -> list[Any]:
        """These volumes (by uuid) and pools (by name) as they are now."""
        changes: list[Any] = []
        left = {row.pool for row in (model.find(VOLUME, uuid) for uuid in servers) if row}
        for uuid in servers:
            try:
                changes.append(Upsert(volume_row(await self._cinder.volume(uuid))))
            except NotFound:
                changes.append(Remove(VOLUME, uuid))
        # where a volume was, too: it may have been moved
        touched = (set(hosts) | left | {row.pool for row in _volumes(changes)}) - {""}
        if touched:
            pools = await self._cinder.pools()
            counts = _counts(model, changes)
            changes += [
                Upsert(pool_row(record, counts[record.name], model.find(POOL, record.name)))
                for record in pools
                if record.name in touched
            ]
        return changes


def _counts(model: ElementModel, changes: Iterable[Any]) -> Counter[str]:
    """Volumes by pool, as they will be after these changes."""
    pool_by_volume = {row.uuid: row.pool for row in model.rows(VOLUME)}
    for change in changes:
        if isinstance(change, Remove):
            pool_by_volume.pop(change.key, None)
    pool_by_volume |= {row.uuid: row.pool for row in _volumes(changes)}
    return Counter(pool_by_volume.values())


def _volumes(changes: Iterable[Any]) -> list[VolumeRow]:
    """The volumes among what is added or replaced."""
    rows = [change.row for change in changes if isinstance(change, Upsert)]
    return [row for row in rows if isinstance(row, VolumeRow)]


def _types_by_backend(types: Iterable[VolumeTypeRecord]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for row in types:
        if backend := row.extra_specs.get(_BACKEND):
            found.setdefault(backend, []).append(row.name)
    return {backend: tuple(sorted(names)) for backend, names in found.items()}


def node_row(record: VolumeServiceRecord, offered: Mapping[str, tuple[str, ...]]) -> StorageNodeRow:
    """The row of a cinder-volume service; it offers the types of its backend."""
    backend = backend_of(record.host)
    return StorageNodeRow(
        host=record.host,
        zone=record.zone,
        up=record.up,
        enabled=record.enabled,
        disabled_reason="" if record.enabled else record.disabled_reason,
        volume_types=offered.get(backend, ()) if backend else (),
    )


def pool_row(record: PoolRecord, volumes: int, known: PoolRow | None) -> PoolRow:
    """The row of a pool. Only notifications tell of `virtual_free_gb`: what is known stays."""
    said = record.capabilities
    return PoolRow(
        name=record.name,
        volumes=volumes,
        total_gb=size(said.get("total_capacity_gb")),
        free_gb=size(said.get("free_capacity_gb")),
        provisioned_gb=size(said.get("provisioned_capacity_gb")),
        allocated_gb=size(said.get("allocated_capacity_gb")),
        virtual_free_gb=known.virtual_free_gb if known else 0.0,
        pool_name=str(said.get("pool_name") or ""),
        backend_name=str(said.get(_BACKEND) or ""),
        max_over_subscription_ratio=size(said.get("max_over_subscription_ratio")),
    )


def size(value: Any) -> float | None:
    """A capacity; None for what drivers say when they do not know (C-072)."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def volume_row(record: VolumeRecord) -> VolumeRow:
    """The row of a volume."""
    fields = {
        field.name: getattr(record, field.name)
        for field in dataclasses.fields(VolumeRow)
        if hasattr(record, field.name)
    }
    created = record.created_at
    if created is not None and created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    fields |= {
        "pool": record.host,
        "attachments": tuple([Attachment(server, uuid) for server, uuid in record.attachments]),
        "created_at_s": int(created.timestamp()) if created else 0,
    }
    return VolumeRow(**fields)
