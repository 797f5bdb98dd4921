"""What the client sees of where it asks: TLS at the edge, the origin in links, its request's id."""

from __future__ import annotations

import json
import re
import subprocess

import httpx
import pytest
from rest_doors import running_edge
from rest_world import AUTHORITY

from trimtab_api import asgi
from trimtab_common.runtime import logs

SPOOFED = (("x-forwarded-host", "evil.test"), ("x-forwarded-proto", "gopher"))


def hrefs(body: bytes) -> set[str]:
    return {
        link["href"].partition("/v1")[0].partition("/goals")[0]
        for goal in json.loads(body)["goals"]
        for link in goal["links"]
    }


@pytest.fixture
def certificate(tmp_path):
    """Certificate and key of 127.0.0.1."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert),
        ],
        check=True,
        capture_output=True,
    )
    return {"cert_file": str(cert), "key_file": str(key)}


@pytest.mark.req("A-012", "A-033")
async def test_the_edge_speaks_tls_and_links_say_https(make_world, tmp_path, certificate):
    async with (
        make_world() as world,
        running_edge(tmp_path, **certificate) as edge,
    ):
        edge.use(world.api)
        answer = await edge.door.ask("GET", "/v1/goals", SPOOFED, b"")
        assert hrefs(answer.body) == {f"https://{AUTHORITY}"}


@pytest.mark.req("A-012")
async def test_forwarded_headers_of_clients_are_never_believed_at_the_edge(make_world, edge):
    async with make_world() as world:
        edge.use(world.api)
        answer = await edge.door.ask("GET", "/v1/goals", SPOOFED, b"")
        assert hrefs(answer.body) == {f"http://{AUTHORITY}"}


@pytest.mark.req("A-012")
@pytest.mark.parametrize(
    ("trusts", "origin"), [(True, "https://public.test"), (False, f"http://{AUTHORITY}")]
)
async def test_the_http_door_believes_a_proxy_only_when_told_so(make_world, trusts, origin):
    forwarded = {"x-forwarded-host": "public.test", "x-forwarded-proto": "https"}
    async with make_world() as world:
        app = asgi.create_app(world.api, max_body_bytes=1024, trust_forwarded_headers=trusts)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{AUTHORITY}") as client:
            answer = await client.get("/v1/goals", headers=forwarded)
            assert hrefs(answer.content) == {origin}
            made = await client.post(
                "/v1/audit_templates", headers=forwarded, json={"name": "t", "goal": "dummy"}
            )
            assert made.headers["location"].startswith(f"{origin}/v1/audit_templates/")
            page = await client.get("/v1/goals?limit=1", headers=forwarded)
            assert page.json()["next"].startswith(f"{origin}/v1/goals?")


@pytest.mark.req("A-011")
def test_a_request_id_is_req_and_a_uuid_and_new_each_time():
    first, second = logs.new_request_id(), logs.new_request_id()
    pattern = r"req-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert re.fullmatch(pattern, first)
    assert re.fullmatch(pattern, second)
    assert first != second
