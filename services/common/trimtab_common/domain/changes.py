"""What a compute model is made of, one row at a time, and the ways in which it can change.

Collector turns the cloud's answers into rows and the rows into changes; `domain.compute` applies
them; `wire.model_codec` carries them. Rows compare by value: an equal row is no change.
"""

from __future__ import annotations

import hashlib
import uuid as uuid_module
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trimtab_common.domain.compute_terms import Aggregate, ServerGroup, ServerState
from trimtab_common.domain.errors import InvalidArgument

if TYPE_CHECKING:
    from trimtab_common.domain.snapshot import ComputeSnapshot

Triple = tuple[int, int, int]
Ratios = tuple[float, float, float]
_CANONICAL, _UUID_BYTES = 36, 16
_MAX_RATIO = 1e9  # NaN and infinity are none


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRow:
    """One compute node, keyed by hostname (the compute service host).

    inventory, reserved, ratio: by resource, in the order VCPU, MEMORY_MIB, DISK_GIB.
    zone: availability zone, "" when unknown. capacity_from_nova: Placement did not answer for this
    host and Nova's totals, or the last known values, stand in (C-031, C-032).
    InvalidArgument: no key, or a number below zero (C-019).
    """

    uuid: str
    hostname: str
    inventory: Triple
    reserved: Triple = (0, 0, 0)
    ratio: Ratios = (1.0, 1.0, 1.0)
    up: bool = True
    enabled: bool = True
    disabled_reason: str | None = None
    zone: str = ""
    capacity_from_nova: bool = False

    def __post_init__(self) -> None:
        if not self.hostname or not self.uuid:
            raise InvalidArgument(f"A host needs a hostname and a uuid: {self.hostname!r}.")
        if min(*self.inventory, *self.reserved) < 0 or not 0 <= min(self.ratio) <= _MAX_RATIO:
            raise InvalidArgument(
                f"Host {self.hostname}: inventory {self.inventory}, reserved {self.reserved} and ratio "
                f"{self.ratio} must not be below zero."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRow:
    """One server, keyed by uuid.

    hostname: as Nova names it, "" when on none; the host need not be in the model (yet).
    demand: flavor vCPUs, MiB and GiB as the model counts them (C-033).
    state_text: Nova's text when `state` is UNKNOWN. created_at_s: epoch seconds, 0 unknown.
    in_flux: Nova is doing something with it (it has a task_state): not to be touched now.
    pinned_zone, extra_specs, scheduler_hints: kept only with extended attributes (C-035, C-037).
    InvalidArgument: no key, or a demand below zero (C-019).
    """

    uuid: str
    name: str
    hostname: str
    demand: Triple
    state: ServerState = ServerState.ACTIVE
    state_text: str = ""
    locked: bool = False
    project_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    pinned_zone: str = ""
    extra_specs: Mapping[str, Any] = field(default_factory=dict)
    created_at_s: int = 0
    scheduler_hints: Mapping[str, Any] = field(default_factory=dict)
    in_flux: bool = False

    def __post_init__(self) -> None:
        if not self.uuid or min(self.demand) < 0 or self.created_at_s < 0:
            raise InvalidArgument(
                f"Server {self.uuid!r} needs a uuid, and its demand {self.demand} and time of creation "
                f"{self.created_at_s} must not be below zero."
            )


@dataclass(frozen=True, slots=True)
class UpsertHost:
    """Add a host, or replace the one with this hostname."""

    row: HostRow


@dataclass(frozen=True, slots=True)
class RemoveHost:
    """Remove a host; its servers stay, unmapped (C-023)."""

    hostname: str


@dataclass(frozen=True, slots=True)
class UpsertServer:
    """Add a server, or replace the one with this uuid."""

    row: ServerRow


@dataclass(frozen=True, slots=True)
class RemoveServer:
    """Remove a server."""

    uuid: str


@dataclass(frozen=True, slots=True)
class UpsertGroup:
    """Add a server group, or replace the one with this uuid."""

    row: ServerGroup


@dataclass(frozen=True, slots=True)
class RemoveGroup:
    """Remove a server group; its members stay."""

    uuid: str


@dataclass(frozen=True, slots=True)
class SetAggregates:
    """Replace the whole index of aggregates."""

    aggregates: tuple[Aggregate, ...]


@dataclass(frozen=True, slots=True)
class SetHealth:
    """Replace the model's flags (C-009, C-042)."""

    partial: bool = False
    stale_reason: str = ""
    missing_hosts: tuple[str, ...] = ()


Change = (
    UpsertHost
    | RemoveHost
    | UpsertServer
    | RemoveServer
    | UpsertGroup
    | RemoveGroup
    | SetAggregates
    | SetHealth
)


def _hash(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=16).digest(), "big")


def hash_host(row: HostRow) -> int:
    """128-bit hash of a host's content, equal in every process."""
    return _hash(
        "host", row.uuid, row.hostname, row.inventory, row.reserved, row.ratio, row.up,
        row.enabled, row.disabled_reason or "", row.zone, row.capacity_from_nova,
    )  # fmt: skip


def hash_server(row: ServerRow) -> int:
    """128-bit hash of a server's content, equal in every process."""
    return _hash(
        "server", row.uuid, row.name, row.hostname, row.demand, int(row.state), row.state_text,
        row.locked, row.project_id, sorted(row.metadata.items()), row.pinned_zone,
        sorted(row.extra_specs.items(), key=lambda item: item[0]), row.created_at_s,
        sorted(row.scheduler_hints.items(), key=lambda item: item[0]), row.in_flux,
    )  # fmt: skip


def hash_plain_server(
    *,
    uuid: str,
    name: str,
    hostname: str,
    demand: Triple,
    state: int,
    locked: bool,
    project_id: str,
    created_at_s: int,
    in_flux: bool,
) -> int:
    """`hash_server` of one without text of its state, metadata, zone, specs and hints, and no row."""
    text = (
        f"('server', {uuid!r}, {name!r}, {hostname!r}, {demand!r}, {state}, '', {locked}, "
        f"{project_id!r}, [], '', [], {created_at_s}, [], {in_flux})"
    )
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def hash_group(row: ServerGroup) -> int:
    """128-bit hash of a server group's content, equal in every process."""
    return _hash(
        "group", row.uuid, row.name, row.policy, sorted(row.members), row.max_per_host,
        row.project_id,
    )  # fmt: skip


def hash_aggregate(row: Aggregate) -> int:
    """128-bit hash of an aggregate's content, equal in every process."""
    return _hash(
        "aggregate", row.id, row.name, row.zone or "", sorted(row.hosts),
        sorted(row.metadata.items()),
    )  # fmt: skip


def uuid_bytes(text: str) -> bytes:
    """The 16 bytes of a uuid text. InvalidArgument when it is none."""
    try:
        if (
            len(text) == _CANONICAL
            and len(raw := bytes.fromhex(text.replace("-", ""))) == _UUID_BYTES
        ):
            return raw  # five times as quick, and there are hundreds of thousands
        return uuid_module.UUID(text).bytes
    except ValueError:
        raise InvalidArgument(f"{text!r} is not a uuid.") from None


def host_rows(snapshot: ComputeSnapshot) -> list[HostRow]:
    """The hosts of a snapshot as rows, in its order."""
    from_nova = snapshot.host_capacity_from_nova.tolist() or [False] * snapshot.n_hosts
    columns = zip(
        snapshot.host_uuid,
        snapshot.host_name,
        map(tuple, snapshot.host_inventory.tolist()),
        map(tuple, snapshot.host_reserved.tolist()),
        map(tuple, snapshot.host_ratio.tolist()),
        snapshot.host_up.tolist(),
        snapshot.host_enabled.tolist(),
        snapshot.host_disabled_reason,
        [snapshot.zones[zone] if zone >= 0 else "" for zone in snapshot.host_zone.tolist()],
        from_nova,
        strict=True,
    )
    names = tuple(HostRow.__dataclass_fields__)
    return [HostRow(**dict(zip(names, values, strict=True))) for values in columns]


def server_rows(snapshot: ComputeSnapshot) -> list[ServerRow]:
    """The servers of a snapshot as rows, in its order."""
    created = snapshot.server_created_at_s.tolist() or [0] * snapshot.n_servers
    in_flux = snapshot.server_in_flux.tolist() or [False] * snapshot.n_servers
    missing = snapshot.server_missing_host
    columns = zip(
        (str(uuid_module.UUID(bytes=raw.tobytes())) for raw in snapshot.server_uuid),
        snapshot.server_name,
        snapshot.server_host.tolist(),
        map(tuple, snapshot.server_demand.tolist()),
        snapshot.server_state.tolist(),
        snapshot.server_locked.tolist(),
        snapshot.server_project.tolist(),
        created,
        in_flux,
        strict=True,
    )
    return [
        ServerRow(
            uuid=uuid,
            name=name,
            hostname=snapshot.host_name[host] if host >= 0 else missing.get(i, ""),
            demand=demand,
            state=ServerState(state),
            state_text=snapshot.server_state_text.get(i, ""),
            locked=locked,
            project_id=snapshot.projects[project],
            metadata=snapshot.server_metadata.get(i, {}),
            pinned_zone=snapshot.server_pinned_zone.get(i, ""),
            extra_specs=snapshot.server_extra_specs.get(i, {}),
            created_at_s=created_at_s,
            scheduler_hints=snapshot.server_scheduler_hints.get(i, {}),
            in_flux=flux,
        )
        for i, (
            uuid,
            name,
            host,
            demand,
            state,
            locked,
            project,
            created_at_s,
            flux,
        ) in enumerate(columns)
    ]
