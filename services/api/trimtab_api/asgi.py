"""The HTTP door: for machines without Envoy, and for tests in process."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from trimtab_api import authz
from trimtab_api.rest import RestApi, RestRequest
from trimtab_api.rest.request import folded
from trimtab_api.typed.gate import Gate


def create_app(
    api: RestApi, *, max_body_bytes: int, trust_forwarded_headers: bool, gate: Gate | None = None
) -> Starlette:
    """The ASGI application. Forwarded headers are believed only when the operator says so.

    With a `gate` it also answers the edge's questions, see `authz`.
    """
    door = _Door(api, max_body_bytes, trust_forwarded=trust_forwarded_headers)
    routes = []
    if gate is not None:
        edge = authz.EdgeAuthorization(gate, otherwise=door)
        routes.append(Route(authz.PREFIX + "/{path:path}", edge))
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    app.router.default = door  # no pattern: one would not match a path with %0A in it
    return app


class _Door:
    """Reads one HTTP request, asks the core, writes its answer unchanged."""

    def __init__(self, api: RestApi, max_body_bytes: int, *, trust_forwarded: bool) -> None:
        self._api = api
        self._max_body_bytes = max_body_bytes
        self._trust_forwarded = trust_forwarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = await self._api.handle(
            RestRequest(
                method=request.method,
                raw_path=_raw_path(scope),
                headers=folded(request.headers.items()),
                body=await self._body(request),
                origin=self._origin(request),
            )
        )
        response: Response
        if len(answer.chunks) > 1:
            response = StreamingResponse(_each(answer.chunks), status_code=answer.status)
        else:
            response = Response(answer.body, status_code=answer.status)
        for name, value in answer.headers:
            response.headers[name] = value
        await response(scope, receive, send)

    async def _body(self, request: Request) -> bytes:
        """One byte more than allowed is enough to be refused; the rest is never read."""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > self._max_body_bytes:
                break
        return bytes(body)

    def _origin(self, request: Request) -> str:
        scheme, host = request.url.scheme, request.headers.get("host", "")
        if self._trust_forwarded:
            scheme = request.headers.get("x-forwarded-proto", scheme)
            host = request.headers.get("x-forwarded-host", host)
        return f"{scheme}://{host}"


def _raw_path(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    path = raw.partition(b"?")[0].decode("latin-1")
    return f"{path}?{query.decode('latin-1')}" if query else path


async def _each(chunks: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
