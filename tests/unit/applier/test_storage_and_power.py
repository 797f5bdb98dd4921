"""Volumes that move and machines that are switched, on a real store and the emulated cloud."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from real_parts import (
    actions_of,
    cloud_session,
    eventually,
    nova_client,
    plan_of,
    publish,
    sqlite_store,
)

from trimtab_applier.actions import load_action_types
from trimtab_applier.beyond import Beyond
from trimtab_applier.dispatcher import Dispatcher
from trimtab_applier.settings import ApplierSettings, NovaSettings
from trimtab_common.domain.lifecycle import ActionState, PlanState
from trimtab_common.openstack.cinder_writes import CinderClient, TypeView
from trimtab_common.openstack.maas import Maas, MaasSettings
from trimtab_common.openstack.power_writes import IronicPower, MaasPower
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.store import Store
from trimtab_fakecloud import CloudSpec, FakeCloud, running_fakecloud
from trimtab_fakecloud.hosts import Host
from trimtab_fakecloud.rest.ironic import node_id
from trimtab_fakecloud.volumes import Pool, Volume

DONE, SKIPPED, FAILED = ActionState.SUCCEEDED, ActionState.SKIPPED, ActionState.FAILED
QUICK = NovaSettings(
    migration_interval_s=0.1,
    poll_s=0.05,
    write_timeout_s=1.0,
    http_retry_interval_s=0.05,
    volume_timeout_s=10.0,
)
FAST, OTHER_FAST, SLOW = "storage@fast#pool0", "storage@fast#pool1", "storage@slow#pool0"


class Site:
    """A store and a cloud, and an applier that reaches all of it."""

    def __init__(self, store: Store, cloud: FakeCloud, stack: AsyncExitStack) -> None:
        self.store = store
        self.cloud = cloud
        self.told: list[tuple[str, str]] = []
        self._stack = stack

    def dispatcher(self, owner: str, beyond: Beyond | None = None) -> Dispatcher:
        session = cloud_session(self.cloud)
        self._stack.push_async_callback(session.close)
        return Dispatcher(
            store=self.store,
            clock=SystemClock(),
            nova=nova_client(session),
            types=load_action_types(),
            settings=ApplierSettings(
                host=owner, max_workers=8, lease_s=3.0, sweep_every_s=0.2, nova=QUICK
            ),
            owner=owner,
            beyond=beyond
            or Beyond(
                block_storage=CinderClient(session, write_timeout_s=4.0),
                machines=IronicPower(session, write_timeout_s=4.0),
                reread=self._tell,
            ),
        )

    async def run(
        self, *steps: tuple[str, dict[str, Any]], beyond: Beyond | None = None
    ) -> list[Any]:
        """Carries out a plan of these steps; its actions afterwards."""
        return await self.until_ended(await publish(self.store, list(steps)), beyond=beyond)

    async def until_ended(self, plan: str, *, beyond: Beyond | None = None) -> list[Any]:
        """Runs an applier until the plan has ended; its actions."""
        running = asyncio.create_task(self.dispatcher("b", beyond).run())

        async def ended() -> bool:
            return (await plan_of(self.store, plan)).state in (
                PlanState.SUCCEEDED,
                PlanState.FAILED,
            )

        try:
            await eventually(ended)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return await actions_of(self.store, plan)

    async def _tell(self, kind: str, uuid: str) -> None:
        self.told.append((kind, uuid))

    def volume(self, pool: str = FAST) -> Volume:
        return next(v for v in self.cloud.state.storage.volumes.values() if v.pool == pool)

    def writes(self, what: str) -> list[Any]:
        """Accepted writes with this word in their body."""
        return [
            entry
            for service in ("block-storage", "baremetal")
            for entry in self.cloud.ledger.writes(service, "/")
            if what in str(entry.body) and entry.status < 400
        ]

    def a_host(self, *, empty: bool) -> Host:
        state = self.cloud.state
        return next(h for h in state.hosts.values() if bool(state.servers_on(h.name)) != empty)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        spec = CloudSpec(hosts=4, servers=3, seed=3, volumes=12)
        cloud = await stack.enter_async_context(running_fakecloud(spec))
        store = await sqlite_store(tmp_path / "trimtab.db")
        stack.push_async_callback(store.close)
        yield Site(store, cloud, stack)


def moved(volume: str, kind: str, **where: Any) -> tuple[str, dict[str, Any]]:
    return "volume_migrate", {"resource_id": volume, "migration_type": kind, **where}


@pytest.mark.req("B-254", "C-078")
async def test_a_volume_is_migrated_to_a_pool_and_collector_is_told(site: Site):
    volume = site.volume()
    (action,) = await site.run(moved(volume.id, "migrate", destination_node=OTHER_FAST))
    assert action.state is DONE, action.status_message
    assert (volume.pool, volume.status) == (OTHER_FAST, "available")
    (write,) = site.writes("os-migrate_volume")
    order = {"host": OTHER_FAST, "force_host_copy": False, "lock_volume": True}
    assert write.body["os-migrate_volume"] == order
    assert site.told == [("storage", volume.id)]
    assert action.result == {"pool": OTHER_FAST, "type": "fast"}


@pytest.mark.req("B-254", "B-253")
@pytest.mark.parametrize("kind", ["retype", "swap", "cold"])
async def test_a_volume_is_retyped_and_goes_where_its_type_wants_it(site: Site, kind: str):
    volume = site.volume()
    (action,) = await site.run(moved(volume.id, kind, destination_type="slow"))
    assert action.state is DONE, action.status_message
    assert (volume.pool, volume.type and volume.type.name) == (SLOW, "slow")
    (write,) = site.writes("os-retype")
    assert write.body == {"os-retype": {"new_type": "slow", "migration_policy": "on-demand"}}


@pytest.mark.req("B-252")
async def test_a_volume_in_use_moves_while_its_server_is_active_and_not_otherwise(site: Site):
    state = site.cloud.state
    first, second = [v for v in state.storage.volumes.values() if v.pool == FAST][:2]
    running, stopped = list(state.servers.values())[:2]
    state.storage.attach(first, running.id)
    state.storage.attach(second, stopped.id)
    stopped.vm_state = type(stopped.vm_state).STOPPED
    actions = await site.run(
        moved(first.id, "swap", destination_type="slow"),
        moved(second.id, "swap", destination_type="slow"),
    )
    assert [action.state for action in actions] == [DONE, FAILED]
    assert "Invalid state for swapping volume" in actions[1].status_message
    assert (first.status, first.pool, second.pool) == ("in-use", SLOW, FAST)


@pytest.mark.req("B-251")
async def test_a_cold_move_refuses_a_volume_in_use(site: Site):
    volume = site.volume()
    site.cloud.state.storage.attach(volume, next(iter(site.cloud.state.servers)))
    (action,) = await site.run(moved(volume.id, "cold", destination_type="slow"))
    assert action.state is FAILED
    assert "Invalid state for cold migration" in action.status_message


@pytest.mark.req("B-250", "B-251", "B-252")
@pytest.mark.parametrize(
    ("kind", "where", "outcome", "words"),
    [
        ("migrate", {"destination_node": FAST}, SKIPPED, "already in pool"),
        ("swap", {"destination_node": FAST}, SKIPPED, "already in pool"),
        ("retype", {"destination_type": "fast"}, SKIPPED, "must be different for retyping"),
        ("migrate", {"destination_node": "storage@fast#pool9"}, FAILED, "not found"),
        ("retype", {"destination_type": "golden"}, FAILED, "Volume type golden not found"),
        ("swap", {}, FAILED, "destination type is required when migration type is swap"),
        ("cold", {}, FAILED, "destination host or destination type is required"),
        ("migrate", {"destination_node": SLOW}, FAILED, "type must be same for migrating"),
    ],
)
async def test_what_cannot_or_need_not_move(site: Site, kind, where, outcome, words):
    (action,) = await site.run(moved(site.volume().id, kind, **where))
    assert (action.state, words in action.status_message) == (outcome, True), action.status_message
    assert not site.writes("os-")


@pytest.mark.req("B-250")
async def test_a_volume_that_is_gone_is_skipped(site: Site):
    (action,) = await site.run(moved("no-such-volume", "migrate", destination_node=FAST))
    assert action.state is SKIPPED


@pytest.mark.req("B-254")
async def test_a_move_that_finds_no_room_at_its_end_fails(site: Site):
    storage = site.cloud.state.storage
    storage.pools[OTHER_FAST] = Pool(OTHER_FAST, 0)
    (action,) = await site.run(moved(site.volume().id, "migrate", destination_node=OTHER_FAST))
    assert action.state is FAILED
    assert "Cinder could not move it" in action.status_message


@pytest.mark.req("B-254")
async def test_a_retype_that_cinder_gives_up_fails(site: Site):
    storage = site.cloud.state.storage
    storage.pools[SLOW] = Pool(SLOW, 0)
    (action,) = await site.run(moved(site.volume().id, "retype", destination_type="slow"))
    assert action.state is FAILED
    assert "Cinder gave it up" in action.status_message


@pytest.mark.req("B-254")
async def test_a_move_that_its_applier_left_behind_is_followed_and_not_asked_again(site: Site):
    storage, volume = site.cloud.state.storage, site.volume()
    site.cloud.state.spec = dataclasses.replace(site.cloud.state.spec, volume_s=1.5)
    plan = await publish(site.store, [moved(volume.id, "migrate", destination_node=OTHER_FAST)])
    first = asyncio.create_task(site.dispatcher("a").run())
    await eventually(lambda: _is(volume.migration_status is not None))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (await plan_of(site.store, plan)).state is PlanState.ONGOING
    (action,) = await site.until_ended(plan)
    assert action.state is DONE, action.status_message
    assert storage.volumes[volume.id].pool == OTHER_FAST
    assert len(site.writes("os-migrate_volume")) == 1


async def _is(found: bool) -> bool:  # noqa: FBT001, a value
    return found


def test_a_pool_fits_a_type_when_all_that_it_reports_agrees():
    from trimtab_applier.actions.volume_migrate import mismatch

    kind = TypeView(id="1", name="a", extra_specs={"thin": "<is> True", "tier": "gold"})
    assert mismatch(kind, {"thin": True}) is None
    assert mismatch(kind, {"thin": True, "tier": "tin"}) == "tier"
    assert mismatch(kind, {"thin": False}) == "thin"


def power(host: Host, state: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "change_node_power_state", {"resource_id": node_id(host), "state": state, **more}


@pytest.mark.req("B-239")
async def test_an_empty_machine_is_switched_off_and_on_again(site: Site):
    host = site.a_host(empty=True)
    (action,) = await site.run(power(host, "off", resource_name=host.name))
    assert action.state is DONE, action.status_message
    assert not host.is_powered_on
    (action,) = await site.run(power(host, "on"))
    assert action.state is DONE, action.status_message
    assert host.is_powered_on
    assert site.told == [("baremetal", node_id(host))] * 2


@pytest.mark.req("B-239")
@pytest.mark.parametrize("is_named", [True, False])
async def test_a_machine_with_servers_is_never_switched_off(site: Site, is_named):
    host = site.a_host(empty=False)
    name = {"resource_name": host.name} if is_named else {}
    (action,) = await site.run(power(host, "off", **name))
    assert action.state is FAILED
    assert "servers" in action.status_message
    assert host.is_powered_on
    assert not site.writes("power off")


@pytest.mark.req("B-239")
async def test_a_machine_that_is_so_already_needs_no_write_and_an_unknown_one_is_skipped(
    site: Site,
):
    host = site.a_host(empty=True)
    unknown = ("change_node_power_state", {"resource_id": "nobody", "state": "on"})
    actions = await site.run(power(host, "on"), unknown)
    assert [action.state for action in actions] == [DONE, SKIPPED]
    assert not site.writes("power")


@pytest.mark.req("B-239")
async def test_a_machine_that_ironic_has_locked_is_asked_again(site: Site):
    host = site.a_host(empty=True)
    site.cloud.compute.power.switch(host, "power on", on=True)
    (action,) = await site.run(power(host, "off", resource_name=host.name))
    assert action.state is DONE, action.status_message
    assert not host.is_powered_on


@pytest.mark.req("B-239")
async def test_maas_switches_machines_too(site: Site):
    machine = {"system_id": "m1", "fqdn": "nowhere", "power_state": "off"}
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            asked.append(str(request.url))
            machine["power_state"] = "on"
        return httpx.Response(200, json=machine)

    class NoHypervisors:
        async def hypervisors(self) -> list[Any]:
            return []

    maas = Maas(
        MaasSettings(url="http://maas", api_key="a:b:c"),
        NoHypervisors(),  # type: ignore[arg-type]
        transport=httpx.MockTransport(answer),
    )
    step = ("change_node_power_state", {"resource_id": "m1", "state": "on"})
    (action,) = await site.run(step, beyond=Beyond(machines=MaasPower(maas)))
    assert action.state is DONE, action.status_message
    assert asked == ["http://maas/api/2.0/machines/m1/?op=power_on"]
    await maas.close()


async def test_an_applier_without_cinder_says_so(site: Site):
    step = moved("v", "migrate", destination_node=FAST)
    (action,) = await site.run(step, beyond=Beyond())
    assert action.state is FAILED
    assert "no block storage" in action.status_message
