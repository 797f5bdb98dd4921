"""The storage model: nodes (`host@backend`), pools (`host@backend#pool`), volumes, types (C 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from trimtab_common.domain.elements import ElementModel, check_row

NODE, POOL, VOLUME = "storage_node", "pool", "volume"
VOLUME_TYPE = "volume_type"


def node_of(pool_name: str) -> str:
    """The node of a pool or of itself: the text before `#`."""
    return pool_name.partition("#")[0]


def backend_of(host: str) -> str:
    """The text after `@`; "" for old deployments that have none (C-070)."""
    return node_of(host).partition("@")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageNodeRow:
    """One cinder-volume service, keyed by host. volume_types: names of those that it offers.

    InvalidArgument: no host.
    """

    KIND: ClassVar[str] = NODE

    host: str
    zone: str = ""
    up: bool = True
    enabled: bool = True
    disabled_reason: str = ""
    volume_types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_row(self, self.host)

    @property
    def key(self) -> str:
        """The host."""
        return self.host


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRow:
    """One pool, keyed by name. Sizes in GB; None where the driver says unknown or infinite (C-072).

    free_gb and virtual_free_gb may be negative: over-provisioned. volumes: how many are in it.
    """

    KIND: ClassVar[str] = POOL

    name: str
    volumes: int = 0
    total_gb: float | None = None
    free_gb: float | None = None
    provisioned_gb: float | None = None
    allocated_gb: float | None = None
    virtual_free_gb: float = 0.0
    pool_name: str = ""
    backend_name: str = ""
    max_over_subscription_ratio: float | None = None

    def __post_init__(self) -> None:
        check_row(self, self.name, volumes=self.volumes)

    @property
    def key(self) -> str:
        """The name."""
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeTypeRow:
    """One volume type, keyed by name, with its extra specs (`volume_backend_name` among them)."""

    KIND: ClassVar[str] = VOLUME_TYPE

    name: str
    extra_specs: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name."""
        return self.name


@dataclass(frozen=True, slots=True)
class Attachment:
    """A server that has a volume."""

    server: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRow:
    """One volume, keyed by uuid.

    pool: name of its pool as Cinder names it, "" when it is in none; the pool need not be in the
    model. status: Cinder's text, ones of the future too (C-068). created_at_s: 0 unknown.
    """

    KIND: ClassVar[str] = VOLUME

    uuid: str
    name: str = ""
    size_gb: int = 0
    status: str = ""
    pool: str = ""
    attachments: tuple[Attachment, ...] = ()
    multiattach: bool = False
    snapshot_id: str = ""
    project_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    bootable: bool = False
    volume_type: str = ""
    migration_status: str = ""
    created_at_s: int = 0

    def __post_init__(self) -> None:
        check_row(self, self.uuid, size_gb=self.size_gb, created_at_s=self.created_at_s)

    @property
    def key(self) -> str:
        """The uuid."""
        return self.uuid


class StorageModel(ElementModel):
    """Nodes, pools, volumes and volume types; what is in what is found by an index (C-022, C-024)."""

    def __init__(self, *, epoch: str = "", revision: int = 0) -> None:
        super().__init__(
            (NODE, POOL, VOLUME, VOLUME_TYPE),
            epoch=epoch,
            revision=revision,
            inside={POOL: lambda row: node_of(row.name), VOLUME: lambda row: row.pool},
        )

    def find_node(self, name: str) -> StorageNodeRow | None:
        """The node of this host, or of a pool of this name; None."""
        row: StorageNodeRow | None = self.find(NODE, node_of(name))
        return row

    def find_pool_of(self, volume: str) -> PoolRow | None:
        """The pool that a volume is in; None when either is not here."""
        row: VolumeRow | None = self.find(VOLUME, volume)
        pool: PoolRow | None = self.find(POOL, row.pool) if row is not None else None
        return pool

    def pools_of(self, host: str) -> list[PoolRow]:
        """The pools of a node, by name."""
        return [self.find(POOL, name) for name in sorted(self.members(POOL, node_of(host)))]

    def volumes_of(self, pool: str) -> list[VolumeRow]:
        """The volumes of a pool, by uuid."""
        return [self.find(VOLUME, uuid) for uuid in sorted(self.members(VOLUME, pool))]


def storage_model(*, epoch: str = "", revision: int = 0) -> StorageModel:
    """An empty storage model."""
    return StorageModel(epoch=epoch, revision=revision)
