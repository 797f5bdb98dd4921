"""The pure core: one request in, one answer out. Both doors, gRPC and ASGI, stand before this.

Order of checks: version (406), size (413), token (401), route (404, 405), policy (403), names of
query parameters (400), then the endpoint. Every refusal is in Watcher's form and carries version
and request id headers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import structlog

from trimtab_api import openapi
from trimtab_api.auth import Authenticator, Identity, Policy
from trimtab_api.ports import Deps
from trimtab_api.rest import cors, faults, paging, roots, versions
from trimtab_api.rest.call import JSON, Call, ok
from trimtab_api.rest.render import chunked
from trimtab_api.rest.request import RestRequest, RestResponse, Target, parse_target
from trimtab_api.rest.routes import WEBHOOK_RULE, Route, find
from trimtab_common.domain.errors import Bug, TrimtabError, Unauthenticated
from trimtab_common.runtime import logs

log = structlog.get_logger(__name__)
Headers = tuple[tuple[str, str], ...]


class RestApi:
    """Watcher's REST API as one function of a request."""

    def __init__(
        self,
        deps: Deps,
        *,
        authenticator: Authenticator,
        policy: Policy,
        new_request_id: Callable[[], str] = logs.new_request_id,
    ) -> None:
        self._deps = deps
        self._authenticator = authenticator
        self._policy = policy
        self._new_request_id = new_request_id

    async def handle(self, request: RestRequest) -> RestResponse:
        """Answers every request, whatever happens; never raises."""
        request_id = logs.bind_request_id(self._new_request_id())
        always: Headers = (("x-openstack-request-id", request_id),)
        origins = self._deps.settings.cors_allowed_origins
        preflight = cors.preflight(request, origins)
        if preflight is not None:
            return _with_headers(preflight, always)
        is_root, minor = True, None
        try:
            target = parse_target(request.raw_path)
            is_root = target.is_root
            minor = None if is_root else versions.negotiate(_version_header(request))
            response = await self._answer(request, target, minor)
        except Exception as error:  # noqa: BLE001, the one place that answers unknown errors
            response = self._refusal(request, error, request_id)
        if not is_root:
            always = (*always, *versions.headers(minor))
        if request.method == "HEAD":
            response = dataclasses.replace(response, chunks=())
        return _with_headers(response, (*always, *cors.headers(request, origins)))

    async def _answer(
        self, request: RestRequest, target: Target, minor: int | None
    ) -> RestResponse:
        limit = self._deps.settings.max_body_bytes
        if len(request.body) > limit:
            raise faults.BodyTooLarge(f"The request body is larger than {limit} bytes.")
        if minor is None:
            if request.method not in ("GET", "HEAD"):
                raise faults.MethodNotAllowed(request.method, ("GET",))
            return ok(roots.versions_document(request.origin))
        if target.segments == openapi.PATH and request.method in ("GET", "HEAD"):
            return RestResponse(status=200, headers=(JSON,), chunks=chunked(openapi.body()))
        identity = await self._identify(request, target)
        route, ident = find(request.method, target.segments)
        self._enforce(route, identity)
        paging.refuse_unknown(target.query, route.parameters)
        return await route.endpoint(
            Call(
                deps=self._deps,
                request=request,
                ident=ident,
                query=target.query,
                minor=minor,
                identity=identity or Identity(),
            )
        )

    async def _identify(self, request: RestRequest, target: Target) -> Identity | None:
        """None on the webhook when its door is open (A-035)."""
        is_open = not self._deps.settings.enable_webhooks_auth
        if is_open and target.segments[:1] == ("webhooks",):
            return None
        return await self._authenticator.identify(request.headers)

    def _enforce(self, route: Route, identity: Identity | None) -> None:
        if identity is None and route.rule == WEBHOOK_RULE:
            return
        if route.rule:
            self._policy.enforce(route.rule, identity or Identity())

    def _refusal(self, request: RestRequest, error: Exception, request_id: str) -> RestResponse:
        debug = self._deps.settings.debug
        if isinstance(error, TrimtabError) and not isinstance(error, Bug):
            status, message = faults.status_of(error), error.message
        else:
            path = request.raw_path.partition("?")[0]
            log.error("request failed", method=request.method, path=path, exc_info=error)
            cause = f": {type(error).__name__}: {error}" if debug else ""
            status, message = 500, f"Internal error, see the log for {request_id}{cause}"
        media, body = faults.body_of(
            status, message, accept=request.headers.get("accept", ""), debug=debug
        )
        return RestResponse(
            status=status, headers=(("content-type", media), *_extra(error)), chunks=(body,)
        )


def _extra(error: Exception) -> Headers:
    """No Retry-After on 503: the stock client crashes on it, and retries every 2 s anyway."""
    if isinstance(error, faults.MethodNotAllowed):
        return (("allow", ", ".join(error.allowed)),)
    if isinstance(error, Unauthenticated):
        return (("www-authenticate", error.details.get("challenge", "Keystone")),)
    return ()


def _version_header(request: RestRequest) -> str | None:
    return request.headers.get("openstack-api-version")


def _with_headers(response: RestResponse, headers: Headers) -> RestResponse:
    return dataclasses.replace(response, headers=(*response.headers, *headers))
