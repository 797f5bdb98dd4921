"""What the applier does to Nova, and reads back of what it is changing.

The main path ends here: a plan's moves become these calls. A write is sent once, with a deadline.
Nova's refusals come back as the errors of `openstack.errors`; when Nova did not answer, or failed
in answering, it is `OutcomeUnknown`: the caller looks before it does anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from trimtab_common.domain.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Unavailable,
)
from trimtab_common.openstack.session import CloudApi

COMPUTE = "compute"
NEEDED_MICROVERSION = (2, 56)
"""Cold migration to a named host (B-231)."""
PAGED_MIGRATIONS = (2, 59)
ABORT_QUEUED = (2, 65)
UNTOLD = (0, 0)
PAGE = 500
ONE_BY_ONE = 4
"""Up to this many servers are read one by one; more are read as one list."""
READ_TIMEOUT_S = 20.0


class OutcomeUnknown(Unavailable):
    """A write was sent and its answer never came: it may have happened."""

    reason = "OUTCOME_UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """A server as far as moving it goes. `host` None: on no host. Of the flavor 0 is untold."""

    uuid: str
    host: str | None
    status: str
    task_state: str | None
    vm_state: str
    flavor: str = ""
    vcpus: int = 0
    memory_mib: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationView:
    """Nova's account of one move. `number` grows within one server's moves."""

    number: int
    server: str
    kind: str
    status: str
    source: str
    destination: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """A nova-compute service. `status`: enabled or disabled; `state`: up or down."""

    uuid: str
    host: str
    status: str
    state: str
    disabled_reason: str | None = None


class NovaWrites(Protocol):
    """The narrow face of Nova that actions are written against.

    Reads raise Unavailable, DeadlineExceeded, PermissionDenied or Unauthenticated; writes also
    NotFound, Conflict, InvalidArgument and OutcomeUnknown.
    """

    async def check(self) -> None:
        """Raises FailedPrecondition when this Nova cannot do what actions need."""
        ...

    async def server(self, uuid: str) -> ServerView | None:
        """None: there is none."""
        ...

    async def servers(self, uuids: Iterable[str], *, since: datetime) -> Mapping[str, ServerView]:
        """Those that exist; many at once by one list of what changed `since`."""
        ...

    async def changed_servers(self, *, since: datetime) -> Mapping[str, ServerView]:
        """All servers of the cloud that changed `since` and exist, in one list."""
        ...

    async def migrations(self, *, since: datetime) -> list[MigrationView]:
        """All moves of the cloud that changed `since`, in one list."""
        ...

    async def migrations_of(self, server: str) -> list[MigrationView]:
        """The moves of one server."""
        ...

    async def compute_services(self) -> list[ServiceView]:
        """All nova-compute services."""
        ...

    async def hypervisor_host(self, uuid: str) -> str | None:
        """The host of a hypervisor; None: there is none."""
        ...

    async def servers_on(self, host: str) -> int:
        """How many servers a host has, in whatever state."""
        ...

    async def flavor_id(self, ident: str) -> str | None:
        """The id of a flavor given by id or name; None: there is none."""
        ...

    async def live_migrate(self, server: str, host: str | None) -> None:
        """Accepted, not done. `host` None: Nova chooses."""
        ...

    async def cold_migrate(self, server: str, host: str | None) -> None:
        """Accepted, not done; to be confirmed at the end."""
        ...

    async def resize(self, server: str, flavor: str) -> None:
        """Accepted, not done; to be confirmed at the end."""
        ...

    async def confirm_resize(self, server: str) -> None:
        """Accepted, not done."""
        ...

    async def abort_live_migration(self, server: str, number: int) -> None:
        """Accepted, not done."""
        ...

    async def stop(self, server: str) -> None:
        """Accepted, not done."""
        ...

    async def start(self, server: str) -> None:
        """Accepted, not done."""
        ...

    async def set_service_status(
        self, service: str, *, enabled: bool, reason: str | None
    ) -> ServiceView:
        """What Nova says the service is now. `reason` only goes with disabling."""
        ...


class NovaClient:
    """`NovaWrites` on a session with a real cloud."""

    def __init__(self, api: CloudApi, *, write_timeout_s: float = 10.0) -> None:
        self._api = api
        # the session gives up after 1.5 times its limit; that, too, must be within ours
        self._write_timeout_s = write_timeout_s / 1.6
        self._newest: tuple[int, int] | None = None

    async def check(self) -> None:
        """Raises FailedPrecondition when this Nova is too old, Unavailable when it does not tell."""
        newest = await self._max_microversion()
        if newest == UNTOLD:
            raise Unavailable("Nova does not tell which microversions it offers.")
        if newest < NEEDED_MICROVERSION:
            raise FailedPrecondition(
                f"Nova offers microversion {_text(newest)}, "
                f"{_text(NEEDED_MICROVERSION)} or newer is needed."
            )

    async def server(self, uuid: str) -> ServerView | None:
        """One server."""
        try:
            body = await self._get(f"/servers/{uuid}")
        except NotFound:
            return None
        return _server(body["server"])

    async def servers(self, uuids: Iterable[str], *, since: datetime) -> Mapping[str, ServerView]:
        """A few one by one; more by one list, and one by one those that are not on it."""
        wanted = set(uuids)
        found: dict[str, ServerView] = {}
        if len(wanted) > ONE_BY_ONE:
            changed = await self.changed_servers(since=since)
            found = {uuid: view for uuid, view in changed.items() if uuid in wanted}
        one_by_one = await asyncio.gather(*(self.server(uuid) for uuid in wanted - found.keys()))
        found |= {server.uuid: server for server in one_by_one if server is not None}
        return {uuid: view for uuid, view in found.items() if view.status != "DELETED"}

    async def changed_servers(self, *, since: datetime) -> Mapping[str, ServerView]:
        """Of all projects."""
        rows = await self._pages(
            "/servers/detail",
            "servers",
            "id",
            {"all_tenants": "true", "changes-since": _stamp(since)},
        )
        views = [_server(row) for row in rows]
        return {view.uuid: view for view in views if view.status != "DELETED"}

    async def migrations(self, *, since: datetime) -> list[MigrationView]:
        """All moves of late, paged where Nova can."""
        if await self._max_microversion() < PAGED_MIGRATIONS:
            body = await self._get("/os-migrations")
            return [_migration(row) for row in body["migrations"]]
        rows = await self._pages(
            "/os-migrations",
            "migrations",
            "uuid",
            {"changes-since": _stamp(since)},
            microversion=PAGED_MIGRATIONS,
        )
        return [_migration(row) for row in rows]

    async def migrations_of(self, server: str) -> list[MigrationView]:
        """The moves of one server."""
        body = await self._get("/os-migrations", {"instance_uuid": server})
        return [_migration(row) for row in body["migrations"]]

    async def compute_services(self) -> list[ServiceView]:
        """All nova-compute services."""
        body = await self._get("/os-services", {"binary": "nova-compute"})
        return [_service(row) for row in body["services"]]

    async def hypervisor_host(self, uuid: str) -> str | None:
        """The host of a hypervisor."""
        try:
            body = await self._get(f"/os-hypervisors/{uuid}")
        except NotFound:
            return None
        return str(body["hypervisor"]["service"]["host"])

    async def servers_on(self, host: str) -> int:
        """Of all projects."""
        rows = await self._pages("/servers", "servers", "id", {"all_tenants": "true", "host": host})
        return len(rows)

    async def flavor_id(self, ident: str) -> str | None:
        """By id, else by name among all flavors."""
        try:
            return str((await self._get(f"/flavors/{ident}"))["flavor"]["id"])
        except NotFound:
            rows = await self._pages("/flavors", "flavors", "id", {"is_public": "None"})
        return next((str(row["id"]) for row in rows if row["name"] == ident), None)

    async def live_migrate(self, server: str, host: str | None) -> None:
        """Block migration as Nova finds it right."""
        await self._act(server, {"os-migrateLive": {"host": host, "block_migration": "auto"}})

    async def cold_migrate(self, server: str, host: str | None) -> None:
        """To a host, or where Nova likes."""
        await self._act(server, {"migrate": {"host": host}})

    async def resize(self, server: str, flavor: str) -> None:
        """To another flavor."""
        await self._act(server, {"resize": {"flavorRef": flavor}})

    async def confirm_resize(self, server: str) -> None:
        """Ends a cold migration or a resize."""
        await self._act(server, {"confirmResize": None})

    async def stop(self, server: str) -> None:
        """Shuts it off."""
        await self._act(server, {"os-stop": None})

    async def start(self, server: str) -> None:
        """Boots it."""
        await self._act(server, {"os-start": None})

    async def abort_live_migration(self, server: str, number: int) -> None:
        """From 2.65 on also while it is queued."""
        newest = await self._max_microversion()
        await self._write(
            "DELETE",
            f"/servers/{server}/migrations/{number}",
            microversion=ABORT_QUEUED if newest >= ABORT_QUEUED else NEEDED_MICROVERSION,
        )

    async def set_service_status(
        self, service: str, *, enabled: bool, reason: str | None
    ) -> ServiceView:
        """Enables, or disables with a reason."""
        body: dict[str, Any] = {"status": "enabled" if enabled else "disabled"}
        if reason and not enabled:
            body["disabled_reason"] = reason
        return _service((await self._write("PUT", f"/os-services/{service}", body))["service"])

    async def _act(self, server: str, body: dict[str, Any]) -> None:
        await self._write("POST", f"/servers/{server}/action", body)

    async def _write(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        microversion: tuple[int, int] = NEEDED_MICROVERSION,
    ) -> Any:
        try:
            answer = await self._api.send(
                method,
                COMPUTE,
                path,
                body=body,
                microversion=_text(microversion),
                timeout_s=self._write_timeout_s,
            )
        except (Unavailable, DeadlineExceeded) as error:
            raise OutcomeUnknown(error.message, **error.details) from error
        return answer.body

    async def _get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        microversion: tuple[int, int] = NEEDED_MICROVERSION,
    ) -> Any:
        answer = await self._api.get(
            COMPUTE,
            path,
            params=params,
            microversion=_text(microversion),
            timeout_s=READ_TIMEOUT_S,
        )
        return answer.body

    async def _pages(
        self,
        path: str,
        key: str,
        marker: str,
        params: Mapping[str, str],
        *,
        microversion: tuple[int, int] = NEEDED_MICROVERSION,
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        query = {**params, "limit": str(PAGE)}
        while True:
            body = await self._get(path, query, microversion=microversion)
            page = body[key]
            rows += page
            if not page or not body.get(f"{key}_links"):
                return rows
            query["marker"] = str(page[-1][marker])

    async def _max_microversion(self) -> tuple[int, int]:
        if self._newest is None:
            newest = await self._api.max_microversion(COMPUTE)
            if newest == UNTOLD:
                return newest  # it did not answer well just now: not to be remembered
            self._newest = newest
        return self._newest


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _server(row: Mapping[str, Any]) -> ServerView:
    flavor = row.get("flavor") or {}
    return ServerView(
        uuid=row["id"],
        host=row.get("OS-EXT-SRV-ATTR:host"),
        status=row["status"],
        task_state=row.get("OS-EXT-STS:task_state"),
        vm_state=row.get("OS-EXT-STS:vm_state") or "",
        flavor=str(flavor.get("original_name") or ""),
        vcpus=int(flavor.get("vcpus") or 0),
        memory_mib=int(flavor.get("ram") or 0),
    )


def _migration(row: Mapping[str, Any]) -> MigrationView:
    return MigrationView(
        number=int(row["id"]),
        server=row["instance_uuid"],
        kind=row["migration_type"],
        status=row["status"],
        source=row["source_compute"],
        destination=row.get("dest_compute"),
    )


def _service(row: Mapping[str, Any]) -> ServiceView:
    return ServiceView(
        uuid=str(row["id"]),
        host=row["host"],
        status=row["status"],
        state=row["state"],
        disabled_reason=row.get("disabled_reason"),
    )
