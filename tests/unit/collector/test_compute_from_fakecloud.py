"""The compute model read from a running (fake) cloud through openstacksdk, then kept by polls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import openstack
import pytest

from trimtab_collector.compute.reading import ComputeReader
from trimtab_collector.compute.sync import ComputeSync, SyncSettings
from trimtab_collector.live_model import LiveModel
from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import Conflict, NotFound, Unauthenticated, Unavailable
from trimtab_common.openstack.nova import Nova
from trimtab_common.openstack.placement import Placement
from trimtab_common.openstack.session import CloudSession, RetryPolicy
from trimtab_common.runtime.clock import FakeClock
from trimtab_fakecloud.running import FakeCloud, running_fakecloud
from trimtab_fakecloud.settings import CloudSpec


class Rig:
    """A fake cloud, a session with it and collector's loop, stepped by hand."""

    def __init__(self, cloud: FakeCloud, user: str = "admin") -> None:
        self.cloud = cloud
        self.clock = FakeClock()
        entry = cloud.entry(user)
        self.session = CloudSession(
            lambda: openstack.connection.Connection(**entry),
            retry=RetryPolicy(retries=0),
            clock=self.clock,
        )
        self.reader = ComputeReader(Nova(self.session), Placement(self.session))
        self.live = LiveModel(self.clock)
        self.sync = ComputeSync(self.live, self.reader, self.clock, SyncSettings(stale_after_s=0))
        self.control = httpx.AsyncClient(base_url=f"{cloud.base_url}/control", trust_env=False)

    async def close(self) -> None:
        await self.control.aclose()
        await self.session.close()

    async def behind(self, method: str, path: str, **body: object) -> dict[str, object]:
        answer = await self.control.request(method, path, json=body)
        answer.raise_for_status()
        return json.loads(answer.content or "{}")

    async def built(self, uuid: object) -> None:
        """Returns when the server is ACTIVE: Nova builds it after it answered."""
        async with asyncio.timeout(10):
            while (  # noqa: ASYNC110, a cloud tells nobody when a server is built
                self.cloud.state.servers[str(uuid)].vm_state.value != "active"
            ):
                await asyncio.sleep(0.01)

    def assert_equals_the_cloud(self) -> None:
        state = self.cloud.state
        model = self.live.model
        living = {key: s for key, s in state.servers.items() if not s.is_deleted}
        assert {row.uuid for row in model.servers()} == set(living)
        assert {row.hostname for row in model.hosts()} == set(state.hosts)
        for key, server in living.items():
            row = model.find_server(key)
            assert (row.hostname, row.name) == (server.host or "", server.name)
            assert row.demand[:2] == (server.flavor.vcpus, server.flavor.memory_mib)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with running_fakecloud(CloudSpec(hosts=4, servers=12, seed=3)) as cloud:
        rig = Rig(cloud)
        yield rig
        await rig.close()


@pytest.mark.req("C-029", "C-034", "C-043", "C-159")
async def test_a_full_read_shows_the_cloud(rig):
    await rig.sync.step()
    assert rig.live.stale_reason == ""
    assert not rig.live.model.health.partial
    rig.assert_equals_the_cloud()
    for row in rig.live.model.hosts():
        host = rig.cloud.state.hosts[row.hostname]
        inventory = host.inventories["VCPU"]
        assert row.inventory[0] == inventory.total
        assert row.ratio[0] == inventory.allocation_ratio
        assert row.zone == rig.cloud.state.zone_of(row.hostname)
        assert not row.capacity_from_nova
    assert rig.live.model.aggregates


@pytest.mark.req("C-061")
async def test_polls_follow_what_happens_behind_its_back(rig):
    await rig.sync.step()
    victim = next(iter(rig.live.model.servers())).uuid
    made = await rig.behind("POST", "/servers", name="new", host="compute-2")
    await rig.built(made["uuid"])
    await rig.behind("DELETE", f"/servers/{victim}")
    before = rig.live.model.revision
    await rig.sync.step()
    assert rig.live.model.find_server(str(made["uuid"])).hostname == "compute-2"
    assert rig.live.model.find_server(victim) is None
    assert rig.live.model.revision == before + 1
    rig.assert_equals_the_cloud()
    await rig.sync.step()
    assert rig.live.model.revision == before + 1


@pytest.mark.req("C-028", "C-061")
async def test_polls_follow_disabled_and_dead_hosts(rig):
    await rig.sync.step()
    service = next(h for h in rig.cloud.state.hosts.values() if h.name == "compute-3").service_uuid
    await rig.session.send(
        "PUT",
        "compute",
        f"/os-services/{service}",
        body={"status": "disabled", "disabled_reason": "watcher_disabled"},
        microversion="2.53",
    )
    await rig.sync.step()
    row = rig.live.model.find_host("compute-3")
    assert (row.up, row.enabled, row.disabled_reason) == (True, False, "watcher_disabled")
    await rig.session.send(
        "PUT",
        "compute",
        f"/os-services/{service}",
        body={"status": "enabled", "forced_down": True},
        microversion="2.53",
    )
    await rig.sync.step()
    row = rig.live.model.find_host("compute-3")
    assert (row.up, row.enabled, row.disabled_reason) == (False, True, None)


@pytest.mark.req("C-009", "C-042")
async def test_a_cloud_that_does_not_answer_leaves_the_model_and_says_so(rig):
    await rig.sync.step()
    rows = rig.live.model.n_servers
    fault = {"service": "compute", "status": 503}
    await rig.behind("PUT", "/faults", requests=[fault])
    await rig.sync.step()
    assert "503" in rig.live.stale_reason
    assert rig.live.model.n_servers == rows
    with pytest.raises(Unavailable):
        await asked(rig)
    await rig.behind("PUT", "/faults", requests=[])
    await rig.sync.step()
    assert rig.live.stale_reason == ""


async def asked(rig):
    task = asyncio.create_task(rig.sync.refresh())
    await asyncio.sleep(0)
    await rig.sync.step()
    await task


@pytest.mark.req("C-031", "C-032")
async def test_without_placement_novas_sizes_or_the_known_ones_stand_in(rig):
    fault = {"service": "placement", "status": 503}
    await rig.behind("PUT", "/faults", requests=[fault])
    await rig.sync.step()
    row = rig.live.model.find_host("compute-1")
    assert row.capacity_from_nova
    assert row.inventory[0] == rig.cloud.state.hosts["compute-1"].vcpus
    assert row.ratio == (1.0, 1.0, 1.0)
    await rig.behind("PUT", "/faults", requests=[])
    await asked(rig)
    known = rig.live.model.find_host("compute-1")
    assert not known.capacity_from_nova
    await rig.behind("PUT", "/faults", requests=[fault])
    await asked(rig)
    row = rig.live.model.find_host("compute-1")
    assert row.capacity_from_nova
    assert (row.inventory, row.ratio) == (known.inventory, known.ratio)


@pytest.mark.req("C-043")
async def test_lists_are_read_page_by_page():
    async with running_fakecloud(CloudSpec(hosts=5, servers=13, page_limit=4)) as cloud:
        rig = Rig(cloud)
        await rig.sync.step()
        rig.assert_equals_the_cloud()
        await rig.close()


@pytest.mark.req("C-164")
async def test_refusals_are_typed_errors_with_the_services_words(rig):
    with pytest.raises(NotFound, match=r"404.*could not be found"):
        await rig.session.get("compute", "/servers/00000000-0000-4000-8000-000000000000")
    server = next(iter(rig.cloud.state.servers))
    with pytest.raises(Conflict, match="409"):
        await rig.session.send(
            "POST", "compute", f"/servers/{server}/action", body={"unpause": None}
        )


async def test_a_wrong_password_is_named(rig):
    entry = rig.cloud.entry("admin")
    entry["auth"]["password"] = "wrong"
    session = CloudSession(lambda: openstack.connection.Connection(**entry))
    with pytest.raises(Unauthenticated, match="Keystone refuses the credentials"):
        await session.get("compute", "/servers")
    await session.close()


async def test_a_session_made_while_the_cloud_is_away_works_when_it_is_back():
    async with running_fakecloud(CloudSpec(hosts=2, servers=2)) as cloud:
        port = int(cloud.base_url.rpartition(":")[2])
    rig = Rig(cloud)
    await rig.sync.step()
    assert not rig.live.built
    assert "not defined" in rig.live.stale_reason
    async with running_fakecloud(CloudSpec(hosts=2, servers=2), port=port) as back:
        rig.cloud = back
        await rig.sync.step()
        assert rig.live.stale_reason == ""
        rig.assert_equals_the_cloud()
        await rig.close()


async def test_an_active_server_is_active(rig):
    await rig.sync.step()
    states = {row.state for row in rig.live.model.servers()}
    assert ServerState.ACTIVE in states
    assert ServerState.UNKNOWN not in states
