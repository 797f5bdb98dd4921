"""What Envoy sees before the API does: old protocols, upgrades, headers without end."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from rest_world import AUTHORITY
from test_dialogues import fault_of

VERSIONS = {
    "openstack-api-minimum-version": "1.0",
    "openstack-api-maximum-version": "1.8",
    "vary": "OpenStack-API-Version",
}


async def raw(edge, text: str) -> bytes:
    """The answer to these very bytes; the other side closes."""
    port = edge.door._client.base_url.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode())
    async with asyncio.timeout(20):
        answer = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.req("A-014", "A-011", "A-020")
@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "words"),
    [
        ("/v1/audits/%00", (), b"", 400, "Percent-encode the path"),
        ("/v1/audits", (("x-auth-token", "a" * 70_000),), b"", 431, "headers are too large"),
        ("/v1/audits", (), b"x" * 4_300_000, 413, "larger than 4194304 bytes"),
    ],
)
async def test_what_envoy_refuses_looks_like_the_apis_own_refusals(
    make_world, edge, path, headers, body, status, words
):
    async with make_world() as world:
        edge.use(world.api)
        answer = await edge.door.ask("POST", path, headers, body)
    assert answer.status == status
    assert words in fault_of(json.loads(answer.body))["faultstring"]
    assert re.fullmatch(r"req-[0-9a-f-]{36}", answer.headers["x-openstack-request-id"])
    assert {name: answer.headers.get(name) for name in VERSIONS} == VERSIONS


@pytest.mark.req("A-001")
async def test_a_load_balancer_may_ask_by_http_1_0(make_world, edge):
    async with make_world() as world:
        edge.use(world.api)
        for host in ("", f"Host: {AUTHORITY}\r\n"):
            answer = await raw(edge, f"GET / HTTP/1.0\r\n{host}\r\n")
            head, _, body = answer.partition(b"\r\n\r\n")
            assert b" 200 OK" in head.splitlines()[0]
            assert json.loads(body)["default_version"]["id"] == "v1"


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.2"])
async def test_a_wish_for_another_protocol_is_not_heard(make_world, edge, protocol):
    async with make_world() as world:
        edge.use(world.api)
        answer = await raw(
            edge,
            f"GET /v1/goals?limit=1 HTTP/1.1\r\nHost: {AUTHORITY}\r\n"
            f"Connection: Upgrade, close\r\nUpgrade: {protocol}\r\n\r\n",
        )
    assert b" 200 OK" in answer.splitlines()[0]
    assert b'"goals"' in answer
