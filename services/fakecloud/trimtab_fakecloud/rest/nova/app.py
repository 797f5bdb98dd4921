"""Nova: discovery, and all its handlers behind one gate."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.engine import Compute
from trimtab_fakecloud.rest.answers import answer
from trimtab_fakecloud.rest.gate import Gate
from trimtab_fakecloud.rest.keystone import base_url
from trimtab_fakecloud.rest.microversions import Microversions, text
from trimtab_fakecloud.rest.nova.actions import ActionsApi
from trimtab_fakecloud.rest.nova.catalogue import CatalogueApi
from trimtab_fakecloud.rest.nova.hypervisors import HypervisorsApi
from trimtab_fakecloud.rest.nova.migrations import MigrationsApi
from trimtab_fakecloud.rest.nova.server_groups import ServerGroupsApi
from trimtab_fakecloud.rest.nova.servers import ServersApi
from trimtab_fakecloud.rest.nova.services import ServicesApi

NOVA_VERSIONS = Microversions("compute", (2, 1), (2, 100), "X-OpenStack-Nova-API-Version")
_FAULT_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
_OPEN = frozenset({"", "/", "/v2.1", "/v2.1/"})


def nova_app(cloud: Cloud, compute: Compute) -> Gate:
    """The compute service."""
    apis = (
        ServersApi(cloud, compute),
        ActionsApi(cloud, compute),
        MigrationsApi(cloud, compute),
        HypervisorsApi(cloud),
        ServicesApi(cloud),
        CatalogueApi(cloud),
        ServerGroupsApi(cloud),
    )
    routes: list[BaseRoute] = [
        Route("/", _versions),
        Route("/v2.1", _version),
        Mount("/v2.1", routes=[Route("/", _version), *(r for api in apis for r in api.routes())]),
    ]
    return Gate(
        Router(routes, redirect_slashes=False),
        cloud,
        "compute",
        _error_body,
        is_open=_OPEN.__contains__,
        microversions=NOVA_VERSIONS,
    )


async def _versions(request: Request) -> Response:
    return answer({"versions": [_described(request)]})


async def _version(request: Request) -> Response:
    media = {
        "base": "application/json",
        "type": "application/vnd.openstack.compute+json;version=2.1",
    }
    return answer({"version": {**_described(request), "media-types": [media]}})


def _described(request: Request) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": text(NOVA_VERSIONS.maximum),
        "min_version": text(NOVA_VERSIONS.minimum),
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{base_url(request)}/compute/v2.1/"}],
    }


def _error_body(status: int, message: str, _request_id: str) -> Any:
    return {_FAULT_NAMES.get(status, "computeFault"): {"code": status, "message": message}}
