"""Compute hosts: a hypervisor, its nova-compute service and its resource provider in one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

VCPU, MEMORY_MB, DISK_GB = "VCPU", "MEMORY_MB", "DISK_GB"
RESOURCE_CLASSES = (VCPU, MEMORY_MB, DISK_GB)
DISABLED_TRAIT = "COMPUTE_STATUS_DISABLED"
"""Nova keeps its scheduler away from disabled hosts by this trait."""

Resources = Mapping[str, int]
"""Amount by resource class."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a provider has of one resource class."""

    total: int
    reserved: int = 0
    allocation_ratio: float = 1.0

    @property
    def capacity(self) -> int:
        """What can be allocated, as Placement counts it."""
        return int((self.total - self.reserved) * self.allocation_ratio)


@dataclass(slots=True)
class Host:
    """One compute host. ``number`` is the id that Nova used before microversion 2.53."""

    name: str
    number: int
    uuid: str
    """Of the hypervisor and of the resource provider: Nova gives both the same."""
    service_uuid: str
    inventories: Mapping[str, Inventory]
    is_up: bool = True
    forced_down: bool = False
    disabled: bool = False
    disabled_reason: str | None = None
    is_powered_on: bool = True
    target_power: str | None = None
    """Ironic's ``target_power_state`` while it is being switched."""
    maintenance_reason: str | None = None
    """Of the machine, in Ironic; None: no maintenance."""
    machine_fault: str | None = None
    can_boot_from_volume: bool = False
    updated_at: float = 0.0
    traits: set[str] = field(default_factory=set)
    generation: int = 1

    @property
    def state(self) -> str:
        """``up`` or ``down``, as os-services says."""
        return "up" if self.is_up and not self.forced_down else "down"

    @property
    def status(self) -> str:
        """``enabled`` or ``disabled``."""
        return "disabled" if self.disabled else "enabled"

    @property
    def vcpus(self) -> int:
        """Physical threads."""
        return self.inventories[VCPU].total

    @property
    def memory_mib(self) -> int:
        """Memory, reserved part included."""
        return self.inventories[MEMORY_MB].total

    @property
    def disk_gib(self) -> int:
        """Local disk, reserved part included."""
        return self.inventories[DISK_GB].total


def inventories(
    *, vcpus: Inventory, memory_mib: Inventory, disk_gib: Inventory
) -> Mapping[str, Inventory]:
    """The three inventories of a compute host."""
    return MappingProxyType({VCPU: vcpus, MEMORY_MB: memory_mib, DISK_GB: disk_gib})


@dataclass(slots=True)
class Aggregate:
    """A named set of hosts; with ``availability_zone`` in its metadata it makes a zone."""

    number: int
    uuid: str
    name: str
    hosts: list[str]
    metadata: dict[str, str]
    created_at: float
    updated_at: float | None = None

    @property
    def zone(self) -> str | None:
        """The availability zone that it makes, if any."""
        return self.metadata.get("availability_zone")
