"""Volumes on their way: migrated or retyped, which takes time and may find no room at the end."""

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.tasks import Tasks
from trimtab_fakecloud.errors import BadRequest
from trimtab_fakecloud.volumes import Volume, VolumeType

MAINTENANCE, RETYPING = "maintenance", "retyping"


class VolumeMoves:
    """What cinder-volume does after it has accepted."""

    def __init__(self, cloud: Cloud, tasks: Tasks) -> None:
        self._cloud = cloud
        self._storage = cloud.storage
        self._tasks = tasks

    def migrate(self, volume: Volume, pool_name: str, *, lock: bool) -> None:
        """Begin to move it to a pool.

        Raises:
            BadRequest: no such pool, or it cannot move now.
        """
        self._storage.check(volume, "available", "in-use")
        if pool_name not in self._storage.pools:
            raise BadRequest(f"No available service named {pool_name}")
        if pool_name == volume.pool:
            raise BadRequest(
                "Invalid input received: Destination host must be different than the current host."
            )
        before = volume.status
        volume.migration_status = "starting"
        if lock and before == "available":
            volume.status = MAINTENANCE
        self._tasks.start(self._carry(volume, pool_name, before))

    def retype(self, volume: Volume, kind: VolumeType, *, may_move: bool) -> None:
        """Begin to give it another type.

        Raises:
            BadRequest: it has that type, or it cannot change now.
        """
        self._storage.check(volume, "available", "in-use")
        if volume.type is kind:
            raise BadRequest(
                f"Invalid input received: New volume_type same as original: {kind.id}."
            )
        before, volume.status = volume.status, RETYPING
        self._tasks.start(self._change(volume, kind, before, may_move=may_move))

    async def _carry(self, volume: Volume, pool_name: str, before: str) -> None:
        await self._cloud.clock.sleep(self._cloud.spec.volume_s / 2)
        volume.migration_status = "migrating"
        await self._cloud.clock.sleep(self._cloud.spec.volume_s / 2)
        volume.status = before
        if self._storage.has_room(pool_name, volume):
            self._storage.migrate(volume, pool_name)
            volume.migration_status = "success"
        else:
            volume.migration_status = "error"

    async def _change(
        self, volume: Volume, kind: VolumeType, before: str, *, may_move: bool
    ) -> None:
        await self._cloud.clock.sleep(self._cloud.spec.volume_s)
        volume.status = before
        self._storage.retype(volume, kind, may_move=may_move)
