"""Servers are created and deleted, stopped and started, paused, locked and rebooted."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.checks import check_lock, check_state
from trimtab_fakecloud.compute.live_migration import FAIL_KEY
from trimtab_fakecloud.compute.records import Caller
from trimtab_fakecloud.compute.tasks import Tasks
from trimtab_fakecloud.errors import NoValidHost
from trimtab_fakecloud.scheduler import select_host
from trimtab_fakecloud.servers import Fault, Flavor, Server, TaskState, VmState


@dataclass(frozen=True, slots=True)
class NewServer:
    """What is asked for."""

    name: str
    flavor: Flavor
    metadata: Mapping[str, str] = field(default_factory=dict)
    image_id: str | None = None
    zone: str | None = None
    host: str | None = None
    description: str | None = None
    scheduler_hints: Mapping[str, object] = field(default_factory=dict)
    cpu_pct: float | None = None
    """None draws one."""
    memory_used_mib: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of power state: the action's name in errors, and the states on its way."""

    action: str
    allowed: tuple[VmState, ...]
    task_state: TaskState
    goal: VmState
    fails_with: str = ""


STOP = Change(
    "stop",
    (VmState.ACTIVE, VmState.ERROR),
    TaskState.POWERING_OFF,
    VmState.STOPPED,
    "power-off",
)
START = Change("start", (VmState.STOPPED,), TaskState.POWERING_ON, VmState.ACTIVE)
PAUSE = Change("pause", (VmState.ACTIVE,), TaskState.PAUSING, VmState.PAUSED)
UNPAUSE = Change("unpause", (VmState.PAUSED,), TaskState.UNPAUSING, VmState.ACTIVE)
REBOOT = Change(
    "reboot",
    (VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.ERROR),
    TaskState.REBOOTING,
    VmState.ACTIVE,
)


class Lifecycle:
    """Everything about a server but its moves."""

    def __init__(self, cloud: Cloud, tasks: Tasks) -> None:
        self._cloud = cloud
        self._tasks = tasks

    def create(self, wanted: NewServer, caller: Caller) -> Server:
        """A new server, which builds for a moment; without room it ends in ERROR."""
        cloud, rng, flavor = self._cloud, self._cloud.rng, wanted.flavor
        cpu, memory = wanted.cpu_pct, wanted.memory_used_mib
        server = Server(
            id=cloud.new_uuid(),
            name=wanted.name,
            project_id=caller.token.user.project_id,
            user_id=caller.token.user.id,
            flavor=flavor,
            host=None,
            created_at=cloud.now(),
            updated_at=cloud.now(),
            vm_state=VmState.BUILDING,
            metadata=dict(wanted.metadata),
            image_id=wanted.image_id,
            pinned_zone=wanted.zone,
            description=wanted.description,
            scheduler_hints=dict(wanted.scheduler_hints),
            cpu_pct=rng.uniform(5, 60) if cpu is None else cpu,
            memory_used_mib=flavor.memory_mib * rng.uniform(0.25, 0.9)
            if memory is None
            else memory,
        )
        try:
            if group := wanted.scheduler_hints.get("group"):
                cloud.groups.join(str(group), server.id)
            host = select_host(
                cloud,
                flavor.resources,
                only=wanted.host,
                zone=wanted.zone,
                allowed=cloud.groups.allow(server.id),
            )
        except NoValidHost as refusal:
            server.vm_state = VmState.ERROR
            server.fault = Fault(500, refusal.message, cloud.now())
            return cloud.add_server(server)
        server.host = host.name
        server.task_state = TaskState.SPAWNING
        cloud.add_server(server)
        self._tasks.start(self._build(server))
        return server

    def delete(self, server: Server, caller: Caller) -> None:
        """Take a server away, in whatever state it is.

        Raises:
            Conflict: locked.
        """
        check_lock(server, caller.token)
        server.task_state = TaskState.DELETING
        self._cloud.touch(server)
        self._tasks.start(self._delete(server))

    def change(self, server: Server, caller: Caller, change: Change) -> None:
        """Begin a change of power state.

        Raises:
            Conflict: locked, or not in a state for it.
        """
        check_lock(server, caller.token)
        check_state(server, change.action, change.allowed)
        server.task_state = change.task_state
        self._cloud.touch(server)
        self._tasks.start(self._change(server, change))

    def lock(self, server: Server, reason: str | None) -> None:
        """Keep users from changing it."""
        server.locked, server.locked_reason = True, reason
        self._cloud.touch(server)

    def unlock(self, server: Server) -> None:
        """Let users change it."""
        server.locked, server.locked_reason = False, None
        self._cloud.touch(server)

    async def _build(self, server: Server) -> None:
        await self._cloud.clock.sleep(self._cloud.spec.power_s)
        if server.is_deleted:
            return
        server.vm_state, server.task_state = VmState.ACTIVE, None
        server.launched_at = self._cloud.now()
        self._cloud.touch(server)

    async def _delete(self, server: Server) -> None:
        await self._cloud.clock.sleep(self._cloud.spec.power_s)
        if not server.is_deleted:
            for migration in self._cloud.migrations.of_server(server.id):
                self._cloud.allocations.release(migration.uuid)
            self._cloud.remove(server)

    async def _change(self, server: Server, change: Change) -> None:
        await self._cloud.clock.sleep(self._cloud.spec.power_s)
        if server.is_deleted:
            return
        server.task_state = None
        if not change.fails_with or change.fails_with not in server.metadata.get(
            FAIL_KEY, ""
        ).split(","):
            server.vm_state = change.goal
        self._cloud.touch(server)
