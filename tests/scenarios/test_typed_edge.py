"""The typed services as HTTP: transcoded by the real Envoy, watches as server-sent events."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from rest_doors import free_port, until_open
from typed_world import serving

from trimtab_cli import gateway
from trimtab_common.domain.lifecycle import Actor, AuditState

LIMIT_S = 30
GIVEN = {
    "audits": [{"name": "done", "state": "SUCCEEDED"}, {"name": "10% a:b"}],
    "plans": [{"name": "p", "audit": "done", "actions": ["PENDING", "PENDING"]}],
}


def stable_uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


@asynccontextmanager
async def envoy_before(port: int, folder: Path):
    binary = gateway.envoy_binary()
    assert binary is not None, "Envoy is not installed: make setup"
    public = free_port()
    settings = gateway.GatewaySettings(port=public, admin_port=free_port(), api=f"127.0.0.1:{port}")
    config = folder / "envoy.json"
    config.write_text(gateway.render(settings))
    with (folder / "envoy.log").open("wb") as log:
        envoy = await asyncio.create_subprocess_exec(
            binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "warn",
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            await until_open(public)
            yield f"http://127.0.0.1:{public}"
        finally:
            envoy.terminate()
            await envoy.wait()


@pytest.fixture
async def edge(make_world, tmp_path):
    async with (
        make_world(GIVEN, auth="keystone") as world,
        serving(world, world.authenticator) as typed,
        envoy_before(typed.port, tmp_path) as url,
        httpx.AsyncClient(
            base_url=f"{url}/trimtab/v1", timeout=LIMIT_S, headers={"x-auth-token": "admin"}
        ) as client,
    ):
        client.world, client.feed = world, typed.feed
        yield client


class EventSource:
    """Reads `text/event-stream` as a browser does (the HTML standard, 9.2.6): data lines only."""

    def __init__(self, response):
        assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
        self._lines = response.aiter_lines()

    async def next(self):
        data = []
        async with asyncio.timeout(LIMIT_S):
            async for line in self._lines:
                field, _, value = line.partition(":")
                if field == "data":
                    data.append(value.removeprefix(" "))
                elif not line and data:
                    return json.loads("\n".join(data))
        raise AssertionError("the stream ended")


async def test_a_browser_follows_audits_by_server_sent_events(edge):
    async with edge.stream("GET", "/watch/audits?active_only=true&heartbeat_s=1") as response:
        assert response.status_code == 200
        events = EventSource(response)
        assert (await events.next())["begin"] == {"reason": "initial"}
        assert (await events.next())["audit"]["name"] == "10% a:b"
        assert (await events.next())["end"] == {"count": 1}
        assert "sent_at" in (await events.next())["heartbeat"]
        async with edge.world.store.write() as session:
            audit = await session.audits.get("10% a:b")
            await session.audits.transition(audit.uuid, to=AuditState.ONGOING, actor=Actor.DECISION)
        while "change" not in (event := await events.next()):
            pass
        change = event["change"]
        assert (change["old_state"], change["audit"]["state"]) == ("PENDING", "ONGOING")
        token = event["resume_token"]
    async with asyncio.timeout(LIMIT_S):  # the one who went leaves nothing open behind Envoy
        while edge.feed.watchers:  # noqa: ASYNC110, nobody tells when a stream has gone
            await asyncio.sleep(0.02)
    async with edge.world.store.write() as session:
        await session.audits.transition(audit.uuid, to=AuditState.SUCCEEDED, actor=Actor.DECISION)
    async with edge.stream("GET", "/watch/audits", params={"resume_token": token}) as response:
        events = EventSource(response)
        while "change" not in (event := await events.next()):
            assert "begin" not in event
        assert event["change"]["audit"]["state"] == "SUCCEEDED"


async def test_a_browser_follows_the_progress_of_a_plan(edge):
    plan = stable_uuid("plan p")
    path = f"/watch/action_plans?action_plans={plan}"
    async with edge.stream("GET", path) as response:
        events = EventSource(response)
        await events.next()
        assert (await events.next())["action_plan"]["progress"] == {"PENDING": 2}


@pytest.mark.req("A-033")
@pytest.mark.parametrize("path", ["/audits", "/watch/audits", "/action_plans/x", "/services"])
@pytest.mark.parametrize(("token", "status"), [("", 401), ("stranger", 401), ("member", 403)])
async def test_a_refusal_is_http_too(edge, path, token, status):
    answer = await edge.get(path, headers={"x-auth-token": token})
    assert answer.status_code == status
    challenge = 'Keystone uri="http://keystone.test/v3"' if status == 401 else None
    assert answer.headers.get("www-authenticate") == challenge
    body = answer.json()
    reason = "UNAUTHENTICATED" if status == 401 else "PERMISSION_DENIED"
    assert body["details"][0]["reason"] == reason
    assert body["details"][0]["domain"] == "trimtab"


async def test_a_resource_lives_its_life_over_http(edge):
    made = await edge.post(
        "/audits", json={"name": "über/all", "goal": "dummy", "strategy": "dummy"}
    )
    assert made.status_code == 200, made.text
    path = "/audits/%C3%BCber%2Fall"
    shown = (await edge.get(path)).json()
    assert shown["uuid"] == made.json()["uuid"]
    changed = await edge.patch(
        f"/audits/{shown['uuid']}?update_mask=force", json={"force": True, "name": "no"}
    )
    assert (changed.json()["force"], changed.json()["name"]) == (True, "über/all")
    etag = changed.json()["etag"]
    stale = await edge.delete(path, headers={"if-match": f'"{shown["etag"]}"'})
    assert (stale.status_code, stale.json()["details"][0]["reason"]) == (409, "ETAG_MISMATCH")
    cancelled = await edge.post(f"{path}/cancel", json={"etag": etag})
    assert cancelled.json()["state"] == "CANCELLED"
    gone = await edge.delete(path)
    assert (gone.status_code, gone.json()) == (200, {})
    missing = await edge.get(path)
    assert (missing.status_code, missing.json()["code"]) == (404, 5)


async def test_lists_are_paged_and_filtered_over_http(edge):
    params = {"filter": 'state = SUCCEEDED AND name = "done"', "order_by": "name desc"}
    found = (await edge.get("/audits", params=params)).json()
    assert [audit["name"] for audit in found["audits"]] == ["done"]
    assert found["next_page_token"] == ""
    first = (await edge.get("/strategies", params={"page_size": 2})).json()
    token = first["next_page_token"]
    rest = (await edge.get("/strategies", params={"page_size": 2, "page_token": token})).json()
    assert len(first["strategies"]) + len(rest["strategies"]) == 3
    bad = await edge.get("/audits", params={"filter": "colour = red"})
    assert (bad.status_code, "none of" in bad.json()["message"]) == (400, True)
