"""The ways into the API: HTTP, and gRPC as Envoy's transcoder would ask."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc.aio
import httpx
from google.api import httpbody_pb2
from grpc_health.v1 import health, health_pb2_grpc
from rest_world import AUTHORITY, World

from trimtab.rest.v1 import rest_pb2, rest_pb2_grpc
from trimtab_api import asgi
from trimtab_api.rest import RestApi
from trimtab_api.rest.faults import MethodNotAllowed, RouteNotFound
from trimtab_api.rest.request import RestRequest, RestResponse, parse_target
from trimtab_api.rest.routes import find
from trimtab_api.servicer import WatcherRest
from trimtab_cli import gateway
from trimtab_common.runtime.errors import ErrorInterceptor


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back through a door. Header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


Headers = Sequence[tuple[str, str]]
"""Name and value; a name may come again."""


class Door(Protocol):
    """One way into the API."""

    async def ask(self, method: str, path: str, headers: Headers, body: bytes) -> Answer: ...


OWN_HEADERS = frozenset(
    {
        "allow",
        "content-type",
        "location",
        "retry-after",
        "vary",
        "www-authenticate",
        "x-openstack-request-id",
        "openstack-api-version",
        "openstack-api-minimum-version",
        "openstack-api-maximum-version",
        "access-control-allow-origin",
        "access-control-allow-methods",
        "access-control-allow-headers",
        "access-control-expose-headers",
        "access-control-max-age",
    }
)
"""What the API says; transports add their own (content-length, date, server)."""


class HttpDoor:
    """Plain HTTP: to the ASGI application in process, or to any base URL."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, method: str, path: str, headers: Headers, body: bytes) -> Answer:
        url = httpx.URL(f"{self._client.base_url.scheme}://{self._client.base_url.netloc.decode()}")
        response = await self._client.request(
            method,
            url.copy_with(raw_path=path.encode()),
            headers=[*headers, ("host", AUTHORITY)],
            content=body,
        )
        return Answer(
            status=response.status_code,
            headers={k: v for k, v in response.headers.items() if k in OWN_HEADERS},
            body=response.content,
        )


class GrpcDoor:
    """A real gRPC server, asked as Envoy's transcoder would ask it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rest_pb2_grpc.WatcherRestStub(channel)

    async def ask(self, method: str, path: str, headers: Headers, body: bytes) -> Answer:
        request = rest_pb2.RestRequest(body=httpbody_pb2.HttpBody(data=body))
        metadata = [
            *((name.lower(), value) for name, value in headers),
            ("x-envoy-original-path", path),
            ("x-envoy-original-method", method),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", AUTHORITY),
        ]
        rpc = self._rpc_of(method, path)
        call = getattr(self._stub, rpc)(request, metadata=metadata, timeout=20)
        messages = [message async for message in call] if rpc == "GetDataModel" else [await call]
        sent = dict(await call.initial_metadata())
        status = int(sent["x-http-code"])
        answered = {k: v for k, v in sent.items() if k in OWN_HEADERS}
        if status != 204:
            answered["content-type"] = messages[0].content_type
        return Answer(status=status, headers=answered, body=b"".join(m.data for m in messages))

    def _rpc_of(self, method: str, path: str) -> str:
        target = parse_target(path)
        if target.is_root:
            return "GetRoot" if method == "GET" else "Other"
        try:
            return find(method, target.segments)[0].rpc
        except (MethodNotAllowed, RouteNotFound):
            return "Other"


@asynccontextmanager
async def asgi_door(world: World) -> AsyncIterator[Door]:
    app = asgi.create_app(
        world.api,
        max_body_bytes=world.deps.settings.max_body_bytes,
        trust_forwarded_headers=False,
    )
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{AUTHORITY}") as client:
        yield HttpDoor(client)


@asynccontextmanager
async def rest_server(world: World) -> AsyncIterator[int]:
    """A gRPC server of this world on a free port."""
    server = grpc.aio.server(
        interceptors=[ErrorInterceptor()],
        options=[("grpc.max_receive_message_length", 16 * 1024 * 1024)],
    )
    rest_pb2_grpc.add_WatcherRestServicer_to_server(WatcherRest(world.api), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


@asynccontextmanager
async def grpc_door(world: World) -> AsyncIterator[Door]:
    async with (
        rest_server(world) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield GrpcDoor(channel)


class SwitchableApi:
    """Lets one long-lived server, and the Envoy before it, serve one world after the other."""

    api: RestApi | None = None

    async def handle(self, request: RestRequest) -> RestResponse:
        assert self.api is not None
        return await self.api.handle(request)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class Edge:
    """An Envoy before a real gRPC server; `use` says which world answers."""

    door: HttpDoor
    use: Callable[[RestApi], None]


async def until_open(port: int, limit_s: float = 20) -> None:
    """Returns when something listens on the port."""
    async with asyncio.timeout(limit_s):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            await writer.wait_closed()
            return


@asynccontextmanager
async def running_edge(
    folder: Path, *, cert_file: str = "", key_file: str = ""
) -> AsyncIterator[Edge]:
    """Envoy with the configuration of the real edge; with a certificate it speaks TLS."""
    binary = gateway.envoy_binary()
    assert binary is not None, "Envoy is not installed: make setup"
    switch = SwitchableApi()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 * 1024 * 1024)])
    rest_pb2_grpc.add_WatcherRestServicer_to_server(WatcherRest(switch), server)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    api_port, port = server.add_insecure_port("127.0.0.1:0"), free_port()
    await server.start()
    settings = gateway.GatewaySettings(
        port=port,
        admin_port=free_port(),
        api=f"127.0.0.1:{api_port}",
        cert_file=cert_file,
        key_file=key_file,
    )
    config = folder / "envoy.json"
    config.write_text(gateway.render(settings))
    log = (folder / "envoy.log").open("wb")
    envoy = await asyncio.create_subprocess_exec(
        binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "warn",
        stdout=log, stderr=log,
    )  # fmt: skip
    trusted: ssl.SSLContext | bool = True
    if cert_file:
        trusted = ssl.create_default_context(cafile=cert_file)
    scheme = "https" if cert_file else "http"
    try:
        async with httpx.AsyncClient(
            base_url=f"{scheme}://127.0.0.1:{port}", timeout=20, verify=trusted
        ) as client:
            await until_open(port)
            yield Edge(door=HttpDoor(client), use=lambda api: setattr(switch, "api", api))
    finally:
        envoy.terminate()
        await envoy.wait()
        await server.stop(0)
        log.close()


DOORS: dict[str, Callable[[World], AbstractAsyncContextManager[Door]]] = {
    "asgi": asgi_door,
    "grpc": grpc_door,
}
"""The ways in that cost nothing to open; Envoy's is the fixture `edge`."""
