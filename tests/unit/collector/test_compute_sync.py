"""The sync loop: when it reads in full, when it polls, and what a failure leaves behind."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from trimtab_collector.compute.full_read import FullRead
from trimtab_collector.compute.sync import ComputeSync, SyncSettings
from trimtab_collector.live_model import LiveModel
from trimtab_collector.reads import IncrementalRead
from trimtab_common.domain.changes import (
    HostRow,
    RemoveServer,
    ServerRow,
    SetHealth,
    UpsertServer,
)
from trimtab_common.domain.errors import Unavailable
from trimtab_common.runtime.clock import FakeClock

UUID = "00000000-0000-4000-8000-000000000001"
START = datetime(2026, 1, 1, tzinfo=UTC)
HOST = HostRow(uuid="u", hostname="h", inventory=(8, 8, 8))
SERVER = ServerRow(uuid=UUID, name="vm", hostname="h", demand=(1, 1, 1))


class Cloud:
    """A source that remembers how it was asked."""

    def __init__(self, clock):
        self.clock = clock
        self.servers = [SERVER]
        self.changes = []
        self.asked = []
        self.problem = None

    def _answer(self, what):
        self.asked.append(what)
        if self.problem:
            raise Unavailable(self.problem)

    async def read_all(self, _model):
        self._answer("all")
        return FullRead(
            hosts=[HOST],
            servers=self.servers,
            aggregates=(),
            health=SetHealth(),
            since=self.clock.now(),
        )

    async def read_changes(self, _model, since, *, thorough):
        self._answer("aggregates" if thorough else (self.clock.now() - since).seconds)
        changes, self.changes = self.changes, []
        return IncrementalRead(changes=changes, since=self.clock.now())


@asynccontextmanager
async def running(**settings):
    clock = FakeClock(START)
    cloud = Cloud(clock)
    live = LiveModel(clock)
    chosen = {"period_s": 3600, "poll_interval_s": 2, "thorough_every": 3} | settings
    sync = ComputeSync(live, cloud, clock, SyncSettings(**chosen))
    sync.cloud, sync.live, sync.clock = cloud, live, clock
    task = asyncio.create_task(sync.run())
    await clock.advance(0)
    yield sync
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.req("C-006")
async def test_it_reads_in_full_at_start_then_polls_then_reads_in_full_each_period():
    async with running(period_s=9) as sync:
        for _ in range(6):
            await sync.clock.advance(2)
        assert sync.cloud.asked == ["all", 2, 2, "aggregates", 2, "all", 2]
        assert sync.live.synced_at == START + timedelta(seconds=10)


async def test_a_poll_becomes_one_delta_and_an_empty_one_none():
    async with running() as sync:
        first = sync.live.model.revision
        sync.cloud.changes = [RemoveServer(UUID)]
        await sync.clock.advance(2)
        assert (sync.live.model.n_servers, sync.live.model.revision) == (0, first + 1)
        await sync.clock.advance(2)
        assert sync.live.model.revision == first + 1


@pytest.mark.req("C-012")
async def test_a_full_read_corrects_what_polls_missed_as_an_ordinary_delta():
    async with running(period_s=3) as sync:
        first = sync.live.model.revision
        sync.cloud.servers = []
        await sync.clock.advance(4)
        assert (sync.live.model.n_servers, sync.live.model.revision) == (0, first + 1)
        entry = sync.live.log.next_after(first)
        assert entry.data


@pytest.mark.req("C-009")
async def test_a_short_failure_shows_in_the_age_only():
    async with running(stale_after_s=60) as sync:
        sync.cloud.problem = "Nova is away."
        await sync.clock.advance(30)
        live = sync.live
        assert (live.stale_reason, live.age_s, live.model.n_servers) == ("", 30, 1)


@pytest.mark.req("C-009")
async def test_a_long_failure_makes_it_stale_until_the_next_answer():
    async with running(stale_after_s=60) as sync:
        live = sync.live
        sync.cloud.problem = "Nova is away."
        await sync.clock.advance(120)
        assert (live.stale_reason, live.model.n_servers) == ("Nova is away.", 1)
        revision = live.model.revision
        sync.cloud.problem = "Nova is still away, in other words."
        await sync.clock.advance(60)
        assert live.model.revision == revision
        sync.cloud.problem = None
        sync.cloud.changes = [UpsertServer(SERVER)]
        await sync.clock.advance(30)
        assert live.stale_reason == ""
        assert live.age_s < 2


async def test_failures_are_tried_again_ever_more_slowly():
    async with running() as sync:
        sync.cloud.problem = "away"
        sync.cloud.asked.clear()
        for _ in range(100):
            await sync.clock.advance(1)
        assert len(sync.cloud.asked) == 7  # after 2, 2, 2, 5, 10, 30, 30 seconds


async def test_after_a_long_silence_it_reads_in_full():
    async with running() as sync:
        sync.cloud.problem = "away"
        for _ in range(70):
            await sync.clock.advance(10)
        sync.cloud.problem = None
        sync.cloud.asked.clear()
        await sync.clock.advance(30)
        assert sync.cloud.asked[0] == "all"


async def test_a_model_that_was_never_built_says_why():
    clock = FakeClock(START)
    cloud, live = Cloud(clock), LiveModel(clock)
    cloud.problem = "Nova is away."
    await ComputeSync(live, cloud, clock, SyncSettings()).step()
    assert not live.built
    assert live.stale_reason.endswith("not built yet: Nova is away.")


async def test_refresh_reads_in_full_now_and_gives_the_error():
    async with running() as sync:
        sync.cloud.servers = []
        asked = [asyncio.create_task(sync.refresh()) for _ in range(2)]
        await sync.clock.advance(0)
        await asyncio.gather(*asked)
        assert sync.cloud.asked == ["all", "all"]
        assert sync.live.model.n_servers == 0
        sync.cloud.problem = "Nova is away."
        asked = asyncio.create_task(sync.refresh())
        await sync.clock.advance(0)
        with pytest.raises(Unavailable, match="Nova is away"):
            await asked
