"""EVENT audits that start by themselves: what they were told to look for happened."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from decision_world import snapshot

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.lifecycle import AuditState, AuditType
from trimtab_common.rules.triggers import parsed, split
from trimtab_decision.triggers import EventTriggers

QUIET_S, GAP_S = 30.0, 300.0


def with_hosts(*names):
    count = len(names)
    return replace(
        snapshot(),
        host_uuid=names,
        host_name=names,
        host_inventory=np.full((count, 3), 16, dtype=np.int64),
        host_reserved=np.zeros((count, 3), dtype=np.int64),
        host_ratio=np.ones((count, 3)),
        host_up=np.ones(count, dtype=np.bool_),
        host_enabled=np.ones(count, dtype=np.bool_),
        host_disabled_reason=(None,) * count,
        host_zone=np.full(count, -1, dtype=np.int32),
        host_capacity_from_nova=np.zeros(count, dtype=np.bool_),
    )


def with_servers(model, *numbers):
    keys = np.zeros((len(numbers), 16), dtype=np.uint8)
    keys[:, 15] = numbers
    return replace(
        model,
        server_uuid=keys,
        server_name=tuple(map(str, numbers)),
        server_host=np.zeros(len(numbers), dtype=np.int32),
        server_demand=np.zeros((len(numbers), 3), dtype=np.int64),
        server_state=np.zeros(len(numbers), dtype=np.int8),
        server_locked=np.zeros(len(numbers), dtype=np.bool_),
        server_excluded=np.zeros(len(numbers), dtype=np.bool_),
        server_project=np.full(len(numbers), -1, dtype=np.int32),
        server_created_at_s=np.zeros(len(numbers), dtype=np.int64),
    )


@pytest.fixture
def watch(world):
    """A replica's looks. `pass_s` moves the clock and looks every 5 s."""
    woken = []

    async def wake(uuid):
        woken.append(uuid)

    def replica(owner):
        return EventTriggers(
            store=world.store,
            model=world.model,
            metrics=world.metrics,
            wake=wake,
            clock=world.clock,
            settings=world.settings,
            owner=owner,
        )

    replicas = [replica("one")]

    async def pass_s(seconds):
        for _ in range(int(seconds // 5)):
            await world.clock.advance(5)
            for one in replicas:
                await one.look()

    return SimpleNamespace(woken=woken, replicas=replicas, replica=replica, pass_s=pass_s)


async def event_audit(world, *triggers, **fields):
    return await world.add_audit(
        audit_type=AuditType.EVENT, parameters={"trigger_on": list(triggers)}, **fields
    )


@pytest.mark.req("A-075", "C-173")
async def test_a_rack_that_comes_up_starts_one_run_and_the_next_one_not_soon(world, watch):
    audit = await event_audit(world, "compute_node_added")
    other = await event_audit(world, "compute_node_removed", "instance_created")
    world.model.now = with_hosts("a")
    await watch.pass_s(60)
    assert watch.woken == []
    for number in range(1, 6):
        world.model.now = with_hosts("a", *map(str, range(number)))
        await watch.pass_s(5)
    await watch.pass_s(QUIET_S - 10)
    assert watch.woken == []
    await watch.pass_s(15)
    assert watch.woken == [audit.uuid]
    asked = await world.audit(audit.uuid)
    assert asked.next_run_time is not None
    assert asked.status_message == "Triggered by compute_node_added."
    ended = await world.run(audit)
    assert (ended.state, ended.next_run_time) == (AuditState.SUCCEEDED, None)
    world.model.now = with_hosts("a", "another")
    await watch.pass_s(QUIET_S + 10)
    assert watch.woken == [audit.uuid, other.uuid]  # of the others, some are gone
    await watch.pass_s(GAP_S)
    assert watch.woken == [audit.uuid, other.uuid, audit.uuid]
    await watch.pass_s(2 * GAP_S)
    assert len(watch.woken) == 3


@pytest.mark.req("A-075", "C-173")
async def test_a_change_during_a_run_starts_one_more_when_it_has_ended(world, watch):
    audit = await event_audit(world, "instance_created", state=AuditState.ONGOING)
    world.model.now = with_hosts("a")
    await watch.pass_s(10)
    world.model.now = with_servers(with_hosts("a"), 1, 2)
    await watch.pass_s(QUIET_S + 30)
    assert watch.woken == []
    async with world.store.write() as session:
        await session.audits.transition(
            audit.uuid, to=AuditState.SUCCEEDED, actor="decision", source=AuditState.ONGOING
        )
    await watch.pass_s(5)
    assert watch.woken == [audit.uuid]


async def test_what_goes_on_happening_is_not_waited_out_for_ever(world, watch):
    audit = await event_audit(world, "instance_created")
    for number in range(1, 80):
        world.model.now = with_servers(with_hosts("a"), *range(number))
        await watch.pass_s(5)
    assert watch.woken == [audit.uuid]


@pytest.mark.req("A-075", "C-173")
async def test_a_threshold_starts_a_run_when_it_is_crossed_and_not_while_it_stays(world, watch):
    audit = await event_audit(world, "host_cpu_usage > 80")
    world.metrics.value = 50.0
    await watch.pass_s(120)
    world.metrics.value = 90.0
    await watch.pass_s(2 * GAP_S)
    assert watch.woken == [audit.uuid]
    await world.run(audit)
    world.metrics.value = 70.0
    await watch.pass_s(120)
    world.metrics.value = 95.0
    await watch.pass_s(120)
    assert watch.woken == [audit.uuid] * 2


@pytest.mark.req("A-075")
async def test_of_several_replicas_one_acts_and_another_when_it_is_gone(world, watch):
    audit = await event_audit(world, "compute_node_removed")
    watch.replicas.append(watch.replica("two"))
    world.model.now = with_hosts("a", "b", "c")
    await watch.pass_s(20)
    world.model.now = with_hosts("a", "b")
    await watch.pass_s(GAP_S)
    assert watch.woken == [audit.uuid]
    del watch.replicas[0]
    await world.run(audit)
    world.model.now = with_hosts("a")
    await watch.pass_s(QUIET_S + 30)
    assert watch.woken == [audit.uuid] * 2


async def test_a_model_that_is_not_whole_tells_nothing(world, watch):
    await event_audit(world, "compute_node_removed", "compute_node_added")
    world.model.now = with_hosts("a", "b")
    await watch.pass_s(20)
    world.model.now = replace(with_hosts("a"), partial=True)
    await watch.pass_s(60)
    world.model.now = None
    await watch.pass_s(60)
    world.model.now = with_hosts("a", "b")
    await watch.pass_s(60)
    assert watch.woken == []


@pytest.mark.parametrize("text", ["", "node_added", "host_cpu_usage", "cpu > 5", "host_x >= 5"])
def test_what_is_no_trigger_is_refused(text):
    with pytest.raises(InvalidArgument, match="is none of"):
        parsed(text)


def test_a_text_with_commas_is_a_list():
    found, rest = split({"trigger_on": "compute_node_added, host_cpu_usage>80", "period": 5})
    assert list(found) == ["compute_node_added", "host_cpu_usage>80"]
    assert rest == {"period": 5}
