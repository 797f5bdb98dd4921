"""What collector reads from Nova: hypervisors, servers, services, aggregates, as plain records.

Pages of at most 1,000 (C-043); each list asks for the newest microversion that still says what is
needed. Writes belong to the applier and stand in a file of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from dateutil.parser import isoparse

from trimtab_common.domain.compute_terms import Aggregate, ServerGroup
from trimtab_common.domain.errors import FailedPrecondition
from trimtab_common.openstack.errors import understood
from trimtab_common.openstack.session import CloudApi

PAGE = 1000
FLOOR = (2, 56)
_HYPERVISORS_UP_TO = (2, 87)  # from 2.88 on Nova leaves out vcpus, memory and disk
_FLAVORS_UP_TO = (2, 61)  # extra specs
_SERVERS_UP_TO = (2, 96)  # pinned_availability_zone
_EXTENDED_UP_TO = (2, 100)  # scheduler_hints, and with them the properties of images
_GROUPS_UP_TO = (2, 64)  # one policy, with rules
_SERVICES_UP_TO = (2, 69)  # from here on services of a cell that is away are named, as unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervisorRecord:
    """A hypervisor. host: its compute service's host; sizes None where Nova does not say.

    servers: uuids of what is on it, where they were asked for.
    """

    uuid: str
    host: str
    hostname: str
    kind: str
    up: bool
    enabled: bool
    disabled_reason: str | None
    vcpus: int | None
    memory_mib: int | None
    disk_gib: int | None
    servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlavorRecord:
    """A flavor, public or not. swap_mib, ephemeral_gib: 0 for none."""

    id: str
    name: str
    vcpus: int
    memory_mib: int
    root_gib: int
    ephemeral_gib: int
    swap_mib: int
    is_public: bool
    extra_specs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """A server. `complete` False: its cell does not answer and Nova knows little (2.69).

    root_gib is the flavor's, whether the server boots from an image or from a volume;
    host "" when it is on none; task_state None when idle. terminated: Nova has deleted it, whatever
    its state says: a nova-compute that comes back late can write "error" over "deleted".
    """

    uuid: str
    complete: bool
    name: str = ""
    vm_state: str = ""
    terminated: bool = False
    task_state: str | None = None
    host: str = ""
    vcpus: int = 0
    memory_mib: int = 0
    root_gib: int = 0
    ephemeral_gib: int = 0
    swap_mib: int = 0
    boots_from_image: bool = True
    locked: bool = False
    project_id: str = ""
    metadata: Mapping[str, str]
    extra_specs: Mapping[str, Any]
    scheduler_hints: Mapping[str, Any] = field(default_factory=dict)
    pinned_zone: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """A nova-compute service. `complete` False: its cell is away, its state is not known (2.69)."""

    host: str
    complete: bool = True
    zone: str
    up: bool
    enabled: bool
    disabled_reason: str | None


@dataclass(frozen=True, slots=True)
class ServerPage:
    """Some servers, and the cloud's clock when they were read."""

    servers: tuple[ServerRecord, ...]
    date: datetime


class NovaReader(Protocol):
    """Reads of the compute API."""

    async def check_version(self) -> None:
        """FailedPrecondition when the API is older than 2.56 (C-163)."""
        ...

    async def hypervisors(self) -> list[HypervisorRecord]:
        """All hypervisors."""
        ...

    def servers(
        self, changed_since: datetime | None = None, *, host: str = ""
    ) -> AsyncIterator[ServerPage]:
        """All servers of all projects; with a time those changed since, deleted ones too.

        host: only the servers of this one.
        """
        ...

    async def server(self, uuid: str) -> ServerRecord:
        """One server. NotFound."""
        ...

    async def services(self) -> list[ServiceRecord]:
        """All compute services."""
        ...

    async def aggregates(self) -> tuple[Aggregate, ...]:
        """All host aggregates, by id."""
        ...

    async def server_groups(self) -> list[ServerGroup]:
        """All server groups of all projects."""
        ...


class Nova:
    """A `NovaReader` over a session. extended: servers with their scheduler hints (C-037)."""

    def __init__(self, api: CloudApi, *, extended: bool = False) -> None:
        self._api = api
        self._newest: tuple[int, int] | None = None
        self._servers_up_to = _EXTENDED_UP_TO if extended else _SERVERS_UP_TO

    async def check_version(self) -> None:
        """FailedPrecondition when the API is older than 2.56."""
        newest = await self._version()
        if newest < FLOOR:
            raise FailedPrecondition(
                f"Nova offers API version {_text(newest)}; {_text(FLOOR)} or newer is needed."
            )

    async def hypervisors(self, *, with_servers: bool = False) -> list[HypervisorRecord]:
        """All hypervisors, sizes included where Nova still gives them."""
        version = _text(min(await self._version(), _HYPERVISORS_UP_TO))
        asked = {"limit": str(PAGE)} | ({"with_servers": "true"} if with_servers else {})
        found: list[HypervisorRecord] = []
        marker = ""
        while True:
            params = asked | ({"marker": marker} if marker else {})
            answer = await self._api.get(
                "compute", "/os-hypervisors/detail", params=params, microversion=version
            )
            with understood("Nova's hypervisors"):
                page = answer.body["hypervisors"]
                found += [_hypervisor(item) for item in page]
                if not page or not answer.body.get("hypervisors_links"):
                    return found
                marker = str(page[-1]["id"])

    async def hypervisor(self, uuid: str) -> HypervisorRecord:
        """One hypervisor with the servers on it. NotFound."""
        answer = await self._api.get(
            "compute",
            f"/os-hypervisors/{uuid}",
            params={"with_servers": "true"},
            microversion=_text(min(await self._version(), _HYPERVISORS_UP_TO)),
        )
        with understood("Nova's hypervisor"):
            return _hypervisor(answer.body["hypervisor"])

    async def flavors(self) -> list[FlavorRecord]:
        """All flavors, those that are not public too; extra specs from 2.61 on."""
        version = _text(min(await self._version(), _FLAVORS_UP_TO))
        params = {"is_public": "None", "limit": str(PAGE)}
        found: list[FlavorRecord] = []
        while True:
            answer = await self._api.get(
                "compute", "/flavors/detail", params=params, microversion=version
            )
            with understood("Nova's flavors"):
                page = [_flavor(item) for item in answer.body["flavors"]]
                found += page
                if not page or not answer.body.get("flavors_links"):
                    return found
                params["marker"] = page[-1].id

    async def servers(
        self, changed_since: datetime | None = None, *, host: str = ""
    ) -> AsyncIterator[ServerPage]:
        """All servers, or those of one host, page by page."""
        version = _text(min(await self._version(), self._servers_up_to))
        params = {"all_tenants": "1", "limit": str(PAGE)} | ({"host": host} if host else {})
        if changed_since is not None:
            params["changes-since"] = changed_since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        while True:
            answer = await self._api.get(
                "compute", "/servers/detail", params=params, microversion=version
            )
            with understood("Nova's servers"):
                page = answer.body["servers"]
                records = tuple([_server(item) for item in page])
                more = bool(page and answer.body.get("servers_links"))
            yield ServerPage(records, answer.date)
            if not more:
                return
            params["marker"] = records[-1].uuid

    async def server(self, uuid: str) -> ServerRecord:
        """One server, of whichever project."""
        answer = await self._api.get(
            "compute",
            f"/servers/{uuid}",
            microversion=_text(min(await self._version(), self._servers_up_to)),
        )
        with understood("Nova's server"):
            return _server(answer.body["server"])

    async def services(self) -> list[ServiceRecord]:
        """All compute services."""
        answer = await self._api.get(
            "compute",
            "/os-services",
            params={"binary": "nova-compute"},
            microversion=_text(min(await self._version(), _SERVICES_UP_TO)),
        )
        with understood("Nova's services"):
            return [_service(item) for item in answer.body["services"]]

    async def aggregates(self) -> tuple[Aggregate, ...]:
        """All host aggregates, by id."""
        answer = await self._api.get("compute", "/os-aggregates", microversion="2.53")
        with understood("Nova's aggregates"):
            found = [_aggregate(item) for item in answer.body["aggregates"]]
            return tuple(sorted(found, key=lambda row: row.id))

    async def server_groups(self) -> list[ServerGroup]:
        """All server groups of all projects, page by page."""
        version = _text(min(await self._version(), _GROUPS_UP_TO))
        found: dict[str, ServerGroup] = {}
        while True:
            params = {"all_projects": "True", "limit": str(PAGE), "offset": str(len(found))}
            answer = await self._api.get(
                "compute", "/os-server-groups", params=params, microversion=version
            )
            with understood("Nova's server groups"):
                page = {item["id"]: _group(item) for item in answer.body["server_groups"]}
            if page.keys() <= found.keys():
                return list(found.values())
            found |= page

    async def _version(self) -> tuple[int, int]:
        if self._newest is None:
            self._newest = await self._api.max_microversion("compute")
        return self._newest


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _hypervisor(item: Mapping[str, Any]) -> HypervisorRecord:
    service = item.get("service") or {}
    return HypervisorRecord(
        uuid=str(item["id"]),
        host=service.get("host") or item["hypervisor_hostname"],
        hostname=item["hypervisor_hostname"],
        kind=item.get("hypervisor_type") or "",
        up=item.get("state", "up") == "up",
        enabled=item.get("status", "enabled") == "enabled",
        disabled_reason=service.get("disabled_reason") or None,
        vcpus=item.get("vcpus"),
        memory_mib=item.get("memory_mb"),
        disk_gib=item.get("local_gb"),
        servers=tuple([str(server["uuid"]) for server in item.get("servers") or ()]),
    )


def _flavor(item: Mapping[str, Any]) -> FlavorRecord:
    return FlavorRecord(
        id=str(item["id"]),
        name=item["name"],
        vcpus=int(item["vcpus"]),
        memory_mib=int(item["ram"]),
        root_gib=int(item["disk"]),
        ephemeral_gib=int(item.get("OS-FLV-EXT-DATA:ephemeral") or 0),
        swap_mib=int(item.get("swap") or 0),
        is_public=bool(item.get("os-flavor-access:is_public", True)),
        extra_specs=item.get("extra_specs") or {},
    )


def _server(item: Mapping[str, Any]) -> ServerRecord:
    flavor = item.get("flavor")
    if not isinstance(flavor, dict) or "vcpus" not in flavor:
        return ServerRecord(uuid=item["id"], complete=False, metadata={}, extra_specs={})
    created = item.get("created")
    return ServerRecord(
        uuid=item["id"],
        complete=True,
        name=item.get("name") or "",
        vm_state=item.get("OS-EXT-STS:vm_state") or "",
        terminated=bool(item.get("OS-SRV-USG:terminated_at")),
        task_state=item.get("OS-EXT-STS:task_state"),
        host=item.get("OS-EXT-SRV-ATTR:host") or "",
        vcpus=int(flavor["vcpus"]),
        memory_mib=int(flavor["ram"]),
        root_gib=int(flavor["disk"]),
        ephemeral_gib=int(flavor.get("ephemeral") or 0),
        swap_mib=int(flavor.get("swap") or 0),
        boots_from_image=bool(item.get("image")),
        locked=bool(item.get("locked")),
        project_id=item.get("tenant_id") or "",
        metadata=item.get("metadata") or {},
        extra_specs=flavor.get("extra_specs") or {},
        scheduler_hints=item.get("scheduler_hints") or {},
        pinned_zone=item.get("pinned_availability_zone") or "",
        created_at=isoparse(created) if created else None,
    )


def _service(item: Mapping[str, Any]) -> ServiceRecord:
    return ServiceRecord(
        host=item["host"],
        complete=item.get("status") != "UNKNOWN",
        zone=item.get("zone") or "",
        up=item.get("state") == "up" and not item.get("forced_down"),
        enabled=item.get("status") == "enabled",
        disabled_reason=item.get("disabled_reason") or None,
    )


def _group(item: Mapping[str, Any]) -> ServerGroup:
    policies = item.get("policies") or [""]
    most = (item.get("rules") or {}).get("max_server_per_host")
    return ServerGroup(
        uuid=item["id"],
        name=item.get("name") or "",
        policy=item.get("policy") or policies[0],
        members=frozenset(item.get("members") or ()),
        max_per_host=int(most) if most else None,
        project_id=item.get("project_id") or "",
    )


def _aggregate(item: Mapping[str, Any]) -> Aggregate:
    metadata = item.get("metadata") or {}
    return Aggregate(
        id=int(item["id"]),
        name=item["name"],
        zone=item.get("availability_zone") or metadata.get("availability_zone"),
        hosts=frozenset(item.get("hosts") or ()),
        metadata=metadata,
    )
