"""The fake cloud tells what the real Nova tells, in payloads of the same shape."""

import asyncio
import json
from pathlib import Path

import pytest

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.engine import Compute
from trimtab_fakecloud.compute.lifecycle import PAUSE, REBOOT, START, STOP, UNPAUSE, NewServer
from trimtab_fakecloud.compute.records import Caller
from trimtab_fakecloud.contents import fill
from trimtab_fakecloud.notifications import Teller
from trimtab_fakecloud.settings import CloudSpec

STORY = Path(__file__).parents[2] / "golden" / "notifications" / "story.jsonl"


class OneTurnClock:
    """Each sleep takes one turn of the event loop."""

    def __init__(self):
        self._now = 1_800_000_000.0

    def time(self):
        self._now += 0.001
        return self._now

    async def sleep(self, _seconds):
        await asyncio.sleep(0)


class Told:
    """A fake cloud and what it told."""

    def __init__(self):
        self.cloud = Cloud(CloudSpec(hosts=3, servers=6), OneTurnClock())
        fill(self.cloud)
        self.compute = Compute(self.cloud)
        self.caller = Caller(self.cloud.identity.login("admin", "secret"), "req-1")
        self.messages = []
        Teller(self.cloud, lambda key, message: self.messages.append((key, message)))
        self.server = next(s for s in self.cloud.servers.values() if s.vm_state == "active")

    async def after(self, *_done):
        """The event types, once all that was begun is over."""
        for _ in range(100):
            await asyncio.sleep(0)
        told, self.messages = self.messages, []
        for key, message in told:
            assert key == f"versioned_notifications.{message['priority'].lower()}"
        self.last = told[-1][1] if told else None
        return [message["event_type"] for _, message in told]


@pytest.fixture
async def told():
    told = Told()
    yield told
    await told.compute.close()


def test_no_teller_costs_nothing():
    assert Cloud(CloudSpec(), OneTurnClock()).watchers == []


async def test_a_server_is_created_and_deleted(told):
    flavor = told.server.flavor
    made = told.compute.lifecycle.create(NewServer("new", flavor), told.caller)
    assert await told.after() == ["instance.create.start", "instance.create.end"]
    assert told.last["payload"]["nova_object.data"]["host"] == made.host
    told.compute.lifecycle.delete(made, told.caller)
    assert await told.after() == ["instance.delete.start", "instance.delete.end"]
    told.compute.lifecycle.create(NewServer("new", flavor, zone="nowhere"), told.caller)
    assert await told.after() == ["instance.create.error"]
    assert told.last["priority"] == "ERROR"


async def test_power_and_locks(told):
    lifecycle, server = told.compute.lifecycle, told.server
    for change, name in [
        (STOP, "power_off"),
        (START, "power_on"),
        (PAUSE, "pause"),
        (UNPAUSE, "unpause"),
        (REBOOT, "reboot"),
    ]:
        lifecycle.change(server, told.caller, change)
        assert await told.after() == [f"instance.{name}.start", f"instance.{name}.end"]
    lifecycle.lock(server, None)
    lifecycle.unlock(server)
    assert await told.after() == ["instance.lock", "instance.unlock"]
    told.cloud.load_changed(server)
    assert await told.after() == []


async def test_live_migrations_that_arrive_and_that_do_not(told):
    live, server = told.compute.live, told.server
    before = server.host
    live.start(server, told.caller, host=None)
    assert await told.after() == [
        "instance.live_migration_pre.start",
        "instance.live_migration_post_dest.end",
    ]
    assert told.last["payload"]["nova_object.data"]["host"] == server.host != before
    assert told.last["publisher_id"] == f"nova-compute:{server.host}"
    server.metadata["devcloud_fail"] = "live-migration"
    live.start(server, told.caller, host=None)
    assert (await told.after())[-1] == "instance.live_migration_rollback.end"


async def test_cold_moves_with_confirm_and_revert(told):
    cold, server = told.compute.cold, told.server
    for finish, last in [
        (cold.confirm, "instance.resize_confirm.end"),
        (cold.revert, "instance.resize_revert.end"),
    ]:
        cold.migrate(server, told.caller, host=None)
        kinds = await told.after()
        assert kinds[0] == "instance.resize_prep.start"
        assert kinds[-1] == "instance.resize_finish.end"
        assert told.last["payload"]["nova_object.data"]["state"] == "resized"
        finish(server, told.caller)
        assert (await told.after())[-1] == last


async def test_operators_are_told_of_and_deaths_are_not(told):
    host = next(iter(told.cloud.hosts.values()))
    host.disabled, host.disabled_reason = True, "watcher_disabled"
    told.cloud.host_updated(host)
    assert await told.after() == ["service.update"]
    data = told.last["payload"]["nova_object.data"]
    assert (data["disabled"], data["disabled_reason"]) == (True, "watcher_disabled")
    host.is_up = False
    told.cloud.host_updated(host)
    assert await told.after() == []


async def test_payloads_have_the_fields_and_kinds_of_the_real_ones(told):
    real = {}
    for line in STORY.read_text().splitlines():
        if message := json.loads(line).get("message"):
            real.setdefault(message["event_type"], message)
    told.compute.lifecycle.create(NewServer("new", told.server.flavor), told.caller)
    told.compute.lifecycle.change(told.server, told.caller, PAUSE)
    host = next(iter(told.cloud.hosts.values()))
    host.forced_down = True
    told.cloud.host_updated(host)
    messages = [message for _, message in told.messages]
    await told.after()
    messages += [told.last]
    compared = 0
    for message in messages:
        like = real.get(message["event_type"])
        if like is None:
            continue
        compared += 1
        assert set(message) == set(like)
        mine, theirs = message["payload"], like["payload"]
        assert {k: v for k, v in mine.items() if k != "nova_object.data"} == {
            k: v for k, v in theirs.items() if k != "nova_object.data"
        }
        mine, theirs = mine["nova_object.data"], theirs["nova_object.data"]
        assert set(mine) <= set(theirs)
        for name in set(mine) & set(theirs):
            if None not in (mine[name], theirs[name]):
                assert type(mine[name]) is type(theirs[name]), name
    assert compared >= 2
