"""``/os-migrations`` and ``/servers/{id}/migrations``: moves, and how to stop or hurry them."""

from collections.abc import Callable, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trimtab_fakecloud.clock import iso_micro
from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.engine import Compute
from trimtab_fakecloud.errors import BadRequest, NotFound
from trimtab_fakecloud.migrations import Migration, MigrationType
from trimtab_fakecloud.rest.answers import answer, empty, json_object
from trimtab_fakecloud.rest.gate import caller_of
from trimtab_fakecloud.rest.nova.request import (
    after_marker,
    at_least,
    links,
    moment,
    page_of,
)
from trimtab_fakecloud.rest.nova.servers import visible_server

_FIELD_FILTERS: dict[str, Callable[[Migration], str]] = {
    "instance_uuid": lambda m: m.server_id,
    "migration_type": lambda m: m.type,
    "source_compute": lambda m: m.source,
    "project_id": lambda m: m.project_id,
    "user_id": lambda m: m.user_id,
}
_FILTERS = frozenset(
    {
        *_FIELD_FILTERS,
        "status",
        "host",
        "hidden",
        "limit",
        "marker",
        "changes-since",
        "changes-before",
    }
)


class MigrationsApi:
    """Handlers of migrations."""

    def __init__(self, cloud: Cloud, compute: Compute) -> None:
        self._cloud = cloud
        self._compute = compute

    def routes(self) -> list[Route]:
        """Where they are."""
        of_server = "/servers/{server_id}/migrations"
        one = of_server + "/{number:int}"
        return [
            Route("/os-migrations", self.list_all),
            Route(of_server, self.list_of_server),
            Route(one, self.show, methods=["GET"]),
            Route(one, self.abort, methods=["DELETE"]),
            Route(f"{one}/action", self.act, methods=["POST"]),
        ]

    async def list_all(self, request: Request) -> Response:
        """``GET /os-migrations``, newest first; paged from 2.59 on."""
        caller_of(request).token.require_admin("os_compute_api:os-migrations:index")
        query, paged = request.query_params, at_least(request, 59)
        unknown = sorted(set(query) - _FILTERS)
        if unknown and paged:
            raise BadRequest(
                f"Additional properties are not allowed ({unknown[0]!r} was unexpected)"
            )
        tests = list(_tests(request))
        found = [m for m in reversed(list(self._cloud.migrations)) if all(t(m) for t in tests)]
        content: dict[str, Any] = {}
        if paged:
            page = page_of(request, self._cloud.spec.page_limit)
            shown = [_row(request, m) for m in after_marker(found, page, "uuid")[: page.limit]]
            if next_link := page.next_link(request, "os-migrations", shown, "uuid"):
                content["migrations_links"] = next_link
        else:
            shown = [_row(request, m) for m in reversed(found)]
        return answer({"migrations": shown, **content})

    async def list_of_server(self, request: Request) -> Response:
        """``GET /servers/{id}/migrations``: live ones in progress."""
        caller_of(request).token.require_admin("os_compute_api:servers:migrations:index")
        server = visible_server(self._cloud, request)
        running = [m for m in self._cloud.migrations.of_server(server.id) if m.is_live_in_progress]
        return answer({"migrations": [_progress(request, m) for m in running]})

    async def show(self, request: Request) -> Response:
        """``GET /servers/{id}/migrations/{number}``."""
        caller_of(request).token.require_admin("os_compute_api:servers:migrations:show")
        server, number = visible_server(self._cloud, request), request.path_params["number"]
        for migration in self._cloud.migrations.of_server(server.id):
            if migration.number == number:
                return answer({"migration": _progress(request, _in_progress(migration))})
        raise NotFound(f"In-progress live migration {number} is not found for server {server.id}.")

    async def abort(self, request: Request) -> Response:
        """``DELETE /servers/{id}/migrations/{number}``."""
        caller_of(request).token.require_admin("os_compute_api:servers:migrations:delete")
        self._compute.live.abort(
            visible_server(self._cloud, request),
            request.path_params["number"],
            queued_too=at_least(request, 65),
        )
        return empty()

    async def act(self, request: Request) -> Response:
        """``POST /servers/{id}/migrations/{number}/action`` with ``force_complete``."""
        caller_of(request).token.require_admin("os_compute_api:servers:migrations:force_complete")
        body = await json_object(request)
        if set(body) != {"force_complete"}:
            raise BadRequest(f"There is no such action: {', '.join(body)}")
        self._compute.live.force_complete(
            visible_server(self._cloud, request), request.path_params["number"]
        )
        return empty()


def _tests(request: Request) -> Iterator[Callable[[Migration], bool]]:
    query = request.query_params
    for name, field in _FIELD_FILTERS.items():
        if name in query:
            yield lambda m, field=field, wanted=query[name]: field(m) == wanted  # type: ignore[misc]  # mypy cannot type lambda defaults
    if "status" in query:
        statuses = set(query.getlist("status"))
        yield lambda m: m.status in statuses
    if "host" in query:
        host = query["host"]
        yield lambda m: host in (m.source, m.destination)
    since = moment(request, "changes-since") if at_least(request, 59) else None
    before = moment(request, "changes-before") if at_least(request, 66) else None
    if since is not None:
        yield lambda m: int(m.updated_at) >= int(since)
    if before is not None:
        yield lambda m: int(m.updated_at) <= int(before)


def _row(request: Request, migration: Migration) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": migration.number,
        "instance_uuid": migration.server_id,
        "old_instance_type_id": 1,
        "new_instance_type_id": 1 if migration.old_flavor_id == migration.new_flavor_id else 2,
        **_places(migration),
    }
    if at_least(request, 23):
        row["migration_type"] = migration.type
        if migration.is_live_in_progress:
            row["links"] = links(
                request, f"servers/{migration.server_id}/migrations/{migration.number}"
            )
    if at_least(request, 59):
        row["uuid"] = migration.uuid
    if at_least(request, 80):
        row["user_id"], row["project_id"] = migration.user_id, migration.project_id
    return row


def _progress(request: Request, migration: Migration) -> dict[str, Any]:
    total = 1 << 30
    shown: dict[str, Any] = {
        "id": migration.number,
        "server_uuid": migration.server_id,
        **_places(migration),
        **{
            f"{what}_{part}_bytes": total if what == "memory" and part != "processed" else 0
            for what in ("memory", "disk")
            for part in ("total", "processed", "remaining")
        },
    }
    if at_least(request, 59):
        shown["uuid"] = migration.uuid
    if at_least(request, 80):
        shown["user_id"], shown["project_id"] = migration.user_id, migration.project_id
    return shown


def _places(migration: Migration) -> dict[str, Any]:
    destination = migration.destination or None
    return {
        "status": migration.status,
        "source_compute": migration.source,
        "source_node": migration.source,
        "dest_compute": destination,
        "dest_node": destination,
        "dest_host": None,
        "created_at": iso_micro(migration.created_at),
        "updated_at": iso_micro(migration.updated_at),
    }


def _in_progress(migration: Migration) -> Migration:
    """The same, if it can be watched.

    Raises:
        NotFound: it is not live, or over.
    """
    if migration.type is not MigrationType.LIVE:
        raise NotFound(
            f"Migration {migration.number} for server {migration.server_id} is not live-migration."
        )
    if not migration.is_live_in_progress:
        raise NotFound(
            f"Live migration {migration.number} for server {migration.server_id} "
            "is not in progress."
        )
    return migration
