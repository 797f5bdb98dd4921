"""What the applier does to Cinder, and reads back of what it is changing (B-250..B-254)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from trimtab_common.openstack.asked import Asked
from trimtab_common.openstack.errors import understood
from trimtab_common.openstack.session import CloudApi

SERVICE = "block_storage"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeView:
    """A volume as far as moving it goes. `pool` "" when it is in none; `servers` have it."""

    uuid: str
    pool: str
    type: str
    status: str
    migration_status: str = ""
    servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeView:
    """A volume type."""

    id: str
    name: str
    extra_specs: Mapping[str, str] = field(default_factory=dict)


class CinderWrites(Protocol):
    """The narrow face of Cinder that actions are written against; errors as with `NovaWrites`."""

    async def volume(self, uuid: str) -> VolumeView | None:
        """None: there is none."""
        ...

    async def volume_type(self, ident: str) -> TypeView | None:
        """By id or name; None: there is none."""
        ...

    async def pools(self) -> Mapping[str, Mapping[str, Any]]:
        """Capabilities by name of the pool."""
        ...

    async def has_snapshots(self, volume: str) -> bool:
        """Whether there are snapshots of a volume."""
        ...

    async def shadow_of(self, volume: str) -> str | None:
        """The uuid of what a finished migration has not cleared away yet; None: nothing is left."""
        ...

    async def migrate(self, volume: str, pool: str) -> None:
        """Accepted, not done."""
        ...

    async def retype(self, volume: str, kind: str) -> None:
        """Accepted, not done; Cinder moves the volume if the type asks for another pool."""
        ...


class CinderClient:
    """`CinderWrites` on a session with a real cloud."""

    def __init__(self, api: CloudApi, *, write_timeout_s: float = 10.0) -> None:
        self._asked = Asked(api, SERVICE, write_timeout_s=write_timeout_s)

    async def volume(self, uuid: str) -> VolumeView | None:
        """One volume, of whichever project."""
        body = await self._asked.find(f"/volumes/{uuid}")
        if body is None:
            return None
        with understood("Cinder's volume"):
            return _volume(body["volume"])

    async def volume_type(self, ident: str) -> TypeView | None:
        """Private ones too."""
        body = await self._asked.get("/types", {"is_public": "None"})
        with understood("Cinder's volume types"):
            types = [
                TypeView(id=row["id"], name=row["name"], extra_specs=row.get("extra_specs") or {})
                for row in body["volume_types"]
            ]
        return next((one for one in types if ident in (one.id, one.name)), None)

    async def pools(self) -> Mapping[str, Mapping[str, Any]]:
        """In one list."""
        body = await self._asked.get("/scheduler-stats/get_pools", {"detail": "True"})
        with understood("Cinder's pools"):
            return {row["name"]: row.get("capabilities") or {} for row in body["pools"]}

    async def has_snapshots(self, volume: str) -> bool:
        """Of all projects."""
        body = await self._asked.get(
            "/snapshots", {"all_tenants": "1", "volume_id": volume, "limit": "1"}
        )
        with understood("Cinder's snapshots"):
            return any(row.get("volume_id", volume) == volume for row in body["snapshots"])

    async def shadow_of(self, volume: str) -> str | None:
        """While Cinder copies and clears up, a second volume says of whom it is the target."""
        mark = f"target:{volume}"
        body = await self._asked.get(
            "/volumes/detail", {"all_tenants": "1", "migration_status": mark}
        )
        with understood("Cinder's volumes"):
            found = [
                str(row["id"])
                for row in body["volumes"]
                if row.get("os-vol-mig-status-attr:migstat") == mark
            ]
        return found[0] if found else None

    async def migrate(self, volume: str, pool: str) -> None:
        """Locked while it moves, so that nobody attaches it; drivers may do it their own way."""
        order = {"host": pool, "force_host_copy": False, "lock_volume": True}
        await self._act(volume, {"os-migrate_volume": order})

    async def retype(self, volume: str, kind: str) -> None:
        """With a move if need be."""
        order = {"new_type": kind, "migration_policy": "on-demand"}
        await self._act(volume, {"os-retype": order})

    async def _act(self, volume: str, body: dict[str, Any]) -> None:
        await self._asked.write("POST", f"/volumes/{volume}/action", body)


def _volume(row: Mapping[str, Any]) -> VolumeView:
    return VolumeView(
        uuid=row["id"],
        pool=row.get("os-vol-host-attr:host") or "",
        type=row.get("volume_type") or "",
        status=row["status"],
        migration_status=row.get("os-vol-mig-status-attr:migstat") or "",
        servers=tuple(
            [str(one["server_id"]) for one in row.get("attachments") or () if one.get("server_id")]
        ),
    )
