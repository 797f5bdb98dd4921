"""Machines on their way to another power state, which takes time."""

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.tasks import Tasks
from trimtab_fakecloud.errors import Conflict
from trimtab_fakecloud.hosts import Host


class Power:
    """What ironic-conductor does after it has accepted."""

    def __init__(self, cloud: Cloud, tasks: Tasks) -> None:
        self._cloud = cloud
        self._tasks = tasks

    def switch(self, host: Host, target: str, *, on: bool) -> None:
        """Begin to switch it.

        Raises:
            Conflict: it is being switched.
        """
        if host.target_power is not None:
            raise Conflict(f"Node {host.name} is locked by host conductor, please retry later.")
        host.target_power = target
        self._tasks.start(self._switched(host, on=on))

    async def _switched(self, host: Host, *, on: bool) -> None:
        await self._cloud.clock.sleep(self._cloud.spec.node_power_s)
        host.is_powered_on, host.target_power = on, None
        self._cloud.node_changed("power_set.end", host)
