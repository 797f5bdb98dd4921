"""Block storage: backends with pools, volume types and volumes, as Cinder keeps them."""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from trimtab_fakecloud.clock import Clock
from trimtab_fakecloud.errors import BadRequest, NotFound
from trimtab_fakecloud.tokens import stable_id

HOSTS = ("storage@fast", "storage@slow")
VolumeWatcher = Callable[[str, "Volume"], None]
"""Is told the event, e.g. ``create.end``, and of which volume."""


@dataclass(slots=True)
class VolumeType:
    """A volume type; its extra specs name the backend."""

    id: str
    name: str
    backend: str | None


@dataclass(slots=True)
class Pool:
    """A pool of a backend. ``name``: ``host@backend#pool``."""

    name: str
    total_gb: int

    @property
    def host(self) -> str:
        """The backend's service."""
        return self.name.partition("#")[0]

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self.host.partition("@")[2]


@dataclass(slots=True)
class Volume:
    """One volume."""

    id: str
    name: str
    size_gb: int
    project_id: str
    user_id: str
    created_at: float
    pool: str | None = None
    type: VolumeType | None = None
    status: str = "available"
    migration_status: str | None = None
    bootable: bool = False
    snapshot_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    attachments: list[tuple[str, str]] = field(default_factory=list)
    """(server, attachment)."""


class Storage:
    """All block storage of a cloud."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self._clock = clock
        self._rng = random.Random(seed + 1)  # noqa: S311, its own, so that servers stay as they were
        self.pools = {
            name: Pool(name, total)
            for name, total in (
                ("storage@fast#pool0", 2000),
                ("storage@fast#pool1", 1000),
                ("storage@slow#pool0", 4000),
            )
        }
        self.types = [
            VolumeType(str(uuid.UUID(stable_id("volume-type", name))), name, backend)
            for name, backend in (("slow", "slow"), ("fast", "fast"), ("__DEFAULT__", None))
        ]
        self.disabled: dict[str, str | None] = {}
        self.volumes: dict[str, Volume] = {}
        self.watchers: list[VolumeWatcher] = []
        self.pool_watchers: list[Callable[[Pool], None]] = []

    def fill(self, count: int, project_id: str, user_id: str) -> None:
        """Make so many volumes of either type."""
        for number in range(count):
            kind = self.types[number % 2]
            volume = self.create(
                Volume(
                    id=self.new_id(),
                    name=f"volume-{number:03d}",
                    size_gb=self._rng.choice([1, 5, 10, 50]),
                    project_id=project_id,
                    user_id=user_id,
                    created_at=self._clock.time(),
                    type=kind,
                )
            )
            volume.bootable = number % 5 == 0

    def new_id(self) -> str:
        """A reproducible uuid."""
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def get(self, volume_id: str) -> Volume:
        """The volume of that id.

        Raises:
            NotFound: there is none.
        """
        try:
            return self.volumes[volume_id]
        except KeyError:
            raise NotFound(f"Volume {volume_id} could not be found.") from None

    def type(self, wanted: str | None) -> VolumeType:
        """The type of that id or name; the default one for none.

        Raises:
            NotFound: there is none.
        """
        for kind in self.types:
            if wanted in (kind.id, kind.name) or (not wanted and kind.backend is None):
                return kind
        raise NotFound(f"Volume type {wanted} could not be found.")

    def allocated_gb(self, pool: Pool) -> int:
        """What the volumes of a pool take."""
        return sum(v.size_gb for v in self.volumes.values() if v.pool == pool.name)

    def create(self, volume: Volume) -> Volume:
        """A new volume, in the emptiest pool of its type; in error without room."""
        pool = self._choose(volume)
        volume.pool = pool.name if pool else None
        volume.status = "available" if pool else "error"
        self.volumes[volume.id] = volume
        self.tell("create.end", volume)
        return volume

    def delete(self, volume: Volume) -> None:
        """Take a volume away.

        Raises:
            BadRequest: it is in use.
        """
        self.check(volume, "available", "error")
        volume.status = "deleted"
        del self.volumes[volume.id]
        self.tell("delete.end", volume)

    def extend(self, volume: Volume, size_gb: int) -> None:
        """Make it larger.

        Raises:
            BadRequest: it is not available, or would be smaller.
        """
        self.check(volume, "available", "in-use")
        if size_gb <= volume.size_gb:
            raise BadRequest(
                f"Invalid input received: New size for extend must be greater than current size. "
                f"(current: {volume.size_gb}, extended: {size_gb})."
            )
        volume.size_gb = size_gb
        self.tell("resize.end", volume)

    def attach(self, volume: Volume, server_id: str) -> None:
        """Give it to a server.

        Raises:
            BadRequest: it is not available.
        """
        self.check(volume, "available")
        volume.attachments.append((server_id, self.new_id()))
        volume.status = "in-use"
        self.tell("attach.end", volume)

    def detach(self, volume: Volume) -> None:
        """Take it from its server."""
        volume.attachments.clear()
        volume.status = "available"
        self.tell("detach.end", volume)

    def retype(self, volume: Volume, kind: VolumeType, *, may_move: bool = True) -> None:
        """Give it another type; a pool of that type too, unless its own is one. Else it stays."""
        now = self.pools.get(volume.pool or "")
        if now is not None and kind.backend in (None, now.backend):
            volume.type = kind
            self.tell("retype", volume)
            return
        before, volume.type = volume.type, kind
        pool = self._choose(volume) if may_move else None
        if pool is None:
            volume.type = before
            return
        volume.pool = pool.name
        self.tell("retype", volume)

    def has_room(self, pool_name: str, volume: Volume) -> bool:
        """Whether a pool can take a volume."""
        pool = self.pools[pool_name]
        return pool.total_gb - self.allocated_gb(pool) >= volume.size_gb

    def migrate(self, volume: Volume, pool_name: str) -> None:
        """It is in another pool now. Nobody is told: Cinder has no notification of it."""
        volume.pool = pool_name

    def tell(self, event: str, volume: Volume) -> None:
        """Something happened to a volume."""
        for watcher in self.watchers:
            watcher(event, volume)

    def _choose(self, volume: Volume) -> Pool | None:
        backend = volume.type.backend if volume.type else None
        fitting = [
            pool
            for pool in self.pools.values()
            if backend in (None, pool.backend)
            and pool.total_gb - self.allocated_gb(pool) >= volume.size_gb
            and pool.host not in self.disabled
        ]
        return max(fitting, key=lambda p: p.total_gb - self.allocated_gb(p), default=None)

    def check(self, volume: Volume, *statuses: str) -> None:
        """Raise BadRequest when the volume has none of these statuses, or is migrating."""
        if volume.migration_status in ("starting", "migrating"):
            raise BadRequest(f"Invalid volume: Volume {volume.id} is already part of a migration.")
        if volume.status not in statuses:
            raise BadRequest(
                f"Invalid volume: Volume status must be {' or '.join(statuses)}, "
                f"but is {volume.status}."
            )
