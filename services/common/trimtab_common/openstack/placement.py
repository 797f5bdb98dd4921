"""What collector reads from Placement: the inventories of compute nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from trimtab_common.openstack.errors import understood
from trimtab_common.openstack.session import CloudApi


@dataclass(frozen=True, slots=True)
class Inventory:
    """One resource class of a provider."""

    total: int
    reserved: int
    ratio: float


class PlacementReader(Protocol):
    """Reads of the placement API."""

    async def inventories(self, provider: str) -> Mapping[str, Inventory]:
        """By resource class (VCPU, MEMORY_MB, DISK_GB, ...). NotFound: no such provider."""
        ...


class Placement:
    """A `PlacementReader` over a session."""

    def __init__(self, api: CloudApi) -> None:
        self._api = api

    async def inventories(self, provider: str) -> Mapping[str, Inventory]:
        """The inventories of a provider, whose uuid is that of the hypervisor."""
        answer = await self._api.get(
            "placement", f"/resource_providers/{provider}/inventories", microversion="1.29"
        )
        with understood("Placement's inventories"):
            return {name: _inventory(item) for name, item in answer.body["inventories"].items()}


def _inventory(item: Mapping[str, Any]) -> Inventory:
    return Inventory(
        total=int(item["total"]),
        reserved=int(item.get("reserved", 0)),
        ratio=float(item.get("allocation_ratio", 1.0)),
    )
