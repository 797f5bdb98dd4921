"""The document: one operation for each route, with its parameters, bodies, statuses and headers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

import orjson

from trimtab_api import element_models
from trimtab_api.openapi.schemas import UUID, class_name, components, reference
from trimtab_api.rest import versions
from trimtab_api.rest.paging import LISTING, takes_uuid
from trimtab_api.rest.routes import IDENT, ROUTES, Route
from trimtab_common.domain.resources import BY_PLURAL, Ident, Resource

Json = dict[str, Any]
PATH = ("trimtab", "v1", "openapi.json")
"""Outside /v1, where a resource that Watcher lacks would need a microversion of its own, and under
the prefix of the typed API, which Watcher's paths never begin with."""
_JSON = "application/json"


@cache
def body() -> bytes:
    """The document as it is served."""
    return orjson.dumps(document())


def document() -> Json:
    """OpenAPI 3.1, by the newest microversion."""
    paths: Json = {"/": {"get": _root()}}
    for route in ROUTES:
        path = "/".join(("", "v1", *route.path)).replace(IDENT, "{ident}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Watcher's REST API, as Trimtab speaks it",
            "version": versions.MAXIMUM,
            "summary": "Optimization of OpenStack clouds: service type infra-optim.",
            "description": "Fields of later microversions are absent below them. Each path works "
            "without /v1 too, with doubled slashes and with one at its end.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components(),
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
            },
            "responses": {name: _refusal(status, name) for name, status in _REFUSALS.items()},
            "headers": _HEADERS,
        },
        "security": [{"token": []}],
    }


def _operation(route: Route) -> Json:
    resource = BY_PLURAL.get(route.path[0]) if route.path else None
    detail = route.path[-1:] == ("detail",)
    status, schema = _answer(route, resource, detail=detail)
    operation: Json = {
        "operationId": f"{route.rpc}Detail" if detail else route.rpc,
        "description": f"Policy rule: {route.rule}." if route.rule else "Needs a token only.",
        "parameters": _parameters(route, resource),
        "responses": {str(status): _success(status, schema), **_refusals(route, resource)},
    }
    request = _request(route, resource)
    if request is not None:
        operation["requestBody"] = request
    return operation


def _answer(route: Route, resource: Resource | None, *, detail: bool) -> tuple[int, str | None]:
    """Status of success, and the schema of its body; None for an empty one."""
    special: Mapping[str, tuple[int, str | None]] = {
        "GetV1": (200, "V1"),
        "GetStrategyState": (200, "StrategyState"),
        "GetDataModel": (200, "DataModel"),
        "TriggerWebhook": (202, None),
        "RollBackActionPlan": (200, "RolledBackPlan"),
    }
    if route.rpc in special:
        return special[route.rpc]
    if resource is None:
        raise LookupError(f"{route.rpc} answers no resource: say here what it answers.")
    name = class_name(resource)
    if route.method == "DELETE":
        return 204, None
    if route.method == "POST" and IDENT not in route.path:
        return 201, name
    if IDENT in route.path:
        return 200, name
    return 200, f"{name}List" if detail else f"{name}ShortList"


def _request(route: Route, resource: Resource | None) -> Json | None:
    if route.method == "PATCH":
        schema, required = reference("Patch"), True
    elif route.method != "POST":
        return None
    elif route.path[-1] == "rollback":
        schema, required = reference("Rollback"), False
    elif IDENT in route.path:  # start and the webhook: the body does not matter
        schema, required = {}, False
    elif resource is not None:
        schema, required = reference(f"New{class_name(resource)}"), True
    else:
        raise LookupError(f"{route.rpc} takes a body: say here what it is.")
    content: Json = {_JSON: {"schema": schema}}
    return {"required": required, "content": content}


def _parameters(route: Route, resource: Resource | None) -> list[Json]:
    found: list[Json] = [_VERSION_HEADER]
    if IDENT in route.path:
        is_uuid = resource is not None and resource.ident is Ident.UUID
        what: Json = UUID if is_uuid else {"type": "string", "minLength": 1}
        found.append({"name": "ident", "in": "path", "required": True, "schema": what})
    if route.rpc == "GetDataModel":
        found += [
            _query("data_model_type", {"enum": ["compute", *element_models.KINDS]}),
            _query("audit_uuid", {"type": "string"}),
        ]
    if route.method != "GET" or resource is None:
        return found
    found.append(_SHOW_DELETED)
    if IDENT not in route.path:
        found += _listing(resource)
    return found


def _listing(resource: Resource) -> list[Json]:
    known: dict[str, Json] = {
        "limit": {"type": "integer", "minimum": 1},
        "marker": UUID if resource.marker_must_be_uuid else {"type": "string"},
        "sort_key": {"enum": sorted(resource.sort_keys | frozenset(resource.page_sort_keys))},
        "sort_dir": {"enum": ["asc", "desc"]},
    }
    missing = LISTING - known.keys()
    if missing:
        raise LookupError(f"Say here what the parameters {sorted(missing)} are.")
    return [
        *(_query(name, schema) for name, schema in known.items()),
        *(
            _query(name, UUID if takes_uuid(resource, name) else {"type": "string"})
            for name in resource.filters
        ),
    ]


def _query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "schema": schema}


def _refusals(route: Route, resource: Resource | None) -> Json:
    names = ["BadRequest", "Unauthorized", "Forbidden", "NotAcceptable", "Unavailable"]
    if IDENT in route.path or resource is not None or route.rpc == "GetDataModel":
        names.append("NotFound")
    if route.method in ("POST", "PATCH"):
        names += ["Conflict", "TooLarge"]
    if not route.rule:
        names.remove("Forbidden")
    return {
        str(_REFUSALS[name].value): {"$ref": f"#/components/responses/{name}"}
        for name in sorted(names, key=lambda name: _REFUSALS[name])
    }


_REFUSALS: Mapping[str, HTTPStatus] = {
    "BadRequest": HTTPStatus.BAD_REQUEST,
    "Unauthorized": HTTPStatus.UNAUTHORIZED,
    "Forbidden": HTTPStatus.FORBIDDEN,
    "NotFound": HTTPStatus.NOT_FOUND,
    "NotAcceptable": HTTPStatus.NOT_ACCEPTABLE,
    "Conflict": HTTPStatus.CONFLICT,
    "TooLarge": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "Unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}
_TEXTS = {
    "BadRequest": "The request, or the state of what it is about, does not allow this.",
    "Unauthorized": "No token, or one that Keystone does not accept.",
    "Forbidden": "The policy refuses it.",
    "NotFound": "There is no such resource.",
    "NotAcceptable": "The microversion does not exist, or is too low.",
    "Conflict": "A name is taken, or something else stands against it.",
    "TooLarge": "The body is too large.",
    "Unavailable": "A part of the service does not answer. Try again.",
}
_HEADERS: Json = {
    "RequestId": {
        "required": True,
        "schema": {"type": "string", "pattern": "^req-"},
    },
    "MinimumVersion": {"required": True, "schema": {"const": versions.MINIMUM}},
    "MaximumVersion": {"required": True, "schema": {"const": versions.MAXIMUM}},
    "Version": {"schema": {"type": "string", "pattern": r"^infra-optim 1\.[0-9]+$"}},
    "Location": {"required": True, "schema": {"type": "string"}},
    "Challenge": {"required": True, "schema": {"type": "string"}},
}
_VERSIONED = {
    "X-OpenStack-Request-ID": "RequestId",
    "OpenStack-API-Minimum-Version": "MinimumVersion",
    "OpenStack-API-Maximum-Version": "MaximumVersion",
    "OpenStack-API-Version": "Version",
}
_VERSION_HEADER = {
    "name": "OpenStack-API-Version",
    "in": "header",
    "description": "infra-optim 1.N or infra-optim latest; anything else counts as 1.0.",
    "schema": {"type": "string"},
}
_SHOW_DELETED = {
    "name": "X-Show-Deleted",
    "in": "header",
    "description": "Any text shows soft-deleted resources too.",
    "schema": {"type": "string"},
}


def _headers(names: Mapping[str, str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{key}"} for name, key in names.items()}


def _success(status: int, schema: str | None) -> Json:
    extra = {"Location": "Location"} if status == HTTPStatus.CREATED else {}
    answer: Json = {
        "description": HTTPStatus(status).phrase,
        "headers": _headers({**_VERSIONED, **extra}),
    }
    if schema is not None:
        answer["content"] = {_JSON: {"schema": reference(schema)}}
    return answer


def _refusal(status: HTTPStatus, name: str) -> Json:
    extra = {"WWW-Authenticate": "Challenge"} if status is HTTPStatus.UNAUTHORIZED else {}
    return {
        "description": _TEXTS[name],
        "headers": _headers({**_VERSIONED, **extra}),
        "content": {
            _JSON: {"schema": reference("Error")},
            "application/xml": {"schema": {"type": "string"}},
        },
    }


def _root() -> Json:
    return {
        "operationId": "GetRoot",
        "description": "The versions there are; needs no token.",
        "security": [],
        "responses": {
            "200": {
                "description": "OK",
                "headers": _headers({"X-OpenStack-Request-ID": "RequestId"}),
                "content": {_JSON: {"schema": reference("Versions")}},
            }
        },
    }
