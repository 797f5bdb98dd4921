"""What the applier does to machines: Ironic or MaaS switch them, and say how they are (B-239)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from trimtab_common.domain.baremetal import PowerState
from trimtab_common.domain.errors import NotFound
from trimtab_common.openstack.asked import Asked
from trimtab_common.openstack.errors import understood
from trimtab_common.openstack.ironic import SERVICE, machine_of
from trimtab_common.openstack.maas import Maas
from trimtab_common.openstack.session import CloudApi

IRONIC_MICROVERSION = "1.10"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    """A machine as far as its power goes. compute_node_id "" unknown.

    is_switching: on its way to another power state. error: why the last try went wrong, "" if not.
    """

    uuid: str
    power: PowerState
    name: str = ""
    maintenance: bool = False
    compute_node_id: str = ""
    is_switching: bool = False
    error: str = ""


class PowerWrites(Protocol):
    """The narrow face of Ironic or MaaS that actions are written against."""

    async def machine(self, uuid: str) -> MachineView | None:
        """None: there is none."""
        ...

    async def switch(self, uuid: str, *, on: bool) -> None:
        """Accepted, not done."""
        ...


class IronicPower:
    """`PowerWrites` by Ironic."""

    def __init__(self, api: CloudApi, *, write_timeout_s: float = 10.0) -> None:
        self._asked = Asked(
            api, SERVICE, write_timeout_s=write_timeout_s, microversion=IRONIC_MICROVERSION
        )

    async def machine(self, uuid: str) -> MachineView | None:
        """One node."""
        body = await self._asked.find(f"/nodes/{uuid}")
        if body is None:
            return None
        with understood("Ironic's node"):
            return _of_ironic(body)

    async def switch(self, uuid: str, *, on: bool) -> None:
        """By its power interface, IPMI mostly."""
        target = "power on" if on else "power off"
        await self._asked.write("PUT", f"/nodes/{uuid}/states/power", {"target": target})


class MaasPower:
    """`PowerWrites` by MaaS; it does not tell of machines on their way."""

    def __init__(self, maas: Maas) -> None:
        self._maas = maas

    async def machine(self, uuid: str) -> MachineView | None:
        """One machine, by its system id."""
        try:
            found = await self._maas.machine(uuid)
        except NotFound:
            return None
        return MachineView(
            uuid=found.uuid,
            power=found.power_state,
            name=found.name,
            maintenance=found.maintenance,
            compute_node_id=found.compute_node_id,
        )

    async def switch(self, uuid: str, *, on: bool) -> None:
        """By its power driver."""
        await self._maas.switch(uuid, on=on)


def _of_ironic(row: Mapping[str, Any]) -> MachineView:
    known = machine_of(row)
    return MachineView(
        uuid=known.uuid,
        power=known.power_state,
        name=known.name,
        maintenance=known.maintenance,
        compute_node_id=known.compute_node_id,
        is_switching=bool(row.get("target_power_state")),
        error=str(row.get("last_error") or ""),
    )
