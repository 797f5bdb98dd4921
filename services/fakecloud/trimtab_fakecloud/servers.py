"""Servers and flavors, with the states that Nova gives them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from trimtab_fakecloud.hosts import DISK_GB, MEMORY_MB, VCPU, Resources


class VmState(StrEnum):
    """What a server is."""

    ACTIVE = "active"
    BUILDING = "building"
    STOPPED = "stopped"
    PAUSED = "paused"
    RESIZED = "resized"
    ERROR = "error"
    DELETED = "deleted"


class TaskState(StrEnum):
    """What is being done to a server."""

    SPAWNING = "spawning"
    MIGRATING = "migrating"
    RESIZE_PREP = "resize_prep"
    RESIZE_MIGRATING = "resize_migrating"
    RESIZE_MIGRATED = "resize_migrated"
    RESIZE_FINISH = "resize_finish"
    RESIZE_REVERTING = "resize_reverting"
    POWERING_OFF = "powering-off"
    POWERING_ON = "powering-on"
    PAUSING = "pausing"
    UNPAUSING = "unpausing"
    REBOOTING = "rebooting"
    DELETING = "deleting"


_RESIZING = frozenset(
    {
        TaskState.RESIZE_PREP,
        TaskState.RESIZE_MIGRATING,
        TaskState.RESIZE_MIGRATED,
        TaskState.RESIZE_FINISH,
    }
)
_STATUS = {
    VmState.ACTIVE: "ACTIVE",
    VmState.BUILDING: "BUILD",
    VmState.STOPPED: "SHUTOFF",
    VmState.PAUSED: "PAUSED",
    VmState.RESIZED: "VERIFY_RESIZE",
    VmState.ERROR: "ERROR",
    VmState.DELETED: "DELETED",
}
_POWER_STATE = {VmState.ACTIVE: 1, VmState.RESIZED: 1, VmState.PAUSED: 3, VmState.STOPPED: 4}


@dataclass(frozen=True, slots=True)
class Flavor:
    """A size of server."""

    id: str
    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    extra_specs: Mapping[str, str] = field(default_factory=dict)

    @property
    def resources(self) -> Resources:
        """What a server of this flavor asks of Placement; zero amounts are left out."""
        wanted = {VCPU: self.vcpus, MEMORY_MB: self.memory_mib, DISK_GB: self.disk_gib}
        return {name: amount for name, amount in wanted.items() if amount}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a server is in ERROR."""

    code: int
    message: str
    at: float


@dataclass(slots=True)
class Server:
    """One server."""

    id: str
    name: str
    project_id: str
    user_id: str
    flavor: Flavor
    host: str | None
    created_at: float
    updated_at: float
    vm_state: VmState = VmState.ACTIVE
    task_state: TaskState | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    locked: bool = False
    locked_reason: str | None = None
    image_id: str | None = None
    """None: booted from a volume."""
    pinned_zone: str | None = None
    """The availability zone that was asked for when it was created."""
    scheduler_hints: dict[str, object] = field(default_factory=dict)
    zone: str = ""
    description: str | None = None
    tags: tuple[str, ...] = ()
    launched_at: float | None = None
    deleted_at: float | None = None
    fault: Fault | None = None
    was_stopped: bool = False
    """Before a cold migration or resize: the same again after confirm or revert."""
    cpu_pct: float = 0.0
    """Load, percent of its own vCPUs, while it runs."""
    memory_used_mib: float = 0.0

    @property
    def is_deleted(self) -> bool:
        """Gone, but Nova still tells of it with ``changes-since``."""
        return self.deleted_at is not None

    @property
    def is_running(self) -> bool:
        """Uses CPU and memory now."""
        return self.vm_state is VmState.ACTIVE or (
            self.vm_state is VmState.RESIZED and not self.was_stopped
        )

    @property
    def power_state(self) -> int:
        """Nova's number: 0 none, 1 running, 3 paused, 4 shut down."""
        if self.vm_state is VmState.RESIZED and self.was_stopped:
            return 4
        return _POWER_STATE.get(self.vm_state, 0)

    @property
    def status(self) -> str:
        """The word that Nova makes of vm_state and task_state."""
        if self.task_state is TaskState.MIGRATING and self.vm_state in (
            VmState.ACTIVE,
            VmState.PAUSED,
        ):
            return "MIGRATING"
        if self.task_state in _RESIZING and self.vm_state in (VmState.ACTIVE, VmState.STOPPED):
            return "RESIZE"
        if self.task_state is TaskState.RESIZE_REVERTING:
            return "REVERT_RESIZE"
        if self.task_state is TaskState.REBOOTING:
            return "REBOOT"
        return _STATUS[self.vm_state]
