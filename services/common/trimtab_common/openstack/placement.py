"""What is read from Placement: the inventories of compute nodes, and what plug-ins may want besides (C-166)."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog

from trimtab_common.domain.errors import TrimtabError
from trimtab_common.openstack.errors import understood
from trimtab_common.openstack.session import CloudApi

log = structlog.get_logger(__name__)
VERSION = "1.29"
Amounts = Mapping[str, int]
"""By resource class: VCPU, MEMORY_MB, DISK_GB, ..."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Inventory:
    """One resource class of a provider."""

    total: int
    reserved: int
    ratio: float


@dataclass(frozen=True, slots=True)
class Provider:
    """A resource provider; that of a compute node has the hypervisor's uuid and name."""

    uuid: str
    name: str
    parent_uuid: str
    generation: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to place a request: what it would take of each provider, by uuid."""

    takes: Mapping[str, Amounts]


class PlacementReader(Protocol):
    """What collector needs of the placement API."""

    async def inventories(self, provider: str) -> Mapping[str, Inventory]:
        """By resource class (VCPU, MEMORY_MB, DISK_GB, ...). NotFound: no such provider."""
        ...


class Placement:
    """All seven reads over a session. Each raises the errors of `openstack.errors`.

    A provider's uuid is that of the hypervisor, a consumer's that of the server.
    """

    def __init__(self, api: CloudApi) -> None:
        self._api = api

    async def inventories(self, provider: str) -> Mapping[str, Inventory]:
        """The inventories of a provider."""
        body = await self._get(f"/resource_providers/{provider}/inventories")
        with understood("Placement's inventories"):
            return {name: _inventory(item) for name, item in body["inventories"].items()}

    async def resource_providers(self, *, name: str = "") -> list[Provider]:
        """All providers, or that of this name."""
        body = await self._get("/resource_providers", {"name": name} if name else {})
        with understood("Placement's resource providers"):
            return [
                Provider(
                    uuid=item["uuid"],
                    name=item["name"],
                    parent_uuid=item.get("parent_provider_uuid") or "",
                    generation=int(item["generation"]),
                )
                for item in body["resource_providers"]
            ]

    async def resource_classes(self) -> frozenset[str]:
        """The names of all resource classes, custom ones too."""
        body = await self._get("/resource_classes")
        with understood("Placement's resource classes"):
            return frozenset([item["name"] for item in body["resource_classes"]])

    async def traits(self, provider: str) -> frozenset[str]:
        """The traits of a provider. NotFound."""
        body = await self._get(f"/resource_providers/{provider}/traits")
        with understood("Placement's traits"):
            return frozenset(body["traits"])

    async def allocations(self, consumer: str) -> Mapping[str, Amounts]:
        """What a consumer holds, by uuid of the provider; nothing for one that is unknown."""
        body = await self._get(f"/allocations/{consumer}")
        with understood("Placement's allocations"):
            return {
                provider: {name: int(amount) for name, amount in item["resources"].items()}
                for provider, item in body["allocations"].items()
            }

    async def usages(self, provider: str) -> Amounts:
        """How much of each class is taken of a provider. NotFound."""
        body = await self._get(f"/resource_providers/{provider}/usages")
        with understood("Placement's usages"):
            return {name: int(amount) for name, amount in body["usages"].items()}

    async def allocation_candidates(
        self, resources: Mapping[str, int], *, limit: int | None = None
    ) -> Sequence[Candidate]:
        """Where these amounts would fit, in Placement's order."""
        text = ",".join(f"{name}:{amount}" for name, amount in resources.items())
        params = {"resources": text} | ({"limit": str(limit)} if limit else {})
        body = await self._get("/allocation_candidates", params)
        with understood("Placement's allocation candidates"):
            return [
                Candidate(
                    {
                        provider: {name: int(amount) for name, amount in item["resources"].items()}
                        for provider, item in request["allocations"].items()
                    }
                )
                for request in body["allocation_requests"]
            ]

    async def _get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        answer = await self._api.get("placement", path, params=params, microversion=VERSION)
        return answer.body


async def known(read: Awaitable[T], what: str) -> T | None:
    """What a read gives; None, with an error in the log, where it fails: for who can do without."""
    try:
        return await read
    except TrimtabError as error:
        log.error("not read from Placement", what=what, problem=error.message)  # noqa: TRY400, it is ours
        return None


def _inventory(item: Mapping[str, Any]) -> Inventory:
    return Inventory(
        total=int(item["total"]),
        reserved=int(item.get("reserved", 0)),
        ratio=float(item.get("allocation_ratio", 1.0)),
    )
