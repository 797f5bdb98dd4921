"""Ironic v1: one node for each compute host, its power and its maintenance."""

import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.power import Power
from trimtab_fakecloud.errors import BadRequest, NotFound
from trimtab_fakecloud.hosts import Host
from trimtab_fakecloud.rest.answers import answer, empty, json_object
from trimtab_fakecloud.rest.gate import Gate
from trimtab_fakecloud.rest.keystone import base_url
from trimtab_fakecloud.rest.microversions import Microversions, text
from trimtab_fakecloud.tokens import stable_id

IRONIC_VERSIONS = Microversions("baremetal", (1, 1), (1, 96))
_OPEN = frozenset({"", "/", "/v1", "/v1/"})
_TARGETS = {"power on": True, "power off": False, "soft power off": False, "rebooting": True}


def ironic_app(cloud: Cloud, power: Power) -> Gate:
    """The baremetal service."""
    api = _Ironic(cloud, power)
    routes: list[BaseRoute] = [
        Route("/", _versions),
        Route("/v1", _version),
        Mount("/v1", routes=[Route("/", _version), *api.routes()]),
    ]
    return Gate(
        Router(routes, redirect_slashes=False),
        cloud,
        "baremetal",
        lambda status, message, _id: {"error_message": {"faultstring": message, "code": status}},
        is_open=_OPEN.__contains__,
        microversions=IRONIC_VERSIONS,
    )


def node_id(host: Host) -> str:
    """The uuid of the node that a host runs on."""
    return str(uuid.UUID(stable_id("ironic-node", host.name)))


def node_view(host: Host) -> dict[str, Any]:
    """The node as the API and the notifications show it."""
    return {
        "uuid": node_id(host),
        "name": host.name,
        "power_state": "power on" if host.is_powered_on else "power off",
        "target_power_state": host.target_power,
        "last_error": None,
        "maintenance": host.maintenance_reason is not None,
        "maintenance_reason": host.maintenance_reason or None,
        "provision_state": "active",
        "fault": host.machine_fault,
        "storage_interface": "cinder" if host.can_boot_from_volume else "noop",
        "instance_uuid": None,
        "extra": {"compute_node_id": host.uuid},
    }


def _described(request: Request) -> dict[str, Any]:
    return {
        "id": "v1",
        "status": "CURRENT",
        "version": text(IRONIC_VERSIONS.maximum),
        "min_version": text(IRONIC_VERSIONS.minimum),
        "links": [{"rel": "self", "href": f"{base_url(request)}/baremetal/v1/"}],
    }


async def _versions(request: Request) -> Response:
    described = _described(request)
    return answer(
        {"name": "OpenStack Ironic API", "versions": [described], "default_version": described}
    )


async def _version(request: Request) -> Response:
    return answer({"id": "v1", "version": _described(request), "links": []})


class _Ironic:
    def __init__(self, cloud: Cloud, power: Power) -> None:
        self._cloud = cloud
        self._power = power

    def routes(self) -> list[Route]:
        return [
            Route("/nodes/detail", self.nodes),
            Route("/nodes", self.nodes),
            Route("/nodes/{id}", self.node),
            Route("/nodes/{id}/states/power", self.power, methods=["PUT"]),
            Route("/nodes/{id}/maintenance", self.maintain, methods=["PUT", "DELETE"]),
        ]

    async def nodes(self, request: Request) -> Response:
        rows = [node_view(host) for host in self._cloud.hosts.values()]
        if marker := request.query_params.get("marker"):
            ids = [row["uuid"] for row in rows]
            rows = rows[ids.index(marker) + 1 :] if marker in ids else []
        limit = int(request.query_params.get("limit") or 1000)
        content: dict[str, Any] = {"nodes": rows[:limit]}
        if len(rows) > limit:
            last = rows[limit - 1]["uuid"]
            url = f"{base_url(request)}/baremetal/v1/nodes/detail"
            content["next"] = f"{url}?limit={limit}&marker={last}"
        return answer(content)

    async def node(self, request: Request) -> Response:
        return answer(node_view(self._one(request)))

    async def power(self, request: Request) -> Response:
        host, target = self._one(request), (await json_object(request)).get("target")
        if target not in _TARGETS:
            raise BadRequest(f"Invalid state {target}")
        self._power.switch(host, target, on=_TARGETS[target])
        return empty(202)

    async def maintain(self, request: Request) -> Response:
        host = self._one(request)
        reason = ""
        if request.method == "PUT" and await request.body():
            reason = str((await json_object(request)).get("reason") or "")
        host.maintenance_reason = reason if request.method == "PUT" else None
        self._cloud.node_changed("maintenance_set.end", host)
        return empty(202)

    def _one(self, request: Request) -> Host:
        wanted = request.path_params["id"]
        for host in self._cloud.hosts.values():
            if wanted in (node_id(host), host.name):
                return host
        raise NotFound(f"Node {wanted} could not be found.")
