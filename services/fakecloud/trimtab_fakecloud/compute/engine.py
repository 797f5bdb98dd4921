"""All that takes time in one hand, for the REST faces and for tests."""

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.cold_migration import ColdMigrations
from trimtab_fakecloud.compute.lifecycle import Lifecycle
from trimtab_fakecloud.compute.live_migration import LiveMigrations
from trimtab_fakecloud.compute.power import Power
from trimtab_fakecloud.compute.tasks import Tasks
from trimtab_fakecloud.compute.volume_moves import VolumeMoves


class Compute:
    """Does with servers what is asked."""

    def __init__(self, cloud: Cloud) -> None:
        self._tasks = Tasks()
        self.live = LiveMigrations(cloud, self._tasks)
        self.cold = ColdMigrations(cloud, self._tasks)
        self.lifecycle = Lifecycle(cloud, self._tasks)
        self.volumes = VolumeMoves(cloud, self._tasks)
        self.power = Power(cloud, self._tasks)

    async def close(self) -> None:
        """Stop all that is under way."""
        await self._tasks.close()
