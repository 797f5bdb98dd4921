"""Cold migration and resize: to VERIFY_RESIZE on another host, then confirmed or reverted."""

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.checks import check_lock, check_state
from trimtab_fakecloud.compute.live_migration import FAIL_KEY
from trimtab_fakecloud.compute.records import Caller, open_migration
from trimtab_fakecloud.compute.tasks import Tasks
from trimtab_fakecloud.errors import BadRequest, CloudError, Conflict
from trimtab_fakecloud.migrations import Migration, MigrationStatus, MigrationType
from trimtab_fakecloud.scheduler import select_host
from trimtab_fakecloud.servers import Fault, Flavor, Server, TaskState, VmState

_STEPS = (
    (TaskState.RESIZE_PREP, MigrationStatus.PRE_MIGRATING),
    (TaskState.RESIZE_MIGRATING, MigrationStatus.MIGRATING),
    (TaskState.RESIZE_MIGRATED, MigrationStatus.POST_MIGRATING),
    (TaskState.RESIZE_FINISH, None),
)


class ColdMigrations:
    """All cold migrations and resizes of the cloud."""

    def __init__(self, cloud: Cloud, tasks: Tasks) -> None:
        self._cloud = cloud
        self._tasks = tasks

    def migrate(self, server: Server, caller: Caller, *, host: str | None) -> None:
        """Begin to move a server that is stopped for it.

        Raises:
            Conflict: locked, wrong state, or its host is down.
            BadRequest: the host does not exist or is where it is already.
        """
        check_lock(server, caller.token)
        check_state(server, "migrate", (VmState.ACTIVE, VmState.STOPPED))
        self._check_source_is_up(server)
        if host is not None:
            if host not in self._cloud.hosts:
                raise BadRequest(f"Compute host {host} could not be found.")
            if host == server.host:
                raise BadRequest("Cannot migrate to the host where the server exists.")
        self._begin(server, caller, MigrationType.COLD, server.flavor, host)

    def resize(self, server: Server, caller: Caller, flavor: Flavor) -> None:
        """Begin to give a server another flavor, on another host.

        Raises:
            Conflict: locked, wrong state, or its host is down.
            BadRequest: it has that flavor.
        """
        check_lock(server, caller.token)
        check_state(server, "resize", (VmState.ACTIVE, VmState.STOPPED))
        self._check_source_is_up(server)
        if flavor.id == server.flavor.id:
            raise BadRequest("When resizing, instances must change flavor!")
        self._begin(server, caller, MigrationType.RESIZE, flavor, None)

    def confirm(self, server: Server, caller: Caller) -> None:
        """Give up the source.

        Raises:
            Conflict: locked, or not waiting for it.
        """
        migration = self._finished(server, caller, "confirmResize")
        migration.become(MigrationStatus.CONFIRMING, self._cloud.now())
        self._tasks.start(self._confirm(server, migration))

    def revert(self, server: Server, caller: Caller) -> None:
        """Go back to the source.

        Raises:
            Conflict: locked, or not waiting for it.
        """
        migration = self._finished(server, caller, "revertResize")
        migration.become(MigrationStatus.REVERTING, self._cloud.now())
        server.task_state = TaskState.RESIZE_REVERTING
        self._cloud.touch(server)
        self._tasks.start(self._revert(server, migration))

    def _check_source_is_up(self, server: Server) -> None:
        if server.host is None or self._cloud.hosts[server.host].state != "up":
            raise Conflict("Service is unavailable at this time.")

    def _begin(
        self, server: Server, caller: Caller, kind: MigrationType, flavor: Flavor, host: str | None
    ) -> None:
        cloud = self._cloud
        server.was_stopped = server.vm_state is VmState.STOPPED
        server.task_state = TaskState.RESIZE_PREP
        cloud.touch(server)
        migration = open_migration(
            cloud, server, kind, MigrationStatus.PRE_MIGRATING, caller, flavor=flavor
        )
        try:
            target = select_host(
                cloud,
                flavor.resources,
                ignore={migration.source},
                only=host,
                zone=server.pinned_zone,
                allowed=cloud.groups.allow(server.id),
            )
        except CloudError as refusal:
            server.task_state = None
            cloud.touch(server)
            self._end(migration, MigrationStatus.ERROR, refusal.message)
            return
        migration.destination = target.name
        cloud.allocations.move(server.id, migration.uuid)
        cloud.allocations.claim(server.id, target, flavor.resources)
        self._tasks.start(self._move(server, migration, flavor))

    async def _move(self, server: Server, migration: Migration, flavor: Flavor) -> None:
        cloud = self._cloud
        for task_state, status in _STEPS:
            if server.is_deleted:
                cloud.allocations.release(migration.uuid)
                self._end(migration, MigrationStatus.ERROR, "the server was deleted meanwhile")
                return
            server.task_state = task_state
            cloud.touch(server)
            if status is not None and status is not migration.status:
                migration.become(status, cloud.now())
            await cloud.clock.sleep(cloud.spec.resize_s / len(_STEPS))
            if task_state is TaskState.RESIZE_MIGRATING and "resize" in server.metadata.get(
                FAIL_KEY, ""
            ).split(","):
                self._break(server, migration)
                return
        server.flavor = flavor
        server.vm_state, server.task_state = VmState.RESIZED, None
        migration.become(MigrationStatus.FINISHED, cloud.now())
        cloud.place(server, migration.destination)

    def _break(self, server: Server, migration: Migration) -> None:
        """The hypervisor failed in the middle: Nova leaves the server in ERROR at the source."""
        self._cloud.allocations.move(migration.uuid, server.id)
        server.vm_state, server.task_state = VmState.ERROR, None
        server.fault = Fault(
            500, "resize fails because devcloud_fail asks for it", self._cloud.now()
        )
        self._cloud.touch(server)
        self._end(migration, MigrationStatus.ERROR, "the hypervisor failed, as ordered")

    def _finished(self, server: Server, caller: Caller, action: str) -> Migration:
        check_lock(server, caller.token)
        check_state(server, action, (VmState.RESIZED,))
        for migration in reversed(list(self._cloud.migrations.of_server(server.id))):
            if migration.status is MigrationStatus.FINISHED:
                return migration
        raise BadRequest("Instance has not been resized.")

    async def _confirm(self, server: Server, migration: Migration) -> None:
        await self._cloud.clock.sleep(self._cloud.spec.power_s)
        if server.is_deleted:
            return
        self._cloud.allocations.release(migration.uuid)
        migration.become(MigrationStatus.CONFIRMED, self._cloud.now())
        self._settle(server)

    async def _revert(self, server: Server, migration: Migration) -> None:
        await self._cloud.clock.sleep(self._cloud.spec.resize_s)
        if server.is_deleted:
            return
        self._cloud.allocations.move(migration.uuid, server.id)
        server.flavor = self._cloud.flavors[migration.old_flavor_id]
        self._cloud.place(server, migration.source)
        migration.become(MigrationStatus.REVERTED, self._cloud.now())
        self._settle(server)

    def _settle(self, server: Server) -> None:
        server.vm_state = VmState.STOPPED if server.was_stopped else VmState.ACTIVE
        server.task_state = None
        server.was_stopped = False
        self._cloud.touch(server)

    def _end(self, migration: Migration, status: MigrationStatus, reason: str) -> None:
        migration.reason = reason
        migration.become(status, self._cloud.now())
