"""What collector reads from Ironic: its nodes, as plain records (C-080..C-084)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from trimtab_common.domain.baremetal import PowerState
from trimtab_common.openstack.errors import understood
from trimtab_common.openstack.session import CloudApi

SERVICE = "baremetal"
_PAGE = 500
_MICROVERSION = "1.42"
"""Rocky: `fault` is there, and `storage_interface` since 1.33."""
_NO_STORAGE = "noop"
_POWER = {
    "power on": PowerState.ON,
    "rebooting": PowerState.ON,
    "soft rebooting": PowerState.ON,
    "soft reboot": PowerState.ON,
    "power off": PowerState.OFF,
    "soft power off": PowerState.OFF,
    "error": PowerState.ERROR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecord:
    """A machine, of Ironic or MaaS. compute_node_id "" where nobody says which hypervisor it is."""

    uuid: str
    name: str = ""
    power_text: str = ""
    power_state: PowerState = PowerState.UNKNOWN
    maintenance: bool = False
    maintenance_reason: str = ""
    compute_node_id: str = ""
    instance_uuid: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    up_when_off: bool = True
    fault: str = ""
    can_boot_from_volume: bool = False


class MachineReader(Protocol):
    """Where machines are listed: Ironic, MaaS, or a fake (C-084)."""

    async def machines(self) -> list[MachineRecord]:
        """All machines."""
        ...

    async def machine(self, uuid: str) -> MachineRecord:
        """One machine. NotFound."""
        ...


class Ironic:
    """A `MachineReader` over a session."""

    def __init__(self, api: CloudApi) -> None:
        self._api = api

    async def machines(self) -> list[MachineRecord]:
        """All nodes, in detail, page by page."""
        found: dict[str, MachineRecord] = {}
        params = {"limit": str(_PAGE)}
        while True:
            answer = await self._api.get(
                SERVICE, "/nodes/detail", params=params, microversion=_MICROVERSION
            )
            with understood("Ironic's nodes"):
                page = {item["uuid"]: machine_of(item) for item in answer.body["nodes"]}
                url = answer.body.get("next")
            if not url or page.keys() <= found.keys():
                return list((found | page).values())
            found |= page
            params["marker"] = dict(parse_qsl(urlsplit(url).query)).get("marker", "")

    async def machine(self, uuid: str) -> MachineRecord:
        """One node."""
        answer = await self._api.get(SERVICE, f"/nodes/{uuid}", microversion=_MICROVERSION)
        with understood("Ironic's node"):
            return machine_of(answer.body)


def power_state(text: str | None) -> PowerState:
    """What an Ironic power state means."""
    return _POWER.get((text or "").lower(), PowerState.UNKNOWN)


def machine_of(item: Mapping[str, Any]) -> MachineRecord:
    """The machine of Ironic's JSON; a notification's payload has the same names."""
    extra = item.get("extra") or {}
    return MachineRecord(
        uuid=item["uuid"],
        name=item.get("name") or "",
        power_text=item.get("power_state") or "",
        power_state=power_state(item.get("power_state")),
        maintenance=bool(item.get("maintenance")),
        maintenance_reason=item.get("maintenance_reason") or "",
        compute_node_id=str(extra.get("compute_node_id") or ""),
        instance_uuid=item.get("instance_uuid") or "",
        extra=extra,
        fault=item.get("fault") or "",
        can_boot_from_volume=(item.get("storage_interface") or _NO_STORAGE) != _NO_STORAGE,
    )
