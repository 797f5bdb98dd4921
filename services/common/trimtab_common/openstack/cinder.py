"""What collector reads from Cinder: services, pools, volumes, types, as plain records (C-167)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from dateutil.parser import isoparse

from trimtab_common.openstack.errors import understood
from trimtab_common.openstack.session import CloudApi

PAGE = 1000
SERVICE = "block_storage"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeServiceRecord:
    """A cinder-volume service."""

    host: str
    zone: str
    up: bool
    enabled: bool
    disabled_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRecord:
    """A pool with the capabilities that its driver reports, as they came."""

    name: str
    capabilities: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeTypeRecord:
    """A volume type."""

    id: str
    name: str
    extra_specs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRecord:
    """A volume. host: its pool, "" when it is in none; attachments: (server, attachment)."""

    uuid: str
    name: str = ""
    size_gb: int = 0
    status: str = ""
    host: str = ""
    attachments: tuple[tuple[str, str], ...] = ()
    multiattach: bool = False
    snapshot_id: str = ""
    project_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    bootable: bool = False
    volume_type: str = ""
    migration_status: str = ""
    created_at: datetime | None = None


class CinderReader(Protocol):
    """Reads of the block storage API."""

    async def services(self) -> list[VolumeServiceRecord]:
        """All cinder-volume services."""
        ...

    async def pools(self) -> list[PoolRecord]:
        """All pools."""
        ...

    async def volume_types(self) -> list[VolumeTypeRecord]:
        """All volume types, private ones too."""
        ...

    async def volumes(self) -> list[VolumeRecord]:
        """All volumes of all projects."""
        ...

    async def volume(self, uuid: str) -> VolumeRecord:
        """One volume. NotFound."""
        ...


class Cinder:
    """A `CinderReader` over a session."""

    def __init__(self, api: CloudApi) -> None:
        self._api = api

    async def services(self) -> list[VolumeServiceRecord]:
        """All cinder-volume services."""
        answer = await self._api.get(SERVICE, "/os-services", params={"binary": "cinder-volume"})
        with understood("Cinder's services"):
            return [
                VolumeServiceRecord(
                    host=item["host"],
                    zone=item.get("zone") or "",
                    up=item.get("state") == "up",
                    enabled=item.get("status") == "enabled",
                    disabled_reason=item.get("disabled_reason") or "",
                )
                for item in answer.body["services"]
            ]

    async def pools(self) -> list[PoolRecord]:
        """All pools, with their capabilities."""
        answer = await self._api.get(
            SERVICE, "/scheduler-stats/get_pools", params={"detail": "True"}
        )
        with understood("Cinder's pools"):
            return [
                PoolRecord(name=item["name"], capabilities=item.get("capabilities") or {})
                for item in answer.body["pools"]
            ]

    async def volume_types(self) -> list[VolumeTypeRecord]:
        """All volume types, in one call for a whole build (C-071)."""
        answer = await self._api.get(SERVICE, "/types", params={"is_public": "None"})
        with understood("Cinder's volume types"):
            return [
                VolumeTypeRecord(
                    id=item["id"], name=item["name"], extra_specs=item.get("extra_specs") or {}
                )
                for item in answer.body["volume_types"]
            ]

    async def volumes(self) -> list[VolumeRecord]:
        """All volumes of all projects, page by page."""
        found: dict[str, VolumeRecord] = {}
        params = {"all_tenants": "1", "limit": str(PAGE)}
        while True:
            answer = await self._api.get(SERVICE, "/volumes/detail", params=params)
            with understood("Cinder's volumes"):
                page = {item["id"]: _volume(item) for item in answer.body["volumes"]}
                marker = _next_marker(answer.body.get("volumes_links") or ())
            if page.keys() <= found.keys() or not marker:
                return list((found | page).values())
            found |= page
            params["marker"] = marker

    async def volume(self, uuid: str) -> VolumeRecord:
        """One volume, of whichever project."""
        answer = await self._api.get(SERVICE, f"/volumes/{uuid}")
        with understood("Cinder's volume"):
            return _volume(answer.body["volume"])


def _next_marker(links: Any) -> str:
    for link in links:
        if link.get("rel") == "next":
            query = dict(parse_qsl(urlsplit(str(link["href"])).query))
            return query.get("marker", "")
    return ""


def _volume(item: Mapping[str, Any]) -> VolumeRecord:
    created = item.get("created_at")
    attachments = [
        (str(row.get("server_id") or ""), str(row.get("attachment_id") or row.get("id") or ""))
        for row in item.get("attachments") or ()
    ]
    return VolumeRecord(
        uuid=item["id"],
        name=item.get("name") or "",
        size_gb=int(item.get("size") or 0),
        status=item.get("status") or "",
        host=item.get("os-vol-host-attr:host") or "",
        attachments=tuple(sorted(attachments)),
        multiattach=bool(item.get("multiattach")),
        snapshot_id=item.get("snapshot_id") or "",
        project_id=item.get("os-vol-tenant-attr:tenant_id") or "",
        metadata={key: str(value) for key, value in (item.get("metadata") or {}).items()},
        bootable=str(item.get("bootable")).lower() == "true",
        volume_type=item.get("volume_type") or "",
        migration_status=item.get("os-vol-mig-status-attr:migstat") or "",
        created_at=isoparse(created) if created else None,
    )
