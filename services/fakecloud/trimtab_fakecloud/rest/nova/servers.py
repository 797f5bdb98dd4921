"""``/servers``: lists with filters and paging, one server, create, delete, metadata."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.engine import Compute
from trimtab_fakecloud.compute.lifecycle import NewServer
from trimtab_fakecloud.errors import BadRequest, NotFound
from trimtab_fakecloud.rest.answers import answer, empty, json_object
from trimtab_fakecloud.rest.gate import caller_of
from trimtab_fakecloud.rest.nova.request import (
    after_marker,
    at_least,
    boolean,
    links,
    moment,
    page_of,
)
from trimtab_fakecloud.rest.nova.server_view import brief, detailed
from trimtab_fakecloud.servers import Server
from trimtab_fakecloud.tokens import Token

_FILTERS = frozenset(
    [
        "all_tenants",
        "changes-before",
        "changes-since",
        "deleted",
        "flavor",
        "host",
        "limit",
        "locked",
        "marker",
        "name",
        "node",
        "project_id",
        "sort_dir",
        "sort_key",
        "status",
        "task_state",
        "tenant_id",
        "user_id",
        "uuid",
        "vm_state",
        "availability_zone",
        "image",
        "power_state",
    ]
)
_ADMIN_FILTERS = frozenset({"host", "node", "deleted", "project_id", "tenant_id"})
_SORT_KEYS: dict[str, Callable[[Server], Any]] = {
    "created_at": lambda s: s.created_at,
    "updated_at": lambda s: s.updated_at,
    "display_name": lambda s: s.name,
    "host": lambda s: s.host or "",
    "uuid": lambda s: s.id,
    "vm_state": lambda s: s.vm_state,
}


class ServersApi:
    """Handlers of ``/servers``."""

    def __init__(self, cloud: Cloud, compute: Compute) -> None:
        self._cloud = cloud
        self._compute = compute

    def routes(self) -> list[Route]:
        """Where they are."""
        one = "/servers/{server_id}"
        return [
            Route("/servers/detail", self.list_detailed),
            Route("/servers", self.list_brief, methods=["GET"]),
            Route("/servers", self.create, methods=["POST"]),
            Route(one, self.show, methods=["GET"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/metadata", self.show_metadata, methods=["GET"]),
            Route(f"{one}/metadata", self.update_metadata, methods=["POST", "PUT"]),
            Route(f"{one}/metadata/{{key}}", self.delete_metadata, methods=["DELETE"]),
        ]

    async def list_detailed(self, request: Request) -> Response:
        """``GET /servers/detail``."""
        return self._list(
            request, "servers/detail", lambda server: detailed(self._cloud, request, server)
        )

    async def list_brief(self, request: Request) -> Response:
        """``GET /servers``."""
        return self._list(request, "servers", lambda server: brief(request, server))

    async def show(self, request: Request) -> Response:
        """``GET /servers/{id}``."""
        return answer({"server": detailed(self._cloud, request, self._one(request), alone=True)})

    async def create(self, request: Request) -> Response:
        """``POST /servers``."""
        everything = await json_object(request)
        body = everything.get("server")
        if not isinstance(body, dict):
            raise BadRequest("'server' is a required property")
        if at_least(request, 37) and "networks" not in body:
            raise BadRequest(
                "Invalid input for field/attribute server. 'networks' is a required property"
            )
        caller = caller_of(request)
        if body.get("host") or body.get("hypervisor_hostname"):
            caller.token.require_admin("compute:servers:create:requested_destination")
        host = body.get("host") or body.get("hypervisor_hostname")
        if host is not None and host not in self._cloud.hosts:
            raise BadRequest(f"Compute host {host} could not be found.")
        if not body.get("imageRef") and not body.get("block_device_mapping_v2"):
            raise BadRequest("Missing imageRef attribute")
        flavor = self._cloud.flavors.get(str(body.get("flavorRef", "")).rsplit("/", 1)[-1])
        if flavor is None:
            raise BadRequest(f"Flavor {body.get('flavorRef')} could not be found.")
        zone, _, forced = str(body.get("availability_zone") or "").partition(":")
        server = self._compute.lifecycle.create(
            NewServer(
                name=str(body.get("name", "")),
                flavor=flavor,
                metadata=_metadata(body),
                image_id=body.get("imageRef") or None,
                zone=zone or None,
                host=host or forced or None,
                description=body.get("description"),
                scheduler_hints=_hints(everything),
            ),
            caller,
        )
        path = f"servers/{server.id}"
        return answer(
            {
                "server": {
                    "id": server.id,
                    "links": links(request, path),
                    "OS-DCF:diskConfig": "MANUAL",
                    "security_groups": [{"name": "default"}],
                    "adminPass": server.id[:12],
                }
            },
            202,
            {"Location": links(request, path)[0]["href"]},
        )

    async def delete(self, request: Request) -> Response:
        """``DELETE /servers/{id}``."""
        self._compute.lifecycle.delete(self._one(request), caller_of(request))
        return empty(204)

    async def show_metadata(self, request: Request) -> Response:
        """``GET /servers/{id}/metadata``."""
        return answer({"metadata": self._one(request).metadata})

    async def update_metadata(self, request: Request) -> Response:
        """``POST`` adds to the metadata, ``PUT`` replaces it."""
        server = self._one(request)
        metadata = _metadata(await json_object(request))
        if request.method == "PUT":
            server.metadata.clear()
        server.metadata.update(metadata)
        self._cloud.touch(server)
        return answer({"metadata": server.metadata})

    async def delete_metadata(self, request: Request) -> Response:
        """``DELETE /servers/{id}/metadata/{key}``."""
        server, key = self._one(request), request.path_params["key"]
        if server.metadata.pop(key, None) is None:
            raise NotFound("Metadata item was not found")
        self._cloud.touch(server)
        return empty(204)

    def _one(self, request: Request) -> Server:
        return visible_server(self._cloud, request)

    def _list(
        self, request: Request, path: str, view: Callable[[Server], dict[str, Any]]
    ) -> Response:
        query = request.query_params
        unknown = set(query) - _FILTERS
        if unknown and at_least(request, 75):
            raise BadRequest(
                f"Invalid input for query parameters {{}}. Additional properties are not allowed "
                f"({', '.join(repr(name) for name in sorted(unknown))} was unexpected)"
            )
        page = page_of(request, self._cloud.spec.page_limit)
        wanted = _wanted(request, caller_of(request).token)
        shown: list[dict[str, Any]] = []
        for server in after_marker(self._sorted(request), page, "id"):
            if wanted(server):
                shown.append(view(server))
                if len(shown) == page.limit:
                    break
        content: dict[str, Any] = {"servers": shown}
        if next_link := page.next_link(request, path, shown):
            content["servers_links"] = next_link
        return answer(content)

    def _sorted(self, request: Request) -> list[Server]:
        servers = self._cloud.servers_newest_first()
        keys = request.query_params.getlist("sort_key")
        directions = request.query_params.getlist("sort_dir")
        for index in reversed(range(len(keys))):
            key = _SORT_KEYS.get(keys[index])
            if key is None:
                raise BadRequest(f"The fake cloud cannot sort servers by {keys[index]}")
            descending = directions[index : index + 1] != ["asc"]
            servers = sorted(servers, key=key, reverse=descending)
        return servers


def visible_server(cloud: Cloud, request: Request) -> Server:
    """The server of the path, if the caller may see it.

    Raises:
        NotFound: there is none, or it is in another project.
    """
    server_id = request.path_params["server_id"]
    server = cloud.server(server_id)
    token = caller_of(request).token
    if not token.is_admin and server.project_id != token.project_id:
        raise NotFound(f"Instance {server_id} could not be found.")
    return server


def _hints(body: dict[str, Any]) -> dict[str, object]:
    """They stand beside the server in the request."""
    hints = body.get("os:scheduler_hints") or body.get("OS-SCH-HNT:scheduler_hints") or {}
    if not isinstance(hints, dict):
        raise BadRequest("Invalid input for field/attribute os:scheduler_hints.")
    return hints


def _metadata(body: dict[str, Any]) -> dict[str, str]:
    metadata = body.get("metadata", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BadRequest("Invalid input for field/attribute metadata.")
    return metadata


def _wanted(request: Request, token: Token) -> Callable[[Server], bool]:
    """One predicate of all filters in the query."""
    tests = list(_tests(request, token))
    return lambda server: all(test(server) for test in tests)


def _tests(request: Request, token: Token) -> Iterator[Callable[[Server], bool]]:
    query = request.query_params
    value = query.get("all_tenants")
    if boolean(value or ("true" if value == "" else None), "all_tenants"):
        token.require_admin("os_compute_api:servers:detail:get_all_tenants")
        project = query.get("project_id") or query.get("tenant_id")
    else:
        project = token.project_id
    if project:
        yield lambda s: s.project_id == project
    since, before = moment(request, "changes-since"), moment(request, "changes-before")
    if since is not None:
        # databases keep whole seconds
        yield lambda s: int(s.updated_at) >= int(since)
    if before is not None:
        yield lambda s: int(s.updated_at) <= int(before)
    if "deleted" in query and token.is_admin:
        deleted = boolean(query["deleted"], "deleted")
        yield lambda s: s.is_deleted is deleted
    elif since is None and before is None:
        yield lambda s: not s.is_deleted
    yield from _field_tests(request, token)


def _field_tests(request: Request, token: Token) -> Iterator[Callable[[Server], bool]]:
    query = request.query_params
    fields: dict[str, Callable[[Server], Any]] = {
        "host": lambda s: s.host,
        "node": lambda s: s.host,
        "uuid": lambda s: s.id,
        "user_id": lambda s: s.user_id,
        "flavor": lambda s: s.flavor.id,
        "image": lambda s: s.image_id,
        "vm_state": lambda s: s.vm_state,
        "task_state": lambda s: s.task_state,
        "availability_zone": lambda s: s.zone,
        "power_state": lambda s: str(s.power_state),
    }
    for name, field in fields.items():
        if name in query and (token.is_admin or name not in _ADMIN_FILTERS):
            yield lambda s, field=field, wanted=query[name]: field(s) == wanted  # type: ignore[misc]  # mypy cannot type lambda defaults
    if "status" in query:
        statuses = {status.upper() for status in query.getlist("status")}
        yield lambda s: s.status in statuses
    if "name" in query:
        pattern = re.compile(query["name"])
        yield lambda s: pattern.search(s.name) is not None
    if "locked" in query:
        locked = boolean(query["locked"], "locked")
        yield lambda s: s.locked is locked
