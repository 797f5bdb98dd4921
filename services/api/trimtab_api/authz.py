"""Answers the edge's question "may this call pass?" for routes that do not lead to api.

Envoy (ext_authz) asks on the HTTP door as `/_authz/<service>/<method>` with the caller's token. Only
this machine may ask: others are answered as if there were no such path.
"""

from __future__ import annotations

import ipaddress

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from trimtab_api.policies import edge_rule
from trimtab_api.rest import faults
from trimtab_api.typed.gate import Gate
from trimtab_common.domain.errors import Bug, PermissionDenied, TrimtabError, Unauthenticated
from trimtab_common.runtime import logs

PREFIX = "/_authz"


class EdgeAuthorization:
    """An ASGI endpoint. `otherwise` answers those who may not ask."""

    def __init__(self, gate: Gate, otherwise: ASGIApp) -> None:
        self._gate = gate
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 lets the call pass; 401, 403 or 503 is what its caller gets."""
        if not _is_this_machine(scope):
            await self._otherwise(scope, receive, send)
            return
        logs.bind_request_id()
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        """The text becomes the gRPC status message that the caller sees."""
        method = request.url.path.removeprefix(PREFIX)
        try:
            rule = edge_rule(method)
            if rule is None:
                raise PermissionDenied(f"No rule allows calls of {method} from outside.")
            await self._gate.check_headers(dict(request.headers), rule)
        except Bug:
            raise
        except TrimtabError as error:
            headers = {}
            if isinstance(error, Unauthenticated):
                headers["www-authenticate"] = error.details.get("challenge", "Keystone")
            return PlainTextResponse(error.message, faults.status_of(error), headers)
        return PlainTextResponse("")


def _is_this_machine(scope: Scope) -> bool:
    client = scope.get("client")
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
