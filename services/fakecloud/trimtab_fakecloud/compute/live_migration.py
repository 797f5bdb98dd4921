"""Live migration, from the conductor's checks to the end on one of the two hosts.

accepted -> queued -> preparing -> running -> completed | failed | cancelled; a move that finds no
place goes accepted -> error. While it is under way the migration holds the source in Placement
and the server holds the destination, as Nova does it.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.checks import check_lock, check_state
from trimtab_fakecloud.compute.records import Caller, open_migration
from trimtab_fakecloud.compute.tasks import Tasks
from trimtab_fakecloud.errors import BadRequest, CloudError, NotFound, NoValidHost
from trimtab_fakecloud.hosts import MEMORY_MB
from trimtab_fakecloud.migrations import Migration, MigrationStatus, MigrationType
from trimtab_fakecloud.scheduler import select_host
from trimtab_fakecloud.servers import Server, TaskState, VmState

FAIL_KEY = "devcloud_fail"
SECONDS_KEY = "devcloud_live_migration_seconds"
_QUEUED = frozenset({MigrationStatus.QUEUED, MigrationStatus.PREPARING})


@dataclass(slots=True)
class _Flight:
    """A live migration under way, and what was ordered meanwhile."""

    migration: Migration
    server: Server
    ordered: asyncio.Event = field(default_factory=asyncio.Event)
    abort: bool = False


class LiveMigrations:
    """All live migrations of the cloud."""

    def __init__(self, cloud: Cloud, tasks: Tasks) -> None:
        self._cloud = cloud
        self._tasks = tasks
        self._flights: dict[int, _Flight] = {}
        self._busy: dict[str, int] = {}
        self._waiting: dict[str, deque[_Flight]] = {}

    def start(
        self,
        server: Server,
        caller: Caller,
        *,
        host: str | None,
        force: bool = False,
        wait_for_checks: bool = False,
    ) -> Migration:
        """Begin to move a server.

        Args:
            server: what to move.
            caller: who asks.
            host: the destination; None lets the scheduler choose.
            force: skip the scheduler's filters (up to microversion 2.67).
            wait_for_checks: refuse with 400 what newer microversions only record (up to 2.33).

        Raises:
            Conflict: locked, or not in a state to be moved.
            BadRequest: the host does not exist, or ``wait_for_checks`` and the checks failed.
        """
        check_lock(server, caller.token)
        check_state(server, "os-migrateLive", (VmState.ACTIVE, VmState.PAUSED))
        if host is not None and host not in self._cloud.hosts:
            raise BadRequest(f"Compute host {host} could not be found.")
        server.task_state = TaskState.MIGRATING
        self._cloud.touch(server)
        migration = open_migration(
            self._cloud, server, MigrationType.LIVE, MigrationStatus.ACCEPTED, caller
        )
        try:
            self._find_place(server, migration, host=host, force=force)
        except CloudError as refusal:
            self._refuse(server, migration, refusal.message)
            if wait_for_checks:
                raise BadRequest(refusal.message) from None
            return migration
        flight = _Flight(migration, server)
        self._flights[migration.number] = flight
        migration.become(MigrationStatus.QUEUED, self._cloud.now())
        self._waiting.setdefault(migration.source, deque()).append(flight)
        self._start_next(migration.source)
        return migration

    def abort(self, server: Server, number: int, *, queued_too: bool) -> None:
        """Stop a live migration, if its status still allows it.

        Args:
            server: what moves.
            number: the migration's id.
            queued_too: from microversion 2.65 also before it runs.

        Raises:
            Conflict: the server is not migrating.
            NotFound: the server has no such migration.
            BadRequest: it cannot be aborted now.
        """
        check_state(server, "abort live migration", tuple(VmState), {TaskState.MIGRATING})
        migration = self._of_server(server, number)
        allowed = {MigrationStatus.RUNNING} | (_QUEUED if queued_too else set())
        if migration.status not in allowed:
            raise BadRequest(
                f"Migration {number} state of instance {server.id} is {migration.status}. "
                f"Cannot abort live migration while the migration is in this state."
            )
        flight = self._flights[number]
        flight.abort = True
        flight.ordered.set()
        waiting = self._waiting.get(migration.source, ())
        if flight in waiting:
            self._waiting[migration.source].remove(flight)
            self._stay(flight, MigrationStatus.CANCELLED, "aborted in the queue")

    def force_complete(self, server: Server, number: int) -> None:
        """Let a running migration end at once.

        Raises:
            BadRequest: the server has no such migration, or it does not run.
        """
        try:
            migration = self._of_server(server, number)
        except NotFound as refusal:
            raise BadRequest(refusal.message) from None
        if migration.status is not MigrationStatus.RUNNING:
            raise BadRequest(
                f"Migration {number} state of instance {server.id} is {migration.status}. "
                f"Cannot force_complete while the migration is in this state."
            )
        self._flights[number].ordered.set()

    def _of_server(self, server: Server, number: int) -> Migration:
        for migration in self._cloud.migrations.of_server(server.id):
            if migration.number == number:
                return migration
        raise NotFound(f"Migration {number} not found for instance {server.id}")

    def _find_place(
        self, server: Server, migration: Migration, *, host: str | None, force: bool
    ) -> None:
        cloud, wanted = self._cloud, server.flavor.resources
        source = cloud.hosts[migration.source]
        if source.state != "up":
            raise BadRequest(f"Compute service of {source.name} is unavailable at this time.")
        if force and host is not None:
            target = cloud.hosts[host]
            if target is source:
                raise BadRequest(
                    f"Unable to migrate instance ({server.id}) to current host ({host})."
                )
            if target.state != "up":
                raise BadRequest(f"Compute service of {host} is unavailable at this time.")
            if cloud.allocations.free(target, MEMORY_MB) < server.flavor.memory_mib:
                raise NoValidHost(f"Unable to migrate {server.id} to {host}: Lack of memory")
        else:
            target = select_host(
                cloud,
                wanted,
                ignore={source.name},
                only=host,
                zone=server.pinned_zone,
                allowed=cloud.groups.allow(server.id),
            )
        cloud.allocations.move(server.id, migration.uuid)
        cloud.allocations.claim(server.id, target, wanted)
        migration.destination = target.name

    def _refuse(self, server: Server, migration: Migration, reason: str) -> None:
        migration.reason = reason
        migration.become(MigrationStatus.ERROR, self._cloud.now())
        server.task_state = None
        self._cloud.touch(server)

    def _start_next(self, source: str) -> None:
        waiting = self._waiting.get(source, deque())
        limit = self._cloud.faults.max_concurrent_live_migrations or len(self._cloud.servers)
        while waiting and self._busy.get(source, 0) < limit:
            self._busy[source] = self._busy.get(source, 0) + 1
            self._tasks.start(self._fly(waiting.popleft()))

    async def _fly(self, flight: _Flight) -> None:
        cloud, migration = self._cloud, flight.migration
        try:
            migration.become(MigrationStatus.PREPARING, cloud.now())
            seconds, fails = self._draw(flight.server)
            await cloud.clock.sleep(0)
            if not flight.abort:
                migration.become(MigrationStatus.RUNNING, cloud.now())
                await self._copy_memory(flight, seconds)
            self._land(flight, fails=fails)
        finally:
            self._busy[migration.source] -= 1
            self._start_next(migration.source)

    async def _copy_memory(self, flight: _Flight, seconds: float) -> None:
        """Wait until the copy is done or an order came."""
        copied = asyncio.ensure_future(self._cloud.clock.sleep(seconds))
        ordered = asyncio.ensure_future(flight.ordered.wait())
        try:
            await asyncio.wait({copied, ordered}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            copied.cancel()
            ordered.cancel()

    def _land(self, flight: _Flight, *, fails: bool) -> None:
        cloud, migration, server = self._cloud, flight.migration, flight.server
        if server.is_deleted:
            cloud.allocations.release(migration.uuid)
            self._close(flight, MigrationStatus.ERROR, "the server was deleted meanwhile")
        elif flight.abort:
            self._stay(flight, MigrationStatus.CANCELLED, "aborted")
        elif fails:
            self._stay(flight, MigrationStatus.FAILED, "the hypervisor failed, as ordered")
        elif not cloud.hosts[migration.destination].is_up:
            self._stay(flight, MigrationStatus.FAILED, "the destination went down")
        else:
            cloud.allocations.release(migration.uuid)
            server.task_state = None
            cloud.place(server, migration.destination)
            self._close(flight, MigrationStatus.COMPLETED, None)

    def _stay(self, flight: _Flight, status: MigrationStatus, reason: str) -> None:
        self._cloud.allocations.move(flight.migration.uuid, flight.server.id)
        flight.server.task_state = None
        self._cloud.touch(flight.server)
        self._close(flight, status, reason)

    def _close(self, flight: _Flight, status: MigrationStatus, reason: str | None) -> None:
        flight.migration.reason = reason
        flight.migration.become(status, self._cloud.now())
        self._flights.pop(flight.migration.number, None)

    def _draw(self, server: Server) -> tuple[float, bool]:
        """How long the copy takes, and whether it fails."""
        cloud, faults = self._cloud, self._cloud.faults
        jitter = 1 + faults.migration_jitter_ratio * cloud.rng.uniform(-1, 1)
        fails = cloud.rng.random() < faults.fail_ratio
        try:
            seconds = float(server.metadata[SECONDS_KEY])
        except (KeyError, ValueError):
            seconds = faults.migration_s * jitter
        ordered = server.metadata.get(FAIL_KEY, "").split(",")
        return max(0.0, seconds), fails or "live-migration" in ordered
