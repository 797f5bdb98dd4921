"""Placement: providers, inventories, usages, allocations, candidates, traits."""

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.errors import BadRequest, NotFound
from trimtab_fakecloud.hosts import DISABLED_TRAIT, RESOURCE_CLASSES, Host, Inventory, Resources
from trimtab_fakecloud.rest.answers import answer
from trimtab_fakecloud.rest.gate import Gate, caller_of, version_of
from trimtab_fakecloud.rest.microversions import Microversions, text

PLACEMENT_VERSIONS = Microversions("placement", (1, 0), (1, 39))
_STANDARD_TRAITS = ("COMPUTE_NODE", DISABLED_TRAIT, "HW_CPU_X86_VMX")
_TITLES = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 409: "Conflict"}
_RULE = "placement:resource_providers:list"


def placement_app(cloud: Cloud) -> Gate:
    """The placement service."""
    return Gate(
        Router(_Placement(cloud).routes()),
        cloud,
        "placement",
        _error_body,
        is_open=frozenset({"", "/"}).__contains__,
        microversions=PLACEMENT_VERSIONS,
    )


class _Placement:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        one = "/resource_providers/{uuid}"
        return [
            Route("/", self.version),
            Route("/resource_providers", self.list_providers),
            Route(one, self.show_provider),
            Route(f"{one}/inventories", self.inventories),
            Route(f"{one}/inventories/{{resource_class}}", self.inventory),
            Route(f"{one}/usages", self.usages),
            Route(f"{one}/allocations", self.provider_allocations),
            Route(f"{one}/traits", self.provider_traits),
            Route(f"{one}/aggregates", self.provider_aggregates),
            Route("/allocations/{consumer}", self.consumer_allocations),
            Route("/allocation_candidates", self.candidates),
            Route("/traits", self.traits),
            Route("/resource_classes", self.resource_classes),
            Route("/usages", self.project_usages),
        ]

    async def version(self, _request: Request) -> Response:
        described = {
            "id": "v1.0",
            "status": "CURRENT",
            "min_version": text(PLACEMENT_VERSIONS.minimum),
            "max_version": text(PLACEMENT_VERSIONS.maximum),
            "links": [{"rel": "self", "href": ""}],
        }
        return answer({"versions": [described]})

    async def list_providers(self, request: Request) -> Response:
        _check(request)
        query = request.query_params
        hosts: Iterable[Host] = self._cloud.hosts.values()
        if "name" in query:
            hosts = [h for h in hosts if h.name == query["name"]]
        if "uuid" in query:
            hosts = [h for h in hosts if h.uuid == query["uuid"]]
        if "in_tree" in query:
            hosts = [h for h in hosts if h.uuid == query["in_tree"]]
        if "resources" in query:
            wanted = _wanted(query["resources"])
            hosts = [h for h in hosts if self._cloud.allocations.fits(h, wanted)]
        return answer({"resource_providers": [_provider(request, h) for h in hosts]})

    async def show_provider(self, request: Request) -> Response:
        return answer(_provider(request, self._host(request)))

    async def inventories(self, request: Request) -> Response:
        host = self._host(request)
        return answer(
            {
                "inventories": {name: _inventory(i) for name, i in host.inventories.items()},
                "resource_provider_generation": host.generation,
            }
        )

    async def inventory(self, request: Request) -> Response:
        host, name = self._host(request), request.path_params["resource_class"]
        if name not in host.inventories:
            raise NotFound(f"No inventory of class {name} for {host.uuid}")
        shown = _inventory(host.inventories[name])
        return answer({**shown, "resource_provider_generation": host.generation})

    async def usages(self, request: Request) -> Response:
        host = self._host(request)
        used = self._cloud.allocations.used(host.uuid)
        return answer(
            {
                "usages": {name: used.get(name, 0) for name in host.inventories},
                "resource_provider_generation": host.generation,
            }
        )

    async def provider_allocations(self, request: Request) -> Response:
        host = self._host(request)
        held = self._cloud.allocations.of_provider(host.uuid)
        with_generation = version_of(request) >= (1, 28)
        rows = {
            consumer: {
                "resources": dict(amounts),
                **({"consumer_generation": 1} if with_generation else {}),
            }
            for consumer, amounts in held.items()
        }
        return answer({"allocations": rows, "resource_provider_generation": host.generation})

    async def provider_traits(self, request: Request) -> Response:
        host = self._host(request)
        traits = sorted({"COMPUTE_NODE", *host.traits})
        return answer({"traits": traits, "resource_provider_generation": host.generation})

    async def provider_aggregates(self, request: Request) -> Response:
        host = self._host(request)
        uuids = [a.uuid for a in self._cloud.aggregates.values() if host.name in a.hosts]
        return answer({"aggregates": uuids, "resource_provider_generation": host.generation})

    async def consumer_allocations(self, request: Request) -> Response:
        _check(request)
        consumer = request.path_params["consumer"]
        held = self._cloud.allocations.of_consumer(consumer)
        content: dict[str, Any] = {
            "allocations": {
                provider: {
                    "generation": self._generation(provider),
                    "resources": dict(amounts),
                }
                for provider, amounts in held.items()
            }
        }
        if held and version_of(request) >= (1, 12):
            content |= self._owner(consumer)
            if version_of(request) >= (1, 28):
                content["consumer_generation"] = 1
            if version_of(request) >= (1, 38):
                is_server = consumer in self._cloud.servers
                content["consumer_type"] = "INSTANCE" if is_server else "MIGRATION"
        return answer(content)

    async def candidates(self, request: Request) -> Response:
        _check(request)
        query = request.query_params
        wanted = _wanted(query.get("resources", ""))
        forbidden = {t[1:] for t in query.get("required", "").split(",") if t.startswith("!")}
        hosts = [
            h
            for h in self._cloud.hosts.values()
            if self._cloud.allocations.fits(h, wanted) and not forbidden & h.traits
        ]
        if "limit" in query:
            hosts = hosts[: int(query["limit"])]
        return answer(
            {
                "allocation_requests": [
                    {
                        "allocations": {h.uuid: {"resources": dict(wanted)}},
                        "mappings": {"": [h.uuid]},
                    }
                    for h in hosts
                ],
                "provider_summaries": {h.uuid: self._summary(h) for h in hosts},
            }
        )

    async def traits(self, request: Request) -> Response:
        _check(request)
        return answer({"traits": list(_STANDARD_TRAITS)})

    async def resource_classes(self, request: Request) -> Response:
        _check(request)
        return answer(
            {
                "resource_classes": [
                    {"name": name, "links": [{"rel": "self", "href": f"/resource_classes/{name}"}]}
                    for name in RESOURCE_CLASSES
                ]
            }
        )

    async def project_usages(self, request: Request) -> Response:
        _check(request)
        project = request.query_params.get("project_id")
        if project is None:
            raise BadRequest("'project_id' is a required property")
        totals = dict.fromkeys(RESOURCE_CLASSES, 0)
        for server in self._cloud.servers.values():
            if server.project_id == project and not server.is_deleted:
                for amounts in self._cloud.allocations.of_consumer(server.id).values():
                    for name, amount in amounts.items():
                        totals[name] += amount
        return answer({"usages": totals})

    def _host(self, request: Request) -> Host:
        _check(request)
        wanted = request.path_params["uuid"]
        host = self._cloud.host_by_uuid(wanted)
        if host is None:
            raise NotFound(f"No resource provider with uuid {wanted} found")
        return host

    def _generation(self, provider: str) -> int:
        host = self._cloud.host_by_uuid(provider)
        return host.generation if host else 0

    def _owner(self, consumer: str) -> dict[str, str]:
        server = self._cloud.servers.get(consumer)
        if server is not None:
            return {"project_id": server.project_id, "user_id": server.user_id}
        for migration in self._cloud.migrations:
            if migration.uuid == consumer:
                return {"project_id": migration.project_id, "user_id": migration.user_id}
        return {}

    def _summary(self, host: Host) -> dict[str, Any]:
        used = self._cloud.allocations.used(host.uuid)
        return {
            "resources": {
                name: {"capacity": i.capacity, "used": used.get(name, 0)}
                for name, i in host.inventories.items()
            },
            "traits": sorted({"COMPUTE_NODE", *host.traits}),
            "parent_provider_uuid": None,
            "root_provider_uuid": host.uuid,
        }


def _check(request: Request) -> None:
    caller_of(request).token.require_admin(_RULE)


def _provider(request: Request, host: Host) -> dict[str, Any]:
    path = f"/placement/resource_providers/{host.uuid}"
    parts = ["inventories", "usages"]
    parts += [p for p, since in _LINKS.items() if version_of(request) >= since]
    shown: dict[str, Any] = {
        "uuid": host.uuid,
        "name": host.name,
        "generation": host.generation,
        "links": [
            {"rel": "self", "href": path},
            *({"rel": part, "href": f"{path}/{part}"} for part in parts),
        ],
    }
    if version_of(request) >= (1, 14):
        shown |= {"parent_provider_uuid": None, "root_provider_uuid": host.uuid}
    return shown


_LINKS = {"aggregates": (1, 1), "traits": (1, 6), "allocations": (1, 11)}


def _inventory(inventory: Inventory) -> dict[str, Any]:
    return {
        "total": inventory.total,
        "reserved": inventory.reserved,
        "allocation_ratio": inventory.allocation_ratio,
        "min_unit": 1,
        "max_unit": inventory.total,
        "step_size": 1,
    }


def _wanted(resources: str) -> Resources:
    """``VCPU:1,MEMORY_MB:512`` as amounts."""
    wanted: dict[str, int] = {}
    for part in resources.split(","):
        name, _, amount = part.partition(":")
        if name not in RESOURCE_CLASSES or not amount.isdecimal():
            raise BadRequest(
                f"Badly formed resources parameter. Expected resources query string "
                f"parameter in form: ?resources=VCPU:2,MEMORY_MB:1024. Got: {part}."
            )
        wanted[name] = int(amount)
    return wanted


def _error_body(status: int, message: str, request_id: str) -> Any:
    title = _TITLES.get(status, "Error")
    return {
        "errors": [{"status": status, "title": title, "detail": message, "request_id": request_id}]
    }
