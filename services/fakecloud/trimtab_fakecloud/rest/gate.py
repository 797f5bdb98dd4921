"""The door of each service: request ids, ordered faults, tokens, microversions, errors, the ledger."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.records import Caller
from trimtab_fakecloud.errors import CloudError, Unauthorized
from trimtab_fakecloud.ledger import Entry
from trimtab_fakecloud.rest.answers import answer
from trimtab_fakecloud.rest.microversions import Microversions, Version
from trimtab_fakecloud.tokens import Token

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_WRITTEN_DOWN = frozenset({"identity", "prometheus"})
"""Their POSTs change nothing in the cloud."""
ErrorBody = Callable[[int, str, str], Any]
"""(status, message, request id) to the body that the service gives."""


def unauthorized_body(status: int, message: str, _request_id: str) -> Any:
    """As keystonemiddleware and Keystone say it."""
    titles = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
    title = titles.get(status, "Error")
    return {"error": {"code": status, "title": title, "message": message}}


@dataclass(slots=True)
class _Exchange:
    """One request and what becomes of it."""

    request_id: str
    token: Token | None = None
    version: Version | None = None
    body: bytes = b""
    status: int = 0
    error: bytearray = field(default_factory=bytearray)


class Gate:
    """Wraps one service."""

    def __init__(
        self,
        app: ASGIApp,
        cloud: Cloud,
        service: str,
        error_body: ErrorBody,
        *,
        is_open: Callable[[str], bool] = lambda _path: False,
        microversions: Microversions | None = None,
    ) -> None:
        """Wrap a service.

        Args:
            app: the service.
            cloud: what it is a face of.
            service: its name in faults and in the ledger.
            error_body: how it words errors.
            is_open: paths, without the service's prefix, that need no token.
            microversions: the range, if it has one.
        """
        self._app = app
        self._cloud = cloud
        self._service = service
        self._error_body = error_body
        self._is_open = is_open
        self._microversions = microversions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(request_id=f"req-{uuid.uuid4()}")
        path = scope["path"][len(scope.get("root_path", "")) :]
        if scope["method"] not in _READS:
            exchange.body = await Request(scope, receive).body()
            receive = _replay(exchange.body)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message["headers"], *self._headers(exchange)]
            elif exchange.status >= 400:  # noqa: PLR2004, errors begin here
                exchange.error += message.get("body", b"")
            await send(message)

        try:
            await self._pass(scope, receive, watched, path, exchange)
        except CloudError as refusal:
            await self._say(refusal.status, refusal.message, exchange)(scope, receive, watched)
        except HTTPException as refusal:
            await self._say(refusal.status_code, refusal.detail, exchange)(scope, receive, watched)
        self._write_down(scope, path, exchange)

    async def _pass(
        self, scope: Scope, receive: Receive, send: Send, path: str, exchange: _Exchange
    ) -> None:
        headers = Headers(scope=scope)
        fault = self._cloud.faults.hit((self._service, scope["method"], path), self._cloud.rng)
        if fault is not None:
            await self._cloud.clock.sleep(fault.latency_s)
            if fault.status is not None:
                await self._say(fault.status, "This fault was ordered.", exchange)(
                    scope, receive, send
                )
                return
        if not self._is_open(path):
            exchange.token = self._cloud.identity.check(headers.get("x-auth-token"))
            scope.setdefault("state", {})["caller"] = Caller(exchange.token, exchange.request_id)
        if self._microversions is not None:
            exchange.version = self._microversions.minimum
            exchange.version = self._microversions.negotiate(headers)
            scope.setdefault("state", {})["version"] = exchange.version
        await self._app({**scope, "app": self._app}, receive, send)

    def _say(self, status: int, message: str, exchange: _Exchange) -> Response:
        is_token = status == Unauthorized.status
        body = unauthorized_body if is_token else self._error_body
        headers = {"WWW-Authenticate": 'Keystone uri="/identity"'} if is_token else {}
        return answer(body(status, message, exchange.request_id), status, headers)

    def _headers(self, exchange: _Exchange) -> list[tuple[bytes, bytes]]:
        said = {"x-openstack-request-id": exchange.request_id}
        if self._service == "compute":
            said["x-compute-request-id"] = exchange.request_id
        if self._microversions is not None and exchange.version is not None:
            said.update(self._microversions.headers(exchange.version))
        return [(name.lower().encode(), value.encode()) for name, value in said.items()]

    def _write_down(self, scope: Scope, path: str, exchange: _Exchange) -> None:
        if scope["method"] in _READS or self._service in _NOT_WRITTEN_DOWN:
            return
        user = exchange.token.user if exchange.token else None
        self._cloud.ledger.add(
            Entry(
                at=self._cloud.now(),
                request_id=exchange.request_id,
                service=self._service,
                method=scope["method"],
                path=path,
                body=_parsed(exchange.body),
                user=user.name if user else None,
                project=user.project if user else None,
                status=exchange.status,
                error=exchange.error.decode() or None,
            )
        )


def caller_of(request: Request) -> Caller:
    """Who sent it."""
    caller: Caller = request.state.caller
    return caller


def version_of(request: Request) -> Version:
    """The microversion that was negotiated for it."""
    version: Version = request.state.version
    return version


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
