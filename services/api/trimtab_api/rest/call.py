"""One request on its way through the core: what an endpoint gets, and the answers it gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from trimtab_api.auth import Identity
from trimtab_api.ports import Deps
from trimtab_api.rest.render import Links, chunked, dumps
from trimtab_api.rest.request import RestRequest, RestResponse

JSON = ("content-type", "application/json")
NO_CONTENT = 204


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request whose version, caller and route are known. `ident`: the one in the path."""

    deps: Deps
    request: RestRequest
    ident: str
    query: Mapping[str, str]
    minor: int
    identity: Identity

    @property
    def links(self) -> Links:
        """Links as this client sees the service."""
        return Links(origin=self.request.origin)

    @property
    def show_deleted(self) -> bool:
        """Whether soft-deleted resources are visible to this request (A-030)."""
        return bool(self.request.headers.get("x-show-deleted"))


Endpoint = Callable[[Call], Awaitable[RestResponse]]


def ok(value: Any) -> RestResponse:
    """200 with this JSON."""
    return RestResponse(status=200, headers=(JSON,), chunks=chunked(dumps(value)))


def created(value: Any, *, collection: str, ident: str, links: Links) -> RestResponse:
    """201 with this JSON and where the new resource is (A-010)."""
    location = f"{links.origin}/v1/{collection}/{quote(ident)}"
    return RestResponse(
        status=201, headers=(JSON, ("location", location)), chunks=chunked(dumps(value))
    )


def empty(status: int) -> RestResponse:
    """202 or 204: no body. Only a 204 has no content type either, whichever the door."""
    return RestResponse(status=status, headers=() if status == NO_CONTENT else (JSON,))
