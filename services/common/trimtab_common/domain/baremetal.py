"""The baremetal model: machines that Ironic or MaaS can switch on and off (C 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from trimtab_common.domain.elements import ElementModel, check_row

NODE = "baremetal_node"


class PowerState(StrEnum):
    """Whether a machine runs."""

    ON = "on"
    OFF = "off"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaremetalNodeRow:
    """One machine, keyed by its uuid (Ironic) or system id (MaaS).

    compute_node_id: uuid of the hypervisor on it, "" unknown: then it cannot be used for power
    actions (C-081). up_when_off: its Nova service stays "up" while it is off (C-085).
    power_text: what the service called the power state. fault: what the service found broken, ""
    when nothing is known to be. can_boot_from_volume: it can have its system on a volume; where it has, another
    machine can take it over. With `fault` what a spare machine (N+1) is counted by (C-172).
    """

    KIND: ClassVar[str] = NODE

    uuid: str
    human_id: str = ""
    power_state: PowerState = PowerState.UNKNOWN
    power_text: str = ""
    maintenance: bool = False
    maintenance_reason: str = ""
    compute_node_id: str = ""
    instance_uuid: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    up_when_off: bool = True
    fault: str = ""
    can_boot_from_volume: bool = False

    def __post_init__(self) -> None:
        check_row(self, self.uuid)

    @property
    def key(self) -> str:
        """The uuid."""
        return self.uuid


def baremetal_model(*, epoch: str = "", revision: int = 0) -> ElementModel:
    """An empty baremetal model."""
    return ElementModel((NODE,), epoch=epoch, revision=revision)
