"""What changes little: ``/flavors``, ``/os-aggregates``, ``/os-availability-zone``."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trimtab_fakecloud.clock import iso_micro
from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.errors import BadRequest, Conflict, NotFound
from trimtab_fakecloud.hosts import Aggregate
from trimtab_fakecloud.rest.answers import answer, empty, json_object
from trimtab_fakecloud.rest.gate import caller_of
from trimtab_fakecloud.rest.nova.request import after_marker, at_least, links, page_of
from trimtab_fakecloud.servers import Flavor


class CatalogueApi:
    """Handlers of flavors and aggregates."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route("/flavors/detail", self.list_flavors),
            Route("/flavors", self.list_flavors_brief),
            Route("/flavors/{id}", self.show_flavor),
            Route("/flavors/{id}/os-extra_specs", self.show_extra_specs),
            Route("/os-aggregates", self.list_aggregates),
            Route("/os-aggregates", self.create_aggregate, methods=["POST"]),
            Route("/os-aggregates/{number:int}", self.show_aggregate),
            Route("/os-aggregates/{number:int}", self.delete_aggregate, methods=["DELETE"]),
            Route("/os-aggregates/{number:int}/action", self.act_on_aggregate, methods=["POST"]),
            Route("/os-availability-zone/detail", self.list_zones),
        ]

    async def list_flavors(self, request: Request) -> Response:
        """``GET /flavors/detail``."""
        return self._list_flavors(request, "flavors/detail", detail=True)

    async def list_flavors_brief(self, request: Request) -> Response:
        """``GET /flavors``."""
        return self._list_flavors(request, "flavors", detail=False)

    async def show_flavor(self, request: Request) -> Response:
        """``GET /flavors/{id}``."""
        return answer({"flavor": _flavor(request, self._flavor(request), detail=True)})

    async def show_extra_specs(self, request: Request) -> Response:
        """``GET /flavors/{id}/os-extra_specs``."""
        return answer({"extra_specs": dict(self._flavor(request).extra_specs)})

    async def list_aggregates(self, request: Request) -> Response:
        """``GET /os-aggregates``."""
        caller_of(request).token.require_admin("os_compute_api:os-aggregates:index")
        rows = [_aggregate(request, a) for a in self._cloud.aggregates.values()]
        return answer({"aggregates": rows})

    async def show_aggregate(self, request: Request) -> Response:
        """``GET /os-aggregates/{id}``."""
        caller_of(request).token.require_admin("os_compute_api:os-aggregates:show")
        return answer({"aggregate": _aggregate(request, self._aggregate(request))})

    async def create_aggregate(self, request: Request) -> Response:
        """``POST /os-aggregates``."""
        caller_of(request).token.require_admin("os_compute_api:os-aggregates:create")
        body = (await json_object(request)).get("aggregate")
        if not isinstance(body, dict) or not isinstance(name := body.get("name"), str):
            raise BadRequest("'name' is a required property")
        if any(a.name == name for a in self._cloud.aggregates.values()):
            raise Conflict(f"Aggregate {name} already exists.")
        zone = body.get("availability_zone")
        metadata = {"availability_zone": str(zone)} if zone else {}
        made = self._cloud.add_aggregate(name, (), metadata)
        return answer({"aggregate": _aggregate(request, made)})

    async def delete_aggregate(self, request: Request) -> Response:
        """``DELETE /os-aggregates/{id}``."""
        caller_of(request).token.require_admin("os_compute_api:os-aggregates:delete")
        aggregate = self._aggregate(request)
        if aggregate.hosts:
            raise BadRequest(
                f"Cannot remove host from aggregate {aggregate.number}. Reason: Host aggregate is not empty."
            )
        del self._cloud.aggregates[aggregate.number]
        self._cloud.aggregate_changed("delete", aggregate)
        return empty(200)

    async def act_on_aggregate(self, request: Request) -> Response:
        """``POST /os-aggregates/{id}/action``: ``add_host``, ``remove_host``, ``set_metadata``."""
        caller_of(request).token.require_admin("os_compute_api:os-aggregates:add_host")
        aggregate, body = self._aggregate(request), await json_object(request)
        match body:
            case {"add_host": {"host": str(name)}}:
                self._cloud.host(name)
                if name in aggregate.hosts:
                    raise Conflict(f"Aggregate {aggregate.number} already has host {name}.")
                self._check_zone(aggregate, name)
                aggregate.hosts.append(name)
            case {"remove_host": {"host": str(name)}}:
                if name not in aggregate.hosts:
                    raise NotFound(f"Aggregate {aggregate.number} has no host {name}.")
                aggregate.hosts.remove(name)
            case {"set_metadata": {"metadata": dict(metadata)}}:
                kept = {**aggregate.metadata, **metadata}
                aggregate.metadata = {k: v for k, v in kept.items() if v is not None}
            case _:
                raise BadRequest(f"There is no such action: {', '.join(body)}")
        aggregate.updated_at = self._cloud.now()
        told = {"set_metadata": "update_metadata"}
        self._cloud.aggregate_changed(told.get(what := next(iter(body)), what), aggregate)
        return answer({"aggregate": _aggregate(request, aggregate)})

    def _check_zone(self, aggregate: Aggregate, host: str) -> None:
        """Conflict: the host is in another zone already."""
        others = sorted(
            {a.zone for a in self._cloud.aggregates.values() if a.zone and host in a.hosts}
        )
        if aggregate.zone and others and others != [aggregate.zone]:
            raise Conflict(
                f"Cannot add host to aggregate {aggregate.number}. Reason: One or more hosts "
                f"already in availability zone(s) {others}."
            )

    async def list_zones(self, request: Request) -> Response:
        """``GET /os-availability-zone/detail``, without the hosts of other services."""
        caller_of(request).token.require_admin("os_compute_api:os-availability-zone:detail")
        zones: dict[str, dict[str, Any]] = {}
        for host in self._cloud.hosts.values():
            service = {
                "nova-compute": {
                    "available": host.state == "up",
                    "active": not host.disabled,
                    "updated_at": iso_micro(self._cloud.now()),
                }
            }
            zones.setdefault(self._cloud.zone_of(host.name), {})[host.name] = service
        rows = [
            {"zoneName": name, "zoneState": {"available": True}, "hosts": hosts}
            for name, hosts in sorted(zones.items())
        ]
        return answer({"availabilityZoneInfo": rows})

    def _list_flavors(self, request: Request, path: str, *, detail: bool) -> Response:
        page = page_of(request, self._cloud.spec.page_limit)
        flavors = after_marker(list(self._cloud.flavors.values()), page, "id")[: page.limit]
        content: dict[str, Any] = {"flavors": [_flavor(request, f, detail=detail) for f in flavors]}
        if next_link := page.next_link(request, path, content["flavors"]):
            content["flavors_links"] = next_link
        return answer(content)

    def _flavor(self, request: Request) -> Flavor:
        wanted = request.path_params["id"]
        try:
            return self._cloud.flavors[wanted]
        except KeyError:
            raise NotFound(f"Flavor {wanted} could not be found.") from None

    def _aggregate(self, request: Request) -> Aggregate:
        number = request.path_params["number"]
        try:
            return self._cloud.aggregates[number]
        except KeyError:
            raise NotFound(f"Aggregate {number} could not be found.") from None


def _flavor(request: Request, flavor: Flavor, *, detail: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": flavor.id,
        "name": flavor.name,
        "links": links(request, f"flavors/{flavor.id}"),
    }
    if at_least(request, 55):
        shown["description"] = None
    if detail:
        shown |= {
            "ram": flavor.memory_mib,
            "disk": flavor.disk_gib,
            "vcpus": flavor.vcpus,
            "swap": 0 if at_least(request, 75) else "",
            "OS-FLV-EXT-DATA:ephemeral": 0,
            "OS-FLV-DISABLED:disabled": False,
            "os-flavor-access:is_public": True,
            "rxtx_factor": 1.0,
        }
        if at_least(request, 61):
            shown["extra_specs"] = dict(flavor.extra_specs)
    return shown


def _aggregate(request: Request, aggregate: Aggregate) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": aggregate.number,
        "name": aggregate.name,
        "hosts": aggregate.hosts,
        "metadata": aggregate.metadata,
        "availability_zone": aggregate.zone,
        "created_at": iso_micro(aggregate.created_at),
        "updated_at": iso_micro(aggregate.updated_at),
        "deleted": False,
        "deleted_at": None,
    }
    return {**shown, "uuid": aggregate.uuid} if at_least(request, 41) else shown
