"""GET / and GET /v1: the documents by which clients find their way (A-001, A-002)."""

from __future__ import annotations

from typing import Any

from trimtab_api.rest import versions
from trimtab_api.rest.call import Call, ok
from trimtab_api.rest.render import Links
from trimtab_api.rest.request import RestResponse
from trimtab_common.domain.resources import Since

Json = Any
DESCRIPTION = (
    "Trimtab keeps OpenStack clouds in trim: it finds few, explained moves towards a goal and "
    "carries them out. It speaks the API of Watcher."
)
LISTED = {
    "audit_templates": 0,
    "audits": 0,
    "actions": 0,
    "action_plans": 0,
    "scoring_engines": 0,
    "services": 0,
    "data_model": Since.DATA_MODEL,
    "webhooks": Since.WEBHOOKS,
}
"""Collections that GET /v1 links to, and the minor version from which on it does."""


def versions_document(origin: str) -> dict[str, Json]:
    """What GET / answers; it needs no token."""
    current = {
        "id": "v1",
        "status": "CURRENT",
        "min_version": versions.MINIMUM,
        "max_version": versions.MAXIMUM,
        "links": [{"rel": "self", "href": f"{origin}/v1/"}],
    }
    return {
        "name": "OpenStack Watcher API",
        "description": DESCRIPTION,
        "versions": [current],
        "default_version": current,
    }


async def get_v1(call: Call) -> RestResponse:
    """GET /v1."""
    origin = call.request.origin
    body: dict[str, Json] = {
        "id": "v1",
        "media_types": [
            {"base": "application/json", "type": "application/vnd.openstack.watcher.v1+json"}
        ],
        "links": [
            {"rel": "self", "href": f"{origin}/v1/"},
            {
                "rel": "describedby",
                "type": "text/html",
                "href": "https://docs.openstack.org/api-ref/resource-optimization/",
            },
        ],
    }
    links = Links(origin=origin)
    for name, since in LISTED.items():
        if since <= call.minor:
            body[name] = links.collection(name)
    return ok(body)
